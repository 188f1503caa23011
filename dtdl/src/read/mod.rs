//! From a JSON document to an interface.

mod bounds;
mod contents;
mod element;
mod interface;
mod literal;
mod schema;

pub(crate) use bounds::MAX_TEXT;
pub(crate) use interface::read_interface;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::context::Context;
use crate::error::{Error, Fault};
use crate::model_id::ModelId;
use crate::place::Place;
use schema::Reading;

/// What is known of a document while it is read.
struct Document<'v> {
    /// Every `@id` met.
    ids: BTreeSet<ModelId>,
    /// Elements met; each costs the document at least a few bytes, so its size bounds this.
    elements: usize,
    /// The interface's reusable schemas, read when first referred to.
    schemas: BTreeMap<ModelId, Reusable<'v>>,
}

/// One of the interface's reusable schemas.
struct Reusable<'v> {
    value: &'v Value,
    /// Its index in `schemas`, where that is an array.
    index: Option<usize>,
    state: State,
}

enum State {
    Unread,
    /// Being read: whoever asks for it now is inside it.
    Open,
    Read(Reading),
}

impl Document<'_> {
    fn claim(&mut self, id: &ModelId, place: &Place<'_>) -> Result<(), Error> {
        if self.ids.insert(id.clone()) { Ok(()) } else { Err(place.error(Fault::DuplicateId(id.clone()))) }
    }
}

/// Where an element stands: everything its reader needs but the element itself.
#[derive(Clone, Copy)]
struct Site<'p> {
    place: &'p Place<'p>,
    context: Context,
}
