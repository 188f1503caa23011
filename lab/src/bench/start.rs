//! (d) From exec to the first answered request, against the smallest axum server.

use std::{
    ffi::OsString,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};

use super::{median, table::Row};
use crate::site::{Handler, Plan, Site};

const STARTS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries to connect: much less than either start takes.
const BETWEEN_TRIES: Duration = Duration::from_micros(100);

/// What was measured: medians of starts in turns.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The handler, in milliseconds.
    pub handler_ms: f64,
    /// The smallest server, in milliseconds.
    pub hello_ms: f64,
    /// The first against the second.
    pub ratio: f64,
}

pub(super) async fn measure(handler: &Path, hello: Option<&Path>) -> anyhow::Result<Report> {
    let hello = match hello {
        Some(path) => path.to_owned(),
        None => tokio::task::spawn_blocking(build_hello).await??,
    };
    let handler = std::path::absolute(handler)?;
    // What the handler is told to work with is there, as it is in Azure.
    let site = Site::start(&Plan::new(Handler::binary(&handler))).await?;
    let settings = site.running().endpoints().app_settings();
    let report = tokio::task::spawn_blocking(move || in_turns(&handler, &hello, &settings)).await?;
    site.stop().await;
    report
}

fn in_turns(handler: &Path, hello: &Path, settings: &[(&'static str, String)]) -> anyhow::Result<Report> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // The first of each reads the file from the disk.
    for count in 0..=STARTS {
        let (handler, hello) = (start(handler, settings)?, start(hello, settings)?);
        if count > 0 {
            ours.push(handler);
            theirs.push(hello);
        }
    }
    let (handler_ms, hello_ms) = (median(ours), median(theirs));
    Ok(Report { handler_ms, hello_ms, ratio: handler_ms / hello_ms })
}

/// A process that is killed when it is no longer needed.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server; gives the milliseconds until it has answered `GET /`.
fn start(program: &Path, settings: &[(&'static str, String)]) -> anyhow::Result<f64> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let mut command = Command::new(program);
    command
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .env("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string())
        // A developer's; the platform does not set it, and stack traces of errors take a tenth of the start.
        .env_remove("RUST_BACKTRACE");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let _started = Started(command.spawn().with_context(|| format!("cannot start {}", program.display()))?);
    let mut stream = loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(stream) => break stream,
            Err(error) if start.elapsed() > PATIENCE => bail!("{} does not listen: {error}", program.display()),
            Err(_) => wait(),
        }
    };
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let elapsed = start.elapsed();
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "{} answers {}", program.display(), answer.escape_ascii());
    Ok(elapsed.as_secs_f64() * 1e3)
}

/// Nothing tells when another process begins to listen; a runtime's timer is too coarse for what is measured.
#[expect(clippy::disallowed_methods, reason = "this thread has nothing else to do")]
fn wait() {
    std::thread::sleep(BETWEEN_TRIES);
}

/// Builds the smallest server with the profile of the shipped handler; gives its path.
fn build_hello() -> anyhow::Result<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let output = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--profile", "dist", "--package", "lab-hello", "--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo to build lab-hello; name a built one with --hello")?;
    ensure!(output.status.success(), "lab-hello does not build: {}", output.status);
    let messages = output.stdout.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    messages.filter_map(|message: Message| message.executable).next_back().context("cargo names no executable")
}

impl Report {
    pub(super) fn rows(&self) -> Vec<Row> {
        vec![
            Row::new("(d) exec to the first answer: bare axum", format!("{:.1} ms", self.hello_ms)),
            Row::new("(d) exec to the first answer: handler", format!("{:.1} ms", self.handler_ms)),
            Row::at_most("(d) handler against bare axum", self.ratio, 2.0, "x"),
        ]
    }
}
