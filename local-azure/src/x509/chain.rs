//! What a client showed in its TLS handshake.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use rustls::{RootCertStore, crypto::aws_lc_rs, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::{Certificate, Malformed};

/// A client's own certificate and those that it sent along. TLS has proven that the client has the first one's key,
/// and nothing else.
#[derive(Debug, Clone)]
pub struct Chain(Arc<[CertificateDer<'static>]>);

impl Chain {
    /// What a connection's client showed; `None` if it showed nothing.
    pub fn of(connection: &rustls::ServerConnection) -> Option<Self> {
        connection.peer_certificates().filter(|shown| !shown.is_empty()).map(|shown| Self(shown.into()))
    }

    /// The client's own certificate.
    ///
    /// # Errors
    /// [`Malformed`]: TLS reads less of it than is read here.
    pub fn leaf(&self) -> Result<Certificate, Malformed> {
        let der = self.0.first().ok_or_else(|| Malformed::Content("there is none".to_owned()))?;
        Certificate::from_der(der)
    }

    /// How many certificates are between the client's own and the first one that names `authority` as its issuer, if
    /// that issuer's signatures and all validities hold `now` (RFC 5280, section 6, with `authority` as the anchor).
    pub fn distance_to(&self, authority: &Certificate, now: Timestamp) -> Option<usize> {
        let now = authority.is_valid_at(now).then_some(now)?;
        let since_1970 = Duration::try_from(now.duration_since(Timestamp::UNIX_EPOCH)).ok()?;
        let (leaf, others) = self.0.split_first()?;
        let names = |der: &CertificateDer<'_>| Certificate::from_der(der).is_ok_and(|one| authority.is_named_by(&one));
        let distance = self.0.iter().position(names)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).ok()?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
        let between = others.get(..distance)?;
        verifier.verify_client_cert(leaf, between, UnixTime::since_unix_epoch(since_1970)).ok()?;
        Some(distance)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
        date_time_ymd,
    };

    use super::*;

    type Authority = CertifiedIssuer<'static, KeyPair>;

    fn params(name: &str, years: (i32, i32)) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
        params
    }

    fn authority(name: &str, years: (i32, i32), by: Option<&Authority>) -> Authority {
        let mut params = params(name, years);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        match by {
            None => CertifiedIssuer::self_signed(params, key).unwrap(),
            Some(by) => CertifiedIssuer::signed_by(params, key, by).unwrap(),
        }
    }

    fn device(years: (i32, i32), by: &Authority, change: impl FnOnce(&mut CertificateParams)) -> rcgen::Certificate {
        let mut params = params("d1", years);
        change(&mut params);
        params.signed_by(&KeyPair::generate().unwrap(), by).unwrap()
    }

    fn chain(certificates: &[&rcgen::Certificate]) -> Chain {
        Chain(certificates.iter().map(|certificate| certificate.der().clone()).collect())
    }

    fn read(authority: &Authority) -> Certificate {
        Certificate::from_der(authority.der()).unwrap()
    }

    fn year(year: i16) -> Timestamp {
        format!("{year}-06-01T00:00:00Z").parse().unwrap()
    }

    const LONG: (i32, i32) = (2020, 2040);

    #[test]
    fn a_chain_leads_to_each_authority_above_it_and_the_nearer_one_is_nearer() {
        let root = authority("root", LONG, None);
        let factory = authority("factory", LONG, Some(&root));
        let leaf = device(LONG, &factory, |_| {});
        let shown = chain(&[&leaf, factory.as_ref(), root.as_ref()]);
        assert_eq!(shown.distance_to(&read(&factory), year(2026)), Some(0));
        assert_eq!(shown.distance_to(&read(&root), year(2026)), Some(1));
        let alone = chain(&[&leaf]);
        assert_eq!(alone.distance_to(&read(&factory), year(2026)), Some(0));
        assert_eq!(alone.distance_to(&read(&root), year(2026)), None, "the way there was not shown");
        assert_eq!(shown.leaf().unwrap().info().common_name.as_deref(), Some("d1"));
    }

    #[test]
    fn another_authority_of_the_same_name_is_another() {
        let root = authority("root", LONG, None);
        let other = authority("root", LONG, None);
        let leaf = device(LONG, &root, |_| {});
        assert_eq!(chain(&[&leaf]).distance_to(&read(&other), year(2026)), None);
    }

    #[test]
    fn every_validity_counts() {
        for (of_root, of_factory, of_leaf, expected) in [
            (LONG, LONG, LONG, Some(1)),
            ((2020, 2025), LONG, LONG, None),
            (LONG, (2020, 2025), LONG, None),
            (LONG, LONG, (2020, 2025), None),
            (LONG, LONG, (2030, 2035), None),
        ] {
            let root = authority("root", of_root, None);
            let factory = authority("factory", of_factory, Some(&root));
            let leaf = device(of_leaf, &factory, |_| {});
            let shown = chain(&[&leaf, factory.as_ref()]);
            assert_eq!(shown.distance_to(&read(&root), year(2026)), expected, "{of_root:?} {of_factory:?} {of_leaf:?}");
        }
    }

    #[test]
    fn a_device_can_issue_nothing_and_a_server_is_no_client() {
        let root = authority("root", LONG, None);
        let plain = CertifiedIssuer::signed_by(params("plain", LONG), KeyPair::generate().unwrap(), &root).unwrap();
        let below = device(LONG, &plain, |_| {});
        assert_eq!(chain(&[&below, plain.as_ref()]).distance_to(&read(&root), year(2026)), None);
        let server = device(LONG, &root, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        });
        assert_eq!(chain(&[&server]).distance_to(&read(&root), year(2026)), None);
        let client = device(LONG, &root, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        });
        assert_eq!(chain(&[&client]).distance_to(&read(&root), year(2026)), Some(0));
    }
}
