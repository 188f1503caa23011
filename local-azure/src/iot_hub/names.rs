//! What things are called in an IoT Hub.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::sas::without_port;

/// An id is not one that IoT Hub takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an id has 1 to 128 characters, ASCII letters and digits and - : . + % _ # * ? ! ( ) , = @ $ ' ; (IoT Hub: \
     understand the identity registry)"
)]
pub struct IdError;

fn checked(id: String) -> Result<String, IdError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-:.+%_#*?!(),=@$';".contains(&byte);
    if (1..=128).contains(&id.len()) && id.bytes().all(allowed) { Ok(id) } else { Err(IdError) }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(id: String) -> Result<Self, IdError> {
                checked(id).map(Self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;

            fn from_str(id: &str) -> Result<Self, IdError> {
                checked(id.to_owned()).map(Self)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// A device's name in its hub; case matters.
    DeviceId
}
id! {
    /// A module's name on its device; case matters.
    ModuleId
}

/// Whom a request is about: a device, or a module on one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// The device.
    pub device: DeviceId,
    /// The module, if it is one.
    pub module: Option<ModuleId>,
}

impl Address {
    /// The device itself.
    pub fn device(device: DeviceId) -> Self {
        Self { device, module: None }
    }

    /// A module on the device.
    pub fn module(device: DeviceId, module: ModuleId) -> Self {
        Self { device, module: Some(module) }
    }

    /// The path that shared access signatures for it are made over, host first.
    pub(super) fn resource<'a>(&'a self, host: &'a str) -> Vec<&'a str> {
        let mut resource = vec![host, "devices", self.device.as_str()];
        if let Some(module) = &self.module {
            resource.extend(["modules", module.as_str()]);
        }
        resource
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.module {
            None => write!(f, "{}", self.device),
            Some(module) => write!(f, "{}/{module}", self.device),
        }
    }
}

/// A hub's host name, for instance `contoso-hub.azure-devices.net`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostName(String);

impl HostName {
    /// The name without a port, should it have one.
    pub fn new(host: &str) -> Self {
        Self(without_port(host).to_owned())
    }

    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hub's own name: the first label, which is what events call `hubName`.
    pub fn short(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }

    /// Whether `host`, with or without a port and in any case, is this one.
    pub fn is(&self, host: &str) -> bool {
        self.0.eq_ignore_ascii_case(without_port(host))
    }
}

/// A text that cannot be a hub's host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a host name: it takes letters, digits and hyphens in labels of up to 63, joined by dots, without a port"
)]
pub struct HostNameError(String);

impl FromStr for HostName {
    type Err = HostNameError;

    /// Takes a DNS name and lowers it.
    fn from_str(text: &str) -> Result<Self, HostNameError> {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if text.len() <= 253 && text.split('.').all(label) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(HostNameError(text.to_owned()))
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_checked_and_lowered() {
        let name = "Contoso-Hub.azure-devices.localhost".parse::<HostName>().unwrap();
        assert_eq!(name.as_str(), "contoso-hub.azure-devices.localhost");
        for bad in ["", "a..b", "-a", "a-", "a:1", "ä.b", "a b"] {
            assert_eq!(bad.parse::<HostName>(), Err(HostNameError(bad.to_owned())));
        }
    }

    #[test]
    fn ids_take_what_iot_hub_takes_and_nothing_that_would_break_a_topic() {
        for id in ["d1", "Thermo-01", "a:b;c", "a+b%c_d#e*f?g!h(i),=@$'", &"x".repeat(128)] {
            assert!(id.parse::<DeviceId>().is_ok(), "{id}");
        }
        for id in ["", "a/b", "a b", "é", "a\0", &"x".repeat(129)] {
            assert_eq!(id.parse::<DeviceId>(), Err(IdError), "{id}");
        }
    }

    #[test]
    fn a_host_is_known_by_its_name_in_any_case_with_any_port() {
        let host = HostName::new("Contoso-Hub.azure-devices.net");
        assert!(host.is("contoso-hub.AZURE-devices.net:8883"));
        assert!(!host.is("contoso-hub"));
        assert_eq!(host.short(), "Contoso-Hub");
    }
}
