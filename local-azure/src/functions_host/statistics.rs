//! What the Functions host counts and tells.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use uuid::Uuid;

/// One function and one partition of its event hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionStatistics {
    /// The partition, counted from 0.
    pub partition: usize,
    /// Events delivered for good: their batch succeeded, or was given up after its last retry.
    pub events: u64,
    /// Calls of the handler, retries included.
    pub invocations: u64,
    /// Those that succeeded.
    pub succeeded: u64,
    /// Those that failed.
    pub failed: u64,
    /// Batches that were given up: checkpointed although their last attempt failed.
    pub given_up: u64,
    /// Retries of the batch that is being delivered.
    pub retries: u32,
    /// Events in the partition that are not delivered for good.
    pub lag: u64,
}

/// All partitions of one function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionStatistics {
    /// The function.
    pub function: &'static str,
    /// Its event hub.
    pub event_hub: String,
    /// Partition by partition.
    pub partitions: Vec<PartitionStatistics>,
}

/// An invocation that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Invocation {
    /// Its id, also in the request's `X-Azure-Functions-InvocationId`.
    pub id: Uuid,
    /// The function.
    pub function: &'static str,
    /// The events it got; none for HTTP, and none that is in a partition for an invocation by hand.
    pub events: Option<EventRange>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// The answer's `Logs`.
    pub logs: Vec<String>,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
}

/// Consecutive events of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventRange {
    /// The partition, counted from 0.
    pub partition: usize,
    /// The first event.
    pub first_sequence_number: u64,
    /// The last event.
    pub last_sequence_number: u64,
    /// 0, or which retry this is.
    pub retry: u32,
}

/// The counts of one pump.
#[derive(Debug, Default)]
pub(super) struct Counters(Mutex<Counts>);

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) events: u64,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) given_up: u64,
    pub(super) retries: u32,
}

impl Counters {
    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn statistics(&self, partition: usize, lag: u64) -> PartitionStatistics {
        let Counts { events, succeeded, failed, given_up, retries } =
            *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        PartitionStatistics {
            partition,
            events,
            invocations: succeeded + failed,
            succeeded,
            failed,
            given_up,
            retries,
            lag,
        }
    }
}
