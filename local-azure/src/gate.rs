//! The one layer that every request to every service passes.
//!
//! It knows which operation of which service is asked for and on what, counts it, and holds it up or refuses it
//! where the configuration says so: latency and limits hang here, and nowhere else.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::time::Instant;

/// The services that local-azure stands in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// Azure Digital Twins.
    DigitalTwins,
    /// Device Provisioning Service.
    Dps,
    /// IoT Hub.
    IotHub,
    /// Event Hubs.
    EventHubs,
    /// The Functions host.
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

/// The gate refused a request: too many of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttled {
    /// When to come back.
    pub retry_after: Duration,
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
#[derive(Debug, Default)]
pub struct Gate {
    rules: Rules,
    counts: Mutex<BTreeMap<(Service, &'static str), u64>>,
    windows: Mutex<Windows>,
}

const SECOND: Duration = Duration::from_secs(1);
const WRITES_PER_TWIN: usize = 10;
/// The shortest Retry-After recorded from Azure Digital Twins' gateway.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl Gate {
    /// A gate with these rules.
    pub fn new(rules: Rules) -> Self {
        Self { rules, ..Self::default() }
    }

    /// Lets a request through, later if latency is configured.
    ///
    /// # Errors
    /// [`Throttled`] where the operation's limit is used up.
    pub async fn pass(&self, request: Request<'_>) -> Result<(), Throttled> {
        *lock(&self.counts).entry((request.service, request.operation)).or_default() += 1;
        if let Some(latency) = self.rules.latency.get(&request.service) {
            tokio::time::sleep(*latency).await;
        }
        if self.rules.digital_twins_limits && request.service == Service::DigitalTwins {
            return lock(&self.windows).admit(request, Instant::now());
        }
        Ok(())
    }

    /// How often each operation was asked for.
    pub fn counts(&self) -> Vec<OperationCount> {
        lock(&self.counts)
            .iter()
            .map(|(&(service, operation), &count)| OperationCount { service, operation, count })
            .collect()
    }
}

/// How often an operation was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct OperationCount {
    /// The service.
    pub service: Service,
    /// The operation.
    pub operation: &'static str,
    /// Requests since the start.
    pub count: u64,
}

/// The requests of the last second, by class and by twin.
#[derive(Debug, Default)]
struct Windows {
    classes: HashMap<Class, VecDeque<Instant>>,
    twins: HashMap<String, VecDeque<Instant>>,
}

impl Windows {
    fn admit(&mut self, request: Request<'_>, now: Instant) -> Result<(), Throttled> {
        let Some(limit) = per_second(request.class) else { return Ok(()) };
        self.twins.retain(|_, times| {
            expire(times, now);
            !times.is_empty()
        });
        let class = self.classes.entry(request.class).or_default();
        expire(class, now);
        let writes = matches!(request.class, Class::Patch | Class::CreateOrDelete) && !request.subject.is_empty();
        let twin_is_busy =
            writes && self.twins.get(request.subject).is_some_and(|times| times.len() >= WRITES_PER_TWIN);
        if class.len() >= limit || twin_is_busy {
            return Err(Throttled { retry_after: RETRY_AFTER });
        }
        class.push_back(now);
        if writes {
            self.twins.entry(request.subject.to_owned()).or_default().push_back(now);
        }
        Ok(())
    }
}

fn per_second(class: Class) -> Option<usize> {
    match class {
        Class::Read | Class::Patch => Some(1_000),
        Class::CreateOrDelete | Class::Query => Some(500),
        Class::Other => None,
    }
}

fn expire(times: &mut VecDeque<Instant>, now: Instant) {
    while times.front().is_some_and(|&time| now.duration_since(time) >= SECOND) {
        times.pop_front();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch_of(twin: &str) -> Request<'_> {
        Request { service: Service::DigitalTwins, operation: "DigitalTwins_Update", class: Class::Patch, subject: twin }
    }

    #[tokio::test(start_paused = true)]
    async fn the_eleventh_write_on_one_twin_within_a_second_is_throttled_and_others_are_not() {
        let gate = Gate::new(Rules { digital_twins_limits: true, ..Rules::default() });
        for _ in 0..10 {
            assert_eq!(gate.pass(patch_of("a")).await, Ok(()));
        }
        assert!(gate.pass(patch_of("a")).await.is_err());
        assert_eq!(gate.pass(patch_of("b")).await, Ok(()));
        tokio::time::advance(SECOND).await;
        assert_eq!(gate.pass(patch_of("a")).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn latency_holds_up_the_service_it_is_set_for_only() {
        let latency = HashMap::from([(Service::DigitalTwins, Duration::from_millis(50))]);
        let gate = Gate::new(Rules { latency, ..Rules::default() });
        let start = Instant::now();
        gate.pass(Request { service: Service::Dps, operation: "Register", class: Class::Other, subject: "" })
            .await
            .unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO);
        gate.pass(patch_of("a")).await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_millis(50));
        assert_eq!(gate.counts().len(), 2);
    }
}
