//! What an event hub holds: its partitions and how far each consumer group is.

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroUsize,
    sync::Arc,
};

use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};

use super::event::{EventData, StoredEvent};
use crate::store::State;

/// Events that every consumer group has finished stay for a look back, at most this many a partition.
const FINISHED_EVENTS_KEPT: usize = 256;
/// A partition that nobody reads keeps its newest events up to this size, as a retention time would.
const RETAINED_BYTES: u64 = 128 * 1024 * 1024;

/// The state of an event hub.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Log {
    partitions: Vec<Partition>,
    /// For each consumer group the last finished sequence number of each partition.
    groups: BTreeMap<String, Vec<Option<u64>>>,
}

/// One step of an event hub.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum LogChange {
    /// An event arrives.
    Append {
        /// In which partition.
        partition: usize,
        /// The event, already stamped.
        #[serde(with = "shared_event")]
        event: Arc<StoredEvent>,
    },
    /// A consumer group finished everything up to here.
    Checkpoint {
        /// Which group.
        group: String,
        /// In which partition.
        partition: usize,
        /// The last finished event.
        sequence_number: u64,
    },
    /// A consumer group goes back to an older checkpoint.
    Rewind {
        /// Which group.
        group: String,
        /// In which partition.
        partition: usize,
        /// The last event that stays finished; `None` for none.
        sequence_number: Option<u64>,
    },
    /// All events and checkpoints are forgotten; numbers begin at 0 again.
    Clear,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Partition {
    #[serde(with = "shared_events")]
    events: VecDeque<Arc<StoredEvent>>,
    next_sequence_number: u64,
    next_offset: u64,
    retained_bytes: u64,
    /// Events that were dropped before every consumer group had finished them.
    expired: u64,
}

impl Log {
    /// An empty log.
    pub fn new(partitions: NonZeroUsize, consumer_groups: impl IntoIterator<Item = String>) -> Self {
        let groups = consumer_groups.into_iter().map(|group| (group, vec![None; partitions.get()])).collect();
        Self { partitions: (0..partitions.get()).map(|_| Partition::default()).collect(), groups }
    }

    /// For each partition the sequence number that the next event gets.
    pub fn heads(&self) -> impl Iterator<Item = u64> {
        self.partitions.iter().map(|partition| partition.next_sequence_number)
    }

    /// Events dropped for their age (in bytes) before every consumer group had finished them.
    pub fn expired(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.expired).sum()
    }

    /// `data` as it would be stored next in `partition`.
    pub(super) fn stamp(&self, partition: usize, data: EventData, now: Timestamp) -> StoredEvent {
        let (sequence_number, offset) = self
            .partitions
            .get(partition)
            .map_or((0, 0), |partition| (partition.next_sequence_number, partition.next_offset));
        let enqueued_time = now.round(Unit::Millisecond).unwrap_or(now);
        StoredEvent { data, sequence_number, offset: offset.to_string(), enqueued_time }
    }

    pub(super) fn events_after(&self, partition: usize, after: Option<u64>) -> impl Iterator<Item = &Arc<StoredEvent>> {
        self.partitions.get(partition).into_iter().flat_map(move |partition| {
            let start = partition.events.partition_point(|event| Some(event.sequence_number) <= after);
            partition.events.iter().skip(start)
        })
    }

    pub(super) fn checkpoints(&self, group: &str) -> Option<&[Option<u64>]> {
        self.groups.get(group).map(Vec::as_slice)
    }

    /// The checkpoint that is so many `events` before the group's, but not before the oldest event that is retained.
    pub(super) fn rewound(&self, group: &str, partition: usize, events: u64) -> Option<u64> {
        let next = self.checkpoints(group)?.get(partition).copied().flatten()? + 1;
        let oldest = self.partitions.get(partition).map_or(0, Partition::first_sequence_number);
        // Where events expired unread, the oldest is behind the checkpoint: then nothing moves.
        next.saturating_sub(events).max(oldest.min(next)).checked_sub(1)
    }

    pub(super) fn lag(&self, group: &str) -> Option<Vec<u64>> {
        let checkpoints = self.groups.get(group)?;
        let lag = |(partition, &checkpoint): (&Partition, &Option<u64>)| {
            let next = checkpoint.map_or(0, |sequence_number| sequence_number + 1);
            partition.next_sequence_number.saturating_sub(next.max(partition.first_sequence_number()))
        };
        Some(self.partitions.iter().zip(checkpoints).map(lag).collect())
    }

    /// The first sequence number in `partition` that some consumer group has not finished; without any group, 0.
    fn first_unfinished(&self, partition: usize) -> u64 {
        let next = |checkpoints: &Vec<Option<u64>>| {
            checkpoints.get(partition).copied().flatten().map_or(0, |sequence_number| sequence_number + 1)
        };
        self.groups.values().map(next).min().unwrap_or_default()
    }

    fn retain(&mut self, index: usize) {
        let first_unfinished = self.first_unfinished(index);
        let Some(partition) = self.partitions.get_mut(index) else { return };
        let mut finished = partition.events.partition_point(|event| event.sequence_number < first_unfinished);
        while finished > FINISHED_EVENTS_KEPT || partition.retained_bytes > RETAINED_BYTES {
            let Some(oldest) = partition.events.pop_front() else { break };
            partition.retained_bytes = partition.retained_bytes.saturating_sub(oldest.data.size());
            if oldest.sequence_number >= first_unfinished {
                partition.expired += 1;
            }
            finished = finished.saturating_sub(1);
        }
    }
}

impl Partition {
    fn first_sequence_number(&self) -> u64 {
        self.events.front().map_or(self.next_sequence_number, |event| event.sequence_number)
    }

    fn push(&mut self, event: Arc<StoredEvent>) {
        let size = event.data.size();
        self.next_sequence_number = event.sequence_number + 1;
        self.next_offset += size;
        self.retained_bytes += size;
        self.events.push_back(event);
    }
}

impl State for Log {
    type Change = LogChange;

    fn apply(&mut self, change: LogChange) {
        match change {
            LogChange::Append { partition, event } => {
                if let Some(log) = self.partitions.get_mut(partition) {
                    log.push(event);
                }
                self.retain(partition);
            }
            LogChange::Checkpoint { group, partition, sequence_number } => {
                let checkpoint = self.groups.get_mut(&group).and_then(|group| group.get_mut(partition));
                if let Some(checkpoint) = checkpoint {
                    *checkpoint = (*checkpoint).max(Some(sequence_number));
                }
                self.retain(partition);
            }
            LogChange::Rewind { group, partition, sequence_number } => {
                let checkpoint = self.groups.get_mut(&group).and_then(|group| group.get_mut(partition));
                if let Some(checkpoint) = checkpoint {
                    *checkpoint = (*checkpoint).min(sequence_number);
                }
            }
            LogChange::Clear => {
                self.partitions.fill_with(Partition::default);
                self.groups.values_mut().flatten().for_each(|checkpoint| *checkpoint = None);
            }
        }
    }
}

/// An event that readers share, written as the event itself.
mod shared_event {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::StoredEvent;

    pub(super) fn serialize<S: Serializer>(event: &Arc<StoredEvent>, serializer: S) -> Result<S::Ok, S::Error> {
        event.as_ref().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<StoredEvent>, D::Error> {
        StoredEvent::deserialize(deserializer).map(Arc::new)
    }
}

/// Events that readers share, written as a sequence of events.
mod shared_events {
    use std::{collections::VecDeque, sync::Arc};

    use serde::{Deserialize, Deserializer, Serializer};

    use super::StoredEvent;

    pub(super) fn serialize<S: Serializer>(
        events: &VecDeque<Arc<StoredEvent>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(events.iter().map(AsRef::as_ref))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<VecDeque<Arc<StoredEvent>>, D::Error> {
        let events = Vec::<StoredEvent>::deserialize(deserializer)?;
        Ok(events.into_iter().map(Arc::new).collect())
    }
}
