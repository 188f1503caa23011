//! What is tried, decided by a seed: the same seed gives the same schedule, though not the same timing.

use std::time::Duration;

use fastrand::Rng;

/// What a device does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Sends so many readings.
    Readings(u8),
    /// Sends a message that cannot be applied as a whole.
    Poison(Poison),
    /// Claims the twin of another device.
    Foreign,
    /// Sends a message that a rule leaves out.
    LeftOut(LeftOut),
    /// Its last message arrives once more.
    Duplicate,
    /// Registers again, in so many requests at once, in another case.
    RegisterAgain(u8),
    /// DPS moves it to another hub.
    Move,
    /// A module of it is made and deleted.
    DeleteModule,
    /// It is deleted, and registers anew after a while.
    DeleteAndReturn(Duration),
}

/// Messages that cannot be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poison {
    /// Text that is no JSON.
    NotJson,
    /// Bytes that are no UTF-8.
    NotUtf8,
    /// JSON that is no object.
    Array,
    /// A value that does not fit its property.
    WrongType,
    /// A value that does not fit its property, and one that does.
    PartlyWrong,
    /// A member that is there twice.
    Twice,
    /// Nothing.
    Empty,
}

/// Messages that a rule leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// From a module.
    Module,
    /// From another source than telemetry.
    OtherSource,
    /// With nothing that the model knows.
    UnknownMembers,
}

/// How devices are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temper {
    /// They do everything.
    Wild,
    /// None moves or is deleted, and none claims another's twin.
    Calm,
}

/// The schedule of one device.
#[derive(Debug, Clone)]
pub struct Schedule {
    rng: Rng,
    temper: Temper,
}

impl Schedule {
    /// That of device `number`.
    #[must_use]
    pub fn new(seed: u64, number: u64, temper: Temper) -> Self {
        // Neighbouring seeds give generators that have nothing in common.
        Self { rng: Rng::with_seed(Rng::with_seed(seed ^ number.rotate_left(32)).u64(..)), temper }
    }

    /// What comes next.
    pub fn action(&mut self) -> Action {
        match self.rng.u16(0..1_000) {
            0..640 => Action::Readings(self.rng.u8(1..=8)),
            640..740 => Action::Poison(self.poison()),
            740..790 => Action::LeftOut(self.left_out()),
            790..850 => Action::Duplicate,
            850..890 => Action::RegisterAgain(self.rng.u8(1..=4)),
            _ if self.temper == Temper::Calm => Action::Readings(1),
            890..930 => Action::Foreign,
            930..955 => Action::Move,
            955..970 => Action::DeleteModule,
            _ => Action::DeleteAndReturn(self.absence()),
        }
    }

    /// How long before that.
    pub fn pause(&mut self) -> Duration {
        Duration::from_millis(self.rng.u64(20..600))
    }

    /// Of a time that all devices have, the part that this one lives; one in five is deleted for good before the end.
    pub fn lifetime(&mut self, whole: Duration) -> (Duration, bool) {
        let leaves = self.temper == Temper::Wild && self.happens(20);
        if leaves { (whole.mul_f64(0.6 + 0.35 * self.rng.f64()), true) } else { (whole, false) }
    }

    /// Whether something that happens in `of` out of a hundred cases happens now.
    pub fn happens(&mut self, of: u8) -> bool {
        self.rng.u8(0..100) < of
    }

    /// Any index below `length`, which is not 0.
    pub fn index(&mut self, length: usize) -> usize {
        self.rng.usize(0..length.max(1))
    }

    /// Every third device is back at once: it registers while its deletion is on its way.
    fn absence(&mut self) -> Duration {
        if self.happens(33) { Duration::ZERO } else { Duration::from_millis(self.rng.u64(0..2_500)) }
    }

    fn poison(&mut self) -> Poison {
        use Poison::{Array, Empty, NotJson, NotUtf8, PartlyWrong, Twice, WrongType};
        self.one_of([NotJson, NotUtf8, Array, WrongType, PartlyWrong, Twice, Empty])
    }

    fn left_out(&mut self) -> LeftOut {
        self.one_of([LeftOut::Module, LeftOut::OtherSource, LeftOut::UnknownMembers])
    }

    fn one_of<T: Copy, const N: usize>(&mut self, choices: [T; N]) -> T {
        let index = self.index(N);
        choices.get(index).copied().unwrap_or(choices[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(seed: u64, number: u64, temper: Temper) -> Vec<Action> {
        let mut schedule = Schedule::new(seed, number, temper);
        (0..2_000).map(|_| schedule.action()).collect()
    }

    fn kinds(actions: &[Action]) -> usize {
        actions.iter().map(std::mem::discriminant).collect::<std::collections::HashSet<_>>().len()
    }

    #[test]
    fn a_seed_gives_one_schedule_and_another_seed_or_device_another() {
        assert_eq!(actions(1, 1, Temper::Wild), actions(1, 1, Temper::Wild));
        assert_ne!(actions(1, 1, Temper::Wild), actions(2, 1, Temper::Wild));
        assert_ne!(actions(1, 1, Temper::Wild), actions(1, 2, Temper::Wild));
    }

    #[test]
    fn wild_devices_do_everything_and_calm_ones_stay_what_and_where_they_are() {
        assert_eq!(kinds(&actions(7, 0, Temper::Wild)), 9);
        let calm = actions(7, 0, Temper::Calm);
        assert_eq!(kinds(&calm), 5);
        assert!(!calm.iter().any(|it| matches!(it, Action::Move | Action::DeleteAndReturn(_) | Action::Foreign)));
    }

    #[test]
    fn some_wild_devices_leave_before_the_end_and_calm_ones_never() {
        let whole = Duration::from_secs(60);
        let lives = |temper| (0..200).map(move |number| Schedule::new(3, number, temper).lifetime(whole));
        assert!(lives(Temper::Wild).any(|(time, leaves)| leaves && time < whole));
        assert!(lives(Temper::Calm).all(|life| life == (whole, false)));
    }
}
