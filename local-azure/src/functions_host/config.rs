//! What a Functions host runs, and what it consists of for that.

use std::{ffi::OsString, num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

use tokio_util::task::TaskTracker;

use super::{
    Error,
    app::{self, App, AppSettings, EventHubTrigger, Function, Trigger},
    blobs::Blobs,
    envelope,
    handler::{Console, Handler, Launch},
    http::FunctionKey,
    instance::Instance,
    invoker::{Clients, Invoker},
    lease::Lease,
    ownership::Ownership,
    pause::Pause,
    pump::Pump,
    statistics::Counters,
};
use crate::event_hubs::EventHub;

/// What a Functions host runs, and how.
#[derive(Debug)]
pub struct Config {
    /// The app.
    pub app: App,
    /// The handler, where it is not the one that host.json names.
    pub handler: Option<Program>,
    /// How many instances of the app run, each with a handler of its own. They share partitions and HTTP requests.
    pub instances: NonZeroUsize,
    /// What each of them finds besides the app's settings, or in place of them; nothing for one that is not in the
    /// list.
    pub own_settings: Vec<AppSettings>,
    /// The key that callers of HTTP functions need.
    pub function_key: FunctionKey,
    /// The event hubs that triggers can name.
    pub event_hubs: Vec<Arc<EventHub>>,
    /// What metadata calls the event hubs' namespace, for instance `contoso.servicebus.windows.net`.
    pub event_hubs_namespace: String,
    /// Where blob outputs go.
    pub blobs: Arc<Blobs>,
    /// How long the platform takes to start a new host in place of one that stopped.
    pub platform_restart: Duration,
}

/// An executable and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The executable: a path, or a name to look for on the PATH.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

impl Config {
    /// What is started as the handler.
    pub(super) fn program(&self) -> Result<Program, app::Error> {
        if let Some(program) = &self.handler {
            return Ok(program.clone());
        }
        let handler = &self.app.host.handler;
        Ok(Program {
            path: handler.executable.clone().ok_or(app::Error::NoHandler)?,
            arguments: handler.arguments.iter().map(OsString::from).collect(),
        })
    }

    /// A handler an instance. The real host starts none for an app without functions.
    pub(super) fn handlers(
        &self,
        app: &Arc<App>,
        program: &Program,
        clients: &Clients,
        console: &Arc<Console>,
    ) -> Vec<Arc<Handler>> {
        let count = if app.functions.is_empty() { 0 } else { self.instances.get() };
        let handler = |index| {
            let launch = Launch {
                program: program.path.clone(),
                arguments: program.arguments.clone(),
                app: Arc::clone(app),
                own_settings: self.own_settings.get(index).cloned().unwrap_or_default(),
            };
            Arc::new(Handler::new(index, launch, clients.raw.clone(), Arc::clone(console)))
        };
        (0..count).map(handler).collect()
    }

    /// An instance a handler.
    pub(super) fn instances_of(
        &self,
        handlers: &[Arc<Handler>],
        clients: &Clients,
        ownership: &Arc<Ownership>,
    ) -> Vec<Arc<Instance>> {
        let instance = |(index, handler): (usize, &Arc<Handler>)| {
            Arc::new(Instance {
                index,
                invoker: Invoker::new(Arc::clone(handler), clients.clone(), self.app.host.function_timeout),
                ownership: Arc::clone(ownership),
                requests: TaskTracker::new(),
                pause: Pause::default(),
                platform_restart: self.platform_restart,
            })
        };
        handlers.iter().enumerate().map(instance).collect()
    }

    /// A pump a partition for each function that an event hub triggers.
    ///
    /// # Errors
    /// [`Error`] where a function reads an event hub or a consumer group that does not exist.
    pub(super) fn pumps(&self, functions: &[Arc<Function>]) -> Result<Vec<Arc<Pump>>, Error> {
        let mut pumps = Vec::new();
        for function in functions {
            if let Trigger::EventHub(trigger) = &function.trigger {
                pumps.extend(self.pumps_of(function, trigger)?);
            }
        }
        Ok(pumps)
    }

    fn pumps_of(&self, function: &Arc<Function>, trigger: &EventHubTrigger) -> Result<Vec<Arc<Pump>>, Error> {
        let known = || self.event_hubs.iter().map(|hub| hub.name()).collect::<Vec<_>>().join(", ");
        let named = |hub: &&Arc<EventHub>| hub.name().eq_ignore_ascii_case(&trigger.event_hub);
        let event_hub = self.event_hubs.iter().find(named).ok_or_else(|| Error::NoSuchEventHub {
            function: function.name,
            event_hub: trigger.event_hub.clone(),
            known: known(),
        })?;
        let pump = |number| {
            event_hub.checkpoint(&trigger.consumer_group, number)?;
            Ok(Arc::new(Pump {
                function: Arc::clone(function),
                trigger: trigger.clone(),
                event_hub: Arc::clone(event_hub),
                partition: envelope::Partition {
                    namespace: self.event_hubs_namespace.clone(),
                    event_hub: event_hub.name().to_owned(),
                    consumer_group: trigger.consumer_group.clone(),
                    number,
                },
                lease: Lease::new(number % self.instances),
                max_batch: self.app.host.max_event_batch_size,
                counters: Counters::default(),
            }))
        };
        (0..event_hub.partitions()).map(pump).collect()
    }
}
