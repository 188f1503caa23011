//! From an event to the deletion of a device, or to the rule or reason why it is none.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::dead_letter::{Code, Reason};
use crate::device::{DeviceId, HubName};
use crate::digital_twins::TwinId;
use crate::host::{Event, timestamp};
use crate::outcome::{LeftOut, Outcome};

/// A device was deleted in IoT Hub.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Deletion {
    /// Its place in the batch.
    pub(super) event: usize,
    /// Which device.
    pub(super) device: DeviceId,
    /// In which hub.
    pub(super) hub: HubName,
    /// When, by the hub's clock.
    pub(super) time: Timestamp,
    /// When the event reached the hub's endpoint.
    pub(super) source_time: Timestamp,
    /// The device's twin, by the tag `dtId` that it had.
    pub(super) tagged: Option<TwinId>,
}

/// What matters of the body: the device twin as it was last (IoT Hub: "Non-telemetry event schemas").
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeviceTwin {
    #[serde(default)]
    module_id: Option<Value>,
    #[serde(default)]
    tags: Option<Value>,
}

/// Reads the event at `index` of a batch.
///
/// The deletion of a module has the same `opType` and the device's id: only the module id tells it apart.
///
/// # Errors
/// What becomes of an event that is no deletion of a device: left out by a rule, or a dead letter.
pub(super) fn decode(index: usize, event: &Event) -> Result<Deletion, Outcome> {
    let left_out = |rule| Err(Outcome::LeftOut(rule));
    if event.message_source().is_some_and(|source| !source.eq_ignore_ascii_case("deviceLifecycleEvents")) {
        return left_out(LeftOut::OtherSource);
    }
    if text(event, "opType") != Some("deleteDeviceIdentity") {
        return left_out(LeftOut::OtherOperation);
    }
    // Without tags, the twin is looked up: a body that cannot be read costs nothing.
    let body: DeviceTwin = serde_json::from_slice(&event.body).unwrap_or_default();
    if event.module_id().is_some() || event.lookup("moduleId").is_some() || body.module_id.is_some() {
        return left_out(LeftOut::Module);
    }
    let device = device(event).map_err(Outcome::DeadLetter)?;
    if event.system.text("iothub-connection-device-id").is_some_and(|id| id != device.as_str()) {
        tracing::warn!(%device, "the event says that a device was deleted, and IoT Hub that it is about another: left out");
        return left_out(LeftOut::OtherDevice);
    }
    deletion(index, event, device, body.tags.as_ref()).map_err(Outcome::DeadLetter)
}

/// The device that an event is about, deleted or not.
pub(super) fn device(event: &Event) -> Result<DeviceId, Reason> {
    let text = text(event, "deviceId").ok_or_else(|| missing("deviceId"))?;
    DeviceId::parse(text).map_err(|error| Reason::new(Code::Properties, format!("deviceId: {error}")))
}

/// Without hub or time, the deletion could not be told from a device's move to another hub, or from one that
/// registered since.
fn deletion(index: usize, event: &Event, device: DeviceId, tags: Option<&Value>) -> Result<Deletion, Reason> {
    let hub = text(event, "hubName").ok_or_else(|| missing("hubName"))?;
    let hub = HubName::of_host(hub).map_err(|error| Reason::new(Code::Properties, format!("hubName: {error}")))?;
    let time = event.lookup("operationTimestamp").and_then(timestamp).ok_or_else(|| missing("operationTimestamp"))?;
    let tagged = tags.and_then(|tags| tags.get("dtId")).and_then(Value::as_str);
    Ok(Deletion {
        event: index,
        device,
        hub,
        time,
        source_time: event.source_time().unwrap_or(time),
        tagged: tagged.and_then(|id| TwinId::parse(id).ok()),
    })
}

fn text<'a>(event: &'a Event, name: &str) -> Option<&'a str> {
    event.lookup(name).and_then(Value::as_str)
}

fn missing(name: &str) -> Reason {
    Reason::new(Code::Properties, format!("the property {name} of lifecycle events is missing or malformed"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::recorded::{lifecycle_event, lifecycle_events, message, with_property, with_system};

    fn outcome(event: &Event) -> Outcome {
        decode(0, event).unwrap_err()
    }

    #[test]
    fn a_deletion_says_which_device_of_which_hub_and_when() {
        let deletion = decode(3, &lifecycle_event("device_deleted")).unwrap();
        assert_eq!(deletion.event, 3);
        assert_eq!(deletion.device.as_str(), "thermo-01");
        assert_eq!(deletion.hub, HubName::of_host("Contoso-Hub.azure-devices.net").unwrap());
        assert_eq!(deletion.time.to_string(), "2026-05-27T19:02:11.12Z");
        assert_eq!(deletion.source_time.as_millisecond(), 1_779_908_531_120);
        assert_eq!(deletion.tagged, Some(TwinId::parse("thermo-01").unwrap()));
    }

    #[test]
    fn of_the_recorded_events_only_deletions_of_devices_count() {
        let lines: Vec<String> = lifecycle_events()
            .iter()
            .map(|name| match decode(0, &lifecycle_event(name)) {
                Ok(Deletion { device, hub, time, source_time, tagged, .. }) => {
                    let tagged = tagged.as_ref().map_or("-", TwinId::as_str);
                    format!("{name}: {device} of {hub} at {time} ({source_time}), twin {tagged}")
                }
                Err(outcome) => format!("{name}: {outcome:?}"),
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @"
        module_created: LeftOut(OtherOperation)
        device_created_by_dps: LeftOut(OtherOperation)
        device_deleted: thermo-01 of contoso-hub at 2026-05-27T19:02:11.12Z (2026-05-27T19:02:11.12Z), twin thermo-01
        device_deleted_no_tags: thermo-02 of contoso-hub at 2026-05-27T19:02:12Z (2026-05-27T19:02:12Z), twin -
        module_deleted_TRAP: LeftOut(Module)
        old_style_module_delete: LeftOut(OtherSource)
        moved_to_another_hub_TRAP: thermo-01 of contoso-hub at 2026-05-27T19:04:00Z (2026-05-27T19:04:00Z), twin thermo-01
        with_enrichments: thermo-01 of contoso-hub at 2026-05-27T19:05:00Z (2026-05-27T19:05:00Z), twin thermo-01
        ");
        assert_eq!(outcome(&message("sample_telemetry")), Outcome::LeftOut(LeftOut::OtherSource));
    }

    #[test]
    fn a_module_is_told_by_any_of_its_marks() {
        let deleted = || lifecycle_event("device_deleted");
        let module = Outcome::LeftOut(LeftOut::Module);
        assert_eq!(outcome(&with_property(deleted(), "moduleId", json!("m"))), module);
        assert_eq!(outcome(&with_system(deleted(), "iothub-connection-module-id", json!("m"))), module);
        let mut event = deleted();
        event.body = Bytes::from_static(br#"{"deviceId":"thermo-01","moduleId":"m"}"#);
        assert_eq!(outcome(&event), module);
    }

    #[test]
    fn the_source_and_the_sender_count_only_where_they_are_said() {
        let deleted = || lifecycle_event("device_deleted");
        assert!(decode(0, &with_system(deleted(), "iothub-message-source", json!(null))).is_ok());
        assert!(decode(0, &with_system(deleted(), "iothub-connection-device-id", json!(null))).is_ok());
        let other = with_system(deleted(), "iothub-connection-device-id", json!("THERMO-01"));
        assert_eq!(outcome(&other), Outcome::LeftOut(LeftOut::OtherDevice));
    }

    #[test]
    fn what_lacks_a_property_is_a_dead_letter() {
        for (name, value) in [
            ("deviceId", json!(null)),
            ("deviceId", json!("with space")),
            ("deviceId", json!(7)),
            ("hubName", json!(null)),
            ("hubName", json!("")),
            ("operationTimestamp", json!(null)),
            ("operationTimestamp", json!("yesterday")),
        ] {
            let event = with_property(lifecycle_event("device_deleted"), name, value);
            let event = with_system(event, "iothub-connection-device-id", json!(null));
            let Outcome::DeadLetter(reason) = outcome(&event) else { panic!("{name}") };
            assert_eq!(reason.code, Code::Properties, "{name}");
        }
    }

    #[test]
    fn a_body_without_a_readable_tag_leaves_the_twin_to_be_looked_up() {
        for body in ["", "{", "[]", r#"{"tags":7}"#, r#"{"tags":{"dtId":7}}"#, r#"{"tags":{"dtId":".."}}"#] {
            let mut event = lifecycle_event("device_deleted");
            event.body = Bytes::from_static(body.as_bytes());
            assert_eq!(decode(0, &event).unwrap().tagged, None, "{body}");
        }
        assert_eq!(decode(0, &lifecycle_event("device_deleted_no_tags")).unwrap().tagged, None);
    }
}
