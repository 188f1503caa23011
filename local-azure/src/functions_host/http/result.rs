//! The answer of an HTTP function in envelope mode: its `http` output.
//!
//! Source: azure-functions-host, `HttpBinding.cs` and `RawScriptResult.cs`.

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse, Response},
};
use serde_json::Value;

/// What the caller of an HTTP function in envelope mode gets: the output `res`, else nothing but 200 and `{}`.
///
/// # Errors
/// Why the output is no HTTP result.
pub(super) fn response(output: Option<&Value>) -> Result<Response, String> {
    let Some(output) = output.filter(|output| !output.is_null()) else { return Ok("{}".into_response()) };
    let members = output.as_object().ok_or("the http output is not an object")?;
    let member = |name: &str| {
        members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).filter(|v| !v.is_null())
    };
    // `status` alone is ignored, as by the host.
    let status = match member("statusCode") {
        None => 200,
        Some(Value::String(text)) => text.parse().map_err(|_| format!("statusCode is \"{text}\""))?,
        Some(value) => value.as_u64().and_then(|code| u16::try_from(code).ok()).ok_or("statusCode is not a number")?,
    };
    let body = match member("body") {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => serde_json::to_string_pretty(value).unwrap_or_default(),
    };
    let mut response = Response::builder().status(status);
    let headers = member("headers").and_then(Value::as_object);
    for (name, value) in headers.into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        response = response.header(name, text);
    }
    if response.headers_ref().is_some_and(|headers| !headers.contains_key(header::CONTENT_TYPE)) {
        response = response.header(header::CONTENT_TYPE, "text/plain; charset=utf-8");
    }
    response.body(Body::from(body)).map_err(|error| error.to_string())
}
