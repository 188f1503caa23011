//! Times as the host writes them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

/// Reads a time as it stands in an event's properties: RFC 3339 with any offset, without a zone (then it is UTC:
/// the Event Hubs extension writes `DateTime` values so), or milliseconds since 1970 as number or digits.
#[must_use]
pub fn timestamp(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Number(milliseconds) => Timestamp::from_millisecond(milliseconds.as_i64()?).ok(),
        Value::String(text) => from_text(text.trim()),
        _ => None,
    }
}

fn from_text(text: &str) -> Option<Timestamp> {
    if let Ok(milliseconds) = text.parse::<i64>() {
        return Timestamp::from_millisecond(milliseconds).ok();
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let time: DateTime = text.parse().ok()?;
    TimeZone::UTC.to_timestamp(time).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_spelling_of_a_time_is_read() {
        let expected: Timestamp = "2024-05-01T12:00:00.25Z".parse().unwrap();
        for value in [
            json!("2024-05-01T12:00:00.25Z"),
            json!("2024-05-01T12:00:00.25"),
            json!("2024-05-01T12:00:00.2500000+00:00"),
            json!("2024-05-01T14:00:00.25+02:00"),
            json!(1_714_564_800_250_i64),
            json!("1714564800250"),
        ] {
            assert_eq!(timestamp(&value), Some(expected), "{value}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for value in [json!(null), json!(""), json!("soon"), json!("2024-13-01T00:00:00Z"), json!(1.5), json!(i64::MAX)]
        {
            assert_eq!(timestamp(&value), None, "{value}");
        }
    }
}
