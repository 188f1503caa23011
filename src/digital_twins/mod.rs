//! Azure Digital Twins: the twins, and the client that reads and writes them.

mod client;
mod connect;
mod deferred;
mod error;
mod id;
mod models;
mod pace;
mod pages;
mod patch;
mod query;
mod twin;
mod usage;
mod wire;

pub use client::{Client, StoredModel};
pub use connect::ConnectError;
pub(crate) use connect::{credential, http_client};
pub use deferred::Preparation;
pub use error::Error;
pub use id::{Condition, ETag, InvalidId, RelationshipId, TwinId};
pub use patch::{MAX_PAYLOAD_BYTES, NewTwin, Patch, PropertyPath};
pub use query::{Filter, PropertyName, Query};
pub use twin::{Component, Creation, IncomingRelationship, Malformed, Relationship, Twin};
pub use usage::Usage;
pub(crate) use wire::chain;
