//! The process on a real wire: its token from an identity endpoint, its calls over TLS.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::serve::Listener;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::server::TlsStream;

use crate::fixtures;
use crate::process::Port;

/// A listener that speaks TLS with the certificate of `localhost`.
struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.tcp.accept().await.unwrap();
            // A client that does not trust the certificate hangs up.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

/// A certificate authority in a file, and the TLS configuration of a server that it vouches for.
fn certificates(folder: &Path) -> (PathBuf, ServerConfig) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let file = folder.join("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();

    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .unwrap();
    (file, config)
}

type Seen = Arc<Mutex<Vec<String>>>;

/// An instance that denies everything, and remembers method, path and token of what it was asked.
async fn denying_instance(config: ServerConfig) -> (u16, Seen) {
    let seen = Seen::default();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = tcp.local_addr().unwrap().port();
    let remembered = Arc::clone(&seen);
    let router = Router::new().fallback(move |request: Request| {
        let token = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let line = format!("{} {} {}", request.method(), request.uri().path(), token.unwrap_or_default());
        remembered.lock().unwrap().push(line);
        std::future::ready(StatusCode::FORBIDDEN)
    });
    let listener = TlsListener { tcp, acceptor: TlsAcceptor::from(Arc::new(config)) };
    tokio::spawn(async move { axum::serve(listener, router).await });
    (port, seen)
}

/// An identity endpoint that gives one token for ADT to whoever has the header.
async fn identity_endpoint() -> (String, Seen) {
    let seen = Seen::default();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/msi/token", tcp.local_addr().unwrap());
    let remembered = Arc::clone(&seen);
    let router = Router::new().fallback(move |request: Request| {
        let header = request.headers().get("x-identity-header").map(|value| value.to_str().unwrap().to_owned());
        remembered.lock().unwrap().push(format!("{} {}", request.uri(), header.unwrap_or_default()));
        let token = json!({
            "access_token": "managed-token",
            "expires_on": "4102444800",
            "resource": "https://digitaltwins.azure.net",
            "token_type": "Bearer",
        });
        std::future::ready(axum::Json(token).into_response())
    });
    tokio::spawn(async move { axum::serve(tcp, router).await });
    (endpoint, seen)
}

/// The handler, serving.
struct Handler {
    process: Child,
    port: u16,
    log: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
}

impl Handler {
    /// Starts it for the instance at `adt`, with the managed identity at `identity` and `more` variables.
    async fn start(adt: &str, identity: &str, more: &[(&str, &str)]) -> Self {
        let free = Port::free();
        let port = free.number;
        let mut process = Command::new(env!("CARGO_BIN_EXE_handler"))
            .env_clear()
            .envs([("ADT_SERVICE_URL", adt), ("IDENTITY_ENDPOINT", identity), ("IDENTITY_HEADER", "the-header")])
            .env("AZURE_CLIENT_ID", "the-client")
            .envs(more.iter().copied())
            .env("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string())
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stdout.take().unwrap()).lines();
        let serving = log.next_line().await.unwrap().unwrap();
        assert!(serving.contains("managed identity (user-assigned the-client)"), "{serving}");
        Self { process, port, log }
    }

    /// Calls the webhook as DPS does.
    async fn allocate(&self) -> (u16, Value) {
        let body = fixtures::bytes("functions", "http-trigger-original-body.json");
        let url = format!("http://127.0.0.1:{}/api/DpsAdtAllocationFunc", self.port);
        let response = reqwest::Client::new().post(url).body(body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// All that it logged.
    async fn end(mut self) -> String {
        self.process.start_kill().unwrap();
        let mut text = String::new();
        while let Some(line) = self.log.next_line().await.unwrap() {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }
}

#[tokio::test]
async fn calls_go_over_tls_with_a_token_of_the_managed_identity() {
    let folder = tempfile::tempdir().unwrap();
    let (ca_file, config) = certificates(folder.path());
    let (port, asked) = denying_instance(config).await;
    let (endpoint, tokens) = identity_endpoint().await;
    let trusted = [("ADT_CA_FILE", ca_file.to_str().unwrap())];
    let handler = Handler::start(&format!("https://localhost:{port}"), &endpoint, &trusted).await;

    let (status, answer) = handler.allocate().await;
    assert_eq!(status, 503);
    assert!(answer.to_string().contains("Azure Digital Twins Data Owner"), "{answer}");

    let mut asked = asked.lock().unwrap().clone();
    asked.sort();
    asked.dedup();
    assert!(asked.contains(&"GET /digitaltwins/thermostat-01 Bearer managed-token".to_owned()), "{asked:?}");
    assert!(asked.iter().all(|line| line.ends_with(" Bearer managed-token")), "{asked:?}");
    let tokens = tokens.lock().unwrap().clone();
    let [token] = &tokens[..] else { panic!("one token for all calls: {tokens:?}") };
    assert!(token.starts_with("/msi/token?") && token.ends_with(" the-header"), "{token}");
    for parameter in ["api-version=2019-08-01", "client_id=the-client", "resource=https%3A%2F%2Fdigitaltwins.azure.net"]
    {
        assert!(token.contains(parameter), "{token}");
    }

    let log = handler.end().await;
    assert!(log.contains("Azure Digital Twins Data Owner"), "{log}");
    assert!(!log.contains("managed-token") && !log.contains("the-header"), "{log}");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_gets_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let (_, config) = certificates(folder.path());
    let (port, asked) = denying_instance(config).await;
    let (endpoint, _) = identity_endpoint().await;
    let handler = Handler::start(&format!("https://localhost:{port}"), &endpoint, &[]).await;
    let (status, answer) = handler.allocate().await;
    assert_eq!(status, 503, "{answer}");
    assert!(asked.lock().unwrap().is_empty());
    let log = handler.end().await;
    assert!(log.to_lowercase().contains("certificate"), "{log}");
}

#[tokio::test]
async fn without_a_token_the_webhook_is_called_again_later() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/msi/token", nobody.local_addr().unwrap());
    drop(nobody);
    let handler = Handler::start("https://localhost:1", &endpoint, &[]).await;
    let (status, answer) = handler.allocate().await;
    assert_eq!(status, 503, "{answer}");
}
