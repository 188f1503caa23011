//! Patches carried out on twins and relationships.

use dtdl::{Contents, ModelId};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    document,
    error::Error,
    json_patch::{self, Action, Fault, Operation, Pointer},
    models::Models,
    time,
    twin::{Content, Twin},
    version::ApiVersion,
};

/// The twin after a patch, its times set; the ETag is still the old one, and nothing is checked against the model but
/// that what is patched can be found.
///
/// # Errors
/// What the first operation that cannot be carried out lacks. A model that is gone is [`Error::InvalidTwin`].
pub(crate) fn twin(
    before: &Twin,
    operations: &[Operation],
    models: &Models,
    version: ApiVersion,
    now: Timestamp,
) -> Result<Twin, Error> {
    let mut twin = before.clone();
    twin.updated = now;
    // The twin has to fit its model after the patch, so its last word on the model says what is what.
    if let Some(model) = operations.iter().rev().find_map(new_model) {
        twin.model = model?;
    }
    let contents = document::contents(&twin.model, models)?;
    let mut patch = Patch { twin: &mut twin, contents, models, version, now };
    operations.iter().try_for_each(|operation| patch.apply(operation))?;
    Ok(twin)
}

/// The model that an operation gives the twin; `None` where it is about something else.
fn new_model(operation: &Operation) -> Option<Result<ModelId, Error>> {
    let Operation { path, action } = operation;
    if path.parts() != ["$metadata", "$model"] {
        return None;
    }
    let model = match action {
        Action::Add(Value::String(model)) | Action::Replace(Value::String(model)) => {
            model.parse().map_err(|_| Error::InvalidModelId(model.clone()))
        }
        Action::Add(_) | Action::Replace(_) => {
            Err(Fault::InvalidValue { path: path.clone(), wanted: "a model id" }.into())
        }
        Action::Remove => Err(Fault::NotPatchable(path.clone()).into()),
    };
    Some(model)
}

struct Patch<'p> {
    twin: &'p mut Twin,
    contents: &'p Contents,
    models: &'p Models,
    version: ApiVersion,
    now: Timestamp,
}

impl Patch<'_> {
    fn apply(&mut self, operation: &Operation) -> Result<(), Error> {
        let Operation { path, action } = operation;
        match path.parts().as_slice() {
            ["$metadata", "$model"] => Ok(()),
            ["$metadata", name, "sourceTime"] => source_time(&mut self.twin.content, name, path, action, self.version),
            [first, ..] if first.starts_with('$') => Err(Fault::NotPatchable(path.clone()).into()),
            [name] if self.is_component(name) => self.whole_component(name, action),
            [name, rest @ ..] if self.is_component(name) => self.inside_component(name, rest, path, action),
            [name, rest @ ..] => {
                property(&mut self.twin.content, Some(self.contents), name, rest, path, action, self.now)
            }
            [] => Err(Fault::NotPatchable(path.clone()).into()),
        }
    }

    fn is_component(&self, name: &str) -> bool {
        self.twin.component(name).is_some() || self.contents.components.contains_key(name)
    }

    fn whole_component(&mut self, name: &str, action: &Action) -> Result<(), Error> {
        let is_present = self.twin.component(name).is_some();
        match action {
            Action::Replace(_) | Action::Remove if !is_present => Err(Fault::TargetNotFound(name.to_owned()).into()),
            Action::Add(value) | Action::Replace(value) => {
                let component = document::component(name, value.clone(), self.version, self.now)?;
                self.twin.set_component(component);
                Ok(())
            }
            Action::Remove => {
                self.twin.remove_component(name);
                Ok(())
            }
        }
    }

    fn inside_component(&mut self, name: &str, rest: &[&str], path: &Pointer, action: &Action) -> Result<(), Error> {
        let model = self.contents.components.get(name);
        let contents = model.and_then(|model| self.models.contents(model));
        let component = self.twin.component_mut(name).ok_or_else(|| Fault::TargetNotFound(name.to_owned()))?;
        match rest {
            ["$metadata", property, "sourceTime"] => {
                source_time(&mut component.content, property, path, action, self.version)
            }
            [first, ..] if first.starts_with('$') => Err(Fault::NotPatchable(path.clone()).into()),
            [first, deeper @ ..] => {
                property(&mut component.content, contents, first, deeper, path, action, self.now)?;
                if !(deeper.is_empty() && *action == Action::Remove) {
                    component.updated = self.now;
                }
                Ok(())
            }
            [] => Ok(()),
        }
    }
}

/// Carries out an action on a property, or on something inside it.
fn property(
    content: &mut Content,
    contents: Option<&Contents>,
    name: &str,
    inner: &[&str],
    path: &Pointer,
    action: &Action,
    now: Timestamp,
) -> Result<(), Error> {
    let is_set = content.properties().contains_key(name);
    // Telemetry and relationships have such names too: what is wrong with giving those a value, validation tells.
    let is_known = is_set
        || contents.is_some_and(|contents| {
            contents.properties.contains_key(name)
                || contents.telemetries.contains_key(name)
                || contents.relationships.contains_key(name)
        });
    if !is_known {
        let fault = match inner {
            [] => Fault::NotInModel(name.to_owned()),
            _ => Fault::PathNotFound(path.clone()),
        };
        return Err(fault.into());
    }
    let not_found = || Fault::TargetNotFound(name.to_owned());
    match (inner, action) {
        ([], Action::Add(value)) => content.set(name, value.clone(), now),
        ([], Action::Replace(value)) if is_set => content.set(name, value.clone(), now),
        ([], Action::Remove) if is_set => _ = content.remove(name),
        ([], _) => return Err(not_found().into()),
        (inner, action) => {
            content.edit(name, now, |value| json_patch::edit(value, inner, action)).ok_or_else(not_found)??;
        }
    }
    Ok(())
}

fn source_time(
    content: &mut Content,
    name: &str,
    path: &Pointer,
    action: &Action,
    version: ApiVersion,
) -> Result<(), Error> {
    if !version.has_source_time() {
        return Err(Fault::NotPatchable(path.clone()).into());
    }
    let source_time = match action {
        Action::Add(value) | Action::Replace(value) => {
            let time = value.as_str().and_then(time::parse_source_time);
            Some(time.ok_or_else(|| Fault::InvalidValue { path: path.clone(), wanted: "an ISO 8601 time" })?)
        }
        Action::Remove => None,
    };
    if content.set_source_time(name, source_time) { Ok(()) } else { Err(Fault::TargetNotFound(name.to_owned()).into()) }
}

/// Carries out a patch on the properties of a relationship.
///
/// # Errors
/// What the first operation that cannot be carried out lacks.
pub(crate) fn relationship(properties: &mut Map<String, Value>, operations: &[Operation]) -> Result<(), Error> {
    let mut value = Value::Object(std::mem::take(properties));
    for Operation { path, action } in operations {
        let parts = path.parts();
        if parts.first().is_some_and(|first| first.starts_with('$')) {
            return Err(Fault::NotPatchable(path.clone()).into());
        }
        json_patch::edit(&mut value, &parts, action)?;
    }
    if let Value::Object(patched) = value {
        *properties = patched;
    }
    Ok(())
}
