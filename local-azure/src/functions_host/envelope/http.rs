//! Invocations of HTTP triggers in an envelope.

use axum::http::{HeaderMap, HeaderName, Method, header};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use super::{System, envelope, merge_body, quoted};

/// A request to an HTTP function.
#[derive(Debug, Clone)]
pub(in crate::functions_host) struct HttpRequest {
    pub(in crate::functions_host) method: Method,
    /// With scheme and host.
    pub(in crate::functions_host) url: url::Url,
    pub(in crate::functions_host) headers: HeaderMap,
    /// Whether a function key let the caller in.
    pub(in crate::functions_host) has_key: bool,
    pub(in crate::functions_host) body: Bytes,
}

/// The body for a request; `name` is the trigger's.
pub(in crate::functions_host) fn http_request(name: &str, request: &HttpRequest, system: System) -> Vec<u8> {
    let query = joined_query(&request.url);
    let mut data = json!({
        "Url": request.url.as_str(),
        "Method": request.method.as_str(),
        "Query": query,
        "Headers": headers(&request.headers, |values| json!(values)),
        "Params": {},
        "Identities": if request.has_key { json!([identity()]) } else { json!([]) },
    });
    // The host reads a body only where the caller said how long it is: chunked ones are lost.
    let text = request.headers.contains_key(header::CONTENT_LENGTH).then(|| body_text(request));
    let mut metadata = Map::new();
    if let Some(text) = text {
        if let Ok(body) = serde_json::from_str(&text) {
            merge_body(&mut metadata, &body);
        }
        if let Value::Object(data) = &mut data {
            data.insert("Body".to_owned(), json!(text));
        }
    }
    for (name, value) in query.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("code")) {
        super::insert(&mut metadata, name, quoted(value));
    }
    metadata.insert("Query".to_owned(), json!(query));
    metadata.insert("Headers".to_owned(), headers(&request.headers, |values| json!(values.join(", "))));
    metadata.insert("sys".to_owned(), system.to_json());
    envelope(name, data, metadata)
}

/// Query parameters; the values of repeated ones joined with commas.
pub(in crate::functions_host) fn joined_query(url: &url::Url) -> Map<String, Value> {
    let mut query = Map::new();
    for (name, value) in form_urlencoded::parse(url.query().unwrap_or_default().as_bytes()) {
        match query.get_mut(name.as_ref()) {
            Some(Value::String(values)) => {
                values.push(',');
                values.push_str(&value);
            }
            _ => drop(query.insert(name.into_owned(), json!(value))),
        }
    }
    query
}

fn headers(headers: &HeaderMap, value: impl Fn(&[String]) -> Value) -> Value {
    let texts = |name| {
        let values = headers.get_all(name).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect::<Vec<_>>()
    };
    headers.keys().map(|name| (train_case(name), value(&texts(name)))).collect::<Map<_, _>>().into()
}

/// `content-type` as `Content-Type`.
fn train_case(name: &HeaderName) -> String {
    let word = |word: &str| match word.split_at_checked(1) {
        Some((first, rest)) => first.to_ascii_uppercase() + rest,
        None => String::new(),
    };
    name.as_str().split('-').map(word).collect::<Vec<_>>().join("-")
}

/// Base64 for bytes, text otherwise.
fn body_text(request: &HttpRequest) -> String {
    let content_type = request.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_ascii_lowercase();
    if content_type.starts_with("application/octet-stream") || content_type.starts_with("multipart/") {
        BASE64_STANDARD.encode(&request.body)
    } else {
        String::from_utf8_lossy(&request.body).into_owned()
    }
}

/// What .NET tells of a caller without a name.
fn identity() -> Value {
    json!({
        "AuthenticationType": null,
        "IsAuthenticated": false,
        "Actor": null,
        "BootstrapContext": null,
        "Claims": [],
        "Label": null,
        "Name": null,
        "NameClaimType": "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name",
        "RoleClaimType": "http://schemas.microsoft.com/ws/2008/06/identity/claims/role",
    })
}
