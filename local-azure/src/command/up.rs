//! `local-azure up`.

use std::{process::ExitCode, time::Instant};

use anyhow::Context as _;
use local_azure::{Running, config::Config};

use super::{arguments::Options, interrupt::Interrupts, screen};

/// The simulator is built as this program was: then there is less to build.
const RELEASE: &str = if cfg!(debug_assertions) { "" } else { "--release " };

/// Runs until somebody interrupts.
pub(super) async fn run(config: Config, options: &Options) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let (running, mut interrupts) = start(config, options).await?;
    screen::addresses(running.endpoints(), began.elapsed());
    screen::line(&format!(
        "next: `cargo run {RELEASE}-p device-simulator -- my-thermostat` with the settings of --env-file; Ctrl-C stops.",
    ));
    let interrupt = interrupts.next().await;
    running.stop().await;
    interrupt.context("cannot wait for Ctrl-C")?;
    Ok(ExitCode::SUCCESS)
}

/// Starts everything and, when it is ready, writes the files that were asked for. Who reads them may ask for the end at
/// once.
pub(super) async fn start(config: Config, options: &Options) -> anyhow::Result<(Running, Interrupts)> {
    let running = local_azure::start(config).await?;
    let interrupts = Interrupts::listen().context("cannot wait for Ctrl-C");
    match interrupts.and_then(|interrupts| write_files(&running, options).map(|()| interrupts)) {
        Ok(interrupts) => Ok((running, interrupts)),
        Err(error) => {
            running.stop().await;
            Err(error)
        }
    }
}

fn write_files(running: &Running, options: &Options) -> anyhow::Result<()> {
    let endpoints = running.endpoints();
    if let Some(file) = &options.env_file {
        endpoints
            .write_env_file(file, options.endpoints_file.as_deref())
            .with_context(|| format!("cannot write --env-file {}", file.display()))?;
    }
    if let Some(file) = &options.endpoints_file {
        endpoints.write(file).with_context(|| format!("cannot write --endpoints-file {}", file.display()))?;
    }
    Ok(())
}
