//! Which invocation it is.

use std::fmt;

use uuid::Uuid;

/// The host's id of one invocation: new for each attempt at a batch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InvocationId(Box<str>);

impl InvocationId {
    /// The request header that carries it.
    pub const HEADER: &'static str = "x-azure-functions-invocationid";

    /// Takes the header's value; makes an id up where there is none, or none that fits on a log line.
    #[must_use]
    pub fn from_header(value: Option<&str>) -> Self {
        const LONGEST: usize = 64;
        match value {
            Some(id) if !id.is_empty() && id.len() <= LONGEST && id.bytes().all(|b| b.is_ascii_graphic()) => {
                Self(id.into())
            }
            _ => Self(Uuid::new_v4().to_string().into()),
        }
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InvocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_would_break_a_log_line_is_replaced() {
        assert_eq!(InvocationId::from_header(Some("5c6a5f0e")).as_str(), "5c6a5f0e");
        for bad in [None, Some(""), Some("a b"), Some("a\nb"), Some("x".repeat(65).as_str())] {
            assert_eq!(InvocationId::from_header(bad).as_str().len(), 36);
        }
    }
}
