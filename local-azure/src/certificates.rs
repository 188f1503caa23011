//! The certificate authority of this machine's local-azure, and the server certificate it signs at every start.
//!
//! The authority is made once and kept, so that a client trusts it once: `ca/ca.pem` (to hand out) and
//! `ca/ca-key.pem` (mode 0600) below the folder that the caller names. The server certificate lives in memory only.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _};

use crate::x509::ProofOfPossession;

/// Names that every server certificate is good for, besides the linked hubs: the loopback names, the global DPS
/// endpoint, and the forms of names that Azure gives to hubs and Digital Twins instances, for people who point
/// them at 127.0.0.1 in their hosts file.
const NAMES: [&str; 8] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "global.azure-devices-provisioning.net",
    "*.azure-devices-provisioning.net",
    "*.azure-devices.net",
    "*.azure-devices.localhost",
    "*.api.local.digitaltwins.localhost",
];

/// What went wrong with the certificate authority.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The folder could not be read or written.
    #[error(
        "cannot use {path} for the local certificate authority: {source}; make the folder writable, or run from another one"
    )]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The stored key is not one that we wrote.
    #[error(
        "{path} does not hold a usable private key ({source}); delete the folder that holds it and a new authority is made"
    )]
    Key {
        /// The key file.
        path: PathBuf,
        /// What the parser said.
        source: rcgen::Error,
    },
    /// One of the two files is missing.
    #[error("there is no {0}, but the file that belongs to it; delete the folder and a new authority is made")]
    Incomplete(PathBuf),
    /// The stored certificate is not one that we wrote.
    #[error(
        "{0} does not hold the certificate of the key beside it; delete the folder that holds them and a new authority is \
         made"
    )]
    Certificate(PathBuf),
    /// A certificate could not be made, for instance for a host name that is none.
    #[error("cannot make a certificate: {0}; check the names in --hub-names")]
    Make(#[from] rcgen::Error),
    /// TLS refused the certificate.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// A certificate authority that clients of one machine can trust.
#[derive(Debug)]
pub struct Authority {
    key: KeyPair,
    file: PathBuf,
}

impl Authority {
    /// Opens the authority below `folder`, or makes it there.
    ///
    /// Two processes that start at once agree on one authority: a new one is prepared aside and moved into place,
    /// and who comes second uses the first one's.
    ///
    /// # Errors
    /// When the folder cannot be written or holds something else.
    pub fn open(folder: &Path) -> Result<Self, CertificateError> {
        let home = folder.join("ca");
        let (file, key_file) = (home.join("ca.pem"), home.join("ca-key.pem"));
        if !file.is_file() {
            Self::make(folder, &home)?;
        }
        // The two come into the folder at once.
        if !key_file.exists() {
            return Err(CertificateError::Incomplete(key_file));
        }
        let pem = fs::read_to_string(&key_file).map_err(at(&key_file))?;
        let key = KeyPair::from_pem(&pem).map_err(|source| CertificateError::Key { path: key_file, source })?;
        let certificate = CertificateDer::from_pem_file(&file).ok();
        let is_of_key =
            |der: &CertificateDer| der.windows(key.public_key_raw().len()).any(|part| part == key.public_key_raw());
        if !certificate.as_ref().is_some_and(is_of_key) {
            return Err(CertificateError::Certificate(file));
        }
        let file = fs::canonicalize(&file).map_err(at(&file))?;
        Ok(Self { key, file })
    }

    /// The PEM file that clients are told to trust.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// TLS for a server that answers to the fixed names and to `host_names`, and asks clients for a certificate.
    ///
    /// # Errors
    /// When one of the names cannot stand in a certificate.
    pub fn server_config(&self, host_names: &[String], now: Timestamp) -> Result<Arc<ServerConfig>, CertificateError> {
        let names: Vec<String> = NAMES.iter().map(|&name| name.to_owned()).chain(host_names.iter().cloned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = distinguished_name("local-azure");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        // Clients on some systems refuse server certificates that live longer than 825 days.
        limit_validity(&mut params, now, 365);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let authority = authority_params(now)?;
        let certificate = params.signed_by(&key, &Issuer::from_params(&authority, &self.key))?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let possession = Arc::new(ProofOfPossession::new(&provider));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(possession)
            .with_single_cert(vec![certificate.der().clone()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"mqtt".to_vec()];
        Ok(Arc::new(config))
    }

    fn make(folder: &Path, home: &Path) -> Result<(), CertificateError> {
        fs::create_dir_all(folder).map_err(at(folder))?;
        let aside = tempfile::Builder::new().prefix("ca-").tempdir_in(folder).map_err(at(folder))?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = authority_params(Timestamp::now())?.self_signed(&key)?;
        let key_file = aside.path().join("ca-key.pem");
        crate::private_file::write(&key_file, &key.serialize_pem()).map_err(at(&key_file))?;
        let file = aside.path().join("ca.pem");
        fs::write(&file, certificate.pem()).map_err(at(&file))?;
        match fs::rename(aside.path(), home) {
            Ok(()) => {
                // It has moved: nothing is left to remove.
                let _moved = aside.keep();
                Ok(())
            }
            Err(_) if home.join("ca.pem").is_file() => Ok(()),
            Err(_) if home.join("ca-key.pem").is_file() => Err(CertificateError::Incomplete(home.join("ca.pem"))),
            Err(source) => Err(CertificateError::Folder { path: home.to_owned(), source }),
        }
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CertificateError {
    let path = path.to_owned();
    move |source| CertificateError::Folder { path, source }
}

/// Always the same but for the dates, so that what is stored needs to be the key and the certificate only.
fn authority_params(now: Timestamp) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = distinguished_name("local-azure development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    limit_validity(&mut params, now, 3_650);
    Ok(params)
}

fn distinguished_name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// Valid from yesterday (clocks differ) for `days` days.
fn limit_validity(params: &mut CertificateParams, now: Timestamp, days: i32) {
    let today = now.to_zoned(TimeZone::UTC).date();
    let midnight =
        |date: Date| date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs());
    params.not_before = midnight(today.saturating_sub(1.days()));
    params.not_after = midnight(today.saturating_add(days.days()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_made_once_and_its_key_is_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let first = Authority::open(folder.path()).unwrap();
        let pem = fs::read_to_string(first.file()).unwrap();
        let second = Authority::open(folder.path()).unwrap();
        assert_eq!(fs::read_to_string(second.file()).unwrap(), pem);
        assert_eq!(first.key.serialize_pem(), second.key.serialize_pem());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(folder.path().join("ca/ca-key.pem")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn an_authority_of_which_a_part_is_gone_or_damaged_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("ca");
        let damaged = |file: &str, text: Option<&str>| {
            Authority::open(folder.path()).unwrap();
            let kept = fs::read(home.join(file)).unwrap();
            match text {
                Some(text) => fs::write(home.join(file), text).unwrap(),
                None => fs::remove_file(home.join(file)).unwrap(),
            }
            let error = Authority::open(folder.path()).unwrap_err().to_string();
            fs::write(home.join(file), kept).unwrap();
            assert!(error.contains(".pem") && error.contains("delete the folder"), "{file} {text:?}: {error}");
        };
        let other = tempfile::tempdir().unwrap();
        let other = Authority::open(other.path()).unwrap();
        for file in ["ca.pem", "ca-key.pem"] {
            damaged(file, None);
            damaged(file, Some(""));
            damaged(file, Some("garbage"));
        }
        damaged("ca-key.pem", Some(&other.key.serialize_pem()));
        damaged("ca.pem", Some(&fs::read_to_string(other.file()).unwrap()));
    }

    #[test]
    fn a_client_that_trusts_the_authority_trusts_the_server_under_each_of_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path()).unwrap();
        let hub = "contoso-hub.azure-devices.localhost".to_owned();
        let server = authority.server_config(std::slice::from_ref(&hub), Timestamp::now()).unwrap();
        for name in ["localhost", "127.0.0.1", hub.as_str(), "x.azure-devices.net"] {
            assert!(handshake(&authority, &server, name), "{name} was not accepted");
        }
        assert!(!handshake(&authority, &server, "example.com"), "a foreign name was accepted");
    }

    /// A whole TLS handshake in memory: whether the client accepts the server under that name.
    fn handshake(authority: &Authority, server: &Arc<ServerConfig>, name: &str) -> bool {
        use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
        let mut roots = rustls::RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(authority.file()).unwrap() {
            roots.add(root.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut server = rustls::ServerConnection::new(Arc::clone(server)).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            if server.process_new_packets().is_err() {
                return false;
            }
            wire.clear();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            if client.process_new_packets().is_err() {
                return false;
            }
        }
        true
    }
}
