//! State that changes in one way only.
//!
//! Each service owns one serializable [`State`]. A request looks at it, decides, and hands over the changes that
//! follow from its decision; [`State::apply`] is the only code that writes. What is decided (ids, times, ETags) is
//! in the change itself, so applying the same changes to the same state always gives the same result. That is what
//! lets [`crate::data_dir`] keep a state as the changes that led to it.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::data_dir::{Journal, Kept};

/// A service's whole state.
pub trait State: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// One step from a valid state to the next; carries everything it needs (no clock, no random numbers inside).
    type Change: Serialize + DeserializeOwned + Send;

    /// Takes the step. Never fails: what could go wrong was decided before.
    fn apply(&mut self, change: Self::Change);
}

/// Guards a [`State`]: many readers, or one decision at a time.
pub struct Store<S: State> {
    held: Arc<RwLock<Held<S>>>,
    /// Where changes are kept; `None` for a state that lives in memory only.
    journal: Option<Journal>,
}

struct Held<S: State> {
    state: S,
    /// How many decisions led to it: what is kept is told apart by it.
    revision: u64,
    observer: Option<Observer<S>>,
}

/// Is shown each change, and the state that it is about to happen to.
type Observer<S> = Box<dyn Fn(&S, &<S as State>::Change) + Send + Sync>;

impl<S: State> Held<S> {
    fn new(state: S, revision: u64) -> Arc<RwLock<Self>> {
        Arc::new(RwLock::new(Self { state, revision, observer: None }))
    }
}

impl<S: State> Store<S> {
    /// A store in memory that begins with `state`.
    pub fn new(state: S) -> Self {
        Self { held: Held::new(state, 0), journal: None }
    }

    /// A store whose changes go to `journal`, going on from `revision`.
    pub(crate) fn kept(state: S, revision: u64, journal: Journal) -> Self {
        Self { held: Held::new(state, revision), journal: Some(journal) }
    }

    /// Looks at the state; `look` sees one moment, whatever runs beside it.
    pub fn read<T>(&self, look: impl FnOnce(&S) -> T) -> T {
        look(&self.held.read().unwrap_or_else(PoisonError::into_inner).state)
    }

    /// Shows each change from now on to `observer`, before it shows to others; there is one observer at a time. It must
    /// not come back to this store.
    pub fn observe(&self, observer: impl Fn(&S, &S::Change) + Send + Sync + 'static) {
        self.held.write().unwrap_or_else(PoisonError::into_inner).observer = Some(Box::new(observer));
    }

    /// Decides on the current state and applies what was decided, with no other change in between. Where changes are
    /// kept, they are before this returns.
    ///
    /// # Errors
    /// What `decide` refuses with; nothing changes then.
    ///
    /// # Panics
    /// If the changes cannot be kept: the request then dies unanswered, since nothing must be acknowledged that a
    /// restart would forget. The state stays as it was.
    pub fn change<T, E>(&self, decide: impl FnOnce(&S) -> Result<(Vec<S::Change>, T), E>) -> Result<T, E> {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let held = &mut *held;
        let (changes, answer) = decide(&held.state)?;
        if changes.is_empty() {
            return Ok(answer);
        }
        if let Some(journal) = &self.journal {
            journal.append(held.revision + 1, &changes);
        }
        held.revision += 1;
        for change in changes {
            if let Some(observer) = &held.observer {
                observer(&held.state, &change);
            }
            held.state.apply(change);
        }
        Ok(answer)
    }

    /// The state as it is now, for a snapshot; later changes do not show in it.
    pub(crate) fn snapshot(&self) -> impl Fn() -> serde_json::Result<Kept> + Send + Sync + use<S> {
        let held = Arc::clone(&self.held);
        move || {
            let held = held.read().unwrap_or_else(PoisonError::into_inner);
            Ok(Kept { revision: held.revision, state: to_raw(&held.state)? })
        }
    }
}

impl<S: State> fmt::Debug for Store<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("state", &std::any::type_name::<S>()).finish_non_exhaustive()
    }
}

/// Clones share the state.
impl<S: State> Clone for Store<S> {
    fn clone(&self) -> Self {
        Self { held: Arc::clone(&self.held), journal: self.journal.clone() }
    }
}

impl<S: State> From<S> for Store<S> {
    fn from(state: S) -> Self {
        Self::new(state)
    }
}

fn to_raw(state: &impl Serialize) -> serde_json::Result<Box<RawValue>> {
    serde_json::value::to_raw_value(state)
}
