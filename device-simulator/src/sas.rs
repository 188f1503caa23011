//! Shared access signatures: the password of a device, good for one resource and some time.
//!
//! `SharedAccessSignature sr={resource}&sig={signature}&se={expiry}`, the signature being the base64 of HMAC-SHA256
//! over `{resource}\n{expiry}` with the resource percent-encoded as in the token (IoT Hub: control access with shared
//! access signatures).

use std::{fmt, time::Duration};

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

use crate::key::DeviceKey;

/// Everything but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes `text` so that it can be part of a query or a property bag.
pub(crate) fn encode(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, RESERVED)
}

/// A signed token. Its text goes on the wire only.
#[derive(Clone)]
pub(crate) struct SasToken {
    text: String,
}

impl SasToken {
    /// Signs `resource` for `lifetime` from `now`. `policy` is the key's name where the service asks for one
    /// (`registration` at DPS; the key of a device in its hub has none).
    pub(crate) fn sign(
        resource: &str,
        policy: Option<&str>,
        key: &DeviceKey,
        now: Timestamp,
        lifetime: Duration,
    ) -> Self {
        let resource = encode(resource).to_string();
        let expiry = now.as_second().saturating_add(i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX));
        let signature = key.sign(&format!("{resource}\n{expiry}"));
        let mut text = format!("SharedAccessSignature sr={resource}&sig={}&se={expiry}", encode(&signature));
        if let Some(policy) = policy {
            text.push_str("&skn=");
            text.push_str(policy);
        }
        Self { text }
    }

    /// What goes into the password of CONNECT.
    pub(crate) fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for SasToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SasToken(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;

    use super::*;

    /// Recorded tokens whose resource is percent-encoded, as this program writes it.
    fn recorded() -> Vec<(String, String, String)> {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../tests/fixtures/iot/keys_and_tokens.json")).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let tokens = vectors["tokens"].as_array().unwrap();
        tokens
            .iter()
            .filter(|token| token["valid_signature"] == true)
            .map(|token| (text(&token["name"]), text(&token["key"]), text(&token["token"])))
            .filter(|(_, _, token)| token.split('&').next().is_some_and(|sr| sr.contains("%2F")))
            .collect()
    }

    fn field<'a>(token: &'a str, name: &str) -> Option<&'a str> {
        token.split_once(' ')?.1.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    #[test]
    fn a_token_is_signed_as_the_recorded_ones_are() {
        let recorded = recorded();
        assert!(recorded.len() >= 3, "{recorded:?}");
        for (name, key, token) in recorded {
            let resource = percent_decode_str(field(&token, "sr").unwrap()).decode_utf8().unwrap();
            let expiry: i64 = field(&token, "se").unwrap().parse().unwrap();
            let now = Timestamp::from_second(expiry - 3600).unwrap();
            let key = DeviceKey::from_base64(&key).unwrap();
            let signed = SasToken::sign(&resource, None, &key, now, Duration::from_secs(3600));
            assert_eq!(signed.expose(), token, "{name}");
        }
    }

    #[test]
    fn the_policy_comes_last() {
        let key = DeviceKey::from_base64("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").unwrap();
        let token = SasToken::sign(
            "s/registrations/d",
            Some("registration"),
            &key,
            Timestamp::UNIX_EPOCH,
            Duration::from_secs(60),
        );
        assert!(token.expose().starts_with("SharedAccessSignature sr=s%2Fregistrations%2Fd&sig="));
        assert!(token.expose().ends_with("&se=60&skn=registration"));
        assert_eq!(format!("{token:?}"), "SasToken(redacted)");
    }
}
