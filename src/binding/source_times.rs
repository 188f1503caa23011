//! Whether Azure Digital Twins takes the times that we say values were measured at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Learned from the service: every writer tries with source times until one was refused. Clones
/// share what was learned.
#[derive(Debug, Clone, Default)]
pub struct SourceTimes {
    refused: Arc<AtomicBool>,
}

impl SourceTimes {
    /// Whether a write may carry source times.
    #[must_use]
    pub fn are_taken(&self) -> bool {
        !self.refused.load(Ordering::Relaxed)
    }

    /// Remembers that a write was refused with source times and went through without; says so the
    /// first time.
    pub fn were_refused(&self) {
        if !self.refused.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "Azure Digital Twins refuses source times: values are written without them, \
                 and their order is kept by this process alone"
            );
        }
    }
}
