//! Attestations as JSON (DPS: service REST API 2021-10-01, AttestationMechanism).

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Attestation, Certificates, EnrollmentName};
use crate::{iot_hub::WantedKeys, x509::Certificate};

impl Attestation {
    /// As the service shows it: without keys, and of certificates what they say.
    pub(super) fn show(&self) -> Value {
        match self {
            Self::Keys(_) => json!({ "type": "symmetricKey" }),
            Self::ClientCertificates(certificates) => {
                json!({ "type": "x509", "x509": { "clientCertificates": certificates.show() } })
            }
            Self::SigningCertificates(certificates) => {
                json!({ "type": "x509", "x509": { "signingCertificates": certificates.show() } })
            }
        }
    }

    /// The same with the keys.
    pub(super) fn show_all(&self) -> Value {
        match self {
            Self::Keys(keys) => json!({ "type": "symmetricKey", "symmetricKey": keys.show() }),
            certificates => certificates.show(),
        }
    }

    fn certificates(&self) -> Option<&Certificates> {
        match self {
            Self::Keys(_) => None,
            Self::ClientCertificates(certificates) | Self::SigningCertificates(certificates) => Some(certificates),
        }
    }
}

impl Certificates {
    fn show(&self) -> Value {
        let mut shown = json!({ "primary": { "info": self.primary.show() } });
        if let (Some(shown), Some(secondary)) = (shown.as_object_mut(), &self.secondary) {
            shown.insert("secondary".to_owned(), json!({ "info": secondary.show() }));
        }
        shown
    }
}

/// What a client writes of an attestation.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WantedAttestation {
    r#type: String,
    symmetric_key: Option<WantedKeys>,
    x509: Option<WantedX509>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WantedX509 {
    client_certificates: Option<WantedCertificates>,
    signing_certificates: Option<WantedCertificates>,
    ca_references: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WantedCertificates {
    primary: Option<WantedCertificate>,
    secondary: Option<WantedCertificate>,
}

/// With its certificate, or as it was read, with what the service said of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WantedCertificate {
    certificate: Option<String>,
    info: Option<Value>,
}

impl WantedAttestation {
    /// The attestation for this enrollment, which had the one `before`: what it shows of keys and certificates need
    /// not be said again.
    ///
    /// # Errors
    /// What is wrong with the document.
    pub(super) fn read(&self, name: &EnrollmentName, before: Option<&Attestation>) -> Result<Attestation, String> {
        match self.r#type.as_str() {
            "symmetricKey" => {
                let keys = self.symmetric_key.clone().unwrap_or_default();
                let keys = keys.read(before.and_then(Attestation::keys)).map_err(|error| error.to_string())?;
                Ok(Attestation::Keys(keys))
            }
            "x509" => {
                let x509 = self.x509.as_ref().ok_or("attestation.x509 is missing")?;
                x509.read(name, before.and_then(Attestation::certificates))
            }
            other => Err(format!("attestation.type is \"{other}\"; local-azure knows symmetricKey and x509")),
        }
    }
}

impl WantedX509 {
    fn read(&self, name: &EnrollmentName, before: Option<&Certificates>) -> Result<Attestation, String> {
        if self.ca_references.as_ref().is_some_and(|references| !references.is_null()) {
            return Err("attestation.x509.caReferences names CA certificates that were uploaded to the service, and \
                        local-azure has none: write the certificate into signingCertificates of an enrollment group"
                .to_owned());
        }
        match (name, &self.client_certificates, &self.signing_certificates) {
            (EnrollmentName::Individual(_), Some(wanted), None) => {
                wanted.read("clientCertificates", before).map(Attestation::ClientCertificates)
            }
            (EnrollmentName::Group(_), None, Some(wanted)) => {
                let read = wanted.read("signingCertificates", before)?;
                if let Some(other) = read.iter().find(|certificate| !certificate.info().is_authority) {
                    return Err(format!(
                        "attestation.x509.signingCertificates: {} may not issue certificates (basic constraints)",
                        other.info().subject
                    ));
                }
                Ok(Attestation::SigningCertificates(read))
            }
            (EnrollmentName::Individual(_), ..) => {
                Err("attestation.x509 of an individual enrollment wants clientCertificates, and those alone".to_owned())
            }
            (EnrollmentName::Group(_), ..) => {
                Err("attestation.x509 of an enrollment group wants signingCertificates, and those alone".to_owned())
            }
        }
    }
}

impl WantedCertificates {
    fn read(&self, member: &str, before: Option<&Certificates>) -> Result<Certificates, String> {
        let read = |which: &str, wanted: &Option<WantedCertificate>, before: Option<&Certificate>| {
            let read = wanted.as_ref().and_then(|wanted| wanted.read(before)).transpose();
            read.map_err(|error| format!("attestation.x509.{member}.{which}.certificate: {error}"))
        };
        let primary = read("primary", &self.primary, before.map(|before| &before.primary))?;
        Ok(Certificates {
            primary: primary.ok_or_else(|| format!("attestation.x509.{member}.primary.certificate is missing"))?,
            secondary: read("secondary", &self.secondary, before.and_then(|before| before.secondary.as_ref()))?,
        })
    }
}

impl WantedCertificate {
    fn read(&self, before: Option<&Certificate>) -> Option<Result<Certificate, crate::x509::Malformed>> {
        match self.certificate.as_deref().filter(|text| !text.is_empty()) {
            Some(text) => Some(Certificate::from_text(text)),
            None => before.filter(|_| self.info.is_some()).map(|before| Ok(before.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    fn pem(is_ca: IsCa) -> String {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = is_ca;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    fn authority() -> String {
        pem(IsCa::Ca(BasicConstraints::Unconstrained))
    }

    fn group() -> EnrollmentName {
        EnrollmentName::Group("g1".to_owned())
    }

    fn device() -> EnrollmentName {
        EnrollmentName::Individual("d1".parse().unwrap())
    }

    fn read(name: &EnrollmentName, x509: Value, before: Option<&Attestation>) -> Result<Attestation, String> {
        let document = json!({ "type": "x509", "x509": x509 });
        serde_json::from_value::<WantedAttestation>(document).unwrap().read(name, before)
    }

    #[test]
    fn what_was_read_can_be_written_back_and_a_certificate_rolled() {
        let (first, second) = (authority(), authority());
        let primary = json!({ "signingCertificates": { "primary": { "certificate": first } } });
        let one = read(&group(), primary, None).unwrap();
        let mut shown = one.show()["x509"].clone();
        assert_eq!(read(&group(), shown.clone(), Some(&one)), Ok(one.clone()));
        shown["signingCertificates"]["secondary"] = json!({ "certificate": second, "info": null });
        let two = read(&group(), shown, Some(&one)).unwrap();
        let Attestation::SigningCertificates(Certificates { primary, secondary }) = &two else { panic!("{two:?}") };
        assert_eq!(
            (Certificate::from_text(&first).as_ref(), Certificate::from_text(&second).ok()),
            (Ok(primary), secondary.clone())
        );
        assert!(two.show()["x509"]["signingCertificates"]["secondary"]["info"]["sha256Thumbprint"].is_string());
        let kept = serde_json::to_string(&two).unwrap();
        assert_eq!(serde_json::from_str::<Attestation>(&kept).unwrap(), two);
    }

    #[test]
    fn documents_that_cannot_be_are_refused_with_what_is_wrong() {
        let (leaf, authority) = (pem(IsCa::NoCa), authority());
        let (leaf, authority) = (json!({ "certificate": leaf }), json!({ "certificate": authority }));
        for (name, x509, said) in [
            (group(), json!({ "caReferences": { "primary": "my-ca" } }), "caReferences"),
            (group(), json!({ "signingCertificates": { "primary": leaf } }), "may not issue"),
            (group(), json!({ "signingCertificates": { "secondary": authority } }), "primary.certificate is missing"),
            (
                group(),
                json!({ "signingCertificates": { "primary": { "info": {} } } }),
                "primary.certificate is missing",
            ),
            (group(), json!({ "clientCertificates": { "primary": leaf } }), "wants signingCertificates"),
            (device(), json!({ "signingCertificates": { "primary": authority } }), "wants clientCertificates"),
            (
                device(),
                json!({ "clientCertificates": { "primary": leaf }, "signingCertificates": { "primary": authority } }),
                "those alone",
            ),
            (device(), json!({ "clientCertificates": { "primary": { "certificate": "AAAA" } } }), "not an X.509"),
            (device(), json!({}), "wants clientCertificates"),
        ] {
            let refused = read(&name, x509, None).unwrap_err();
            assert!(refused.contains(said), "{refused}");
        }
    }
}
