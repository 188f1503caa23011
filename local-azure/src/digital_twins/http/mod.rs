//! The HTTP interface of an instance.
//!
//! A request is told apart by its method and path first, so that the gate knows its operation; then it passes what is
//! the gateway in Azure (token, gate), its version and body are read, and the operation answers.

mod components;
mod models;
mod operation;
mod query;
mod relationships;
mod reply;
mod request;
mod twins;

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, header, request::Parts},
    response::Response,
};

use self::{
    operation::Operation,
    reply::{Reply, Traces},
    request::Request,
};
use super::{DigitalTwins, TokenCheck, error::Error};
use crate::{
    front,
    gate::{self, Passage, Refusal},
};

/// The data plane of an instance, for any host name.
pub fn router(service: Arc<DigitalTwins>) -> Router {
    Router::new().fallback(serve).with_state(service)
}

async fn serve(State(service): State<Arc<DigitalTwins>>, request: axum::extract::Request) -> Response {
    let traces = Traces::of(request.headers());
    match exchange(&service, request, &traces).await {
        Some(reply) => reply.into_response(&traces),
        None => front::no_answer(),
    }
}

/// From a request to its answer, if one is to go out.
async fn exchange(service: &DigitalTwins, request: axum::extract::Request, traces: &Traces) -> Option<Reply> {
    let (parts, body) = request.into_parts();
    let (operation, passage) = match enter(service, &parts).await {
        Ok(entered) => entered,
        Err(ended) => return ended,
    };
    let request = axum::extract::Request::from_parts(parts, body);
    let reply = match Request::read(request, operation.max_body(), service.scheme).await {
        Ok(request) => answer(service, &operation, &request).unwrap_or_else(|error| Reply::error(&error, traces)),
        Err(reply) => reply,
    };
    passage.is_answered().then_some(reply)
}

/// The way through the gateway: the operation that may be carried out, or what is answered instead, if anything.
async fn enter(service: &DigitalTwins, request: &Parts) -> Result<(Operation, Passage), Option<Reply>> {
    if !is_authorized(&request.headers, &service.accepts_token) {
        return Err(Some(Reply::unauthorized()));
    }
    let operation = Operation::of(&request.method, request.uri.path()).ok_or_else(|| Some(Reply::no_resource()))?;
    let passage = gate::Request {
        service: gate::Service::DigitalTwins,
        operation: operation.name(),
        class: operation.class(),
        subject: operation.subject(),
    };
    match service.gate.pass(passage).await {
        Ok(passage) => Ok((operation, passage)),
        Err(Refusal::Status { status, retry_after }) => Err(Some(Reply::refused(status, retry_after))),
        Err(Refusal::Reset) => Err(None),
    }
}

fn is_authorized(headers: &HeaderMap, accepts: &TokenCheck) -> bool {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = authorization.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("Bearer").then_some(token.trim())
    });
    token.is_some_and(|token| accepts(token))
}

fn answer(service: &DigitalTwins, operation: &Operation, request: &Request) -> Result<Reply, Error> {
    match operation {
        Operation::AddModels => models::add(service, request),
        Operation::ListModels => models::list(service, request),
        Operation::GetModel { id } => models::get(service, id, request),
        Operation::UpdateModel { id } => models::update(service, id, request),
        Operation::DeleteModel { id } => models::delete(service, id),
        Operation::Query => query::query(service, request),
        Operation::GetTwin { id } => twins::get(service, id, request),
        Operation::AddTwin { id } => twins::add(service, id, request),
        Operation::UpdateTwin { id } => twins::update(service, id, request),
        Operation::DeleteTwin { id } => twins::delete(service, id, request),
        Operation::ListRelationships { twin } => relationships::list(service, twin, request),
        Operation::ListIncomingRelationships { twin } => relationships::list_incoming(service, twin, request),
        Operation::GetRelationship { twin, id } => relationships::get(service, twin, id),
        Operation::AddRelationship { twin, id } => relationships::add(service, twin, id, request),
        Operation::UpdateRelationship { twin, id } => relationships::update(service, twin, id, request),
        Operation::DeleteRelationship { twin, id } => relationships::delete(service, twin, id, request),
        Operation::GetComponent { twin, name } => components::get(service, twin, name, request),
        Operation::UpdateComponent { twin, name } => components::update(service, twin, name, request),
        Operation::SendTelemetry { twin } => components::send_telemetry(service, twin, None, request),
        Operation::SendComponentTelemetry { twin, name } => {
            components::send_telemetry(service, twin, Some(name), request)
        }
    }
}
