//! What the fuzzer calls (`fuzz/`); the tests here give it the seeds that are kept.

use std::sync::LazyLock;

use bytes::Bytes;
use dtdl::{ModelId, ModelSet};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::allocation::AllocationRequest;
use crate::binding::Bookkeeping;
use crate::dead_letter::{Body, Code, DeadLetter, Reason};
use crate::digital_twins::Twin;
use crate::host::{DataType, Event, EventBatch, HttpRequest, Properties, timestamp};
use crate::settings::HubPolicy;
use crate::{lifecycle, telemetry};

/// The sample's model of a thermostat, with that of the space that it extends.
static MODELS: LazyLock<Option<(ModelId, ModelSet)>> = LazyLock::new(|| {
    let model = ModelId::parse("dtmi:contosocom:DigitalTwins:Thermostat;2").ok()?;
    let texts = [include_str!("../models/SpaceModel.json"), include_str!("../models/ThermostatModel.json")];
    let interfaces = texts.iter().flat_map(|text| dtdl::parse_text(text.as_bytes()).unwrap_or_default());
    Some((model, ModelSet::default().with(interfaces).ok()?))
});

/// Reads any bytes as an invocation of the Functions host: as a batch of events, which are then decoded and planned as
/// telemetry and as deletions of devices, and as an HTTP request in the host's envelope.
///
/// # Panics
/// When a value would be written for somebody who sent nothing, a dead letter would not keep its body, or a twin would
/// be deleted whose device was not.
pub fn invocation(body: &[u8]) {
    for data_type in [DataType::Binary, DataType::Text] {
        match EventBatch::decode(body, data_type) {
            Ok(batch) => look_at(&batch),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    if let Err(error) = HttpRequest::decode(body) {
        assert!(!error.to_string().is_empty());
    }
}

fn look_at(batch: &EventBatch) {
    assert!(!batch.events.is_empty());
    batch.events.iter().for_each(keeps_its_body);
    batch.events.iter().for_each(deletes_only_what_was_deleted);
    let Some((model, models)) = &*MODELS else { return };
    let senders: Vec<_> = batch.events.iter().filter_map(Event::device_id).collect();
    for write in telemetry::rehearse(batch, model, models, Timestamp::UNIX_EPOCH) {
        assert!(senders.contains(&write.device), "{write:?} was sent by nobody");
    }
}

fn keeps_its_body(event: &Event) {
    let letter = DeadLetter {
        reason: Reason::new(Code::Body, "fuzzing"),
        device_id: event.device_id().map(|id| id.as_str().to_owned()),
        source_time: event.source_time(),
        sequence_number: event.sequence_number,
        partition: None,
        properties: Map::new(),
        system_properties: Map::new(),
        body: Body(event.body.clone()),
    };
    let text = serde_json::to_string(&letter).unwrap_or_default();
    let read: Option<DeadLetter> = serde_json::from_str(&text).ok();
    assert_eq!(read.as_ref(), Some(&letter), "{text}");
}

/// An event as IoT Hub hands it to Event Hubs, written as JSON.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Recorded {
    #[serde(default)]
    properties: Map<String, Value>,
    #[serde(default)]
    application_properties: Map<String, Value>,
    #[serde(default)]
    message_annotations: Map<String, Value>,
    /// Text, or the JSON that the text is.
    #[serde(default)]
    body: Value,
}

/// Reads any bytes as an event, and plans it as the deletion of a device.
///
/// # Panics
/// When a twin would be deleted whose device was not.
pub fn lifecycle(event: &[u8]) {
    let Ok(Recorded { properties, application_properties, message_annotations, body }) = serde_json::from_slice(event)
    else {
        return;
    };
    let annotation = |name: &str| message_annotations.get(name);
    let event = Event {
        body: Bytes::from(body.as_str().map_or_else(|| body.to_string(), str::to_owned)),
        sequence_number: annotation("x-opt-sequence-number").and_then(Value::as_i64),
        enqueued_time: annotation("x-opt-enqueued-time").and_then(timestamp),
        properties: Properties::from(application_properties),
        system: properties.into_iter().chain(message_annotations).collect::<Map<_, _>>().into(),
    };
    deletes_only_what_was_deleted(&event);
}

const DEVICE: &str = "thermo-01";
const OTHER_DEVICE: &str = "thermo-02";
const OTHERS: &str = "others";
const HUB: &str = "contoso-hub";
const REGISTERED: &str = "2026-05-27T19:00:00Z";

/// The twin of [`DEVICE`], registered in [`HUB`] at [`REGISTERED`]; one that an operator made for it, whose model keeps
/// no books; and that of [`OTHER_DEVICE`], which registered under the same name.
static TWINS: LazyLock<Vec<(Twin, Bookkeeping)>> = LazyLock::new(|| {
    let twin = |id: &str, members: Value| {
        let mut twin = json!({
            "$dtId": id, "$etag": "W/\"1\"",
            "$metadata": {
                "$model": "dtmi:contosocom:DigitalTwins:Thermostat;2",
                "HubRegistrationId": { "lastUpdateTime": REGISTERED, "sourceTime": REGISTERED },
            },
        });
        if let (Some(twin), Value::Object(members)) = (twin.as_object_mut(), members) {
            twin.extend(members);
        }
        Twin::from_json(twin).ok()
    };
    let all = Bookkeeping { registration_id: true, device_id: true, hub_name: true };
    let none = Bookkeeping { registration_id: false, device_id: false, hub_name: false };
    let twins = [
        (twin("registered", json!({ "HubRegistrationId": DEVICE, "HubName": HUB })), all),
        (twin(DEVICE, json!({})), none),
        (twin(OTHERS, json!({ "HubRegistrationId": DEVICE, "HubDeviceId": OTHER_DEVICE, "HubName": HUB })), all),
    ];
    twins.into_iter().filter_map(|(twin, bookkeeping)| Some((twin?, bookkeeping))).collect()
});

fn deletes_only_what_was_deleted(event: &Event) {
    let gone = lifecycle::rehearse(event, &TWINS);
    if gone.is_empty() {
        return;
    }
    let says = |name: &str| event.lookup(name).and_then(Value::as_str).unwrap_or_default();
    assert_eq!(says("opType"), "deleteDeviceIdentity", "{event:?}");
    assert!(event.lookup("moduleId").is_none() && event.module_id().is_none(), "{event:?} is about a module");
    let device = says("deviceId");
    assert!(
        event.system.text("iothub-connection-device-id").is_none_or(|id| id == device),
        "{event:?} is about another"
    );
    let time = event.lookup("operationTimestamp").and_then(timestamp);
    for id in gone {
        if id.as_str() == OTHERS {
            // Device ids have a case.
            assert_eq!(device, OTHER_DEVICE, "{event:?} costs another device's twin");
        } else {
            assert!(device.eq_ignore_ascii_case(DEVICE), "{event:?} costs another device's twin");
        }
        if id.as_str() == DEVICE {
            let body: Value = serde_json::from_slice(&event.body).unwrap_or_default();
            assert_eq!(body.pointer("/tags/dtId"), Some(&json!(DEVICE)), "{event:?} does not name the twin");
        } else {
            let hub = says("hubName").split('.').next().unwrap_or_default();
            assert!(hub.eq_ignore_ascii_case(HUB), "{event:?} is about another hub");
            assert!(time >= REGISTERED.parse().ok(), "{event:?} is older than the registration");
        }
    }
}

/// Reads any bytes as a request of DPS.
///
/// # Panics
/// When the chosen hub is not one that is linked, or what is wrong with a request is not told in one line.
pub fn allocation(body: &[u8]) {
    let request = match AllocationRequest::decode(body) {
        Ok(request) => request,
        Err(error) => {
            let told = error.to_string();
            assert!(!told.is_empty() && !told.contains('\n'), "{told:?}");
            return;
        }
    };
    assert!((1..=128).contains(&request.registration_id.as_str().chars().count()));
    for policy in [HubPolicy::Sticky, HubPolicy::First] {
        let current = request.current_hub.as_ref();
        let hub = request.linked_hubs.choose(policy, &request.registration_id, current).as_str();
        assert!(serde_json::from_slice(body).is_ok_and(|body| names(&body, hub)), "{hub} is not linked");
    }
}

fn names(value: &Value, text: &str) -> bool {
    match value {
        Value::String(found) => found == text,
        Value::Array(elements) => elements.iter().any(|element| names(element, text)),
        Value::Object(members) => members.values().any(|member| names(member, text)),
        _ => false,
    }
}

#[cfg(test)]
#[path = "../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;
    use super::*;
    use crate::recorded::{lifecycle_event, lifecycle_events};

    #[test]
    fn the_seeds_of_invocations_hold() {
        assert!(MODELS.is_some());
        replay("invocation", invocation);
    }

    #[test]
    fn the_seeds_of_lifecycle_events_hold() {
        assert_eq!(TWINS.len(), 3);
        replay("lifecycle", lifecycle);
    }

    #[test]
    fn of_the_recorded_events_those_of_deleted_devices_cost_a_twin() {
        let lines: Vec<String> = lifecycle_events()
            .iter()
            .map(|name| format!("{name}: {:?}", lifecycle::rehearse(&lifecycle_event(name), &TWINS)))
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        module_created: []
        device_created_by_dps: []
        device_deleted: [TwinId("registered"), TwinId("thermo-01")]
        device_deleted_no_tags: [TwinId("others")]
        module_deleted_TRAP: []
        old_style_module_delete: []
        moved_to_another_hub_TRAP: [TwinId("registered"), TwinId("thermo-01")]
        with_enrichments: [TwinId("registered"), TwinId("thermo-01")]
        "#);
    }

    #[test]
    fn the_seeds_of_allocation_requests_hold() {
        replay("allocation", allocation);
    }
}
