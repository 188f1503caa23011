//! `local-azure up`.

use std::{process::ExitCode, time::Instant};

use anyhow::Context as _;
use local_azure::{Running, config::Config};

use super::{arguments::Options, interrupt::interrupted, screen};

/// The simulator is built as this program was: then there is less to build.
const RELEASE: &str = if cfg!(debug_assertions) { "" } else { "--release " };

/// Runs until somebody interrupts.
pub(super) async fn run(config: Config, options: &Options) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let running = start(config, options).await?;
    screen::addresses(running.endpoints(), began.elapsed());
    screen::line(&format!(
        "next: `cargo run {RELEASE}-p device-simulator -- my-thermostat` with the settings of --env-file; Ctrl-C stops.",
    ));
    let interrupt = interrupted().await;
    running.stop().await;
    interrupt.context("cannot wait for Ctrl-C")?;
    Ok(ExitCode::SUCCESS)
}

/// Starts everything and, when it is ready, writes the files that were asked for.
pub(super) async fn start(config: Config, options: &Options) -> anyhow::Result<Running> {
    let running = local_azure::start(config).await?;
    match write_files(&running, options) {
        Ok(()) => Ok(running),
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
