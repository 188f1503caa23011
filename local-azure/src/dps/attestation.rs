//! How a device proves to DPS who it is (DPS: symmetric key attestation; X.509 certificate attestation).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EnrollmentName, RegistrationId, answer::Refusal};
use crate::{
    iot_hub::{Authentication, KeyPair},
    sas::{self, Token},
    x509::{Certificate, Chain},
};

/// What an enrollment takes as proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Attestation {
    /// Tokens: signed with a device's own keys, or with those derived from the keys of a group.
    Keys(KeyPair),
    /// One of these certificates, as it is: of a single device.
    ClientCertificates(Certificates),
    /// A certificate that leads to one of these: of a group.
    SigningCertificates(Certificates),
}

/// Either of two certificates, so that they can be rolled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificates {
    /// The first one.
    pub primary: Certificate,
    /// The second one, if there is one.
    pub secondary: Option<Certificate>,
}

impl Certificates {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Certificate> {
        std::iter::once(&self.primary).chain(&self.secondary)
    }
}

/// A device proved who it is.
#[derive(Debug, Clone)]
pub(super) enum Proof {
    /// It has these keys.
    Keys(KeyPair),
    /// It has the key of this certificate.
    Certificate(Certificate),
}

impl Proof {
    /// How the device proves to its hub who it is: in the same way.
    pub(super) fn authentication(&self) -> Authentication {
        match self {
            Self::Keys(keys) => Authentication::Keys(keys.clone()),
            Self::Certificate(certificate) => Authentication::of_certificate(certificate),
        }
    }
}

impl Attestation {
    /// Its keys, if it takes tokens.
    pub fn keys(&self) -> Option<&KeyPair> {
        if let Self::Keys(keys) = self { Some(keys) } else { None }
    }

    /// Whose token this is: the keys that the device has in its hub too. A device of a group signs with keys that are
    /// derived from the exact text of its id; whether the service takes the lower case too is not documented, here it
    /// is taken. `None` where no token is taken.
    ///
    /// # Errors
    /// [`sas::Refusal`] if the token is for something else, expired, or signed with another key.
    pub(super) fn verify_token(
        &self,
        name: &EnrollmentName,
        token: &Token,
        id_scope: &str,
        id: &RegistrationId,
        now: Timestamp,
    ) -> Option<Result<KeyPair, sas::Refusal>> {
        let keys = self.keys()?;
        let resource = [id_scope, "registrations", id.as_str()];
        let good = |keys: KeyPair| token.check(&resource, keys.keys(), now).map(|_| keys);
        Some(match name {
            EnrollmentName::Individual(_) => good(keys.clone()),
            EnrollmentName::Group(_) => good(device_keys(keys, id.as_str())).or_else(|refusal| match refusal {
                sas::Refusal::WrongSignature => good(device_keys(keys, &id.lower())),
                refusal => Err(refusal),
            }),
        })
    }
}

fn device_keys(group: &KeyPair, spelling: &str) -> KeyPair {
    KeyPair { primary: group.primary.derive(spelling), secondary: group.secondary.derive(spelling) }
}

/// Which of these enrollments a device with this certificate may register under: its own, by the very certificate, or
/// the group whose authority is nearest to the certificate.
///
/// A device of a group is called as its certificate says: the common name of the subject (DPS: X.509 certificate
/// attestation, leaf certificate).
///
/// # Errors
/// [`Refusal`] as the device is told.
pub(super) fn choose<'a>(
    enrollments: &'a [(EnrollmentName, Attestation)],
    chain: &Chain,
    id: &RegistrationId,
    now: Timestamp,
) -> Result<(&'a EnrollmentName, Certificate), Refusal> {
    let leaf = chain.leaf().map_err(|_| Refusal::InvalidCertificate)?;
    if let [(name @ EnrollmentName::Individual(_), attestation)] = enrollments {
        return match attestation {
            Attestation::ClientCertificates(known) if known.iter().any(|known| *known == leaf) => {
                leaf.is_valid_at(now).then_some((name, leaf)).ok_or(Refusal::InvalidCertificate)
            }
            _ => Err(Refusal::InvalidCertificate),
        };
    }
    let nearest = enrollments.iter().filter_map(|(name, attestation)| {
        let Attestation::SigningCertificates(authorities) = attestation else { return None };
        Some((authorities.iter().filter_map(|authority| chain.distance_to(authority, now)).min()?, name))
    });
    let (_, name) = nearest.min_by_key(|(distance, _)| *distance).ok_or(Refusal::NoAuthority)?;
    let is_named = leaf.info().common_name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(id.as_str()));
    if is_named { Ok((name, leaf)) } else { Err(Refusal::InvalidCertificate) }
}
