//! The throttles of an IoT hub of size S1 with one unit (IoT Hub: quotas and throttling).
//!
//! They are rates. What goes beyond them is carried out at once for a while, then it waits until the rate allows it,
//! then it is refused: the service calls this traffic shaping, and says neither how long the while is nor how long the
//! queue. Here the while is a minute's worth of requests, as throttles are "applied in minute ranges", and nothing
//! waits longer than ten seconds. That makes the documented example true: of bulk operations on 50 devices each, two
//! are accepted at once and the third is rejected.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::{Class, Refusal};

/// What may come at once, in time that the rate needs for it.
const BURST: SignedDuration = SignedDuration::from_secs(60);
/// How long a request may wait.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_secs(10);

/// Until when each hub's rate for a class is used up.
#[derive(Debug, Default)]
pub(super) struct Throttles(Mutex<HashMap<String, HashMap<Class, Timestamp>>>);

impl Throttles {
    /// Counts a request of `now` that takes so many units of a hub's rate; says how long it has to wait.
    pub(super) fn admit(&self, hub: &str, class: Class, units: u32, now: Timestamp) -> Result<Duration, Refusal> {
        let Some(each) = interval(class) else { return Ok(Duration::ZERO) };
        let mut hubs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let classes = match hubs.get_mut(hub) {
            Some(classes) => classes,
            None => hubs.entry(hub.to_owned()).or_default(),
        };
        let used_until = classes.entry(class).or_insert(now);
        // Where the clock was put back, no more is used up than can be.
        let used = used_until.duration_since(now).clamp(SignedDuration::ZERO, BURST + LONGEST_WAIT);
        let wanted = used.saturating_add(each.saturating_mul(i32::try_from(units).unwrap_or(i32::MAX)));
        let too_long = wanted.saturating_sub(BURST + LONGEST_WAIT);
        let is_admitted = !too_long.is_positive();
        *used_until = now.saturating_add(if is_admitted { wanted } else { used }).unwrap_or(Timestamp::MAX);
        if is_admitted {
            Ok(wanted.saturating_sub(BURST).max(SignedDuration::ZERO).unsigned_abs())
        } else {
            Err(Refusal::too_many_requests(whole_seconds(too_long)))
        }
    }

    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// How often the rate allows one.
fn interval(class: Class) -> Option<SignedDuration> {
    let per_second = |number| Some(SignedDuration::from_secs(1) / number);
    let per_minute = |number| Some(SignedDuration::from_mins(1) / number);
    match class {
        Class::Registry => per_minute(100),
        Class::Query => per_minute(20),
        Class::Receive => per_minute(1_000),
        Class::Connect | Class::Send | Class::TwinRead => per_second(100),
        Class::TwinUpdate => per_second(50),
        // 160 KB/s, counted in pieces of 4 KB.
        Class::Method => per_second(40),
        _ => None,
    }
}

/// Rounded up: who comes back then is not refused again.
fn whole_seconds(time: SignedDuration) -> Duration {
    let time = time.unsigned_abs();
    Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUB: &str = "contoso";

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap()
    }

    fn refused(seconds: u64) -> Result<Duration, Refusal> {
        Err(Refusal::too_many_requests(Duration::from_secs(seconds)))
    }

    /// How many requests of one unit each pass at once, and how many more wait, all at one time.
    fn counts(throttles: &Throttles, class: Class, now: Timestamp) -> (u32, u32) {
        let (mut at_once, mut waiting) = (0, 0);
        while let Ok(wait) = throttles.admit(HUB, class, 1, now) {
            *(if wait.is_zero() { &mut at_once } else { &mut waiting }) += 1;
        }
        (at_once, waiting)
    }

    #[test]
    fn a_minutes_worth_passes_at_once_then_ten_seconds_worth_waits_and_the_rest_is_refused() {
        for (class, at_once, waiting) in [
            (Class::Registry, 100, 16),
            (Class::Query, 20, 3),
            (Class::Receive, 1_000, 166),
            (Class::Connect, 6_000, 1_000),
            (Class::Send, 6_000, 1_000),
            (Class::TwinRead, 6_000, 1_000),
            (Class::TwinUpdate, 3_000, 500),
            (Class::Method, 2_400, 400),
        ] {
            assert_eq!(counts(&Throttles::default(), class, at(0)), (at_once, waiting), "{class:?}");
        }
        assert_eq!(Throttles::default().admit(HUB, Class::Other, u32::MAX, at(0)), Ok(Duration::ZERO));
        assert!(Throttles::default().admit(HUB, Class::Send, u32::MAX, at(0)).is_err());
    }

    #[test]
    fn what_waits_is_let_through_at_the_rate() {
        let throttles = Throttles::default();
        let query = |now| throttles.admit(HUB, Class::Query, 1, now);
        for _ in 0..20 {
            assert_eq!(query(at(0)), Ok(Duration::ZERO));
        }
        for seconds in [3, 6, 9] {
            assert_eq!(query(at(0)), Ok(Duration::from_secs(seconds)));
        }
        assert_eq!(query(at(0)), refused(2));
        assert_eq!(query(at(1_500)), refused(1));
        assert_eq!(query(at(2_000)), Ok(Duration::from_secs(10)));
        // An hour later all of it is forgotten, and no more than a minute's worth was saved.
        assert_eq!(counts(&throttles, Class::Query, at(3_600_000)), (20, 3));
        // A clock that is put back makes nobody wait for it.
        assert_eq!(query(at(2_000)), refused(3));
        assert_eq!(query(at(5_000)), Ok(Duration::from_secs(10)));
    }

    #[test]
    fn of_bulk_operations_on_fifty_devices_two_are_accepted_and_the_third_is_rejected() {
        let throttles = Throttles::default();
        let bulk = || throttles.admit(HUB, Class::Registry, 50, at(0));
        assert_eq!([bulk(), bulk()], [Ok(Duration::ZERO), Ok(Duration::ZERO)]);
        assert_eq!(bulk(), refused(20));
    }

    #[test]
    fn hubs_and_classes_have_rates_of_their_own() {
        let throttles = Throttles::default();
        counts(&throttles, Class::Query, at(0));
        assert!(throttles.admit(HUB, Class::Query, 1, at(0)).is_err());
        assert_eq!(throttles.admit("fabrikam", Class::Query, 1, at(0)), Ok(Duration::ZERO));
        assert_eq!(throttles.admit(HUB, Class::TwinRead, 1, at(0)), Ok(Duration::ZERO));
        throttles.clear();
        assert_eq!(throttles.admit(HUB, Class::Query, 1, at(0)), Ok(Duration::ZERO));
    }
}
