//! The allocation function, called as DPS calls it.

use local_azure::endpoints::Endpoints;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::fleet::THERMOSTAT;

/// The webhook of an enrollment group with custom allocation.
#[derive(Debug, Clone)]
pub struct Webhook {
    client: Client,
    url: String,
    hubs: Vec<String>,
}

/// Where DPS knows a device to be (DPS: custom allocation concepts).
#[derive(Debug, Clone, Copy)]
pub struct Current<'a> {
    /// Its id in the hub.
    pub device: &'a str,
    /// The hub's host name.
    pub hub: &'a str,
}

/// What it answered.
#[derive(Debug, Clone)]
pub struct Allocation {
    /// `tags.dtId`.
    pub twin: String,
    /// The hub's host name.
    pub hub: String,
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
    /// When there is no HTTP client.
    pub fn new(endpoints: &Endpoints) -> anyhow::Result<Self> {
        let hubs = endpoints.iot_hubs.iter().map(|hub| hub.host_name.clone()).collect();
        let client = Client::builder().no_proxy().build()?;
        Ok(Self { client, url: endpoints.webhook_url.clone(), hubs })
    }

    /// Host names of all linked hubs.
    #[must_use]
    pub fn hubs(&self) -> &[String] {
        &self.hubs
    }

    /// Asks for a device that may go to any of the `linked` hubs; `current` where it was assigned before.
    ///
    /// # Errors
    /// [`NotAllocated`].
    pub async fn allocate(
        &self,
        registration_id: &str,
        current: Option<Current<'_>>,
        linked: &[String],
    ) -> Result<Allocation, NotAllocated> {
        let request = self.client.post(&self.url).json(&question(registration_id, current, linked));
        let later = |error: reqwest::Error| NotAllocated::Later(error.without_url().to_string());
        let response = request.send().await.map_err(later)?;
        let (status, body) = (response.status(), response.bytes().await.map_err(later)?);
        let told = || format!("{status}: {}", body.escape_ascii());
        if status >= StatusCode::TOO_MANY_REQUESTS {
            return Err(NotAllocated::Later(told()));
        }
        let answer = serde_json::from_slice(&body).ok().filter(|_| status.is_success());
        answer.and_then(|answer| Allocation::read(&answer)).ok_or_else(|| NotAllocated::Refused(told()))
    }
}

fn question(registration_id: &str, current: Option<Current<'_>>, linked: &[String]) -> Value {
    let mut context = json!({
        "registrationId": registration_id, "symmetricKey": {}, "payload": { "modelId": THERMOSTAT },
    });
    if let (Some(current), Some(members)) = (current, context.as_object_mut()) {
        members.insert("currentIotHubHostName".to_owned(), current.hub.into());
        members.insert("currentDeviceId".to_owned(), current.device.into());
    }
    json!({
        "enrollmentGroup": {
            "enrollmentGroupId": "adt-devices", "attestation": { "type": "symmetricKey" },
            "capabilities": { "iotEdge": false }, "etag": "\"0000\"", "provisioningStatus": "enabled",
            "reprovisionPolicy": { "updateHubAssignment": true, "migrateDeviceData": true },
            "allocationPolicy": "custom", "iotHubs": linked,
        },
        "deviceRuntimeContext": context,
        "linkedHubs": linked,
    })
}

impl Allocation {
    fn read(answer: &Value) -> Option<Self> {
        Some(Self {
            twin: answer.pointer("/initialTwin/tags/dtId")?.as_str()?.to_owned(),
            hub: answer.get("iotHubHostName")?.as_str()?.to_owned(),
            initial_twin: answer.get("initialTwin")?.clone(),
        })
    }
}
