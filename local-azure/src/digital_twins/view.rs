//! What queries see: the graph as it was a while ago.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use super::graph::{Graph, GraphChange};

/// A graph that takes each change some time after it happened. Queries of the real service lag by up to 10 s: twins
/// just created are missing from their rows, twins just deleted are still in them.
#[derive(Debug)]
pub(super) struct DelayedView {
    lag: SignedDuration,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    graph: Graph,
    /// In the order in which they happened.
    coming: VecDeque<(Timestamp, GraphChange)>,
}

impl DelayedView {
    /// A view that begins with `graph`.
    pub(super) fn new(graph: Graph, lag: SignedDuration) -> Self {
        Self { lag, inner: Mutex::new(Inner { graph, coming: VecDeque::new() }) }
    }

    /// Notes a change that happens now.
    pub(super) fn note(&self, change: GraphChange, now: Timestamp) {
        let mut inner = self.lock();
        inner.coming.push_back((now, change));
        inner.catch_up(now, self.lag);
    }

    /// Looks at the graph as it was `lag` before now.
    pub(super) fn read<T>(&self, now: Timestamp, look: impl FnOnce(&Graph) -> T) -> T {
        let mut inner = self.lock();
        inner.catch_up(now, self.lag);
        look(&inner.graph)
    }

    /// Goes on from `graph`, and forgets what is still to come.
    pub(super) fn begin_anew(&self, graph: Graph) {
        *self.lock() = Inner { graph, coming: VecDeque::new() };
    }

    /// Forgets everything, what is still to come too.
    pub(super) fn clear(&self) {
        *self.lock() = Inner::default();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn catch_up(&mut self, now: Timestamp, lag: SignedDuration) {
        while self.coming.front().is_some_and(|(happened, _)| now.duration_since(*happened) >= lag) {
            if let Some((_, change)) = self.coming.pop_front() {
                self.graph.apply(change);
            }
        }
    }
}
