//! What was found, and what to do about it.

use std::fmt;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// It works, with less safety than it could have.
    Warning,
    /// It does not work.
    Problem,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// What it is about, in a word or two.
    subject: String,
    text: String,
    advice: Option<String>,
}

impl Finding {
    fn new(level: Level, subject: &str, text: impl fmt::Display) -> Self {
        Self { level, subject: subject.to_owned(), text: text.to_string(), advice: None }
    }

    pub(super) fn good(subject: &str, text: impl fmt::Display) -> Self {
        Self::new(Level::Good, subject, text)
    }

    pub(super) fn note(subject: &str, text: impl fmt::Display) -> Self {
        Self::new(Level::Note, subject, text)
    }

    pub(super) fn warning(subject: &str, text: impl fmt::Display) -> Self {
        Self::new(Level::Warning, subject, text)
    }

    pub(super) fn problem(subject: &str, text: impl fmt::Display) -> Self {
        Self::new(Level::Problem, subject, text)
    }

    /// With what to do about it.
    pub(super) fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Good => "ok     ",
            Level::Note => "note   ",
            Level::Warning => "warning",
            Level::Problem => "PROBLEM",
        };
        write!(f, "{level}  {}: {}", self.subject, self.text)?;
        match &self.advice {
            Some(advice) => write!(f, "\n         -> {advice}"),
            None => Ok(()),
        }
    }
}
