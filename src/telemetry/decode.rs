//! From an event to a message for a twin, or to the rule or reason why it is none.

use serde_json::Value;

use super::body;
use super::plan::Message;
use crate::binding::Stamp;
use crate::dead_letter::{Code, Reason};
use crate::digital_twins::TwinId;
use crate::host::Event;
use crate::outcome::{LeftOut, Outcome};

/// Application property that a message enrichment fills with the device twin's tag of that name.
const TWIN_ID: &str = "dtId";

/// What IoT Hub stamps instead of a tag that is missing begins with this
/// (IoT Hub: "Message enrichments for device-to-cloud IoT Hub messages").
const UNFILLED: &str = "$twin.";

/// Reads the event at `index` of a batch.
///
/// # Errors
/// What becomes of an event that is no message for a twin: left out by a rule, or a dead letter.
pub(super) fn decode(index: usize, event: &Event) -> Result<Message, Outcome> {
    if event.message_source().is_some_and(|source| !source.eq_ignore_ascii_case("Telemetry")) {
        return Err(Outcome::LeftOut(LeftOut::OtherSource));
    }
    if event.module_id().is_some() {
        return Err(Outcome::LeftOut(LeftOut::Module));
    }
    message(index, event).map_err(Outcome::DeadLetter)
}

fn message(index: usize, event: &Event) -> Result<Message, Reason> {
    let device = event.device_id().ok_or_else(|| {
        Reason::new(Code::SystemProperties, "iothub-connection-device-id is missing or no device id: who sent it?")
    })?;
    let time = event.source_time().ok_or_else(|| {
        Reason::new(Code::SystemProperties, "neither iothub-enqueuedtime nor the enqueued time is a time")
    })?;
    let claim = claim(event)?;
    if let Some(content_type) = event.content_type().filter(|content_type| !is_json(content_type)) {
        let detail = format!("content type {content_type:?}; application/json or none was expected");
        return Err(Reason::new(Code::ContentType, detail));
    }
    let members = body::members(&event.body).map_err(|error| Reason::new(Code::Body, error.to_string()))?;
    // Without a number from the host, the place in the batch is the order that is left.
    let sequence = event.sequence_number.unwrap_or_else(|| i64::try_from(index).unwrap_or(i64::MAX));
    let component = event.dt_subject().map(str::to_owned);
    let stamp = Stamp { time, sequence: Some(sequence) };
    Ok(Message { event: index, device, claim, stamp, component, members })
}

/// The twin that `dtId` names. Tags can be numbers; what IoT Hub stamps for those is not documented.
fn claim(event: &Event) -> Result<Option<TwinId>, Reason> {
    let text = match event.properties.get(TWIN_ID) {
        None => return Ok(None),
        Some(Value::String(text)) if text.is_empty() || text.starts_with(UNFILLED) => return Ok(None),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(other) => {
            let detail = format!("dtId is {}; a twin id was expected", body::kind(other));
            return Err(Reason::new(Code::TwinMissing, detail));
        }
    };
    TwinId::parse(&text).map(Some).map_err(|error| Reason::new(Code::TwinMissing, format!("dtId: {error}")))
}

/// Whether `content_type` is `application/json` or another type of JSON syntax (`application/senml+json`; RFC 6839).
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.is_empty()
        || essence.eq_ignore_ascii_case("application/json")
        || essence.to_ascii_lowercase().ends_with("+json")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::recorded::{message, with_property, with_system};

    fn outcome(event: &Event) -> Outcome {
        decode(0, event).unwrap_err()
    }

    fn code(event: &Event) -> Code {
        match outcome(event) {
            Outcome::DeadLetter(reason) => reason.code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_message_is_what_its_device_says_at_its_source_time() {
        let read = decode(7, &message("sample_telemetry")).unwrap();
        assert_eq!(read.device.as_str(), "thermo-01");
        assert_eq!(read.claim, None);
        assert_eq!(read.event, 7);
        assert_eq!(read.stamp.time.as_millisecond(), 1_603_206_669_320);
        assert_eq!(read.stamp.sequence, Some(25325));
        assert_eq!(Value::Object(read.members), json!({"Temperature": 24.73}));
    }

    #[test]
    fn a_subject_is_a_component() {
        let read = decode(0, &message("captured_pnp")).unwrap();
        assert_eq!(read.component.as_deref(), Some("thermostat1"));
    }

    #[test]
    fn wills_and_retained_messages_are_telemetry() {
        for name in ["mqtt_will", "mqtt_retain", "captured_iot_central"] {
            let event = with_system(message(name), "iothub-connection-device-id", json!("thermo-01"));
            assert!(decode(0, &event).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_a_module_or_another_source_sent_is_left_out() {
        for (name, rule) in [
            ("from_module", LeftOut::Module),
            ("twin_change", LeftOut::OtherSource),
            ("connection_state", LeftOut::OtherSource),
        ] {
            assert_eq!(outcome(&message(name)), Outcome::LeftOut(rule), "{name}");
        }
    }

    #[test]
    fn telemetry_is_what_says_so_or_says_nothing() {
        for source in [json!("Telemetry"), json!("telemetry"), json!(null), json!("")] {
            assert!(decode(0, &with_system(message("sample_telemetry"), "iothub-message-source", source)).is_ok());
        }
    }

    #[test]
    fn what_cannot_be_read_is_a_dead_letter_with_its_reason() {
        for (name, expected) in [
            ("no_content_type", Code::Body),
            ("bad_not_json", Code::Body),
            ("bad_temperature_huge", Code::Body),
            ("bad_no_device_id", Code::SystemProperties),
        ] {
            assert_eq!(code(&message(name)), expected, "{name}");
        }
    }

    #[test]
    fn the_sender_is_never_read_from_application_properties() {
        let event = with_system(message("sample_telemetry"), "iothub-connection-device-id", json!(null));
        let event = with_property(event, "iothub-connection-device-id", json!("victim"));
        assert_eq!(code(&event), Code::SystemProperties);
    }

    #[test]
    fn a_message_without_any_time_is_a_dead_letter() {
        let mut event = with_system(message("sample_telemetry"), "iothub-enqueuedtime", json!("yesterday"));
        assert_eq!(decode(0, &event).unwrap().stamp.time.as_millisecond(), 1_603_206_669_429);
        event.enqueued_time = None;
        assert_eq!(code(&event), Code::SystemProperties);
    }

    #[test]
    fn the_claimed_twin_is_an_enrichment_that_was_filled() {
        let claim = |value: Value| decode(0, &with_property(message("enriched"), "dtId", value)).map(|it| it.claim);
        let id = |text: &str| Ok(Some(TwinId::parse(text).unwrap()));
        assert_eq!(claim(json!("thermo-01")), id("thermo-01"));
        assert_eq!(claim(json!(42)), id("42"));
        assert_eq!(claim(json!("$twins")), id("$twins"));
        assert_eq!(claim(json!("$twin.tags.dtId")), Ok(None));
        assert_eq!(claim(json!("")), Ok(None));
        assert_eq!(claim(json!(null)), Ok(None));
        assert_eq!(decode(0, &message("enriched_tag_missing")).map(|it| it.claim), Ok(None));
        for bad in [json!(".."), json!("a\nb"), json!({"a": 1}), json!("x".repeat(5000))] {
            assert_eq!(code(&with_property(message("enriched"), "dtId", bad)), Code::TwinMissing);
        }
    }

    #[test]
    fn content_types_of_json_syntax_count() {
        let typed = |value| with_system(message("sample_telemetry"), "content-type", value);
        for good in ["application/json", "Application/JSON; charset=utf-8", "application/senml+json", ""] {
            assert!(decode(0, &typed(json!(good))).is_ok(), "{good}");
        }
        assert!(decode(0, &typed(json!(null))).is_ok());
        for bad in ["text/plain", "application/octet-stream", "json", "application/json-seq"] {
            assert_eq!(code(&typed(json!(bad))), Code::ContentType, "{bad}");
        }
    }

    #[test]
    fn other_encodings_than_utf_8_are_dead_letters() {
        let mut event = message("sample_telemetry");
        event.body = Bytes::from_static(b"\xff\xfe{\0}\0");
        assert_eq!(code(&event), Code::Body);
    }
}
