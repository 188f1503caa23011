//! Event Hub triggers: one pump takes the events of one partition to one function.
//!
//! One invocation at a time, in order. A batch that fails is tried again as the function's retry policy says, with
//! the same events and a new invocation id; after the last retry the batch is checkpointed as if it had worked
//! (azure-sdk-for-net: `EventHubListener.PartitionProcessor.cs`).

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    app::{Cardinality, EventHubTrigger, Function},
    blobs::Blobs,
    envelope::{self, Delivery, Retry, System},
    invoker::Invoker,
    journal::Journal,
    output::write_blobs,
    statistics::{Counters, EventRange},
};
use crate::{
    clock::Clock,
    event_hubs::{self, EventHub, StoredEvent},
    gate::{Class, Gate, Refusal, Request, Service},
};

/// Takes the events of one partition to one function.
#[derive(Debug)]
pub(super) struct Pump {
    pub(super) function: Arc<Function>,
    pub(super) trigger: EventHubTrigger,
    pub(super) event_hub: Arc<EventHub>,
    pub(super) partition: envelope::Partition,
    pub(super) max_batch: usize,
    pub(super) counters: Counters,
}

/// What pumps work with.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    pub(super) blobs: Arc<Blobs>,
    pub(super) clock: Clock,
    pub(super) gate: Arc<Gate>,
    pub(super) journal: Journal,
}

/// What became of events.
enum Delivered {
    /// They are done with, for good or for bad.
    Done,
    /// The host stops: they come again.
    Interrupted,
}

impl Pump {
    /// Runs until `stop`; the invocation in flight then still ends.
    pub(super) async fn run(
        &self,
        invoker: &Invoker,
        around: &Surroundings,
        stop: &CancellationToken,
    ) -> Result<(), event_hubs::Error> {
        let (group, partition) = (&self.trigger.consumer_group, self.partition.number);
        while !stop.is_cancelled() {
            let finished = self.event_hub.checkpoint(group, partition)?;
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.event_hub.wait_for_events(partition, finished) => {}
            }
            let events = self.event_hub.read(partition, finished, self.max_batch);
            let Some(last) = events.last() else { continue };
            match self.deliver_all(&events, invoker, around, stop).await {
                Delivered::Interrupted => break,
                Delivered::Done => {
                    self.counters.count(|counts| {
                        counts.events += events.len() as u64;
                        counts.retries = 0;
                    });
                    self.event_hub.set_checkpoint(group, partition, last.sequence_number)?;
                }
            }
        }
        Ok(())
    }

    async fn deliver_all(
        &self,
        events: &[Arc<StoredEvent>],
        invoker: &Invoker,
        around: &Surroundings,
        stop: &CancellationToken,
    ) -> Delivered {
        let size = match self.trigger.cardinality {
            Cardinality::Many => events.len(),
            Cardinality::One => 1,
        };
        for batch in events.chunks(size.max(1)) {
            if let Delivered::Interrupted = self.deliver(batch, invoker, around, stop).await {
                return Delivered::Interrupted;
            }
        }
        Delivered::Done
    }

    /// One batch, with its retries.
    async fn deliver(
        &self,
        events: &[Arc<StoredEvent>],
        invoker: &Invoker,
        around: &Surroundings,
        stop: &CancellationToken,
    ) -> Delivered {
        let policy = self.function.retry.as_ref();
        let mut retry = Retry { count: 0, max_count: policy.and_then(|policy| policy.max_retry_count), failure: None };
        loop {
            self.counters.count(|counts| counts.retries = retry.count);
            let Err(failure) = self.attempt(events, &retry, invoker, around).await else { return Delivered::Done };
            let jitter = 0.8 + 0.4 * fastrand::f64();
            let Some(delay) = policy.and_then(|policy| policy.delay_before(retry.count, jitter)) else {
                self.counters.count(|counts| counts.given_up += 1);
                let (function, partition) = (self.function.name, self.partition.number);
                tracing::error!(function, partition, events = events.len(), "no retry is left: the events are lost");
                return Delivered::Done;
            };
            tokio::select! {
                () = stop.cancelled() => return Delivered::Interrupted,
                () = tokio::time::sleep(delay) => {}
            }
            retry = Retry { count: retry.count.saturating_add(1), failure: Some(failure), ..retry };
        }
    }

    async fn attempt(
        &self,
        events: &[Arc<StoredEvent>],
        retry: &Retry,
        invoker: &Invoker,
        around: &Surroundings,
    ) -> Result<(), String> {
        let (id, start) = (Uuid::new_v4(), Instant::now());
        let result = self.invoke(id, events, retry, invoker, around).await;
        self.counters.count(|counts| match result {
            Ok(_) => counts.succeeded += 1,
            Err(_) => counts.failed += 1,
        });
        let (logs, result) = match result {
            Ok(logs) => (logs, Ok(())),
            Err(failure) => (Vec::new(), Err(failure)),
        };
        let range = events.first().zip(events.last()).map(|(first, last)| EventRange {
            partition: self.partition.number,
            first_sequence_number: first.sequence_number,
            last_sequence_number: last.sequence_number,
            retry: retry.count,
        });
        around.journal.record(self.function.name, id, range, result.as_ref().err(), logs, start.elapsed());
        result
    }

    /// Calls the handler and writes its outputs; gives the answer's `Logs`.
    async fn invoke(
        &self,
        id: Uuid,
        events: &[Arc<StoredEvent>],
        retry: &Retry,
        invoker: &Invoker,
        around: &Surroundings,
    ) -> Result<Vec<String>, String> {
        let function = self.function.name;
        let request = Request { service: Service::Functions, operation: function, class: Class::Other, subject: "" };
        let passage = around.gate.pass(request).await.map_err(refused)?;
        let now = around.clock.now();
        let delivery = Delivery {
            name: &self.trigger.name,
            data_type: self.trigger.data_type,
            partition: &self.partition,
            system: System { function, now, guid: Uuid::new_v4() },
            retry: self.function.retry.is_some().then_some(retry),
        };
        let body = match (self.trigger.cardinality, events) {
            (Cardinality::One, [event]) => envelope::single(delivery, event),
            _ => envelope::batch(delivery, events).map_err(|error| error.to_string())?,
        };
        let answer = invoker.call(function, id, body).await;
        if !passage.is_answered() {
            return Err("the handler's answer was lost: a fault that was asked for".to_owned());
        }
        let answer = answer?;
        write_blobs(&self.function.blob_outputs, &answer.outputs, &around.blobs, around.clock.now())
            .map_err(|error| error.to_string())?;
        Ok(answer.logs)
    }
}

fn refused(refusal: Refusal) -> String {
    match refusal {
        Refusal::Status { status, .. } => format!("the host failed ({status}): a fault that was asked for"),
        Refusal::Reset => "the connection to the handler was reset: a fault that was asked for".to_owned(),
    }
}
