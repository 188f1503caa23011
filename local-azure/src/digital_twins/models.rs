//! The models of an instance.

use std::collections::{BTreeMap, BTreeSet};

use dtdl::{Contents, Interface, ModelId, ModelSet};
use jiff::Timestamp;
use serde::{
    Deserialize, Serialize, Serializer,
    ser::{SerializeMap, SerializeStruct},
};
use serde_json::Value;

use super::time;

/// A model that was uploaded.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "StoredModel")]
pub(crate) struct Model {
    interface: Interface,
    pub(crate) decommissioned: bool,
    uploaded: Timestamp,
}

/// A model as it is written down: what DTDL says about it is read from its definition again.
#[derive(Deserialize)]
struct StoredModel {
    definition: Value,
    decommissioned: bool,
    uploaded: Timestamp,
}

impl TryFrom<StoredModel> for Model {
    type Error = dtdl::Error;

    fn try_from(stored: StoredModel) -> Result<Self, dtdl::Error> {
        let StoredModel { definition, decommissioned, uploaded } = stored;
        Ok(Self { interface: Interface::parse(&definition)?, decommissioned, uploaded })
    }
}

impl Serialize for Model {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut model = serializer.serialize_struct("Model", 3)?;
        model.serialize_field("definition", self.interface.document())?;
        model.serialize_field("decommissioned", &self.decommissioned)?;
        model.serialize_field("uploaded", &self.uploaded)?;
        model.end()
    }
}

impl Model {
    /// A model that is uploaded now.
    pub(crate) fn new(interface: Interface, now: Timestamp) -> Self {
        Self { interface, decommissioned: false, uploaded: now }
    }

    pub(crate) fn id(&self) -> &ModelId {
        self.interface.id()
    }

    /// The model data that clients see, with the definition where they ask for it.
    pub(crate) fn wire(&self, with_definition: bool) -> impl Serialize + '_ {
        Wire { model: self, with_definition }
    }
}

struct Wire<'a> {
    model: &'a Model,
    with_definition: bool,
}

impl Serialize for Wire<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { model, with_definition } = *self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", model.id())?;
        map.serialize_entry("description", model.interface.description())?;
        map.serialize_entry("displayName", model.interface.display_name())?;
        map.serialize_entry("decommissioned", &model.decommissioned)?;
        map.serialize_entry("uploadTime", &time::in_model(model.uploaded))?;
        if with_definition {
            map.serialize_entry("model", &with_context_array(model.interface.document()))?;
        }
        map.end()
    }
}

/// The definition as the service gives it back: as it came, but `@context` is an array.
fn with_context_array(definition: &Value) -> Value {
    let mut definition = definition.clone();
    if let Some(context) = definition.get_mut("@context")
        && !context.is_array()
    {
        *context = Value::Array(vec![context.take()]);
    }
    definition
}

/// The models, and what they are together.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "Vec<Model>")]
pub(crate) struct Models {
    models: BTreeMap<ModelId, Model>,
    resolved: ModelSet,
}

impl TryFrom<Vec<Model>> for Models {
    type Error = dtdl::Error;

    fn try_from(models: Vec<Model>) -> Result<Self, dtdl::Error> {
        let resolved = ModelSet::default().with(models.iter().map(|model| model.interface.clone()))?;
        let models = models.into_iter().map(|model| (model.id().clone(), model)).collect();
        Ok(Self { models, resolved })
    }
}

impl Serialize for Models {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.models.values())
    }
}

impl Models {
    pub(crate) fn get(&self, id: &ModelId) -> Option<&Model> {
        self.models.get(id)
    }

    /// All models, by id.
    pub(crate) fn by_id(&self) -> &BTreeMap<ModelId, Model> {
        &self.models
    }

    pub(crate) fn len(&self) -> usize {
        self.models.len()
    }

    /// What twins of a model consist of, inherited contents included.
    pub(crate) fn contents(&self, id: &ModelId) -> Option<&Contents> {
        self.resolved.contents(id)
    }

    /// Whether a model is the other one or extends it. A model that was deleted is still itself.
    pub(crate) fn is_a(&self, model: &ModelId, ancestor: &ModelId) -> bool {
        model == ancestor || self.resolved.is_a(model, ancestor)
    }

    /// Whether the models could be added: they are sound with each other and with those that are here.
    ///
    /// # Errors
    /// What is wrong with which model.
    pub(crate) fn check_addition(&self, models: &[Model]) -> Result<(), dtdl::Error> {
        self.resolved.with(models.iter().map(|model| model.interface.clone())).map(drop)
    }

    /// The models that extend the model or have it as a component.
    pub(crate) fn referenced_by(&self, id: &ModelId) -> impl Iterator<Item = &ModelId> {
        self.resolved.referenced_by(id)
    }

    /// The models and all that they extend or have as components, directly or through others.
    pub(crate) fn with_dependencies<'m>(&'m self, ids: &'m [ModelId]) -> BTreeSet<&'m ModelId> {
        ids.iter().flat_map(|id| self.resolved.dependencies(id)).chain(ids).collect()
    }

    /// Adds models that [`Models::check_addition`] found sound.
    pub(crate) fn add(&mut self, models: Vec<Model>) {
        match self.resolved.with(models.iter().map(|model| model.interface.clone())) {
            Ok(resolved) => {
                self.resolved = resolved;
                self.models.extend(models.into_iter().map(|model| (model.id().clone(), model)));
            }
            Err(error) => tracing::error!(%error, "models that were checked do not resolve; they are left out"),
        }
    }

    /// Marks a model: no new twins of it, or new twins again.
    pub(crate) fn set_decommissioned(&mut self, id: &ModelId, decommissioned: bool) {
        if let Some(model) = self.models.get_mut(id) {
            model.decommissioned = decommissioned;
        }
    }

    /// Drops a model that no other refers to.
    pub(crate) fn remove(&mut self, id: &ModelId) {
        match self.resolved.without(id) {
            Ok(resolved) => {
                self.resolved = resolved;
                self.models.remove(id);
            }
            Err(error) => tracing::error!(%error, "a model that was checked cannot be dropped; it stays"),
        }
    }
}
