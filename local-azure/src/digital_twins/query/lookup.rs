//! Which objects a condition can hold for at all, as far as the graph's indexes know.

use std::collections::BTreeSet;

use dtdl::ModelId;

use super::ast::{Comparison, Condition, Literal, Operand, Path};
use crate::digital_twins::{
    graph::Graph,
    id::{RelationshipId, TwinId},
    models::Models,
    relationship::Relationship,
    twin::Twin,
};

/// A condition that asks whether a path has one of some texts.
struct OneOf<'c> {
    path: &'c [String],
    texts: Vec<&'c str>,
}

impl<'c> OneOf<'c> {
    fn from(condition: &'c Condition) -> Option<Self> {
        let (path, literals): (_, Vec<&Literal>) = match condition {
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
        let Path(path) = path;
        Some(Self { path, texts: literals.into_iter().map(text).collect::<Option<_>>()? })
    }
}

/// The objects that a condition can hold for, from those of its parts that an index answers: of parts that must all
/// hold the first that is answered, of alternatives all or none.
fn candidates<T: Ord>(
    condition: &Condition,
    indexed: &impl Fn(&Condition) -> Option<BTreeSet<T>>,
) -> Option<BTreeSet<T>> {
    match condition {
        Condition::And(conditions) => conditions.iter().find_map(|condition| candidates(condition, indexed)),
        Condition::Or(conditions) => {
            let sets: Option<Vec<_>> = conditions.iter().map(|condition| candidates(condition, indexed)).collect();
            Some(sets?.into_iter().flatten().collect())
        }
        condition => indexed(condition),
    }
}

/// The twins that the condition can hold for, ordered by id; `None` where only looking at each one tells.
pub(crate) fn twins<'g>(condition: &Condition, graph: &'g Graph, models: &Models) -> Option<Vec<&'g Twin>> {
    let by_text = |condition: &Condition| {
        let OneOf { path, texts } = OneOf::from(condition)?;
        let [name] = path else { return None };
        match name.as_str() {
            "$dtId" => Some(texts.into_iter().filter_map(|id| graph.twin(id)).map(|twin| &twin.id).collect()),
            name if name.starts_with('$') => None,
            name => Some(texts.into_iter().filter_map(|text| graph.twins_with(name, text)).flatten().collect()),
        }
    };
    let by_model = |condition: &Condition| {
        let Condition::IsOfModel { model, exact, .. } = condition else { return by_text(condition) };
        let fits = |of_twins: &ModelId| if *exact { of_twins == model } else { models.is_a(of_twins, model) };
        let sets = graph.twins_by_model().iter().filter(|(of_twins, _)| fits(of_twins));
        Some(sets.flat_map(|(_, twins)| twins).collect())
    };
    // A model may have very many twins: it is asked only where no text is.
    let ids: BTreeSet<&TwinId> = candidates(condition, &by_text).or_else(|| candidates(condition, &by_model))?;
    Some(ids.into_iter().filter_map(|id| graph.twin(id.as_str())).collect())
}

/// The relationships that the condition can hold for, ordered by source and id; `None` where only looking at each
/// one tells.
pub(crate) fn relationships<'g>(condition: &Condition, graph: &'g Graph) -> Option<Vec<&'g Relationship>> {
    let by_end = |condition: &Condition| -> Option<BTreeSet<(&'g TwinId, &'g RelationshipId)>> {
        let OneOf { path, texts } = OneOf::from(condition)?;
        let [name] = path else { return None };
        match name.as_str() {
            "$sourceId" => {
                let outgoing = texts.into_iter().filter_map(|source| graph.outgoing(source));
                Some(outgoing.flat_map(|siblings| siblings.values()).map(|one| (&one.source, &one.id)).collect())
            }
            "$targetId" => {
                let incoming = texts.into_iter().filter_map(|target| graph.incoming(target));
                Some(incoming.flatten().map(|(id, source)| (source, id)).collect())
            }
            _ => None,
        }
    };
    let keys = candidates(condition, &by_end)?;
    Some(keys.into_iter().filter_map(|(source, id)| graph.relationship(source.as_str(), id.as_str())).collect())
}
