//! Queries into text that reads back as the same tree.

use std::fmt;

use super::{
    ast::{
        Clause, Collection, Condition, Direction, Item, Join, Link, Literal, Operand, Path, Pattern, Query, Reach,
        Select, Source,
    },
    lexer, words,
};

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SELECT {} FROM {}", self.select, self.from)?;
        for clause in &self.clauses {
            write!(f, " {clause}")?;
        }
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

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join(Join { target, source, relationship, alias }) => {
                write!(f, "JOIN {} RELATED {}.{}", Name(target), Name(source), Name(relationship))?;
                match alias {
                    Some(alias) => write!(f, " {}", Name(alias)),
                    None => Ok(()),
                }
            }
            Self::Match(Pattern { first, links }) => write!(f, "MATCH ({}){}", Name(first), Separated(links, "")),
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, behind) = match self.direction {
            Direction::Forward => ("-", "->"),
            Direction::Backward => ("<-", "-"),
            Direction::Either => ("-", "-"),
        };
        write!(f, "{before}[")?;
        if let Reach::One(Some(alias)) = &self.reach {
            // Apart from the bracket, else `[[[` would begin a name.
            let space = if Name(alias).is_plain() { "" } else { " " };
            write!(f, "{space}{}", Name(alias))?;
        }
        if !self.names.is_empty() {
            let names: Vec<Name<'_>> = self.names.iter().map(|name| Name(name)).collect();
            write!(f, ":{}", Separated(&names, "|"))?;
        }
        match self.reach {
            Reach::One(_) => {}
            Reach::Exactly(hops) => write!(f, "*{hops}")?,
            Reach::Between { over, up_to } => write!(f, "*{over}..{up_to}")?,
            Reach::UpTo(hops) => write!(f, "*..{hops}")?,
        }
        write!(f, "]{behind}({})", Name(&self.twin))
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

impl Name<'_> {
    fn is_plain(&self) -> bool {
        lexer::is_plain_name(self.0) && !words::is_word(self.0)
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_plain() { f.write_str(self.0) } else { write!(f, "[[{}]]", self.0) }
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
