//! What an interface describes: properties, telemetries, relationships, components and commands.

use std::collections::BTreeMap;

use crate::model_id::ModelId;
use crate::quantity::Quantity;
use crate::schema::Schema;

/// The contents of an interface, by name. A name stands for one content only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// State that a twin holds.
    pub properties: BTreeMap<String, Property>,
    /// Messages that pass through a twin.
    pub telemetries: BTreeMap<String, Telemetry>,
    /// Links to other twins.
    pub relationships: BTreeMap<String, Relationship>,
    /// Parts of a twin, each with the interface that describes it.
    pub components: BTreeMap<String, ModelId>,
    /// Operations. Azure Digital Twins refuses models that have any.
    pub commands: BTreeMap<String, Command>,
}

/// A property of a twin, of a component or of a relationship.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Its data type.
    pub schema: Schema,
    /// What it measures and in which unit, where the model says so. Values carry no unit.
    pub quantity: Option<Quantity>,
    /// Whether the model calls it writable. Azure Digital Twins lets any property be written.
    pub writable: bool,
}

/// A telemetry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// Its data type.
    pub schema: Schema,
    /// What it measures and in which unit, where the model says so. Values carry no unit.
    pub quantity: Option<Quantity>,
}

/// A relationship.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relationship {
    /// The model that its target is of, or extends; none: any. There may be no such model.
    pub target: Option<ModelId>,
    /// What the relationship itself holds.
    pub properties: BTreeMap<String, Property>,
    /// At most so many of it from one twin. Azure Digital Twins does not enforce it.
    pub max_multiplicity: Option<u32>,
    /// Whether the model calls it writable. Azure Digital Twins lets any relationship be written.
    pub writable: bool,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What it takes.
    pub request: Option<Payload>,
    /// What it answers.
    pub response: Option<Payload>,
}

/// The request or response of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// What it is called.
    pub name: String,
    /// Its data type.
    pub schema: Schema,
}

/// One content of any kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'c> {
    /// A property.
    Property(&'c Property),
    /// A telemetry.
    Telemetry(&'c Telemetry),
    /// A relationship.
    Relationship(&'c Relationship),
    /// A component: the interface that describes it.
    Component(&'c ModelId),
    /// A command.
    Command(&'c Command),
}

impl Contents {
    /// The content of that name; names match exactly.
    pub fn get(&self, name: &str) -> Option<Content<'_>> {
        None.or_else(|| self.properties.get(name).map(Content::Property))
            .or_else(|| self.telemetries.get(name).map(Content::Telemetry))
            .or_else(|| self.relationships.get(name).map(Content::Relationship))
            .or_else(|| self.components.get(name).map(Content::Component))
            .or_else(|| self.commands.get(name).map(Content::Command))
    }

    /// The names of all contents, by kind, then by name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        (self.properties.keys())
            .chain(self.telemetries.keys())
            .chain(self.relationships.keys())
            .chain(self.components.keys())
            .chain(self.commands.keys())
            .map(String::as_str)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.properties.len()
            + self.telemetries.len()
            + self.relationships.len()
            + self.components.len()
            + self.commands.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds the contents of another interface; those of the same name are replaced.
    pub(crate) fn extend(&mut self, other: &Contents) {
        self.properties.extend(other.properties.clone());
        self.telemetries.extend(other.telemetries.clone());
        self.relationships.extend(other.relationships.clone());
        self.components.extend(other.components.clone());
        self.commands.extend(other.commands.clone());
    }
}

impl Content<'_> {
    /// The kind of content, as DTDL calls it: `Property`, `Telemetry`, `Relationship`, `Component`, `Command`.
    pub fn kind(&self) -> &'static str {
        match self {
            Content::Property(_) => "Property",
            Content::Telemetry(_) => "Telemetry",
            Content::Relationship(_) => "Relationship",
            Content::Component(_) => "Component",
            Content::Command(_) => "Command",
        }
    }
}
