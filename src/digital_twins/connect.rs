//! From settings to a client: credentials, trusted roots, timeouts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::TokenCredential;
use azure_core::http::{ClientOptions, ExponentialRetryOptions, RetryOptions, Transport};
use azure_core::time::Duration as AzureDuration;
use azure_identity::{
    ClientSecretCredential, ClientSecretCredentialOptions, DeveloperToolsCredential, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions, UserAssignedId,
};

use super::Client;
use super::wire::chain;
use crate::settings::{self, Credentials};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two reads of an answer, and until it begins.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// `ADT_CA_FILE` cannot be read.
    #[error("ADT_CA_FILE {}: {source}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// `ADT_CA_FILE` has no certificate in it.
    #[error("ADT_CA_FILE {}: {reason}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No HTTP client could be made, for instance because the system has no trusted roots.
    #[error("no HTTP client: {reason}")]
    Http {
        /// The chain of causes.
        reason: String,
    },
    /// A credential does not have the form that it should have.
    #[error("no credential: {reason}")]
    Credential {
        /// The chain of causes.
        reason: String,
    },
}

impl Client {
    /// A client after the settings. Reads `ADT_CA_FILE`, connects to nothing yet.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect(twins: &settings::DigitalTwins, credentials: &Credentials) -> Result<Self, ConnectError> {
        let http = http_client(twins.ca_file.as_deref(), |builder| builder)?;
        let credential = credential(credentials, &http)?;
        let transport = Transport::new(Arc::new(http));
        Ok(Self::new(twins.endpoint.clone(), credential, transport, twins.pace_percent))
    }
}

/// An HTTP client that trusts the system's roots and those in `ca_file`, and is as `configure` makes it.
pub(crate) fn http_client(
    ca_file: Option<&Path>,
    configure: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<reqwest::Client, ConnectError> {
    let roots = ca_file.map(certificates).transpose()?.unwrap_or_default();
    let builder = reqwest::Client::builder()
        .tls_certs_merge(roots)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none());
    configure(builder).build().map_err(|error| ConnectError::Http { reason: chain(&error) })
}

fn certificates(path: &Path) -> Result<Vec<reqwest::Certificate>, ConnectError> {
    let pem = std::fs::read(path).map_err(|source| ConnectError::CaFile { path: path.to_owned(), source })?;
    let unusable = |reason: String| ConnectError::NoCertificate { path: path.to_owned(), reason };
    match reqwest::Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if certificates.is_empty() => Err(unusable("it holds no PEM certificate".to_owned())),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unusable(chain(&error))),
    }
}

/// The credential that the settings choose.
pub(crate) fn credential(
    credentials: &Credentials,
    http: &reqwest::Client,
) -> Result<Arc<dyn TokenCredential>, ConnectError> {
    let credential: azure_core::Result<Arc<dyn TokenCredential>> = match credentials {
        Credentials::ManagedIdentity { client_id } => {
            let options = ManagedIdentityCredentialOptions {
                user_assigned_id: client_id.clone().map(UserAssignedId::ClientId),
                client_options: token_options(local_http_client()?),
            };
            ManagedIdentityCredential::new(Some(options)).map(|credential| credential as _)
        }
        Credentials::ClientSecret { tenant_id, client_id, secret } => {
            let options = ClientSecretCredentialOptions { client_options: token_options(http.clone()) };
            ClientSecretCredential::new(tenant_id, client_id.clone(), secret.clone(), Some(options))
                .map(|credential| credential as _)
        }
        Credentials::DeveloperTools => DeveloperToolsCredential::new(None).map(|credential| credential as _),
    };
    credential.map_err(|error| ConnectError::Credential { reason: chain(&error) })
}

/// The identity endpoint is on this machine: no proxy is asked for it.
fn local_http_client() -> Result<reqwest::Client, ConnectError> {
    reqwest::Client::builder()
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| ConnectError::Http { reason: chain(&error) })
}

fn token_options(http: reqwest::Client) -> ClientOptions {
    ClientOptions {
        transport: Some(Transport::new(Arc::new(http))),
        retry: RetryOptions::exponential(ExponentialRetryOptions {
            initial_delay: AzureDuration::milliseconds(200),
            max_retries: 3,
            max_total_elapsed: AzureDuration::seconds(15),
            max_delay: AzureDuration::seconds(5),
        }),
        ..ClientOptions::default()
    }
}
