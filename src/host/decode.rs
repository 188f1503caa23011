//! From the body of an invocation to what it says.
//!
//! The host writes every value that is neither a JSON object nor bytes as a JSON string that holds JSON text, so event
//! batches and all their metadata arrays are parsed twice (Azure/azure-functions-host,
//! `ScriptInvocationContextExtensions.cs`).

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Event, EventBatch, HttpRequest, Properties, timestamp};

/// The most events that a batch can have: far more than any host is configured to send.
pub(crate) const MAX_EVENTS: usize = 10_000;

/// The `dataType` of the trigger in function.json: what the host makes of bodies. It cannot be told from a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// `binary`: base64, the only form that loses nothing.
    Binary,
    /// `string`: text, bytes that are not UTF-8 replaced by U+FFFD. Also for no `dataType`, when the host has parsed
    /// the bodies and written them anew.
    Text,
}

/// Why the body of an invocation cannot be read. It is answered so that the host brings the batch back: nothing is lost.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It is not the JSON that the host sends.
    #[error("{what} is not as the Functions host writes it: {reason}")]
    Shape {
        /// Which part of the body.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The trigger's cardinality is `one`: then members of an event's body replace metadata of the same name, and any
    /// device could forge who it is (Azure/azure-functions-host, `Utility.cs`, `ApplyBindingData`).
    #[error("the events of this function come one by one; set \"cardinality\": \"many\" in its function.json")]
    One,
    /// A metadata array that says who sent the events is not there.
    #[error("Metadata.{name} is missing")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// A metadata array does not have one element an event.
    #[error("Metadata.{name} has {got} elements for {events} events")]
    Length {
        /// Its name.
        name: &'static str,
        /// Its elements.
        got: usize,
        /// The events.
        events: usize,
    },
    /// The batch has no events, or too many.
    #[error("the batch has {0} events; it takes 1 to {MAX_EVENTS}")]
    Count(usize),
}

fn shape(what: &'static str) -> impl Fn(serde_json::Error) -> DecodeError {
    move |error| DecodeError::Shape { what, reason: error.to_string() }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope<'a, M> {
    #[serde(borrow)]
    data: Data<'a>,
    metadata: M,
}

/// The trigger's value, under whatever name function.json gives it.
struct Data<'a>(&'a RawValue);

impl<'de: 'a, 'a> Deserialize<'de> for Data<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Data<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object with the trigger's value as its one member")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                let none = || serde::de::Error::invalid_length(0, &self);
                let (_, value) = members.next_entry::<Cow<'de, str>, &'de RawValue>()?.ok_or_else(none)?;
                match members.next_key::<Cow<'de, str>>()? {
                    None => Ok(Data(value)),
                    Some(_) => Err(serde::de::Error::invalid_length(2, &self)),
                }
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BatchMetadata<'a> {
    #[serde(borrow)]
    properties_array: Option<&'a RawValue>,
    #[serde(borrow)]
    system_properties_array: Option<&'a RawValue>,
    /// Of a single event.
    system_properties: Option<serde::de::IgnoredAny>,
    #[serde(borrow)]
    sequence_number_array: Option<&'a RawValue>,
    #[serde(borrow)]
    enqueued_time_utc_array: Option<&'a RawValue>,
    partition_context: Option<PartitionContext>,
    retry_context: Option<RetryContext>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PartitionContext {
    partition_id: Option<String>,
}

/// `Exception` of a retry is a large dump of a .NET object: not read.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RetryContext {
    retry_count: i64,
}

impl RetryContext {
    fn retries(&self) -> u32 {
        u32::try_from(self.retry_count.max(0)).unwrap_or(u32::MAX)
    }
}

impl BatchMetadata<'_> {
    /// The host makes an event of what somebody gives it in `POST /admin/functions/{name}`: it comes in a batch, with
    /// the metadata of a single event (azure-sdk-for-net, `EventHubTriggerBindingStrategy.cs`, `ConvertFromString`).
    /// No other batch is without arrays.
    fn is_of_an_invocation_by_hand(&self) -> bool {
        self.system_properties.is_some() && self.properties_array.is_none() && self.system_properties_array.is_none()
    }
}

/// An event that was never in an event hub. Nobody sent it: whatever its metadata say, they are not IoT Hub's word.
fn by_hand(body: Bytes) -> Event {
    Event {
        body,
        properties: Properties::default(),
        system: Properties::default(),
        sequence_number: None,
        enqueued_time: None,
    }
}

impl EventBatch {
    /// Reads the body of an Event Hub invocation (cardinality `many`).
    ///
    /// # Errors
    /// [`DecodeError`], when any of the events would be lost or its sender not be known.
    pub fn decode(body: &[u8], data_type: DataType) -> Result<Self, DecodeError> {
        let envelope: Envelope<'_, BatchMetadata<'_>> = serde_json::from_slice(body).map_err(shape("the body"))?;
        let metadata = envelope.metadata;
        let bodies = bodies(envelope.data.0, data_type)?;
        let count = bodies.len();
        if count == 0 || count > MAX_EVENTS {
            return Err(DecodeError::Count(count));
        }
        if let ([body], true) = (bodies.as_slice(), metadata.is_of_an_invocation_by_hand()) {
            return Ok(Self { events: vec![by_hand(body.clone())], retries: 0, partition: None });
        }
        let array = Arrays { events: count };
        let properties: Vec<Option<Properties>> = array.required("PropertiesArray", metadata.properties_array)?;
        let system: Vec<Option<Properties>> =
            array.required("SystemPropertiesArray", metadata.system_properties_array)?;
        let sequence_numbers: Vec<Option<i64>> =
            array.optional("SequenceNumberArray", metadata.sequence_number_array)?;
        let times: Vec<Value> = array.optional("EnqueuedTimeUtcArray", metadata.enqueued_time_utc_array)?;

        let sequence_numbers = sequence_numbers.into_iter().chain(std::iter::repeat(None));
        let times = times.into_iter().chain(std::iter::repeat(Value::Null));
        let events = bodies
            .into_iter()
            .zip(properties.into_iter().zip(system))
            .zip(sequence_numbers.zip(times))
            .map(|((body, (properties, system)), (sequence_number, time))| {
                let system = system.unwrap_or_default();
                Event {
                    body,
                    properties: properties.unwrap_or_default(),
                    sequence_number: sequence_number.or_else(|| system.get("SequenceNumber")?.as_i64()),
                    enqueued_time: timestamp(&time).or_else(|| system.time("x-opt-enqueued-time")),
                    system,
                }
            })
            .collect();
        Ok(Self {
            events,
            retries: metadata.retry_context.map_or(0, |context| context.retries()),
            partition: metadata.partition_context.and_then(|context| context.partition_id),
        })
    }
}

/// The bodies of a batch, each as bytes.
fn bodies(data: &RawValue, data_type: DataType) -> Result<Vec<Bytes>, DecodeError> {
    let text = inner(data).map_err(shape("Data"))?;
    if !text.trim_start().starts_with('[') {
        return Err(DecodeError::One);
    }
    let elements: Vec<&RawValue> = serde_json::from_str(&text).map_err(shape("Data"))?;
    elements.into_iter().map(|element| event_body(element, data_type).map_err(shape("Data"))).collect()
}

/// One body: a string that holds it, or (without `dataType`) the JSON value that the host made of it.
fn event_body(element: &RawValue, data_type: DataType) -> Result<Bytes, serde_json::Error> {
    if !element.get().starts_with('"') {
        return Ok(Bytes::copy_from_slice(element.get().as_bytes()));
    }
    let text = unescape(element)?;
    if data_type == DataType::Binary {
        // What is not base64 under `binary` can only be text that something in between has written.
        if let Ok(bytes) = STANDARD.decode(text.as_bytes()) {
            return Ok(bytes.into());
        }
    }
    Ok(Bytes::from(text.into_owned()))
}

/// The JSON text that a value holds: the content of a string, else the value itself.
fn inner(value: &RawValue) -> Result<Cow<'_, str>, serde_json::Error> {
    if value.get().starts_with('"') { unescape(value) } else { Ok(Cow::Borrowed(value.get())) }
}

fn unescape(value: &RawValue) -> Result<Cow<'_, str>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'_>>(value.get()).map(|text| text.0)
}

/// Metadata arrays, one element an event.
struct Arrays {
    events: usize,
}

impl Arrays {
    fn required<T: serde::de::DeserializeOwned>(
        &self,
        name: &'static str,
        array: Option<&RawValue>,
    ) -> Result<Vec<T>, DecodeError> {
        self.read(name, array.ok_or(DecodeError::Missing { name })?)
    }

    fn optional<T: serde::de::DeserializeOwned>(
        &self,
        name: &'static str,
        array: Option<&RawValue>,
    ) -> Result<Vec<T>, DecodeError> {
        array.map_or(Ok(Vec::new()), |array| self.read(name, array))
    }

    fn read<T: serde::de::DeserializeOwned>(
        &self,
        name: &'static str,
        array: &RawValue,
    ) -> Result<Vec<T>, DecodeError> {
        let elements: Vec<T> = inner(array).and_then(|text| serde_json::from_str(&text)).map_err(shape(name))?;
        if elements.len() == self.events {
            Ok(elements)
        } else {
            Err(DecodeError::Length { name, got: elements.len(), events: self.events })
        }
    }
}

#[derive(Deserialize)]
struct HttpTrigger<'a> {
    #[serde(rename = "Body", borrow)]
    body: Option<&'a RawValue>,
}

impl HttpRequest {
    /// Reads a request in the host's envelope (both raw HTTP modes off).
    ///
    /// # Errors
    /// [`DecodeError::Shape`] when it is not one.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let envelope: Envelope<'_, serde::de::IgnoredAny> = serde_json::from_slice(body).map_err(shape("the body"))?;
        let trigger: HttpTrigger<'_> = serde_json::from_str(envelope.data.0.get()).map_err(shape("Data"))?;
        let body = match trigger.body {
            None => Bytes::new(),
            Some(body) if body.get() == "null" => Bytes::new(),
            Some(body) => Bytes::from(inner(body).map_err(shape("Data.req.Body"))?.into_owned()),
        };
        Ok(Self { body })
    }
}
