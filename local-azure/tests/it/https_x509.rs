//! The HTTPS port with its certificate: requests and WebSockets of devices that show one of their own.

use std::net::{Ipv4Addr, SocketAddr};

use axum::http::header::SEC_WEBSOCKET_PROTOCOL;
use local_azure::{
    Running,
    config::{Config, Part},
    iot_hub::{Authentication, NewAuthentication, NewIdentity, Thumbprints},
};
use reqwest::{Client, Identity, StatusCode};
use rumqttc::ConnectReturnCode;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tempfile::TempDir;
use tokio_tungstenite::{client_async, tungstenite::client::IntoClientRequest as _};

use crate::{
    certificates::{Shown, YEARS},
    iot_site::{device, x509_connect},
    mqtt_client::{self, Client as MqttClient},
    web_socket::{PATH, bytes_of},
};

/// Everything but the Functions host, and a device `d1` with this certificate.
async fn start(shown: &Shown) -> (Running, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(folder.path().join("ca")).with_free_ports();
    config.parts.retain(|part| *part != Part::Functions);
    let running = local_azure::start(config).await.unwrap();
    let thumbprints = Thumbprints { primary: shown.sha256(), secondary: None };
    let authentication = NewAuthentication::These(Authentication::Thumbprints(thumbprints));
    let new = NewIdentity { authentication, ..NewIdentity::default() };
    running.services().iot_hubs[0].create(&device("d1"), new).unwrap();
    (running, folder)
}

/// A client that shows this certificate.
fn https(running: &Running, shown: Option<&Shown>) -> Client {
    let authority = std::fs::read(&running.endpoints().ca_file).unwrap();
    let builder = Client::builder().no_proxy();
    let builder = builder.tls_certs_only([reqwest::Certificate::from_pem(&authority).unwrap()]);
    let builder = match shown {
        None => builder,
        Some(shown) => {
            let certificate = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", shown.base64());
            let pem = certificate + &shown.key.serialize_pem();
            builder.identity(Identity::from_pem(pem.as_bytes()).unwrap())
        }
    };
    builder.build().unwrap()
}

#[tokio::test]
async fn a_device_sends_over_https_by_its_certificate_alone() {
    let shown = Shown::self_signed("d1", YEARS);
    let (running, _folder) = start(&shown).await;
    let port = running.endpoints().dps.https_port;
    let url = format!("https://localhost:{port}/devices/d1/messages/events?api-version=2021-04-12");
    for (why, shown, expected) in [
        ("its own", Some(&shown), StatusCode::NO_CONTENT),
        ("another", Some(&Shown::self_signed("d1", YEARS)), StatusCode::UNAUTHORIZED),
        ("none", None, StatusCode::UNAUTHORIZED),
    ] {
        let client = https(&running, shown);
        // Twice on one connection.
        for _ in 0..2 {
            assert_eq!(client.post(&url).body("{}").send().await.unwrap().status(), expected, "{why}");
        }
    }
    assert_eq!(running.services().iot_hubs[0].counts().messages, 2);
    running.stop().await;
}

#[tokio::test]
async fn a_device_connects_over_a_web_socket_by_its_certificate_alone() {
    let shown = Shown::self_signed("d1", YEARS);
    let (running, _folder) = start(&shown).await;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, running.endpoints().dps.https_port));
    let authority = CertificateDer::from_pem_file(&running.endpoints().ca_file).unwrap();
    for (why, shown, expected) in [
        ("its own", Some(&shown), ConnectReturnCode::Success),
        ("another", Some(&Shown::self_signed("d1", YEARS)), ConnectReturnCode::NotAuthorized),
        ("none", None, ConnectReturnCode::NotAuthorized),
    ] {
        let stream = mqtt_client::tls_showing(address, &authority, shown, rustls::ALL_VERSIONS).await.unwrap();
        let mut request = format!("wss://localhost{PATH}").into_client_request().unwrap();
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, "mqtt".parse().unwrap());
        let (socket, _) = client_async(request, stream).await.unwrap();
        let (mut client, code, _) = MqttClient::connect(bytes_of(socket, 64), x509_connect("localhost", "d1")).await;
        assert_eq!(code, expected, "{why}");
        match code {
            ConnectReturnCode::Success => client.disconnect().await,
            _ => client.closed().await,
        }
    }
    running.stop().await;
}
