//! One certificate: its DER, and what it says.

use std::{fmt, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use x509_parser::{
    certificate::X509Certificate,
    prelude::FromDer as _,
    time::ASN1Time,
    x509::{AttributeTypeAndValue, X509Name},
};

use super::Thumbprint;

/// The largest certificate that is read. Device certificates have 1 or 2 KiB.
const BYTES: usize = 16 * 1024;
const PEM: &str = "-----BEGIN";

/// A text or bytes are no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Neither encoding.
    #[error("a certificate must be PEM with one certificate in it, or the Base64 of one in DER")]
    Encoding,
    /// Too much of it.
    #[error("a certificate of {0} bytes, at most 16384 are read")]
    TooLong(usize),
    /// DER, but of nothing that is a certificate.
    #[error("not an X.509 certificate: {0}")]
    Content(String),
}

/// A certificate that could be read. Kept as the Base64 of its DER; cheap to clone.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Certificate(Arc<Parts>);

struct Parts {
    der: CertificateDer<'static>,
    info: Info,
}

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Its subject, in the form that DPS shows.
    pub subject: String,
    /// Its issuer, in the form that DPS shows.
    pub issuer: String,
    /// The one common name of its subject; `None` also if there are several.
    pub common_name: Option<String>,
    /// Whether it may issue others (basic constraints).
    pub is_authority: bool,
    /// From when it is good, in UTC. A civil time, because "no end" is 9999-12-31T23:59:59 (RFC 5280, section 4.1.2.5),
    /// which is beyond the last [`Timestamp`].
    pub not_before: DateTime,
    /// Until when it is good, in UTC.
    pub not_after: DateTime,
    /// Its serial number in hexadecimal digits.
    pub serial_number: String,
    /// 3 for all that are made today.
    pub version: u32,
    /// The subject's DER.
    subject_der: Vec<u8>,
    /// The issuer's DER.
    issuer_der: Vec<u8>,
}

impl Certificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn from_der(der: &[u8]) -> Result<Self, Malformed> {
        if der.len() > BYTES {
            return Err(Malformed::TooLong(der.len()));
        }
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|error| Malformed::Content(error.to_string()))?;
        if !rest.is_empty() {
            return Err(Malformed::Content("something follows it".to_owned()));
        }
        let info = Info::of(&certificate)?;
        Ok(Self(Arc::new(Parts { der: CertificateDer::from(der.to_vec()), info })))
    }

    /// Reads a certificate as clients of DPS' service API write it: PEM, or the Base64 of its DER.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn from_text(text: &str) -> Result<Self, Malformed> {
        if text.len() > 2 * BYTES {
            return Err(Malformed::TooLong(text.len()));
        }
        if text.contains(PEM) {
            let mut all = CertificateDer::pem_slice_iter(text.as_bytes());
            return match (all.next(), all.next()) {
                (Some(Ok(only)), None) => Self::from_der(&only),
                _ => Err(Malformed::Encoding),
            };
        }
        let text: String = text.split_ascii_whitespace().collect();
        let der = BASE64_STANDARD.decode(text).map_err(|_| Malformed::Encoding)?;
        Self::from_der(&der)
    }

    /// Its DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.0.der
    }

    /// What it says.
    pub fn info(&self) -> &Info {
        &self.0.info
    }

    /// Its SHA-256.
    pub fn thumbprint(&self) -> Thumbprint {
        Thumbprint::sha256(&self.0.der)
    }

    /// The Base64 of its DER.
    pub fn to_base64(&self) -> String {
        BASE64_STANDARD.encode(&self.0.der)
    }

    /// Whether `now` is within its validity.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        let now = TimeZone::UTC.to_datetime(now);
        let Info { not_before, not_after, .. } = self.info();
        (*not_before..=*not_after).contains(&now)
    }

    /// Whether `other` names it as its issuer. No word on the signature.
    pub(super) fn is_named_by(&self, other: &Self) -> bool {
        self.info().subject_der == other.info().issuer_der
    }

    /// As DPS shows it (DPS: service REST API, X509CertificateInfo).
    pub fn show(&self) -> Value {
        let info = self.info();
        json!({
            "subjectName": info.subject,
            "sha1Thumbprint": Thumbprint::sha1(self.der()),
            "sha256Thumbprint": self.thumbprint(),
            "issuerName": info.issuer,
            "notBeforeUtc": format!("{}Z", info.not_before),
            "notAfterUtc": format!("{}Z", info.not_after),
            "serialNumber": info.serial_number,
            "version": info.version,
        })
    }
}

impl Info {
    fn of(certificate: &X509Certificate<'_>) -> Result<Self, Malformed> {
        let mut names = certificate.subject().iter_common_name();
        let common_name = match (names.next(), names.next()) {
            (Some(only), None) => only.as_str().ok().map(str::to_owned),
            _ => None,
        };
        Ok(Self {
            subject: name(certificate.subject()),
            issuer: name(certificate.issuer()),
            common_name,
            is_authority: certificate.is_ca(),
            not_before: time(certificate.validity().not_before)?,
            not_after: time(certificate.validity().not_after)?,
            serial_number: hexadecimal(certificate.raw_serial()),
            version: certificate.version().0 + 1,
            subject_der: certificate.subject().as_raw().to_vec(),
            issuer_der: certificate.issuer().as_raw().to_vec(),
        })
    }
}

fn time(time: ASN1Time) -> Result<DateTime, Malformed> {
    let time = time.to_datetime();
    let year = i16::try_from(time.year()).ok();
    let day = |year| {
        let small = |number: u8| number.cast_signed();
        DateTime::new(
            year,
            small(time.month().into()),
            small(time.day()),
            small(time.hour()),
            small(time.minute()),
            small(time.second()),
            0,
        )
    };
    year.and_then(|year| day(year).ok())
        .ok_or_else(|| Malformed::Content(format!("its validity has the year {}", time.year())))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// A name as .NET writes it, and with it DPS: the last part first, as in `CN=device, OU=Azure IoT, O=MSFT, C=US` (DPS:
/// service REST API, X509CertificateInfo, example).
fn name(name: &X509Name<'_>) -> String {
    let parts: Vec<String> =
        name.iter_rdn().map(|part| part.iter().map(attribute).collect::<Vec<_>>().join(" + ")).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(", ")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let kind = match oid.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "SERIALNUMBER",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "S",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "T",
        "2.5.4.42" => "G",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "E",
        other => &format!("OID.{other}"),
    };
    let value = match attribute.as_str() {
        Ok(text) => quoted(text),
        Err(_) => format!("#{}", hexadecimal(attribute.as_slice())),
    };
    format!("{kind}={value}")
}

/// A value, in quotes where it could be misread.
fn quoted(text: &str) -> String {
    let special = |letter| matches!(letter, ',' | '+' | '=' | '"' | '\r' | '\n' | '<' | '>' | '#' | ';');
    if text.is_empty() || text.trim() != text || text.contains(special) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.der == other.0.der
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.info().subject).field(&self.thumbprint()).finish()
    }
}

impl TryFrom<String> for Certificate {
    type Error = Malformed;

    fn try_from(base64: String) -> Result<Self, Malformed> {
        Self::from_text(&base64)
    }
}

impl From<Certificate> for String {
    fn from(certificate: Certificate) -> Self {
        certificate.to_base64()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SerialNumber, date_time_ymd};

    use super::*;

    fn made(change: impl FnOnce(&mut CertificateParams)) -> rcgen::Certificate {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_before = date_time_ymd(2017, 1, 1);
        params.not_after = date_time_ymd(2037, 1, 1);
        params.serial_number = Some(SerialNumber::from(vec![0x0a, 0x0b, 0x0c, 0x0d, 0x0e]));
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap()
    }

    fn named(parts: &[(DnType, &str)]) -> rcgen::Certificate {
        made(|params| {
            params.distinguished_name = DistinguishedName::new();
            parts.iter().for_each(|(kind, value)| params.distinguished_name.push(kind.clone(), *value));
        })
    }

    #[test]
    fn it_is_shown_as_the_service_shows_it() {
        let made = named(&[
            (DnType::CountryName, "US"),
            (DnType::OrganizationName, "MSFT"),
            (DnType::OrganizationalUnitName, "Azure IoT"),
            (DnType::CommonName, "device-1"),
        ]);
        let shown = Certificate::from_der(made.der()).unwrap().show();
        assert_eq!(shown["subjectName"], "CN=device-1, OU=Azure IoT, O=MSFT, C=US");
        assert_eq!(shown["issuerName"], shown["subjectName"]);
        assert_eq!(
            (&shown["notBeforeUtc"], &shown["notAfterUtc"]),
            (&json!("2017-01-01T00:00:00Z"), &json!("2037-01-01T00:00:00Z"))
        );
        assert_eq!((&shown["serialNumber"], &shown["version"]), (&json!("0A0B0C0D0E"), &json!(3)));
        assert_eq!(shown["sha1Thumbprint"], Thumbprint::sha1(made.der()).to_string());
        assert_eq!(shown["sha256Thumbprint"], Thumbprint::sha256(made.der()).to_string());
    }

    #[test]
    fn names_that_could_be_misread_are_quoted() {
        let made = named(&[(DnType::OrganizationName, "A, B"), (DnType::CommonName, "say \"d1\"")]);
        let certificate = Certificate::from_der(made.der()).unwrap();
        assert_eq!(certificate.info().subject, r#"CN="say ""d1""", O="A, B""#);
        assert_eq!(certificate.info().common_name.as_deref(), Some("say \"d1\""));
    }

    #[test]
    fn it_is_read_from_pem_and_from_base64_and_kept_as_base64() {
        let made = named(&[(DnType::CommonName, "d1")]);
        let certificate = Certificate::from_der(made.der()).unwrap();
        let in_lines = BASE64_STANDARD
            .encode(made.der())
            .as_bytes()
            .chunks(64)
            .map(|line| line.to_vec())
            .collect::<Vec<_>>()
            .join(&b'\n');
        for text in [made.pem(), certificate.to_base64(), String::from_utf8(in_lines).unwrap()] {
            assert_eq!(Certificate::from_text(&text).unwrap(), certificate);
        }
        let kept = serde_json::to_string(&certificate).unwrap();
        assert_eq!(serde_json::from_str::<Certificate>(&kept).unwrap(), certificate);
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let made = named(&[(DnType::CommonName, "d1")]);
        let longer = [&**made.der(), &[0]].concat();
        assert!(matches!(Certificate::from_der(&longer), Err(Malformed::Content(_))));
        assert!(matches!(Certificate::from_der(&made.der()[1..]), Err(Malformed::Content(_))));
        assert_eq!(Certificate::from_der(&[0x30; BYTES + 1]), Err(Malformed::TooLong(BYTES + 1)));
        let two = made.pem().repeat(2);
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for text in ["é", "AAA", key, "-----BEGIN CERTIFICATE-----\nAAAA\n", &two] {
            assert_eq!(Certificate::from_text(text), Err(Malformed::Encoding), "{text}");
        }
        for text in ["", "AAAA"] {
            assert!(matches!(Certificate::from_text(text), Err(Malformed::Content(_))), "{text}");
        }
    }

    #[test]
    fn a_certificate_without_end_is_valid_to_the_end() {
        let made =
            made(|params| params.not_after = date_time_ymd(9999, 12, 31) + std::time::Duration::from_secs(86_399));
        let certificate = Certificate::from_der(made.der()).unwrap();
        assert_eq!(certificate.show()["notAfterUtc"], "9999-12-31T23:59:59Z");
        assert!(certificate.is_valid_at(Timestamp::MAX) && !certificate.is_valid_at(Timestamp::MIN));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(at in 0_usize..400, by in any::<u8>(), length in 0_usize..400) {
            let made = named(&[(DnType::CommonName, "d1")]);
            let mut der = made.der().to_vec();
            let length = der.len() - length.min(der.len());
            if let Some(byte) = der.get_mut(at) {
                *byte = by;
            }
            der.truncate(length.max(1));
            if let Ok(certificate) = Certificate::from_der(&der) {
                prop_assert!(certificate.show().is_object());
            }
        }
    }
}
