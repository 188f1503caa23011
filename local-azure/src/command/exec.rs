//! `local-azure exec -- CMD ...`.

use std::{
    ffi::{OsStr, OsString},
    io,
    process::{ExitCode, ExitStatus},
};

use anyhow::Context as _;
use local_azure::config::Config;
use tokio::process::{Child, Command};

use super::{
    arguments::Options,
    interrupt::{Interrupt, Interrupts},
    screen, up,
};

/// There is no such command, as with shells and `env`.
const NOT_FOUND: u8 = 127;
/// There is, and it cannot be run.
const NOT_RUN: u8 = 126;

/// Runs the command within a local-azure of its own; the exit code is the command's.
pub(super) async fn run(config: Config, options: &Options, command: &[OsString]) -> anyhow::Result<ExitCode> {
    let (program, arguments) = command.split_first().context("exec wants a command behind `--`")?;
    let (running, mut interrupts) = up::start(config, options).await?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder for the endpoints file")?;
    let own_file = folder.path().join("endpoints.json");
    let endpoints_file = options.endpoints_file.as_deref().unwrap_or(&own_file);
    running.endpoints().write(endpoints_file).context("cannot write the endpoints file")?;
    let child = Command::new(program)
        .args(arguments)
        .envs(running.endpoints().environment(Some(endpoints_file)))
        .kill_on_drop(true)
        .spawn();
    let ended = match child {
        Ok(child) => wait(child, &mut interrupts).await.map(exit_code),
        Err(error) => Ok(not_started(program, &error)),
    };
    running.stop().await;
    ended
}

/// Says why the command does not run, and what to do.
fn not_started(program: &OsStr, error: &io::Error) -> ExitCode {
    let (advice, code) = match error.kind() {
        io::ErrorKind::NotFound => ("is it installed and on the PATH, or its path right?", NOT_FOUND),
        _ => ("name a program that this user may run", NOT_RUN),
    };
    screen::error(&anyhow::anyhow!("cannot start {:?}: {error}; {advice}", program.display().to_string()));
    ExitCode::from(code)
}

/// Ctrl-C reaches the command as well as us: it ends by itself, and says how. A signal for us alone ends both.
async fn wait(mut child: Child, interrupts: &mut Interrupts) -> anyhow::Result<ExitStatus> {
    loop {
        tokio::select! {
            status = child.wait() => return status.context("cannot wait for the command"),
            interrupted = interrupts.next() => match interrupted.context("cannot wait for Ctrl-C")? {
                Interrupt::Terminal => {}
                Interrupt::Process => child.start_kill().context("cannot end the command")?,
            },
        }
    }
}

/// A command ended by signal N counts as 128 + N, as shells do.
fn exit_code(status: ExitStatus) -> ExitCode {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX));
    }
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}
