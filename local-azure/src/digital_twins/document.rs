//! Twins as clients send them whole.

use dtdl::{Contents, ModelId};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    error::Error,
    id::TwinId,
    models::Models,
    time,
    twin::{Component, Content, Twin},
    version::ApiVersion,
};

/// Reads a twin. That it fits its model is not checked; only what is a component is looked up there.
///
/// The members `$dtId` and `$etag` are ignored, and so are the times of the service's own that clients send back.
///
/// # Errors
/// [`Error::InvalidPayload`] where the body is no object; [`Error::InvalidTwin`] where it names no known model or its
/// metadata cannot be read.
pub(crate) fn twin(
    id: TwinId,
    body: Value,
    models: &Models,
    version: ApiVersion,
    now: Timestamp,
) -> Result<Twin, Error> {
    let Value::Object(mut members) = body else { return Err(Error::InvalidPayload) };
    let metadata = members.shift_remove("$metadata");
    let model = metadata.as_ref().and_then(|metadata| metadata.get("$model")?.as_str());
    let model = model.ok_or_else(|| fault("Twin is missing $metadata.$model.".to_owned()))?;
    let model: ModelId = model.parse().map_err(|_| unknown_model(model))?;
    let contents = models.contents(&model).ok_or_else(|| unknown_model(model.as_str()))?;
    let mut twin = Twin::new(id, model, now);
    for (name, value) in members {
        match name.as_str() {
            "$dtId" | "$etag" => {}
            name if contents.components.contains_key(name) => {
                twin.set_component(component(name, value, version, now)?);
            }
            name => twin.content.set(name, value, now),
        }
    }
    read_source_times(&mut twin.content, metadata.as_ref(), version)?;
    Ok(twin)
}

/// Reads a component: an object that has a `$metadata`, which may be empty.
///
/// # Errors
/// [`Error::InvalidTwin`] where it is none, or its metadata cannot be read.
pub(crate) fn component(name: &str, value: Value, version: ApiVersion, now: Timestamp) -> Result<Component, Error> {
    let members = match value {
        Value::Object(members) if members.get("$metadata").is_some_and(Value::is_object) => members,
        _ => return Err(fault(format!("Component {name} is not an object with a $metadata object."))),
    };
    let mut content = Content::default();
    let mut metadata = None;
    for (member, value) in members {
        match member.as_str() {
            "$metadata" => metadata = Some(value),
            member => content.set(member, value, now),
        }
    }
    read_source_times(&mut content, metadata.as_ref(), version)?;
    Ok(Component { name: name.to_owned(), updated: now, content })
}

fn read_source_times(content: &mut Content, metadata: Option<&Value>, version: ApiVersion) -> Result<(), Error> {
    let entries = metadata.and_then(Value::as_object).into_iter().flat_map(Map::iter);
    for (name, entry) in entries.filter(|_| version.has_source_time()) {
        match entry.get("sourceTime") {
            None | Some(Value::Null) => {}
            Some(source_time) => {
                let time = source_time.as_str().and_then(time::parse_source_time);
                let time = time.ok_or_else(|| fault(format!("The sourceTime of {name} is no ISO 8601 time.")))?;
                content.set_source_time(name, Some(time));
            }
        }
    }
    Ok(())
}

/// What the service says about a model that is not there, in the details of the error.
pub(crate) fn unknown_model(model: &str) -> Error {
    fault(format!("{model} or one of its dependencies does not exist."))
}

/// The contents of a model that a twin has.
///
/// # Errors
/// [`unknown_model`] where the model was deleted.
pub(crate) fn contents<'m>(model: &ModelId, models: &'m Models) -> Result<&'m Contents, Error> {
    models.contents(model).ok_or_else(|| unknown_model(model.as_str()))
}

fn fault(text: String) -> Error {
    Error::InvalidTwin(vec![text])
}
