//! Device twins: tags, desired and reported properties (IoT Hub: understand and use device twins). Pure.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What IoT Hub writes for a time that has not come yet.
pub(super) const NEVER: &str = "0001-01-01T00:00:00Z";

const TAGS_BYTES: usize = 8 * 1024;
const PROPERTIES_BYTES: usize = 32 * 1024;
const DEPTH: usize = 10;
const KEY_BYTES: usize = 1024;
const TEXT_BYTES: usize = 4096;

/// A patch of a device twin is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TwinError {
    /// A section is not an object.
    #[error("{section} must be a JSON object")]
    NotAnObject {
        /// `tags`, `desired` or `reported`.
        section: &'static str,
    },
    /// A key, value or the depth breaks a rule.
    #[error("{section}: {rule} (IoT Hub: understand and use device twins, device twin format)")]
    Rule {
        /// `tags`, `desired` or `reported`.
        section: &'static str,
        /// The rule.
        rule: &'static str,
    },
    /// A section would grow too large.
    #[error("{section} would have {bytes} bytes, at most {limit} are allowed")]
    TooLarge {
        /// `tags`, `desired` or `reported`.
        section: &'static str,
        /// What it would have.
        bytes: usize,
        /// What it may have.
        limit: usize,
    },
}

/// The twin of a device or a module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceTwin {
    tags: Map<String, Value>,
    desired: Properties,
    reported: Properties,
    /// Grows with every change.
    version: u64,
    /// Grows with every change of tags or desired properties.
    etag: u64,
}

/// What a service wants to change; absent sections stay.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TwinPatch {
    /// Tags; a null removes one.
    pub tags: Option<Value>,
    /// Desired properties; a null removes one.
    pub desired: Option<Value>,
}

impl Default for DeviceTwin {
    fn default() -> Self {
        // A fresh twin has version 2 (recorded: IoT Hub non-telemetry event schemas).
        Self { tags: Map::new(), desired: Properties::new(), reported: Properties::new(), version: 2, etag: 1 }
    }
}

impl TwinPatch {
    /// Reads `{"tags": .., "properties": {"desired": ..}}`, the form of a twin in the service's API and of DPS'
    /// `initialTwin`. Other members are ignored, as are nulls in place of a section.
    pub fn from_json(document: &Value) -> Self {
        let section = |value: Option<&Value>| value.filter(|value| !value.is_null()).cloned();
        Self {
            tags: section(document.get("tags")),
            desired: section(document.get("properties").and_then(|properties| properties.get("desired"))),
        }
    }
}

impl DeviceTwin {
    /// The tags.
    pub fn tags(&self) -> &Map<String, Value> {
        &self.tags
    }

    /// The version of the desired properties.
    pub fn desired_version(&self) -> u64 {
        self.desired.version
    }

    /// The version of the reported properties.
    pub fn reported_version(&self) -> u64 {
        self.reported.version
    }

    /// The ETag, without quotes.
    pub fn etag(&self) -> String {
        BASE64_STANDARD.encode(self.etag.to_be_bytes())
    }

    /// The twin after a service's patch.
    ///
    /// # Errors
    /// [`TwinError`] if the patch breaks a rule or makes a section too large.
    pub fn patched(&self, patch: &TwinPatch, now: Timestamp) -> Result<Self, TwinError> {
        let mut twin = self.clone();
        if let Some(tags) = &patch.tags {
            merge(&mut twin.tags, object(tags, "tags")?);
            check(&twin.tags, "tags", TAGS_BYTES)?;
        }
        if let Some(desired) = &patch.desired {
            twin.desired.patch(object(desired, "desired")?, now, true);
            check(&twin.desired.values, "desired", PROPERTIES_BYTES)?;
        }
        twin.version += 1;
        twin.etag += 1;
        Ok(twin)
    }

    /// The twin with tags and desired properties replaced; absent sections become empty.
    ///
    /// # Errors
    /// As [`DeviceTwin::patched`].
    pub fn replaced(&self, by: &TwinPatch, now: Timestamp) -> Result<Self, TwinError> {
        let mut emptied = self.clone();
        emptied.tags.clear();
        emptied.desired = Properties { version: self.desired.version, ..Properties::new() };
        let desired = by.desired.clone().or_else(|| Some(json!({})));
        emptied.patched(&TwinPatch { tags: by.tags.clone(), desired }, now)
    }

    /// The twin after the device reported something.
    ///
    /// # Errors
    /// As [`DeviceTwin::patched`].
    pub fn reported(&self, patch: &Value, now: Timestamp) -> Result<Self, TwinError> {
        let mut twin = self.clone();
        twin.reported.patch(object(patch, "reported")?, now, false);
        check(&twin.reported.values, "reported", PROPERTIES_BYTES)?;
        twin.version += 1;
        Ok(twin)
    }

    /// What the device itself sees: desired and reported, without tags and metadata.
    pub fn for_device(&self) -> Value {
        json!({ "desired": self.desired.plain(), "reported": self.reported.plain() })
    }

    /// The members that a twin has in the service's API and in events: `etag`, `version`, `tags`, `properties`.
    pub fn members(&self) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("etag".into(), self.etag().into());
        members.insert("version".into(), self.version.into());
        if !self.tags.is_empty() {
            members.insert("tags".into(), self.tags.clone().into());
        }
        members.insert(
            "properties".into(),
            json!({ "desired": self.desired.with_metadata(), "reported": self.reported.with_metadata() }),
        );
        members
    }

    /// The value at `path` (`tags.a.b`, `properties.desired.a`, `properties.reported.a`), as routing queries and
    /// enrichments name it.
    pub fn at(&self, path: &str) -> Option<&Value> {
        let (section, rest) = if let Some(rest) = path.strip_prefix("tags.") {
            (&self.tags, rest)
        } else if let Some(rest) = path.strip_prefix("properties.desired.") {
            (&self.desired.values, rest)
        } else {
            (&self.reported.values, path.strip_prefix("properties.reported.")?)
        };
        let mut names = rest.split('.');
        let first = section.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
    }
}

/// A versioned section with the times of its changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Properties {
    values: Map<String, Value>,
    metadata: Map<String, Value>,
    version: u64,
}

impl Properties {
    fn new() -> Self {
        let metadata = Map::from_iter([("$lastUpdated".to_owned(), NEVER.into())]);
        Self { values: Map::new(), metadata, version: 1 }
    }

    /// Desired properties remember in which version each was set, reported ones do not.
    fn patch(&mut self, patch: &Map<String, Value>, now: Timestamp, versioned: bool) {
        self.version += 1;
        let stamp = Stamp { time: format!("{now:.7}"), version: versioned.then_some(self.version) };
        merge_stamped(&mut self.values, &mut self.metadata, patch, &stamp);
    }

    fn plain(&self) -> Value {
        let mut members = self.values.clone();
        members.insert("$version".into(), self.version.into());
        members.into()
    }

    fn with_metadata(&self) -> Value {
        let mut members = self.values.clone();
        members.insert("$metadata".into(), self.metadata.clone().into());
        members.insert("$version".into(), self.version.into());
        members.into()
    }
}

struct Stamp {
    time: String,
    version: Option<u64>,
}

impl Stamp {
    fn put(&self, metadata: &mut Map<String, Value>) {
        metadata.insert("$lastUpdated".into(), self.time.clone().into());
        if let Some(version) = self.version {
            metadata.insert("$lastUpdatedVersion".into(), version.into());
        }
    }
}

/// JSON Merge Patch: null removes, objects merge, all else replaces. `$version` and `$metadata` are read-only.
fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
        match value {
            Value::Null => {
                target.shift_remove(name);
            }
            Value::Object(patch) => {
                if let Some(members) = child(target, name) {
                    merge(members, patch);
                }
            }
            _ => {
                target.insert(name.clone(), value.clone());
            }
        }
    }
}

fn merge_stamped(
    target: &mut Map<String, Value>,
    metadata: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    stamp: &Stamp,
) {
    stamp.put(metadata);
    for (name, value) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
        match value {
            Value::Null => {
                target.shift_remove(name);
                metadata.shift_remove(name);
            }
            Value::Object(patch) => {
                if let (Some(members), Some(metadata)) = (child(target, name), child(metadata, name)) {
                    merge_stamped(members, metadata, patch, stamp);
                }
            }
            _ => {
                target.insert(name.clone(), value.clone());
                let mut leaf = Map::new();
                stamp.put(&mut leaf);
                metadata.insert(name.clone(), leaf.into());
            }
        }
    }
}

/// The object called `name`, made if there is none; whatever else was there is replaced.
fn child<'a>(parent: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Map<String, Value>> {
    let slot = parent.entry(name).or_insert_with(|| Map::new().into());
    if !slot.is_object() {
        *slot = Map::new().into();
    }
    slot.as_object_mut()
}

fn object<'a>(value: &'a Value, section: &'static str) -> Result<&'a Map<String, Value>, TwinError> {
    let members = value.as_object().ok_or(TwinError::NotAnObject { section })?;
    // Checked before merging too: merging recurses as deep as the patch.
    check_members(members, 1).map_err(|rule| TwinError::Rule { section, rule })?;
    Ok(members)
}

fn check(members: &Map<String, Value>, section: &'static str, limit: usize) -> Result<(), TwinError> {
    check_members(members, 1).map_err(|rule| TwinError::Rule { section, rule })?;
    let bytes = members.iter().map(|(name, value)| name.len() + value.to_string().len()).sum();
    if bytes > limit { Err(TwinError::TooLarge { section, bytes, limit }) } else { Ok(()) }
}

fn check_members(members: &Map<String, Value>, depth: usize) -> Result<(), &'static str> {
    if depth > DEPTH {
        return Err("objects nest at most 10 deep");
    }
    for (name, value) in members {
        let system = depth == 1 && matches!(name.as_str(), "$version" | "$metadata");
        if system {
            continue;
        }
        if name.is_empty() || name.len() > KEY_BYTES {
            return Err("a name has 1 to 1024 bytes");
        }
        if name.contains(|c: char| c.is_control() || matches!(c, '.' | '$' | ' ')) {
            return Err("a name has no control character, dot, dollar sign or space");
        }
        check_value(value, depth)?;
    }
    Ok(())
}

fn check_value(value: &Value, depth: usize) -> Result<(), &'static str> {
    const INTEGERS: std::ops::RangeInclusive<i64> = -4_503_599_627_370_496..=4_503_599_627_370_495;
    match value {
        Value::String(text) if text.len() > TEXT_BYTES => Err("a text has at most 4096 bytes"),
        Value::Number(number) if !number.is_f64() && !number.as_i64().is_some_and(|n| INTEGERS.contains(&n)) => {
            Err("an integer lies between -4503599627370496 and 4503599627370495")
        }
        Value::Object(members) => check_members(members, depth + 1),
        Value::Array(items) if depth >= DEPTH && !items.is_empty() => Err("objects nest at most 10 deep"),
        Value::Array(items) => items.iter().try_for_each(|item| check_value(item, depth + 1)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2022-06-01T22:27:50.2612586Z".parse().unwrap()
    }

    fn patch(document: Value) -> TwinPatch {
        TwinPatch::from_json(&document)
    }

    #[test]
    fn a_patch_merges_objects_replaces_values_and_removes_nulls() {
        let twin =
            DeviceTwin::default().patched(&patch(json!({"tags": {"a": {"b": 1, "c": 2}, "d": [1]}})), now()).unwrap();
        let twin = twin.patched(&patch(json!({"tags": {"a": {"b": null, "e": 3}, "d": {"f": 4}}})), now()).unwrap();
        assert_eq!(Value::from(twin.tags().clone()), json!({"a": {"c": 2, "e": 3}, "d": {"f": 4}}));
    }

    #[test]
    fn desired_properties_carry_the_time_and_version_of_their_last_change() {
        let twin =
            DeviceTwin::default().patched(&patch(json!({"properties": {"desired": {"a": {"b": 1}}}})), now()).unwrap();
        insta::assert_json_snapshot!(Value::from(twin.members()), @r#"
        {
          "etag": "AAAAAAAAAAI=",
          "version": 3,
          "properties": {
            "desired": {
              "a": {
                "b": 1
              },
              "$metadata": {
                "$lastUpdated": "2022-06-01T22:27:50.2612586Z",
                "$lastUpdatedVersion": 2,
                "a": {
                  "$lastUpdated": "2022-06-01T22:27:50.2612586Z",
                  "$lastUpdatedVersion": 2,
                  "b": {
                    "$lastUpdated": "2022-06-01T22:27:50.2612586Z",
                    "$lastUpdatedVersion": 2
                  }
                }
              },
              "$version": 2
            },
            "reported": {
              "$metadata": {
                "$lastUpdated": "0001-01-01T00:00:00Z"
              },
              "$version": 1
            }
          }
        }
        "#);
    }

    #[test]
    fn a_report_raises_the_reported_version_and_leaves_the_etag() {
        let before = DeviceTwin::default();
        let after = before.reported(&json!({"fw": "1"}), now()).unwrap();
        assert_eq!((after.reported_version(), after.desired_version()), (2, 1));
        assert_eq!(after.etag(), before.etag());
        assert_eq!(after.for_device(), json!({"desired": {"$version": 1}, "reported": {"fw": "1", "$version": 2}}));
    }

    #[test]
    fn replacing_drops_what_is_not_named_and_keeps_counting() {
        let twin = DeviceTwin::default()
            .patched(&patch(json!({"tags": {"a": 1}, "properties": {"desired": {"b": 1}}})), now())
            .unwrap();
        let twin = twin.replaced(&patch(json!({"tags": {"c": 1}})), now()).unwrap();
        assert_eq!(Value::from(twin.tags().clone()), json!({"c": 1}));
        assert_eq!(twin.for_device()["desired"], json!({"$version": 3}));
    }

    #[test]
    fn what_breaks_a_rule_of_the_format_is_refused() {
        let deep = (0..11).fold(json!({}), |inner, _| json!({ "a": inner }));
        let cases = [
            json!({"tags": 1}),
            json!({"tags": {"a.b": 1}}),
            json!({"tags": {"a": {"$b": 1}}}),
            json!({"tags": {"": 1}}),
            json!({"tags": {"a": 4_503_599_627_370_496_i64}}),
            json!({"tags": {"a": "x".repeat(4097)}}),
            json!({"tags": {"a": "x".repeat(4096), "b": "x".repeat(4096)}}),
            json!({ "tags": deep }),
        ];
        for case in cases {
            assert!(DeviceTwin::default().patched(&patch(case.clone()), now()).is_err(), "{case}");
        }
    }

    #[test]
    fn paths_reach_into_every_section() {
        let twin = DeviceTwin::default()
            .patched(&patch(json!({"tags": {"a": {"b": 1}}, "properties": {"desired": {"c": 2}}})), now())
            .unwrap()
            .reported(&json!({"d": 3}), now())
            .unwrap();
        assert_eq!(twin.at("tags.a.b"), Some(&json!(1)));
        assert_eq!(twin.at("properties.desired.c"), Some(&json!(2)));
        assert_eq!(twin.at("properties.reported.d"), Some(&json!(3)));
        assert_eq!(twin.at("tags.a.x"), None);
        assert_eq!(twin.at("tags"), None);
    }
}
