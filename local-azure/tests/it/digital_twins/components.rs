//! `/digitaltwins/{id}/components/{path}` and telemetry.

use serde_json::json;

use super::client::{Instance, component, model, property, twin};

const SENSOR: &str = "dtmi:com:example:Sensor;1";
const ROOM: &str = "dtmi:com:example:Room;1";

async fn instance() -> Instance {
    let models = [
        model(SENSOR, json!([property("Battery", "integer"), property("Unit", "string")])),
        model(ROOM, json!([component("Sensor", SENSOR)])),
    ];
    let instance = Instance::of(&models, &json!({}));
    let room = twin(ROOM, json!({ "Sensor": { "$metadata": {}, "Battery": 90, "Unit": "%" } }));
    assert_eq!(instance.put("/digitaltwins/room", &room).await.status, 200);
    instance
}

#[tokio::test]
async fn a_patch_of_a_component_is_a_new_version_of_its_twin() {
    let instance = instance().await;
    instance.pass(1);
    let patch = json!([{ "op": "replace", "path": "/Battery", "value": 80 }]);
    let answer = instance.patch("/digitaltwins/room/components/Sensor", &patch).await;
    assert_eq!(answer.status, 204);
    let twin = instance.get("/digitaltwins/room").await;
    assert_eq!(answer.etag(), twin.etag());
    let component = instance.get("/digitaltwins/room/components/Sensor").await;
    assert_eq!(component.etag(), twin.etag());
    assert_eq!(component.json(), twin.json()["Sensor"]);
    let metadata = &component.json()["$metadata"];
    assert_eq!(metadata["Battery"]["lastUpdateTime"], metadata["$lastUpdateTime"]);
    assert_eq!(metadata["$lastUpdateTime"], twin.json()["$metadata"]["$lastUpdateTime"]);
    assert_ne!(metadata["Unit"]["lastUpdateTime"], metadata["$lastUpdateTime"]);
}

#[tokio::test]
async fn a_component_that_is_not_there_is_a_path_that_is_not_found() {
    let instance = instance().await;
    let patch = json!([{ "op": "replace", "path": "/ComponentProp1", "value": "x" }]);
    let answer = instance.patch("/digitaltwins/room/components/Component2", &patch).await;
    assert_eq!(
        answer.error(),
        (
            400,
            "JsonPatchInvalid".to_owned(),
            "/Component2/ComponentProp1 was not found. Please provide a valid patch document. See section on update \
             apis in the documentation https://aka.ms/adtv2twins."
                .to_owned()
        )
    );
}

#[tokio::test]
async fn telemetry_needs_a_message_id_and_someone_it_is_from() {
    let instance = instance().await;
    let id = [("Message-Id", "1")];
    let any = json!({ "anything": 1 });
    for (path, headers, status) in [
        ("/digitaltwins/room/telemetry", &id[..], 204),
        ("/digitaltwins/room/components/Sensor/telemetry", &id[..], 204),
        ("/digitaltwins/room/components/Other/telemetry", &id[..], 404),
        ("/digitaltwins/none/telemetry", &id[..], 404),
        ("/digitaltwins/room/telemetry", &[], 400),
        ("/digitaltwins/room/telemetry", &[("Message-Id", "1"), ("Telemetry-Source-Time", "now")], 400),
    ] {
        let answer = instance.ask("POST", path, headers, Some(&any)).await;
        assert_eq!(answer.status, status, "{path} {headers:?}: {}", answer.text());
    }
}
