//! Calling a handler.

use std::{error::Error as _, pin::pin, sync::Arc, time::Duration};

use axum::http::header;
use bytes::Bytes;
use futures::stream;
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    answer::{Answer, Verdict, judge},
    handler::{Handler, Running},
};

/// The version of the host whose behavior this one has.
pub(super) const HOST_VERSION: &str = "4.1037.0.0";
pub(super) const USER_AGENT: &str = "Azure-Functions-Host/4.1037.0.0";
pub(super) const INVOCATION_ID: &str = "x-azure-functions-invocationid";
pub(super) const VERSION: &str = "x-azure-functions-hostversion";
/// How long an invocation that ran out of time may still take before its handler is killed.
const GRACE: Duration = Duration::from_secs(2);

/// Calls one handler.
#[derive(Debug)]
pub(super) struct Invoker {
    pub(super) handler: Arc<Handler>,
    clients: Clients,
    function_timeout: Option<Duration>,
}

/// HTTP clients for the handler's port.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    /// Follows redirects, as .NET's client does.
    pub(super) following: reqwest::Client,
    /// Passes redirects on.
    pub(super) raw: reqwest::Client,
}

impl Clients {
    pub(super) fn new() -> reqwest::Result<Self> {
        let client = |redirects| reqwest::Client::builder().no_proxy().redirect(redirects).build();
        Ok(Self {
            following: client(reqwest::redirect::Policy::limited(50))?,
            raw: client(reqwest::redirect::Policy::none())?,
        })
    }
}

impl Invoker {
    pub(super) fn new(handler: Arc<Handler>, clients: Clients, function_timeout: Option<Duration>) -> Self {
        Self { handler, clients, function_timeout }
    }

    /// Calls a function with an envelope.
    ///
    /// # Errors
    /// Why the invocation failed.
    pub(super) async fn call(&self, function: &str, id: Uuid, envelope: Vec<u8>) -> Result<Answer, String> {
        let running = self.handler.running().await?;
        let request = self
            .clients
            .following
            .post(format!("http://127.0.0.1:{}/{function}", running.port))
            .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
            .header(INVOCATION_ID, id.to_string())
            .header(VERSION, HOST_VERSION)
            .header(header::USER_AGENT, USER_AGENT)
            .body(chunked(envelope.into()));
        self.in_time(function, running, async {
            let response = request.send().await.map_err(described)?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = response.bytes().await.map_err(described)?;
            match judge(status, &headers, &body) {
                Verdict::Success(answer) => Ok(answer),
                Verdict::Failure(reason) => Err(reason),
                Verdict::Hang => {
                    tracing::error!(function, %id, "the answer is empty: the invocation hangs until functionTimeout");
                    std::future::pending().await
                }
            }
        })
        .await
    }

    /// Calls a function with a request of one's own; `build` gets the client and the handler's port.
    ///
    /// # Errors
    /// Why the invocation failed.
    pub(super) async fn pass_on(
        &self,
        function: &str,
        build: impl FnOnce(&reqwest::Client, u16) -> reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, String> {
        let running = self.handler.running().await?;
        let request = build(&self.clients.raw, running.port);
        self.in_time(function, running, async { request.send().await.map_err(described) }).await
    }

    /// An invocation that takes longer than functionTimeout fails, and its handler is killed with all that it is
    /// doing.
    async fn in_time<T>(
        &self,
        function: &str,
        running: Running,
        call: impl Future<Output = Result<T, String>>,
    ) -> Result<T, String> {
        let Some(limit) = self.function_timeout else { return call.await };
        let mut call = pin!(call);
        if let Ok(result) = timeout(limit, &mut call).await {
            return result;
        }
        if timeout(GRACE, call).await.is_err() {
            self.handler.condemn(running);
        }
        Err(format!("Timeout value of {limit:?} was exceeded by function {function}"))
    }
}

/// A body without a length: the host sends envelopes and chunked requests this way.
pub(super) fn chunked(body: Bytes) -> reqwest::Body {
    reqwest::Body::wrap_stream(stream::iter([Ok::<_, std::convert::Infallible>(body)]))
}

/// An error with its causes and without its URL, which can hold a key.
fn described(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
