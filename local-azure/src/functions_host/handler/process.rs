//! One handler process.

use std::{
    collections::VecDeque,
    ffi::OsString,
    io,
    net::Ipv4Addr,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    net::TcpSocket,
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
    /// Keeps the system from giving the port to somebody else before the process listens there. Linux lets two sockets
    /// have a port that both are ready to share (`SO_REUSEADDR`, which servers set), while only one of them listens.
    _reserved: Option<TcpSocket>,
}

impl Port {
    fn choose() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        #[cfg(target_os = "linux")]
        socket.set_reuseaddr(true)?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let number = socket.local_addr()?.port();
        Ok(Self { number, _reserved: cfg!(target_os = "linux").then_some(socket) })
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
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_port_is_free_for_the_process_that_it_was_chosen_for_and_for_nobody_who_takes_any() {
        let port = Port::choose().unwrap();
        let another = || Port::choose().unwrap();
        // More than there are: sooner or later the system would give it out again.
        assert!((0..50_000).all(|_| another().number != port.number));
        let process = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port.number)).await.unwrap();
        let connected = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port.number)).await.unwrap();
        assert_eq!(process.accept().await.unwrap().1, connected.local_addr().unwrap());
    }
}
