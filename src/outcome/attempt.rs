//! One attempt at a batch: which one it is, how long it may take, and what it saw of the service meanwhile.

use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Outcomes;
use crate::digital_twins::{Error, Usage};
use crate::host::EventBatch;

/// How long one attempt tries before it hands the batch back. Well under the shortest `functionTimeout` (5 minutes on
/// the Consumption plan), at which the host would kill the whole process.
const BUDGET: Duration = Duration::from_secs(30);

/// How long a probe may take. The attempt's own time can be over when it is asked; a healthy service answers sooner.
const PROBE_TIME: Duration = Duration::from_secs(5);

/// Pauses between tries inside an attempt, doubling.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// A failure that may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    detail: String,
    /// Nothing failed: the time for it has not come.
    is_early: bool,
    relationships: Vec<String>,
}

impl Failure {
    /// It is too early to tell, for instance because queries lag behind.
    #[must_use]
    pub fn early(detail: impl Into<String>) -> Self {
        Self { is_early: true, ..Self::unsteady(detail) }
    }

    /// What went on changing under every try.
    #[must_use]
    pub fn unsteady(detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), is_early: false, relationships: Vec::new() }
    }

    /// The failure, which leaves these relationships deleted (their documents) as long as it lasts.
    #[must_use]
    pub fn with_relationships(mut self, documents: Vec<String>) -> Self {
        self.relationships = documents;
        self
    }

    /// Relationships that were deleted, and should not be.
    #[must_use]
    pub fn relationships(&self) -> &[String] {
        &self.relationships
    }

    /// The attempt's time was over first.
    fn late() -> Self {
        Self::unsteady("no answer within the time for one attempt")
    }

    /// What failed, in one line without secrets.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self::unsteady(error.to_string())
    }
}

/// Why a call did not give what was asked.
#[derive(Debug)]
pub enum Unanswered {
    /// It may pass.
    Failed(Failure),
    /// The service answered that it cannot be.
    Refused(Error),
}

/// One attempt at a batch.
#[derive(Debug)]
pub struct Attempt {
    number: u32,
    max_attempts: u32,
    begun: Instant,
    deadline: Instant,
    usage: Arc<Usage>,
}

impl Attempt {
    /// The attempt at `batch` that the host says it is. From attempt `max_attempts` on, single events are given up.
    #[must_use]
    pub fn begin(batch: &EventBatch, max_attempts: NonZeroU32) -> Self {
        Self::after(batch.retries, max_attempts)
    }

    /// The first attempt at what is in no batch.
    #[must_use]
    pub fn first(max_attempts: NonZeroU32) -> Self {
        Self::after(0, max_attempts)
    }

    fn after(retries: u32, max_attempts: NonZeroU32) -> Self {
        let begun = Instant::now();
        Self {
            number: retries.saturating_add(1),
            max_attempts: max_attempts.get(),
            begun,
            deadline: begun + BUDGET,
            usage: Arc::default(),
        }
    }

    /// Which attempt it is, from 1.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// When it began: all events of its batch had come.
    #[must_use]
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// How long it has been going on.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// What the service was asked by [`work`](Self::work).
    #[must_use]
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Does `work`, watching what it asks the service.
    pub async fn work<T>(&self, work: impl Future<Output = T>) -> T {
        self.usage.watch(work).await
    }

    /// Waits for `call`, at the longest until the attempt's time is over.
    ///
    /// # Errors
    /// [`Unanswered`]. A call whose time is over may still take effect: all that is called must bear repeating.
    pub fn call<'a, T: 'a>(
        &'a self,
        call: impl Future<Output = Result<T, Error>> + Send + 'a,
    ) -> impl Future<Output = Result<T, Unanswered>> + Send + 'a {
        // A call to the service is a large future, and handlers hold many of them.
        let call: BoxFuture<'a, _> = Box::pin(call);
        async move {
            match timeout_at(self.deadline, call).await {
                Err(_) => Err(Unanswered::Failed(Failure::late())),
                Ok(Ok(value)) => Ok(value),
                Ok(Err(error)) if error.is_transient() => Err(Unanswered::Failed(Failure::from(&error))),
                Ok(Err(error)) => Err(Unanswered::Refused(error)),
            }
        }
    }

    /// Pauses before try `tries + 1`; false, without a pause, if the time is over by then.
    pub async fn pause(&self, tries: u32) -> bool {
        let pause = FIRST_PAUSE.saturating_mul(1 << tries.min(16)).min(LONGEST_PAUSE);
        // Half of it at random: instances that failed together should not come back together.
        let pause = pause.mul_f64(0.5 + 0.5 * fraction());
        let in_time = Instant::now() + pause < self.deadline;
        if in_time {
            sleep(pause).await;
        }
        in_time
    }

    /// Whether what still fails should be given up: it had its attempts, and it fails alone while the service as a
    /// whole works.
    ///
    /// The service works when another call of this attempt was answered, or `probe` is. Where calls were throttled,
    /// only a write that went through counts: while everything is throttled, the batch waits. What came too early is
    /// never given up.
    pub async fn gives_up(&self, outcomes: &Outcomes, probe: impl Future<Output = Result<(), Error>> + Send) -> bool {
        let is_early = outcomes.open().any(|(_, failure)| failure.is_some_and(|failure| failure.is_early));
        if self.number < self.max_attempts || is_early {
            return false;
        }
        if self.usage.is_throttled() {
            return self.usage.is_written();
        }
        self.usage.is_answered() || matches!(timeout(PROBE_TIME, probe).await, Ok(Ok(())))
    }
}

/// A fraction in [0, 1) that differs between processes and calls.
fn fraction() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let bits = u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or_default();
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;
    use crate::outcome::Outcome;

    const MAX_ATTEMPTS: NonZeroU32 = NonZeroU32::new(5).unwrap();
    const LAST_RETRY: u32 = 4;
    const READ: bool = false;
    const WRITE: bool = true;

    fn throttled() -> Error {
        Error::Throttled { retry_after: None }
    }

    fn down() -> Error {
        Error::Unavailable { status: 503, code: None, message: "down".to_owned() }
    }

    fn refused() -> Error {
        Error::Refused { status: 400, code: "ValidationFailed".to_owned(), message: "no".to_owned(), details: vec![] }
    }

    /// One event that failed with `failure`, beside one that did not.
    fn one_open(failure: Failure) -> Outcomes {
        let mut outcomes = Outcomes::of(2);
        outcomes.settle(0, Outcome::Applied);
        outcomes.fail(1, failure);
        outcomes
    }

    /// Whether the last attempt gives up on `failure`, after other calls were answered with `answers`.
    async fn gives_up(failure: Failure, answers: Vec<(bool, Result<(), Error>)>, probe: Result<(), Error>) -> bool {
        let attempt = Attempt::after(LAST_RETRY, MAX_ATTEMPTS);
        for (writes, answer) in answers {
            attempt.work(async { Usage::end(writes, &answer) }).await;
        }
        attempt.gives_up(&one_open(failure), ready(probe)).await
    }

    #[tokio::test]
    async fn nothing_is_given_up_before_its_last_attempt() {
        let outcomes = one_open(Failure::from(&down()));
        for retries in 0..LAST_RETRY {
            let attempt = Attempt::after(retries, MAX_ATTEMPTS);
            attempt.work(async { Usage::end(WRITE, &Ok(())) }).await;
            assert!(!attempt.gives_up(&outcomes, ready(Ok(()))).await, "{retries} retries");
        }
        for retries in [LAST_RETRY, LAST_RETRY + 1, u32::MAX] {
            assert!(
                Attempt::after(retries, MAX_ATTEMPTS).gives_up(&outcomes, ready(Ok(()))).await,
                "{retries} retries"
            );
        }
    }

    #[tokio::test]
    async fn what_fails_alone_is_given_up_and_what_fails_with_all_else_is_not() {
        let failure = || Failure::from(&down());
        assert!(gives_up(failure(), vec![(READ, Ok(()))], Err(down())).await);
        assert!(gives_up(failure(), vec![(WRITE, Err(refused()))], Err(down())).await);
        assert!(gives_up(failure(), vec![(READ, Err(down()))], Ok(())).await);
        assert!(!gives_up(failure(), vec![(READ, Err(down()))], Err(down())).await);
        assert!(!gives_up(failure(), vec![], Err(throttled())).await);
    }

    #[tokio::test]
    async fn while_all_writes_are_throttled_nothing_is_given_up() {
        let failure = || Failure::from(&throttled());
        assert!(!gives_up(failure(), vec![(READ, Ok(())), (WRITE, Err(throttled()))], Ok(())).await);
        assert!(gives_up(failure(), vec![(WRITE, Ok(()))], Ok(())).await);
    }

    #[tokio::test]
    async fn what_came_too_early_is_never_given_up() {
        assert!(!gives_up(Failure::early("queries lag"), vec![(WRITE, Ok(()))], Ok(())).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_takes_no_longer_than_the_attempt() {
        let attempt = Attempt::after(0, MAX_ATTEMPTS);
        let answer = attempt.call(pending::<Result<(), Error>>()).await;
        assert!(matches!(answer, Err(Unanswered::Failed(_))), "{answer:?}");
        assert_eq!(attempt.elapsed().as_secs(), BUDGET.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_end_with_the_attempt() {
        let attempt = Attempt::after(0, MAX_ATTEMPTS);
        let mut tries = 0;
        while attempt.pause(tries).await {
            tries += 1;
        }
        assert!((8..40).contains(&tries), "{tries}");
        assert!(attempt.elapsed() < BUDGET);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_hangs_is_no_sign_of_life() {
        let outcomes = one_open(Failure::from(&down()));
        assert!(!Attempt::after(LAST_RETRY, MAX_ATTEMPTS).gives_up(&outcomes, pending()).await);
    }
}
