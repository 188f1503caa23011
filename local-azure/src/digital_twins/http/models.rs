//! `/models`.

use std::num::NonZeroUsize;

use axum::http::StatusCode;
use dtdl::ModelId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    reply::{Reply, ValuesFirst},
    request::Request,
};
use crate::digital_twins::{
    DigitalTwins,
    error::Error,
    json_patch::{Action, Fault},
};

/// Azure Digital Twins service limits: models on a page.
const MAX_MODELS: NonZeroUsize = NonZeroUsize::new(100).unwrap();

/// Where a list goes on, in the service's form: an array of one.
#[derive(Serialize, Deserialize)]
struct Continuation {
    token: ModelId,
    range: Range,
}

#[derive(Serialize, Deserialize)]
struct Range {
    min: String,
    max: String,
}

pub(super) fn add(service: &DigitalTwins, request: &Request) -> Result<Reply, Error> {
    let Value::Array(definitions) = request.json(Error::NoModels)? else { return Err(Error::NoModels) };
    let models = service.add_models(&definitions)?;
    let models: Vec<_> = models.iter().map(|model| model.wire(false)).collect();
    Ok(Reply::json(StatusCode::CREATED, &models))
}

pub(super) fn list(service: &DigitalTwins, request: &Request) -> Result<Reply, Error> {
    let with_definition = includes_definition(request)?;
    // A client sends the ids in one argument, separated by commas, where the published interface repeats it.
    let ids = request.arguments("dependenciesFor").flat_map(|ids| ids.split(',')).filter(|id| !id.is_empty());
    let dependencies_for = ids.map(model_id).collect::<Result<Vec<_>, _>>()?;
    let after = request.argument("continuationToken").map(after).transpose()?;
    let size = request.page_size(MAX_MODELS)?;
    let (value, last) = service.list_models(&dependencies_for, after.as_ref(), size, |model| {
        serde_json::to_value(model.wire(with_definition)).unwrap_or_default()
    })?;
    let next_link = last.map(|last| next_link(request, with_definition, &dependencies_for, last));
    Ok(Reply::ok(&ValuesFirst { value, next_link }))
}

fn next_link(request: &Request, with_definition: bool, dependencies_for: &[ModelId], last: ModelId) -> String {
    let range = Range { min: String::new(), max: "FF".to_owned() };
    let token = serde_json::to_string(&[Continuation { token: last, range }]).unwrap_or_default();
    let mut arguments = vec![("includeModelDefinition", if with_definition { "True" } else { "False" })];
    arguments.extend(dependencies_for.iter().map(|id| ("dependenciesFor", id.as_str())));
    arguments.push(("continuationToken", &token));
    request.link(&["Models"], &arguments)
}

fn after(token: &str) -> Result<ModelId, Error> {
    let continuation: Result<[Continuation; 1], _> = serde_json::from_str(token);
    continuation.map(|[continuation]| continuation.token).map_err(|_| Error::InvalidToken)
}

pub(super) fn get(service: &DigitalTwins, id: &str, request: &Request) -> Result<Reply, Error> {
    let with_definition = includes_definition(request)?;
    service.with_model(&model_id(id)?, |model| Reply::ok(&model.wire(with_definition)))
}

/// The one thing about a model that can be patched is whether it is decommissioned.
pub(super) fn update(service: &DigitalTwins, id: &str, request: &Request) -> Result<Reply, Error> {
    let id = model_id(id)?;
    let mut decommissioned = None;
    for operation in request.patch()? {
        if operation.path.parts() != ["decommissioned"] {
            return Err(Fault::NotPatchable(operation.path).into());
        }
        decommissioned = match operation.action {
            Action::Add(Value::Bool(value)) | Action::Replace(Value::Bool(value)) => Some(value),
            Action::Add(_) | Action::Replace(_) => {
                return Err(Fault::InvalidValue { path: operation.path, wanted: "true or false" }.into());
            }
            Action::Remove => return Err(Fault::NotPatchable(operation.path).into()),
        };
    }
    match decommissioned {
        Some(decommissioned) => service.set_decommissioned(&id, decommissioned)?,
        None => service.with_model(&id, |_| ())?,
    }
    Ok(Reply::no_content())
}

pub(super) fn delete(service: &DigitalTwins, id: &str) -> Result<Reply, Error> {
    service.delete_model(&model_id(id)?)?;
    Ok(Reply::no_content())
}

fn model_id(id: &str) -> Result<ModelId, Error> {
    id.parse().map_err(|_| Error::InvalidModelId(id.to_owned()))
}

fn includes_definition(request: &Request) -> Result<bool, Error> {
    match request.argument("includeModelDefinition") {
        None | Some("") => Ok(false),
        Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
        Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
        Some(value) => Err(Error::InvalidArgument(format!("includeModelDefinition takes true or false, got {value}."))),
    }
}
