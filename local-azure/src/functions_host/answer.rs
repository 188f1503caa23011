//! What the handler's answer to an invocation in an envelope means.
//!
//! Source: azure-functions-host, `DefaultHttpWorkerService.cs` and `HttpScriptInvocationResult.cs`.

use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};

/// What an answer means.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// The invocation succeeded.
    Success(Answer),
    /// The host finds nothing to complete the invocation with: it goes on until functionTimeout.
    Hang,
    /// The invocation failed.
    Failure(String),
}

/// The members of a good answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) outputs: Map<String, Value>,
    pub(super) logs: Vec<String>,
}

/// Judges an answer.
pub(super) fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Verdict {
    if !status.is_success() {
        let reason = status.canonical_reason().unwrap_or_default();
        return Verdict::Failure(format!(
            "Response status code does not indicate success: {} ({reason}).",
            status.as_u16()
        ));
    }
    if body.trim_ascii().is_empty() {
        return Verdict::Hang;
    }
    if !is_json(headers) {
        let body = String::from_utf8_lossy(body);
        return invalid(&format!("content type is not JSON; body: {}", excerpt(&body)));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Null) => Verdict::Hang,
        Ok(Value::Object(members)) => Answer::read(members).map_or_else(invalid, Verdict::Success),
        Ok(_) => invalid("body is not a JSON object"),
        Err(error) => invalid(&error.to_string()),
    }
}

impl Answer {
    /// Reads the members without case and ignores those that nobody knows.
    fn read(members: Map<String, Value>) -> Result<Self, &'static str> {
        let mut answer = Self::default();
        for (name, value) in members {
            match (name.to_ascii_lowercase().as_str(), value) {
                ("outputs", Value::Object(outputs)) => answer.outputs = outputs,
                ("outputs" | "logs", Value::Null) => {}
                ("outputs", _) => return Err("Outputs is not an object"),
                ("logs", logs) => {
                    answer.logs = serde_json::from_value(logs).map_err(|_| "Logs is not an array of text")?;
                }
                _ => {}
            }
        }
        Ok(answer)
    }
}

fn invalid(reason: &str) -> Verdict {
    Verdict::Failure(format!("Invalid HttpResponseMessage: {reason}"))
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json") || essence.eq_ignore_ascii_case("text/json")
}

fn excerpt(text: &str) -> &str {
    const LONGEST: usize = 200;
    let end = (0..=LONGEST.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or_default();
    text.split_at_checked(end).map_or(text, |(start, _)| start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, content_type: &str, body: &str) -> Verdict {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type.parse().unwrap())]);
        judge(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes())
    }

    fn failure(status: u16, content_type: &str, body: &str) -> String {
        match answered(status, content_type, body) {
            Verdict::Failure(reason) => reason,
            other => panic!("{body} gave {other:?}"),
        }
    }

    #[test]
    fn an_empty_body_or_null_completes_nothing() {
        for (status, body) in [(200, ""), (204, ""), (200, "null"), (202, " \r\n")] {
            assert_eq!(answered(status, "application/json", body), Verdict::Hang, "{status} {body}");
        }
        assert_eq!(judge(StatusCode::OK, &HeaderMap::new(), b""), Verdict::Hang);
    }

    #[test]
    fn an_empty_object_is_enough() {
        assert_eq!(answered(200, "application/json; charset=utf-8", "{}"), Verdict::Success(Answer::default()));
    }

    #[test]
    fn member_names_have_no_case_and_strangers_are_ignored() {
        let body = r#"{"OUTPUTS": {"a": 1}, "logs": ["one"], "returnvalue": null, "more": []}"#;
        let Verdict::Success(answer) = answered(200, "text/json", body) else { panic!("{body}") };
        assert_eq!(answer.outputs["a"], 1);
        assert_eq!(answer.logs, ["one"]);
    }

    #[test]
    fn everything_else_fails_and_says_why() {
        let json = "application/json";
        let failures = [
            failure(503, json, "{}"),
            failure(302, json, "{}"),
            failure(200, "text/plain", "oops"),
            failure(200, json, "{"),
            failure(200, json, "[]"),
            failure(200, json, r#"{"Logs": [1]}"#),
            failure(200, json, r#"{"Outputs": []}"#),
        ];
        insta::assert_snapshot!(failures.join("\n"), @r"
        Response status code does not indicate success: 503 (Service Unavailable).
        Response status code does not indicate success: 302 (Found).
        Invalid HttpResponseMessage: content type is not JSON; body: oops
        Invalid HttpResponseMessage: EOF while parsing an object at line 1 column 1
        Invalid HttpResponseMessage: body is not a JSON object
        Invalid HttpResponseMessage: Logs is not an array of text
        Invalid HttpResponseMessage: Outputs is not an object
        ");
    }

    #[test]
    fn long_bodies_are_cut_between_characters() {
        assert_eq!(excerpt(&"ä".repeat(150)), "ä".repeat(100));
        assert_eq!(excerpt(&format!("a{}", "ä".repeat(150))).len(), 199);
    }
}
