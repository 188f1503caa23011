//! A local-azure with the handler, and the clients of those who use it: devices, operators, people.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use device_simulator::{
    Assignment, DeviceKey, Endpoint, GroupKey, HubConnection, HubLogin, ProvisioningError, ProvisioningRequest,
    RegistrationId, Telemetry, Transport, provision,
};
use jiff::{SignedDuration, Timestamp};
use local_azure::Running;
use local_azure::config::Config;
use local_azure::dps::Patience;
use local_azure::endpoints::Endpoints;
use local_azure::functions_host::Invocation;
use local_azure::gate::Service;
use local_azure::ports::Ports;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Certificate, Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::broadcast::Receiver;

pub const THERMOSTAT: &str = "dtmi:contosocom:DigitalTwins:Thermostat;2";
pub const SPACE: &str = "dtmi:contosocom:DigitalTwins:Space;1";
pub const TELEMETRY: &str = "DeviceTelemetryToTwinFunc";
pub const LIFECYCLE: &str = "DeleteDeviceInTwinFunc";

/// Nothing here waits that long, unless for what will never be.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two calls of the webhook.
const SHORT: Duration = Duration::from_millis(250);

/// A local-azure at work. It ends when it is dropped.
pub struct Site {
    pub running: Running,
    transport: Transport,
    https: Client,
    invocations: Mutex<Receiver<Invocation>>,
    _folder: TempDir,
}

/// A device that registered.
#[derive(Clone)]
pub struct Device {
    pub assignment: Assignment,
    key: DeviceKey,
}

impl Device {
    /// Its name in IoT Hub.
    pub fn id(&self) -> &str {
        self.assignment.device_id.as_str()
    }

    /// Its digital twin, as it was told.
    pub fn twin_id(&self) -> &str {
        self.assignment.payload.as_ref().unwrap()["dtId"].as_str().unwrap()
    }

    /// Its hub's host name.
    pub fn hub(&self) -> &str {
        self.assignment.hub.host()
    }
}

impl Site {
    /// The sample graph, one hub, one partition: events are handled in the order in which they were sent.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// The same with other app settings.
    pub async fn with_settings(settings: &[(&str, &str)]) -> Self {
        Self::with(|config| {
            config.app_settings.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        })
        .await
    }

    /// The same with another configuration.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config {
            handler: Some(env!("CARGO_BIN_EXE_handler").into()),
            hub_names: vec!["contoso-hub.azure-devices.localhost".parse().unwrap()],
            partitions: std::num::NonZeroUsize::MIN,
            // Shorter than Azure's, yet enough for a call that a busy machine makes late.
            webhook_patience: Patience { retries: 3, first_wait: SHORT, step: SHORT, ..Patience::default() },
            ..Config::new(folder.path().join("ca")).with_free_ports()
        };
        assert_eq!(config.ports, Ports::FREE);
        change(&mut config);
        let running = local_azure::start(config).await.unwrap();
        let endpoints = running.endpoints();
        let mut builder = Client::builder().timeout(PATIENCE).no_proxy().tls_certs_only([authority(endpoints)]);
        for hub in &endpoints.iot_hubs {
            builder = builder.resolve(&hub.host_name, SocketAddr::from((Ipv4Addr::LOCALHOST, hub.https_port)));
        }
        Self {
            transport: Transport::new(Some(&std::fs::read(&endpoints.ca_file).unwrap())).unwrap(),
            https: builder.build().unwrap(),
            invocations: Mutex::new(running.services().functions.invocations()),
            running,
            _folder: folder,
        }
    }

    // What devices do.

    /// Registers a device that asks for the thermostat's model.
    pub async fn register(&self, id: &str) -> Device {
        self.try_register(id, Some(json!({ "modelId": THERMOSTAT }))).await.unwrap()
    }

    /// Registers a device with any payload.
    pub async fn try_register(&self, id: &str, payload: Option<Value>) -> Result<Device, ProvisioningError> {
        let dps = &self.running.endpoints().dps;
        let id: RegistrationId = id.parse().unwrap();
        let key = GroupKey::from_base64(&dps.primary_key).unwrap().derive(&id);
        let endpoint = Endpoint::new(&dps.host, dps.mqtt_port).unwrap();
        let mut request = ProvisioningRequest::new(endpoint, dps.id_scope.parse().unwrap(), id, key.clone());
        request.payload = payload;
        let assignment = provision(&self.transport, &request.with_deadline(PATIENCE)).await?;
        Ok(Device { assignment, key })
    }

    pub async fn connect(&self, device: &Device) -> HubConnection {
        let login = HubLogin::assigned(&device.assignment, device.key.clone());
        HubConnection::connect(&self.transport, &login).await.unwrap()
    }

    /// Connects, sends, disconnects.
    pub async fn send(&self, device: &Device, messages: impl IntoIterator<Item = Telemetry>) {
        let connection = self.connect(device).await;
        for message in messages {
            connection.send(&message).await.unwrap();
        }
        connection.disconnect().await.unwrap();
    }

    // What operators do in IoT Hub.

    /// Makes a device of IoT Hub alone, as without DPS.
    pub async fn add_device(&self, id: &str) -> Device {
        let hub = &self.running.endpoints().iot_hubs[0];
        let answer = self.hub(Method::PUT, &format!("/devices/{id}"), Some(json!({ "deviceId": id }))).await;
        let key = answer["authentication"]["symmetricKey"]["primaryKey"].as_str().unwrap();
        let assignment = Assignment {
            hub: Endpoint::new(&hub.host_name, hub.mqtt_port).unwrap(),
            device_id: id.parse().unwrap(),
            substatus: None,
            payload: None,
        };
        Device { assignment, key: DeviceKey::from_base64(key).unwrap() }
    }

    /// Deletes a device from the first hub.
    pub async fn delete_device(&self, id: &str) {
        self.hub(Method::DELETE, &format!("/devices/{id}"), None).await;
    }

    /// A request to the first hub's service API; the answer's body.
    pub async fn hub(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let hub = &self.running.endpoints().iot_hubs[0];
        let token = owner_token(&hub.host_name, &hub.service_connection_string);
        let url = format!("https://{}:{}{path}?api-version=2021-04-12", hub.host_name, hub.https_port);
        self.as_owner(method, &url, token, body).await
    }

    /// A request to DPS' service API; the answer's body.
    pub async fn dps(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let dps = &self.running.endpoints().dps;
        let token = owner_token(&dps.host, &dps.service_connection_string);
        let url = format!("https://{}:{}{path}?api-version=2021-10-01", dps.host, dps.https_port);
        self.as_owner(method, &url, token, body).await
    }

    async fn as_owner(&self, method: Method, url: &str, token: String, body: Option<Value>) -> Value {
        let mut request = self.https.request(method.clone(), url).header("Authorization", token);
        if method == Method::DELETE {
            request = request.header("If-Match", "\"*\"");
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{url} {status}: {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    // What people do in Azure Digital Twins.

    /// A twin; none if there is none.
    pub async fn twin(&self, id: &str) -> Option<Value> {
        let (status, twin) = self.twins(Method::GET, &format!("/digitaltwins/{id}"), None).await;
        (status != StatusCode::NOT_FOUND).then_some(twin)
    }

    pub async fn create_twin(&self, id: &str, model: &str, properties: Value) {
        let mut twin = json!({ "$metadata": { "$model": model } });
        twin.as_object_mut().unwrap().extend(properties.as_object().unwrap().clone());
        let (status, answer) = self.twins(Method::PUT, &format!("/digitaltwins/{id}"), Some(twin)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }

    pub async fn relate(&self, source: &str, name: &str, target: &str) {
        let path = format!("/digitaltwins/{source}/relationships/{source}-{name}-{target}");
        let body = json!({ "$relationshipName": name, "$targetId": target });
        let (status, answer) = self.twins(Method::PUT, &path, Some(body)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }

    /// The relationships that leave a twin, as `name target`.
    pub async fn relationships(&self, id: &str) -> Vec<String> {
        let (status, page) = self.twins(Method::GET, &format!("/digitaltwins/{id}/relationships"), None).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let name =
            |it: &Value| format!("{} {}", it["$relationshipName"].as_str().unwrap(), it["$targetId"].as_str().unwrap());
        page["value"].as_array().unwrap().iter().map(name).collect()
    }

    pub async fn upload_models(&self, models: Value) {
        let (status, answer) = self.twins(Method::POST, "/models", Some(models)).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }

    /// A request to Azure Digital Twins.
    pub async fn twins(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let endpoints = self.running.endpoints();
        let url = format!("{}{path}?api-version=2023-10-31", endpoints.digital_twins);
        let mut request = self.https.request(method, url).bearer_auth(&endpoints.digital_twins_token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
    }

    // What there is to be seen.

    /// Waits until the functions have finished every event that there is.
    pub async fn caught_up(&self) {
        tokio::time::timeout(PATIENCE, self.running.services().functions.caught_up()).await.expect("events are left");
    }

    /// The text of an answer of the control API.
    pub async fn control(&self, path: &str) -> String {
        let url = format!("{}{path}", self.running.endpoints().control);
        let answer = self.https.get(url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.text().await.unwrap()
    }

    /// Puts everything back to the start.
    pub async fn reset(&self) {
        let url = format!("{}/control/reset", self.running.endpoints().control);
        assert_eq!(self.https.post(url).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    }

    /// Every dead letter, whichever document it is in, in the order of the events.
    pub async fn dead_letters(&self) -> Vec<Value> {
        let documents: Value = serde_json::from_str(&self.control("/control/dead-letters").await).unwrap();
        let letters = |document: &Value| document["document"]["deadLetters"].as_array().unwrap().clone();
        let mut all: Vec<Value> = documents.as_array().unwrap().iter().flat_map(letters).collect();
        all.sort_by_key(|letter| letter["sequenceNumber"].as_i64());
        all
    }

    /// What a function says that became of the events since this was asked last. Batches that had to come again do not
    /// count.
    pub fn outcomes(&self, function: &str) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        let mut invocations = self.invocations.lock().unwrap();
        while let Ok(invocation) = invocations.try_recv() {
            if invocation.function != function || invocation.failure.is_some() {
                continue;
            }
            let lines = invocation.logs.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let summary = lines.map(|line| fields(&line)).find(|line| line["message"] == "batch").expect("a summary");
            for name in ["applied", "superseded", "dead_letters"] {
                add(&mut counts, name, summary[name].as_u64().unwrap());
            }
            // {"module": 1, "noTwin": 2}
            let left_out: BTreeMap<String, u64> =
                serde_json::from_str(summary["left_out_by"].as_str().unwrap()).unwrap();
            left_out.into_iter().for_each(|(rule, count)| add(&mut counts, &rule, count));
        }
        counts
    }

    /// How often an operation of Azure Digital Twins was asked for.
    pub fn adt_calls(&self, operation: &str) -> u64 {
        let counts = self.running.services().gate.counts();
        let wanted = |count: &&local_azure::gate::OperationCount| {
            count.service == Service::DigitalTwins && count.operation == operation
        };
        counts.iter().find(wanted).map_or(0, |count| count.count)
    }

    /// Everything that handlers wrote until now. They are killed: then nothing is on its way any more.
    pub async fn console(&self) -> Vec<String> {
        for instance in 0..self.running.instances().len() {
            self.running.kill(instance).await.unwrap();
        }
        let lines = self.running.services().functions.console().lines();
        lines.into_iter().map(|line| line.text).collect()
    }
}

/// A message of JSON.
pub fn json_message(body: Value) -> Telemetry {
    Telemetry::json(&body).unwrap()
}

/// A message with a temperature.
pub fn temperature(value: f64) -> Telemetry {
    json_message(json!({ "Temperature": value }))
}

/// What was counted, as `outcomes` gives it.
pub fn counts<const N: usize>(expected: [(&str, u64); N]) -> BTreeMap<String, u64> {
    expected.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

fn add(counts: &mut BTreeMap<String, u64>, name: &str, count: u64) {
    if count > 0 {
        *counts.entry(name.to_owned()).or_default() += count;
    }
}

/// The members of a line of the log, wherever the format puts them.
fn fields(line: &Value) -> Value {
    line.get("fields").cloned().unwrap_or_else(|| line.clone())
}

/// What signs the certificates of local-azure's servers.
pub fn authority(endpoints: &Endpoints) -> Certificate {
    Certificate::from_pem(&std::fs::read(&endpoints.ca_file).unwrap()).unwrap()
}

/// A token of the policy that a connection string names (IoT Hub: control access with shared access signatures).
fn owner_token(host: &str, connection_string: &str) -> String {
    let part =
        |name: &str| connection_string.split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('=')).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64.decode(part("SharedAccessKey")).unwrap());
    let expiry = (Timestamp::now() + SignedDuration::from_mins(5)).as_second();
    let signature = BASE64.encode(hmac::sign(&key, format!("{host}\n{expiry}").as_bytes()));
    let signature = utf8_percent_encode(&signature, NON_ALPHANUMERIC);
    format!("SharedAccessSignature sr={host}&sig={signature}&se={expiry}&skn={}", part("SharedAccessKeyName"))
}
