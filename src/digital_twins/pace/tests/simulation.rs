//! Many callers, one bucket, and services that refuse for different reasons, in a time of their own.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::*;

/// What the class may do a second, at most.
const LIMIT: f64 = 900.0;
const CALLERS: usize = 64;
const LATENCY: Duration = Duration::from_millis(20);
const DURATION: Duration = Duration::from_secs(120);
/// The shortest that Azure Digital Twins asks for.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Decides at `now`, counted from the start, whether a call of a caller is refused.
type Refuses<'a> = &'a mut dyn FnMut(Duration, usize) -> bool;

/// What a caller does next.
enum Next {
    TakeTurn,
    Send(Turn),
    Hear(Turn, bool),
}

/// What came of it, a second.
#[derive(Debug)]
struct Rates {
    succeeded: f64,
    /// Those of the first caller alone.
    of_the_first: f64,
    refused: f64,
}

/// Lets all callers call, one call after the other, as fast as the bucket lets them.
fn simulate(refuses: Refuses<'_>) -> Rates {
    let start = Instant::now();
    let mut bucket = Bucket::new(LIMIT, start);
    // By time and, to tell apart what happens at the same time, by a number.
    let mut agenda = BTreeMap::new();
    let mut number = 0_u64;
    let mut plan = |agenda: &mut BTreeMap<_, _>, at: Duration, caller: usize, next: Next| {
        number += 1;
        agenda.insert((at, number), (caller, next));
    };
    (0..CALLERS).for_each(|caller| plan(&mut agenda, Duration::ZERO, caller, Next::TakeTurn));
    let (mut succeeded, mut refused) = (vec![0_u32; CALLERS], 0_u32);
    while let Some(((at, _), (caller, next))) = agenda.pop_first() {
        if at > DURATION {
            break;
        }
        let now = start + at;
        match next {
            Next::TakeTurn => match bucket.take(now) {
                Ok(turn) => plan(&mut agenda, at + turn.wait, caller, Next::Send(turn)),
                Err(_) => plan(&mut agenda, at + Duration::from_secs(1), caller, Next::TakeTurn),
            },
            Next::Send(turn) => {
                let stopped = bucket.blocked_until.saturating_duration_since(now);
                if turn.wait.is_zero() || stopped.is_zero() {
                    let is_refused = refuses(at, caller);
                    plan(&mut agenda, at + LATENCY, caller, Next::Hear(Turn { taken: now, ..turn }, is_refused));
                } else {
                    let turn = Turn { wait: Duration::ZERO, ..turn };
                    plan(&mut agenda, at + stopped, caller, Next::Send(turn));
                }
            }
            Next::Hear(turn, true) => {
                refused += 1;
                let own = bucket.throttled(turn, RETRY_AFTER, now);
                plan(&mut agenda, at + own.max(Duration::from_millis(200)), caller, Next::TakeTurn);
            }
            Next::Hear(_, false) => {
                succeeded[caller] += 1;
                bucket.succeeded(now);
                plan(&mut agenda, at, caller, Next::TakeTurn);
            }
        }
    }
    let a_second = |count: u32| f64::from(count) / DURATION.as_secs_f64();
    Rates {
        succeeded: a_second(succeeded.iter().sum()),
        of_the_first: a_second(succeeded[0]),
        refused: a_second(refused),
    }
}

/// Takes so many calls in any second, and refuses the others.
fn capacity(calls: usize) -> impl FnMut(Duration) -> bool {
    let mut taken = VecDeque::new();
    move |now| {
        while taken.front().is_some_and(|&time| now.saturating_sub(time) >= Duration::from_secs(1)) {
            taken.pop_front();
        }
        let is_refused = taken.len() >= calls;
        if !is_refused {
            taken.push_back(now);
        }
        is_refused
    }
}

/// Refuses so many calls of a thousand, at random.
fn at_random(per_mille: u64, seed: u64) -> impl FnMut(Duration, usize) -> bool {
    let mut call = 0_u64;
    move |_, _| {
        call += 1;
        let mut hasher = DefaultHasher::new();
        (seed, call).hash(&mut hasher);
        hasher.finish() % 1_000 < per_mille
    }
}

#[test]
fn a_twin_that_is_written_too_fast_costs_the_others_nothing() {
    let mut twin = capacity(10);
    let rates = simulate(&mut |now, caller| caller == 0 && twin(now));
    assert!(rates.succeeded - rates.of_the_first > 0.95 * LIMIT, "{rates:?}");
    assert!(rates.of_the_first > 1.0, "{rates:?}");
}

#[test]
fn one_refusal_in_a_thousand_costs_a_third_at_most() {
    for seed in 0..10 {
        let rates = simulate(&mut at_random(1, seed));
        assert!(rates.succeeded > LIMIT * 2.0 / 3.0, "seed {seed}: {rates:?}");
    }
}

#[test]
fn one_refusal_in_twenty_does_not_pin_the_rate_to_its_floor() {
    for seed in 0..10 {
        let rates = simulate(&mut at_random(50, seed));
        assert!(rates.succeeded > 20.0 * MIN_RATE, "seed {seed}: {rates:?}");
    }
}

#[test]
fn a_service_that_can_do_less_is_used_and_hardly_asked_for_more() {
    for calls in [300, 600, 850] {
        let mut service = capacity(calls);
        let rates = simulate(&mut |now, _| service(now));
        let share = rates.succeeded / f64::from(u32::try_from(calls).unwrap());
        assert!(share > 0.7, "{calls}: {rates:?}");
        assert!(rates.refused < 0.03 * rates.succeeded, "{calls}: {rates:?}");
    }
}

#[test]
fn a_service_that_refuses_everything_is_asked_about_once_in_a_while() {
    let rates = simulate(&mut |_, _| true);
    assert!(rates.refused < 20.0, "{rates:?}");
    assert!(rates.refused > 0.0);
}
