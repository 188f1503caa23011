//! Twins and relationships as the service returns them.

use dtdl::ModelId;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{ETag, InvalidId, PropertyPath, RelationshipId, TwinId};

/// A document of the service that does not have the shape of what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is not a JSON object.
    #[error("expected a JSON object, got {got}")]
    NotAnObject {
        /// The JSON type that came.
        got: &'static str,
    },
    /// A member is absent or not a string.
    #[error("{member} is missing or not a string")]
    Member {
        /// The member's name.
        member: &'static str,
    },
    /// An id that cannot be one.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// `$metadata.$model` is not a model id.
    #[error("$model {text:?} is not a model id: {reason}")]
    Model {
        /// What came.
        text: String,
        /// Why it is none.
        reason: String,
    },
}

fn object(value: Value) -> Result<Map<String, Value>, Malformed> {
    match value {
        Value::Object(members) => Ok(members),
        Value::Null => Err(Malformed::NotAnObject { got: "null" }),
        Value::Bool(_) => Err(Malformed::NotAnObject { got: "a boolean" }),
        Value::Number(_) => Err(Malformed::NotAnObject { got: "a number" }),
        Value::String(_) => Err(Malformed::NotAnObject { got: "a string" }),
        Value::Array(_) => Err(Malformed::NotAnObject { got: "an array" }),
    }
}

fn text<'a>(members: &'a Map<String, Value>, member: &'static str) -> Result<&'a str, Malformed> {
    members.get(member).and_then(Value::as_str).ok_or(Malformed::Member { member })
}

/// A twin at one version: what a read or a query returned.
#[derive(Debug, Clone, PartialEq)]
pub struct Twin {
    id: TwinId,
    etag: ETag,
    model: ModelId,
    /// Everything but `$dtId` and `$etag`.
    members: Map<String, Value>,
}

impl Twin {
    /// Reads a twin from its JSON document (`$dtId`, `$etag`, `$metadata.$model`, properties and components).
    ///
    /// # Errors
    /// [`Malformed`] when it is not a twin.
    pub fn from_json(document: Value) -> Result<Self, Malformed> {
        let mut members = object(document)?;
        let id = TwinId::parse(text(&members, "$dtId")?)?;
        let etag = ETag::new(text(&members, "$etag")?);
        let model = members
            .get("$metadata")
            .and_then(|metadata| metadata.get("$model"))
            .and_then(Value::as_str)
            .ok_or(Malformed::Member { member: "$metadata.$model" })?;
        let model = model
            .parse::<ModelId>()
            .map_err(|error| Malformed::Model { text: model.to_owned(), reason: error.to_string() })?;
        members.shift_remove("$dtId");
        members.shift_remove("$etag");
        Ok(Self { id, etag, model, members })
    }

    /// `$dtId`.
    #[must_use]
    pub fn id(&self) -> &TwinId {
        &self.id
    }

    /// The version that was read.
    #[must_use]
    pub fn etag(&self) -> &ETag {
        &self.etag
    }

    /// The model that the twin has, which can be one that extends the model asked for.
    #[must_use]
    pub fn model(&self) -> &ModelId {
        &self.model
    }

    /// The value of a property of the twin itself; `None` for what is not set, and for a component.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&Value> {
        property(&self.members, name)
    }

    /// A property that is a string.
    #[must_use]
    pub fn string_property(&self, name: &str) -> Option<&str> {
        self.property(name).and_then(Value::as_str)
    }

    /// The properties of the twin itself that are set.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &Value)> {
        properties(&self.members)
    }

    /// When the value of a property was measured, as its writer said; `None` when nobody said, or not readably.
    #[must_use]
    pub fn source_time(&self, property: &str) -> Option<Timestamp> {
        time_of(&self.members, property, "sourceTime")
    }

    /// When a property was last written, by the service's clock.
    #[must_use]
    pub fn last_update_time(&self, property: &str) -> Option<Timestamp> {
        time_of(&self.members, property, "lastUpdateTime")
    }

    /// The value of a property, of the twin itself or of a component.
    #[must_use]
    pub fn value(&self, path: &PropertyPath) -> Option<&Value> {
        match path.component_name() {
            None => self.property(path.property_name()),
            Some(component) => self.component(component)?.property(path.property_name()),
        }
    }

    /// A component of the twin.
    #[must_use]
    pub fn component(&self, name: &str) -> Option<Component<'_>> {
        let members = self.members.get(name)?.as_object()?;
        members.contains_key("$metadata").then_some(Component { members })
    }
}

/// A component of a [`Twin`].
#[derive(Debug, Clone, Copy)]
pub struct Component<'a> {
    members: &'a Map<String, Value>,
}

impl<'a> Component<'a> {
    /// The value of a property of the component.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&'a Value> {
        property(self.members, name)
    }

    /// The properties of the component that are set.
    pub fn properties(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        properties(self.members)
    }

    /// When the value of a property was measured, as its writer said.
    #[must_use]
    pub fn source_time(&self, property: &str) -> Option<Timestamp> {
        time_of(self.members, property, "sourceTime")
    }
}

/// Components carry `$metadata`, system members begin with `$`: what is left are properties.
fn is_property(name: &str, value: &Value) -> bool {
    !name.starts_with('$') && value.get("$metadata").is_none()
}

fn property<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    members.get(name).filter(|value| is_property(name, value))
}

fn properties(members: &Map<String, Value>) -> impl Iterator<Item = (&str, &Value)> {
    members.iter().filter(|(name, value)| is_property(name, value)).map(|(name, value)| (name.as_str(), value))
}

fn time_of(members: &Map<String, Value>, property: &str, which: &str) -> Option<Timestamp> {
    members.get("$metadata")?.get(property)?.get(which)?.as_str()?.parse().ok()
}

/// A directed relationship between two twins.
#[derive(Debug, Clone, PartialEq)]
pub struct Relationship {
    /// Its id among those that leave the source.
    pub id: RelationshipId,
    /// The twin it leaves.
    pub source: TwinId,
    /// Its name in the source's model, for instance `contains`.
    pub name: String,
    /// The twin it leads to.
    pub target: TwinId,
    /// Its own properties.
    pub properties: Map<String, Value>,
}

impl Relationship {
    /// Reads a relationship from its JSON document.
    ///
    /// # Errors
    /// [`Malformed`] when it is not a relationship.
    pub fn from_json(document: Value) -> Result<Self, Malformed> {
        let members = object(document)?;
        Ok(Self {
            id: RelationshipId::parse(text(&members, "$relationshipId")?)?,
            source: TwinId::parse(text(&members, "$sourceId")?)?,
            name: text(&members, "$relationshipName")?.to_owned(),
            target: TwinId::parse(text(&members, "$targetId")?)?,
            properties: members.into_iter().filter(|(name, _)| !name.starts_with('$')).collect(),
        })
    }

    /// The document of the relationship, with its ids.
    #[must_use]
    pub fn document(&self) -> Value {
        let mut members = Map::new();
        members.insert("$relationshipId".to_owned(), Value::String(self.id.to_string()));
        members.insert("$sourceId".to_owned(), Value::String(self.source.to_string()));
        if let Value::Object(rest) = self.to_json() {
            members.extend(rest);
        }
        Value::Object(members)
    }

    /// The document that makes it: ids that the path carries are left out.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut members = self.properties.clone();
        members.insert("$relationshipName".to_owned(), Value::String(self.name.clone()));
        members.insert("$targetId".to_owned(), Value::String(self.target.to_string()));
        Value::Object(members)
    }
}

/// A relationship as seen from its target: the service tells no more of it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingRelationship {
    /// Its id among those that leave the source.
    pub id: RelationshipId,
    /// The twin it leaves.
    pub source: TwinId,
    /// Its name in the source's model.
    pub name: String,
}

impl IncomingRelationship {
    /// Reads an incoming relationship from its JSON document.
    ///
    /// # Errors
    /// [`Malformed`] when it is not one.
    pub fn from_json(document: Value) -> Result<Self, Malformed> {
        let members = object(document)?;
        Ok(Self {
            id: RelationshipId::parse(text(&members, "$relationshipId")?)?,
            source: TwinId::parse(text(&members, "$sourceId")?)?,
            name: text(&members, "$relationshipName")?.to_owned(),
        })
    }
}

/// What a creation found.
#[derive(Debug, Clone, PartialEq)]
pub enum Creation<T = Twin> {
    /// It is new, and this is it.
    Created(T),
    /// It existed before; nothing was changed.
    Exists,
}
