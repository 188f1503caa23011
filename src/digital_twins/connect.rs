//! From settings to a client: credentials, trusted roots, timeouts.

use std::fs::File;
use std::io::Read as _;
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
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::Client;
use super::deferred::{DeferredClient, Preparation};
use super::wire::chain;
use crate::settings::{self, Credentials};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two reads of an answer, and until it begins.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest file of roots that is read, in bytes: a hundred times what systems trust.
const MAX_PEM: u64 = 32 * 1024 * 1024;

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
        Self::prepare(twins, credentials).map(|(client, _)| client)
    }

    /// The same, for a process with better things to do at its start than to make HTTP clients: what is left of that.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn prepare(
        twins: &settings::DigitalTwins,
        credentials: &Credentials,
    ) -> Result<(Self, Preparation), ConnectError> {
        let http = DeferredClient::trusting(roots(twins.ca_file.as_deref())?);
        let token_http = token_client(credentials, &http);
        let credential = credential_over(&token_http, credentials)?;
        let transport = Transport::new(Arc::clone(&http) as _);
        let client = Self::new(twins.endpoint.clone(), credential, transport, twins.pace_percent);
        // The first thing that a call needs is a token.
        Ok((client, Preparation::of([token_http, http])))
    }
}

/// An HTTP client that trusts the system's roots and those in `ca_file`, and is as `configure` makes it.
pub(crate) fn http_client(
    ca_file: Option<&Path>,
    configure: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<reqwest::Client, ConnectError> {
    build(configure(builder(roots(ca_file)?)))
}

/// What all HTTP clients have in common: they trust the system's roots and `further_roots`.
pub(super) fn builder(further_roots: Vec<reqwest::Certificate>) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_certs_merge(further_roots)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
}

pub(super) fn build(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, ConnectError> {
    builder.build().map_err(|error| ConnectError::Http { reason: chain(&error) })
}

/// The certificates in `ca_file`, each of which can be trusted.
fn roots(ca_file: Option<&Path>) -> Result<Vec<reqwest::Certificate>, ConnectError> {
    let Some(path) = ca_file else { return Ok(Vec::new()) };
    let unusable = |reason: String| ConnectError::NoCertificate { path: path.to_owned(), reason };
    let mut pem = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_PEM + 1).read_to_end(&mut pem));
    read.map_err(|source| ConnectError::CaFile { path: path.to_owned(), source })?;
    if pem.len() as u64 > MAX_PEM {
        return Err(unusable(format!("it is larger than {MAX_PEM} bytes")));
    }
    // Editors on Windows put a byte order mark at the start.
    let pem = pem.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&pem);
    let mut trusted = RootCertStore::empty();
    let mut roots = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.push(reqwest::Certificate::from_der(&certificate).map_err(|error| unusable(chain(&error)))?);
        // Reads what stands in it, which a client does only when it is made.
        trusted.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() { Err(unusable("it holds no PEM certificate".to_owned())) } else { Ok(roots) }
}

/// The credential that the settings choose.
pub(crate) fn credential(
    credentials: &Credentials,
    ca_file: Option<&Path>,
) -> Result<Arc<dyn TokenCredential>, ConnectError> {
    let http = DeferredClient::trusting(roots(ca_file)?);
    credential_over(&token_client(credentials, &http), credentials)
}

/// What tokens are asked for over: the endpoint of a managed identity is on this machine.
fn token_client(credentials: &Credentials, http: &Arc<DeferredClient>) -> Arc<DeferredClient> {
    match credentials {
        Credentials::ManagedIdentity { .. } => DeferredClient::local(),
        Credentials::ClientSecret { .. } | Credentials::DeveloperTools => Arc::clone(http),
    }
}

fn credential_over(
    http: &Arc<DeferredClient>,
    credentials: &Credentials,
) -> Result<Arc<dyn TokenCredential>, ConnectError> {
    let credential: azure_core::Result<Arc<dyn TokenCredential>> = match credentials {
        Credentials::ManagedIdentity { client_id } => {
            let options = ManagedIdentityCredentialOptions {
                user_assigned_id: client_id.clone().map(UserAssignedId::ClientId),
                client_options: token_options(http),
            };
            ManagedIdentityCredential::new(Some(options)).map(|credential| credential as _)
        }
        Credentials::ClientSecret { tenant_id, client_id, secret } => {
            let options = ClientSecretCredentialOptions { client_options: token_options(http) };
            ClientSecretCredential::new(tenant_id, client_id.clone(), secret.clone(), Some(options))
                .map(|credential| credential as _)
        }
        Credentials::DeveloperTools => DeveloperToolsCredential::new(None).map(|credential| credential as _),
    };
    credential.map_err(|error| ConnectError::Credential { reason: chain(&error) })
}

fn token_options(http: &Arc<DeferredClient>) -> ClientOptions {
    ClientOptions {
        transport: Some(Transport::new(Arc::clone(http) as _)),
        retry: RetryOptions::exponential(ExponentialRetryOptions {
            initial_delay: AzureDuration::milliseconds(200),
            max_retries: 3,
            max_total_elapsed: AzureDuration::seconds(15),
            max_delay: AzureDuration::seconds(5),
        }),
        ..ClientOptions::default()
    }
}
