//! The body of a telemetry message: one JSON object, read strictly.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Event Hubs carries no event larger than this (Event Hubs quotas: 1 MB); IoT Hub's own limit is 256 KB.
const MAX_BYTES: usize = 1024 * 1024;

/// Why a body holds no members that could become properties.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the body has {0} bytes, more than any event can carry ({MAX_BYTES})")]
    TooLarge(usize),
    #[error("the body is empty; a JSON object was expected")]
    Empty,
    #[error("the body is not UTF-8 (first bad byte at {0})")]
    NotUtf8(usize),
    #[error("the body is not JSON: {0}")]
    NotJson(serde_json::Error),
    #[error("the body is {0}; a JSON object was expected")]
    NotAnObject(&'static str),
}

/// Reads the members of `body`, in the order they were written.
///
/// A byte order mark at the start is skipped (RFC 8259, section 8.1). A member that is there twice, at any depth, is
/// an error: which of the two was meant cannot be known. So are numbers that no double holds, and nesting deeper
/// than serde_json's limit of 128.
pub(crate) fn members(body: &[u8]) -> Result<Map<String, Value>, BodyError> {
    if body.len() > MAX_BYTES {
        return Err(BodyError::TooLarge(body.len()));
    }
    let text = std::str::from_utf8(body).map_err(|error| BodyError::NotUtf8(error.valid_up_to()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_ascii().is_empty() {
        return Err(BodyError::Empty);
    }
    let Strict(value) = serde_json::from_str(text).map_err(BodyError::NotJson)?;
    match value {
        Value::Object(members) => Ok(members),
        other => Err(BodyError::NotAnObject(kind(&other))),
    }
}

/// What `value` is, in words, with its article.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A JSON value in which no object has a member twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            if members.contains_key(&name) {
                return Err(A::Error::custom(format_args!("member {name:?} is there twice")));
            }
            let Strict(value) = access.next_value()?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_keeps_its_members_in_order() {
        let members = members(br#"{"Temperature":21.50,"Humidity":40,"a":[{"b":null}]}"#).unwrap();
        assert_eq!(Value::Object(members.clone()), json!({"Temperature": 21.5, "Humidity": 40, "a": [{"b": null}]}));
        assert_eq!(members.keys().collect::<Vec<_>>(), ["Temperature", "Humidity", "a"]);
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        assert_eq!(members(b"\xef\xbb\xbf{\"a\":1}").unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_object_is_refused_with_what_came() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
        let large = vec![b' '; MAX_BYTES + 1];
        let cases: [(&[u8], &str); 12] = [
            (b"", "the body is empty; a JSON object was expected"),
            (b" \r\n", "the body is empty; a JSON object was expected"),
            (b"plain", "the body is not JSON: expected value at line 1 column 1"),
            (br#"{"Temperature": "#, "the body is not JSON: EOF while parsing a value at line 1 column 16"),
            (br#"{"Temperature":1e999}"#, "the body is not JSON: number out of range at line 1 column 20"),
            (br#"{"Temperature":NaN}"#, "the body is not JSON: expected value at line 1 column 16"),
            (br#"[{"Temperature":1}]"#, "the body is an array; a JSON object was expected"),
            (b"21.5", "the body is a number; a JSON object was expected"),
            (br#"{"a":1,"b":{"c":1,"c":2}}"#, "the body is not JSON: member \"c\" is there twice at line 1 column 21"),
            (b"{\"a\":\"\xff\"}", "the body is not UTF-8 (first bad byte at 6)"),
            (deep.as_bytes(), "the body is not JSON: recursion limit exceeded at line 1 column 132"),
            (&large, "the body has 1048577 bytes, more than any event can carry (1048576)"),
        ];
        for (body, expected) in cases {
            assert_eq!(members(body).unwrap_err().to_string(), expected);
        }
    }
}
