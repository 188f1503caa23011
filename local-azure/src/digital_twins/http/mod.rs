//! The HTTP interface of an instance.
//!
//! A request is told apart by its method and path first, so that the gate knows its operation; then it passes what is
//! the gateway in Azure (token, gate), its version and body are read, and the operation answers.

mod components;
mod event_routes;
mod jobs;
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
    operation::{Kind, Operation, ROUTES},
    reply::{Reply, Traces},
    request::Request,
};
use super::{DigitalTwins, TokenCheck, error::Error};
use crate::{
    front,
    gate::{self, Caller, Passage, Refusal},
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
    passage.is_answered().await.then_some(reply)
}

/// The way through the gateway: the operation that may be carried out, or what is answered instead, if anything.
async fn enter(service: &DigitalTwins, request: &Parts) -> Result<(Operation, Passage), Option<Reply>> {
    let caller = caller(&request.headers, &service.accepts_token).ok_or_else(|| Some(Reply::unauthorized()))?;
    let operation = Operation::of(&request.method, request.uri.path()).ok_or_else(|| Some(Reply::no_resource()))?;
    let passage = gate::Request {
        service: gate::Service::DigitalTwins,
        operation: operation.name(),
        class: operation.class(),
        subject: operation.names().0,
    };
    match service.gate.pass_from(caller, passage).await {
        Ok(passage) => Ok((operation, passage)),
        Err(Refusal::Status { status, retry_after }) => Err(Some(Reply::refused(status, retry_after))),
        Err(Refusal::Reset) => Err(None),
    }
}

/// Who asks, if they may.
fn caller(headers: &HeaderMap, accepts: &TokenCheck) -> Option<Caller> {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = authorization.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("Bearer").then_some(token.trim())
    });
    accepts(token?)
}

fn answer(service: &DigitalTwins, operation: &Operation, request: &Request) -> Result<Reply, Error> {
    if !operation.is_in(request.version) {
        return Ok(Reply::unknown_version(request.path(), request.version.as_str()));
    }
    let (id, part) = operation.names();
    match operation.kind() {
        Kind::AddModels => models::add(service, request),
        Kind::ListModels => models::list(service, request),
        Kind::GetModel => models::get(service, id, request),
        Kind::UpdateModel => models::update(service, id, request),
        Kind::DeleteModel => models::delete(service, id),
        Kind::Query => query::query(service, request),
        Kind::GetTwin => twins::get(service, id, request),
        Kind::AddTwin => twins::add(service, id, request),
        Kind::UpdateTwin => twins::update(service, id, request),
        Kind::DeleteTwin => twins::delete(service, id, request),
        Kind::ListRelationships => relationships::list(service, id, request),
        Kind::ListIncomingRelationships => relationships::list_incoming(service, id, request),
        Kind::GetRelationship => relationships::get(service, id, part),
        Kind::AddRelationship => relationships::add(service, id, part, request),
        Kind::UpdateRelationship => relationships::update(service, id, part, request),
        Kind::DeleteRelationship => relationships::delete(service, id, part, request),
        Kind::GetComponent => components::get(service, id, part, request),
        Kind::UpdateComponent => components::update(service, id, part, request),
        Kind::SendTelemetry => components::send_telemetry(service, id, None, request),
        Kind::SendComponentTelemetry => components::send_telemetry(service, id, Some(part), request),
        Kind::ListEventRoutes => event_routes::list(service, request),
        Kind::GetEventRoute => event_routes::get(service, id),
        Kind::AddEventRoute => event_routes::add(service, id, request),
        Kind::DeleteEventRoute => event_routes::delete(service, id),
        Kind::ListImportJobs => jobs::list_imports(service, request),
        Kind::GetImportJob => jobs::get_import(service, id),
        Kind::AddImportJob => jobs::add_import(service, id, request),
        Kind::DeleteImportJob => jobs::delete_import(service, id),
        Kind::CancelImportJob => jobs::cancel_import(service, id),
        Kind::ListDeleteJobs => jobs::list_deletions(service, request),
        Kind::AddDeleteJob => jobs::add_deletion(service, request),
        Kind::GetDeleteJob => jobs::get_deletion(service, id),
    }
}

/// Every operation that the router leads to: method, path and name, as in the service's published interface.
pub fn operations() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    ROUTES.iter().map(|route| (route.method.as_str(), route.path, route.name))
}
