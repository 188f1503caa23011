//! The one layer that every request to every service passes.
//!
//! It knows which operation of which service is asked for and on what, counts it, and holds it up or refuses it
//! where the configuration or a fault says so: latency, limits and faults hang here, and nowhere else. How a refusal
//! looks is the service's business: each one answers in its own shape.

mod counts;
mod fault;
mod faults;
mod limits;

use std::{collections::HashMap, time::Duration};

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::{sync::broadcast, time::Instant};

use self::{counts::Counts, faults::Faults, limits::Limits};
pub use self::{
    counts::OperationCount,
    fault::{Effect, Fault, FaultError},
    faults::{FaultStatus, Fired, TooMany},
};

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
    /// The Functions host: its invocations.
    Functions,
    /// The managed identity endpoint.
    Identity,
}

/// A class of operations that shares a limit (Azure Digital Twins: service limits).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Reads of twins and relationships.
    Read,
    /// Patches of twins and relationships.
    Patch,
    /// Creations and deletions of twins and relationships.
    CreateOrDelete,
    /// Queries.
    Query,
    /// Everything about models.
    Models,
    /// Everything about event routes.
    EventRoutes,
    /// Everything about import and delete jobs.
    Jobs,
    /// Everything without a documented limit.
    Other,
}

/// One request, as the gate sees it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Whom it is for.
    pub service: Service,
    /// The operation's name, for instance `DigitalTwins_Update`.
    pub operation: &'static str,
    /// Which limit it counts against.
    pub class: Class,
    /// What it works on (a twin id, a device id); empty where there is nothing of the kind.
    pub subject: &'a str,
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
    loses_answer: bool,
}

impl Passage {
    /// The request was carried out: whether the client is to hear of it. Where not, the connection is to end without
    /// an answer.
    #[must_use]
    pub fn is_answered(self) -> bool {
        !self.loses_answer
    }
}

/// How the gate behaves.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// How long each request to a service takes longer.
    pub latency: HashMap<Service, Duration>,
    /// Whether the documented limits of Azure Digital Twins are enforced.
    pub digital_twins_limits: bool,
}

/// Counts and holds up requests. Shared by all services of one local-azure.
#[derive(Debug)]
pub struct Gate {
    rules: Rules,
    counts: Counts,
    limits: Limits,
    faults: Faults,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new(Rules::default())
    }
}

impl Gate {
    /// A gate with these rules and no faults.
    pub fn new(rules: Rules) -> Self {
        let (counts, limits, faults) = (Counts::default(), Limits::default(), Faults::default());
        Self { rules, counts, limits, faults }
    }

    /// Lets a request through, later if latency is configured or a fault delays it.
    ///
    /// # Errors
    /// [`Refusal`] where the operation's limit is used up or a fault happens.
    pub async fn pass(&self, request: Request<'_>) -> Result<Passage, Refusal> {
        self.counts.add(&request);
        let verdict = self.faults.judge(&request);
        let latency = self.rules.latency.get(&request.service).copied().unwrap_or_default();
        let delay = latency.saturating_add(verdict.delay);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let mut passage = Passage { loses_answer: false };
        match verdict.effect {
            None | Some(Effect::Delay(_)) => {}
            Some(Effect::Status(status, retry_after)) => return Err(Refusal::Status { status, retry_after }),
            Some(Effect::Reset) => return Err(Refusal::Reset),
            Some(Effect::LoseAnswer) => passage.loses_answer = true,
        }
        if self.rules.digital_twins_limits && request.service == Service::DigitalTwins {
            self.limits.admit(&request, Instant::now())?;
        }
        Ok(passage)
    }

    /// Switches a fault on; gives its number.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn inject(&self, fault: Fault) -> Result<u64, TooMany> {
        self.faults.inject(fault)
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch_of(twin: &str) -> Request<'_> {
        Request { service: Service::DigitalTwins, operation: "DigitalTwins_Update", class: Class::Patch, subject: twin }
    }

    const REGISTER: Request<'static> =
        Request { service: Service::Dps, operation: "RegisterDevice", class: Class::Other, subject: "" };

    #[tokio::test(start_paused = true)]
    async fn the_eleventh_write_on_one_twin_within_a_second_is_throttled_and_others_are_not() {
        let gate = Gate::new(Rules { digital_twins_limits: true, ..Rules::default() });
        for _ in 0..10 {
            assert!(gate.pass(patch_of("a")).await.is_ok());
        }
        let refusal = gate.pass(patch_of("a")).await.unwrap_err();
        assert_eq!(refusal, Refusal::too_many_requests(Duration::from_secs(5)));
        assert!(gate.pass(patch_of("b")).await.is_ok());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(gate.pass(patch_of("a")).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn latency_holds_up_the_service_it_is_set_for_only() {
        let latency = HashMap::from([(Service::DigitalTwins, Duration::from_millis(50))]);
        let gate = Gate::new(Rules { latency, ..Rules::default() });
        let start = Instant::now();
        assert!(gate.pass(REGISTER).await.is_ok());
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(gate.pass(patch_of("a")).await.is_ok());
        assert_eq!(start.elapsed(), Duration::from_millis(50));
        assert_eq!(gate.counts().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn each_effect_does_to_a_request_what_it_says() {
        let gate = Gate::default();
        let second = Duration::from_secs(1);
        let status = StatusCode::BAD_GATEWAY;
        let effects = [Effect::Status(status, Some(second)), Effect::Reset, Effect::LoseAnswer, Effect::Delay(second)];
        for effect in effects {
            gate.inject(Fault::new(Service::Dps, effect).times(1)).unwrap();
        }
        let refused = Refusal::Status { status, retry_after: Some(second) };
        assert_eq!(gate.pass(REGISTER).await.unwrap_err(), refused);
        assert_eq!(gate.pass(REGISTER).await.unwrap_err(), Refusal::Reset);
        assert!(!gate.pass(REGISTER).await.unwrap().is_answered());
        let start = Instant::now();
        assert!(gate.pass(REGISTER).await.unwrap().is_answered());
        assert_eq!(start.elapsed(), second);
        assert!(gate.pass(REGISTER).await.unwrap().is_answered());
        gate.reset();
        assert!(gate.faults().is_empty() && gate.counts().is_empty());
    }
}
