//! The command line.

use std::{
    ffi::OsString,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use local_azure::{
    config::{App, Config, Graph, Part},
    dps::Patience,
    iot_hub::HostName,
    ports::Ports,
};
use url::Url;

/// Where the certificate authority is kept, below the current folder.
const CERTIFICATES: &str = ".local-azure";

/// All of Azure that device and twin provisioning needs, on this machine: DPS, IoT Hub, its routes to Event Hubs,
/// the Functions host, Azure Digital Twins, managed identity and blob storage. No subscription, no Docker, no account.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110, after_help = "Without a command it does what `up` does.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) options: Options,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start everything, print where it is, run until Ctrl-C
    Up,
    /// Start everything and tell the whole story step by step, each step verified
    Demo {
        /// Stop after the story: exit code 0 when every step was verified, else 1
        #[arg(long)]
        exit: bool,
    },
    /// Start everything, run a command with the environment set, stop, exit with the command's code
    ///
    /// Ports that no option gives are chosen by the system. The command finds the addresses in the file that
    /// LOCAL_AZURE_ENDPOINTS names, and in the variables that clients of Azure read: ADT_SERVICE_URL, ADT_CA_FILE,
    /// IDENTITY_ENDPOINT, IDENTITY_HEADER, PROVISIONING_HOST, PROVISIONING_IDSCOPE, PROVISIONING_SYMMETRIC_KEY,
    /// PROVISIONING_CA_FILE, ADT_MODEL_ID, SSL_CERT_FILE, REQUESTS_CA_BUNDLE, NODE_EXTRA_CA_CERTS.
    Exec {
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// The function app's handler, as the Functions host starts it
    #[command(hide = true)]
    Handler,
}

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Azure Digital Twins, IoT Hub and DPS, over TLS [default: 8443]
    #[arg(long, global = true, value_name = "PORT", value_parser = port)]
    https_port: Option<u16>,
    /// DPS and IoT Hub for devices: MQTT over TLS [default: 8883]
    #[arg(long, global = true, value_name = "PORT", value_parser = port)]
    mqtt_port: Option<u16>,
    /// The Functions host [default: 7071]
    #[arg(long, global = true, value_name = "PORT", value_parser = port)]
    functions_port: Option<u16>,
    /// Control API and managed identity endpoint [default: 8080]
    #[arg(long, global = true, value_name = "PORT", value_parser = port)]
    control_port: Option<u16>,
    /// Let the system choose every port, with keys of this run only
    #[arg(long, global = true, conflicts_with_all = ["https_port", "mqtt_port", "functions_port", "control_port"])]
    free_ports: bool,
    /// Write addresses and credentials there (JSON, mode 0600) when everything is ready
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) endpoints_file: Option<PathBuf>,
    /// Write the environment of clients there (.env form, mode 0600) when everything is ready
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) env_file: Option<PathBuf>,
    /// Run the function app of this folder (host.json and the functions' folders) [default: the app compiled in]
    #[arg(long, global = true, value_name = "FOLDER")]
    app_root: Option<PathBuf>,
    /// Start this executable as the handler [default: what host.json names]
    #[arg(long, global = true, value_name = "FILE")]
    handler: Option<PathBuf>,
    /// Instances of the function app, each with a handler process of its own
    ///
    /// They share HTTP requests one after the other, and the partitions of the event hubs.
    #[arg(long, global = true, value_name = "N", default_value = "1", value_parser = instances)]
    instances: NonZeroUsize,
    /// How long the platform takes to start a new host when a handler failed three times
    #[arg(long, global = true, value_name = "TIME", value_parser = duration, default_value = "5s")]
    platform_restart: Duration,
    /// Run these services only, joined by commas: digital-twins, dps, iot-hub, event-hubs, functions [default: all]
    ///
    /// With `digital-twins,dps,iot-hub`, another host can run the app: see --webhook-url.
    #[arg(long, global = true, value_name = "LIST", value_delimiter = ',')]
    only: Vec<Part>,
    /// Let DPS ask there for a device's hub, for instance the app under `func start` [default: the app's function]
    #[arg(long, global = true, value_name = "URL", value_parser = webhook)]
    webhook_url: Option<Url>,
    /// How much longer each of the ten waits is, before DPS calls a failing webhook again; the first is a ninth of it
    #[arg(long, global = true, value_name = "TIME", value_parser = duration, default_value = "9s")]
    webhook_step: Duration,
    /// Host names of the linked hubs, joined by commas
    #[arg(long, global = true, value_name = "LIST", value_delimiter = ',', default_value = "localhost")]
    hub_names: Vec<HostName>,
    /// Keep models, twins, devices, events, checkpoints and dead letters in this folder [default: in memory]
    ///
    /// What was acknowledged survives the process, however it ends. The folder can be copied while nothing uses it.
    #[arg(long, global = true, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Partitions of each event hub
    #[arg(long, global = true, value_name = "N", default_value = "4", value_parser = partitions)]
    partitions: NonZeroUsize,
    /// What is in Azure Digital Twins at the start, besides the sample models [default: the sample graph]
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "no_graph")]
    graph: Option<PathBuf>,
    /// Start with no models and no twins
    #[arg(long, global = true)]
    no_graph: bool,
    /// Make every request to Azure Digital Twins take so much longer (50ms, 1s)
    #[arg(long, global = true, value_name = "TIME", value_parser = duration, default_value = "0ms")]
    adt_latency: Duration,
    /// Let queries of Azure Digital Twins see a change so much later (5s)
    #[arg(long, global = true, value_name = "TIME", value_parser = duration, default_value = "0ms")]
    query_lag: Duration,
    /// Enforce Azure Digital Twins' documented limits (1,000 patches and 500 creations a second, 10 writes a twin)
    #[arg(long, global = true)]
    adt_limits: bool,
    /// Enforce the documented throttles of IoT Hub, size S1 with one unit
    ///
    /// 100 messages and connections a second, 100 requests about identities and 20 queries a minute, ... What is beyond
    /// them waits for up to 10 s, then it is refused.
    #[arg(long, global = true)]
    hub_limits: bool,
    /// Enforce DPS' documented limits (1,000 registrations a minute, 5 polls of a device in 10 s)
    #[arg(long, global = true)]
    dps_limits: bool,
    /// Names of endpoints that Azure Digital Twins' event routes may lead to, joined by commas [default: none]
    #[arg(long, global = true, value_name = "LIST", value_delimiter = ',')]
    adt_endpoints: Vec<String>,
}

impl Options {
    /// What they ask for. `exec` has keys of its own, and free ports where no option gives one.
    pub(crate) fn config(&self, command: &Command) -> Config {
        let base = Config::new(Path::new(CERTIFICATES).to_owned());
        let base =
            if self.free_ports || matches!(command, Command::Exec { .. }) { base.with_free_ports() } else { base };
        let ports = Ports {
            https: self.https_port.unwrap_or(base.ports.https),
            mqtt: self.mqtt_port.unwrap_or(base.ports.mqtt),
            functions: self.functions_port.unwrap_or(base.ports.functions),
            control: self.control_port.unwrap_or(base.ports.control),
        };
        Config {
            ports,
            app: self.app_root.clone().map_or(App::Compiled, App::Folder),
            handler: self.handler.clone(),
            instances: self.instances,
            platform_restart: self.platform_restart,
            parts: if self.only.is_empty() { base.parts.clone() } else { self.only.clone() },
            webhook_url: self.webhook_url.clone(),
            webhook_patience: Patience {
                first_wait: self.webhook_step / 9,
                step: self.webhook_step,
                ..base.webhook_patience.clone()
            },
            hub_names: self.hub_names.clone(),
            data_dir: self.data_dir.clone(),
            partitions: self.partitions,
            graph: match &self.graph {
                Some(file) => Graph::File(file.clone()),
                None if self.no_graph => Graph::Empty,
                None => Graph::Sample,
            },
            adt_latency: self.adt_latency,
            query_lag: self.query_lag,
            adt_limits: self.adt_limits,
            hub_limits: self.hub_limits,
            dps_limits: self.dps_limits,
            adt_endpoints: self.adt_endpoints.clone(),
            ..base
        }
    }
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "takes a port, 1 to 65535, or 0 for one that the system chooses".to_owned())
}

/// Each is a process; more than a machine can bear is a mistake.
fn instances(text: &str) -> Result<NonZeroUsize, String> {
    text.parse()
        .ok()
        .and_then(NonZeroUsize::new)
        .filter(|instances| instances.get() <= 16)
        .ok_or_else(|| "takes a number from 1 to 16".to_owned())
}

/// Azure's event hubs have up to 32 partitions (standard tier).
fn partitions(text: &str) -> Result<NonZeroUsize, String> {
    text.parse()
        .ok()
        .and_then(NonZeroUsize::new)
        .filter(|partitions| partitions.get() <= 32)
        .ok_or_else(|| "takes a number from 1 to 32, as an event hub does".to_owned())
}

fn webhook(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or_else(|| "takes an address that begins with https:// or http://".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| *duration <= Duration::from_secs(3_600))
        .ok_or_else(|| "takes a time up to an hour, for instance 50ms, 2s or 1m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(line: &str) -> Config {
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        arguments.options.config(&arguments.command.unwrap_or(Command::Up))
    }

    #[test]
    fn the_command_line_is_consistent() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn options_stand_before_or_behind_the_command() {
        assert_eq!(config("local-azure demo --free-ports --exit").ports, Ports::FREE);
        assert_eq!(config("local-azure --https-port 443 up").ports.https, 443);
        assert_eq!(config("local-azure").ports, Ports::default());
    }

    #[test]
    fn exec_chooses_free_ports_where_none_is_given_and_credentials_of_its_own() {
        let free = config("local-azure exec -- true");
        assert_eq!(free.ports, Ports::FREE);
        assert_ne!(free.credentials, local_azure::credentials::Credentials::published());
        let given = config("local-azure exec --https-port 443 -- true");
        assert_eq!(given.ports, Ports { https: 443, ..Ports::FREE });
    }

    #[test]
    fn services_can_be_left_out_and_the_webhook_stand_elsewhere() {
        assert_eq!(config("local-azure").parts, Part::ALL);
        let line =
            "local-azure --only dps,iot-hub --webhook-url http://localhost:7071/api/f?code=1 --webhook-step 90ms";
        let config = config(line);
        assert_eq!(config.parts, [Part::Dps, Part::IotHub]);
        assert_eq!(config.webhook_url.unwrap().as_str(), "http://localhost:7071/api/f?code=1");
        let Patience { retries, first_wait, step, .. } = config.webhook_patience;
        assert_eq!((retries, first_wait.as_millis(), step.as_millis()), (10, 10, 90));
    }

    #[test]
    fn each_service_has_its_limits_by_an_option_of_its_own() {
        let limits = |line| {
            let Config { adt_limits, hub_limits, dps_limits, .. } = config(line);
            [adt_limits, hub_limits, dps_limits]
        };
        assert_eq!(limits("local-azure"), [false; 3]);
        assert_eq!(limits("local-azure --adt-limits"), [true, false, false]);
        assert_eq!(limits("local-azure --hub-limits"), [false, true, false]);
        assert_eq!(limits("local-azure --dps-limits"), [false, false, true]);
    }

    #[test]
    fn help_names_the_default_ports() {
        let help = <Arguments as clap::CommandFactory>::command().render_help().to_string();
        let Ports { https, mqtt, functions, control } = Ports::default();
        for port in [https, mqtt, functions, control] {
            assert!(help.contains(&format!("[default: {port}]")), "{help}");
        }
    }

    #[test]
    fn what_an_option_does_not_take_is_refused() {
        let refused = Arguments::try_parse_from(["local-azure", "--https-port", "https"]).unwrap_err().to_string();
        assert!(refused.contains("'--https-port <PORT>': takes a port, 1 to 65535"), "{refused}");
        for line in [
            "--mqtt-port 65536",
            "--partitions 0",
            "--partitions 33",
            "--instances 0",
            "--instances 17",
            "--only all",
            "--webhook-url ftp://a",
            "--partitions 33",
            "--adt-latency fast",
            "--query-lag 2h",
            "--hub-names a:1",
        ] {
            let line = format!("local-azure {line}");
            assert!(Arguments::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
        assert_eq!(config("local-azure --adt-latency 50ms").adt_latency, Duration::from_millis(50));
        assert_eq!(config("local-azure --instances 3").instances.get(), 3);
        assert_eq!(config("local-azure --platform-restart 1s").platform_restart, Duration::from_secs(1));
    }

    #[test]
    fn the_readme_lists_every_option_with_its_default() {
        let readme = include_str!("../../../README.md");
        let (_, table) = readme.split_once("\n### local-azure\n").unwrap();
        let table = table.split("\n## ").next().unwrap();
        let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| `--")).collect();
        let command = <Arguments as clap::CommandFactory>::command();
        let options: Vec<_> = command.get_arguments().filter(|option| option.get_long().is_some()).collect();
        assert_eq!(rows.len(), options.len(), "{rows:#?}");
        for option in options {
            let name = format!("`--{}", option.get_long().unwrap());
            let row = rows.iter().find(|row| row.contains(&format!("{name}`")) || row.contains(&format!("{name} ")));
            let row = row.unwrap_or_else(|| panic!("{name}` is not in README.md"));
            for default in option.get_default_values().iter().filter(|_| option.get_action().takes_values()) {
                assert!(row.contains(&format!("`{}`", default.to_string_lossy())), "{row}");
            }
        }
    }
}
