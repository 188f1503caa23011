//! The program itself, started as a person or a script would.

use std::{fs, path::Path, process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// Longer than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn local_azure(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local-azure"));
    command.current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// `up` on free ports, ready, with the line after which it was.
struct Up {
    child: Child,
    _lines: Lines<BufReader<ChildStdout>>,
    endpoints: Value,
}

impl Up {
    async fn start(folder: &Path, name: &str) -> Self {
        let file = folder.join(name);
        let mut child = local_azure(folder)
            .args(["up", "--free-ports", "--endpoints-file", name, "--env-file", &format!("{name}.env")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // It says that it is ready once the files are there.
        let ready = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
        assert!(ready.starts_with("local-azure is ready"), "{ready}");
        let endpoints = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        Self { child, _lines: lines, endpoints }
    }

    async fn handlers(&self) -> Vec<u64> {
        let state = self.get("/control/state").await;
        state["handlers"].as_array().unwrap().iter().map(|handler| handler["pid"].as_u64().unwrap()).collect()
    }

    async fn get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.endpoints["control"].as_str().unwrap());
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

#[tokio::test]
async fn the_files_are_there_when_it_is_ready_and_for_the_owners_eyes_only() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(folder.path(), "endpoints.json").await;
    for pointer in [
        "/digitalTwins",
        "/digitalTwinsToken",
        "/functions",
        "/functionKey",
        "/webhookUrl",
        "/control",
        "/dps/host",
        "/dps/mqttPort",
        "/dps/idScope",
        "/dps/enrollmentGroup",
        "/dps/primaryKey",
        "/iotHubs/0/hostName",
        "/iotHubs/0/serviceConnectionString",
        "/identity/endpoint",
        "/identity/header",
        "/caFile",
    ] {
        assert!(up.endpoints.pointer(pointer).is_some(), "{pointer}");
    }
    assert_eq!(up.endpoints["version"], 1);
    let environment = fs::read_to_string(folder.path().join("endpoints.json.env")).unwrap();
    for name in ["ADT_SERVICE_URL", "ADT_CA_FILE", "PROVISIONING_HOST", "PROVISIONING_SYMMETRIC_KEY", "SSL_CERT_FILE"] {
        assert!(environment.lines().any(|line| line.starts_with(&format!("{name}="))), "{name}");
    }
    #[cfg(unix)]
    for file in ["endpoints.json", "endpoints.json.env", ".local-azure/ca/ca-key.pem"] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_signal_ends_everything_and_leaves_no_process_behind() {
    let folder = tempfile::tempdir().unwrap();
    for signal in ["INT", "TERM"] {
        let mut up = Up::start(folder.path(), "endpoints.json").await;
        let handlers = up.handlers().await;
        assert_eq!(handlers.len(), 1);
        let pid = up.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().await.unwrap().success());
        let status = timeout(PATIENCE, up.child.wait()).await.unwrap().unwrap();
        assert!(status.success(), "SIG{signal}: {status}");
        for handler in handlers {
            assert!(!Path::new(&format!("/proc/{handler}")).exists(), "SIG{signal} left handler {handler} behind");
        }
    }
}

#[tokio::test]
async fn two_side_by_side_do_not_disturb_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let first = Up::start(folder.path(), "first.json").await;
    let second = Up::start(folder.path(), "second.json").await;
    for member in ["digitalTwins", "functions", "functionKey", "control", "dps", "identity"] {
        assert_ne!(first.endpoints[member], second.endpoints[member], "{member}");
    }
    assert_ne!(first.handlers().await, second.handlers().await);
    drop(first);
    assert_eq!(second.get("/control/state").await["twins"], 4);
}

#[tokio::test]
async fn a_taken_port_is_one_line_that_names_the_port_and_the_option() {
    let folder = tempfile::tempdir().unwrap();
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let free = ["--mqtt-port", "0", "--functions-port", "0", "--control-port", "0"];
    let output = local_azure(folder.path()).args(["up", "--https-port", &port]).args(free).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(&format!("port {port} is taken")) && text.contains("--https-port"), "{text}");
}

#[tokio::test]
async fn what_cannot_be_used_is_named_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("graph.json"), "[").unwrap();
    fs::write(folder.path().join("thesis.txt"), "").unwrap();
    let missing_folder = format!("there is no folder {}", Path::new("nowhere").display());
    for (arguments, named) in [
        (["--graph", "nowhere.json"], "nowhere.json"),
        (["--graph", "graph.json"], "graph.json"),
        (["--app-root", "nowhere"], "nowhere"),
        (["--handler", "./nowhere"], "nowhere"),
        (["--data-dir", "."], "--data-dir"),
        (["--data-dir", "thesis.txt"], "it is a file; name a folder"),
        (["--env-file", "."], "--env-file .: it is a folder; name a file in it"),
        (["--endpoints-file", "nowhere/endpoints.json"], missing_folder.as_str()),
    ] {
        let output = local_azure(folder.path()).args(["up", "--free-ports"]).args(arguments).output();
        let output = timeout(PATIENCE, output).await.unwrap().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        let last = text.lines().last().unwrap_or_default();
        assert!(last.starts_with("local-azure: ") && last.contains(named), "{arguments:?}: {text}");
        assert!(last.matches("(os error ").count() <= 1, "{arguments:?}, said once: {text}");
    }
}

#[tokio::test]
async fn a_graph_may_come_from_an_editor_on_windows() {
    let folder = tempfile::tempdir().unwrap();
    let twin = r#"{"$dtId":"hall","$metadata":{"$model":"dtmi:contosocom:DigitalTwins:Space;1"}}"#;
    fs::write(folder.path().join("graph.json"), format!("\u{feff}{{\"twins\":[{twin}]}}\r\n")).unwrap();
    let program = std::env::current_exe().unwrap();
    let output =
        local_azure(folder.path()).args(["exec", "--graph", "graph.json", "--"]).arg(program).arg("--list").output();
    let output = timeout(PATIENCE, output).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[cfg(unix)]
#[tokio::test]
async fn exec_sets_the_environment_and_ends_with_the_commands_code() {
    let folder = tempfile::tempdir().unwrap();
    let script =
        r#"test -n "$ADT_SERVICE_URL" && test -f "$ADT_CA_FILE" && test -f "$LOCAL_AZURE_ENDPOINTS" && exit 7"#;
    let status = local_azure(folder.path()).args(["exec", "--", "sh", "-c", script]).status();
    assert_eq!(timeout(PATIENCE, status).await.unwrap().unwrap().code(), Some(7));
    let status = local_azure(folder.path()).args(["exec", "--", "sh", "-c", "kill -KILL $$"]).status();
    assert_eq!(timeout(PATIENCE, status).await.unwrap().unwrap().code(), Some(128 + 9));
}

#[cfg(unix)]
#[tokio::test]
async fn exec_ends_as_a_shell_would_with_a_command_that_cannot_be_started() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("text"), "no program").unwrap();
    for (command, code, advice) in [
        ("no-such-program", 127, "is it installed and on the PATH"),
        ("", 127, "is it installed and on the PATH"),
        ("./text", 126, "name a program that this user may run"),
        (".", 126, "name a program that this user may run"),
    ] {
        let output = local_azure(folder.path()).args(["exec", "--", command]).output();
        let output = timeout(PATIENCE, output).await.unwrap().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{command}: {text}");
        let told = format!("local-azure: cannot start \"{command}\": ");
        assert!(text.starts_with(&told) && text.contains(advice) && text.lines().count() == 1, "{text}");
    }
}

#[tokio::test]
async fn a_demo_where_devices_have_registered_before_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let demo = async || {
        let output = local_azure(folder.path()).args(["demo", "--exit", "--free-ports", "--data-dir", "data"]).output();
        let output = timeout(PATIENCE, output).await.unwrap().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = demo().await;
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = demo().await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("no device has registered yet, and here 2 did: leave out --data-dir"), "{text}");
}

#[tokio::test]
async fn the_demo_verifies_every_step() {
    let folder = tempfile::tempdir().unwrap();
    let output = local_azure(folder.path()).args(["demo", "--exit", "--free-ports"]).output();
    let output = timeout(PATIENCE, output).await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("ok ")).count(), 8, "{text}");
}

#[tokio::test]
async fn a_demo_with_one_step_broken_says_which_and_ends_with_1() {
    let folder = tempfile::tempdir().unwrap();
    // Devices may ask for another model only: the first registration fails.
    let output = local_azure(folder.path())
        .env("ALLOCATION_MODELS", "dtmi:example:Other;1")
        .args(["demo", "--exit", "--free-ports"])
        .output();
    let output = timeout(PATIENCE, output).await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let failed: Vec<_> = text.lines().filter(|line| line.starts_with("FAIL")).collect();
    assert!(matches!(failed.as_slice(), [line] if line.contains("a device registers")), "{text}");
}

#[tokio::test]
async fn queries_see_the_graph_of_the_start_at_once_however_late_they_see_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let output = local_azure(folder.path()).args(["demo", "--exit", "--free-ports", "--query-lag", "1h"]).output();
    let output = timeout(PATIENCE, output).await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = local_azure(folder.path());
        command.args(["up", "--free-ports", "--data-dir", "data", "--endpoints-file", "endpoints.json"]);
        command.stdout(Stdio::piped());
        command.spawn().unwrap()
    };
    let ready = async |child: &mut Child| {
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
        assert!(line.is_some_and(|line| line.starts_with("local-azure is ready")));
        serde_json::from_slice::<Value>(&fs::read(folder.path().join("endpoints.json")).unwrap()).unwrap()
    };
    let twin = |endpoints: &Value| {
        let authority = fs::read(endpoints["caFile"].as_str().unwrap()).unwrap();
        let client = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&authority).unwrap()])
            .build()
            .unwrap();
        let url = format!("{}/digitaltwins/kept?api-version=2023-10-31", endpoints["digitalTwins"].as_str().unwrap());
        (client, url, endpoints["digitalTwinsToken"].as_str().unwrap().to_owned())
    };
    let mut first = start();
    let endpoints = ready(&mut first).await;
    let (client, url, token) = twin(&endpoints);
    let body =
        serde_json::json!({ "$metadata": { "$model": "dtmi:contosocom:DigitalTwins:Space;1" }, "Temperature": 3 });
    let made = client.put(url).bearer_auth(token).json(&body).send().await.unwrap();
    assert_eq!(made.status().as_u16(), 200);
    first.kill().await.unwrap();
    let mut second = start();
    let (client, url, token) = twin(&ready(&mut second).await);
    let kept = client.get(url).bearer_auth(token).send().await.unwrap().text().await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&kept).unwrap()["Temperature"], 3, "{kept}");
}
