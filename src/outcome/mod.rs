//! What becomes of the events of a batch: of each one exactly one thing, and what the host is told about all of them.

mod attempt;
mod once;
mod report;

use std::collections::BTreeMap;

pub use attempt::{Attempt, Failure, Unanswered};
pub use once::Once;
pub(crate) use report::probe;
pub use report::{Outages, Report, Work};

use crate::dead_letter::Reason;

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// What it says is in the twin, or was already.
    Applied,
    /// All that it says was replaced by newer values of the same properties.
    Superseded,
    /// A stated rule says that it changes nothing.
    LeftOut(LeftOut),
    /// It could not be applied, and goes to the dead letters.
    DeadLetter(Reason),
}

/// The rules by which an event changes nothing. Each is counted by its label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeftOut {
    /// The system message source is another one than the function is for.
    OtherSource,
    /// It comes from, or is about, a module of the device.
    Module,
    /// Telemetry: the device has no twin, and the setting says to leave such events out.
    NoTwin,
    /// Telemetry: the twin's model has no property for anything in it.
    NoProperty,
    /// Telemetry: nothing but bookkeeping properties, which telemetry never writes.
    Bookkeeping,
    /// Lifecycle: an operation other than the deletion of a device.
    OtherOperation,
    /// Lifecycle: the system properties name another device than the event.
    OtherDevice,
    /// Lifecycle: there is no twin any more, or never was.
    NotFound,
    /// Lifecycle: the twin belongs to another device, or to none.
    NotBound,
    /// Lifecycle: the device registered after it was deleted.
    RegisteredAnew,
    /// Lifecycle: the device lives in another hub now.
    OtherHub,
    /// Lifecycle: nothing but its id connects the twin with the device, and the device's tags do not name it.
    Unmarked,
}

impl LeftOut {
    /// The name under which it is counted.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::OtherSource => "otherSource",
            Self::Module => "module",
            Self::NoTwin => "noTwin",
            Self::NoProperty => "noProperty",
            Self::Bookkeeping => "bookkeeping",
            Self::OtherOperation => "otherOperation",
            Self::OtherDevice => "otherDevice",
            Self::NotFound => "notFound",
            Self::NotBound => "notBound",
            Self::RegisteredAnew => "registeredAnew",
            Self::OtherHub => "otherHub",
            Self::Unmarked => "unmarked",
        }
    }
}

/// What is known so far about each event of a batch. An event's index is its place in the batch.
#[derive(Debug)]
pub struct Outcomes(Vec<Standing>);

/// What is known so far about one event.
#[derive(Debug)]
enum Standing {
    /// It is to be worked on (again), with what failed last.
    Open(Option<Failure>),
    Settled(Outcome),
}

impl Outcomes {
    /// Nothing is known yet about a batch of `events` events.
    #[must_use]
    pub fn of(events: usize) -> Self {
        Self((0..events).map(|_| Standing::Open(None)).collect())
    }

    /// Settles an event. What was settled stays: an event has one outcome.
    pub fn settle(&mut self, event: usize, outcome: Outcome) {
        match self.0.get_mut(event) {
            Some(Standing::Settled(before)) => {
                debug_assert!(false, "event {event} is settled twice: {before:?}, then {outcome:?}");
            }
            Some(open) => *open = Standing::Settled(outcome),
            None => {}
        }
    }

    /// Notes that an event failed in a way that may pass. It stays open.
    pub fn fail(&mut self, event: usize, failure: Failure) {
        if let Some(Standing::Open(last)) = self.0.get_mut(event) {
            *last = Some(failure);
        }
    }

    /// Events that are not settled, with what failed last.
    pub fn open(&self) -> impl Iterator<Item = (usize, Option<&Failure>)> {
        self.0.iter().enumerate().filter_map(|(event, standing)| match standing {
            Standing::Open(failure) => Some((event, failure.as_ref())),
            Standing::Settled(_) => None,
        })
    }

    /// Settles what still fails as dead letters.
    pub fn give_up(&mut self, attempts: u32) {
        for standing in &mut self.0 {
            if let Standing::Open(failure) = standing {
                let reason = Reason::still_failing(attempts, failure.as_ref());
                *standing = Standing::Settled(Outcome::DeadLetter(reason));
            }
        }
    }

    /// The outcome of an event, if it is settled.
    #[must_use]
    pub fn get(&self, event: usize) -> Option<&Outcome> {
        self.0.get(event)?.outcome()
    }

    /// Dead letters, by event.
    pub fn dead_letters(&self) -> impl Iterator<Item = (usize, &Reason)> {
        self.all().enumerate().filter_map(|(event, outcome)| match outcome {
            Some(Outcome::DeadLetter(reason)) => Some((event, reason)),
            _ => None,
        })
    }

    /// How many events ended how.
    #[must_use]
    pub fn count(&self) -> Counts {
        let mut counts = Counts { events: self.0.len(), ..Counts::default() };
        for outcome in self.all() {
            match outcome {
                Some(Outcome::Applied) => counts.applied += 1,
                Some(Outcome::Superseded) => counts.superseded += 1,
                Some(Outcome::LeftOut(rule)) => *counts.left_out.entry(rule.label()).or_default() += 1,
                Some(Outcome::DeadLetter(_)) => counts.dead_letters += 1,
                None => counts.open += 1,
            }
        }
        counts
    }

    fn all(&self) -> impl Iterator<Item = Option<&Outcome>> {
        self.0.iter().map(Standing::outcome)
    }
}

impl Standing {
    fn outcome(&self) -> Option<&Outcome> {
        match self {
            Self::Settled(outcome) => Some(outcome),
            Self::Open(_) => None,
        }
    }
}

/// How many events of a batch ended how. The parts add up to `events`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// All events of the batch.
    pub events: usize,
    /// Events whose values are in their twins.
    pub applied: usize,
    /// Events that newer ones replaced.
    pub superseded: usize,
    /// Events left out, by the label of the rule.
    pub left_out: BTreeMap<&'static str, usize>,
    /// Events that became dead letters.
    pub dead_letters: usize,
    /// Events that are not settled: the batch comes again.
    pub open: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::Code;

    #[test]
    fn every_event_is_counted_once() {
        let mut outcomes = Outcomes::of(6);
        outcomes.settle(0, Outcome::Applied);
        outcomes.settle(1, Outcome::Superseded);
        outcomes.settle(2, Outcome::LeftOut(LeftOut::Module));
        outcomes.settle(3, Outcome::LeftOut(LeftOut::Module));
        outcomes.settle(4, Outcome::DeadLetter(Reason::new(Code::Body, "empty")));
        outcomes.fail(5, Failure::early("soon"));
        let counts = outcomes.count();
        assert_eq!(
            counts,
            Counts { events: 6, applied: 1, superseded: 1, left_out: [("module", 2)].into(), dead_letters: 1, open: 1 }
        );
    }

    #[test]
    fn what_was_settled_does_not_fail_any_more() {
        let mut outcomes = Outcomes::of(1);
        outcomes.fail(0, Failure::early("soon"));
        outcomes.settle(0, Outcome::Applied);
        outcomes.fail(0, Failure::early("soon"));
        assert_eq!(outcomes.open().count(), 0);
        outcomes.give_up(5);
        assert_eq!(outcomes.get(0), Some(&Outcome::Applied));
    }

    #[test]
    fn what_is_given_up_says_what_failed_last() {
        let mut outcomes = Outcomes::of(2);
        outcomes.fail(0, Failure::early("the first reason"));
        outcomes.fail(0, Failure::early("the last reason"));
        outcomes.give_up(5);
        let reasons: Vec<_> = outcomes.dead_letters().map(|(event, reason)| (event, reason.detail.as_str())).collect();
        assert_eq!(
            reasons,
            [
                (0, "failed at each of 5 attempts, at last: the last reason"),
                (1, "failed at each of 5 attempts, at last: no answer within the time for one attempt"),
            ]
        );
    }
}
