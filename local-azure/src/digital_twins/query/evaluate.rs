//! Whether an object is in the result, and what its row is.
//!
//! A comparison with something absent, or of values of different types, neither holds nor fails to hold: it is
//! undefined, and so is its negation (as in the SQL of Cosmos DB). Only what holds is in the result.

use std::{borrow::Cow, cmp::Ordering};

use dtdl::ModelId;
use serde_json::{Map, Number, Value};

use super::{
    ast::{Comparison, Condition, Kind, Literal, Operand, Path, TextTest},
    check::Member,
};
use crate::digital_twins::{models::Models, relationship::Relationship, time, twin::Twin, version::ApiVersion};

/// What a query goes over.
pub(crate) trait Record {
    /// What the path leads to, if anything. An empty path is the whole object.
    fn get(&self, path: &[String]) -> Option<Datum<'_>>;

    /// Whether the object (of that alias, where there are several) is a twin of that model, or of one that extends it.
    fn is_of_model(&self, alias: Option<&str>, model: &ModelId, exact: bool, models: &Models) -> bool;

    /// What the path leads to, as clients of that version see it.
    fn value(&self, path: &[String], version: ApiVersion) -> Option<Value>;
}

/// A value somewhere in an object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Datum<'a> {
    Text(Cow<'a, str>),
    Json(Cow<'a, Value>),
}

impl Datum<'_> {
    fn owned(value: Value) -> Self {
        Self::Json(Cow::Owned(value))
    }

    fn scalar(&self) -> Option<Scalar<'_>> {
        match self {
            Self::Text(text) => Some(Scalar::Text(text)),
            Self::Json(value) => Scalar::of(value),
        }
    }

    fn into_value(self) -> Value {
        match self {
            Self::Text(text) => Value::String(text.into_owned()),
            Self::Json(value) => value.into_owned(),
        }
    }
}

/// A value that can be compared.
#[derive(Debug, Clone, Copy)]
enum Scalar<'a> {
    Null,
    Bool(bool),
    Number(&'a Number),
    Text(&'a str),
}

impl<'a> Scalar<'a> {
    fn of(value: &'a Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Null),
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Number(number) => Some(Self::Number(number)),
            Value::String(text) => Some(Self::Text(text)),
            Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn literal(literal: &'a Literal) -> Self {
        match literal {
            Literal::Null => Self::Null,
            Literal::Bool(value) => Self::Bool(*value),
            Literal::Number(number) => Self::Number(number),
            Literal::String(text) => Self::Text(text),
        }
    }

    /// The order of two values of one type.
    fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Null, Self::Null) => Some(Ordering::Equal),
            (Self::Bool(left), Self::Bool(right)) => Some(left.cmp(&right)),
            (Self::Number(left), Self::Number(right)) => compare_numbers(left, right),
            (Self::Text(left), Self::Text(right)) => Some(left.cmp(right)),
            _ => None,
        }
    }
}

fn compare_numbers(left: &Number, right: &Number) -> Option<Ordering> {
    match (left.as_i128(), right.as_i128()) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

/// Whether the condition holds; `None` where that is undefined.
pub(crate) fn holds(condition: &Condition, record: &impl Record, models: &Models) -> Option<bool> {
    match condition {
        Condition::And(conditions) => combine(conditions, record, models, false),
        Condition::Or(conditions) => combine(conditions, record, models, true),
        Condition::Not(inner) => holds(inner, record, models).map(|holds| !holds),
        Condition::Compare(left, comparison, right) => {
            let (left, right) = (Resolved::of(left, record)?, Resolved::of(right, record)?);
            left.scalar()?.compare(right.scalar()?).map(|order| comparison.holds(order))
        }
        Condition::In { operand, negated, list } => {
            let value = Resolved::of(operand, record)?;
            let value = value.scalar()?;
            let found = list.iter().any(|item| value.compare(Scalar::literal(item)) == Some(Ordering::Equal));
            Some(found != *negated)
        }
        Condition::IsOfModel { alias, model, exact } => {
            Some(record.is_of_model(alias.as_deref(), model, *exact, models))
        }
        Condition::Is(kind, Path(path)) => Some(record.get(path).is_some_and(|datum| kind.is(&datum))),
        Condition::Text(test, text, part) => {
            let (text, part) = (Resolved::of(text, record)?, Resolved::of(part, record)?);
            match (text.scalar()?, part.scalar()?) {
                (Scalar::Text(text), Scalar::Text(part)) => Some(test.holds(text, part)),
                _ => None,
            }
        }
        Condition::ArrayContains(Path(path), item) => {
            let Datum::Json(value) = record.get(path)? else { return None };
            let wanted = Scalar::literal(item);
            let is_wanted = |item: Scalar<'_>| item.compare(wanted) == Some(Ordering::Equal);
            value.as_array().map(|items| items.iter().filter_map(Scalar::of).any(is_wanted))
        }
    }
}

/// AND where nothing is decisive but what fails, OR where nothing is but what holds.
fn combine(conditions: &[Condition], record: &impl Record, models: &Models, decisive: bool) -> Option<bool> {
    let mut result = Some(!decisive);
    for condition in conditions {
        match holds(condition, record, models) {
            Some(holds) if holds == decisive => return Some(decisive),
            Some(_) => {}
            None => result = None,
        }
    }
    result
}

/// The row of an object: those of the members that it has.
pub(crate) fn row(members: &[Member], record: &impl Record, version: ApiVersion) -> Value {
    let mut row = Map::new();
    for member in members {
        if let Some(value) = record.value(&member.path, version) {
            row.insert(member.name.clone(), value);
        }
    }
    Value::Object(row)
}

/// An operand's value for one object.
enum Resolved<'a> {
    Datum(Datum<'a>),
    Literal(&'a Literal),
}

impl<'a> Resolved<'a> {
    fn of(operand: &'a Operand, record: &'a impl Record) -> Option<Self> {
        match operand {
            Operand::Path(Path(path)) => record.get(path).map(Self::Datum),
            Operand::Literal(literal) => Some(Self::Literal(literal)),
        }
    }

    fn scalar(&self) -> Option<Scalar<'_>> {
        match self {
            Self::Datum(datum) => datum.scalar(),
            Self::Literal(literal) => Some(Scalar::literal(literal)),
        }
    }
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

impl Kind {
    fn is(self, datum: &Datum<'_>) -> bool {
        match (self, datum.scalar()) {
            (Self::Defined, _) => true,
            (Self::Null, Some(Scalar::Null))
            | (Self::Number, Some(Scalar::Number(_)))
            | (Self::String, Some(Scalar::Text(_)))
            | (Self::Bool, Some(Scalar::Bool(_))) => true,
            (Self::Primitive, scalar) => scalar.is_some(),
            (Self::Object, None) => matches!(datum, Datum::Json(value) if value.is_object()),
            _ => false,
        }
    }
}

impl TextTest {
    fn holds(self, text: &str, part: &str) -> bool {
        match self {
            Self::StartsWith => text.starts_with(part),
            Self::EndsWith => text.ends_with(part),
            Self::Contains => text.contains(part),
        }
    }
}

/// Follows the rest of a path into a value.
fn inside<'a>(value: &'a Value, path: &[String]) -> Option<Datum<'a>> {
    let value = path.iter().try_fold(value, |value, name| value.get(name.as_str()))?;
    Some(Datum::Json(Cow::Borrowed(value)))
}

/// Follows a path into something made for the purpose: metadata and whole objects, which are rarely asked for.
fn inside_owned(value: Value, path: &[String]) -> Option<Datum<'static>> {
    let found = path.iter().try_fold(&value, |value, name| value.get(name.as_str()))?;
    Some(Datum::Json(Cow::Owned(found.clone())))
}

impl Record for &Twin {
    fn get(&self, path: &[String]) -> Option<Datum<'_>> {
        let [first, rest @ ..] = path else { return self.value(path, ApiVersion::LATEST).map(Datum::owned) };
        match (first.as_str(), rest) {
            ("$dtId", []) => Some(Datum::Text(self.id.as_str().into())),
            ("$etag", []) => Some(Datum::Text(self.etag.as_str().into())),
            ("$metadata", [name]) if name == "$model" => Some(Datum::Text(self.model.as_str().into())),
            ("$metadata", [name]) if name == "$lastUpdateTime" => Some(Datum::Text(time::in_twin(self.updated).into())),
            ("$metadata", _) => inside_owned(self.value(&[], ApiVersion::LATEST)?, path),
            (name, rest) => match (self.content.properties().get(name), self.component(name)) {
                (Some(value), _) => inside(value, rest),
                (None, Some(component)) => match rest {
                    [property, deeper @ ..] if property != "$metadata" => {
                        inside(component.content.properties().get(property)?, deeper)
                    }
                    _ => inside_owned(serde_json::to_value(component.wire(ApiVersion::LATEST)).ok()?, rest),
                },
                (None, None) => None,
            },
        }
    }

    fn is_of_model(&self, _alias: Option<&str>, model: &ModelId, exact: bool, models: &Models) -> bool {
        if exact { self.model == *model } else { models.is_a(&self.model, model) }
    }

    fn value(&self, path: &[String], version: ApiVersion) -> Option<Value> {
        match path {
            [] => serde_json::to_value(self.wire(version)).ok(),
            path => self.get(path).map(Datum::into_value),
        }
    }
}

impl Record for &Relationship {
    fn get(&self, path: &[String]) -> Option<Datum<'_>> {
        let [first, rest @ ..] = path else { return self.value(path, ApiVersion::LATEST).map(Datum::owned) };
        let text = match (first.as_str(), rest) {
            ("$relationshipId", []) => self.id.as_str(),
            ("$etag", []) => self.etag.as_str(),
            ("$sourceId", []) => self.source.as_str(),
            ("$relationshipName", []) => &self.name,
            ("$targetId", []) => self.target.as_str(),
            (name, rest) => return inside(self.properties.get(name)?, rest),
        };
        Some(Datum::Text(text.into()))
    }

    fn is_of_model(&self, _alias: Option<&str>, _model: &ModelId, _exact: bool, _models: &Models) -> bool {
        false
    }

    fn value(&self, path: &[String], _version: ApiVersion) -> Option<Value> {
        match path {
            [] => serde_json::to_value(self.wire()).ok(),
            path => self.get(path).map(Datum::into_value),
        }
    }
}
