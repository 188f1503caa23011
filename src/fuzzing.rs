//! What the fuzzer calls (`fuzz/`); the tests here give it the seeds that are kept.

use std::sync::LazyLock;

use dtdl::{ModelId, ModelSet};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::allocation::AllocationRequest;
use crate::dead_letter::{Body, Code, DeadLetter, Reason};
use crate::host::{DataType, Event, EventBatch, HttpRequest};
use crate::settings::HubPolicy;
use crate::telemetry::rehearse;

/// The sample's model of a thermostat, with that of the space that it extends.
static MODELS: LazyLock<Option<(ModelId, ModelSet)>> = LazyLock::new(|| {
    let model = ModelId::parse("dtmi:contosocom:DigitalTwins:Thermostat;2").ok()?;
    let texts = [include_str!("../models/SpaceModel.json"), include_str!("../models/ThermostatModel.json")];
    let interfaces = texts.iter().flat_map(|text| dtdl::parse_text(text.as_bytes()).unwrap_or_default());
    Some((model, ModelSet::default().with(interfaces).ok()?))
});

/// Reads any bytes as an invocation of the Functions host: as a batch of events, which is then decoded and planned as
/// telemetry, and as an HTTP request in the host's envelope.
///
/// # Panics
/// When a value would be written for somebody who sent nothing, or a dead letter would not keep its body.
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
    let Some((model, models)) = &*MODELS else { return };
    let senders: Vec<_> = batch.events.iter().filter_map(Event::device_id).collect();
    for write in rehearse(batch, model, models, Timestamp::UNIX_EPOCH) {
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

    #[test]
    fn the_seeds_of_invocations_hold() {
        assert!(MODELS.is_some());
        replay("invocation", invocation);
    }

    #[test]
    fn the_seeds_of_allocation_requests_hold() {
        replay("allocation", allocation);
    }
}
