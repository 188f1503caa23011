//! What can go wrong with a call to Azure Digital Twins, sorted by what can be done about it.

use std::time::Duration;

use dtdl::ModelId;

use super::Malformed;

/// A failed operation. Says what the service said and carries no secret.
///
/// [`is_transient`](Self::is_transient) is the question that decides whether an event or a registration is tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// 404: the twin, model or relationship does not exist (`DigitalTwinNotFound`, `ModelNotFound` and so on).
    #[error("not found: {code}: {message}")]
    NotFound {
        /// The service's error code.
        code: String,
        /// The service's text.
        message: String,
    },
    /// 412: the twin has another version than the one that was read, or exists although it was to be created.
    #[error("it changed meanwhile: {message}")]
    PreconditionFailed {
        /// The service's text.
        message: String,
    },
    /// 429, or so much was throttled lately that the call was not even sent.
    #[error("throttled by Azure Digital Twins{}", retry_after.map(|wait| format!("; it asks to wait {} s", wait.as_secs())).unwrap_or_default())]
    Throttled {
        /// How long the service wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// 400 and the other answers that say that the request itself is wrong: repeating it cannot help.
    #[error("refused with status {status}: {code}: {message}{}", details.iter().map(|detail| format!("; {detail}")).collect::<String>())]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The service's error code.
        code: String,
        /// The service's text.
        message: String,
        /// What else it said, one text a fault.
        details: Vec<String>,
    },
    /// 401 or 403: the token is not accepted, or its identity lacks a role. An operator can mend it.
    #[error("access denied with status {status}: {hint}")]
    Denied {
        /// The HTTP status.
        status: u16,
        /// What to do.
        hint: &'static str,
    },
    /// 5xx, 408, or an answer that no Azure Digital Twins instance gives (a wrong address, a proxy in between).
    #[error("the service is not available: status {status}: {message}")]
    Unavailable {
        /// The HTTP status.
        status: u16,
        /// The service's error code, if it sent one.
        code: Option<String>,
        /// The service's text.
        message: String,
    },
    /// No answer in time.
    #[error("no answer to {operation} within {} s", after.as_secs())]
    Timeout {
        /// What was asked.
        operation: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// No connection, or it broke.
    #[error("no connection: {reason}")]
    Connection {
        /// The chain of causes.
        reason: String,
    },
    /// No token could be had.
    #[error("no access token: {reason}")]
    Token {
        /// The chain of causes.
        reason: String,
    },
    /// The answer to a successful call does not have the shape that it should have.
    #[error("unexpected answer to {operation}: {reason}")]
    Answer {
        /// What was asked.
        operation: &'static str,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The service has a model that it should have refused, or that uses what is not known here.
    #[error("model {model}, or one that it extends or contains, cannot be read: {reason}")]
    UnreadableModel {
        /// The model that was asked for.
        model: ModelId,
        /// What is wrong with it.
        reason: String,
    },
    /// The answer has more rows, pages or bytes than a caller of ours can want.
    #[error("the answer to {operation} is larger than {limit}")]
    TooLarge {
        /// What was asked.
        operation: &'static str,
        /// The limit that it went over, with its unit.
        limit: String,
    },
}

impl Error {
    /// Whether the same call can succeed later: throttled, down, slow, no token, no role yet.
    ///
    /// An answer that cannot be read counts as transient as well: nothing says that the request was wrong.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Throttled { .. }
            | Self::Denied { .. }
            | Self::Unavailable { .. }
            | Self::Timeout { .. }
            | Self::Connection { .. }
            | Self::Token { .. }
            | Self::Answer { .. } => true,
            Self::NotFound { .. }
            | Self::PreconditionFailed { .. }
            | Self::Refused { .. }
            | Self::UnreadableModel { .. }
            | Self::TooLarge { .. } => false,
        }
    }

    /// Whether the service, or our own pace, held the call back.
    #[must_use]
    pub fn is_throttled(&self) -> bool {
        matches!(self, Self::Throttled { .. })
    }

    /// The HTTP status, where there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::NotFound { .. } => Some(404),
            Self::PreconditionFailed { .. } => Some(412),
            Self::Throttled { .. } => Some(429),
            Self::Refused { status, .. } | Self::Denied { status, .. } | Self::Unavailable { status, .. } => {
                Some(*status)
            }
            Self::Timeout { .. }
            | Self::Connection { .. }
            | Self::Token { .. }
            | Self::Answer { .. }
            | Self::UnreadableModel { .. }
            | Self::TooLarge { .. } => None,
        }
    }

    /// The service's error code, where it sent one. Texts drift over time: decide by code.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::NotFound { code, .. } | Self::Refused { code, .. } => Some(code),
            Self::PreconditionFailed { .. } => Some("PreconditionFailed"),
            Self::Unavailable { code, .. } => code.as_deref(),
            _ => None,
        }
    }

    pub(super) fn malformed(operation: &'static str, error: &Malformed) -> Self {
        Self::Answer { operation, reason: error.to_string() }
    }
}
