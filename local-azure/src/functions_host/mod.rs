//! The Azure Functions host, as far as a custom handler can tell: it starts the app's handler, sends it HTTP requests
//! and batches of events, judges its answers, retries, checkpoints, writes its outputs, and restarts it.
//!
//! Sources: azure-functions-host 4.1037 (`src/WebJobs.Script/Workers/Http`), the Event Hubs extension of
//! azure-sdk-for-net 6.5, and Azure Functions: custom handlers. File names in this module's comments mean those.

mod admin;
mod answer;
pub mod app;
mod blobs;
mod config;
mod envelope;
mod faults;
mod handler;
mod http;
mod instance;
mod invoker;
mod journal;
mod lease;
mod output;
mod ownership;
mod pause;
mod pump;
mod statistics;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, atomic::AtomicUsize},
};

use axum::{Router, middleware};
use tokio::{
    sync::{Mutex, broadcast},
    task::JoinSet,
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    admin::Admin,
    app::{Function, Trigger},
    handler::{Handler, Phase},
    http::HttpFunctions,
    instance::Instance,
    invoker::Clients,
    journal::Journal,
    ownership::Ownership,
    pump::Surroundings,
};
pub use self::{
    admin::Operation,
    blobs::{Blob, BlobChange, Blobs, Containers, Full},
    config::{Config, Program},
    faults::Unknown,
    handler::{Console, ConsoleLine, HandlerStatus, Level, Stream},
    http::FunctionKey,
    statistics::{EventRange, FunctionStatistics, Invocation, PartitionStatistics},
};
use crate::{
    clock::Clock,
    gate::{Gate, Killer},
};

/// A Functions host that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The app has a fault.
    #[error(transparent)]
    App(#[from] app::Error),
    /// A function reads an event hub that does not exist.
    #[error("function {function} reads event hub {event_hub}, which does not exist; there are: {known}")]
    NoSuchEventHub {
        /// The function.
        function: &'static str,
        /// What its trigger names.
        event_hub: String,
        /// The event hubs that exist.
        known: String,
    },
    /// A function reads through a consumer group that does not exist.
    #[error(transparent)]
    EventHubs(#[from] crate::event_hubs::Error),
    /// No HTTP client can be made.
    #[error("cannot make an HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// The handler failed too often to start.
    #[error("the handler {program} does not run: {reason}")]
    HandlerFailed {
        /// Its executable.
        program: PathBuf,
        /// The last error.
        reason: String,
    },
}

/// A running Functions host.
#[derive(Debug)]
pub struct FunctionsHost {
    program: PathBuf,
    instances: Vec<Arc<Instance>>,
    http: Arc<HttpFunctions>,
    admin: Arc<Admin>,
    ownership: Arc<Ownership>,
    gate: Arc<Gate>,
    console: Arc<Console>,
    blobs: Arc<Blobs>,
    journal: Journal,
    running: Mutex<JoinSet<()>>,
    /// Faults that happen by the clock.
    timed: TaskTracker,
    shutdown: CancellationToken,
}

impl FunctionsHost {
    /// Starts the app's handlers and begins to read events. It stops after `shutdown`; await
    /// [`FunctionsHost::stopped`] then.
    ///
    /// # Errors
    /// [`Error`] where the app names what does not exist. A handler that does not start is told by
    /// [`FunctionsHost::ready`].
    pub fn start(config: Config, clock: Clock, gate: Arc<Gate>, shutdown: CancellationToken) -> Result<Self, Error> {
        let program = config.program()?;
        let app = Arc::new(config.app.clone());
        let functions: Vec<_> = app.functions.iter().cloned().map(Arc::new).collect();
        let clients = Clients::new()?;
        let console = Arc::new(Console::new(clock.clone()));
        let pumps = config.pumps(&functions)?;
        let handlers = config.handlers(&app, &program, &clients, &console);
        let ownership = Arc::new(Ownership::new(pumps, handlers.len()));
        let instances = config.instances_of(&handlers, &clients, &ownership);
        gate.connect_handlers(killer(handlers));
        let around =
            Surroundings { blobs: Arc::clone(&config.blobs), clock, gate: Arc::clone(&gate), journal: Journal::new() };
        let mut running = JoinSet::new();
        for instance in &instances {
            running.spawn(Arc::clone(instance).run(around.clone(), shutdown.clone()));
        }
        let journal = around.journal.clone();
        let http = Arc::new(HttpFunctions {
            routes: routes(&functions, &app.host.route_prefix),
            raw: app.host.raw_http,
            key: config.function_key,
            instances: instances.clone(),
            around,
            turn: AtomicUsize::new(0),
        });
        let admin = Arc::new(Admin { app, functions, http: Arc::clone(&http), started: Instant::now() });
        Ok(Self {
            program: program.path,
            instances,
            http,
            admin,
            ownership,
            gate,
            console,
            blobs: config.blobs,
            journal,
            running: Mutex::new(running),
            timed: TaskTracker::new(),
            shutdown,
        })
    }

    /// The HTTP functions and the host's own API, to be served on the functions port.
    pub fn router(&self) -> Router {
        let admin = middleware::from_fn_with_state(Arc::clone(&self.admin), admin::serve);
        http::router(Arc::clone(&self.http)).layer(admin)
    }

    /// Waits until every handler answers.
    ///
    /// # Errors
    /// [`Error::HandlerFailed`] when one failed so often that its host stopped. A new host is being started all the
    /// same.
    pub async fn ready(&self) -> Result<(), Error> {
        for instance in &self.instances {
            let mut phase = instance.invoker.handler.phase();
            let settled = phase.wait_for(|phase| *phase != Phase::Starting).await;
            if let Ok(Phase::Stopped { error: Some(reason) }) = settled.as_deref() {
                return Err(Error::HandlerFailed { program: self.program.clone(), reason: reason.clone() });
            }
        }
        Ok(())
    }

    /// Waits until each function has finished every event that its event hub holds now, dead letters included.
    pub async fn caught_up(&self) {
        for pump in self.ownership.pumps() {
            // The group exists: the pump was made with it.
            let _ = pump.event_hub.caught_up(&pump.trigger.consumer_group).await;
        }
    }

    /// Waits until, after the shutdown, everything in flight has ended and every handler is dead.
    pub async fn stopped(&self) {
        let mut running = self.running.lock().await;
        while running.join_next().await.is_some() {}
        self.timed.close();
        self.timed.wait().await;
    }

    /// Ends every host with its handler, has `meanwhile` done while there is none, and starts new ones, that have
    /// counted nothing. Returns when their handlers answer. Should this be dropped before, hosts begin all the same.
    ///
    /// # Errors
    /// [`Error::HandlerFailed`] as [`FunctionsHost::ready`].
    pub async fn restart<T>(&self, meanwhile: impl Future<Output = T>) -> Result<T, Error> {
        let paused = Paused(&self.instances);
        for instance in &self.instances {
            instance.pause.begin().await;
        }
        let done = meanwhile.await;
        self.ownership.begin_anew();
        for instance in &self.instances {
            instance.invoker.handler.begin_anew();
        }
        drop(paused);
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            ready = self.ready() => ready?,
        }
        Ok(done)
    }

    /// How the handlers are.
    pub fn handlers(&self) -> Vec<HandlerStatus> {
        self.instances.iter().map(|instance| instance.invoker.handler.status()).collect()
    }

    /// What the functions that read events have done, function by function.
    pub fn statistics(&self) -> Vec<FunctionStatistics> {
        let mut functions: Vec<FunctionStatistics> = Vec::new();
        for pump in self.ownership.pumps() {
            let partition = pump.partition.number;
            let lag = pump.event_hub.lag(&pump.trigger.consumer_group).ok();
            let lag = lag.and_then(|lag| lag.get(partition).copied()).unwrap_or_default();
            let statistics = pump.counters.statistics(partition, lag);
            match functions.last_mut().filter(|last| last.function == pump.function.name) {
                Some(function) => function.partitions.push(statistics),
                None => functions.push(FunctionStatistics {
                    function: pump.function.name,
                    event_hub: pump.event_hub.name().to_owned(),
                    partitions: vec![statistics],
                }),
            }
        }
        functions
    }

    /// Tells each invocation that ends from now on. A slow listener loses the oldest.
    pub fn invocations(&self) -> broadcast::Receiver<Invocation> {
        self.journal.subscribe()
    }

    /// What handlers wrote last.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// Where blob outputs go.
    pub fn blobs(&self) -> &Arc<Blobs> {
        &self.blobs
    }
}

/// Instances that may have no hosts, until it is dropped.
struct Paused<'i>(&'i [Arc<Instance>]);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|instance| instance.pause.end());
    }
}

/// What kills an instance's handler for the gate.
fn killer(handlers: Vec<Arc<Handler>>) -> Killer {
    Box::new(move |instance| match handlers.get(instance) {
        Some(handler) => Box::pin(handler.kill()),
        None => Box::pin(std::future::ready(())),
    })
}

fn routes(functions: &[Arc<Function>], prefix: &str) -> HashMap<String, (Arc<Function>, app::HttpTrigger)> {
    let route = |function: &Arc<Function>| match &function.trigger {
        Trigger::Http(trigger) => {
            let path = format!("{prefix}/{}", trigger.route.as_deref().unwrap_or(function.name));
            Some((path.trim_matches('/').to_ascii_lowercase(), (Arc::clone(function), trigger.clone())))
        }
        Trigger::EventHub(_) => None,
    };
    functions.iter().filter_map(route).collect()
}
