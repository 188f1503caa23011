//! Whether Azure Digital Twins takes the times that we say values were measured at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Learned from the service: every writer tries with source times until one was refused. Clones
/// share what was learned.
#[derive(Debug, Clone)]
pub struct SourceTimes {
    without_them: &'static str,
    refused: Arc<AtomicBool>,
}

impl SourceTimes {
    /// Of patches: documented ("Manage digital twins", update a property's sourceTime).
    pub(super) fn of_patches() -> Self {
        Self::new("the order of values is kept by this process alone")
    }

    /// Of new twins: not documented, so what they teach says nothing about patches.
    #[must_use]
    pub fn of_new_twins() -> Self {
        Self::new("a new twin has the time of its device's registration only as an update time")
    }

    fn new(without_them: &'static str) -> Self {
        Self { without_them, refused: Arc::default() }
    }

    /// Whether a write may carry source times.
    #[must_use]
    pub fn are_taken(&self) -> bool {
        !self.refused.load(Ordering::Relaxed)
    }

    /// Remembers that a write was refused with source times and went through without; says so the
    /// first time.
    pub fn were_refused(&self) {
        if !self.refused.swap(true, Ordering::Relaxed) {
            tracing::warn!("Azure Digital Twins refuses source times, writing without: {}", self.without_them);
        }
    }
}
