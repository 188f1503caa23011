//! Why a registration did not end in a hub, and what to do about it.

use std::{fmt, time::Duration};

use crate::mqtt::ConnectError;

/// Why a device got no hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProvisioningError {
    /// DPS was not reached, or hung up.
    #[error("DPS: {0}")]
    Connection(#[from] ConnectError),
    /// The key does not fit the registration id and id scope, or the token is out of time (401).
    #[error("DPS does not accept the device's key: {0}")]
    Unauthorized(ServiceError),
    /// Nobody enrolled this device (404201).
    #[error("DPS has no enrollment for the device: {0}")]
    NoEnrollment(ServiceError),
    /// DPS refused the request for another reason.
    #[error("DPS refused the registration: {0}")]
    Rejected(ServiceError),
    /// The registration went through and failed, in the custom allocation webhook for instance.
    #[error("the registration failed: {0}")]
    Failed(ServiceError),
    /// The enrollment is disabled.
    #[error("the device's enrollment is disabled")]
    Disabled,
    /// The registration ended without a hub.
    #[error("DPS has not assigned the device to a hub")]
    Unassigned,
    /// DPS assigned a hub or a device id that cannot be used.
    #[error("DPS assigned what cannot be used: {0}")]
    BadAssignment(#[from] crate::identity::InvalidName),
    /// DPS answered what is no answer.
    #[error("DPS answered with {0}")]
    BadAnswer(String),
    /// No end within the deadline.
    #[error("no hub assigned within {} s; last: {last}", after.as_secs())]
    TimedOut {
        /// How long it was tried.
        after: Duration,
        /// What stood in the way last.
        last: String,
    },
}

impl ProvisioningError {
    pub(super) fn from_service(error: ServiceError) -> Self {
        match (error.status, error.code) {
            (401, _) => Self::Unauthorized(error),
            (_, Some(404_201)) => Self::NoEnrollment(error),
            _ => Self::Rejected(error),
        }
    }

    /// Whether registering again later can help without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connection(error) => error.is_transient(),
            Self::TimedOut { .. } => true,
            Self::Failed(error) => !matches!(error.code, Some(400_207..=400_209)),
            _ => false,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Connection(error) if error.is_unauthorized() => UNAUTHORIZED,
            Self::Connection(error) => error.hint(),
            Self::Unauthorized(_) => UNAUTHORIZED,
            Self::NoEnrollment(_) => {
                "make an enrollment group (or an individual enrollment with this registration id) in DPS: Manage \
                 enrollments"
            }
            Self::Rejected(_) => "see the error code under 'Troubleshoot DPS' and give the tracking id to support",
            Self::Failed(error) => error.failure_hint(),
            Self::Disabled => "enable the enrollment in DPS: Manage enrollments",
            Self::Unassigned => "check the linked hubs and the allocation policy of the enrollment",
            Self::BadAssignment(_) => "look at the enrollment: its device id, and the linked hubs",
            Self::BadAnswer(_) => "is PROVISIONING_HOST a DPS instance?",
            Self::TimedOut { .. } => "try again; when it stays so, look at the log of the allocation function",
        }
    }
}

const UNAUTHORIZED: &str = "PROVISIONING_SYMMETRIC_KEY or PROVISIONING_IDSCOPE is wrong, or this machine's clock is: take \
                            both from the enrollment group (local: local-azure up prints them)";

/// What DPS says about an error. The texts come from the service: control characters in them are escaped, and long
/// ones cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceError {
    status: u16,
    code: Option<u32>,
    message: Option<String>,
    tracking_id: Option<String>,
}

impl ServiceError {
    pub(super) fn new(status: u16, code: Option<u32>, message: Option<String>, tracking_id: Option<String>) -> Self {
        let clean = |text: String| text.chars().take(400).flat_map(char::escape_debug).collect::<String>();
        let some = |text: Option<String>| text.map(clean).filter(|text| !text.is_empty());
        Self { status, code, message: some(message), tracking_id: some(tracking_id) }
    }

    /// The HTTP-like status of the answer.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The six-digit code of the service, such as 401002.
    pub fn code(&self) -> Option<u32> {
        self.code
    }

    /// The text of the service.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// What support asks for.
    pub fn tracking_id(&self) -> Option<&str> {
        self.tracking_id.as_deref()
    }

    /// Codes of the custom allocation policy (DPS: troubleshooting table).
    fn failure_hint(&self) -> &'static str {
        match self.code {
            Some(400_207) => {
                "the allocation webhook failed: look at the log of DpsAdtAllocationFunc (is ADT_MODEL_ID a model that is \
                 in Azure Digital Twins?)"
            }
            Some(400_208) => "the allocation webhook named no hub: look at the log of DpsAdtAllocationFunc",
            Some(400_209) => {
                "the allocation webhook refused DPS: set its URL with a valid function key in the enrollment"
            }
            _ => "look at the device's registration record in DPS",
        }
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "error {code}")?,
            None => write!(f, "status {}", self.status)?,
        }
        if let Some(message) = &self.message {
            write!(f, ", {message}")?;
        }
        if let Some(tracking_id) = &self.tracking_id {
            write!(f, " (tracking id {tracking_id})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_the_service_cannot_drive_the_terminal() {
        let error = ServiceError::new(400, None, Some("\u{1b}[2Jgone\n".to_owned()), Some(String::new()));
        assert_eq!(error.to_string(), r"status 400, \u{1b}[2Jgone\n");
        let long = ServiceError::new(400, Some(1), Some("x".repeat(10_000)), None);
        assert_eq!(long.message().unwrap().len(), 400);
    }

    #[test]
    fn each_code_of_the_webhook_has_its_own_advice() {
        let hint = |code| ProvisioningError::Failed(ServiceError::new(200, Some(code), None, None)).hint();
        assert!(hint(400_207).contains("log of DpsAdtAllocationFunc"));
        assert!(hint(400_208).contains("named no hub"));
        assert!(hint(400_209).contains("function key"));
    }
}
