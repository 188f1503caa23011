//! The commands of the `local-azure` program.

mod arguments;
mod exec;
mod interrupt;
mod screen;
mod story;
mod up;

use std::process::ExitCode;

use clap::Parser as _;
use local_azure::config::Part;

use self::arguments::{Arguments, Command};

/// Parses the command line and does what it says.
pub(crate) fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let command = arguments.command.unwrap_or(Command::Up);
    if matches!(command, Command::Handler) {
        return local_azure::compiled_app::run_handler();
    }
    // The demo provokes warnings, and says itself what is wrong.
    screen::log_to_stderr(if matches!(command, Command::Demo { .. }) { "error" } else { "warn" });
    let result =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(anyhow::Error::from).and_then(
            |runtime| {
                let code = runtime.block_on(execute(&command, &arguments.options));
                // What still runs now (a blocking read, say) must not hold up the exit.
                runtime.shutdown_background();
                code
            },
        );
    result.unwrap_or_else(|error| {
        screen::error(&error);
        ExitCode::FAILURE
    })
}

async fn execute(command: &Command, options: &arguments::Options) -> anyhow::Result<ExitCode> {
    let config = options.config(command);
    match command {
        Command::Up | Command::Handler => up::run(config, options).await,
        Command::Demo { .. } if config.parts != Part::ALL => {
            anyhow::bail!("the demo tells of all services: start it without --only")
        }
        Command::Demo { exit } => Box::pin(story::run(config, options, *exit)).await,
        Command::Exec { command } => exec::run(config, options, command).await,
    }
}
