//! Reads an interface.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::contents::{ContentsReading, literal_id};
use super::element::{Element, Set, read_id};
use super::{Document, Site, bounds, contents, schema};
use crate::class::Class;
use crate::context::{Context, MAX_INTERFACE_ID};
use crate::error::{Error, Fault};
use crate::interface::Interface;
use crate::model_id::ModelId;
use crate::place::{Place, kind_of};

/// Reads an interface from its document.
pub(crate) fn read_interface(document: &Value) -> Result<Interface, Error> {
    bounds::check(document)?;
    read(document).map_err(|error| match document.get("@id").and_then(Value::as_str) {
        Some(id) => error.in_model(id),
        None => error,
    })
}

fn read(value: &Value) -> Result<Interface, Error> {
    let root = Place::ROOT;
    let Value::Object(members) = value else {
        return Err(root.error(Fault::WrongType { wanted: "an object", got: kind_of(value) }));
    };
    // In the order in which the service is known to complain.
    let context = members.get("@context").ok_or_else(|| root.error(Fault::NoContext))?;
    let context = Context::of_document(context, &root.member("@context"))?;
    if !members.contains_key("@id") {
        return Err(root.error(Fault::NoId));
    }
    let mut document = Document { ids: BTreeSet::new(), elements: 0, schemas: BTreeMap::new() };
    let site = Site { place: &root, context };
    let element = Element::read(value, site, &[Class::Interface], None, &mut document)?;
    let id = element.id()?.ok_or_else(|| root.error(Fault::NoId))?;
    if id.as_str().len() > MAX_INTERFACE_ID {
        return Err(root
            .member("@id")
            .error(Fault::WrongId { id, wanted: "an interface's id has at most 128 characters" }));
    }
    let extends = read_extends(&element)?;
    schema::read_all(&element, &root, &mut document)?;
    let ContentsReading { contents, annotations } = contents::read(&element, &mut document)?;
    Ok(Interface {
        id,
        language: context.language,
        extends,
        contents,
        annotations,
        elements: document.elements,
        display_name: element.display_name()?,
        description: element.description()?,
        document: Arc::new(value.clone()),
    })
}

fn read_extends(interface: &Element<'_, '_>) -> Result<Vec<ModelId>, Error> {
    let Some(Set { key, elements }) = interface.set("extends") else {
        return Ok(Vec::new());
    };
    let place = interface.place.member(key);
    let limit = interface.language().max_extends();
    if elements.len() > limit {
        return Err(place.error(Fault::TooMany { what: "extended interfaces", limit, got: elements.len() }));
    }
    let mut extends = Vec::with_capacity(elements.len());
    for (index, value) in elements {
        let at = index.map(|index| place.index(index));
        let at = at.as_ref().unwrap_or(&place);
        let id = read_id(literal_id(value, at)?, interface.language(), at)?;
        // Naming one twice says nothing more.
        if !extends.contains(&id) {
            extends.push(id);
        }
    }
    Ok(extends)
}
