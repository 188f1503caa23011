//! Whether a value fits a schema: strictly, as Azure Digital Twins has it, without any conversion.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Number, Value};

use super::{EnumSchema, Geometry, Schema, time};
use crate::error::excerpt;
use crate::place::{Place, kind_of};

/// A value that does not fit its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Where inside the checked value, as a JSON Pointer; empty for the value itself.
    pub path: String,
    /// What the schema takes there.
    pub expected: Cow<'static, str>,
    /// What is there; long texts are cut.
    pub got: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "at {}: ", self.path)?;
        }
        write!(f, "expected {}, got {}", self.expected, self.got)
    }
}

impl std::error::Error for Mismatch {}

impl Schema {
    /// Whether the value fits, strictly: a number in a string is no number, `21.0` is no integer, `null` fits nothing.
    ///
    /// An object may leave fields out, but has none that its schema does not name.
    ///
    /// # Errors
    /// The first [`Mismatch`] found.
    pub fn check(&self, value: &Value) -> Result<(), Mismatch> {
        self.check_at(value, &Place::ROOT)
    }

    /// Recursion is bounded by the depth of the schema, which has been limited when it was read.
    fn check_at(&self, value: &Value, place: &Place<'_>) -> Result<(), Mismatch> {
        match self {
            Schema::Array(array) => {
                let Value::Array(elements) = value else {
                    return mismatch(place, "an array", value);
                };
                let mut elements = elements.iter().enumerate();
                elements.try_for_each(|(index, element)| array.element.check_at(element, &place.index(index)))
            }
            Schema::Map(map) => {
                let Value::Object(members) = value else {
                    return mismatch(place, "an object (a map)", value);
                };
                members.iter().try_for_each(|(key, member)| map.value.check_at(member, &place.member(key)))
            }
            Schema::Object(object) => {
                let Value::Object(members) = value else {
                    return mismatch(place, "an object", value);
                };
                members.iter().try_for_each(|(name, member)| match object.fields.get(name) {
                    Some(field) => field.check_at(member, &place.member(name)),
                    None => Err(Mismatch {
                        path: place.pointer(),
                        expected: fields(object.fields.keys()),
                        got: format!("the unknown field {:?}", excerpt(name)),
                    }),
                })
            }
            Schema::Geospatial(geometry) => check_geometry(*geometry, value, place),
            Schema::Enum(values) => check_enum(values, value, place),
            primitive => match primitive.primitive_takes(value) {
                true => Ok(()),
                false => mismatch(place, primitive.expectation(), value),
            },
        }
    }

    fn primitive_takes(&self, value: &Value) -> bool {
        match (self, value) {
            (Schema::Boolean, Value::Bool(_)) | (Schema::String, Value::String(_)) => true,
            (Schema::Double, Value::Number(number)) => number.as_f64().is_some_and(f64::is_finite),
            // As the nearest number of 32 bits: finite unless the value is out of range.
            (Schema::Float, Value::Number(number)) => number.as_f64().is_some_and(|wide| (wide as f32).is_finite()),
            (Schema::Integer, Value::Number(number)) => whole(number).is_some_and(|whole| i32::try_from(whole).is_ok()),
            (Schema::Long, Value::Number(number)) => whole(number).is_some(),
            (Schema::Date, Value::String(text)) => time::is_date(text),
            (Schema::DateTime, Value::String(text)) => time::is_date_time(text),
            (Schema::Time, Value::String(text)) => time::is_time(text),
            (Schema::Duration, Value::String(text)) => time::is_duration(text),
            _ => false,
        }
    }

    /// What a primitive schema takes.
    fn expectation(&self) -> &'static str {
        match self {
            Schema::Boolean => "a boolean",
            Schema::Date => "a date such as \"2026-11-24\" (RFC 3339)",
            Schema::DateTime => "a date and time such as \"2026-11-24T10:00:00Z\" (RFC 3339)",
            Schema::Double => "a number (double)",
            Schema::Duration => "a duration such as \"PT1H30M\" (ISO 8601)",
            Schema::Float => "a number (float)",
            Schema::Integer => "a whole number of 32 bits (integer)",
            Schema::Long => "a whole number of 64 bits (long)",
            Schema::Time => "a time such as \"10:00:00\" (RFC 3339)",
            _ => "a string",
        }
    }
}

/// The number, if it is written as a whole one and has at most 64 bits.
fn whole(number: &Number) -> Option<i64> {
    number.as_i64()
}

fn check_enum(values: &EnumSchema, value: &Value, place: &Place<'_>) -> Result<(), Mismatch> {
    let known = match (values, value) {
        (EnumSchema::Integers(values), Value::Number(number)) => {
            whole(number).and_then(|whole| i32::try_from(whole).ok()).is_some_and(|whole| values.contains_key(&whole))
        }
        (EnumSchema::Strings(values), Value::String(text)) => values.contains_key(text),
        _ => false,
    };
    if known {
        return Ok(());
    }
    let expected = match values {
        EnumSchema::Integers(values) => one_of(values.keys()),
        EnumSchema::Strings(values) => one_of(values.keys().map(|text| format!("{:?}", excerpt(text)))),
    };
    mismatch(place, expected, value)
}

fn check_geometry(geometry: Geometry, value: &Value, place: &Place<'_>) -> Result<(), Mismatch> {
    let expected = || format!("a GeoJSON {}", geometry.type_name());
    let Value::Object(members) = value else {
        return mismatch(place, expected(), value);
    };
    if !members.get("type").is_some_and(|name| name == geometry.type_name()) {
        return mismatch(&place.member("type"), format!("{:?}", geometry.type_name()), or_null(members, "type"));
    }
    if !members.get("coordinates").is_some_and(|coordinates| geometry.has_shape(coordinates)) {
        let expected = format!("the coordinates of {}", expected());
        return mismatch(&place.member("coordinates"), expected, or_null(members, "coordinates"));
    }
    Ok(())
}

fn or_null<'v>(members: &'v Map<String, Value>, name: &str) -> &'v Value {
    members.get(name).unwrap_or(&Value::Null)
}

fn mismatch(place: &Place<'_>, expected: impl Into<Cow<'static, str>>, value: &Value) -> Result<(), Mismatch> {
    let got = match value {
        Value::Bool(boolean) => boolean.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the string {:?}", excerpt(text)),
        other => kind_of(other).to_owned(),
    };
    Err(Mismatch { path: place.pointer(), expected: expected.into(), got })
}

/// How many of the allowed values or fields a message names.
const NAMED: usize = 8;

fn one_of<T: ToString>(values: impl ExactSizeIterator<Item = T>) -> Cow<'static, str> {
    format!("one of {}", some_of(values)).into()
}

fn fields<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> Cow<'static, str> {
    format!("only the fields {}", some_of(names.map(|name| format!("{:?}", excerpt(name))))).into()
}

fn some_of<T: ToString>(values: impl ExactSizeIterator<Item = T>) -> String {
    let more = values.len().saturating_sub(NAMED);
    let named = values.take(NAMED).map(|value| value.to_string()).collect::<Vec<_>>().join(", ");
    match more {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
