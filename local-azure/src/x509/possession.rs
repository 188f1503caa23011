//! Asking TLS clients for a certificate.

use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    server::{
        ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, UnixTime};

/// The most certificates that a client may send; a leaf, its issuers and a root are three or four.
const CERTIFICATES: usize = 8;

/// A client sent too many certificates.
#[derive(Debug, thiserror::Error)]
#[error("the client sent {0} certificates, at most {CERTIFICATES} are read")]
struct TooMany(usize);

/// Asks every client for a certificate and takes any, or none, as Azure does: whose it must be, DPS and IoT Hub know,
/// after the handshake. What a client shows, it must have the key of: the handshake's signature is checked as for
/// every other verifier of rustls.
#[derive(Debug)]
pub struct ProofOfPossession(WebPkiSupportedAlgorithms);

impl ProofOfPossession {
    /// With the signature algorithms of this provider.
    pub fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ClientCertVerifier for ProofOfPossession {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: any issuer will do.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    /// Only whether it can be read.
    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if others.len() >= CERTIFICATES {
            return Err(Error::Other(OtherError(std::sync::Arc::new(TooMany(others.len() + 1)))));
        }
        ParsedCertificate::try_from(leaf)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
