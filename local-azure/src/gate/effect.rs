//! What a fault does, as people write it.

use std::time::Duration;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{FaultError, Service};

/// The longest delay, the longest Retry-After and the longest time between two kills.
const LONGEST: Duration = Duration::from_secs(3_600);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// A request is answered with an error, in the service's own shape, and not carried out. `{"status": 503,
    /// "retryAfterS": 2}`
    Status(StatusCode, Option<Duration>),
    /// The connection ends without an answer, and the request is not carried out. `{"reset": true}`
    Reset,
    /// A request is carried out, and then the connection ends without an answer. `{"reset": true, "after": true}`
    LoseAnswer,
    /// A request, or a batch of events, takes longer. `{"delayMs": 250}`
    Delay(Duration),
    /// The handler that makes a request, or that of a chosen instance, is killed; the request is not carried out.
    /// `{"kill": "before"}`, `{"kill": "before", "instance": 1}`
    KillBefore(Option<usize>),
    /// A request is carried out, then the handler that made it, or that of a chosen instance, is killed. `{"kill":
    /// "after"}`
    KillAfter(Option<usize>),
    /// The handler of a chosen instance, or of one that the seed chooses, is killed at once. `{"kill": "now"}`
    KillNow(Option<usize>),
    /// The same again and again, with so much time in between. `{"killEveryMs": 30000}`
    KillEvery(Duration, Option<usize>),
    /// A batch of events is delivered once more after it succeeded. `{"duplicate": true}`
    Duplicate,
    /// A partition goes to the next instance while this one works on a batch of it: both work on the same events.
    /// `{"move": true}`
    Move,
    /// Partitions go back by so many events at once, and what is behind comes again. `{"rewind": 100}`
    Rewind(u64),
}

impl Effect {
    /// Whether it happens once, at the moment at which it is asked for.
    pub fn is_at_once(&self) -> bool {
        matches!(self, Self::KillNow(_) | Self::Rewind(_))
    }

    /// The instance that is chosen, if one is.
    pub fn instance(&self) -> Option<usize> {
        match *self {
            Self::KillBefore(instance)
            | Self::KillAfter(instance)
            | Self::KillNow(instance)
            | Self::KillEvery(_, instance) => instance,
            _ => None,
        }
    }

    /// Whether it happens to requests of handlers only.
    pub(super) fn needs_handler(&self) -> bool {
        matches!(self, Self::KillBefore(None) | Self::KillAfter(None))
    }

    /// Refuses a service that it cannot happen to.
    pub(super) fn check_service(&self, service: Service) -> Result<(), FaultError> {
        use Service::{DigitalTwins, EventHubs, Functions, Identity};
        let (fits, services) = match self {
            Self::Delay(_) => (true, ""),
            Self::Status(..) | Self::Reset | Self::LoseAnswer => (service != EventHubs, "every service but event-hubs"),
            Self::KillBefore(None) | Self::KillAfter(None) => (
                matches!(service, DigitalTwins | Identity | Functions),
                "digital-twins, identity and functions, which handlers have to do with, or needs an instance",
            ),
            Self::KillBefore(Some(_)) | Self::KillAfter(Some(_)) => {
                (service != EventHubs, "every service but event-hubs")
            }
            Self::KillNow(_) | Self::KillEvery(..) => (service == Functions, "functions"),
            Self::Duplicate | Self::Move | Self::Rewind(_) => (service == EventHubs, "event-hubs"),
        };
        if fits { Ok(()) } else { Err(FaultError::Service { effect: self.to_string(), services }) }
    }
}

impl std::fmt::Display for Effect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string(self).unwrap_or_default())
    }
}

/// When a handler is killed.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Moment {
    Before,
    After,
    Now,
}

/// An effect as JSON.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default, expecting = "an effect, such as {\"status\": 503}")]
pub(super) struct WrittenEffect {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    kill: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kill_every_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<usize>,
    #[serde(skip_serializing_if = "is_false")]
    duplicate: bool,
    #[serde(skip_serializing_if = "is_false", rename = "move")]
    moves: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    rewind: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl TryFrom<WrittenEffect> for Effect {
    type Error = FaultError;

    fn try_from(written: WrittenEffect) -> Result<Self, FaultError> {
        let instance = written.instance;
        let wait = written.retry_after_s.map(|seconds| up_to_an_hour("retryAfterS", Duration::from_secs(seconds)));
        let wait = wait.transpose()?;
        // Each that is written; there must be one.
        let effects = [
            written.status.map(|status| error_status(status).map(|status| Self::Status(status, wait))),
            written.reset.then_some(Ok(if written.after { Self::LoseAnswer } else { Self::Reset })),
            written.delay_ms.map(|ms| up_to_an_hour("delayMs", Duration::from_millis(ms)).map(Self::Delay)),
            written.kill.map(|moment| {
                Ok(match moment {
                    Moment::Before => Self::KillBefore(instance),
                    Moment::After => Self::KillAfter(instance),
                    Moment::Now => Self::KillNow(instance),
                })
            }),
            written.kill_every_ms.map(|ms| {
                let every = up_to_an_hour("killEveryMs", Duration::from_millis(ms))?;
                if every.is_zero() {
                    return Err(FaultError::Range { name: "killEveryMs", range: "at least 1" });
                }
                Ok(Self::KillEvery(every, instance))
            }),
            written.duplicate.then_some(Ok(Self::Duplicate)),
            written.moves.then_some(Ok(Self::Move)),
            written.rewind.map(|events| match events {
                0 => Err(FaultError::Range { name: "rewind", range: "at least 1 event" }),
                events => Ok(Self::Rewind(events)),
            }),
        ];
        let mut effects = effects.into_iter().flatten();
        let (Some(effect), None) = (effects.next(), effects.next()) else { return Err(FaultError::Effect) };
        let kills = written.kill.is_some() || written.kill_every_ms.is_some();
        let fits = (wait.is_none() || written.status.is_some())
            && (!written.after || written.reset)
            && (instance.is_none() || kills);
        if fits { effect } else { Err(FaultError::Effect) }
    }
}

fn up_to_an_hour(name: &'static str, duration: Duration) -> Result<Duration, FaultError> {
    (duration <= LONGEST).then_some(duration).ok_or(FaultError::Range { name, range: "at most an hour" })
}

fn error_status(status: u16) -> Result<StatusCode, FaultError> {
    let code = StatusCode::from_u16(status).ok().filter(|code| code.is_client_error() || code.is_server_error());
    code.ok_or(FaultError::Status(status))
}

impl From<Effect> for WrittenEffect {
    fn from(effect: Effect) -> Self {
        let none = Self { instance: effect.instance(), ..Self::default() };
        let ms = |duration: Duration| Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        match effect {
            Effect::Status(status, wait) => {
                Self { status: Some(status.as_u16()), retry_after_s: wait.map(|wait| wait.as_secs()), ..none }
            }
            Effect::Reset => Self { reset: true, ..none },
            Effect::LoseAnswer => Self { reset: true, after: true, ..none },
            Effect::Delay(delay) => Self { delay_ms: ms(delay), ..none },
            Effect::KillBefore(_) => Self { kill: Some(Moment::Before), ..none },
            Effect::KillAfter(_) => Self { kill: Some(Moment::After), ..none },
            Effect::KillNow(_) => Self { kill: Some(Moment::Now), ..none },
            Effect::KillEvery(every, _) => Self { kill_every_ms: ms(every), ..none },
            Effect::Duplicate => Self { duplicate: true, ..none },
            Effect::Move => Self { moves: true, ..none },
            Effect::Rewind(events) => Self { rewind: Some(events), ..none },
        }
    }
}

impl Serialize for Effect {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WrittenEffect::from(*self).serialize(serializer)
    }
}
