//! One handler process.

use std::{
    collections::VecDeque,
    ffi::OsString,
    io,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    ops::RangeInclusive,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    process::{Child, ChildStdin, Command},
    task::JoinSet,
    time::MissedTickBehavior,
};
use uuid::Uuid;

use super::console::{Console, Stream, read_lines};
use crate::functions_host::app::{App, AppSettings};

const PING_INTERVAL: Duration = Duration::from_millis(25);
/// How many of the last lines on stderr explain an exit.
const LAST_WORDS: usize = 3;
/// How long output that a dead process left behind may take to arrive.
const OUTPUT_DEADLINE: Duration = Duration::from_secs(1);

/// How to start a handler.
#[derive(Debug, Clone)]
pub(in crate::functions_host) struct Launch {
    pub(in crate::functions_host) program: PathBuf,
    pub(in crate::functions_host) arguments: Vec<OsString>,
    pub(in crate::functions_host) app: Arc<App>,
    /// What this instance finds besides the app's settings, or in place of them.
    pub(in crate::functions_host) own_settings: AppSettings,
}

/// A running handler. Dropping it kills the process.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    port: Port,
    pub(super) pid: u32,
    /// Never written to: its end tells the handler that the host is gone, however the host ended.
    _stdin: Option<ChildStdin>,
    output: JoinSet<()>,
    last_words: Arc<Mutex<VecDeque<String>>>,
}

impl Process {
    /// Starts a process as the host does (azure-functions-host: `HttpWorkerProcess.cs`,
    /// `DefaultWorkerProcessFactory.cs`).
    pub(super) fn start(launch: &Launch, handler: usize, console: &Arc<Console>) -> io::Result<Self> {
        let port = Port::choose()?;
        let id = Uuid::new_v4().to_string();
        let description = &launch.app.host.handler;
        let mut command = Command::new(&launch.program);
        command
            .args(&launch.arguments)
            .current_dir(&description.working_directory)
            .envs(launch.app.settings.iter())
            .envs(launch.own_settings.iter())
            .env("FUNCTIONS_CUSTOMHANDLER_PORT", port.number.to_string())
            .env("FUNCTIONS_HTTPWORKER_PORT", port.number.to_string())
            .env("FUNCTIONS_CUSTOMHANDLER_WORKER_ID", &id)
            .env("FUNCTIONS_HTTPWORKER_ID", &id)
            .env("FUNCTIONS_APP_ROOT_PATH", &launch.app.root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // A group of its own: Ctrl-C is for the host, which lets invocations end before it kills the handler.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn()?;
        let pid = child.id().ok_or_else(|| io::Error::other("the process ended before it had an id"))?;
        let last_words = Arc::new(Mutex::new(VecDeque::new()));
        let mut output = JoinSet::new();
        let for_errors = description.stderr_is_for_errors;
        if let Some(stdout) = child.stdout.take() {
            let console = Arc::clone(console);
            output.spawn(read_lines(stdout, move |line| console.add(handler, Stream::Stdout, for_errors, line)));
        }
        if let Some(stderr) = child.stderr.take() {
            let (console, last_words) = (Arc::clone(console), Arc::clone(&last_words));
            output.spawn(read_lines(stderr, move |line| {
                remember(&last_words, line);
                console.add(handler, Stream::Stderr, for_errors, line);
            }));
        }
        Ok(Self { _stdin: child.stdin.take(), child, port, pid, output, last_words })
    }

    /// Where it is to listen.
    pub(super) fn port(&self) -> u16 {
        self.port.number
    }

    /// Waits for the process's own end, and for the rest of its output.
    pub(super) async fn exited(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.finish_output().await;
        Ok(status)
    }

    /// Ends the process: the host gives no notice (SIGKILL on Unix).
    pub(super) async fn kill(mut self) {
        if let Err(error) = self.child.kill().await {
            tracing::warn!(pid = self.pid, "cannot kill the handler: {error}");
        }
        self.finish_output().await;
    }

    /// The last lines on stderr.
    pub(super) fn last_words(&self) -> String {
        let lines = self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
        Vec::from_iter(lines.iter().map(String::as_str)).join(" | ")
    }

    /// A child of the handler can keep the pipes open, so this has a limit.
    async fn finish_output(&mut self) {
        let _ = tokio::time::timeout(OUTPUT_DEADLINE, async { while self.output.join_next().await.is_some() {} }).await;
    }
}

/// Asks `GET /` until there is any answer; only a refused connection means "not yet".
pub(super) async fn answers(http: &reqwest::Client, port: u16) -> reqwest::Result<()> {
    let mut ticks = tokio::time::interval(PING_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match http.get(format!("http://127.0.0.1:{port}/")).send().await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_connect() => {}
            Err(error) => return Err(error),
        }
    }
}

/// A port for one process. (The real host keeps one port for its life. Taking another for each process makes no
/// difference to handlers and cannot meet a port that somebody took while no handler was running.)
#[derive(Debug)]
struct Port {
    number: u16,
    /// Tells other local-azures, until the process has ended, that the port is taken: what listens there speaks TCP, so
    /// that the number is free for UDP.
    _reserved: UdpSocket,
}

impl Port {
    /// Below the ports that Linux, macOS and Windows give to whoever wants any. One of those could be given to somebody
    /// else before the process listens there, which would count as its crash.
    const RANGE: RangeInclusive<u16> = 20_000..=32_767;
    const TRIES: usize = 1_000;

    fn choose() -> io::Result<Self> {
        let mut last = io::ErrorKind::AddrInUse.into();
        for _ in 0..Self::TRIES {
            match Self::reserve(fastrand::u16(Self::RANGE)) {
                Ok(port) => return Ok(port),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn reserve(number: u16) -> io::Result<Self> {
        let reserved = UdpSocket::bind((Ipv4Addr::LOCALHOST, number))?;
        // Whoever listens there now.
        TcpListener::bind((Ipv4Addr::LOCALHOST, number))?;
        Ok(Self { number, _reserved: reserved })
    }
}

fn remember(last_words: &Mutex<VecDeque<String>>, line: &str) {
    let mut lines = last_words.lock().unwrap_or_else(PoisonError::into_inner);
    if lines.len() == LAST_WORDS {
        lines.pop_front();
    }
    lines.push_back(line.to_owned());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_port_is_given_to_nobody_else_and_free_for_the_process() {
        let ports: Vec<_> = (0..500).map(|_| Port::choose().unwrap()).collect();
        let numbers: BTreeSet<_> = ports.iter().map(|port| port.number).collect();
        assert_eq!(numbers.len(), ports.len());
        for number in numbers {
            assert!(Port::reserve(number).is_err(), "{number} is reserved");
            TcpListener::bind((Ipv4Addr::LOCALHOST, number)).unwrap();
        }
    }

    #[test]
    fn a_port_where_somebody_listens_is_not_chosen() {
        let somebody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let refused = Port::reserve(somebody.local_addr().unwrap().port()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    }
}
