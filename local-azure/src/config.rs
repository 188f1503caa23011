//! What a local-azure is to be like.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use crate::{clock::Clock, credentials::Credentials, ports::Ports};

/// Everything that [`crate::start`] wants to know. `main` makes one from the command line, tests make their own.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub ports: Ports,
    /// What clients must know.
    pub credentials: Credentials,
    /// The folder that keeps the certificate authority.
    pub certificates: PathBuf,
    /// The function app.
    pub app: App,
    /// Started instead of what the app's `host.json` names.
    pub handler: Option<PathBuf>,
    /// Further environment of the handler, as app settings in Azure.
    pub app_settings: Vec<(String, String)>,
    /// Host names of the linked hubs; at least one.
    pub hub_names: Vec<HubHostName>,
    /// Partitions of each event hub.
    pub partitions: NonZeroUsize,
    /// What is in Azure Digital Twins at the start.
    pub graph: Graph,
    /// How much longer each request to Azure Digital Twins takes.
    pub adt_latency: Duration,
    /// How late queries see a change.
    pub query_lag: Duration,
    /// Whether Azure Digital Twins' documented limits are enforced.
    pub adt_limits: bool,
    /// The pauses between DPS's calls of a webhook that fails; `None` is the documented schedule.
    pub webhook_pauses: Option<Vec<Duration>>,
    /// The time.
    pub clock: Clock,
}

/// Where the function app comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum App {
    /// The one compiled into this program: the handler is the program itself, started again.
    Compiled,
    /// A folder with `host.json` and the functions' folders, as it would be published.
    Folder(PathBuf),
}

/// The twins and relationships at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Graph {
    /// The sample models and graph.
    Sample,
    /// The sample models, and the graph in a file of the same form.
    File(PathBuf),
    /// No models, no twins.
    Empty,
}

impl Config {
    /// On the default ports with the published credentials, the sample graph, and the app that is compiled in.
    pub fn new(certificates: PathBuf) -> Self {
        Self {
            ports: Ports::default(),
            credentials: Credentials::published(),
            certificates,
            app: App::Compiled,
            handler: None,
            app_settings: Vec::new(),
            hub_names: vec![HubHostName("localhost".to_owned())],
            partitions: NonZeroUsize::MIN.saturating_add(3),
            graph: Graph::Sample,
            adt_latency: Duration::ZERO,
            query_lag: Duration::ZERO,
            adt_limits: false,
            webhook_pauses: None,
            clock: Clock::system(),
        }
    }

    /// The same with ports that the system chooses and credentials of its own.
    #[must_use]
    pub fn with_free_ports(self) -> Self {
        Self { ports: Ports::FREE, credentials: Credentials::random(), ..self }
    }
}

/// A host name for an IoT Hub: a DNS name in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HubHostName(String);

/// A text that cannot be a hub's host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a host name: it takes letters, digits and hyphens in labels of up to 63, joined by dots, without a port"
)]
pub struct HubHostNameError(String);

impl HubHostName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for HubHostName {
    type Err = HubHostNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if text.len() <= 253 && text.split('.').all(label) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(HubHostNameError(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_checked_and_lowered() {
        assert_eq!(
            "Contoso-Hub.azure-devices.localhost".parse(),
            Ok(HubHostName("contoso-hub.azure-devices.localhost".into()))
        );
        for bad in ["", "a..b", "-a", "a-", "a:1", "ä.b", "a b"] {
            assert_eq!(bad.parse::<HubHostName>(), Err(HubHostNameError(bad.to_owned())));
        }
    }
}
