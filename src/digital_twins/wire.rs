//! One request and its answer: the pipeline, and what an answer that is no success means.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::error::ErrorKind;
use azure_core::http::headers::{CLIENT_REQUEST_ID, Headers};
use azure_core::http::policies::auth::BearerTokenAuthorizationPolicy;
use azure_core::http::policies::{Policy, PolicyResult, RetryHeaders};
use azure_core::http::{
    AsyncRawResponse, ClientOptions, Context, ExponentialRetryOptions, Pipeline, PipelineOptions,
    PipelineStreamOptions, Request, RetryOptions, Transport,
};
use azure_core::time::Duration as AzureDuration;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde::Deserialize;
use uuid::Uuid;

use super::pace::{Class, NotBefore, Pace, Refused, retry_after};
use super::{Error, Usage};

/// What a token is for (Azure Digital Twins: "Write app authentication code").
const SCOPE: &str = "https://digitaltwins.azure.net/.default";
/// Tries after the first one.
const MAX_RETRIES: u32 = 3;
/// The longest that one operation takes, all tries, waits and the token included: far below the five minutes after
/// which the Functions host ends an invocation.
const OPERATION_DEADLINE: Duration = Duration::from_secs(30);
/// The largest answer that is read: a thousand twins of 32 KB each, and some.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// A successful answer.
pub(super) struct Answer {
    pub(super) headers: Headers,
    pub(super) body: Bytes,
}

/// Sends requests: with a token, at our pace, tried again where that can help.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    pipeline: Pipeline,
}

impl Wire {
    pub(super) fn new(credential: Arc<dyn TokenCredential>, transport: Transport, pace: Pace) -> Self {
        let options = ClientOptions {
            transport: Some(transport),
            retry: RetryOptions::exponential(ExponentialRetryOptions {
                initial_delay: AzureDuration::milliseconds(200),
                max_retries: MAX_RETRIES,
                max_total_elapsed: AzureDuration::seconds(20),
                max_delay: AzureDuration::seconds(2),
            }),
            ..ClientOptions::default()
        };
        // Waiting as long as the service asks is the pace's business, which knows a limit to it.
        let pipeline_options =
            PipelineOptions { retry_headers: RetryHeaders { retry_headers: Vec::new() }, ..PipelineOptions::default() };
        let per_try: Vec<Arc<dyn Policy>> = vec![
            Arc::new(BearerTokenAuthorizationPolicy::new(credential, [SCOPE])),
            Arc::new(pace),
            Arc::new(ReadWhole),
        ];
        let (name, version) = (option_env!("CARGO_PKG_NAME"), option_env!("CARGO_PKG_VERSION"));
        Self { pipeline: Pipeline::new(name, version, options, Vec::new(), per_try, Some(pipeline_options)) }
    }

    /// Sends `request` and returns the answer if its status says success.
    pub(super) async fn send(&self, operation: &'static str, class: Class, request: Request) -> Result<Answer, Error> {
        Usage::begin();
        let answer = self.deliver(operation, class, request).await;
        Usage::end(class.writes(), &answer);
        answer
    }

    async fn deliver(&self, operation: &'static str, class: Class, mut request: Request) -> Result<Answer, Error> {
        let context = Context::new().with_value(class).with_value(NotBefore::default());
        // The pipeline gives one to requests without, but finds out by an error, which under `RUST_BACKTRACE` records
        // the whole stack: most of what a request costs in a static binary.
        request.insert_header(CLIENT_REQUEST_ID, Uuid::new_v4().to_string());
        let options = PipelineStreamOptions { skip_checks: true, ..PipelineStreamOptions::default() };
        let answer = async {
            let response = self.pipeline.stream(&context, &mut request, Some(options)).await?;
            let (status, headers, body) = response.deconstruct();
            azure_core::Result::Ok((u16::from(status), headers, body.collect().await?))
        };
        match tokio::time::timeout(OPERATION_DEADLINE, answer).await {
            Err(_) => Err(Error::Timeout { operation, after: OPERATION_DEADLINE }),
            Ok(Err(error)) => Err(from_pipeline(operation, &error)),
            Ok(Ok((200..=299, headers, body))) => Ok(Answer { headers, body }),
            Ok(Ok((status, headers, body))) => Err(from_answer(status, &headers, &body)),
        }
    }
}

/// Reads an answer to its end within a try, so that a connection that breaks meanwhile is tried again, and no further
/// than the limit.
#[derive(Debug)]
struct ReadWhole;

#[derive(Debug, thiserror::Error)]
#[error("the answer is larger than {MAX_ANSWER_BYTES} bytes")]
struct TooLarge;

#[async_trait]
impl Policy for ReadWhole {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let (status, headers, mut stream) = pass_on(ctx, request, next).await?.deconstruct();
        let mut body = BytesMut::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk?;
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(azure_core::Error::new(ErrorKind::Other, TooLarge));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(AsyncRawResponse::from_bytes(status, headers, body.freeze()))
    }
}

/// Sends a request on to the next policy of a pipeline.
pub(super) async fn pass_on(ctx: &Context<'_>, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
    match next.split_first() {
        Some((following, rest)) => following.send(ctx, request, rest).await,
        None => Err(azure_core::Error::with_message(ErrorKind::Other, "a pipeline ends with its transport")),
    }
}

/// An error of the pipeline itself: no answer came.
fn from_pipeline(operation: &'static str, error: &azure_core::Error) -> Error {
    if let Some(refused) = cause::<Refused>(error) {
        return Error::Throttled { retry_after: Some(refused.wait) };
    }
    if cause::<TooLarge>(error).is_some() {
        return Error::TooLarge { operation, limit: format!("{MAX_ANSWER_BYTES} bytes") };
    }
    match error.kind() {
        ErrorKind::Credential => Error::Token { reason: chain(error) },
        _ => Error::Connection { reason: chain(error) },
    }
}

fn cause<'a, T: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a T> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
}

/// The messages of an error and of its causes, each once, on one line. The pipeline keeps tokens out of them.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    for error in std::iter::successors(Some(error), |error| error.source()) {
        let message = one_line(error.to_string());
        if text.ends_with(&message) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&message);
    }
    text
}

fn one_line(text: String) -> String {
    if text.contains(char::is_control) { text.replace(char::is_control, " ") } else { text }
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorMembers,
}

#[derive(Deserialize, Default)]
struct ErrorMembers {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    details: Vec<ErrorDetail>,
}

#[derive(Deserialize)]
struct ErrorDetail {
    #[serde(default)]
    message: Option<String>,
}

/// What an answer that is no success means.
///
/// Its body is `{"error":{"code","message","details"}}` where the service itself refused; gateways in front of it
/// answer 401 and 429 in forms of their own, without a code.
fn from_answer(status: u16, headers: &Headers, body: &[u8]) -> Error {
    let ErrorMembers { code, message, details } =
        serde_json::from_slice::<ErrorBody>(body).map(|body| body.error).unwrap_or_default();
    let message = message.map_or_else(|| excerpt(body), one_line);
    match (status, code) {
        (401, _) => Error::Denied {
            status,
            hint: "Azure Digital Twins does not accept the token: check the tenant and ADT_SERVICE_URL",
        },
        (403, _) => Error::Denied {
            status,
            hint: "give the app's identity the role \"Azure Digital Twins Data Owner\" on the instance",
        },
        (429, _) => Error::Throttled { retry_after: retry_after(headers) },
        (412, _) => Error::PreconditionFailed { message },
        (404, Some(code)) => Error::NotFound { code, message },
        // A 404 without a code is no word of the service about a twin: a wrong address or tenant, a proxy.
        (404 | 408 | 500.., code) => Error::Unavailable { status, code, message },
        (300..=399, code) => Error::Unavailable { status, code, message },
        (_, code) => Error::Refused {
            status,
            code: code.unwrap_or_else(|| "no code".to_owned()),
            message,
            details: details.into_iter().filter_map(|detail| detail.message).map(one_line).collect(),
        },
    }
}

/// The beginning of a body that is not in the service's error form, on one line.
fn excerpt(body: &[u8]) -> String {
    const LONGEST: usize = 200;
    match one_line(String::from_utf8_lossy(body).chars().take(LONGEST).collect()) {
        text if text.is_empty() => "empty body".to_owned(),
        text => text,
    }
}
