//! What a fault is, as people write it.

use serde::{Deserialize, Serialize};

use super::{
    Caller, Request, Service,
    effect::{Effect, WrittenEffect},
};

/// Something that goes wrong on purpose.
///
/// As JSON: `{"service": "digital-twins", "operation": "DigitalTwins_Update", "subject": "thermostat-01", "effect":
/// {"status": 503, "retryAfterS": 2}, "probability": 0.5, "skip": 0, "count": 3, "seed": 7}`. All but `service` and
/// `effect` may be missing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Fault {
    pub(super) service: Service,
    /// `None` means every operation.
    pub(super) operation: Option<String>,
    /// `None` means every subject.
    pub(super) subject: Option<String>,
    pub(super) effect: Effect,
    pub(super) probability: f64,
    pub(super) skip: u64,
    /// `None` means without end.
    pub(super) count: Option<u64>,
    pub(super) seed: u64,
}

/// A fault that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// The effect is none, or several.
    #[error(
        "the effect must be exactly one of {{\"status\": 503, \"retryAfterS\": 2}}, {{\"reset\": true}}, \
         {{\"delayMs\": 250}}, {{\"kill\": \"before\"}} (or after, or now), {{\"killEveryMs\": 30000}}, \
         {{\"duplicate\": true}}, {{\"move\": true}} and {{\"rewind\": 100}}; \"after\": true goes with reset, \
         retryAfterS with status, instance with kill and killEveryMs"
    )]
    Effect,
    /// The effect cannot happen to the service.
    #[error("the effect {effect} goes with {services}")]
    Service {
        /// The effect, as JSON.
        effect: String,
        /// What it can happen to.
        services: &'static str,
    },
    /// What happens at once is not counted.
    #[error("the effect {effect} happens once, at once: skip and count do not go with it")]
    AtOnce {
        /// The effect, as JSON.
        effect: String,
    },
    /// What happens by the clock happens to no request.
    #[error("the effect {effect} happens to a handler, not to a request: operation and subject do not go with it")]
    NoRequest {
        /// The effect, as JSON.
        effect: String,
    },
    /// A status that is no error.
    #[error("the status is {0}; a fault answers 400 to 599")]
    Status(u16),
    /// Out of range.
    #[error("{name} is out of range: it must be {range}")]
    Range {
        /// The member.
        name: &'static str,
        /// What it may be.
        range: &'static str,
    },
}

impl Fault {
    /// A fault that happens to every request to `service` (for [`Service::EventHubs`], to every batch), without end;
    /// or once, where that is what the effect does.
    pub fn new(service: Service, effect: Effect) -> Self {
        let count = effect.is_at_once().then_some(1);
        Self { service, operation: None, subject: None, effect, probability: 1.0, skip: 0, count, seed: 0 }
    }

    /// The service that it happens to.
    pub fn service(&self) -> Service {
        self.service
    }

    /// The one operation that it happens to, or all.
    pub fn operation(&self) -> Option<&str> {
        self.operation.as_deref()
    }

    /// The one subject that it happens to, or all.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// What it does.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// Only with this operation, for instance `DigitalTwins_Update`, or this event hub; case does not count.
    #[must_use]
    pub fn on(self, operation: impl Into<String>) -> Self {
        Self { operation: Some(operation.into()), ..self }
    }

    /// Only where this is what is worked on: a twin id, a device id, the number of a partition.
    #[must_use]
    pub fn about(self, subject: impl Into<String>) -> Self {
        Self { subject: Some(subject.into()), ..self }
    }

    /// Only with this probability, between 0 and 1. Which requests it happens to follows from the seed and their
    /// order alone.
    #[must_use]
    pub fn with_probability(self, probability: f64) -> Self {
        Self { probability: probability.clamp(0.0, 1.0), ..self }
    }

    /// The seed of its random numbers, 0 without this.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// At most so often.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self { count: Some(count), ..self }
    }

    /// Not with the first so many requests that it fits.
    #[must_use]
    pub fn after(self, skip: u64) -> Self {
        Self { skip, ..self }
    }

    /// Refuses what makes no sense.
    pub(crate) fn check(&self) -> Result<(), FaultError> {
        self.effect.check_service(self.service)?;
        let is_counted = self.skip > 0 || self.count.is_some_and(|count| count > 1);
        if self.effect.is_at_once() && is_counted {
            return Err(FaultError::AtOnce { effect: self.effect.to_string() });
        }
        let is_timed = matches!(self.effect, Effect::KillNow(_) | Effect::KillEvery(..));
        if is_timed && (self.operation.is_some() || self.subject.is_some()) {
            return Err(FaultError::NoRequest { effect: self.effect.to_string() });
        }
        Ok(())
    }

    pub(super) fn fits(&self, caller: Caller, request: &Request<'_>) -> bool {
        self.service == request.service
            && self.operation.as_ref().is_none_or(|operation| operation.eq_ignore_ascii_case(request.operation))
            && self.subject.as_ref().is_none_or(|subject| subject == request.subject)
            && !(self.effect.needs_handler() && caller == Caller::Other)
    }
}

/// A fault as JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a JSON object, as in docs/faults.md")]
struct Written {
    service: Service,
    #[serde(default = "every")]
    operation: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    effect: WrittenEffect,
    #[serde(default = "certain")]
    probability: f64,
    #[serde(default)]
    skip: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(default)]
    seed: u64,
}

const EVERY: &str = "*";

fn every() -> String {
    EVERY.to_owned()
}

fn certain() -> f64 {
    1.0
}

impl TryFrom<Written> for Fault {
    type Error = FaultError;

    fn try_from(written: Written) -> Result<Self, FaultError> {
        let Written { service, operation, subject, effect, probability, skip, count, seed } = written;
        if !(probability > 0.0 && probability <= 1.0) {
            return Err(FaultError::Range { name: "probability", range: "above 0 and at most 1" });
        }
        if count == Some(0) {
            return Err(FaultError::Range { name: "count", range: "at least 1" });
        }
        let operation = Some(operation).filter(|operation| operation != EVERY);
        let effect = Effect::try_from(effect)?;
        let count = count.or_else(|| effect.is_at_once().then_some(1));
        let fault = Self { service, operation, subject, effect, probability, skip, count, seed };
        fault.check()?;
        Ok(fault)
    }
}

impl From<Fault> for Written {
    fn from(fault: Fault) -> Self {
        let Fault { service, operation, subject, effect, probability, skip, count, seed } = fault;
        let operation = operation.unwrap_or_else(every);
        Self { service, operation, subject, effect: effect.into(), probability, skip, count, seed }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    fn read(json: Value) -> Result<Fault, String> {
        serde_json::from_value(json).map_err(|error| error.to_string())
    }

    #[test]
    fn faults_are_read_with_their_defaults_and_written_as_they_were() {
        let bare = read(json!({ "service": "dps", "effect": { "reset": true } })).unwrap();
        assert_eq!(bare, Fault::new(Service::Dps, Effect::Reset));
        for (service, effect) in [
            ("digital-twins", json!({ "status": 429, "retryAfterS": 2 })),
            ("digital-twins", json!({ "status": 500 })),
            ("digital-twins", json!({ "reset": true })),
            ("digital-twins", json!({ "reset": true, "after": true })),
            ("digital-twins", json!({ "delayMs": 250 })),
            ("digital-twins", json!({ "kill": "before" })),
            ("iot-hub", json!({ "kill": "after", "instance": 1 })),
            ("event-hubs", json!({ "duplicate": true })),
            ("event-hubs", json!({ "move": true })),
        ] {
            let written = json!({
                "service": service, "operation": "DigitalTwins_Update", "subject": "t", "effect": effect,
                "probability": 0.25, "skip": 2, "count": 3, "seed": 7,
            });
            let fault = read(written.clone()).unwrap();
            assert_eq!(serde_json::to_value(&fault).unwrap(), written);
        }
    }

    #[test]
    fn what_happens_at_once_happens_once_and_what_is_timed_until_it_is_switched_off() {
        let rewind = read(json!({ "service": "event-hubs", "operation": "deviceevents", "effect": { "rewind": 100 } }));
        assert_eq!(rewind.unwrap(), Fault::new(Service::EventHubs, Effect::Rewind(100)).on("deviceevents"));
        let now = Fault::new(Service::Functions, Effect::KillNow(Some(1)));
        assert_eq!(read(json!({ "service": "functions", "effect": { "kill": "now", "instance": 1 } })).unwrap(), now);
        assert_eq!(serde_json::to_value(&now).unwrap()["count"], 1);
        let every = read(json!({ "service": "functions", "effect": { "killEveryMs": 1_500 } })).unwrap();
        assert_eq!(every, Fault::new(Service::Functions, Effect::KillEvery(Duration::from_millis(1_500), None)));
        assert!(serde_json::to_value(&every).unwrap().get("count").is_none());
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        let with = |effect: Value| json!({ "service": "iot-hub", "effect": effect });
        let events = |effect: Value| json!({ "service": "event-hubs", "effect": effect });
        let functions = |effect: Value| json!({ "service": "functions", "effect": effect });
        for (fault, expected) in [
            (json!({ "service": "iot-hub" }), "missing field `effect`"),
            (json!({ "service": "cosmos", "effect": { "reset": true } }), "unknown variant `cosmos`"),
            (json!({ "service": "dps", "effect": { "reset": true }, "prob": 1 }), "unknown field `prob`"),
            (with(json!({ "status": 503, "retryAfter": 2 })), "unknown field `retryAfter`"),
            (with(json!({})), "exactly one of"),
            (with(json!({ "reset": false })), "exactly one of"),
            (with(json!({ "status": 503, "reset": true })), "exactly one of"),
            (with(json!({ "delayMs": 5, "after": true })), "exactly one of"),
            (with(json!({ "delayMs": 5, "retryAfterS": 1 })), "exactly one of"),
            (with(json!({ "delayMs": 5, "instance": 1 })), "exactly one of"),
            (with(json!({ "status": 200 })), "400 to 599"),
            (with(json!({ "status": 99 })), "400 to 599"),
            (with(json!({ "delayMs": 3_600_001 })), "at most an hour"),
            (json!({ "service": "dps", "effect": { "reset": true }, "probability": 1.5 }), "at most 1"),
            (json!({ "service": "dps", "effect": { "reset": true }, "probability": 0 }), "above 0"),
            (json!({ "service": "dps", "effect": { "reset": true }, "count": 0 }), "at least 1"),
            (with(json!({ "duplicate": true })), r#"{"duplicate":true} goes with event-hubs"#),
            (with(json!({ "move": true })), "goes with event-hubs"),
            (with(json!({ "rewind": 1 })), "goes with event-hubs"),
            (with(json!({ "kill": "now" })), "goes with functions"),
            (with(json!({ "killEveryMs": 1 })), "goes with functions"),
            (with(json!({ "kill": "before" })), "or needs an instance"),
            (with(json!({ "kill": "soon" })), "unknown variant `soon`"),
            (events(json!({ "status": 503 })), "every service but event-hubs"),
            (events(json!({ "kill": "after", "instance": 0 })), "every service but event-hubs"),
            (events(json!({ "rewind": 0 })), "at least 1 event"),
            (functions(json!({ "killEveryMs": 0 })), "at least 1"),
            (json!({ "service": "functions", "effect": { "kill": "now" }, "skip": 1 }), "skip and count do not go"),
            (json!({ "service": "functions", "effect": { "kill": "now" }, "count": 2 }), "skip and count do not go"),
            (json!({ "service": "functions", "effect": { "kill": "now" }, "operation": "f" }), "not to a request"),
        ] {
            let error = read(fault.clone()).unwrap_err();
            assert!(error.contains(expected), "{fault}: {error}");
        }
    }
}
