//! State that changes in one way only.
//!
//! Each service owns one serializable [`State`]. A request looks at it, decides, and hands over the changes that
//! follow from its decision; [`State::apply`] is the only code that writes. What is decided (ids, times, ETags) is
//! in the change itself, so applying the same changes to the same state always gives the same result.

use std::sync::{PoisonError, RwLock};

use serde::{Serialize, de::DeserializeOwned};

/// A service's whole state.
pub trait State: Serialize + DeserializeOwned + Send + Sync {
    /// One step from a valid state to the next; carries everything it needs (no clock, no random numbers inside).
    type Change: Serialize + DeserializeOwned + Send;

    /// Takes the step. Never fails: what could go wrong was decided before.
    fn apply(&mut self, change: Self::Change);
}

/// Guards a [`State`]: many readers, or one decision at a time.
#[derive(Debug, Default)]
pub struct Store<S> {
    state: RwLock<S>,
}

impl<S: State> Store<S> {
    /// A store that begins with `state`.
    pub fn new(state: S) -> Self {
        Self { state: RwLock::new(state) }
    }

    /// Looks at the state; `look` sees one moment, whatever runs beside it.
    pub fn read<T>(&self, look: impl FnOnce(&S) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Decides on the current state and applies what was decided, with no other change in between.
    ///
    /// # Errors
    /// What `decide` refuses with; nothing changes then.
    pub fn change<T, E>(&self, decide: impl FnOnce(&S) -> Result<(Vec<S::Change>, T), E>) -> Result<T, E> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let (changes, answer) = decide(&state)?;
        for change in changes {
            state.apply(change);
        }
        Ok(answer)
    }
}
