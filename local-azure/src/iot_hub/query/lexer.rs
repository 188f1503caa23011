//! The words of a query.

use std::{iter::Peekable, str::CharIndices};

use super::QueryError;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A keyword or a name; `[[any text]]` is a name too.
    Name(String),
    Text(String),
    Number(f64),
    /// One of `( ) [ ] , . *` and the comparisons.
    Mark(&'static str),
}

/// A token with where it begins in the query.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) at: usize,
}

const MARKS: [&str; 14] = ["<>", "!=", "<=", ">=", "=", "<", ">", "(", ")", "[", "]", ",", ".", "*"];

pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, QueryError> {
    let mut found = Vec::new();
    let mut characters = text.char_indices().peekable();
    while let Some(&(at, first)) = characters.peek() {
        let rest = text.get(at..).unwrap_or_default();
        let token = if first.is_whitespace() {
            characters.next();
            continue;
        } else if let Some(name) = rest.strip_prefix("[[").and_then(|rest| rest.split_once("]]")).map(|(name, _)| name)
        {
            skip(&mut characters, at + name.len() + 4);
            Token::Name(name.to_owned())
        } else if first == '\'' || first == '"' {
            characters.next();
            Token::Text(quoted(&mut characters, first).ok_or_else(|| expected("the end of a text", text, at))?)
        } else if first.is_ascii_digit() || first == '-' {
            let number: &str =
                rest.split(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c)).next().unwrap_or_default();
            skip(&mut characters, at + number.len());
            Token::Number(number.parse().map_err(|_| expected("a number", text, at))?)
        } else if first.is_alphabetic() || first == '_' || first == '$' {
            let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').next().unwrap_or_default();
            skip(&mut characters, at + name.len());
            Token::Name(name.to_owned())
        } else {
            let mark = MARKS.into_iter().find(|mark| rest.starts_with(mark));
            let mark = mark.ok_or_else(|| expected("a name, a value or an operator", text, at))?;
            skip(&mut characters, at + mark.len());
            Token::Mark(mark)
        };
        found.push(Placed { token, at });
    }
    Ok(found)
}

/// Names what was expected, and what stands there instead.
pub(super) fn expected(wanted: &'static str, text: &str, at: usize) -> QueryError {
    let found: String = text.get(at..).unwrap_or_default().chars().take(20).collect();
    let at = if found.is_empty() { "at the end".to_owned() } else { format!("at {found:?}") };
    QueryError { wanted, at }
}

fn skip(characters: &mut Peekable<CharIndices<'_>>, to: usize) {
    while characters.next_if(|(at, _)| *at < to).is_some() {}
}

/// A text up to its closing quote; a doubled quote, or one behind a backslash, belongs to it.
fn quoted(characters: &mut Peekable<CharIndices<'_>>, quote: char) -> Option<String> {
    let mut text = String::new();
    loop {
        match characters.next()?.1 {
            '\\' => text.push(characters.next()?.1),
            end if end == quote => match characters.next_if(|(_, next)| *next == quote) {
                Some(_) => text.push(quote),
                None => return Some(text),
            },
            other => text.push(other),
        }
    }
}
