//! Warnings that are said once, and a bounded memory of what was said.

use std::hash::Hash;
use std::time::Duration;

use moka::sync::Cache;

/// Tells the first time from all further ones.
///
/// Holds `capacity` keys at most. A key that was forgotten for want of room counts as new again: rather a line twice
/// than memory without bound.
#[derive(Debug, Clone)]
pub struct Once<K: Eq + Hash + Send + Sync + 'static> {
    said: Cache<K, ()>,
}

impl<K: Eq + Hash + Send + Sync + 'static> Once<K> {
    /// Each key once in the life of the process.
    #[must_use]
    pub fn ever(capacity: u64) -> Self {
        Self { said: Cache::new(capacity) }
    }

    /// Each key once in any span of length `every`.
    #[must_use]
    pub fn every(every: Duration, capacity: u64) -> Self {
        Self { said: Cache::builder().max_capacity(capacity).time_to_live(every).build() }
    }

    /// Whether this is the first time that `key` is asked about.
    pub fn is_first(&self, key: K) -> bool {
        self.said.entry(key).or_insert(()).is_fresh()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_time_is_the_first() {
        let once = Once::ever(10);
        assert!(once.is_first("a"));
        assert!(!once.is_first("a"));
        assert!(once.is_first("b"));
    }

    #[test]
    fn memory_stays_bounded() {
        let once = Once::ever(100);
        for key in 0..10_000 {
            once.is_first(key);
        }
        once.said.run_pending_tasks();
        assert!(once.said.entry_count() <= 100);
    }
}
