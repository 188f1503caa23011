//! Shared access signatures, as DPS and IoT Hub check them.
//!
//! A token is the text `SharedAccessSignature sr={resource}&sig={signature}&se={expiry}[&skn={policy}]`, its members
//! in any order. The signature is the Base64 of HMAC-SHA256 over the resource *as it stands in the token*, a line
//! feed and the expiry (IoT Hub: control access with shared access signatures). SDKs differ in whether they
//! percent-encode the resource, so it is decoded only after the signature was made over the raw text.
//!
//! A token is good for [`CLOCK_TOLERANCE`] longer than it says.

use std::fmt;

use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::{SignedDuration, Timestamp};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const SCHEME: &str = "SharedAccessSignature ";

/// How far behind the service's clock that of whoever made a token may be: for so long IoT Hub still takes a token that
/// expired, as its engineers say (azure-iot-sdk-csharp, issue 97: a constant 5 minutes for clock skew; azure-iot-sdk-c,
/// issue 163: a grace period of 5 minutes before a device is rejected). A clock that is ahead only makes tokens that
/// are good for longer. Whether DPS is as lenient is not documented; here it is.
pub const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// A symmetric key. Never printed: `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(Vec<u8>);

/// A symmetric key is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is not Base64.
    #[error("a symmetric key must be Base64")]
    NotBase64,
    /// IoT Hub takes keys of 16 to 64 bytes.
    #[error("a symmetric key must have 16 to 64 bytes, got {0}")]
    Length(usize),
}

impl Key {
    /// Reads a key from Base64.
    ///
    /// # Errors
    /// [`KeyError`] if the text is not Base64 of 16 to 64 bytes.
    pub fn parse(base64: &str) -> Result<Self, KeyError> {
        let bytes = BASE64_STANDARD.decode(base64).map_err(|_| KeyError::NotBase64)?;
        match bytes.len() {
            16..=64 => Ok(Self(bytes)),
            length => Err(KeyError::Length(length)),
        }
    }

    /// A new random key of 32 bytes.
    pub fn generate() -> Self {
        // Two random UUIDs hold 244 random bits; the HMAC spreads them over a key's 256.
        Self(
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, Uuid::new_v4().as_bytes()), Uuid::new_v4().as_bytes())
                .as_ref()
                .to_vec(),
        )
    }

    /// The key of one device under this enrollment group key: HMAC-SHA256 of the registration id's exact text
    /// (DPS: symmetric key attestation, group enrollments).
    pub fn derive(&self, registration_id: &str) -> Self {
        Self(hmac::sign(&self.hmac(), registration_id.as_bytes()).as_ref().to_vec())
    }

    /// A token for everything below `host`, signed with this key, which is that of `policy`.
    pub fn token(&self, host: &str, policy: &str, expiry: Timestamp) -> String {
        let expiry = expiry.as_second();
        let signature = BASE64_STANDARD.encode(hmac::sign(&self.hmac(), format!("{host}\n{expiry}").as_bytes()));
        let signature = utf8_percent_encode(&signature, NON_ALPHANUMERIC);
        format!("{SCHEME}sr={host}&sig={signature}&se={expiry}&skn={policy}")
    }

    /// The key as Base64.
    pub fn to_base64(&self) -> String {
        BASE64_STANDARD.encode(&self.0)
    }

    fn hmac(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl TryFrom<String> for Key {
    type Error = KeyError;

    fn try_from(base64: String) -> Result<Self, KeyError> {
        Self::parse(&base64)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.to_base64()
    }
}

/// Why a token is refused. Says nothing of the token's own text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The text is not a token.
    #[error("not a shared access signature: {0}")]
    Malformed(&'static str),
    /// Its time is over, with more than [`CLOCK_TOLERANCE`] in between.
    #[error("the shared access signature expired at {0}; check the clock of the machine that made it")]
    Expired(Timestamp),
    /// It is for something else.
    #[error("the shared access signature is for another resource")]
    OtherResource,
    /// None of the keys made its signature.
    #[error("the signature does not match; check the key, and the id that it was derived from")]
    WrongSignature,
}

/// A token, read but not yet trusted: [`Token::check`] says whether it is good.
pub struct Token {
    signed: String,
    resource: String,
    signature: Vec<u8>,
    expiry: Timestamp,
    policy: Option<String>,
}

impl Token {
    /// Reads a token.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] where a member is missing, doubled or cannot be read.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let members = text.strip_prefix(SCHEME).ok_or(Refusal::Malformed("it does not begin with its scheme"))?;
        let (mut sr, mut sig, mut se, mut skn) = (None, None, None, None);
        for member in members.split('&') {
            let (name, value) = member.split_once('=').ok_or(Refusal::Malformed("a member has no value"))?;
            let slot = match name.trim() {
                "sr" => &mut sr,
                "sig" => &mut sig,
                "se" => &mut se,
                "skn" => &mut skn,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(Refusal::Malformed("a member comes twice"));
            }
        }
        let raw_resource = sr.filter(|sr| !sr.is_empty()).ok_or(Refusal::Malformed("sr is missing"))?;
        let signature = decode(sig.ok_or(Refusal::Malformed("sig is missing"))?)?;
        let raw_expiry = se.ok_or(Refusal::Malformed("se is missing"))?;
        let expiry = raw_expiry.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        Ok(Self {
            signed: format!("{raw_resource}\n{raw_expiry}"),
            resource: decode(raw_resource)?,
            signature: BASE64_STANDARD.decode(signature).map_err(|_| Refusal::Malformed("sig is not Base64"))?,
            expiry: expiry.ok_or(Refusal::Malformed("se is not a number of seconds since 1970"))?,
            policy: skn.map(decode).transpose()?.filter(|policy| !policy.is_empty()),
        })
    }

    /// The policy whose key signed the token, if it names one (`skn`).
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// When it stops being good: [`CLOCK_TOLERANCE`] after its expiry.
    pub fn good_until(&self) -> Timestamp {
        self.expiry.saturating_add(CLOCK_TOLERANCE).unwrap_or(Timestamp::MAX)
    }

    /// Whether the token is good for `resource` (a host or id scope, then path segments) at `now`, and which of
    /// `keys` signed it, counted from 0.
    ///
    /// # Errors
    /// [`Refusal`] if it expired, is for another resource, or none of the keys signed it.
    pub fn check<'k>(
        &self,
        resource: &[&str],
        keys: impl IntoIterator<Item = &'k Key>,
        now: Timestamp,
    ) -> Result<usize, Refusal> {
        if self.good_until() <= now {
            return Err(Refusal::Expired(self.expiry));
        }
        if !covers(&self.resource, resource) {
            return Err(Refusal::OtherResource);
        }
        let signed = self.signed.as_bytes();
        keys.into_iter()
            .position(|key| hmac::verify(&key.hmac(), signed, &self.signature).is_ok())
            .ok_or(Refusal::WrongSignature)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("resource", &self.resource).field("expiry", &self.expiry).finish_non_exhaustive()
    }
}

/// A host without its port: `localhost:8883` is `localhost`.
pub fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn decode(text: &str) -> Result<String, Refusal> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| Refusal::Malformed("it is not UTF-8"))?;
    Ok(decoded.into_owned())
}

/// A resource covers everything below it, segment by segment, without regard to case; the port of a host is not
/// part of it. Some SDKs encode a device id before they encode the whole, so a segment may be encoded once more.
fn covers(granted: &str, wanted: &[&str]) -> bool {
    let granted: Vec<&str> = granted.trim_end_matches('/').split('/').collect();
    granted.len() <= wanted.len()
        && granted.iter().zip(wanted).enumerate().all(|(index, (granted, wanted))| {
            if index == 0 {
                return without_port(granted).eq_ignore_ascii_case(without_port(wanted));
            }
            granted.eq_ignore_ascii_case(wanted)
                || decode(granted).is_ok_and(|granted| granted.eq_ignore_ascii_case(wanted))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sign(key: &Key, resource: &str, expiry: i64) -> String {
        let signature = hmac::sign(&key.hmac(), format!("{resource}\n{expiry}").as_bytes());
        let signature = BASE64_STANDARD.encode(signature).replace('+', "%2B").replace('=', "%3D");
        format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}")
    }

    fn check(token: &str, resource: &[&str], key: &Key, now: i64) -> Result<usize, Refusal> {
        Token::parse(token)?.check(resource, [key], Timestamp::from_second(now).unwrap())
    }

    #[test]
    fn a_resource_covers_what_is_below_it_by_whole_segments_only() {
        let cases: &[(&str, bool)] = &[
            ("hub.azure-devices.net/devices/d1", true),
            ("HUB.azure-devices.net/Devices/D1", true),
            ("hub.azure-devices.net:8883/devices/d1", true),
            ("hub.azure-devices.net/devices", true),
            ("hub.azure-devices.net", true),
            ("hub.azure-devices.net/devices/d1/", true),
            ("hub.azure-devices.net/devices/d", false),
            ("hub.azure-devices.net/devices/d1/modules/m1", false),
            ("other.azure-devices.net/devices/d1", false),
            ("hub.azure-devices.net:8883x/devices/d1", false),
        ];
        for (granted, expected) in cases {
            assert_eq!(covers(granted, &["hub.azure-devices.net", "devices", "d1"]), *expected, "{granted}");
        }
        assert!(covers("hub/devices/a%25b", &["hub", "devices", "a%b"]), "encoded once more");
        assert!(covers("hub/devices/a%b", &["hub", "devices", "a%b"]), "an id may hold a percent sign");
    }

    #[test]
    fn a_token_is_good_until_five_minutes_after_its_expiry() {
        let key = Key::generate();
        let end = Timestamp::MAX.as_second();
        for (expiry, now, good) in [
            (1_000, 0, true),
            (1_000, 999, true),
            (1_000, 1_000, true),
            (1_000, 1_299, true),
            (1_000, 1_300, false),
            (1_000, 1_301, false),
            (1_000, end, false),
            (end, end - 1, true),
            (0, 1, true),
            (-300, 0, false),
        ] {
            let verdict = check(&sign(&key, "hub", expiry), &["hub"], &key, now);
            let expected = if good { Ok(0) } else { Err(Refusal::Expired(Timestamp::from_second(expiry).unwrap())) };
            assert_eq!(verdict, expected, "good until {expiry}, used at {now}");
        }
    }

    #[test]
    fn a_token_of_a_policy_is_good_for_its_host_and_names_the_policy() {
        let key = Key::generate();
        let text = key.token("hub.localhost", "iothubowner", Timestamp::from_second(1_000).unwrap());
        assert_eq!(check(&text, &["hub.localhost"], &key, 0), Ok(0));
        assert_eq!(check(&text, &["other.localhost"], &key, 0), Err(Refusal::OtherResource));
        assert_eq!(Token::parse(&text).unwrap().policy(), Some("iothubowner"));
    }

    #[test]
    fn a_changed_resource_expiry_or_key_breaks_the_signature() {
        let key = Key::generate();
        let token = sign(&key, "hub", 1_000);
        assert_eq!(check(&token.replace("sr=hub", "sr=%68ub"), &["hub"], &key, 0), Err(Refusal::WrongSignature));
        assert_eq!(check(&token.replace("se=1000", "se=2000"), &["hub"], &key, 0), Err(Refusal::WrongSignature));
        assert_eq!(check(&token, &["hub"], &Key::generate(), 0), Err(Refusal::WrongSignature));
    }

    #[test]
    fn malformed_tokens_are_refused() {
        for text in [
            "",
            "Bearer abc",
            "SharedAccessSignature ",
            "SharedAccessSignature sr=hub&sig=AAAA",
            "SharedAccessSignature sr=&sig=AAAA&se=1",
            "SharedAccessSignature sr=hub&sig=AAAA&se=1e9",
            "SharedAccessSignature sr=hub&sig=AAAA&se=99999999999999999999",
            "SharedAccessSignature sr=hub&sig=A&se=1",
            "SharedAccessSignature sr=hub&sr=hub&sig=AAAA&se=1",
            "SharedAccessSignature sr=%ff&sig=AAAA&se=1",
        ] {
            assert!(matches!(Token::parse(text), Err(Refusal::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn neither_keys_nor_tokens_show_their_secret() {
        let key = Key::generate();
        let token = Token::parse(&sign(&key, "hub", 1_000)).unwrap();
        let shown = format!("{key:?} {token:?}");
        assert!(!shown.contains(&key.to_base64()) && !shown.contains(&BASE64_STANDARD.encode(&token.signature)));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(SharedAccessSignature )?.{0,80}") {
            let _ = Token::parse(&text);
        }
    }
}
