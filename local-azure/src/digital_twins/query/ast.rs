//! Queries as they are written.

use dtdl::ModelId;
use serde_json::Number;

/// A whole query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    pub(crate) select: Select,
    pub(crate) from: Source,
    /// What goes on from the source, in the order in which it is written.
    pub(crate) clauses: Vec<Clause>,
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

/// A way from the objects of the source to further ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Clause {
    Join(Join),
    Match(Pattern),
}

/// `JOIN target RELATED source.relationship alias`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Join {
    pub(crate) target: String,
    pub(crate) source: String,
    /// The relationship's name.
    pub(crate) relationship: String,
    /// What the query calls the relationship itself.
    pub(crate) alias: Option<String>,
}

/// `MATCH (first) link link ...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    pub(crate) first: String,
    pub(crate) links: Vec<Link>,
}

/// `-[alias:name|name*hops]->(twin)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) direction: Direction,
    pub(crate) reach: Reach,
    /// The names that the relationships may have; any where there is none here.
    pub(crate) names: Vec<String>,
    pub(crate) twin: String,
}

/// Which way relationships point along a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Backward,
    Either,
}

/// How many relationships a link is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    /// One, and what the query calls it.
    One(Option<String>),
    /// `*n`.
    Exactly(usize),
    /// `*over..up_to`: more than the first number, at most the second.
    Between { over: usize, up_to: usize },
    /// `*..n`.
    UpTo(usize),
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

impl Direction {
    /// The direction of the same link, read from its other end.
    pub(crate) fn reversed(self) -> Self {
        match self {
            Self::Forward => Self::Backward,
            Self::Backward => Self::Forward,
            Self::Either => Self::Either,
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
