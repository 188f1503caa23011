//! `@context`: which version of DTDL a document is in, and which language extensions it uses.

use std::fmt;

use serde_json::Value;

use crate::error::{Error, Fault, excerpt};
use crate::place::{Place, kind_of};

/// A version of the Digital Twins Definition Language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Language {
    /// `dtmi:dtdl:context;2`
    V2,
    /// `dtmi:dtdl:context;3`
    V3,
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Language::V2 => "DTDL v2",
            Language::V3 => "DTDL v3",
        })
    }
}

/// The limits of the language. Source: Azure/opendigitaltwins-dtdl, DTDL v2 and v3, column "Limits".
impl Language {
    /// Characters of a `name`.
    pub(crate) fn max_name(self) -> usize {
        match self {
            Language::V2 => 64,
            Language::V3 => 512,
        }
    }

    /// Characters of a `displayName` in one language.
    pub(crate) fn max_display_name(self) -> usize {
        match self {
            Language::V2 => 64,
            Language::V3 => 512,
        }
    }

    /// Contents of an interface, inherited ones included; v3 counts elements instead.
    pub(crate) fn max_contents(self) -> usize {
        match self {
            Language::V2 => 300,
            Language::V3 => self.max_elements(),
        }
    }

    /// Properties of a relationship; v3 counts elements instead.
    pub(crate) fn max_relationship_properties(self) -> usize {
        self.max_contents()
    }

    /// Fields of an object; v3 counts elements instead.
    pub(crate) fn max_fields(self) -> usize {
        match self {
            Language::V2 => 30,
            Language::V3 => self.max_elements(),
        }
    }

    /// Values of an enumeration; v3 counts elements instead.
    pub(crate) fn max_enum_values(self) -> usize {
        match self {
            Language::V2 => 100,
            Language::V3 => self.max_elements(),
        }
    }

    /// Elements below an interface's contents, those of its ancestors included.
    pub(crate) fn max_elements(self) -> usize {
        100_000
    }

    /// Interfaces that one extends directly; v3 counts the whole hierarchy instead.
    pub(crate) fn max_extends(self) -> usize {
        match self {
            Language::V2 => 2,
            Language::V3 => MAX_ANCESTORS,
        }
    }
}

/// Characters of a `description` or `comment`.
pub(crate) const MAX_DESCRIPTION: usize = 512;
/// Interfaces that one extends, directly or through others.
pub(crate) const MAX_ANCESTORS: usize = 1024;
/// Levels of inheritance.
pub(crate) const MAX_EXTENDS_DEPTH: usize = 10;
/// Levels of complex schemas in one another.
pub(crate) const MAX_SCHEMA_DEPTH: usize = 5;
/// Characters of an interface's id.
pub(crate) const MAX_INTERFACE_ID: usize = 128;

/// What the `@context` of a document, and those of elements inside it, have brought in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) language: Language,
    /// Semantic types and units: part of v2, an extension of v3.
    pub(crate) quantitative_types: bool,
    pub(crate) annotation: bool,
    pub(crate) historization: bool,
    pub(crate) overriding: bool,
}

impl Context {
    fn new(language: Language) -> Context {
        Context {
            language,
            quantitative_types: language == Language::V2,
            annotation: false,
            historization: false,
            overriding: false,
        }
    }

    /// Reads the `@context` of a document.
    ///
    /// The specifier of DTDL comes first; v2 lets that of IoT Central precede it.
    pub(crate) fn of_document(value: &Value, place: &Place<'_>) -> Result<Context, Error> {
        let specifiers = specifiers(value, place)?;
        let mut languages = specifiers.iter().filter_map(|specifier| match *specifier {
            "dtmi:dtdl:context;2" => Some(Language::V2),
            "dtmi:dtdl:context;3" => Some(Language::V3),
            _ => None,
        });
        let first = specifiers.first().copied().unwrap_or_default();
        let not_dtdl = || place.error(Fault::NotDtdl { got: excerpt(first).into_owned() });
        let language = languages.next_back().ok_or_else(not_dtdl)?;
        let precedes = first.starts_with("dtmi:dtdl:context;") || language == Language::V2;
        if !precedes {
            return Err(not_dtdl());
        }
        let mut context = Context::new(language);
        for specifier in specifiers {
            if !matches!(specifier, "dtmi:dtdl:context;2" | "dtmi:dtdl:context;3") {
                context.bring_in(specifier, place)?;
            }
        }
        Ok(context)
    }

    /// Reads the `@context` of an element inside a document: extensions only.
    pub(crate) fn extended(mut self, value: &Value, place: &Place<'_>) -> Result<Context, Error> {
        for specifier in specifiers(value, place)? {
            self.bring_in(specifier, place)?;
        }
        Ok(self)
    }

    fn bring_in(&mut self, specifier: &str, place: &Place<'_>) -> Result<(), Error> {
        match (self.language, specifier) {
            // Only co-types, which v2 lets pass anyway.
            (Language::V2, "dtmi:iotcentral:context;2") => {}
            (Language::V3, "dtmi:dtdl:extension:quantitativeTypes;1") => self.quantitative_types = true,
            (Language::V3, "dtmi:dtdl:extension:annotation;1") => self.annotation = true,
            (Language::V3, "dtmi:dtdl:extension:historization;1") => self.historization = true,
            (Language::V3, "dtmi:dtdl:extension:overriding;1") => self.overriding = true,
            (language, got) => {
                return Err(place.error(Fault::UnknownContext { got: excerpt(got).into_owned(), language }));
            }
        }
        Ok(())
    }
}

fn specifiers<'v>(value: &'v Value, place: &Place<'_>) -> Result<Vec<&'v str>, Error> {
    const WANTED: &str = "a string, or an array of strings";
    match value {
        Value::String(one) => Ok(vec![one]),
        Value::Array(several) => several
            .iter()
            .enumerate()
            .map(|(index, one)| {
                one.as_str()
                    .ok_or_else(|| place.index(index).error(Fault::WrongType { wanted: "a string", got: kind_of(one) }))
            })
            .collect(),
        other => Err(place.error(Fault::WrongType { wanted: WANTED, got: kind_of(other) })),
    }
}
