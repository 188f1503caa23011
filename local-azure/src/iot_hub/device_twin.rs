//! Device twins: tags, desired and reported properties (IoT Hub: understand and use device twins). Pure.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    properties::{Properties, merge},
    twin_format::{PROPERTIES_BYTES, TAGS_BYTES, TwinError, check, object},
};

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
        self.desired.version()
    }

    /// The version of the reported properties.
    pub fn reported_version(&self) -> u64 {
        self.reported.version()
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
            check(twin.desired.values(), "desired", PROPERTIES_BYTES)?;
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
        emptied.desired.clear();
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
        check(twin.reported.values(), "reported", PROPERTIES_BYTES)?;
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
            (self.desired.values(), rest)
        } else {
            (self.reported.values(), path.strip_prefix("properties.reported.")?)
        };
        let mut names = rest.split('.');
        let first = section.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
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
