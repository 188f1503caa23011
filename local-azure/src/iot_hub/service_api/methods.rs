//! Calls of direct methods (IoT Hub: service REST API, Devices - Invoke Method).

use std::time::Duration;

use axum::{Json, body::Bytes};
use serde::Deserialize;
use serde_json::{Value, json};

use super::request::{Admitted, ServiceConnect, json};
use crate::iot_hub::{Address, Error, MethodCall};

/// Both documented, in seconds.
const RESPONSE_TIMEOUTS: std::ops::RangeInclusive<u64> = 5..=300;
const LONGEST_CONNECT_TIMEOUT: u64 = 300;
const RESPONSE_TIMEOUT: u64 = 30;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    method_name: String,
    #[serde(default)]
    payload: Value,
    response_timeout_in_seconds: Option<u64>,
    connect_timeout_in_seconds: Option<u64>,
}

impl Wanted {
    fn call(self) -> Result<MethodCall, Error> {
        let response = self.response_timeout_in_seconds.unwrap_or(RESPONSE_TIMEOUT);
        let connect = self.connect_timeout_in_seconds.unwrap_or_default();
        let invalid = |reason: &str| Err(Error::ArgumentInvalid(reason.to_owned()));
        if self.method_name.is_empty() || self.method_name.len() > 100 {
            return invalid("methodName must have 1 to 100 characters");
        }
        if !RESPONSE_TIMEOUTS.contains(&response) {
            return invalid("responseTimeoutInSeconds must be from 5 to 300");
        }
        if connect > LONGEST_CONNECT_TIMEOUT {
            return invalid("connectTimeoutInSeconds must be from 0 to 300");
        }
        Ok(MethodCall {
            name: self.method_name,
            payload: self.payload,
            connect_timeout: Duration::from_secs(connect),
            response_timeout: Duration::from_secs(response),
        })
    }
}

pub(super) async fn call(hub: Admitted<ServiceConnect>, at: Address, body: Bytes) -> Result<Json<Value>, Error> {
    let wanted = json(&body)?;
    if !wanted.is_object() {
        return Err(Error::ArgumentInvalid("a call must be a JSON object".into()));
    }
    let wanted: Wanted =
        serde_json::from_value(wanted).map_err(|error| Error::ArgumentInvalid(format!("not a call: {error}")))?;
    let answer = hub.call_method(&at, wanted.call()?).await?;
    Ok(Json(json!({ "status": answer.status, "payload": answer.payload })))
}
