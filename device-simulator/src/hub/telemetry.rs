//! A device-to-cloud message: a body and its properties.

use std::fmt::Write as _;

use bytes::Bytes;
use serde::Serialize;

use crate::sas::encode;

/// IoT Hub takes messages of up to 256 KiB: body, system property values, names and values of application properties.
pub const MAX_TELEMETRY_SIZE: usize = 256 * 1024;

/// MQTT counts a topic's bytes in two bytes; some of them are the device's id and the fixed part.
const MAX_BAG_SIZE: usize = 65_535 - 1024;

/// Why a message cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The body is no JSON.
    #[error("the body cannot be written as JSON: {0}")]
    NotJson(String),
    /// Beyond what IoT Hub takes.
    #[error("a message of {size} bytes, where IoT Hub takes {MAX_TELEMETRY_SIZE}: send less at a time")]
    TooLarge {
        /// Its size as IoT Hub counts it.
        size: usize,
    },
    /// Properties travel in the topic, and MQTT limits its length.
    #[error("properties of {size} bytes when encoded, where a topic holds {MAX_BAG_SIZE}: put them into the body")]
    TooManyProperties {
        /// Their encoded size.
        size: usize,
    },
}

/// System properties that a device may set (IoT Hub: create and read messages), by their key in an MQTT topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SystemProperty {
    /// `$.mid`
    MessageId,
    /// `$.cid`
    CorrelationId,
    /// `$.ct`
    ContentType,
    /// `$.ce`
    ContentEncoding,
    /// `$.sub`: the component that the message comes from (IoT Plug and Play).
    ComponentName,
}

impl SystemProperty {
    fn key(self) -> &'static str {
        match self {
            Self::MessageId => "$.mid",
            Self::CorrelationId => "$.cid",
            Self::ContentType => "$.ct",
            Self::ContentEncoding => "$.ce",
            Self::ComponentName => "$.sub",
        }
    }
}

/// A device-to-cloud message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    body: Bytes,
    /// In the order in which they were set; it is the order on the wire.
    properties: Vec<(String, String)>,
}

impl Telemetry {
    /// A message of any bytes, without properties.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), properties: Vec::new() }
    }

    /// A message of JSON in UTF-8, marked as such: without that mark, routes cannot look into the body.
    ///
    /// # Errors
    ///
    /// When `body` cannot be written as JSON.
    pub fn json(body: &impl Serialize) -> Result<Self, TelemetryError> {
        let body = serde_json::to_vec(body).map_err(|error| TelemetryError::NotJson(error.to_string()))?;
        Ok(Self::new(body)
            .with_system_property(SystemProperty::ContentType, "application/json")
            .with_system_property(SystemProperty::ContentEncoding, "utf-8"))
    }

    /// The same with one more application property.
    #[must_use]
    pub fn with_property(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let mut properties = self.properties;
        properties.push((name.into(), value.into()));
        Self { properties, ..self }
    }

    /// The same with one more system property.
    #[must_use]
    pub fn with_system_property(self, property: SystemProperty, value: impl Into<String>) -> Self {
        self.with_property(property.key(), value)
    }

    /// What the message says.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The properties as the end of a topic, name and value percent-encoded as the device SDKs do it
    /// (`%24.ct=application%2Fjson&%24.ce=utf-8`).
    pub(super) fn bag(&self) -> Result<String, TelemetryError> {
        let mut bag = String::new();
        let mut size = self.body.len();
        for (name, value) in &self.properties {
            size += if name.starts_with("$.") { 0 } else { name.len() } + value.len();
            let separator = if bag.is_empty() { "" } else { "&" };
            // Writing into a String cannot fail.
            let _ = write!(bag, "{separator}{}={}", encode(name), encode(value));
        }
        match (size, bag.len()) {
            (size, _) if size > MAX_TELEMETRY_SIZE => Err(TelemetryError::TooLarge { size }),
            (_, size) if size > MAX_BAG_SIZE => Err(TelemetryError::TooManyProperties { size }),
            _ => Ok(bag),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::topics, *};

    fn vectors() -> serde_json::Value {
        serde_json::from_str(include_str!("../../tests/fixtures/iot/d2c_topics.json")).unwrap()
    }

    fn topic_of(case: &str, telemetry: &Telemetry) {
        let vectors = vectors();
        let case = vectors["cases"].as_array().unwrap().iter().find(|c| c["name"] == case).unwrap();
        let device_id = case["deviceId"].as_str().unwrap().parse().unwrap();
        assert_eq!(topics::telemetry(&device_id, &telemetry.bag().unwrap()), case["topic"]);
        if let Some(body) = case.get("body") {
            assert_eq!(telemetry.body(), body.to_string().as_bytes());
        }
    }

    #[test]
    fn system_properties_have_the_keys_of_their_meaning() {
        for (property, meaning) in [
            (SystemProperty::MessageId, "message-id"),
            (SystemProperty::CorrelationId, "correlation-id"),
            (SystemProperty::ContentType, "content-type"),
            (SystemProperty::ContentEncoding, "content-encoding"),
            (SystemProperty::ComponentName, "dt-subject"),
        ] {
            assert_eq!(vectors()["key_map"][property.key()], meaning);
        }
    }

    #[test]
    fn the_topic_of_the_original_sample() {
        topic_of("the original sample", &Telemetry::json(&serde_json::json!({"Temperature": 24.73})).unwrap());
    }

    #[test]
    fn the_topic_of_a_message_without_properties() {
        topic_of("no properties", &Telemetry::new("x"));
    }

    #[test]
    fn names_and_values_are_encoded_as_recorded_of_the_sdks() {
        let telemetry = Telemetry::new("x")
            .with_system_property(SystemProperty::MessageId, "m 1/é")
            .with_system_property(SystemProperty::CorrelationId, "c1")
            .with_system_property(SystemProperty::ContentType, "application/json")
            .with_system_property(SystemProperty::ContentEncoding, "utf-8")
            .with_system_property(SystemProperty::ComponentName, "comp1")
            .with_property("unit", "°C & more");
        topic_of("python full", &telemetry);
    }

    #[test]
    fn a_message_may_be_256_kib_and_no_more() {
        assert!(Telemetry::new(vec![0; MAX_TELEMETRY_SIZE]).bag().is_ok());
        let over = Telemetry::new(vec![0; MAX_TELEMETRY_SIZE - 2]).with_property("ab", "c");
        assert_eq!(over.bag(), Err(TelemetryError::TooLarge { size: MAX_TELEMETRY_SIZE + 1 }));
    }

    #[test]
    fn properties_must_fit_into_a_topic() {
        let telemetry = Telemetry::new("x").with_property("p", "é".repeat(20_000));
        assert_eq!(telemetry.bag(), Err(TelemetryError::TooManyProperties { size: 120_002 }));
    }
}
