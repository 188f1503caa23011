//! How often each operation was asked for.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

use super::{Request, Service};

/// How often an operation was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperationCount {
    /// The service.
    pub service: Service,
    /// The operation; for [`Service::EventHubs`] the event hub, whose batches are counted.
    pub operation: String,
    /// Requests since the start, or since the last reset.
    pub count: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<BTreeMap<Service, BTreeMap<String, u64>>>);

impl Counts {
    pub(super) fn add(&self, request: &Request<'_>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let operations = counts.entry(request.service).or_default();
        match operations.get_mut(request.operation) {
            Some(count) => *count += 1,
            None => {
                operations.insert(request.operation.to_owned(), 1);
            }
        }
    }

    pub(super) fn all(&self) -> Vec<OperationCount> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_service = |(&service, operations): (&Service, &BTreeMap<String, u64>)| {
            let count =
                |(operation, &count): (&String, &u64)| OperationCount { service, operation: operation.clone(), count };
            operations.iter().map(count).collect::<Vec<_>>()
        };
        counts.iter().flat_map(of_service).collect()
    }

    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
