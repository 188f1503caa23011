//! What the host tells of a function and of itself.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::super::{app::App, handler::Phase, invoker::HOST_VERSION};

/// A function (azure-functions-host: `FunctionMetadataResponse.cs`, `FunctionMetadataExtensions.cs`).
///
/// Links to files are null, as for a function that has no folder: this host serves no files.
#[derive(Debug, Serialize)]
pub(super) struct FunctionMetadata<'a> {
    name: &'a str,
    script_root_path_href: Option<String>,
    script_href: Option<String>,
    config_href: Option<String>,
    test_data_href: Option<String>,
    href: String,
    invoke_url_template: Option<String>,
    /// Null for custom handlers: there is no script whose language could be told.
    language: Option<&'a str>,
    config: Value,
    files: Option<Value>,
    test_data: Option<String>,
    #[serde(rename = "isDisabled")]
    is_disabled: bool,
    #[serde(rename = "isDirect")]
    is_direct: bool,
    #[serde(rename = "isProxy")]
    is_proxy: bool,
}

/// Every function of the app, by name, for a caller who knows the host as `base`, for instance
/// `http://localhost:7071`.
pub(super) fn functions<'a>(app: &'a App, base: &str) -> Vec<FunctionMetadata<'a>> {
    let enabled = app.functions.iter().map(|function| (function.name, &function.json, false));
    let disabled = app.disabled.iter().map(|(name, json)| (name.as_str(), json, true));
    let mut functions: Vec<_> = enabled
        .chain(disabled)
        .map(|(name, json, is_disabled)| FunctionMetadata {
            name,
            script_root_path_href: None,
            script_href: None,
            config_href: None,
            test_data_href: None,
            href: format!("{base}/admin/functions/{name}"),
            invoke_url_template: invoke_url(base, &app.host.route_prefix, name, json),
            language: None,
            config: if json.is_object() { json.clone() } else { json!({}) },
            files: None,
            test_data: None,
            is_disabled,
            is_direct: false,
            is_proxy: false,
        })
        .collect();
    functions.sort_by_key(|function| function.name);
    functions
}

impl FunctionMetadata<'_> {
    /// Whether `name` means this function: names have no case.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// Where an HTTP function is called, in lower case.
fn invoke_url(base: &str, prefix: &str, name: &str, json: &Value) -> Option<String> {
    let is_http = |binding: &&Value| {
        let kind = binding.get("type").and_then(Value::as_str);
        kind.is_some_and(|kind| kind.eq_ignore_ascii_case("httpTrigger"))
    };
    let trigger = json.get("bindings")?.as_array()?.iter().find(is_http)?;
    let route = trigger.get("route").and_then(Value::as_str).filter(|route| !route.is_empty()).unwrap_or(name);
    let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
    Some(format!("{base}{prefix}/{route}").to_lowercase())
}

/// The host (azure-functions-host: `HostStatus.cs`). Members that say on which machine of Azure it runs are left out,
/// as they are elsewhere.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HostStatus {
    id: &'static str,
    state: &'static str,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<String>>,
    process_uptime: u64,
    function_app_content_editing_state: &'static str,
}

/// How the host is whose instances are in these phases, `uptime` after it started: it runs if one of them does.
pub(super) fn host_status(phases: &[Phase], uptime: Duration) -> HostStatus {
    let runs = |phase: &Phase| matches!(phase, Phase::Ready(_) | Phase::Gone);
    let error = phases.iter().find_map(|phase| match phase {
        Phase::Stopped { error } => error.clone(),
        _ => None,
    });
    // An app without functions needs no handler.
    let (state, errors) = match error {
        _ if phases.is_empty() || phases.iter().any(runs) => ("Running", None),
        _ if phases.contains(&Phase::Starting) => ("Starting", None),
        Some(error) => ("Error", Some(vec![error])),
        None => ("Stopped", None),
    };
    HostStatus {
        id: "local-azure",
        state,
        version: HOST_VERSION,
        errors,
        process_uptime: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
        function_app_content_editing_state: "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_runs_if_one_instance_does_and_tells_the_error_if_none_will() {
        let stopped = |error: Option<&str>| Phase::Stopped { error: error.map(str::to_owned) };
        let cases = [
            (vec![], "Running", None),
            (vec![Phase::Gone, stopped(Some("no such file"))], "Running", None),
            (vec![Phase::Starting, stopped(Some("no such file"))], "Starting", None),
            (vec![stopped(None), stopped(Some("no such file"))], "Error", Some(vec!["no such file".to_owned()])),
            (vec![stopped(None)], "Stopped", None),
        ];
        for (phases, state, errors) in cases {
            let status = host_status(&phases, Duration::ZERO);
            assert_eq!((status.state, status.errors), (state, errors), "{phases:?}");
        }
    }
}
