//! The program itself, over real sockets: its output, its exit codes, its signals.

use std::{net::Ipv4Addr, process::Stdio, time::Duration};

use rumqttc::mqttbytes::v4::ConnectReturnCode;
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::timeout,
};

use crate::peer::{Certificate, KEY, Session};

/// A server on a port of its own, and the settings that lead there.
struct Server {
    listener: TcpListener,
    certificate: Certificate,
    folder: TempDir,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let server = Self { listener, certificate: Certificate::new(), folder: TempDir::new().unwrap() };
        std::fs::write(server.folder.path().join("ca.pem"), &server.certificate.pem).unwrap();
        server
    }

    /// The program with all settings, in a folder without a `.env`.
    fn program(&self) -> Command {
        let mut program = bare_program(&self.folder);
        program
            .env("PROVISIONING_HOST", format!("localhost:{}", self.listener.local_addr().unwrap().port()))
            .env("PROVISIONING_IDSCOPE", "0ne00ABCDEF")
            .env("PROVISIONING_REGISTRATION_ID", "thermo-01")
            .env("ADT_MODEL_ID", "dtmi:contosocom:DigitalTwins:Thermostat;2")
            .env("PROVISIONING_SYMMETRIC_KEY", KEY)
            .env("PROVISIONING_CA_FILE", "ca.pem");
        program
    }

    async fn accept(&self) -> Session<TcpStream> {
        let (stream, address) = self.listener.accept().await.unwrap();
        Session::accept(&self.certificate.acceptor, address.to_string(), stream).await
    }

    async fn accept_dps(&self) -> Session<TcpStream> {
        let mut dps = self.accept().await;
        dps.answer_connect(ConnectReturnCode::Success).await;
        dps.answer_subscribe().await;
        dps
    }

    async fn assign(&self) {
        let mut dps = self.accept_dps().await;
        let register = dps.request().await;
        assert!(register.body.contains(r#""payload":{"modelId":"dtmi:contosocom:DigitalTwins:Thermostat;2"}"#));
        let state = json!({"assignedHub": "contoso-hub.azure-devices.localhost", "deviceId": "thermo-01"});
        dps.answer(&register, 200, "", &json!({"status": "assigned", "registrationState": state})).await;
        dps.expect_end().await;
    }

    async fn accept_hub(&self) -> Session<TcpStream> {
        let mut hub = self.accept().await;
        hub.answer_connect(ConnectReturnCode::Success).await;
        hub
    }
}

fn bare_program(folder: &TempDir) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_device-simulator"));
    for setting in device_simulator::Setting::ALL {
        program.env_remove(setting.name);
    }
    program.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    program.kill_on_drop(true);
    program
}

/// Waits for the end: exit code, stdout, stderr.
async fn finish(child: Child) -> (Option<i32>, String, String) {
    let output = timeout(Duration::from_secs(60), child.wait_with_output()).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn the_wanted_number_of_messages_a_line_each_and_exit_code_0() {
    let server = Server::start().await;
    let child = server.program().args(["Thermo-02", "--messages", "2", "--interval", "1ms"]).spawn().unwrap();
    server.assign().await;
    let mut hub = server.accept_hub().await;
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let message = hub.message().await;
        bodies.push(String::from_utf8(message.payload.to_vec()).unwrap());
        hub.acknowledge(&message).await;
    }
    hub.expect_end().await;
    let (code, stdout, stderr) = finish(child).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout, format!("thermo-02 1 {}\nthermo-02 2 {}\n", bodies[0], bodies[1]));
    assert!(bodies[0].starts_with(r#"{"Temperature":2"#), "{bodies:?}");
    assert!(stderr.contains("a real device holds only its own"), "{stderr}");
    assert!(stderr.ends_with("thermo-02: 2 acknowledged, 0 dropped, 0 not acknowledged\n"), "{stderr}");
    assert!(!stderr.contains(KEY) && !stderr.contains("sig="), "{stderr}");
}

#[tokio::test]
async fn settings_come_from_a_file_where_the_environment_has_none() {
    let server = Server::start().await;
    let file = "PROVISIONING_IDSCOPE=\"0neFromFile\"\nPROVISIONING_REGISTRATION_ID=from-file\n";
    std::fs::write(server.folder.path().join(".env"), file).unwrap();
    let mut program = server.program();
    let _child = program.env_remove("PROVISIONING_REGISTRATION_ID").spawn().unwrap();
    let dps = server.accept().await;
    let (user_name, _) = dps.credentials();
    assert!(user_name.starts_with("0ne00ABCDEF/registrations/from-file/"), "{user_name}");
}

#[tokio::test]
async fn files_are_read_as_editors_on_windows_save_them() {
    let server = Server::start().await;
    let windows =
        |text: &str| format!("\u{feff}{}", text.lines().map(|line| format!("{line}\r\n")).collect::<String>());
    std::fs::write(server.folder.path().join("ca.pem"), windows(&server.certificate.pem)).unwrap();
    let file = windows("PROVISIONING_REGISTRATION_ID=\"from-file\"\nOTHER=1\n");
    std::fs::write(server.folder.path().join(".env"), file).unwrap();
    let mut program = server.program();
    let _child = program.env_remove("PROVISIONING_REGISTRATION_ID").spawn().unwrap();
    let dps = server.accept().await;
    let (user_name, _) = dps.credentials();
    assert!(user_name.starts_with("0ne00ABCDEF/registrations/from-file/"), "{user_name}");
}

#[tokio::test]
async fn missing_settings_are_named_and_exit_code_2() {
    let folder = TempDir::new().unwrap();
    let (code, stdout, stderr) = finish(bare_program(&folder).spawn().unwrap()).await;
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert_eq!(stderr.lines().filter(|line| line.starts_with("error: ") && line.contains("is not set")).count(), 5);

    let server = Server::start().await;
    let (code, _, stderr) = finish(server.program().env("PROVISIONING_CA_FILE", "no.pem").spawn().unwrap()).await;
    assert_eq!(code, Some(2));
    assert!(stderr.starts_with("error: PROVISIONING_CA_FILE no.pem: "), "{stderr}");
}

#[tokio::test]
async fn a_device_that_dps_refuses_is_exit_code_3() {
    let server = Server::start().await;
    let child = server.program().spawn().unwrap();
    let mut dps = server.accept_dps().await;
    let register = dps.request().await;
    dps.answer(&register, 401, "", &json!({"errorCode": 401_000, "message": "Unauthorized"})).await;
    let (code, _, stderr) = finish(child).await;
    assert_eq!(code, Some(3), "{stderr}");
    let last = stderr.lines().last().unwrap();
    assert!(last.starts_with("error: DPS does not accept the device's key: error 401000, Unauthorized; "), "{last}");
}

#[tokio::test]
async fn a_hub_that_does_not_take_the_device_is_exit_code_4() {
    let server = Server::start().await;
    let child = server.program().spawn().unwrap();
    server.assign().await;
    server.accept().await.answer_connect(ConnectReturnCode::BadClientId).await;
    let (code, _, stderr) = finish(child).await;
    assert_eq!(code, Some(4), "{stderr}");
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_exit_code_5_and_names_the_setting() {
    let server = Server::start().await;
    std::fs::write(server.folder.path().join("ca.pem"), Certificate::new().pem).unwrap();
    let child = server.program().spawn().unwrap();
    let (stream, _) = server.listener.accept().await.unwrap();
    server.certificate.acceptor.accept(stream).await.unwrap_err();
    let (code, _, stderr) = finish(child).await;
    assert_eq!(code, Some(5), "{stderr}");
    assert!(stderr.contains("not trusted") && stderr.contains("PROVISIONING_CA_FILE"), "{stderr}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_disconnects_cleanly_and_exit_code_0() {
    for signal in ["-INT", "-TERM"] {
        let server = Server::start().await;
        let mut child = server.program().spawn().unwrap();
        server.assign().await;
        let mut hub = server.accept_hub().await;
        let message = hub.message().await;
        hub.acknowledge(&message).await;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.next_line().await.unwrap().unwrap().starts_with("thermo-01 1 "));
        let pid = child.id().unwrap().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().await.unwrap().success());
        hub.expect_goodbye().await;
        let (code, _, stderr) = finish(child).await;
        assert_eq!(code, Some(0), "{signal}: {stderr}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_disk_that_is_full_stops_it_with_exit_code_1() {
    let server = Server::start().await;
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let child = server.program().args(["--interval", "1ms"]).stdout(full).spawn().unwrap();
    server.assign().await;
    let mut hub = server.accept_hub().await;
    let message = hub.message().await;
    hub.acknowledge(&message).await;
    hub.expect_goodbye().await;
    let (code, _, stderr) = finish(child).await;
    assert_eq!(code, Some(1), "{stderr}");
    let last = stderr.lines().last().unwrap();
    assert!(last.starts_with("error: messages cannot be written to standard output: No space left"), "{stderr}");
}

#[tokio::test]
async fn nobody_reading_stdout_stops_it() {
    let server = Server::start().await;
    let mut child = server.program().args(["--interval", "1ms"]).spawn().unwrap();
    drop(child.stdout.take());
    server.assign().await;
    let mut hub = server.accept_hub().await;
    let message = hub.message().await;
    hub.acknowledge(&message).await;
    hub.expect_goodbye().await;
    assert_eq!(finish(child).await.0, Some(0));
}
