//! How fast one process may call the service.
//!
//! Each class of operations starts at the share of its documented limit that the settings allow. An answer 429 halves
//! its rate and stops it for as long as the service asks; success lets it climb back. So instances share the service
//! without knowing of each other.

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
}

impl Bucket {
    fn new(limit: f64, now: Instant) -> Self {
        let limit = limit.max(MIN_RATE);
        Self { limit, rate: limit, tokens: burst(limit), refilled: now, climbed: now, blocked_until: now, halved: None }
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

    /// A 429 to the call that took `turn`. Calls under way together halve the rate once.
    fn throttled(&mut self, turn: Turn, pause: Duration, now: Instant) {
        self.refill(now);
        if self.halved.is_none_or(|halved| turn.taken >= halved) {
            self.rate = (self.rate / 2.0).max(MIN_RATE);
            self.halved = Some(now);
        }
        self.tokens = self.tokens.min(1.0);
        self.climbed = now;
        self.pause(pause, now);
    }

    fn pause(&mut self, pause: Duration, now: Instant) {
        self.refill(now);
        self.blocked_until = self.blocked_until.max(now + pause.min(MAX_PAUSE));
    }

    fn succeeded(&mut self, now: Instant) {
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

    async fn wait_for_turn(&self, class: Class) -> azure_core::Result<Turn> {
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
        let turn = self.wait_for_turn(class).await?;
        let response = pass_on(ctx, request, next).await?;
        let pause = || retry_after(response.headers());
        self.with(class, |bucket, now| match response.status() {
            StatusCode::TooManyRequests => bucket.throttled(turn, pause().unwrap_or(DEFAULT_PAUSE), now),
            StatusCode::ServiceUnavailable => bucket.pause(pause().unwrap_or_default(), now),
            status if status.is_success() => bucket.succeeded(now),
            _ => {}
        });
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
mod tests {
    use super::*;

    fn after(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    /// Turns that are due within a second from `now`.
    fn turns_within_a_second(bucket: &mut Bucket, now: Instant) -> usize {
        std::iter::from_fn(|| bucket.take(now).ok()).take_while(|turn| turn.wait <= Duration::from_secs(1)).count()
    }

    #[test]
    fn no_second_has_many_more_calls_than_the_limit() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100.0, start);
        let turns = turns_within_a_second(&mut bucket, start);
        assert!((100..=111).contains(&turns), "{turns}");
    }

    #[test]
    fn a_call_whose_turn_is_too_far_away_is_refused_and_takes_nothing() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1.0, start);
        let sent = std::iter::from_fn(|| bucket.take(start).ok()).count();
        assert_eq!(sent, 11);
        assert!(bucket.take(start).is_err());
        assert!(bucket.take(after(start, 1.0)).is_ok());
    }

    #[test]
    fn a_429_halves_the_rate_and_stops_the_class_for_as_long_as_it_says() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100.0, start);
        let turn = bucket.take(start).unwrap();
        bucket.throttled(turn, Duration::from_secs(5), start);
        assert!((bucket.rate - 50.0).abs() < 1e-9);
        assert!(bucket.take(start).unwrap().wait >= Duration::from_secs(5));
        let turns = turns_within_a_second(&mut bucket, after(start, 5.0));
        assert!((49..=56).contains(&turns), "{turns}");
    }

    #[test]
    fn calls_under_way_together_halve_the_rate_once() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100.0, start);
        let turns: Vec<_> = (0..5).map(|_| bucket.take(start).unwrap()).collect();
        for turn in turns {
            bucket.throttled(turn, Duration::ZERO, after(start, 0.1));
        }
        assert!((bucket.rate - 50.0).abs() < 1e-9);
        let turn = Turn { taken: after(start, 0.2), wait: Duration::ZERO };
        bucket.throttled(turn, Duration::ZERO, after(start, 0.3));
        assert!((bucket.rate - 25.0).abs() < 1e-9);
    }

    #[test]
    fn the_rate_falls_no_further_than_one_call_a_second() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100.0, start);
        for second in 0..60 {
            let taken = after(start, f64::from(second));
            bucket.throttled(Turn { taken, wait: Duration::ZERO }, Duration::ZERO, taken);
        }
        assert!((bucket.rate - MIN_RATE).abs() < 1e-9);
    }

    #[test]
    fn success_climbs_back_to_the_limit_in_twenty_seconds() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100.0, start);
        bucket.rate = 1.0;
        for tenth in 1..=100 {
            bucket.succeeded(after(start, f64::from(tenth) / 10.0));
        }
        assert!((bucket.rate - 51.0).abs() < 1e-6, "{}", bucket.rate);
        for tenth in 101..=300 {
            bucket.succeeded(after(start, f64::from(tenth) / 10.0));
        }
        assert!((bucket.rate - 100.0).abs() < 1e-9);
    }

    #[test]
    fn a_pause_without_an_end_is_cut() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100.0, start);
        bucket.pause(Duration::from_secs(86_400), start);
        assert!(bucket.take(start).is_err());
        assert!(bucket.take(after(start, 60.0)).is_ok());
    }
}
