//! The query language: text, to tokens, to a tree, to a plan, to rows.

mod ast;
mod check;
mod continuation;
mod error;
mod evaluate;
pub(crate) mod lexer;
mod lookup;
mod parser;
mod print;
mod route;
#[cfg(test)]
mod tests;
mod walk;
mod words;

use std::ops::{Bound, ControlFlow};

use serde_json::{Value, json};

use self::{
    ast::Collection,
    check::{Plan, Rows, Scan, Walk},
    error::TooMuch,
    evaluate::Record,
    walk::{Flow, Stop},
};
pub(crate) use self::{
    continuation::{Continuation, InvalidToken, Key},
    error::{Failure, SyntaxError},
    walk::MAX_EXAMINED,
};
use super::{graph::Graph, models::Models, version::ApiVersion};

/// What a query goes over, and how its rows are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ground<'g> {
    pub(crate) graph: &'g Graph,
    pub(crate) models: &'g Models,
    pub(crate) version: ApiVersion,
}

/// Some rows of a result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Page {
    pub(crate) rows: Vec<Value>,
    /// The way on, where there are further rows.
    pub(crate) next: Option<Continuation>,
    /// How many objects had to be looked at.
    pub(crate) examined: usize,
}

/// Reads a query.
///
/// # Errors
/// What is wrong with it, and where.
pub(crate) fn plan(query: &str) -> Result<Plan, SyntaxError> {
    check::check(parser::parse(query)?).map_err(|fault| fault.located(query))
}

/// Runs a query from its beginning, for at most `size` rows.
///
/// # Errors
/// What is wrong with the query, and where; [`TooMuch`].
pub(crate) fn begin(query: &str, ground: Ground<'_>, size: usize) -> Result<Page, Failure> {
    let Found { rows, last, examined } = find(&plan(query)?, ground, None, size, 0)?;
    let next = last.map(|after| Continuation::first(query, after, rows.len() as u64));
    Ok(Page { rows, next, examined })
}

/// Goes on with a query, for at most `size` rows.
///
/// # Errors
/// What is wrong with the query in a token that is not ours; [`TooMuch`].
pub(crate) fn resume(from: &Continuation, ground: Ground<'_>, size: usize) -> Result<Page, Failure> {
    let Found { rows, last, examined } = find(&plan(&from.query)?, ground, Some(&from.after), size, from.rows)?;
    let next = last.map(|after| from.next(after, rows.len() as u64));
    Ok(Page { rows, next, examined })
}

struct Found {
    rows: Vec<Value>,
    /// The last row, where further ones follow.
    last: Option<Key>,
    examined: usize,
}

/// Finds at most `size` rows; `before` were found on pages before, the last of them at `after`.
fn find(plan: &Plan, ground: Ground<'_>, after: Option<&Key>, size: usize, before: u64) -> Result<Found, TooMuch> {
    match plan {
        Plan::Scan(scan) => Ok(look_at(scan, ground, after, size, rest(scan.limit, before))),
        Plan::Walk(walk) => {
            let skip = match after {
                Some(Key::Row(row)) => *row,
                Some(Key::Twin(_) | Key::Relationship(..)) | None => 0,
            };
            walked(walk, ground, skip, size, rest(walk.limit, before))
        }
    }
}

fn rest(limit: Option<u64>, before: u64) -> usize {
    limit.map_or(usize::MAX, |limit| usize::try_from(limit.saturating_sub(before)).unwrap_or(usize::MAX))
}

fn walked(plan: &Walk, ground: Ground<'_>, skip: u64, size: usize, limit: usize) -> Result<Found, TooMuch> {
    let (mut rows, mut count, mut has_more) = (Vec::new(), 0, false);
    let mut visit = |row: &walk::Row<'_, '_>| -> Flow {
        count += 1;
        let Rows::Members(members) = &plan.rows else { return Flow::Continue(()) };
        if count <= skip {
            return Flow::Continue(());
        }
        if rows.len() == size.min(limit) {
            has_more = rows.len() < limit;
            return ControlFlow::Break(Stop::Enough);
        }
        rows.push(evaluate::row(members, row, ground.version));
        Flow::Continue(())
    };
    let examined = walk::walk(&plan.route, ground, &mut visit)?;
    if plan.rows == Rows::Count {
        rows.push(json!({ "COUNT": count }));
    }
    let last = has_more.then(|| Key::Row(skip.saturating_add(rows.len() as u64)));
    Ok(Found { rows, last, examined })
}

fn look_at(plan: &Scan, ground: Ground<'_>, after: Option<&Key>, size: usize, limit: usize) -> Found {
    let Ground { graph, models, .. } = ground;
    match plan.collection {
        Collection::Twins => {
            let after = match after {
                Some(Key::Twin(id) | Key::Relationship(id, _)) => Some(id.as_str()),
                Some(Key::Row(_)) | None => None,
            };
            let records = match plan.filter.as_ref().and_then(|filter| lookup::twins(filter, graph, models)) {
                Some(twins) => {
                    Box::new(twins.into_iter().filter(move |twin| after.is_none_or(|after| twin.id.as_str() > after)))
                        as Box<dyn Iterator<Item = _>>
                }
                None => Box::new(graph.twins().range::<str, _>(behind(after)).map(|(_, twin)| twin)),
            };
            collect(plan, ground, records, size, limit, |twin| Key::Twin(twin.id.clone()))
        }
        Collection::Relationships => {
            let after = match after {
                Some(Key::Relationship(source, id)) => Some((source.as_str(), id.as_str())),
                Some(Key::Twin(source)) => Some((source.as_str(), "")),
                Some(Key::Row(_)) | None => None,
            };
            let found = plan.filter.as_ref().and_then(|filter| lookup::relationships(filter, graph));
            let records = match found {
                Some(found) => Box::new(found.into_iter()) as Box<dyn Iterator<Item = _>>,
                None => {
                    let first = after.map_or(Bound::Unbounded, |(source, _)| Bound::Included(source));
                    let sources = graph.relationships().range::<str, _>((first, Bound::Unbounded));
                    Box::new(sources.flat_map(|(_, siblings)| siblings.values()))
                }
            };
            let records =
                records.filter(|one| after.is_none_or(|after| (one.source.as_str(), one.id.as_str()) > after));
            collect(plan, ground, records, size, limit, |one| Key::Relationship(one.source.clone(), one.id.clone()))
        }
    }
}

fn behind(after: Option<&str>) -> (Bound<&str>, Bound<&str>) {
    (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

fn collect<R: Record + Copy>(
    plan: &Scan,
    ground: Ground<'_>,
    records: impl Iterator<Item = R>,
    size: usize,
    limit: usize,
    key: impl Fn(R) -> Key,
) -> Found {
    let mut examined = 0;
    let mut matching = records.inspect(|_| examined += 1).filter(|record| match &plan.filter {
        Some(filter) => evaluate::holds(filter, record, ground.models) == Some(true),
        None => true,
    });
    if plan.rows == Rows::Count {
        let rows = vec![json!({ "COUNT": matching.count() })];
        return Found { rows, last: None, examined };
    }
    let mut rows = Vec::new();
    let mut last = None;
    for record in matching.by_ref().take(size.min(limit)) {
        rows.push(match &plan.rows {
            Rows::Members(members) => evaluate::row(members, &record, ground.version),
            Rows::Whole | Rows::Count => record.value(&[], ground.version).unwrap_or_default(),
        });
        last = Some(record);
    }
    let is_complete = rows.len() >= limit || matching.next().is_none();
    Found { rows, last: if is_complete { None } else { last.map(key) }, examined }
}
