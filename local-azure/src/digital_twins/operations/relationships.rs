//! Operations on relationships.

use std::ops::Bound;

use serde::Serialize;
use serde_json::Value;

use super::{IfMatch, Put, twins::twin};
use crate::digital_twins::{
    DigitalTwins,
    error::Error,
    graph::{Graph, GraphChange},
    id::{ETag, RelationshipId, TwinId},
    json_patch::Operation,
    patch,
    relationship::Relationship,
    state::Step,
    validation,
};

/// How many relationships the service returns on a page, as recorded.
const PAGE: usize = 10;
/// Azure Digital Twins service limits: relationships of a twin, in each direction.
const MAX_RELATIONSHIPS: usize = 50_000;

/// A page of relationships, each as `look` made it, and the id of the last one where more follow.
#[derive(Debug)]
pub(crate) struct ListedRelationships<T> {
    pub(crate) relationships: Vec<T>,
    pub(crate) last: Option<(RelationshipId, TwinId)>,
}

/// What a target knows of a relationship that ends at it.
#[derive(Debug, Serialize)]
pub(crate) struct IncomingRelationship {
    #[serde(rename = "$relationshipId")]
    pub(crate) id: RelationshipId,
    #[serde(rename = "$sourceId")]
    pub(crate) source: TwinId,
    #[serde(rename = "$relationshipName")]
    pub(crate) name: String,
}

impl DigitalTwins {
    /// Looks at a relationship.
    ///
    /// # Errors
    /// [`Error::TwinNotFound`], [`Error::RelationshipNotFound`].
    pub(crate) fn with_relationship<T>(
        &self,
        source: &TwinId,
        id: &RelationshipId,
        look: impl FnOnce(&Relationship) -> T,
    ) -> Result<T, Error> {
        self.store.read(|state| relationship(&state.graph, source, id).map(look))
    }

    /// Creates or replaces a relationship. Ids in the body are ignored.
    ///
    /// # Errors
    /// [`Error::InvalidRelationshipBody`] without a name or a target; [`Error::TwinNotFound`],
    /// [`Error::TargetNotFound`]; [`Error::RelationshipExists`] where only a new one was wanted; where it does not fit
    /// the source's model.
    pub(crate) fn put_relationship(
        &self,
        source: &TwinId,
        id: &RelationshipId,
        body: Value,
        put: Put,
    ) -> Result<Relationship, Error> {
        let relationship = read(source, id, body)?;
        self.change(|state, _now| {
            let source = twin(&state.graph, source)?;
            let present = state.graph.relationship(source.id.as_str(), id.as_str());
            if put == Put::CreateOnly && present.is_some() {
                return Err(Error::RelationshipExists(id.clone()));
            }
            let target = state.graph.twin(relationship.target.as_str()).ok_or(Error::TargetNotFound)?;
            validation::relationship(&relationship, source, target, &state.models)?;
            if present.is_none() {
                check_room(&state.graph, &relationship)?;
            }
            Ok((vec![Step::Graph(GraphChange::PutRelationship(Box::new(relationship.clone())))], relationship))
        })
    }

    /// Patches the properties of a relationship; its new version.
    ///
    /// # Errors
    /// [`Error::TwinNotFound`], [`Error::RelationshipNotFound`], [`Error::ETagMismatch`]; whatever is wrong with the
    /// patch, or with the relationship after it.
    pub(crate) fn patch_relationship(
        &self,
        source: &TwinId,
        id: &RelationshipId,
        operations: &[Operation],
        condition: &IfMatch,
    ) -> Result<ETag, Error> {
        self.change(|state, _now| {
            let before = relationship(&state.graph, source, id)?;
            condition.check(&before.etag)?;
            let etag = ETag::fresh();
            let mut after = Relationship { etag: etag.clone(), ..before.clone() };
            patch::relationship(&mut after.properties, operations)?;
            let target = state.graph.twin(after.target.as_str()).ok_or(Error::TargetNotFound)?;
            validation::relationship(&after, twin(&state.graph, source)?, target, &state.models)?;
            Ok((vec![Step::Graph(GraphChange::PutRelationship(Box::new(after)))], etag))
        })
    }

    /// Deletes a relationship.
    ///
    /// # Errors
    /// [`Error::TwinNotFound`], [`Error::RelationshipNotFound`], [`Error::ETagMismatch`].
    pub(crate) fn delete_relationship(
        &self,
        source: &TwinId,
        id: &RelationshipId,
        condition: &IfMatch,
    ) -> Result<(), Error> {
        self.change(|state, _now| {
            condition.check(&relationship(&state.graph, source, id)?.etag)?;
            Ok((vec![Step::Graph(GraphChange::DeleteRelationship(source.clone(), id.clone()))], ()))
        })
    }

    /// A page of the relationships that begin at a twin, of one name or of any, ordered by id.
    ///
    /// # Errors
    /// [`Error::TwinNotFound`].
    pub(crate) fn list_relationships(
        &self,
        source: &TwinId,
        name: Option<&str>,
        after: Option<&RelationshipId>,
    ) -> Result<ListedRelationships<Relationship>, Error> {
        self.store.read(|state| {
            twin(&state.graph, source)?;
            let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
            let siblings = state.graph.outgoing(source.as_str()).into_iter();
            let siblings = siblings.flat_map(|siblings| siblings.range::<RelationshipId, _>(range));
            let mut wanted =
                siblings.map(|(_, one)| one).filter(|one| name.is_none_or(|name| one.name == name)).cloned();
            Ok(page(&mut wanted, |one| (one.id.clone(), one.source.clone())))
        })
    }

    /// A page of the relationships that end at a twin, ordered by id and source.
    ///
    /// # Errors
    /// [`Error::TwinNotFound`].
    pub(crate) fn list_incoming_relationships(
        &self,
        target: &TwinId,
        after: Option<&(RelationshipId, TwinId)>,
    ) -> Result<ListedRelationships<IncomingRelationship>, Error> {
        self.store.read(|state| {
            twin(&state.graph, target)?;
            let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
            let ends = state.graph.incoming(target.as_str()).into_iter();
            let ends = ends.flat_map(|ends| ends.range::<(RelationshipId, TwinId), _>(range));
            let mut known = ends.filter_map(|(id, source)| {
                let name = state.graph.relationship(source.as_str(), id.as_str())?.name.clone();
                Some(IncomingRelationship { id: id.clone(), source: source.clone(), name })
            });
            Ok(page(&mut known, |one| (one.id.clone(), one.source.clone())))
        })
    }
}

fn page<T>(
    relationships: &mut impl Iterator<Item = T>,
    key: impl Fn(&T) -> (RelationshipId, TwinId),
) -> ListedRelationships<T> {
    let page: Vec<T> = relationships.by_ref().take(PAGE).collect();
    let last = relationships.next().and_then(|_| page.last()).map(key);
    ListedRelationships { relationships: page, last }
}

fn relationship<'g>(graph: &'g Graph, source: &TwinId, id: &RelationshipId) -> Result<&'g Relationship, Error> {
    let source = &twin(graph, source)?.id;
    let found = graph.relationship(source.as_str(), id.as_str());
    found.ok_or_else(|| Error::RelationshipNotFound { id: id.clone(), source_id: source.clone() })
}

fn read(source: &TwinId, id: &RelationshipId, body: Value) -> Result<Relationship, Error> {
    let Value::Object(mut members) = body else { return Err(Error::InvalidRelationshipBody) };
    let mut text = |name| match members.shift_remove(name) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(Error::InvalidRelationshipBody),
    };
    let name = text("$relationshipName")?;
    let target = text("$targetId")?.parse().map_err(|_| Error::TargetNotFound)?;
    for ignored in ["$relationshipId", "$sourceId", "$etag"] {
        members.shift_remove(ignored);
    }
    Ok(Relationship { id: id.clone(), source: source.clone(), name, target, etag: ETag::fresh(), properties: members })
}

fn check_room(graph: &Graph, relationship: &Relationship) -> Result<(), Error> {
    let outgoing = graph.outgoing(relationship.source.as_str()).map_or(0, |siblings| siblings.len());
    let incoming = graph.incoming(relationship.target.as_str()).map_or(0, |ends| ends.len());
    if outgoing.max(incoming) < MAX_RELATIONSHIPS {
        return Ok(());
    }
    Err(Error::LimitExceeded { what: "The number of relationships of a twin", limit: MAX_RELATIONSHIPS })
}
