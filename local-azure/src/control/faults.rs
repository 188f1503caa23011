//! `/control/faults`: what is to go wrong on purpose.
//!
//! ```json
//! { "service": "digital-twins", "operation": "DigitalTwins_Update", "effect": {"status": 503, "retryAfterS": 2},
//!   "probability": 0.2, "count": 100, "seed": 7 }
//! ```

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde_json::json;

use crate::{Faults, InjectError, gate::Fault};

pub(super) fn router(faults: Faults) -> Router {
    Router::new().route("/control/faults", get(list).post(inject).delete(clear)).with_state(faults)
}

async fn list(State(faults): State<Faults>) -> Response {
    Json(faults.all()).into_response()
}

async fn inject(State(faults): State<Faults>, body: Bytes) -> Response {
    let fault = match serde_json::from_slice::<Fault>(&body) {
        Ok(fault) => fault,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, &format!("not a fault: {error}")),
    };
    match faults.inject(fault) {
        Ok(id) => (StatusCode::CREATED, Json(json!({ "id": id }))).into_response(),
        Err(error @ InjectError::TooMany(_)) => refusal(StatusCode::CONFLICT, &error.to_string()),
        Err(error) => refusal(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

async fn clear(State(faults): State<Faults>) -> StatusCode {
    faults.clear();
    StatusCode::NO_CONTENT
}

fn refusal(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "message": message }))).into_response()
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

    use axum::{
        body::{Body, to_bytes},
        http::{Method, Request},
    };
    use serde_json::Value;
    use tokio_util::sync::CancellationToken;
    use tower::ServiceExt as _;

    use super::*;
    use crate::{
        clock::Clock,
        functions_host::{
            Blobs, Config, Containers, FunctionKey, FunctionsHost, Program,
            app::{App, AppSettings},
        },
        gate::{self, Class, Gate, Service},
    };

    /// A gate, and the faults of a local-azure whose app has no functions.
    fn faults() -> (Arc<Gate>, Faults) {
        let gate = Arc::new(Gate::default());
        let config = Config {
            app: App::new(PathBuf::from("."), r#"{"customHandler": {}}"#, [], AppSettings::default()).unwrap(),
            handler: Some(Program { path: PathBuf::new(), arguments: Vec::new() }),
            instances: NonZeroUsize::MIN,
            own_settings: Vec::new(),
            function_key: FunctionKey::new("key"),
            event_hubs: Vec::new(),
            event_hubs_namespace: String::new(),
            blobs: Arc::new(Blobs::new(Containers::default())),
            platform_restart: Duration::ZERO,
        };
        let host = FunctionsHost::start(config, Clock::system(), Arc::clone(&gate), CancellationToken::new()).unwrap();
        (Arc::clone(&gate), Faults::new(gate, Arc::new(host)))
    }

    async fn call(faults: &Faults, method: Method, body: Value) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri("/control/faults").body(Body::from(body.to_string()));
        let response = router(faults.clone()).oneshot(request.unwrap()).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn a_fault_is_switched_on_told_and_switched_off() {
        let (gate, faults) = faults();
        let fault = json!({ "service": "dps", "effect": { "status": 503 } });
        let (status, answer) = call(&faults, Method::POST, fault).await;
        assert_eq!(status, StatusCode::CREATED);
        let request = gate::Request { service: Service::Dps, operation: "Connect", class: Class::Other, subject: "" };
        assert!(gate.pass(request).await.is_err());
        let (_, list) = call(&faults, Method::GET, Value::Null).await;
        assert_eq!((&list[0]["id"], &list[0]["fired"]), (&answer["id"], &json!(1)));
        assert_eq!(call(&faults, Method::DELETE, Value::Null).await.0, StatusCode::NO_CONTENT);
        assert!(gate.pass(request).await.is_ok());
    }

    #[tokio::test]
    async fn what_is_unknown_is_a_bad_request() {
        let (_, faults) = faults();
        for fault in [
            json!({ "service": "dps", "effect": { "reset": true }, "often": 1 }),
            json!({ "service": "cosmos", "effect": { "reset": true } }),
            json!({ "service": "dps" }),
            json!({ "service": "event-hubs", "operation": "deviceevents", "effect": { "rewind": 1 } }),
            json!({ "service": "functions", "effect": { "kill": "now", "instance": 7 } }),
            json!({ "service": "functions", "operation": "Telemetry", "effect": { "reset": true } }),
        ] {
            let (status, answer) = call(&faults, Method::POST, fault).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        }
        assert!(faults.all().is_empty());
    }

    #[tokio::test]
    async fn an_operation_that_would_never_be_asked_for_is_refused_with_those_that_there_are() {
        let (_, faults) = faults();
        for (service, wrong, right) in [
            ("digital-twins", "UpdateTwin", "DigitalTwins_Update"),
            ("dps", "Register", "RegisterDevice"),
            ("iot-hub", "Subscribe", "Connect"),
            ("identity", "Token", "GetToken"),
        ] {
            let about =
                |operation: &str| json!({ "service": service, "operation": operation, "effect": { "reset": true } });
            let (status, answer) = call(&faults, Method::POST, about(wrong)).await;
            let message = answer["message"].as_str().unwrap();
            assert_eq!(status, StatusCode::BAD_REQUEST);
            assert!(message.contains(wrong) && message.contains(right), "{message}");
            assert_eq!(call(&faults, Method::POST, about(&right.to_uppercase())).await.0, StatusCode::CREATED);
        }
    }
}
