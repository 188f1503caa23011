//! The body of an invocation by hand: `{"input": "..."}`.
//!
//! Source: azure-functions-host, `FunctionInvocation.cs`, read by ASP.NET with Json.NET: names have no case, numbers and
//! flags become text.

use axum::http::{HeaderMap, header};
use serde_json::Value;

/// Whether a body is said to be JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || essence == "text/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The input, if there is one; `None` where the body is not what was expected.
pub(super) fn read(body: &[u8]) -> Option<Option<String>> {
    let Ok(Value::Object(members)) = serde_json::from_slice(body) else { return None };
    match members.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("input")) {
        None | Some((_, Value::Null)) => Some(None),
        Some((_, Value::String(text))) => Some(Some(text)),
        Some((_, value @ (Value::Number(_) | Value::Bool(_)))) => Some(Some(value.to_string())),
        Some((_, Value::Array(_) | Value::Object(_))) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_is_text_or_becomes_it() {
        let text = |text: &str| Some(Some(text.to_owned()));
        let cases = [
            (r#"{"input": "{\"a\":1}"}"#, text(r#"{"a":1}"#)),
            (r#"{"Input": ""}"#, text("")),
            (r#"{"INPUT": 5, "other": []}"#, text("5")),
            (r#"{"input": true}"#, text("true")),
            (r#"{"input": null}"#, Some(None)),
            ("{}", Some(None)),
            (r#"{"input": {"a": 1}}"#, None),
            (r#"{"input": []}"#, None),
            ("null", None),
            (r#""text""#, None),
            ("", None),
        ];
        for (body, expected) in cases {
            assert_eq!(read(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn a_body_counts_as_json_by_its_content_type_alone() {
        for (content_type, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/json", true),
            ("application/x+json", true),
            ("text/plain", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type.parse().unwrap())]);
            assert_eq!(is_json(&headers), expected, "{content_type}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
