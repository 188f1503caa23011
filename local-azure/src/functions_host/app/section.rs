//! Reading configuration as .NET does: member names without case, numbers and flags also as text.

use std::time::Duration;

use serde_json::Value;

use super::{error::Error, time_span};

/// An object of a configuration file; a missing one has no members.
#[derive(Debug, Clone)]
pub(super) struct Section<'a> {
    file: &'a str,
    path: String,
    value: Option<&'a Value>,
}

impl<'a> Section<'a> {
    pub(super) fn root(file: &'a str, value: &'a Value) -> Self {
        Self { file, path: String::new(), value: Some(value) }
    }

    pub(super) fn section(&self, name: &str) -> Self {
        Self { file: self.file, path: self.path_of(name), value: self.get(name) }
    }

    /// The items of an array of objects.
    pub(super) fn sections(&self, name: &str) -> Result<Vec<Self>, Error> {
        let items = match self.get(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(self.invalid(name, "an array of objects")),
        };
        let item = |(index, value)| Self {
            file: self.file,
            path: format!("{}[{index}]", self.path_of(name)),
            value: Some(value),
        };
        Ok(items.iter().enumerate().map(item).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        let members = self.value?.as_object()?;
        let member = members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        member.map(|(_, value)| value).filter(|value| !value.is_null())
    }

    pub(super) fn exists(&self) -> bool {
        self.value.is_some()
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, Error> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.invalid(name, "text")),
        }
    }

    pub(super) fn required_text(&self, name: &str) -> Result<&'a str, Error> {
        self.text(name)?.filter(|text| !text.is_empty()).ok_or_else(|| self.invalid(name, "text that is not empty"))
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Error> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(self.invalid(name, "true or false")),
        }
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, Error> {
        let number = match self.get(name) {
            None => return Ok(None),
            Some(Value::String(text)) => text.parse().ok(),
            Some(value) => value.as_i64(),
        };
        number.map(Some).ok_or_else(|| self.invalid(name, "a whole number"))
    }

    pub(super) fn time_span(&self, name: &str) -> Result<Option<Duration>, Error> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        time_span::parse(text).map(Some).ok_or_else(|| self.invalid(name, "a time span such as \"00:00:30\""))
    }

    /// An array of text, or (as app settings give it) a text that holds one as JSON.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, Error> {
        let parsed = match self.get(name) {
            None => return Ok(Vec::new()),
            Some(Value::String(text)) => serde_json::from_str(text).ok(),
            Some(value) => serde_json::from_value(value.clone()).ok(),
        };
        parsed.ok_or_else(|| self.invalid(name, "an array of text"))
    }

    pub(super) fn invalid(&self, name: &str, wanted: &'static str) -> Error {
        let got = self.get(name).map_or_else(|| "missing".to_owned(), Value::to_string);
        Error::Invalid { file: self.file.to_owned(), member: self.path_of(name), got, wanted }
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}
