//! Recorded and documented events of IoT Hub, as the Event Hubs trigger delivers them. For tests.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::dead_letter::{DeadLetter, Document};
use crate::host::{Answer, Event, EventBatch, Properties, timestamp};

/// The names of all cases that [`lifecycle_event`] takes.
pub(crate) fn lifecycle_events() -> Vec<String> {
    let cases: Value = serde_json::from_str(include_str!("../tests/fixtures/iot/lifecycle_events.json")).unwrap();
    cases.as_array().unwrap().iter().map(|case| case["name"].as_str().unwrap().to_owned()).collect()
}

/// The telemetry-side case `name` of `tests/fixtures/iot/eventhub_messages.json`.
pub(crate) fn message(name: &str) -> Event {
    let file: Value = serde_json::from_str(include_str!("../tests/fixtures/iot/eventhub_messages.json")).unwrap();
    let cases = file["cases"].as_array().unwrap();
    let case = cases.iter().find(|case| case["name"] == name).unwrap_or_else(|| panic!("no message {name}"));
    match case.get("body_raw") {
        // Only the body is given: the rest is the sample's.
        Some(raw) => Event { body: Bytes::from(raw.as_str().unwrap().to_owned()), ..message("sample_telemetry") },
        None => event(&case["msg"]),
    }
}

/// The case `name` of `tests/fixtures/iot/lifecycle_events.json`.
pub(crate) fn lifecycle_event(name: &str) -> Event {
    let file: Value = serde_json::from_str(include_str!("../tests/fixtures/iot/lifecycle_events.json")).unwrap();
    let cases = file.as_array().unwrap();
    event(&cases.iter().find(|case| case["name"] == name).unwrap_or_else(|| panic!("no event {name}"))["event"])
}

/// AMQP properties and message annotations together are the trigger's system properties.
fn event(recorded: &Value) -> Event {
    let members = |name: &str| recorded[name].as_object().cloned().unwrap_or_default();
    let annotations = members("message-annotations");
    let mut system = members("properties");
    system.extend(annotations.clone());
    let body = match &recorded["body"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Event {
        body: Bytes::from(body),
        properties: Properties::from(members("application-properties")),
        system: Properties::from(system),
        sequence_number: annotations["x-opt-sequence-number"].as_i64(),
        enqueued_time: timestamp(&annotations["x-opt-enqueued-time"]),
    }
}

/// `event` with a system property set, or removed by `null`.
pub(crate) fn with_system(mut event: Event, name: &str, value: Value) -> Event {
    event.system = with(&event.system, name, value);
    event
}

/// `event` with an application property set, or removed by `null`.
pub(crate) fn with_property(mut event: Event, name: &str, value: Value) -> Event {
    event.properties = with(&event.properties, name, value);
    event
}

fn with(properties: &Properties, name: &str, value: Value) -> Properties {
    let mut members: Map<String, Value> =
        properties.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
    members.insert(name.to_owned(), value);
    Properties::from(members)
}

/// Events as a batch that comes for the `retries + 1`st time.
pub(crate) fn batch(events: Vec<Event>, retries: u32) -> EventBatch {
    EventBatch { events, retries, partition: Some("3".to_owned()) }
}

/// The dead letters in an answer that ends a batch.
pub(crate) fn dead_letters(answer: Answer) -> Vec<DeadLetter> {
    let Answer::Done { outputs } = answer else { panic!("{answer:?}") };
    let document = outputs.get("deadLetters");
    let read = |output| serde_json::from_value::<Document>(serde_json::to_value(output).unwrap()).unwrap();
    document.map_or_else(Vec::new, |output| read(output).dead_letters)
}
