//! Limits on how many requests a service takes within a time: those of Azure Digital Twins (Azure Digital Twins: service
//! limits) and of DPS (Azure subscription limits: IoT Hub Device Provisioning Service limits).

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{Class, Refusal, Request, Service};

/// So many within a time.
#[derive(Debug, Clone, Copy)]
struct Limit {
    most: usize,
    within: Duration,
}

/// The requests that count yet.
#[derive(Debug, Default)]
pub(super) struct Limits(Mutex<Windows>);

/// By class and by what they are about.
#[derive(Debug, Default)]
struct Windows {
    classes: HashMap<(Service, Class), Window>,
    subjects: HashMap<(Service, String), Window>,
}

#[derive(Debug)]
struct Window {
    limit: Limit,
    times: VecDeque<Instant>,
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
        let Request { service, class, .. } = *request;
        self.subjects.retain(|_, window| {
            window.expire(now);
            !window.times.is_empty()
        });
        let all = of_class(service, class)
            .map(|limit| self.classes.entry((service, class)).or_insert_with(|| Window::new(limit)));
        let one = of_subject(service, class).filter(|_| !request.subject.is_empty()).map(|limit| {
            let subject = (service, request.subject.to_owned());
            self.subjects.entry(subject).or_insert_with(|| Window::new(limit))
        });
        let mut windows: Vec<&mut Window> = all.into_iter().chain(one).collect();
        let wait = windows.iter_mut().filter_map(|window| window.wait(now)).max();
        if let Some(wait) = wait {
            return Err(Refusal::too_many_requests(retry_after(service, wait)));
        }
        windows.into_iter().for_each(|window| window.times.push_back(now));
        Ok(())
    }
}

impl Window {
    fn new(limit: Limit) -> Self {
        Self { limit, times: VecDeque::new() }
    }

    fn expire(&mut self, now: Instant) {
        while self.times.front().is_some_and(|&time| now.duration_since(time) >= self.limit.within) {
            self.times.pop_front();
        }
    }

    /// How long it takes until there is a place again, where there is none.
    fn wait(&mut self, now: Instant) -> Option<Duration> {
        self.expire(now);
        let oldest = self.times.front().filter(|_| self.times.len() >= self.limit.most)?;
        Some(self.limit.within.saturating_sub(now.duration_since(*oldest)))
    }
}

/// What all requests of a class share.
fn of_class(service: Service, class: Class) -> Option<Limit> {
    let a_second = |most| Some(Limit { most, within: Duration::from_secs(1) });
    let a_minute = |most| Some(Limit { most, within: Duration::from_secs(60) });
    match (service, class) {
        (Service::DigitalTwins, Class::Read | Class::Patch) => a_second(1_000),
        (Service::DigitalTwins, Class::CreateOrDelete | Class::Query) => a_second(500),
        (Service::DigitalTwins, Class::Models | Class::EventRoutes) => a_second(100),
        (Service::DigitalTwins, Class::Jobs) => a_second(1),
        (Service::Dps, Class::Registration | Class::Enrollments) => a_minute(1_000),
        _ => None,
    }
}

/// What requests about one twin or device share.
fn of_subject(service: Service, class: Class) -> Option<Limit> {
    match (service, class) {
        (Service::DigitalTwins, Class::Patch | Class::CreateOrDelete) => {
            Some(Limit { most: 10, within: Duration::from_secs(1) })
        }
        (Service::Dps, Class::Poll) => Some(Limit { most: 5, within: Duration::from_secs(10) }),
        _ => None,
    }
}

/// When to come back.
fn retry_after(service: Service, wait: Duration) -> Duration {
    match service {
        // The shortest recorded from Azure Digital Twins' gateway.
        Service::DigitalTwins => Duration::from_secs(5),
        // Nothing is recorded of DPS: when there is a place again, in whole seconds.
        _ => Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_dps(class: Class, subject: &str) -> Request<'_> {
        Request { service: Service::Dps, operation: "", class, subject }
    }

    #[test]
    fn dps_takes_a_thousand_registrations_and_a_thousand_other_operations_a_minute() {
        let (limits, now) = (Limits::default(), Instant::now());
        for class in [Class::Registration, Class::Enrollments] {
            for n in 0..1_000 {
                let now = now + Duration::from_millis(n * 10);
                assert_eq!(limits.admit(&of_dps(class, &n.to_string()), now), Ok(()));
            }
            let too_many = limits.admit(&of_dps(class, "a"), now + Duration::from_millis(10_500));
            assert_eq!(too_many, Err(Refusal::too_many_requests(Duration::from_secs(50))), "{class:?}");
            assert_eq!(limits.admit(&of_dps(class, "a"), now + Duration::from_secs(60)), Ok(()));
        }
    }

    #[test]
    fn a_device_asks_dps_five_times_in_ten_seconds_how_it_goes() {
        let (limits, now) = (Limits::default(), Instant::now());
        let poll = |device, seconds| limits.admit(&of_dps(Class::Poll, device), now + Duration::from_secs(seconds));
        for seconds in 0..5 {
            assert_eq!(poll("a", seconds), Ok(()));
        }
        assert_eq!(poll("a", 5), Err(Refusal::too_many_requests(Duration::from_secs(5))));
        assert_eq!(poll("b", 5), Ok(()));
        assert_eq!(poll("a", 10), Ok(()));
        assert_eq!(poll("a", 10), Err(Refusal::too_many_requests(Duration::from_secs(1))));
    }
}
