//! `/control/faults`: what is to go wrong on purpose.
//!
//! ```json
//! { "service": "digital-twins", "operation": "DigitalTwins_Update", "effect": {"status": 503, "retryAfterS": 2},
//!   "probability": 0.2, "count": 100, "seed": 7 }
//! ```

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde_json::json;

use crate::gate::{Fault, Gate};

pub(super) fn router(gate: Arc<Gate>) -> Router {
    Router::new().route("/control/faults", get(list).post(inject).delete(clear)).with_state(gate)
}

async fn list(State(gate): State<Arc<Gate>>) -> Response {
    Json(gate.faults()).into_response()
}

async fn inject(State(gate): State<Arc<Gate>>, body: Bytes) -> Response {
    let fault = match serde_json::from_slice::<Fault>(&body) {
        Ok(fault) => fault,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, &format!("not a fault: {error}")),
    };
    match gate.inject(fault) {
        Ok(id) => (StatusCode::CREATED, Json(json!({ "id": id }))).into_response(),
        Err(error) => refusal(StatusCode::CONFLICT, &error.to_string()),
    }
}

async fn clear(State(gate): State<Arc<Gate>>) -> StatusCode {
    gate.clear();
    StatusCode::NO_CONTENT
}

fn refusal(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "message": message }))).into_response()
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, to_bytes},
        http::{Method, Request},
    };
    use serde_json::Value;
    use tower::ServiceExt as _;

    use super::*;
    use crate::gate::{self, Class, Service};

    async fn call(gate: &Arc<Gate>, method: Method, body: Value) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri("/control/faults").body(Body::from(body.to_string()));
        let response = router(Arc::clone(gate)).oneshot(request.unwrap()).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn a_fault_is_switched_on_told_and_switched_off() {
        let gate = Arc::new(Gate::default());
        let fault = json!({ "service": "dps", "effect": { "status": 503 } });
        let (status, answer) = call(&gate, Method::POST, fault).await;
        assert_eq!(status, StatusCode::CREATED);
        let request = gate::Request { service: Service::Dps, operation: "Connect", class: Class::Other, subject: "" };
        assert!(gate.pass(request).await.is_err());
        let (_, list) = call(&gate, Method::GET, Value::Null).await;
        assert_eq!((&list[0]["id"], &list[0]["fired"]), (&answer["id"], &json!(1)));
        assert_eq!(call(&gate, Method::DELETE, Value::Null).await.0, StatusCode::NO_CONTENT);
        assert!(gate.pass(request).await.is_ok());
    }

    #[tokio::test]
    async fn an_unknown_member_or_service_is_a_bad_request() {
        let gate = Arc::new(Gate::default());
        for fault in [
            json!({ "service": "dps", "effect": { "reset": true }, "often": 1 }),
            json!({ "service": "cosmos", "effect": { "reset": true } }),
            json!({ "service": "dps" }),
        ] {
            assert_eq!(call(&gate, Method::POST, fault).await.0, StatusCode::BAD_REQUEST);
        }
        assert!(gate.faults().is_empty());
    }
}
