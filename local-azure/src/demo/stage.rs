//! What the story needs to act: a device's TLS, and HTTPS for what operators do.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use device_simulator::{
    Assignment, DeviceKey, Endpoint, GroupKey, HubConnection, HubLogin, ProvisioningRequest, RegistrationId, Transport,
    provision,
};
use reqwest::{Certificate, Client, StatusCode};
use serde_json::{Value, json};

use super::Reason;
use crate::{Running, endpoints::Endpoints, services::Services};

/// The model that devices of the story ask for.
pub(super) const THERMOSTAT: &str = "dtmi:contosocom:DigitalTwins:Thermostat;2";
const HTTP_DEADLINE: Duration = Duration::from_secs(10);

/// The clients of the story cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The authority's file cannot be read.
    #[error("cannot read {path}: {source}")]
    Authority {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Devices cannot trust it.
    #[error("devices cannot use the local authority: {0}")]
    Trust(#[from] device_simulator::TrustError),
    /// No HTTPS client.
    #[error("cannot make an HTTPS client: {0}")]
    Https(#[from] reqwest::Error),
}

/// The clients, and the services that they act on.
pub(super) struct Stage<'r> {
    pub(super) services: &'r Services,
    endpoints: &'r Endpoints,
    transport: Transport,
    https: Client,
}

/// A device of the story.
pub(super) struct Device {
    pub(super) registration_id: RegistrationId,
    pub(super) assignment: Assignment,
    /// Its digital twin.
    pub(super) twin_id: String,
    key: DeviceKey,
}

impl<'r> Stage<'r> {
    pub(super) fn set(running: &'r Running) -> Result<Self, StageError> {
        let endpoints = running.endpoints();
        let path = &endpoints.ca_file;
        let authority = std::fs::read(path).map_err(|source| StageError::Authority { path: path.clone(), source })?;
        let transport = Transport::new(Some(&authority))?;
        let builder =
            Client::builder().timeout(HTTP_DEADLINE).no_proxy().tls_certs_only([Certificate::from_pem(&authority)?]);
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let hubs = &endpoints.iot_hubs;
        let builder =
            hubs.iter().fold(builder, |builder, hub| builder.resolve(&hub.host_name, loopback(hub.https_port)));
        Ok(Self { services: running.services(), endpoints, transport, https: builder.build()? })
    }

    /// Registers a device as its first boot would.
    pub(super) async fn register(&self, registration_id: &str) -> Result<Device, Reason> {
        let dps = &self.endpoints.dps;
        let registration_id: RegistrationId = registration_id.parse()?;
        let key = GroupKey::from_base64(&dps.primary_key)?.derive(&registration_id);
        let endpoint = Endpoint::new(&dps.host, dps.mqtt_port)?;
        let request = ProvisioningRequest::new(endpoint, dps.id_scope.parse()?, registration_id.clone(), key.clone())
            .with_payload(json!({ "modelId": THERMOSTAT }))
            .with_deadline(super::PATIENCE);
        let assignment = provision(&self.transport, &request).await?;
        let twin_id = assignment.payload.as_ref().and_then(|payload| payload.get("dtId")?.as_str().map(str::to_owned));
        let twin_id = twin_id.ok_or_else(|| Reason("the registration's payload names no dtId".to_owned()))?;
        Ok(Device { registration_id, assignment, twin_id, key })
    }

    /// Connects a device to its hub.
    pub(super) async fn connect(&self, device: &Device) -> Result<HubConnection, Reason> {
        Ok(HubConnection::connect(&self.transport, &HubLogin::assigned(&device.assignment, device.key.clone())).await?)
    }

    /// Makes a relationship, as a person with Digital Twins Explorer would.
    pub(super) async fn relate(&self, source: &str, name: &str, target: &str) -> Result<(), Reason> {
        let base = &self.endpoints.digital_twins;
        let url = format!("{base}/digitaltwins/{source}/relationships/{source}-{name}-{target}?api-version=2023-10-31");
        let body = json!({ "$relationshipName": name, "$targetId": target });
        let request = self.https.put(url).bearer_auth(&self.endpoints.digital_twins_token).json(&body);
        expect(request.send().await?, StatusCode::OK).await
    }

    /// Deletes a device in IoT Hub, as an operator would.
    pub(super) async fn delete(&self, device: &Device) -> Result<(), Reason> {
        let host = device.assignment.hub.host();
        let named = |hub: &&crate::endpoints::IotHubEndpoint| hub.host_name == host;
        let hub =
            self.endpoints.iot_hubs.iter().find(named).ok_or_else(|| Reason(format!("no hub is called {host}")))?;
        let url =
            format!("https://{host}:{}/devices/{}?api-version=2021-04-12", hub.https_port, device.assignment.device_id);
        let request = self.https.delete(url).header("Authorization", &hub.service_token).header("If-Match", "\"*\"");
        expect(request.send().await?, StatusCode::NO_CONTENT).await
    }

    /// Waits until the functions have finished every event that there is.
    pub(super) async fn events_are_handled(&self) {
        self.services.functions.caught_up().await;
    }

    /// A digital twin as it is in the service.
    pub(super) fn twin(&self, id: &str) -> Result<Value, Reason> {
        self.services.digital_twins.twin(id).ok_or_else(|| Reason(format!("there is no digital twin {id}")))
    }
}

async fn expect(response: reqwest::Response, wanted: StatusCode) -> Result<(), Reason> {
    let status = response.status();
    if status == wanted {
        return Ok(());
    }
    Err(Reason(format!("{} answered {status}: {}", response.url().path().to_owned(), response.text().await?)))
}
