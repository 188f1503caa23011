//! What may stand in a device twin (IoT Hub: understand and use device twins, device twin format). Pure.

use serde_json::{Map, Value};

pub(super) const TAGS_BYTES: usize = 8 * 1024;
pub(super) const PROPERTIES_BYTES: usize = 32 * 1024;
const DEPTH: usize = 10;
const KEY_BYTES: usize = 1024;
const TEXT_BYTES: usize = 4096;

/// A patch of a device twin is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TwinError {
    /// A section is not an object.
    #[error("{section} must be a JSON object")]
    NotAnObject {
        /// `tags`, `desired` or `reported`.
        section: &'static str,
    },
    /// A key, value or the depth breaks a rule.
    #[error("{section}: {rule} (IoT Hub: understand and use device twins, device twin format)")]
    Rule {
        /// `tags`, `desired` or `reported`.
        section: &'static str,
        /// The rule.
        rule: &'static str,
    },
    /// A section would grow too large.
    #[error("{section} would have {bytes} bytes, at most {limit} are allowed")]
    TooLarge {
        /// `tags`, `desired` or `reported`.
        section: &'static str,
        /// What it would have.
        bytes: usize,
        /// What it may have.
        limit: usize,
    },
}

/// A patch of a section: an object that keeps the rules.
pub(super) fn object<'a>(value: &'a Value, section: &'static str) -> Result<&'a Map<String, Value>, TwinError> {
    let members = value.as_object().ok_or(TwinError::NotAnObject { section })?;
    // Checked before merging too: merging recurses as deep as the patch.
    check_members(members, 1).map_err(|rule| TwinError::Rule { section, rule })?;
    Ok(members)
}

/// Whether a section as it would be keeps the rules and its size.
pub(super) fn check(members: &Map<String, Value>, section: &'static str, limit: usize) -> Result<(), TwinError> {
    check_members(members, 1).map_err(|rule| TwinError::Rule { section, rule })?;
    let bytes = members.iter().map(|(name, value)| name.len() + value.to_string().len()).sum();
    if bytes > limit { Err(TwinError::TooLarge { section, bytes, limit }) } else { Ok(()) }
}

fn check_members(members: &Map<String, Value>, depth: usize) -> Result<(), &'static str> {
    if depth > DEPTH {
        return Err("objects nest at most 10 deep");
    }
    for (name, value) in members {
        let system = depth == 1 && matches!(name.as_str(), "$version" | "$metadata");
        if system {
            continue;
        }
        if name.is_empty() || name.len() > KEY_BYTES {
            return Err("a name has 1 to 1024 bytes");
        }
        if name.contains(|c: char| c.is_control() || matches!(c, '.' | '$' | ' ')) {
            return Err("a name has no control character, dot, dollar sign or space");
        }
        check_value(value, depth)?;
    }
    Ok(())
}

fn check_value(value: &Value, depth: usize) -> Result<(), &'static str> {
    const INTEGERS: std::ops::RangeInclusive<i64> = -4_503_599_627_370_496..=4_503_599_627_370_495;
    match value {
        Value::String(text) if text.len() > TEXT_BYTES => Err("a text has at most 4096 bytes"),
        Value::Number(number) if !number.is_f64() && !number.as_i64().is_some_and(|n| INTEGERS.contains(&n)) => {
            Err("an integer lies between -4503599627370496 and 4503599627370495")
        }
        Value::Object(members) => check_members(members, depth + 1),
        Value::Array(items) if depth >= DEPTH && !items.is_empty() => Err("objects nest at most 10 deep"),
        Value::Array(items) => items.iter().try_for_each(|item| check_value(item, depth + 1)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use crate::iot_hub::{DeviceTwin, TwinPatch};

    #[test]
    fn what_breaks_a_rule_of_the_format_is_refused() {
        let deep = (0..11).fold(json!({}), |inner, _| json!({ "a": inner }));
        let cases = [
            json!({"tags": 1}),
            json!({"tags": {"a.b": 1}}),
            json!({"tags": {"a": {"$b": 1}}}),
            json!({"tags": {"": 1}}),
            json!({"tags": {"a": 4_503_599_627_370_496_i64}}),
            json!({"tags": {"a": "x".repeat(4097)}}),
            json!({"tags": {"a": "x".repeat(4096), "b": "x".repeat(4096)}}),
            json!({ "tags": deep }),
        ];
        for case in cases {
            assert!(
                DeviceTwin::default().patched(&TwinPatch::from_json(&case), Timestamp::UNIX_EPOCH).is_err(),
                "{case}"
            );
        }
    }
}
