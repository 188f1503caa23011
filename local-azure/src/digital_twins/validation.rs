//! Whether twins and relationships fit their models and the service's limits.

use std::collections::BTreeMap;

use dtdl::{Contents, Property};
use serde_json::{Map, Value};

use super::{
    document,
    error::Error,
    models::Models,
    relationship::Relationship,
    twin::{Content, Twin},
    version::ApiVersion,
};

/// Azure Digital Twins service limits: the size of a twin, in bytes of JSON.
pub(crate) const MAX_TWIN_BYTES: usize = 32 * 1024;
/// Azure Digital Twins service limits: the size of a string property, in bytes.
const MAX_STRING_BYTES: usize = 4 * 1024;

/// Checks a whole twin.
///
/// # Errors
/// [`Error::InvalidTwin`] with every fault; [`Error::LimitExceeded`] where it is too large.
pub(crate) fn twin(twin: &Twin, models: &Models) -> Result<(), Error> {
    let contents = document::contents(&twin.model, models)?;
    let mut faults = Vec::new();
    content(&twin.content, contents, &mut faults);
    for name in contents.components.keys().filter(|name| twin.component(name).is_none()) {
        faults.push(format!("Twin is missing component {name}."));
    }
    for component in twin.components() {
        match contents.components.get(&component.name) {
            Some(model) => content(&component.content, document::contents(model, models)?, &mut faults),
            None => faults.push(absent(&component.name)),
        }
    }
    if !faults.is_empty() {
        return Err(Error::InvalidTwin(faults));
    }
    let size = serde_json::to_vec(&twin.wire(ApiVersion::LATEST)).map_or(usize::MAX, |json| json.len());
    if size > MAX_TWIN_BYTES {
        return Err(Error::LimitExceeded { what: "The size of the twin in bytes", limit: MAX_TWIN_BYTES });
    }
    Ok(())
}

fn content(content: &Content, contents: &Contents, faults: &mut Vec<String>) {
    for (name, value) in content.properties() {
        match contents.properties.get(name) {
            Some(property) => faults.extend(value_fault(name, value, property)),
            None => faults.push(not_a_property(name, contents)),
        }
    }
}

fn value_fault(name: &str, value: &Value, property: &Property) -> Option<String> {
    if let Err(mismatch) = property.schema.check(value) {
        return Some(format!("The value of {name} does not fit its schema: {mismatch}."));
    }
    let too_long = longest_string(value) > MAX_STRING_BYTES;
    too_long.then(|| format!("{name} holds a string of more than {MAX_STRING_BYTES} bytes."))
}

fn longest_string(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(longest_string).max().unwrap_or_default(),
        Value::Object(members) => members.values().map(longest_string).max().unwrap_or_default(),
        _ => 0,
    }
}

fn not_a_property(name: &str, contents: &Contents) -> String {
    if contents.telemetries.contains_key(name) {
        format!("{name} is not a property - it is a Telemetry.")
    } else if contents.relationships.contains_key(name) {
        format!("{name} is not a property - it is a Relationship.")
    } else {
        absent(name)
    }
}

fn absent(name: &str) -> String {
    format!("{name} does not exist on component.")
}

/// Checks a relationship against the model of its source; `target` is the twin that it ends at.
///
/// # Errors
/// [`Error::RelationshipToItself`]; [`Error::MisalignedRelationship`] where the source's model was deleted, or has no
/// such relationship, or not to twins of the target's model; [`Error::InvalidRelationship`] where a property does not
/// fit.
pub(crate) fn relationship(
    relationship: &Relationship,
    source: &Twin,
    target: &Twin,
    models: &Models,
) -> Result<(), Error> {
    if source.id == target.id {
        return Err(Error::RelationshipToItself);
    }
    let contents = models.contents(&source.model).ok_or(Error::MisalignedRelationship)?;
    let kind = contents.relationships.get(&relationship.name).ok_or(Error::MisalignedRelationship)?;
    if kind.target.as_ref().is_some_and(|wanted| !models.is_a(&target.model, wanted)) {
        return Err(Error::MisalignedRelationship);
    }
    properties(&relationship.properties, &kind.properties)
}

fn properties(values: &Map<String, Value>, known: &BTreeMap<String, Property>) -> Result<(), Error> {
    let fault = |(name, value): (&String, &Value)| match known.get(name) {
        Some(property) => value_fault(name, value, property),
        None => Some(format!("{name} does not exist on relationship.")),
    };
    let faults: Vec<String> = values.iter().filter_map(fault).collect();
    if faults.is_empty() { Ok(()) } else { Err(Error::InvalidRelationship(faults)) }
}
