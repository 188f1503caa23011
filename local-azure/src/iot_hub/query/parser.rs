//! Reading queries.

use serde_json::{Number, Value};

use super::{
    Collection, Query, QueryError, Selection,
    condition::{Comparison, Condition, Operand, Path},
    lexer::{Placed, Token, expected, tokens},
};

/// How deep conditions may nest; reading and deciding them recurses as deep.
const DEPTH: usize = 32;

pub(super) fn parse(text: &str) -> Result<Query, QueryError> {
    let mut parser = Parser { text, tokens: tokens(text)?.into_iter().peekable(), depth: 0 };
    let query = parser.query()?;
    match parser.tokens.peek() {
        None => Ok(query),
        Some(_) => Err(parser.expected("the end")),
    }
}

struct Parser<'q> {
    text: &'q str,
    tokens: std::iter::Peekable<std::vec::IntoIter<Placed>>,
    depth: usize,
}

impl Parser<'_> {
    fn query(&mut self) -> Result<Query, QueryError> {
        self.keyword("SELECT", "SELECT")?;
        let selection = self.selection()?;
        self.keyword("FROM", "FROM")?;
        let collection = self.collection()?;
        let condition = if self.takes_keyword("WHERE") { Some(self.any()?) } else { None };
        Ok(Query { collection, selection, condition })
    }

    fn selection(&mut self) -> Result<Selection, QueryError> {
        if self.takes("*") {
            return Ok(Selection::Twin);
        }
        let mut members = Vec::new();
        loop {
            let path = self.path("* or a member")?;
            if members.is_empty() && path.0.len() == 1 && self.takes("(") {
                return self.count(&path);
            }
            let name = self.alias()?.or_else(|| path.0.last().cloned()).unwrap_or_default();
            members.push((path, name));
            if !self.takes(",") {
                return Ok(Selection::Members(members));
            }
        }
    }

    /// `COUNT()`, behind its parenthesis.
    fn count(&mut self, function: &Path) -> Result<Selection, QueryError> {
        if !function.0.iter().all(|name| name.eq_ignore_ascii_case("COUNT")) || !self.takes(")") {
            return Err(self.expected("COUNT()"));
        }
        Ok(Selection::Count(self.alias()?.unwrap_or_else(|| "$1".to_owned())))
    }

    fn alias(&mut self) -> Result<Option<String>, QueryError> {
        if self.takes_keyword("AS") { self.name("a name").map(Some) } else { Ok(None) }
    }

    fn collection(&mut self) -> Result<Collection, QueryError> {
        const WANTED: &str = "devices or devices.modules";
        self.keyword("devices", WANTED)?;
        if !self.takes(".") {
            return Ok(Collection::Devices);
        }
        self.keyword("modules", WANTED)?;
        Ok(Collection::Modules)
    }

    fn any(&mut self) -> Result<Condition, QueryError> {
        let mut conditions = vec![self.all()?];
        while self.takes_keyword("OR") {
            conditions.push(self.all()?);
        }
        Ok(only(conditions, Condition::Any))
    }

    fn all(&mut self) -> Result<Condition, QueryError> {
        let mut conditions = vec![self.one()?];
        while self.takes_keyword("AND") {
            conditions.push(self.one()?);
        }
        Ok(only(conditions, Condition::All))
    }

    fn one(&mut self) -> Result<Condition, QueryError> {
        self.deeper(|parser| {
            if parser.takes_keyword("NOT") {
                return Ok(Condition::Not(Box::new(parser.one()?)));
            }
            if !parser.takes("(") {
                return parser.comparison();
            }
            let condition = parser.any()?;
            parser.mark(")", "a closing parenthesis")?;
            Ok(condition)
        })
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, QueryError>) -> Result<T, QueryError> {
        if self.depth == DEPTH {
            return Err(self.expected("something that does not nest so deep"));
        }
        self.depth += 1;
        let found = read(self)?;
        self.depth -= 1;
        Ok(found)
    }

    fn comparison(&mut self) -> Result<Condition, QueryError> {
        let left = self.operand()?;
        if self.takes_keyword("IN") {
            return Ok(Condition::Among(left, self.list()?));
        }
        if self.takes_keyword("NIN") {
            return Ok(Condition::Not(Box::new(Condition::Among(left, self.list()?))));
        }
        let comparison = match self.tokens.peek() {
            Some(Placed { token: Token::Mark(mark), .. }) => match *mark {
                "=" => Comparison::Equal,
                "!=" | "<>" => Comparison::Unequal,
                "<" => Comparison::Less,
                "<=" => Comparison::LessOrEqual,
                ">" => Comparison::Greater,
                ">=" => Comparison::GreaterOrEqual,
                _ => return Ok(Condition::Is(left)),
            },
            _ => return Ok(Condition::Is(left)),
        };
        self.tokens.next();
        Ok(Condition::Compare(left, comparison, self.operand()?))
    }

    fn list(&mut self) -> Result<Vec<Operand>, QueryError> {
        self.deeper(|parser| {
            parser.mark("[", "a list in brackets")?;
            let mut values = Vec::new();
            if parser.takes("]") {
                return Ok(values);
            }
            loop {
                values.push(parser.operand()?);
                if !parser.takes(",") {
                    parser.mark("]", "a closing bracket")?;
                    return Ok(values);
                }
            }
        })
    }

    fn operand(&mut self) -> Result<Operand, QueryError> {
        const WANTED: &str = "a member or a value";
        match self.tokens.peek().map(|placed| placed.token.clone()) {
            Some(Token::Text(text)) => self.value(text.into()),
            Some(Token::Number(number)) => self.value(Number::from_f64(number).map_or(Value::Null, Value::Number)),
            Some(Token::Mark("[")) => {
                let values = self.list()?.into_iter().map(|item| match item {
                    Operand::Value(value) => Ok(value),
                    _ => Err(self.expected("a list of values")),
                });
                Ok(Operand::Value(values.collect::<Result<Vec<Value>, _>>()?.into()))
            }
            Some(Token::Name(name)) => match name.to_ascii_lowercase().as_str() {
                "true" => self.value(true.into()),
                "false" => self.value(false.into()),
                "null" => self.value(Value::Null),
                _ => self.member(),
            },
            _ => Err(self.expected(WANTED)),
        }
    }

    fn value(&mut self, value: Value) -> Result<Operand, QueryError> {
        self.tokens.next();
        Ok(Operand::Value(value))
    }

    fn member(&mut self) -> Result<Operand, QueryError> {
        let path = self.path("a member")?;
        if !self.takes("(") {
            return Ok(Operand::Path(path));
        }
        if !path.0.iter().all(|name| name.eq_ignore_ascii_case("is_defined")) {
            return Err(self.expected("no other function than is_defined"));
        }
        let member = self.path("a member")?;
        self.mark(")", "a closing parenthesis")?;
        Ok(Operand::IsDefined(member))
    }

    fn path(&mut self, wanted: &'static str) -> Result<Path, QueryError> {
        let mut names = vec![self.name(wanted)?];
        while self.takes(".") {
            names.push(self.name("a member's name")?);
        }
        Ok(Path(names))
    }

    fn name(&mut self, wanted: &'static str) -> Result<String, QueryError> {
        match self.tokens.next_if(|placed| matches!(placed.token, Token::Name(_))) {
            Some(Placed { token: Token::Name(name), .. }) if !name.eq_ignore_ascii_case("FROM") => Ok(name),
            _ => Err(self.expected(wanted)),
        }
    }

    fn keyword(&mut self, word: &str, wanted: &'static str) -> Result<(), QueryError> {
        if self.takes_keyword(word) { Ok(()) } else { Err(self.expected(wanted)) }
    }

    fn takes_keyword(&mut self, word: &str) -> bool {
        let is = |placed: &Placed| matches!(&placed.token, Token::Name(name) if name.eq_ignore_ascii_case(word));
        self.tokens.next_if(is).is_some()
    }

    fn mark(&mut self, mark: &str, wanted: &'static str) -> Result<(), QueryError> {
        if self.takes(mark) { Ok(()) } else { Err(self.expected(wanted)) }
    }

    fn takes(&mut self, mark: &str) -> bool {
        self.tokens.next_if(|placed| matches!(placed.token, Token::Mark(found) if found == mark)).is_some()
    }

    fn expected(&mut self, wanted: &'static str) -> QueryError {
        let at = self.tokens.peek().map_or(self.text.len(), |placed| placed.at);
        expected(wanted, self.text, at)
    }
}

fn only(mut conditions: Vec<Condition>, several: fn(Vec<Condition>) -> Condition) -> Condition {
    match conditions.pop() {
        Some(condition) if conditions.is_empty() => condition,
        Some(condition) => {
            conditions.push(condition);
            several(conditions)
        }
        None => several(conditions),
    }
}
