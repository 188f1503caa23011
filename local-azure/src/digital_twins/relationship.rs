//! Relationships.

use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

use super::id::{ETag, RelationshipId, TwinId};

/// A named edge from one twin to another, with properties of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Relationship {
    pub(crate) id: RelationshipId,
    pub(crate) source: TwinId,
    pub(crate) name: String,
    pub(crate) target: TwinId,
    pub(crate) etag: ETag,
    pub(crate) properties: Map<String, Value>,
}

impl Relationship {
    /// The relationship as clients see it: ids first, then its properties, no `$metadata`.
    pub(crate) fn wire(&self) -> impl Serialize + '_ {
        Wire(self)
    }
}

struct Wire<'a>(&'a Relationship);

impl Serialize for Wire<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let relationship = self.0;
        let mut map = serializer.serialize_map(Some(5 + relationship.properties.len()))?;
        map.serialize_entry("$relationshipId", &relationship.id)?;
        map.serialize_entry("$etag", &relationship.etag)?;
        map.serialize_entry("$sourceId", &relationship.source)?;
        map.serialize_entry("$relationshipName", &relationship.name)?;
        map.serialize_entry("$targetId", &relationship.target)?;
        for (name, value) in &relationship.properties {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
