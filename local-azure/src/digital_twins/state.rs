//! All that an Azure Digital Twins instance knows, and the steps in which it changes.

use std::collections::BTreeMap;

use dtdl::ModelId;
use serde::{Deserialize, Serialize};

use super::{
    event_route::EventRoute,
    graph::{Graph, GraphChange},
    id::{JobId, RouteId},
    job::{DeleteJob, ImportJob},
    models::{Model, Models},
};
use crate::store;

/// The state of an instance: its models, its twin graph, its event routes and its jobs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct State {
    pub(crate) models: Models,
    pub(crate) graph: Graph,
    #[serde(default)]
    pub(crate) routes: BTreeMap<RouteId, EventRoute>,
    #[serde(default)]
    pub(crate) jobs: Jobs,
}

/// The jobs that an instance remembers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Jobs {
    pub(crate) imports: BTreeMap<JobId, ImportJob>,
    pub(crate) deletions: BTreeMap<JobId, DeleteJob>,
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
    PutRoute(EventRoute),
    DeleteRoute(RouteId),
    PutImportJob(ImportJob),
    DeleteImportJob(JobId),
    /// A job drops all models, twins and relationships.
    DeleteAll(DeleteJob),
    /// Forgets everything.
    Clear,
}

/// What a step does to a twin or a relationship.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Touched {
    /// There is a new twin.
    TwinCreated {
        /// Its id.
        twin_id: String,
        /// Its model.
        model: String,
    },
    /// A twin was patched or replaced.
    TwinChanged {
        /// Its id.
        twin_id: String,
    },
    /// A twin is gone.
    TwinDeleted {
        /// Its id.
        twin_id: String,
    },
    /// A relationship was created or changed.
    RelationshipChanged {
        /// Its id.
        relationship_id: String,
        /// Where it begins.
        source_id: String,
        /// Where it ends.
        target_id: String,
        /// Its name.
        name: String,
    },
    /// A relationship is gone.
    RelationshipDeleted {
        /// Its id.
        relationship_id: String,
        /// Where it began.
        source_id: String,
    },
}

impl Change {
    /// What it is about to do to a twin or a relationship of `state`.
    pub(super) fn touched(&self, state: &State) -> Option<Touched> {
        let Step::Graph(change) = &self.0 else { return None };
        Some(match change {
            GraphChange::PutTwin(twin) => {
                let twin_id = twin.id.to_string();
                match state.graph.twin(twin.id.as_str()) {
                    Some(_) => Touched::TwinChanged { twin_id },
                    None => Touched::TwinCreated { twin_id, model: twin.model.to_string() },
                }
            }
            GraphChange::DeleteTwin(id) => Touched::TwinDeleted { twin_id: id.to_string() },
            GraphChange::PutRelationship(relationship) => Touched::RelationshipChanged {
                relationship_id: relationship.id.to_string(),
                source_id: relationship.source.to_string(),
                target_id: relationship.target.to_string(),
                name: relationship.name.clone(),
            },
            GraphChange::DeleteRelationship(source, id) => {
                Touched::RelationshipDeleted { relationship_id: id.to_string(), source_id: source.to_string() }
            }
        })
    }

    /// Whether it forgets all twins.
    pub(super) fn clears(&self) -> bool {
        matches!(self.0, Step::Clear | Step::DeleteAll(_))
    }
}

impl store::State for State {
    type Change = Change;

    fn apply(&mut self, Change(step): Change) {
        match step {
            Step::AddModels(models) => self.models.add(models),
            Step::SetDecommissioned(id, decommissioned) => self.models.set_decommissioned(&id, decommissioned),
            Step::DeleteModel(id) => self.models.remove(&id),
            Step::Graph(change) => self.graph.apply(change),
            Step::PutRoute(route) => drop(self.routes.insert(route.id.clone(), route)),
            Step::DeleteRoute(id) => drop(self.routes.remove(&id)),
            Step::PutImportJob(job) => drop(self.jobs.imports.insert(job.id.clone(), job)),
            Step::DeleteImportJob(id) => drop(self.jobs.imports.remove(&id)),
            Step::DeleteAll(job) => {
                (self.models, self.graph) = (Models::default(), Graph::default());
                self.jobs.deletions.insert(job.id.clone(), job);
            }
            Step::Clear => *self = Self::default(),
        }
    }
}
