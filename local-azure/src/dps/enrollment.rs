//! The enrollment group that devices register under (DPS: enrollment groups, symmetric key attestation).

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use url::Url;
use uuid::Uuid;

use super::RegistrationId;
use crate::{
    iot_hub::{HostName, KeyPair},
    sas::{Refusal, Token},
};

/// A group of devices with custom allocation.
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
    /// The twin of devices for which the webhook gives none: `{"tags": .., "properties": {"desired": ..}}`.
    pub initial_twin: Option<Value>,
}

/// A webhook's address. `Debug` hides its query.
#[derive(Clone)]
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

/// What happens to a device that gets another hub (DPS: reprovisioning concepts).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reprovisioning {
    /// It moves, and its twin with it.
    #[default]
    Migrate,
    /// It moves, and begins with the initial twin.
    Reset,
    /// It stays.
    Never,
}

impl Reprovisioning {
    fn policy(self) -> Value {
        let (update, migrate) = match self {
            Self::Migrate => (true, true),
            Self::Reset => (true, false),
            Self::Never => (false, false),
        };
        json!({ "updateHubAssignment": update, "migrateDeviceData": migrate })
    }
}

impl EnrollmentGroup {
    /// Whose token this is: the spelling of the id under which the device's key was derived. Keys are derived from
    /// the exact text; whether the service takes the lower case too is not documented, here it is taken.
    ///
    /// # Errors
    /// [`Refusal`] if the token is for something else, expired, or signed with another key.
    pub(super) fn verify(
        &self,
        token: &Token,
        id_scope: &str,
        id: &RegistrationId,
        now: Timestamp,
    ) -> Result<KeyPair, Refusal> {
        let resource = [id_scope, "registrations", id.as_str()];
        let [exact, lower] = [id.as_str().to_owned(), id.lower()].map(|spelling| self.device_keys(&spelling));
        token.check(&resource, exact.keys(), now).map(|_| exact).or_else(|refusal| match refusal {
            Refusal::WrongSignature => token.check(&resource, lower.keys(), now).map(|_| lower),
            refusal => Err(refusal),
        })
    }

    fn device_keys(&self, spelling: &str) -> KeyPair {
        KeyPair { primary: self.keys.primary.derive(spelling), secondary: self.keys.secondary.derive(spelling) }
    }
}

/// The group as the webhook sees it: made when the service started, never with its keys.
#[derive(Debug)]
pub(super) struct Record {
    etag: String,
    created: Timestamp,
}

impl Record {
    pub(super) fn new(created: Timestamp) -> Self {
        Self { etag: format!("\"{}\"", Uuid::new_v4()), created }
    }

    pub(super) fn show(&self, group: &EnrollmentGroup, hubs: &[&HostName]) -> Value {
        let mut shown = Map::new();
        let mut put = |name: &str, value: Value| shown.insert(name.to_owned(), value);
        put("enrollmentGroupId", group.id.as_str().into());
        put("attestation", json!({ "type": "symmetricKey" }));
        put("capabilities", json!({ "iotEdge": false }));
        put("etag", self.etag.as_str().into());
        put("provisioningStatus", if group.enabled { "enabled" } else { "disabled" }.into());
        put("reprovisionPolicy", group.reprovisioning.policy());
        put("createdDateTimeUtc", format!("{:.7}", self.created).into());
        put("lastUpdatedDateTimeUtc", format!("{:.7}", self.created).into());
        put("allocationPolicy", "custom".into());
        put("iotHubs", hubs.iter().map(|hub| hub.as_str()).collect::<Vec<_>>().into());
        if let Some(twin) = &group.initial_twin {
            put("initialTwin", twin.clone());
        }
        put("customAllocationDefinition", json!({ "webhookUrl": group.webhook.masked(), "apiVersion": "2021-10-01" }));
        shown.into()
    }
}
