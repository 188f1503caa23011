//! A custom handler: its process, watched and restarted as the host does it.

mod console;
mod exit;
mod process;

use std::{
    io,
    process::ExitStatus,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Serialize;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

pub use self::console::{Console, ConsoleLine, Level, Stream};
pub(super) use self::process::Launch;
use self::{
    exit::{Consequence, Errors, consequence},
    process::{Process, answers},
};

/// A handler, through all its processes.
#[derive(Debug)]
pub(super) struct Handler {
    index: usize,
    launch: Launch,
    http: reqwest::Client,
    console: Arc<Console>,
    phase: watch::Sender<Phase>,
    starts: AtomicU64,
    /// How many of the starts are not told any more.
    forgotten: AtomicU64,
    /// Processes up to this one are to be killed, and that is no error of theirs.
    condemned: watch::Sender<u64>,
    /// Processes up to this one are to be killed as if they had crashed.
    killed: watch::Sender<u64>,
    /// Processes up to this one are dead.
    dead: watch::Sender<u64>,
}

/// What a handler is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is not yet answering.
    Starting,
    /// It answers.
    Ready(Running),
    /// It ended with exit code 0: the host does not notice, and every invocation fails.
    Gone,
    /// Its host has stopped.
    Stopped {
        /// Why, unless it was asked to.
        error: Option<String>,
    },
}

/// A process that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) port: u16,
    pid: u32,
    /// Counts the processes of this handler.
    number: u64,
}

/// How a handler is, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HandlerStatus {
    /// The process, while it answers.
    pub pid: Option<u32>,
    /// How often a process was started in place of another.
    pub restarts: u64,
    /// `starting`, `ready`, `gone` (exit code 0) or `stopped`.
    pub state: &'static str,
}

/// Why the host stopped: the handler failed once too often.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Exceeded http worker restart retry count; the last error: {last}")]
pub(super) struct TooManyErrors {
    last: String,
}

/// How a process ended.
enum End {
    /// The host stops.
    Stop,
    /// An invocation took too long.
    Condemned,
    /// Somebody wanted it to crash.
    Killed,
    Exit(ExitStatus, String),
    /// It could not be started, or did not answer.
    NotReady(String),
}

impl Handler {
    pub(super) fn new(index: usize, launch: Launch, http: reqwest::Client, console: Arc<Console>) -> Self {
        let phase = watch::Sender::new(Phase::Starting);
        let [condemned, killed, dead] = std::array::from_fn(|_| watch::Sender::new(0));
        Self {
            index,
            launch,
            http,
            console,
            phase,
            starts: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            condemned,
            killed,
            dead,
        }
    }

    /// A host begins: who calls waits for its first process.
    pub(super) fn begin(&self) {
        self.phase.send_replace(Phase::Starting);
    }

    /// As [`Handler::begin`]; what was counted is forgotten.
    pub(super) fn begin_anew(&self) {
        self.forgotten.store(self.starts.load(Ordering::Relaxed), Ordering::Relaxed);
        self.begin();
    }

    /// The life of one host: runs processes, one after the other, until `stop`, or until errors have become too many.
    /// No process is left behind.
    pub(super) async fn run(&self, stop: &CancellationToken) -> Result<(), TooManyErrors> {
        let mut errors = Errors::default();
        self.begin();
        let error = loop {
            let number = self.starts.fetch_add(1, Ordering::Relaxed) + 1;
            let end = self.run_process(number, stop).await;
            if let End::Killed = end {
                // Whoever learns of the death finds no process to call.
                self.phase.send_replace(Phase::Starting);
            }
            raise(&self.dead, number);
            let error = match end {
                End::Stop => break None,
                End::Condemned => continue,
                End::Killed => "killed: a fault that was asked for".to_owned(),
                End::NotReady(error) => error,
                End::Exit(status, last_words) => match consequence(status) {
                    Consequence::Nothing => {
                        tracing::error!(handler = self.index, "the handler ended with exit code 0: no more restarts");
                        self.phase.send_replace(Phase::Gone);
                        stop.cancelled().await;
                        break None;
                    }
                    Consequence::Restart => continue,
                    Consequence::Error => format!("{status}; stderr: {last_words}"),
                },
            };
            let too_many = errors.count(Instant::now());
            tracing::error!(handler = self.index, "the handler failed ({errors}): {error}");
            if too_many {
                break Some(error);
            }
        };
        self.phase.send_replace(Phase::Stopped { error: error.clone() });
        error.map_or(Ok(()), |last| Err(TooManyErrors { last }))
    }

    async fn run_process(&self, number: u64, stop: &CancellationToken) -> End {
        self.phase.send_replace(Phase::Starting);
        let mut process = match Process::start(&self.launch, self.index, &self.console) {
            Ok(process) => process,
            Err(error) => return End::NotReady(format!("cannot start {}: {error}", self.launch.program.display())),
        };
        let running = Running { port: process.port(), pid: process.pid, number };
        let (mut condemned, mut killed) = (self.condemned.subscribe(), self.killed.subscribe());
        let end = tokio::select! {
            () = stop.cancelled() => End::Stop,
            exit = process.exited() => exit_of(exit, &process),
            error = self.answer_for_ever(running) => End::NotReady(error),
            _ = condemned.wait_for(|&condemned| condemned >= number) => End::Condemned,
            _ = killed.wait_for(|&killed| killed >= number) => End::Killed,
        };
        if !matches!(end, End::Exit(..)) {
            process.kill().await;
        }
        end
    }

    /// Ends only with an error: when the process does not answer in time.
    async fn answer_for_ever(&self, running: Running) -> String {
        let limit = self.launch.app.host.initialization_timeout;
        match tokio::time::timeout(limit, answers(&self.http, running.port)).await {
            Ok(Ok(())) => {
                self.phase.send_replace(Phase::Ready(running));
                std::future::pending().await
            }
            Ok(Err(error)) => format!("GET / failed: {error}"),
            Err(_) => format!("no answer to GET / within {limit:?}"),
        }
    }

    /// The process to call: waits while one is starting. A handler that is gone or whose host has stopped is an
    /// error.
    pub(super) async fn running(&self) -> Result<Running, String> {
        let mut phase = self.phase.subscribe();
        let phase = match phase.wait_for(|phase| *phase != Phase::Starting).await {
            Ok(phase) => phase.clone(),
            Err(_) => Phase::Stopped { error: None },
        };
        match phase {
            Phase::Ready(running) => Ok(running),
            Phase::Starting | Phase::Gone => Err("Connection refused: the handler has ended".to_owned()),
            Phase::Stopped { error } => Err(error.unwrap_or_else(|| "the host has stopped".to_owned())),
        }
    }

    /// Kills a process for being too slow; another one takes its place, and this is no error of the handler's.
    pub(super) fn condemn(&self, running: Running) {
        raise(&self.condemned, running.number);
    }

    /// Kills the process that runs or is being started; its host sees a crash. The future is done when the process is
    /// dead; the kill does not wait for it to be polled.
    pub(super) fn kill(&self) -> impl Future<Output = ()> + Send + use<> {
        let number = self.starts.load(Ordering::Relaxed);
        raise(&self.killed, number);
        let mut dead = self.dead.subscribe();
        async move {
            // The other end lives as long as the handler; without it, the process is dead too.
            let _ = dead.wait_for(|&dead| dead >= number).await;
        }
    }

    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    pub(super) fn status(&self) -> HandlerStatus {
        let (pid, state) = match *self.phase.borrow() {
            Phase::Starting => (None, "starting"),
            Phase::Ready(running) => (Some(running.pid), "ready"),
            Phase::Gone => (None, "gone"),
            Phase::Stopped { .. } => (None, "stopped"),
        };
        let starts = self.starts.load(Ordering::Relaxed).saturating_sub(self.forgotten.load(Ordering::Relaxed));
        HandlerStatus { pid, restarts: starts.saturating_sub(1), state }
    }
}

/// Moves a number up, never down.
fn raise(number: &watch::Sender<u64>, to: u64) {
    number.send_if_modified(|number| {
        let rises = *number < to;
        *number = (*number).max(to);
        rises
    });
}

fn exit_of(exit: io::Result<ExitStatus>, process: &Process) -> End {
    match exit {
        Ok(status) => End::Exit(status, process.last_words()),
        Err(error) => End::NotReady(format!("cannot wait for the handler: {error}")),
    }
}
