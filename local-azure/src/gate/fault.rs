//! What a fault is, as people write it.

use std::time::Duration;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{Request, Service};

/// The longest delay and the longest Retry-After.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Something that goes wrong with requests on purpose.
///
/// As JSON: `{"service": "digital-twins", "operation": "DigitalTwins_Update", "effect": {"status": 503,
/// "retryAfterS": 2}, "probability": 0.5, "skip": 0, "count": 3, "seed": 7}`. All but `service` and `effect` may be
/// missing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Fault {
    pub(super) service: Service,
    /// `None` means every operation.
    pub(super) operation: Option<String>,
    pub(super) effect: Effect,
    pub(super) probability: f64,
    pub(super) skip: u64,
    /// `None` means without end.
    pub(super) count: Option<u64>,
    pub(super) seed: u64,
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is answered with an error, in the service's own shape, and not carried out. `{"status": 503, "retryAfterS":
    /// 2}`
    Status(StatusCode, Option<Duration>),
    /// The connection ends without an answer, and it is not carried out. `{"reset": true}`
    Reset,
    /// It is carried out, and then the connection ends without an answer. `{"reset": true, "after": true}`
    LoseAnswer,
    /// It takes longer. `{"delayMs": 250}`
    Delay(Duration),
}

/// A fault that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// The effect is none, or several.
    #[error(
        "the effect must be exactly one of {{\"status\": 503, \"retryAfterS\": 2}}, {{\"reset\": true}} and \
         {{\"delayMs\": 250}}; \"after\": true goes with reset, retryAfterS with status"
    )]
    Effect,
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
    /// A fault that happens to every request to `service`, without end.
    pub fn new(service: Service, effect: Effect) -> Self {
        Self { service, operation: None, effect, probability: 1.0, skip: 0, count: None, seed: 0 }
    }

    /// Only with this operation, for instance `DigitalTwins_Update`; case does not count.
    #[must_use]
    pub fn on(self, operation: impl Into<String>) -> Self {
        Self { operation: Some(operation.into()), ..self }
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

    pub(super) fn fits(&self, request: &Request<'_>) -> bool {
        self.service == request.service
            && self.operation.as_ref().is_none_or(|operation| operation.eq_ignore_ascii_case(request.operation))
    }
}

/// A fault as JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    service: Service,
    #[serde(default = "every")]
    operation: String,
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

/// An effect as JSON.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct WrittenEffect {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u64>,
    #[serde(skip_serializing_if = "is_false")]
    reset: bool,
    #[serde(skip_serializing_if = "is_false")]
    after: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
}

const EVERY: &str = "*";

fn every() -> String {
    EVERY.to_owned()
}

fn certain() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl TryFrom<Written> for Fault {
    type Error = FaultError;

    fn try_from(written: Written) -> Result<Self, FaultError> {
        let Written { service, operation, effect, probability, skip, count, seed } = written;
        if !(probability > 0.0 && probability <= 1.0) {
            return Err(FaultError::Range { name: "probability", range: "above 0 and at most 1" });
        }
        if count == Some(0) {
            return Err(FaultError::Range { name: "count", range: "at least 1" });
        }
        let operation = Some(operation).filter(|operation| operation != EVERY);
        Ok(Self { service, operation, effect: effect.try_into()?, probability, skip, count, seed })
    }
}

impl TryFrom<WrittenEffect> for Effect {
    type Error = FaultError;

    fn try_from(written: WrittenEffect) -> Result<Self, FaultError> {
        let limited = |name, duration: Duration| {
            (duration <= LONGEST).then_some(duration).ok_or(FaultError::Range { name, range: "at most an hour" })
        };
        match written {
            WrittenEffect { status: Some(status), retry_after_s, reset: false, after: false, delay_ms: None } => {
                let code =
                    StatusCode::from_u16(status).ok().filter(|code| code.is_client_error() || code.is_server_error());
                let wait =
                    retry_after_s.map(|seconds| limited("retryAfterS", Duration::from_secs(seconds))).transpose()?;
                Ok(Self::Status(code.ok_or(FaultError::Status(status))?, wait))
            }
            WrittenEffect { status: None, retry_after_s: None, reset: true, after, delay_ms: None } => {
                Ok(if after { Self::LoseAnswer } else { Self::Reset })
            }
            WrittenEffect { status: None, retry_after_s: None, reset: false, after: false, delay_ms: Some(ms) } => {
                Ok(Self::Delay(limited("delayMs", Duration::from_millis(ms))?))
            }
            _ => Err(FaultError::Effect),
        }
    }
}

impl From<Fault> for Written {
    fn from(fault: Fault) -> Self {
        let Fault { service, operation, effect, probability, skip, count, seed } = fault;
        let operation = operation.unwrap_or_else(every);
        Self { service, operation, effect: effect.into(), probability, skip, count, seed }
    }
}

impl From<Effect> for WrittenEffect {
    fn from(effect: Effect) -> Self {
        let none = Self::default();
        match effect {
            Effect::Status(status, wait) => {
                Self { status: Some(status.as_u16()), retry_after_s: wait.map(|wait| wait.as_secs()), ..none }
            }
            Effect::Reset => Self { reset: true, ..none },
            Effect::LoseAnswer => Self { reset: true, after: true, ..none },
            Effect::Delay(delay) => {
                Self { delay_ms: Some(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)), ..none }
            }
        }
    }
}

impl Serialize for Effect {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WrittenEffect::from(*self).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(json: Value) -> Result<Fault, String> {
        serde_json::from_value(json).map_err(|error| error.to_string())
    }

    #[test]
    fn faults_are_read_with_their_defaults_and_written_as_they_were() {
        let bare = read(json!({ "service": "dps", "effect": { "reset": true } })).unwrap();
        assert_eq!(bare, Fault::new(Service::Dps, Effect::Reset));
        for effect in [
            json!({ "status": 429, "retryAfterS": 2 }),
            json!({ "status": 500 }),
            json!({ "reset": true }),
            json!({ "reset": true, "after": true }),
            json!({ "delayMs": 250 }),
        ] {
            let written = json!({
                "service": "digital-twins", "operation": "DigitalTwins_Update", "effect": effect,
                "probability": 0.25, "skip": 2, "count": 3, "seed": 7,
            });
            let fault = read(written.clone()).unwrap();
            assert_eq!(serde_json::to_value(&fault).unwrap(), written);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        let with = |effect: Value| json!({ "service": "iot-hub", "effect": effect });
        for (fault, expected) in [
            (json!({ "service": "iot-hub" }), "missing field `effect`"),
            (json!({ "service": "cosmos", "effect": { "reset": true } }), "unknown variant `cosmos`"),
            (json!({ "service": "dps", "effect": { "reset": true }, "prob": 1 }), "unknown field `prob`"),
            (with(json!({ "status": 503, "retryAfter": 2 })), "unknown field `retryAfter`"),
            (with(json!({})), "exactly one of"),
            (with(json!({ "reset": false })), "exactly one of"),
            (with(json!({ "status": 503, "reset": true })), "exactly one of"),
            (with(json!({ "delayMs": 5, "after": true })), "exactly one of"),
            (with(json!({ "status": 200 })), "400 to 599"),
            (with(json!({ "status": 99 })), "400 to 599"),
            (with(json!({ "delayMs": 3_600_001 })), "at most an hour"),
            (json!({ "service": "dps", "effect": { "reset": true }, "probability": 1.5 }), "at most 1"),
            (json!({ "service": "dps", "effect": { "reset": true }, "probability": 0 }), "above 0"),
            (json!({ "service": "dps", "effect": { "reset": true }, "count": 0 }), "at least 1"),
        ] {
            let error = read(fault.clone()).unwrap_err();
            assert!(error.contains(expected), "{fault}: {error}");
        }
    }
}
