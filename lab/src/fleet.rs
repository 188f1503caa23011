//! Devices with twins, and their messages as IoT Hub routes them to Event Hubs.

use jiff::Timestamp;
use local_azure::event_hubs::EventData;
use serde_json::{Map, Value, json};

/// The model of all twins.
pub const THERMOSTAT: &str = "dtmi:contosocom:DigitalTwins:Thermostat;2";

/// Devices `<prefix>-000000`, `<prefix>-000001`, ...; each has the twin of its name.
#[derive(Debug, Clone)]
pub struct Fleet {
    prefix: &'static str,
    first: usize,
    count: usize,
}

impl Fleet {
    /// `count` devices, numbered from `first`.
    #[must_use]
    pub fn new(prefix: &'static str, first: usize, count: usize) -> Self {
        Self { prefix, first, count }
    }

    /// The ids of the devices, which are those of their twins.
    pub fn ids(&self) -> impl Iterator<Item = String> {
        (self.first..self.first + self.count).map(|number| format!("{}-{number:06}", self.prefix))
    }

    /// How many devices.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The twins, as a graph to load. They have a temperature: a `replace` of what is not there would be refused.
    #[must_use]
    pub fn graph(&self) -> Value {
        let twin = |id| {
            json!({
                "$dtId": id, "$metadata": { "$model": THERMOSTAT },
                "HubRegistrationId": id, "HubName": "localhost", "Temperature": 0.0,
            })
        };
        json!({ "twins": self.ids().map(twin).collect::<Vec<_>>() })
    }
}

/// A message as IoT Hub hands it to Event Hubs: stamped, and enriched with the tag `dtId`.
#[must_use]
pub fn message(device: &str, dt_id: &str, body: impl Into<bytes::Bytes>, enqueued: Timestamp) -> EventData {
    let map = |members: &[(&str, &str)]| -> Map<String, Value> {
        members.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()
    };
    EventData {
        body: body.into(),
        properties: map(&[("content-type", "application/json"), ("content-encoding", "utf-8")]),
        application_properties: map(&[("dtId", dt_id), ("hub", "localhost")]),
        annotations: map(&[
            ("iothub-connection-device-id", device),
            (
                "iothub-connection-auth-method",
                r#"{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#,
            ),
            ("iothub-connection-auth-generation-id", "638500000000000000"),
            ("iothub-enqueuedtime", &format!("{enqueued:.3}")),
            ("iothub-message-source", "Telemetry"),
        ]),
    }
}

/// A temperature from a device.
#[must_use]
pub fn temperature(device: &str, value: f64, enqueued: Timestamp) -> EventData {
    message(device, device, json!({ "Temperature": value }).to_string(), enqueued)
}
