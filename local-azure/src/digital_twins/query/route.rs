//! The way through the graph that JOIN and MATCH describe: where it starts, in which order its parts are walked, and
//! how early each condition can be decided.

use std::collections::BTreeSet;

use super::{
    ast::{Clause, Condition, Direction, Join, Link, Operand, Path, Pattern, Reach},
    check::Fault,
    lookup::OneOf,
};

/// A way through the graph. Its variables are what the query gives names to, twins and relationships, and the
/// relationships of JOINs without a name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Route {
    pub(crate) variables: Vec<Option<String>>,
    pub(crate) start: Start,
    pub(crate) stages: Vec<Stage>,
}

/// The twins that a way starts at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Start {
    pub(crate) variable: usize,
    pub(crate) ids: BTreeSet<String>,
    /// What is known of them at once.
    pub(crate) tests: Vec<Condition>,
}

/// A step, and what has to hold once it is made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stage {
    pub(crate) step: Step,
    pub(crate) tests: Vec<Condition>,
}

/// From a twin that is known to another one, which is found thereby, or confirmed where it is known too.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) direction: Direction,
    /// The names that the relationships may have; any where there is none here.
    pub(crate) names: Vec<String>,
    pub(crate) leap: Leap,
}

/// How far a step goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Leap {
    /// Over the relationship of a JOIN.
    Join { relationship: usize },
    /// Over one relationship, which no other such step of the same row goes over.
    Hop { relationship: Option<usize> },
    /// Over more than `over` and at most `up_to` relationships, on a path that visits no twin twice.
    Hops { over: usize, up_to: usize },
}

impl Route {
    /// The place of a name among the variables.
    pub(crate) fn variable(&self, name: &str) -> Option<usize> {
        position(&self.variables, name)
    }
}

fn position(variables: &[Option<String>], name: &str) -> Option<usize> {
    variables.iter().position(|variable| variable.as_deref() == Some(name))
}

/// Plans the way of a query with JOIN or MATCH from the collection of twins called `alias`.
///
/// # Errors
/// A name that is not declared, or declared twice; a MATCH apart from what stands before it; no condition on any
/// `$dtId`.
pub(crate) fn plan(alias: Option<&str>, clauses: Vec<Clause>, filter: Option<Condition>) -> Result<Route, Fault> {
    let keyword = match clauses.first() {
        Some(Clause::Match(_)) => "MATCH",
        _ => "JOIN",
    };
    let mut names = Names::default();
    if let Some(alias) = alias {
        names.declare_twin(alias)?;
    }
    let mut steps = Vec::new();
    for clause in clauses {
        match clause {
            Clause::Join(join) => steps.push(names.join(join)?),
            Clause::Match(pattern) => names.pattern(pattern, &mut steps)?,
        }
    }
    let mut tests = Vec::new();
    for test in filter.map(conjuncts).into_iter().flatten() {
        let used = names.used(&test)?;
        tests.push((test, used));
    }
    let start = start(&names, &tests).ok_or_else(|| {
        let message = format!("with {keyword}, WHERE says which $dtId (= or IN) one of the twins has");
        Fault::new(keyword, message)
    })?;
    Ok(arrange(names.variables, start, steps, tests))
}

/// What is declared so far.
#[derive(Default)]
struct Names {
    variables: Vec<Option<String>>,
    /// Which of the variables are twins.
    twins: Vec<usize>,
}

impl Names {
    fn declare(&mut self, name: &str) -> Result<usize, Fault> {
        match position(&self.variables, name) {
            Some(_) => Err(Fault::new(name, format!("'{name}' is declared twice"))),
            None => Ok(self.add(Some(name.to_owned()))),
        }
    }

    fn add(&mut self, name: Option<String>) -> usize {
        self.variables.push(name);
        self.variables.len() - 1
    }

    fn twin(&self, name: &str) -> Result<usize, Fault> {
        match position(&self.variables, name) {
            Some(variable) if self.twins.contains(&variable) => Ok(variable),
            Some(_) => Err(Fault::new(name, format!("'{name}' is a relationship, not a twin"))),
            None => Err(Fault::unknown(name)),
        }
    }

    fn declare_twin(&mut self, name: &str) -> Result<usize, Fault> {
        let variable = self.declare(name)?;
        self.twins.push(variable);
        Ok(variable)
    }

    fn join(&mut self, join: Join) -> Result<Step, Fault> {
        let from = self.twin(&join.source)?;
        let to = self.declare_twin(&join.target)?;
        let relationship = match join.alias {
            Some(alias) => self.declare(&alias)?,
            None => self.add(None),
        };
        let (names, leap) = (vec![join.relationship], Leap::Join { relationship });
        Ok(Step { from, to, direction: Direction::Forward, names, leap })
    }

    fn pattern(&mut self, pattern: Pattern, steps: &mut Vec<Step>) -> Result<(), Fault> {
        let Pattern { first, links } = pattern;
        let mut twins = std::iter::once(&first).chain(links.iter().map(|link| &link.twin));
        if !self.variables.is_empty() && !twins.any(|name| position(&self.variables, name).is_some()) {
            return Err(Fault::new("MATCH", "no twin of the MATCH stands before it".to_owned()));
        }
        let mut from = self.known_or_new(&first)?;
        for Link { direction, reach, names, twin } in links {
            let leap = match reach {
                Reach::One(alias) => Leap::Hop { relationship: alias.map(|alias| self.declare(&alias)).transpose()? },
                Reach::Exactly(hops) => Leap::Hops { over: hops.saturating_sub(1), up_to: hops },
                Reach::Between { over, up_to } => Leap::Hops { over, up_to },
                Reach::UpTo(up_to) => Leap::Hops { over: 0, up_to },
            };
            let to = self.known_or_new(&twin)?;
            steps.push(Step { from, to, direction, names, leap });
            from = to;
        }
        Ok(())
    }

    fn known_or_new(&mut self, name: &str) -> Result<usize, Fault> {
        match position(&self.variables, name) {
            Some(_) => self.twin(name),
            None => self.declare_twin(name),
        }
    }

    /// The variables that a condition is about.
    fn used(&self, condition: &Condition) -> Result<BTreeSet<usize>, Fault> {
        let path = |Path(path): &Path| {
            let alias = path.first().map(String::as_str).unwrap_or_default();
            position(&self.variables, alias).ok_or_else(|| Fault::unknown(alias))
        };
        let operand = |operand: &Operand| match operand {
            Operand::Path(names) => path(names).map(Some),
            Operand::Literal(_) => Ok(None),
        };
        Ok(match condition {
            Condition::And(conditions) | Condition::Or(conditions) => {
                let mut used = BTreeSet::new();
                for condition in conditions {
                    used.extend(self.used(condition)?);
                }
                used
            }
            Condition::Not(inner) => self.used(inner)?,
            Condition::Compare(left, _, right) | Condition::Text(_, left, right) => {
                [operand(left)?, operand(right)?].into_iter().flatten().collect()
            }
            Condition::In { operand: tested, .. } => operand(tested)?.into_iter().collect(),
            Condition::IsOfModel { alias: Some(alias), .. } => BTreeSet::from([self.twin(alias)?]),
            Condition::IsOfModel { alias: None, .. } => {
                let message = "with JOIN or MATCH, IS_OF_MODEL names the twin that it tests".to_owned();
                return Err(Fault::new("IS_OF_MODEL", message));
            }
            Condition::Is(_, names) | Condition::ArrayContains(names, _) => BTreeSet::from([path(names)?]),
        })
    }
}

/// The parts of a condition that must all hold.
fn conjuncts(condition: Condition) -> Vec<Condition> {
    match condition {
        Condition::And(conditions) => conditions.into_iter().flat_map(conjuncts).collect(),
        condition => vec![condition],
    }
}

type Test = (Condition, BTreeSet<usize>);

/// The twins of which the conditions name the fewest.
fn start(names: &Names, tests: &[Test]) -> Option<(usize, BTreeSet<String>)> {
    let named = names.twins.iter().filter_map(|&variable| {
        let name = names.variables.get(variable)?.as_deref()?;
        let ids = tests.iter().filter_map(|(test, _)| twin_ids(test, name)).min_by_key(BTreeSet::len)?;
        Some((variable, ids))
    });
    let (variable, ids) = named.min_by_key(|(_, ids)| ids.len())?;
    Some((variable, ids.into_iter().map(str::to_owned).collect()))
}

/// The ids that a condition allows the twin of that name, where it is about them.
fn twin_ids<'c>(condition: &'c Condition, name: &str) -> Option<BTreeSet<&'c str>> {
    match condition {
        Condition::And(conditions) => {
            conditions.iter().filter_map(|condition| twin_ids(condition, name)).min_by_key(BTreeSet::len)
        }
        Condition::Or(conditions) => {
            let all: Option<Vec<_>> = conditions.iter().map(|condition| twin_ids(condition, name)).collect();
            Some(all?.into_iter().flatten().collect())
        }
        condition => {
            let OneOf { path: [alias, property], texts } = OneOf::from(condition)? else { return None };
            (alias == name && property == "$dtId").then(|| texts.into_iter().collect())
        }
    }
}

/// Puts steps and tests into an order in which each step begins at a twin that is known, and each test comes as soon
/// as all that it is about is known.
fn arrange(
    variables: Vec<Option<String>>,
    (variable, ids): (usize, BTreeSet<String>),
    mut steps: Vec<Step>,
    mut tests: Vec<Test>,
) -> Route {
    let mut known = BTreeSet::from([variable]);
    let mut due = |known: &BTreeSet<usize>| -> Vec<Condition> {
        let decided: Vec<Test> = tests.extract_if(.., |(_, used)| used.is_subset(known)).collect();
        decided.into_iter().map(|(test, _)| test).collect()
    };
    let start = Start { variable, ids, tests: due(&known) };
    let mut stages = Vec::new();
    // A step between known twins narrows the search most. Each step touches one that stands before it.
    while let Some(next) = position_of(&steps, |step| known.contains(&step.from) && known.contains(&step.to))
        .or_else(|| position_of(&steps, |step| known.contains(&step.from) || known.contains(&step.to)))
    {
        let mut step = steps.remove(next);
        if !known.contains(&step.from) {
            step = Step { from: step.to, to: step.from, direction: step.direction.reversed(), ..step };
        }
        known.insert(step.to);
        match step.leap {
            Leap::Join { relationship } | Leap::Hop { relationship: Some(relationship) } => {
                known.insert(relationship);
            }
            Leap::Hop { relationship: None } | Leap::Hops { .. } => {}
        }
        stages.push(Stage { step, tests: due(&known) });
    }
    Route { variables, start, stages }
}

fn position_of(steps: &[Step], wanted: impl Fn(&Step) -> bool) -> Option<usize> {
    steps.iter().position(wanted)
}
