//! What is wrong with settings, collected while they are read.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    setting: &'static str,
    text: String,
}

impl Problem {
    /// A problem with `setting`.
    pub fn new(setting: &'static str, text: impl Into<String>) -> Self {
        Self { setting, text: text.into() }
    }

    /// The name of the setting.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        self.setting
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.setting, self.text)
    }
}

/// Everything that is wrong, one problem a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The problems.
    #[must_use]
    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            let line_break = if position == 0 { "" } else { "\n" };
            write!(f, "{line_break}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Reads settings and keeps what is wrong with them.
pub(super) struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, problems: Vec::new() }
    }

    /// The value of a setting; blank ones are none.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        (self.lookup)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        takes: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(name)?;
        let value = parse(&text);
        if value.is_none() {
            self.problem(name, format!("is {}; it takes {takes}", quoted(&text)));
        }
        value
    }

    pub(super) fn required<T>(
        &mut self,
        name: &'static str,
        takes: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        if self.text(name).is_none() {
            self.problem(name, format!("is not set; it takes {takes}"));
            return None;
        }
        self.optional(name, takes, parse)
    }

    pub(super) fn or<T>(
        &mut self,
        name: &'static str,
        takes: &str,
        default: T,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        self.optional(name, takes, parse).unwrap_or(default)
    }

    /// One of a few words, the first of which is the default.
    pub(super) fn choice<T: Copy, const N: usize>(&mut self, name: &'static str, choices: &[(&str, T); N]) -> T {
        const { assert!(N > 0, "a choice has a default") };
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        let parse = |text: &str| choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        let (_, default) = choices[0];
        self.or(name, &words.join(" or "), default, parse)
    }

    pub(super) fn problem(&mut self, name: &'static str, text: impl Into<String>) {
        self.problems.push(Problem::new(name, text));
    }

    pub(super) fn into_problems(self) -> Problems {
        Problems(self.problems)
    }
}

/// A value as it may be shown: the beginning of it, on one line, and nothing of what could carry a password.
fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    if text.contains('@') {
        return "a value with a user name (not shown)".to_owned();
    }
    let shown: String = text.chars().take(LONGEST).collect();
    let rest = if shown.len() < text.len() { "..." } else { "" };
    format!("{shown:?}{rest}")
}
