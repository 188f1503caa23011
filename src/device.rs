//! The names of a device: towards DPS, in IoT Hub, and of the hub it lives in.

use std::fmt;
use std::hash::{Hash, Hasher};

/// The longest registration id and device id, in characters (both are ASCII).
pub const MAX_ID_LENGTH: usize = 128;

/// A name that is not one: what was got and what it takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// The text is empty.
    #[error("{kind} is empty")]
    Empty {
        /// Which kind of name.
        kind: &'static str,
    },
    /// The text is longer than the kind of name allows.
    #[error("{kind} has {length} bytes, at most {limit} are allowed")]
    TooLong {
        /// Which kind of name.
        kind: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The text holds a character that the kind of name does not allow, or ends in one that may not end it.
    #[error("{kind} {text:?} has {character:?}, allowed are {allowed}")]
    Character {
        /// Which kind of name.
        kind: &'static str,
        /// The text, at most [`MAX_ID_LENGTH`] or so of it.
        text: String,
        /// The first character that does not belong.
        character: char,
        /// What is allowed.
        allowed: &'static str,
    },
}

/// What a device calls itself towards DPS. Ids that differ only in ASCII case are one device: equality and hash
/// ignore case, [`as_str`](Self::as_str) keeps the spelling as received.
///
/// Up to 128 of ASCII letters, digits, `-`, `.`, `_` and `:`, the last one a letter, a digit or `-`
/// (Azure DPS: "IoT Hub Device Provisioning Service terminology", registration ID).
#[derive(Clone)]
pub struct RegistrationId {
    received: Box<str>,
    lower: Box<str>,
}

impl RegistrationId {
    /// Checks `text` and keeps its spelling.
    ///
    /// # Errors
    /// [`InvalidName`] when it is empty, too long, or has other characters than those allowed.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        const KIND: &str = "registration id";
        const ALLOWED: &str = "letters, digits, '-', '.', '_' and ':', the last one a letter, a digit or '-'";
        let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
        check(KIND, text, ALLOWED, inside)?;
        match text.chars().next_back() {
            Some(last) if matches!(last, '.' | '_' | ':') => {
                Err(InvalidName::Character { kind: KIND, text: text.to_owned(), character: last, allowed: ALLOWED })
            }
            _ => Ok(Self { received: text.into(), lower: text.to_ascii_lowercase().into() }),
        }
    }

    /// The id as the device spelled it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.received
    }

    /// The id in lower case: the id of the twin that is made for the device.
    #[must_use]
    pub fn lower(&self) -> &str {
        &self.lower
    }
}

impl PartialEq for RegistrationId {
    fn eq(&self, other: &Self) -> bool {
        self.lower == other.lower
    }
}

impl Eq for RegistrationId {}

impl Hash for RegistrationId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.lower.hash(state);
    }
}

impl fmt::Display for RegistrationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.received)
    }
}

impl fmt::Debug for RegistrationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegistrationId({:?})", self.received)
    }
}

/// The name of a device in IoT Hub. Case-sensitive, up to 128 ASCII letters, digits and
/// `- . + % _ # * ? ! ( ) , = @ $ ' : ;` (Azure IoT Hub: "Understand the identity registry in your IoT hub").
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(Box<str>);

impl DeviceId {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`InvalidName`] when it is empty, too long, or has other characters than those allowed.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        const ALLOWED: &str = "ASCII letters, digits and - . + % _ # * ? ! ( ) , = @ $ ' : ;";
        let inside = |c: char| c.is_ascii_alphanumeric() || "-.+%_#*?!(),=@$':;".contains(c);
        check("device id", text, ALLOWED, inside)?;
        Ok(Self(text.into()))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first DNS label of an IoT hub's host name. Equality and hash ignore case: events carry the short name,
/// assignments the host name.
#[derive(Clone)]
pub struct HubName(Box<str>);

impl HubName {
    /// The name of the hub that `host` (`contoso-hub.azure-devices.net`, or already `contoso-hub`) belongs to.
    ///
    /// # Errors
    /// [`InvalidName`] when the first label is empty, longer than 63 bytes (RFC 1035) or has other characters than
    /// ASCII letters, digits and `-`.
    pub fn of_host(host: &str) -> Result<Self, InvalidName> {
        const KIND: &str = "hub name";
        const MAX_LABEL: usize = 63;
        let label = host.split('.').next().unwrap_or_default();
        if label.len() > MAX_LABEL {
            return Err(InvalidName::TooLong { kind: KIND, length: label.len(), limit: MAX_LABEL });
        }
        check(KIND, label, "letters, digits and '-'", |c| c.is_ascii_alphanumeric() || c == '-')?;
        Ok(Self(label.into()))
    }

    /// The label as it was spelled.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for HubName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for HubName {}

impl Hash for HubName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_ascii_lowercase().hash(state);
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HubName({:?})", self.0)
    }
}

fn check(kind: &'static str, text: &str, allowed: &'static str, inside: fn(char) -> bool) -> Result<(), InvalidName> {
    if text.is_empty() {
        return Err(InvalidName::Empty { kind });
    }
    if text.len() > MAX_ID_LENGTH {
        return Err(InvalidName::TooLong { kind, length: text.len(), limit: MAX_ID_LENGTH });
    }
    match text.chars().find(|&c| !inside(c)) {
        Some(character) => Err(InvalidName::Character { kind, text: text.to_owned(), character, allowed }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn registration_ids_that_differ_in_case_are_one_device() {
        let ids: HashSet<_> = ["Thermostat-01", "thermostat-01", "THERMOSTAT-01"]
            .iter()
            .map(|text| RegistrationId::parse(text).unwrap())
            .collect();
        assert_eq!(ids.len(), 1);
    }

    #[test]
    fn a_registration_id_keeps_its_spelling() {
        let id = RegistrationId::parse("Thermostat-01").unwrap();
        assert_eq!((id.as_str(), id.lower()), ("Thermostat-01", "thermostat-01"));
    }

    #[test]
    fn registration_ids_are_checked_as_dps_does() {
        for good in ["a", "A-b.c_d:e", "ends-", &"x".repeat(128)] {
            assert!(RegistrationId::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["", "dot.", "colon:", "under_", "with space", "quote'", "slash/", "umlaut-ä", "a\n", &"x".repeat(129)]
        {
            assert!(RegistrationId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn device_ids_are_case_sensitive() {
        assert_ne!(DeviceId::parse("Pump").unwrap(), DeviceId::parse("pump").unwrap());
        assert!(DeviceId::parse("it's(1);").is_ok());
        assert!(DeviceId::parse("a b").is_err());
        assert!(DeviceId::parse("a\"b").is_err());
    }

    #[test]
    fn a_hub_is_known_by_its_first_label_in_any_case() {
        let host = HubName::of_host("Contoso-Hub.azure-devices.net").unwrap();
        assert_eq!(host, HubName::of_host("contoso-hub").unwrap());
        assert_eq!(host.as_str(), "Contoso-Hub");
        assert!(HubName::of_host(".azure-devices.net").is_err());
        assert!(HubName::of_host("").is_err());
    }
}
