//! What goes wrong on purpose in a running local-azure.

use std::sync::Arc;

use crate::{
    digital_twins, dps,
    functions_host::{FunctionsHost, Unknown},
    gate::{Fault, FaultError, FaultStatus, Gate, Service, TooMany},
    identity, iot_hub,
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
    /// It is about an operation that the service does not have: it would never happen.
    #[error("the service has no operation {wanted:?}; it has: {}", known.join(", "))]
    Operation {
        /// What was asked for.
        wanted: String,
        /// The service's operations.
        known: Vec<&'static str>,
    },
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
        check_operation(&fault)?;
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

/// Refuses a fault about an operation that its service does not have. The Functions host knows its own.
fn check_operation(fault: &Fault) -> Result<(), InjectError> {
    let Some(wanted) = fault.operation() else { return Ok(()) };
    let mut known: Vec<_> = match fault.service() {
        Service::DigitalTwins => digital_twins::operations().map(|(_, _, name)| name).collect(),
        Service::Dps => requests(dps::operations()),
        Service::IotHub => requests(iot_hub::operations()),
        Service::Identity => vec![identity::GET_TOKEN],
        Service::EventHubs | Service::Functions => return Ok(()),
    };
    if known.iter().any(|name| name.eq_ignore_ascii_case(wanted)) {
        return Ok(());
    }
    known.sort_unstable();
    known.dedup();
    Err(InjectError::Operation { wanted: wanted.to_owned(), known })
}

/// The names of what passes the gate: a subscription is not asked for there.
fn requests(operations: impl Iterator<Item = (&'static str, &'static str, &'static str)>) -> Vec<&'static str> {
    operations.filter(|(verb, ..)| *verb != "SUBSCRIBE").map(|(_, _, name)| name).collect()
}
