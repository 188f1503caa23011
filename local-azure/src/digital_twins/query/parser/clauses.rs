//! `JOIN` and `MATCH`.

use super::{Parsed, Parser};
use crate::digital_twins::query::{
    ast::{Clause, Collection, Direction, Join, Link, Pattern, Reach},
    lexer::{Spanned, Token},
};

/// Azure Digital Twins query language, JOIN: levels in a query.
const MAX_JOINS: usize = 5;
/// Azure Digital Twins query language, MATCH: hops in a query.
const MAX_HOPS: usize = 10;

impl Parser<'_, '_> {
    pub(super) fn clauses(&mut self, collection: Collection) -> Parsed<Vec<Clause>> {
        let mut clauses = Vec::new();
        let (mut joins, mut has_match) = (0, false);
        loop {
            let (is_join, is_match) = (self.is_word("JOIN"), self.is_word("MATCH"));
            if !is_join && !is_match {
                return Ok(clauses);
            }
            if collection == Collection::Relationships {
                return Err(self.error(format!("{} goes on from DIGITALTWINS, not from RELATIONSHIPS", self.shown())));
            }
            if is_join && joins == MAX_JOINS {
                return Err(self.error(format!("a query has at most {MAX_JOINS} JOIN")));
            }
            if is_match && has_match {
                return Err(self.error("a query has at most one MATCH".to_owned()));
            }
            self.advance();
            if is_join {
                joins += 1;
                clauses.push(Clause::Join(self.join()?));
            } else {
                has_match = true;
                clauses.push(Clause::Match(self.pattern()?));
            }
        }
    }

    fn join(&mut self) -> Parsed<Join> {
        let target = self.name()?;
        if !self.word("RELATED") {
            return Err(self.mismatch("RELATED"));
        }
        let source = self.name()?;
        self.expect(".")?;
        let relationship = self.name()?;
        Ok(Join { target, source, relationship, alias: self.alias()? })
    }

    fn pattern(&mut self) -> Parsed<Pattern> {
        let first = self.twin()?;
        let mut links = Vec::new();
        while matches!(self.token(), Token::Symbol("-" | "<")) {
            links.push(self.link()?);
        }
        Ok(Pattern { first, links })
    }

    fn twin(&mut self) -> Parsed<String> {
        self.expect("(")?;
        let name = self.name()?;
        self.expect(")")?;
        Ok(name)
    }

    fn link(&mut self) -> Parsed<Link> {
        let is_backward = self.symbol("<");
        self.expect("-")?;
        self.expect("[")?;
        let alias = if self.is_followed_by_alternative() { None } else { self.alias()? };
        let names = if self.symbol(":") || self.is_followed_by_alternative() { self.names()? } else { Vec::new() };
        let reach = self.reach(alias)?;
        self.expect("]")?;
        self.expect("-")?;
        let is_forward = !is_backward && self.symbol(">");
        let direction = match (is_backward, is_forward) {
            (true, _) => Direction::Backward,
            (false, true) => Direction::Forward,
            (false, false) => Direction::Either,
        };
        Ok(Link { direction, reach, names, twin: self.twin()? })
    }

    /// Whether names begin here without a colon (`[has|includes]`), as an example of the service's reference has it.
    fn is_followed_by_alternative(&self) -> bool {
        let [first, Spanned { token: Token::Symbol("|"), .. }, ..] = self.tokens else { return false };
        matches!(first.token, Token::Word(_) | Token::Name(_))
    }

    fn names(&mut self) -> Parsed<Vec<String>> {
        let mut names = vec![self.name()?];
        while self.symbol("|") {
            names.push(self.name()?);
        }
        Ok(names)
    }

    fn reach(&mut self, alias: Option<String>) -> Parsed<Reach> {
        if !self.is_symbol("*") {
            self.count_hops(1)?;
            return Ok(Reach::One(alias));
        }
        if let Some(alias) = alias {
            return Err(self.error(format!("a link of several hops has no relationship to call '{alias}'")));
        }
        self.advance();
        if self.symbol("..") {
            return self.hops().map(Reach::UpTo);
        }
        let [Spanned { token: Token::Number(over), .. }, Spanned { token: Token::Symbol(".."), .. }, ..] = self.tokens
        else {
            return self.hops().map(Reach::Exactly);
        };
        let over = over.parse::<usize>().map_err(|_| self.mismatch("a number of hops"))?;
        self.advance();
        self.advance();
        let none = self.error(format!("more than {over} and at most {} hops are none", self.shown()));
        let up_to = self.hops()?;
        if over < up_to { Ok(Reach::Between { over, up_to }) } else { Err(none) }
    }

    /// The most hops of a link.
    fn hops(&mut self) -> Parsed<usize> {
        let hops = match self.token() {
            Token::Number(text) => text.parse().ok().filter(|hops| *hops > 0),
            _ => None,
        };
        let hops = hops.ok_or_else(|| self.mismatch("a number of hops"))?;
        self.count_hops(hops)?;
        self.advance();
        Ok(hops)
    }

    fn count_hops(&mut self, hops: usize) -> Parsed<()> {
        self.hops = self.hops.saturating_add(hops);
        if self.hops <= MAX_HOPS { Ok(()) } else { Err(self.error(format!("a query has at most {MAX_HOPS} hops"))) }
    }
}
