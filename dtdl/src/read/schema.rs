//! Reads schemas.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::element::{Element, Member, Set, read_id};
use super::{Document, Reusable, Site, State, literal};
use crate::class::{COMPLEX_SCHEMAS, Class, TermKind, plain_term};
use crate::context::{Language, MAX_SCHEMA_DEPTH};
use crate::error::{Error, Fault, excerpt};
use crate::model_id::ModelId;
use crate::place::{Place, kind_of};
use crate::quantity::{Quantity, UnitType};
use crate::schema::{ArraySchema, EnumSchema, MapSchema, ObjectSchema, Schema};

/// A schema, and what rules about nesting ask of it.
#[derive(Clone)]
pub(super) struct Reading {
    pub(super) schema: Schema,
    /// Levels of complex schemas: 0 for a primitive one.
    depth: usize,
    /// Whether it is or contains an array, as geometries do.
    pub(super) has_array: bool,
}

impl Reading {
    fn flat(schema: Schema) -> Reading {
        let has_array = matches!(schema, Schema::Geospatial(_));
        Reading { schema, depth: 0, has_array }
    }
}

/// Reads the schema in a member of an element: a name, the id of a reusable schema, or a complex schema in place.
///
/// `level` is how many complex schemas surround it in the document. It only ends the recursion early: what counts is
/// the depth of what is read.
pub(super) fn read<'v>(
    element: &Element<'v, '_>,
    name: &'static str,
    level: usize,
    document: &mut Document<'v>,
) -> Result<Reading, Error> {
    let Member { key, value } = element.required(name)?;
    let place = element.place.member(key);
    let site = element.site(&place);
    match value {
        Value::String(term) => read_term(term, site, level, document),
        Value::Array(elements) => match elements.as_slice() {
            [one @ Value::Object(_)] => read_complex(one, Site { place: &place.index(0), ..site }, level, document),
            [Value::String(term)] => read_term(term, site, level, document),
            _ => Err(place.error(Fault::WrongType { wanted: "one schema", got: "an array" })),
        },
        Value::Object(_) => read_complex(value, site, level, document),
        other => Err(place.error(Fault::WrongType { wanted: "a schema", got: kind_of(other) })),
    }
}

/// Reads the interface's reusable schemas: those that nothing refers to have to be right too.
pub(super) fn read_all<'v>(
    interface: &Element<'v, '_>,
    root: &Place<'_>,
    document: &mut Document<'v>,
) -> Result<(), Error> {
    let Some(Set { key, elements: schemas }) = interface.set("schemas") else {
        return Ok(());
    };
    let place = root.member(key);
    for (index, value) in schemas {
        let at = index.map(|index| place.index(index));
        let at = at.as_ref().unwrap_or(&place);
        let id = value.as_object().and_then(|members| members.get("@id")).ok_or_else(|| at.error(Fault::NoId))?;
        let id_place = at.member("@id");
        let text =
            id.as_str().ok_or_else(|| id_place.error(Fault::WrongType { wanted: "a string", got: kind_of(id) }))?;
        let id = read_id(text, interface.language(), &id_place)?;
        let reusable = Reusable { value, index, state: State::Unread };
        if document.schemas.insert(id.clone(), reusable).is_some() {
            return Err(id_place.error(Fault::DuplicateId(id)));
        }
    }
    let ids: Vec<ModelId> = document.schemas.keys().cloned().collect();
    for id in ids {
        read_reusable(&id, interface.site(root), &place, 0, document)?;
    }
    Ok(())
}

fn read_term<'v>(term: &str, site: Site<'_>, level: usize, document: &mut Document<'v>) -> Result<Reading, Error> {
    let language = site.context.language;
    let name = plain_term(term, TermKind::Schema, language);
    if let Some(schema) = Schema::named(name) {
        return Ok(Reading::flat(schema));
    }
    if site.context.overriding
        && site.context.quantitative_types
        && let Some(units) = UnitType::named(name)
    {
        return Ok(Reading { schema: unit_enum(units, language), depth: 1, has_array: false });
    }
    if let Ok(id) = ModelId::parse(term)
        && document.schemas.contains_key(&id)
    {
        return read_reusable(&id, site, site.place, level, document);
    }
    Err(site.place.error(Fault::UnknownSchema { got: excerpt(term).into_owned(), language }))
}

/// The schema of a property that overrides another's unit: one of the units.
fn unit_enum(units: &UnitType, language: Language) -> Schema {
    let values = units.units(language).map(|unit| (unit.to_owned(), unit.to_owned())).collect();
    Schema::Enum(Arc::new(EnumSchema::Strings(values)))
}

/// Reads a reusable schema once, however many refer to it. `referrer` is where to complain about a cycle.
fn read_reusable<'v>(
    id: &ModelId,
    site: Site<'_>,
    referrer: &Place<'_>,
    level: usize,
    document: &mut Document<'v>,
) -> Result<Reading, Error> {
    let Some(reusable) = document.schemas.get_mut(id) else {
        let got = excerpt(id.as_str()).into_owned();
        return Err(referrer.error(Fault::UnknownSchema { got, language: site.context.language }));
    };
    let (value, index) = (reusable.value, reusable.index);
    match std::mem::replace(&mut reusable.state, State::Open) {
        State::Open => return Err(referrer.error(Fault::SchemaContainsItself(id.clone()))),
        State::Read(reading) => {
            reusable.state = State::Read(reading.clone());
            return Ok(reading);
        }
        State::Unread => {}
    }
    // Its place is where it is defined, not where it is used.
    let schemas = Place::ROOT.member("schemas");
    let place = index.map(|index| schemas.index(index));
    let reading = read_complex(value, Site { place: place.as_ref().unwrap_or(&schemas), ..site }, level, document)?;
    if let Some(reusable) = document.schemas.get_mut(id) {
        reusable.state = State::Read(reading.clone());
    }
    Ok(reading)
}

fn read_complex<'v>(
    value: &'v Value,
    site: Site<'_>,
    level: usize,
    document: &mut Document<'v>,
) -> Result<Reading, Error> {
    let too_deep = || site.place.error(Fault::SchemaTooDeep { limit: MAX_SCHEMA_DEPTH });
    if level >= MAX_SCHEMA_DEPTH {
        return Err(too_deep());
    }
    let element = Element::read(value, site, COMPLEX_SCHEMAS, None, document)?;
    let (schema, inner_depth, has_array) = match element.class {
        Class::Array => {
            let inner = read(&element, "elementSchema", level + 1, document)?;
            (Schema::Array(Arc::new(ArraySchema { element: inner.schema })), inner.depth, true)
        }
        Class::Enum => (Schema::Enum(Arc::new(read_enum(&element, document)?)), 0, false),
        Class::Map => read_map(&element, level, document)?,
        _ => read_object(&element, level, document)?,
    };
    let depth = inner_depth + 1;
    if depth > MAX_SCHEMA_DEPTH {
        return Err(too_deep());
    }
    Ok(Reading { schema, depth, has_array })
}

fn read_object<'v>(
    object: &Element<'v, '_>,
    level: usize,
    document: &mut Document<'v>,
) -> Result<(Schema, usize, bool), Error> {
    let (mut fields, mut depth, mut has_array) = (BTreeMap::new(), 0, false);
    let limit = object.language().max_fields();
    each_of(object, "fields", limit, Class::Field, document, |field, document| {
        let name = field.name()?;
        let inner = read_with_quantity(field, level + 1, document)?.0;
        depth = depth.max(inner.depth);
        has_array |= inner.has_array;
        match fields.insert(name.to_owned(), inner.schema) {
            None => Ok(()),
            Some(_) => Err(field.place.error(Fault::DuplicateName(name.to_owned()))),
        }
    })?;
    Ok((Schema::Object(Arc::new(ObjectSchema { fields })), depth, has_array))
}

fn read_map<'v>(
    map: &Element<'v, '_>,
    level: usize,
    document: &mut Document<'v>,
) -> Result<(Schema, usize, bool), Error> {
    let key_name = part_of(map, "mapKey", Class::MapKey, document, |key, document| {
        let name = key.name()?;
        match read(key, "schema", level + 1, document)?.schema {
            Schema::String => Ok(name.to_owned()),
            other => Err(key.place.error(Fault::WrongValue {
                wanted: "the schema string for the keys of a Map",
                got: other.to_string(),
            })),
        }
    })?;
    let (value_name, value) = part_of(map, "mapValue", Class::MapValue, document, |value, document| {
        Ok((value.name()?.to_owned(), read_with_quantity(value, level + 1, document)?.0))
    })?;
    let (depth, has_array) = (value.depth, value.has_array);
    Ok((Schema::Map(Arc::new(MapSchema { key_name, value_name, value: value.schema })), depth, has_array))
}

fn read_enum<'v>(schema: &Element<'v, '_>, document: &mut Document<'v>) -> Result<EnumSchema, Error> {
    let Member { key, value } = schema.required("valueSchema")?;
    let place = schema.place.member(key);
    let text = match value {
        Value::Array(elements) if elements.len() == 1 => elements.first().and_then(Value::as_str),
        other => other.as_str(),
    };
    let wrong =
        |got: &str| place.error(Fault::WrongValue { wanted: "integer or string", got: excerpt(got).into_owned() });
    let text = text.ok_or_else(|| wrong(kind_of(value)))?;
    let limit = schema.language().max_enum_values();
    let mut names = BTreeSet::new();
    let (mut integers, mut strings) = (BTreeMap::new(), BTreeMap::new());
    let is_integer = match plain_term(text, TermKind::Schema, schema.language()) {
        "integer" => true,
        "string" => false,
        other => return Err(wrong(other)),
    };
    each_of(schema, "enumValues", limit, Class::EnumValue, document, |element, _| {
        let name = element.name()?.to_owned();
        if !names.insert(name.clone()) {
            return Err(element.place.error(Fault::DuplicateName(name)));
        }
        let Member { key, value } = element.required("enumValue")?;
        let place = element.place.member(key);
        let (before, text) = if is_integer {
            let value = literal::integer(value, &place)?;
            (integers.insert(value, name), value.to_string())
        } else {
            let value = literal::text(value, &place)?;
            (strings.insert(value.to_owned(), name), format!("{:?}", excerpt(value)))
        };
        match before {
            None => Ok(()),
            Some(_) => Err(place.error(Fault::DuplicateEnumValue(text))),
        }
    })?;
    Ok(if is_integer { EnumSchema::Integers(integers) } else { EnumSchema::Strings(strings) })
}

/// Reads each element of a set. DTDL v2 wants at least one.
fn each_of<'v>(
    owner: &Element<'v, '_>,
    name: &'static str,
    limit: usize,
    class: Class,
    document: &mut Document<'v>,
    mut read: impl FnMut(&Element<'v, '_>, &mut Document<'v>) -> Result<(), Error>,
) -> Result<(), Error> {
    let Set { key, elements } = match owner.set(name) {
        Some(set) => set,
        None if owner.language() == Language::V2 => {
            return Err(owner.place.error(Fault::NoMember { class: owner.class.name(), member: name }));
        }
        None => return Ok(()),
    };
    let place = owner.place.member(key);
    if elements.len() > limit {
        return Err(place.error(Fault::TooMany { what: name, limit, got: elements.len() }));
    }
    for (index, value) in elements {
        let at = index.map(|index| place.index(index));
        let site = owner.site(at.as_ref().unwrap_or(&place));
        let element = Element::read(value, site, &[class], Some(class), document)?;
        read(&element, document)?;
    }
    Ok(())
}

/// Reads the one element in a member.
pub(super) fn part_of<'v, T>(
    owner: &Element<'v, '_>,
    name: &'static str,
    class: Class,
    document: &mut Document<'v>,
    read: impl FnOnce(&Element<'v, '_>, &mut Document<'v>) -> Result<T, Error>,
) -> Result<T, Error> {
    let Member { key, value } = owner.required(name)?;
    let value = match value {
        Value::Array(elements) => match elements.as_slice() {
            [one] => one,
            _ => value,
        },
        _ => value,
    };
    let place = owner.place.member(key);
    let element = Element::read(value, owner.site(&place), &[class], Some(class), document)?;
    read(&element, document)
}

/// Reads `schema`, and with it the semantic type and `unit` of an element that has them.
pub(super) fn read_with_quantity<'v>(
    element: &Element<'v, '_>,
    level: usize,
    document: &mut Document<'v>,
) -> Result<(Reading, Option<Quantity>), Error> {
    let reading = read(element, "schema", level, document)?;
    let Some(semantic) = element.semantic_type() else {
        return Ok((reading, None));
    };
    if !reading.schema.is_numeric() {
        return Err(element.place.error(Fault::SemanticTypeOfNoNumber(semantic.name)));
    }
    let Some(Member { key, value }) = element.member("unit") else {
        return Err(element.place.error(Fault::NoUnit(semantic.name)));
    };
    let place = element.place.member(key);
    let text = match value {
        Value::Array(elements) if elements.len() == 1 => elements.first().and_then(Value::as_str),
        other => other.as_str(),
    };
    let text = text.ok_or_else(|| place.error(Fault::WrongType { wanted: "a unit", got: kind_of(value) }))?;
    let name = plain_term(text, TermKind::Unit, element.language());
    let unit = semantic.unit(name, element.language()).ok_or_else(|| {
        place.error(Fault::WrongUnit {
            unit: excerpt(text).into_owned(),
            semantic_type: semantic.name,
            unit_type: semantic.unit_type,
        })
    })?;
    Ok((reading, Some(Quantity { semantic_type: semantic.name, unit })))
}
