//! The data type of a property, a telemetry or a field.

mod check;
mod geospatial;
mod time;

pub use check::Mismatch;
pub use geospatial::Geometry;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A data type. Cloning is cheap: complex schemas are shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schema {
    /// `true` or `false`.
    Boolean,
    /// A calendar date: `2026-11-24`.
    Date,
    /// A date, a time and an offset from UTC: `2026-11-24T10:00:00.5+01:00`.
    DateTime,
    /// A finite number of 64 bits.
    Double,
    /// A span of time: `P1DT12H`.
    Duration,
    /// A finite number of 32 bits.
    Float,
    /// A whole number of 32 bits.
    Integer,
    /// A whole number of 64 bits.
    Long,
    /// A text.
    String,
    /// A time of day: `10:00:00.5`.
    Time,
    /// A GeoJSON geometry.
    Geospatial(Geometry),
    /// One of several values.
    Enum(Arc<EnumSchema>),
    /// Named fields.
    Object(Arc<ObjectSchema>),
    /// Values of one schema by free keys.
    Map(Arc<MapSchema>),
    /// A list of values of one schema.
    Array(Arc<ArraySchema>),
}

/// An enumeration: the allowed values, each with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnumSchema {
    /// `valueSchema` is `integer`.
    Integers(BTreeMap<i32, String>),
    /// `valueSchema` is `string`.
    Strings(BTreeMap<String, String>),
}

/// An object; any field may be absent from a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectSchema {
    /// The schema of each field, by name.
    pub fields: BTreeMap<String, Schema>,
}

/// A map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapSchema {
    /// What the keys are called; they are strings, and values do not hold this name.
    pub key_name: String,
    /// What the values are called; values do not hold this name.
    pub value_name: String,
    /// The schema of each value.
    pub value: Schema,
}

/// An array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArraySchema {
    /// The schema of each element.
    pub element: Schema,
}

impl Schema {
    /// The primitive or geospatial schema of that name.
    pub(crate) fn named(name: &str) -> Option<Schema> {
        Some(match name {
            "boolean" => Schema::Boolean,
            "date" => Schema::Date,
            "dateTime" => Schema::DateTime,
            "double" => Schema::Double,
            "duration" => Schema::Duration,
            "float" => Schema::Float,
            "integer" => Schema::Integer,
            "long" => Schema::Long,
            "string" => Schema::String,
            "time" => Schema::Time,
            _ => Schema::Geospatial(Geometry::named(name)?),
        })
    }

    /// Whether a value is a JSON number: double, float, integer or long.
    pub fn is_numeric(&self) -> bool {
        matches!(self, Schema::Double | Schema::Float | Schema::Integer | Schema::Long)
    }
}

impl fmt::Display for Schema {
    /// The name as DTDL spells it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Schema::Boolean => "boolean",
            Schema::Date => "date",
            Schema::DateTime => "dateTime",
            Schema::Double => "double",
            Schema::Duration => "duration",
            Schema::Float => "float",
            Schema::Integer => "integer",
            Schema::Long => "long",
            Schema::String => "string",
            Schema::Time => "time",
            Schema::Geospatial(geometry) => geometry.schema_name(),
            Schema::Enum(_) => "Enum",
            Schema::Object(_) => "Object",
            Schema::Map(_) => "Map",
            Schema::Array(_) => "Array",
        })
    }
}
