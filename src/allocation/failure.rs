//! Why a registration failed, and what DPS is told.

use std::time::Duration;

use axum::http::StatusCode;

use super::plan::Rejection;
use super::request::Malformed;
use crate::digital_twins;

/// The longest reason that goes into an answer, in characters.
const MAX_REASON: usize = 500;

/// A registration that failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The request is no request.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The request is refused.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Azure Digital Twins failed, or refused.
    #[error("Azure Digital Twins: {0}")]
    Service(#[from] digital_twins::Error),
    /// Somebody else changed the twin each time between reading and writing it.
    #[error("twin {twin} changed twice while it was being bound")]
    Contended {
        /// The twin.
        twin: digital_twins::TwinId,
    },
    /// Azure Digital Twins took too long.
    #[error("not done within {} s", after.as_secs())]
    Deadline {
        /// How long was waited.
        after: Duration,
    },
    /// The answer cannot be written.
    #[error("the answer cannot be written: {0}")]
    Answer(#[from] serde_json::Error),
}

impl Failure {
    /// 400 for what repeating cannot mend: DPS fails the registration at once. 503 for the rest: DPS
    /// asks again, ten times. ("How to use custom allocation policies", troubleshooting)
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) | Self::Rejected(_) | Self::Answer(_) => StatusCode::BAD_REQUEST,
            Self::Contended { .. } | Self::Deadline { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Service(digital_twins::Error::PreconditionFailed { .. }) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Service(error) if error.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Service(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// The reason on one line of at most 500 characters: parts of it come from outside.
    #[must_use]
    pub fn reason(&self) -> String {
        let text = self.to_string();
        text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(MAX_REASON).collect()
    }
}
