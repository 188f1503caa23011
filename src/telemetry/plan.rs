//! What the messages of a batch change in one twin: pure, so that every rule can be tested by itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dtdl::{Contents, ModelId, ModelSet};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::body::kind;
use super::conversion;
use super::mapping::{Mapped, Mapping};
use crate::binding::{Stamp, is_bookkeeping};
use crate::dead_letter::{Code, Reason};
use crate::device::DeviceId;
use crate::digital_twins::{PropertyPath, TwinId};
use crate::outcome::{LeftOut, Outcome};

/// A source time that is further ahead of now than this is not believed: whoever wrote it had a wrong clock, and the
/// property would take nothing until then.
const BELIEVED_AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// How many unknown members of one twin's messages are remembered for warnings: devices choose their names.
const MAX_UNKNOWN: usize = 32;

/// How many values that do not fit are named in a dead letter's reason.
const MAX_REFUSED_NAMED: usize = 4;

/// A telemetry message that could be read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    /// Its place in the batch.
    pub(super) event: usize,
    /// Who sent it, by IoT Hub's word.
    pub(super) device: DeviceId,
    /// The twin that `dtId` names, which the device could have set: to be followed to its own twin only.
    pub(super) claim: Option<TwinId>,
    /// When it came.
    pub(super) stamp: Stamp,
    /// The component that it is about (`dt-subject`); none: the twin itself.
    pub(super) component: Option<String>,
    /// What it says.
    pub(super) members: Map<String, Value>,
}

/// The twin that messages are for, as far as it decides about them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    /// The twin's model.
    pub(super) model: &'a ModelId,
    /// Models, that one and all it needs among them.
    pub(super) models: &'a ModelSet,
    /// Where in messages the values of properties are that are not called like them.
    pub(super) mapping: &'a Mapping,
    /// How new the value of each property is. Only source times count: `lastUpdateTime` says when somebody wrote, not
    /// how old the value was. A property that is not in here takes anything.
    pub(super) stamps: &'a HashMap<PropertyPath, Stamp>,
    /// The time, to judge stored source times by.
    pub(super) now: Timestamp,
}

impl Target<'_> {
    /// How new the value of a property is, if that is to be believed.
    ///
    /// A source time that was read from the twin comes without sequence number, and so before any message of the same
    /// time: that one is written (again), which changes nothing if it is the same message.
    fn stamp(&self, path: &PropertyPath) -> Option<Stamp> {
        let stamp = self.stamps.get(path).copied();
        stamp.filter(|stamp| stamp.time.duration_since(self.now) <= BELIEVED_AHEAD)
    }
}

/// A value to write.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    pub(super) path: PropertyPath,
    pub(super) value: Value,
    pub(super) stamp: Stamp,
    /// The event that it comes from.
    pub(super) event: usize,
}

/// What the messages of a batch change in a twin, and what becomes of each of them once that is written.
#[derive(Debug, Default, PartialEq)]
pub(super) struct TwinPlan {
    /// At most one change a property, by path.
    pub(super) changes: Vec<Change>,
    /// One outcome a message, in the order of the messages.
    pub(super) outcomes: Vec<(usize, Outcome)>,
    /// Members that the model does not know: component and name.
    pub(super) unknown: BTreeSet<(Option<String>, String)>,
    /// How many members would have overwritten bookkeeping properties.
    pub(super) bookkeeping: usize,
}

/// Plans the changes that `messages` make in the twin that `target` is about.
///
/// Of each property the newest value wins: within the batch, and against what the twin took before. A message with a
/// value that does not fit becomes a dead letter, while its other values count.
pub(super) fn plan(messages: &[Message], target: Target<'_>) -> TwinPlan {
    let mut plan = TwinPlan::default();
    let reading = |message: &Message| Reading::of(&message.members, message.component.as_deref(), target);
    let readings: Vec<_> = messages.iter().map(reading).collect();
    let mut newest: BTreeMap<&PropertyPath, (Stamp, usize, &Value)> = BTreeMap::new();
    for (message, reading) in messages.iter().zip(&readings) {
        for (path, value) in &reading.values {
            let candidate = (message.stamp, message.event, value);
            let best = newest.entry(path).or_insert(candidate);
            if (candidate.0, candidate.1) > (best.0, best.1) {
                *best = candidate;
            }
        }
    }
    for (message, reading) in messages.iter().zip(&readings) {
        let counts = reading.values.iter().any(|(path, _)| {
            let is_newest = newest.get(path).is_some_and(|best| best.0 == message.stamp);
            is_newest && target.stamp(path).is_none_or(|last| last <= message.stamp)
        });
        plan.outcomes.push((message.event, reading.outcome(counts, target.model)));
        plan.bookkeeping += reading.bookkeeping;
        let room = MAX_UNKNOWN.saturating_sub(plan.unknown.len());
        plan.unknown.extend(reading.unknown.iter().take(room).cloned());
    }
    let news = newest.into_iter().filter(|(path, (stamp, ..))| target.stamp(path).is_none_or(|last| last < *stamp));
    plan.changes.extend(news.map(|(path, (stamp, event, value))| Change {
        path: path.clone(),
        value: value.clone(),
        stamp,
        event,
    }));
    plan
}

/// What one message says, in terms of the twin's model.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) values: Vec<(PropertyPath, Value)>,
    pub(super) refused: Vec<String>,
    pub(super) unknown: Vec<(Option<String>, String)>,
    bookkeeping: usize,
    model_is_missing: bool,
}

impl Reading {
    /// What `members` say about the twin itself, or about one of its components.
    pub(super) fn of(members: &Map<String, Value>, subject: Option<&str>, target: Target<'_>) -> Self {
        let mut reading = Self::default();
        let Some(contents) = target.models.contents(target.model) else {
            reading.model_is_missing = true;
            return reading;
        };
        let Some(name) = subject else {
            let Mapped { values, rest } = target.mapping.apply(members, target.model, target.models);
            reading.mapped(None, values, contents, target.models);
            reading.twin(&rest, contents, target.models);
            return reading;
        };
        let model = contents.components.get(name);
        let Some((model, component)) = model.and_then(|model| Some((model, target.models.contents(model)?))) else {
            reading.unknown.push((None, name.to_owned()));
            return reading;
        };
        let Mapped { values, rest } = target.mapping.apply(members, model, target.models);
        reading.mapped(Some(name), values, component, target.models);
        reading.component(name, &rest, component);
        reading
    }

    /// Values that the mapping found, for a twin or a component (`subject`) with `contents`. They come before those
    /// that are called like their properties, and so win against them.
    fn mapped(
        &mut self,
        subject: Option<&str>,
        values: Vec<(&PropertyPath, Result<Value, String>)>,
        contents: &Contents,
        models: &ModelSet,
    ) {
        for (path, value) in values {
            let value = match value {
                Ok(value) => value,
                Err(reason) => {
                    self.refused.push(reason);
                    continue;
                }
            };
            match path.component_name() {
                None => self.member(subject, path.property_name(), &value, contents),
                Some(name) => match component(contents, models, name) {
                    Some(contents) => self.member(Some(name), path.property_name(), &value, contents),
                    None => self.unknown.push((None, name.to_owned())),
                },
            }
        }
    }

    /// Members of a message about the twin itself. One that bears a component's name holds that component's members.
    fn twin(&mut self, members: &Map<String, Value>, contents: &Contents, models: &ModelSet) {
        for (name, value) in members {
            if is_bookkeeping(name) {
                self.bookkeeping += 1;
            } else if let Some(component) = component(contents, models, name) {
                match value {
                    Value::Object(members) => self.component(name, members, component),
                    other => self.refused.push(format!("{name:?} is a component, and {} came", kind(other))),
                }
            } else {
                self.member(None, name, value, contents);
            }
        }
    }

    fn component(&mut self, component: &str, members: &Map<String, Value>, contents: &Contents) {
        for (name, value) in members {
            self.member(Some(component), name, value, contents);
        }
    }

    fn member(&mut self, component: Option<&str>, name: &str, value: &Value, contents: &Contents) {
        let Some(property) = contents.properties.get(name) else {
            // What the model calls telemetry is known, and is no property.
            if !contents.telemetries.contains_key(name) {
                self.unknown.push((component.map(str::to_owned), name.to_owned()));
            }
            return;
        };
        let path = match component {
            None => PropertyPath::root(name),
            Some(component) => PropertyPath::component(component, name),
        };
        match conversion::fit(&property.schema, value) {
            Ok(value) => self.values.push((path, value.into_owned())),
            Err(mismatch) => self.refused.push(format!("{path}: {mismatch}")),
        }
    }

    /// What becomes of the message; `counts`: one of its values is, or stays, the newest of its property.
    pub(super) fn outcome(&self, counts: bool, model: &ModelId) -> Outcome {
        if self.model_is_missing {
            let detail =
                format!("the twin's model {model} is not in Azure Digital Twins; without it a twin takes nothing");
            Outcome::DeadLetter(Reason::new(Code::Model, detail))
        } else if !self.refused.is_empty() {
            let mut detail = self.refused.iter().take(MAX_REFUSED_NAMED).cloned().collect::<Vec<_>>().join("; ");
            if let Some(more) = self.refused.len().checked_sub(MAX_REFUSED_NAMED).filter(|more| *more > 0) {
                detail.push_str(&format!("; and {more} more"));
            }
            Outcome::DeadLetter(Reason::new(Code::Value, detail))
        } else if counts {
            Outcome::Applied
        } else if !self.values.is_empty() {
            Outcome::Superseded
        } else if self.bookkeeping > 0 {
            Outcome::LeftOut(LeftOut::Bookkeeping)
        } else {
            Outcome::LeftOut(LeftOut::NoProperty)
        }
    }
}

fn component<'a>(contents: &Contents, models: &'a ModelSet, name: &str) -> Option<&'a Contents> {
    contents.components.get(name).and_then(|model| models.contents(model))
}

#[cfg(test)]
mod tests;
