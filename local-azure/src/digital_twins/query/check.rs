//! What a query means: names resolved, and refused where they make no sense.

use super::{
    ast::{Collection, Condition, Item, Operand, Path, Query, Select, Source},
    error::{Position, SyntaxError},
};

/// A query that can be run. Its paths begin at the object itself, not at an alias.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) collection: Collection,
    pub(crate) rows: Rows,
    /// At most so many rows.
    pub(crate) limit: Option<u64>,
    pub(crate) filter: Option<Condition>,
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

/// Resolves a query.
///
/// # Errors
/// An alias that the query does not declare; a model test on relationships.
pub(crate) fn check(query: Query) -> Result<Plan, SyntaxError> {
    let Query { select, from, filter } = query;
    let (items, limit) = match select {
        Select::All => (None, None),
        Select::Count => {
            let filter = filter.map(|filter| condition(filter, &from)).transpose()?;
            return Ok(Plan { collection: from.collection, rows: Rows::Count, limit: None, filter });
        }
        Select::Items(items) => (Some(items), None),
        Select::Top(limit, items) => (Some(items).filter(|items| !items.is_empty()), Some(limit)),
    };
    let rows =
        items.map_or(Rows::Whole, |items| Rows::Members(items.into_iter().map(|item| member(item, &from)).collect()));
    let filter = filter.map(|filter| condition(filter, &from)).transpose()?;
    Ok(Plan { collection: from.collection, rows, limit, filter })
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

fn condition(written: Condition, from: &Source) -> Result<Condition, SyntaxError> {
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
                return Err(Position::START.error("IS_OF_MODEL tests twins, not relationships".to_owned()));
            }
            if let Some(alias) = alias.filter(|alias| Some(alias) != from.alias.as_ref()) {
                return Err(Position::START.error(format!("'{alias}' is no alias of this query")));
            }
            Condition::IsOfModel { alias: None, model, exact }
        }
        Condition::Is(kind, names) => Condition::Is(kind, path(names, from)),
        Condition::Text(test, text, part) => Condition::Text(test, operand(text, from), operand(part, from)),
        Condition::ArrayContains(names, value) => Condition::ArrayContains(path(names, from), value),
    })
}
