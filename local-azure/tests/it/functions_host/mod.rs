//! The Functions host, with real handler processes.

mod admin;
mod events;
mod faults;
mod handler;
mod http;
mod process;

use std::{net::Ipv4Addr, num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

use local_azure::{
    Faults, InjectError,
    clock::Clock,
    event_hubs::{EventData, EventHub},
    functions_host::{
        Blobs, Config, Containers, Error, FunctionKey, FunctionsHost,
        app::{App, AppSettings},
    },
    gate::{Fault, Gate, Rules},
};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::handler::{Call, DIRECTOR, Director, Orders, PATIENCE, program};

const FUNCTION: &str = "DeviceTelemetryToTwinFunc";
const GROUP: &str = "adt-functions";
const KEY: &str = "the-key";

/// A recorded payload.
fn recorded(file: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/functions/");
    std::fs::read_to_string(format!("{folder}{file}")).unwrap()
}

/// What the index says of a recorded request.
fn indexed(file: &str) -> Value {
    let index: Value = serde_json::from_str(&recorded("index.json")).unwrap();
    index["requests"].as_array().unwrap().iter().find(|request| request["file"] == file).unwrap().clone()
}

/// Asserts that a handler was called with the request line and headers of a recorded request.
fn assert_called_as(call: &Call, file: &str) {
    let indexed = indexed(file);
    assert_eq!(format!("{} {} HTTP/1.1", call.method, call.path), indexed["request"]);
    for (name, value) in indexed["headers"].as_object().unwrap() {
        let sent = call.header(&name.to_ascii_lowercase()).unwrap();
        match name.as_str() {
            "X-Azure-Functions-InvocationId" => assert!(uuid::Uuid::parse_str(sent).is_ok(), "{sent}"),
            _ => assert_eq!(sent, value, "{name}"),
        }
    }
}

/// What a test wants.
struct Setup {
    host_json: Value,
    functions: Vec<(&'static str, Value)>,
    partitions: usize,
    instances: usize,
    platform_restart: Duration,
    settings: AppSettings,
    handler: Option<local_azure::functions_host::Program>,
}

/// A host under test.
struct Bench {
    host: Arc<FunctionsHost>,
    hub: Arc<EventHub>,
    director: Director,
    gate: Arc<Gate>,
    shutdown: CancellationToken,
}

/// A function that reads `deviceevents`, with these members added to its trigger and to function.json.
fn reads_events(trigger: Value, root: Value) -> (&'static str, Value) {
    let mut binding = json!({
        "type": "eventHubTrigger", "direction": "in", "name": "events", "eventHubName": "deviceevents",
        "connection": "EVENTHUB_CONNECTIONSTRING", "consumerGroup": GROUP, "cardinality": "many", "dataType": "binary",
    });
    merge(&mut binding, trigger);
    let output =
        json!({ "type": "blob", "direction": "out", "name": "deadLetter", "path": "dead-letters/{rand-guid}" });
    let mut function = json!({ "bindings": [binding, output] });
    merge(&mut function, root);
    (FUNCTION, function)
}

fn merge(target: &mut Value, more: Value) {
    for (name, value) in more.as_object().unwrap() {
        target[name] = value.clone();
    }
}

fn event(body: impl Into<Vec<u8>>) -> EventData {
    EventData { body: body.into().into(), ..EventData::default() }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            host_json: json!({ "version": "2.0", "customHandler": { "description": {} } }),
            functions: vec![reads_events(json!({}), json!({}))],
            partitions: 1,
            instances: 1,
            platform_restart: Duration::from_millis(1),
            settings: AppSettings::default(),
            handler: Some(program()),
        }
    }
}

impl Setup {
    fn functions(functions: impl Into<Vec<(&'static str, Value)>>) -> Self {
        Self { functions: functions.into(), ..Self::default() }
    }

    async fn start(self) -> Bench {
        self.try_start().await.unwrap()
    }

    async fn try_start(self) -> Result<Bench, Error> {
        let director = Director::new().await;
        let functions: Vec<_> = self.functions.iter().map(|(name, json)| (*name, json.to_string())).collect();
        let functions = functions.iter().map(|(name, text)| (*name, text.as_str()));
        let settings = self.settings.with(DIRECTOR, &director.url);
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let app = App::new(root, &self.host_json.to_string(), functions, settings)?;
        let (clock, shutdown) = (Clock::system(), CancellationToken::new());
        let partitions = NonZeroUsize::new(self.partitions).unwrap();
        let hub = Arc::new(EventHub::new("deviceevents", partitions, [GROUP], clock.clone()));
        let config = Config {
            app,
            handler: self.handler,
            instances: NonZeroUsize::new(self.instances).unwrap(),
            own_settings: (0..self.instances)
                .map(|index| AppSettings::default().with("IDENTITY_HEADER", format!("header of {index}")))
                .collect(),
            function_key: FunctionKey::new(KEY),
            event_hubs: vec![Arc::clone(&hub)],
            event_hubs_namespace: "localhost".to_owned(),
            blobs: Arc::new(Blobs::new(Containers::default())),
            platform_restart: self.platform_restart,
        };
        let gate = Arc::new(Gate::new(Rules::default()));
        let host = FunctionsHost::start(config, clock, Arc::clone(&gate), shutdown.clone())?;
        Ok(Bench { host: Arc::new(host), hub, director, gate, shutdown })
    }

    /// Starts it, and lets each handler serve.
    async fn serve(self) -> Bench {
        let instances = self.instances;
        let mut bench = self.start().await;
        for _ in 0..instances {
            bench.director.start().await.answer(Orders::default());
        }
        bench.host.ready().await.unwrap();
        bench
    }
}

impl Bench {
    /// Asks it to stop, and waits until it has.
    async fn stop(&mut self) {
        self.shutdown.cancel();
        self.host.stopped().await;
    }

    /// Serves the HTTP functions; gives their base address.
    async fn listen(&self) -> String {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = self.host.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    /// Switches a fault on.
    fn inject(&self, fault: Value) -> Result<u64, InjectError> {
        let fault = serde_json::from_value::<Fault>(fault).unwrap();
        Faults::new(Arc::clone(&self.gate), Arc::clone(&self.host)).inject(fault)
    }

    /// Waits until every event is done with.
    async fn caught_up(&self) {
        timeout(PATIENCE, self.host.caught_up()).await.expect("events are left");
    }

    fn checkpoint(&self) -> Option<u64> {
        self.hub.checkpoint(GROUP, 0).unwrap()
    }

    /// What dead letters hold.
    fn dead_letters(&self) -> Vec<Vec<u8>> {
        self.host.blobs().list("dead-letters", "").into_iter().map(|(_, blob)| blob.content.to_vec()).collect()
    }
}
