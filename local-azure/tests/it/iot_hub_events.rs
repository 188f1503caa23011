//! Events as they arrive at the event hubs, against recorded ones.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use local_azure::{
    event_hubs::EventData,
    iot_hub::{Condition, Message, TopicError, TwinPatch},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use rumqttc::{Connect, LastWill, Publish, QoS};
use serde_json::{Map, Value, json};

use crate::iot_site::{HUB, KEY, OTHER_HUB, Site, device, hub_connect, module};

/// A recorded event, as [`shown`] shows ours.
fn recorded(file: &str, name: &str) -> Value {
    let all: Value = serde_json::from_str(file).unwrap();
    let cases = all.get("cases").unwrap_or(&all).as_array().unwrap();
    let case = cases.iter().find(|case| case["name"] == name).unwrap();
    let event = case.get("msg").or_else(|| case.get("event")).unwrap().clone();
    let mut event = event.as_object().unwrap().clone();
    let annotations = event["message-annotations"].as_object_mut().unwrap();
    annotations.retain(|name, _| !name.starts_with("x-opt-"));
    event.into()
}

/// A text without what its digits are.
fn form(text: &Value) -> Option<String> {
    text.as_str().map(|text| text.replace(|c: char| c.is_ascii_digit(), "0"))
}

/// An event of ours in the form of the recordings. What differs from run to run is checked and left out of both.
fn shown(event: &EventData, recorded: &mut Value) -> Value {
    let time = event.annotations["iothub-enqueuedtime"].as_str().unwrap();
    assert_eq!(time, "2026-11-22T19:33:20.000Z");
    let body: Value =
        serde_json::from_slice(&event.body).unwrap_or_else(|_| String::from_utf8(event.body.to_vec()).unwrap().into());
    let types: Value = serde_json::from_str(include_str!("../fixtures/iot/eventhub_messages.json")).unwrap();
    for (name, value) in &event.annotations {
        // A timestamp travels as text in this process.
        let kind = types["annotation_types"][name].as_str().unwrap_or_else(|| panic!("{name} is no annotation"));
        assert!(["string", "string (JSON inside)", "timestamp (ms)"].contains(&kind), "{name}: {kind}");
        assert!(value.is_string(), "{name}");
    }
    let mut ours = json!({
        "properties": event.properties,
        "application-properties": event.application_properties,
        "message-annotations": event.annotations,
        "body": body,
    });
    let time = "/application-properties/operationTimestamp";
    assert_eq!(ours.pointer(time).and_then(form), recorded.pointer(time).and_then(form));
    for event in [&ours, &*recorded] {
        if let Some(generation) = event.pointer("/message-annotations/iothub-connection-auth-generation-id") {
            assert!(generation.as_str().unwrap().parse::<u64>().is_ok(), "{generation}");
        }
    }
    for path in [
        "/message-annotations/iothub-enqueuedtime",
        "/message-annotations/iothub-connection-auth-generation-id",
        "/application-properties/operationTimestamp",
        "/properties/correlation-id",
    ] {
        assert_eq!(ours.pointer(path).is_some(), recorded.pointer(path).is_some(), "{path}");
        for event in [&mut ours, &mut *recorded] {
            if let Some(value) = event.pointer_mut(path) {
                *value = "*".into();
            }
        }
    }
    ours
}

fn assert_like(event: &EventData, mut recorded: Value) {
    let ours = shown(event, &mut recorded);
    assert_eq!(ours, recorded);
}

fn telemetry(name: &str) -> Value {
    recorded(include_str!("../fixtures/iot/eventhub_messages.json"), name)
}

fn lifecycle(name: &str) -> Value {
    recorded(include_str!("../fixtures/iot/lifecycle_events.json"), name)
}

/// The recordings without enrichments have none of ours.
fn with_enrichments(mut recorded: Value, twin_id: &str) -> Value {
    let properties = recorded["application-properties"].as_object_mut().unwrap();
    properties.insert("dtId".into(), twin_id.into());
    properties.insert("hub".into(), "contoso-hub".into());
    recorded
}

const MISSING: &str = "$twin.tags.dtId";
const JSON_BAG: &str = "%24.ct=application%2Fjson&%24.ce=utf-8";

async fn site(tags: Value) -> Site {
    let site = Site::start().await;
    site.create(&device("thermo-01"));
    site.hubs[0]
        .patch_twin(&device("thermo-01"), &TwinPatch { tags: Some(tags), desired: None }, &Condition::Any)
        .unwrap();
    site
}

/// The one event that a device's message becomes.
async fn sent(site: &Site, connect: Connect, publish: Publish) -> EventData {
    let mut client = site.connect(connect).await;
    client.publish_packet(publish).await;
    Site::events(&site.telemetry).pop().unwrap()
}

fn thermo() -> Connect {
    hub_connect(HUB, "thermo-01", KEY)
}

fn reading(bag: &str) -> Publish {
    Publish::new(format!("devices/thermo-01/messages/events/{bag}"), QoS::AtLeastOnce, r#"{"Temperature": 24.73}"#)
}

#[tokio::test]
async fn telemetry_arrives_as_recorded_with_what_enrichments_add() {
    let site = site(json!({ "dtId": "thermo-01" })).await;
    let event = sent(&site, thermo(), reading(JSON_BAG)).await;
    assert_like(&event, telemetry("enriched"));
    assert_like(&event, with_enrichments(telemetry("sample_telemetry"), "thermo-01"));
    assert_eq!(event.body, r#"{"Temperature": 24.73}"#, "byte for byte");
    site.stop().await;
}

#[tokio::test]
async fn a_missing_tag_stamps_the_literal() {
    let site = site(json!({})).await;
    assert_like(&sent(&site, thermo(), reading(JSON_BAG)).await, telemetry("enriched_tag_missing"));
    site.stop().await;
}

#[tokio::test]
async fn a_message_without_properties_has_none() {
    let site = site(json!({})).await;
    let plain = Publish::new("devices/thermo-01/messages/events/", QoS::AtLeastOnce, "plain");
    let event = sent(&site, thermo(), plain).await;
    assert_like(&event, with_enrichments(telemetry("no_content_type"), MISSING));
    site.stop().await;
}

#[tokio::test]
async fn a_modules_message_names_the_module_and_is_enriched_from_its_own_twin() {
    let site = site(json!({ "dtId": "thermo-01" })).await;
    site.create(&module("thermo-01", "module-1"));
    let topic = format!("devices/thermo-01/modules/module-1/messages/events/{JSON_BAG}");
    let publish = Publish::new(topic, QoS::AtLeastOnce, r#"{"Temperature": 24.73}"#);
    let event = sent(&site, hub_connect(HUB, "thermo-01/module-1", KEY), publish).await;
    let mut recorded = with_enrichments(telemetry("from_module"), MISSING);
    // The recording's shape was made from a device's.
    let method = &mut recorded["message-annotations"]["iothub-connection-auth-method"];
    *method = method.as_str().unwrap().replace("\"device\"", "\"module\"").into();
    assert_like(&event, recorded);
    site.stop().await;
}

#[tokio::test]
async fn a_plug_and_play_device_says_its_model_and_component() {
    let site = Site::start().await;
    site.create(&device("my-pnp-device"));
    let mut connect = hub_connect(HUB, "my-pnp-device", KEY);
    if let rumqttc::ConnectAuth::UsernamePassword { username, .. } = &mut connect.auth {
        username.push_str("&model-id=dtmi:com:example:TemperatureController;1");
    }
    let topic = format!("devices/my-pnp-device/messages/events/{JSON_BAG}&%24.sub=thermostat1");
    let publish = Publish::new(topic, QoS::AtLeastOnce, r#"{"temperature": 68.77370855171125}"#);
    let event = sent(&site, connect, publish).await;
    assert_like(&event, with_enrichments(telemetry("captured_pnp"), MISSING));
    site.stop().await;
}

#[tokio::test]
async fn a_will_and_a_retained_message_are_marked_as_recorded() {
    let site = site(json!({})).await;
    let event = sent(&site, thermo(), Publish { retain: true, ..reading(JSON_BAG) }).await;
    assert_like(&event, with_enrichments(telemetry("mqtt_retain"), MISSING));

    let topic = format!("devices/thermo-01/messages/events/{JSON_BAG}");
    let mut connect = thermo();
    connect.last_will = Some(LastWill::new(topic, r#"{"Temperature": 24.73}"#, QoS::AtLeastOnce, false));
    drop(site.connect(connect).await);
    site.telemetry.wait_for_events(site.telemetry.partition_of("thermo-01"), Some(0)).await;
    let event = Site::events(&site.telemetry).pop().unwrap();
    assert_like(&event, with_enrichments(telemetry("mqtt_will"), MISSING));
    site.stop().await;
}

#[tokio::test]
async fn a_device_cannot_say_that_it_is_another() {
    let site = site(json!({ "dtId": "thermo-01" })).await;
    let bag = "%24.cdid=other&%24.cmid=m&dtId=other&iothub-connection-device-id=other&iothub-message-source=x";
    let event = sent(&site, thermo(), reading(bag)).await;
    assert_eq!(event.annotations["iothub-connection-device-id"], "thermo-01");
    assert_eq!(event.annotations["iothub-message-source"], "Telemetry");
    assert!(!event.annotations.contains_key("iothub-connection-module-id"));
    assert_eq!(event.application_properties["dtId"], "thermo-01", "the enrichment is stamped last");
    assert_eq!(event.application_properties["iothub-connection-device-id"], "other", "the device's own is kept apart");
    site.stop().await;
}

#[tokio::test]
async fn identities_that_come_and_go_raise_events_as_recorded() {
    let site = Site::start().await;
    let twin = json!({ "dtId": "thermo-01", "dtmi": "dtmi:contosocom:DigitalTwins:Thermostat;2" });
    let answer = json!({ "iotHubHostName": HUB, "initialTwin": { "tags": twin } }).to_string();
    site.hook.answers(move |_| (200, answer.clone()));
    site.register("thermo-01").await;
    let hub = &site.hubs[0];
    hub.create(&module("thermo-01", "module-1"), Default::default()).unwrap();
    hub.delete(&module("thermo-01", "module-1"), &Condition::Any).unwrap();
    hub.delete(&device("thermo-01"), &Condition::Any).unwrap();
    site.create(&device("thermo-02"));
    hub.delete(&device("thermo-02"), &Condition::Any).unwrap();

    let of = |id: &str| -> Vec<EventData> {
        let events = Site::events(&site.lifecycle).into_iter();
        events.filter(|event| event.application_properties["deviceId"] == id).collect()
    };
    let first = of("thermo-01");
    let second = of("thermo-02");
    let cases = [
        (&first[0], with_enrichments(lifecycle("device_created_by_dps"), "thermo-01")),
        (&first[1], with_enrichments(as_ours(lifecycle("module_created")), MISSING)),
        (&first[2], with_enrichments(lifecycle("module_deleted_TRAP"), MISSING)),
        (&first[3], with_enrichments(lifecycle("device_deleted"), MISSING)),
        (&first[3], lifecycle("with_enrichments")),
        (&second[1], with_enrichments(lifecycle("device_deleted_no_tags"), MISSING)),
    ];
    for (event, mut recorded) in cases {
        let mut ours = shown(event, &mut recorded);
        without_versions(&mut ours, &mut recorded);
        assert_eq!(ours, recorded);
    }
    site.stop().await;
}

/// Versions tell how much happened to a twin before: they are checked and left out of both.
fn without_versions(ours: &mut Value, recorded: &mut Value) {
    for body in [&mut ours["body"], &mut recorded["body"]] {
        assert_eq!(BASE64_STANDARD.decode(body["etag"].as_str().unwrap()).unwrap().len(), 8);
        for path in ["/version", "/etag", "/properties/desired/$version"] {
            *body.pointer_mut(path).unwrap() = "*".into();
        }
    }
}

#[tokio::test]
async fn a_device_that_moves_leaves_its_old_hub_as_recorded() {
    let site = Site::start().await;
    let twin = json!({ "dtId": "thermo-01", "dtmi": "dtmi:contosocom:DigitalTwins:Thermostat;2" });
    for hub in [HUB, OTHER_HUB] {
        let answer = json!({ "iotHubHostName": hub, "initialTwin": { "tags": twin } }).to_string();
        site.hook.answers(move |_| (200, answer.clone()));
        site.register("thermo-01").await;
    }
    let events = Site::events(&site.lifecycle).into_iter();
    let mut left = events.filter(|event| event.application_properties["opType"] == "deleteDeviceIdentity");
    let mut recorded = with_enrichments(lifecycle("moved_to_another_hub_TRAP"), MISSING);
    let mut ours = shown(&left.next().unwrap(), &mut recorded);
    without_versions(&mut ours, &mut recorded);
    assert_eq!(ours, recorded);
    assert!(left.next().is_none());
    site.stop().await;
}

/// A recording of another hub and device.
fn as_ours(recorded: Value) -> Value {
    let text =
        recorded.to_string().replace("contoso-routing-hub", "contoso-hub").replace("contoso-device-2", "thermo-01");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn topics_of_the_sdks_carry_their_properties() {
    let vectors: Value = serde_json::from_str(include_str!("../fixtures/iot/d2c_topics.json")).unwrap();
    for case in vectors["cases"].as_array().unwrap() {
        let name = &case["name"];
        let read = Message::from_topic(case["topic"].as_str().unwrap(), "body".into());
        if case["expect"] == "close" {
            let sender = device(case["connected_as"].as_str().unwrap());
            assert!(read.is_err() || read.is_ok_and(|(from, _)| from != sender), "{name}");
            continue;
        }
        let (from, message) = read.unwrap();
        assert_eq!(from.device.as_str(), case["deviceId"], "{name}");
        assert_eq!(from.module.map(|module| module.to_string()).as_deref(), case["moduleId"].as_str(), "{name}");
        let mut system: Map<String, Value> = message.properties;
        system.extend(message.annotations);
        assert_eq!(Value::from(system), case["system"], "{name}");
        assert_eq!(Value::from(message.application_properties), case["app"], "{name}");
    }
    assert_eq!(Message::from_topic("devices/d1/messages/events/a=%ff", "".into()), Err(TopicError::NotUtf8));
}

#[test]
fn each_key_of_a_topic_becomes_the_system_property_of_that_meaning() {
    let vectors: Value = serde_json::from_str(include_str!("../fixtures/iot/d2c_topics.json")).unwrap();
    for (key, meaning) in vectors["key_map"].as_object().unwrap() {
        let topic = format!("devices/d1/messages/events/{}=x", utf8_percent_encode(key, NON_ALPHANUMERIC));
        let (_, message) = Message::from_topic(&topic, "".into()).unwrap();
        let places = [&message.properties, &message.annotations, &message.application_properties];
        let set: Vec<&String> = places.into_iter().flat_map(Map::keys).collect();
        match meaning.as_str().unwrap().split_once(' ') {
            // Who sent it is never taken from the sender.
            Some((name, "(Edge only: never trust from a device)" | "(Edge only)")) => {
                assert!(name.starts_with("iothub-connection-") && set.is_empty(), "{key}: {set:?}");
            }
            _ => assert_eq!(set, [meaning.as_str().unwrap()], "{key}"),
        }
    }
}

proptest! {
    #[test]
    fn whatever_a_client_encodes_arrives(properties in prop::collection::hash_map("[^$].{0,12}", ".{0,12}", 0..6)) {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let bag: Vec<String> = properties.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        let topic = format!("devices/d1/messages/events/{}", bag.join("&"));
        let (_, message) = Message::from_topic(&topic, "".into()).unwrap();
        let expected: Map<String, Value> = properties.into_iter().map(|(name, value)| (name, value.into())).collect();
        prop_assert_eq!(message.application_properties, expected);
    }

    #[test]
    fn no_topic_panics(topic in "(devices/d1/(modules/)?)?(messages/events/)?.{0,40}") {
        let _ = Message::from_topic(&topic, "".into());
    }
}
