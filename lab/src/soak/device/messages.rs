//! What a device sends.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use jiff::Timestamp;
use local_azure::event_hubs::EventData;
use serde_json::{Map, Value};

use super::{super::oracle::Values, Device, Kind, name};
use crate::{
    fleet,
    soak::{
        oracle::Property,
        schedule::{LeftOut, Poison},
    },
};

/// What IoT Hub stamps where the tag `dtId` is missing (IoT Hub: message enrichments overview).
const UNFILLED: &str = "$twin.tags.dtId";

impl Device {
    pub(super) fn send_reading(&mut self) {
        let mut properties = vec![Property::Temperature];
        if self.schedule.happens(30) {
            properties.push(Property::ComfortIndex);
        }
        if self.schedule.happens(15) {
            properties.remove(0);
        }
        let values: Values = properties.into_iter().map(|property| (property, self.value())).collect();
        let body: Map<String, Value> =
            values.iter().map(|(property, value)| (property.name().to_owned(), Value::from(*value))).collect();
        self.send(Value::Object(body).to_string(), Kind::Reading(values), |_| {});
    }

    pub(super) fn send_poison(&mut self, poison: Poison) {
        let good = (poison == Poison::PartlyWrong).then(|| (Property::ComfortIndex, self.value()));
        let kind = match poison {
            Poison::WrongType | Poison::PartlyWrong => Kind::Unfitting(good.into_iter().collect()),
            Poison::NotJson | Poison::NotUtf8 | Poison::Array | Poison::Twice | Poison::Empty => Kind::Unreadable,
        };
        self.send(poison.body(self.mark(), good), kind, |_| {});
    }

    pub(super) fn claim_foreign_twin(&mut self) {
        let other = (self.number + 1 + self.schedule.index(self.stage.devices.saturating_sub(1))) % self.stage.devices;
        let body = self.reading_body();
        self.send(body, Kind::Foreign, |event| {
            event.application_properties.insert("dtId".to_owned(), name(other).to_ascii_lowercase().into());
        });
    }

    pub(super) fn send_what_is_left_out(&mut self, rule: LeftOut) {
        let body = match rule {
            LeftOut::UnknownMembers => format!(r#"{{"Humid":{}}}"#, self.mark()),
            LeftOut::Module | LeftOut::OtherSource => self.reading_body(),
        };
        self.send(body, Kind::LeftOut, |event| {
            let (name, value) = match rule {
                LeftOut::Module => ("iothub-connection-module-id", "sensor"),
                LeftOut::OtherSource => ("iothub-message-source", "deviceConnectionStateEvents"),
                LeftOut::UnknownMembers => return,
            };
            event.annotations.insert(name.to_owned(), value.into());
        });
    }

    /// A message as the device's hub hands it on; `None` where the device is in no hub.
    pub(super) fn message(&self, body: Bytes, time: Timestamp) -> Option<EventData> {
        let life = self.life()?;
        let dt_id = if self.is_tagged { life.twin.as_str() } else { UNFILLED };
        let mut event = fleet::message(self.id.as_str(), dt_id, body, time);
        let hub = life.hub.split('.').next().unwrap_or_default();
        event.application_properties.insert("hub".to_owned(), hub.into());
        Some(event)
    }

    fn reading_body(&self) -> String {
        format!(r#"{{"Temperature":{}}}"#, self.value())
    }

    /// A value that nobody else sends.
    #[expect(clippy::cast_precision_loss, reason = "marks are far below 2^53")]
    fn value(&self) -> f64 {
        self.mark() as f64
    }

    fn mark(&self) -> u64 {
        self.stage.marks.fetch_add(1, Ordering::Relaxed)
    }
}

impl Poison {
    /// The body; `mark` makes it unlike any other. Where one value is to be good, it is `good`.
    fn body(self, mark: u64, good: Option<(Property, f64)>) -> Vec<u8> {
        match self {
            Self::NotJson => format!("{mark} degrees").into_bytes(),
            Self::NotUtf8 => [&[0xff, 0xfe, 0x00], mark.to_string().as_bytes()].concat(),
            Self::Array => format!("[{mark}]").into_bytes(),
            Self::Twice => format!(r#"{{"Temperature":{mark},"Temperature":{mark}}}"#).into_bytes(),
            Self::Empty => Vec::new(),
            Self::WrongType | Self::PartlyWrong => {
                let good = good.map(|(property, value)| format!(r#","{}":{value}"#, property.name()));
                format!(r#"{{"Temperature":"warm {mark}"{}}}"#, good.unwrap_or_default()).into_bytes()
            }
        }
    }
}
