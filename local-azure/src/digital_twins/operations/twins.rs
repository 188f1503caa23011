//! Operations on twins.

use serde_json::Value;

use super::{IfMatch, Put};
use crate::digital_twins::{
    DigitalTwins, document,
    error::Error,
    graph::{Graph, GraphChange},
    id::{ETag, TwinId},
    json_patch::Operation,
    patch,
    state::Step,
    twin::Twin,
    validation,
    version::ApiVersion,
};

impl DigitalTwins {
    /// Looks at a twin.
    ///
    /// # Errors
    /// [`Error::TwinNotFound`].
    pub(crate) fn with_twin<T>(&self, id: &TwinId, look: impl FnOnce(&Twin) -> T) -> Result<T, Error> {
        self.store.read(|state| twin(&state.graph, id).map(look))
    }

    /// Creates or replaces a twin; its relationships stay.
    ///
    /// # Errors
    /// [`Error::TwinExists`] where only a new one was wanted; whatever is wrong with the twin.
    pub(crate) fn put_twin(&self, id: &TwinId, body: Value, put: Put, version: ApiVersion) -> Result<Twin, Error> {
        self.change(|state, now| {
            let present = state.graph.twin(id.as_str());
            if put == Put::CreateOnly && present.is_some() {
                return Err(Error::TwinExists(id.clone()));
            }
            let twin = document::twin(id.clone(), body, &state.models, version, now)?;
            validation::twin(&twin, &state.models)?;
            // A twin that has the model already may keep it.
            let is_new = present.is_none_or(|present| present.model != twin.model);
            if is_new && state.models.get(&twin.model).is_some_and(|model| model.decommissioned) {
                return Err(Error::ModelDecommissioned(twin.model));
            }
            Ok((vec![Step::Graph(GraphChange::PutTwin(Box::new(twin.clone())))], twin))
        })
    }

    /// Patches a twin; its new version.
    ///
    /// # Errors
    /// [`Error::TwinNotFound`], [`Error::ETagMismatch`]; whatever is wrong with the patch, or with the twin after it.
    pub(crate) fn patch_twin(
        &self,
        id: &TwinId,
        operations: &[Operation],
        condition: &IfMatch,
        version: ApiVersion,
    ) -> Result<ETag, Error> {
        self.change(|state, now| {
            let before = twin(&state.graph, id)?;
            condition.check(&before.etag)?;
            let mut after = patch::twin(before, operations, &state.models, version, now)?;
            validation::twin(&after, &state.models)?;
            let is_new_model = after.model != before.model;
            if is_new_model && state.models.get(&after.model).is_some_and(|model| model.decommissioned) {
                return Err(Error::ModelDecommissioned(after.model));
            }
            let etag = ETag::fresh();
            after.etag = etag.clone();
            Ok((vec![Step::Graph(GraphChange::PutTwin(Box::new(after)))], etag))
        })
    }

    /// Deletes a twin.
    ///
    /// # Errors
    /// [`Error::TwinNotFound`], [`Error::ETagMismatch`]; [`Error::RelationshipsNotDeleted`] while any begins or ends
    /// at it.
    pub(crate) fn delete_twin(&self, id: &TwinId, condition: &IfMatch) -> Result<(), Error> {
        self.change(|state, _now| {
            condition.check(&twin(&state.graph, id)?.etag)?;
            if state.graph.is_related(id.as_str()) {
                return Err(Error::RelationshipsNotDeleted(id.clone()));
            }
            Ok((vec![Step::Graph(GraphChange::DeleteTwin(id.clone()))], ()))
        })
    }
}

/// The twin of that id.
///
/// # Errors
/// [`Error::TwinNotFound`].
pub(super) fn twin<'g>(graph: &'g Graph, id: &TwinId) -> Result<&'g Twin, Error> {
    graph.twin(id.as_str()).ok_or_else(|| Error::TwinNotFound(id.clone()))
}
