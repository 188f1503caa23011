//! Walking the ways of JOIN and MATCH.

use std::{collections::HashSet, ops::ControlFlow, ptr};

use dtdl::ModelId;
use serde_json::Value;

use super::{
    Ground,
    ast::{Condition, Direction},
    error::TooMuch,
    evaluate::{self, Datum, Record},
    route::{Leap, Route, Stage, Step},
};
use crate::digital_twins::{
    graph::Graph, id::TwinId, models::Models, relationship::Relationship, twin::Twin, version::ApiVersion,
};

/// How many twins and relationships one page of a query may look at. The service ends a query after 60 s
/// (`TimeoutError`); a number bounds memory too, and is the same on every machine.
pub(crate) const MAX_EXAMINED: usize = 1_000_000;

/// Whether to go on.
pub(super) type Flow = ControlFlow<Stop>;

/// Why a walk ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// There are rows enough.
    Enough,
    /// There was too much to look at.
    TooMuch,
}

/// Shows each row of a way once; how many objects had to be looked at.
///
/// # Errors
/// [`TooMuch`] where those are more than [`MAX_EXAMINED`].
pub(super) fn walk<'g>(
    route: &Route,
    ground: Ground<'g>,
    visit: &mut dyn FnMut(&Row<'_, 'g>) -> Flow,
) -> Result<usize, TooMuch> {
    let objects = vec![None; route.variables.len()];
    let row = Row { variables: &route.variables, objects };
    let mut walker = Walker { route, ground, row, walked: Vec::new(), seen: HashSet::new(), examined: 0, visit };
    match walker.start() {
        ControlFlow::Break(Stop::TooMuch) => Err(TooMuch),
        ControlFlow::Break(Stop::Enough) | ControlFlow::Continue(()) => Ok(walker.examined),
    }
}

/// What is found together.
#[derive(Debug)]
pub(super) struct Row<'r, 'g> {
    variables: &'r [Option<String>],
    objects: Vec<Option<Object<'g>>>,
}

#[derive(Debug, Clone, Copy)]
enum Object<'g> {
    Twin(&'g Twin),
    Relationship(&'g Relationship),
}

impl Object<'_> {
    /// Where it lies: no two objects of a graph lie in one place.
    fn address(self) -> usize {
        match self {
            Self::Twin(twin) => ptr::from_ref(twin).addr(),
            Self::Relationship(relationship) => ptr::from_ref(relationship).addr(),
        }
    }
}

impl Row<'_, '_> {
    fn object(&self, name: &str) -> Option<&Object<'_>> {
        let place = self.variables.iter().position(|variable| variable.as_deref() == Some(name))?;
        self.objects.get(place)?.as_ref()
    }
}

impl Record for Row<'_, '_> {
    fn get(&self, path: &[String]) -> Option<Datum<'_>> {
        let (name, rest) = path.split_first()?;
        match self.object(name)? {
            Object::Twin(twin) => twin.get(rest),
            Object::Relationship(relationship) => relationship.get(rest),
        }
    }

    fn is_of_model(&self, alias: Option<&str>, model: &ModelId, exact: bool, models: &Models) -> bool {
        match alias.and_then(|alias| self.object(alias)) {
            Some(Object::Twin(twin)) => twin.is_of_model(None, model, exact, models),
            Some(Object::Relationship(_)) | None => false,
        }
    }

    fn value(&self, path: &[String], version: ApiVersion) -> Option<Value> {
        let (name, rest) = path.split_first()?;
        match self.object(name)? {
            Object::Twin(twin) => twin.value(rest, version),
            Object::Relationship(relationship) => relationship.value(rest, version),
        }
    }
}

struct Walker<'w, 'g> {
    route: &'w Route,
    ground: Ground<'g>,
    row: Row<'w, 'g>,
    /// The relationships of the single hops so far.
    walked: Vec<&'g Relationship>,
    /// The rows shown, by the places of their objects: ways apart from each other can find the same.
    seen: HashSet<Box<[usize]>>,
    examined: usize,
    visit: &'w mut dyn FnMut(&Row<'_, 'g>) -> Flow,
}

impl<'g> Walker<'_, 'g> {
    fn start(&mut self) -> Flow {
        let start = &self.route.start;
        for id in &start.ids {
            self.examine()?;
            let Some(twin) = self.ground.graph.twin(id) else { continue };
            self.bind(start.variable, Some(Object::Twin(twin)));
            if self.hold(&start.tests) {
                self.go_on(&self.route.stages)?;
            }
        }
        Flow::Continue(())
    }

    fn go_on(&mut self, stages: &[Stage]) -> Flow {
        let Some((stage, rest)) = stages.split_first() else { return self.show() };
        let Some(Object::Twin(from)) = self.row.objects.get(stage.step.from).copied().flatten() else {
            return Flow::Continue(());
        };
        let (relationship, once) = match stage.step.leap {
            Leap::Join { relationship } => (Some(relationship), false),
            Leap::Hop { relationship } => (relationship, true),
            Leap::Hops { over, up_to } => {
                for twin in self.ends(from, &stage.step, over, up_to)? {
                    self.examine()?;
                    self.arrive(stage, rest, twin)?;
                }
                return Flow::Continue(());
            }
        };
        for (edge, end) in edges(self.ground.graph, &from.id, stage.step.direction) {
            self.examine()?;
            if !stage.step.takes(edge) || (once && self.walked.iter().any(|walked| ptr::eq(*walked, edge))) {
                continue;
            }
            let Some(twin) = self.ground.graph.twin(end.as_str()) else { continue };
            if let Some(variable) = relationship {
                self.bind(variable, Some(Object::Relationship(edge)));
            }
            if once {
                self.walked.push(edge);
            }
            self.arrive(stage, rest, twin)?;
            if once {
                self.walked.pop();
            }
        }
        Flow::Continue(())
    }

    /// Goes on from the end of a step.
    fn arrive(&mut self, stage: &Stage, rest: &[Stage], twin: &'g Twin) -> Flow {
        let to = stage.step.to;
        match self.row.objects.get(to).copied().flatten() {
            Some(Object::Twin(known)) if !ptr::eq(known, twin) => return Flow::Continue(()),
            Some(_) => {
                if self.hold(&stage.tests) {
                    self.go_on(rest)?;
                }
            }
            None => {
                self.bind(to, Some(Object::Twin(twin)));
                if self.hold(&stage.tests) {
                    self.go_on(rest)?;
                }
                self.bind(to, None);
            }
        }
        Flow::Continue(())
    }

    fn bind(&mut self, variable: usize, object: Option<Object<'g>>) {
        if let Some(place) = self.row.objects.get_mut(variable) {
            *place = object;
        }
    }

    fn hold(&self, tests: &[Condition]) -> bool {
        tests.iter().all(|test| evaluate::holds(test, &self.row, self.ground.models) == Some(true))
    }

    fn show(&mut self) -> Flow {
        self.examine()?;
        let places = self.row.objects.iter().flatten().map(|object| object.address()).collect();
        if self.seen.insert(places) { (self.visit)(&self.row) } else { Flow::Continue(()) }
    }

    fn examine(&mut self) -> Flow {
        self.examined += 1;
        if self.examined > MAX_EXAMINED { Flow::Break(Stop::TooMuch) } else { Flow::Continue(()) }
    }

    /// The twins at the end of paths of more than `over` and at most `up_to` hops, each once.
    fn ends(&mut self, from: &'g Twin, step: &Step, over: usize, up_to: usize) -> ControlFlow<Stop, Vec<&'g Twin>> {
        let mut ends = Ends::default();
        if over == 0 {
            self.within(from, step, up_to, &mut ends)?;
        } else {
            self.extend(&mut vec![from], step, over, up_to, &mut ends)?;
        }
        ControlFlow::Continue(ends.twins)
    }

    /// The twins not farther than `up_to`: the shortest path to a twin visits none twice, so that looking at each twin
    /// once is enough.
    fn within(&mut self, from: &'g Twin, step: &Step, up_to: usize, ends: &mut Ends<'g>) -> Flow {
        let mut front = vec![from];
        for _ in 0..up_to {
            let mut next = Vec::new();
            for twin in front {
                for (edge, end) in edges(self.ground.graph, &twin.id, step.direction) {
                    self.examine()?;
                    let end = self.ground.graph.twin(end.as_str()).filter(|_| step.takes(edge));
                    if let Some(end) = end.filter(|end| !ptr::eq(*end, from) && ends.add(end)) {
                        next.push(end);
                    }
                }
            }
            front = next;
        }
        Flow::Continue(())
    }

    /// All longer paths that begin with `path`.
    fn extend(
        &mut self,
        path: &mut Vec<&'g Twin>,
        step: &Step,
        over: usize,
        up_to: usize,
        ends: &mut Ends<'g>,
    ) -> Flow {
        let Some(last) = path.last() else { return Flow::Continue(()) };
        for (edge, end) in edges(self.ground.graph, &last.id, step.direction) {
            self.examine()?;
            let end = self.ground.graph.twin(end.as_str()).filter(|_| step.takes(edge));
            let Some(end) = end.filter(|end| !path.iter().any(|twin| ptr::eq(*twin, *end))) else { continue };
            // The path does not count its beginning: with the new end, it has as many hops as twins before.
            let hops = path.len();
            if hops > over {
                ends.add(end);
            }
            if hops < up_to {
                path.push(end);
                self.extend(path, step, over, up_to, ends)?;
                path.pop();
            }
        }
        Flow::Continue(())
    }
}

impl Step {
    fn takes(&self, relationship: &Relationship) -> bool {
        self.names.is_empty() || self.names.contains(&relationship.name)
    }
}

/// Twins in the order in which they were found.
#[derive(Default)]
struct Ends<'g> {
    twins: Vec<&'g Twin>,
    found: HashSet<usize>,
}

impl<'g> Ends<'g> {
    /// Whether it is new.
    fn add(&mut self, twin: &'g Twin) -> bool {
        let is_new = self.found.insert(ptr::from_ref(twin).addr());
        if is_new {
            self.twins.push(twin);
        }
        is_new
    }
}

/// The relationships of a twin, with what they lead to.
fn edges<'g>(
    graph: &'g Graph,
    twin: &TwinId,
    direction: Direction,
) -> impl Iterator<Item = (&'g Relationship, &'g TwinId)> + use<'g> {
    let outgoing = graph.outgoing(twin.as_str()).filter(|_| direction != Direction::Backward);
    let incoming = graph.incoming(twin.as_str()).filter(|_| direction != Direction::Forward);
    let outgoing = outgoing.into_iter().flat_map(|siblings| siblings.values()).map(|edge| (edge, &edge.target));
    let incoming = incoming.into_iter().flatten().filter_map(|(id, source)| {
        let edge = graph.relationship(source.as_str(), id.as_str())?;
        Some((edge, source))
    });
    outgoing.chain(incoming)
}
