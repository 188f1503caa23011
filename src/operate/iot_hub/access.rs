//! How a hub is asked: with a shared access signature, or with a token of a login.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use azure_core::credentials::TokenCredential;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::{SignedDuration, Timestamp};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::HeaderValue;

use crate::digital_twins::chain;

/// What a token of a login is for (IoT Hub: "Control access by using Microsoft Entra ID").
const SCOPE: &str = "https://iothubs.azure.net/.default";
/// How long a signature is good: far longer than a request takes.
const LIFETIME: SignedDuration = SignedDuration::from_mins(10);

/// What opens a hub.
pub(in crate::operate) enum Access {
    /// The key of a shared access policy.
    Key { policy: String, key: Box<hmac::Key> },
    /// A login.
    Login(Arc<dyn TokenCredential>),
}

/// Says nothing of keys.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { policy, .. } => write!(f, "Key of policy {policy}"),
            Self::Login(_) => f.write_str("Login"),
        }
    }
}

/// Why a hub cannot be asked. Repeats nothing of a connection string but the host.
#[derive(Debug, thiserror::Error)]
pub(in crate::operate) enum AccessError {
    #[error(
        "an IoT hub's connection string {0}; it takes HostName=...;SharedAccessKeyName=...;SharedAccessKey=... (value not \
         shown)"
    )]
    ConnectionString(&'static str),
    #[error("{0:?} is no host name of an IoT hub, such as contoso-hub.azure-devices.net")]
    Host(String),
    #[error(
        "a connection string was given for the host name of an IoT hub, such as contoso-hub.azure-devices.net (not \
         shown); its place is IOTHUB_CONNECTION_STRING or --connection-string-file"
    )]
    NoHost,
    #[error("no access token for IoT Hub: {0}")]
    Token(String),
    #[error("the time of this machine cannot be used: {0}")]
    Clock(jiff::Error),
}

impl AccessError {
    /// `text` is not the host name that it should be.
    pub(super) fn host(text: &str) -> Self {
        if text.contains(['=', ';']) { Self::NoHost } else { Self::Host(text.to_owned()) }
    }
}

impl Access {
    /// The host, and the key for it, that a connection string names.
    pub(super) fn of_connection_string(text: &str) -> Result<(String, Self), AccessError> {
        let (mut host, mut policy, mut key) = (None, None, None);
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) =
                part.split_once('=').ok_or(AccessError::ConnectionString("has a part without a value"))?;
            match name.to_ascii_lowercase().as_str() {
                "hostname" => host = Some(value),
                "sharedaccesskeyname" => policy = Some(value),
                "sharedaccesskey" => key = Some(value),
                "deviceid" => return Err(AccessError::ConnectionString("is that of a device")),
                _ => {}
            }
        }
        let host = host.filter(|host| !host.is_empty()).ok_or(AccessError::ConnectionString("has no HostName"))?;
        let policy = policy.ok_or(AccessError::ConnectionString("has no SharedAccessKeyName"))?;
        let key = key.ok_or(AccessError::ConnectionString("has no SharedAccessKey"))?;
        let key = BASE64.decode(key).map_err(|_| AccessError::ConnectionString("has a key that is not base64"))?;
        Ok((
            host.to_owned(),
            Self::Key { policy: policy.to_owned(), key: Box::new(hmac::Key::new(hmac::HMAC_SHA256, &key)) },
        ))
    }

    /// The value of the header `Authorization` for requests to `host`. No log shows it.
    pub(super) async fn authorization(&self, host: &str) -> Result<HeaderValue, AccessError> {
        let text = match self {
            Self::Key { policy, key } => {
                let expiry = Timestamp::now().checked_add(LIFETIME).map_err(AccessError::Clock)?.as_second();
                signature(host, policy, key, expiry)
            }
            Self::Login(credential) => match credential.get_token(&[SCOPE], None).await {
                Ok(token) => format!("Bearer {}", token.token.secret()),
                Err(error) => return Err(AccessError::Token(chain(&error))),
            },
        };
        let mut value =
            HeaderValue::try_from(text).map_err(|_| AccessError::Token("it cannot stand in a header".to_owned()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// What to do when the hub denies access.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Key { .. } => {
                "check that the connection string is the hub's, and that its policy has the permission ServiceConnect"
            }
            Self::Login(_) => {
                "give the login the role \"IoT Hub Twin Contributor\" (to read alone: \"IoT Hub Data Reader\")"
            }
        }
    }
}

/// A shared access signature (IoT Hub: "Control access to IoT Hub by using shared access signatures").
fn signature(host: &str, policy: &str, key: &hmac::Key, expiry: i64) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let resource = encoded(host);
    let signature = BASE64.encode(hmac::sign(key, format!("{resource}\n{expiry}").as_bytes()));
    let (signature, policy) = (encoded(&signature), encoded(policy));
    format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={policy}")
}

#[cfg(test)]
mod tests {
    use azure_core::credentials::{AccessToken, TokenRequestOptions};

    use super::*;

    #[derive(Debug)]
    struct Operator;

    #[async_trait::async_trait]
    impl TokenCredential for Operator {
        async fn get_token(
            &self,
            scopes: &[&str],
            _: Option<TokenRequestOptions<'_>>,
        ) -> azure_core::Result<AccessToken> {
            assert_eq!(scopes, [SCOPE]);
            Ok(AccessToken { token: "hunter2".into(), expires_on: azure_core::time::OffsetDateTime::now_utc() })
        }
    }

    #[tokio::test]
    async fn a_login_gives_a_bearer_token_that_no_log_shows() {
        let access = Access::Login(Arc::new(Operator));
        let value = access.authorization("contoso-hub.azure-devices.net").await.unwrap();
        assert_eq!(value, "Bearer hunter2");
        assert!(!format!("{value:?} {access:?}").contains("hunter2"));
    }

    #[test]
    fn a_connection_string_in_the_wrong_place_is_not_repeated() {
        assert!(!AccessError::host(STRING).to_string().contains("c2Vj"));
        assert!(AccessError::host("no host").to_string().starts_with("\"no host\" is no host name"));
    }

    const STRING: &str =
        "HostName=contoso-hub.azure-devices.net;SharedAccessKeyName=service;SharedAccessKey=c2VjcmV0c2VjcmV0";

    #[test]
    fn a_connection_string_names_host_policy_and_key() {
        let (host, access) = Access::of_connection_string(STRING).unwrap();
        assert_eq!(host, "contoso-hub.azure-devices.net");
        assert_eq!(format!("{access:?}"), "Key of policy service");
    }

    #[test]
    fn what_is_no_connection_string_is_refused_without_repeating_it() {
        for (text, reason) in [
            ("HostName", "has a part without a value"),
            ("SharedAccessKeyName=service;SharedAccessKey=c2VjcmV0", "has no HostName"),
            ("HostName=h;SharedAccessKey=c2VjcmV0", "has no SharedAccessKeyName"),
            ("HostName=h;SharedAccessKeyName=service", "has no SharedAccessKey;"),
            ("HostName=h;SharedAccessKeyName=service;SharedAccessKey=c2Vj!cmV0", "not base64"),
            ("HostName=h;DeviceId=d;SharedAccessKey=c2VjcmV0", "is that of a device"),
        ] {
            let error = Access::of_connection_string(text).unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("c2Vj"), "{error}");
        }
    }

    #[test]
    fn a_signature_is_over_the_resource_as_it_stands_in_it() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"secretsecret");
        let token = signature("contoso-hub.azure-devices.net", "service", &key, 1_764_000_000);
        let members: Vec<_> = token.trim_start_matches("SharedAccessSignature ").split('&').collect();
        assert_eq!(members[0], "sr=contoso%2Dhub%2Eazure%2Ddevices%2Enet");
        assert_eq!(members[2..], ["se=1764000000", "skn=service"]);
        let signature =
            percent_encoding::percent_decode_str(members[1].trim_start_matches("sig=")).decode_utf8().unwrap();
        let signed = b"contoso%2Dhub%2Eazure%2Ddevices%2Enet\n1764000000";
        hmac::verify(&key, signed, &BASE64.decode(signature.as_bytes()).unwrap()).unwrap();
    }
}
