//! Binding expressions in blob paths.

use jiff::{Timestamp, tz::TimeZone};
use uuid::Uuid;

/// A blob path such as `dead-letters/{datetime:yyyy-MM-dd}/{rand-guid}.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    container: String,
    name: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    RandomGuid,
    /// A `strftime` format.
    DateTime(String),
}

impl PathTemplate {
    /// Reads a path; `None` where it has no container, no name, or an expression other than `{rand-guid}` and
    /// `{datetime:...}`.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let (container, name) = path.split_once('/')?;
        if container.is_empty() || name.is_empty() || container.contains(['{', '}']) {
            return None;
        }
        let mut parts = Vec::new();
        let mut rest = name;
        while let Some((literal, expression)) = rest.split_once('{') {
            let (expression, after) = expression.split_once('}')?;
            parts.push(Part::Literal(literal.to_owned()));
            parts.push(match expression.split_once(':') {
                None if expression.eq_ignore_ascii_case("rand-guid") => Part::RandomGuid,
                Some((kind, format)) if kind.eq_ignore_ascii_case("datetime") => Part::DateTime(strftime(format)?),
                _ => return None,
            });
            rest = after;
        }
        parts.push(Part::Literal(rest.to_owned()));
        (!rest.contains('}')).then(|| Self { container: container.to_owned(), name: parts })
    }

    /// The container.
    pub fn container(&self) -> &str {
        &self.container
    }

    /// A blob's name, made at `now`.
    pub fn name(&self, now: Timestamp) -> String {
        let part = |part: &Part| match part {
            Part::Literal(literal) => literal.clone(),
            Part::RandomGuid => Uuid::new_v4().to_string(),
            Part::DateTime(format) => now.to_zoned(TimeZone::UTC).strftime(format).to_string(),
        };
        self.name.iter().map(part).collect()
    }
}

/// A .NET date format as a `strftime` format; `None` for letters that stand for something else.
fn strftime(format: &str) -> Option<String> {
    let mut translated = String::new();
    let mut rest = format;
    while let Some(first) = rest.chars().next() {
        let length = rest.find(|letter| letter != first).unwrap_or(rest.len());
        let (run, after) = rest.split_at_checked(length)?;
        translated.push_str(match run {
            "yyyy" => "%Y",
            "yy" => "%y",
            "MM" => "%m",
            "dd" => "%d",
            "HH" => "%H",
            "mm" => "%M",
            "ss" => "%S",
            _ if !first.is_alphabetic() && first != '%' => run,
            _ => return None,
        });
        rest = after;
    }
    Some(translated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_with_a_guid_and_the_time() {
        let template = PathTemplate::parse("dead-letters/F/{datetime:yyyy-MM-dd/HHmm}/{rand-guid}.json").unwrap();
        assert_eq!(template.container(), "dead-letters");
        let name = template.name("2024-05-01T12:34:56Z".parse().unwrap());
        let guid = name.strip_prefix("F/2024-05-01/1234/").unwrap().strip_suffix(".json").unwrap();
        assert!(Uuid::parse_str(guid).is_ok(), "{name}");
    }

    #[test]
    fn other_expressions_are_refused() {
        for path in ["x", "x/", "/x", "{c}/x", "c/{name}", "c/{rand-guid", "c/x}", "c/{datetime:yyyy-MMM}", "c/{sys}"] {
            assert_eq!(PathTemplate::parse(path), None, "{path}");
        }
    }
}
