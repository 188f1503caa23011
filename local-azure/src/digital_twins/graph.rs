//! The twin graph: twins and relationships, with what is needed to find them without looking at all of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dtdl::ModelId;
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};

use super::{
    id::{RelationshipId, TwinId},
    relationship::Relationship,
    twin::Twin,
};

/// The end of a relationship as its target knows it: ordered by relationship id, then by source.
pub(crate) type Incoming = (RelationshipId, TwinId);

/// Twins and relationships. Written down as the two lists; the indexes are made anew when it is read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "Lists")]
pub(crate) struct Graph {
    twins: BTreeMap<TwinId, Twin>,
    outgoing: BTreeMap<TwinId, BTreeMap<RelationshipId, Relationship>>,
    incoming: BTreeMap<TwinId, BTreeSet<Incoming>>,
    relationship_count: usize,
    by_string: HashMap<String, HashMap<String, BTreeSet<TwinId>>>,
    by_model: BTreeMap<ModelId, BTreeSet<TwinId>>,
}

/// One step of the graph.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum GraphChange {
    /// Adds a twin, or replaces the one with its id.
    PutTwin(Box<Twin>),
    /// Drops a twin.
    DeleteTwin(TwinId),
    /// Adds a relationship, or replaces the one with its source and id.
    PutRelationship(Box<Relationship>),
    /// Drops a relationship.
    DeleteRelationship(TwinId, RelationshipId),
}

impl Graph {
    pub(crate) fn twin(&self, id: &str) -> Option<&Twin> {
        self.twins.get(id)
    }

    /// All twins, ordered by id.
    pub(crate) fn twins(&self) -> &BTreeMap<TwinId, Twin> {
        &self.twins
    }

    pub(crate) fn twin_count(&self) -> usize {
        self.twins.len()
    }

    pub(crate) fn relationship(&self, source: &str, id: &str) -> Option<&Relationship> {
        self.outgoing.get(source)?.get(id)
    }

    pub(crate) fn relationship_count(&self) -> usize {
        self.relationship_count
    }

    /// All relationships, by source.
    pub(crate) fn relationships(&self) -> &BTreeMap<TwinId, BTreeMap<RelationshipId, Relationship>> {
        &self.outgoing
    }

    /// The relationships that begin at a twin, ordered by id; `None` where there is none.
    pub(crate) fn outgoing(&self, source: &str) -> Option<&BTreeMap<RelationshipId, Relationship>> {
        self.outgoing.get(source)
    }

    /// The relationships that end at a twin; `None` where there is none.
    pub(crate) fn incoming(&self, target: &str) -> Option<&BTreeSet<Incoming>> {
        self.incoming.get(target)
    }

    /// Whether any relationship begins or ends at the twin.
    pub(crate) fn is_related(&self, twin: &str) -> bool {
        self.outgoing.contains_key(twin) || self.incoming.contains_key(twin)
    }

    /// The twins whose top-level property has that text; `None` where there is none.
    pub(crate) fn twins_with(&self, property: &str, text: &str) -> Option<&BTreeSet<TwinId>> {
        self.by_string.get(property)?.get(text)
    }

    /// The models that twins have, with those twins.
    pub(crate) fn twins_by_model(&self) -> &BTreeMap<ModelId, BTreeSet<TwinId>> {
        &self.by_model
    }

    pub(crate) fn apply(&mut self, change: GraphChange) {
        match change {
            GraphChange::PutTwin(twin) => self.put_twin(*twin),
            GraphChange::DeleteTwin(id) => self.delete_twin(&id),
            GraphChange::PutRelationship(relationship) => self.put_relationship(*relationship),
            GraphChange::DeleteRelationship(source, id) => self.delete_relationship(&source, &id),
        }
    }

    fn put_twin(&mut self, twin: Twin) {
        self.delete_twin(&twin.id);
        for (name, text) in twin.strings() {
            let texts = self.by_string.entry(name.to_owned()).or_default();
            texts.entry(text.to_owned()).or_default().insert(twin.id.clone());
        }
        self.by_model.entry(twin.model.clone()).or_default().insert(twin.id.clone());
        self.twins.insert(twin.id.clone(), twin);
    }

    fn delete_twin(&mut self, id: &TwinId) {
        let Some(twin) = self.twins.remove(id) else { return };
        for (name, text) in twin.strings() {
            let Some(texts) = self.by_string.get_mut(name) else { continue };
            if texts.get_mut(text).is_some_and(|twins| twins.remove(id) && twins.is_empty()) {
                texts.remove(text);
            }
            if texts.is_empty() {
                self.by_string.remove(name);
            }
        }
        if self.by_model.get_mut(&twin.model).is_some_and(|twins| twins.remove(id) && twins.is_empty()) {
            self.by_model.remove(&twin.model);
        }
    }

    fn put_relationship(&mut self, relationship: Relationship) {
        self.delete_relationship(&relationship.source, &relationship.id);
        let end = (relationship.id.clone(), relationship.source.clone());
        self.incoming.entry(relationship.target.clone()).or_default().insert(end);
        let siblings = self.outgoing.entry(relationship.source.clone()).or_default();
        siblings.insert(relationship.id.clone(), relationship);
        self.relationship_count += 1;
    }

    fn delete_relationship(&mut self, source: &TwinId, id: &RelationshipId) {
        let Some(siblings) = self.outgoing.get_mut(source) else { return };
        let Some(relationship) = siblings.remove(id) else { return };
        if siblings.is_empty() {
            self.outgoing.remove(source);
        }
        let end = (relationship.id, relationship.source);
        if self.incoming.get_mut(&relationship.target).is_some_and(|ends| ends.remove(&end) && ends.is_empty()) {
            self.incoming.remove(&relationship.target);
        }
        self.relationship_count -= 1;
    }
}

/// The graph as it is written down.
#[derive(Deserialize)]
struct Lists {
    twins: Vec<Twin>,
    relationships: Vec<Relationship>,
}

impl From<Lists> for Graph {
    fn from(lists: Lists) -> Self {
        let mut graph = Self::default();
        lists.twins.into_iter().for_each(|twin| graph.put_twin(twin));
        lists.relationships.into_iter().for_each(|relationship| graph.put_relationship(relationship));
        graph
    }
}

impl Serialize for Graph {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let relationships: Vec<&Relationship> = self.outgoing.values().flat_map(BTreeMap::values).collect();
        let mut lists = serializer.serialize_struct("Graph", 2)?;
        lists.serialize_field("twins", &self.twins.values().collect::<Vec<_>>())?;
        lists.serialize_field("relationships", &relationships)?;
        lists.end()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;
    use crate::digital_twins::id::ETag;

    fn twin(id: &str, text: &str) -> Twin {
        let mut twin =
            Twin::new(id.parse().unwrap(), "dtmi:com:example:Room;1".parse().unwrap(), Timestamp::UNIX_EPOCH);
        twin.content.set("Name", json!(text), Timestamp::UNIX_EPOCH);
        twin
    }

    fn relationship(source: &str, id: &str, target: &str) -> Relationship {
        Relationship {
            id: id.parse().unwrap(),
            source: source.parse().unwrap(),
            name: "contains".to_owned(),
            target: target.parse().unwrap(),
            etag: ETag::fresh(),
            properties: Map::new(),
        }
    }

    fn change() -> impl Strategy<Value = GraphChange> {
        let id = || prop::sample::select(vec!["a", "b", "c"]);
        prop_oneof![
            (id(), id()).prop_map(|(twin_id, text)| GraphChange::PutTwin(Box::new(twin(twin_id, text)))),
            id().prop_map(|id| GraphChange::DeleteTwin(id.parse().unwrap())),
            (id(), id(), id()).prop_map(|(source, id, target)| GraphChange::PutRelationship(Box::new(relationship(
                source, id, target
            )))),
            (id(), id())
                .prop_map(|(source, id)| GraphChange::DeleteRelationship(source.parse().unwrap(), id.parse().unwrap())),
        ]
    }

    proptest! {
        /// Whatever happened, the indexes say what the lists say: those of a graph that was written down and read
        /// again are made from the lists alone.
        #[test]
        fn indexes_agree_with_the_lists(changes in prop::collection::vec(change(), 0..60)) {
            let mut graph = Graph::default();
            changes.into_iter().for_each(|change| graph.apply(change));
            let again: Graph = serde_json::from_value(serde_json::to_value(&graph).unwrap()).unwrap();
            prop_assert_eq!(&graph.twins, &again.twins);
            prop_assert_eq!(&graph.outgoing, &again.outgoing);
            prop_assert_eq!(&graph.incoming, &again.incoming);
            prop_assert_eq!(&graph.by_string, &again.by_string);
            prop_assert_eq!(&graph.by_model, &again.by_model);
            prop_assert_eq!(graph.relationship_count, again.relationship_count);
        }
    }
}
