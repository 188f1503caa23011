//! What is wrong with a query, and where.

/// A place in a query's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// From 1.
    pub(crate) line: usize,
    /// From 0, in characters.
    pub(crate) column: usize,
}

impl Position {
    pub(crate) const START: Self = Self { line: 1, column: 0 };

    /// The place behind the character that stands here.
    pub(crate) fn after(self, c: char) -> Self {
        match c {
            '\n' => Self { line: self.line + 1, column: 0 },
            _ => Self { column: self.column + 1, ..self },
        }
    }

    pub(crate) fn error(self, message: String) -> SyntaxError {
        SyntaxError { position: self, message }
    }
}

/// A query that cannot be read or makes no sense. The text is in the service's form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("SQL Parser Error, Line={}, Position={}, Message={message}", position.line, position.column)]
pub(crate) struct SyntaxError {
    pub(crate) position: Position,
    pub(crate) message: String,
}

/// Why a query has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
}

/// The query is more work than a query may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the query is too much work")]
pub(crate) struct TooMuch;
