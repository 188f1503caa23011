//! Event Hubs: partitioned logs that IoT Hub's routes write and the Functions host reads.
//!
//! There is no AMQP here: producers and consumers live in this process. What consumers can tell from the real
//! service is kept: order within a partition, sequence numbers, offsets, enqueued times, consumer groups with a
//! checkpoint a partition, and retention.

mod event;
mod log;

use std::{num::NonZeroUsize, sync::Arc};

use serde::Serialize;
use tokio::sync::watch;

pub(crate) use self::event::base64_text;
pub use self::{
    event::{EventData, StoredEvent},
    log::{Log, LogChange},
};
use crate::{clock::Clock, store::Store};

/// Where an event went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Position {
    /// The partition, counted from 0.
    pub partition: usize,
    /// The number within the partition, counted from 0.
    pub sequence_number: u64,
}

/// An event hub or one of its consumer groups was asked for and does not exist.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Consumer groups are made beforehand, as in Azure.
    #[error("event hub {hub} has no consumer group {group}; create it together with the event hub")]
    NoSuchConsumerGroup {
        /// The event hub.
        hub: String,
        /// The missing group.
        group: String,
    },
    /// Partitions are counted from 0 and fixed when the event hub is made.
    #[error("event hub {hub} has no partition {partition}; the last one is {last}")]
    NoSuchPartition {
        /// The event hub.
        hub: String,
        /// The missing partition.
        partition: usize,
        /// The highest partition there is.
        last: usize,
    },
}

/// One event hub.
#[derive(Debug)]
pub struct EventHub {
    name: String,
    log: Store<Log>,
    clock: Clock,
    /// For each partition the sequence number that the next event will get.
    heads: Vec<watch::Sender<u64>>,
    /// Signals that some checkpoint moved, forward or back.
    checkpoints: watch::Sender<()>,
}

impl EventHub {
    /// An empty event hub with these partitions and consumer groups.
    pub fn new<G: Into<String>>(
        name: impl Into<String>,
        partitions: NonZeroUsize,
        consumer_groups: impl IntoIterator<Item = G>,
        clock: Clock,
    ) -> Self {
        Self::resume(name, Log::new(partitions, consumer_groups.into_iter().map(Into::into)), clock)
    }

    /// An event hub that goes on where `log` ends.
    pub fn resume(name: impl Into<String>, log: impl Into<Store<Log>>, clock: Clock) -> Self {
        let log = log.into();
        let heads = log.read(|log| log.heads().map(watch::Sender::new).collect());
        Self { name: name.into(), log, clock, heads, checkpoints: watch::Sender::new(()) }
    }

    /// The event hub's name, for instance `deviceevents`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many partitions it has; they are numbered from 0.
    pub fn partitions(&self) -> usize {
        self.heads.len()
    }

    /// Everything it holds, for persistence.
    pub fn log(&self) -> &Store<Log> {
        &self.log
    }

    /// The partition that events with this key go to: always the same one.
    pub fn partition_of(&self, key: &str) -> usize {
        let partitions = u64::try_from(self.heads.len().max(1)).unwrap_or(u64::MAX);
        usize::try_from(fnv1a(key.as_bytes()) % partitions).unwrap_or_default()
    }

    /// Adds an event to the partition of `partition_key`; events with one key keep their order.
    pub fn append(&self, partition_key: &str, data: EventData) -> Position {
        let partition = self.partition_of(partition_key);
        let sequence_number = self.log.change(|log| {
            let event = Arc::new(log.stamp(partition, data, self.clock.now()));
            let sequence_number = event.sequence_number;
            Ok::<_, std::convert::Infallible>((vec![LogChange::Append { partition, event }], sequence_number))
        });
        let Ok(sequence_number) = sequence_number;
        self.tell_head(partition);
        Position { partition, sequence_number }
    }

    /// Wakes who waits in a partition. What it is told is looked up as it is told: of two events that arrive at once, the
    /// later one is told last.
    fn tell_head(&self, partition: usize) {
        if let Some(head) = self.heads.get(partition) {
            head.send_modify(|head| *head = self.log.read(|log| log.heads().nth(partition)).unwrap_or_default());
        }
    }

    /// The oldest events behind `after` (from the start of what is retained without it), at most `max`.
    pub fn read(&self, partition: usize, after: Option<u64>, max: usize) -> Vec<Arc<StoredEvent>> {
        self.log.read(|log| log.events_after(partition, after).take(max).cloned().collect())
    }

    /// Waits until [`EventHub::read`] would return something.
    pub async fn wait_for_events(&self, partition: usize, after: Option<u64>) {
        let Some(head) = self.heads.get(partition) else { return std::future::pending().await };
        let wanted = after.map_or(0, |sequence_number| sequence_number + 1);
        // The sender lives as long as `self`, so this only ends when there is something.
        let _ = head.subscribe().wait_for(|&head| head > wanted).await;
    }

    /// The last event that a consumer group has finished in a partition.
    ///
    /// # Errors
    /// [`Error`] where there is no such group or partition.
    pub fn checkpoint(&self, group: &str, partition: usize) -> Result<Option<u64>, Error> {
        self.log.read(|log| {
            let checkpoints = log.checkpoints(group).ok_or_else(|| self.no_such_group(group))?;
            checkpoints.get(partition).copied().ok_or_else(|| self.no_such_partition(partition))
        })
    }

    /// Remembers that a consumer group has finished everything in a partition up to `sequence_number`.
    ///
    /// # Errors
    /// [`Error`] where there is no such group or partition.
    pub fn set_checkpoint(&self, group: &str, partition: usize, sequence_number: u64) -> Result<(), Error> {
        self.log.change(|log| {
            let checkpoints = log.checkpoints(group).ok_or_else(|| self.no_such_group(group))?;
            checkpoints.get(partition).ok_or_else(|| self.no_such_partition(partition))?;
            let change = LogChange::Checkpoint { group: group.to_owned(), partition, sequence_number };
            Ok((vec![change], ()))
        })?;
        self.checkpoints.send_replace(());
        Ok(())
    }

    /// Has a consumer group read the last `events` that it finished in a partition again, as many of them as are still
    /// retained. A reader that is at work on a batch still moves the checkpoint to that batch's end.
    ///
    /// # Errors
    /// [`Error`] where there is no such group or partition.
    pub fn rewind(&self, group: &str, partition: usize, events: u64) -> Result<(), Error> {
        self.log.change(|log| {
            let checkpoints = log.checkpoints(group).ok_or_else(|| self.no_such_group(group))?;
            checkpoints.get(partition).ok_or_else(|| self.no_such_partition(partition))?;
            let sequence_number = log.rewound(group, partition, events);
            Ok((vec![LogChange::Rewind { group: group.to_owned(), partition, sequence_number }], ()))
        })?;
        self.checkpoints.send_replace(());
        Ok(())
    }

    /// Forgets all events and checkpoints; numbers begin at 0 again. Whoever reads should have stopped before.
    pub fn clear(&self) {
        let Ok(()) = self.log.change(|_| Ok::<_, std::convert::Infallible>((vec![LogChange::Clear], ())));
        (0..self.heads.len()).for_each(|partition| self.tell_head(partition));
        self.checkpoints.send_replace(());
    }

    /// Waits until a consumer group has events in a partition that it has not finished; gives its checkpoint then.
    ///
    /// # Errors
    /// [`Error`] where there is no such group or partition.
    pub async fn unfinished(&self, group: &str, partition: usize) -> Result<Option<u64>, Error> {
        let mut checkpoints = self.checkpoints.subscribe();
        loop {
            let finished = self.checkpoint(group, partition)?;
            tokio::select! {
                () = self.wait_for_events(partition, finished) => return self.checkpoint(group, partition),
                // It may have gone back. The sender lives as long as `self`.
                _ = checkpoints.changed() => {}
            }
        }
    }

    /// How many events a consumer group has not finished, partition by partition.
    ///
    /// # Errors
    /// [`Error::NoSuchConsumerGroup`].
    pub fn lag(&self, group: &str) -> Result<Vec<u64>, Error> {
        self.log.read(|log| log.lag(group)).ok_or_else(|| self.no_such_group(group))
    }

    /// Waits for a moment at which a consumer group has finished every event.
    ///
    /// # Errors
    /// [`Error::NoSuchConsumerGroup`].
    pub async fn caught_up(&self, group: &str) -> Result<(), Error> {
        let mut checkpoints = self.checkpoints.subscribe();
        while self.lag(group)?.iter().any(|&lag| lag > 0) {
            if checkpoints.changed().await.is_err() {
                break;
            }
        }
        Ok(())
    }

    fn no_such_group(&self, group: &str) -> Error {
        Error::NoSuchConsumerGroup { hub: self.name.clone(), group: group.to_owned() }
    }

    fn no_such_partition(&self, partition: usize) -> Error {
        Error::NoSuchPartition { hub: self.name.clone(), partition, last: self.heads.len().saturating_sub(1) }
    }
}

/// The 64-bit FNV-1a hash: the same in every version of Rust, so that a kept log goes on in the same partitions.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What cannot be kept did not arrive: who waited for it would look for it again and again.
    #[tokio::test]
    async fn nobody_is_woken_for_an_event_that_cannot_be_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut dir = crate::data_dir::DataDir::open(folder.path()).unwrap();
        let log = dir.store("hub", Log::new(NonZeroUsize::MIN, ["group".to_owned()])).unwrap();
        let hub = EventHub::resume("hub", log, Clock::system());
        let arrived = |after| futures::FutureExt::now_or_never(hub.wait_for_events(0, after)).is_some();
        hub.append("a", EventData::default());
        assert_eq!([arrived(None), arrived(Some(0))], [true, false]);
        dir.close();
        let append = std::panic::AssertUnwindSafe(|| hub.append("a", EventData::default()));
        assert!(std::panic::catch_unwind(append).is_err());
        assert!(!arrived(Some(0)) && hub.read(0, Some(0), 1).is_empty());
    }

    #[test]
    fn the_partition_hash_is_the_published_fnv_1a() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
