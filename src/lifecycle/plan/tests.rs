use serde_json::{Value, json};

use super::*;
use crate::lifecycle::decode::decode;
use crate::recorded::lifecycle_event;

const ALL: Bookkeeping = Bookkeeping { registration_id: true, device_id: true, hub_name: true };
const NONE: Bookkeeping = Bookkeeping { registration_id: false, device_id: false, hub_name: false };

/// Device thermo-01 was deleted in contoso-hub at 19:02:11.12; its tag names twin thermo-01.
fn deletion() -> Deletion {
    decode(0, &lifecycle_event("device_deleted")).unwrap()
}

fn twin(id: &str, members: Value) -> Twin {
    let mut document = json!({
        "$dtId": id, "$etag": "W/\"1\"", "$metadata": { "$model": "dtmi:contosocom:DigitalTwins:Thermostat;2" }
    });
    for (name, value) in members.as_object().unwrap() {
        match name.as_str() {
            "$metadata" => document["$metadata"]["HubRegistrationId"] = value.clone(),
            _ => document[name] = value.clone(),
        }
    }
    Twin::from_json(document).unwrap()
}

/// The twin of the device, with what allocation writes, registered at `times`.
fn bound(times: Value) -> Twin {
    twin("thermo-01", json!({ "HubRegistrationId": "thermo-01", "HubName": "contoso-hub", "$metadata": times }))
}

fn planned(twin: &Twin, bookkeeping: Bookkeeping) -> Result<Change, LeftOut> {
    plan(&deletion(), twin, bookkeeping, OnDelete::Delete)
}

#[test]
fn the_devices_twin_is_deleted() {
    let registered = json!({ "lastUpdateTime": "2026-05-27T18:49:38.0000000Z", "sourceTime": "2026-05-27T18:49:38Z" });
    assert_eq!(planned(&bound(registered), ALL), Ok(Change::Delete));
}

#[test]
fn a_twin_of_another_device_or_of_none_stays() {
    for members in [
        json!({ "HubRegistrationId": "thermo-02" }),
        json!({ "HubRegistrationId": "thermo-01", "HubDeviceId": "thermo-02" }),
        json!({ "HubRegistrationId": "", "HubDeviceId": "Thermo-01" }),
        json!({}),
    ] {
        assert_eq!(planned(&twin("thermo-01", members.clone()), ALL), Err(LeftOut::NotBound), "{members}");
    }
}

#[test]
fn a_twin_that_only_bears_the_devices_name_must_be_named_by_its_tag() {
    let space = twin("thermo-01", json!({}));
    assert_eq!(planned(&space, NONE), Ok(Change::Delete));
    let untagged = Deletion { tagged: None, ..deletion() };
    assert_eq!(plan(&untagged, &space, NONE, OnDelete::Delete), Err(LeftOut::Unmarked));
    // Twin ids that differ in case are two twins: the tag names the other.
    assert_eq!(planned(&twin("Thermo-01", json!({})), NONE), Err(LeftOut::Unmarked));
    // A twin that says whose it is needs no tag.
    assert_eq!(plan(&untagged, &bound(json!({})), ALL, OnDelete::Delete), Ok(Change::Delete));
}

#[test]
fn a_device_that_registered_after_its_deletion_keeps_its_twin() {
    let (before, at, after) =
        ("2026-05-27T19:02:11.1199999Z", "2026-05-27T19:02:11.12Z", "2026-05-27T19:02:11.1200001Z");
    for (times, expected) in [
        (json!({ "lastUpdateTime": before }), Ok(Change::Delete)),
        (json!({ "lastUpdateTime": at, "sourceTime": at }), Ok(Change::Delete)),
        (json!({ "lastUpdateTime": after }), Err(LeftOut::RegisteredAnew)),
        (json!({ "lastUpdateTime": before, "sourceTime": after }), Err(LeftOut::RegisteredAnew)),
        (json!({ "lastUpdateTime": after, "sourceTime": before }), Err(LeftOut::RegisteredAnew)),
    ] {
        assert_eq!(planned(&bound(times.clone()), ALL), expected, "{times}");
    }
}

#[test]
fn a_device_that_moved_to_another_hub_keeps_its_twin() {
    for (hub, expected) in [
        ("contoso-hub", Ok(Change::Delete)),
        ("Contoso-Hub", Ok(Change::Delete)),
        ("contoso-hub.azure-devices.net", Ok(Change::Delete)),
        ("", Ok(Change::Delete)),
        ("contoso-hub-2", Err(LeftOut::OtherHub)),
        ("contoso_hub", Err(LeftOut::OtherHub)),
    ] {
        let twin = twin("thermo-01", json!({ "HubRegistrationId": "THERMO-01", "HubName": hub }));
        assert_eq!(planned(&twin, ALL), expected, "{hub}");
    }
}

#[test]
fn an_unassigned_twin_loses_the_bookkeeping_properties_that_it_has() {
    let change = plan(&deletion(), &bound(json!({})), ALL, OnDelete::Unassign).unwrap();
    let Change::Unassign(patch) = change else { panic!("{change:?}") };
    assert_eq!(
        serde_json::to_value(&patch).unwrap(),
        json!([{ "op": "remove", "path": "/HubRegistrationId" }, { "op": "remove", "path": "/HubName" }])
    );
    let change = plan(&deletion(), &twin("thermo-01", json!({})), NONE, OnDelete::Unassign).unwrap();
    assert!(matches!(change, Change::Unassign(patch) if patch.is_empty()));
}
