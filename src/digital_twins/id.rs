//! The names of things in Azure Digital Twins.

use std::fmt;

use serde::{Serialize, Serializer};

/// The longest id that is sent, in bytes. The service publishes no limit; DTDL names are at most 512 characters.
const MAX_ID_BYTES: usize = 1024;

/// A text that cannot be an id in Azure Digital Twins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// The text is empty.
    #[error("the {kind} is empty")]
    Empty {
        /// Which kind of id.
        kind: &'static str,
    },
    /// The text is longer than 1024 bytes.
    #[error("the {kind} has {length} bytes, at most {MAX_ID_BYTES} are sent")]
    TooLong {
        /// Which kind of id.
        kind: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// `.` and `..` mean something else in a URL; control characters belong in no id.
    #[error("the {kind} {text:?} cannot stand in a URL path")]
    NotInPath {
        /// Which kind of id.
        kind: &'static str,
        /// The id.
        text: String,
    },
}

fn check(kind: &'static str, text: &str) -> Result<(), InvalidId> {
    if text.is_empty() {
        return Err(InvalidId::Empty { kind });
    }
    if text.len() > MAX_ID_BYTES {
        return Err(InvalidId::TooLong { kind, length: text.len() });
    }
    if matches!(text, "." | "..") || text.chars().any(char::is_control) {
        return Err(InvalidId::NotInPath { kind, text: text.to_owned() });
    }
    Ok(())
}

/// `$dtId`: the id of a twin. Case-sensitive.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TwinId(Box<str>);

impl TwinId {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`InvalidId`] when it is empty, too long or cannot stand in a URL path.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        check("twin id", text)?;
        Ok(Self(text.into()))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TwinId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for TwinId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// `$relationshipId`: the id of a relationship among those that leave one twin.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelationshipId(Box<str>);

impl RelationshipId {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`InvalidId`] when it is empty, too long or cannot stand in a URL path.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        check("relationship id", text)?;
        Ok(Self(text.into()))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RelationshipId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The version of a twin: changes with every write to it (`W/"<guid>"`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ETag(Box<str>);

impl ETag {
    /// Takes the tag as the service wrote it, quotes and `W/` included.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The tag, as it goes into an `If-Match` header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a write goes through in any case, or only on the version that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Whatever the version.
    Always,
    /// Only if the twin still has this version, else [`Error::PreconditionFailed`](super::Error::PreconditionFailed).
    IfMatch(ETag),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_change_the_meaning_of_a_path_are_refused() {
        for bad in ["", ".", "..", "a\nb", "a\0", &"x".repeat(1025)] {
            assert!(TwinId::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["...", "a/b", "%2e", "Größe 1", "it's"] {
            assert!(TwinId::parse(good).is_ok(), "{good:?}");
        }
    }
}
