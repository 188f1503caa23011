//! Requests to HTTP functions passed on as they are, and answers passed back.
//!
//! Source: azure-functions-host, `DefaultHttpWorkerService.cs` (forwarding), `DefaultHttpProxyService.cs` (proxying).

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use url::form_urlencoded;
use uuid::Uuid;

use super::super::{
    app::RawHttp,
    envelope::{HttpRequest, joined_query},
    invoker::{HOST_VERSION, INVOCATION_ID, USER_AGENT, VERSION, chunked},
};

/// Headers that are about one connection, not about the request (RFC 9110, section 7.6.1).
const CONNECTION_HEADERS: [HeaderName; 8] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// The request as the handler gets it on `port`.
pub(super) fn request(
    client: &reqwest::Client,
    port: u16,
    mode: RawHttp,
    id: Uuid,
    request: HttpRequest,
) -> reqwest::RequestBuilder {
    let has_length = request.headers.contains_key(header::CONTENT_LENGTH);
    let is_chunked = request.headers.contains_key(header::TRANSFER_ENCODING);
    let query = match mode {
        RawHttp::Forwarding => rebuilt_query(&request.url),
        RawHttp::Proxying | RawHttp::Off => request.url.query().map(str::to_owned),
    };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let url = format!("http://127.0.0.1:{port}{}{query}", request.url.path());
    let builder = client.request(request.method, url).headers(headers(request.headers, mode, id));
    match mode {
        _ if has_length => builder.body(request.body),
        // Forwarding looks at the length to know whether there is a body: a chunked one is lost.
        RawHttp::Proxying if is_chunked => builder.body(chunked(request.body)),
        _ => builder,
    }
}

/// The handler's answer as the caller gets it.
pub(super) fn response(answer: reqwest::Response) -> Response {
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    remove_connection_headers(&mut headers);
    (status, headers, Body::from_stream(answer.bytes_stream())).into_response()
}

fn headers(mut headers: HeaderMap, mode: RawHttp, id: Uuid) -> HeaderMap {
    remove_connection_headers(&mut headers);
    headers.remove(header::CONTENT_LENGTH);
    // A UUID is always a valid header value.
    let id = HeaderValue::from_maybe_shared(Bytes::from(id.to_string())).unwrap_or(HeaderValue::from_static(""));
    headers.insert(INVOCATION_ID, id.clone());
    headers.insert(VERSION, HeaderValue::from_static(HOST_VERSION));
    if mode == RawHttp::Proxying {
        headers.insert("x-ms-invocation-id", id);
    } else {
        let own = headers.get(header::USER_AGENT).map(HeaderValue::as_bytes);
        let both = own.map(|own| [own, b" ", USER_AGENT.as_bytes()].concat());
        let both = both.and_then(|both| HeaderValue::from_maybe_shared(Bytes::from(both)).ok());
        headers.insert(header::USER_AGENT, both.unwrap_or(HeaderValue::from_static(USER_AGENT)));
    }
    headers
}

fn remove_connection_headers(headers: &mut HeaderMap) {
    for name in CONNECTION_HEADERS {
        headers.remove(name);
    }
}

/// Forwarding takes the query apart and puts it together again, repeated parameters joined with commas.
fn rebuilt_query(url: &url::Url) -> Option<String> {
    url.query()?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in &joined_query(url) {
        query.append_pair(name, value.as_str().unwrap_or_default());
    }
    Some(query.finish())
}
