//! Who a device is: towards DPS, towards IoT Hub, and where those two are.

use std::{fmt, str::FromStr};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{got:?} is not {what}: {wanted}")]
pub struct InvalidName {
    /// What it was to name, with its article.
    pub what: &'static str,
    /// What came.
    pub got: String,
    /// What is allowed.
    pub wanted: &'static str,
}

/// What the device calls itself towards DPS, spelled as the caller spelled it.
///
/// Up to 128 ASCII letters, digits and `- . _ :`, the last one a letter, a digit or `-`; case does not tell two
/// devices apart (DPS: terminology, registration ID).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RegistrationId(String);

impl RegistrationId {
    /// The id as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same device, in lower case.
    #[must_use]
    pub fn to_lower(&self) -> Self {
        Self(self.0.to_ascii_lowercase())
    }
}

impl FromStr for RegistrationId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
        let ends_well = text.bytes().last().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'-');
        if text.len() <= 128 && ends_well && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidName {
            what: "a registration id",
            got: text.to_owned(),
            wanted: "1 to 128 letters, digits and - . _ : with a letter, a digit or - at the end",
        })
    }
}

impl fmt::Display for RegistrationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The DPS instance that a registration is for, such as `0ne00ABCDEF`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdScope(String);

impl IdScope {
    /// The id scope as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdScope {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidName {
            what: "an id scope",
            got: text.to_owned(),
            wanted: "letters and digits only, as in 0ne00ABCDEF",
        })
    }
}

impl fmt::Display for IdScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The device's name in IoT Hub; case-sensitive.
///
/// Up to 128 ASCII letters, digits and `- . + % _ # * ? ! ( ) , : = @ $ ' ;` (IoT Hub: device identity properties).
/// `+` and `#` are refused all the same: a device publishes under its own id, and MQTT keeps these two for
/// subscriptions (MQTT 3.1.1, section 4.7.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeviceId(String);

impl DeviceId {
    /// The id as IoT Hub spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-.%_*?!(),:=@$';".contains(&b);
        if (1..=128).contains(&text.len()) && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidName {
            what: "a device id that can be used over MQTT",
            got: text.to_owned(),
            wanted: "1 to 128 letters, digits and - . % _ * ? ! ( ) , : = @ $ ' ;",
        })
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The port of MQTT over TLS, at DPS and at IoT Hub.
pub const MQTT_PORT: u16 = 8883;

/// A host and the port to dial there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: String,
    port: u16,
}

impl Endpoint {
    /// `host` is a DNS name or an IP address (an IPv6 address without brackets).
    ///
    /// # Errors
    ///
    /// When `host` is neither.
    pub fn new(host: &str, port: u16) -> Result<Self, InvalidName> {
        let name = |host: &str| {
            (1..=253).contains(&host.len()) && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        };
        if port != 0 && (name(host) || host.parse::<std::net::IpAddr>().is_ok()) {
            return Ok(Self { host: host.to_owned(), port });
        }
        Err(InvalidName {
            what: "an address",
            got: format!("{host}:{port}"),
            wanted: "a host name or an IP address, and a port from 1 to 65535; no https://, no path",
        })
    }

    /// The host, as it is looked up and as its certificate must name it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to dial.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Endpoint {
    type Err = InvalidName;

    /// Reads `host`, `host:port`, `[ipv6]` and `[ipv6]:port`; the port is [`MQTT_PORT`] unless given.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName {
            what: "an address",
            got: text.to_owned(),
            wanted: "host or host:port, without https:// and without a path",
        };
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(invalid)?;
                (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(invalid)?) })
            }
            None => match text.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = port.map_or(Ok(MQTT_PORT), |port| port.parse().map_err(|_| invalid()))?;
        Self::new(host, port).map_err(|_| invalid())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_id_takes_what_dps_takes() {
        for good in ["thermo-01", "Sensor-A.1", "a", "0", "a:b_c", "ends-with-", &"x".repeat(128)] {
            assert_eq!(good.parse::<RegistrationId>().unwrap().as_str(), good);
        }
        for bad in ["", "a.", "a_", "a:", "a b", "a/b", "é", "a+b", "a#", &"x".repeat(129)] {
            assert!(bad.parse::<RegistrationId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_device_id_that_would_be_a_wildcard_is_refused() {
        assert!("a@b$c".parse::<DeviceId>().is_ok());
        for bad in ["", "a+", "#", "a/b", "a\0"] {
            assert!(bad.parse::<DeviceId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_port_is_8883_unless_given() {
        let cases = [
            ("global.azure-devices-provisioning.net", "global.azure-devices-provisioning.net", 8883),
            ("localhost:18883", "localhost", 18883),
            ("127.0.0.1:1", "127.0.0.1", 1),
            ("[::1]", "::1", 8883),
            ("[::1]:9", "::1", 9),
        ];
        for (text, host, port) in cases {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.host(), endpoint.port()), (host, port), "{text}");
        }
    }

    #[test]
    fn a_url_is_not_an_address() {
        for bad in
            ["https://localhost", "localhost/", "localhost:", "localhost:0", "localhost:65536", "", ":8883", "[::1"]
        {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_endpoint_reads_back_what_it_shows() {
        for text in ["localhost:1", "[::1]:2", "hub.azure-devices.net:8883"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }
}
