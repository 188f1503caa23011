//! Where a query that was answered in part goes on.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::digital_twins::id::{RelationshipId, TwinId};

/// The last row of a page. Objects of one collection come in the order of their keys, so that the next page begins
/// right behind the last one, whatever changed in between. What JOIN and MATCH find is counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Key {
    Relationship(TwinId, RelationshipId),
    Twin(TwinId),
    Row(u64),
}

/// What the next page needs to know. Clients get it as an opaque text, which carries the query, since some send the
/// text alone; its form is the service's, but for `token`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Continuation {
    pub(crate) query: String,
    pub(crate) after: Key,
    /// Rows on the pages so far.
    pub(crate) rows: u64,
    pages: NonZeroU64,
    id: Uuid,
}

#[derive(Serialize, Deserialize)]
struct Text {
    _t: u8,
    _s: Option<()>,
    _rc: String,
    _q: String,
    _id: Uuid,
    _tr: u64,
    _pn: NonZeroU64,
}

#[derive(Serialize, Deserialize)]
struct Place {
    token: Key,
    range: Range,
}

#[derive(Serialize, Deserialize)]
struct Range {
    min: String,
    max: String,
}

/// A text that is no continuation token of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("The continuation token is invalid.")]
pub(crate) struct InvalidToken;

impl Continuation {
    /// The way on behind the first page.
    pub(crate) fn first(query: &str, after: Key, rows: u64) -> Self {
        Self { query: query.to_owned(), after, rows, pages: NonZeroU64::MIN, id: Uuid::new_v4() }
    }

    /// The way on behind one more page.
    pub(crate) fn next(&self, after: Key, rows: u64) -> Self {
        Self {
            after,
            rows: self.rows.saturating_add(rows),
            pages: self.pages.saturating_add(1),
            query: self.query.clone(),
            id: self.id,
        }
    }

    /// The text that a client gets.
    pub(crate) fn to_token(&self) -> String {
        let range = Range { min: String::new(), max: "FF".to_owned() };
        let places = serde_json::to_string(&[Place { token: self.after.clone(), range }]).unwrap_or_default();
        let text = Text {
            _t: 2,
            _s: None,
            _rc: places,
            _q: self.query.clone(),
            _id: self.id,
            _tr: self.rows,
            _pn: self.pages,
        };
        serde_json::to_string(&text).unwrap_or_default()
    }

    /// Reads a text that a client sent.
    ///
    /// # Errors
    /// [`InvalidToken`] where [`Continuation::to_token`] did not write it.
    pub(crate) fn from_token(token: &str) -> Result<Self, InvalidToken> {
        let text: Text = serde_json::from_str(token).map_err(|_| InvalidToken)?;
        let [place]: [Place; 1] = serde_json::from_str(&text._rc).map_err(|_| InvalidToken)?;
        Ok(Self { query: text._q, after: place.token, rows: text._tr, pages: text._pn, id: text._id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back_and_anything_else_does_not() {
        let twin = Key::Twin("a".parse().unwrap());
        let first = Continuation::first("SELECT * FROM digitaltwins WHERE x = '\\''", twin, 5);
        let second = first.next(Key::Relationship("a".parse().unwrap(), "r".parse().unwrap()), 7);
        let third = second.next(Key::Row(12), 0);
        for continuation in [&first, &second, &third] {
            assert_eq!(Continuation::from_token(&continuation.to_token()).as_ref(), Ok(continuation));
        }
        assert_eq!((second.rows, second.pages.get()), (12, 2));
        for text in ["", "{}", "null", "[]", "x", r#"{"_t":2,"_s":null,"_rc":"[]","_q":"","_tr":0,"_pn":1}"#] {
            assert_eq!(Continuation::from_token(text), Err(InvalidToken), "{text}");
        }
    }
}
