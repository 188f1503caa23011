//! DPS' device API over HTTPS (DPS: runtime registration REST API; how to use DPS' HTTPS device interface with
//! symmetric keys, and with X.509 certificates).

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, RawQuery, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, on},
};
use uuid::Uuid;

use super::{
    Dps,
    answer::{Over, Refusal},
    device_call::{Answer, Caller},
    operation::{DEVICE_ROUTES, Operation, Route},
    service_api,
};
use crate::front::{self, Peer};

/// DPS' limit for messages.
const BODY_BYTES: usize = 96 * 1024;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");

/// The routes of the device API and the service API.
pub fn router(dps: Arc<Dps>) -> Router {
    device_api(Arc::clone(&dps)).merge(service_api::router(dps))
}

fn device_api(dps: Arc<Dps>) -> Router {
    DEVICE_ROUTES
        .iter()
        .fold(Router::new(), |router, route| router.route(route.path, handler(route)))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(dps)
}

/// What carries an operation of the device API out.
fn handler(route: &Route) -> MethodRouter<Arc<Dps>> {
    let method = route.verb.filter();
    match route.operation {
        Operation::RegisterDevice => on(method, register),
        Operation::Poll => on(method, operation),
        Operation::LookUpRegistration => on(method, registration),
        _ => MethodRouter::new(),
    }
}

async fn register(
    State(dps): State<Arc<Dps>>,
    Path((scope, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    peer: Peer,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let answer = match caller(&dps, &scope, &id, query.as_deref(), &peer, &headers) {
        Ok(caller) => caller.register(&body).await,
        Err(refusal) => Err(refusal),
    };
    let mut response = respond(&dps, answer);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if response.status() == StatusCode::ACCEPTED
        && let Ok(location) = HeaderValue::from_str(&format!("https://{host}/{scope}/registrations/{id}/register"))
    {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Node's SDK sends a body with this GET: nothing is in it.
async fn operation(
    State(dps): State<Arc<Dps>>,
    Path((scope, id, operation)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
    peer: Peer,
    headers: HeaderMap,
) -> Response {
    let answer = match caller(&dps, &scope, &id, query.as_deref(), &peer, &headers) {
        Ok(caller) => caller.operation(&operation).await,
        Err(refusal) => Err(refusal),
    };
    respond(&dps, answer)
}

async fn registration(
    State(dps): State<Arc<Dps>>,
    Path((scope, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    peer: Peer,
    headers: HeaderMap,
) -> Response {
    let answer = match caller(&dps, &scope, &id, query.as_deref(), &peer, &headers) {
        Ok(caller) => caller.registration().await,
        Err(refusal) => Err(refusal),
    };
    respond(&dps, answer.map(|body| Answer { done: true, body }))
}

fn caller(
    dps: &Arc<Dps>,
    scope: &str,
    id: &str,
    query: Option<&str>,
    peer: &Peer,
    headers: &HeaderMap,
) -> Result<Caller, Refusal> {
    let mut parameters = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    if !parameters.any(|(name, value)| name == "api-version" && !value.is_empty()) {
        return Err(Refusal::NoApiVersion);
    }
    let id = id.parse().map_err(|_| Refusal::InvalidId)?;
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    Ok(Caller::new(Arc::clone(dps), scope, id, token, peer.0.as_ref()))
}

fn respond(dps: &Dps, answer: Result<Answer, Refusal>) -> Response {
    let wait = dps.settings.retry_after.as_secs();
    let (status, retry_after, body) = match answer {
        Ok(Answer { done: true, body }) => (StatusCode::OK, None, body),
        Ok(Answer { done: false, body }) => (StatusCode::ACCEPTED, Some(wait), body),
        Err(Refusal::NoAnswer) => return front::no_answer(),
        Err(refusal) => {
            let body = refusal.body(Over::Https, dps.clock.now());
            (refusal.status(Over::Https), refusal.retry_after_s(), body)
        }
    };
    let mut response = (status, Json(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    if let Ok(id) = HeaderValue::from_str(&Uuid::new_v4().to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}
