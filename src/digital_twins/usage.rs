//! What calls a piece of work made, and how the service took them.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::Error;

tokio::task_local! {
    static CURRENT: Arc<Usage>;
}

/// The calls of a piece of work, whichever clone of the client makes them and through however many layers.
#[derive(Debug, Default)]
pub struct Usage {
    calls: AtomicUsize,
    answered: AtomicBool,
    written: AtomicBool,
    throttled: AtomicBool,
}

impl Usage {
    /// Does `work`, and notes its calls; not those of tasks that it spawns.
    pub async fn watch<T>(self: &Arc<Self>, work: impl Future<Output = T>) -> T {
        CURRENT.scope(Arc::clone(self), work).await
    }

    /// How many operations were begun. One that was tried several times counts once.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Whether the service did, or refused for good, anything that it was asked: it works.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Whether a change went through.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.written.load(Ordering::Relaxed)
    }

    /// Whether the service, or our own pace, held a call back.
    #[must_use]
    pub fn is_throttled(&self) -> bool {
        self.throttled.load(Ordering::Relaxed)
    }

    /// An operation begins.
    pub(crate) fn begin() {
        // Work that nobody watches is not counted.
        let _ = CURRENT.try_with(|usage| usage.calls.fetch_add(1, Ordering::Relaxed));
    }

    /// An operation, which `writes` or reads, ended.
    pub(crate) fn end<T>(writes: bool, answer: &Result<T, Error>) {
        let _ = CURRENT.try_with(|usage| {
            let works = answer.as_ref().err().is_none_or(|error| !error.is_transient());
            usage.answered.fetch_or(works, Ordering::Relaxed);
            usage.written.fetch_or(writes && answer.is_ok(), Ordering::Relaxed);
            usage.throttled.fetch_or(answer.as_ref().err().is_some_and(Error::is_throttled), Ordering::Relaxed);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(writes: bool, answer: Result<(), Error>) {
        Usage::begin();
        Usage::end(writes, &answer);
    }

    #[tokio::test]
    async fn only_watched_calls_count() {
        let usage = Arc::new(Usage::default());
        call(true, Ok(()));
        usage.watch(async { call(false, Ok(())) }).await;
        assert_eq!((usage.calls(), usage.is_answered(), usage.is_written()), (1, true, false));
        usage.watch(async { call(true, Ok(())) }).await;
        assert_eq!((usage.calls(), usage.is_written()), (2, true));
    }

    #[tokio::test]
    async fn what_was_held_back_is_no_sign_of_life_and_what_was_refused_is() {
        let usage = Arc::new(Usage::default());
        usage.watch(async { call(true, Err(Error::Throttled { retry_after: None })) }).await;
        assert_eq!((usage.is_throttled(), usage.is_answered(), usage.is_written()), (true, false, false));
        usage.watch(async { call(true, Err(Error::PreconditionFailed { message: String::new() })) }).await;
        assert_eq!((usage.is_answered(), usage.is_written()), (true, false));
    }
}
