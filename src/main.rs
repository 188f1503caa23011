//! The function app's process: without arguments it serves the Functions host that started it.

use std::io::Write;
use std::process::ExitCode;

const HELP: &str = "\
Keeps the digital twins of devices that DPS provisions in step with them.

Usage: handler

The Azure Functions host starts this program, see customHandler in host.json.
To run it on its own, set FUNCTIONS_CUSTOMHANDLER_PORT and ADT_SERVICE_URL.

Options:
  -h, --help     Print this text
  -V, --version  Print the version
";

/// A wrong command line: `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    match arguments.iter().map(AsRef::as_ref).collect::<Vec<_>>()[..] {
        [] => function_app::run(),
        ["--help" | "-h"] => print(HELP),
        ["--version" | "-V"] => print(concat!("handler ", env!("CARGO_PKG_VERSION"), "\n")),
        [unknown, ..] => {
            // Nothing is left to be done if nobody reads it.
            let _ = writeln!(std::io::stderr(), "{unknown:?} is not known here; try --help");
            ExitCode::from(USAGE)
        }
    }
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
