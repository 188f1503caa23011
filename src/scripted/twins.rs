//! The twins of the instance in memory.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

/// The twins of the instance.
#[derive(Debug, Default)]
pub(crate) struct Twins {
    pub(super) by_id: BTreeMap<String, Value>,
    version: u64,
    /// Properties that went back to an older source time.
    gone_back: Vec<String>,
}

impl Twins {
    /// These twins, by id.
    pub(super) fn of(twins: impl Iterator<Item = (String, Value)>) -> Self {
        Self { by_id: twins.collect(), ..Self::default() }
    }

    /// Writes a twin: a new version, update times for its properties.
    pub(crate) fn put(&mut self, id: &str, mut twin: Value) -> Value {
        self.version += 1;
        let members = twin.as_object_mut().unwrap();
        members.insert("$dtId".to_owned(), id.into());
        members.insert("$etag".to_owned(), format!("W/\"{}\"", self.version).into());
        let names: Vec<String> = members.keys().filter(|name| !name.starts_with('$')).cloned().collect();
        for name in names {
            if members[&name].get("$metadata").is_none() {
                members["$metadata"][&name]["lastUpdateTime"] = "2026-01-01T00:00:00.0000000Z".into();
            }
        }
        self.by_id.insert(id.to_owned(), twin.clone());
        twin
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Value> {
        self.by_id.get(id)
    }

    pub(crate) fn ids(&self) -> Vec<&str> {
        self.by_id.keys().map(String::as_str).collect()
    }

    pub(crate) fn remove(&mut self, id: &str) {
        self.by_id.remove(id);
    }

    /// The twin, if it is there, gets another version: somebody wrote to it what it was already.
    pub(crate) fn renew(&mut self, id: &str) {
        if let Some(twin) = self.by_id.get(id).cloned() {
            self.put(id, twin);
        }
    }

    /// What was patched with an older source time than it had.
    pub(crate) fn gone_back(&self) -> &[String] {
        &self.gone_back
    }

    /// Changes a member of a twin, as telemetry would.
    pub(crate) fn touch(&mut self, id: &str, name: &str, value: Value) {
        let mut twin = self.by_id[id].clone();
        twin[name] = value;
        self.put(id, twin);
    }

    pub(super) fn apply(&mut self, id: &str, patch: &[Value]) -> Value {
        let before = self.by_id[id].clone();
        let mut twin = before.clone();
        for operation in patch {
            let path: Vec<&str> = operation["path"].as_str().unwrap().split('/').skip(1).collect();
            let (last, parents) = path.split_last().unwrap();
            let target = parents.iter().fold(&mut twin, |value, name| &mut value[*name]);
            match operation["op"].as_str().unwrap() {
                "remove" => drop(target.as_object_mut().unwrap().shift_remove(*last).unwrap()),
                _ => target[*last] = operation["value"].clone(),
            }
        }
        for (name, of) in twin["$metadata"].as_object().unwrap() {
            let time = |of: &Value| of["sourceTime"].as_str().map(|time| time.parse::<Timestamp>().unwrap());
            if time(&before["$metadata"][name]) > time(of) {
                self.gone_back.push(format!("{id}/{name}: {} to {of}", before["$metadata"][name]));
            }
        }
        self.put(id, twin)
    }

    /// Twins of which one of the properties that the query names has one of the values that it lists.
    pub(super) fn query(&self, text: &str) -> Vec<Value> {
        let lists = text.split(" IN [").zip(text.split(" IN [").skip(1)).map(|(before, after)| {
            let name = before.rsplit("T.").next().unwrap().trim_matches(['[', ']']);
            let values = after.split(']').next().unwrap();
            (name, values.split(", ").map(|value| value.trim_matches('\'')).collect::<Vec<_>>())
        });
        let lists: Vec<_> = lists.collect();
        let hit = |twin: &&Value| {
            lists.iter().any(|(name, values)| twin[*name].as_str().is_some_and(|value| values.contains(&value)))
        };
        self.by_id.values().filter(hit).cloned().collect()
    }
}
