//! The faults that are on, and which request they happen to.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::sync::broadcast;

use super::{Caller, Effect, Fault, Request, Service};

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
    /// Requests, batches or moments that it fitted. Where this stays 0, nobody asks for such an operation: look for the
    /// right name under `operations` in the state.
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
    /// The request's operation, or the event hub; empty where it happened to no request.
    pub operation: String,
    /// What the request was about, for instance a twin id, or a partition.
    pub subject: String,
    /// What happened.
    pub effect: Effect,
}

/// There are as many faults on as there can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{FAULTS} faults are on already; take some away first (DELETE /control/faults)")]
pub struct TooMany;

/// What becomes of a fault at a moment of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It was switched off, or has happened as often as it should.
    Over,
    /// It does not happen this time.
    Spared,
    /// It happens, to this one of so many.
    Happens(usize),
}

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
    pub(super) fn judge(&self, caller: Caller, request: &Request<'_>) -> Verdict {
        let mut verdict = Verdict::default();
        for fault in &mut self.lock().faults {
            if !fault.happens_to(caller, request) {
                continue;
            }
            let effect = fault.status.fault.effect;
            self.tell(fault.status.id, request.service, request.operation, request.subject, effect);
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

    /// The next moment of a fault that does not wait for requests: what happens now, and to which of `among`.
    pub(super) fn moment(&self, id: u64, among: usize) -> Moment {
        let mut list = self.lock();
        let Some(fault) = list.faults.iter_mut().find(|fault| fault.status.id == id) else { return Moment::Over };
        if fault.is_used_up() {
            return Moment::Over;
        }
        let Fault { service, operation, subject, effect, .. } = &fault.status.fault;
        let (service, operation, subject) = (*service, operation.clone(), subject.clone());
        let effect = *effect;
        if !fault.happens() {
            return Moment::Spared;
        }
        let chosen = effect.instance().unwrap_or_else(|| fault.random.usize(0..among.max(1)));
        self.tell(id, service, &operation.unwrap_or_default(), &subject.unwrap_or_default(), effect);
        Moment::Happens(chosen)
    }

    fn tell(&self, id: u64, service: Service, operation: &str, subject: &str, effect: Effect) {
        tracing::debug!(fault = id, ?effect, operation, "a fault happens");
        // Nobody may be listening.
        let _ =
            self.news.send(Fired { id, service, operation: operation.to_owned(), subject: subject.to_owned(), effect });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Active {
    fn is_used_up(&self) -> bool {
        let Fault { effect, count, .. } = &self.status.fault;
        let is_past = effect.is_at_once() && self.status.matched > 0;
        is_past || count.is_some_and(|count| self.status.fired >= count)
    }

    fn happens_to(&mut self, caller: Caller, request: &Request<'_>) -> bool {
        let Fault { effect, .. } = &self.status.fault;
        let waits_for_requests = !matches!(effect, Effect::Rewind(_) | Effect::KillNow(_) | Effect::KillEvery(..));
        waits_for_requests && !self.is_used_up() && self.status.fault.fits(caller, request) && self.happens()
    }

    /// Counts one more request or moment; says whether it happens.
    fn happens(&mut self) -> bool {
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
        (0..requests).map(|_| faults.judge(Caller::Other, &request(operation)).effect.is_some()).collect()
    }

    fn judge(faults: &Faults) -> Verdict {
        faults.judge(Caller::Other, &request("x"))
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
        assert_eq!(faults.judge(Caller::Other, &elsewhere), Verdict::default());
    }

    #[test]
    fn only_its_subject_suffers() {
        let faults = with(Fault::new(Service::DigitalTwins, BUSY).about("t"));
        assert_eq!(hits(&faults, "DigitalTwins_Update", 1), [true]);
        let other = Request { subject: "T", ..request("DigitalTwins_Update") };
        assert_eq!(faults.judge(Caller::Other, &other), Verdict::default());
    }

    #[test]
    fn only_calls_of_handlers_kill_their_handler() {
        let faults = with(Fault::new(Service::DigitalTwins, Effect::KillAfter(None)).after(1));
        let judge = |caller| faults.judge(caller, &request("x")).effect;
        assert_eq!([Caller::Handler(0), Caller::Other].map(judge), [None, None]);
        assert_eq!(judge(Caller::Handler(1)), Some(Effect::KillAfter(None)));
        assert_eq!(faults.all()[0].matched, 2);
    }

    #[test]
    fn a_fault_of_the_clock_goes_on_until_it_is_used_up_or_taken_away() {
        let every = Fault::new(Service::Functions, Effect::KillEvery(Duration::from_secs(1), None));
        let moments = |fault: Fault| {
            let faults = with(fault);
            (0..20).map(|_| faults.moment(1, 3)).collect::<Vec<_>>()
        };
        let chosen = moments(every.clone().with_seed(1));
        assert_eq!(chosen, moments(every.clone().with_seed(1)));
        assert_ne!(chosen, moments(every.clone().with_seed(2)));
        assert!((0..3).all(|instance| chosen.contains(&Moment::Happens(instance))), "{chosen:?}");
        assert!(moments(every.clone().with_probability(0.5)).contains(&Moment::Spared));
        assert_eq!(moments(every.clone().times(2))[2..], [Moment::Over; 18]);

        let faults = with(every);
        assert_eq!(hits(&faults, "x", 1), [false]);
        faults.remove(1);
        assert_eq!(faults.moment(1, 3), Moment::Over);
    }

    #[test]
    fn what_happens_at_once_happens_once_and_is_told() {
        let faults = with(Fault::new(Service::EventHubs, Effect::Rewind(9)).on("deviceevents").about("2"));
        let mut news = faults.subscribe();
        assert_eq!([faults.moment(1, 1), faults.moment(1, 1)], [Moment::Happens(0), Moment::Over]);
        let fired = news.try_recv().unwrap();
        assert_eq!((fired.operation.as_str(), fired.subject.as_str()), ("deviceevents", "2"));
        let unlikely = Fault::new(Service::EventHubs, Effect::Rewind(9)).with_probability(f64::MIN_POSITIVE);
        let faults = with(unlikely);
        assert_eq!([faults.moment(1, 1), faults.moment(1, 1)], [Moment::Spared, Moment::Over]);
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
        assert_eq!(judge(&faults), Verdict { delay, effect: Some(Effect::Reset) });
        assert_eq!(judge(&faults), Verdict { delay, effect: Some(BUSY) });
        assert!(faults.remove(id));
        assert!(!faults.remove(id));
        assert_eq!(judge(&faults), Verdict { delay, effect: None });
        faults.clear();
        assert_eq!(judge(&faults), Verdict::default());
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
