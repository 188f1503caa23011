//! A local-azure that runs a given handler with the app's own files.

use std::{
    ffi::OsString,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use local_azure::{
    Running,
    certificates::{Authority, CertificateError},
    config::{App, Config},
    event_hubs::EventHub,
    gate::Service,
    iot_hub::HostName,
    services::Services,
};
use tempfile::TempDir;

/// The folder of the certificate authority.
const CERTIFICATES: &str = "certificates";

/// The executable that the Functions host starts, and its arguments.
#[derive(Debug, Clone)]
pub struct Handler {
    /// The executable.
    pub path: PathBuf,
    /// Its arguments; none has blanks in it.
    pub arguments: Vec<&'static str>,
}

impl Handler {
    /// The shipped binary at `path`.
    #[must_use]
    pub fn binary(path: &Path) -> Self {
        Self { path: path.to_owned(), arguments: Vec::new() }
    }

    /// This program, started again with `command`.
    ///
    /// # Errors
    /// When the system does not say which program this is.
    pub fn this_program(command: &'static str) -> anyhow::Result<Self> {
        Ok(Self { path: std::env::current_exe()?, arguments: vec![command] })
    }
}

/// How a site is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is started.
    pub handler: Handler,
    /// How many instances of the function app run, each with a handler of its own.
    pub instances: NonZeroUsize,
    /// How much longer each request to Azure Digital Twins takes.
    pub adt_latency: Duration,
    /// Whether Azure Digital Twins' documented limits are enforced.
    pub adt_limits: bool,
    /// How late queries see a change.
    pub query_lag: Duration,
    /// Host names of the linked hubs.
    pub hubs: Vec<HostName>,
    /// How long the platform takes to start a new host.
    pub platform_restart: Duration,
    /// Further app settings.
    pub settings: Vec<(String, String)>,
}

impl Plan {
    /// The app's own files and settings, an Azure Digital Twins that answers at once.
    #[must_use]
    pub fn new(handler: Handler) -> Self {
        let (adt_latency, query_lag) = (Duration::ZERO, Duration::ZERO);
        let (hubs, platform_restart) = (vec![HostName::new("localhost")], Duration::from_secs(5));
        let (instances, settings) = (NonZeroUsize::MIN, Vec::new());
        Self { handler, instances, adt_latency, adt_limits: false, query_lag, hubs, platform_restart, settings }
    }

    /// The same with one more app setting.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// The same with another `maxEventBatchSize` than that of host.json, set as an operator would.
    #[must_use]
    pub fn with_batches_of(self, events: usize) -> Self {
        self.with("AzureFunctionsJobHost__extensions__eventHubs__maxEventBatchSize", events)
    }
}

/// A running site.
#[derive(Debug)]
pub struct Site {
    running: Running,
    /// Holds the certificate authority.
    folder: TempDir,
}

impl Site {
    /// Starts everything; returns when the handler answers.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(plan: &Plan) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("no folder for certificates")?;
        let mut config = Config::new(folder.path().join(CERTIFICATES)).with_free_ports();
        config.app = App::Folder(app_root());
        config.instances = plan.instances;
        config.adt_latency = plan.adt_latency;
        config.adt_limits = plan.adt_limits;
        config.query_lag = plan.query_lag;
        config.hub_names = plan.hubs.clone();
        config.platform_restart = plan.platform_restart;
        config.app_settings = plan.settings.clone();
        config.app_settings.extend(description(&plan.handler)?);
        let running = local_azure::start(config).await?;
        Ok(Self { running, folder })
    }

    /// The services.
    #[must_use]
    pub fn services(&self) -> &Services {
        self.running.services()
    }

    /// What runs.
    #[must_use]
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// Who signed its certificates.
    ///
    /// # Errors
    /// When its folder cannot be read.
    pub fn authority(&self) -> Result<Authority, CertificateError> {
        Authority::open(&self.folder.path().join(CERTIFICATES))
    }

    /// The event hub that telemetry goes to.
    ///
    /// # Errors
    /// When there is none.
    pub fn device_events(&self) -> anyhow::Result<&Arc<EventHub>> {
        let hub = self.services().event_hubs.iter().find(|hub| hub.name() == "deviceevents");
        hub.context("local-azure has no event hub deviceevents")
    }

    /// How often Azure Digital Twins was asked for an operation.
    #[must_use]
    pub fn calls(&self, operation: &str) -> u64 {
        let counts = self.services().gate.counts().into_iter();
        let counts = counts.filter(|count| count.service == Service::DigitalTwins && count.operation == operation);
        counts.map(|count| count.count).sum()
    }

    /// The handler's process.
    ///
    /// # Errors
    /// When it is not running.
    pub fn handler_pid(&self) -> anyhow::Result<u32> {
        self.services()
            .functions
            .handlers()
            .first()
            .and_then(|handler| handler.pid)
            .context("the handler is not running")
    }

    /// Waits until the functions have finished every event that there is.
    pub async fn caught_up(&self) {
        self.services().functions.caught_up().await;
    }

    /// Stops everything.
    pub async fn stop(self) {
        self.running.stop().await;
    }
}

/// The folder with host.json and the functions' folders.
fn app_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What names the handler in host.json, as app settings.
fn description(handler: &Handler) -> anyhow::Result<Vec<(String, String)>> {
    const DESCRIPTION: &str = "AzureFunctionsJobHost__customHandler__description";
    let path = std::path::absolute(&handler.path)?;
    let path: OsString = path.into();
    let path = path.into_string().map_err(|path| anyhow::anyhow!("{} is not Unicode", path.display()))?;
    Ok(vec![
        (format!("{DESCRIPTION}__defaultExecutablePath"), path),
        (format!("{DESCRIPTION}__arguments"), serde_json::to_string(&handler.arguments)?),
    ])
}
