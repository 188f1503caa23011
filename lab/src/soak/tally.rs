//! Counts what was tried.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use super::schedule::Action;

/// Counts by what was done.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<BTreeMap<&'static str, u64>>);

impl Tally {
    /// All counts, by name.
    #[must_use]
    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn count(&self, action: Action) {
        match action {
            Action::Readings(count) => self.add("readings", u64::from(count)),
            Action::Poison(_) => self.add("poison messages", 1),
            Action::Foreign => self.add("claims of foreign twins", 1),
            Action::LeftOut(_) => self.add("messages that rules leave out", 1),
            Action::Duplicate => self.add("duplicates", 1),
            Action::RegisterAgain(requests) => self.add("repeated registrations", u64::from(requests)),
            Action::Move => self.add("moves between hubs", 1),
            Action::DeleteModule => self.add("modules deleted", 1),
            Action::DeleteAndReturn(_) => self.add("devices deleted and registered anew", 1),
        }
    }

    pub(super) fn left(&self) {
        self.add("devices deleted for good", 1);
    }

    pub(super) fn registration_failed(&self) {
        self.add("calls of the webhook to be repeated", 1);
    }

    pub(super) fn deletion_repeated(&self) {
        self.add("deletions told again after the return", 1);
    }

    pub(super) fn handler_killed(&self) {
        self.add("handlers killed", 1);
    }

    fn add(&self, name: &'static str, count: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += count;
    }
}
