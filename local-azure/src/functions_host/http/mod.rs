//! HTTP functions: the app's public side.

mod keys;
mod raw;
mod result;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::to_bytes,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::time::Instant;
use uuid::Uuid;

pub use self::keys::FunctionKey;
use super::{
    app::{AuthLevel, Function, HttpTrigger, RawHttp},
    envelope::{HttpRequest, System, http_request},
    handler::Phase,
    instance::Instance,
    output::write_blobs,
    pump::Surroundings,
};
use crate::{
    front,
    gate::{self, Caller, Class, Refusal, Service},
};

/// What the host takes (`FUNCTIONS_REQUEST_BODY_SIZE_LIMIT`).
pub(super) const BODY_LIMIT: usize = 100 * 1024 * 1024;

/// The HTTP functions of an app, by path.
#[derive(Debug)]
pub(super) struct HttpFunctions {
    /// Lower-cased paths without slashes around them: routes have no case.
    pub(super) routes: HashMap<String, (Arc<Function>, HttpTrigger)>,
    pub(super) raw: RawHttp,
    pub(super) key: FunctionKey,
    pub(super) instances: Vec<Arc<Instance>>,
    pub(super) around: Surroundings,
    /// Counts requests, to spread them.
    pub(super) turn: AtomicUsize,
}

/// The router of the functions port.
pub(super) fn router(functions: Arc<HttpFunctions>) -> Router {
    Router::new().fallback(serve).with_state(functions)
}

async fn serve(State(functions): State<Arc<HttpFunctions>>, request: Request) -> Response {
    functions.serve(request).await
}

impl HttpFunctions {
    async fn serve(&self, request: Request) -> Response {
        let path = request.uri().path().trim_matches('/').to_ascii_lowercase();
        let Some((function, trigger)) = self.routes.get(&path) else { return StatusCode::NOT_FOUND.into_response() };
        // A method that a route does not take is a route that does not exist.
        if !trigger.methods.is_empty() && !trigger.methods.contains(request.method()) {
            return StatusCode::NOT_FOUND.into_response();
        }
        let has_key = self.key.admits(request.headers(), request.uri());
        if trigger.auth_level == AuthLevel::Function && !has_key {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        let pass =
            gate::Request { service: Service::Functions, operation: function.name, class: Class::Other, subject: "" };
        let Some(instance) = self.instance() else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
        let passage = match self.around.gate.pass_from(Caller::Handler(instance.index), pass).await {
            Ok(passage) => passage,
            Err(Refusal::Status { status, retry_after }) => return refused(status, retry_after),
            Err(Refusal::Reset) => return front::no_answer(),
        };
        let _in_flight = instance.requests.token();
        let response = match read(request, has_key).await {
            Ok(request) => self.invoke(function, trigger, instance, request).await,
            Err(refusal) => refusal,
        };
        if passage.is_answered().await { response } else { front::no_answer() }
    }

    /// The next instance whose host runs.
    pub(super) fn instance(&self) -> Option<&Arc<Instance>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.instances.len().max(1);
        let mut candidates = self.instances.iter().cycle().skip(turn % count).take(count);
        let is_up = |instance: &&Arc<Instance>| {
            !matches!(*instance.invoker.handler.phase().borrow(), Phase::Stopped { .. })
                && !instance.requests.is_closed()
        };
        candidates.find(is_up)
    }

    async fn invoke(
        &self,
        function: &Function,
        trigger: &HttpTrigger,
        instance: &Instance,
        request: HttpRequest,
    ) -> Response {
        let (id, start) = (Uuid::new_v4(), Instant::now());
        let result = if self.raw != RawHttp::Off && function.is_http_in_and_out() {
            let build = |client: &reqwest::Client, port| raw::request(client, port, self.raw, id, request);
            let answer = instance.invoker.pass_on(function.name, build).await;
            answer.map(|answer| (raw::response(answer), Vec::new()))
        } else {
            self.invoke_enveloped(function, trigger, instance, request, id).await
        };
        let (result, logs) = match result {
            Ok((response, logs)) => (Ok(response), logs),
            Err(failure) => (Err(failure), Vec::new()),
        };
        self.around.journal.record(function.name, id, None, result.as_ref().err(), logs, start.elapsed());
        result.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
    }

    async fn invoke_enveloped(
        &self,
        function: &Function,
        trigger: &HttpTrigger,
        instance: &Instance,
        request: HttpRequest,
        id: Uuid,
    ) -> Result<(Response, Vec<String>), String> {
        let system = System { function: function.name, now: self.around.clock.now(), guid: Uuid::new_v4() };
        let body = http_request(&trigger.name, &request, system);
        let answer = instance.invoker.call(function.name, id, body).await?;
        write_blobs(&function.blob_outputs, &answer.outputs, &self.around.blobs, self.around.clock.now())
            .map_err(|error| error.to_string())?;
        let output = function.http_output.as_ref().and_then(|name| answer.outputs.get(name));
        Ok((result::response(output)?, answer.logs))
    }
}

/// What the gate has a request answered with.
fn refused(status: StatusCode, retry_after: Option<Duration>) -> Response {
    let mut response = status.into_response();
    if let Some(wait) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, wait.as_secs().into());
    }
    response
}

/// Reads a request whole.
async fn read(request: Request, has_key: bool) -> Result<HttpRequest, Response> {
    let (parts, body) = request.into_parts();
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let url = url::Url::parse(&format!("http://{host}{path}")).map_err(|_| StatusCode::BAD_REQUEST.into_response())?;
    let body = to_bytes(body, BODY_LIMIT).await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE.into_response())?;
    Ok(HttpRequest { method: parts.method, url, headers: parts.headers, has_key, body })
}
