//! Azure Digital Twins: the data plane of one instance.
//!
//! [`DigitalTwins`] is the instance, [`router`] its HTTP interface. Events are not sent: event routes are kept and
//! lead nowhere.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `http` | requests into operations, results into answers |
//! | `operations` | each operation: look, decide, hand over changes |
//! | `document`, `patch`, `validation` | what a write makes of a twin, and whether that is allowed |
//! | `state`, `graph`, `models`, `view` | the state and its indexes; what queries see of it |
//! | `query` | the query language |
//! | `event_route`, `job` | event routes with their filters; import and delete jobs |

mod document;
mod error;
mod event_route;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod graph;
mod http;
mod id;
mod job;
mod json_patch;
mod models;
mod operations;
mod patch;
mod query;
mod relationship;
mod state;
mod time;
mod twin;
mod validation;
mod version;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

pub use self::{
    error::{Error, FilterFault, PatchFault, QueryFault, RefusedPart},
    http::{operations, router},
    id::{ETag, InvalidId, JobId, RelationshipId, RouteId, TwinId},
    state::{Change, State, Touched},
};
use self::{
    graph::{Graph, GraphChange},
    models::Models,
    operations::Put,
    state::Step,
    version::ApiVersion,
    view::DelayedView,
};
use crate::{
    clock::Clock,
    gate::{Caller, Gate},
    store::Store,
};

/// Says whose a bearer token is; `None` if it may not use the instance.
pub type TokenCheck = Arc<dyn Fn(&str) -> Option<Caller> + Send + Sync>;

/// How an instance is set up.
pub struct Options {
    /// Where `lastUpdateTime` and `uploadTime` come from.
    pub clock: Clock,
    /// What every request passes.
    pub gate: Arc<Gate>,
    /// Who may use the instance.
    pub accepts_token: TokenCheck,
    /// How late queries see a write. Reading by id is never late.
    pub query_lag: SignedDuration,
    /// What endpoints event routes may lead to.
    pub endpoints: BTreeSet<String>,
    /// What is there at the start.
    pub store: Store<State>,
    /// The scheme of the links in answers; the host is the one that a request names.
    pub scheme: Scheme,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("query_lag", &self.query_lag).finish_non_exhaustive()
    }
}

/// How clients reach the instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scheme {
    /// Behind TLS, as in Azure.
    #[default]
    Https,
    /// In the clear.
    Http,
}

/// An Azure Digital Twins instance.
pub struct DigitalTwins {
    store: Store<State>,
    /// `None` where queries see writes at once.
    delayed: Option<DelayedView>,
    clock: Clock,
    gate: Arc<Gate>,
    accepts_token: TokenCheck,
    endpoints: BTreeSet<String>,
    scheme: Scheme,
}

impl fmt::Debug for DigitalTwins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigitalTwins").field("twins", &self.twin_count()).finish_non_exhaustive()
    }
}

impl DigitalTwins {
    /// Sets up an instance.
    pub fn new(options: Options) -> Arc<Self> {
        let Options { clock, gate, accepts_token, query_lag, endpoints, store, scheme } = options;
        let begin = || store.read(|state| DelayedView::new(state.graph.clone(), query_lag));
        let delayed = query_lag.is_positive().then(begin);
        Arc::new(Self { store, delayed, clock, gate, accepts_token, endpoints, scheme })
    }

    /// The twin of that id as clients of the newest version get it.
    pub fn twin(&self, id: &str) -> Option<Value> {
        self.store.read(|state| serde_json::to_value(state.graph.twin(id)?.wire(ApiVersion::LATEST)).ok())
    }

    /// How many twins there are.
    pub fn twin_count(&self) -> usize {
        self.store.read(|state| state.graph.twin_count())
    }

    /// How many relationships there are.
    pub fn relationship_count(&self) -> usize {
        self.store.read(|state| state.graph.relationship_count())
    }

    /// How many models there are.
    pub fn model_count(&self) -> usize {
        self.store.read(|state| state.models.len())
    }

    /// Adds models (DTDL interfaces), all or none.
    ///
    /// # Errors
    /// As a `POST /models` would answer.
    pub fn upload_models(&self, models: &[Value]) -> Result<(), Error> {
        self.add_models(models).map(drop)
    }

    /// Creates or replaces the twins and relationships of a graph:
    /// `{"twins": [{"$dtId", "$metadata": {"$model"}, ...}], "relationships": [{"$relationshipId", "$sourceId",
    /// "$targetId", "$relationshipName", ...}]}`. Either list may be missing.
    ///
    /// # Errors
    /// The first twin or relationship that is refused, and why; what came before it stays.
    pub fn load_graph(&self, graph: &Value) -> Result<(), RefusedPart> {
        let list = |name: &str| graph.get(name).and_then(Value::as_array).into_iter().flatten();
        for (index, twin) in list("twins").enumerate() {
            self.load_twin(twin).map_err(|error| refused("twin", index, twin.get("$dtId"), error))?;
        }
        for (index, relationship) in list("relationships").enumerate() {
            let id = relationship.get("$relationshipId");
            self.load_relationship(relationship).map_err(|error| refused("relationship", index, id, error))?;
        }
        Ok(())
    }

    fn load_twin(&self, twin: &Value) -> Result<(), Error> {
        let id = text(twin, "$dtId")?.parse()?;
        self.put_twin(&id, twin.clone(), Put::CreateOrReplace, ApiVersion::LATEST).map(drop)
    }

    fn load_relationship(&self, relationship: &Value) -> Result<(), Error> {
        let (source, id) = (text(relationship, "$sourceId")?, text(relationship, "$relationshipId")?);
        let (source, id) = (source.parse()?, id.parse()?);
        self.put_relationship(&source, &id, relationship.clone(), Put::CreateOrReplace).map(drop)
    }

    /// Forgets all models, twins, relationships, event routes and jobs.
    pub fn clear(&self) {
        let cleared: Result<(), Error> = self.change(|_state, _now| Ok((vec![Step::Clear], ())));
        debug_assert!(cleared.is_ok(), "clearing is never refused");
    }

    /// Forgets everything and holds the models, twins and relationships of another instance, in one decision: nobody
    /// finds less, and nobody's request gets in between. Queries see them at once.
    pub(crate) fn begin_anew(&self, start: &Self) {
        let steps = start.store.read(|start| {
            let models = start.models.by_id().values().cloned().collect();
            let twins = start.graph.twins().values().cloned().map(Box::new).map(GraphChange::PutTwin);
            let relationships = start.graph.relationships().values().flat_map(BTreeMap::values).cloned();
            let relationships = relationships.map(Box::new).map(GraphChange::PutRelationship);
            let graph = twins.chain(relationships).map(Step::Graph);
            [Step::Clear, Step::AddModels(models)].into_iter().chain(graph).collect()
        });
        let begun: Result<(), Error> = self.change(|_state, _now| Ok((steps, ())));
        debug_assert!(begun.is_ok(), "beginning anew is never refused");
        self.show_to_queries();
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Shows what happens to twins and relationships from now on to `observer`, and when everything is forgotten:
    /// `None`.
    pub fn observe(&self, observer: impl Fn(Option<Touched>) + Send + Sync + 'static) {
        self.store.observe(move |state, change| match change.touched(state) {
            Some(touched) => observer(Some(touched)),
            None if change.clears() => observer(None),
            None => {}
        });
    }

    /// Lets queries see at once what is there now, whatever their lag.
    pub fn show_to_queries(&self) {
        if let Some(delayed) = &self.delayed {
            self.store.read(|state| delayed.begin_anew(state.graph.clone()));
        }
    }

    /// Looks at the whole state, for instance to write it down.
    pub fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.store.read(look)
    }

    /// Decides on the state at one time and carries out what was decided, also in what queries see.
    fn change<T>(&self, decide: impl FnOnce(&State, Timestamp) -> Result<(Vec<Step>, T), Error>) -> Result<T, Error> {
        self.store.change(|state| {
            let now = time::whole_ticks(self.clock.now());
            let (steps, answer) = decide(state, now)?;
            // The state is locked: the view gets the changes in the order in which they happen.
            if let Some(delayed) = &self.delayed {
                for step in &steps {
                    match step {
                        Step::Graph(change) => delayed.note(change.clone(), now),
                        Step::Clear | Step::DeleteAll(_) => delayed.clear(),
                        Step::AddModels(_)
                        | Step::SetDecommissioned(..)
                        | Step::DeleteModel(_)
                        | Step::PutRoute(_)
                        | Step::DeleteRoute(_)
                        | Step::PutImportJob(_)
                        | Step::DeleteImportJob(_) => {}
                    }
                }
            }
            Ok((steps.into_iter().map(Change).collect(), answer))
        })
    }

    /// Looks at what queries see: all models, and the graph, late where that is wanted.
    fn see<T>(&self, look: impl FnOnce(&Models, &Graph) -> T) -> T {
        self.store.read(|state| match &self.delayed {
            Some(delayed) => delayed.read(self.clock.now(), |graph| look(&state.models, graph)),
            None => look(&state.models, &state.graph),
        })
    }
}

fn text<'v>(object: &'v Value, name: &str) -> Result<&'v str, Error> {
    let text = object.get(name).and_then(Value::as_str);
    text.ok_or_else(|| Error::InvalidArgument(format!("{name} is missing.")))
}

/// Names a part of a graph by its id, or by its place where it has none.
fn refused(kind: &str, index: usize, id: Option<&Value>, error: Error) -> RefusedPart {
    let part = match id.and_then(Value::as_str) {
        Some(id) => format!("{kind} {id}"),
        None => format!("{kind} number {}", index + 1),
    };
    RefusedPart { part, error }
}
