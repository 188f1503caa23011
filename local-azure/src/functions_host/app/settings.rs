//! App settings: the environment of the app.

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Value};

/// Overrides of host.json begin with this section name.
const HOST_SECTION: &str = "AzureFunctionsJobHost";

/// An app's settings, which its handler gets as environment variables.
#[derive(Clone, Default)]
pub struct AppSettings {
    values: BTreeMap<String, String>,
}

impl AppSettings {
    /// The environment of this process.
    pub fn inherited() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { values: std::env::vars_os().filter_map(text).collect() }
    }

    /// The same with one more setting, or another value of it.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.values.insert(name.into(), value.into());
        self
    }

    /// The value of a setting.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// All settings with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether `AzureWebJobs.<function>.Disabled` says so.
    pub(super) fn disables(&self, function: &str) -> bool {
        let disabled = self.get(&format!("AzureWebJobs.{function}.Disabled"));
        disabled.is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
    }

    /// `text` with each `%NAME%` replaced; what is not set becomes `otherwise(NAME)`.
    pub(super) fn expand(&self, text: &str, otherwise: impl Fn(&str) -> String) -> String {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, name, after)) = placeholder(rest) {
            expanded.push_str(before);
            expanded.push_str(&self.get(name).map_or_else(|| otherwise(name), str::to_owned));
            rest = after;
        }
        expanded.push_str(rest);
        expanded
    }

    /// Puts settings like `AzureFunctionsJobHost__customHandler__port` into host.json, matching member names
    /// without case (Azure Functions: host.json reference, "Override host.json values").
    pub(super) fn override_host_json(&self, host_json: &mut Value) {
        for (name, value) in &self.values {
            let mut path = name.split("__").flat_map(|part| part.split(':'));
            if path.next().is_some_and(|section| section.eq_ignore_ascii_case(HOST_SECTION)) {
                put(host_json, path, value);
            }
        }
    }
}

/// Splits at the first `%NAME%`.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('%')?;
    let (name, after) = rest.split_once('%')?;
    Some((before, name, after))
}

fn put<'a>(target: &mut Value, mut path: impl Iterator<Item = &'a str>, text: &str) {
    let Some(name) = path.next() else {
        *target = Value::String(text.to_owned());
        return;
    };
    if let (Value::Array(items), Ok(index)) = (&mut *target, name.parse::<usize>()) {
        if let Some(item) = items.get_mut(index) {
            put(item, path, text);
        }
        return;
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(members) = target {
        let existing = members.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned();
        let member = members.entry(existing.unwrap_or_else(|| name.to_owned())).or_insert(Value::Null);
        put(member, path, text);
    }
}

impl fmt::Debug for AppSettings {
    /// Names only: values can be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn placeholders_are_replaced_and_lone_percent_signs_stay() {
        let settings = AppSettings::default().with("HOME", "/home/me");
        assert_eq!(settings.expand("%HOME%/bin/%NOPE%x 100%", |_| String::new()), "/home/me/bin/x 100%");
        assert_eq!(settings.expand("%NOPE%", |name| format!("%{name}%")), "%NOPE%");
    }

    #[test]
    fn overrides_find_members_without_case_and_make_missing_ones() {
        let mut host_json = json!({ "customHandler": { "description": { "defaultExecutablePath": "handler" } } });
        AppSettings::default()
            .with("azurefunctionsjobhost__CUSTOMHANDLER__description__defaultExecutablePath", "target/handler")
            .with("AzureFunctionsJobHost:functionTimeout", "00:01:00")
            .with("AzureFunctionsOther__version", "1")
            .override_host_json(&mut host_json);
        assert_eq!(
            host_json,
            json!({
                "customHandler": { "description": { "defaultExecutablePath": "target/handler" } },
                "functionTimeout": "00:01:00",
            })
        );
    }

    #[test]
    fn debug_output_shows_no_values() {
        let settings = AppSettings::default().with("SECRET", "hunter2");
        assert_eq!(format!("{settings:?}"), r#"{"SECRET"}"#);
    }
}
