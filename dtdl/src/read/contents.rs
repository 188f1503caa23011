//! Reads the contents of an interface.

use std::collections::BTreeMap;

use serde_json::Value;

use super::element::{Element, Member, Set, read_id};
use super::schema::{part_of, read_with_quantity};
use super::{Document, Site, literal};
use crate::class::{CONTENTS, Class};
use crate::contents::{Command, Contents, Payload, Property, Relationship, Telemetry};
use crate::context::Language;
use crate::error::{Error, Fault, excerpt};
use crate::interface::Annotation;
use crate::model_id::ModelId;
use crate::place::{Place, kind_of};

/// Contents, and what in them can be checked only together with those of other interfaces.
#[derive(Default)]
pub(super) struct ContentsReading {
    pub(super) contents: Contents,
    pub(super) annotations: Vec<Annotation>,
}

/// Reads `contents`.
pub(super) fn read<'v>(interface: &Element<'v, '_>, document: &mut Document<'v>) -> Result<ContentsReading, Error> {
    let mut reading = ContentsReading::default();
    let Some(Set { key, elements }) = interface.set("contents") else {
        return Ok(reading);
    };
    let place = interface.place.member(key);
    let limit = interface.language().max_contents();
    if elements.len() > limit {
        return Err(place.error(Fault::TooMany { what: "contents", limit, got: elements.len() }));
    }
    for (index, value) in elements {
        let at = index.map(|index| place.index(index));
        let site = interface.site(at.as_ref().unwrap_or(&place));
        let named = value.get("name").and_then(Value::as_str).unwrap_or_default();
        read_content(value, site, document, &mut reading).map_err(|error| match named {
            "" => error,
            name => error.in_content(name),
        })?;
    }
    Ok(reading)
}

fn read_content<'v>(
    value: &'v Value,
    site: Site<'_>,
    document: &mut Document<'v>,
    reading: &mut ContentsReading,
) -> Result<(), Error> {
    let element = Element::read(value, site, CONTENTS, None, document)?;
    let name = element.name()?;
    let contents = &mut reading.contents;
    if contents.get(name).is_some() {
        return Err(element.place.error(Fault::DuplicateName(name.to_owned())));
    }
    reading.annotations.extend(element.annotation(name)?);
    let name = name.to_owned();
    match element.class {
        Class::Property => _ = contents.properties.insert(name, read_property(&element, document)?),
        Class::Telemetry => {
            let (reading, quantity) = read_with_quantity(&element, 0, document)?;
            contents.telemetries.insert(name, Telemetry { schema: reading.schema, quantity });
        }
        Class::Relationship => _ = contents.relationships.insert(name, read_relationship(&element, document)?),
        Class::Component => _ = contents.components.insert(name, read_component(&element)?),
        _ => _ = contents.commands.insert(name, read_command(&element, document)?),
    }
    Ok(())
}

fn read_property<'v>(property: &Element<'v, '_>, document: &mut Document<'v>) -> Result<Property, Error> {
    let (reading, quantity) = read_with_quantity(property, 0, document)?;
    if reading.has_array && property.language() == Language::V2 {
        return Err(property.place.error(Fault::ArrayInProperty));
    }
    Ok(Property { schema: reading.schema, quantity, writable: property.boolean("writable")?.unwrap_or(false) })
}

fn read_relationship<'v>(link: &Element<'v, '_>, document: &mut Document<'v>) -> Result<Relationship, Error> {
    let target = match link.member("target") {
        Some(Member { key, value }) => {
            let place = link.place.member(key);
            let text = literal_id(value, &place)?;
            Some(read_id(text, link.language(), &place)?)
        }
        None => None,
    };
    if let Some(Member { key, value }) = link.member("minMultiplicity") {
        let place = link.place.member(key);
        match literal::integer(value, &place)? {
            0 => {}
            other => return Err(place.error(Fault::WrongValue { wanted: "0", got: other.to_string() })),
        }
    }
    Ok(Relationship {
        target,
        properties: read_relationship_properties(link, document)?,
        max_multiplicity: read_max_multiplicity(link)?,
        writable: link.boolean("writable")?.unwrap_or(false),
    })
}

fn read_max_multiplicity(link: &Element<'_, '_>) -> Result<Option<u32>, Error> {
    let Some(Member { key, value }) = link.member("maxMultiplicity") else {
        return Ok(None);
    };
    let (wanted, limit) = match link.language() {
        Language::V2 => ("1 to 500", 500),
        Language::V3 => ("1 or more", u32::MAX),
    };
    let place = link.place.member(key);
    let number = literal::integer(value, &place)?;
    match u32::try_from(number) {
        Ok(number) if (1..=limit).contains(&number) => Ok(Some(number)),
        _ => Err(place.error(Fault::WrongValue { wanted, got: number.to_string() })),
    }
}

fn read_relationship_properties<'v>(
    link: &Element<'v, '_>,
    document: &mut Document<'v>,
) -> Result<BTreeMap<String, Property>, Error> {
    let mut properties = BTreeMap::new();
    let Some(Set { key, elements }) = link.set("properties") else {
        return Ok(properties);
    };
    let place = link.place.member(key);
    let limit = link.language().max_relationship_properties();
    if elements.len() > limit {
        return Err(place.error(Fault::TooMany { what: "properties", limit, got: elements.len() }));
    }
    for (index, value) in elements {
        let at = index.map(|index| place.index(index));
        let site = link.site(at.as_ref().unwrap_or(&place));
        let element = Element::read(value, site, &[Class::Property], None, document)?;
        let name = element.name()?.to_owned();
        let property = read_property(&element, document)?;
        if properties.contains_key(&name) {
            return Err(element.place.error(Fault::DuplicateName(name)));
        }
        properties.insert(name, property);
    }
    Ok(properties)
}

/// The interface of a component: by id, as Azure Digital Twins takes no interface inside another.
fn read_component(component: &Element<'_, '_>) -> Result<ModelId, Error> {
    let Member { key, value } = component.required("schema")?;
    let place = component.place.member(key);
    read_id(literal_id(value, &place)?, component.language(), &place)
}

fn read_command<'v>(command: &Element<'v, '_>, document: &mut Document<'v>) -> Result<Command, Error> {
    let (request, response) = match command.language() {
        Language::V2 => (Class::CommandPayload, Class::CommandPayload),
        Language::V3 => (Class::CommandRequest, Class::CommandResponse),
    };
    check_command_type(command)?;
    Ok(Command {
        request: read_payload(command, "request", request, document)?,
        response: read_payload(command, "response", response, document)?,
    })
}

/// Checks `commandType`, which says nothing any more.
fn check_command_type(command: &Element<'_, '_>) -> Result<(), Error> {
    let Some(Member { key, value }) = command.member("commandType") else {
        return Ok(());
    };
    let place = command.place.member(key);
    let text = literal::text(value, &place)?;
    let term = text
        .strip_prefix("dtmi:dtdl:instance:CommandType:")
        .and_then(|rest| rest.split_once(';'))
        .map_or(text, |(term, _)| term);
    if matches!(term, "synchronous" | "asynchronous") {
        return Ok(());
    }
    Err(place.error(Fault::WrongValue { wanted: "synchronous or asynchronous", got: excerpt(text).into_owned() }))
}

fn read_payload<'v>(
    command: &Element<'v, '_>,
    name: &'static str,
    class: Class,
    document: &mut Document<'v>,
) -> Result<Option<Payload>, Error> {
    if command.member(name).is_none() {
        return Ok(None);
    }
    part_of(command, name, class, document, |payload, document| {
        let name = payload.name()?.to_owned();
        Ok(Some(Payload { name, schema: read_with_quantity(payload, 0, document)?.0.schema }))
    })
}

/// The text of an identifier: a string, or an array of one.
pub(super) fn literal_id<'v>(value: &'v Value, place: &Place<'_>) -> Result<&'v str, Error> {
    let plain = match value {
        Value::Array(elements) if elements.len() == 1 => elements.first().unwrap_or(value),
        other => other,
    };
    match plain {
        Value::String(text) => Ok(text),
        other => Err(place.error(Fault::WrongType {
            wanted: "the id of an interface, as a string; an interface cannot be defined inside another here",
            got: kind_of(other),
        })),
    }
}
