//! `/query`.

use jiff::SignedDuration;
use local_azure::{digital_twins::State, gate::Rules};
use serde_json::{Value, json};

use super::client::{Answer, Instance, component, model, property, relationship, twin};

const SENSOR: &str = "dtmi:com:example:Sensor;1";
const SPACE: &str = "dtmi:com:example:Space;1";
const ROOM: &str = "dtmi:com:example:Room;1";

fn models() -> Vec<Value> {
    let mut room = model(
        ROOM,
        json!([
            property("Temperature", "double"),
            property("group", "string"),
            property("Occupied", "boolean"),
            property(
                "Tags",
                json!({ "@type": "Map", "mapKey": { "name": "k", "schema": "string" },
                                     "mapValue": { "name": "v", "schema": "integer" } })
            ),
            component("Sensor", SENSOR),
        ]),
    );
    room["extends"] = SPACE.into();
    vec![
        model(SENSOR, json!([property("Battery", "integer")])),
        model(SPACE, json!([property("Name", "string"), relationship("contains")])),
        room,
    ]
}

fn room(id: &str, properties: Value) -> Value {
    let mut room = twin(ROOM, properties);
    room["$dtId"] = id.into();
    room["Sensor"] = json!({ "$metadata": {}, "Battery": 50 });
    room
}

fn graph() -> Value {
    let mut hall = twin(SPACE, json!({ "Name": "it's the hall" }));
    hall["$dtId"] = "hall".into();
    let contains = |id: &str, source: &str, target: &str| {
        json!({
            "$relationshipId": id, "$sourceId": source, "$targetId": target, "$relationshipName": "contains",
            "isAccessRestricted": id == "r1",
        })
    };
    json!({
        "twins": [
            hall,
            room("r1", json!({ "Name": "one", "Temperature": 20.5, "Occupied": true, "group": "x" })),
            room("r2", json!({ "Name": "two", "Temperature": 21, "Tags": { "a": 1 } })),
            room("r3", json!({ "Name": "two", "Occupied": false })),
        ],
        "relationships": [contains("r1", "hall", "r1"), contains("r2", "hall", "r2"), contains("r", "r1", "r3")],
    })
}

#[tokio::test]
async fn conditions_select_twins() {
    let instance = Instance::of(&models(), &graph());
    for (condition, expected) in [
        ("T.$dtId = 'r1'", &["r1"][..]),
        ("'r1' = $dtId", &["r1"]),
        ("T.$dtId IN ['r3', 'r1', 'none']", &["r1", "r3"]),
        ("Name = 'two'", &["r2", "r3"]),
        ("T.Name = 'TWO'", &[]),
        ("Name = 'it\\'s the hall'", &["hall"]),
        ("Name = 'two' AND Temperature > 20", &["r2"]),
        ("Temperature > 20 AND Name = 'two'", &["r2"]),
        ("Name = 'one' OR Name IN ['two', 'three']", &["r1", "r2", "r3"]),
        ("Name = 'one' OR Temperature = 21", &["r1", "r2"]),
        ("Temperature = 21.0", &["r2"]),
        ("Temperature >= 20.5 AND Temperature < 21", &["r1"]),
        ("Temperature != 21", &["r1"]),
        ("NOT Temperature = 21", &["r1"]),
        ("Temperature = '21'", &[]),
        ("Name NIN ['one', 'two']", &["hall"]),
        ("T.Name NOT IN ['one']", &["hall", "r2", "r3"]),
        ("Occupied = true", &["r1"]),
        ("NOT Occupied = true", &["r3"]),
        ("Unknown = 1 OR Name = 'one'", &["r1"]),
        ("Unknown = 1", &[]),
        ("NOT Unknown = 1", &[]),
        ("IS_OF_MODEL('dtmi:com:example:Space;1')", &["hall", "r1", "r2", "r3"]),
        ("IS_OF_MODEL(T, 'dtmi:com:example:Space;1', EXACT)", &["hall"]),
        ("IS_OF_MODEL('dtmi:com:example:Room;1', exact) AND Name = 'two'", &["r2", "r3"]),
        ("NOT IS_OF_MODEL('dtmi:com:example:Room;1')", &["hall"]),
        ("IS_OF_MODEL('dtmi:com:example:None;1')", &[]),
        ("T.$metadata.$model = 'dtmi:com:example:Space;1'", &["hall"]),
        ("T.$metadata.Temperature.lastUpdateTime > '2023'", &["r1", "r2"]),
        ("T.$metadata.$lastUpdateTime < '2023'", &[]),
        ("T.Sensor.Battery = 50", &["r1", "r2", "r3"]),
        ("IS_DEFINED(T.Sensor.$metadata.Battery.lastUpdateTime)", &["r1", "r2", "r3"]),
        ("T.Tags.a = 1", &["r2"]),
        ("[[group]] = 'x'", &["r1"]),
        ("IS_DEFINED(Occupied)", &["r1", "r3"]),
        ("NOT IS_DEFINED(Occupied)", &["hall", "r2"]),
        ("IS_NULL(Name)", &[]),
        ("IS_NUMBER(Temperature)", &["r1", "r2"]),
        ("IS_STRING(Temperature)", &[]),
        ("IS_BOOL(Occupied)", &["r1", "r3"]),
        ("IS_OBJECT(Tags)", &["r2"]),
        ("IS_OBJECT(Sensor)", &["r1", "r2", "r3"]),
        ("IS_PRIMITIVE(Tags) OR IS_PRIMITIVE(Occupied)", &["r1", "r3"]),
        ("STARTSWITH(T.Name, 't')", &["r2", "r3"]),
        ("ENDSWITH(T.$dtId, '1')", &["r1"]),
        ("CONTAINS(Name, '\\'s')", &["hall"]),
        ("STARTSWITH(Temperature, '2')", &[]),
        ("ARRAY_CONTAINS(Name, 'o')", &[]),
    ] {
        assert_eq!(instance.ids(condition).await, expected, "{condition}");
    }
}

#[tokio::test]
async fn rows_have_the_asked_form() {
    let instance = Instance::of(&models(), &graph());
    for (query, expected) in [
        ("SELECT COUNT() FROM DIGITALTWINS", json!([{ "COUNT": 4 }])),
        ("SELECT COUNT() FROM RELATIONSHIPS", json!([{ "COUNT": 3 }])),
        (
            "SELECT T.$dtId, T.Temperature AS t FROM DIGITALTWINS T WHERE Name = 'two'",
            json!([{ "$dtId": "r2", "t": 21 }, { "$dtId": "r3" }]),
        ),
        ("SELECT Name FROM DIGITALTWINS WHERE $dtId = 'r1'", json!([{ "Name": "one" }])),
        ("SELECT TOP(2) T.$dtId FROM DIGITALTWINS T", json!([{ "$dtId": "hall" }, { "$dtId": "r1" }])),
        ("SELECT TOP(0) FROM DIGITALTWINS", json!([])),
        (
            "SELECT $relationshipId, $targetId FROM RELATIONSHIPS WHERE $sourceId = 'hall'",
            json!([
                { "$relationshipId": "r1", "$targetId": "r1" }, { "$relationshipId": "r2", "$targetId": "r2" },
            ]),
        ),
        (
            "SELECT R.$sourceId FROM RELATIONSHIPS R WHERE R.$targetId IN ['r1', 'r3']",
            json!([{ "$sourceId": "hall" }, { "$sourceId": "r1" }]),
        ),
        ("SELECT $sourceId FROM RELATIONSHIPS WHERE isAccessRestricted = true", json!([{ "$sourceId": "hall" }])),
        (
            "SELECT $relationshipName FROM RELATIONSHIPS WHERE $relationshipId = 'r'",
            json!([{ "$relationshipName": "contains" }]),
        ),
    ] {
        assert_eq!(Value::from(instance.rows(query).await), expected, "{query}");
    }
    let whole = instance.rows("SELECT * FROM DIGITALTWINS WHERE $dtId = 'r1'").await;
    assert_eq!(whole, [instance.get("/digitaltwins/r1").await.json()]);
    let aliased = instance.rows("SELECT D FROM DIGITALTWINS D WHERE D.$dtId = 'r1'").await;
    assert_eq!(aliased, [json!({ "D": whole[0] })]);
    let edge = instance.rows("SELECT * FROM RELATIONSHIPS WHERE $sourceId = 'r1'").await;
    assert_eq!(edge, [instance.get("/digitaltwins/r1/relationships/r").await.json()]);
}

#[tokio::test]
async fn join_and_match_follow_relationships() {
    let instance = Instance::of(&models(), &graph());
    for (query, expected) in [
        (
            "SELECT room.$dtId FROM DIGITALTWINS hall JOIN room RELATED hall.contains WHERE hall.$dtId = 'hall'",
            json!([{ "$dtId": "r1" }, { "$dtId": "r2" }]),
        ),
        (
            "SELECT room.$dtId AS id, c.isAccessRestricted FROM DIGITALTWINS hall JOIN room RELATED hall.contains c \
             WHERE room.$dtId IN ['r1', 'r3'] AND c.isAccessRestricted = true",
            json!([{ "id": "r1", "isAccessRestricted": true }]),
        ),
        (
            "SELECT COUNT() FROM DIGITALTWINS a JOIN b RELATED a.contains JOIN c RELATED b.contains \
             WHERE a.$dtId = 'hall' AND IS_OF_MODEL(c, 'dtmi:com:example:Space;1')",
            json!([{ "COUNT": 1 }]),
        ),
        (
            "SELECT TOP(1) b.$dtId FROM DIGITALTWINS MATCH (a)-[:contains]->(b) WHERE a.$dtId = 'hall'",
            json!([{ "$dtId": "r1" }]),
        ),
        (
            "SELECT b.$dtId FROM DIGITALTWINS MATCH (b)<-[:contains|has*1..3]-(a) WHERE a.$dtId = 'hall'",
            json!([{ "$dtId": "r3" }]),
        ),
        (
            "SELECT a.$dtId AS above, b.$dtId AS beside FROM DIGITALTWINS MATCH (r)<-[]-(a)-[]->(b) \
             WHERE r.$dtId = 'r1'",
            json!([{ "above": "hall", "beside": "r2" }]),
        ),
        ("SELECT a.Name FROM DIGITALTWINS MATCH (a) WHERE a.$dtId = 'r3'", json!([{ "Name": "two" }])),
    ] {
        assert_eq!(Value::from(instance.rows(query).await), expected, "{query}");
    }
    let rows = instance.rows("SELECT * FROM DIGITALTWINS MATCH (a)-[r]->(b) WHERE b.$dtId = 'r3'").await;
    assert_eq!(
        rows,
        [json!({
            "a": instance.get("/digitaltwins/r1").await.json(),
            "r": instance.get("/digitaltwins/r1/relationships/r").await.json(),
            "b": instance.get("/digitaltwins/r3").await.json(),
        })]
    );
}

#[tokio::test]
async fn a_query_that_is_too_much_work_times_out() {
    let instance = Instance::of(&models(), &complete_graph(40));
    let query = "SELECT b FROM DIGITALTWINS MATCH (a)-[*9]-(b) WHERE a.$dtId = '0' AND b.Name = 'none'";
    let (status, code, message) = instance.query(query).await.error();
    assert_eq!((status, code.as_str()), (400, "TimeoutError"), "{message}");
}

/// Every twin contains every other one.
fn complete_graph(n: usize) -> Value {
    let twins: Vec<Value> = (0..n)
        .map(|id| {
            let mut space = twin(SPACE, json!({}));
            space["$dtId"] = id.to_string().into();
            space
        })
        .collect();
    let relationships: Vec<Value> = (0..n)
        .flat_map(|source| (0..n).filter(move |target| *target != source).map(move |target| (source, target)))
        .map(|(source, target)| {
            json!({
                "$relationshipId": target.to_string(), "$sourceId": source.to_string(),
                "$targetId": target.to_string(), "$relationshipName": "contains",
            })
        })
        .collect();
    json!({ "twins": twins, "relationships": relationships })
}

async fn page(instance: &Instance, body: &Value) -> Answer {
    instance.ask("POST", "/query", &[("max-items-per-page", "2")], Some(body)).await
}

#[tokio::test]
async fn pages_go_on_where_the_last_one_ended_with_and_without_the_query() {
    let instance = Instance::of(&models(), &graph());
    for (query, pages) in [
        ("SELECT $dtId FROM DIGITALTWINS", &[2, 2][..]),
        ("SELECT TOP(3) $dtId FROM DIGITALTWINS", &[2, 1]),
        ("SELECT $dtId FROM DIGITALTWINS WHERE IS_OF_MODEL('dtmi:com:example:Room;1')", &[2, 1]),
        ("SELECT $relationshipId FROM RELATIONSHIPS", &[2, 1]),
        ("SELECT b.$dtId FROM DIGITALTWINS MATCH (a)-[*..2]-(b) WHERE a.$dtId = 'r1'", &[2, 1]),
        ("SELECT $relationshipId FROM RELATIONSHIPS WHERE $sourceId IN ['hall', 'r1']", &[2, 1]),
    ] {
        for with_query in [false, true] {
            let mut body = json!({ "query": query });
            let (mut sizes, mut rows) = (Vec::new(), Vec::new());
            loop {
                let answer = page(&instance, &body).await.json();
                let found = answer["value"].as_array().unwrap().clone();
                sizes.push(found.len());
                rows.extend(found.iter().map(Value::to_string));
                if answer["continuationToken"].is_null() {
                    break;
                }
                body = json!({ "continuationToken": answer["continuationToken"] });
                if with_query {
                    body["query"] = query.into();
                }
            }
            assert_eq!(sizes, pages, "{query}");
            rows.sort();
            rows.dedup();
            assert_eq!(rows.len(), pages.iter().sum::<usize>(), "{query}");
        }
    }
}

#[tokio::test]
async fn a_bad_token_or_no_query_is_refused() {
    let instance = Instance::of(&models(), &graph());
    let token =
        page(&instance, &json!({ "query": "SELECT * FROM DIGITALTWINS" })).await.json()["continuationToken"].clone();
    for (body, code) in [
        (json!({ "continuationToken": "x" }), "BadRequest"),
        (json!({ "continuationToken": token, "query": "SELECT * FROM RELATIONSHIPS" }), "BadRequest"),
        (json!({}), "InvalidArgument"),
        (json!([]), "InvalidArgument"),
        (json!({ "query": "SELECT T FROM DIGITALTWINS T JOIN C RELATED T.contains" }), "SqlQueryError"),
    ] {
        assert_eq!(page(&instance, &body).await.error().1, code, "{body}");
    }
}

#[tokio::test]
async fn queries_see_writes_late_and_reads_at_once() {
    let instance = Instance::with(SignedDuration::from_secs(5), Rules::default(), State::default());
    instance.service.upload_models(&models()).unwrap();
    instance.service.load_graph(&graph()).unwrap();
    let count = "SELECT COUNT() FROM DIGITALTWINS WHERE Name = 'one'";
    assert_eq!(instance.service.twin("r1").unwrap()["Name"], "one");
    assert_eq!(instance.rows(count).await, [json!({ "COUNT": 0 })]);
    instance.pass(5);
    assert_eq!(instance.rows(count).await, [json!({ "COUNT": 1 })]);
    let patch = json!([{ "op": "replace", "path": "/Name", "value": "uno" }]);
    instance.patch("/digitaltwins/r1", &patch).await;
    instance.pass(4);
    assert_eq!(instance.rows(count).await, [json!({ "COUNT": 1 })]);
    instance.pass(1);
    assert_eq!(instance.rows(count).await, [json!({ "COUNT": 0 })]);
}

#[tokio::test]
async fn a_new_twin_is_not_in_rows_yet_and_a_deleted_one_still_is() {
    let instance = Instance::with(SignedDuration::from_secs(5), Rules::default(), State::default());
    instance.service.upload_models(&models()).unwrap();
    instance.service.load_graph(&graph()).unwrap();
    instance.service.show_to_queries();
    let count = "SELECT COUNT() FROM DIGITALTWINS WHERE Name = 'extra'";
    let mut twin = instance.get("/digitaltwins/r1").await.json();
    twin["Name"] = json!("extra");
    assert_eq!(instance.put("/digitaltwins/extra", &twin).await.status, 200);
    assert_eq!(instance.rows(count).await, [json!({ "COUNT": 0 })]);
    instance.pass(5);
    assert_eq!(instance.delete("/digitaltwins/extra").await.status, 204);
    assert_eq!(instance.get("/digitaltwins/extra").await.status, 404);
    assert_eq!(instance.rows(count).await, [json!({ "COUNT": 1 })]);
    instance.pass(5);
    assert_eq!(instance.rows(count).await, [json!({ "COUNT": 0 })]);
}

#[tokio::test]
async fn a_state_that_was_written_down_is_read_again() {
    let instance = Instance::of(&models(), &graph());
    let written = instance.service.read(serde_json::to_string).unwrap();
    let again = Instance::with(SignedDuration::ZERO, Rules::default(), serde_json::from_str(&written).unwrap());
    for query in ["SELECT * FROM DIGITALTWINS WHERE Name = 'two'", "SELECT * FROM RELATIONSHIPS WHERE $targetId = 'r3'"]
    {
        assert_eq!(again.rows(query).await, instance.rows(query).await);
    }
    assert_eq!(
        again.get("/models?includeModelDefinition=true").await.json(),
        instance.get("/models?includeModelDefinition=true").await.json()
    );
    assert_eq!(again.service.read(serde_json::to_string).unwrap(), written);
    again.service.clear();
    assert_eq!(
        (again.service.twin_count(), again.service.relationship_count(), again.service.model_count()),
        (0, 0, 0)
    );
}
