//! The limits of Azure Digital Twins (Azure Digital Twins: service limits).

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{Class, Refusal, Request};

const SECOND: Duration = Duration::from_secs(1);
const WRITES_PER_TWIN: usize = 10;
/// The shortest Retry-After recorded from Azure Digital Twins' gateway.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The requests of the last second.
#[derive(Debug, Default)]
pub(super) struct Limits(Mutex<Windows>);

/// By class and by twin.
#[derive(Debug, Default)]
struct Windows {
    classes: HashMap<Class, VecDeque<Instant>>,
    twins: HashMap<String, VecDeque<Instant>>,
}

impl Limits {
    /// Counts a request of `now`, unless it is one too many.
    pub(super) fn admit(&self, request: &Request<'_>, now: Instant) -> Result<(), Refusal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).admit(request, now)
    }

    pub(super) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Windows::default();
    }
}

impl Windows {
    fn admit(&mut self, request: &Request<'_>, now: Instant) -> Result<(), Refusal> {
        let Some(limit) = per_second(request.class) else { return Ok(()) };
        self.twins.retain(|_, times| {
            expire(times, now);
            !times.is_empty()
        });
        let class = self.classes.entry(request.class).or_default();
        expire(class, now);
        let writes = matches!(request.class, Class::Patch | Class::CreateOrDelete) && !request.subject.is_empty();
        let twin_is_busy =
            writes && self.twins.get(request.subject).is_some_and(|times| times.len() >= WRITES_PER_TWIN);
        if class.len() >= limit || twin_is_busy {
            return Err(Refusal::too_many_requests(RETRY_AFTER));
        }
        class.push_back(now);
        if writes {
            self.twins.entry(request.subject.to_owned()).or_default().push_back(now);
        }
        Ok(())
    }
}

fn per_second(class: Class) -> Option<usize> {
    match class {
        Class::Read | Class::Patch => Some(1_000),
        Class::CreateOrDelete | Class::Query => Some(500),
        Class::Models | Class::EventRoutes => Some(100),
        Class::Jobs => Some(1),
        Class::Other => None,
    }
}

fn expire(times: &mut VecDeque<Instant>, now: Instant) {
    while times.front().is_some_and(|&time| now.duration_since(time) >= SECOND) {
        times.pop_front();
    }
}
