//! Event Hub triggers: one pump takes the events of one partition to one function.
//!
//! One invocation at a time, in order, by the instance that holds the partition's lease. A batch that fails is tried
//! again as the function's retry policy says, with the same events and a new invocation id; after the last retry the
//! batch is checkpointed as if it had worked (azure-sdk-for-net: `EventHubListener.PartitionProcessor.cs`).

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    app::{Cardinality, EventHubTrigger, Function},
    blobs::Blobs,
    envelope::{self, Delivery, Retry},
    instance::Instance,
    journal::Journal,
    lease::{Lease, Term},
    statistics::{Counters, EventRange},
};
use crate::{
    clock::Clock,
    event_hubs::{self, EventHub, StoredEvent},
    gate::{Effect, Gate},
};

/// Takes the events of one partition to one function.
#[derive(Debug)]
pub(super) struct Pump {
    pub(super) function: Arc<Function>,
    pub(super) trigger: EventHubTrigger,
    pub(super) event_hub: Arc<EventHub>,
    pub(super) partition: envelope::Partition,
    pub(super) lease: Lease,
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

/// An instance that reads a partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) instance: &'a Instance,
    pub(super) around: &'a Surroundings,
    /// Then no more is begun.
    pub(super) stop: &'a CancellationToken,
}

/// What became of events.
enum Delivered {
    /// They are done with, for good or for bad.
    Done,
    /// The host stops, or the partition is read by another: they come again.
    Interrupted,
}

impl Pump {
    /// The instance that reads the partition as long as it has a host.
    pub(super) fn home(&self, instances: usize) -> usize {
        self.partition.number.checked_rem(instances).unwrap_or_default()
    }

    /// Reads whenever the lease is the instance's, until it stops; the invocation in flight then still ends.
    pub(super) async fn run(&self, reader: Reader<'_>) -> Result<(), event_hubs::Error> {
        while !reader.stop.is_cancelled() {
            tokio::select! {
                biased;
                () = reader.stop.cancelled() => {}
                term = self.lease.term_of(reader.instance.index) => self.read(term, reader).await?,
            }
        }
        Ok(())
    }

    /// Reads until the term is over or the instance stops.
    async fn read(&self, term: Term, reader: Reader<'_>) -> Result<(), event_hubs::Error> {
        let (group, partition) = (&self.trigger.consumer_group, self.partition.number);
        // Faults do not happen a second time to a batch that was taken over because of one.
        let mut is_spared = term.takes_over;
        loop {
            let finished = tokio::select! {
                biased;
                () = reader.stop.cancelled() => return Ok(()),
                () = self.lease.over(term) => return Ok(()),
                finished = self.event_hub.unfinished(group, partition) => finished?,
            };
            let events = self.event_hub.read(partition, finished, self.max_batch);
            let Some(last) = events.last() else { continue };
            let fault = tokio::select! {
                biased;
                () = reader.stop.cancelled() => return Ok(()),
                () = self.lease.over(term) => return Ok(()),
                fault = self.fault(std::mem::take(&mut is_spared), reader) => fault,
            };
            if fault == Some(Effect::Move) {
                reader.instance.ownership.hand_over(self, term);
            }
            let mut delivered = self.deliver_all(&events, term, reader).await;
            if let (Delivered::Done, Some(Effect::Duplicate)) = (&delivered, fault) {
                delivered = self.deliver_all(&events, term, reader).await;
            }
            if let Delivered::Done = delivered {
                self.lease.during(term, || self.finish(&events, last.sequence_number)).unwrap_or(Ok(()))?;
            }
        }
    }

    async fn fault(&self, is_spared: bool, reader: Reader<'_>) -> Option<Effect> {
        if is_spared {
            return None;
        }
        reader.around.gate.pass_batch(self.event_hub.name(), self.partition.number).await
    }

    fn finish(&self, events: &[Arc<StoredEvent>], last: u64) -> Result<(), event_hubs::Error> {
        self.counters.count(|counts| {
            counts.events += events.len() as u64;
            counts.retries = 0;
        });
        self.event_hub.set_checkpoint(&self.trigger.consumer_group, self.partition.number, last)
    }

    async fn deliver_all(&self, events: &[Arc<StoredEvent>], term: Term, reader: Reader<'_>) -> Delivered {
        let size = match self.trigger.cardinality {
            Cardinality::Many => events.len(),
            Cardinality::One => 1,
        };
        for batch in events.chunks(size.max(1)) {
            if let Delivered::Interrupted = self.deliver(batch, term, reader).await {
                return Delivered::Interrupted;
            }
        }
        Delivered::Done
    }

    /// One batch, with its retries.
    async fn deliver(&self, events: &[Arc<StoredEvent>], term: Term, reader: Reader<'_>) -> Delivered {
        let policy = self.function.retry.as_ref();
        let mut retry = Retry { count: 0, max_count: policy.and_then(|policy| policy.max_retry_count), failure: None };
        loop {
            self.counters.count(|counts| counts.retries = retry.count);
            let result = self.attempt(events, &retry, reader).await;
            if self.lease.during(term, || ()).is_none() {
                tracing::info!(
                    function = self.function.name,
                    partition = self.partition.number,
                    instance = term.holder,
                    "the partition is read anew: what became of {} events does not count",
                    events.len()
                );
                return Delivered::Interrupted;
            }
            let Err(failure) = result else { return Delivered::Done };
            let jitter = 0.8 + 0.4 * fastrand::f64();
            let Some(delay) = policy.and_then(|policy| policy.delay_before(retry.count, jitter)) else {
                self.counters.count(|counts| counts.given_up += 1);
                let (function, partition) = (self.function.name, self.partition.number);
                tracing::error!(function, partition, events = events.len(), "no retry is left: the events are lost");
                return Delivered::Done;
            };
            tokio::select! {
                () = reader.stop.cancelled() => return Delivered::Interrupted,
                () = self.lease.over(term) => return Delivered::Interrupted,
                () = tokio::time::sleep(delay) => {}
            }
            retry = Retry { count: retry.count.saturating_add(1), failure: Some(failure), ..retry };
        }
    }

    async fn attempt(&self, events: &[Arc<StoredEvent>], retry: &Retry, reader: Reader<'_>) -> Result<(), String> {
        let (id, start) = (Uuid::new_v4(), Instant::now());
        let result = self.invoke(id, events, retry, reader).await;
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
        reader.around.journal.record(self.function.name, id, range, result.as_ref().err(), logs, start.elapsed());
        result
    }

    /// Calls the handler and writes its outputs; gives the answer's `Logs`.
    async fn invoke(
        &self,
        id: Uuid,
        events: &[Arc<StoredEvent>],
        retry: &Retry,
        Reader { instance, around, .. }: Reader<'_>,
    ) -> Result<Vec<String>, String> {
        let envelope = |system| {
            let delivery = Delivery {
                name: &self.trigger.name,
                data_type: self.trigger.data_type,
                partition: &self.partition,
                system,
                retry: self.function.retry.is_some().then_some(retry),
            };
            match (self.trigger.cardinality, events) {
                (Cardinality::One, [event]) => Ok(envelope::single(delivery, event)),
                _ => envelope::batch(delivery, events).map_err(|error| error.to_string()),
            }
        };
        instance.call(&self.function, id, around, envelope).await
    }
}
