//! Answers and errors as SDKs read them.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{front, iot_hub::Error};

/// A document with its ETag.
pub(super) struct Tagged(pub(super) Value);

impl IntoResponse for Tagged {
    fn into_response(self) -> Response {
        let etag = self.0.get("etag").and_then(Value::as_str).and_then(|etag| {
            // A value of ours: Base64.
            HeaderValue::from_str(&format!("\"{etag}\"")).ok()
        });
        let mut response = Json(self.0).into_response();
        if let Some(etag) = etag {
            response.headers_mut().insert(header::ETAG, etag);
        }
        response
    }
}

/// Two envelopes are in use: operations on modules have the newer one, calls of methods have it as text within the
/// older. Node's SDK finds the name of an error by
/// splitting `Message` at the colon and the semicolon.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if self == Self::NoAnswer {
            return front::no_answer();
        }
        let status = u16::try_from(self.code() / 1000).ok().and_then(|status| StatusCode::from_u16(status).ok());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let tracking = Uuid::new_v4().simple().to_string().to_uppercase();
        let now = Timestamp::now();
        let numbered = json!({
            "errorCode": self.code(),
            "message": self.to_string(),
            "trackingId": tracking,
            "timestampUtc": format!("{now:.7}"),
        });
        let body = match &self {
            Self::ModuleNotFound(_) | Self::ModuleAlreadyExists(..) => numbered,
            Self::DeviceNotOnline(_) | Self::MethodTimeout(..) | Self::UnusableAnswer(..) => {
                json!({ "Message": numbered.to_string(), "ExceptionMessage": "" })
            }
            _ => json!({
                "Message": format!("ErrorCode:{};{self}", self.name()),
                "ExceptionMessage": format!("Tracking ID:{tracking}-G:0-TimeStamp:{now:.7}"),
            }),
        };
        let mut response = (status, [("iothub-errorcode", self.name())], Json(body)).into_response();
        let wait = match &self {
            Self::Throttled { retry_after } => Some(retry_after.as_secs().max(1)),
            Self::Faulty { retry_after, .. } => retry_after.map(|wait| wait.as_secs()),
            _ => None,
        };
        if let Some(seconds) = wait {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
