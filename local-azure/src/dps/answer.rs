//! What devices are answered (DPS: MQTT support; device API 2019-03-31).

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    EnrollmentName,
    registration::{Operation, Outcome, Registration},
};
use crate::gate;

/// A request is refused: what its body says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("Unauthorized")]
    WrongToken,
    #[error("Unauthorized")]
    UnknownIdScope,
    /// Code and text as logs of the service have them (azure-iot-sdk-c, provisioning client).
    #[error("Invalid certificate.")]
    InvalidCertificate,
    /// As the service says it (azure-iot-sdk-c issue 1900, azure-iot-sdk-csharp issue 1040).
    #[error("CA certificate not found.")]
    NoAuthority,
    #[error("the body must be empty or a JSON object with the registrationId of the connection")]
    BadRequest,
    #[error("the query must have an api-version")]
    NoApiVersion,
    #[error("the path must have a registration id of up to 128 letters, digits and - . _ :")]
    InvalidId,
    #[error("there is no such operation for this device; register again")]
    NoSuchOperation,
    #[error("the device has not registered")]
    NotRegistered,
    #[error("there is no enrollment for this device")]
    NotEnrolled,
    #[error("Operations are being throttled for this tenant.")]
    Throttled { retry_after_s: u64 },
    /// A fault that was asked for: this HTTP status.
    #[error("{}: a fault that was asked for.", .status.canonical_reason().unwrap_or("Fault"))]
    Faulty { status: StatusCode, retry_after_s: Option<u64> },
    /// The connection is to end without an answer.
    #[error("the connection ends without an answer")]
    NoAnswer,
}

impl From<gate::Refusal> for Refusal {
    fn from(refusal: gate::Refusal) -> Self {
        match refusal {
            gate::Refusal::Status { status: StatusCode::TOO_MANY_REQUESTS, retry_after } => {
                Self::Throttled { retry_after_s: retry_after.unwrap_or_default().as_secs().max(1) }
            }
            gate::Refusal::Status { status, retry_after } => {
                Self::Faulty { status, retry_after_s: retry_after.map(|wait| wait.as_secs()) }
            }
            gate::Refusal::Reset => Self::NoAnswer,
        }
    }
}

/// What a device is answered over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    Mqtt,
    Https,
}

impl Refusal {
    fn code(self, over: Over) -> u32 {
        match (self, over) {
            // Both recorded; an unknown id scope is not documented.
            (Self::WrongToken, Over::Mqtt) => 401_000,
            (Self::WrongToken, Over::Https) => 401_002,
            (Self::UnknownIdScope | Self::InvalidCertificate | Self::NoAuthority, _) => 401_002,
            (Self::BadRequest | Self::NoApiVersion | Self::InvalidId, _) => 400_004,
            (Self::NotEnrolled, _) => 404_201,
            (Self::NotRegistered, _) => 404_202,
            (Self::NoSuchOperation, _) => 404_204,
            (Self::Throttled { .. }, _) => 429_001,
            (Self::Faulty { status, .. }, _) => u32::from(status.as_u16()) * 1_000,
            (Self::NoAnswer, _) => 500_000,
        }
    }

    pub(super) fn status(self, over: Over) -> StatusCode {
        let status = u16::try_from(self.code(over) / 1000).ok().and_then(|status| StatusCode::from_u16(status).ok());
        status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// When to come back, where that helps.
    pub(super) fn retry_after_s(self) -> Option<u64> {
        match self {
            Self::Throttled { retry_after_s } => Some(retry_after_s),
            Self::Faulty { retry_after_s, .. } => retry_after_s,
            _ => None,
        }
    }

    pub(super) fn body(self, over: Over, now: Timestamp) -> Value {
        json!({
            "errorCode": self.code(over),
            "trackingId": Uuid::new_v4(),
            "message": self.to_string(),
            "timestampUtc": format!("{now:.7}"),
        })
    }
}

/// How an operation stands. A poll while it goes on has a registration state already, the answer to register does
/// not.
pub(super) fn operation(registration: &Registration, operation: &Operation) -> Value {
    let status = status(operation.outcome.as_ref());
    json!({
        "operationId": operation.id,
        "status": status,
        "registrationState": registration_state(registration, operation.outcome.as_ref()),
    })
}

pub(super) fn assigning(operation_id: &str) -> Value {
    json!({ "operationId": operation_id, "status": "assigning" })
}

fn status(outcome: Option<&Outcome>) -> &'static str {
    match outcome {
        None => "assigning",
        Some(Outcome::Assigned { .. }) => "assigned",
        Some(Outcome::Failed(_)) => "failed",
        Some(Outcome::Disabled) => "disabled",
    }
}

pub(super) fn registration_state(registration: &Registration, outcome: Option<&Outcome>) -> Value {
    let mut state = Map::new();
    let mut put = |name: &str, value: Value| state.insert(name.to_owned(), value);
    if registration.by_certificate {
        // In front of all others, as in logs of the service: a group's id, or nothing.
        put(
            "x509",
            match &registration.enrollment {
                Some(EnrollmentName::Group(id)) => json!({ "enrollmentGroupId": id }),
                _ => json!({}),
            },
        );
    }
    put("registrationId", registration.id.as_str().into());
    if matches!(outcome, None | Some(Outcome::Disabled)) {
        put("status", status(outcome).into());
        return state.into();
    }
    put("createdDateTimeUtc", format!("{:.7}", registration.created).into());
    if let (Some(Outcome::Assigned { .. }), Some(assignment)) = (outcome, &registration.assignment) {
        put("assignedHub", assignment.hub.as_str().into());
        put("deviceId", assignment.device.as_str().into());
    }
    put("status", status(outcome).into());
    match outcome {
        Some(Outcome::Assigned { .. }) => {
            put("substatus", json!(registration.assignment.as_ref().map(|assignment| assignment.substatus)));
        }
        Some(Outcome::Failed(failure)) => {
            put("errorCode", failure.code.into());
            put("errorMessage", failure.message.as_str().into());
        }
        _ => {}
    }
    put("lastUpdatedDateTimeUtc", format!("{:.7}", registration.updated).into());
    put("etag", registration.etag.as_str().into());
    if let Some(Outcome::Assigned { payload: Some(payload) }) = outcome {
        put("payload", payload.clone());
    }
    state.into()
}
