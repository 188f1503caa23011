//! Symmetric keys: the group key of an enrollment, and the device keys that come from it.

use std::fmt;

use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::identity::RegistrationId;

/// The text was no key. It is not repeated here: it may be one, cut short.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Not base64.
    #[error("{length} characters that are not base64")]
    NotBase64 {
        /// How long the text is.
        length: usize,
    },
    /// A key of IoT Hub or DPS is 16 to 64 bytes.
    #[error("{bytes} bytes of base64, where a key has 16 to 64")]
    Length {
        /// How many bytes the base64 holds.
        bytes: usize,
    },
}

fn decode(base64: &str) -> Result<Vec<u8>, InvalidKey> {
    let key = BASE64_STANDARD.decode(base64).map_err(|_| InvalidKey::NotBase64 { length: base64.chars().count() })?;
    match key.len() {
        16..=64 => Ok(key),
        bytes => Err(InvalidKey::Length { bytes }),
    }
}

/// The key of an enrollment group, from which the key of every one of its devices follows.
///
/// A real device never holds it: who has it can be any device of the group. It belongs into a factory or a service
/// that derives device keys and installs one on each device.
#[derive(Clone)]
pub struct GroupKey(hmac::Key);

impl GroupKey {
    /// Reads the base64 text that the portal and `az iot dps enrollment-group show --keys` give.
    ///
    /// # Errors
    ///
    /// When the text is not base64 or the key has an impossible length.
    pub fn from_base64(text: &str) -> Result<Self, InvalidKey> {
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &decode(text)?)))
    }

    /// The key of the group's device `registration_id`: HMAC-SHA256 over the id exactly as written, under the group
    /// key (DPS: symmetric key attestation, group enrollments).
    pub fn derive(&self, registration_id: &RegistrationId) -> DeviceKey {
        DeviceKey(hmac::Key::new(hmac::HMAC_SHA256, self.derived(registration_id).as_ref()))
    }

    fn derived(&self, registration_id: &RegistrationId) -> hmac::Tag {
        hmac::sign(&self.0, registration_id.as_str().as_bytes())
    }
}

impl fmt::Debug for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GroupKey(redacted)")
    }
}

/// The key of one device. DPS gives the device the same key in its hub, so that it signs for both.
#[derive(Clone)]
pub struct DeviceKey(hmac::Key);

impl DeviceKey {
    /// Reads the base64 text of a device's primary or secondary key.
    ///
    /// # Errors
    ///
    /// When the text is not base64 or the key has an impossible length.
    pub fn from_base64(text: &str) -> Result<Self, InvalidKey> {
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &decode(text)?)))
    }

    /// HMAC-SHA256 of `text`, in base64.
    pub(crate) fn sign(&self, text: &str) -> String {
        BASE64_STANDARD.encode(hmac::sign(&self.0, text.as_bytes()))
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_keys_follow_from_the_group_key_as_documented() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../tests/fixtures/iot/keys_and_tokens.json")).unwrap();
        let cases = vectors["derived_keys"].as_array().unwrap();
        assert!(cases.len() >= 3);
        for case in cases {
            let group = GroupKey::from_base64(case["group_key"].as_str().unwrap()).unwrap();
            let id: RegistrationId = case["registration_id"].as_str().unwrap().parse().unwrap();
            let want = case["device_key"].as_str().unwrap();
            assert_eq!(BASE64_STANDARD.encode(group.derived(&id)), want, "{id}");
            let known = DeviceKey::from_base64(want).unwrap();
            assert_eq!(group.derive(&id).sign("same key"), known.sign("same key"), "{id}");
        }
    }

    #[test]
    fn what_is_no_key_is_said_without_repeating_it() {
        let error = GroupKey::from_base64("c2VjcmV0 oops").unwrap_err();
        assert_eq!(error, InvalidKey::NotBase64 { length: 13 });
        assert!(!error.to_string().contains("oops"));
        assert_eq!(DeviceKey::from_base64("YWJj").unwrap_err(), InvalidKey::Length { bytes: 3 });
    }

    #[test]
    fn debug_shows_no_key() {
        let text = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
        assert_eq!(format!("{:?}", GroupKey::from_base64(text).unwrap()), "GroupKey(redacted)");
        assert_eq!(format!("{:?}", DeviceKey::from_base64(text).unwrap()), "DeviceKey(redacted)");
    }
}
