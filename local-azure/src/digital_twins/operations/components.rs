//! Operations on components, and telemetry.

use super::{IfMatch, twins::twin};
use crate::digital_twins::{
    DigitalTwins,
    error::Error,
    id::{ETag, TwinId},
    json_patch::Operation,
    twin::{Component, Twin},
    version::ApiVersion,
};

impl DigitalTwins {
    /// Looks at a component and the twin that has it.
    ///
    /// # Errors
    /// [`Error::TwinNotFound`], [`Error::ComponentNotFound`].
    pub(crate) fn with_component<T>(
        &self,
        id: &TwinId,
        name: &str,
        look: impl FnOnce(&Twin, &Component) -> T,
    ) -> Result<T, Error> {
        self.store.read(|state| {
            let twin = twin(&state.graph, id)?;
            let component = twin.component(name);
            let component =
                component.ok_or_else(|| Error::ComponentNotFound { twin: id.clone(), component: name.to_owned() })?;
            Ok(look(twin, component))
        })
    }

    /// Patches a component; the new version of its twin. The same as a patch of the twin below the component, down to
    /// what is said of a component that is not there.
    ///
    /// # Errors
    /// Those of [`DigitalTwins::patch_twin`].
    pub(crate) fn patch_component(
        &self,
        id: &TwinId,
        name: &str,
        operations: Vec<Operation>,
        condition: &IfMatch,
        version: ApiVersion,
    ) -> Result<ETag, Error> {
        let below = |operation: Operation| Operation { path: operation.path.below(name), ..operation };
        let operations: Vec<Operation> = operations.into_iter().map(below).collect();
        self.patch_twin(id, &operations, condition, version)
    }

    /// Takes telemetry of a twin or of a component. It goes to the instance's event routes; this one has none, so it
    /// goes nowhere, as in an instance without routes.
    ///
    /// # Errors
    /// [`Error::TwinNotFound`], [`Error::ComponentNotFound`].
    pub(crate) fn take_telemetry(&self, id: &TwinId, component: Option<&str>) -> Result<(), Error> {
        match component {
            Some(component) => self.with_component(id, component, |_, _| ()),
            None => self.with_twin(id, |_| ()),
        }
    }
}
