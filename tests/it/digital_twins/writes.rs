//! Reads and writes of twins and relationships, as they go over the wire.

use dtdl::ModelId;
use function_app::digital_twins::{
    Condition, Creation, ETag, Error, NewTwin, Patch, PropertyPath, Relationship, RelationshipId, Twin,
};
use serde_json::{Map, Value, json};

use super::script::{Reply, Script, id, twin};
use crate::fixtures;

fn model() -> ModelId {
    ModelId::parse("dtmi:contosocom:DigitalTwins:Thermostat;1").unwrap()
}

#[tokio::test]
async fn a_twin_is_read_with_a_token_and_the_version_of_the_api() {
    let script = Script::new([Reply::json(200, &twin("pump-1"))]);
    let read = script.client().get(&id("pump-1")).await.unwrap().unwrap();
    assert_eq!(read.id().as_str(), "pump-1");
    assert_eq!(read.model(), &model());
    assert_eq!(read.property("Temperature"), Some(&json!(21.5)));
    assert_eq!(read.source_time("Temperature").unwrap().to_string(), "2024-05-01T11:59:59.5Z");
    assert_eq!(read.last_update_time("Temperature").unwrap().to_string(), "2024-05-01T12:00:00.1234567Z");
    assert_eq!(script.lines(), ["GET /digitaltwins/pump-1?api-version=2023-10-31"]);
    assert_eq!(script.sent()[0].header("authorization"), Some("Bearer the-token"));
}

#[tokio::test]
async fn no_id_leaves_its_segment_of_the_path() {
    let ids = ["a/../b", "%2e%2e", "a?b#c", "x y", "..;", "größe"];
    let script = Script::new(ids.map(|id| Reply::json(200, &twin(id))));
    let client = script.client();
    for text in ids {
        assert_eq!(client.get(&id(text)).await.unwrap().unwrap().id().as_str(), text);
    }
    let paths: Vec<_> = script.lines().iter().map(|line| line.replace("?api-version=2023-10-31", "")).collect();
    assert_eq!(
        paths,
        [
            "GET /digitaltwins/a%2F..%2Fb",
            "GET /digitaltwins/%252e%252e",
            "GET /digitaltwins/a%3Fb%23c",
            "GET /digitaltwins/x%20y",
            "GET /digitaltwins/..;",
            "GET /digitaltwins/gr%C3%B6%C3%9Fe",
        ]
    );
}

#[tokio::test]
async fn a_twin_is_made_only_if_there_is_none() {
    let script = Script::new([Reply::json(200, &twin("pump-1")), Reply::error(412, "PreconditionFailed")]);
    let new = NewTwin::of(&model())
        .property("HubRegistrationId", json!("pump-1"))
        .source_time("HubRegistrationId", "2024-05-01T12:00:00Z".parse().unwrap())
        .component("thermostat1");
    let client = script.client();
    assert!(matches!(client.create(&id("pump-1"), &new).await, Ok(Creation::Created(_))));
    assert_eq!(client.create(&id("pump-1"), &new).await.unwrap(), Creation::Exists);
    let sent = &script.sent()[0];
    assert_eq!(sent.line, "PUT /digitaltwins/pump-1?api-version=2023-10-31");
    assert_eq!(sent.header("if-none-match"), Some("*"));
    assert_eq!(sent.header("content-type"), Some("application/json"));
    insta::assert_snapshot!(sent.body, @r#"{"$metadata":{"$model":"dtmi:contosocom:DigitalTwins:Thermostat;1","HubRegistrationId":{"sourceTime":"2024-05-01T12:00:00Z"}},"HubRegistrationId":"pump-1","thermostat1":{"$metadata":{}}}"#);
}

#[tokio::test]
async fn a_patch_has_values_first_and_then_their_times() {
    let script = Script::new([Reply::empty(204).header("etag", "W/\"2\"")]);
    let time = "2024-05-01T12:00:00.123Z".parse().unwrap();
    let patch = Patch::new()
        .source_time("a/b~c", time)
        .add("a/b~c", json!(1))
        .source_time(PropertyPath::component("thermostat1", "Temperature"), time)
        .add(PropertyPath::component("thermostat1", "Temperature"), json!(21.5))
        .remove("HubName")
        .replace("Name", json!("x"))
        .replace_model(&model());
    let etag = script.client().patch(&id("pump-1"), &patch, Condition::IfMatch(ETag::new("W/\"1\""))).await.unwrap();
    assert_eq!(etag.as_str(), "W/\"2\"");
    let sent = &script.sent()[0];
    assert_eq!(sent.line, "PATCH /digitaltwins/pump-1?api-version=2023-10-31");
    assert_eq!(sent.header("if-match"), Some("W/\"1\""));
    assert_eq!(sent.header("content-type"), Some("application/json-patch+json"));
    assert_eq!(
        sent.body,
        json!([
            { "op": "add", "path": "/a~1b~0c", "value": 1 },
            { "op": "add", "path": "/thermostat1/Temperature", "value": 21.5 },
            { "op": "remove", "path": "/HubName" },
            { "op": "replace", "path": "/Name", "value": "x" },
            { "op": "replace", "path": "/$metadata/$model", "value": "dtmi:contosocom:DigitalTwins:Thermostat;1" },
            { "op": "replace", "path": "/$metadata/a~1b~0c/sourceTime", "value": "2024-05-01T12:00:00.123Z" },
            { "op": "replace", "path": "/thermostat1/$metadata/Temperature/sourceTime", "value": "2024-05-01T12:00:00.123Z" },
        ])
    );
    let without = serde_json::to_value(patch.without_source_times()).unwrap();
    assert_eq!(without.as_array().unwrap()[..], sent.body.as_array().unwrap()[..5]);
}

#[tokio::test]
async fn a_write_without_a_condition_has_no_condition() {
    let script = Script::new([Reply::empty(204).header("etag", "W/\"2\""), Reply::empty(204)]);
    let client = script.client();
    client.patch(&id("a"), &Patch::new().add("x", json!(1)), Condition::Always).await.unwrap();
    client.delete(&id("a"), Condition::Always).await.unwrap();
    assert!(script.sent().iter().all(|sent| sent.header("if-match").is_none()));
}

#[tokio::test]
async fn what_changed_and_what_is_gone_can_be_told_apart() {
    let script = Script::new([
        Reply::error(412, "PreconditionFailed"),
        Reply::error(404, "DigitalTwinNotFound"),
        Reply::error(412, "PreconditionFailed"),
        Reply::error(400, "RelationshipsNotDeleted"),
    ]);
    let (client, seen) = (script.client(), Condition::IfMatch(ETag::new("W/\"1\"")));
    let patch = Patch::new().add("x", json!(1));
    assert!(matches!(client.patch(&id("a"), &patch, seen.clone()).await, Err(Error::PreconditionFailed { .. })));
    assert!(matches!(client.patch(&id("a"), &patch, seen.clone()).await, Err(Error::NotFound { .. })));
    assert!(matches!(client.delete(&id("a"), seen.clone()).await, Err(Error::PreconditionFailed { .. })));
    let error = client.delete(&id("a"), seen).await.unwrap_err();
    assert_eq!((error.code(), error.is_transient()), (Some("RelationshipsNotDeleted"), false));
}

#[tokio::test]
async fn relationships_are_made_once_and_deleted() {
    let script = Script::new([
        Reply::json(200, &json!({})),
        Reply::error(412, "PreconditionFailed"),
        Reply::error(404, "TargetDigitalTwinNotFound"),
        Reply::empty(204),
    ]);
    let relationship = Relationship {
        id: RelationshipId::parse("room/contains").unwrap(),
        source: id("room"),
        name: "contains".to_owned(),
        target: id("pump-1"),
        properties: Map::from_iter([("since".to_owned(), json!("2024"))]),
    };
    let client = script.client();
    assert_eq!(client.put_relationship(&relationship).await.unwrap(), Creation::Created(()));
    assert_eq!(client.put_relationship(&relationship).await.unwrap(), Creation::Exists);
    let error = client.put_relationship(&relationship).await.unwrap_err();
    assert_eq!(error.code(), Some("TargetDigitalTwinNotFound"));
    client.delete_relationship(&relationship.source, &relationship.id).await.unwrap();
    let sent = script.sent();
    assert_eq!(sent[0].line, "PUT /digitaltwins/room/relationships/room%2Fcontains?api-version=2023-10-31");
    assert_eq!(sent[0].header("if-none-match"), Some("*"));
    assert_eq!(sent[0].body, json!({ "since": "2024", "$relationshipName": "contains", "$targetId": "pump-1" }));
    assert_eq!(sent[3].line, "DELETE /digitaltwins/room/relationships/room%2Fcontains?api-version=2023-10-31");
}

/// What the service was recorded to answer to the operations that we use.
#[tokio::test]
async fn recorded_answers_about_twins_are_understood() {
    let mut understood = 0;
    for entry in fixtures::json("adt", "twins.json").as_array().unwrap() {
        let (request, response) = (&entry["request"], &entry["response"]);
        let path = request["path"].as_str().unwrap();
        let Some(name) = path.strip_prefix("/digitaltwins/").and_then(|rest| rest.split('?').next()) else { continue };
        let status = u16::try_from(response["status"].as_u64().unwrap()).unwrap();
        let reply = || {
            let body =
                if response["body"].is_null() { Reply::empty(status) } else { Reply::json(status, &response["body"]) };
            response["headers"]["ETag"].as_str().map_or(body, |etag| Reply::empty(status).header("etag", etag))
        };
        let etag = request["headers"]["If-Match"].as_str().map(ETag::new);
        let condition = etag.map_or(Condition::Always, Condition::IfMatch);
        let patch = Patch::new().add("x", json!(1));
        let got = match request["method"].as_str().unwrap() {
            "GET" => {
                let script = Script::new([Reply::json(status, &response["body"])]);
                match script.client().get(&id(name)).await {
                    Ok(Some(twin)) => {
                        assert_eq!(twin.id().as_str(), name);
                        assert_eq!(twin.etag().as_str(), response["headers"]["ETag"].as_str().unwrap());
                        200
                    }
                    Ok(None) => 404,
                    Err(error) => error.status().unwrap(),
                }
            }
            "PATCH" => match Script::new([reply()]).client().patch(&id(name), &patch, condition).await {
                Ok(_) => 204,
                Err(error) => error.status().unwrap(),
            },
            "DELETE" => match Script::new([reply()]).client().delete(&id(name), condition).await {
                Ok(()) => 204,
                Err(error) => error.status().unwrap(),
            },
            "PUT" if status == 200 => {
                let twin = Twin::from_json(response["body"].clone()).unwrap();
                assert_eq!(twin.model().as_str(), request["body"]["$metadata"]["$model"].as_str().unwrap());
                200
            }
            _ => continue,
        };
        assert_eq!(got, status, "{} {path}", request["method"]);
        understood += 1;
    }
    assert!(understood > 15, "{understood}");
}

#[test]
fn components_are_no_properties() {
    let document = json!({
        "$dtId": "a", "$etag": "W/\"1\"",
        "Prop": { "$not": "a component" },
        "comp": { "Temperature": 3, "$metadata": { "Temperature": { "sourceTime": "2024-05-01T12:00:00Z" } } },
        "$metadata": { "$model": "dtmi:a:B;1" },
    });
    let twin = Twin::from_json(document).unwrap();
    assert_eq!(twin.properties().map(|(name, _)| name).collect::<Vec<_>>(), ["Prop"]);
    assert_eq!(twin.property("comp"), None);
    assert_eq!(twin.property("$metadata"), None);
    let component = twin.component("comp").unwrap();
    assert_eq!(component.property("Temperature"), Some(&json!(3)));
    assert_eq!(component.source_time("Temperature").unwrap().to_string(), "2024-05-01T12:00:00Z");
    assert!(twin.component("Prop").is_none());
    for missing in ["$dtId", "$etag", "$metadata"] {
        let mut document = super::script::twin("a");
        document.as_object_mut().unwrap().remove(missing);
        assert!(Twin::from_json(document).is_err(), "{missing}");
    }
    assert!(Twin::from_json(Value::Null).is_err());
}
