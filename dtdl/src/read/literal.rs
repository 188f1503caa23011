//! Literals: strings, integers and booleans, which JSON-LD lets a document write in more than one way.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::{Error, Fault, excerpt};
use crate::place::{Place, kind_of};

/// A kind of literal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Literal {
    Text,
    Integer,
    Boolean,
}

impl Literal {
    fn wanted(self) -> &'static str {
        match self {
            Literal::Text => "a string",
            Literal::Integer => "an integer",
            Literal::Boolean => "a boolean",
        }
    }

    /// The type that `{"@value": ..., "@type": ...}` may name.
    fn is_type(self, name: &str) -> bool {
        let local = name.strip_prefix("xsd:").or_else(|| name.strip_prefix("http://www.w3.org/2001/XMLSchema#"));
        local
            == Some(match self {
                Literal::Text => "string",
                Literal::Integer => "integer",
                Literal::Boolean => "boolean",
            })
    }

    /// The plain value in a literal: itself, the one element of an array, or the `@value` of an object.
    pub(super) fn plain<'v>(self, value: &'v Value, place: &Place<'_>) -> Result<&'v Value, Error> {
        let value = match value {
            Value::Array(elements) => match elements.as_slice() {
                [one] => one,
                _ => value,
            },
            _ => value,
        };
        let Value::Object(members) = value else {
            return Ok(value);
        };
        let wrong = |got| place.error(Fault::WrongType { wanted: self.wanted(), got });
        let typed = match members.get("@type") {
            None => true,
            Some(Value::String(name)) => self.is_type(name),
            Some(Value::Array(names)) => {
                matches!(names.as_slice(), [Value::String(name)] if self.is_type(name))
            }
            Some(_) => false,
        };
        let only_known = members.keys().all(|name| name == "@value" || name == "@type");
        match members.get("@value") {
            Some(plain) if typed && only_known => Ok(plain),
            _ => Err(wrong("an object")),
        }
    }
}

/// Reads a text.
pub(super) fn text<'v>(value: &'v Value, place: &Place<'_>) -> Result<&'v str, Error> {
    let plain = Literal::Text.plain(value, place)?;
    plain.as_str().ok_or_else(|| place.error(Fault::WrongType { wanted: "a string", got: kind_of(plain) }))
}

/// Reads a boolean.
pub(super) fn boolean(value: &Value, place: &Place<'_>) -> Result<bool, Error> {
    let plain = Literal::Boolean.plain(value, place)?;
    plain.as_bool().ok_or_else(|| place.error(Fault::WrongType { wanted: "a boolean", got: kind_of(plain) }))
}

/// Reads an integer of 32 bits.
pub(super) fn integer(value: &Value, place: &Place<'_>) -> Result<i32, Error> {
    const WANTED: &str = "an integer of 32 bits";
    let plain = Literal::Integer.plain(value, place)?;
    let Value::Number(number) = plain else {
        return Err(place.error(Fault::WrongType { wanted: WANTED, got: kind_of(plain) }));
    };
    number
        .as_i64()
        .and_then(|whole| i32::try_from(whole).ok())
        .ok_or_else(|| place.error(Fault::WrongValue { wanted: WANTED, got: number.to_string() }))
}

/// Reads a text for people: a string, which is English, a map of languages, or an array of both kinds of text.
pub(super) fn localized(value: &Value, limit: usize, place: &Place<'_>) -> Result<BTreeMap<String, String>, Error> {
    let mut texts = BTreeMap::new();
    match value {
        Value::Object(members) => {
            for (language, value) in members {
                let place = place.member(language);
                let Some(content) = value.as_str() else {
                    return Err(place.error(Fault::WrongType { wanted: "a string", got: kind_of(value) }));
                };
                put(&mut texts, language, content, limit, &place)?;
            }
        }
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                let place = place.index(index);
                let (language, content) = with_language(element, &place)?;
                put(&mut texts, language, content, limit, &place)?;
            }
        }
        Value::String(content) => put(&mut texts, ENGLISH, content, limit, place)?,
        other => {
            return Err(place.error(Fault::WrongType { wanted: "a string or a map of languages", got: kind_of(other) }));
        }
    }
    Ok(texts)
}

/// The language of a text that names none.
const ENGLISH: &str = "en";

/// A string, or `{"@value": "...", "@language": "..."}`.
fn with_language<'v>(value: &'v Value, place: &Place<'_>) -> Result<(&'v str, &'v str), Error> {
    let wrong = || place.error(Fault::WrongType { wanted: "a string or a map of languages", got: kind_of(value) });
    match value {
        Value::String(content) => Ok((ENGLISH, content)),
        Value::Object(members) => {
            if !members.keys().all(|name| name == "@value" || name == "@language") {
                return Err(wrong());
            }
            let content = members.get("@value").and_then(Value::as_str).ok_or_else(wrong)?;
            match members.get("@language") {
                None => Ok((ENGLISH, content)),
                Some(Value::String(language)) => Ok((language, content)),
                Some(_) => Err(wrong()),
            }
        }
        _ => Err(wrong()),
    }
}

fn put(
    texts: &mut BTreeMap<String, String>,
    language: &str,
    content: &str,
    limit: usize,
    place: &Place<'_>,
) -> Result<(), Error> {
    if !is_language_tag(language) {
        return Err(place.error(Fault::BadLanguageTag(excerpt(language).into_owned())));
    }
    check_length(content, limit, place)?;
    match texts.insert(language.to_owned(), content.to_owned()) {
        None => Ok(()),
        Some(_) => Err(place.error(Fault::LanguageTwice(language.to_owned()))),
    }
}

/// Two or three letters, then subtags of one to eight letters and digits (the shape of BCP 47).
fn is_language_tag(text: &str) -> bool {
    let mut subtags = text.split('-');
    let primary = subtags.next().unwrap_or_default();
    (2..=3).contains(&primary.len())
        && primary.bytes().all(|byte| byte.is_ascii_alphabetic())
        && subtags
            .all(|subtag| (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Refuses a text of more than `limit` characters.
pub(super) fn check_length(text: &str, limit: usize, place: &Place<'_>) -> Result<(), Error> {
    // Never fewer bytes than characters.
    let got = if text.len() <= limit { text.len() } else { text.chars().count() };
    if got <= limit { Ok(()) } else { Err(place.error(Fault::TextTooLong { limit, got })) }
}
