//! Changes to a twin, and twins to make: what goes to the service, built so that it is well-formed.

use std::fmt;

use dtdl::ModelId;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

/// The largest request body that the service takes, in bytes (Azure Digital Twins: "Service limits").
pub const MAX_PAYLOAD_BYTES: usize = 32 * 1024;

/// Where a property is: on the twin itself or on one of its components.
///
/// Displayed as JSON pointer (RFC 6901), names escaped. A `&str` is a property of the twin itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PropertyPath {
    component: Option<Box<str>>,
    property: Box<str>,
}

impl PropertyPath {
    /// A property of the twin itself.
    #[must_use]
    pub fn root(property: &str) -> Self {
        Self { component: None, property: property.into() }
    }

    /// A property of a component.
    #[must_use]
    pub fn component(component: &str, property: &str) -> Self {
        Self { component: Some(component.into()), property: property.into() }
    }

    /// The component, if it is a component's property.
    #[must_use]
    pub fn component_name(&self) -> Option<&str> {
        self.component.as_deref()
    }

    /// The property's name.
    #[must_use]
    pub fn property_name(&self) -> &str {
        &self.property
    }

    fn source_time_pointer(&self) -> String {
        let property = Escaped(&self.property);
        match &self.component {
            None => format!("/$metadata/{property}/sourceTime"),
            Some(component) => format!("/{}/$metadata/{property}/sourceTime", Escaped(component)),
        }
    }
}

impl From<&str> for PropertyPath {
    fn from(property: &str) -> Self {
        Self::root(property)
    }
}

impl fmt::Display for PropertyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(component) = &self.component {
            write!(f, "/{}", Escaped(component))?;
        }
        write!(f, "/{}", Escaped(&self.property))
    }
}

/// One segment of a JSON pointer: `~` is written `~0`, `/` is written `~1`.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['~', '/']) {
            let (before, special) = rest.split_at(at);
            f.write_str(before)?;
            f.write_str(if special.starts_with('~') { "~0" } else { "~1" })?;
            rest = special.get(1..).unwrap_or_default();
        }
        f.write_str(rest)
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Operation {
    Add { path: String, value: Value },
    Replace { path: String, value: Value },
    Remove { path: String },
}

impl Operation {
    fn to_json(&self) -> Value {
        match self {
            Self::Add { path, value } => json!({ "op": "add", "path": path, "value": value }),
            Self::Replace { path, value } => json!({ "op": "replace", "path": path, "value": value }),
            Self::Remove { path } => json!({ "op": "remove", "path": path }),
        }
    }
}

/// A JSON Patch of one twin: one write, all of it or nothing. Serializes to [`to_json`](Self::to_json).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Patch {
    operations: Vec<Operation>,
    source_times: Vec<(PropertyPath, Timestamp)>,
}

impl Patch {
    /// A patch that changes nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a property, whether it is set already or not.
    #[must_use]
    pub fn add(mut self, path: impl Into<PropertyPath>, value: Value) -> Self {
        self.operations.push(Operation::Add { path: path.into().to_string(), value });
        self
    }

    /// Replaces a property; the service refuses the patch if it is not set.
    #[must_use]
    pub fn replace(mut self, path: impl Into<PropertyPath>, value: Value) -> Self {
        self.operations.push(Operation::Replace { path: path.into().to_string(), value });
        self
    }

    /// Removes a property; the service refuses the patch if it is not set.
    #[must_use]
    pub fn remove(mut self, path: impl Into<PropertyPath>) -> Self {
        self.operations.push(Operation::Remove { path: path.into().to_string() });
        self
    }

    /// Gives the twin another model. The twin after the whole patch must fit it
    /// (Azure Digital Twins: "Manage digital twins", update a digital twin's model).
    #[must_use]
    pub fn replace_model(mut self, model: &ModelId) -> Self {
        let path = "/$metadata/$model".to_owned();
        self.operations.push(Operation::Replace { path, value: Value::String(model.to_string()) });
        self
    }

    /// Adds a component without values, which a twin needs to have each component of its model.
    #[must_use]
    pub fn add_component(self, name: &str) -> Self {
        self.add(PropertyPath::root(name), json!({ "$metadata": {} }))
    }

    /// Says when the value of a property was measured. The property must be set, before or by this patch.
    #[must_use]
    pub fn source_time(mut self, property: impl Into<PropertyPath>, time: Timestamp) -> Self {
        self.source_times.push((property.into(), time));
        self
    }

    /// The patch document: first the values in the order they were added, then the source times.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let values = self.operations.iter().map(Operation::to_json);
        let times = self.source_times.iter().map(|(property, time)| {
            json!({ "op": "replace", "path": property.source_time_pointer(), "value": time.to_string() })
        });
        values.chain(times).collect()
    }

    /// The same patch without source times.
    #[must_use]
    pub fn without_source_times(&self) -> Self {
        Self { operations: self.operations.clone(), source_times: Vec::new() }
    }

    /// Whether it sets source times.
    #[must_use]
    pub fn has_source_times(&self) -> bool {
        !self.source_times.is_empty()
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty() && self.source_times.is_empty()
    }
}

impl Serialize for Patch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

/// A twin to make: its model and what is known at the start. All properties are optional, components are not.
/// Serializes to [`to_json`](Self::to_json).
#[derive(Debug, Clone, PartialEq)]
pub struct NewTwin {
    document: Map<String, Value>,
    metadata: Map<String, Value>,
}

impl NewTwin {
    /// A twin of `model` without values.
    #[must_use]
    pub fn of(model: &ModelId) -> Self {
        let metadata = Map::from_iter([("$model".to_owned(), Value::String(model.to_string()))]);
        Self { document: Map::new(), metadata }
    }

    /// Sets a property.
    #[must_use]
    pub fn property(mut self, name: &str, value: Value) -> Self {
        self.document.insert(name.to_owned(), value);
        self
    }

    /// Says when the value of a property was true.
    #[must_use]
    pub fn source_time(mut self, property: &str, time: Timestamp) -> Self {
        self.metadata.insert(property.to_owned(), json!({ "sourceTime": time.to_string() }));
        self
    }

    /// Adds a component without values: a twin that lacks a component of its model is refused
    /// (Azure Digital Twins: "Manage digital twins", initialize properties).
    #[must_use]
    pub fn component(mut self, name: &str) -> Self {
        self.document.insert(name.to_owned(), json!({ "$metadata": {} }));
        self
    }

    /// The document that makes it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let metadata = ("$metadata".to_owned(), Value::Object(self.metadata.clone()));
        Value::Object(std::iter::once(metadata).chain(self.document.clone()).collect())
    }
}

impl Serialize for NewTwin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}
