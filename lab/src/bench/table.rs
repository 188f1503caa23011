//! The report for people: one line a figure.

use std::fmt;

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    subject: String,
    value: String,
    wanted: Option<Wanted>,
}

/// What a figure should be.
#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    text: String,
    met: bool,
}

impl Row {
    /// A figure that nothing is wanted of.
    #[must_use]
    pub fn new(subject: impl Into<String>, value: impl Into<String>) -> Self {
        Self { subject: subject.into(), value: value.into(), wanted: None }
    }

    /// A figure that should be at most `limit`.
    #[must_use]
    pub fn at_most(subject: impl Into<String>, figure: f64, limit: f64, unit: &str) -> Self {
        let wanted = Wanted { text: format!("at most {limit}{unit}"), met: figure <= limit };
        Self { wanted: Some(wanted), ..Self::new(subject, format!("{figure:.2}{unit}")) }
    }

    /// A figure that should be at least `limit`.
    #[must_use]
    pub fn at_least(subject: impl Into<String>, figure: f64, limit: f64, unit: &str) -> Self {
        let wanted = Wanted { text: format!("at least {limit}{unit}"), met: figure >= limit };
        Self { wanted: Some(wanted), ..Self::new(subject, format!("{figure:.2}{unit}")) }
    }

    /// Whether the figure is as wanted; also where nothing is.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.met)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<66} {:>14}", self.subject, self.value)?;
        match &self.wanted {
            Some(Wanted { text, met: true }) => write!(f, "   {text}"),
            Some(Wanted { text, met: false }) => write!(f, "   {text}: MISSED"),
            None => Ok(()),
        }
    }
}
