//! A mapping: where in a message the value of a property is, for devices that do not name members as the model does.
//!
//! The file is described in `docs/mapping.md`. Its form is checked when it is read ([`Mapping::read`]), what it says
//! about a model once that model is known ([`Mapping::check`]).

mod check;
mod file;
mod unit;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

use dtdl::{ModelId, ModelSet};
use serde_json::{Map, Value};

pub use check::{Fault, Trouble};
pub use file::MappingError;

use self::unit::Unit;
use crate::digital_twins::PropertyPath;

/// Rules by the model that they are for. The default has none: members are properties by their names alone.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mapping {
    rules: BTreeMap<ModelId, Vec<Rule>>,
}

/// From where in a message to which property.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    from: Pointer,
    to: PropertyPath,
    unit: Option<Unit>,
}

/// A JSON pointer (RFC 6901) to something inside of a message: one reference token or more.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pointer(Vec<Box<str>>);

/// What a mapping makes of a message.
#[derive(Debug, PartialEq)]
pub(super) struct Mapped<'m> {
    /// Values by the property that they are for. A value that its unit does not fit says why.
    pub(super) values: Vec<(&'m PropertyPath, Result<Value, String>)>,
    /// The members that no rule took: they count by their names.
    pub(super) rest: Cow<'m, Map<String, Value>>,
}

impl Mapping {
    /// Whether there are no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The models that have rules of their own.
    pub fn models(&self) -> impl Iterator<Item = &ModelId> {
        self.rules.keys()
    }

    /// The rules for twins of `model`: its own and those of the models that it extends, of which the more special one
    /// decides about a property.
    fn of<'m>(&'m self, model: &ModelId, models: &ModelSet) -> Vec<&'m Rule> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut ancestors: Vec<&ModelId> = models.ancestors(model).filter(|id| self.rules.contains_key(id)).collect();
        // Who extends more is more special.
        ancestors.sort_by_key(|id| (Reverse(models.ancestors(id).count()), (*id).clone()));
        let mut said = HashSet::new();
        let sets = std::iter::once(model).chain(ancestors).filter_map(|id| self.rules.get(id));
        sets.flatten().filter(|rule| said.insert(&rule.to)).collect()
    }

    /// Whether a rule for `model` takes member `name` of a message, or something inside of it.
    pub(super) fn reads(&self, name: &str, model: &ModelId, models: &ModelSet) -> bool {
        self.of(model, models).iter().any(|rule| rule.from.0.first().is_some_and(|first| **first == *name))
    }

    /// What the rules for `model` make of the members of a message.
    pub(super) fn apply<'m>(
        &'m self,
        members: &'m Map<String, Value>,
        model: &ModelId,
        models: &ModelSet,
    ) -> Mapped<'m> {
        let mut values = Vec::new();
        let mut rest = Cow::Borrowed(members);
        for rule in self.of(model, models) {
            let Some(value) = rule.from.resolve(members) else { continue };
            let value = match &rule.unit {
                None => Ok(value.clone()),
                Some(unit) => unit.convert(value).map_err(|reason| format!("{} from {}: {reason}", rule.to, rule.from)),
            };
            values.push((&rule.to, value));
            rule.from.take_out_of(rest.to_mut());
        }
        Mapped { values, rest }
    }
}

impl Pointer {
    fn resolve<'v>(&self, members: &'v Map<String, Value>) -> Option<&'v Value> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(members.get(&**first)?, |value, token| match value {
            Value::Object(members) => members.get(&**token),
            Value::Array(items) => items.get(index(token)?),
            _ => None,
        })
    }

    /// Takes what it points to out of `members`, and what is empty then. An array goes as a whole: without one of its
    /// elements the others would be others.
    fn take_out_of(&self, members: &mut Map<String, Value>) {
        take(members, &self.0);
    }
}

fn take(members: &mut Map<String, Value>, tokens: &[Box<str>]) {
    let Some((first, rest)) = tokens.split_first() else { return };
    let is_used_up = match members.get_mut(&**first) {
        Some(Value::Object(inner)) if !rest.is_empty() => {
            take(inner, rest);
            inner.is_empty()
        }
        _ => true,
    };
    if is_used_up {
        members.shift_remove(&**first);
    }
}

/// An array index as RFC 6901 writes it: digits without leading zeros.
fn index(token: &str) -> Option<usize> {
    let is_written_so = token == "0" || !token.starts_with(['0', '+']);
    token.parse().ok().filter(|_| is_written_so)
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|token| write!(f, "/{}", token.replace('~', "~0").replace('/', "~1")))
    }
}

#[cfg(test)]
mod tests;
