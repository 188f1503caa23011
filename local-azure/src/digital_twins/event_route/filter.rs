//! The filters of event routes: whether a text is one (Azure Digital Twins: manage endpoints and routes, filter events).
//!
//! ```text
//! filter     := all (OR all)*
//! all        := test (AND test)*
//! test       := ( filter ) | TRUE | FALSE | function(operand, operand) | operand comparison operand
//! operand    := name(.name)* | string | number | TRUE | FALSE | NULL
//! function   := STARTS_WITH | ENDS_WITH | CONTAINS
//! comparison := < | <= | > | >= | = | !=
//! ```
//!
//! Names are those of an event (`type`, `$body.Temperature`); the service takes any name, so this does, too.

use crate::digital_twins::query::{
    SyntaxError,
    lexer::{self, Spanned, Token},
};

/// How deep parentheses may lie in one another; local-azure's own limit.
const MAX_DEPTH: usize = 64;

const FUNCTIONS: [&str; 3] = ["STARTS_WITH", "ENDS_WITH", "CONTAINS"];
const COMPARISONS: [&str; 6] = ["<", "<=", ">", ">=", "=", "!="];

/// What is wrong with a filter, and where. The text is in the service's form, which counts positions from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Parsing error, Line={line}, Position={position}, Message={message}")]
pub(crate) struct FilterFault {
    line: usize,
    position: usize,
    message: String,
}

#[cfg(any(test, fuzzing))]
impl FilterFault {
    /// Line and position, both counted from 1.
    pub(crate) fn place(&self) -> (usize, usize) {
        (self.line, self.position)
    }
}

impl From<SyntaxError> for FilterFault {
    fn from(SyntaxError { position, message }: SyntaxError) -> Self {
        Self { line: position.line, position: position.column + 1, message }
    }
}

/// Whether the text is a filter.
///
/// # Errors
/// Where it stops being one.
pub(crate) fn check(filter: &str) -> Result<(), FilterFault> {
    // Filters are written in the same tokens as queries.
    let tokens = lexer::tokens(filter)?;
    let mut reader = Reader { tokens: &tokens, depth: 0 };
    reader.filter()?;
    if reader.is_at_end() { Ok(()) } else { Err(reader.unexpected()) }
}

struct Reader<'t, 'q> {
    /// What is left; the end is never taken.
    tokens: &'t [Spanned<'q>],
    depth: usize,
}

type Checked = Result<(), FilterFault>;

impl Reader<'_, '_> {
    fn filter(&mut self) -> Checked {
        self.all()?;
        while self.takes(|token| is_word(token, "OR")) {
            self.all()?;
        }
        Ok(())
    }

    fn all(&mut self) -> Checked {
        self.test()?;
        while self.takes(|token| is_word(token, "AND")) {
            self.test()?;
        }
        Ok(())
    }

    fn test(&mut self) -> Checked {
        if self.takes(|token| is_symbol(token, "(")) {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(self.fault(format!("Parentheses lie deeper than {MAX_DEPTH} in one another")));
            }
            self.filter()?;
            self.depth -= 1;
            return self.wants(|token| is_symbol(token, ")"));
        }
        if self.followed_by("(") {
            return self.function();
        }
        let is_truth = self.token().is_some_and(|token| is_word(token, "TRUE") || is_word(token, "FALSE"));
        self.operand()?;
        let is_compared = self.takes(is_comparison);
        match (is_compared, is_truth) {
            (true, _) => self.operand(),
            (false, true) => Ok(()),
            (false, false) => Err(self.unexpected()),
        }
    }

    fn function(&mut self) -> Checked {
        self.wants(|token| FUNCTIONS.iter().any(|function| is_word(token, function)))?;
        self.wants(|token| is_symbol(token, "("))?;
        self.operand()?;
        self.wants(|token| is_symbol(token, ","))?;
        self.operand()?;
        self.wants(|token| is_symbol(token, ")"))
    }

    fn operand(&mut self) -> Checked {
        if self.takes(|token| matches!(token, Token::String(_) | Token::Number(_))) {
            return Ok(());
        }
        self.name()?;
        while self.takes(|token| is_symbol(token, ".")) {
            self.name()?;
        }
        Ok(())
    }

    fn name(&mut self) -> Checked {
        self.wants(|token| match token {
            Token::Word(_) => !is_word(token, "AND") && !is_word(token, "OR"),
            Token::Name(_) => true,
            _ => false,
        })
    }

    fn token(&self) -> Option<&Token<'_>> {
        self.tokens.first().map(|spanned| &spanned.token)
    }

    fn is_at_end(&self) -> bool {
        self.token().is_none_or(|token| *token == Token::End)
    }

    fn followed_by(&self, symbol: &str) -> bool {
        self.tokens.get(1).is_some_and(|next| is_symbol(&next.token, symbol))
    }

    /// Takes the next token if it is wanted; whether it was.
    fn takes(&mut self, wanted: impl Fn(&Token<'_>) -> bool) -> bool {
        match self.tokens {
            [next, rest @ ..] if !rest.is_empty() && wanted(&next.token) => {
                self.tokens = rest;
                true
            }
            _ => false,
        }
    }

    fn wants(&mut self, wanted: impl Fn(&Token<'_>) -> bool) -> Checked {
        if self.takes(wanted) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> FilterFault {
        let found = self.tokens.first().map(ToString::to_string).unwrap_or_default();
        self.fault(format!("Unexpected input '{found}'."))
    }

    fn fault(&self, message: String) -> FilterFault {
        let (line, column) = self.tokens.first().map_or((1, 0), |next| (next.position.line, next.position.column));
        FilterFault { line, position: column + 1, message }
    }
}

fn is_word(token: &Token<'_>, word: &str) -> bool {
    matches!(token, Token::Word(found) if found.eq_ignore_ascii_case(word))
}

fn is_symbol(token: &Token<'_>, symbol: &str) -> bool {
    matches!(token, Token::Symbol(found) if *found == symbol)
}

fn is_comparison(token: &Token<'_>) -> bool {
    COMPARISONS.iter().any(|comparison| is_symbol(token, comparison))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn documented_filters_are_taken() {
        for filter in [
            "true",
            "FALSE",
            "type = 'Microsoft.DigitalTwins.Twin.Create'",
            "$eventType = 'DigitalTwinTelemetryMessages' or $eventType = 'DigitalTwinLifecycleNotification'",
            "STARTS_WITH($body.$metadata.$model, 'dtmi:example:com:floor')",
            "ENDS_WITH(subject, 'x') AND NOT_A_KEYWORD != 'y'",
            "CONTAINS(subject, 'room')",
            "$body.errorCode > 200",
            "$body.temperature <= 5.5",
            "$body.poweredOn = true",
            "$body.prop != null",
            "(type != 'microsoft.iot.telemetry' OR datacontenttype = 'application/json') OR (specversion != '1.0')",
        ] {
            assert_eq!(check(filter), Ok(()), "{filter}");
        }
    }

    #[test]
    fn faults_say_where_and_what() {
        let deep = "(".repeat(65);
        for (filter, fault) in [
            ("this is not a valid filter string", "Line=1, Position=6, Message=Unexpected input 'is'."),
            ("", "Line=1, Position=1, Message=Unexpected input '<EOF>'."),
            ("type =", "Line=1, Position=7, Message=Unexpected input '<EOF>'."),
            ("type = 'a' AND", "Line=1, Position=15, Message=Unexpected input '<EOF>'."),
            ("(true", "Line=1, Position=6, Message=Unexpected input '<EOF>'."),
            ("true)", "Line=1, Position=5, Message=Unexpected input ')'."),
            ("type = 'a'\n or or", "Line=2, Position=5, Message=Unexpected input 'or'."),
            ("LOWER(type) = 'a'", "Line=1, Position=1, Message=Unexpected input 'LOWER'."),
            ("CONTAINS(type)", "Line=1, Position=14, Message=Unexpected input ')'."),
            ("$body. = 1", "Line=1, Position=8, Message=Unexpected input '='."),
            ("type = 'a", "Line=1, Position=8, Message=a string has no closing quote"),
            (&deep, "Line=1, Position=66, Message=Parentheses lie deeper than 64 in one another"),
        ] {
            assert_eq!(check(filter).unwrap_err().to_string(), format!("Parsing error, {fault}"), "{filter}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in "\\PC*") {
            let _ = check(&text);
        }

        #[test]
        fn any_words_of_filters_are_taken_or_refused(words in prop::collection::vec(prop::sample::select(vec![
            "type", "$body", ".", "=", "<=", "'a'", "1.5", "AND", "or", "(", ")", ",", "CONTAINS", "true", "null", "\n",
        ]), 0..24)) {
            let _ = check(&words.join(" "));
        }
    }
}
