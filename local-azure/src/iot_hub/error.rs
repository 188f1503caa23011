//! What IoT Hub refuses, under the names and numbers of its error codes (IoT Hub: understand error codes).

use std::time::Duration;

use axum::http::StatusCode;

use super::{Address, IdError, ModuleId, TwinError};
use crate::{gate::Refusal, sas};

/// A request to a hub is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// There is no such device.
    #[error("there is no device {0}")]
    DeviceNotFound(String),
    /// There is no such module on the device.
    #[error("there is no module {0}")]
    ModuleNotFound(Address),
    /// The device exists already.
    #[error("A device with ID '{0}' is already registered.")]
    DeviceAlreadyExists(String),
    /// The module exists already.
    #[error("Device {device} already contains Module {module}.", device = .0.device, module = .1)]
    ModuleAlreadyExists(Address, ModuleId),
    /// `If-Match` names another version.
    #[error("PreconditionFailed, ETag may be invalid.")]
    PreconditionFailed,
    /// A received message was given back, completed, or its lock ended.
    #[error("device {0} does not hold this message any more")]
    LockLost(String),
    /// Too many messages wait for the device.
    #[error("The queue of device {0} is full: {1} messages wait for it")]
    QueueFull(String, usize),
    /// The device cannot be called.
    #[error(
        "The operation failed because the requested device isn't online or hasn't registered the direct method callback: {0}"
    )]
    DeviceNotOnline(String),
    /// The device does not answer a call.
    #[error("Timed out waiting for the response from device {0} for {1} s.")]
    MethodTimeout(String, u64),
    /// The device's answer to a call cannot be passed on.
    #[error("the answer of device {0} cannot be used: {1}")]
    UnusableAnswer(String, String),
    /// The request is not understood.
    #[error("{0}")]
    ArgumentInvalid(String),
    /// A twin would break a rule.
    #[error(transparent)]
    Twin(#[from] TwinError),
    /// An id breaks a rule.
    #[error(transparent)]
    Id(#[from] IdError),
    /// Who asks is not known.
    #[error("Unauthorized: {0}")]
    Unauthorized(Denial),
    /// Too many requests.
    #[error("The request has been throttled. Wait {} seconds and try again.", .retry_after.as_secs().max(1))]
    Throttled {
        /// When to come back.
        retry_after: Duration,
    },
    /// A fault that was asked for: this HTTP status.
    #[error("{}: a fault that was asked for.", .status.canonical_reason().unwrap_or("Fault"))]
    Faulty {
        /// The status.
        status: StatusCode,
        /// When to come back.
        retry_after: Option<Duration>,
    },
    /// The connection is to end without an answer.
    #[error("the connection ends without an answer")]
    NoAnswer,
}

/// Why a service's credentials are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// There are none.
    #[error("send an Authorization header with a shared access signature")]
    NoToken,
    /// The token is no good.
    #[error(transparent)]
    Token(#[from] sas::Refusal),
    /// The token's policy does not exist.
    #[error("the token must name one of the hub's policies in skn")]
    NoSuchPolicy,
    /// The token is not the device's, or the device may not connect.
    #[error("{0}")]
    Device(String),
    /// The policy lacks a permission.
    #[error("the policy lacks the permission {0}")]
    Permission(&'static str),
}

impl Error {
    /// That there is nothing at this address.
    pub(super) fn not_found(at: &Address) -> Self {
        if at.module.is_some() { Self::ModuleNotFound(at.clone()) } else { Self::DeviceNotFound(at.device.to_string()) }
    }

    /// That there is something at this address already.
    pub(super) fn already_exists(at: &Address) -> Self {
        match &at.module {
            Some(module) => Self::ModuleAlreadyExists(at.clone(), module.clone()),
            None => Self::DeviceAlreadyExists(at.device.to_string()),
        }
    }

    /// The error's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::DeviceNotFound(_) => "DeviceNotFound",
            Self::ModuleNotFound(_) => "ModuleNotFound",
            Self::DeviceAlreadyExists(_) => "DeviceAlreadyExists",
            Self::ModuleAlreadyExists(..) => "ModuleAlreadyExistsOnDevice",
            Self::PreconditionFailed => "PreconditionFailed",
            Self::LockLost(_) => "DeviceMessageLockLost",
            Self::QueueFull(..) => "DeviceMaximumQueueDepthExceeded",
            Self::DeviceNotOnline(_) => "DeviceNotOnline",
            Self::MethodTimeout(..) => "GatewayTimeout",
            Self::UnusableAnswer(..) => "InvalidResponseWhileProxying",
            Self::ArgumentInvalid(_) | Self::Twin(_) | Self::Id(_) => "ArgumentInvalid",
            Self::Unauthorized(_) => "IotHubUnauthorizedAccess",
            Self::Throttled { .. } => "ThrottlingException",
            Self::Faulty { status, .. } => match *status {
                StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
                StatusCode::GATEWAY_TIMEOUT => "GatewayTimeout",
                _ => "ServerError",
            },
            Self::NoAnswer => "ServerError",
        }
    }

    /// The error's number; its first three digits are the HTTP status.
    pub fn code(&self) -> u32 {
        match self {
            Self::DeviceNotFound(_) => 404_001,
            Self::ModuleNotFound(_) => 404_010,
            Self::DeviceAlreadyExists(_) => 409_001,
            Self::ModuleAlreadyExists(..) => 409_301,
            Self::PreconditionFailed => 412_001,
            Self::LockLost(_) => 412_002,
            Self::QueueFull(..) => 403_004,
            Self::DeviceNotOnline(_) => 404_103,
            Self::MethodTimeout(..) => 504_101,
            Self::UnusableAnswer(..) => 502_001,
            Self::ArgumentInvalid(_) | Self::Twin(_) | Self::Id(_) => 400_004,
            Self::Unauthorized(_) => 401_002,
            Self::Throttled { .. } => 429_001,
            Self::Faulty { status, .. } => u32::from(status.as_u16()) * 1_000 + 1,
            Self::NoAnswer => 500_001,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Status { status: StatusCode::TOO_MANY_REQUESTS, retry_after } => {
                Self::Throttled { retry_after: retry_after.unwrap_or_default() }
            }
            Refusal::Status { status, retry_after } => Self::Faulty { status, retry_after },
            Refusal::Reset => Self::NoAnswer,
        }
    }
}
