//! Device-to-cloud messages: how topics carry their properties (IoT Hub: communicate using MQTT, sending
//! device-to-cloud messages). Pure.

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::{Address, DeviceId, ModuleId};

/// The largest message: body, values of system properties, names and values of application properties together
/// (IoT Hub: quotas and throttling).
pub(crate) const MESSAGE_BYTES: usize = 256 * 1024;

/// A message from a device.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Message {
    /// The body, byte for byte.
    pub body: Bytes,
    /// Properties with a name of their own in AMQP (`message-id`, `content-type`, ...).
    pub properties: Map<String, Value>,
    /// What the device set itself. A property without a value is null.
    pub application_properties: Map<String, Value>,
    /// System properties that travel as message annotations (`dt-subject`, ...).
    pub annotations: Map<String, Value>,
}

/// A topic is not one that a device sends messages to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// It is something else.
    #[error("not a topic for device-to-cloud messages")]
    OtherTopic,
    /// A name or value is not UTF-8 after decoding.
    #[error("a property is not UTF-8")]
    NotUtf8,
}

/// Where a property of the topic's property bag goes.
enum Place {
    Property(&'static str),
    Annotation(&'static str),
    Application(&'static str),
    /// Only IoT Edge may say for whom it speaks: left out.
    Nowhere,
}

/// The short names of system properties (Azure SDKs: MQTT topics of device clients).
fn place(name: &str) -> Option<Place> {
    Some(match name {
        "$.mid" => Place::Property("message-id"),
        "$.cid" => Place::Property("correlation-id"),
        "$.uid" => Place::Property("user-id"),
        "$.to" => Place::Property("to"),
        "$.exp" => Place::Property("absolute-expiry-time"),
        "$.ct" => Place::Property("content-type"),
        "$.ce" => Place::Property("content-encoding"),
        "$.sub" => Place::Annotation("dt-subject"),
        "$.ifid" => Place::Annotation("iothub-interface-id"),
        "$.on" => Place::Annotation("iothub-outputname"),
        "$.ctime" => Place::Application("iothub-creation-time-utc"),
        "$.schema" => Place::Application("iothub-message-schema"),
        "$.diagid" => Place::Application("iothub-diag-id"),
        "$.diagctx" => Place::Application("diag-correlation-context"),
        "$.cdid" | "$.cmid" => Place::Nowhere,
        _ => return None,
    })
}

impl Message {
    /// Reads `devices/{device}[/modules/{module}]/messages/events/[{property bag}]`.
    ///
    /// # Errors
    /// [`TopicError`] if it is another topic or cannot be decoded.
    pub fn from_topic(topic: &str, body: Bytes) -> Result<(Address, Self), TopicError> {
        let (device, rest) =
            topic.strip_prefix("devices/").and_then(|rest| rest.split_once('/')).ok_or(TopicError::OtherTopic)?;
        let (module, rest) = match rest.strip_prefix("modules/") {
            None => (None, rest),
            Some(rest) => {
                rest.split_once('/').map(|(module, rest)| (Some(module), rest)).ok_or(TopicError::OtherTopic)?
            }
        };
        let rest = rest.strip_prefix("messages/events").ok_or(TopicError::OtherTopic)?;
        let bag = match rest.strip_prefix('/') {
            Some(bag) => bag,
            None if rest.is_empty() => "",
            None => return Err(TopicError::OtherTopic),
        };
        let device = decode(device)?.parse::<DeviceId>().map_err(|_| TopicError::OtherTopic)?;
        let module =
            module.map(|module| decode(module)?.parse::<ModuleId>().map_err(|_| TopicError::OtherTopic)).transpose()?;
        let mut message = Self { body, ..Self::default() };
        // Node's SDK ends the bag of a module's output with a slash.
        for pair in bag.trim_end_matches('/').split('&').filter(|pair| !pair.is_empty()) {
            message.set(pair)?;
        }
        Ok((Address { device, module }, message))
    }

    /// Takes one `name=value`, or a name alone for a property without a value. A plus sign is itself, no space.
    fn set(&mut self, pair: &str) -> Result<(), TopicError> {
        let (name, value) = match pair.split_once('=') {
            Some((name, value)) => (decode(name)?, Value::from(decode(value)?)),
            None => (decode(pair)?, Value::Null),
        };
        match place(&name) {
            None => self.application_properties.insert(name, value),
            Some(Place::Application(name)) => self.application_properties.insert(name.into(), value),
            Some(Place::Property(name)) => self.properties.insert(name.into(), value),
            Some(Place::Annotation(name)) => self.annotations.insert(name.into(), value),
            Some(Place::Nowhere) => None,
        };
        Ok(())
    }

    /// The size that is limited to 256 KiB: body, values, names of application properties.
    pub fn size(&self) -> usize {
        let values = |map: &Map<String, Value>| map.values().map(text_len).sum::<usize>();
        let names = self.application_properties.keys().map(String::len).sum::<usize>();
        self.body.len()
            + values(&self.properties)
            + values(&self.annotations)
            + values(&self.application_properties)
            + names
    }
}

fn text_len(value: &Value) -> usize {
    value.as_str().map_or(0, str::len)
}

fn decode(text: &str) -> Result<String, TopicError> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| TopicError::NotUtf8)?;
    Ok(decoded.into_owned())
}
