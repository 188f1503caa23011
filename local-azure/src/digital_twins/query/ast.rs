//! Queries as they are written.
//!
//! `Display` writes a query that reads back as the same tree.

use std::fmt;

use dtdl::ModelId;
use serde_json::Number;

use super::{lexer, words};

/// A whole query. What `JOIN` and `MATCH` bind would stand between `from` and `filter`, as further sources.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    pub(crate) select: Select,
    pub(crate) from: Source,
    pub(crate) filter: Option<Condition>,
}

/// What a row of the result is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Select {
    /// `*`: the whole object.
    All,
    /// `COUNT()`: one row, the number of objects.
    Count,
    /// The named parts.
    Items(Vec<Item>),
    /// `TOP(n)`: like the rest, for at most so many objects; without items, the whole object.
    Top(u64, Vec<Item>),
}

/// A part of a row: a path, and what it is called in the row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    pub(crate) path: Path,
    pub(crate) name: Option<String>,
}

/// A set of objects, and what the query calls one of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Source {
    pub(crate) collection: Collection,
    pub(crate) alias: Option<String>,
}

/// What can be queried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Collection {
    Twins,
    Relationships,
}

/// What decides whether an object is in the result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    /// At least two, all of which hold.
    And(Vec<Condition>),
    /// At least two, one of which holds.
    Or(Vec<Condition>),
    Not(Box<Condition>),
    Compare(Operand, Comparison, Operand),
    /// `IN`, or `NIN` where negated.
    In {
        operand: Operand,
        negated: bool,
        list: Vec<Literal>,
    },
    IsOfModel {
        alias: Option<String>,
        model: ModelId,
        exact: bool,
    },
    /// `IS_DEFINED` and its like.
    Is(Kind, Path),
    /// `STARTSWITH` and its like: the text, and what it is compared with.
    Text(TextTest, Operand, Operand),
    ArrayContains(Path, Literal),
}

/// A comparison operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a type test asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Defined,
    Null,
    Number,
    String,
    Bool,
    Object,
    Primitive,
}

/// How two texts are compared by a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand {
    Path(Path),
    Literal(Literal),
}

/// Names that lead from an object (or its alias) inwards; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path(pub(crate) Vec<String>);

/// A value written in the query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
}

impl Comparison {
    pub(crate) const ALL: [Self; 6] =
        [Self::Equal, Self::NotEqual, Self::Less, Self::LessOrEqual, Self::Greater, Self::GreaterOrEqual];

    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

impl Kind {
    pub(crate) const ALL: [Self; 7] =
        [Self::Defined, Self::Null, Self::Number, Self::String, Self::Bool, Self::Object, Self::Primitive];

    pub(crate) fn function(self) -> &'static str {
        match self {
            Self::Defined => "IS_DEFINED",
            Self::Null => "IS_NULL",
            Self::Number => "IS_NUMBER",
            Self::String => "IS_STRING",
            Self::Bool => "IS_BOOL",
            Self::Object => "IS_OBJECT",
            Self::Primitive => "IS_PRIMITIVE",
        }
    }
}

impl TextTest {
    pub(crate) const ALL: [Self; 3] = [Self::StartsWith, Self::EndsWith, Self::Contains];

    pub(crate) fn function(self) -> &'static str {
        match self {
            Self::StartsWith => "STARTSWITH",
            Self::EndsWith => "ENDSWITH",
            Self::Contains => "CONTAINS",
        }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SELECT {} FROM {}", self.select, self.from)?;
        match &self.filter {
            Some(filter) => write!(f, " WHERE {filter}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Count => f.write_str("COUNT()"),
            Self::Items(items) => Separated(items, ", ").fmt(f),
            Self::Top(count, items) if items.is_empty() => write!(f, "TOP({count})"),
            Self::Top(count, items) => write!(f, "TOP({count}) {}", Separated(items, ", ")),
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} AS {}", self.path, Name(name)),
            None => self.path.fmt(f),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.collection {
            Collection::Twins => "DIGITALTWINS",
            Collection::Relationships => "RELATIONSHIPS",
        })?;
        match &self.alias {
            Some(alias) => write!(f, " {}", Name(alias)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(conditions) => Separated(&grouped(conditions), " AND ").fmt(f),
            Self::Or(conditions) => Separated(&grouped(conditions), " OR ").fmt(f),
            Self::Not(condition) => write!(f, "NOT {}", Grouped(condition)),
            Self::Compare(left, comparison, right) => write!(f, "{left} {} {right}", comparison.symbol()),
            Self::In { operand, negated, list } => {
                let word = if *negated { "NIN" } else { "IN" };
                write!(f, "{operand} {word} [{}]", Separated(list, ", "))
            }
            Self::IsOfModel { alias, model, exact } => {
                f.write_str("IS_OF_MODEL(")?;
                if let Some(alias) = alias {
                    write!(f, "{}, ", Name(alias))?;
                }
                write!(f, "{}{})", Quoted(model.as_str()), if *exact { ", exact" } else { "" })
            }
            Self::Is(kind, path) => write!(f, "{}({path})", kind.function()),
            Self::Text(test, text, part) => write!(f, "{}({text}, {part})", test.function()),
            Self::ArrayContains(path, value) => write!(f, "ARRAY_CONTAINS({path}, {value})"),
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.fmt(f),
            Self::Literal(literal) => literal.fmt(f),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<Name<'_>> = self.0.iter().map(|name| Name(name)).collect();
        Separated(&names, ".").fmt(f)
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Bool(value) => f.write_str(if *value { "TRUE" } else { "FALSE" }),
            Self::Number(number) => number.fmt(f),
            Self::String(text) => Quoted(text).fmt(f),
        }
    }
}

/// A name, in `[[ ]]` where it would not be taken for one.
struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if lexer::is_plain_name(self.0) && !words::is_word(self.0) {
            f.write_str(self.0)
        } else {
            write!(f, "[[{}]]", self.0)
        }
    }
}

struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0.replace('\\', "\\\\").replace('\'', "\\'"))
    }
}

/// A condition as a part of another.
struct Grouped<'a>(&'a Condition);

impl fmt::Display for Grouped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Condition::And(_) | Condition::Or(_) => write!(f, "({})", self.0),
            condition => condition.fmt(f),
        }
    }
}

fn grouped(conditions: &[Condition]) -> Vec<Grouped<'_>> {
    conditions.iter().map(Grouped).collect()
}

struct Separated<'a, T>(&'a [T], &'static str);

impl<T: fmt::Display> fmt::Display for Separated<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(self.1)?;
            }
            item.fmt(f)?;
        }
        Ok(())
    }
}
