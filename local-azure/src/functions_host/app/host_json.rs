//! host.json, as far as it concerns custom handlers, HTTP and Event Hubs.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use super::{error::Error, section::Section, settings::AppSettings};

const FILE: &str = "host.json";
/// The default of the Flex Consumption, Premium and Dedicated plans.
const DEFAULT_FUNCTION_TIMEOUT: Duration = Duration::from_secs(30 * 60);
const DEFAULT_INITIALIZATION_TIMEOUT: Duration = Duration::from_secs(30);
/// The default since version 6 of the Event Hubs extension.
const DEFAULT_MAX_EVENT_BATCH_SIZE: usize = 100;
/// Event Hubs options that would change what an app sees and that this host does not have.
const UNSUPPORTED_EVENT_HUB_OPTIONS: [&str; 5] =
    ["minEventBatchSize", "maxWaitTime", "batchCheckpointFrequency", "initialOffsetOptions", "enableCheckpointing"];

/// How requests to HTTP functions with nothing but an HTTP output reach the handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RawHttp {
    /// Not raw: in an envelope.
    Off,
    /// Rebuilt by the host (`enableForwardingHttpRequest`).
    Forwarding,
    /// Passed through (`enableProxyingHttpRequest`), which wins where both are set.
    Proxying,
}

/// host.json.
#[derive(Debug, Clone)]
pub struct HostJson {
    /// How the handler is started.
    pub handler: Description,
    /// How HTTP requests reach it.
    pub raw_http: RawHttp,
    /// How long the handler may take until it answers HTTP.
    pub initialization_timeout: Duration,
    /// How long one invocation may take; `None`: for ever.
    pub function_timeout: Option<Duration>,
    /// The most events that one invocation gets.
    pub max_event_batch_size: usize,
    /// What the paths of HTTP functions begin with, without slashes.
    pub route_prefix: String,
}

/// `customHandler.description`, with all `%NAME%` expanded.
#[derive(Debug, Clone)]
pub struct Description {
    /// The executable, resolved; `None` where host.json names none.
    pub executable: Option<PathBuf>,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its working directory.
    pub working_directory: PathBuf,
    /// Whether each line on stderr is an error, unless it says "warn".
    pub stderr_is_for_errors: bool,
}

impl HostJson {
    /// Reads host.json of the app at `root`, with what `settings` override.
    pub(super) fn parse(text: &str, root: &Path, settings: &AppSettings) -> Result<Self, Error> {
        let mut value: Value =
            serde_json::from_str(text).map_err(|source| Error::NotJson { file: FILE.to_owned(), source })?;
        settings.override_host_json(&mut value);
        let host = Section::root(FILE, &value);
        let custom_handler = host.section("customHandler");
        if !custom_handler.exists() {
            return Err(host.invalid("customHandler", "a custom handler"));
        }
        let extensions = host.section("extensions");
        Ok(Self {
            handler: Description::read(&custom_handler.section("description"), root, settings)?,
            raw_http: raw_http(&custom_handler)?,
            initialization_timeout: custom_handler
                .time_span("initializationTimeout")?
                .unwrap_or(DEFAULT_INITIALIZATION_TIMEOUT),
            function_timeout: function_timeout(&host)?,
            max_event_batch_size: max_event_batch_size(&extensions.section("eventHubs"))?,
            route_prefix: extensions.section("http").text("routePrefix")?.unwrap_or("api").trim_matches('/').to_owned(),
        })
    }
}

impl Description {
    fn read(section: &Section<'_>, root: &Path, settings: &AppSettings) -> Result<Self, Error> {
        let expanded = |text: &str| settings.expand(text, |name| format!("%{name}%"));
        let directory = |name: &str| {
            let directory = section.text(name)?.filter(|text| !text.is_empty());
            Ok(directory.map_or_else(|| root.to_owned(), |directory| root.join(expanded(directory))))
        };
        let executable = section.text("defaultExecutablePath")?.filter(|text| !text.is_empty()).map(expanded);
        let worker_directory = directory("workerDirectory")?;
        Ok(Self {
            executable: executable.map(|executable| resolve(&executable, &worker_directory)),
            arguments: arguments(section, settings)?,
            working_directory: directory("workingDirectory")?,
            stderr_is_for_errors: section.flag("useStdErrorStreamForErrorsOnly")?.unwrap_or(true),
        })
    }
}

/// A relative executable that exists in `directory` is meant (on Windows also without its `.exe`); any other is
/// looked for on the PATH.
fn resolve(executable: &str, directory: &Path) -> PathBuf {
    let suffixed = format!("{executable}{}", std::env::consts::EXE_SUFFIX);
    let mut candidates = [executable, &suffixed].into_iter().map(|name| directory.join(name));
    candidates.find(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(executable))
}

/// The host joins arguments with blanks and quotes only `defaultWorkerPath`, so an argument with blanks inside
/// arrives as several; placeholders that are not set vanish.
fn arguments(section: &Section<'_>, settings: &AppSettings) -> Result<Vec<String>, Error> {
    let words = |texts: Vec<String>| {
        let expanded = texts.iter().map(|text| settings.expand(text, |_| String::new())).collect::<Vec<_>>().join(" ");
        expanded.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut arguments = words(section.texts("arguments")?);
    if let Some(path) = section.text("defaultWorkerPath")?.filter(|path| !path.is_empty()) {
        arguments.push(settings.expand(path, |_| String::new()));
    }
    arguments.extend(words(section.texts("workerArguments")?));
    Ok(arguments)
}

fn raw_http(custom_handler: &Section<'_>) -> Result<RawHttp, Error> {
    let proxying = custom_handler.flag("enableProxyingHttpRequest")?.unwrap_or_default();
    let forwarding = custom_handler.flag("enableForwardingHttpRequest")?.unwrap_or_default();
    Ok(match (proxying, forwarding) {
        (true, _) => RawHttp::Proxying,
        (false, true) => RawHttp::Forwarding,
        (false, false) => RawHttp::Off,
    })
}

fn function_timeout(host: &Section<'_>) -> Result<Option<Duration>, Error> {
    if host.get("functionTimeout").and_then(Value::as_str) == Some("-1") {
        return Ok(None);
    }
    Ok(Some(host.time_span("functionTimeout")?.unwrap_or(DEFAULT_FUNCTION_TIMEOUT)))
}

fn max_event_batch_size(event_hubs: &Section<'_>) -> Result<usize, Error> {
    for option in UNSUPPORTED_EVENT_HUB_OPTIONS {
        if event_hubs.get(option).is_some() {
            tracing::warn!(option, "host.json sets an Event Hubs option that local-azure leaves at its default");
        }
    }
    let Some(size) = event_hubs.number("maxEventBatchSize")? else { return Ok(DEFAULT_MAX_EVENT_BATCH_SIZE) };
    let size = usize::try_from(size).ok().filter(|&size| size > 0);
    size.ok_or_else(|| event_hubs.invalid("maxEventBatchSize", "a number above 0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, settings: AppSettings) -> Result<HostJson, Error> {
        HostJson::parse(text, Path::new("/app"), &settings)
    }

    #[test]
    fn defaults_are_those_of_the_host() {
        let host = parse(r#"{"customHandler": {}}"#, AppSettings::default()).unwrap();
        assert_eq!(host.handler.executable, None);
        assert_eq!(host.handler.working_directory, Path::new("/app"));
        assert!(host.handler.stderr_is_for_errors);
        assert_eq!(host.raw_http, RawHttp::Off);
        assert_eq!(host.initialization_timeout, Duration::from_secs(30));
        assert_eq!(host.function_timeout, Some(Duration::from_secs(1_800)));
        assert_eq!(host.max_event_batch_size, 100);
        assert_eq!(host.route_prefix, "api");
    }

    #[test]
    fn the_app_s_own_host_json_asks_for_raw_http_and_batches_of_256() {
        let text = include_str!("../../../../host.json");
        let host = parse(text, AppSettings::default()).unwrap();
        assert_eq!(host.handler.executable, Some(PathBuf::from("handler")));
        assert_eq!(host.raw_http, RawHttp::Proxying);
        assert_eq!(host.max_event_batch_size, 256);
    }

    #[test]
    fn arguments_with_blanks_fall_apart_except_the_worker_path() {
        let text = r#"{"customHandler": {"description": {"defaultExecutablePath": "%BIN%/x",
            "arguments": ["--a b", "%UNSET%"], "defaultWorkerPath": "my file.js", "workerArguments": "[\"c\"]"}}}"#;
        let host = parse(text, AppSettings::default().with("BIN", "/opt")).unwrap();
        assert_eq!(host.handler.executable, Some(PathBuf::from("/opt/x")));
        assert_eq!(host.handler.arguments, ["--a", "b", "my file.js", "c"]);
    }

    #[test]
    fn app_settings_override_with_text() {
        let settings = AppSettings::default()
            .with("AzureFunctionsJobHost__customHandler__enableForwardingHttpRequest", "True")
            .with("AzureFunctionsJobHost__extensions__eventHubs__maxEventBatchSize", "7")
            .with("AzureFunctionsJobHost__functionTimeout", "-1");
        let host = parse(r#"{"customHandler": {}}"#, settings).unwrap();
        assert_eq!(host.raw_http, RawHttp::Forwarding);
        assert_eq!(host.max_event_batch_size, 7);
        assert_eq!(host.function_timeout, None);
    }

    #[test]
    fn errors_name_the_member_what_it_is_and_what_it_should_be() {
        let error = parse(r#"{"customHandler": {"initializationTimeout": "soon"}}"#, AppSettings::default());
        insta::assert_snapshot!(
            error.unwrap_err(),
            @r#"host.json: customHandler.initializationTimeout is "soon"; wanted a time span such as "00:00:30""#
        );
        let error = parse("{}", AppSettings::default());
        insta::assert_snapshot!(error.unwrap_err(), @"host.json: customHandler is missing; wanted a custom handler");
    }
}
