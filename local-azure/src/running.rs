//! Starting and stopping.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use axum::{Router, middleware};
use jiff::Timestamp;
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;

use crate::{
    ResetError,
    certificates::{Authority, CertificateError},
    config::{Config, Part},
    control, dps,
    endpoints::{DpsEndpoint, Endpoints, IdentityEndpoint, IotHubEndpoint},
    faults::Faults,
    front::{self, TlsListener},
    functions_host::{self, HandlerStatus, Unknown},
    identity::{self, Tokens},
    iot_hub,
    mqtt::{self, Limits},
    ports::{Loopback, PortError},
    sas::{Key, KeyError},
    services::{self, ENROLLMENT_GROUP, Services},
};

/// How long services may take to end what they are doing.
const GRACE: Duration = Duration::from_millis(1_500);

/// The policy of each hub that service clients use.
const OWNER: &str = "iothubowner";

/// Why local-azure does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port cannot be had.
    #[error(transparent)]
    Port(#[from] PortError),
    /// No certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The file of `--graph` cannot be read.
    #[error("cannot read the graph {path}: {source}")]
    GraphFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The graph is refused, as Azure Digital Twins would refuse it.
    #[error(
        "cannot load {path}: {reason}; a graph is {{\"twins\": [...], \"relationships\": [...]}} as in models/sample-graph.json"
    )]
    Graph {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A key of the configuration is none.
    #[error("a key of the configuration cannot be used: {0}")]
    Key(#[from] KeyError),
    /// DPS has no HTTP client.
    #[error(transparent)]
    Dps(#[from] crate::dps::StartError),
    /// The folder of `--data-dir` cannot be used.
    #[error(transparent)]
    DataDir(#[from] crate::data_dir::DataDirError),
    /// The function app cannot be run.
    #[error("the function app cannot be run: {0}")]
    Functions(#[from] functions_host::Error),
    /// There is no current folder to run the app in.
    #[error("the current folder cannot be used: {0}; run from another one")]
    CurrentFolder(io::Error),
    /// The system does not say which program this is.
    #[error("cannot find this program to start it again as the handler: {0}; name a handler with --handler")]
    CurrentProgram(io::Error),
    /// A URL could not be made.
    #[error("cannot make the webhook's URL: {0}")]
    Url(#[from] url::ParseError),
    /// A listener failed.
    #[error("cannot listen: {0}")]
    Listen(io::Error),
}

/// A local-azure at work. Dropping it stops everything at once; [`Running::stop`] waits for the end.
#[derive(Debug)]
pub struct Running {
    endpoints: Endpoints,
    services: Services,
    parts: Vec<Part>,
    /// Nothing new begins.
    shutdown: CancellationToken,
    /// What handlers call ends too: they are dead by then.
    handlers_ended: CancellationToken,
    tasks: TaskTracker,
}

/// Starts everything, and returns when all of it answers.
///
/// # Errors
/// [`StartError`]; nothing keeps running then.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let ports = config.ports;
    let https = Loopback::bind(ports.https, "--https-port")?;
    let mqtt = Loopback::bind(ports.mqtt, "--mqtt-port")?;
    // Without a Functions host of ours, its port is free for another's.
    let has_functions = config.parts.contains(&Part::Functions);
    let functions = has_functions.then(|| Loopback::bind(ports.functions, "--functions-port")).transpose()?;
    let control = Loopback::bind(ports.control, "--control-port")?;
    let authority = Authority::open(&config.certificates)?;
    let names: Vec<String> = config.hub_names.iter().map(|name| name.as_str().to_owned()).collect();
    let tls = authority.server_config(&names, config.clock.now())?;

    let tokens = Tokens::new(&config.credentials.identity_header, config.clock.clone());
    let functions_port = functions.as_ref().map_or(ports.functions, |functions| functions.port);
    let endpoints = endpoints(&config, &authority, &tokens, [https.port, mqtt.port, functions_port, control.port])?;
    let webhook = Url::parse(&endpoints.webhook_url)?;
    let shutdown = CancellationToken::new();
    let app_settings = endpoints.app_settings().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let services = Services::start(&config, tokens, app_settings, webhook, &shutdown)?;

    let (parts, handlers_ended) = (config.parts.clone(), CancellationToken::new());
    let running = Running { endpoints, services, parts, shutdown, handlers_ended, tasks: TaskTracker::new() };
    running.serve_https(https, &tls).map_err(StartError::Listen)?;
    running.serve_mqtt(mqtt, TlsAcceptor::from(tls));
    if let Some(functions) = functions {
        running.serve_plain(functions, running.services.functions.router(), &running.shutdown);
    }
    running.serve_plain(control, running.control_router(&config), &running.handlers_ended);
    running.compact_when_grown();
    running.services.feed.pass_on(&running.services, &running.tasks, &running.shutdown);
    if let Err(error) = running.services.functions.ready().await {
        running.stop().await;
        return Err(error.into());
    }
    Ok(running)
}

impl Running {
    /// Where everything is.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The services themselves, for whoever wants to look behind the wire.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// What goes wrong on purpose.
    pub fn faults(&self) -> Faults {
        Faults::of(&self.services)
    }

    /// The instances of the function app: how the handler process of each is.
    pub fn instances(&self) -> Vec<HandlerStatus> {
        self.services.functions.handlers()
    }

    /// Kills the handler process of an instance, counted from 0, and returns when it is dead. Its host starts another,
    /// unless this was the third death within half an hour: then the platform starts a new host after
    /// [`Config::platform_restart`].
    ///
    /// # Errors
    /// [`Unknown::Instance`].
    pub async fn kill(&self, instance: usize) -> Result<(), Unknown> {
        self.services.functions.kill(instance)?.await;
        Ok(())
    }

    /// Puts everything back to what it is at the start, and returns when the handlers, started anew, answer. Devices
    /// are disconnected and unknown; addresses and credentials stay.
    ///
    /// # Errors
    /// [`ResetError`].
    pub async fn reset(&self) -> Result<(), ResetError> {
        self.services.reset().await
    }

    /// Stops everything and waits until it has ended: no process, connection or listener is left, and the folder of
    /// `--data-dir` is free.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.tasks.close();
        let ended = async {
            // An invocation that is running ends as it would have: Azure Digital Twins and the identity are still there.
            self.services.functions.stopped().await;
            self.handlers_ended.cancel();
            self.tasks.wait().await;
        };
        if tokio::time::timeout(GRACE, ended).await.is_err() {
            tracing::warn!("not everything ended within {} ms; it is cut off", GRACE.as_millis());
        }
        if let Some(data_dir) = &self.services.data_dir {
            data_dir.close();
        }
    }

    /// Keeps the journal of `--data-dir` short.
    fn compact_when_grown(&self) {
        let Some(data_dir) = self.services.data_dir.clone() else { return };
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = data_dir.grown().notified() => {}
                }
                let compacted = Arc::clone(&data_dir);
                match tokio::task::spawn_blocking(move || compacted.compact()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::warn!("the journal goes on growing: {error}"),
                    Err(error) => tracing::warn!("the journal goes on growing: {error}"),
                }
            }
        });
    }

    fn control_router(&self, config: &Config) -> Router {
        let Services { tokens, gate, .. } = &self.services;
        let identity = identity::router(tokens.clone(), services::identity_headers(config), Arc::clone(gate));
        control::router(self.services.clone(), self.shutdown.clone()).merge(identity)
    }

    fn serve_https(&self, loopback: Loopback, tls: &Arc<rustls::ServerConfig>) -> io::Result<()> {
        let Services { digital_twins, iot_hubs, dps, .. } = &self.services;
        let served = |part: Part, router: Router| if self.parts.contains(&part) { router } else { front::absent(part) };
        let router = front::router(front::Services {
            digital_twins: served(Part::DigitalTwins, crate::digital_twins::router(Arc::clone(digital_twins))),
            iot_hub: served(Part::IotHub, iot_hub::router(iot_hubs.clone())),
            dps: served(Part::Dps, dps::router(Arc::clone(dps))),
            mqtt: mqtt::router(self.mqtt_services(), self.shutdown.clone(), self.tasks.clone()),
        });
        for listener in loopback.listeners {
            self.serve(TlsListener::new(listener, Arc::clone(tls))?, router.clone(), &self.handlers_ended);
        }
        Ok(())
    }

    fn serve_mqtt(&self, loopback: Loopback, tls: TlsAcceptor) {
        let services = self.mqtt_services();
        for listener in loopback.listeners {
            self.tasks.spawn(mqtt::serve(listener, tls.clone(), services.clone(), self.shutdown.clone()));
        }
    }

    fn mqtt_services(&self) -> mqtt::Services {
        let Services { dps, iot_hubs, .. } = &self.services;
        let has = |part| self.parts.contains(&part);
        mqtt::Services {
            dps: has(Part::Dps).then(|| Arc::clone(dps)),
            hubs: if has(Part::IotHub) { iot_hubs.clone() } else { Vec::new() },
            limits: Limits::default(),
        }
    }

    fn serve_plain(&self, loopback: Loopback, router: Router, until: &CancellationToken) {
        for listener in loopback.listeners {
            self.serve(listener, router.clone(), until);
        }
    }

    fn serve<L>(&self, listener: L, router: Router, until: &CancellationToken)
    where
        L: axum::serve::Listener,
        L::Io: front::Connection,
        L::Addr: std::fmt::Debug,
    {
        let until = until.clone();
        let service = router.layer(middleware::from_fn(front::sever_unanswered));
        let service = service.into_make_service_with_connect_info::<front::Line>();
        self.tasks.spawn(async move {
            let listener = front::Severable(listener);
            let server = axum::serve(listener, service).with_graceful_shutdown(until.cancelled_owned());
            if let Err(error) = server.await {
                tracing::warn!(%error, "a server ended");
            }
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.handlers_ended.cancel();
    }
}

fn endpoints(
    config: &Config,
    authority: &Authority,
    tokens: &Tokens,
    [https, mqtt, functions, control]: [u16; 4],
) -> Result<Endpoints, KeyError> {
    let credentials = &config.credentials;
    let owner = Key::parse(&credentials.hub_owner_key)?;
    let expiry = config.clock.now().saturating_add(identity::LIFETIME_FOR_A_PERSON).unwrap_or(Timestamp::MAX);
    let functions = format!("http://localhost:{functions}");
    let control_address = format!("http://localhost:{control}");
    let port = if https == 443 { String::new() } else { format!(":{https}") };
    let connection_string = |host: &str, policy: &str, key: &str| {
        format!("HostName={host}{port};SharedAccessKeyName={policy};SharedAccessKey={key}")
    };
    let hub = |name: &crate::iot_hub::HostName| IotHubEndpoint {
        host_name: name.as_str().to_owned(),
        mqtt_port: mqtt,
        https_port: https,
        service_connection_string: connection_string(name.as_str(), OWNER, &credentials.hub_owner_key),
        service_token: owner.token(name.as_str(), OWNER, expiry),
    };
    Ok(Endpoints {
        version: 1,
        digital_twins: format!("https://localhost:{https}"),
        digital_twins_token: tokens.issue_for_a_person(identity::DIGITAL_TWINS).text,
        webhook_url: match &config.webhook_url {
            Some(url) => url.to_string(),
            None => format!("{functions}/api/DpsAdtAllocationFunc?code={}", credentials.function_key),
        },
        functions,
        function_key: credentials.function_key.clone(),
        dps: DpsEndpoint {
            host: "localhost".to_owned(),
            mqtt_port: mqtt,
            https_port: https,
            id_scope: credentials.id_scope.clone(),
            enrollment_group: ENROLLMENT_GROUP.to_owned(),
            primary_key: credentials.group_primary_key.clone(),
            service_connection_string: connection_string("localhost", dps::OWNER, &credentials.dps_owner_key),
        },
        iot_hubs: config.hub_names.iter().map(hub).collect(),
        identity: IdentityEndpoint {
            endpoint: format!("http://127.0.0.1:{control}/msi/token"),
            header: credentials.identity_header.clone(),
        },
        control: control_address,
        ca_file: authority.file().to_owned(),
    })
}
