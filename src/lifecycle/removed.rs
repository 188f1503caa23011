//! What twins lose on the way to their deletion, in case they live on.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::device::DeviceId;
use crate::digital_twins::{Relationship, RelationshipId, TwinId};

/// How many bytes of relationships are kept, as documents. Deletions that end leave nothing behind.
const ROOM: usize = 16 * 1024 * 1024;

/// How long what a deletion took is kept at least, if it does not end: its batch comes again within a minute, if it
/// comes to this process at all.
const KEPT_FOR: Duration = Duration::from_secs(3600);

/// Relationships that were deleted for the sake of twins that are not deleted yet.
///
/// Kept by the function, beyond the attempt: between two attempts at a batch the device can register anew.
#[derive(Debug)]
pub(super) struct Removed {
    room: usize,
    losses: Mutex<Losses>,
}

#[derive(Debug, Default)]
struct Losses {
    by_device: HashMap<DeviceId, BTreeMap<TwinId, Loss>>,
    bytes: usize,
}

/// What one twin lost.
#[derive(Debug, Clone)]
pub(super) struct Loss {
    relationships: BTreeMap<(TwinId, RelationshipId), Kept>,
    /// How many more there were than there was room for.
    pub(super) unkept: usize,
    since: Instant,
}

#[derive(Debug, Clone)]
struct Kept {
    relationship: Relationship,
    bytes: usize,
}

impl Loss {
    fn now() -> Self {
        Self { relationships: BTreeMap::new(), unkept: 0, since: Instant::now() }
    }

    /// What can be put back.
    pub(super) fn relationships(&self) -> impl Iterator<Item = &Relationship> {
        self.relationships.values().map(|kept| &kept.relationship)
    }

    /// The same, as the documents that they were.
    pub(super) fn documents(&self) -> impl Iterator<Item = String> {
        self.relationships().map(|relationship| relationship.document().to_string())
    }

    fn bytes(&self) -> usize {
        self.relationships.values().map(|kept| kept.bytes).sum()
    }
}

impl Removed {
    /// Nothing was removed yet.
    pub(super) fn new() -> Self {
        Self::with_room(ROOM)
    }

    fn with_room(room: usize) -> Self {
        Self { room, losses: Mutex::default() }
    }

    /// Keeps a relationship that is about to be deleted, because `twin` is to be deleted with `device`.
    pub(super) fn keep(&self, device: &DeviceId, twin: &TwinId, relationship: Relationship) {
        let bytes = relationship.document().to_string().len();
        let mut losses = self.losses();
        if losses.bytes + bytes > self.room {
            losses.expire();
        }
        let has_room = losses.bytes + bytes <= self.room;
        let twins = losses.by_device.entry(device.clone()).or_default();
        let loss = twins.entry(twin.clone()).or_insert_with(Loss::now);
        let key = (relationship.source.clone(), relationship.id.clone());
        match loss.relationships.entry(key) {
            // Deleted before, and made anew since.
            Entry::Occupied(mut place) => {
                let before = place.insert(Kept { relationship, bytes });
                losses.bytes = losses.bytes - before.bytes + bytes;
            }
            Entry::Vacant(place) if has_room => {
                place.insert(Kept { relationship, bytes });
                losses.bytes += bytes;
            }
            Entry::Vacant(_) => loss.unkept += 1,
        }
    }

    /// What twins lost because `device` was deleted.
    pub(super) fn of(&self, device: &DeviceId) -> Vec<(TwinId, Loss)> {
        let losses = self.losses();
        let twins = losses.by_device.get(device).into_iter().flatten();
        twins.map(|(twin, loss)| (twin.clone(), loss.clone())).collect()
    }

    /// The documents of all of that.
    pub(super) fn documents_of(&self, device: &DeviceId) -> Vec<String> {
        self.of(device).iter().flat_map(|(_, loss)| loss.documents().collect::<Vec<_>>()).collect()
    }

    /// A relationship is there again.
    pub(super) fn is_back(&self, device: &DeviceId, twin: &TwinId, relationship: &Relationship) {
        let mut losses = self.losses();
        let Some(loss) = losses.by_device.get_mut(device).and_then(|twins| twins.get_mut(twin)) else { return };
        let kept = loss.relationships.remove(&(relationship.source.clone(), relationship.id.clone()));
        let is_whole = loss.relationships.is_empty() && loss.unkept == 0;
        losses.bytes -= kept.map_or(0, |kept| kept.bytes);
        if is_whole {
            losses.remove(device, twin);
        }
    }

    /// The twin is gone, and needs nothing any more.
    pub(super) fn forget(&self, device: &DeviceId, twin: &TwinId) {
        self.losses().remove(device, twin);
    }

    /// All is said and done about the deletion of `device`.
    pub(super) fn forget_device(&self, device: &DeviceId) {
        let mut losses = self.losses();
        let twins = losses.by_device.remove(device).unwrap_or_default();
        losses.bytes -= twins.values().map(Loss::bytes).sum::<usize>();
    }

    fn losses(&self) -> MutexGuard<'_, Losses> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Losses {
    /// Takes out what `twin` lost. A device of which nothing is left leaves nothing behind: its batch may never be
    /// answered here, where another instance has gone on with it.
    fn remove(&mut self, device: &DeviceId, twin: &TwinId) {
        let Some(twins) = self.by_device.get_mut(device) else { return };
        self.bytes -= twins.remove(twin).map_or(0, |loss| loss.bytes());
        if twins.is_empty() {
            self.by_device.remove(device);
        }
    }

    fn expire(&mut self) {
        for twins in self.by_device.values_mut() {
            twins.retain(|_, loss| loss.since.elapsed() < KEPT_FOR);
        }
        self.by_device.retain(|_, twins| !twins.is_empty());
        self.bytes = self.by_device.values().flat_map(BTreeMap::values).map(Loss::bytes).sum();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn contains(source: &str, id: &str) -> Relationship {
        let document = json!({ "$relationshipId": id, "$sourceId": source, "$relationshipName": "contains",
            "$targetId": "pump" });
        Relationship::from_json(document).unwrap()
    }

    fn kept(removed: &Removed, device: &DeviceId) -> Vec<(String, Vec<String>, usize)> {
        let losses = removed.of(device).into_iter();
        losses
            .map(|(twin, loss)| {
                let ids = loss.relationships().map(|it| format!("{}/{}", it.source, it.id)).collect();
                (twin.to_string(), ids, loss.unkept)
            })
            .collect()
    }

    #[test]
    fn devices_whose_twins_need_nothing_any_more_leave_nothing_behind() {
        let twin = TwinId::parse("pump").unwrap();
        let removed = Removed::new();
        for number in 0..100 {
            let device = DeviceId::parse(&format!("pump-{number}")).unwrap();
            removed.keep(&device, &twin, contains("hall", "r1"));
            if number % 2 == 0 {
                removed.forget(&device, &twin);
            } else {
                removed.is_back(&device, &twin, &contains("hall", "r1"));
            }
        }
        assert!(removed.losses().by_device.is_empty(), "{removed:?}");
        assert_eq!(removed.losses().bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_fit_is_counted_until_something_is_forgotten_or_old() {
        let (pump, valve) = (DeviceId::parse("pump").unwrap(), DeviceId::parse("valve").unwrap());
        let twin = TwinId::parse("pump").unwrap();
        let removed = Removed::with_room(2 * contains("hall", "r1").document().to_string().len());
        for id in ["r1", "r2", "r1", "r3"] {
            removed.keep(&pump, &twin, contains("hall", id));
        }
        removed.keep(&valve, &twin, contains("hall", "r4"));
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        assert_eq!(kept(&removed, &pump), [("pump".to_owned(), ids(&["hall/r1", "hall/r2"]), 1)]);
        assert_eq!(kept(&removed, &valve), [("pump".to_owned(), ids(&[]), 1)]);

        removed.is_back(&pump, &twin, &contains("hall", "r1"));
        removed.keep(&valve, &twin, contains("hall", "r5"));
        assert_eq!(kept(&removed, &pump), [("pump".to_owned(), ids(&["hall/r2"]), 1)]);
        assert_eq!(kept(&removed, &valve), [("pump".to_owned(), ids(&["hall/r5"]), 1)]);

        removed.forget(&valve, &twin);
        removed.keep(&valve, &twin, contains("hall", "r6"));
        removed.keep(&valve, &twin, contains("hall", "r7"));
        assert_eq!(kept(&removed, &valve), [("pump".to_owned(), ids(&["hall/r6"]), 1)]);

        tokio::time::advance(KEPT_FOR).await;
        removed.keep(&valve, &twin, contains("hall", "r8"));
        assert_eq!(kept(&removed, &pump), []);
        assert_eq!(kept(&removed, &valve), [("pump".to_owned(), ids(&["hall/r8"]), 0)]);

        removed.forget_device(&valve);
        assert_eq!(removed.losses().bytes, 0);
        assert_eq!(kept(&removed, &valve), []);
    }
}
