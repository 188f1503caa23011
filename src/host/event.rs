//! Events, and the batches that they arrive in.

use bytes::Bytes;
use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::timestamp;
use crate::device::DeviceId;

/// Room for the properties of an event: IoT Hub, Event Hubs and the host set about fifteen.
const TYPICAL_COUNT: usize = 16;

/// The events of one invocation, all of one partition, in the partition's order.
#[derive(Debug, Clone, PartialEq)]
pub struct EventBatch {
    /// The events. Never empty.
    pub events: Vec<Event>,
    /// How often the batch has come before: 0 on the first attempt, and always where function.json has no retry policy.
    pub retries: u32,
    /// The id of the partition, for instance `0`, where the host says it.
    pub partition: Option<String>,
}

/// The properties of an event: names compare without ASCII case, values keep their types, the order is kept.
///
/// A list, for there are a dozen of them: to look through it costs less than to hash each name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Properties(Vec<(String, Value)>);

impl Properties {
    /// The value under `name`; an exact match wins over one in another case. `null` counts as absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        let in_any_case = || self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        // Of a name that is there twice the last one counts, as with any JSON object.
        let found = self.0.iter().rfind(|(key, _)| key == name).or_else(in_any_case);
        found.map(|(_, value)| value).filter(|value| !value.is_null())
    }

    /// The value under `name`, if it is a string.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// The time under `name`, however it is written.
    #[must_use]
    pub fn time(&self, name: &str) -> Option<Timestamp> {
        timestamp(self.get(name)?)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl From<Map<String, Value>> for Properties {
    fn from(members: Map<String, Value>) -> Self {
        Self(members.into_iter().collect())
    }
}

impl Serialize for Properties {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Properties;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object with the properties of an event")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Properties, A::Error> {
                let mut properties = Vec::with_capacity(TYPICAL_COUNT);
                while let Some(member) = members.next_entry()? {
                    properties.push(member);
                }
                Ok(Properties(properties))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// One event of an event hub that IoT Hub writes to.
///
/// The accessors read system properties alone: these are IoT Hub's word, a device cannot set them.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The body, byte for byte as the device sent it.
    pub body: Bytes,
    /// Application properties: what the device and message enrichments set.
    pub properties: Properties,
    /// System properties: what IoT Hub and Event Hubs set.
    pub system: Properties,
    /// The event's number in its partition, where the host says it.
    pub sequence_number: Option<i64>,
    /// When Event Hubs took the event.
    pub enqueued_time: Option<Timestamp>,
}

impl Event {
    /// The device that sent the event (`iothub-connection-device-id`); `None` also for what cannot be a device id.
    #[must_use]
    pub fn device_id(&self) -> Option<DeviceId> {
        DeviceId::parse(self.system.text("iothub-connection-device-id")?).ok()
    }

    /// The module of the device that sent it (`iothub-connection-module-id`).
    #[must_use]
    pub fn module_id(&self) -> Option<&str> {
        self.system.text("iothub-connection-module-id").filter(|id| !id.is_empty())
    }

    /// Which of IoT Hub's sources it comes from (`iothub-message-source`): `Telemetry`, `deviceLifecycleEvents`, ...
    #[must_use]
    pub fn message_source(&self) -> Option<&str> {
        self.system.text("iothub-message-source").filter(|source| !source.is_empty())
    }

    /// The component that it belongs to (`dt-subject`, set by IoT Plug and Play devices).
    #[must_use]
    pub fn dt_subject(&self) -> Option<&str> {
        self.system.text("dt-subject").filter(|subject| !subject.is_empty())
    }

    /// `content-type`, for instance `application/json`.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.system.text("content-type")
    }

    /// When the event happened, for all that is known: when IoT Hub took it (`iothub-enqueuedtime`), else when Event
    /// Hubs did. Never a clock of the device.
    #[must_use]
    pub fn source_time(&self) -> Option<Timestamp> {
        self.system.time("iothub-enqueuedtime").or(self.enqueued_time)
    }

    /// A value that IoT Hub documents without saying where it travels: from system properties, else from application
    /// properties. Not for anything that says who sent the event.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Option<&Value> {
        self.system.get(name).or_else(|| self.properties.get(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn properties(value: Value) -> Properties {
        Properties::from(value.as_object().unwrap().clone())
    }

    fn event(system: Value, application: Value) -> Event {
        Event {
            body: Bytes::new(),
            properties: properties(application),
            system: properties(system),
            sequence_number: None,
            enqueued_time: None,
        }
    }

    #[test]
    fn names_compare_without_case_and_an_exact_match_wins() {
        let properties = properties(json!({ "OPTYPE": "a", "opType": "b", "none": null }));
        assert_eq!(properties.text("opType"), Some("b"));
        assert_eq!(properties.text("optype"), Some("a"));
        assert_eq!(properties.get("none"), None);
    }

    #[test]
    fn who_sent_it_is_never_read_from_what_a_device_can_set() {
        let event = event(json!({}), json!({ "iothub-connection-device-id": "victim", "iothub-message-source": "x" }));
        assert_eq!(event.device_id(), None);
        assert_eq!(event.message_source(), None);
        assert!(event.lookup("iothub-message-source").is_some());
    }

    #[test]
    fn the_source_time_is_the_hubs_else_that_of_event_hubs() {
        let mut event = event(json!({ "iothub-enqueuedtime": "2024-05-01T12:00:00Z" }), json!({}));
        event.enqueued_time = "2024-05-01T12:00:09Z".parse().ok();
        assert_eq!(event.source_time().unwrap().to_string(), "2024-05-01T12:00:00Z");
        event.system = Properties::default();
        assert_eq!(event.source_time().unwrap().to_string(), "2024-05-01T12:00:09Z");
    }
}
