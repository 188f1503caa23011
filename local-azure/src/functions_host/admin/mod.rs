//! The host's own API, below `/admin`: what there is, how it is, and functions invoked by hand.
//!
//! As with Core Tools (`func start`), every caller may do everything, without a key (azure-functions-core-tools:
//! `CliAuthenticationHandler.cs`); a deployed app wants its key `_master`. What a browser sends for a page of another
//! origin is refused, as by the control API.

mod input;
mod metadata;
mod operation;

use std::sync::Arc;

use axum::{
    Json,
    body::to_bytes,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::Instant;
use uuid::Uuid;

pub use self::operation::Operation;
use self::operation::Target;
use super::{
    app::{App, Function, Trigger},
    envelope,
    http::{BODY_LIMIT, HttpFunctions},
    instance::Instance,
    pump::Surroundings,
};
use crate::control::is_local;

/// What the host's own API works on.
#[derive(Debug)]
pub(super) struct Admin {
    pub(super) app: Arc<App>,
    pub(super) functions: Vec<Arc<Function>>,
    pub(super) http: Arc<HttpFunctions>,
    pub(super) started: Instant,
}

/// Answers what is below `/admin`, and lets everything else pass.
pub(super) async fn serve(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    match operation::target(request.method(), &path) {
        Target::Elsewhere => next.run(request).await,
        _ if !is_local(request.headers()) => StatusCode::FORBIDDEN.into_response(),
        Target::OtherMethod => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        Target::Operation(operation, name) => admin.answer(operation, name, request).await,
    }
}

impl Admin {
    async fn answer(&self, operation: Operation, name: &str, request: Request) -> Response {
        let base = base(request.headers());
        let functions = || metadata::functions(&self.app, &base);
        let function = || functions().into_iter().find(|function| function.is_named(name));
        match operation {
            Operation::ListFunctions => Json(functions()).into_response(),
            Operation::GetFunction => match function() {
                Some(function) => Json(function).into_response(),
                None => StatusCode::NOT_FOUND.into_response(),
            },
            // An app with a function that is wrong does not start: there are no errors to tell.
            Operation::GetFunctionStatus => match function() {
                Some(_) => Json(serde_json::json!({})).into_response(),
                None => StatusCode::NOT_FOUND.into_response(),
            },
            Operation::GetHostStatus => {
                let phases = self.http.instances.iter().map(|instance| instance.invoker.handler.phase());
                let phases: Vec<_> = phases.map(|phase| phase.borrow().clone()).collect();
                Json(metadata::host_status(&phases, self.started.elapsed())).into_response()
            }
            Operation::Ping => ([(header::CACHE_CONTROL, "no-store")], StatusCode::OK).into_response(),
            Operation::InvokeFunction => self.invoke(name, request).await,
        }
    }

    /// Begins an invocation by hand; what becomes of it is told elsewhere.
    async fn invoke(&self, name: &str, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        if !input::is_json(&parts.headers) {
            return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
        }
        let Ok(body) = to_bytes(body, BODY_LIMIT).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
        let Some(input) = input::read(&body) else { return StatusCode::BAD_REQUEST.into_response() };
        let named = |function: &&Arc<Function>| function.name.eq_ignore_ascii_case(name);
        let Some(function) = self.functions.iter().find(named) else { return StatusCode::NOT_FOUND.into_response() };
        let Some(instance) = self.http.instance() else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
        let invocation = by_hand(Arc::clone(function), Arc::clone(instance), self.http.around.clone(), input);
        // A host that stops waits for it.
        instance.requests.spawn(invocation);
        StatusCode::ACCEPTED.into_response()
    }
}

/// One invocation by hand. It is not tried again.
async fn by_hand(function: Arc<Function>, instance: Arc<Instance>, around: Surroundings, input: Option<String>) {
    let (id, start) = (Uuid::new_v4(), Instant::now());
    let result = call(&function, &instance, &around, id, input.as_deref()).await;
    let (failure, logs) = match result {
        Ok(logs) => (None, logs),
        Err(failure) => (Some(failure), Vec::new()),
    };
    around.journal.record(function.name, id, None, failure.as_ref(), logs, start.elapsed());
}

async fn call(
    function: &Function,
    instance: &Instance,
    around: &Surroundings,
    id: Uuid,
    input: Option<&str>,
) -> Result<Vec<String>, String> {
    let input = input.ok_or("there is no input: {\"input\": \"...\"} was expected")?;
    // azure-webjobs-sdk-extensions: `HttpTriggerAttributeBindingProvider.cs`.
    let Trigger::EventHub(trigger) = &function.trigger else {
        return Err("An HttpRequest is required: HTTP functions are called at their own address".to_owned());
    };
    let envelope = |system| envelope::by_hand(trigger, input, system).map_err(|error| error.to_string());
    instance.call(function, id, around, envelope).await
}

/// How the caller knows this host.
fn base(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    format!("http://{host}")
}
