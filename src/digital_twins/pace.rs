//! How fast one process may call the service.
//!
//! Each class of operations starts at the share of its documented limit that the settings allow. Answers 429 lower its
//! rate, success lets it climb back: so instances share the service without knowing of each other.
//!
//! A 429 need not be about the class: one twin takes ten writes a second (Azure Digital Twins: "Service limits"), and the
//! answer is the same. So one that comes alone, with success before and after, slows the class a little, and the call
//! itself waits as long as the service asks. Two in a row are about the class: they halve its rate and stop it for that
//! long. Otherwise a single device that sends too fast would cost all others nine tenths of their rate.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::headers::{Headers, RETRY_AFTER};
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Context, Request, StatusCode};

use super::wire::pass_on;

/// The longest that a call waits for its turn; one that had to wait longer is refused at once, unsent.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// How long to stop where a 429 does not say.
const DEFAULT_PAUSE: Duration = Duration::from_secs(1);
/// The longest that one answer can stop a class.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// A throttled class does not fall below one call a second.
const MIN_RATE: f64 = 1.0;
/// Calls that may go out at once, as a share of a second's worth: what goes out in any second stays near the rate.
const BURST_SECONDS: f64 = 0.1;
/// What is left of the rate after a 429 that comes alone.
const LEFT_BY_ONE: f64 = 0.95;
/// What is left of it after two in a row.
const LEFT_BY_MORE: f64 = 0.5;
/// Share of its limit by which a class climbs in a second of success.
const CLIMB_PER_SECOND: f64 = 0.05;

/// Operations that share a limit (Azure Digital Twins: "Service limits").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Read,
    Patch,
    CreateOrDelete,
    Query,
    Model,
}

impl Class {
    /// Whether its operations change anything.
    pub(super) const fn writes(self) -> bool {
        matches!(self, Self::Patch | Self::CreateOrDelete)
    }

    /// Documented requests a second.
    const fn limit(self) -> f64 {
        match self {
            Self::Read | Self::Patch => 1000.0,
            Self::CreateOrDelete | Self::Query => 500.0,
            Self::Model => 100.0,
        }
    }
}

/// A call's turn: when it got it, to tell whether a later 429 says something new.
#[derive(Debug, Clone, Copy)]
struct Turn {
    taken: Instant,
    wait: Duration,
}

/// The token bucket of one class. Knows no clock.
#[derive(Debug)]
struct Bucket {
    limit: f64,
    rate: f64,
    /// Below zero: so many calls wait for their turn.
    tokens: f64,
    refilled: Instant,
    climbed: Instant,
    blocked_until: Instant,
    halved: Option<Instant>,
    /// Whether the last answer was a refusal: 429, or 503.
    refused: bool,
}

impl Bucket {
    fn new(limit: f64, now: Instant) -> Self {
        let limit = limit.max(MIN_RATE);
        Self {
            limit,
            rate: limit,
            tokens: burst(limit),
            refilled: now,
            climbed: now,
            blocked_until: now,
            halved: None,
            refused: false,
        }
    }

    /// Takes a turn; refuses, taking nothing, if it would come later than `MAX_WAIT`.
    fn take(&mut self, now: Instant) -> Result<Turn, Duration> {
        self.refill(now);
        let queue = if self.tokens >= 1.0 { 0.0 } else { (1.0 - self.tokens) / self.rate };
        let wait = self.blocked_until.saturating_duration_since(now) + Duration::from_secs_f64(queue);
        if wait > MAX_WAIT {
            return Err(wait);
        }
        self.tokens -= 1.0;
        Ok(Turn { taken: now, wait })
    }

    fn refill(&mut self, now: Instant) {
        // Nothing accrues while the class is stopped.
        let from = self.refilled.max(self.blocked_until.min(now));
        let elapsed = now.saturating_duration_since(from).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.rate).min(burst(self.rate));
        self.refilled = now;
    }

    /// A 429 to the call that took `turn`; gives how long that call has to wait by itself. Calls under way together
    /// halve the rate once.
    fn throttled(&mut self, turn: Turn, pause: Duration, now: Instant) -> Duration {
        self.refill(now);
        if self.is_first_refusal() {
            self.slow_down(LEFT_BY_ONE);
            return pause;
        }
        if self.halved.is_none_or(|halved| turn.taken >= halved) {
            self.slow_down(LEFT_BY_MORE);
            self.halved = Some(now);
        }
        self.tokens = self.tokens.min(1.0);
        self.climbed = now;
        self.pause(pause, now);
        Duration::ZERO
    }

    /// A 503; gives how long the call has to wait by itself.
    fn unavailable(&mut self, pause: Duration, now: Instant) -> Duration {
        if self.is_first_refusal() {
            return pause;
        }
        self.pause(pause, now);
        Duration::ZERO
    }

    /// Whether the answer before this refusal was none.
    fn is_first_refusal(&mut self) -> bool {
        !std::mem::replace(&mut self.refused, true)
    }

    fn slow_down(&mut self, left: f64) {
        self.rate = (self.rate * left).max(MIN_RATE);
    }

    fn pause(&mut self, pause: Duration, now: Instant) {
        self.refill(now);
        self.blocked_until = self.blocked_until.max(now + pause.min(MAX_PAUSE));
    }

    /// The service did what it was asked, or said what is wrong with that.
    fn answered(&mut self) {
        self.refused = false;
    }

    fn succeeded(&mut self, now: Instant) {
        self.answered();
        let elapsed = now.saturating_duration_since(self.climbed).as_secs_f64().min(1.0);
        self.climbed = now;
        self.refill(now);
        self.rate = (self.rate + self.limit * CLIMB_PER_SECOND * elapsed).min(self.limit);
    }
}

fn burst(rate: f64) -> f64 {
    (rate * BURST_SECONDS).max(1.0)
}

/// The call was not sent: its turn would have come too late.
#[derive(Debug, thiserror::Error)]
#[error("Azure Digital Twins throttles: the next call could go out in {} s only", wait.as_secs_f32().ceil())]
pub(super) struct Refused {
    pub(super) wait: Duration,
}

/// When an operation may be tried again that was refused alone. It goes with the operation through all its tries.
#[derive(Debug, Default)]
pub(super) struct NotBefore(Mutex<Option<Instant>>);

impl NotBefore {
    fn set(&self, time: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(time);
    }

    fn wait(&self) -> Duration {
        let time = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        time.map(|time| time.saturating_duration_since(now())).unwrap_or_default()
    }
}

/// The pace of one process, shared by all its calls.
#[derive(Debug)]
pub(super) struct Pace {
    reads: Mutex<Bucket>,
    patches: Mutex<Bucket>,
    creations_and_deletions: Mutex<Bucket>,
    queries: Mutex<Bucket>,
    models: Mutex<Bucket>,
}

impl Pace {
    /// `share`: the part of the documented limits to use, above 0.0; above 1.0 where the instance has higher ones.
    pub(super) fn new(share: f64) -> Self {
        let bucket = |class: Class| Mutex::new(Bucket::new(class.limit() * share, now()));
        Self {
            reads: bucket(Class::Read),
            patches: bucket(Class::Patch),
            creations_and_deletions: bucket(Class::CreateOrDelete),
            queries: bucket(Class::Query),
            models: bucket(Class::Model),
        }
    }

    fn with<T>(&self, class: Class, change: impl FnOnce(&mut Bucket, Instant) -> T) -> T {
        let bucket = match class {
            Class::Read => &self.reads,
            Class::Patch => &self.patches,
            Class::CreateOrDelete => &self.creations_and_deletions,
            Class::Query => &self.queries,
            Class::Model => &self.models,
        };
        // A bucket is plain numbers: whoever panicked while holding it left them usable.
        change(&mut bucket.lock().unwrap_or_else(PoisonError::into_inner), now())
    }

    async fn wait_for_turn(&self, class: Class, own: Option<&NotBefore>) -> azure_core::Result<Turn> {
        match own.map(NotBefore::wait).unwrap_or_default() {
            too_long if too_long > MAX_WAIT => return Err(refused(too_long)),
            wait => tokio::time::sleep(wait).await,
        }
        let turn = self.with(class, Bucket::take).map_err(refused)?;
        if turn.wait > Duration::ZERO {
            tokio::time::sleep(turn.wait).await;
            // A 429 to another call may have stopped the class meanwhile.
            match self.with(class, |bucket, now| bucket.blocked_until.saturating_duration_since(now)) {
                still if still > MAX_WAIT => return Err(refused(still)),
                still => tokio::time::sleep(still).await,
            }
        }
        Ok(Turn { taken: now(), ..turn })
    }
}

/// The runtime's clock, which tests can stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn refused(wait: Duration) -> azure_core::Error {
    azure_core::Error::new(ErrorKind::Other, Refused { wait })
}

#[async_trait]
impl Policy for Pace {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let class = ctx.value::<Class>().copied().unwrap_or(Class::Read);
        let own = ctx.value::<NotBefore>();
        let turn = self.wait_for_turn(class, own).await?;
        let response = pass_on(ctx, request, next).await?;
        let pause = || retry_after(response.headers());
        let wait = self.with(class, |bucket, now| match response.status() {
            StatusCode::TooManyRequests => bucket.throttled(turn, pause().unwrap_or(DEFAULT_PAUSE), now),
            StatusCode::ServiceUnavailable => bucket.unavailable(pause().unwrap_or_default(), now),
            status if status.is_success() => {
                bucket.succeeded(now);
                Duration::ZERO
            }
            status if status.is_client_error() => {
                bucket.answered();
                Duration::ZERO
            }
            _ => Duration::ZERO,
        });
        if let Some(own) = own {
            own.set(now() + wait.min(MAX_PAUSE));
        }
        Ok(response)
    }
}

/// `Retry-After` in seconds: the form that the service uses.
///
/// To look for a header that is not there is slow where `RUST_BACKTRACE` is set: for answers that may have it only.
pub(super) fn retry_after(headers: &Headers) -> Option<Duration> {
    headers.get_optional_str(&RETRY_AFTER)?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests;
