//! How an identity proves who it is: symmetric keys or X.509 certificates (IoT Hub: device identity registry,
//! authentication; authenticate identities with X.509 certificates).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    sas::{Key, KeyError},
    x509::{Certificate, NotAThumbprint, Thumbprint},
};

/// Either of two keys signs, so that they can be rolled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPair {
    /// The first key.
    pub primary: Key,
    /// The second key.
    pub secondary: Key,
}

impl KeyPair {
    /// Two new random keys.
    pub fn generate() -> Self {
        Self { primary: Key::generate(), secondary: Key::generate() }
    }

    /// Both keys.
    pub fn keys(&self) -> [&Key; 2] {
        [&self.primary, &self.secondary]
    }

    /// As the services show them.
    pub(crate) fn show(&self) -> Value {
        json!({ "primaryKey": self.primary.to_base64(), "secondaryKey": self.secondary.to_base64() })
    }
}

/// The keys that a client writes; an empty one is as good as none.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct WantedKeys {
    primary_key: Option<String>,
    secondary_key: Option<String>,
}

impl WantedKeys {
    /// Whether there is at least one.
    pub(crate) fn any(&self) -> bool {
        [&self.primary_key, &self.secondary_key].into_iter().any(|key| said(key).is_some())
    }

    /// What is not said stays as it was `before`, or is generated.
    ///
    /// # Errors
    /// [`KeyError`] if one is no key.
    pub(crate) fn read(&self, before: Option<&KeyPair>) -> Result<KeyPair, KeyError> {
        let read = |text, before: Option<&Key>| match (said(text), before) {
            (Some(text), _) => Key::parse(text),
            (None, Some(before)) => Ok(before.clone()),
            (None, None) => Ok(Key::generate()),
        };
        Ok(KeyPair {
            primary: read(&self.primary_key, before.map(|before| &before.primary))?,
            secondary: read(&self.secondary_key, before.map(|before| &before.secondary))?,
        })
    }
}

fn said(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

/// How an identity proves who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Authentication {
    /// With a token that one of two keys signs (`sas`).
    Keys(KeyPair),
    /// With a certificate of one of two thumbprints (`selfSigned`), whoever issued it.
    Thumbprints(Thumbprints),
    /// With a certificate that leads to an authority of the hub (`certificateAuthority`). Authorities are given to a
    /// hub in the control plane, which is not there: such a device cannot connect.
    Authority {},
}

/// Either of two certificates is good, so that they can be rolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Thumbprints {
    /// The first certificate's.
    #[serde(rename = "primaryThumbprint")]
    pub primary: Option<Thumbprint>,
    /// The second certificate's.
    #[serde(rename = "secondaryThumbprint")]
    pub secondary: Option<Thumbprint>,
}

/// A certificate does not prove who a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WrongCertificate {
    #[error("it has symmetric keys: a token is needed, not a certificate")]
    NotByCertificate,
    #[error("its certificate has neither of the thumbprints in the registry")]
    OtherThumbprint,
    #[error("the validity of its certificate has not begun or has ended")]
    NotValid,
    #[error("its certificate must lead to an authority of the hub, and local-azure's hubs have none")]
    NoAuthority,
}

impl Authentication {
    /// What DPS gives a device that registered with this certificate: it stands in both places, as SHA-256
    /// (azure-iot-sdk-java issue 1220, iotedge issue 2951), and for groups too (azure-docs issues 70976 and 108289).
    pub(crate) fn of_certificate(certificate: &Certificate) -> Self {
        let thumbprint = Some(certificate.thumbprint());
        Self::Thumbprints(Thumbprints { primary: thumbprint, secondary: thumbprint })
    }

    /// Its type, as the service names it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Keys(_) => "sas",
            Self::Thumbprints(_) => "selfSigned",
            Self::Authority {} => "certificateAuthority",
        }
    }

    /// Its keys, if it has any.
    pub fn keys(&self) -> Option<&KeyPair> {
        if let Self::Keys(keys) = self { Some(keys) } else { None }
    }

    /// Whether who has this certificate is who it says.
    ///
    /// # Errors
    /// [`WrongCertificate`].
    pub(crate) fn check(&self, certificate: &Certificate, now: Timestamp) -> Result<(), WrongCertificate> {
        let Thumbprints { primary, secondary } = match self {
            Self::Keys(_) => return Err(WrongCertificate::NotByCertificate),
            Self::Authority {} => return Err(WrongCertificate::NoAuthority),
            Self::Thumbprints(thumbprints) => thumbprints,
        };
        if ![primary, secondary].into_iter().flatten().any(|thumbprint| thumbprint.is_of(certificate.der())) {
            return Err(WrongCertificate::OtherThumbprint);
        }
        if certificate.is_valid_at(now) { Ok(()) } else { Err(WrongCertificate::NotValid) }
    }

    /// As the service's API shows it (IoT Hub: service REST API, AuthenticationMechanism).
    pub(super) fn show(&self) -> Value {
        let nothing = || json!({ "primaryKey": null, "secondaryKey": null });
        json!({
            "symmetricKey": self.keys().map_or_else(nothing, KeyPair::show),
            "x509Thumbprint": self.thumbprints(),
            "type": self.name(),
        })
    }

    /// Its thumbprints; without any, none is there.
    pub(super) fn thumbprints(&self) -> Thumbprints {
        if let Self::Thumbprints(thumbprints) = self { *thumbprints } else { Thumbprints::default() }
    }
}

/// What is wanted of an identity's authentication.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum NewAuthentication {
    /// What it has; keys for one that is new.
    #[default]
    AsBefore,
    /// Symmetric keys: those that it has, or new ones.
    AnyKeys,
    /// This.
    These(Authentication),
}

impl NewAuthentication {
    /// What it comes to.
    pub(super) fn or(self, before: Option<&Authentication>) -> Authentication {
        let keys = || Authentication::Keys(KeyPair::generate());
        match self {
            Self::These(authentication) => authentication,
            Self::AsBefore => before.cloned().unwrap_or_else(keys),
            Self::AnyKeys => before.filter(|before| before.keys().is_some()).cloned().unwrap_or_else(keys),
        }
    }
}

/// A client writes an authentication that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadAuthentication {
    #[error("authentication.symmetricKey: {0}")]
    Key(#[from] KeyError),
    #[error("authentication.x509Thumbprint: {0}")]
    Thumbprint(#[from] NotAThumbprint),
    #[error("authentication.type selfSigned wants a primaryThumbprint or secondaryThumbprint in x509Thumbprint")]
    NoThumbprint,
    #[error("authentication.type is \"{0}\"; local-azure knows sas, selfSigned and certificateAuthority")]
    UnknownType(String),
}

/// What a client writes of an identity's authentication.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct WantedAuthentication {
    r#type: Option<String>,
    symmetric_key: Option<WantedKeys>,
    x509_thumbprint: Option<WantedThumbprints>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WantedThumbprints {
    primary_thumbprint: Option<String>,
    secondary_thumbprint: Option<String>,
}

impl WantedAuthentication {
    /// # Errors
    /// [`BadAuthentication`].
    pub(super) fn read(self) -> Result<NewAuthentication, BadAuthentication> {
        let keys = self.symmetric_key.unwrap_or_default();
        match self.r#type.as_deref() {
            None | Some("sas") if keys.any() => Ok(NewAuthentication::These(Authentication::Keys(keys.read(None)?))),
            None => Ok(NewAuthentication::AsBefore),
            Some("sas") => Ok(NewAuthentication::AnyKeys),
            Some("selfSigned") => {
                let WantedThumbprints { primary_thumbprint, secondary_thumbprint } =
                    self.x509_thumbprint.unwrap_or_default();
                let read = |text: &Option<String>| said(text).map(str::parse).transpose();
                let thumbprints =
                    Thumbprints { primary: read(&primary_thumbprint)?, secondary: read(&secondary_thumbprint)? };
                if thumbprints == Thumbprints::default() {
                    return Err(BadAuthentication::NoThumbprint);
                }
                Ok(NewAuthentication::These(Authentication::Thumbprints(thumbprints)))
            }
            Some("certificateAuthority") => Ok(NewAuthentication::These(Authentication::Authority {})),
            Some(other) => Err(BadAuthentication::UnknownType(other.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, date_time_ymd};

    use super::*;
    use crate::iot_hub::Identity;

    const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    const SHA1: &str = "A9993E364706816ABA3E25717850C26C9CD0D89D";

    fn read(document: Value) -> Result<NewAuthentication, BadAuthentication> {
        serde_json::from_value::<WantedAuthentication>(document).unwrap().read()
    }

    #[test]
    fn what_clients_write_is_read() {
        use NewAuthentication::{AnyKeys, AsBefore, These};
        let sha1 = SHA1.parse().ok();
        let thumbprints = |primary, secondary| These(Authentication::Thumbprints(Thumbprints { primary, secondary }));
        for (document, expected) in [
            (json!({}), AsBefore),
            (json!({ "type": "sas", "symmetricKey": { "primaryKey": "", "secondaryKey": null } }), AnyKeys),
            (json!({ "type": "selfSigned", "x509Thumbprint": { "primaryThumbprint": SHA1 } }), thumbprints(sha1, None)),
            (
                json!({ "type": "selfSigned", "symmetricKey": null,
                        "x509Thumbprint": { "primaryThumbprint": "", "secondaryThumbprint": SHA1.to_lowercase() } }),
                thumbprints(None, sha1),
            ),
            (json!({ "type": "certificateAuthority" }), These(Authentication::Authority {})),
        ] {
            assert_eq!(read(document.clone()), Ok(expected), "{document}");
        }
        let keys = json!({ "symmetricKey": { "primaryKey": KEY } });
        let Ok(These(Authentication::Keys(KeyPair { primary, .. }))) = read(keys) else { panic!("no keys") };
        assert_eq!(primary.to_base64(), KEY);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (document, expected) in [
            (json!({ "type": "selfSigned" }), BadAuthentication::NoThumbprint),
            (
                json!({ "type": "selfSigned", "x509Thumbprint": { "primaryThumbprint": "A9:99" } }),
                BadAuthentication::Thumbprint(NotAThumbprint),
            ),
            (json!({ "symmetricKey": { "primaryKey": "x" } }), BadAuthentication::Key(KeyError::NotBase64)),
            (json!({ "type": "none" }), BadAuthentication::UnknownType("none".into())),
        ] {
            assert_eq!(read(document.clone()), Err(expected), "{document}");
        }
    }

    #[test]
    fn a_certificate_is_known_by_either_thumbprint_within_its_validity() {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
        let made = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let certificate = Certificate::from_der(made.der()).unwrap();
        let known = |primary, secondary| Authentication::Thumbprints(Thumbprints { primary, secondary });
        let (sha1, sha256) = (Thumbprint::sha1(made.der()), Thumbprint::sha256(made.der()));
        let other = SHA1.parse().ok();
        let within = "2026-06-01T00:00:00Z".parse().unwrap();
        let after = "2027-06-01T00:00:00Z".parse().unwrap();
        for (authentication, now, expected) in [
            (known(Some(sha1), other), within, Ok(())),
            (known(other, Some(sha256)), within, Ok(())),
            (Authentication::of_certificate(&certificate), within, Ok(())),
            (known(Some(sha1), None), after, Err(WrongCertificate::NotValid)),
            (known(other, None), within, Err(WrongCertificate::OtherThumbprint)),
            (Authentication::Authority {}, within, Err(WrongCertificate::NoAuthority)),
            (Authentication::Keys(KeyPair::generate()), within, Err(WrongCertificate::NotByCertificate)),
        ] {
            assert_eq!(authentication.check(&certificate, now), expected, "{authentication:?} {now}");
        }
    }

    #[test]
    fn identities_are_kept_and_those_of_an_earlier_version_are_read() {
        let earlier = json!({
            "generation": 638_000_000_000_000_000_u64, "revision": 1, "status": "enabled", "status_reason": null,
            "status_updated": null, "keys": { "primary": KEY, "secondary": KEY }, "iot_edge": false,
        });
        let read: Identity = serde_json::from_value(earlier.clone()).unwrap();
        assert_eq!(read.authentication.keys().unwrap().primary.to_base64(), KEY);
        assert_eq!(serde_json::to_value(&read).unwrap()["keys"], earlier["keys"]);
        for authentication in [
            Authentication::Thumbprints(Thumbprints { primary: SHA1.parse().ok(), secondary: None }),
            Authentication::Authority {},
        ] {
            let identity = Identity { authentication, ..read.clone() };
            let kept = serde_json::to_string(&identity).unwrap();
            assert_eq!(serde_json::from_str::<Identity>(&kept).unwrap(), identity);
        }
    }

    #[test]
    fn keys_stay_where_only_keys_are_wanted_and_are_new_after_certificates() {
        let keys = Authentication::Keys(KeyPair::generate());
        assert_eq!(NewAuthentication::AnyKeys.or(Some(&keys)), keys);
        assert_eq!(NewAuthentication::AsBefore.or(Some(&Authentication::Authority {})), Authentication::Authority {});
        assert!(NewAuthentication::AnyKeys.or(Some(&Authentication::Authority {})).keys().is_some());
    }
}
