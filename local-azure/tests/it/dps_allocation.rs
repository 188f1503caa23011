//! Custom allocation and what becomes of the device in its hub.

use std::collections::BTreeSet;

use local_azure::{
    dps::{Outcome, Reprovisioning},
    iot_hub::Condition,
};
use rumqttc::QoS;
use serde_json::{Value, json};

use crate::{
    iot_site::{GROUP_KEY, HUB, OTHER_HUB, Options, Site, device, dps_connect, hub_connect, poll, register},
    mqtt_client::device_key,
};

fn vectors(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap()
}

fn request_vector(name: &str) -> Value {
    let all = vectors(include_str!("../fixtures/iot/webhook_requests.json"));
    all.into_iter().find(|case| case["name"] == name).unwrap()["body"].take()
}

/// The same request, with the values of the recording where ours differ by nature.
fn like_the_recording(mut request: Value, recorded: &Value) -> Value {
    for path in
        ["/enrollmentGroup/etag", "/enrollmentGroup/createdDateTimeUtc", "/enrollmentGroup/lastUpdatedDateTimeUtc"]
    {
        let (ours, theirs) = (request.pointer_mut(path).unwrap(), recorded.pointer(path).unwrap());
        assert_eq!(ours.as_str().unwrap().len(), theirs.as_str().unwrap().len(), "{path}");
        *ours = theirs.clone();
    }
    let url = request.pointer_mut("/enrollmentGroup/customAllocationDefinition/webhookUrl").unwrap();
    assert!(url.as_str().unwrap().ends_with("/api/DpsAdtAllocationFunc?****"), "{url}");
    *url = recorded["enrollmentGroup"]["customAllocationDefinition"]["webhookUrl"].clone();
    request
}

/// The recorded hubs under our names.
fn with_our_hubs(recorded: &Value) -> Value {
    let text = recorded.to_string();
    let text = text.replace("contoso-hub-2.azure-devices.net", OTHER_HUB).replace("contoso-hub.azure-devices.net", HUB);
    serde_json::from_str(&text).unwrap()
}

/// An answer that chooses a hub and tags the twin.
fn choose(hub: &str, twin_id: &str) -> String {
    let twin = json!({ "tags": { "dtId": twin_id }, "properties": { "desired": { "state": "ready" } } });
    json!({ "iotHubHostName": hub, "initialTwin": twin }).to_string()
}

fn tag(site: &Site, hub: usize, id: &str) -> Value {
    let twin = site.hubs[hub].device_twin(&device(id)).unwrap();
    twin["tags"]["dtId"].clone()
}

/// Operation and device of each lifecycle event.
fn lifecycle(site: &Site) -> Vec<String> {
    let events = Site::events(&site.lifecycle);
    let show = |name: &str, event: &local_azure::event_hubs::EventData| {
        event.application_properties[name].as_str().unwrap().to_owned()
    };
    events.iter().map(|event| format!("{} {}", show("opType", event), show("hubName", event))).collect()
}

/// Registers as the device of a recording did.
async fn register_as(site: &Site, recorded: &Value) -> Value {
    let context = &recorded["deviceRuntimeContext"];
    let id = context["registrationId"].as_str().unwrap();
    site.register_with(id, context.get("payload").cloned()).await;
    site.hook.requests().pop().unwrap()
}

#[tokio::test]
async fn the_webhook_is_asked_in_the_recorded_form() {
    for name in
        ["group_symkey_modelid", "no_payload", "payload_is_string", "modelid_not_a_dtmi", "mixed_case_registration_id"]
    {
        let site = Site::with(Options { hubs: vec![HUB], ..Options::default() }).await;
        let recorded = with_our_hubs(&request_vector(name));
        let request = register_as(&site, &recorded).await;
        assert_eq!(like_the_recording(request.clone(), &recorded).to_string(), recorded.to_string(), "{name}");
        assert!(!request.to_string().contains("secret"), "the function key is masked");
        site.stop().await;
    }
}

/// Members in their order, texts and lists without what they say.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
        Value::Array(_) => json!([]),
        Value::String(_) => json!(""),
        other => other.clone(),
    }
}

#[tokio::test]
async fn requests_for_other_groups_differ_in_what_they_say_of_the_group_only() {
    let site = Site::start().await;
    for name in ["group_symkey_initial", "group_symkey_with_payload"] {
        let recorded = request_vector(name);
        let request = register_as(&site, &recorded).await;
        assert_eq!(shape(&request).to_string(), shape(&recorded).to_string(), "{name}");
        assert_eq!(request["deviceRuntimeContext"].to_string(), recorded["deviceRuntimeContext"].to_string());
        for member in ["attestation", "capabilities", "provisioningStatus", "reprovisionPolicy", "allocationPolicy"] {
            assert_eq!(request["enrollmentGroup"][member], recorded["enrollmentGroup"][member], "{name}: {member}");
        }
    }
    site.stop().await;
}

#[tokio::test]
async fn a_device_that_was_assigned_before_is_asked_for_with_its_hub() {
    let site = Site::start().await;
    site.register("thermo-01").await;
    site.register("thermo-01").await;
    let recorded = with_our_hubs(&request_vector("group_reprovision"));
    let mut request = site.hook.requests().remove(1);
    // The recorded group had one hub chosen out of two; here both are the group's.
    request["enrollmentGroup"]["iotHubs"] = json!([HUB]);
    assert_eq!(like_the_recording(request, &recorded).to_string(), recorded.to_string());
    site.stop().await;
}

#[tokio::test]
async fn every_answer_of_the_webhook_has_its_outcome() {
    let site = Site::start().await;
    for (n, case) in vectors(include_str!("../fixtures/iot/webhook_responses.json")).into_iter().enumerate() {
        let status = u16::try_from(case["http"].as_u64().unwrap()).unwrap();
        let body = case["body"].as_str().map_or_else(|| with_our_hubs(&case["body"]).to_string(), str::to_owned);
        site.hook.answers(move |_| (status, body.clone()));
        let answer = site.register(&format!("device-{n}")).await;
        let (state, expected) = (&answer["registrationState"], &case["device"]);
        let name = &case["name"];
        match expected["errorCode"].as_u64() {
            Some(code) => assert_eq!(state["errorCode"], code, "{name}"),
            // A hub that is not linked: the code is not documented. Throttled: in the end it has failed.
            None if name == "hub_not_linked" => assert_eq!(state["errorCode"], 400_208),
            None if name == "throttled" => assert_eq!(state["errorCode"], 400_207),
            None => assert_eq!(expected["status"], "assigned", "{name}"),
        }
        let in_the_end = match expected["status"].as_str().unwrap() {
            "assigning" | "assigning then failed" => "failed",
            status => status,
        };
        assert_eq!(answer["status"], in_the_end, "{name}");
        if let Some(message) = expected["errorMessage"].as_str() {
            assert_eq!(state["errorMessage"], message, "{name}");
        }
        assert_eq!(state["payload"], expected["registrationState.payload"], "{name}");
        assert_eq!(answer["status"] == "failed", state.get("assignedHub").is_none(), "{name}");
        let twin = site.hubs[0].device_twin(&device(&format!("device-{n}")));
        assert_eq!(twin.is_some(), in_the_end == "assigned", "{name}");
        if let (Some(twin), Some(initial)) = (twin, case["body"].get("initialTwin")) {
            assert_eq!(twin["tags"], initial["tags"], "{name}");
            assert_eq!(twin["properties"]["desired"]["state"], initial["properties"]["desired"]["state"], "{name}");
        }
    }
    site.stop().await;
}

#[tokio::test]
async fn a_webhook_that_recovers_is_asked_again_and_one_that_refuses_is_not() {
    let site = Site::start().await;
    let mut answers = vec![(200, choose(HUB, "thermo-01")), (500, String::new()), (429, String::new())];
    site.hook.answers(move |_| answers.pop().unwrap());
    assert_eq!(site.register("thermo-01").await["status"], "assigned");
    assert_eq!(site.hook.requests().len(), 3);

    site.hook.answers(|_| (400, "no such model".into()));
    let answer = site.register("thermo-02").await;
    assert_eq!(site.hook.requests().len(), 4);
    assert!(!answer.to_string().contains("no such model"), "the webhook's own words never reach the device");
    site.stop().await;
}

#[tokio::test]
async fn a_webhook_that_cannot_be_reached_fails_the_registration_after_all_attempts() {
    let site = Site::with(Options {
        webhook: Some("http://127.0.0.1:1/gone?code=secret".parse().unwrap()),
        ..Options::default()
    })
    .await;
    let answer = site.register("thermo-01").await;
    assert_eq!(answer["registrationState"]["errorCode"], 400_207);
    assert_eq!(answer["registrationState"]["errorMessage"], "An error occurred while sending the request.");
    assert!(matches!(site.dps.registrations()[0].last_outcome(), Some(Outcome::Failed(_))));
    site.stop().await;
}

#[tokio::test]
async fn the_first_assignment_makes_the_device_with_its_key_and_its_twin() {
    let site = Site::start().await;
    site.hook.answers(|_| (200, choose(HUB, "thermo-01")));
    site.register("thermo-01").await;

    let twin = site.hubs[0].device_twin(&device("thermo-01")).unwrap();
    assert_eq!(twin["tags"], json!({ "dtId": "thermo-01" }));
    assert_eq!(twin["properties"]["desired"]["state"], "ready");
    assert_eq!(lifecycle(&site), ["createDeviceIdentity contoso-hub"]);
    let created: Value = serde_json::from_slice(&Site::events(&site.lifecycle)[0].body).unwrap();
    assert_eq!(created["tags"]["dtId"], "thermo-01", "the event of the creation carries the tags");

    let mut client = site.connect(hub_connect(HUB, "thermo-01", &device_key(GROUP_KEY, "thermo-01"))).await;
    client.ping().await;
    site.stop().await;
}

#[tokio::test]
async fn the_enrollments_own_twin_counts_where_the_webhook_gives_none() {
    let twin = json!({ "tags": { "site": "north" } });
    let site = Site::with(Options { initial_twin: Some(twin.clone()), ..Options::default() }).await;
    site.register("thermo-01").await;
    assert_eq!(site.hook.requests()[0]["enrollmentGroup"]["initialTwin"], twin);
    assert_eq!(site.hubs[0].device_twin(&device("thermo-01")).unwrap()["tags"], twin["tags"]);
    site.stop().await;
}

#[tokio::test]
async fn registering_again_in_the_same_hub_leaves_the_twin() {
    let site = Site::start().await;
    site.hook.answers(|_| (200, choose(HUB, "first")));
    site.register("thermo-01").await;
    site.hook.answers(|_| (200, choose(HUB, "second")));
    let answer = site.register("thermo-01").await;
    assert_eq!(answer["registrationState"]["substatus"], "initialAssignment");
    assert_eq!(tag(&site, 0, "thermo-01"), "first");
    assert_eq!(lifecycle(&site).len(), 1);
    site.stop().await;
}

#[tokio::test]
async fn a_device_deleted_in_its_hub_comes_back_without_its_tags() {
    let site = Site::start().await;
    site.hook.answers(|_| (200, choose(HUB, "thermo-01")));
    site.register("thermo-01").await;
    site.hubs[0].delete(&device("thermo-01"), &Condition::Any).unwrap();
    let answer = site.register("thermo-01").await;
    assert_eq!(answer["status"], "assigned");
    let last = site.hook.requests().pop().unwrap();
    assert_eq!(last["deviceRuntimeContext"]["currentIotHubHostName"], HUB);
    assert_eq!(tag(&site, 0, "thermo-01"), Value::Null);
    site.stop().await;
}

#[tokio::test]
async fn a_device_that_moves_takes_its_twin_along_and_leaves_the_old_hub() {
    let site = Site::start().await;
    site.hook.answers(|_| (200, choose(HUB, "first")));
    site.register("thermo-01").await;
    site.hook.answers(|_| (200, choose(OTHER_HUB, "second")));
    let answer = site.register("thermo-01").await;
    assert_eq!(answer["registrationState"]["assignedHub"], OTHER_HUB);
    assert_eq!(answer["registrationState"]["substatus"], "deviceDataMigrated");
    assert_eq!(tag(&site, 1, "thermo-01"), "first");
    assert_eq!(site.hubs[1].device_twin(&device("thermo-01")).unwrap()["properties"]["desired"]["state"], "ready");
    assert_eq!(site.hubs[0].device_twin(&device("thermo-01")), None);
    let expected =
        ["createDeviceIdentity contoso-hub", "createDeviceIdentity fabrikam-hub", "deleteDeviceIdentity contoso-hub"];
    assert_eq!(lifecycle(&site), expected);
    site.stop().await;
}

#[tokio::test]
async fn under_reset_a_device_that_moves_begins_anew() {
    let site = Site::with(Options { reprovisioning: Reprovisioning::Reset, ..Options::default() }).await;
    site.hook.answers(|_| (200, choose(HUB, "first")));
    site.register("thermo-01").await;
    site.hook.answers(|_| (200, choose(OTHER_HUB, "second")));
    let answer = site.register("thermo-01").await;
    assert_eq!(answer["registrationState"]["substatus"], "deviceDataReset");
    assert_eq!(tag(&site, 1, "thermo-01"), "second");
    assert_eq!(site.hubs[0].counts().devices, 0);
    site.stop().await;
}

#[tokio::test]
async fn under_never_only_the_current_hub_is_offered_and_taken() {
    let site = Site::with(Options { reprovisioning: Reprovisioning::Never, ..Options::default() }).await;
    site.register("thermo-01").await;
    site.hook.chooses(OTHER_HUB);
    let answer = site.register("thermo-01").await;
    let recorded = with_our_hubs(&request_vector("group_reprovision_never_policy"));
    let request = site.hook.requests().pop().unwrap();
    assert_eq!(request["linkedHubs"], recorded["linkedHubs"]);
    assert_eq!(request["enrollmentGroup"]["reprovisionPolicy"], recorded["enrollmentGroup"]["reprovisionPolicy"]);
    assert_eq!(answer["registrationState"]["errorCode"], 400_208);
    assert_eq!((site.hubs[0].counts().devices, site.hubs[1].counts().devices), (1, 0));
    site.stop().await;
}

#[tokio::test]
async fn registrations_of_one_device_at_once_end_in_one_device_in_one_hub() {
    let site = Site::start().await;
    let mut n = 0;
    site.hook.answers(move |_| {
        n += 1;
        (200, choose(if n % 2 == 0 { HUB } else { OTHER_HUB }, "thermo-01"))
    });
    let ids = ["thermo-01", "Thermo-01", "THERMO-01", "thermo-01", "tHERMO-01", "thermo-01", "Thermo-01", "thermo-01"];
    let answers = futures::future::join_all(ids.map(|id| site.register(id))).await;
    assert!(answers.iter().all(|answer| answer["status"] == "assigned"));
    assert_eq!(site.dps.count(), 1);
    let assignment = site.dps.registrations()[0].assignment.clone().unwrap();
    let names: BTreeSet<String> = site.hubs.iter().flat_map(|hub| hub.devices()).map(String::from).collect();
    assert_eq!(names, BTreeSet::from([assignment.device.to_string()]));
    let there: Vec<usize> = site.hubs.iter().map(|hub| hub.counts().devices).collect();
    assert_eq!(there.iter().sum::<usize>(), 1);
    site.stop().await;
}

#[tokio::test]
async fn state_that_is_written_and_read_again_goes_on_where_it_was() {
    let site = Site::with(Options { retries: 1_000_000, ..Options::default() }).await;
    site.hook.answers(|_| (200, choose(HUB, "thermo-01")));
    let done = site.register("thermo-01").await;
    site.hook.answers(|_| (503, String::new()));
    let mut client = site.connect(dps_connect("thermo-02", GROUP_KEY)).await;
    client.subscribe("$dps/registrations/res/#", QoS::AtLeastOnce).await;
    let pending = register(&mut client, "thermo-02", None).await;

    let again = site.restarted().await;
    assert_eq!(again.hubs[0].device_twin(&device("thermo-01")), site.hubs[0].device_twin(&device("thermo-01")));
    let mut client = again.connect(dps_connect("thermo-01", GROUP_KEY)).await;
    client.subscribe("$dps/registrations/res/#", QoS::AtLeastOnce).await;
    assert_eq!(poll(&mut client, done["operationId"].as_str().unwrap()).await.1, done);

    let mut client = again.connect(dps_connect("thermo-02", GROUP_KEY)).await;
    client.subscribe("$dps/registrations/res/#", QoS::AtLeastOnce).await;
    let (topic, _) = poll(&mut client, pending["operationId"].as_str().unwrap()).await;
    assert_eq!(topic, "$dps/registrations/res/404/?$rid=r2", "what was going on goes on nowhere");
    again.stop().await;
    site.stop().await;
}
