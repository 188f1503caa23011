//! Shared access policies (IoT Hub: control access with shared access signatures).

use crate::sas::Key;

/// What a policy's key opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions {
    /// Read identities.
    pub registry_read: bool,
    /// Create, change and delete identities.
    pub registry_write: bool,
    /// Twins and queries.
    pub service_connect: bool,
    /// Speak for any device.
    pub device_connect: bool,
}

/// A named key with permissions.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Its name (`skn` of a token).
    pub name: String,
    /// Its key.
    pub key: Key,
    /// What the key opens.
    pub permissions: Permissions,
}

impl Policy {
    /// The policy that may do everything.
    pub fn owner(key: Key) -> Self {
        let permissions =
            Permissions { registry_read: true, registry_write: true, service_connect: true, device_connect: true };
        Self { name: "iothubowner".into(), key, permissions }
    }

    /// The policies that every hub begins with, each with a key of its own, `iothubowner` with this one.
    pub fn defaults(owner: Key) -> Vec<Self> {
        let none = Permissions::default();
        let with = |name: &str, permissions| Self { name: name.into(), key: Key::generate(), permissions };
        vec![
            Self::owner(owner),
            with("service", Permissions { service_connect: true, ..none }),
            with("device", Permissions { device_connect: true, ..none }),
            with("registryRead", Permissions { registry_read: true, ..none }),
            with("registryReadWrite", Permissions { registry_read: true, registry_write: true, ..none }),
        ]
    }
}
