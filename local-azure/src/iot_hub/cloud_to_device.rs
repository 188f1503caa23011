//! Messages to devices: the queue of each, and how topics carry their properties (IoT Hub: send cloud-to-device
//! messages; communicate using MQTT, receiving cloud-to-device messages).

use std::collections::VecDeque;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Address, Change, DeviceId, Error, IotHub, device_session::Sender};
use crate::mqtt::Outgoing;

/// Messages that may wait for a device (IoT Hub: quotas and throttling, cloud-to-device queue depth).
const DEPTH: usize = 50;
/// The largest message: body and properties together.
const BYTES: usize = 64 * 1024;
/// How long a message waits: a hub's default time to live.
const TIME_TO_LIVE: SignedDuration = SignedDuration::from_hours(1);

/// Everything but what URIs never encode: a slash would end the property bag, a plus is a space to Node's SDK.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A message to a device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CloudMessage {
    /// The body, byte for byte.
    #[serde(with = "crate::event_hubs::base64_text")]
    pub body: Bytes,
    /// Its id, for the device and the sender to name it by.
    pub message_id: Option<String>,
    /// What the body is (`application/json`).
    pub content_type: Option<String>,
    /// Application properties, texts; null for one without a value.
    pub properties: Map<String, Value>,
}

impl CloudMessage {
    fn size(&self) -> usize {
        let property = |(name, value): (&String, &Value)| name.len() + value.as_str().map_or(0, str::len);
        let texts = [&self.message_id, &self.content_type].into_iter().flatten().map(String::len);
        self.body.len() + self.properties.iter().map(property).sum::<usize>() + texts.sum::<usize>()
    }

    /// `devices/{device}/messages/devicebound/{property bag}`: names and values are encoded, system properties begin
    /// with an encoded `$.`, a property without a value is its name alone.
    fn topic(&self, device: &DeviceId) -> String {
        let mut topic = format!("devices/{device}/messages/devicebound/");
        let to = format!("/devices/{device}/messages/deviceBound");
        let system = [("$.mid", &self.message_id), ("$.to", &Some(to)), ("$.ct", &self.content_type)];
        let system = system.into_iter().filter_map(|(name, value)| Some((name, Some(value.as_deref()?))));
        let own = self.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (index, (name, value)) in system.chain(own).enumerate() {
            if index > 0 {
                topic.push('&');
            }
            topic.extend(utf8_percent_encode(name, ENCODED));
            if let Some(value) = value {
                topic.push('=');
                topic.extend(utf8_percent_encode(value, ENCODED));
            }
        }
        topic
    }
}

/// The messages that wait for a device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    messages: VecDeque<Queued>,
    last: u64,
}

/// A message in its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Queued {
    /// Its number on this queue, from 1.
    pub sequence: u64,
    /// When it is given up.
    pub expires: Timestamp,
    /// The message.
    pub message: CloudMessage,
}

impl Queue {
    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn push(&mut self, queued: Queued) {
        self.last = self.last.max(queued.sequence);
        self.messages.push_back(queued);
    }

    pub(super) fn remove(&mut self, sequence: u64) {
        self.messages.retain(|queued| queued.sequence != sequence);
    }

    fn expired(&self, now: Timestamp) -> impl Iterator<Item = u64> {
        self.messages.iter().filter(move |queued| queued.expires <= now).map(|queued| queued.sequence)
    }

    /// The first that is still good, of those after this number.
    fn after(&self, sequence: u64, now: Timestamp) -> Option<&Queued> {
        self.messages.iter().find(|queued| queued.sequence > sequence && queued.expires > now)
    }
}

impl IotHub {
    /// Puts a message into a device's queue, where it stays until the device acknowledges it, for an hour at most.
    /// Gives back its number on the queue.
    ///
    /// # Errors
    /// [`Error`] if there is no such device, the message is too large or the queue is full.
    pub fn send_to_device(&self, device: &DeviceId, message: CloudMessage) -> Result<u64, Error> {
        let size = message.size();
        if size > BYTES {
            let reason = format!("a message of {size} bytes to a device, at most {BYTES} are allowed");
            return Err(Error::ArgumentInvalid(reason));
        }
        let at = Address::device(device.clone());
        let now = self.clock.now();
        let sequence = self.store.change(|state| {
            let queue = &state.get(&at).ok_or_else(|| Error::not_found(&at))?.queue;
            let expired: Vec<u64> = queue.expired(now).collect();
            if queue.len() - expired.len() >= DEPTH {
                return Err(Error::QueueFull(device.to_string(), DEPTH));
            }
            let done = |sequence| Change::Dequeue { at: at.clone(), sequence };
            let mut changes: Vec<Change> = expired.into_iter().map(done).collect();
            let sequence = queue.last + 1;
            let expires = now.saturating_add(TIME_TO_LIVE).unwrap_or(Timestamp::MAX);
            changes.push(Change::Enqueue { at: at.clone(), queued: Queued { sequence, expires, message } });
            Ok((changes, sequence))
        })?;
        self.connections.wake(&at);
        Ok(sequence)
    }

    /// What a device is to get after the message of this number.
    pub(super) fn next_for_device(&self, receiver: &Sender, after: u64) -> Option<(u64, Outgoing)> {
        let (sequence, message) = self.waiting(receiver, after)?;
        Some((sequence, Outgoing { topic: message.topic(&receiver.at.device), payload: message.body }))
    }

    /// The first message after the one of this number that waits for a device, with its number.
    pub(super) fn waiting(&self, receiver: &Sender, after: u64) -> Option<(u64, CloudMessage)> {
        self.store.read(|state| {
            let queued = receiver.entry(state).ok()?.queue.after(after, self.clock.now())?;
            Some((queued.sequence, queued.message.clone()))
        })
    }

    /// The device has the message.
    pub(super) fn delivered(&self, receiver: &Sender, sequence: u64) {
        let Ok(()) = self.store.change(|state| {
            // Numbers begin anew with each device: that of one that is gone stands for another message now.
            let is_there = receiver.entry(state).is_ok();
            let changes = is_there.then(|| Change::Dequeue { at: receiver.at.clone(), sequence });
            Ok::<_, std::convert::Infallible>((changes.into_iter().collect(), ()))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_carries_every_property_encoded() {
        let properties = [("a/b&c", Value::from("1+1=2 é")), ("empty", "".into()), ("none", Value::Null)];
        let message = CloudMessage {
            message_id: Some("m 1".into()),
            content_type: Some("application/json".into()),
            properties: properties.map(|(name, value)| (name.to_owned(), value)).into_iter().collect(),
            ..CloudMessage::default()
        };
        assert_eq!(
            message.topic(&"d1".parse().unwrap()),
            "devices/d1/messages/devicebound/%24.mid=m%201&%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound\
             &%24.ct=application%2Fjson&a%2Fb%26c=1%2B1%3D2%20%C3%A9&empty=&none"
        );
    }
}
