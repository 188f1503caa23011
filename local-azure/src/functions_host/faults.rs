//! Faults that do not wait for requests: handlers that are killed by the clock, partitions that go back.

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{FunctionsHost, instance::Instance, pump::Pump};
use crate::gate::{Effect, Fault, Moment, Service};

/// A fault is about something that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// There is no such instance.
    #[error("there is no instance {instance} of the function app; the last one is {last}")]
    Instance {
        /// What was asked for.
        instance: usize,
        /// The highest number there is.
        last: usize,
    },
    /// The app has no such function.
    #[error("there is no function {wanted}; there are: {known}")]
    Function {
        /// What was asked for.
        wanted: String,
        /// The app's functions.
        known: String,
    },
    /// No function reads such a partition.
    #[error("no function reads {wanted}; there are: {known}")]
    Partition {
        /// What was asked for.
        wanted: String,
        /// The event hubs that functions read, with their partitions.
        known: String,
    },
    /// A partition can move only if there is somewhere to go.
    #[error("the function app has one instance: a partition has nowhere to go; start local-azure with --instances 2")]
    OneInstance,
}

impl FunctionsHost {
    /// Kills the handler process of an instance; its host sees a crash. The future is done when the process is dead,
    /// and the kill does not wait for it to be polled.
    ///
    /// # Errors
    /// [`Unknown::Instance`].
    pub fn kill(&self, instance: usize) -> Result<impl Future<Output = ()> + Send + use<>, Unknown> {
        Ok(self.instance(instance)?.invoker.handler.kill())
    }

    /// Refuses a fault about an instance, a function, an event hub or a partition that is not there.
    ///
    /// # Errors
    /// [`Unknown`].
    pub fn check(&self, fault: &Fault) -> Result<(), Unknown> {
        if let Some(instance) = fault.effect().instance() {
            self.instance(instance)?;
        }
        if let (Service::Functions, Some(wanted)) = (fault.service(), fault.operation()) {
            let names = || self.admin.functions.iter().map(|function| function.name);
            if !names().any(|name| name.eq_ignore_ascii_case(wanted)) {
                return Err(Unknown::Function {
                    wanted: wanted.to_owned(),
                    known: names().collect::<Vec<_>>().join(", "),
                });
            }
        }
        if fault.service() == Service::EventHubs {
            if fault.effect() == Effect::Move && self.instances.len() < 2 {
                return Err(Unknown::OneInstance);
            }
            let pumps = self.ownership.pumps();
            if !pumps.iter().any(|pump| pump.is_meant(fault)) {
                let known = pumps.iter().map(|pump| pump.place()).collect::<Vec<_>>().join(", ");
                let hub = fault.operation().unwrap_or("any event hub");
                let partition = fault.subject().map(|number| format!(" partition {number}")).unwrap_or_default();
                return Err(Unknown::Partition { wanted: format!("{hub}{partition}"), known });
            }
        }
        Ok(())
    }

    /// Makes a fault happen that does not wait for requests and is on at the gate under this number.
    pub fn begin(&self, id: u64, fault: &Fault) {
        match fault.effect() {
            Effect::KillNow(_) => {
                if let Moment::Happens(instance) = self.gate.moment(id, self.instances.len()) {
                    kill(&self.instances, instance);
                }
            }
            Effect::KillEvery(every, _) => self.kill_every(id, every),
            Effect::Rewind(events) => {
                if let Moment::Happens(_) = self.gate.moment(id, 1) {
                    let pumps = self.ownership.pumps().iter();
                    pumps.filter(|pump| pump.is_meant(fault)).for_each(|pump| pump.rewind(events));
                }
            }
            _ => {}
        }
    }

    fn kill_every(&self, id: u64, every: std::time::Duration) {
        let (gate, instances, shutdown) = (self.gate.clone(), self.instances.clone(), self.shutdown.clone());
        self.timed.spawn(async move {
            let mut ticks = interval_at(Instant::now() + every, every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    _ = ticks.tick() => {}
                }
                match gate.moment(id, instances.len()) {
                    Moment::Over => return,
                    Moment::Spared => {}
                    Moment::Happens(instance) => kill(&instances, instance),
                }
            }
        });
    }

    fn instance(&self, instance: usize) -> Result<&Instance, Unknown> {
        let last = self.instances.len().saturating_sub(1);
        self.instances.get(instance).map(AsRef::as_ref).ok_or(Unknown::Instance { instance, last })
    }
}

fn kill(instances: &[std::sync::Arc<Instance>], instance: usize) {
    if let Some(instance) = instances.get(instance) {
        // Nobody waits for the death.
        drop(instance.invoker.handler.kill());
    }
}

impl Pump {
    fn is_meant(&self, fault: &Fault) -> bool {
        fault.operation().is_none_or(|hub| hub.eq_ignore_ascii_case(self.event_hub.name()))
            && fault.subject().is_none_or(|partition| partition == self.partition.number.to_string())
    }

    fn place(&self) -> String {
        format!("{} partition {}", self.event_hub.name(), self.partition.number)
    }

    /// What is being delivered no longer counts: it is behind the new checkpoint.
    fn rewind(&self, events: u64) {
        let (group, partition) = (&self.trigger.consumer_group, self.partition.number);
        self.lease.begin_anew(|| {
            if let Err(error) = self.event_hub.rewind(group, partition, events) {
                // The pump was made with this group and partition.
                tracing::error!("cannot rewind: {error}");
            }
        });
    }
}
