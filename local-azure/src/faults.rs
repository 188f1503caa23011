//! What goes wrong on purpose in a running local-azure.

use std::sync::Arc;

use crate::{
    functions_host::{FunctionsHost, Unknown},
    gate::{Fault, FaultError, FaultStatus, Gate, TooMany},
    services::Services,
};

/// The faults of a running local-azure. Cheap to clone; clones are the same faults.
#[derive(Debug, Clone)]
pub struct Faults {
    gate: Arc<Gate>,
    functions: Arc<FunctionsHost>,
}

/// A fault that cannot be switched on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// It makes no sense.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// It is about something that is not there.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// There is no room for it.
    #[error(transparent)]
    TooMany(#[from] TooMany),
}

impl Faults {
    /// Those of a gate and of the host behind it.
    pub fn new(gate: Arc<Gate>, functions: Arc<FunctionsHost>) -> Self {
        Self { gate, functions }
    }

    pub(crate) fn of(services: &Services) -> Self {
        Self::new(Arc::clone(&services.gate), Arc::clone(&services.functions))
    }

    /// Switches a fault on, and gives its number. What happens at once has begun when this returns.
    ///
    /// # Errors
    /// [`InjectError`].
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn inject(&self, fault: Fault) -> Result<u64, InjectError> {
        fault.check()?;
        self.functions.check(&fault)?;
        let id = self.gate.inject(fault.clone())?;
        self.functions.begin(id, &fault);
        Ok(id)
    }

    /// Takes a fault away; says whether there was one of that number.
    pub fn remove(&self, id: u64) -> bool {
        self.gate.remove_fault(id)
    }

    /// Takes all faults away.
    pub fn clear(&self) {
        self.gate.clear();
    }

    /// All faults, in the order in which they were injected, and how often each happened.
    pub fn all(&self) -> Vec<FaultStatus> {
        self.gate.faults()
    }
}
