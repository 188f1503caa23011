//! Which objects a condition can hold for at all, as far as the graph's indexes know.

use std::collections::{BTreeMap, BTreeSet};

use dtdl::ModelId;

use super::ast::{Comparison, Condition, Literal, Operand, Path};
use crate::digital_twins::{
    graph::{Graph, Incoming},
    id::{RelationshipId, TwinId},
    models::Models,
    relationship::Relationship,
    twin::Twin,
};

/// The twins that the condition can hold for, ordered by id; `None` where only looking at each one tells.
pub(crate) fn twins<'g>(condition: &Condition, graph: &'g Graph, models: &Models) -> Option<Vec<&'g Twin>> {
    let parts = candidates(condition, &|condition| twins_of(condition, graph, models))?;
    let ids: BTreeSet<&TwinId> = parts.into_iter().flat_map(Twins::ids).collect();
    Some(ids.into_iter().filter_map(|id| graph.twin(id.as_str())).collect())
}

/// The relationships that the condition can hold for, ordered by source and id; `None` where only looking at each
/// one tells.
pub(crate) fn relationships<'g>(condition: &Condition, graph: &'g Graph) -> Option<Vec<&'g Relationship>> {
    let parts = candidates(condition, &|condition| relationships_of(condition, graph))?;
    let keys: BTreeSet<(&TwinId, &RelationshipId)> = parts.into_iter().flat_map(Relationships::keys).collect();
    Some(keys.into_iter().filter_map(|(source, id)| graph.relationship(source.as_str(), id.as_str())).collect())
}

/// Some objects that an index names together.
trait Candidates {
    fn count(&self) -> usize;
}

/// The objects that a condition can hold for, from those of its parts that an index answers: of parts that must all
/// hold the one with the fewest objects, of alternatives all or none.
fn candidates<C: Candidates>(condition: &Condition, indexed: &impl Fn(&Condition) -> Option<Vec<C>>) -> Option<Vec<C>> {
    let parts = |conditions: &[Condition]| -> Vec<Option<Vec<C>>> {
        conditions.iter().map(|condition| candidates(condition, indexed)).collect()
    };
    match condition {
        Condition::And(conditions) => {
            let count = |part: &Vec<C>| part.iter().map(C::count).sum::<usize>();
            parts(conditions).into_iter().flatten().min_by_key(count)
        }
        Condition::Or(conditions) => {
            let all: Option<Vec<Vec<C>>> = parts(conditions).into_iter().collect();
            Some(all?.into_iter().flatten().collect())
        }
        condition => indexed(condition),
    }
}

enum Twins<'g> {
    One(&'g TwinId),
    Several(&'g BTreeSet<TwinId>),
}

impl Candidates for Twins<'_> {
    fn count(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Several(twins) => twins.len(),
        }
    }
}

impl<'g> Twins<'g> {
    fn ids(self) -> impl Iterator<Item = &'g TwinId> {
        let (one, several) = match self {
            Self::One(twin) => (Some(twin), None),
            Self::Several(twins) => (None, Some(twins)),
        };
        one.into_iter().chain(several.into_iter().flatten())
    }
}

fn twins_of<'g>(condition: &Condition, graph: &'g Graph, models: &Models) -> Option<Vec<Twins<'g>>> {
    if let Condition::IsOfModel { model, exact, .. } = condition {
        let fits = |of_twins: &ModelId| if *exact { of_twins == model } else { models.is_a(of_twins, model) };
        let sets = graph.twins_by_model().iter().filter(|(of_twins, _)| fits(of_twins));
        return Some(sets.map(|(_, twins)| Twins::Several(twins)).collect());
    }
    let OneOf { path: [name], texts } = OneOf::from(condition)? else { return None };
    match name.as_str() {
        "$dtId" => Some(texts.into_iter().filter_map(|id| graph.twin(id)).map(|twin| Twins::One(&twin.id)).collect()),
        name if name.starts_with('$') => None,
        name => {
            let sets = texts.into_iter().filter_map(|text| graph.twins_with(name, text));
            Some(sets.map(Twins::Several).collect())
        }
    }
}

enum Relationships<'g> {
    From(&'g BTreeMap<RelationshipId, Relationship>),
    To(&'g BTreeSet<Incoming>),
}

impl Candidates for Relationships<'_> {
    fn count(&self) -> usize {
        match self {
            Self::From(siblings) => siblings.len(),
            Self::To(ends) => ends.len(),
        }
    }
}

impl<'g> Relationships<'g> {
    fn keys(self) -> impl Iterator<Item = (&'g TwinId, &'g RelationshipId)> {
        let (from, to) = match self {
            Self::From(siblings) => (Some(siblings), None),
            Self::To(ends) => (None, Some(ends)),
        };
        let from = from.into_iter().flat_map(BTreeMap::values).map(|one| (&one.source, &one.id));
        from.chain(to.into_iter().flatten().map(|(id, source)| (source, id)))
    }
}

fn relationships_of<'g>(condition: &Condition, graph: &'g Graph) -> Option<Vec<Relationships<'g>>> {
    let OneOf { path: [name], texts } = OneOf::from(condition)? else { return None };
    let texts = texts.into_iter();
    match name.as_str() {
        "$sourceId" => Some(texts.filter_map(|id| graph.outgoing(id)).map(Relationships::From).collect()),
        "$targetId" => Some(texts.filter_map(|id| graph.incoming(id)).map(Relationships::To).collect()),
        _ => None,
    }
}

/// What a condition says that asks whether something is one of some texts.
pub(super) struct OneOf<'c> {
    pub(super) path: &'c [String],
    pub(super) texts: Vec<&'c str>,
}

impl<'c> OneOf<'c> {
    pub(super) fn from(condition: &'c Condition) -> Option<Self> {
        let (Path(path), literals): (_, Vec<&Literal>) = match condition {
            Condition::Compare(Operand::Path(path), Comparison::Equal, Operand::Literal(literal))
            | Condition::Compare(Operand::Literal(literal), Comparison::Equal, Operand::Path(path)) => {
                (path, vec![literal])
            }
            Condition::In { operand: Operand::Path(path), negated: false, list } => (path, list.iter().collect()),
            _ => return None,
        };
        let text = |literal: &'c Literal| match literal {
            Literal::String(text) => Some(text.as_str()),
            _ => None,
        };
        Some(Self { path, texts: literals.into_iter().map(text).collect::<Option<_>>()? })
    }
}
