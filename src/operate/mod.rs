//! Operator's commands: what people run at their desk, under their own login, beside the app that serves.
//!
//! Each command keeps what it finds and plans, which is pure, apart from asking and acting. Results go to standard
//! output, progress and errors to standard error.

mod command_line;
mod console;
mod doctor;
mod iot_hub;
mod map_test;
mod model_files;
mod reconcile;
mod replay;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use self::command_line::{Arguments, Command};
use crate::digital_twins::ConnectError;
use crate::settings::{Problems, Settings};
use crate::telemetry::MappingError;

/// How a command ended, for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// All is well: nothing is left to do.
    Fine,
    /// It ran to its end, and something wants attention.
    Attention,
}

/// Something wants attention.
const ATTENTION: u8 = 1;
/// It could not be run to its end.
const FAILED: u8 = 2;
/// A wrong command line: `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;
/// Wrong settings: `EX_CONFIG` of sysexits.h.
const CONFIG: u8 = 78;

/// Why a command could not be run to its end.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Settings(#[from] Problems),
    #[error(transparent)]
    Mapping(#[from] MappingError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Models(#[from] model_files::ModelFileError),
    #[error(transparent)]
    Hub(#[from] iot_hub::HubError),
    #[error("Azure Digital Twins: {0}; handler doctor says more")]
    DigitalTwins(#[from] crate::digital_twins::Error),
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    #[error("the runtime does not start: {0}")]
    Runtime(std::io::Error),
    #[error("--grace {0}: {1}")]
    Grace(jiff::SignedDuration, jiff::Error),
    #[error("{removals} twins would be removed, more than --max-removals {limit}: nothing was changed")]
    TooManyRemovals { removals: usize, limit: usize },
    #[error(
        "nothing could be applied any more, last of {file}: {reason}; replay it and the files after it again later"
    )]
    Stopped { file: String, reason: String },
}

impl Error {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_)
            | Self::Mapping(_)
            | Self::Connect(
                ConnectError::CaFile { .. } | ConnectError::NoCertificate { .. } | ConnectError::Credential { .. },
            ) => CONFIG,
            _ => FAILED,
        }
    }
}

/// Runs the command that `arguments` (the program's name first) ask for.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(message) => {
            console::show(&message);
            // Help and version are no errors.
            return if message.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    console::log_warnings();
    let ended = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(Box::pin(dispatch(&arguments.command))),
        Err(error) => Err(Error::Runtime(error)),
    };
    if let Some(error) = console::lost() {
        console::complain(format_args!("the result cannot be written to standard output: {error}"));
        return ExitCode::from(FAILED);
    }
    match ended {
        Ok(Exit::Fine) => ExitCode::SUCCESS,
        Ok(Exit::Attention) => ExitCode::from(ATTENTION),
        Err(error) => {
            console::complain(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

async fn dispatch(command: &Command) -> Result<Exit, Error> {
    match command {
        Command::Replay(arguments) => replay::run(arguments).await,
        Command::Doctor(arguments) => doctor::run(arguments).await,
        Command::Reconcile(arguments) => reconcile::run(arguments).await,
        Command::MapTest(arguments) => map_test::run(arguments),
    }
}

/// An environment variable; one that is not Unicode is taken as well as can be.
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Why something is not done, with the relationships that were deleted on the way: who reads it can make them again.
fn reason(detail: &str, lost: &[String]) -> String {
    match lost {
        [] => detail.to_owned(),
        _ => format!("{detail}; relationships that were deleted by then, to be made again: {}", lost.join(" ")),
    }
}

fn settings() -> Result<Settings, Problems> {
    Settings::read(variable)
}
