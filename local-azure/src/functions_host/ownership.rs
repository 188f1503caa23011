//! Which instance reads which partition, while instances come and go.

use std::sync::{Arc, Mutex, PoisonError};

use super::{lease::Term, pump::Pump, statistics::Counts};

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

    /// An instance has a host again: its partitions come back, also from an instance that is at work on them, and those
    /// that nobody reads come to it.
    pub(super) fn came(&self, instance: usize) {
        let mut up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        let was_down = up.get_mut(instance).is_some_and(|up| !std::mem::replace(up, true));
        if was_down {
            let is_read = |pump: &Pump| up.get(pump.lease.holder()) == Some(&true);
            self.pumps
                .iter()
                .filter(|pump| pump.home(up.len()) == instance || !is_read(pump))
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

    /// Has the next instance take over what the holder is doing in its term; if there is no other, nothing happens.
    pub(super) fn hand_over(&self, pump: &Pump, term: Term) {
        // Held: the next one's host is not gone before it has the partition.
        let up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = next(&up, term.holder) {
            pump.lease.hand_over(term, next);
        }
    }
}

fn next(up: &[bool], instance: usize) -> Option<usize> {
    (1..up.len()).map(|step| (instance + step) % up.len()).find(|&other| up.get(other) == Some(&true))
}

#[cfg(test)]
mod tests {
    use std::{
        num::NonZeroUsize,
        path::PathBuf,
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use super::{
        super::{
            Blobs, Config, Containers, FunctionKey,
            app::{App, AppSettings},
            lease::Lease,
        },
        *,
    };
    use crate::{clock::Clock, event_hubs::EventHub};

    /// Partitions 0 and 1 of a function's event hub, and two instances.
    fn two() -> Ownership {
        let function = r#"{"bindings": [{"type": "eventHubTrigger", "name": "events", "eventHubName": "hub",
            "connection": "C", "consumerGroup": "group", "cardinality": "many"}]}"#;
        let host = r#"{"version": "2.0", "customHandler": {"description": {}}}"#;
        let app = App::new(PathBuf::new(), host, [("F", function)], AppSettings::default()).unwrap();
        let functions = [Arc::new(app.functions[0].clone())];
        let two = NonZeroUsize::new(2).unwrap();
        let config = Config {
            app,
            handler: None,
            instances: two,
            own_settings: vec![],
            function_key: FunctionKey::new(""),
            event_hubs: vec![Arc::new(EventHub::new("hub", two, ["group"], Clock::system()))],
            event_hubs_namespace: String::new(),
            blobs: Arc::new(Blobs::new(Containers::default())),
            platform_restart: std::time::Duration::ZERO,
        };
        Ownership::new(config.pumps(&functions).unwrap(), two.get())
    }

    fn holders(ownership: &Ownership) -> Vec<usize> {
        ownership.pumps().iter().map(|pump| pump.lease.holder()).collect()
    }

    fn term(lease: &Lease) -> Term {
        futures::FutureExt::now_or_never(lease.term_of(lease.holder())).unwrap()
    }

    #[test]
    fn the_first_host_after_a_time_without_any_reads_every_partition() {
        for (first, last) in [(0, 1), (1, 0)] {
            let ownership = two();
            ownership.went(first);
            ownership.went(last);
            ownership.came(first);
            assert_eq!(holders(&ownership), [first; 2]);
            ownership.came(last);
            assert_eq!(holders(&ownership), [0, 1]);
        }
    }

    #[test]
    fn no_partition_is_handed_to_an_instance_whose_host_is_just_going() {
        let ownership = two();
        let pump = &ownership.pumps()[0];
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    ownership.went(1);
                    ownership.came(1);
                }
            });
            let stranded = (0..50_000).any(|_| {
                pump.lease.give_to(0);
                ownership.hand_over(pump, term(&pump.lease));
                let up = ownership.up.lock().unwrap();
                !up[pump.lease.holder()]
            });
            is_over.store(true, Ordering::Relaxed);
            assert!(!stranded, "a partition belongs to an instance that has no host");
        });
    }

    #[test]
    fn a_partition_goes_to_the_next_instance_that_has_a_host() {
        assert_eq!(next(&[true, true, true], 2), Some(0));
        assert_eq!(next(&[false, true, true], 2), Some(1));
        assert_eq!(next(&[false, false, true], 2), None);
        assert_eq!(next(&[true], 0), None);
    }
}
