//! All that an Azure Digital Twins instance knows, and the steps in which it changes.

use dtdl::ModelId;
use serde::{Deserialize, Serialize};

use super::{
    graph::{Graph, GraphChange},
    models::{Model, Models},
};
use crate::store;

/// The state of an instance: its models and its twin graph.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct State {
    pub(crate) models: Models,
    pub(crate) graph: Graph,
}

/// One step of an instance's state. Only the service itself makes them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Change(pub(crate) Step);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Step {
    AddModels(Vec<Model>),
    SetDecommissioned(ModelId, bool),
    DeleteModel(ModelId),
    Graph(GraphChange),
    /// Forgets everything.
    Clear,
}

impl store::State for State {
    type Change = Change;

    fn apply(&mut self, Change(step): Change) {
        match step {
            Step::AddModels(models) => self.models.add(models),
            Step::SetDecommissioned(id, decommissioned) => self.models.set_decommissioned(&id, decommissioned),
            Step::DeleteModel(id) => self.models.remove(&id),
            Step::Graph(change) => self.graph.apply(change),
            Step::Clear => *self = Self::default(),
        }
    }
}
