//! Queries over device and module twins (IoT Hub: query language for device and module twins). Pure.
//!
//! `SELECT` everything, members or `COUNT()`, `FROM devices` or `devices.modules`, `WHERE` with comparisons, `IN`,
//! `NIN`, `AND`, `OR`, `NOT` and `is_defined`, the one function that the service has for twins.

mod condition;
mod lexer;
mod parser;

use serde_json::{Map, Value};

use self::condition::{Condition, Path};

/// Which twins are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Collection {
    Devices,
    Modules,
}

/// A query is not one that is answered here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the query cannot be understood: {wanted} is expected {at}")]
pub(super) struct QueryError {
    wanted: &'static str,
    /// `at "xyz"` or `at the end`.
    at: String,
}

/// A query, understood.
#[derive(Debug, PartialEq)]
pub(super) struct Query {
    pub(super) collection: Collection,
    selection: Selection,
    condition: Option<Condition>,
}

/// What is told of each twin that is found.
#[derive(Debug, PartialEq)]
enum Selection {
    /// All of it.
    Twin,
    /// These members under these names.
    Members(Vec<(Path, String)>),
    /// How many there are, under this name.
    Count(String),
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// [`QueryError`] says what was expected, and where.
    pub(super) fn parse(text: &str) -> Result<Self, QueryError> {
        parser::parse(text)
    }

    /// Whether it finds this twin, given as the service's API shows it.
    pub(super) fn finds(&self, twin: &Value) -> bool {
        self.condition.as_ref().is_none_or(|condition| condition.holds(twin))
    }

    /// Under which name the twins are only counted.
    pub(super) fn count(&self) -> Option<&str> {
        match &self.selection {
            Selection::Count(name) => Some(name),
            _ => None,
        }
    }

    /// What is told of a twin that it finds. A member that the twin lacks is left out.
    pub(super) fn select(&self, twin: Value) -> Value {
        let Selection::Members(members) = &self.selection else { return twin };
        let found = members.iter().filter_map(|(path, name)| Some((name.clone(), path.of(&twin)?.clone())));
        Value::from(found.collect::<Map<String, Value>>())
    }

    /// The kind of the answer's items, as the service names it.
    pub(super) fn item_type(&self) -> &'static str {
        if self.selection == Selection::Twin { "Twin" } else { "Raw" }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn twin() -> Value {
        json!({
            "deviceId": "d1",
            "status": "enabled",
            "tags": { "site": "Zürich", "floor": 3, "old": null, "my tag": true, "list": [1] },
            "properties": {
                "desired": { "every": { "s": 5.5 }, "$version": 4 },
                "reported": { "fw": "1.2" },
            },
        })
    }

    #[track_caller]
    fn finds(condition: &str) -> bool {
        Query::parse(&format!("SELECT * FROM devices WHERE {condition}")).unwrap().finds(&twin())
    }

    #[test]
    fn conditions_that_hold() {
        for condition in [
            "deviceId = 'd1'",
            "status = 'enabled' and tags.floor=3",
            "tags.site = \"Zürich\"",
            "tags.floor >= 3 AND tags.floor <= 3 AND NOT tags.floor > 3",
            "tags.floor <> 4 AND tags.floor != -3.5e1",
            "properties.desired.every.s > 5 AND properties.desired.$version = 4",
            "tags.[[my tag]] = true",
            "tags.old = null AND is_defined(tags.old)",
            "NOT is_defined(tags.none)",
            "deviceId IN ['d0', 'd1'] AND tags.floor NIN [1, 2]",
            "properties.reported.fw < '1.3'",
            "(tags.floor = 1 OR tags.floor = 3) AND deviceId = 'd1'",
            "tags.floor = 1 AND tags.floor = 2 OR deviceId = 'd1'",
            "tags.list = [1]",
            "3 = tags.floor",
            "is_defined(tags.site) = true",
            "deviceId = 'd1' AND tags.site != 'it''s'",
        ] {
            assert!(finds(condition), "{condition}");
        }
    }

    #[test]
    fn conditions_that_do_not_hold() {
        for condition in [
            "deviceId = 'D1'",
            "tags.none = 1",
            "NOT tags.none = 1",
            "tags.none != 1",
            "tags.floor = '3'",
            "tags.site > 3",
            "tags.none NIN [1]",
            "tags.floor",
            "properties.reported.fw.deeper = 1",
        ] {
            assert!(!finds(condition), "{condition}");
        }
    }

    #[test]
    fn a_query_tells_the_twin_its_members_or_how_many_there_are() {
        let query = Query::parse("select * from devices").unwrap();
        assert_eq!((query.select(twin()), query.item_type()), (twin(), "Twin"));
        let query = Query::parse("SELECT deviceId, tags.floor AS f, tags.none FROM devices.modules").unwrap();
        assert_eq!((query.select(twin()), query.item_type()), (json!({"deviceId": "d1", "f": 3}), "Raw"));
        assert_eq!(query.collection, Collection::Modules);
        assert_eq!(Query::parse("SELECT COUNT() AS n FROM devices").unwrap().count(), Some("n"));
    }

    #[test]
    fn what_is_no_query_is_refused_with_what_was_expected_where() {
        let refused = |text: &str| Query::parse(text).unwrap_err().to_string();
        assert_eq!(refused(""), "the query cannot be understood: SELECT is expected at the end");
        assert_eq!(
            refused("SELECT * FROM nowhere"),
            "the query cannot be understood: devices or devices.modules is expected at \"nowhere\""
        );
        for text in [
            "SELECT * FROM devices WHERE",
            "SELECT * FROM devices WHERE a =",
            "SELECT * FROM devices WHERE (a = 1",
            "SELECT * FROM devices WHERE a = 'x",
            "SELECT * FROM devices WHERE a = 1 b",
            "SELECT * FROM devices WHERE a IN 1",
            "SELECT * FROM devices WHERE starts_with(a, 'b')",
            "SELECT * FROM devices WHERE a = #",
            "SELECT * FROM devices.jobs",
            "SELECT FROM devices",
            "DELETE",
        ] {
            assert!(Query::parse(text).is_err(), "{text}");
        }
        let deep = format!("SELECT * FROM devices WHERE {}a = 1", "(".repeat(100_000));
        assert!(refused(&deep).contains("nest"), "however deep it nests");
        assert!(Query::parse(&format!("SELECT * FROM devices WHERE {}a = 1", "NOT ".repeat(100_000))).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(SELECT \\* FROM devices WHERE )?[ -~é]{0,60}") {
            if let Ok(query) = Query::parse(&text) {
                query.finds(&twin());
            }
        }
    }
}
