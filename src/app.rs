//! Puts the app together: from settings to a server, from a process to an exit code.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::allocation::{self, DpsAdtAllocation};
use crate::binding::Directory;
use crate::digital_twins::{Client, ConnectError};
use crate::lifecycle::{self, DeleteDeviceInTwin};
use crate::logging;
use crate::server::{self, Functions};
use crate::settings::{Problem, Problems, Settings};
use crate::telemetry::{self, DeviceTelemetryToTwin, Mapping, MappingError};

/// Why the app does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Settings are wrong; one problem a line.
    #[error(transparent)]
    Settings(#[from] Problems),
    /// The client of Azure Digital Twins cannot be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The mapping file cannot be used.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// The port cannot be listened on.
    #[error(
        "cannot listen on 127.0.0.1:{port}: {source}; without a host, set FUNCTIONS_CUSTOMHANDLER_PORT to a free port"
    )]
    Listen {
        /// The port.
        port: u16,
        /// What the system says.
        source: std::io::Error,
    },
    /// The server, the runtime or the signals of the process failed.
    #[error("{what}: {source}")]
    Io {
        /// What failed.
        what: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
}

impl ServeError {
    /// The exit code: never 0, on which the host would not start the app again, and never 200, on which it would
    /// without end (Azure/azure-functions-host, `WorkerProcess.cs`). Wrong settings have that of `EX_CONFIG`.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_)
            | Self::Mapping(_)
            | Self::Connect(
                ConnectError::CaFile { .. } | ConnectError::NoCertificate { .. } | ConnectError::Credential { .. },
            ) => 78,
            Self::Connect(ConnectError::Http { .. }) | Self::Listen { .. } | Self::Io { .. } => 1,
        }
    }
}

/// The functions of the app. They share what is remembered of twins.
fn functions(settings: &Settings, mapping: Mapping, twins: &Client) -> Functions {
    let directory = Directory::new(twins.clone(), settings.twin_cache_size.get());
    let attempts = settings.event_max_attempts;
    let allocation = DpsAdtAllocation::new(twins.clone(), directory.clone(), settings.allocation.clone());
    let telemetry = DeviceTelemetryToTwin::new(twins.clone(), directory.clone(), settings.telemetry.clone(), attempts)
        .with_mapping(mapping);
    let lifecycle = DeleteDeviceInTwin::new(twins.clone(), directory, settings.lifecycle.clone(), attempts);
    Functions::new()
        .http(allocation::NAME, Arc::new(allocation))
        .event(telemetry::NAME, Arc::new(telemetry))
        .event(lifecycle::NAME, Arc::new(lifecycle))
}

/// Serves the app on `listener` until `shutdown`.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(settings: Settings, listener: TcpListener, shutdown: CancellationToken) -> Result<(), ServeError> {
    let (twins, preparation) = Client::prepare(&settings.digital_twins, &settings.credentials)?;
    let mapping = Mapping::read_if_named(settings.telemetry_mapping_file.as_deref())?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        digital_twins = settings.digital_twins.endpoint.as_str(),
        credentials = %settings.credentials,
        "serving"
    );
    let functions = functions(&settings, mapping, &twins);
    let asked = functions.asked();
    let served = server::serve(listener, functions, shutdown);
    let unprepared = async {
        // The host asks first of all whether the app is ready: until then this would only delay the answer.
        asked.notified().await;
        match preparation.finish().await {
            Ok(()) => std::future::pending().await,
            Err(error) => error,
        }
    };
    tokio::select! {
        served = served => served.map_err(|source| ServeError::Io { what: "the server failed", source }),
        error = unprepared => Err(error.into()),
    }
}

/// Runs the app as the process that the Functions host starts: settings from the environment, until a signal asks it to
/// end. Whatever else ends it is told on standard error, of which the host keeps the last lines.
#[must_use]
pub fn run() -> ExitCode {
    run_until(std::future::pending())
}

/// [`run`] for a process that has further reasons to end: it does so when `end` is ready.
#[must_use]
pub fn run_until(end: impl Future<Output = ()> + Send + 'static) -> ExitCode {
    let lookup = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    logging::init(lookup("RUST_LOG").as_deref());
    logging::log_panics();
    match serve_process(lookup, end) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to be done if nobody reads it.
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn serve_process(
    lookup: impl Fn(&str) -> Option<String>,
    end: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let settings = Settings::read(lookup)?;
    let port = settings.port.ok_or_else(|| {
        Problems::from(Problem::new(
            "FUNCTIONS_CUSTOMHANDLER_PORT",
            "is not set; the Functions host sets it. Without a host, set it to a free port",
        ))
    })?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|source| ServeError::Io { what: "the runtime does not start", source })?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(|source| ServeError::Listen { port, source })?;
        let shutdown = cancelled_by_signals()
            .map_err(|source| ServeError::Io { what: "signals cannot be listened to", source })?;
        let ended = shutdown.clone();
        tokio::spawn(async move {
            end.await;
            ended.cancel();
        });
        serve(settings, listener, shutdown).await
    })
}

/// A token that SIGINT or SIGTERM (on Windows: Ctrl-C) cancels.
#[cfg(unix)]
fn cancelled_by_signals() -> std::io::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        };
        tracing::info!("ending after {name}");
        cancelled.cancel();
    });
    Ok(token)
}

/// A token that SIGINT or SIGTERM (on Windows: Ctrl-C) cancels.
#[cfg(not(unix))]
fn cancelled_by_signals() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            tracing::info!("ending after Ctrl-C");
            cancelled.cancel();
        }
    });
    Ok(token)
}
