//! Which instance reads which partition, while instances come and go.

use std::sync::{Arc, Mutex, PoisonError};

use super::{pump::Pump, statistics::Counts};

/// Partitions and instances. A partition belongs to one instance, and while that one's host is down, to the next.
#[derive(Debug)]
pub(super) struct Ownership {
    pumps: Vec<Arc<Pump>>,
    /// Which instances have a host.
    up: Mutex<Vec<bool>>,
}

impl Ownership {
    /// Partitions of `instances` that are all about to have a host.
    pub(super) fn new(pumps: Vec<Arc<Pump>>, instances: usize) -> Self {
        Self { pumps, up: Mutex::new(vec![true; instances]) }
    }

    pub(super) fn pumps(&self) -> &[Arc<Pump>] {
        &self.pumps
    }

    /// An instance has a host again: its partitions come back, also from an instance that is at work on them.
    pub(super) fn came(&self, instance: usize) {
        let mut up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        let was_down = up.get_mut(instance).is_some_and(|up| !std::mem::replace(up, true));
        if was_down {
            self.pumps
                .iter()
                .filter(|pump| pump.home(up.len()) == instance)
                .for_each(|pump| pump.lease.give_to(instance));
        }
    }

    /// An instance has no host any more: the others get what it read.
    pub(super) fn went(&self, instance: usize) {
        let mut up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(up) = up.get_mut(instance) {
            *up = false;
        }
        let held = self.pumps.iter().filter(|pump| pump.lease.holder() == instance);
        for pump in held {
            if let Some(next) = next(&up, instance) {
                pump.lease.give_to(next);
            }
        }
    }

    /// All instances are about to have a host, and nothing was counted.
    pub(super) fn begin_anew(&self) {
        let mut up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        up.fill(true);
        for pump in &self.pumps {
            pump.lease.give_to(pump.home(up.len()));
            pump.counters.count(|counts| *counts = Counts::default());
        }
    }

    /// The instance that a partition goes to when it leaves this one; `None` if there is no other.
    pub(super) fn after(&self, instance: usize) -> Option<usize> {
        next(&self.up.lock().unwrap_or_else(PoisonError::into_inner), instance)
    }
}

fn next(up: &[bool], instance: usize) -> Option<usize> {
    (1..up.len()).map(|step| (instance + step) % up.len()).find(|&other| up.get(other) == Some(&true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_goes_to_the_next_instance_that_has_a_host() {
        assert_eq!(next(&[true, true, true], 2), Some(0));
        assert_eq!(next(&[false, true, true], 2), Some(1));
        assert_eq!(next(&[false, false, true], 2), None);
        assert_eq!(next(&[true], 0), None);
    }
}
