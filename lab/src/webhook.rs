//! The allocation function, called as DPS calls it.

use anyhow::Context as _;
use local_azure::endpoints::Endpoints;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::fleet::THERMOSTAT;

/// The webhook of an enrollment group with custom allocation, linked to one hub.
#[derive(Debug, Clone)]
pub struct Webhook {
    client: Client,
    url: String,
    hub: String,
}

/// What it answered.
#[derive(Debug, Clone)]
pub struct Allocation {
    /// `tags.dtId`.
    pub twin: String,
    /// The initial device twin.
    pub initial_twin: Value,
}

/// Why there is no allocation.
#[derive(Debug, thiserror::Error)]
pub enum NotAllocated {
    /// DPS tries again: 429 and above, or no answer (DPS: how to use custom allocation policies, troubleshooting).
    #[error("to be tried again: {0}")]
    Later(String),
    /// DPS gives up.
    #[error("refused: {0}")]
    Refused(String),
}

impl Webhook {
    /// The webhook of a local-azure.
    ///
    /// # Errors
    /// When there is no HTTP client, or no hub.
    pub fn new(endpoints: &Endpoints) -> anyhow::Result<Self> {
        let hub = endpoints.iot_hubs.first().context("local-azure has no hub")?.host_name.clone();
        let client = Client::builder().no_proxy().build()?;
        Ok(Self { client, url: endpoints.webhook_url.clone(), hub })
    }

    /// Asks for a device; `current` is the id of the device in the hub, where it was assigned before (DPS: custom
    /// allocation concepts).
    ///
    /// # Errors
    /// [`NotAllocated`].
    pub async fn allocate(&self, registration_id: &str, current: Option<&str>) -> Result<Allocation, NotAllocated> {
        let mut context = json!({
            "registrationId": registration_id, "symmetricKey": {}, "payload": { "modelId": THERMOSTAT },
        });
        if let (Some(device), Some(members)) = (current, context.as_object_mut()) {
            members.insert("currentIotHubHostName".to_owned(), self.hub.as_str().into());
            members.insert("currentDeviceId".to_owned(), device.into());
        }
        let request = json!({
            "enrollmentGroup": {
                "enrollmentGroupId": "adt-devices", "attestation": { "type": "symmetricKey" },
                "capabilities": { "iotEdge": false }, "etag": "\"0000\"", "provisioningStatus": "enabled",
                "reprovisionPolicy": { "updateHubAssignment": true, "migrateDeviceData": true },
                "allocationPolicy": "custom", "iotHubs": [self.hub],
            },
            "deviceRuntimeContext": context,
            "linkedHubs": [self.hub],
        });
        let later = |error: reqwest::Error| NotAllocated::Later(error.without_url().to_string());
        let response = self.client.post(&self.url).json(&request).send().await.map_err(later)?;
        let (status, body) = (response.status(), response.bytes().await.map_err(later)?);
        let told = || format!("{status}: {}", body.escape_ascii());
        if status >= StatusCode::TOO_MANY_REQUESTS {
            return Err(NotAllocated::Later(told()));
        }
        let answer: Option<Value> = serde_json::from_slice(&body).ok().filter(|_| status.is_success());
        let initial_twin = answer.and_then(|answer| answer.get("initialTwin").cloned());
        let twin = initial_twin.as_ref().and_then(|twin| Some(twin.pointer("/tags/dtId")?.as_str()?.to_owned()));
        let (Some(twin), Some(initial_twin)) = (twin, initial_twin) else { return Err(NotAllocated::Refused(told())) };
        Ok(Allocation { twin, initial_twin })
    }
}
