//! Answers: statuses, headers and bodies as they were recorded from the service.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::digital_twins::{error::Error, id::ETag};

const JSON: &str = "application/json; charset=utf-8";
const PROBLEM: &str = "application/problem+json; charset=utf-8";
/// What the gateway in front of the service answers in.
const GATEWAY_JSON: &str = "application/json";

/// The gateway's bodies have spaces in them; the service's have none.
const UNAUTHORIZED: &str = r#"{ "statusCode": 401, "message": "Unauthorized" }"#;
const NO_RESOURCE: &str = r#"{ "statusCode": 404, "message": "Resource not found" }"#;
const THROTTLED: &str = r#"{ "error": { "statusCode": 429, "message": "Maximum request rate limit reached. For Azure Digital Twins rate limiting details please see http://aka.ms/dtv2limits." } }"#;

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    status: StatusCode,
    headers: Vec<(HeaderName, String)>,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Reply {
    /// A JSON document.
    pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => Self { status, headers: Vec::new(), content_type: JSON, body },
            // The documents have text keys and finite numbers only; should one not, say so instead of lying.
            Err(error) => Self {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                headers: Vec::new(),
                content_type: "text/plain",
                body: error.to_string().into_bytes(),
            },
        }
    }

    /// 200 and a JSON document.
    pub(super) fn ok(body: &impl Serialize) -> Self {
        Self::json(StatusCode::OK, body)
    }

    /// 204.
    pub(super) fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, headers: Vec::new(), content_type: "", body: Vec::new() }
    }

    /// This answer with the version of what it is about.
    pub(super) fn with_etag(self, etag: &ETag) -> Self {
        self.with_header(header::ETAG, etag.as_str().to_owned())
    }

    /// This answer with one more header.
    pub(super) fn with_header(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// What the service says about an error.
    pub(super) fn error(error: &Error, traces: &Traces) -> Self {
        if let Error::MalformedPatch { key, message } = error {
            return Self::problem(key, message, traces);
        }
        let (status, code) = (status(error.status()), error.code());
        let message = error.to_string();
        let reply = match error {
            // Recorded: a JSON text that holds JSON.
            Error::JobRunning => {
                Self::json(status, &json!({ "error": { "code": code, "message": message } }).to_string())
            }
            _ => Self::service_error(status, code, &message, error.details()),
        };
        // What the service's web framework finds in requests before the service sees them has no such header, nor has
        // what is said of jobs.
        match error {
            Error::NoBody | Error::JobRunning | Error::JobNotFound(_) | Error::JobExists(_) => reply,
            _ => reply.with_header(HeaderName::from_static("x-ms-error-code"), code.to_owned()),
        }
    }

    fn service_error(status: StatusCode, code: &str, message: &str, details: &[String]) -> Self {
        let details = details.iter().map(|message| Fault { code, message, details: Vec::new() }).collect();
        Self::json(status, &ErrorBody { error: Fault { code, message, details } })
    }

    /// What the service's web framework (ASP.NET Core) says about a patch document that it cannot read.
    fn problem(key: &str, message: &str, traces: &Traces) -> Self {
        let problem = json!({
            "errors": { key: [message], "jsonPatchDocument": ["The jsonPatchDocument field is required."] },
            "type": "https://tools.ietf.org/html/rfc7231#section-6.5.1",
            "title": "One or more validation errors occurred.",
            "status": 400,
            "detail": null,
            "instance": null,
            "extensions": { "traceId": format!("00-{}-{}-00", traces.trace_id, new_span()) },
        });
        Self { content_type: PROBLEM, ..Self::json(StatusCode::BAD_REQUEST, &problem) }
    }

    /// The gateway's answer to a missing or bad token.
    pub(super) fn unauthorized() -> Self {
        Self::gateway(StatusCode::UNAUTHORIZED, UNAUTHORIZED)
    }

    /// The gateway's answer to a method and path that no operation has. Not recorded from Azure Digital Twins: it is
    /// what Azure API Management answers.
    pub(super) fn no_resource() -> Self {
        Self::gateway(StatusCode::NOT_FOUND, NO_RESOURCE)
    }

    /// What the gate has a request answered with. Too many requests are answered by the gateway; how the service
    /// words its other troubles is not recorded, their shape is that of its errors.
    pub(super) fn refused(status: StatusCode, retry_after: Option<Duration>) -> Self {
        let reply = if status == StatusCode::TOO_MANY_REQUESTS {
            Self::gateway(status, THROTTLED)
        } else {
            let reason = status.canonical_reason().unwrap_or("Fault");
            let code: String = reason.split(' ').collect();
            Self::service_error(status, &code, &format!("{reason}: a fault that was asked for."), &[])
        };
        match retry_after {
            Some(wait) => reply.with_header(header::RETRY_AFTER, wait.as_millis().div_ceil(1_000).to_string()),
            None => reply,
        }
    }

    fn gateway(status: StatusCode, body: &'static str) -> Self {
        Self { status, headers: Vec::new(), content_type: GATEWAY_JSON, body: body.into() }
    }

    /// No `api-version`. What the service answers is not known: these are the code and text of ASP.NET Core's
    /// API versioning, which services of this kind use.
    pub(super) fn no_version() -> Self {
        let message = "An API version is required, but was not specified.";
        Self::service_error(StatusCode::BAD_REQUEST, "ApiVersionUnspecified", message, &[])
    }

    /// An `api-version` that is none; code and text as for [`Reply::no_version`].
    pub(super) fn unknown_version(path: &str, version: &str) -> Self {
        let message = format!(
            "The HTTP resource that matches the request URI '{path}' does not support the API version '{version}'."
        );
        Self::service_error(StatusCode::BAD_REQUEST, "UnsupportedApiVersion", &message, &[])
    }

    /// A body over the limit. The limit is documented, the service's answer is not known; this one is local-azure's.
    pub(super) fn too_large(limit: usize) -> Self {
        let message = format!("The request body is larger than {limit} bytes.");
        Self::service_error(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge", &message, &[])
    }

    /// The answer as it goes out, with what every answer has.
    pub(super) fn into_response(self, traces: &Traces) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if !self.content_type.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        }
        let correlation = (HeaderName::from_static("mise-correlation-id"), Uuid::new_v4().to_string());
        for (name, value) in self.headers.into_iter().chain(traces.header()).chain([correlation]) {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        response.into_response()
    }
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The trace that a request belongs to (W3C Trace Context): the client's, or one of its own.
#[derive(Debug)]
pub(super) struct Traces {
    trace_id: String,
    is_clients: bool,
}

impl Traces {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let parent = headers.get("traceparent").and_then(|value| value.to_str().ok());
        let trace_id = parent
            .and_then(|parent| parent.split('-').nth(1))
            .filter(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f')));
        match trace_id {
            Some(trace_id) => Self { trace_id: trace_id.to_owned(), is_clients: true },
            None => Self { trace_id: Uuid::new_v4().simple().to_string(), is_clients: false },
        }
    }

    /// `traceresponse`: the same trace, a new span.
    fn header(&self) -> Option<(HeaderName, String)> {
        let value = format!("00-{}-{}-01", self.trace_id, new_span());
        self.is_clients.then(|| (HeaderName::from_static("traceresponse"), value))
    }
}

fn new_span() -> String {
    format!("{:016x}", fastrand::u64(1..))
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: Fault<'a>,
}

#[derive(Serialize)]
struct Fault<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<Fault<'a>>,
}

/// A page of models, event routes or jobs: values first.
#[derive(Debug, Serialize)]
pub(super) struct ValuesFirst<T> {
    pub(super) value: Vec<T>,
    #[serde(rename = "nextLink")]
    pub(super) next_link: Option<String>,
}

/// A page of relationships: the link first, as recorded.
#[derive(Debug, Serialize)]
pub(super) struct LinkFirst<T> {
    #[serde(rename = "nextLink")]
    pub(super) next_link: Option<String>,
    pub(super) value: Vec<T>,
}
