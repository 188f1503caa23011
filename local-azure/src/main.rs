//! The `local-azure` program: a command line over the library.

mod command;

use std::process::ExitCode;

fn main() -> ExitCode {
    command::run()
}
