//! Recorded exchanges of devices with DPS over MQTT, had again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rumqttc::QoS;
use serde_json::{Value, json};

use crate::{
    iot_site::{GROUP_KEY, Options, Site, dps_connect},
    mqtt_client::Client,
};

/// The hub of the recordings.
const HUB: &str = "contoso-hub.azure-devices.net";

fn vectors() -> Value {
    serde_json::from_str(include_str!("../fixtures/iot/dps_mqtt.json")).unwrap()
}

/// What was recorded under this name, of `exchanges` or `errors`.
fn recorded(kind: &str, name: &str) -> Value {
    let vectors = vectors();
    let all = vectors[kind].as_array().unwrap();
    all.iter().find(|case| case["name"] == name).unwrap_or_else(|| panic!("no {name}")).clone()
}

/// A site whose one hub is that of the recordings.
async fn site(options: Options) -> Site {
    Site::with(Options { hubs: vec![HUB], ..options }).await
}

async fn subscribed(site: &Site, id: &str, group_key: &str) -> Client {
    let vectors = vectors();
    let mut client = site.connect(dps_connect(id, group_key)).await;
    client.subscribe(vectors["subscribe"]["filter"].as_str().unwrap(), QoS::AtLeastOnce).await;
    client
}

/// Publishes and gives back the answer.
async fn ask(client: &mut Client, topic: &str, payload: &str) -> (String, Value) {
    client.publish(topic, QoS::AtLeastOnce, payload).await;
    let (topic, body) = client.message().await;
    (topic, serde_json::from_str(&body).unwrap())
}

/// The topic of a request whose answer has this topic.
fn polls(answer: &str, operation: &str) -> String {
    let request_id = answer.split("$rid=").nth(1).unwrap().split('&').next().unwrap();
    format!("$dps/registrations/GET/iotdps-get-operationstatus/?$rid={request_id}&operationId={operation}")
}

/// The form of a text that is another at every run: what are digits, hexadecimal ones as well, and what is not.
pub(crate) fn form(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_hexdigit() { '0' } else { c }).collect()
}

/// Asserts that the answer is the recorded one, member for member in the recorded order; of what differs from run to
/// run, that it has the recorded form.
fn assert_is(answer: &Value, recorded: &Value) {
    if let Some(tracking) = answer["trackingId"].as_str() {
        assert!(tracking.parse::<uuid::Uuid>().is_ok(), "{tracking}");
    }
    if let Some(etag) = answer["registrationState"]["etag"].as_str() {
        let etag = BASE64_STANDARD.decode(etag).unwrap();
        assert!(etag.starts_with(b"\"") && etag.ends_with(b"\""), "{etag:?}");
    }
    let (mut answer, mut recorded) = (answer.clone(), recorded.clone());
    for path in [
        "/operationId",
        "/timestampUtc",
        "/registrationState/createdDateTimeUtc",
        "/registrationState/lastUpdatedDateTimeUtc",
        // Of these two the recordings have placeholders, too.
        "/trackingId",
        "/registrationState/etag",
    ] {
        for value in [&mut answer, &mut recorded] {
            if let Some(value) = value.pointer_mut(path) {
                let is_placeholder = path.ends_with("/trackingId") || path.ends_with("/etag");
                *value = if is_placeholder { "".into() } else { form(value.as_str().unwrap()).into() };
            }
        }
    }
    assert_eq!(answer.to_string(), recorded.to_string());
}

#[tokio::test]
async fn a_device_that_waits_for_its_hub_is_answered_as_recorded() {
    let site = site(Options { retries: 1_000, ..Options::default() }).await;
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let chosen = json!({ "iotHubHostName": HUB, "payload": { "dtId": "thermo-01" } }).to_string();
    site.hook.answers(move |_| if gate.load(Ordering::SeqCst) { (200, chosen.clone()) } else { (503, String::new()) });

    let mut client = subscribed(&site, "thermo-01", GROUP_KEY).await;
    let exchange = recorded("exchanges", "assigned");
    let [register, poll, last] = &exchange["steps"].as_array().unwrap()[..] else { panic!("three steps") };
    let (topic, payload) = (register["in"]["topic"].as_str().unwrap(), register["in"]["payload"].to_string());
    let (topic, answer) = ask(&mut client, topic, &payload).await;
    assert_eq!(topic, register["out"]["topic"]);
    assert_is(&answer, &register["out"]["payload"]);
    let operation = answer["operationId"].as_str().unwrap();
    let recorded_operation = register["out"]["payload"]["operationId"].as_str().unwrap();

    for (step, is_open) in [(poll, false), (last, true)] {
        open.store(is_open, Ordering::SeqCst);
        let topic = step["in"]["topic"].as_str().unwrap();
        assert!(topic.ends_with(recorded_operation), "{topic}");
        let topic = topic.replace(recorded_operation, operation);
        let (topic, answer) = loop {
            let (reply, answer) = ask(&mut client, &topic, step["in"]["payload_raw"].as_str().unwrap()).await;
            assert_eq!(answer["operationId"], operation);
            // The webhook is called again when it has waited for a moment.
            if answer["status"] == step["out"]["payload"]["status"] {
                break (reply, answer);
            }
            assert!(is_open, "{answer}");
        };
        assert_eq!(topic, step["out"]["topic"]);
        assert_is(&answer, &step["out"]["payload"]);
    }
    site.stop().await;
}

#[tokio::test]
async fn a_device_that_the_webhook_refuses_is_told_as_recorded() {
    let site = site(Options::default()).await;
    site.hook.answers(|_| (400, "no such model".to_owned()));
    let exchange = recorded("exchanges", "custom_allocation_failed");
    let out = &exchange["steps"][0]["out"];
    let id = out["payload"]["registrationState"]["registrationId"].as_str().unwrap();
    let mut client = subscribed(&site, id, GROUP_KEY).await;
    let (_, answer) = ask(&mut client, "$dps/registrations/PUT/iotdps-register/?$rid=0", "").await;
    let poll = polls(out["topic"].as_str().unwrap(), answer["operationId"].as_str().unwrap());
    let (topic, answer) = loop {
        let (topic, answer) = ask(&mut client, &poll, " ").await;
        if answer["status"] != "assigning" {
            break (topic, answer);
        }
    };
    assert_eq!(topic, out["topic"]);
    assert_is(&answer, &out["payload"]);
    site.stop().await;
}

#[tokio::test]
async fn a_device_of_a_disabled_enrollment_is_told_as_recorded() {
    let site = site(Options { enabled: false, ..Options::default() }).await;
    let exchange = recorded("exchanges", "disabled_enrollment");
    let out = &exchange["steps"][0]["out"];
    let id = out["payload"]["registrationState"]["registrationId"].as_str().unwrap();
    let mut client = subscribed(&site, id, GROUP_KEY).await;
    let (topic, answer) = ask(&mut client, "$dps/registrations/PUT/iotdps-register/?$rid=1", "").await;
    assert_eq!(topic, out["topic"]);
    assert_is(&answer, &out["payload"]);
    site.stop().await;
}

#[tokio::test]
async fn a_device_with_a_wrong_key_is_told_as_recorded() {
    let site = site(Options::default()).await;
    let out = &recorded("errors", "unauthorized_sas")["out"];
    let mut client = subscribed(&site, "thermo-01", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").await;
    let (topic, answer) = ask(&mut client, "$dps/registrations/PUT/iotdps-register/?$rid=1", "").await;
    assert_eq!(topic, out["topic"]);
    assert_is(&answer, &out["payload"]);
    site.stop().await;
}

#[tokio::test]
async fn a_device_that_is_throttled_is_told_as_recorded() {
    let retry_after = Duration::from_secs(5);
    let site = site(Options { retries: 1_000_000, retry_after, ..Options::default() }).await;
    site.hook.answers(|_| (503, String::new()));
    let out = &recorded("errors", "throttled")["out"];
    let mut client = subscribed(&site, "thermo-01", GROUP_KEY).await;
    let (topic, answer) = loop {
        let (topic, answer) = ask(&mut client, "$dps/registrations/PUT/iotdps-register/?$rid=1", "").await;
        if answer["status"] != "assigning" {
            break (topic, answer);
        }
    };
    assert_eq!(topic, out["topic"]);
    assert_is(&answer, &out["payload"]);
    site.stop().await;
}
