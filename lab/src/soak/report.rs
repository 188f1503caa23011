//! How a soak went.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::memory::Growth;

/// Something that should not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which device it is about, if one.
    pub device: Option<String>,
    /// What is wrong, and which rule that breaks.
    pub what: String,
}

impl Violation {
    pub(super) fn of(device: &str, what: impl Into<String>) -> Self {
        Self { device: Some(device.to_owned()), what: what.into() }
    }

    pub(super) fn general(what: impl Into<String>) -> Self {
        Self { device: None, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.device {
            Some(device) => write!(f, "{device}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// How it went.
#[derive(Debug)]
pub struct Report {
    /// The seed, to try the same again.
    pub seed: u64,
    /// What was tried, by name.
    pub tried: BTreeMap<&'static str, u64>,
    /// What went wrong on purpose, and how often.
    pub faults: Vec<(String, u64)>,
    /// Messages in all.
    pub messages: usize,
    /// Dead letters by reason.
    pub dead_letters: BTreeMap<String, usize>,
    /// Batches that failed and came again.
    pub failed_batches: u64,
    /// How long everything took to settle afterwards.
    pub settled_after: Duration,
    /// The handler's memory, where one process ran long enough.
    pub memory: Option<Growth>,
    /// What should not be.
    pub violations: Vec<Violation>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} messages", self.messages)?;
        for (what, count) in &self.tried {
            writeln!(f, "  {count:>8}  {what}")?;
        }
        writeln!(f, "went wrong on purpose:")?;
        for (fault, count) in &self.faults {
            writeln!(f, "  {count:>8}  {fault}")?;
        }
        writeln!(f, "became:")?;
        writeln!(f, "  {:>8}  batches that failed and came again", self.failed_batches)?;
        for (reason, count) in &self.dead_letters {
            writeln!(f, "  {count:>8}  dead letters: {reason}")?;
        }
        writeln!(f, "settled {:.1} s after the last fault", self.settled_after.as_secs_f64())?;
        if let Some(memory) = &self.memory {
            writeln!(f, "{memory}")?;
        }
        for violation in &self.violations {
            writeln!(f, "VIOLATION {violation}")?;
        }
        write!(f, "{} violations; seed {}", self.violations.len(), self.seed)
    }
}
