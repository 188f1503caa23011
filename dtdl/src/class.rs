//! The classes of DTDL's metamodel: what kinds of element there are and which members each has.

use crate::context::Language;

/// A kind of element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Interface,
    Property,
    Telemetry,
    Relationship,
    Component,
    Command,
    CommandPayload,
    CommandRequest,
    CommandResponse,
    Array,
    Enum,
    EnumValue,
    Field,
    Map,
    MapKey,
    MapValue,
    Object,
}

/// What may stand in an interface's `contents`.
pub(crate) const CONTENTS: &[Class] =
    &[Class::Property, Class::Telemetry, Class::Relationship, Class::Component, Class::Command];

/// What may stand for a schema, besides a name.
pub(crate) const COMPLEX_SCHEMAS: &[Class] = &[Class::Array, Class::Enum, Class::Map, Class::Object];

impl Class {
    const ALL: [Class; 17] = [
        Class::Interface,
        Class::Property,
        Class::Telemetry,
        Class::Relationship,
        Class::Component,
        Class::Command,
        Class::CommandPayload,
        Class::CommandRequest,
        Class::CommandResponse,
        Class::Array,
        Class::Enum,
        Class::EnumValue,
        Class::Field,
        Class::Map,
        Class::MapKey,
        Class::MapValue,
        Class::Object,
    ];

    /// The class of that name.
    pub(crate) fn named(name: &str, language: Language) -> Option<Class> {
        Class::ALL.into_iter().find(|class| class.name() == name && class.is_in(language))
    }

    fn is_in(self, language: Language) -> bool {
        match self {
            Class::CommandPayload => language == Language::V2,
            Class::CommandRequest | Class::CommandResponse => language == Language::V3,
            _ => true,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Class::Interface => "Interface",
            Class::Property => "Property",
            Class::Telemetry => "Telemetry",
            Class::Relationship => "Relationship",
            Class::Component => "Component",
            Class::Command => "Command",
            Class::CommandPayload => "CommandPayload",
            Class::CommandRequest => "CommandRequest",
            Class::CommandResponse => "CommandResponse",
            Class::Array => "Array",
            Class::Enum => "Enum",
            Class::EnumValue => "EnumValue",
            Class::Field => "Field",
            Class::Map => "Map",
            Class::MapKey => "MapKey",
            Class::MapValue => "MapValue",
            Class::Object => "Object",
        }
    }

    /// Whether an element of this class has a member of that name, keywords and extensions apart.
    pub(crate) fn has_member(self, name: &str) -> bool {
        matches!(name, "comment" | "description" | "displayName") || self.own_members().contains(&name)
    }

    fn own_members(self) -> &'static [&'static str] {
        match self {
            Class::Interface => &["contents", "extends", "schemas"],
            Class::Property => &["name", "schema", "writable"],
            Class::Relationship => &["name", "target", "properties", "minMultiplicity", "maxMultiplicity", "writable"],
            Class::Command => &["name", "request", "response", "commandType"],
            Class::Telemetry
            | Class::Component
            | Class::CommandPayload
            | Class::CommandRequest
            | Class::CommandResponse
            | Class::Field
            | Class::MapKey
            | Class::MapValue => &["name", "schema"],
            Class::Array => &["elementSchema"],
            Class::Enum => &["valueSchema", "enumValues"],
            Class::EnumValue => &["name", "enumValue"],
            Class::Map => &["mapKey", "mapValue"],
            Class::Object => &["fields"],
        }
    }

    /// Whether a semantic type, and with it a unit, can be added to an element of this class.
    pub(crate) fn takes_semantic_type(self, language: Language) -> bool {
        match self {
            Class::Property | Class::Telemetry => true,
            Class::CommandRequest | Class::CommandResponse | Class::Field | Class::MapValue => language == Language::V3,
            _ => false,
        }
    }
}

/// The plain name of a term that may be written as its identifier: `dtmi:dtdl:class:Property;2` is `Property`.
pub(crate) fn plain_term(term: &str, kind: TermKind, language: Language) -> &str {
    let prefixes: &[&str] = match kind {
        TermKind::Class => &["dtmi:dtdl:class:", "dtmi:standard:class:"],
        TermKind::Member => &["dtmi:dtdl:property:"],
        TermKind::Schema => &["dtmi:dtdl:instance:Schema:", "dtmi:standard:schema:geospatial:"],
        TermKind::Unit => &["dtmi:standard:unit:", "dtmi:dtdl:extension:quantitativeTypes:v1:unit:"],
    };
    let version = match (kind, language) {
        (_, Language::V2) => ";2",
        (TermKind::Unit, Language::V3) => "",
        (_, Language::V3) => ";3",
    };
    let name = term.strip_suffix(version).and_then(|term| prefixes.iter().find_map(|prefix| term.strip_prefix(prefix)));
    name.unwrap_or(term)
}

/// What a term names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TermKind {
    Class,
    Member,
    Schema,
    Unit,
}
