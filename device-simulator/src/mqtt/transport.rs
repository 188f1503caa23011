//! TLS over a network: whom to trust.

use std::{fmt, sync::Arc, time::Duration};

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{ByteStream, ConnectError, Network, SystemNetwork};
use crate::identity::Endpoint;

/// How long dialling and the TLS handshake may take together.
const DIAL_TIMEOUT: Duration = Duration::from_secs(20);

/// Why no server could be trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The further roots are not PEM.
    #[error("not a file of PEM certificates: {0}")]
    NotPem(rustls_pki_types::pem::Error),
    /// PEM, but without a certificate.
    #[error("no certificate in it (wanted: -----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// A certificate cannot be used as a root.
    #[error("a certificate that cannot be a root")]
    BadRoot(#[source] rustls::Error),
    /// Neither the system nor the caller has a root certificate.
    #[error("the system has no root certificates (on Linux: install the package ca-certificates)")]
    NoRoots,
    /// The TLS library refused the configuration.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// The way to a server: a network, TLS over it, and the roots that certificates must lead to.
#[derive(Clone)]
pub struct Transport {
    network: Arc<dyn Network>,
    tls: TlsConnector,
}

impl Transport {
    /// TCP, trusting the system's roots and, besides, those in `further_roots` (PEM).
    ///
    /// # Errors
    ///
    /// When `further_roots` holds no usable certificate, or there is no root at all.
    pub fn new(further_roots: Option<&[u8]>) -> Result<Self, TrustError> {
        Self::over(Arc::new(SystemNetwork), further_roots)
    }

    /// As [`Transport::new`], over another network.
    ///
    /// # Errors
    ///
    /// As [`Transport::new`].
    pub fn over(network: Arc<dyn Network>, further_roots: Option<&[u8]>) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(pem) = further_roots {
            let before = roots.len();
            // Editors on Windows put a byte order mark at the start.
            let pem = pem.strip_prefix(b"\xef\xbb\xbf").unwrap_or(pem);
            for certificate in CertificateDer::pem_slice_iter(pem) {
                roots.add(certificate.map_err(TrustError::NotPem)?).map_err(TrustError::BadRoot)?;
            }
            if roots.len() == before {
                return Err(TrustError::NoCertificate);
            }
        }
        if roots.is_empty() {
            return Err(TrustError::NoRoots);
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TrustError::Setup)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { network, tls: TlsConnector::from(Arc::new(config)) })
    }

    pub(crate) async fn dial(&self, endpoint: &Endpoint) -> Result<TlsStream<Box<dyn ByteStream>>, ConnectError> {
        let dial = async {
            let unreachable = |source| ConnectError::Unreachable { endpoint: endpoint.clone(), source };
            let name = ServerName::try_from(endpoint.host().to_owned())
                .map_err(|error| unreachable(std::io::Error::new(std::io::ErrorKind::InvalidInput, error)))?;
            let stream = self.network.dial(endpoint).await.map_err(unreachable)?;
            self.tls.connect(name, stream).await.map_err(|error| ConnectError::from_tls(endpoint, error))
        };
        let late = ConnectError::TimedOut { endpoint: endpoint.clone(), after: DIAL_TIMEOUT };
        timeout(DIAL_TIMEOUT, dial).await.unwrap_or(Err(late))
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_roots_must_hold_a_certificate() {
        assert!(matches!(Transport::new(Some(b"")), Err(TrustError::NoCertificate)));
        assert!(matches!(Transport::new(Some(b"PROVISIONING_HOST=x")), Err(TrustError::NoCertificate)));
        let cut = b"-----BEGIN CERTIFICATE-----\nMIIB";
        assert!(matches!(Transport::new(Some(cut)), Err(TrustError::NotPem(_))));
        let nonsense = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(Transport::new(Some(nonsense)), Err(TrustError::BadRoot(_))));
    }
}
