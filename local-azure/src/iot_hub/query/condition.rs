//! Conditions, and whether they hold for a twin.

use std::cmp::Ordering;

use serde_json::Value;

/// A member of a twin: `tags.site`, `properties.desired.a.b`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Path(pub(super) Vec<String>);

impl Path {
    /// The value there, if there is one.
    pub(super) fn of<'t>(&self, twin: &'t Value) -> Option<&'t Value> {
        self.0.iter().try_fold(twin, |value, name| value.as_object()?.get(name))
    }
}

#[derive(Debug, PartialEq)]
pub(super) enum Operand {
    Value(Value),
    Path(Path),
    IsDefined(Path),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, PartialEq)]
pub(super) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Is(Operand),
    Compare(Operand, Comparison, Operand),
    Among(Operand, Vec<Operand>),
}

impl Condition {
    /// Whether it holds. What is said of a member that is not there neither holds nor does its contrary.
    pub(super) fn holds(&self, twin: &Value) -> bool {
        self.truth(twin) == Some(true)
    }

    /// `None` where it can be neither true nor false.
    fn truth(&self, twin: &Value) -> Option<bool> {
        match self {
            Self::Not(condition) => condition.truth(twin).map(|truth| !truth),
            Self::All(conditions) => decide(conditions, twin, false),
            Self::Any(conditions) => decide(conditions, twin, true),
            Self::Is(operand) => operand.value(twin)?.as_bool(),
            Self::Compare(left, comparison, right) => comparison.of(&left.value(twin)?, &right.value(twin)?),
            Self::Among(operand, values) => {
                let found = operand.value(twin)?;
                Some(values.iter().filter_map(|value| value.value(twin)).any(|value| equal(&found, &value)))
            }
        }
    }
}

/// `decisive` as soon as one is that; unknown if one is unknown; else the contrary.
fn decide(conditions: &[Condition], twin: &Value, decisive: bool) -> Option<bool> {
    let mut known = true;
    for condition in conditions {
        match condition.truth(twin) {
            Some(truth) if truth == decisive => return Some(decisive),
            Some(_) => {}
            None => known = false,
        }
    }
    known.then_some(!decisive)
}

impl Operand {
    fn value(&self, twin: &Value) -> Option<Value> {
        match self {
            Self::Value(value) => Some(value.clone()),
            Self::Path(path) => path.of(twin).cloned(),
            Self::IsDefined(path) => Some(path.of(twin).is_some().into()),
        }
    }
}

impl Comparison {
    /// Values of different kinds are unequal and in no order.
    fn of(self, left: &Value, right: &Value) -> Option<bool> {
        match self {
            Self::Equal => Some(equal(left, right)),
            Self::Unequal => Some(!equal(left, right)),
            Self::Less => order(left, right).map(Ordering::is_lt),
            Self::LessOrEqual => order(left, right).map(Ordering::is_le),
            Self::Greater => order(left, right).map(Ordering::is_gt),
            Self::GreaterOrEqual => order(left, right).map(Ordering::is_ge),
        }
    }
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

/// One and 1.0 are equal, also within lists.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        _ => left == right || order(left, right) == Some(Ordering::Equal),
    }
}
