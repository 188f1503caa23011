//! `/digitaltwins/{id}/relationships` and `/digitaltwins/{id}/incomingrelationships`.

use serde_json::{Value, json};

use super::client::{Instance, model, property, relationship, twin};

const SPACE: &str = "dtmi:com:example:Space;1";
const ROOM: &str = "dtmi:com:example:Room;1";

async fn instance() -> Instance {
    let mut has_room = relationship("hasRoom");
    has_room["target"] = ROOM.into();
    let mut room = model(ROOM, json!([property("Name", "string")]));
    room["extends"] = SPACE.into();
    let instance = Instance::of(&[model(SPACE, json!([relationship("contains"), has_room])), room], &json!({}));
    for (id, model) in [("a", SPACE), ("b", SPACE), ("room", ROOM)] {
        assert_eq!(instance.put(&format!("/digitaltwins/{id}"), &twin(model, json!({}))).await.status, 200);
    }
    instance
}

fn to(name: &str, target: &str) -> Value {
    json!({ "$relationshipName": name, "$targetId": target })
}

#[tokio::test]
async fn a_relationship_has_to_be_one_of_the_sources_model() {
    let instance = instance().await;
    let mut wrong = to("contains", "b");
    wrong["isAccessRestricted"] = "yes".into();
    let mut unknown = to("contains", "b");
    unknown["colour"] = 1.into();
    for (body, code) in [
        (to("contains", "b"), None),
        (to("hasRoom", "room"), None),
        (to("hasRoom", "b"), Some("InvalidRelationship")),
        (to("isNear", "b"), Some("InvalidRelationship")),
        (to("contains", "a"), Some("OperationNotAllowed")),
        (to("contains", "none"), Some("TargetDigitalTwinNotFound")),
        (wrong, Some("ValidationFailed")),
        (unknown, Some("ValidationFailed")),
        (json!([]), Some("InvalidArgument")),
    ] {
        let answer = instance.put("/digitaltwins/a/relationships/r", &body).await;
        let got = (answer.status != 200).then(|| answer.error().1);
        assert_eq!(got.as_deref(), code, "{body}");
    }
}

#[tokio::test]
async fn a_relationship_keeps_both_its_ends_from_being_deleted() {
    let instance = instance().await;
    assert_eq!(instance.put("/digitaltwins/a/relationships/r", &to("contains", "b")).await.status, 200);
    let stale = [("If-Match", "W/\"x\"")];
    for id in ["a", "b"] {
        assert_eq!(instance.delete(&format!("/digitaltwins/{id}")).await.error().1, "RelationshipsNotDeleted");
    }
    assert_eq!(instance.ask("DELETE", "/digitaltwins/a/relationships/r", &stale, None).await.status, 412);
    assert_eq!(instance.delete("/digitaltwins/a/relationships/r").await.status, 204);
    assert_eq!(instance.delete("/digitaltwins/a/relationships/r").await.error().1, "RelationshipNotFound");
    for id in ["a", "b"] {
        assert_eq!(instance.delete(&format!("/digitaltwins/{id}")).await.status, 204);
    }
    assert_eq!(instance.delete("/digitaltwins/a/relationships/r").await.error().1, "DigitalTwinNotFound");
}

#[tokio::test]
async fn a_relationship_that_is_there_is_replaced_or_left_as_wanted() {
    let instance = instance().await;
    let path = "/digitaltwins/a/relationships/r";
    let first = instance.put(path, &to("contains", "b")).await;
    let again = instance.ask("PUT", path, &[("If-None-Match", "*")], Some(&to("contains", "room"))).await;
    assert_eq!(
        again.error().2,
        "If-None-Match: * header was specified but a relationship with the id r was found. Please specify a different \
         relationship id."
    );
    let replaced = instance.put(path, &to("hasRoom", "room")).await;
    assert_ne!(replaced.etag(), first.etag());
    assert_eq!(instance.get("/digitaltwins/b/incomingrelationships").await.json()["value"], json!([]));
    assert_eq!(instance.service.relationship_count(), 1);
}

#[tokio::test]
async fn patches_are_of_properties_only() {
    let instance = instance().await;
    let path = "/digitaltwins/a/relationships/r";
    instance.put(path, &to("contains", "b")).await;
    let remove = json!([{ "op": "remove", "path": "/isAccessRestricted" }]);
    assert_eq!(
        instance.patch(path, &remove).await.error().2,
        "The target location specified by path segment 'isAccessRestricted' was not found. Please provide a valid patch \
         document. See section on update apis in the documentation https://aka.ms/adtv2twins."
    );
    let add = json!([{ "op": "add", "path": "/isAccessRestricted", "value": true }]);
    let answer = instance.patch(path, &add).await;
    assert_eq!(answer.status, 204);
    assert_eq!(instance.get(path).await.etag(), answer.etag());
    assert_eq!(instance.patch(path, &remove).await.status, 204);
    assert_eq!(instance.get(path).await.json().get("isAccessRestricted"), None);
    let target = json!([{ "op": "replace", "path": "/$targetId", "value": "room" }]);
    assert_eq!(instance.patch(path, &target).await.error().1, "JsonPatchInvalid");
    let wrong = json!([{ "op": "add", "path": "/isAccessRestricted", "value": 1 }]);
    assert_eq!(instance.patch(path, &wrong).await.error().1, "ValidationFailed");
    let error = instance.patch(path, &json!([{}])).await.error();
    assert!(error.2.starts_with("Parameter op must not be empty."), "{error:?}");
}

#[tokio::test]
async fn lists_come_in_pages_of_ten_and_can_be_of_one_name() {
    let instance = instance().await;
    for n in 0..21 {
        let name = if n % 2 == 0 { "contains" } else { "hasRoom" };
        let body = to(name, "room");
        assert_eq!(instance.put(&format!("/digitaltwins/a/relationships/r_{n}"), &body).await.status, 200);
        assert_eq!(instance.put(&format!("/digitaltwins/b/relationships/r_{n}"), &body).await.status, 200);
    }
    for (path, expected) in [
        ("/digitaltwins/a/relationships", 21),
        ("/digitaltwins/a/relationships?relationshipName=contains", 11),
        ("/digitaltwins/room/incomingrelationships", 42),
        ("/digitaltwins/room/relationships", 0),
    ] {
        let (mut path, mut found, mut last_page) = (path.to_owned(), Vec::new(), false);
        while !last_page {
            let page = instance.get(&path).await.json();
            let rows = page["value"].as_array().unwrap().clone();
            last_page = page["nextLink"].is_null();
            assert!(rows.len() == 10 || last_page);
            found.extend(rows.iter().map(|row| format!("{} {}", row["$relationshipId"], row["$sourceId"])));
            path = page["nextLink"].as_str().unwrap_or_default().replace("https://adt.example", "");
        }
        assert!(found.is_sorted());
        found.dedup();
        assert_eq!(found.len(), expected, "{path}");
    }
    let link = &instance.get("/digitaltwins/room/incomingrelationships").await.json()["value"][0]["$relationshipLink"];
    let path = link.as_str().unwrap().strip_prefix("https://adt.example").unwrap();
    assert_eq!(instance.get(path).await.json()["$targetId"], "room");
    for path in ["/digitaltwins/a/relationships", "/digitaltwins/room/incomingrelationships"] {
        assert_eq!(instance.get(&format!("{path}?continuationToken=x")).await.error().1, "BadRequest");
    }
}
