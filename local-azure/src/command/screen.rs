//! All that the program prints.
//!
//! Where nobody reads any more (`local-azure up | head -1`), the program goes on without a word.

use std::{
    io::{IsTerminal as _, Write as _, stderr, stdout},
    time::Duration,
};

use local_azure::endpoints::Endpoints;
use tracing_subscriber::EnvFilter;

/// What the services log goes to stderr, from `level` on; `RUST_LOG` shows more.
pub(super) fn log_to_stderr(level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(colors(stderr().is_terminal()))
        .init();
}

/// A line of plain text.
pub(super) fn line(text: &str) {
    let _ = writeln!(stdout(), "{text}");
}

/// Why the program fails, with all that led to it on one line.
pub(super) fn error(error: &anyhow::Error) {
    let _ = writeln!(stderr(), "local-azure: {}", on_one_line(error));
}

/// An error with its causes; those that are told already are not repeated.
fn on_one_line(error: &anyhow::Error) -> String {
    let texts = error.chain().map(ToString::to_string);
    texts
        .reduce(|told, cause| if told.contains(&cause) { told } else { format!("{told}: {cause}") })
        .unwrap_or_default()
}

/// Where everything is.
pub(super) fn addresses(endpoints: &Endpoints, took: Duration) {
    line(&format!("local-azure is ready ({} ms)", took.as_millis()));
    line("");
    let dps = &endpoints.dps;
    let rows = [
        ("Azure Digital Twins", endpoints.digital_twins.clone()),
        ("Device Provisioning", format!("{}:{}, id scope {}", dps.host, dps.mqtt_port, dps.id_scope)),
        ("group key (primary)", dps.primary_key.clone()),
        ("Functions host", endpoints.functions.clone()),
        ("control API", format!("{}/control/state", endpoints.control)),
        ("authority to trust", endpoints.ca_file.display().to_string()),
    ];
    for (name, value) in rows {
        line(&format!("  {name:<22}{value}"));
    }
    for hub in &endpoints.iot_hubs {
        line(&format!(
            "  {:<22}{}:{}, service API on port {}",
            "IoT Hub", hub.host_name, hub.mqtt_port, hub.https_port
        ));
    }
    line("");
}

/// Whether to use colors on a stream: on a terminal only, and not where `NO_COLOR` asks for none.
pub(super) fn colors(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether standard output is a terminal.
pub(super) fn on_a_terminal() -> bool {
    stdout().is_terminal()
}

/// What a person can do once the story is told.
pub(super) fn what_next(endpoints: &Endpoints) {
    line("");
    line("Everything stays up until Ctrl-C. Try next, in another terminal:");
    line(&format!("  curl {}/control/state", endpoints.control));
    line(&format!("  curl {}/control/dead-letters", endpoints.control));
    line("or stop it and let a device of your own register: see \"A device of your own\" in README.md.");
}

#[cfg(test)]
mod tests {
    use std::{io, path::PathBuf};

    use anyhow::Context as _;
    use local_azure::StartError;

    use super::*;

    #[test]
    fn each_cause_of_an_error_is_told_once() {
        let source = io::Error::other("no such file");
        let error = StartError::GraphFile { path: PathBuf::from("graph.json"), source };
        let error = Err::<(), _>(error).context("cannot start").unwrap_err();
        assert_eq!(on_one_line(&error), "cannot start: cannot read the graph graph.json: no such file");
    }
}
