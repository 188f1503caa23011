//! The process: its command line, its exit codes, its signals.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use tokio::net::TcpSocket;

/// The handler with these arguments and, but for these, no variables.
pub fn handler(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_handler"));
    command.args(arguments).env_clear().envs(variables.iter().copied()).stdin(Stdio::null());
    command
}

fn output(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    handler(arguments, variables).output().unwrap()
}

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn help_and_version_are_printed() {
    let help = output(&["--help"], &[]);
    assert!(help.status.success());
    assert!(text(&help.stdout).contains("Usage: handler"));
    let version = output(&["--version"], &[]);
    assert_eq!(text(&version.stdout), concat!("handler ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn an_unknown_argument_is_refused_with_a_hint() {
    let refused = output(&["serve"], &[]);
    assert_eq!(refused.status.code(), Some(64));
    let hint = text(&refused.stderr);
    assert!(hint.contains("unrecognized subcommand 'serve'") && hint.contains("--help"), "{hint}");
}

#[test]
fn wrong_settings_end_the_process_with_all_that_is_wrong() {
    let ended = output(&[], &[("FUNCTIONS_CUSTOMHANDLER_PORT", "no"), ("AZURE_CLIENT_SECRET", "hunter2")]);
    assert_eq!(ended.status.code(), Some(78));
    let problems: Vec<_> = text(&ended.stderr).lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(problems, ["FUNCTIONS_CUSTOMHANDLER_PORT", "ADT_SERVICE_URL", "AZURE_TENANT_ID", "AZURE_CLIENT_ID"]);
    assert!(!text(&ended.stderr).contains("hunter2") && !text(&ended.stdout).contains("hunter2"));
}

const ADT: (&str, &str) = ("ADT_SERVICE_URL", "https://contoso.api.weu.digitaltwins.azure.net");

#[test]
fn without_a_host_the_port_is_asked_for() {
    let ended = output(&[], &[ADT]);
    assert_eq!(ended.status.code(), Some(78));
    assert!(text(&ended.stderr).starts_with("FUNCTIONS_CUSTOMHANDLER_PORT is not set"));
}

#[test]
fn a_port_that_is_taken_ends_the_process() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = output(&[], &[ADT, ("FUNCTIONS_CUSTOMHANDLER_PORT", &port)]);
    assert_eq!(ended.status.code(), Some(1));
    let told = text(&ended.stderr);
    assert!(told.starts_with(&format!("cannot listen on 127.0.0.1:{port}")), "{told}");
    assert!(told.contains("set FUNCTIONS_CUSTOMHANDLER_PORT to a free port"), "{told}");
}

#[test]
fn an_identity_endpoint_that_is_no_address_is_a_wrong_setting() {
    let identity = [("IDENTITY_ENDPOINT", "nowhere"), ("IDENTITY_HEADER", "hunter2")];
    let free = Port::free();
    let port = free.number.to_string();
    let ended = output(&[], &[ADT, identity[0], identity[1], ("FUNCTIONS_CUSTOMHANDLER_PORT", &port)]);
    assert_eq!(ended.status.code(), Some(78));
    let told = text(&ended.stderr);
    assert!(told.contains("IDENTITY_ENDPOINT") && !told.contains("hunter2"), "{told}");
}

#[test]
fn a_ca_file_without_a_certificate_ends_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let (empty, broken) = (folder.path().join("ca.pem"), folder.path().join("broken.pem"));
    std::fs::write(&empty, "no certificate").unwrap();
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----\n").unwrap();
    let free = Port::free();
    let port = free.number.to_string();
    for file in [empty, broken, folder.path().join("absent.pem")] {
        let variables = [ADT, ("ADT_CA_FILE", file.to_str().unwrap()), ("FUNCTIONS_CUSTOMHANDLER_PORT", &port)];
        let ended = output(&[], &variables);
        assert_eq!(ended.status.code(), Some(78), "{}", text(&ended.stderr));
        assert!(text(&ended.stderr).starts_with("ADT_CA_FILE "));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_system_without_trusted_roots_ends_the_process_that_was_asked_whether_it_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none.pem");
    std::fs::write(&none, "").unwrap();
    let free = Port::free();
    let port = free.number.to_string();
    let roots = ("SSL_CERT_FILE", none.to_str().unwrap());
    let mut process = handler(&[], &[ADT, roots, ("FUNCTIONS_CUSTOMHANDLER_PORT", &port)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _rest = until_it_serves(&mut process);
    // Whether there is an answer before it ends is chance.
    drop(ask(&port));
    let ended = process.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{}", text(&ended.stderr));
    assert!(text(&ended.stderr).starts_with("no HTTP client: "), "{}", text(&ended.stderr));
}

/// Waits until a process serves; gives that line of its log, and those that follow.
fn until_it_serves(process: &mut Child) -> (String, Lines<BufReader<ChildStdout>>) {
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.contains(r#""message":"serving""#), "{first}");
    (first, lines)
}

/// Asks, as the host does, whether the process is ready.
fn ask(port: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(format!("127.0.0.1:{port}"))?;
    connection.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A free port for a process.
pub struct Port {
    pub number: u16,
    /// Keeps others from getting it before the process listens there. Linux lets two sockets have a port that both are
    /// ready to share (`SO_REUSEADDR`), while only one of them listens.
    _reserved: Option<TcpSocket>,
}

impl Port {
    pub fn free() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        #[cfg(target_os = "linux")]
        socket.set_reuseaddr(true).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let number = socket.local_addr().unwrap().port();
        Self { number, _reserved: cfg!(target_os = "linux").then_some(socket) }
    }
}

#[cfg(unix)]
#[test]
fn a_signal_ends_the_process_with_success() {
    for signal in ["-TERM", "-INT"] {
        let free = Port::free();
        let port = free.number.to_string();
        let mut process =
            handler(&[], &[ADT, ("FUNCTIONS_CUSTOMHANDLER_PORT", &port)]).stdout(Stdio::piped()).spawn().unwrap();
        let (first, mut lines) = until_it_serves(&mut process);
        assert!(first.contains("Azure CLI"), "{first}");

        let answer = ask(&port).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");

        assert!(Command::new("kill").args([signal, &process.id().to_string()]).status().unwrap().success());
        assert_eq!(process.wait().unwrap().code(), Some(0));
        assert!(lines.any(|line| line.unwrap().contains("ending after SIG")));
    }
}
