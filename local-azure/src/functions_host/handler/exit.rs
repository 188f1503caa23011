//! What the host does when a handler ends.
//!
//! Source: azure-functions-host, `WorkerProcess.cs` and `HttpFunctionInvocationDispatcher.cs`.

use std::{fmt, process::ExitStatus, time::Duration};

use tokio::time::Instant;

/// A handler asks for its restart with this exit code.
const INTENTIONAL_RESTART: i32 = 200;
/// The error that stops the host.
const ERRORS_THAT_STOP_THE_HOST: usize = 3;
/// After so long without an error, earlier ones are forgotten.
const ERROR_MEMORY: Duration = Duration::from_secs(30 * 60);

/// What follows from an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consequence {
    /// Nothing: the host believes that all is well, and every later invocation fails.
    Nothing,
    /// A new process.
    Restart,
    /// A new process, unless errors have become too many.
    Error,
}

/// Judges an exit.
pub(super) fn consequence(status: ExitStatus) -> Consequence {
    match status.code() {
        Some(0) => Consequence::Nothing,
        Some(INTENTIONAL_RESTART) => Consequence::Restart,
        Some(_) | None => Consequence::Error,
    }
}

/// The errors of one host.
#[derive(Debug, Default)]
pub(super) struct Errors {
    times: Vec<Instant>,
}

impl Errors {
    /// Counts an error; says whether it was one too many.
    pub(super) fn count(&mut self, now: Instant) -> bool {
        if self.times.last().is_some_and(|&last| now.duration_since(last) > ERROR_MEMORY) {
            self.times.clear();
        }
        self.times.push(now);
        self.times.len() >= ERRORS_THAT_STOP_THE_HOST
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {} of {ERRORS_THAT_STOP_THE_HOST}", self.times.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_error_is_one_too_many_unless_half_an_hour_passed_in_between() {
        let start = Instant::now();
        let minutes = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let mut errors = Errors::default();
        assert_eq!([0, 30, 60].map(|at| errors.count(minutes(at))), [false, false, true]);
        let mut errors = Errors::default();
        assert_eq!([0, 30, 61, 62, 63].map(|at| errors.count(minutes(at))), [false, false, false, false, true]);
    }
}
