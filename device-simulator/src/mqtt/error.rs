//! What goes wrong on the way to a server and on a connection.

use std::{fmt, io, sync::Arc, time::Duration};

use rumqttc::mqttbytes::{Error as CodecError, v4::ConnectReturnCode};
use rustls::CertificateError;

use crate::identity::Endpoint;

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name does not resolve, or nobody listens there.
    #[error("cannot reach {endpoint}: {source}")]
    Unreachable {
        /// Where to.
        endpoint: Endpoint,
        /// What the system said.
        source: io::Error,
    },
    /// The server's certificate leads to no root that is trusted, or does not name the host.
    #[error("the certificate of {endpoint} is not trusted: {source}")]
    Untrusted {
        /// Whose certificate.
        endpoint: Endpoint,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// The TLS handshake failed otherwise.
    #[error("no TLS connection to {endpoint}: {source}")]
    Tls {
        /// With whom.
        endpoint: Endpoint,
        /// What happened.
        source: io::Error,
    },
    /// No connection in time.
    #[error("no answer from {endpoint} within {} s", after.as_secs())]
    TimedOut {
        /// From whom.
        endpoint: Endpoint,
        /// How long it was waited.
        after: Duration,
    },
    /// The server answered CONNECT with a refusal.
    #[error("{endpoint} refused the connection: {refusal}")]
    Refused {
        /// Who refused.
        endpoint: Endpoint,
        /// The reason it gave.
        refusal: Refusal,
    },
    /// The connection ended before the server had answered.
    #[error("no answer from {endpoint}: {source}")]
    Unanswered {
        /// Who did not answer.
        endpoint: Endpoint,
        /// How the connection ended.
        source: ConnectionLost,
    },
}

impl ConnectError {
    pub(super) fn from_tls(endpoint: &Endpoint, error: io::Error) -> Self {
        let endpoint = endpoint.clone();
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(source @ rustls::Error::InvalidCertificate(_)) => Self::Untrusted { endpoint, source: source.clone() },
            _ => Self::Tls { endpoint, source: error },
        }
    }

    /// Whether trying again later can help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Tls { .. } | Self::TimedOut { .. } | Self::Unanswered { .. } => true,
            Self::Untrusted { .. } => false,
            Self::Refused { refusal, .. } => matches!(refusal, Refusal::Unavailable),
        }
    }

    /// Whether the server does not know the device, or not with this key.
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Refused { refusal: Refusal::BadCredentials | Refusal::NotAuthorized, .. })
    }

    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => {
                "check the address and its port, that the service runs (local-azure up?) and that a firewall lets the \
                 port through"
            }
            Self::Untrusted { source: rustls::Error::InvalidCertificate(reason), .. } => match reason {
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    "use the name that the certificate was made for"
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "check the clock of this machine; else the server's certificate has to be renewed"
                }
                _ => "set PROVISIONING_CA_FILE to the PEM file of the root that issued it (local-azure up prints it)",
            },
            Self::Untrusted { .. } => "set PROVISIONING_CA_FILE to the PEM file of the root that issued it",
            Self::Tls { .. } => "is this port MQTT over TLS (8883)?",
            Self::Refused { refusal, .. } => match refusal {
                Refusal::BadCredentials | Refusal::NotAuthorized => {
                    "the device does not exist there, is disabled, or has another key; check the key and the clock of \
                     this machine"
                }
                Refusal::Unavailable => "try again later",
                Refusal::ProtocolVersion | Refusal::ClientId => "is this port a DPS or IoT Hub MQTT endpoint?",
            },
            Self::Unanswered { .. } => "is this port a DPS or IoT Hub MQTT endpoint?",
        }
    }
}

/// The reason in a CONNACK that refuses (MQTT 3.1.1, section 3.2.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 1: not MQTT 3.1.1.
    ProtocolVersion,
    /// 2: the client id is not allowed.
    ClientId,
    /// 3: not now.
    Unavailable,
    /// 4: user name or password.
    BadCredentials,
    /// 5: not this client.
    NotAuthorized,
}

impl Refusal {
    pub(super) fn from_code(code: ConnectReturnCode) -> Option<Self> {
        match code {
            ConnectReturnCode::Success => None,
            ConnectReturnCode::RefusedProtocolVersion => Some(Self::ProtocolVersion),
            ConnectReturnCode::BadClientId => Some(Self::ClientId),
            ConnectReturnCode::ServiceUnavailable => Some(Self::Unavailable),
            ConnectReturnCode::BadUserNamePassword => Some(Self::BadCredentials),
            ConnectReturnCode::NotAuthorized => Some(Self::NotAuthorized),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ProtocolVersion => "it does not speak MQTT 3.1.1 (code 1)",
            Self::ClientId => "client id not allowed (code 2)",
            Self::Unavailable => "service unavailable (code 3)",
            Self::BadCredentials => "bad user name or password (code 4)",
            Self::NotAuthorized => "not authorized (code 5)",
        })
    }
}

/// How a connection ended that this side did not end.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionLost {
    /// The server closed it. MQTT 3.1.1 has no way to say why.
    #[error("the server closed the connection")]
    Closed,
    /// The network broke.
    #[error("the connection broke: {0}")]
    Broken(Arc<io::Error>),
    /// The server neither answered a ping nor acknowledged a message.
    #[error("the server was silent for {} s", .0.as_secs())]
    Silent(Duration),
    /// The server sent what is not MQTT 3.1.1, or not its turn.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
}

impl From<io::Error> for ConnectionLost {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // TLS without close_notify is how most servers hang up.
            io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Broken(Arc::new(error)),
        }
    }
}

impl From<CodecError> for ConnectionLost {
    fn from(error: CodecError) -> Self {
        match error {
            CodecError::Io(error) => error.into(),
            other => Self::Protocol(other.to_string()),
        }
    }
}
