//! What twins and relationships are called, and the tags of their versions.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The longest id that is accepted, in characters. The service documents no rule for ids; this is local-azure's own.
const MAX_ID_CHARS: usize = 128;

/// An id was empty, too long, or held a control character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id has 1 to {MAX_ID_CHARS} characters and no control characters")]
pub struct InvalidId;

fn check(id: &str) -> Result<(), InvalidId> {
    let fits = !id.is_empty() && id.chars().count() <= MAX_ID_CHARS && !id.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(InvalidId) }
}

/// Kinds of id that must not be taken for each other: same form, separate types. Clones share their text, since
/// indexes hold many of them.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id, as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(id: String) -> Result<Self, InvalidId> {
                id.as_str().parse()
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            fn from_str(id: &str) -> Result<Self, InvalidId> {
                check(id).map(|()| Self(id.into()))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        // Ordering and hashing are those of the text, so maps answer to plain text too.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// The `$dtId` of a twin: case-sensitive, ordered by code point.
    TwinId
}

id! {
    /// The `$relationshipId` of a relationship: unique among the relationships of one source twin.
    RelationshipId
}

id! {
    /// The id of an event route.
    RouteId
}

id! {
    /// The id of an import or delete job.
    JobId
}

/// The version of a twin or a relationship, `W/"<guid>"`: new with every write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ETag(String);

impl ETag {
    /// A tag that no version had before.
    pub(crate) fn fresh() -> Self {
        Self(format!("W/\"{}\"", Uuid::new_v4()))
    }

    /// The tag as it stands in the header and in `$etag`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked_and_order_like_their_text() {
        for bad in [String::new(), "a\nb".to_owned(), "x".repeat(129)] {
            assert_eq!(bad.parse::<TwinId>(), Err(InvalidId), "{bad:?}");
        }
        assert!("x".repeat(128).parse::<TwinId>().is_ok());
        let mut ids: Vec<TwinId> = ["2", "10", "1"].iter().map(|id| id.parse().unwrap()).collect();
        ids.sort();
        assert_eq!(ids.iter().map(TwinId::as_str).collect::<Vec<_>>(), ["1", "10", "2"]);
    }

    #[test]
    fn tags_are_weak_lower_case_guids_and_differ() {
        let (a, b) = (ETag::fresh(), ETag::fresh());
        assert_ne!(a, b);
        assert!(a.as_str().starts_with("W/\"") && a.as_str().len() == 40, "{a:?}");
        assert_eq!(a.as_str()[3..], a.as_str()[3..].to_lowercase());
    }
}
