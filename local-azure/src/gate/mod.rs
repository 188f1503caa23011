//! The one layer that every request to every service passes.
//!
//! It knows which operation of which service is asked for and on what, counts it, and holds it up or refuses it
//! where the configuration or a fault says so: latency, limits and faults hang here, and nowhere else. How a refusal
//! looks is the service's business: each one answers in its own shape.

mod counts;
mod effect;
mod fault;
mod faults;
mod handlers;
mod limits;
#[cfg(test)]
mod tests;
mod throttles;

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::{sync::broadcast, time::Instant};

use self::{counts::Counts, faults::Faults, handlers::Handlers, limits::Limits, throttles::Throttles};
pub use self::{
    counts::OperationCount,
    effect::Effect,
    fault::{Fault, FaultError},
    faults::{FaultStatus, Fired, Moment, TooMany},
    handlers::{Caller, Killer},
};
use crate::clock::Clock;

/// The services that local-azure stands in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// Azure Digital Twins.
    DigitalTwins,
    /// Device Provisioning Service.
    Dps,
    /// IoT Hub.
    IotHub,
    /// Event Hubs: the batches of events that consumers get.
    EventHubs,
    /// The Functions host: its invocations.
    Functions,
    /// The managed identity endpoint.
    Identity,
}

/// A class of operations that shares a limit (Azure Digital Twins: service limits; IoT Hub: quotas and throttling; DPS:
/// limits).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Reads of twins and relationships.
    Read,
    /// Patches of twins and relationships.
    Patch,
    /// Creations and deletions of twins and relationships.
    CreateOrDelete,
    /// Queries, of Azure Digital Twins and of IoT Hub.
    Query,
    /// Everything about models.
    Models,
    /// Everything about event routes.
    EventRoutes,
    /// Everything about import and delete jobs.
    Jobs,
    /// Identities of IoT Hub.
    Registry,
    /// New connections of devices to IoT Hub.
    Connect,
    /// Messages that devices send.
    Send,
    /// Messages that devices fetch over HTTPS.
    Receive,
    /// Reads of device twins.
    TwinRead,
    /// Changes of device twins.
    TwinUpdate,
    /// Calls of direct methods.
    Method,
    /// Registrations of devices in DPS.
    Registration,
    /// Questions of devices to DPS how their registration goes.
    Poll,
    /// Everything of DPS' service API.
    Enrollments,
    /// Everything without a documented limit.
    Other,
}

/// One request, as the gate sees it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Whom it is for.
    pub service: Service,
    /// The operation's name, for instance `DigitalTwins_Update`.
    pub operation: &'a str,
    /// Which limit it counts against.
    pub class: Class,
    /// What it works on (a twin id, a device id); empty where there is nothing of the kind.
    pub subject: &'a str,
}

/// What a request takes of the throttles of an IoT hub.
#[derive(Debug, Clone, Copy)]
pub struct Share<'a> {
    /// The hub's host name.
    pub hub: &'a str,
    /// How much it takes: a bulk operation one for each device, a call of a method one for each 4 KB.
    pub units: u32,
    /// The hub's clock.
    pub clock: &'a Clock,
}

/// The gate refused a request: it must not be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is to be answered with an error.
    Status {
        /// Which one; over other protocols than HTTP the nearest they have.
        status: StatusCode,
        /// When to come back.
        retry_after: Option<Duration>,
    },
    /// The connection is to end without an answer.
    Reset,
}

impl Refusal {
    /// Too many requests of a kind.
    pub fn too_many_requests(retry_after: Duration) -> Self {
        Self::Status { status: StatusCode::TOO_MANY_REQUESTS, retry_after: Some(retry_after) }
    }
}

/// A request that may be carried out. Hold it until that is done, then ask whether the answer may go out.
#[derive(Debug)]
#[must_use = "carry the request out, then ask `is_answered`"]
pub struct Passage {
    caller: Caller,
    end: End,
}

/// What follows when a request was carried out.
#[derive(Debug)]
enum End {
    Answer,
    NoAnswer,
    /// The chosen handler, or the caller, is killed.
    Kill(Option<usize>, Arc<Handlers>),
}

impl Passage {
    /// The request was carried out: whether the client is to hear of it. Where not, the connection is to end without
    /// an answer.
    pub async fn is_answered(self) -> bool {
        match self.end {
            End::Answer => true,
            End::NoAnswer => false,
            End::Kill(chosen, handlers) => {
                handlers.kill(chosen, self.caller).await;
                false
            }
        }
    }
}

/// How the gate behaves.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// How long each request to a service takes longer.
    pub latency: HashMap<Service, Duration>,
    /// Whether the documented limits of Azure Digital Twins are enforced.
    pub digital_twins_limits: bool,
    /// Whether the documented throttles of IoT Hub are.
    pub iot_hub_limits: bool,
    /// Whether the documented limits of DPS are.
    pub dps_limits: bool,
}

/// Counts and holds up requests. Shared by all services of one local-azure.
#[derive(Debug)]
pub struct Gate {
    rules: Rules,
    counts: Counts,
    limits: Limits,
    throttles: Throttles,
    faults: Faults,
    handlers: Arc<Handlers>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new(Rules::default())
    }
}

impl Gate {
    /// A gate with these rules and no faults.
    pub fn new(rules: Rules) -> Self {
        let (counts, limits, throttles) = (Counts::default(), Limits::default(), Throttles::default());
        Self { rules, counts, limits, throttles, faults: Faults::default(), handlers: Arc::default() }
    }

    /// Says how faults kill handlers. Without this they kill none.
    pub fn connect_handlers(&self, killer: Killer) {
        self.handlers.connect(killer);
    }

    /// Lets a request through, later if latency is configured or a fault delays it.
    ///
    /// # Errors
    /// [`Refusal`] where the operation's limit is used up or a fault happens.
    pub async fn pass(&self, request: Request<'_>) -> Result<Passage, Refusal> {
        self.pass_from(Caller::Other, request).await
    }

    /// As [`Gate::pass`], for a request whose caller is known.
    ///
    /// # Errors
    /// As [`Gate::pass`].
    pub async fn pass_from(&self, caller: Caller, request: Request<'_>) -> Result<Passage, Refusal> {
        let end = match self.meet(caller, request).await {
            Some(Effect::Status(status, retry_after)) => return Err(Refusal::Status { status, retry_after }),
            Some(Effect::Reset) => return Err(Refusal::Reset),
            Some(Effect::KillBefore(chosen)) => {
                self.handlers.kill(chosen, caller).await;
                return Err(Refusal::Reset);
            }
            Some(Effect::LoseAnswer) => End::NoAnswer,
            Some(Effect::KillAfter(chosen)) => End::Kill(chosen, Arc::clone(&self.handlers)),
            Some(_) | None => End::Answer,
        };
        if self.has_limits(request.service) {
            self.limits.admit(&request, Instant::now())?;
        }
        Ok(Passage { caller, end })
    }

    /// As [`Gate::pass`], for a request to one of several hubs, each of which has throttles of its own: it may have to
    /// wait.
    ///
    /// # Errors
    /// As [`Gate::pass`].
    pub async fn pass_to_hub(&self, share: Share<'_>, request: Request<'_>) -> Result<Passage, Refusal> {
        let passage = self.pass(request).await?;
        if self.rules.iot_hub_limits {
            let wait = self.throttles.admit(share.hub, request.class, share.units, share.clock.now())?;
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
        }
        Ok(passage)
    }

    /// Whether a service's documented limits are enforced.
    pub fn has_limits(&self, service: Service) -> bool {
        match service {
            Service::DigitalTwins => self.rules.digital_twins_limits,
            Service::Dps => self.rules.dps_limits,
            Service::IotHub => self.rules.iot_hub_limits,
            _ => false,
        }
    }

    /// Lets a batch of events through, later if a fault delays it. Gives what else is to happen to it:
    /// [`Effect::Duplicate`] or [`Effect::Move`].
    pub async fn pass_batch(&self, event_hub: &str, partition: usize) -> Option<Effect> {
        let subject = partition.to_string();
        let class = Class::Other;
        let batch = Request { service: Service::EventHubs, operation: event_hub, class, subject: &subject };
        self.meet(Caller::Other, batch).await
    }

    /// Counts a request and holds it up; gives the effect of a fault that is not a delay.
    async fn meet(&self, caller: Caller, request: Request<'_>) -> Option<Effect> {
        self.counts.add(&request);
        let verdict = self.faults.judge(caller, &request);
        let latency = self.rules.latency.get(&request.service).copied().unwrap_or_default();
        let delay = latency.saturating_add(verdict.delay);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        verdict.effect
    }

    /// Switches a fault on; gives its number. What does not wait for requests also has to be made happen:
    /// [`crate::Faults`] does.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn inject(&self, fault: Fault) -> Result<u64, TooMany> {
        self.faults.inject(fault)
    }

    /// The next moment of a fault that does not wait for requests: what happens now, and to which of `among`.
    pub fn moment(&self, id: u64, among: usize) -> Moment {
        self.faults.moment(id, among)
    }

    /// Takes a fault away; says whether there was one of that number.
    pub fn remove_fault(&self, id: u64) -> bool {
        self.faults.remove(id)
    }

    /// Takes all faults away.
    pub fn clear(&self) {
        self.faults.clear();
    }

    /// All faults, in the order in which they were injected.
    pub fn faults(&self) -> Vec<FaultStatus> {
        self.faults.all()
    }

    /// Tells each fault that happens from now on. A slow listener loses the oldest.
    pub fn fired(&self) -> broadcast::Receiver<Fired> {
        self.faults.subscribe()
    }

    /// How often each operation was asked for.
    pub fn counts(&self) -> Vec<OperationCount> {
        self.counts.all()
    }

    /// Forgets faults, counts and what was used up of limits.
    pub fn reset(&self) {
        self.faults.clear();
        self.counts.clear();
        self.limits.clear();
        self.throttles.clear();
    }
}
