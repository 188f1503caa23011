//! `handler reconcile` against hubs and twins that disagree.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::operator::{Ended, handler};
use super::site::{LIFECYCLE, Site, THERMOSTAT, counts};

/// Everything that operators can see: twins with their versions, relationships, device twins.
async fn state(site: &Site) -> Value {
    site.caught_up().await;
    let query = json!({ "query": "SELECT * FROM DIGITALTWINS" });
    let (_, page) = site.twins(Method::POST, "/query", Some(query)).await;
    assert_eq!(page.get("continuationToken"), Some(&Value::Null), "one page holds all");
    let mut state = json!({});
    for twin in page["value"].as_array().unwrap() {
        let id = twin["$dtId"].as_str().unwrap();
        let (_, relationships) = site.twins(Method::GET, &format!("/digitaltwins/{id}/relationships"), None).await;
        state["twins"][id] = json!([twin, relationships]);
    }
    for device in site.hub(Method::GET, "/devices", None).await.as_array().unwrap() {
        let id = device["deviceId"].as_str().unwrap();
        state["devices"][id] = site.hub(Method::GET, &format!("/twins/{id}"), None).await;
    }
    state
}

/// The connection strings of all hubs, one a line.
fn connection_strings(site: &Site) -> String {
    let hubs = site.running.endpoints().iot_hubs.iter();
    hubs.map(|hub| hub.service_connection_string.as_str()).collect::<Vec<_>>().join("\n")
}

/// Reconciles with no grace for what registered just now, and checks that no key is told.
async fn reconcile_with(site: &Site, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let strings = connection_strings(site);
    let variables = [&[("IOTHUB_CONNECTION_STRING", strings.as_str())], variables].concat();
    let ended = handler(site, &[&["reconcile"], arguments].concat(), &variables).await;
    for key in strings.lines().map(|string| string.rsplit_once("SharedAccessKey=").unwrap().1) {
        assert!(!ended.output.contains(key) && !ended.errors.contains(key), "a key is told");
    }
    ended
}

async fn reconcile(site: &Site, arguments: &[&str]) -> Ended {
    reconcile_with(site, &[&["--grace", "0s"], arguments].concat(), &[]).await
}

/// A twin of a device of the first hub, as a registration leaves it.
async fn create_bound_twin(site: &Site, id: &str, hub: &str) {
    site.create_twin(id, THERMOSTAT, json!({ "HubRegistrationId": id, "HubName": hub })).await;
}

async fn tag(site: &Site, device: &str, tags: Value) {
    site.hub(Method::PATCH, &format!("/twins/{device}"), Some(json!({ "tags": tags }))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_disagrees_is_shown_then_mended_then_gone() {
    let site = Site::start().await;
    tokio::join!(site.register("pump-1"), site.register("Pump-2"));
    tag(&site, "pump-1", json!({ "dtId": "elsewhere" })).await;
    create_bound_twin(&site, "gone", "contoso-hub").await;
    site.relate("building-1", "contains", "gone").await;
    site.add_device("Lonely").await;
    tag(&site, "Lonely", json!({ "dtmi": THERMOSTAT })).await;

    let before = state(&site).await;
    let shown = reconcile(&site, &[]).await;
    assert_eq!((shown.code, shown.errors.as_str()), (1, ""), "{shown:?}");
    insta::assert_snapshot!(shown.output, @"
    3 devices, 4 twins bound to devices, 1 waiting for their device's first registration; 3 differences
    twin gone is bound to device gone, which hub contoso-hub does not have
      -> remove the twin as the event of the deletion would have (LIFECYCLE_ON_DELETE)
    device Lonely in hub contoso-hub has no twin
      -> make a twin of dtmi:contosocom:DigitalTwins:Thermostat;2, as its tag dtmi says
    device pump-1 in hub contoso-hub has the twin pump-1, and its tags say dtId elsewhere, dtmi dtmi:contosocom:DigitalTwins:Thermostat;2
      -> set its tags to dtId pump-1, dtmi dtmi:contosocom:DigitalTwins:Thermostat;2
    Nothing was changed; --apply does what the arrows say.
    ");
    assert_eq!(state(&site).await, before, "a dry run changes nothing");

    let mended = reconcile(&site, &["--apply"]).await;
    assert_eq!((mended.code, mended.errors.as_str()), (0, ""), "{mended:?}");
    insta::assert_snapshot!(mended.output, @"
    3 devices, 4 twins bound to devices, 1 waiting for their device's first registration; 3 differences
    twin gone is bound to device gone, which hub contoso-hub does not have: removed
    device Lonely in hub contoso-hub has no twin: made twin lonely
    device pump-1 in hub contoso-hub has the twin pump-1, and its tags say dtId elsewhere, dtmi dtmi:contosocom:DigitalTwins:Thermostat;2: tags are set
    3 mended, 0 left
    ");
    assert_eq!(site.twin("gone").await, None);
    assert!(!site.relationships("building-1").await.contains(&"contains gone".to_owned()));
    let lonely = site.twin("lonely").await.unwrap();
    assert_eq!((&lonely["HubRegistrationId"], &lonely["HubName"]), (&json!("lonely"), &json!("contoso-hub")));
    for (device, twin) in [("pump-1", "pump-1"), ("Lonely", "lonely")] {
        let tags = &site.hub(Method::GET, &format!("/twins/{device}"), None).await["tags"];
        assert_eq!((&tags["dtId"], &tags["dtmi"]), (&json!(twin), &json!(THERMOSTAT)));
    }

    let after = state(&site).await;
    let again = reconcile(&site, &["--apply"]).await;
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.output.contains("; no differences\n"), "{again:?}");
    assert_eq!(state(&site).await, after);

    // What was made is the device's: it goes with it.
    site.outcomes(LIFECYCLE);
    site.delete_device("Lonely").await;
    site.caught_up().await;
    assert_eq!(site.outcomes(LIFECYCLE), counts([("applied", 1)]));
    assert_eq!(site.twin("lonely").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_still_come_is_left_alone() {
    let site = Site::start().await;
    create_bound_twin(&site, "just-now", "contoso-hub").await;
    create_bound_twin(&site, "elsewhere", "other-hub").await;
    let before = state(&site).await;
    let ended = reconcile_with(&site, &["--apply"], &[]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    insta::assert_snapshot!(ended.output, @"no devices, 3 twins bound to devices, 1 waiting for their device's first registration, 1 of hubs that are not named, 1 left alone because they were bound only just now; no differences");
    assert_eq!(state(&site).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_removals_than_were_expected_are_none() {
    let site = Site::start().await;
    create_bound_twin(&site, "gone-1", "contoso-hub").await;
    create_bound_twin(&site, "gone-2", "contoso-hub").await;
    let before = state(&site).await;
    let refused = reconcile(&site, &["--apply", "--max-removals", "1"]).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    insta::assert_snapshot!(refused.errors, @"error: 2 twins would be removed, more than --max-removals 1: nothing was changed");
    assert_eq!(state(&site).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twin_is_unassigned_where_the_setting_says_so() {
    let site = Site::start().await;
    create_bound_twin(&site, "place", "contoso-hub").await;
    let setting = ("LIFECYCLE_ON_DELETE", "unassign");
    let ended = reconcile_with(&site, &["--apply", "--grace", "0s"], &[setting]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let twin = site.twin("place").await.unwrap();
    assert_eq!((twin.get("HubRegistrationId"), twin.get("HubName")), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_has_to_decide_is_left_to_one() {
    let site = Site::start().await;
    site.add_device("Building-1").await;
    site.add_device("unknown").await;
    tag(&site, "unknown", json!({ "dtId": "lobby-thermostat", "dtmi": THERMOSTAT })).await;
    site.register("pump-1").await;
    site.create_twin("rival", THERMOSTAT, json!({ "HubRegistrationId": "pump-1" })).await;
    let before = state(&site).await;
    let ended = reconcile(&site, &["--apply"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    insta::assert_snapshot!(ended.output, @"
    3 devices, 4 twins bound to devices, 1 waiting for their device's first registration; 3 differences
    device Building-1 in hub contoso-hub has no twin but building-1, which bears its name and nothing else of it
      left: by hand: if the twin is the device's, set the tag dtId to building-1
    device pump-1 has several twins: pump-1, rival
      left: by hand: clear HubRegistrationId and HubDeviceId on all but one
    device unknown in hub contoso-hub has no twin
      left: its tag dtId names twin lobby-thermostat, which is not bound to it: bind it, or clear the tag
    0 mended, 3 left
    ");
    assert_eq!(state(&site).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_is_read_page_by_page() {
    let site = Site::start().await;
    let devices = |from: u32| (from..from + 80).map(|n| json!({ "id": format!("d-{n}"), "importMode": "Create" }));
    for from in [0, 80] {
        let made = site.hub(Method::POST, "/devices", Some(devices(from).collect())).await;
        assert_eq!(made["isSuccessful"], true);
    }
    let ended = reconcile(&site, &[]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.output.starts_with("160 devices, 1 twin bound to devices, "), "{ended:?}");
    assert_eq!(ended.output.matches(" has no twin\n").count(), 160);
    assert!(!ended.output.contains("--apply"), "nothing can be mended: {ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twin_follows_its_device_to_another_hub() {
    let site = Site::with(|config| {
        config.hub_names.push("second-hub.azure-devices.localhost".parse().unwrap());
    })
    .await;
    site.add_device("mover").await;
    tag(&site, "mover", json!({ "dtId": "mover", "dtmi": THERMOSTAT })).await;
    create_bound_twin(&site, "mover", "second-hub").await;

    // Who knows one hub cannot tell.
    let first = &site.running.endpoints().iot_hubs[0].service_connection_string;
    let one = [("IOTHUB_CONNECTION_STRING", first.as_str())];
    let ended = handler(&site, &["reconcile", "--grace", "0s"], &one).await;
    assert_eq!((ended.code, ended.output.contains("; no differences")), (0, true), "{ended:?}");

    let ended = reconcile(&site, &["--apply"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.output.contains("its device mover lives in hub contoso-hub: HubName is contoso-hub\n"), "{ended:?}");
    assert_eq!(site.twin("mover").await.unwrap()["HubName"], "contoso-hub");
    assert_eq!(reconcile(&site, &[]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_cannot_be_asked_is_told_without_its_key() {
    let site = Site::start().await;
    let string = connection_strings(&site);
    let (rest, _) = string.rsplit_once("SharedAccessKey=").unwrap();
    let wrong = format!("{rest}SharedAccessKey=aHVudGVyMmh1bnRlcjJodW50ZXIy");
    let host = string.split(['=', ';']).nth(1).unwrap();
    for (arguments, strings, says) in [
        (vec!["reconcile"], "", "no IoT hub is named: set IOTHUB_CONNECTION_STRING"),
        (vec!["reconcile"], &wrong, "denies access with status 401: check that the connection string is the hub's"),
        (vec!["reconcile"], "HostName=h;SharedAccessKey=aHVudGVyMg", "has no SharedAccessKeyName"),
        (vec!["reconcile", "--hub", wrong.as_str()], "", "a connection string was given for the host name"),
        (vec!["reconcile", "--hub", "no host"], "", "\"no host\" is no host name of an IoT hub"),
        (vec!["reconcile", "--hub", host, "--hub", host], "", "is named twice"),
        (vec!["reconcile", "--connection-string-file", "/absent"], "", "/absent: "),
    ] {
        let variables = [("IOTHUB_CONNECTION_STRING", strings), ("RUST_LOG", "trace")];
        let ended = handler(&site, &arguments, &variables).await;
        assert_eq!((ended.code, ended.output.as_str()), (2, ""), "{arguments:?}: {}", ended.errors);
        assert!(ended.errors.contains(says), "{arguments:?}: {}", ended.errors);
        assert!(!ended.errors.contains("aHVudGVyMg"), "a key is told");
    }
    let shown = handler(&site, &["doctor"], &[("IOTHUB_CONNECTION_STRING", &wrong)]).await;
    assert_eq!((shown.code, shown.output.contains("PROBLEM  IoT Hub: IoT hub contoso-hub denies access")), (1, true));
    let shown = handler(&site, &["doctor"], &[("IOTHUB_CONNECTION_STRING", &string)]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(shown.output.contains("ok       IoT Hub: contoso-hub answers, and device twins can be read"), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_that_register_meanwhile_keep_what_they_get() {
    let site = Site::with(|config| config.query_lag = Duration::from_secs(2)).await;
    let names: Vec<_> = (0..12).map(|n| format!("Pump-{n}")).collect();
    let registering = futures::future::join_all(names.iter().map(|name| site.register(name)));
    let reconciling = async {
        for _ in 0..4 {
            reconcile_with(&site, &["--apply"], &[]).await;
        }
    };
    let (devices, ()) = tokio::join!(registering, reconciling);
    for device in &devices {
        let twin = site.twin(device.twin_id()).await.expect("its twin");
        assert_eq!(twin["HubRegistrationId"], device.id().to_ascii_lowercase());
    }
    let ended = reconcile_with(&site, &["--apply"], &[]).await;
    assert_eq!((ended.code, ended.output.contains("12 devices, ")), (0, true), "{ended:?}");
    assert!(ended.output.contains("; no differences\n"), "{ended:?}");
}
