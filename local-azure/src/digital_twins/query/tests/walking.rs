//! Answering JOIN and MATCH: as when every combination of twins and relationships is tried.

mod samples;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::digital_twins::{
    graph::{Graph, GraphChange},
    id::ETag,
    models::Models,
    query::{
        Failure, Ground, MAX_EXAMINED, Page,
        ast::{Clause, Direction, Join, Link, Pattern, Reach},
        begin,
        error::TooMuch,
        resume,
    },
    relationship::Relationship,
    twin::Twin,
    version::ApiVersion,
};

/// Source, whether it is called `x` rather than `y`, target.
type Edge = (usize, bool, usize);

/// Twins `0` to `n`, each with a level, and relationships `e0`, `e1`, ... between them.
fn graph(levels: &[i64], edges: &[Edge]) -> Graph {
    let mut graph = Graph::default();
    let id = |n: usize| n.to_string().parse().unwrap();
    for (n, level) in levels.iter().enumerate() {
        let mut twin = Twin::new(id(n), "dtmi:a;1".parse().unwrap(), Timestamp::UNIX_EPOCH);
        twin.content.set("level", json!(level), Timestamp::UNIX_EPOCH);
        graph.apply(GraphChange::PutTwin(Box::new(twin)));
    }
    for (n, (source, is_x, target)) in edges.iter().enumerate() {
        graph.apply(GraphChange::PutRelationship(Box::new(Relationship {
            id: format!("e{n}").parse().unwrap(),
            source: id(*source),
            name: name_of(*is_x).to_owned(),
            target: id(*target),
            etag: ETag::fresh(),
            properties: Map::new(),
        })));
    }
    graph
}

fn name_of(is_x: bool) -> &'static str {
    if is_x { "x" } else { "y" }
}

/// A condition on the level of twins, which all have.
#[derive(Debug, Clone)]
enum Test {
    IsOne(String, Vec<usize>),
    AtLeast(String, i64),
    Same(String, String),
    Not(Box<Test>),
    Either(Box<Test>, Box<Test>),
}

impl Test {
    fn text(&self) -> String {
        match self {
            Self::IsOne(twin, ids) => {
                let ids: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
                format!("{twin}.$dtId IN [{}]", ids.join(", "))
            }
            Self::AtLeast(twin, level) => format!("{twin}.level >= {level}"),
            Self::Same(one, other) => format!("{one}.level = {other}.level"),
            Self::Not(test) => format!("NOT ({})", test.text()),
            Self::Either(one, other) => format!("({} OR {})", one.text(), other.text()),
        }
    }

    fn holds(&self, levels: &[i64], row: &Combination) -> bool {
        let level = |twin: &String| levels[row.twins[twin]];
        match self {
            Self::IsOne(twin, ids) => ids.contains(&row.twins[twin]),
            Self::AtLeast(twin, least) => level(twin) >= *least,
            Self::Same(one, other) => level(one) == level(other),
            Self::Not(test) => !test.holds(levels, row),
            Self::Either(one, other) => one.holds(levels, row) || other.holds(levels, row),
        }
    }
}

/// Some twins and relationships, by their names in the query.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Combination {
    twins: BTreeMap<String, usize>,
    relationships: BTreeMap<String, usize>,
    /// Those of JOINs without a name.
    unnamed: Vec<usize>,
    /// Those of single hops.
    walked: Vec<usize>,
}

#[derive(Debug, Clone)]
struct Sample {
    levels: Vec<i64>,
    edges: Vec<Edge>,
    from: Option<String>,
    clauses: Vec<Clause>,
    tests: Vec<Test>,
}

impl Sample {
    fn text(&self, names: &Combination) -> String {
        let mut text = String::from("SELECT ");
        let twins = names.twins.keys().map(|name| format!("{name}.$dtId AS {name}"));
        let relationships = names.relationships.keys().map(|name| format!("{name}.$relationshipId AS {name}"));
        text.push_str(&twins.chain(relationships).collect::<Vec<_>>().join(", "));
        text.push_str(" FROM DIGITALTWINS");
        if let Some(alias) = &self.from {
            write!(text, " {alias}").unwrap();
        }
        for clause in &self.clauses {
            write!(text, " {clause}").unwrap();
        }
        let tests: Vec<String> = self.tests.iter().map(Test::text).collect();
        write!(text, " WHERE {}", tests.join(" AND ")).unwrap();
        text
    }

    /// Every combination, tried one by one.
    fn rows(&self) -> Vec<Combination> {
        let begin = Combination::default();
        let mut rows = match &self.from {
            Some(alias) => self.with_any_twin(begin, alias),
            None => vec![begin],
        };
        for clause in &self.clauses {
            rows = rows.into_iter().flat_map(|row| self.go_on(row, clause)).collect();
        }
        rows.retain(|row| self.tests.iter().all(|test| test.holds(&self.levels, row)));
        let once: BTreeSet<Combination> =
            rows.into_iter().map(|row| Combination { walked: Vec::new(), ..row }).collect();
        once.into_iter().collect()
    }

    fn with_any_twin(&self, row: Combination, name: &str) -> Vec<Combination> {
        if row.twins.contains_key(name) {
            return vec![row];
        }
        let with = |twin| {
            let mut row = row.clone();
            row.twins.insert(name.to_owned(), twin);
            row
        };
        (0..self.levels.len()).map(with).collect()
    }

    fn go_on(&self, row: Combination, clause: &Clause) -> Vec<Combination> {
        match clause {
            Clause::Join(Join { target, source, relationship, alias }) => {
                let fits = |(n, (from, is_x, to)): (usize, &Edge)| {
                    let mut row = row.clone();
                    row.twins.insert(target.clone(), *to);
                    match alias {
                        Some(alias) => drop(row.relationships.insert(alias.clone(), n)),
                        None => row.unnamed.push(n),
                    }
                    (*from == row.twins[source] && name_of(*is_x) == relationship).then_some(row)
                };
                self.edges.iter().enumerate().filter_map(fits).collect()
            }
            Clause::Match(Pattern { first, links }) => {
                let mut rows: Vec<(Combination, &str)> =
                    self.with_any_twin(row, first).into_iter().map(|row| (row, first.as_str())).collect();
                for link in links {
                    rows = rows
                        .into_iter()
                        .flat_map(|(row, from)| {
                            let from = row.twins[from];
                            self.with_any_twin(row, &link.twin)
                                .into_iter()
                                .flat_map(move |row| self.linked(row, from, link))
                        })
                        .map(|row| (row, link.twin.as_str()))
                        .collect();
                }
                rows.into_iter().map(|(row, _)| row).collect()
            }
        }
    }

    /// The row once for each way in which the link holds.
    fn linked(&self, row: Combination, from: usize, link: &Link) -> Vec<Combination> {
        let to = row.twins[&link.twin];
        let (over, up_to) = match &link.reach {
            Reach::One(alias) => {
                let fits = |n: usize| {
                    let mut row = row.clone();
                    row.walked.push(n);
                    if let Some(alias) = alias {
                        row.relationships.insert(alias.clone(), n);
                    }
                    row
                };
                let leads = self.leading(from, link).filter(|(n, end)| *end == to && !row.walked.contains(n));
                return leads.map(|(n, _)| fits(n)).collect();
            }
            Reach::Exactly(hops) => (hops - 1, *hops),
            Reach::Between { over, up_to } => (*over, *up_to),
            Reach::UpTo(up_to) => (0, *up_to),
        };
        let mut paths = vec![vec![from]];
        let mut is_reached = false;
        for hops in 1..=up_to {
            paths = paths.iter().flat_map(|path| self.longer(path, link)).collect();
            is_reached |= hops > over && paths.iter().any(|path| path.last() == Some(&to));
        }
        if is_reached { vec![row] } else { Vec::new() }
    }

    fn longer(&self, path: &[usize], link: &Link) -> Vec<Vec<usize>> {
        let ends = self.leading(*path.last().unwrap(), link).map(|(_, end)| end).filter(|end| !path.contains(end));
        ends.map(|end| path.iter().copied().chain([end]).collect()).collect()
    }

    /// The relationships that a link may go over from a twin, and where they lead.
    fn leading(&self, from: usize, link: &Link) -> impl Iterator<Item = (usize, usize)> {
        let fits = move |(n, (source, is_x, target)): (usize, &Edge)| {
            let is_named = link.names.is_empty() || link.names.iter().any(|name| name == name_of(*is_x));
            let forward = (link.direction != Direction::Backward && *source == from).then_some(*target);
            let backward = (link.direction != Direction::Forward && *target == from).then_some(*source);
            forward.or(backward).filter(|_| is_named).map(|end| (n, end))
        };
        self.edges.iter().enumerate().filter_map(fits)
    }
}

fn ground<'g>(graph: &'g Graph, models: &'g Models) -> Ground<'g> {
    Ground { graph, models, version: ApiVersion::LATEST }
}

/// All rows, `size` at a time.
fn answer(query: &str, ground: Ground<'_>, size: usize) -> Result<Vec<Value>, Failure> {
    let Page { mut rows, mut next, .. } = begin(query, ground, size)?;
    while let Some(continuation) = next {
        let page = resume(&continuation, ground, size)?;
        assert!(!page.rows.is_empty(), "{query}");
        rows.extend(page.rows);
        next = page.next;
    }
    Ok(rows)
}

fn sorted(rows: impl IntoIterator<Item = Value>) -> Vec<String> {
    let mut rows: Vec<String> = rows.into_iter().map(|row| row.to_string()).collect();
    rows.sort();
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn joins_and_matches_find_what_trying_everything_finds(sample in samples::sample()) {
        let expected = sample.rows();
        // The names are the same in every row; where there is none, an open row tells them.
        let open = Sample { tests: Vec::new(), edges: vec![], ..sample.clone() };
        let names = expected.first().cloned().unwrap_or_else(|| open.names());
        let query = sample.text(&names);
        let (graph, models) = (graph(&sample.levels, &sample.edges), Models::default());
        let rows = answer(&query, ground(&graph, &models), 1_000);
        let rows = rows.map_err(|failure| TestCaseError::fail(format!("{query}: {failure}")))?;
        let expected = expected.iter().map(|row| {
            let twins = row.twins.iter().map(|(name, twin)| (name.clone(), json!(twin.to_string())));
            let relationships = row.relationships.iter().map(|(name, n)| (name.clone(), json!(format!("e{n}"))));
            Value::Object(twins.chain(relationships).collect())
        });
        prop_assert_eq!(sorted(rows.clone()), sorted(expected), "{}", query);
        prop_assert_eq!(&answer(&query, ground(&graph, &models), 2).unwrap(), &rows, "{}", query);
        let items = query.split_once(" FROM ").unwrap().1;
        let count = answer(&format!("SELECT COUNT() FROM {items}"), ground(&graph, &models), 1_000).unwrap();
        prop_assert_eq!(count, vec![json!({ "COUNT": rows.len() })], "{}", query);
        let top = answer(&format!("SELECT TOP(3) {} FROM {items}", &query[7..query.find(" FROM ").unwrap()]),
            ground(&graph, &models), 2).unwrap();
        prop_assert_eq!(&top[..], &rows[..rows.len().min(3)], "{}", query);
    }
}

impl Sample {
    /// Every name of the query, for nothing in particular.
    fn names(&self) -> Combination {
        let mut names = Combination::default();
        names.twins.extend(self.from.clone().map(|alias| (alias, 0)));
        for clause in &self.clauses {
            match clause {
                Clause::Join(join) => {
                    names.twins.insert(join.target.clone(), 0);
                    names.relationships.extend(join.alias.clone().map(|alias| (alias, 0)));
                }
                Clause::Match(pattern) => {
                    names.twins.insert(pattern.first.clone(), 0);
                    for link in &pattern.links {
                        names.twins.insert(link.twin.clone(), 0);
                        if let Reach::One(Some(alias)) = &link.reach {
                            names.relationships.insert(alias.clone(), 0);
                        }
                    }
                }
            }
        }
        names
    }
}

#[test]
fn a_query_that_would_walk_for_ever_ends_with_an_error() {
    let edges: Vec<Edge> =
        (0..40).flat_map(|from| (0..40).filter(move |to| from != *to).map(move |to| (from, true, to))).collect();
    let (graph, models) = (graph(&[0; 40], &edges), Models::default());
    for query in [
        "SELECT b FROM DIGITALTWINS MATCH (a)-[*10]->(b) WHERE a.$dtId = '0' AND b.level = 1",
        "SELECT COUNT() FROM DIGITALTWINS a JOIN b RELATED a.x JOIN c RELATED b.x JOIN d RELATED c.x \
         JOIN e RELATED d.x WHERE a.$dtId IN ['0', '1']",
        "SELECT f FROM DIGITALTWINS MATCH (a)-[]-(b)-[]-(c)-[]-(d)-[]-(e)-[]-(f) \
         WHERE a.$dtId = '0' AND f.level = 1",
    ] {
        assert_eq!(begin(query, ground(&graph, &models), 10), Err(Failure::TooMuch(TooMuch)), "{query}");
    }
    let page =
        begin("SELECT b FROM DIGITALTWINS MATCH (a)-[*..10]->(b) WHERE a.$dtId = '0'", ground(&graph, &models), 1_000);
    let page = page.unwrap();
    assert_eq!(page.rows.len(), 39);
    assert!(page.examined < MAX_EXAMINED / 100, "{}", page.examined);
}
