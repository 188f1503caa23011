//! The services of one local-azure and how they hang together.

use std::{collections::BTreeSet, fs, path::PathBuf, sync::Arc, time::Duration};

use jiff::SignedDuration;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    StartError, compiled_app,
    config::{App, Config, Graph, Part},
    data_dir::{DataDir, DataDirError},
    digital_twins::{self, DigitalTwins, Scheme},
    dps::{self, Dps, EnrollmentGroup, Reprovisioning, Webhook},
    event_hubs::{EventHub, Log},
    feed::Feed,
    functions_host::{
        self, Blobs, Containers, FunctionKey, FunctionsHost, Program,
        app::{App as FunctionApp, AppSettings},
    },
    gate::{Gate, Rules, Service},
    identity::{self, Tokens},
    iot_hub::{self, Enrichment, HostName, IotHub, KeyPair, Policy, Route, Source},
    sas::Key,
    store::{State, Store},
};

/// The enrollment group's name.
pub(crate) const ENROLLMENT_GROUP: &str = "adt-devices";
/// What the functions' triggers name.
const TELEMETRY_HUB: &str = "deviceevents";
const LIFECYCLE_HUB: &str = "lifecycleevents";
const CONSUMER_GROUPS: [&str; 2] = ["$Default", "adt-functions"];
/// After how long a device that registers asks again whether it is assigned. Azure says 3 s; here nobody needs to wait,
/// unless the limits are enforced: a device may ask 5 times in 10 s.
const RETRY_AFTER: Duration = Duration::from_secs(1);
const RETRY_AFTER_WITH_LIMITS: Duration = Duration::from_secs(3);

/// All services. Cheap to clone; clones are the same services.
#[derive(Debug, Clone)]
pub struct Services {
    /// What every request passes.
    pub gate: Arc<Gate>,
    /// Issues and checks bearer tokens.
    pub tokens: Tokens,
    /// Azure Digital Twins.
    pub digital_twins: Arc<DigitalTwins>,
    /// The linked hubs, in the order of the configuration.
    pub iot_hubs: Vec<Arc<IotHub>>,
    /// The provisioning service.
    pub dps: Arc<Dps>,
    /// The event hubs that routes write to.
    pub event_hubs: Vec<Arc<EventHub>>,
    /// Where dead letters are kept.
    pub blobs: Arc<Blobs>,
    /// The Functions host with the app.
    pub functions: Arc<FunctionsHost>,
    /// Where all of it is kept; `None` for memory only.
    pub data_dir: Option<Arc<DataDir>>,
    /// What happens in all of them.
    pub feed: Feed,
    /// What is in Azure Digital Twins at the start.
    pub(crate) graph: Graph,
    /// Held by a reset.
    pub(crate) resetting: Arc<tokio::sync::Mutex<()>>,
}

impl Services {
    /// Makes and connects them. The Functions host starts its handler with `app_settings` in its environment, and
    /// DPS calls `webhook`.
    pub(crate) fn start(
        config: &Config,
        tokens: Tokens,
        app_settings: Vec<(String, String)>,
        webhook: Url,
        shutdown: &CancellationToken,
    ) -> Result<Self, StartError> {
        let clock = &config.clock;
        let gate = Arc::new(Gate::new(rules(config)));
        let mut kept = Kept::open(config)?;
        let digital_twins = digital_twins(config, &gate, &tokens, &mut kept)?;
        let [telemetry, lifecycle] = event_hubs(config, &mut kept)?;
        let routes = routes(config, &telemetry, &lifecycle);
        let event_hubs = vec![telemetry, lifecycle];
        let iot_hubs = iot_hubs(config, &gate, &routes, &mut kept)?;
        let dps = Dps::new(
            dps_settings(config, webhook)?,
            iot_hubs.clone(),
            kept.store("dps", dps::State::default())?,
            clock.clone(),
            Arc::clone(&gate),
            shutdown.clone(),
        )?;
        let blobs = Arc::new(Blobs::new(kept.store("blobs", Containers::default())?));
        let data_dir = kept.complete()?;
        let functions = functions_host(config, app_settings, &event_hubs, &blobs)?;
        let functions = FunctionsHost::start(functions, clock.clone(), Arc::clone(&gate), shutdown.clone())?;
        let functions = Arc::new(functions);
        let (feed, graph, resetting) = (Feed::new(clock.clone()), config.graph.clone(), Arc::default());
        let services = Self {
            gate,
            tokens,
            digital_twins,
            iot_hubs,
            dps,
            event_hubs,
            blobs,
            functions,
            data_dir,
            feed,
            graph,
            resetting,
        };
        services.feed.observe(&services);
        Ok(services)
    }
}

/// Where states come from at the start, and go to.
enum Kept {
    InMemory,
    In(Box<DataDir>),
}

impl Kept {
    fn open(config: &Config) -> Result<Self, DataDirError> {
        match &config.data_dir {
            None => Ok(Self::InMemory),
            Some(path) => Ok(Self::In(Box::new(DataDir::open(path)?))),
        }
    }

    fn is_new(&self) -> bool {
        match self {
            Self::InMemory => true,
            Self::In(folder) => folder.is_new(),
        }
    }

    fn store<S: State>(&mut self, name: impl Into<String>, initial: S) -> Result<Store<S>, DataDirError> {
        match self {
            Self::InMemory => Ok(Store::new(initial)),
            Self::In(folder) => folder.store(name, initial),
        }
    }

    /// All states have been asked for: from now on what is acknowledged is kept.
    fn complete(self) -> Result<Option<Arc<DataDir>>, DataDirError> {
        match self {
            Self::InMemory => Ok(None),
            Self::In(folder) => {
                folder.compact()?;
                Ok(Some(Arc::from(folder)))
            }
        }
    }
}

/// What callers of the managed identity endpoint send.
pub(crate) fn identity_headers(config: &Config) -> identity::Headers {
    identity::Headers::new(&config.credentials.identity_header, config.instances.get())
}

/// Each instance asks for tokens with a header of its own.
fn own_settings(config: &Config) -> Vec<AppSettings> {
    let settings = |header| AppSettings::default().with("IDENTITY_HEADER", header);
    identity_headers(config).of_instances().map(settings).collect()
}

fn rules(config: &Config) -> Rules {
    let latency = Some(config.adt_latency).filter(|latency| !latency.is_zero());
    Rules {
        latency: latency.map(|latency| (Service::DigitalTwins, latency)).into_iter().collect(),
        digital_twins_limits: config.adt_limits,
        iot_hub_limits: config.hub_limits,
        dps_limits: config.dps_limits,
    }
}

fn digital_twins(
    config: &Config,
    gate: &Arc<Gate>,
    tokens: &Tokens,
    kept: &mut Kept,
) -> Result<Arc<DigitalTwins>, StartError> {
    let checked = tokens.clone();
    let digital_twins = DigitalTwins::new(digital_twins::Options {
        clock: config.clock.clone(),
        gate: Arc::clone(gate),
        accepts_token: Arc::new(move |token| checked.whose(identity::DIGITAL_TWINS, token)),
        query_lag: config.query_lag.try_into().unwrap_or(SignedDuration::MAX),
        endpoints: config.adt_endpoints.iter().cloned().collect(),
        store: kept.store("digital-twins", digital_twins::State::default())?,
        scheme: Scheme::Https,
    });
    // What is kept is what is there.
    if kept.is_new() {
        load_graph(&config.graph, &digital_twins)?;
    }
    Ok(digital_twins)
}

/// Loads what is there at the start. Queries see it at once, however late they see what comes later.
pub(crate) fn load_graph(graph: &Graph, digital_twins: &DigitalTwins) -> Result<(), StartError> {
    let (name, text) = match graph {
        Graph::Empty => return Ok(()),
        Graph::Sample => (PathBuf::from("the sample graph"), compiled_app::SAMPLE_GRAPH.to_owned()),
        Graph::File(file) => {
            let unreadable = |source| StartError::GraphFile { path: file.clone(), source };
            (file.clone(), fs::read_to_string(file).map_err(unreadable)?)
        }
    };
    let refused = |reason: String| StartError::Graph { path: name.clone(), reason };
    let models: Result<Vec<Value>, _> = compiled_app::MODELS.iter().map(|model| serde_json::from_str(model)).collect();
    let models = models.map_err(|error| refused(error.to_string()))?;
    digital_twins.upload_models(&models).map_err(|error| refused(error.to_string()))?;
    // Editors on Windows put a byte order mark at the start.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let graph: Value = serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
    digital_twins.load_graph(&graph).map_err(|error| refused(error.to_string()))?;
    digital_twins.show_to_queries();
    Ok(())
}

/// That of telemetry, and that of lifecycle events.
fn event_hubs(config: &Config, kept: &mut Kept) -> Result<[Arc<EventHub>; 2], StartError> {
    let mut event_hub = |name| {
        let log = Log::new(config.partitions, CONSUMER_GROUPS.map(str::to_owned));
        let store = kept.store(format!("event-hub {name}"), log)?;
        Ok::<_, StartError>(Arc::new(EventHub::resume(name, store, config.clock.clone())))
    };
    Ok([event_hub(TELEMETRY_HUB)?, event_hub(LIFECYCLE_HUB)?])
}

/// Where the hubs' messages go: nowhere without event hubs.
fn routes(config: &Config, telemetry: &Arc<EventHub>, lifecycle: &Arc<EventHub>) -> Vec<Route> {
    if !config.parts.contains(&Part::EventHubs) {
        return Vec::new();
    }
    let route = |name: &str, source, endpoint: &Arc<EventHub>| Route {
        name: name.to_owned(),
        source,
        endpoint: Arc::clone(endpoint),
        enrichments: Enrichment::twin_id_and_hub(),
    };
    vec![
        route("telemetry", Source::DeviceMessages, telemetry),
        route("lifecycle", Source::DeviceLifecycleEvents, lifecycle),
    ]
}

fn iot_hubs(
    config: &Config,
    gate: &Arc<Gate>,
    routes: &[Route],
    kept: &mut Kept,
) -> Result<Vec<Arc<IotHub>>, StartError> {
    let owner = Key::parse(&config.credentials.hub_owner_key)?;
    let mut seen = BTreeSet::new();
    let names = config.hub_names.iter().filter(|name| seen.insert(*name));
    let mut hub = |name: &HostName| {
        let store = kept.store(format!("iot-hub {name}"), iot_hub::State::default())?;
        let settings = iot_hub::Settings {
            host_name: name.clone(),
            policies: Policy::defaults(owner.clone()),
            routes: routes.to_vec(),
        };
        Ok(Arc::new(IotHub::new(settings, store, config.clock.clone(), Arc::clone(gate))))
    };
    names.map(&mut hub).collect()
}

fn dps_settings(config: &Config, webhook: Url) -> Result<dps::Settings, StartError> {
    let keys = KeyPair {
        primary: Key::parse(&config.credentials.group_primary_key)?,
        secondary: Key::parse(&config.credentials.group_secondary_key)?,
    };
    Ok(dps::Settings {
        id_scope: config.credentials.id_scope.clone(),
        enrollment_group: EnrollmentGroup {
            id: ENROLLMENT_GROUP.to_owned(),
            keys,
            enabled: true,
            webhook: Webhook(webhook),
            reprovisioning: Reprovisioning::Migrate,
            initial_twin: None,
        },
        owner_key: Key::parse(&config.credentials.dps_owner_key)?,
        patience: config.webhook_patience.clone(),
        retry_after: if config.dps_limits { RETRY_AFTER_WITH_LIMITS } else { RETRY_AFTER },
    })
}

fn functions_host(
    config: &Config,
    app_settings: Vec<(String, String)>,
    event_hubs: &[Arc<EventHub>],
    blobs: &Arc<Blobs>,
) -> Result<functions_host::Config, StartError> {
    let (mut app, handler) = function_app(config, app_settings)?;
    if !config.parts.contains(&Part::Functions) {
        app.functions.clear();
    }
    Ok(functions_host::Config {
        app,
        handler,
        instances: config.instances,
        own_settings: own_settings(config),
        function_key: FunctionKey::new(&config.credentials.function_key),
        event_hubs: event_hubs.to_vec(),
        event_hubs_namespace: "local-azure.servicebus.windows.net".to_owned(),
        blobs: Arc::clone(blobs),
        platform_restart: config.platform_restart,
    })
}

/// The app, and what is to be started in place of the handler that its host.json names.
fn function_app(
    config: &Config,
    app_settings: Vec<(String, String)>,
) -> Result<(FunctionApp, Option<Program>), StartError> {
    let settings = app_settings
        .into_iter()
        .chain(config.app_settings.iter().cloned())
        .fold(AppSettings::inherited(), |settings, (name, value)| settings.with(name, value));
    let chosen = config.handler.clone().map(|path| Program { path, arguments: Vec::new() });
    match &config.app {
        App::Folder(root) => Ok((FunctionApp::read(root, settings).map_err(functions_host::Error::from)?, chosen)),
        App::Compiled => {
            let root = std::env::current_dir().map_err(StartError::CurrentFolder)?;
            let app = compiled_app::app(root, settings).map_err(functions_host::Error::from)?;
            let handler = match chosen {
                Some(handler) => handler,
                None => compiled_app::handler().map_err(StartError::CurrentProgram)?,
            };
            Ok((app, Some(handler)))
        }
    }
}
