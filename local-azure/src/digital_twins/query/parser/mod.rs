//! Tokens into a query: recursive descent, one function a rule.

use serde_json::Number;

mod clauses;

use super::{
    ast::{Collection, Comparison, Condition, Item, Kind, Literal, Operand, Path, Query, Select, Source, TextTest},
    error::SyntaxError,
    lexer::{self, Spanned, Token},
    words,
};

/// Azure Digital Twins service limits: characters in a query.
const MAX_CHARACTERS: usize = 8_000;
/// Azure Digital Twins service limits: AND and OR in a query.
const MAX_CONNECTIVES: usize = 50;
/// Azure Digital Twins service limits: items in an IN.
const MAX_LIST: usize = 50;
/// How deep parentheses and NOT may lie in one another; local-azure's own limit.
const MAX_DEPTH: usize = 64;

/// Reads a query.
///
/// # Errors
/// Where the text stops being a query, with what was expected there.
pub(crate) fn parse(query: &str) -> Result<Query, SyntaxError> {
    if query.chars().count() > MAX_CHARACTERS {
        let message = format!("a query has at most {MAX_CHARACTERS} characters");
        return Err(super::error::Position::START.error(message));
    }
    let tokens = lexer::tokens(query)?;
    Parser { tokens: &tokens, connectives: 0, depth: 0, hops: 0 }.query()
}

struct Parser<'t, 'q> {
    /// What is left; the end is never taken.
    tokens: &'t [Spanned<'q>],
    connectives: usize,
    depth: usize,
    /// Of all links so far.
    hops: usize,
}

type Parsed<T> = Result<T, SyntaxError>;

impl<'t, 'q> Parser<'t, 'q> {
    fn query(mut self) -> Parsed<Query> {
        if !self.word("SELECT") {
            return Err(self.error(format!("missing SELECT at '{}'", self.shown())));
        }
        let select = self.select()?;
        if !self.word("FROM") {
            return Err(self.mismatch("FROM"));
        }
        let from = self.source()?;
        let clauses = self.clauses(from.collection)?;
        let filter = if self.word("WHERE") { Some(self.condition()?) } else { None };
        match self.token() {
            Token::End => Ok(Query { select, from, clauses, filter }),
            _ => Err(self.error(format!("extraneous input '{}' expecting <EOF>", self.shown()))),
        }
    }

    fn select(&mut self) -> Parsed<Select> {
        if self.symbol("*") {
            return Ok(Select::All);
        }
        if self.word("COUNT") {
            self.expect("(")?;
            self.expect(")")?;
            return Ok(Select::Count);
        }
        if self.word("TOP") {
            self.expect("(")?;
            let count = match self.token() {
                Token::Number(text) => text.parse().ok(),
                _ => None,
            };
            let count = count.ok_or_else(|| self.mismatch("a number of rows"))?;
            self.advance();
            self.expect(")")?;
            let items = if self.is_word("FROM") { Vec::new() } else { self.items()? };
            return Ok(Select::Top(count, items));
        }
        self.items().map(Select::Items)
    }

    fn items(&mut self) -> Parsed<Vec<Item>> {
        let mut items = Vec::new();
        loop {
            let path = self.path()?;
            let name = if self.word("AS") { Some(self.name()?) } else { None };
            items.push(Item { path, name });
            if !self.symbol(",") {
                return Ok(items);
            }
        }
    }

    fn source(&mut self) -> Parsed<Source> {
        let collection = if self.word("DIGITALTWINS") {
            Collection::Twins
        } else if self.word("RELATIONSHIPS") {
            Collection::Relationships
        } else {
            return Err(self.mismatch("DIGITALTWINS or RELATIONSHIPS"));
        };
        Ok(Source { collection, alias: self.alias()? })
    }

    fn alias(&mut self) -> Parsed<Option<String>> {
        let has_alias = match self.token() {
            Token::Word(word) => !words::is_word(word),
            Token::Name(_) => true,
            _ => false,
        };
        if has_alias { self.name().map(Some) } else { Ok(None) }
    }

    fn condition(&mut self) -> Parsed<Condition> {
        self.connected("OR", Condition::Or, |parser| {
            parser.connected("AND", Condition::And, |parser| parser.negation())
        })
    }

    fn connected(
        &mut self,
        connective: &str,
        join: fn(Vec<Condition>) -> Condition,
        part: impl Fn(&mut Self) -> Parsed<Condition>,
    ) -> Parsed<Condition> {
        let first = part(self)?;
        if !self.is_word(connective) {
            return Ok(first);
        }
        let mut conditions = vec![first];
        while self.is_word(connective) {
            self.connectives += 1;
            if self.connectives > MAX_CONNECTIVES {
                return Err(self.error(format!("a query has at most {MAX_CONNECTIVES} AND and OR")));
            }
            self.advance();
            conditions.push(part(self)?);
        }
        Ok(join(conditions))
    }

    fn negation(&mut self) -> Parsed<Condition> {
        if self.word("NOT") {
            return self.deeper(|parser| Ok(Condition::Not(Box::new(parser.negation()?))));
        }
        if self.symbol("(") {
            let condition = self.deeper(Self::condition)?;
            self.expect(")")?;
            return Ok(condition);
        }
        match self.function()? {
            Some(condition) => Ok(condition),
            None => self.comparison(),
        }
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == MAX_DEPTH {
            return Err(self.error(format!("conditions are nested deeper than {MAX_DEPTH}")));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// A condition that is a function; `None` where there is no word with a parenthesis behind it.
    fn function(&mut self) -> Parsed<Option<Condition>> {
        let [Spanned { token: Token::Word(function), .. }, Spanned { token: Token::Symbol("("), .. }, ..] = self.tokens
        else {
            return Ok(None);
        };
        let condition = if function.eq_ignore_ascii_case("IS_OF_MODEL") {
            self.begin_arguments();
            self.is_of_model()?
        } else if let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.function().eq_ignore_ascii_case(function)) {
            self.begin_arguments();
            Condition::Is(kind, self.path()?)
        } else if let Some(test) = TextTest::ALL.into_iter().find(|test| test.function().eq_ignore_ascii_case(function))
        {
            self.begin_arguments();
            let text = self.operand()?;
            self.expect(",")?;
            Condition::Text(test, text, self.operand()?)
        } else if function.eq_ignore_ascii_case("ARRAY_CONTAINS") {
            self.begin_arguments();
            let path = self.path()?;
            self.expect(",")?;
            Condition::ArrayContains(path, self.literal()?)
        } else {
            return Err(self.error(format!("'{function}' is no function that can stand here")));
        };
        self.expect(")")?;
        Ok(Some(condition))
    }

    /// Takes the function's name and its parenthesis.
    fn begin_arguments(&mut self) {
        self.advance();
        self.advance();
    }

    fn is_of_model(&mut self) -> Parsed<Condition> {
        let alias = match self.token() {
            Token::String(_) => None,
            _ => {
                let alias = self.name()?;
                self.expect(",")?;
                Some(alias)
            }
        };
        let Token::String(model) = self.token() else { return Err(self.mismatch("a model id in single quotes")) };
        let model = model.parse().map_err(|_| self.error(format!("'{model}' is no model id")))?;
        self.advance();
        let exact = self.symbol(",");
        if exact && !self.word("EXACT") {
            return Err(self.mismatch("EXACT"));
        }
        Ok(Condition::IsOfModel { alias, model, exact })
    }

    fn comparison(&mut self) -> Parsed<Condition> {
        let left = self.operand()?;
        let negated = self.word("NIN") || (self.is_followed_by_in() && self.word("NOT") && self.word("IN"));
        if negated || self.word("IN") {
            return Ok(Condition::In { operand: left, negated, list: self.list()? });
        }
        let comparison = match self.token() {
            Token::Symbol(symbol) => Comparison::ALL.into_iter().find(|comparison| comparison.symbol() == *symbol),
            _ => None,
        };
        let comparison = comparison.ok_or_else(|| self.mismatch("a comparison"))?;
        self.advance();
        Ok(Condition::Compare(left, comparison, self.operand()?))
    }

    fn is_followed_by_in(&self) -> bool {
        matches!(self.tokens, [_, Spanned { token: Token::Word(word), .. }, ..] if word.eq_ignore_ascii_case("IN"))
    }

    fn list(&mut self) -> Parsed<Vec<Literal>> {
        self.expect("[")?;
        let mut list = vec![self.literal()?];
        while self.symbol(",") {
            if list.len() == MAX_LIST {
                return Err(self.error(format!("a list has at most {MAX_LIST} items")));
            }
            list.push(self.literal()?);
        }
        self.expect("]")?;
        Ok(list)
    }

    fn operand(&mut self) -> Parsed<Operand> {
        let is_path = match self.token() {
            Token::Word(word) => !["TRUE", "FALSE", "NULL"].iter().any(|literal| literal.eq_ignore_ascii_case(word)),
            Token::Name(_) => true,
            _ => false,
        };
        if is_path { self.path().map(Operand::Path) } else { self.literal().map(Operand::Literal) }
    }

    fn literal(&mut self) -> Parsed<Literal> {
        let literal = match self.token() {
            Token::String(text) => Some(Literal::String(text.to_string())),
            Token::Number(text) => number(text).map(Literal::Number),
            Token::Word(word) if word.eq_ignore_ascii_case("TRUE") => Some(Literal::Bool(true)),
            Token::Word(word) if word.eq_ignore_ascii_case("FALSE") => Some(Literal::Bool(false)),
            Token::Word(word) if word.eq_ignore_ascii_case("NULL") => Some(Literal::Null),
            _ => None,
        };
        let literal = literal.ok_or_else(|| self.mismatch("a value"))?;
        self.advance();
        Ok(literal)
    }

    fn path(&mut self) -> Parsed<Path> {
        let mut names = vec![self.name()?];
        while self.symbol(".") {
            names.push(self.name()?);
        }
        Ok(Path(names))
    }

    fn name(&mut self) -> Parsed<String> {
        match *self.token() {
            Token::Word(word) if words::is_reserved(word) => {
                Err(self.error(format!("'{word}' is a reserved word: as a name, write [[{word}]]")))
            }
            Token::Word(name) | Token::Name(name) => {
                self.advance();
                Ok(name.to_owned())
            }
            _ => Err(self.mismatch("a name")),
        }
    }

    fn token(&self) -> &'t Token<'q> {
        self.tokens.first().map_or(&Token::End, |spanned| &spanned.token)
    }

    fn shown(&self) -> String {
        self.tokens.first().map(ToString::to_string).unwrap_or_default()
    }

    fn advance(&mut self) {
        if let [_, rest @ ..] = self.tokens
            && !rest.is_empty()
        {
            self.tokens = rest;
        }
    }

    fn is_word(&self, wanted: &str) -> bool {
        matches!(self.token(), Token::Word(word) if word.eq_ignore_ascii_case(wanted))
    }

    /// Takes a keyword, if it is next.
    fn word(&mut self, wanted: &str) -> bool {
        let found = self.is_word(wanted);
        if found {
            self.advance();
        }
        found
    }

    fn is_symbol(&self, wanted: &str) -> bool {
        matches!(self.token(), Token::Symbol(symbol) if *symbol == wanted)
    }

    /// Takes a symbol, if it is next.
    fn symbol(&mut self, wanted: &str) -> bool {
        let found = self.is_symbol(wanted);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, symbol: &str) -> Parsed<()> {
        if self.symbol(symbol) { Ok(()) } else { Err(self.mismatch(&format!("'{symbol}'"))) }
    }

    fn mismatch(&self, wanted: &str) -> SyntaxError {
        self.error(format!("mismatched input '{}' expecting {wanted}", self.shown()))
    }

    fn error(&self, message: String) -> SyntaxError {
        let position = self.tokens.first().map_or(super::error::Position::START, |spanned| spanned.position);
        position.error(message)
    }
}

/// A number, exactly where it is an integer.
fn number(text: &str) -> Option<Number> {
    let integer = text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from));
    integer.ok().or_else(|| text.parse().ok().and_then(Number::from_f64))
}
