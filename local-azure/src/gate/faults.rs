//! The faults that are on, and which request they happen to.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::sync::broadcast;

use super::{Effect, Fault, Request, Service};

/// How many faults can be on at a time.
const FAULTS: usize = 256;
/// News that a slow listener may be behind.
const NEWS: usize = 1_024;

/// A fault that is on, or has happened as often as it should.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultStatus {
    /// Its number.
    pub id: u64,
    /// What it is.
    pub fault: Fault,
    /// Requests that it fitted. Where this stays 0, nobody asks for such an operation: look for the right name under
    /// `operations` in the state.
    pub matched: u64,
    /// How often it happened.
    pub fired: u64,
}

/// A fault happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fired {
    /// The fault's number.
    pub id: u64,
    /// The request's service.
    pub service: Service,
    /// The request's operation.
    pub operation: &'static str,
    /// What the request was about, for instance a twin id.
    pub subject: String,
    /// What happened to it.
    pub effect: Effect,
}

/// There are as many faults on as there can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{FAULTS} faults are on already; take some away first (DELETE /control/faults)")]
pub struct TooMany;

/// What faults make of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) delay: Duration,
    /// Anything but a delay.
    pub(super) effect: Option<Effect>,
}

#[derive(Debug)]
pub(super) struct Faults {
    list: Mutex<List>,
    news: broadcast::Sender<Fired>,
}

#[derive(Debug, Default)]
struct List {
    last_id: u64,
    faults: Vec<Active>,
}

#[derive(Debug)]
struct Active {
    status: FaultStatus,
    random: fastrand::Rng,
}

impl Default for Faults {
    fn default() -> Self {
        Self { list: Mutex::default(), news: broadcast::Sender::new(NEWS) }
    }
}

impl Faults {
    pub(super) fn inject(&self, fault: Fault) -> Result<u64, TooMany> {
        let mut list = self.lock();
        if list.faults.len() >= FAULTS {
            list.faults.retain(|fault| !fault.is_used_up());
        }
        if list.faults.len() >= FAULTS {
            return Err(TooMany);
        }
        list.last_id += 1;
        let (id, random) = (list.last_id, fastrand::Rng::with_seed(fault.seed));
        list.faults.push(Active { status: FaultStatus { id, fault, matched: 0, fired: 0 }, random });
        Ok(id)
    }

    pub(super) fn remove(&self, id: u64) -> bool {
        let mut list = self.lock();
        let before = list.faults.len();
        list.faults.retain(|fault| fault.status.id != id);
        list.faults.len() < before
    }

    pub(super) fn clear(&self) {
        self.lock().faults.clear();
    }

    pub(super) fn all(&self) -> Vec<FaultStatus> {
        self.lock().faults.iter().map(|fault| fault.status.clone()).collect()
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Fired> {
        self.news.subscribe()
    }

    /// What happens to this request. Delays add up; of the rest, the first in the order of injection happens.
    pub(super) fn judge(&self, request: &Request<'_>) -> Verdict {
        let mut verdict = Verdict::default();
        for fault in &mut self.lock().faults {
            if !fault.happens_to(request) {
                continue;
            }
            let effect = fault.status.fault.effect;
            tracing::debug!(fault = fault.status.id, ?effect, operation = request.operation, "a fault happens");
            // Nobody may be listening.
            let _ = self.news.send(Fired {
                id: fault.status.id,
                service: request.service,
                operation: request.operation,
                subject: request.subject.to_owned(),
                effect,
            });
            match effect {
                Effect::Delay(delay) => verdict.delay += delay,
                effect => {
                    verdict.effect = Some(effect);
                    break;
                }
            }
        }
        verdict
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Active {
    fn is_used_up(&self) -> bool {
        self.status.fault.count.is_some_and(|count| self.status.fired >= count)
    }

    fn happens_to(&mut self, request: &Request<'_>) -> bool {
        if self.is_used_up() || !self.status.fault.fits(request) {
            return false;
        }
        self.status.matched += 1;
        if self.status.matched <= self.status.fault.skip {
            return false;
        }
        let happens = self.random.f64() < self.status.fault.probability;
        self.status.fired += u64::from(happens);
        happens
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;
    use crate::gate::Class;

    const BUSY: Effect = Effect::Status(StatusCode::TOO_MANY_REQUESTS, None);

    fn request(operation: &'static str) -> Request<'static> {
        Request { service: Service::DigitalTwins, operation, class: Class::Other, subject: "t" }
    }

    fn hits(faults: &Faults, operation: &'static str, requests: usize) -> Vec<bool> {
        (0..requests).map(|_| faults.judge(&request(operation)).effect.is_some()).collect()
    }

    fn with(fault: Fault) -> Faults {
        let faults = Faults::default();
        faults.inject(fault).unwrap();
        faults
    }

    #[test]
    fn the_same_seed_hits_the_same_requests_and_another_seed_others() {
        let run = |seed| {
            let fault = Fault::new(Service::DigitalTwins, BUSY).with_probability(0.3).with_seed(seed);
            hits(&with(fault), "DigitalTwins_Update", 1_000)
        };
        let first = run(1);
        assert_eq!(first, run(1));
        assert_ne!(first, run(2));
        let share = first.iter().filter(|hit| **hit).count();
        assert!((250..350).contains(&share), "{share} of 1000 at a probability of 0.3");
    }

    #[test]
    fn a_fault_skips_then_happens_as_often_as_it_should() {
        let faults = with(Fault::new(Service::DigitalTwins, BUSY).after(2).times(3));
        assert_eq!(hits(&faults, "Query_QueryTwins", 7), [false, false, true, true, true, false, false]);
        let status = &faults.all()[0];
        assert_eq!((status.id, status.matched, status.fired), (1, 5, 3));
    }

    #[test]
    fn only_its_service_and_operation_suffer() {
        let faults = with(Fault::new(Service::DigitalTwins, BUSY).on("digitaltwins_update"));
        assert_eq!(hits(&faults, "DigitalTwins_Update", 1), [true]);
        assert_eq!(hits(&faults, "DigitalTwins_Add", 1), [false]);
        let elsewhere = Request { service: Service::Dps, ..request("DigitalTwins_Update") };
        assert_eq!(faults.judge(&elsewhere), Verdict::default());
    }

    #[test]
    fn delays_add_up_and_the_first_other_effect_decides() {
        let faults = Faults::default();
        let delay = |ms| Fault::new(Service::DigitalTwins, Effect::Delay(Duration::from_millis(ms)));
        for fault in [delay(20), delay(30), Fault::new(Service::DigitalTwins, Effect::Reset).times(1)] {
            faults.inject(fault).unwrap();
        }
        let id = faults.inject(Fault::new(Service::DigitalTwins, BUSY)).unwrap();
        let delay = Duration::from_millis(50);
        assert_eq!(faults.judge(&request("x")), Verdict { delay, effect: Some(Effect::Reset) });
        assert_eq!(faults.judge(&request("x")), Verdict { delay, effect: Some(BUSY) });
        assert!(faults.remove(id));
        assert!(!faults.remove(id));
        assert_eq!(faults.judge(&request("x")), Verdict { delay, effect: None });
        faults.clear();
        assert_eq!(faults.judge(&request("x")), Verdict::default());
    }

    #[test]
    fn used_up_faults_make_room_and_no_more_than_the_limit_are_on() {
        let faults = Faults::default();
        for _ in 0..FAULTS {
            faults.inject(Fault::new(Service::DigitalTwins, BUSY).times(1)).unwrap();
        }
        assert_eq!(faults.inject(Fault::new(Service::Dps, BUSY)), Err(TooMany));
        assert_eq!(hits(&faults, "x", 1), [true]);
        assert!(faults.inject(Fault::new(Service::Dps, BUSY)).is_ok());
    }

    #[test]
    fn what_happened_is_told() {
        let faults = with(Fault::new(Service::DigitalTwins, Effect::LoseAnswer).times(1));
        let mut news = faults.subscribe();
        hits(&faults, "DigitalTwins_Add", 2);
        let fired = news.try_recv().unwrap();
        assert_eq!(
            serde_json::to_value(&fired).unwrap(),
            serde_json::json!({
                "id": 1, "service": "digital-twins", "operation": "DigitalTwins_Add", "subject": "t",
                "effect": { "reset": true, "after": true },
            })
        );
        assert!(news.try_recv().is_err());
    }
}
