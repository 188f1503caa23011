use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const MODEL: &str = "dtmi:test:Pump;1";
const LONG_AGO: &str = "2026-01-01T00:00:00Z";
const JUST_NOW: &str = "2026-01-02T00:00:00Z";

fn scope() -> Scope {
    let hubs = ["hub-a", "hub-b"].map(|name| HubName::of_host(name).unwrap()).to_vec();
    Scope { hubs, all_hubs: false, bound_before: "2026-01-01T12:00:00Z".parse().unwrap() }
}

/// A device whose tags name this twin.
fn device(hub: &str, id: &str, twin: &str) -> Device {
    Device {
        hub: HubName::of_host(hub).unwrap(),
        id: DeviceId::parse(id).unwrap(),
        etag: "AAAA".to_owned(),
        twin_id: Some(twin.to_owned()),
        model_id: Some(MODEL.to_owned()),
    }
}

fn twin(id: &str, properties: Value, registered: Option<&str>) -> BoundTwin {
    let mut document = json!({ "$dtId": id, "$etag": "W/\"1\"", "$metadata": { "$model": MODEL,
        "HubRegistrationId": { "sourceTime": registered, "lastUpdateTime": LONG_AGO } } });
    document.as_object_mut().unwrap().extend(properties.as_object().unwrap().clone());
    let all = Bookkeeping { registration_id: true, device_id: true, hub_name: true };
    BoundTwin::of(&Twin::from_json(document).unwrap(), all).unwrap()
}

/// A twin whose device registered long ago.
fn registered(id: &str, registration: &str, hub: &str) -> BoundTwin {
    twin(id, json!({ "HubRegistrationId": registration, "HubName": hub }), Some(LONG_AGO))
}

fn told(devices: &[Device], twins: &[BoundTwin], scope: &Scope) -> Vec<String> {
    plan(devices, twins, scope).differences.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_in_step_is_no_difference() {
    let devices = [device("hub-a", "Pump-1", "pump-1"), device("hub-b", "p2", "room")];
    let twins = [registered("pump-1", "pump-1", "HUB-A"), registered("room", "p2", "hub-b")];
    let plan = plan(&devices, &twins, &scope());
    assert_eq!(plan.differences, []);
    assert_eq!(plan.counts.to_string(), "2 devices, 2 twins bound to devices; no differences");
}

#[test]
fn a_twin_of_a_device_that_its_hub_does_not_have_is_removed() {
    assert_eq!(
        told(&[], &[registered("t", "pump-1", "hub-a")], &scope()),
        ["twin t is bound to device pump-1, which hub hub-a does not have\n  -> remove the twin as the event of the \
          deletion would have (LIFECYCLE_ON_DELETE)"]
    );
}

#[test]
fn twins_that_could_be_anothers_or_are_too_young_are_left_alone() {
    let waiting = twin("w", json!({ "HubRegistrationId": "W" }), None);
    let elsewhere = registered("e", "e", "hub-c");
    let unreadable = registered("u", "u", "no hub!");
    let young = twin("y", json!({ "HubRegistrationId": "y", "HubName": "hub-a" }), Some(JUST_NOW));
    let plan = plan(&[], &[waiting, elsewhere, unreadable, young], &scope());
    assert_eq!(plan.differences, []);
    assert_eq!(
        plan.counts.to_string(),
        "no devices, 4 twins bound to devices, 1 waiting for their device's first registration, 2 of hubs that are not \
         named, 1 left alone because they were bound only just now; no differences"
    );
}

#[test]
fn without_a_hub_name_a_twin_is_removed_only_where_all_hubs_are_named() {
    let twins = [twin("t", json!({ "HubRegistrationId": "p" }), Some(LONG_AGO))];
    let differences = |scope: &Scope| plan(&[], &twins, scope).differences;
    assert!(matches!(differences(&scope())[..], [Difference::Homeless { .. }]));
    let all = Scope { all_hubs: true, ..scope() };
    assert!(matches!(differences(&all)[..], [Difference::Orphan { .. }]));
}

#[test]
fn a_device_without_twin_gets_one_where_its_tag_says_of_which_model() {
    let untagged = Device { twin_id: None, model_id: None, ..device("hub-a", "b", "b") };
    assert_eq!(
        told(&[device("hub-a", "a", "a"), untagged], &[], &scope()),
        [
            "device a in hub hub-a has no twin\n  -> make a twin of dtmi:test:Pump;1, as its tag dtmi says",
            "device b in hub hub-a has no twin\n  -> by hand: let it register with DPS again, or set its tag dtmi",
        ]
    );
}

#[test]
fn tags_that_disagree_are_set() {
    let untagged = Device { twin_id: None, model_id: None, ..device("hub-a", "b", "b") };
    let devices = [device("hub-a", "a", "other"), untagged];
    let twins = [registered("a", "a", "hub-a"), twin("room", json!({ "HubDeviceId": "b" }), None)];
    assert_eq!(
        told(&devices, &twins, &scope()),
        [
            "device a in hub hub-a has the twin a, and its tags say dtId other, dtmi dtmi:test:Pump;1\n  -> set its tags \
             to dtId a, dtmi dtmi:test:Pump;1",
            "device b in hub hub-a has the twin room, and its tags say dtId nothing, dtmi nothing\n  -> set its tags to \
             dtId room, dtmi dtmi:test:Pump;1",
        ]
    );
}

#[test]
fn a_twin_follows_its_device_to_the_one_hub_that_has_it() {
    let twins = [registered("p", "p", "hub-a")];
    assert_eq!(
        told(&[device("hub-b", "p", "p")], &twins, &scope()),
        ["twin p has HubName hub-a, and its device p lives in hub hub-b\n  -> set HubName to hub-b"]
    );
    // The same name in both hubs: the twin's own word counts.
    let both = [device("hub-a", "p", "p"), device("hub-b", "p", "p")];
    assert!(matches!(&plan(&both, &twins, &scope()).differences[..],
        [Difference::NoTwin { device, .. }] if device.hub.as_str() == "hub-b"));
}

#[test]
fn a_twin_of_a_device_on_the_move_is_left_to_it() {
    let twins = [twin("p", json!({ "HubRegistrationId": "p", "HubName": "hub-b" }), Some(JUST_NOW))];
    assert_eq!(told(&[device("hub-a", "p", "p")], &twins, &scope()), [""; 0]);
}

#[test]
fn a_twin_that_was_made_for_a_device_to_come_waits_also_where_all_hubs_are_named() {
    let twins = [twin("t", json!({ "HubDeviceId": "to-come" }), None)];
    assert_eq!(told(&[], &twins, &Scope { all_hubs: true, ..scope() }), [""; 0]);
}

#[test]
fn a_twin_without_registration_id_is_young_by_its_other_properties() {
    for (updated, count) in [(LONG_AGO, 1), (JUST_NOW, 0)] {
        let document = json!({ "$dtId": "t", "$etag": "W/\"1\"", "HubDeviceId": "pump", "HubName": "hub-a",
            "$metadata": { "$model": MODEL, "HubDeviceId": { "lastUpdateTime": LONG_AGO },
                "HubName": { "lastUpdateTime": updated } } });
        let twin = BoundTwin::of(&Twin::from_json(document).unwrap(), Bookkeeping::default()).unwrap();
        assert_eq!(told(&[], &[twin], &scope()).len(), count, "{updated}");
    }
}

#[test]
fn devices_that_differ_in_case_alone_share_the_twin_of_their_registration() {
    let devices = [device("hub-a", "PUMP", "pump"), device("hub-a", "pump", "pump")];
    assert_eq!(told(&devices, &[registered("pump", "pump", "hub-a")], &scope()), [""; 0]);
}

#[test]
fn a_space_that_bears_a_devices_name_is_given_to_it_by_no_tag() {
    let document = json!({ "$dtId": "hall", "$etag": "W/\"1\"", "$metadata": { "$model": MODEL } });
    let space = BoundTwin::of(&Twin::from_json(document).unwrap(), Bookkeeping::default()).unwrap();
    let untagged = Device { twin_id: None, model_id: None, ..device("hub-a", "Hall", "hall") };
    let plan = plan(&[untagged], std::slice::from_ref(&space), &scope());
    assert!(matches!(&plan.differences[..], [Difference::NameOnly { .. }]), "{plan:?}");
    assert!(!plan.differences[0].can_be_mended());
    // Its own tag says that it is the device's.
    assert_eq!(told(&[device("hub-a", "Hall", "hall")], &[space], &scope()), [""; 0]);
}

#[test]
fn a_twin_that_may_be_of_either_hubs_device_is_left_to_them() {
    let both = [device("hub-a", "p", "p"), device("hub-b", "p", "p")];
    assert_eq!(told(&both, &[twin("p", json!({ "HubRegistrationId": "p" }), Some(LONG_AGO))], &scope()), [""; 0]);
}

#[test]
fn several_twins_of_one_device_are_for_a_person_to_sort_out() {
    let twins = [registered("y", "p", "hub-a"), registered("x", "p", "hub-a")];
    assert_eq!(
        told(&[device("hub-a", "p", "p")], &twins, &scope()),
        ["device p has several twins: x, y\n  -> by hand: clear HubRegistrationId and HubDeviceId on all but one"]
    );
}

#[test]
fn a_device_id_binds_exactly_and_a_registration_id_in_any_case() {
    let devices = [device("hub-a", "PUMP", "t")];
    let by_id = twin("t", json!({ "HubDeviceId": "pump", "HubName": "hub-a" }), None);
    assert!(plan(&devices, &[by_id], &scope()).differences.iter().any(Difference::removes_a_twin));
    assert_eq!(told(&devices, &[registered("t", "pump", "hub-a")], &scope()), [""; 0]);
    assert_eq!(without_twin(&devices, &[registered("t", "pump", "hub-a")]), [&devices[0]; 0]);
}

proptest! {
    /// Whatever the fleet: no twin is removed whose device one of the hubs has.
    #[test]
    fn no_twin_of_a_device_that_is_there_is_removed(
        devices in prop::collection::vec(("[ab]", "hub-[abc]"), 0..6),
        twins in prop::collection::vec(("[ABab]", prop::option::of("hub-[abc]"), any::<bool>()), 0..6),
        all_hubs in any::<bool>(),
    ) {
        let devices: Vec<_> = devices.iter().filter(|(_, hub)| hub != "hub-c").map(|(id, hub)| device(hub, id, id)).collect();
        let twins: Vec<_> = twins.iter().enumerate().map(|(n, (id, hub, is_registered))| {
            let properties = json!({ "HubRegistrationId": id, "HubName": hub });
            twin(&n.to_string(), properties, is_registered.then_some(LONG_AGO))
        }).collect();
        for difference in plan(&devices, &twins, &Scope { all_hubs, ..scope() }).differences {
            if let Difference::Orphan { device: gone, hub, .. } = difference {
                prop_assert!(hub.as_str() != "hub-c");
                prop_assert!(!devices.iter().any(|device| device.id.as_str().eq_ignore_ascii_case(gone.as_str())));
            }
        }
    }
}
