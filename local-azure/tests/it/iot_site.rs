//! DPS and IoT hubs on a port of their own, a webhook, and the event hubs that routes lead to.

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use jiff::Timestamp;
use local_azure::{
    clock::Clock,
    dps::{self, Dps, EnrollmentGroup, Patience, Reprovisioning, Webhook},
    event_hubs::{EventData, EventHub},
    front,
    gate::{Gate, Rules},
    iot_hub::{
        self, Address, Authentication, Enrichment, HostName, IotHub, KeyPair, NewAuthentication, NewIdentity,
        Permissions, Policy, Route, Source,
    },
    mqtt::{self, Limits, Services},
    sas::Key,
    store::Store,
    x509::ProofOfPossession,
};
use rumqttc::{Connect, ConnectReturnCode, QoS};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, client::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    certificates::Shown,
    mqtt_client::{self, Client, token},
};

/// The key of every policy and device that is not made by DPS.
pub(crate) const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
/// The key of the policy `service`.
pub(crate) const SERVICE_KEY: &str = "c2VydmljZS1rZXktc2VydmljZS1rZXktc2VydmljZS0=";
pub(crate) const GROUP_KEY: &str =
    "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==";
pub(crate) const ID_SCOPE: &str = "0ne00ABCDEF";
pub(crate) const HUB: &str = "contoso-hub.azure-devices.localhost";
pub(crate) const OTHER_HUB: &str = "fabrikam-hub.azure-devices.localhost";
/// What the clock shows: a while before the recorded tokens expire.
pub(crate) const NOW: i64 = 1_795_376_000;
/// When tokens made here expire.
pub(crate) const LATER: i64 = NOW + 3_600;

/// How a webhook answers a request: status and body.
type Answer = Box<dyn FnMut(&Value) -> (u16, String) + Send>;

/// A webhook that answers what it is told to and remembers what it was asked.
#[derive(Clone)]
pub(crate) struct Hook {
    answer: Arc<Mutex<Answer>>,
    requests: Arc<Mutex<Vec<Value>>>,
}

impl Hook {
    pub(crate) fn answers(&self, answer: impl FnMut(&Value) -> (u16, String) + Send + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    /// Chooses this hub, with no word on the twin.
    pub(crate) fn chooses(&self, hub: &str) {
        let body = json!({ "iotHubHostName": hub }).to_string();
        self.answers(move |_| (200, body.clone()));
    }

    pub(crate) fn requests(&self) -> Vec<Value> {
        self.requests.lock().unwrap().clone()
    }

    async fn call(State(hook): State<Self>, body: Bytes) -> (StatusCode, String) {
        let request = serde_json::from_slice(&body).unwrap();
        let (status, answer) = (hook.answer.lock().unwrap())(&request);
        hook.requests.lock().unwrap().push(request);
        (StatusCode::from_u16(status).unwrap(), answer)
    }
}

/// What a test may choose.
pub(crate) struct Options {
    pub(crate) hubs: Vec<&'static str>,
    pub(crate) reprovisioning: Reprovisioning,
    pub(crate) enabled: bool,
    pub(crate) initial_twin: Option<Value>,
    pub(crate) retries: u32,
    /// Another address than the webhook's own.
    pub(crate) webhook: Option<url::Url>,
    pub(crate) limits: Limits,
    /// How the gate behaves.
    pub(crate) rules: Rules,
    /// After how long devices are to ask again.
    pub(crate) retry_after: Duration,
    pub(crate) clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hubs: vec![HUB, OTHER_HUB],
            reprovisioning: Reprovisioning::Migrate,
            enabled: true,
            initial_twin: None,
            retries: 2,
            webhook: None,
            limits: Limits::default(),
            rules: Rules::default(),
            retry_after: Duration::from_secs(3),
            clock: Clock::manual(Timestamp::from_second(NOW).unwrap()),
        }
    }
}

pub(crate) struct Site {
    pub(crate) gate: Arc<Gate>,
    pub(crate) dps: Arc<Dps>,
    pub(crate) hubs: Vec<Arc<IotHub>>,
    pub(crate) telemetry: Arc<EventHub>,
    pub(crate) lifecycle: Arc<EventHub>,
    pub(crate) hook: Hook,
    pub(crate) address: SocketAddr,
    /// Where the same services answer HTTP, without TLS.
    pub(crate) http: SocketAddr,
    pub(crate) certificate: CertificateDer<'static>,
    shutdown: CancellationToken,
    servers: TaskTracker,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let states = options.hubs.iter().map(|_| iot_hub::State::default()).collect();
        Self::resume(options, states, dps::State::default()).await
    }

    /// Another site that begins with what this one holds, written to JSON and read again.
    pub(crate) async fn restarted(&self) -> Self {
        fn copy<S: local_azure::store::State>(store: &Store<S>) -> S {
            serde_json::from_str(&store.read(|state| serde_json::to_string(state).unwrap())).unwrap()
        }
        let hubs = self.hubs.iter().map(|hub| copy(hub.store())).collect();
        Self::resume(Options::default(), hubs, copy(self.dps.store())).await
    }

    async fn resume(options: Options, states: Vec<iot_hub::State>, state: dps::State) -> Self {
        let clock = options.clock;
        let gate = Arc::new(Gate::new(options.rules));
        let shutdown = CancellationToken::new();
        let event_hub =
            |name| Arc::new(EventHub::new(name, NonZeroUsize::new(2).unwrap(), ["adt-functions"], clock.clone()));
        let (telemetry, lifecycle) = (event_hub("deviceevents"), event_hub("lifecycleevents"));
        let hubs: Vec<Arc<IotHub>> = options
            .hubs
            .iter()
            .zip(states)
            .map(|(name, state)| hub(name, state, &telemetry, &lifecycle, &clock, &gate))
            .collect();
        let (hook, webhook) = webhook(&shutdown).await;
        let settings = dps::Settings {
            id_scope: ID_SCOPE.into(),
            enrollment_group: EnrollmentGroup {
                id: "thermostats".into(),
                keys: KeyPair { primary: Key::parse(GROUP_KEY).unwrap(), secondary: Key::parse(KEY).unwrap() },
                enabled: options.enabled,
                webhook: options.webhook.map_or(webhook, Webhook),
                reprovisioning: options.reprovisioning,
                initial_twin: options.initial_twin,
            },
            owner_key: Key::parse(KEY).unwrap(),
            patience: Patience {
                retries: options.retries,
                first_wait: Duration::from_millis(5),
                step: Duration::from_millis(5),
                ..Patience::default()
            },
            retry_after: options.retry_after,
        };
        let dps = Dps::new(settings, hubs.clone(), state, clock.clone(), Arc::clone(&gate), shutdown.clone()).unwrap();
        let (acceptor, certificate) = tls();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let services = Services { dps: Some(Arc::clone(&dps)), hubs: hubs.clone(), limits: options.limits };
        let servers = TaskTracker::new();
        servers.spawn(mqtt::serve(listener, acceptor, services.clone(), shutdown.clone()));
        let http = serve_http(services, &shutdown, &servers).await;
        hook.chooses(options.hubs[0]);
        Self { gate, dps, hubs, telemetry, lifecycle, hook, address, http, certificate, shutdown, servers }
    }

    /// Stops and waits for the servers.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.servers.close();
        self.servers.wait().await;
    }

    pub(crate) async fn stream(&self) -> TlsStream<TcpStream> {
        self.try_stream().await.unwrap()
    }

    pub(crate) async fn try_stream(&self) -> std::io::Result<TlsStream<TcpStream>> {
        mqtt_client::tls(self.address, &self.certificate).await
    }

    /// Connects as who has this certificate.
    pub(crate) async fn try_connect_showing(&self, shown: &Shown, connect: Connect) -> (Client, ConnectReturnCode) {
        let stream = mqtt_client::tls_showing(self.address, &self.certificate, Some(shown), rustls::ALL_VERSIONS).await;
        let (client, code, _) = Client::connect(stream.unwrap(), connect).await;
        (client, code)
    }

    pub(crate) async fn try_connect(&self, connect: Connect) -> (Client, ConnectReturnCode) {
        let (client, code, _) = Client::connect(self.stream().await, connect).await;
        (client, code)
    }

    pub(crate) async fn connect(&self, connect: Connect) -> Client {
        let (client, code) = self.try_connect(connect).await;
        assert_eq!(code, ConnectReturnCode::Success);
        client
    }

    /// Registers a device and waits for the outcome: the last answer's body.
    pub(crate) async fn register(&self, id: &str) -> Value {
        self.register_with(id, Some(json!({ "modelId": "dtmi:contosocom:DigitalTwins:Thermostat;2" }))).await
    }

    pub(crate) async fn register_with(&self, id: &str, payload: Option<Value>) -> Value {
        let mut client = self.connect(dps_connect(id, GROUP_KEY)).await;
        client.subscribe("$dps/registrations/res/#", QoS::AtLeastOnce).await;
        let mut answer = register(&mut client, id, payload).await;
        while answer["status"] == "assigning" {
            (_, answer) = poll(&mut client, answer["operationId"].as_str().unwrap()).await;
        }
        client.disconnect().await;
        answer
    }

    /// A device in the first hub, made without DPS, with the key [`KEY`].
    pub(crate) fn create(&self, at: &Address) {
        self.create_in(0, at);
    }

    /// The same in another hub.
    pub(crate) fn create_in(&self, hub: usize, at: &Address) {
        let key = Key::parse(KEY).unwrap();
        let keys = Authentication::Keys(KeyPair { primary: key.clone(), secondary: key });
        self.create_with(hub, at, keys);
    }

    /// A device that proves in this way who it is.
    pub(crate) fn create_with(&self, hub: usize, at: &Address, authentication: Authentication) {
        let authentication = NewAuthentication::These(authentication);
        self.hubs[hub].create(at, NewIdentity { authentication, ..NewIdentity::default() }).unwrap();
    }

    /// All events of an event hub, in the order of their partitions.
    pub(crate) fn events(hub: &EventHub) -> Vec<EventData> {
        let read = |partition| hub.read(partition, None, usize::MAX).into_iter().map(|event| event.data.clone());
        (0..hub.partitions()).flat_map(read).collect()
    }
}

/// Sends register and gives back the answer's body.
pub(crate) async fn register(client: &mut Client, id: &str, payload: Option<Value>) -> Value {
    let mut body = json!({ "registrationId": id });
    if let Some(payload) = payload {
        body["payload"] = payload;
    }
    client.publish("$dps/registrations/PUT/iotdps-register/?$rid=r1", QoS::AtLeastOnce, body.to_string()).await;
    serde_json::from_str(&client.message().await.1).unwrap()
}

/// Asks how an operation stands: topic and body of the answer.
pub(crate) async fn poll(client: &mut Client, operation: &str) -> (String, Value) {
    let topic = format!("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=r2&operationId={operation}");
    client.publish(&topic, QoS::AtLeastOnce, " ").await;
    let (topic, body) = client.message().await;
    (topic, serde_json::from_str(&body).unwrap())
}

/// CONNECT of a device to DPS.
pub(crate) fn dps_connect(id: &str, group_key: &str) -> Connect {
    let resource = format!("{ID_SCOPE}/registrations/{id}");
    let password = token(&mqtt_client::device_key(group_key, id), &resource, Some("registration"), LATER);
    let mut connect = Connect::new(id);
    connect.set_credentials(format!("{resource}/api-version=2019-03-31&ClientVersion=test"), password);
    connect
}

/// CONNECT of a device (`d1`) or module (`d1/m1`) with a certificate to a hub: without a password.
pub(crate) fn x509_connect(hub: &str, id: &str) -> Connect {
    let mut connect = Connect::new(id);
    connect.set_username(format!("{hub}/{id}/?api-version=2021-04-12"));
    connect
}

/// CONNECT of a device (`d1`) or module (`d1/m1`) to a hub, with this key.
pub(crate) fn hub_connect(hub: &str, id: &str, key: &str) -> Connect {
    let mut connect = Connect::new(id);
    let password = token(key, &format!("{hub}/devices/{}", id.replace('/', "/modules/")), None, LATER);
    connect.set_credentials(format!("{hub}/{id}/?api-version=2021-04-12"), password);
    connect
}

pub(crate) fn device(id: &str) -> Address {
    Address::device(id.parse().unwrap())
}

pub(crate) fn module(device: &str, module: &str) -> Address {
    Address::module(device.parse().unwrap(), module.parse().unwrap())
}

fn hub(
    name: &str,
    state: iot_hub::State,
    telemetry: &Arc<EventHub>,
    lifecycle: &Arc<EventHub>,
    clock: &Clock,
    gate: &Arc<Gate>,
) -> Arc<IotHub> {
    let route = |name: &str, source, endpoint: &Arc<EventHub>| Route {
        name: name.into(),
        source,
        endpoint: Arc::clone(endpoint),
        enrichments: Enrichment::twin_id_and_hub(),
    };
    let service = Policy {
        name: "service".into(),
        key: Key::parse(SERVICE_KEY).unwrap(),
        permissions: Permissions { service_connect: true, ..Permissions::default() },
    };
    let settings = iot_hub::Settings {
        host_name: HostName::new(name),
        policies: vec![Policy::owner(Key::parse(KEY).unwrap()), service],
        routes: vec![
            route("telemetry", Source::DeviceMessages, telemetry),
            route("lifecycle", Source::DeviceLifecycleEvents, lifecycle),
        ],
    };
    Arc::new(IotHub::new(settings, state, clock.clone(), Arc::clone(gate)))
}

/// The HTTPS port's services, without TLS.
async fn serve_http(services: Services, shutdown: &CancellationToken, servers: &TaskTracker) -> SocketAddr {
    let router = front::router(front::Services {
        digital_twins: Router::new(),
        iot_hub: iot_hub::router(services.hubs.clone()),
        dps: services.dps.clone().map(dps::router).unwrap_or_default(),
        mqtt: mqtt::router(services, shutdown.clone(), servers.clone()),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stopped = shutdown.clone().cancelled_owned();
    servers.spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stopped).await.unwrap() });
    address
}

async fn webhook(shutdown: &CancellationToken) -> (Hook, Webhook) {
    let nothing: Answer = Box::new(|_| (500, String::new()));
    let hook = Hook { answer: Arc::new(Mutex::new(nothing)), requests: Arc::default() };
    let app = Router::new().route("/api/DpsAdtAllocationFunc", post(Hook::call)).with_state(hook.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/DpsAdtAllocationFunc?code=secret", listener.local_addr().unwrap());
    let stopped = shutdown.clone().cancelled_owned();
    tokio::spawn(async move { axum::serve(listener, app).with_graceful_shutdown(stopped).await });
    (hook, Webhook(url.parse().unwrap()))
}

fn tls() -> (TlsAcceptor, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost", HUB, OTHER_HUB].map(str::to_owned)).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let possession = Arc::new(ProofOfPossession::new(&provider));
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(possession)
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), certificate)
}
