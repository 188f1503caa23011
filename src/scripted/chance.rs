//! What calls meet by chance: always the same with the same seed, as long as calls come in the same order.

use std::time::Duration;

use super::Step;

/// A source of faults.
#[derive(Debug, Clone)]
pub(super) struct Chance {
    state: u64,
    percent: u64,
}

impl Chance {
    /// `percent` of all calls fail.
    pub(super) fn new(seed: u64, percent: u64) -> Self {
        Self { state: seed, percent }
    }

    /// How long a call is under way before it reaches the service.
    pub(super) fn latency(&mut self) -> Duration {
        Duration::from_millis(self.below(40))
    }

    /// What the call named `call` meets.
    pub(super) fn step(&mut self, call: &str) -> Option<Step> {
        if self.below(100) >= self.percent {
            return None;
        }
        let twin = call.rsplit(' ').next().unwrap_or_default().to_owned();
        Some(match self.below(7) {
            0 => Step::Refuse(500, "InternalServerError"),
            1 => Step::Refuse(503, "ServiceUnavailable"),
            2 => Step::Refuse(429, "TooManyRequests"),
            3 => Step::Break,
            4 | 5 => Step::LoseAnswer,
            _ => Step::first(move |twins| twins.renew(&twin)),
        })
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
