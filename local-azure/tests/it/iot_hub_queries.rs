//! Queries, statistics and bulk changes of device twins.

use axum::http::{Method, StatusCode};
use local_azure::iot_hub::{Condition, NewIdentity, Status};
use serde_json::{Value, json};

use crate::{
    iot_hub_service::Owner,
    iot_site::{HUB, KEY, Site, device, hub_connect, module},
};

async fn query(owner: &Owner, text: &str) -> Value {
    let answer = owner.call(Method::POST, "/devices/query", None, Some(json!({ "query": text }))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.body
}

/// Devices d0 to d3, each on the floor of its number; d3 is disabled.
async fn building() -> (Site, Owner) {
    let site = Site::start().await;
    let owner = Owner::of(&site);
    let mut twins = Vec::new();
    for n in 0..4 {
        site.create(&device(&format!("d{n}")));
        twins.push(json!({ "id": format!("d{n}"), "importMode": "updateTwin", "tags": { "floor": n } }));
    }
    let answer = owner.call(Method::POST, "/devices", None, Some(twins.into())).await;
    assert_eq!(answer.body["isSuccessful"], true, "{}", answer.body);
    let disabled = NewIdentity { status: Status::Disabled, ..NewIdentity::default() };
    site.hubs[0].update(&device("d3"), disabled, &Condition::Any).unwrap();
    (site, owner)
}

#[tokio::test]
async fn twins_are_found_by_tags_properties_and_status() {
    let (site, owner) = building().await;
    let found = async |condition: &str| {
        let twins = query(&owner, &format!("SELECT deviceId FROM devices WHERE {condition}")).await;
        let ids = twins.as_array().unwrap().iter().map(|twin| twin["deviceId"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(found("tags.floor > 1").await, ["d2", "d3"]);
    assert_eq!(found("tags.floor > 1 AND status = 'enabled'").await, ["d2"]);
    assert_eq!(found("properties.desired.$version = 1 AND NOT tags.floor IN [0, 1, 2]").await, ["d3"]);
    let client = site.connect(hub_connect(HUB, "d1", KEY)).await;
    assert_eq!(found("connectionState = 'Connected'").await, ["d1"]);
    assert_eq!(owner.get("/statistics/service").await.body, json!({ "connectedDeviceCount": 1 }));
    client.disconnect().await;
    site.stop().await;
}

#[tokio::test]
async fn modules_are_queried_and_devices_counted() {
    let (site, owner) = building().await;
    site.create(&module("d1", "m1"));
    site.create(&module("d2", "m1"));
    let modules = query(&owner, "SELECT deviceId, moduleId FROM devices.modules").await;
    assert_eq!(modules, json!([{ "deviceId": "d1", "moduleId": "m1" }, { "deviceId": "d2", "moduleId": "m1" }]));
    let count = query(&owner, "SELECT COUNT() AS there FROM devices WHERE tags.floor < 3").await;
    assert_eq!(count, json!([{ "there": 3 }]));
    let statistics = json!({ "totalDeviceCount": 4, "enabledDeviceCount": 3, "disabledDeviceCount": 1 });
    assert_eq!(owner.get("/statistics/devices").await.body, statistics);
    site.stop().await;
}

#[tokio::test]
async fn a_twin_is_changed_in_bulk_only_if_it_is_as_the_sender_knows_it() {
    let (site, owner) = building().await;
    let change = async |etag: &str| {
        let item = json!({ "id": "d1", "importMode": "updateTwinIfMatchETag", "twinETag": etag, "tags": { "a": 1 } });
        owner.call(Method::POST, "/devices", None, Some(json!([item]))).await.body
    };
    let etag = site.hubs[0].device_twin(&device("d1")).unwrap()["etag"].as_str().unwrap().to_owned();
    assert_eq!(change(&etag).await["isSuccessful"], true);
    assert_eq!(change(&etag).await["errors"][0]["errorStatus"], "PreconditionFailed");
    site.stop().await;
}
