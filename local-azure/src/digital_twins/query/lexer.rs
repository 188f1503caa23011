//! Query text into tokens.

use std::{borrow::Cow, fmt, iter::Peekable, str::CharIndices};

use super::error::{Position, SyntaxError};

/// The smallest parts of a query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token<'q> {
    /// A name or a keyword.
    Word(&'q str),
    /// A name in `[[ ]]`: never a keyword.
    Name(&'q str),
    /// A text, unescaped.
    String(Cow<'q, str>),
    /// A number as it is written.
    Number(&'q str),
    /// Punctuation and operators.
    Symbol(&'static str),
    End,
}

/// A token, where it stands and how it is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spanned<'q> {
    pub(crate) token: Token<'q>,
    pub(crate) position: Position,
    pub(crate) text: &'q str,
}

impl fmt::Display for Spanned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.token == Token::End { "<EOF>" } else { self.text })
    }
}

/// Longer symbols first: the first one that fits is taken. The arrows of MATCH are read as their parts, since `a<-1`
/// is a comparison.
const SYMBOLS: [&str; 17] = ["<=", ">=", "!=", "..", "=", "<", ">", "(", ")", "[", "]", ",", ".", "*", "-", ":", "|"];

/// Whether the text reads as one name without `[[ ]]`.
pub(crate) fn is_plain_name(text: &str) -> bool {
    text.starts_with(starts_name) && text.chars().all(continues_name)
}

fn starts_name(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || c == '$'
}

fn continues_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$'
}

/// Splits a query into tokens; the last one is [`Token::End`].
///
/// # Errors
/// At a character that begins no token, and at a text or `[[` without an end.
pub(crate) fn tokens(query: &str) -> Result<Vec<Spanned<'_>>, SyntaxError> {
    let mut lexer = Lexer { query, rest: query.char_indices().peekable(), position: Position::START };
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next()?;
        let end = token.token == Token::End;
        tokens.push(token);
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'q> {
    query: &'q str,
    rest: Peekable<CharIndices<'q>>,
    position: Position,
}

impl<'q> Lexer<'q> {
    fn next(&mut self) -> Result<Spanned<'q>, SyntaxError> {
        self.take_while(char::is_whitespace);
        let (start, position) = (self.offset(), self.position);
        let token = self.token(start)?;
        let text = self.query.get(start..self.offset()).unwrap_or_default();
        Ok(Spanned { token, position, text })
    }

    fn token(&mut self, start: usize) -> Result<Token<'q>, SyntaxError> {
        let remaining = self.query.get(start..).unwrap_or_default();
        let Some(first) = remaining.chars().next() else { return Ok(Token::End) };
        if starts_name(first) {
            return Ok(Token::Word(self.take_while(continues_name)));
        }
        let unsigned = remaining.strip_prefix('-').unwrap_or(remaining);
        if unsigned.starts_with(|c: char| c.is_ascii_digit()) {
            return self.number(start);
        }
        if first == '\'' {
            return self.string();
        }
        if remaining.starts_with("[[") {
            return self.bracketed_name(start);
        }
        match SYMBOLS.into_iter().find(|symbol| remaining.starts_with(symbol)) {
            Some(symbol) => {
                symbol.chars().for_each(|_| self.advance());
                Ok(Token::Symbol(symbol))
            }
            None => Err(self.position.error(format!("token recognition error at: '{first}'"))),
        }
    }

    /// `-1`, `2.5`, `1e-3`; of `1..3` the `1`.
    fn number(&mut self, start: usize) -> Result<Token<'q>, SyntaxError> {
        let position = self.position;
        self.skip('-');
        self.take_while(|c| c.is_ascii_digit());
        let mut complete = true;
        let is_range = self.query.get(self.offset()..).is_some_and(|rest| rest.starts_with(".."));
        if !is_range && self.skip('.') {
            complete &= !self.take_while(|c| c.is_ascii_digit()).is_empty();
        }
        if self.skip('e') || self.skip('E') {
            let _signed = self.skip('-') || self.skip('+');
            complete &= !self.take_while(|c| c.is_ascii_digit()).is_empty();
        }
        let text = self.query.get(start..self.offset()).unwrap_or_default();
        if complete { Ok(Token::Number(text)) } else { Err(position.error(format!("'{text}' is no number"))) }
    }

    /// A text in single quotes, in which `\'` stands for a quote and `\\` for a backslash; any other backslash is one.
    fn string(&mut self) -> Result<Token<'q>, SyntaxError> {
        let position = self.position;
        self.advance();
        let start = self.offset();
        let mut unescaped: Option<String> = None;
        loop {
            let plain = self.take_while(|c| c != '\'' && c != '\\');
            if let Some(text) = &mut unescaped {
                text.push_str(plain);
            }
            let end = self.offset();
            match self.rest.peek() {
                None => return Err(position.error("a string has no closing quote".to_owned())),
                Some((_, '\'')) => {
                    self.advance();
                    let whole = self.query.get(start..end).unwrap_or_default();
                    return Ok(Token::String(unescaped.map_or(Cow::Borrowed(whole), Cow::Owned)));
                }
                Some(_) => {
                    self.advance();
                    let before = self.query.get(start..end).unwrap_or_default();
                    let text = unescaped.get_or_insert_with(|| before.to_owned());
                    match self.rest.peek() {
                        Some(&(_, escaped @ ('\'' | '\\'))) => {
                            text.push(escaped);
                            self.advance();
                        }
                        _ => text.push('\\'),
                    }
                }
            }
        }
    }

    fn bracketed_name(&mut self, start: usize) -> Result<Token<'q>, SyntaxError> {
        let position = self.position;
        let inner = self.query.get(start + 2..).unwrap_or_default();
        let name = inner.split_once("]]").map(|(name, _)| name).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| position.error("a name in [[ ]] is empty or has no end".to_owned()))?;
        (0..name.chars().count() + 4).for_each(|_| self.advance());
        Ok(Token::Name(name))
    }

    fn offset(&mut self) -> usize {
        self.rest.peek().map_or(self.query.len(), |&(offset, _)| offset)
    }

    fn advance(&mut self) {
        if let Some((_, c)) = self.rest.next() {
            self.position = self.position.after(c);
        }
    }

    fn skip(&mut self, wanted: char) -> bool {
        let found = self.rest.peek().is_some_and(|&(_, c)| c == wanted);
        if found {
            self.advance();
        }
        found
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'q str {
        let start = self.offset();
        while self.rest.peek().is_some_and(|&(_, c)| wanted(c)) {
            self.advance();
        }
        self.query.get(start..self.offset()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_know_their_line_and_column() {
        let tokens = tokens("SELECT *\nFROM [[GROUP]] 'it\\'s' -1.5e3 <=").unwrap();
        let seen: Vec<_> =
            tokens.iter().map(|token| (token.position.line, token.position.column, token.token.clone())).collect();
        assert_eq!(
            seen,
            [
                (1, 0, Token::Word("SELECT")),
                (1, 7, Token::Symbol("*")),
                (2, 0, Token::Word("FROM")),
                (2, 5, Token::Name("GROUP")),
                (2, 15, Token::String("it's".into())),
                (2, 23, Token::Number("-1.5e3")),
                (2, 30, Token::Symbol("<=")),
                (2, 32, Token::End),
            ]
        );
    }

    #[test]
    fn hops_are_numbers_with_two_dots_between_them() {
        let tokens = tokens("*1..10 ..2 a.b").unwrap();
        let seen: Vec<_> = tokens.iter().map(|token| token.text).collect();
        assert_eq!(seen, ["*", "1", "..", "10", "..", "2", "a", ".", "b", ""]);
    }

    #[test]
    fn strings_unescape_quotes_and_backslashes_only() {
        for (query, text) in [
            ("''", ""),
            (r"'a\'b'", "a'b"),
            (r"'a\\'", r"a\"),
            (r"'a\nb'", r"a\nb"),
            ("'\u{e4}\u{1f600}'", "\u{e4}\u{1f600}"),
        ] {
            assert_eq!(tokens(query).unwrap()[0].token, Token::String(text.into()), "{query}");
        }
    }

    #[test]
    fn unfinished_tokens_are_refused_where_they_begin() {
        for (query, column) in
            [("  'abc", 2), (r"'abc\'", 0), ("a [[b", 2), ("[[]]", 0), ("a @", 2), ("1.", 0), ("1e", 0)]
        {
            assert_eq!(tokens(query).unwrap_err().position.column, column, "{query}");
        }
    }
}
