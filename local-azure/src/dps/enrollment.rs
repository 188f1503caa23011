//! Enrollments: whom DPS lets register, and what becomes of it (DPS: terminology, enrollments).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;
use uuid::Uuid;

use super::{Attestation, RegistrationId};
use crate::iot_hub::{DeviceId, HostName, KeyPair};

/// Which enrollment: one device's own, or one that a group of devices shares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EnrollmentName {
    /// A group, by its id.
    Group(String),
    /// A device, by its registration id.
    Individual(RegistrationId),
}

/// What is enrolled under a name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Enrollment {
    /// How its devices prove who they are.
    #[serde(flatten)]
    pub attestation: Attestation,
    /// Whether its devices may register.
    pub enabled: bool,
    /// How a hub is chosen.
    pub allocation: Allocation,
    /// The hubs to choose from; none means all linked ones.
    pub hubs: Vec<HostName>,
    /// What happens when a device registers again and gets another hub.
    pub reprovisioning: Reprovisioning,
    /// The twin of devices for which the webhook gives none: `{"tags": .., "properties": {"desired": ..}}`.
    pub initial_twin: Option<Value>,
    /// Whether its devices are IoT Edge devices.
    pub iot_edge: bool,
    /// What an individual enrollment's device is called in its hub, where that is not its registration id.
    pub device: Option<DeviceId>,
    /// The ETag, without quotes.
    pub etag: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}

/// How a device's hub is chosen (DPS: allocation policies).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Allocation {
    /// Evenly over the hubs, by the device's name.
    Hashed,
    /// The nearest hub; here the first is as near as any.
    GeoLatency,
    /// The first hub.
    Static,
    /// As a webhook says.
    Custom {
        /// Its address.
        webhook: Webhook,
        /// The version of what it is asked.
        api_version: String,
    },
}

/// The group that the service begins with. It has symmetric keys and custom allocation.
#[derive(Debug, Clone)]
pub struct EnrollmentGroup {
    /// Its name.
    pub id: String,
    /// The keys that device keys are derived from.
    pub keys: KeyPair,
    /// Whether its devices may register.
    pub enabled: bool,
    /// The webhook that chooses a hub; its query may hold a function key.
    pub webhook: Webhook,
    /// What happens when a device registers again and gets another hub.
    pub reprovisioning: Reprovisioning,
    /// The twin of devices for which the webhook gives none.
    pub initial_twin: Option<Value>,
}

/// A webhook's address. `Debug` hides its query.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Webhook(pub Url);

impl Webhook {
    /// The address with its query masked, as the service shows it.
    pub fn masked(&self) -> String {
        let mut shown = self.0.clone();
        shown.set_query(self.0.query().map(|_| "****"));
        shown.into()
    }
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Webhook").field(&self.masked()).finish()
    }
}

impl TryFrom<String> for Webhook {
    type Error = url::ParseError;

    fn try_from(text: String) -> Result<Self, url::ParseError> {
        text.parse().map(Self)
    }
}

impl From<Webhook> for String {
    fn from(webhook: Webhook) -> Self {
        webhook.0.into()
    }
}

/// What happens to a device that gets another hub (DPS: reprovisioning concepts).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reprovisioning {
    /// It moves, and its twin with it.
    #[default]
    Migrate,
    /// It moves, and begins with the initial twin.
    Reset,
    /// It stays.
    Never,
}

impl EnrollmentGroup {
    /// Its name, and what is enrolled under it.
    pub(super) fn enrollment(&self, now: Timestamp) -> (EnrollmentName, Enrollment) {
        let allocation = Allocation::Custom { webhook: self.webhook.clone(), api_version: "2021-10-01".to_owned() };
        let enrollment = Enrollment {
            attestation: Attestation::Keys(self.keys.clone()),
            enabled: self.enabled,
            allocation,
            hubs: Vec::new(),
            reprovisioning: self.reprovisioning,
            initial_twin: self.initial_twin.clone(),
            iot_edge: false,
            device: None,
            etag: new_etag(),
            created: now,
            updated: now,
        };
        (EnrollmentName::Group(self.id.clone()), enrollment)
    }
}

/// A new ETag in the form that enrollments have, without its quotes.
pub(super) fn new_etag() -> String {
    Uuid::new_v4().to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn enrollments_of_an_earlier_version_are_read_and_kept_as_they_were() {
        let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
        let earlier = json!({
            "keys": { "primary": key, "secondary": key }, "enabled": true, "allocation": "hashed", "hubs": [],
            "reprovisioning": "migrate", "initial_twin": null, "iot_edge": false, "device": null, "etag": "e",
            "created": "2026-01-01T00:00:00Z", "updated": "2026-01-01T00:00:00Z",
        });
        let read: Enrollment = serde_json::from_value(earlier.clone()).unwrap();
        assert_eq!(read.attestation.keys().unwrap().primary.to_base64(), key);
        assert_eq!(serde_json::to_value(&read).unwrap(), earlier);
    }
}
