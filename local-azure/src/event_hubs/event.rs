//! An event, before and after an event hub took it.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An event as its producer hands it over: an AMQP message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EventData {
    /// The body, byte for byte.
    #[serde(with = "base64_text")]
    pub body: Bytes,
    /// AMQP properties that are set, under the names that consumers see (`content-type`, `message-id`, ...).
    pub properties: Map<String, Value>,
    /// Application properties; for a device message those that the device set and those that enrichments added.
    pub application_properties: Map<String, Value>,
    /// Message annotations that the producer sets (`iothub-connection-device-id`, `dt-subject`, ...); times as
    /// consumers get them, for instance `2024-05-01T12:00:00.123Z`. The three that the event hub itself stamps are
    /// the fields of [`StoredEvent`].
    pub annotations: Map<String, Value>,
}

/// An event in a partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredEvent {
    /// What the producer handed over.
    pub data: EventData,
    /// The number within the partition, without gaps (`x-opt-sequence-number`).
    pub sequence_number: u64,
    /// Where the event begins in the partition's log (`x-opt-offset`); a decimal number of bytes.
    pub offset: String,
    /// When the event hub took it, in whole milliseconds (`x-opt-enqueued-time`).
    pub enqueued_time: Timestamp,
}

impl EventData {
    /// Roughly what the event takes in the log, in bytes: the body, the properties and some bookkeeping.
    pub(super) fn size(&self) -> u64 {
        const OVERHEAD: usize = 64;
        let maps = [&self.properties, &self.application_properties, &self.annotations];
        let members = maps.into_iter().flatten().map(|(name, value)| name.len() + text_len(value)).sum::<usize>();
        u64::try_from(self.body.len() + members + OVERHEAD).unwrap_or(u64::MAX)
    }
}

fn text_len(value: &Value) -> usize {
    value.as_str().map_or(8, str::len)
}

/// Bodies are any bytes, JSON is text.
pub(crate) mod base64_text {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map(Bytes::from).map_err(D::Error::custom)
    }
}
