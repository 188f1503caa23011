//! What a local-azure is to be like.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use url::Url;

use crate::{clock::Clock, credentials::Credentials, dps::Patience, iot_hub::HostName, ports::Ports};

/// What [`Config::platform_restart`] is by default. How long Azure takes is not documented.
const PLATFORM_RESTART: Duration = Duration::from_secs(5);

/// Everything that [`crate::start`] wants to know. `main` makes one from the command line, tests make their own.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub ports: Ports,
    /// What clients must know.
    pub credentials: Credentials,
    /// The folder that keeps the certificate authority.
    pub certificates: PathBuf,
    /// The function app.
    pub app: App,
    /// Started instead of what the app's `host.json` names.
    pub handler: Option<PathBuf>,
    /// How many instances of the function app run, each with a handler process of its own.
    pub instances: NonZeroUsize,
    /// How long the platform takes to start a new host in place of one that stopped because its handler failed too
    /// often.
    pub platform_restart: Duration,
    /// Further environment of the handler, as app settings in Azure.
    pub app_settings: Vec<(String, String)>,
    /// Host names of the linked hubs; at least one.
    pub hub_names: Vec<HostName>,
    /// Partitions of each event hub.
    pub partitions: NonZeroUsize,
    /// What is in Azure Digital Twins at the start.
    pub graph: Graph,
    /// How much longer each request to Azure Digital Twins takes.
    pub adt_latency: Duration,
    /// How late queries see a change.
    pub query_lag: Duration,
    /// Whether Azure Digital Twins' documented limits are enforced.
    pub adt_limits: bool,
    /// Whether the documented throttles of IoT Hub, size S1 with one unit, are enforced.
    pub hub_limits: bool,
    /// Whether DPS' documented limits are enforced.
    pub dps_limits: bool,
    /// The endpoints that Azure Digital Twins' event routes may lead to.
    pub adt_endpoints: Vec<String>,
    /// Where DPS asks for a hub; `None` asks the app in the Functions host.
    pub webhook_url: Option<Url>,
    /// How DPS treats a webhook that fails.
    pub webhook_patience: Patience,
    /// Which services answer.
    pub parts: Vec<Part>,
    /// The folder that everything is kept in; `None` keeps it in memory.
    pub data_dir: Option<PathBuf>,
    /// The time.
    pub clock: Clock,
}

/// Where the function app comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum App {
    /// The one compiled into this program: the handler is the program itself, started again.
    Compiled,
    /// A folder with `host.json` and the functions' folders, as it would be published.
    Folder(PathBuf),
}

/// A service that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Azure Digital Twins.
    DigitalTwins,
    /// The provisioning service.
    Dps,
    /// The hubs.
    IotHub,
    /// The event hubs; without them, hubs route nowhere.
    EventHubs,
    /// The Functions host with the app.
    Functions,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::DigitalTwins, Self::Dps, Self::IotHub, Self::EventHubs, Self::Functions];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::DigitalTwins => "digital-twins",
            Self::Dps => "dps",
            Self::IotHub => "iot-hub",
            Self::EventHubs => "event-hubs",
            Self::Functions => "functions",
        }
    }
}

impl std::str::FromStr for Part {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|part| part.name() == name)
            .ok_or_else(|| format!("takes one or more of {}", known()))
    }
}

/// The twins and relationships at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Graph {
    /// The sample models and graph.
    Sample,
    /// The sample models, and the graph in a file of the same form.
    File(PathBuf),
    /// No models, no twins.
    Empty,
}

impl Config {
    /// On the default ports with the published credentials, the sample graph, and the app that is compiled in.
    pub fn new(certificates: PathBuf) -> Self {
        Self {
            ports: Ports::default(),
            credentials: Credentials::published(),
            certificates,
            app: App::Compiled,
            handler: None,
            instances: NonZeroUsize::MIN,
            platform_restart: PLATFORM_RESTART,
            app_settings: Vec::new(),
            hub_names: vec![HostName::new("localhost")],
            partitions: NonZeroUsize::MIN.saturating_add(3),
            graph: Graph::Sample,
            adt_latency: Duration::ZERO,
            query_lag: Duration::ZERO,
            adt_limits: false,
            hub_limits: false,
            dps_limits: false,
            adt_endpoints: Vec::new(),
            webhook_url: None,
            webhook_patience: Patience::default(),
            parts: Part::ALL.to_vec(),
            data_dir: None,
            clock: Clock::system(),
        }
    }

    /// The same with ports that the system chooses and credentials of its own.
    #[must_use]
    pub fn with_free_ports(self) -> Self {
        Self { ports: Ports::FREE, credentials: Credentials::random(), ..self }
    }
}
