//! Answers and errors as SDKs read them.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{dps::RegistrationIdError, front, gate, sas};

/// A request of a service is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("Unauthorized: {0}")]
    Unauthorized(String),
    #[error("{0}")]
    Invalid(String),
    #[error("there is no enrollment {0}")]
    EnrollmentNotFound(String),
    #[error("there is no enrollment group {0}")]
    GroupNotFound(String),
    #[error("there is no registration of {0}")]
    RegistrationNotFound(String),
    #[error("there is an enrollment {0} already; name its ETag in If-Match to change it")]
    Exists(String),
    #[error("the ETag in If-Match is not that of the record")]
    PreconditionFailed,
    #[error("the gate refused the request")]
    Refused(gate::Refusal),
    #[error("the connection ends without an answer")]
    NoAnswer,
}

impl Error {
    /// The numbers of what is not found are those of the SDKs' error codes; the others are chosen alike.
    pub(super) fn code(&self) -> u32 {
        match self {
            Self::Unauthorized(_) => 401_002,
            Self::Invalid(_) => 400_004,
            Self::EnrollmentNotFound(_) => 404_201,
            Self::RegistrationNotFound(_) => 404_202,
            Self::GroupNotFound(_) => 404_204,
            Self::Exists(_) => 409_201,
            Self::PreconditionFailed => 412_000,
            Self::Refused(gate::Refusal::Status { status, .. }) => u32::from(status.as_u16()) * 1_000 + 1,
            Self::Refused(gate::Refusal::Reset) | Self::NoAnswer => 500_000,
        }
    }
}

impl From<gate::Refusal> for Error {
    fn from(refusal: gate::Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<sas::Refusal> for Error {
    fn from(refusal: sas::Refusal) -> Self {
        Self::Unauthorized(refusal.to_string())
    }
}

impl From<RegistrationIdError> for Error {
    fn from(error: RegistrationIdError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if matches!(self, Self::NoAnswer | Self::Refused(gate::Refusal::Reset)) {
            return front::no_answer();
        }
        let status = u16::try_from(self.code() / 1000).ok().and_then(|status| StatusCode::from_u16(status).ok());
        let body = json!({
            "errorCode": self.code(),
            "trackingId": Uuid::new_v4(),
            "message": self.to_string(),
            "timestampUtc": format!("{:.7}", Timestamp::now()),
        });
        let mut response = (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(body)).into_response();
        if let Self::Refused(gate::Refusal::Status { retry_after: Some(wait), .. }) = self {
            response.headers_mut().insert(header::RETRY_AFTER, wait.as_secs().into());
        }
        response
    }
}

/// A document with its ETag, which it holds in quotes.
pub(super) struct Tagged(pub(super) Value);

impl IntoResponse for Tagged {
    fn into_response(self) -> Response {
        let etag = self.0.get("etag").and_then(Value::as_str).and_then(|etag| HeaderValue::from_str(etag).ok());
        let mut response = Json(self.0).into_response();
        if let Some(etag) = etag {
            response.headers_mut().insert(header::ETAG, etag);
        }
        response
    }
}
