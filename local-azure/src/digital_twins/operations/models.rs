//! Operations on models.

use std::{collections::BTreeSet, num::NonZeroUsize, ops::Bound};

use dtdl::{Interface, ModelId};
use serde_json::Value;

use crate::digital_twins::{DigitalTwins, error::Error, models::Model, state::Step};

/// Azure Digital Twins service limits: models in one call, and in an instance.
const MAX_MODELS_PER_CALL: usize = 250;
const MAX_MODELS: usize = 10_000;

impl DigitalTwins {
    /// Adds models, all or none.
    ///
    /// # Errors
    /// [`Error::NoModels`], [`Error::InvalidModels`], [`Error::ModelsExist`], [`Error::LimitExceeded`].
    pub(crate) fn add_models(&self, definitions: &[Value]) -> Result<Vec<Model>, Error> {
        if definitions.is_empty() {
            return Err(Error::NoModels);
        }
        if definitions.len() > MAX_MODELS_PER_CALL {
            let what = "The number of models in the request";
            return Err(Error::LimitExceeded { what, limit: MAX_MODELS_PER_CALL });
        }
        let interfaces = definitions.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        self.change(|state, now| {
            let present: Vec<ModelId> =
                interfaces.iter().map(Interface::id).filter(|id| state.models.get(id).is_some()).cloned().collect();
            if !present.is_empty() {
                return Err(Error::ModelsExist(present));
            }
            let models: Vec<Model> = interfaces.into_iter().map(|interface| Model::new(interface, now)).collect();
            state.models.check_addition(&models).map_err(|error| Error::InvalidModels(error.parser_text()))?;
            if state.models.len() + models.len() > MAX_MODELS {
                return Err(Error::LimitExceeded { what: "The number of models", limit: MAX_MODELS });
            }
            Ok((vec![Step::AddModels(models.clone())], models))
        })
    }

    /// Looks at a model.
    ///
    /// # Errors
    /// [`Error::ModelNotFound`].
    pub(crate) fn with_model<T>(&self, id: &ModelId, look: impl FnOnce(&Model) -> T) -> Result<T, Error> {
        self.store.read(|state| state.models.get(id).map(look).ok_or_else(|| Error::ModelNotFound(id.clone())))
    }

    /// A page of models, ordered by id: all, or those given with all that they extend or have as components. The
    /// models as `look` made them, and the id of the last one where more follow.
    ///
    /// # Errors
    /// [`Error::ModelNotFound`] where one of those given is not there.
    pub(crate) fn list_models<T>(
        &self,
        dependencies_for: &[ModelId],
        after: Option<&ModelId>,
        size: NonZeroUsize,
        look: impl Fn(&Model) -> T,
    ) -> Result<(Vec<T>, Option<ModelId>), Error> {
        self.store.read(|state| {
            if let Some(unknown) = dependencies_for.iter().find(|id| state.models.get(id).is_none()) {
                return Err(Error::ModelNotFound(unknown.clone()));
            }
            let wanted = (!dependencies_for.is_empty()).then(|| state.models.with_dependencies(dependencies_for));
            let is_wanted = |id: &ModelId| wanted.as_ref().is_none_or(|wanted: &BTreeSet<_>| wanted.contains(id));
            let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
            let models = state.models.by_id().range::<ModelId, _>(range);
            let mut models = models.filter(|(id, _)| is_wanted(id)).map(|(_, model)| model);
            let page: Vec<&Model> = models.by_ref().take(size.get()).collect();
            let last = models.next().and(page.last()).map(|model| model.id().clone());
            Ok((page.into_iter().map(look).collect(), last))
        })
    }

    /// Marks a model as decommissioned: no new twins of it. Or takes that back.
    ///
    /// # Errors
    /// [`Error::ModelNotFound`].
    pub(crate) fn set_decommissioned(&self, id: &ModelId, decommissioned: bool) -> Result<(), Error> {
        self.change(|state, _now| match state.models.get(id) {
            Some(_) => Ok((vec![Step::SetDecommissioned(id.clone(), decommissioned)], ())),
            None => Err(Error::ModelNotFound(id.clone())),
        })
    }

    /// Deletes a model. Twins of it stay.
    ///
    /// # Errors
    /// [`Error::ModelNotFound`]; [`Error::ModelReferenced`] while others extend it or have it as a component.
    pub(crate) fn delete_model(&self, id: &ModelId) -> Result<(), Error> {
        self.change(|state, _now| {
            if state.models.get(id).is_none() {
                return Err(Error::ModelNotFound(id.clone()));
            }
            let users: Vec<ModelId> = state.models.referenced_by(id).cloned().collect();
            if !users.is_empty() {
                return Err(Error::ModelReferenced(users));
            }
            Ok((vec![Step::DeleteModel(id.clone())], ()))
        })
    }
}

/// Reads a model as Azure Digital Twins takes it: without commands.
fn parse(definition: &Value) -> Result<Interface, Error> {
    let interface = Interface::parse(definition).map_err(|error| Error::InvalidModels(error.parser_text()))?;
    if interface.has_commands() {
        let text = format!("{} has commands, which Azure Digital Twins does not support", interface.id());
        return Err(Error::InvalidModels(text));
    }
    Ok(interface)
}
