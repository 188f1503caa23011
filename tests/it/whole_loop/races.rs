//! Devices that register while they are being deleted.

use std::time::Duration;

use futures::future::join_all;
use local_azure::gate::Fault;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::chance::Chance;
use super::interruptions::kill;
use super::site::{LIFECYCLE, PATIENCE, Site, counts};

/// Relates a twin and the building in both ways, by relationships with properties.
async fn relate(site: &Site, twin: &str) {
    for (source, name, target) in [("building-1", "contains", twin), (twin, "serves", "building-1")] {
        let path = format!("/digitaltwins/{source}/relationships/{source}-{name}-{target}");
        let mut relationship = json!({ "$relationshipName": name, "$targetId": target });
        if name == "serves" {
            relationship["ownershipUser"] = "me".into();
        }
        let (status, answer) = site.twins(Method::PUT, &path, Some(relationship)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
}

/// The relationships of a twin with the building, without their versions.
async fn related(site: &Site, twin: &str) -> Vec<Value> {
    let mut found = Vec::new();
    for (source, name, target) in [("building-1", "contains", twin), (twin, "serves", "building-1")] {
        let path = format!("/digitaltwins/{source}/relationships/{source}-{name}-{target}");
        let (status, mut relationship) = site.twins(Method::GET, &path, None).await;
        if status == StatusCode::OK {
            relationship.as_object_mut().unwrap().shift_remove("$etag");
            found.push(relationship);
        }
    }
    found
}

/// Marks a twin, to know it from one that is made in its place.
async fn mark(site: &Site, twin: &str) {
    let patch = json!([{ "op": "add", "path": "/Location", "value": "Roof" }]);
    let (status, answer) = site.twins(Method::PATCH, &format!("/digitaltwins/{twin}"), Some(patch)).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{answer}");
}

/// Deletes `pump-1`, which is related, and waits until its relationships are deleted; the twin cannot be, until the
/// fault with that number is removed.
async fn delete_halfway(site: &Site) -> u64 {
    let refused = json!({
        "service": "digital-twins", "operation": "DigitalTwins_Delete", "effect": { "status": 503 },
    });
    let fault = site.running.services().gate.inject(serde_json::from_value::<Fault>(refused).unwrap()).unwrap();
    site.delete_device("pump-1").await;
    let halfway = async {
        while !related(site, "pump-1").await.is_empty() || site.adt_calls("DigitalTwins_Delete") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, halfway).await.expect("the relationships are not deleted");
    fault
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_in_the_middle_of_a_deletion_keeps_the_twin_with_its_relationships() {
    let site = Site::start().await;
    site.register("pump-1").await;
    mark(&site, "pump-1").await;
    relate(&site, "pump-1").await;
    let before = related(&site, "pump-1").await;
    assert_eq!(before.len(), 2);
    let fault = delete_halfway(&site).await;
    site.register("pump-1").await;
    assert!(site.running.services().gate.remove_fault(fault));
    site.caught_up().await;
    assert_eq!(site.twin("pump-1").await.unwrap()["Location"], "Roof");
    assert_eq!(related(&site, "pump-1").await, before);
    assert_eq!(site.outcomes(LIFECYCLE), counts([("otherOperation", 2), ("registeredAnew", 1)]));
    assert_eq!(site.dead_letters().await, Vec::<Value>::new());
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_in_the_middle_of_which_the_handler_is_killed_is_ended_by_the_next() {
    let site = Site::start().await;
    site.register("pump-1").await;
    relate(&site, "pump-1").await;
    let fault = delete_halfway(&site).await;
    kill(site.running.services().functions.handlers()[0].pid.unwrap());
    assert!(site.running.services().gate.remove_fault(fault));
    site.caught_up().await;
    assert_eq!(site.twin("pump-1").await, None);
    assert_eq!(site.dead_letters().await, Vec::<Value>::new());
}

/// A life of registrations and deletions, the former a chance moment after the latter; the next deletion comes when the
/// last one is done with.
async fn live(site: &Site, seed: u64) {
    let mut chance = Chance::new(seed);
    let id = format!("pump-{seed}");
    site.register(&id).await;
    for round in 0..4 {
        let told = || format!("{id}, round {round}");
        mark(site, &id).await;
        relate(site, &id).await;
        let before = related(site, &id).await;
        site.delete_device(&id).await;
        let registers = chance.below(4) > 0;
        if registers {
            tokio::time::sleep(Duration::from_millis(chance.below(50))).await;
            site.register(&id).await;
        }
        site.caught_up().await;
        let twin = site.twin(&id).await;
        assert_eq!(twin.is_some(), registers, "{}", told());
        let after = related(site, &id).await;
        match twin {
            // The registration was faster than the deletion.
            Some(twin) if twin.get("Location").is_some() => assert_eq!(after, before, "{}", told()),
            Some(twin) => {
                assert_eq!(twin["HubRegistrationId"], id.as_str(), "{}", told());
                assert_eq!(after, Vec::<Value>::new(), "{}", told());
            }
            None => {
                assert_eq!(after, Vec::<Value>::new(), "{}", told());
                site.register(&id).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_has_its_twin_however_soon_after_its_deletion_it_registers() {
    let site = Site::with(|config| config.adt_latency = Duration::from_millis(4)).await;
    let (twins, devices) = (site.running.services().digital_twins.twin_count(), 12);
    join_all((0..devices).map(|seed| live(&site, seed))).await;
    assert_eq!(site.running.services().digital_twins.twin_count(), twins + devices as usize);
    assert_eq!(site.dead_letters().await, Vec::<Value>::new());
}

/// Registrations and deletions at the same time: DPS may make the device known in its hub just before or just after its
/// deletion.
async fn live_in_confusion(site: &Site, seed: u64) {
    let mut chance = Chance::new(seed);
    let id = format!("pump-{seed}");
    site.register(&id).await;
    for round in 0..4 {
        let deletion = async {
            tokio::time::sleep(Duration::from_millis(chance.below(60))).await;
            site.delete_device(&id).await;
        };
        tokio::join!(site.register(&id), deletion);
        site.caught_up().await;
        let devices = site.running.services().iot_hubs[0].devices();
        if !devices.iter().any(|device| device.to_string() == id) {
            assert_eq!(site.twin(&id).await, None, "{id}, round {round}");
        }
        // Deleted after the app's answer and before DPS made it known, it is without a twin until it registers again.
        site.register(&id).await;
        site.caught_up().await;
        assert_eq!(site.twin(&id).await.unwrap()["HubRegistrationId"], id.as_str(), "{id}, round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_device_leaves_no_twin_and_one_that_registers_has_one_also_when_both_happen_at_once() {
    let site = Site::with(|config| config.adt_latency = Duration::from_millis(4)).await;
    let (twins, devices) = (site.running.services().digital_twins.twin_count(), 12);
    join_all((0..devices).map(|seed| live_in_confusion(&site, seed))).await;
    assert_eq!(site.running.services().digital_twins.twin_count(), twins + devices as usize);
    assert_eq!(site.dead_letters().await, Vec::<Value>::new());
}
