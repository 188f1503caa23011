//! How often each operation was asked for.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

use super::{Request, Service};

/// How often an operation was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct OperationCount {
    /// The service.
    pub service: Service,
    /// The operation.
    pub operation: &'static str,
    /// Requests since the start, or since the last reset.
    pub count: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<BTreeMap<(Service, &'static str), u64>>);

impl Counts {
    pub(super) fn add(&self, request: &Request<'_>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((request.service, request.operation)).or_default() += 1;
    }

    pub(super) fn all(&self) -> Vec<OperationCount> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(&(service, operation), &count)| OperationCount { service, operation, count }).collect()
    }

    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
