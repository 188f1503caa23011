//! The function app that is compiled into this program: its files, and its handler.
//!
//! The only place that knows the crate `function_app`. Whoever gives `--app-root` runs another app.

use std::{ffi::OsString, io, path::PathBuf, process::ExitCode};

use crate::functions_host::{
    Program,
    app::{App, AppSettings, Error},
};

const HOST_JSON: &str = include_str!("../../host.json");
const FUNCTIONS: [(&str, &str); 3] = [
    ("DeleteDeviceInTwinFunc", include_str!("../../DeleteDeviceInTwinFunc/function.json")),
    ("DeviceTelemetryToTwinFunc", include_str!("../../DeviceTelemetryToTwinFunc/function.json")),
    ("DpsAdtAllocationFunc", include_str!("../../DpsAdtAllocationFunc/function.json")),
];

/// The sample models, one DTDL interface each.
pub const MODELS: [&str; 2] =
    [include_str!("../../models/SpaceModel.json"), include_str!("../../models/ThermostatModel.json")];
/// The sample graph.
pub const SAMPLE_GRAPH: &str = include_str!("../../models/sample-graph.json");

/// The app as if `root` held its files.
pub(crate) fn app(root: PathBuf, settings: AppSettings) -> Result<App, Error> {
    App::new(root, HOST_JSON, FUNCTIONS, settings)
}

/// Its handler: this program, started again as `local-azure handler`.
pub(crate) fn handler() -> io::Result<Program> {
    Ok(Program { path: std::env::current_exe()?, arguments: vec![OsString::from("handler")] })
}

/// Runs the handler in this process, as the Functions host wants it. It also ends with whoever started it, however
/// that one ends: its standard input is a pipe that nobody writes to.
pub fn run_handler() -> ExitCode {
    let (closed, end) = tokio::sync::oneshot::channel::<()>();
    // A thread of its own, which nobody waits for: a read of standard input cannot be called off.
    std::thread::spawn(move || {
        // An error is an end as well.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        drop(closed);
    });
    function_app::run_until(async {
        let _ = end.await;
    })
}
