//! `/digitaltwins/{id}`: what is taken, what is kept, what is said.

use axum::{body::Body, http::Request};
use local_azure::gate::Rules;
use serde_json::{Value, json};

use super::client::{Instance, TOKEN, component, model, property, relationship, twin};

const ROOM: &str = "dtmi:com:example:Room;1";
const ROOM2: &str = "dtmi:com:example:Room;2";
const SENSOR: &str = "dtmi:com:example:Sensor;1";

fn room_contents() -> Vec<Value> {
    vec![
        property("Temperature", "double"),
        property("Name", "string"),
        property("Floor", "integer"),
        property(
            "Tags",
            json!({ "@type": "Map", "mapKey": { "name": "k", "schema": "string" },
                                 "mapValue": { "name": "v", "schema": "string" } }),
        ),
        component("Sensor", SENSOR),
        json!({ "@type": "Telemetry", "name": "Alarm", "schema": "string" }),
        relationship("contains"),
    ]
}

fn instance() -> Instance {
    let mut newer = room_contents();
    newer.retain(|content| content["name"] != "Sensor");
    newer.push(property("Area", "double"));
    let models = [
        model(SENSOR, json!([property("Battery", "integer")])),
        model(ROOM, room_contents().into()),
        model(ROOM2, newer.into()),
    ];
    Instance::of(&models, &json!({}))
}

fn room(properties: Value) -> Value {
    let mut room = twin(ROOM, properties);
    room["Sensor"] = json!({ "$metadata": {} });
    room
}

async fn with_room(properties: Value) -> Instance {
    let instance = instance();
    let answer = instance.put("/digitaltwins/room", &room(properties)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    instance
}

async fn metadata(instance: &Instance) -> Value {
    instance.get("/digitaltwins/room").await.json()["$metadata"].clone()
}

#[tokio::test]
async fn without_a_good_token_the_gateway_answers() {
    let instance = instance();
    for authorization in [None, Some("Bearer other"), Some(TOKEN), Some("Basic dGhl"), Some("Bearer")] {
        let mut request = Request::get("/digitaltwins/room?api-version=2023-10-31");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let answer = instance.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 401, "{authorization:?}");
        assert_eq!(answer.text(), r#"{ "statusCode": 401, "message": "Unauthorized" }"#);
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn a_throttled_request_is_answered_by_the_gateway_with_a_time_to_wait() {
    let instance = Instance::with(
        jiff::SignedDuration::ZERO,
        Rules { digital_twins_limits: true, ..Rules::default() },
        Default::default(),
    );
    let mut answer = instance.patch("/digitaltwins/room", &json!([])).await;
    for _ in 0..10 {
        answer = instance.patch("/digitaltwins/room", &json!([])).await;
    }
    assert_eq!(answer.status, 429);
    assert_eq!(answer.header("retry-after"), Some("5"));
    assert_eq!(answer.bytes.len(), 167);
    assert_eq!(answer.json()["error"]["statusCode"], 429);
}

#[tokio::test]
async fn a_known_version_is_needed_and_unknown_paths_are_not_found() {
    let instance = instance();
    let ask = |path: &str| {
        let request = Request::get(path).header("authorization", format!("Bearer {TOKEN}"));
        instance.send(request.body(Body::empty()).unwrap())
    };
    assert_eq!(ask("/digitaltwins/a").await.error().1, "ApiVersionUnspecified");
    assert_eq!(ask("/digitaltwins/a?api-version=2019-01-01").await.error().1, "UnsupportedApiVersion");
    assert_eq!(ask("/digitaltwins/a?API-Version=2023-10-31").await.error().1, "DigitalTwinNotFound");
    assert_eq!(ask("/twins?api-version=2023-10-31").await.status, 404);
}

#[tokio::test]
async fn a_twin_has_to_fit_its_model_and_every_fault_is_told() {
    let instance = instance();
    let body = twin(ROOM, json!({ "Temperature": "hot", "Floor": 1.0, "Alarm": "x", "contains": 1, "Colour": 1 }));
    let answer = instance.put("/digitaltwins/room", &body).await;
    assert_eq!(answer.error(), (400, "ValidationFailed".to_owned(), "Invalid twin specified".to_owned()));
    insta::assert_debug_snapshot!(answer.details(), @r#"
    [
        "The value of Temperature does not fit its schema: expected a number (double), got the string \"hot\".",
        "The value of Floor does not fit its schema: expected a whole number of 32 bits (integer), got the number 1.0.",
        "Alarm is not a property - it is a Telemetry.",
        "contains is not a property - it is a Relationship.",
        "Colour does not exist on component.",
        "Twin is missing component Sensor.",
    ]
    "#);
    for (body, detail) in [
        (json!({ "Name": "x" }), "Twin is missing $metadata.$model."),
        (
            twin("dtmi:com:example:Other;1", json!({})),
            "dtmi:com:example:Other;1 or one of its dependencies does not exist.",
        ),
        (room(json!({ "Name": "x".repeat(4097) })), "Name holds a string of more than 4096 bytes."),
        (room(json!({ "Name": null })), "The value of Name does not fit its schema: expected a string, got null."),
        (
            twin(ROOM, json!({ "Sensor": { "Battery": 1 } })),
            "Component Sensor is not an object with a $metadata object.",
        ),
        (
            twin(ROOM, json!({ "Sensor": { "Battery": "full", "$metadata": {} } })),
            "The value of Battery does not fit its schema: expected a whole number of 32 bits (integer), got the string \"full\".",
        ),
    ] {
        let answer = instance.put("/digitaltwins/room", &body).await;
        assert_eq!((answer.status.as_u16(), answer.details()), (400, vec![detail.to_owned()]));
    }
    assert_eq!(instance.service.twin_count(), 0);
}

#[tokio::test]
async fn a_body_that_is_no_twin_is_refused() {
    let instance = instance();
    for body in [json!([]), json!("x"), json!(null)] {
        let answer = instance.put("/digitaltwins/room", &body).await;
        assert_eq!(answer.error().2, "Payload is invalid.", "{body}");
    }
    let answer = instance.ask("PUT", "/digitaltwins/room", &[], None).await;
    assert_eq!(answer.error(), (400, "BadRequest".to_owned(), "A non-empty request body is required.".to_owned()));
    let large = room(
        json!({ "Tags": (0..20).map(|n| (format!("k{n}"), "x".repeat(2000).into())).collect::<serde_json::Map<_, _>>() }),
    );
    assert_eq!(instance.put("/digitaltwins/room", &large).await.status, 413);
    assert_eq!(
        instance.put(&format!("/digitaltwins/{}", "x".repeat(129)), &room(json!({}))).await.error().1,
        "InvalidArgument"
    );
}

#[tokio::test]
async fn a_twin_that_was_read_can_be_sent_back() {
    let instance = with_room(json!({ "Temperature": 21.5 })).await;
    let read = instance.get("/digitaltwins/room").await.json();
    instance.pass(1);
    let again = instance.put("/digitaltwins/room", &read).await;
    assert_eq!(again.status, 200, "{}", again.text());
    assert_ne!(again.json()["$etag"], read["$etag"]);
    assert_eq!(again.etag(), again.json()["$etag"]);
    assert_ne!(again.json()["$metadata"]["Temperature"], read["$metadata"]["Temperature"]);
}

#[tokio::test]
async fn source_times_are_kept_beside_the_services_own() {
    let instance = instance();
    let mut body = room(json!({ "Temperature": 21.5 }));
    body["$metadata"]["Temperature"] = json!({ "sourceTime": "2020-01-01T10:00:00+02:00" });
    assert_eq!(instance.put("/digitaltwins/room", &body).await.status, 200);
    assert_eq!(metadata(&instance).await["Temperature"]["sourceTime"], "2020-01-01T08:00:00.0000000Z");
    instance.pass(1);
    let written = metadata(&instance).await["Temperature"]["lastUpdateTime"].clone();
    let patch = json!([
        { "op": "replace", "path": "/$metadata/Temperature/sourceTime", "value": "2021-01-01T00:00:00.1234567Z" },
        { "op": "add", "path": "/Sensor/Battery", "value": 90 },
        { "op": "replace", "path": "/Sensor/$metadata/Battery/sourceTime", "value": "2022-01-01T00:00:00Z" },
    ]);
    let answer = instance.patch("/digitaltwins/room", &patch).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    let twin = instance.get("/digitaltwins/room").await.json();
    assert_eq!(
        twin["$metadata"]["Temperature"],
        json!({ "lastUpdateTime": written, "sourceTime": "2021-01-01T00:00:00.1234567Z" })
    );
    assert_eq!(twin["Sensor"]["$metadata"]["Battery"]["sourceTime"], "2022-01-01T00:00:00.0000000Z");
    // A later value leaves the source time as it is; removing the value removes it.
    let patch = json!([{ "op": "replace", "path": "/Temperature", "value": 20 }]);
    instance.patch("/digitaltwins/room", &patch).await;
    assert_eq!(metadata(&instance).await["Temperature"]["sourceTime"], "2021-01-01T00:00:00.1234567Z");
    instance.patch("/digitaltwins/room", &json!([{ "op": "remove", "path": "/Temperature" }])).await;
    assert_eq!(metadata(&instance).await.get("Temperature"), None);
    // The first version has neither kind of time.
    let old = instance.get("/digitaltwins/room?api-version=2020-10-31").await.json();
    assert_eq!(old["$metadata"].get("$lastUpdateTime"), None);
    assert_eq!(old["Sensor"]["$metadata"]["Battery"].get("sourceTime"), None);
}

#[tokio::test]
async fn a_patch_is_one_write_at_one_time() {
    let instance = with_room(json!({ "Temperature": 1, "Name": "a", "Floor": 1 })).await;
    let before = instance.get("/digitaltwins/room").await.json();
    instance.pass(1);
    let patch = json!([
        { "op": "add", "path": "/Temperature", "value": 2 },
        { "op": "replace", "path": "/Name", "value": "b" },
        { "op": "add", "path": "/Tags", "value": { "a": "1" } },
        { "op": "add", "path": "/Tags/b", "value": "2" },
        { "op": "remove", "path": "/Tags/a" },
    ]);
    let answer = instance.patch("/digitaltwins/room", &patch).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    let after = instance.get("/digitaltwins/room").await.json();
    assert_eq!(answer.etag(), after["$etag"]);
    assert_eq!((&after["Temperature"], &after["Name"], &after["Tags"]), (&json!(2), &json!("b"), &json!({ "b": "2" })));
    let time = after["$metadata"]["$lastUpdateTime"].clone();
    for name in ["Temperature", "Name", "Tags"] {
        assert_eq!(after["$metadata"][name]["lastUpdateTime"], time, "{name}");
    }
    assert_eq!(after["$metadata"]["Floor"], before["$metadata"]["Floor"]);
    assert_eq!(after["Sensor"], before["Sensor"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_patch_is_told_and_nothing_is_changed() {
    let instance = with_room(json!({ "Temperature": 1, "Tags": { "a": "1" } })).await;
    let before = instance.service.twin("room");
    let suffix = " Please provide a valid patch document. See section on update apis in the documentation https://aka.ms/adtv2twins.";
    for (operation, reason) in [
        (
            json!({ "op": "remove", "path": "/Name" }),
            "The target location specified by path segment 'Name' was not found.",
        ),
        (
            json!({ "op": "replace", "path": "/Name", "value": "x" }),
            "The target location specified by path segment 'Name' was not found.",
        ),
        (json!({ "op": "add", "path": "/Colour", "value": 1 }), "Colour does not exist on component."),
        (json!({ "op": "add", "path": "/Colour/x", "value": 1 }), "/Colour/x was not found."),
        (json!({ "op": "add", "path": "/Sensor/Colour", "value": 1 }), "Colour does not exist on component."),
        (
            json!({ "op": "replace", "path": "/Tags/b", "value": "x" }),
            "The target location specified by path segment 'b' was not found.",
        ),
        (json!({ "op": "copy", "path": "/Name", "from": "/Tags" }), "Unsupported operation type copy."),
        (json!({ "op": "replace", "path": "/$dtId", "value": "x" }), "/$dtId cannot be patched."),
        (json!({ "op": "remove", "path": "/$metadata/$model" }), "/$metadata/$model cannot be patched."),
        (
            json!({ "op": "replace", "path": "/$metadata/$lastUpdateTime", "value": "x" }),
            "/$metadata/$lastUpdateTime cannot be patched.",
        ),
        (
            json!({ "op": "replace", "path": "/$metadata/Name/sourceTime", "value": "2021-01-01T00:00:00Z" }),
            "The target location specified by path segment 'Name' was not found.",
        ),
        (
            json!({ "op": "replace", "path": "/$metadata/Temperature/sourceTime", "value": "soon" }),
            "/$metadata/Temperature/sourceTime takes an ISO 8601 time.",
        ),
    ] {
        let good = json!({ "op": "add", "path": "/Floor", "value": 3 });
        let answer = instance.patch("/digitaltwins/room", &json!([good, operation])).await;
        assert_eq!(answer.error(), (400, "JsonPatchInvalid".to_owned(), format!("{reason}{suffix}")), "{operation}");
        assert_eq!(answer.header("x-ms-error-code"), Some("JsonPatchInvalid"));
    }
    for (operation, detail) in [
        (
            json!({ "op": "add", "path": "/Floor", "value": "3" }),
            "The value of Floor does not fit its schema: expected a whole number of 32 bits (integer), got the string \"3\".",
        ),
        (json!({ "op": "add", "path": "/Alarm", "value": "x" }), "Alarm is not a property - it is a Telemetry."),
        (json!({ "op": "remove", "path": "/Sensor" }), "Twin is missing component Sensor."),
    ] {
        let answer = instance.patch("/digitaltwins/room", &json!([operation])).await;
        assert_eq!((answer.error().1.as_str(), answer.details()), ("ValidationFailed", vec![detail.to_owned()]));
    }
    assert_eq!(instance.service.twin("room"), before);
}

#[tokio::test]
async fn an_empty_patch_makes_a_new_version() {
    let instance = with_room(json!({})).await;
    let before = instance.get("/digitaltwins/room").await.etag().to_owned();
    let answer = instance.patch("/digitaltwins/room", &json!([])).await;
    assert_eq!(answer.status, 204);
    assert_ne!(answer.etag(), before);
}

#[tokio::test]
async fn the_model_can_be_changed_if_the_twin_fits_it_in_the_end() {
    let instance = with_room(json!({ "Name": "a" })).await;
    let change = json!({ "op": "replace", "path": "/$metadata/$model", "value": ROOM2 });
    let answer = instance.patch("/digitaltwins/room", &json!([change])).await;
    assert_eq!(answer.details(), ["Sensor does not exist on component."]);
    let patch = json!([
        { "op": "add", "path": "/Area", "value": 12.5 },
        change,
        { "op": "remove", "path": "/Sensor" },
    ]);
    assert_eq!(instance.patch("/digitaltwins/room", &patch).await.status, 204);
    let twin = instance.get("/digitaltwins/room").await.json();
    assert_eq!((&twin["$metadata"]["$model"], &twin["Area"], twin.get("Sensor")), (&json!(ROOM2), &json!(12.5), None));
    let back = json!([
        { "op": "replace", "path": "/$metadata/$model", "value": ROOM },
        { "op": "add", "path": "/Sensor", "value": { "$metadata": {}, "Battery": 5 } },
        { "op": "remove", "path": "/Area" },
    ]);
    assert_eq!(instance.patch("/digitaltwins/room", &back).await.status, 204);
}

#[tokio::test]
async fn preconditions_come_before_everything_else() {
    let instance = with_room(json!({})).await;
    let bad = json!([{ "op": "add", "path": "/Colour", "value": 1 }]);
    let stale = [("If-Match", "W/\"5d3e8f0e-0000-0000-0000-000000000000\"")];
    assert_eq!(instance.ask("PATCH", "/digitaltwins/room", &stale, Some(&bad)).await.status, 412);
    assert_eq!(instance.ask("DELETE", "/digitaltwins/room", &stale, None).await.status, 412);
    assert_eq!(instance.ask("PATCH", "/digitaltwins/none", &stale, Some(&bad)).await.status, 404);
    let create = [("If-None-Match", "*")];
    assert_eq!(instance.ask("PUT", "/digitaltwins/room", &create, Some(&json!({}))).await.status, 412);
    assert_eq!(
        instance.ask("PUT", "/digitaltwins/room", &[("If-None-Match", "W/\"x\"")], Some(&json!({}))).await.error().1,
        "InvalidArgument"
    );
    assert_eq!(instance.ask("DELETE", "/digitaltwins/room", &[("If-Match", "*")], None).await.status, 204);
}

#[test]
fn a_graph_that_is_refused_says_which_part_and_why() {
    let instance = instance();
    for (graph, text) in [
        (
            json!({ "twins": [{ "$dtId": "a", "$metadata": { "$model": ROOM } }] }),
            "twin a: Invalid twin specified (Twin is missing component Sensor.)",
        ),
        (json!({ "twins": [{ "$metadata": { "$model": ROOM } }] }), "twin number 1: $dtId is missing."),
        (json!({ "relationships": [{ "$relationshipId": "r" }] }), "relationship r: $sourceId is missing."),
    ] {
        assert_eq!(instance.service.load_graph(&graph).unwrap_err().to_string(), text);
    }
}
