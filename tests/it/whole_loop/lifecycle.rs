//! Devices that are deleted.

use reqwest::Method;
use serde_json::{Value, json};

use super::site::{LIFECYCLE, SPACE, Site, THERMOSTAT, counts, temperature};

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_device_takes_its_twin_and_its_relationships_and_nothing_else() {
    let site = Site::start().await;
    tokio::join!(site.register("pump-1"), site.register("pump-2"));
    site.relate("building-1", "contains", "pump-1").await;
    site.relate("building-1", "contains", "pump-2").await;
    site.relate("pump-1", "serves", "building-1").await;
    site.relate("pump-1", "serves", "pump-2").await;
    site.relate("pump-2", "serves", "pump-1").await;
    site.relate("pump-2", "serves", "building-1").await;
    site.delete_device("pump-1").await;
    site.caught_up().await;
    assert_eq!(site.twin("pump-1").await, None);
    assert!(site.twin("pump-2").await.is_some());
    assert_eq!(site.relationships("pump-2").await, ["serves building-1"]);
    let building = site.relationships("building-1").await;
    assert_eq!(building.len(), 4, "{building:?}");
    assert!(building.contains(&"contains pump-2".to_owned()));
    assert_eq!(site.outcomes(LIFECYCLE), counts([("otherOperation", 2), ("applied", 1)]));
    assert_eq!(site.dead_letters().await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twin_with_more_relationships_than_a_page_holds_goes_too() {
    let site = Site::start().await;
    site.register("pump-1").await;
    let before = site.running.services().digital_twins.relationship_count();
    let spaces: Vec<_> = (0..150).map(|n| format!("space-{n}")).collect();
    for space in &spaces {
        site.create_twin(space, SPACE, json!({})).await;
        site.relate(space, "contains", "pump-1").await;
        site.relate("pump-1", "serves", space).await;
    }
    site.delete_device("pump-1").await;
    site.caught_up().await;
    assert_eq!(site.twin("pump-1").await, None);
    assert_eq!(site.running.services().digital_twins.relationship_count(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deletion_of_a_module_leaves_the_twin() {
    let site = Site::start().await;
    let pump = site.register("pump-1").await;
    let module = "/devices/pump-1/modules/filter";
    site.hub(Method::PUT, module, Some(json!({ "deviceId": "pump-1", "moduleId": "filter" }))).await;
    site.hub(Method::DELETE, module, None).await;
    site.caught_up().await;
    assert_eq!(site.outcomes(LIFECYCLE), counts([("otherOperation", 2), ("module", 1)]));
    site.send(&pump, [temperature(20.0)]).await;
    site.caught_up().await;
    assert_eq!(site.twin("pump-1").await.unwrap()["Temperature"], 20.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_that_bears_a_devices_name_stays() {
    let site = Site::start().await;
    site.add_device("Building-1").await;
    site.add_device("lobby-thermostat").await;
    site.delete_device("Building-1").await;
    site.caught_up().await;
    assert!(site.twin("building-1").await.is_some());
    assert_eq!(site.relationships("building-1").await.len(), 3);
    assert_eq!(site.outcomes(LIFECYCLE), counts([("otherOperation", 2), ("unmarked", 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_names_another_devices_twin_deletes_nothing() {
    let site = Site::start().await;
    site.register("victim").await;
    site.add_device("mallory").await;
    site.create_twin("her-own", THERMOSTAT, json!({ "HubDeviceId": "mallory" })).await;
    site.hub(Method::PATCH, "/twins/mallory", Some(json!({ "tags": { "dtId": "victim" } }))).await;
    site.delete_device("mallory").await;
    site.caught_up().await;
    assert!(site.twin("victim").await.is_some());
    assert_eq!(site.twin("her-own").await, None, "it is bound to the deleted device");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_deleted_and_registers_again_lives() {
    let site = Site::start().await;
    site.register("pump-1").await;
    for round in 1..=2 {
        site.delete_device("pump-1").await;
        let pump = site.register("pump-1").await;
        site.caught_up().await;
        let twin = site.twin("pump-1").await.expect("the new device's twin");
        assert_eq!(twin["HubRegistrationId"], "pump-1");
        site.send(&pump, [temperature(f64::from(round))]).await;
        site.caught_up().await;
        assert_eq!(site.twin("pump-1").await.unwrap()["Temperature"], f64::from(round));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_is_delivered_again_leaves_the_device_that_registered_since() {
    let site = Site::start().await;
    site.register("pump-1").await;
    site.delete_device("pump-1").await;
    site.caught_up().await;
    assert_eq!(site.twin("pump-1").await, None);
    site.register("pump-1").await;
    site.caught_up().await;
    let lifecycle = &site.running.services().event_hubs[1];
    let deletion = |event: &&std::sync::Arc<local_azure::event_hubs::StoredEvent>| {
        event.data.application_properties["opType"] == "deleteDeviceIdentity"
    };
    let events = lifecycle.read(0, None, usize::MAX);
    let again = events.iter().find(deletion).unwrap().data.clone();
    lifecycle.append("pump-1", again);
    site.caught_up().await;
    assert!(site.twin("pump-1").await.is_some());
    assert_eq!(site.outcomes(LIFECYCLE), counts([("otherOperation", 2), ("applied", 1), ("registeredAnew", 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twin_can_stay_behind_unassigned_and_wait_for_the_next_device() {
    let site = Site::with_settings(&[("LIFECYCLE_ON_DELETE", "unassign")]).await;
    let pump = site.register("pump-1").await;
    site.send(&pump, [temperature(20.0)]).await;
    // The deletion travels through another event hub: it could be faster.
    site.caught_up().await;
    site.relate("building-1", "contains", "pump-1").await;
    site.delete_device("pump-1").await;
    site.caught_up().await;
    let twin = site.twin("pump-1").await.unwrap();
    assert_eq!(twin["Temperature"], 20.0);
    for property in ["HubRegistrationId", "HubDeviceId", "HubName"] {
        assert_eq!(twin.get(property), None, "{property}");
    }
    assert!(site.relationships("building-1").await.contains(&"contains pump-1".to_owned()));

    let again = site.register("pump-1").await;
    assert_eq!(again.twin_id(), "pump-1");
    assert_eq!(site.twin("pump-1").await.unwrap()["HubRegistrationId"], "pump-1");
}
