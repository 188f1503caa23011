//! Dead letters: events that could not be applied, kept with their body, their properties and the reason.
//!
//! A batch's dead letters travel in the function's answer as output `deadLetters`, one JSON document, which the host
//! writes to a blob. `handler replay` reads it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use jiff::Timestamp;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::host::MAX_EVENTS;
use crate::outcome::Failure;

/// Reasons are cut to this many bytes: they quote what devices sent.
const MAX_DETAIL: usize = 1024;

/// Why an event became a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What kind of failure, for counting and filtering.
    pub code: Code,
    /// One line for a reader: what came, what was wanted.
    pub detail: String,
    /// Relationships that twins lost and that a reader may want to put back: the JSON document of each, as text, which
    /// the host leaves as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relationships: Vec<String>,
}

/// The kinds of failure that make dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Code {
    /// System properties that the function needs are missing or malformed: who sent it, or when.
    SystemProperties,
    /// Application properties that the function needs are missing or malformed.
    Properties,
    /// The content type is not JSON.
    ContentType,
    /// The body is not a JSON object.
    Body,
    /// A value fits its property's schema neither as it came nor converted without loss.
    Value,
    /// The device has no twin, and the setting says to keep such events.
    NoTwin,
    /// `dtId` names a twin that does not exist.
    TwinMissing,
    /// `dtId` names a twin that is not bound to the sender.
    TwinOfOther,
    /// The twin's model cannot be read.
    Model,
    /// Azure Digital Twins refused the change for good.
    Refused,
    /// The device registered anew while its twin was being deleted; the twin stays, and of the relationships that were
    /// deleted by then, not all can be put back.
    Relationships,
    /// It failed at every attempt, in ways that should have passed, while the service as a whole worked.
    StillFailing,
}

impl Reason {
    /// A reason with its line, cut to a sensible length.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if detail.len() > MAX_DETAIL {
            detail.truncate(detail.floor_char_boundary(MAX_DETAIL));
            detail.push_str("...");
        }
        Self { code, detail, relationships: Vec::new() }
    }

    /// The reason with relationships that were lost.
    #[must_use]
    pub fn with_relationships(mut self, documents: Vec<String>) -> Self {
        self.relationships.extend(documents);
        self
    }

    /// What failed `attempts` times, and last with `failure`.
    #[must_use]
    pub fn still_failing(attempts: u32, failure: Option<&Failure>) -> Self {
        let last = failure.map_or("no answer within the time for one attempt", Failure::detail);
        let reason = Self::new(Code::StillFailing, format!("failed at each of {attempts} attempts, at last: {last}"));
        reason.with_relationships(failure.map(|failure| failure.relationships().to_vec()).unwrap_or_default())
    }
}

/// The dead letters of one batch: the document that the output `deadLetters` carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// Version of this format: 1.
    pub version: u32,
    /// The function that gave up on the events.
    pub function: String,
    /// When it did.
    pub time: Timestamp,
    /// The events, at most as many as a batch can have.
    #[serde(deserialize_with = "dead_letters")]
    pub dead_letters: Vec<DeadLetter>,
}

/// Reads no more dead letters than a batch makes: what a document takes in memory is bounded by its size.
fn dead_letters<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<DeadLetter>, D::Error> {
    struct Letters;

    impl<'de> Visitor<'de> for Letters {
        type Value = Vec<DeadLetter>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a sequence of dead letters")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
            let mut letters = Vec::new();
            while let Some(letter) = sequence.next_element()? {
                if letters.len() == MAX_EVENTS {
                    return Err(A::Error::custom(format_args!("it has more than {MAX_EVENTS} dead letters: split it")));
                }
                letters.push(letter);
            }
            Ok(letters)
        }
    }

    deserializer.deserialize_seq(Letters)
}

impl Document {
    /// The document for `dead_letters`.
    #[must_use]
    pub fn new(function: &str, time: Timestamp, dead_letters: Vec<DeadLetter>) -> Self {
        Self { version: 1, function: function.to_owned(), time, dead_letters }
    }
}

/// One event that could not be applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Why.
    pub reason: Reason,
    /// Who sent it, or which device it is about; from the system properties.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// When it reached IoT Hub, or else Event Hubs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_time: Option<Timestamp>,
    /// Its number in its partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence_number: Option<i64>,
    /// Its partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// Application properties.
    pub properties: Map<String, Value>,
    /// System properties.
    pub system_properties: Map<String, Value>,
    /// The body.
    #[serde(flatten)]
    pub body: Body,
}

/// A body kept to the byte: member `body` holds text, member `bodyBase64` any other bytes.
///
/// Text that could be taken for a date goes as base64 as well: the host reads answers with a JSON library that turns
/// date-like texts into dates and writes them back in another form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body(pub Bytes);

#[derive(Serialize)]
enum Form<'a> {
    #[serde(rename = "body")]
    Text(&'a str),
    #[serde(rename = "bodyBase64")]
    Base64(String),
}

/// Both members, of which a dead letter has one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members {
    body: Option<String>,
    body_base64: Option<String>,
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let form = match std::str::from_utf8(&self.0) {
            Ok(text) if !resembles_a_date(text) => Form::Text(text),
            _ => Form::Base64(BASE64.encode(&self.0)),
        };
        form.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match Members::deserialize(deserializer)? {
            Members { body: Some(text), body_base64: None } => return Ok(Self(Bytes::from(text))),
            Members { body: None, body_base64: Some(text) } => text,
            Members { body: Some(_), .. } => return Err(D::Error::custom("it has both body and bodyBase64")),
            Members { body: None, .. } => return Err(D::Error::custom("it has neither body nor bodyBase64")),
        };
        let bytes =
            BASE64.decode(text).map_err(|error| D::Error::custom(format_args!("bodyBase64 is not base64: {error}")))?;
        Ok(Self(Bytes::from(bytes)))
    }
}

/// Newtonsoft.Json takes for dates what begins like ISO 8601 (`2024-05-01T`) or `/Date(`. No JSON object does.
fn resembles_a_date(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit() || first == '/')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn letter(body: &[u8]) -> DeadLetter {
        DeadLetter {
            reason: Reason::new(Code::Body, "the body is empty"),
            device_id: Some("thermo-01".to_owned()),
            source_time: Some("2024-05-01T12:00:00.123Z".parse().unwrap()),
            sequence_number: Some(4711),
            partition: Some("3".to_owned()),
            properties: Map::from_iter([("alert".to_owned(), json!("false"))]),
            system_properties: Map::from_iter([("content-type".to_owned(), json!("application/json"))]),
            body: Body(Bytes::copy_from_slice(body)),
        }
    }

    #[test]
    fn a_document_says_all_that_a_replay_needs() {
        let document = Document::new(
            "DeviceTelemetryToTwinFunc",
            "2024-05-01T12:00:01Z".parse().unwrap(),
            vec![letter(br#"{"Temperature":"24,7"}"#)],
        );
        insta::assert_json_snapshot!(document, @r#"
        {
          "version": 1,
          "function": "DeviceTelemetryToTwinFunc",
          "time": "2024-05-01T12:00:01Z",
          "deadLetters": [
            {
              "reason": {
                "code": "body",
                "detail": "the body is empty"
              },
              "deviceId": "thermo-01",
              "sourceTime": "2024-05-01T12:00:00.123Z",
              "sequenceNumber": 4711,
              "partition": "3",
              "properties": {
                "alert": "false"
              },
              "systemProperties": {
                "content-type": "application/json"
              },
              "body": "{\"Temperature\":\"24,7\"}"
            }
          ]
        }
        "#);
        let text = serde_json::to_string(&document).unwrap();
        assert_eq!(serde_json::from_str::<Document>(&text).unwrap(), document);
    }

    #[test]
    fn bodies_are_kept_to_the_byte() {
        let bodies: [&[u8]; 8] = [
            b"",
            br#"{"Temperature": "#,
            b"\xef\xbb\xbf{}",
            b"\0\x01\r\n\"\\",
            b"\xff\xfe\x00",
            "Größe".as_bytes(),
            b"2024-05-01T14:00:00+02:00",
            b"/Date(1714564800000)/",
        ];
        for body in bodies {
            let text = serde_json::to_string(&letter(body)).unwrap();
            assert_eq!(serde_json::from_str::<DeadLetter>(&text).unwrap().body.0, body, "{text}");
        }
    }

    #[test]
    fn text_that_the_host_would_take_for_a_date_is_not_sent_as_text() {
        for (body, member) in [
            (&b"2024-05-01T14:00:00+02:00"[..], "bodyBase64"),
            (b"/Date(1714564800000)/", "bodyBase64"),
            (b"\xff", "bodyBase64"),
            (b"{\"ts\":\"2024-05-01T14:00:00+02:00\"}", "body"),
        ] {
            assert!(serde_json::to_value(letter(body)).unwrap().get(member).is_some(), "{member}");
        }
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let reason = Reason::new(Code::Value, "ä".repeat(MAX_DETAIL));
        assert!(reason.detail.len() <= MAX_DETAIL + 3);
        assert!(reason.detail.ends_with("ä..."));
    }
}
