//! The Azure Functions host's protocol with a custom handler: what it sends, and what it must be answered.
//!
//! Wire facts: "Azure Functions custom handlers" (Microsoft Learn) and the host's sources
//! (Azure/azure-functions-host, `src/WebJobs.Script/Workers/Http`).

mod answer;
mod decode;
mod event;
mod http;
mod invocation;
mod time;

pub use answer::{Answer, InvalidOutput, Output};
pub(crate) use decode::MAX_EVENTS;
pub use decode::{DataType, DecodeError};
pub use event::{Event, EventBatch, Properties};
pub use http::{HttpAnswer, HttpRequest};
pub use invocation::InvocationId;
pub use time::timestamp;

use async_trait::async_trait;

/// A function that an Event Hub triggers.
#[async_trait]
pub trait EventFunction: Send + Sync {
    /// Works through one batch. The host delivers a batch again, with one more of [`EventBatch::retries`], until the
    /// answer is [`Answer::Done`].
    async fn run(&self, batch: EventBatch, invocation: &InvocationId) -> Answer;
}

/// A function that an HTTP request triggers.
#[async_trait]
pub trait HttpFunction: Send + Sync {
    /// Answers one request.
    async fn run(&self, request: HttpRequest, invocation: &InvocationId) -> HttpAnswer;
}
