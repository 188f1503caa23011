//! What becomes of JSON that passes through Json.NET: numbers and dates are parsed and written anew.
//!
//! The host does this to every event of a trigger without `dataType`. The machine's time zone is taken to be UTC, as
//! in Azure.

use jiff::{Timestamp, civil::DateTime};
use serde_json::Value;

use super::time::date_time;

/// Parses JSON and rewrites the dates in it; `None` where it is not JSON.
pub(super) fn parse(body: &[u8]) -> Option<Value> {
    let mut value = serde_json::from_str(&String::from_utf8_lossy(body)).ok()?;
    rewrite(&mut value);
    Some(value)
}

fn rewrite(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(date) = date(text) {
                *text = date;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(rewrite),
        Value::Object(members) => members.values_mut().for_each(rewrite),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Text like `2024-05-01T14:00:00.000+02:00` in the form in which Json.NET writes what it read.
fn date(text: &str) -> Option<String> {
    if !(19..=40).contains(&text.len()) || text.as_bytes().get(10) != Some(&b'T') {
        return None;
    }
    if let Some(utc) = text.strip_suffix('Z') {
        return Some(date_time(civil(utc)?, "Z"));
    }
    let zone = text.len().checked_sub(6).and_then(|at| text.split_at_checked(at));
    if let Some((_, zone)) = zone
        && zone.starts_with(['+', '-'])
    {
        return Some(date_time(text.parse().ok()?, "+00:00"));
    }
    Some(date_time(civil(text)?, ""))
}

/// A time without a zone, as if it were UTC.
fn civil(text: &str) -> Option<Timestamp> {
    let is_plain = text.bytes().skip(11).all(|byte| byte.is_ascii_digit() || byte == b':' || byte == b'.');
    let time: DateTime = is_plain.then(|| text.parse().ok()).flatten()?;
    time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|time| time.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_dates_lose_their_spelling_and_other_text_keeps_it() {
        let cases = [
            (r#"{"a":21.50}"#, r#"{"a":21.5}"#),
            (r#""2024-05-01T14:00:00.000+02:00""#, r#""2024-05-01T12:00:00+00:00""#),
            (r#""2024-05-01T12:00:00.500Z""#, r#""2024-05-01T12:00:00.5Z""#),
            (r#"["2024-05-01T12:00:00.10"]"#, r#"["2024-05-01T12:00:00.1"]"#),
            (r#""2024-05-01""#, r#""2024-05-01""#),
            (r#""2024-05-01 12:00:00.500Z""#, r#""2024-05-01 12:00:00.500Z""#),
            (r#""2024-13-01T12:00:00Z""#, r#""2024-13-01T12:00:00Z""#),
            (r#""a text that is long, T""#, r#""a text that is long, T""#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text.as_bytes()).unwrap().to_string(), expected, "{text}");
        }
        assert_eq!(parse(b"not json"), None);
    }
}
