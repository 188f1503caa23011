//! Certificates of devices and of those who issue them, for tests.

use local_azure::x509::{Certificate, Thumbprint};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Around what the tests' clock shows.
pub(crate) const YEARS: (i32, i32) = (2020, 2040);

/// Who issues certificates.
pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

/// What a client shows in TLS, and the key that makes it believed.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: KeyPair,
}

fn params(name: &str, years: (i32, i32)) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
    params
}

/// An authority that issued itself, or that another one made.
pub(crate) fn authority(name: &str, by: Option<&Authority>) -> Authority {
    let mut params = params(name, YEARS);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    match by {
        None => CertifiedIssuer::self_signed(params, key).unwrap(),
        Some(by) => CertifiedIssuer::signed_by(params, key, by).unwrap(),
    }
}

impl Shown {
    /// A certificate that nobody else issued.
    pub(crate) fn self_signed(name: &str, years: (i32, i32)) -> Self {
        let key = KeyPair::generate().unwrap();
        let made = params(name, years).self_signed(&key).unwrap();
        Self { chain: vec![made.der().clone()], key }
    }

    /// One that the last of these issued; the client sends those that the last one needs, but not the first one.
    pub(crate) fn issued(name: &str, years: (i32, i32), by: &[&Authority]) -> Self {
        let key = KeyPair::generate().unwrap();
        let (issuer, _) = by.split_last().unwrap();
        let made = params(name, years).signed_by(&key, *issuer).unwrap();
        let between = by.iter().skip(1).rev().map(|authority| authority.der().clone());
        Self { chain: std::iter::once(made.der().clone()).chain(between).collect(), key }
    }

    pub(crate) fn leaf(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }

    pub(crate) fn sha1(&self) -> Option<Thumbprint> {
        Some(Thumbprint::sha1(self.leaf()))
    }

    pub(crate) fn sha256(&self) -> Option<Thumbprint> {
        Some(Thumbprint::sha256(self.leaf()))
    }

    /// The leaf's Base64.
    pub(crate) fn base64(&self) -> String {
        Certificate::from_der(self.leaf()).unwrap().to_base64()
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }

    /// The same chain with a key that is not its own.
    pub(crate) fn stolen(&self) -> Self {
        Self { chain: self.chain.clone(), key: KeyPair::generate().unwrap() }
    }
}
