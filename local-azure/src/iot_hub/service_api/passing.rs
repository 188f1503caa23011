//! The way of a request through the gate.

use axum::{
    body::{Body, to_bytes},
    extract::{RawPathParams, Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use super::BODY_BYTES;
use crate::{
    front,
    gate::Service,
    iot_hub::{
        Error,
        hubs::{Hubs, hub_for},
        operation::Operation,
    },
};

/// In pieces of this size the payloads of calls are counted (IoT Hub: quotas and throttling, throttling meter size).
const METER_BYTES: usize = 4 * 1024;

/// Lets a request through to its operation, and its answer out, where the gate has nothing against it.
pub(super) async fn pass(
    State((hubs, operation)): State<(Hubs, Operation)>,
    parameters: RawPathParams,
    request: Request,
    next: Next,
) -> Response {
    // A request for no hub is refused by its operation, and counts for the first.
    let Some(hub) = hub_for(&hubs, request.headers()).or(hubs.first()) else { return next.run(request).await };
    let subject = parameters.iter().find(|(name, _)| *name == "device").map_or("", |(_, device)| device);
    let (units, request) = if hub.gate.has_limits(Service::IotHub) {
        match weigh(operation, request).await {
            Ok(weighed) => weighed,
            Err(status) => return status.into_response(),
        }
    } else {
        (1, request)
    };
    match hub.pass(operation, subject, units).await {
        Ok(passage) => {
            let response = next.run(request).await;
            if passage.is_answered().await { response } else { front::no_answer() }
        }
        Err(refusal) => Error::from(refusal).into_response(),
    }
}

/// How much of its throttle a request takes.
async fn weigh(operation: Operation, request: Request) -> Result<(u32, Request), StatusCode> {
    if !matches!(operation, Operation::BulkDevices | Operation::InvokeMethod | Operation::InvokeModuleMethod) {
        return Ok((1, request));
    }
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_BYTES).await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
    let units = if operation == Operation::BulkDevices { devices(&body) } else { meters(&body) };
    Ok((u32::try_from(units).unwrap_or(u32::MAX).max(1), Request::from_parts(parts, Body::from(body))))
}

/// How many devices a bulk operation is about.
fn devices(body: &[u8]) -> usize {
    serde_json::from_slice::<Vec<IgnoredAny>>(body).map_or(0, |devices| devices.len())
}

/// How many pieces the payload of a call has.
fn meters(body: &[u8]) -> usize {
    #[derive(Deserialize)]
    struct Call {
        #[serde(default)]
        payload: Value,
    }
    serde_json::from_slice::<Call>(body).map_or(0, |call| call.payload.to_string().len().div_ceil(METER_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bulk_operations_count_by_device_and_calls_by_four_kilobytes_of_payload() {
        let call = |bytes: usize| serde_json::json!({ "methodName": "m", "payload": "x".repeat(bytes) }).to_string();
        for (operation, body, expected) in [
            (Operation::BulkDevices, r#"[{"id": "a"}, {"id": "b"}, 3]"#.to_owned(), 3),
            (Operation::BulkDevices, "[]".to_owned(), 1),
            (Operation::BulkDevices, "not JSON".to_owned(), 1),
            (Operation::InvokeMethod, r#"{"methodName": "m"}"#.to_owned(), 1),
            (Operation::InvokeMethod, call(4 * 1024 - 2), 1),
            (Operation::InvokeMethod, call(4 * 1024 - 1), 2),
            (Operation::InvokeModuleMethod, call(128 * 1024 - 2), 32),
            (Operation::GetDevice, String::new(), 1),
        ] {
            let request = Request::new(Body::from(body.clone()));
            let (units, request) = weigh(operation, request).await.unwrap();
            assert_eq!(units, expected, "{operation:?} {:.40}", body);
            assert_eq!(to_bytes(request.into_body(), usize::MAX).await.unwrap(), body);
        }
        let too_large = Request::new(Body::from(vec![b' '; BODY_BYTES + 1]));
        assert_eq!(weigh(Operation::BulkDevices, too_large).await.unwrap_err(), StatusCode::PAYLOAD_TOO_LARGE);
    }
}
