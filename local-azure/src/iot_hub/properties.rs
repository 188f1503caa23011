//! Sections of device twins: how patches are merged into them, and what they remember of each change. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What IoT Hub writes for a time that has not come yet.
pub(super) const NEVER: &str = "0001-01-01T00:00:00Z";

/// A versioned section with the times of its changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Properties {
    values: Map<String, Value>,
    metadata: Map<String, Value>,
    version: u64,
}

impl Properties {
    /// Nothing, in its first version.
    pub(super) fn new() -> Self {
        let metadata = Map::from_iter([("$lastUpdated".to_owned(), NEVER.into())]);
        Self { values: Map::new(), metadata, version: 1 }
    }

    pub(super) fn values(&self) -> &Map<String, Value> {
        &self.values
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Empties the section; its version goes on counting.
    pub(super) fn clear(&mut self) {
        *self = Self { version: self.version, ..Self::new() };
    }

    /// Desired properties remember in which version each was set, reported ones do not.
    pub(super) fn patch(&mut self, patch: &Map<String, Value>, now: Timestamp, versioned: bool) {
        self.version += 1;
        let stamp = Stamp { time: format!("{now:.7}"), version: versioned.then_some(self.version) };
        merge_stamped(&mut self.values, &mut self.metadata, patch, &stamp);
    }

    /// The values and the version.
    pub(super) fn plain(&self) -> Value {
        let mut members = self.values.clone();
        members.insert("$version".into(), self.version.into());
        members.into()
    }

    /// The values, when each last changed, and the version.
    pub(super) fn with_metadata(&self) -> Value {
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
pub(super) fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
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
