//! The function app's process: without arguments it serves the Functions host that started it, else it runs an
//! operator's command.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Serving is to begin within milliseconds: nothing of the commands is looked at then.
    match std::env::args_os().nth(1) {
        None => function_app::run(),
        Some(_) => function_app::operate::run(std::env::args_os()),
    }
}
