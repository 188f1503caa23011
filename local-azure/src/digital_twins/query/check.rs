//! What a query means: names resolved, and refused where they make no sense.

use super::{
    ast::{Clause, Collection, Condition, Item, Operand, Path, Query, Select, Source},
    error::{Position, SyntaxError},
    lexer::{self, Token},
    route::{self, Route},
};

/// A query that can be run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Plan {
    Scan(Scan),
    Walk(Walk),
}

/// Objects of one collection, each on its own. Paths begin at the object itself, not at an alias.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scan {
    pub(crate) collection: Collection,
    pub(crate) rows: Rows,
    /// At most so many rows.
    pub(crate) limit: Option<u64>,
    pub(crate) filter: Option<Condition>,
}

/// Objects that JOIN and MATCH find together. Paths begin at an alias.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Walk {
    pub(crate) route: Route,
    /// Never [`Rows::Whole`].
    pub(crate) rows: Rows,
    /// At most so many rows.
    pub(crate) limit: Option<u64>,
}

/// What becomes of the objects found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Rows {
    /// Each is a row.
    Whole,
    /// Their number is the one row.
    Count,
    /// A row for each, with these members, as far as it has them.
    Members(Vec<Member>),
}

/// A member of a row. An empty path stands for the whole object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) path: Vec<String>,
}

/// What makes no sense in a query that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The word in question.
    pub(crate) word: String,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(word: &str, message: String) -> Self {
        Self { word: word.to_owned(), message }
    }

    pub(crate) fn unknown(alias: &str) -> Self {
        Self::new(alias, format!("'{alias}' is no alias of this query"))
    }

    /// The error in the query that the fault was found in: where its word stands for the first time.
    pub(crate) fn located(self, query: &str) -> SyntaxError {
        let tokens = lexer::tokens(query).unwrap_or_default();
        let stands = |same: fn(&str, &str) -> bool| {
            tokens.iter().find(|spanned| match spanned.token {
                Token::Word(word) | Token::Name(word) => same(word, &self.word),
                _ => false,
            })
        };
        let found = stands(|word, wanted| word == wanted).or_else(|| stands(str::eq_ignore_ascii_case));
        found.map_or(Position::START, |spanned| spanned.position).error(self.message)
    }
}

/// Resolves a query.
///
/// # Errors
/// An alias that the query does not declare, or declares twice; a model test on relationships; a JOIN or MATCH that
/// is bound to no twin.
pub(crate) fn check(query: Query) -> Result<Plan, Fault> {
    let Query { select, from, clauses, filter } = query;
    if !clauses.is_empty() {
        return walk(select, &from, clauses, filter).map(Plan::Walk);
    }
    let (rows, limit) = match select {
        Select::All => (Rows::Whole, None),
        Select::Count => (Rows::Count, None),
        Select::Items(items) => (members(items, &from), None),
        Select::Top(limit, items) if items.is_empty() => (Rows::Whole, Some(limit)),
        Select::Top(limit, items) => (members(items, &from), Some(limit)),
    };
    let filter = filter.map(|filter| condition(filter, &from)).transpose()?;
    Ok(Plan::Scan(Scan { collection: from.collection, rows, limit, filter }))
}

fn walk(select: Select, from: &Source, clauses: Vec<Clause>, filter: Option<Condition>) -> Result<Walk, Fault> {
    let has_join = clauses.iter().any(|clause| matches!(clause, Clause::Join(_)));
    let route = route::plan(from.alias.as_deref(), clauses, filter)?;
    let (items, limit) = match select {
        Select::Count => return Ok(Walk { route, rows: Rows::Count, limit: None }),
        Select::All => (Vec::new(), None),
        Select::Items(items) => (items, None),
        Select::Top(limit, items) => (items, Some(limit)),
    };
    let rows = if items.is_empty() {
        if has_join {
            return Err(Fault::new("JOIN", "with JOIN, SELECT names what it wants".to_owned()));
        }
        let names = route.variables.iter().flatten();
        names.map(|name| Member { name: name.clone(), path: vec![name.clone()] }).collect()
    } else {
        items.into_iter().map(|item| joined_member(item, &route)).collect::<Result<_, _>>()?
    };
    Ok(Walk { route, rows: Rows::Members(rows), limit })
}

fn joined_member(item: Item, route: &Route) -> Result<Member, Fault> {
    let Path(path) = item.path;
    let alias = path.first().map(String::as_str).unwrap_or_default();
    if route.variable(alias).is_none() {
        return Err(Fault::unknown(alias));
    }
    let last = path.last().cloned().unwrap_or_default();
    Ok(Member { name: item.name.unwrap_or(last), path })
}

fn members(items: Vec<Item>, from: &Source) -> Rows {
    Rows::Members(items.into_iter().map(|item| member(item, from)).collect())
}

fn member(item: Item, from: &Source) -> Member {
    let last = item.path.0.last().cloned().unwrap_or_default();
    Member { name: item.name.unwrap_or(last), path: path(item.path, from).0 }
}

/// The path without the alias. With one source, its properties may also be named without its alias.
fn path(path: Path, from: &Source) -> Path {
    let Path(mut names) = path;
    if from.alias.is_some() && names.first() == from.alias.as_ref() {
        names.remove(0);
    }
    Path(names)
}

fn operand(operand: Operand, from: &Source) -> Operand {
    match operand {
        Operand::Path(names) => Operand::Path(path(names, from)),
        literal @ Operand::Literal(_) => literal,
    }
}

fn condition(written: Condition, from: &Source) -> Result<Condition, Fault> {
    let all = |conditions: Vec<Condition>| -> Result<Vec<_>, _> {
        conditions.into_iter().map(|one| condition(one, from)).collect()
    };
    Ok(match written {
        Condition::And(conditions) => Condition::And(all(conditions)?),
        Condition::Or(conditions) => Condition::Or(all(conditions)?),
        Condition::Not(inner) => Condition::Not(Box::new(condition(*inner, from)?)),
        Condition::Compare(left, comparison, right) => {
            Condition::Compare(operand(left, from), comparison, operand(right, from))
        }
        Condition::In { operand: tested, negated, list } => {
            Condition::In { operand: operand(tested, from), negated, list }
        }
        Condition::IsOfModel { alias, model, exact } => {
            if from.collection == Collection::Relationships {
                let message = "IS_OF_MODEL tests twins, not relationships".to_owned();
                return Err(Fault::new("IS_OF_MODEL", message));
            }
            if let Some(alias) = alias.filter(|alias| Some(alias) != from.alias.as_ref()) {
                return Err(Fault::unknown(&alias));
            }
            Condition::IsOfModel { alias: None, model, exact }
        }
        Condition::Is(kind, names) => Condition::Is(kind, path(names, from)),
        Condition::Text(test, text, part) => Condition::Text(test, operand(text, from), operand(part, from)),
        Condition::ArrayContains(names, value) => Condition::ArrayContains(path(names, from), value),
    })
}
