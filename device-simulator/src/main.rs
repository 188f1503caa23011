//! A simulated device on the command line.

mod cli;
mod console;
mod env_file;

use std::{path::Path, process::ExitCode};

use device_simulator::{Device, Settings, Transport};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{Arguments, Exit},
    console::{Console, tell},
    env_file::Variables,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Arguments::read(std::env::args_os().collect()) {
        Ok(arguments) => run(arguments).await,
        Err(refused) => {
            console::show(&refused);
            refused.exit()
        }
    }
    .into()
}

async fn run(arguments: Arguments) -> Exit {
    let (settings, transport) = match prepare(&arguments) {
        Ok(prepared) => prepared,
        Err(problems) => {
            problems.lines().for_each(|problem| tell(&format!("error: {problem}")));
            return Exit::Settings;
        }
    };
    let shutdown = CancellationToken::new();
    if let Err(error) = stop_on_signal(shutdown.clone()) {
        tell(&format!("error: no signals: {error}"));
        return Exit::Other;
    }
    let device_id = settings.registration_id.clone();
    tell(&format!("{device_id}: its key is derived from the group key here; a real device holds only its own"));

    let mut device = Device::new(transport, settings.provisioning_request());
    device.interval = arguments.interval;
    device.messages = Some(arguments.messages).filter(|messages| *messages > 0);
    let mut console = Console::new(device_id, shutdown.clone());
    match device.run(&shutdown, |event| console.show(&event)).await {
        Ok(summary) => {
            if console.sum_up(&summary) {
                Exit::Done
            } else {
                Exit::Other
            }
        }
        Err(error) => {
            tell(&format!("error: {error}; {}", error.hint()));
            Exit::because(&error)
        }
    }
}

/// Reads everything that comes from files.
fn prepare(arguments: &Arguments) -> Result<(Settings, Transport), String> {
    let variables = Variables::read(arguments.env_file.as_deref()).map_err(|error| error.to_string())?;
    let settings = Settings::read(|name| variables.get(name), arguments.registration_id.clone())
        .map_err(|error| error.to_string())?;
    let transport = match &settings.ca_file {
        Some(file) => {
            trusting(file).map_err(|problem| format!("PROVISIONING_CA_FILE {}: {problem}", file.display()))?
        }
        None => Transport::new(None).map_err(|error| error.to_string())?,
    };
    Ok((settings, transport))
}

fn trusting(file: &Path) -> Result<Transport, String> {
    let pem = std::fs::read(file).map_err(|error| format!("{error}; local-azure up prints where its file is"))?;
    Transport::new(Some(&pem)).map_err(|error| error.to_string())
}

/// Cancels `shutdown` on Ctrl-C, and on SIGTERM where there is one.
fn stop_on_signal(shutdown: CancellationToken) -> std::io::Result<()> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    #[cfg(unix)]
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    #[cfg(windows)]
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    tokio::spawn(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        #[cfg(windows)]
        interrupt.recv().await;
        shutdown.cancel();
    });
    Ok(())
}
