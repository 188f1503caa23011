//! The HTTP server: a route a function, health, limits, shutdown.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::host::{Answer, DataType, EventBatch, EventFunction, HttpAnswer, HttpFunction, HttpRequest, InvocationId};
use crate::logging;

/// The largest event batch that the host can make: 256 events (host.json) of 256 KB (Azure IoT Hub: "Quotas and
/// throttling"), and every byte of a property can be written with seven (`\\u0001`) in JSON within JSON.
const MAX_BATCH_BYTES: usize = 256 * 256 * 1024 * 7;
/// The largest body of an HTTP function.
const MAX_HTTP_BYTES: usize = 1024 * 1024;
/// The same in the host's envelope, which holds it twice, escaped.
const MAX_ENVELOPE_BYTES: usize = 8 * MAX_HTTP_BYTES;
/// How long requests under way may take once the process is asked to end.
const GRACE: Duration = Duration::from_secs(5);

/// The functions that are served, each under the name of its folder.
#[derive(Default)]
pub struct Functions {
    routes: Router,
    asked: Arc<Notify>,
}

impl Functions {
    /// No functions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a function with an Event Hub trigger (`"cardinality": "many", "dataType": "binary"`).
    #[must_use]
    pub fn event(mut self, name: &'static str, function: Arc<dyn EventFunction>) -> Self {
        let handle = move |request: Request| on_events(name, Arc::clone(&function), request);
        self.routes = self.routes.route(&format!("/{name}"), post(handle));
        self
    }

    /// Adds a function with an HTTP trigger: `/api/<name>` takes requests as callers sent them, `/<name>` in the host's
    /// envelope.
    #[must_use]
    pub fn http(mut self, name: &'static str, function: Arc<dyn HttpFunction>) -> Self {
        let enveloped = Arc::clone(&function);
        let handle_raw = move |request: Request| on_raw_http(name, Arc::clone(&function), request);
        let handle_enveloped = move |request: Request| on_enveloped_http(name, Arc::clone(&enveloped), request);
        self.routes = self
            .routes
            .route(&format!("/api/{name}"), post(handle_raw))
            .route(&format!("/{name}"), post(handle_enveloped));
        self
    }

    /// Is notified when the host asks whether the process is ready: what it does not need for that can come now.
    #[must_use]
    pub fn asked(&self) -> Arc<Notify> {
        Arc::clone(&self.asked)
    }

    /// The router: the functions, and `GET /`, by which the host tells that the process is ready and alive.
    pub fn into_router(self) -> Router {
        let answer = move || {
            self.asked.notify_one();
            async { concat!("function app ", env!("CARGO_PKG_VERSION"), "\n") }
        };
        self.routes.route("/", get(answer))
    }
}

/// Serves until `shutdown`, then gives requests under way a few seconds.
///
/// # Errors
/// What the listener fails with.
pub async fn serve(listener: TcpListener, functions: Functions, shutdown: CancellationToken) -> std::io::Result<()> {
    // Answers are small: waiting for more to send would only delay them.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let server = axum::serve(listener, functions.into_router())
        .with_graceful_shutdown(shutdown.clone().cancelled_owned())
        .into_future();
    let out_of_patience = async {
        shutdown.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = server => ended,
        () = out_of_patience => {
            tracing::warn!("requests under way did not end within {} s: left behind", GRACE.as_secs());
            Ok(())
        }
    }
}

/// One invocation: which, and the span of its log lines.
struct Invocation {
    id: InvocationId,
    span: Span,
}

impl Invocation {
    fn of(function: &str, headers: &HeaderMap) -> Self {
        let id = headers.get(InvocationId::HEADER).and_then(|value| value.to_str().ok());
        let id = InvocationId::from_header(id);
        let span = logging::invocation_span(function, &id);
        Self { id, span }
    }

    /// Runs the function to its end, also if the host hangs up meanwhile: what it has begun it finishes.
    /// `None` if it panicked.
    async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        tokio::spawn(work.instrument(self.span.clone())).await.ok()
    }
}

async fn on_events(name: &'static str, function: Arc<dyn EventFunction>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let invocation = Invocation::of(name, &parts.headers);
    let id = invocation.id.clone();
    let answer = invocation.run(async move {
        let body = to_bytes(body, MAX_BATCH_BYTES).await.map_err(|error| {
            tracing::error!("the batch cannot be received: {error}");
            StatusCode::PAYLOAD_TOO_LARGE
        })?;
        let batch = EventBatch::decode(&body, DataType::Binary).map_err(|error| {
            tracing::error!(bytes = body.len(), "the batch cannot be read, the host will bring it again: {error}");
            StatusCode::BAD_REQUEST
        })?;
        drop(body);
        match function.run(batch, &id).await {
            Answer::Done { outputs } => Ok(outputs),
            Answer::Again { reason } => {
                // While the service is down this is every batch, again and again: the function warns, once a minute.
                tracing::info!("the host will bring the batch again: {reason}");
                Err(StatusCode::SERVICE_UNAVAILABLE)
            }
        }
    });
    match answer.await.unwrap_or(Err(StatusCode::INTERNAL_SERVER_ERROR)) {
        Ok(outputs) => enveloped(&outputs, &invocation),
        Err(status) => {
            // The host reads neither the body nor the logs of an answer that is no success.
            logging::print_lines(&invocation.span);
            status.into_response()
        }
    }
}

async fn on_raw_http(name: &'static str, function: Arc<dyn HttpFunction>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let invocation = Invocation::of(name, &parts.headers);
    let id = invocation.id.clone();
    let answer = invocation.run(async move {
        match to_bytes(body, MAX_HTTP_BYTES).await {
            Ok(body) => function.run(HttpRequest { body }, &id).await,
            Err(_) => too_large(),
        }
    });
    let HttpAnswer { status, body } = answer.await.unwrap_or_else(panicked);
    logging::print_lines(&invocation.span);
    json(status, body)
}

async fn on_enveloped_http(name: &'static str, function: Arc<dyn HttpFunction>, request: Request) -> Response {
    #[derive(Serialize)]
    struct Outputs {
        res: Res,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Res {
        status_code: u16,
        headers: ResHeaders,
        body: String,
    }
    #[derive(Serialize)]
    struct ResHeaders {
        #[serde(rename = "Content-Type")]
        content_type: &'static str,
    }

    let (parts, body) = request.into_parts();
    let invocation = Invocation::of(name, &parts.headers);
    let id = invocation.id.clone();
    let answer = invocation.run(async move {
        match to_bytes(body, MAX_ENVELOPE_BYTES).await {
            Ok(body) => match HttpRequest::decode(&body) {
                Ok(request) if request.body.len() > MAX_HTTP_BYTES => too_large(),
                Ok(request) => function.run(request, &id).await,
                Err(error) => {
                    tracing::error!("{error}");
                    HttpAnswer::reason(StatusCode::BAD_REQUEST, &error.to_string())
                }
            },
            Err(_) => too_large(),
        }
    });
    let HttpAnswer { status, body } = answer.await.unwrap_or_else(panicked);
    let headers = ResHeaders { content_type: JSON };
    enveloped(&Outputs { res: Res { status_code: status.as_u16(), headers, body } }, &invocation)
}

fn too_large() -> HttpAnswer {
    let message = "the body cannot be received: it is larger than 1 MiB, or broke off";
    tracing::warn!("{message}");
    HttpAnswer::reason(StatusCode::BAD_REQUEST, message)
}

/// 503, not 500: to DPS, whose webhook calls this is for, both mean "try again", but 503 says why.
fn panicked() -> HttpAnswer {
    HttpAnswer::reason(StatusCode::SERVICE_UNAVAILABLE, "internal error; see the function app's log")
}

const JSON: &str = "application/json";

fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    (status, [(header::CONTENT_TYPE, JSON)], body.into()).into_response()
}

/// A successful invocation, with its outputs and log lines. Never empty: the host waits for ever for an invocation
/// whose answer is (Azure/azure-functions-host, `DefaultHttpWorkerService.cs`).
fn enveloped(outputs: &impl Serialize, invocation: &Invocation) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Envelope<'a, T> {
        outputs: &'a T,
        logs: Vec<String>,
        return_value: Option<&'a RawValue>,
    }
    let logs = logging::take_lines(&invocation.span);
    match serde_json::to_vec(&Envelope { outputs, logs, return_value: None }) {
        Ok(body) => json(StatusCode::OK, Bytes::from(body)),
        Err(error) => {
            invocation.span.in_scope(|| tracing::error!("the answer cannot be written as JSON: {error}"));
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
