//! Queries. Text from outside gets in as a quoted literal only, so that no id can become query language.

use std::fmt::{self, Write};

/// Words of the language: as names they stand in double brackets (Azure Digital Twins: "Query language reference",
/// reserved keywords).
const RESERVED: [&str; 39] = [
    "ALL",
    "AND",
    "AS",
    "ASC",
    "AVG",
    "BY",
    "COUNT",
    "DESC",
    "DEVICES_JOBS",
    "DEVICES_MODULES",
    "DEVICES",
    "ENDS_WITH",
    "FALSE",
    "FROM",
    "GROUP",
    "IN",
    "IS_BOOL",
    "IS_DEFINED",
    "IS_NULL",
    "IS_NUMBER",
    "IS_OBJECT",
    "IS_PRIMITIVE",
    "IS_STRING",
    "MAX",
    "MIN",
    "NOT",
    "NOT_IN",
    "NULL",
    "OR",
    "ORDER",
    "SELECT",
    "STARTS_WITH",
    "SUM",
    "TOP",
    "TRUE",
    "WHERE",
    "IS_OF_MODEL",
    "JOIN",
    "MATCH",
];

/// A property's name as it may stand in a query. DTDL names are ASCII letters, digits and underscores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PropertyName(&'static str);

impl PropertyName {
    /// A name written in this program.
    ///
    /// # Panics
    /// When the text is not a name: at compile time where it is made in a `const`.
    #[must_use]
    pub const fn literal(name: &'static str) -> Self {
        let bytes = name.as_bytes();
        assert!(!bytes.is_empty() && bytes.len() <= 512, "a property name has 1 to 512 characters");
        let mut rest = bytes;
        while let [first, tail @ ..] = rest {
            assert!(first.is_ascii_alphanumeric() || *first == b'_', "a property name has letters, digits and '_'");
            rest = tail;
        }
        Self(name)
    }

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

/// A property of the twin, as it stands in a query.
struct Operand(PropertyName);

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(PropertyName(name)) = self;
        match RESERVED.iter().any(|word| word.eq_ignore_ascii_case(name)) {
            true => write!(f, "T.[[{name}]]"),
            false => write!(f, "T.{name}"),
        }
    }
}

/// A condition on the twins that a query returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(String);

impl Filter {
    /// The string property has one of `values`. No value: no twin.
    #[must_use]
    pub fn property_in<'a>(name: PropertyName, values: impl IntoIterator<Item = &'a str>) -> Self {
        Self::in_list(&Operand(name).to_string(), values)
    }

    /// The twin's id is one of `ids`.
    #[must_use]
    pub fn id_in<'a>(ids: impl IntoIterator<Item = &'a str>) -> Self {
        Self::in_list("T.$dtId", ids)
    }

    /// The property is set.
    #[must_use]
    pub fn is_defined(name: PropertyName) -> Self {
        Self(format!("IS_DEFINED({})", Operand(name)))
    }

    /// Either of the two.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(format!("({} OR {})", self.0, other.0))
    }

    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(format!("({} AND {})", self.0, other.0))
    }

    fn in_list<'a>(operand: &str, values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            // Every twin has an id.
            return Self("NOT IS_DEFINED(T.$dtId)".to_owned());
        }
        let mut text = format!("{operand} IN [");
        for (position, value) in values.enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            // Writing into a String cannot fail.
            let _ = write!(text, "{comma}{}", Literal(value));
        }
        text.push(']');
        Self(text)
    }
}

/// A query for twins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query(String);

impl Query {
    /// The twins for which `filter` holds.
    #[must_use]
    pub fn twins_where(filter: &Filter) -> Self {
        Self(format!("SELECT * FROM DIGITALTWINS T WHERE {}", filter.0))
    }

    /// The query text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// A string literal: in single quotes, quote and backslash escaped by a backslash, on one line
/// (Azure Digital Twins: "Query language reference", special characters). Control characters, which no id of a device has,
/// are escaped only so that they do no harm.
struct Literal<'a>(&'a str);

impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('\'')?;
        for character in self.0.chars() {
            match character {
                '\'' | '\\' => write!(f, "\\{character}")?,
                control if control.is_control() => write!(f, "\\u{:04x}", u32::from(control))?,
                plain => f.write_char(plain)?,
            }
        }
        f.write_char('\'')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HUB_REGISTRATION_ID: PropertyName = PropertyName::literal("HubRegistrationId");

    #[test]
    fn a_query_reads_as_one_would_write_it() {
        let filter = Filter::property_in(HUB_REGISTRATION_ID, ["Pump-1", "pump-1"]).or(Filter::id_in(["pump-1"]));
        insta::assert_snapshot!(
            Query::twins_where(&filter).text(),
            @"SELECT * FROM DIGITALTWINS T WHERE (T.HubRegistrationId IN ['Pump-1', 'pump-1'] OR T.$dtId IN ['pump-1'])"
        );
    }

    #[test]
    fn a_name_that_is_a_word_of_the_language_stands_in_brackets() {
        const GROUP: PropertyName = PropertyName::literal("Group");
        assert_eq!(Filter::property_in(GROUP, ["a"]).0, "T.[[Group]] IN ['a']");
    }

    #[test]
    fn no_values_match_no_twin() {
        assert_eq!(Filter::id_in([]).0, "NOT IS_DEFINED(T.$dtId)");
    }

    #[test]
    fn quotes_and_backslashes_stay_inside_the_literal() {
        assert_eq!(Literal("it's").to_string(), r"'it\'s'");
        assert_eq!(Literal(r"\' OR true --").to_string(), r"'\\\' OR true --'");
        assert_eq!(Literal("a\nb").to_string(), r"'a\u000ab'");
    }

    /// Reads a literal as the service does; `None` unless it ends at the end of the text.
    fn unquote(text: &str) -> Option<String> {
        let mut characters = text.strip_prefix('\'')?.chars();
        let mut value = String::new();
        loop {
            match characters.next()? {
                '\'' => return characters.next().is_none().then_some(value),
                '\\' => match characters.next()? {
                    'u' => {
                        let digits: String = characters.by_ref().take(4).collect();
                        value.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                    }
                    escaped => value.push(escaped),
                },
                plain => value.push(plain),
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_ends_its_literal(text in any::<String>()) {
            let literal = Literal(&text).to_string();
            prop_assert!(!literal.contains(['\n', '\r', '\0']));
            prop_assert_eq!(unquote(&literal), Some(text));
        }
    }
}
