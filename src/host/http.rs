//! HTTP functions: their requests and answers, whether the host passes them on raw or in its envelope.

use axum::http::StatusCode;
use bytes::Bytes;
use serde::Serialize;

/// A request to an HTTP function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// The caller's body; empty when there was none, or when the host lost it
    /// (Azure/azure-functions-host issue 7930: chunked requests).
    pub body: Bytes,
}

/// The answer of an HTTP function: a status and a JSON body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status that the caller gets.
    pub status: StatusCode,
    /// JSON text.
    pub body: String,
}

impl HttpAnswer {
    /// An answer with `document` as JSON.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn json(status: StatusCode, document: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self { status, body: serde_json::to_string(document)? })
    }

    /// An answer that says in one line why there is no better one: `{"message": ...}`.
    #[must_use]
    pub fn reason(status: StatusCode, message: &str) -> Self {
        Self { status, body: serde_json::json!({ "message": message }).to_string() }
    }
}
