//! Devices that register.

use std::time::Duration;

use device_simulator::ProvisioningError;
use futures::future::join_all;
use jiff::Timestamp;
use local_azure::dps::{self, Patience, Substatus};
use local_azure::iot_hub::{Address, NewIdentity};
use reqwest::Method;
use serde_json::{Value, json};

use super::site::{Device, LIFECYCLE, SPACE, Site, THERMOSTAT, counts, temperature};

/// The error code and the message that DPS tells a device whose registration failed.
fn failure(result: Result<Device, ProvisioningError>) -> (u32, String) {
    match result.map(|device| device.assignment) {
        Err(ProvisioningError::Failed(error)) => (error.code().unwrap(), error.message().unwrap().to_owned()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_device_gets_a_twin_that_says_whose_it_is() {
    let site = Site::start().await;
    let before = Timestamp::now();
    let device = site.register("Pump-7").await;
    assert_eq!(device.id(), "Pump-7");
    assert_eq!(device.twin_id(), "pump-7");
    assert_eq!(device.assignment.substatus.as_deref(), Some("initialAssignment"));

    let twin = site.twin("pump-7").await.unwrap();
    assert_eq!(twin["$metadata"]["$model"], THERMOSTAT);
    assert_eq!(twin["HubRegistrationId"], "pump-7");
    assert_eq!(twin["HubName"], "contoso-hub");
    assert_eq!(twin.get("HubDeviceId"), None, "the registration id says it");
    assert_eq!(twin.get("Temperature"), None, "nobody measured anything yet");
    let registered: Timestamp = twin["$metadata"]["HubRegistrationId"]["sourceTime"].as_str().unwrap().parse().unwrap();
    assert!((before..=Timestamp::now()).contains(&registered), "{registered}");

    let tags = site.hub(Method::GET, "/twins/Pump-7", None).await["tags"].clone();
    assert_eq!(tags, json!({ "dtId": "pump-7", "dtmi": THERMOSTAT }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twin_that_waits_is_bound_and_keeps_what_is_in_it() {
    let site = Site::start().await;
    let before = site.twin("server-room-thermostat").await.unwrap();
    let device = site.register("THERMOSTAT-67").await;
    assert_eq!(device.twin_id(), "server-room-thermostat");
    assert_eq!(site.twin("thermostat-67").await, None);

    let after = site.twin("server-room-thermostat").await.unwrap();
    for property in ["DisplayName", "Location"] {
        assert_eq!(after[property], before[property]);
        assert_eq!(after["$metadata"][property], before["$metadata"][property]);
    }
    assert_eq!(after["HubRegistrationId"], "thermostat-67");
    assert_eq!(after["HubName"], "contoso-hub");
    let tags = site.hub(Method::GET, "/twins/THERMOSTAT-67", None).await["tags"].clone();
    assert_eq!(tags["dtId"], "server-room-thermostat");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_device_that_registers_many_times_at_once_in_any_case_gets_one_twin_and_one_answer() {
    let site = Site::start().await;
    let twins = site.running.services().digital_twins.twin_count();
    let spellings = ["Boiler-1", "boiler-1", "BOILER-1", "bOILER-1"];
    let registrations = (0..16).map(|n| site.register(spellings[n % spellings.len()]));
    let devices = join_all(registrations).await;

    let first = &devices[0];
    assert_eq!(first.twin_id(), "boiler-1");
    for device in &devices {
        assert_eq!(device.id(), first.id());
        assert_eq!(device.hub(), first.hub());
        assert_eq!(device.assignment.payload, first.assignment.payload);
    }
    assert_eq!(site.running.services().digital_twins.twin_count(), twins + 1);
    assert_eq!(site.running.services().iot_hubs[0].devices().len(), 1);
    assert_eq!(site.adt_calls("DigitalTwins_Delete"), 0, "no twin too many was ever made");

    // Its key in the hub is that of the spelling that registered last.
    let boiler = site.register("bOILER-1").await;
    assert_eq!(boiler.assignment, first.assignment);
    site.send(&boiler, [temperature(21.5)]).await;
    site.caught_up().await;
    assert_eq!(site.twin("boiler-1").await.unwrap()["Temperature"], 21.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_mended_by_asking_again_fails_at_once() {
    let site = Site::with(|config| {
        config.app_settings.push(("ALLOCATION_MODELS".into(), "dtmi:contosocom:DigitalTwins:Thermostat;2".into()));
        // Were it tried again, nobody would wait for the end.
        config.webhook_patience =
            Patience { retries: 1, first_wait: Duration::from_secs(3_600), ..Patience::default() };
    })
    .await;
    site.create_twin("taken", THERMOSTAT, json!({ "HubRegistrationId": "somebody-else" })).await;
    let twins = site.running.services().digital_twins.twin_count();
    let model = |model: &str| Some(json!({ "modelId": model }));
    let cases = [
        ("pump-1", None),
        ("pump-2", Some(json!({}))),
        ("pump-3", Some(json!({ "modelId": 7 }))),
        ("pump-4", Some(json!({ "modelId": "Thermostat" }))),
        ("pump-5", model(SPACE)),
        ("pump-6", model("dtmi:contosocom:DigitalTwins:Thermostat;3")),
        ("taken", model(THERMOSTAT)),
    ];
    let site = &site;
    let results = cases.map(|(id, payload)| async move { (id, site.try_register(id, payload).await) });
    for (id, result) in join_all(results).await {
        let (code, message) = failure(result);
        assert_eq!(code, 400_207, "{id}");
        assert!(message.contains("400"), "{id}: {message}");
    }
    assert_eq!(site.running.services().digital_twins.twin_count(), twins);
    assert_eq!(site.running.services().iot_hubs[0].devices(), []);

    let log = site.console().await.join("\n");
    for reason in ["the device sent no payload", "ALLOCATION_MODELS", "somebody-else"] {
        assert!(log.contains(reason), "{reason} is not said in\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_not_in_azure_digital_twins_is_refused() {
    let site = Site::start().await;
    let (code, message) =
        failure(site.try_register("pump-1", Some(json!({ "modelId": "dtmi:contosocom:Unknown;1" }))).await);
    assert_eq!(code, 400_207);
    assert!(message.contains("400"), "{message}");
    assert_eq!(site.twin("pump-1").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_azure_digital_twins_dps_asks_again_until_its_patience_ends() {
    let site = Site::with(|config| {
        // Nobody listens there.
        config.app_settings.push(("ADT_SERVICE_URL".into(), "https://localhost:1".into()));
        let wait = Duration::from_millis(5);
        config.webhook_patience = Patience { retries: 1, first_wait: wait, step: wait, ..Patience::default() };
    })
    .await;
    let mut invocations = site.running.services().functions.invocations();
    let result = site.try_register("pump-1", Some(json!({ "modelId": THERMOSTAT }))).await;
    let (code, message) = failure(result);
    assert_eq!(code, 400_207);
    assert!(message.contains("503"), "{message}");
    let asked = std::iter::from_fn(|| invocations.try_recv().ok()).filter(|it| it.function == "DpsAdtAllocationFunc");
    assert_eq!(asked.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_stays_in_its_hub_and_changes_nothing_but_the_time() {
    let hubs = ["east-hub.azure-devices.localhost", "west-hub.azure-devices.localhost"];
    let site = Site::with(|config| config.hub_names = hubs.map(|hub| hub.parse().unwrap()).to_vec()).await;
    let ids: Vec<_> = (0..12).map(|n| format!("pump-{n}")).collect();
    let first = join_all(ids.iter().map(|id| site.register(id))).await;
    for hub in hubs {
        assert!(first.iter().any(|device| device.hub() == hub), "{hub} got no device");
    }
    let before = join_all(ids.iter().map(|id| site.twin(id))).await;
    let again = join_all(ids.iter().map(|id| site.register(id))).await;
    for ((device, before), last) in again.iter().zip(before).zip(&first) {
        assert_eq!(device.hub(), last.hub());
        let mut twins = [before.unwrap(), site.twin(device.twin_id()).await.unwrap()];
        assert_eq!(twins[1]["HubName"], device.hub().split('.').next().unwrap());
        assert_ne!(registered(&twins[0]), registered(&twins[1]));
        twins.iter_mut().for_each(forget_times);
        assert_eq!(twins[0], twins[1]);
    }
}

fn registered(twin: &Value) -> String {
    twin["$metadata"]["HubRegistrationId"]["sourceTime"].as_str().unwrap().to_owned()
}

/// Takes away what a registration may change.
fn forget_times(twin: &mut Value) {
    twin["$etag"].take();
    twin["$metadata"]["$lastUpdateTime"].take();
    twin["$metadata"]["HubRegistrationId"].take();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_dps_moves_to_another_hub_keeps_its_twin() {
    let hubs = ["east-hub.azure-devices.localhost", "west-hub.azure-devices.localhost"];
    let site = Site::with(|config| {
        config.hub_names = hubs.map(|hub| hub.parse().unwrap()).to_vec();
        config.app_settings.push(("ALLOCATION_HUB_POLICY".into(), "first".into()));
    })
    .await;
    // It has lived in the second hub since before the first one was linked.
    let services = site.running.services();
    let id = "pump-1".parse::<dps::RegistrationId>().unwrap();
    let device = Address::device("pump-1".parse().unwrap());
    services.iot_hubs[1].create(&device, NewIdentity::default()).unwrap();
    let assignment = dps::Assignment {
        hub: hubs[1].to_owned(),
        device: device.device.clone(),
        substatus: Substatus::InitialAssignment,
    };
    let record = dps::Change::Begin {
        id: id.clone(),
        enrollment: None,
        by_certificate: false,
        operation: "an-earlier-one".into(),
        now: Timestamp::now(),
        etag: "1".into(),
    };
    let assigned = dps::Change::Assign { id, assignment };
    services.dps.store().change(|_| Ok::<_, ()>((vec![record, assigned], ()))).unwrap();
    site.create_twin("pump-1", THERMOSTAT, json!({ "HubRegistrationId": "pump-1", "HubName": "west-hub" })).await;
    site.relate("building-1", "contains", "pump-1").await;

    let device = site.register("pump-1").await;
    assert_eq!(device.hub(), hubs[0]);
    assert_eq!(device.assignment.substatus.as_deref(), Some("deviceDataMigrated"));
    site.caught_up().await;
    assert_eq!(services.iot_hubs[1].devices(), []);
    assert_eq!(site.outcomes(LIFECYCLE), counts([("otherOperation", 2), ("otherHub", 1)]));
    assert_eq!(site.twin("pump-1").await.unwrap()["HubName"], "east-hub");
    assert!(site.relationships("building-1").await.contains(&"contains pump-1".to_owned()));

    site.send(&device, [temperature(18.25)]).await;
    site.caught_up().await;
    assert_eq!(site.twin("pump-1").await.unwrap()["Temperature"], 18.25);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_the_device_names_contains_it_only_where_that_is_allowed() {
    let payload = |parent: &str| Some(json!({ "modelId": THERMOSTAT, "parentId": parent }));
    let (trusting, cautious) =
        tokio::join!(Site::with_settings(&[("ALLOCATION_PARENT_FROM_DEVICE", "on")]), Site::start());
    // A parent that is not there costs the relationship, not the registration.
    let registered = tokio::join!(
        trusting.try_register("pump-1", payload("building-1")),
        trusting.try_register("pump-2", payload("no-such-building")),
        trusting.try_register("pump-3", payload("not/an id'")),
        cautious.try_register("pump-4", payload("building-1")),
    );
    for (device, id) in <[_; 4]>::from(registered).into_iter().zip(["pump-1", "pump-2", "pump-3", "pump-4"]) {
        assert_eq!(device.unwrap().twin_id(), id);
    }
    assert!(trusting.relationships("building-1").await.contains(&"contains pump-1".to_owned()));
    assert!(!cautious.relationships("building-1").await.contains(&"contains pump-4".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_higher_version_of_the_model_is_taken_only_where_that_is_allowed() {
    const NEWER: &str = "dtmi:contosocom:DigitalTwins:Thermostat;3";
    let ask = |site: Site| async move {
        let mut newer: Value = serde_json::from_str(include_str!("../../../models/ThermostatModel.json")).unwrap();
        newer["@id"] = NEWER.into();
        site.upload_models(json!([newer])).await;
        site.register("pump-1").await;
        let answer = site.try_register("pump-1", Some(json!({ "modelId": NEWER }))).await;
        let model = site.twin("pump-1").await.unwrap()["$metadata"]["$model"].as_str().unwrap().to_owned();
        (answer, model)
    };
    let (upgrading, rejecting) = tokio::join!(
        async { ask(Site::with_settings(&[("ALLOCATION_MODEL_CHANGE", "upgrade")]).await).await },
        async { ask(Site::start().await).await },
    );
    assert_eq!((upgrading.0.unwrap().twin_id(), upgrading.1.as_str()), ("pump-1", NEWER));
    assert_eq!((failure(rejecting.0).0, rejecting.1.as_str()), (400_207, THERMOSTAT));
}
