//! Twins: properties with their metadata, and components.

use std::collections::BTreeMap;

use dtdl::ModelId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

use super::{
    id::{ETag, TwinId},
    time,
    version::ApiVersion,
};

/// A digital twin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Twin {
    pub(crate) id: TwinId,
    pub(crate) etag: ETag,
    pub(crate) model: ModelId,
    /// The last write of any kind.
    pub(crate) updated: Timestamp,
    pub(crate) content: Content,
    /// In the order in which they were given; a twin has few.
    components: Vec<Component>,
}

/// A component of a twin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Component {
    pub(crate) name: String,
    /// The last time that one of its properties was set. Removing one does not count.
    pub(crate) updated: Timestamp,
    pub(crate) content: Content,
}

/// When a property was written, by the service's clock and by its writer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PropertyMetadata {
    pub(crate) updated: Timestamp,
    pub(crate) source_time: Option<Timestamp>,
}

/// The properties of a twin or of a component. Exactly the set ones have metadata.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Content {
    properties: Map<String, Value>,
    metadata: BTreeMap<String, PropertyMetadata>,
}

impl Content {
    pub(crate) fn properties(&self) -> &Map<String, Value> {
        &self.properties
    }

    pub(crate) fn metadata(&self, name: &str) -> Option<&PropertyMetadata> {
        self.metadata.get(name)
    }

    /// Sets a property; a source time that it has stays until it is written itself.
    pub(crate) fn set(&mut self, name: &str, value: Value, now: Timestamp) {
        self.properties.insert(name.to_owned(), value);
        self.metadata
            .entry(name.to_owned())
            .and_modify(|metadata| metadata.updated = now)
            .or_insert(PropertyMetadata { updated: now, source_time: None });
    }

    /// Changes a set property in place and notes the time; `None` where it is not set.
    pub(crate) fn edit<T>(&mut self, name: &str, now: Timestamp, edit: impl FnOnce(&mut Value) -> T) -> Option<T> {
        let result = edit(self.properties.get_mut(name)?);
        if let Some(metadata) = self.metadata.get_mut(name) {
            metadata.updated = now;
        }
        Some(result)
    }

    /// Drops a property and its metadata; whether there was one.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        self.metadata.remove(name);
        self.properties.shift_remove(name).is_some()
    }

    /// Sets or drops the source time of a set property; whether it is set.
    pub(crate) fn set_source_time(&mut self, name: &str, source_time: Option<Timestamp>) -> bool {
        let metadata = self.metadata.get_mut(name);
        metadata.map(|metadata| metadata.source_time = source_time).is_some()
    }
}

impl Twin {
    /// A twin without content, written now.
    pub(crate) fn new(id: TwinId, model: ModelId, now: Timestamp) -> Self {
        Self { id, etag: ETag::fresh(), model, updated: now, content: Content::default(), components: Vec::new() }
    }

    /// The components, in the order in which they were given.
    pub(crate) fn components(&self) -> &[Component] {
        &self.components
    }

    pub(crate) fn component(&self, name: &str) -> Option<&Component> {
        self.components.iter().find(|component| component.name == name)
    }

    pub(crate) fn component_mut(&mut self, name: &str) -> Option<&mut Component> {
        self.components.iter_mut().find(|component| component.name == name)
    }

    /// Adds a component, or replaces the one of that name.
    pub(crate) fn set_component(&mut self, component: Component) {
        match self.component_mut(&component.name) {
            Some(present) => *present = component,
            None => self.components.push(component),
        }
    }

    /// Drops a component; whether there was one.
    pub(crate) fn remove_component(&mut self, name: &str) -> bool {
        let before = self.components.len();
        self.components.retain(|component| component.name != name);
        self.components.len() < before
    }

    /// The text properties at the twin's top level, which queries look up by value.
    pub(crate) fn strings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.content.properties.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
    }

    /// The twin as clients of that version see it.
    pub(crate) fn wire(&self, version: ApiVersion) -> impl Serialize + '_ {
        WireTwin { twin: self, version }
    }
}

impl Component {
    /// The component as it stands in its twin, and as clients of that version get it alone.
    pub(crate) fn wire(&self, version: ApiVersion) -> impl Serialize + '_ {
        WireComponent { component: self, version }
    }
}

struct WireTwin<'a> {
    twin: &'a Twin,
    version: ApiVersion,
}

struct WireComponent<'a> {
    component: &'a Component,
    version: ApiVersion,
}

struct WireMetadata<'a> {
    model: Option<&'a ModelId>,
    updated: Timestamp,
    content: &'a Content,
    version: ApiVersion,
}

impl Serialize for WireTwin<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { twin, version } = *self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("$dtId", &twin.id)?;
        map.serialize_entry("$etag", &twin.etag)?;
        for (name, value) in &twin.content.properties {
            map.serialize_entry(name, value)?;
        }
        for component in &twin.components {
            map.serialize_entry(&component.name, &component.wire(version))?;
        }
        let (updated, content) = (twin.updated, &twin.content);
        map.serialize_entry("$metadata", &WireMetadata { model: Some(&twin.model), updated, content, version })?;
        map.end()
    }
}

impl Serialize for WireComponent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { component, version } = *self;
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &component.content.properties {
            map.serialize_entry(name, value)?;
        }
        let (updated, content) = (component.updated, &component.content);
        map.serialize_entry("$metadata", &WireMetadata { model: None, updated, content, version })?;
        map.end()
    }
}

impl Serialize for WireMetadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(model) = self.model {
            map.serialize_entry("$model", model)?;
        }
        if self.version.has_last_update_time() {
            map.serialize_entry("$lastUpdateTime", &time::in_twin(self.updated))?;
        }
        for name in self.content.properties.keys() {
            if let Some(metadata) = self.content.metadata(name) {
                map.serialize_entry(name, &metadata.wire(self.version))?;
            }
        }
        map.end()
    }
}

impl PropertyMetadata {
    /// The metadata as clients of that version see it.
    pub(crate) fn wire(&self, version: ApiVersion) -> impl Serialize + use<> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire {
            last_update_time: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            source_time: Option<String>,
        }
        let source_time = self.source_time.filter(|_| version.has_source_time());
        Wire { last_update_time: time::in_twin(self.updated), source_time: source_time.map(time::in_twin) }
    }
}
