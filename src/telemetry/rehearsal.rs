//! What a batch would write: decoding and planning alone, without asking the service for anything.

use std::collections::HashMap;

use dtdl::{ModelId, ModelSet};
use jiff::Timestamp;
use serde_json::Value;

use super::decode::decode;
use super::mapping::Mapping;
use super::plan::{Change, Message, Target, plan};
use crate::device::DeviceId;
use crate::digital_twins::{PropertyPath, TwinId};
use crate::host::EventBatch;

/// A value that a batch would write.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// Who sent it.
    pub device: DeviceId,
    /// Into which property of the sender's twin.
    pub path: PropertyPath,
    /// The value, converted as the model wants it.
    pub value: Value,
    /// How new it is.
    pub source_time: Timestamp,
}

/// The values that `batch` would write if each sender had a twin of its own of `model`, which is in `models`, that
/// took nothing before, and there were no mapping.
#[must_use]
pub fn rehearse(batch: &EventBatch, model: &ModelId, models: &ModelSet, now: Timestamp) -> Vec<Write> {
    let mut groups: HashMap<(DeviceId, Option<TwinId>), Vec<Message>> = HashMap::new();
    for message in batch.events.iter().enumerate().filter_map(|(index, event)| decode(index, event).ok()) {
        groups.entry((message.device.clone(), message.claim.clone())).or_default().push(message);
    }
    let (mapping, stamps) = (&Mapping::default(), &HashMap::new());
    let target = Target { model, models, mapping, stamps, now };
    let mut writes = Vec::new();
    for ((device, _), messages) in groups {
        let changes = plan(&messages, target).changes.into_iter();
        writes.extend(changes.map(|Change { path, value, stamp, .. }| Write {
            device: device.clone(),
            path,
            value,
            source_time: stamp.time,
        }));
    }
    writes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::recorded::{message, with_system};

    #[test]
    fn the_newest_value_of_each_sender_is_written() {
        let model: ModelId = "dtmi:test:Thermostat;1".parse().unwrap();
        let interface = json!({
            "@context": "dtmi:dtdl:context;2", "@id": model, "@type": "Interface",
            "contents": [{ "@type": "Property", "name": "Temperature", "schema": "double" }],
        });
        let models = ModelSet::default().with([dtdl::Interface::parse(&interface).unwrap()]).unwrap();
        let sent_at = |time: &str| with_system(message("sample_telemetry"), "iothub-enqueuedtime", json!(time));
        let mut older = sent_at("2024-05-01T12:00:00Z");
        older.body = br#"{"Temperature": 1}"#.as_slice().into();
        let events = vec![sent_at("2024-05-01T12:00:01Z"), older];
        let batch = EventBatch { events, retries: 0, partition: None };
        let writes = rehearse(&batch, &model, &models, Timestamp::UNIX_EPOCH);
        let source_time = "2024-05-01T12:00:01Z".parse().unwrap();
        let device = DeviceId::parse("thermo-01").unwrap();
        assert_eq!(writes, [Write { device, path: "Temperature".into(), value: json!(24.73), source_time }]);
    }
}
