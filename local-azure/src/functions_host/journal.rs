//! Tells who wants to know which invocations ended, and how.

use std::time::Duration;

use tokio::sync::broadcast;
use uuid::Uuid;

use super::statistics::{EventRange, Invocation};

/// Invocations that a slow listener may be behind.
const CAPACITY: usize = 1_024;

/// Where ended invocations are told.
#[derive(Debug, Clone)]
pub(super) struct Journal(broadcast::Sender<Invocation>);

impl Journal {
    pub(super) fn new() -> Self {
        Self(broadcast::Sender::new(CAPACITY))
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Invocation> {
        self.0.subscribe()
    }

    pub(super) fn record(
        &self,
        function: &'static str,
        id: Uuid,
        events: Option<EventRange>,
        failure: Option<&String>,
        logs: Vec<String>,
        elapsed: Duration,
    ) {
        for line in &logs {
            tracing::info!(function, %id, "{line}");
        }
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        match failure {
            None => tracing::debug!(function, %id, elapsed_ms, "invocation succeeded"),
            Some(failure) => tracing::warn!(function, %id, elapsed_ms, "invocation failed: {failure}"),
        }
        // Nobody may be listening.
        let _ = self.0.send(Invocation { id, function, events, failure: failure.cloned(), logs, elapsed_ms });
    }
}
