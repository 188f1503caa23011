//! Devices with X.509 certificates in place of keys, over HTTPS.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use reqwest::{Client, Identity, Method, StatusCode};
use serde_json::{Value, json};

use super::site::{PATIENCE, Site, THERMOSTAT, authority};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn factory() -> Authority {
    let mut params = named("Contoso Factory");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A device with a certificate and its key.
struct Device<'a> {
    site: &'a Site,
    id: &'a str,
    certificate: rcgen::Certificate,
    https: Client,
}

impl<'a> Device<'a> {
    fn of(site: &'a Site, id: &'a str, factory: &Authority) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = named(id);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, factory).unwrap();
        let identity = format!("{}{}", certificate.pem(), key.serialize_pem());
        let hub = &site.running.endpoints().iot_hubs[0];
        let https = Client::builder()
            .timeout(PATIENCE)
            .no_proxy()
            .tls_certs_only([authority(site.running.endpoints())])
            .identity(Identity::from_pem(identity.as_bytes()).unwrap())
            .resolve(&hub.host_name, SocketAddr::from((Ipv4Addr::LOCALHOST, hub.https_port)))
            .build()
            .unwrap();
        Self { site, id, certificate, https }
    }

    /// A request to DPS; the answer's body.
    async fn dps(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let dps = &self.site.running.endpoints().dps;
        let (host, port, scope, id) = (&dps.host, dps.https_port, &dps.id_scope, self.id);
        let url = format!("https://{host}:{port}/{scope}/registrations/{id}{path}?api-version=2021-06-01");
        let mut request = self.https.request(method, url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.unwrap().json().await.unwrap()
    }

    /// Registers as a thermostat and waits for the outcome.
    async fn register(&self) -> Value {
        let body = json!({ "registrationId": self.id, "payload": { "modelId": THERMOSTAT } });
        let outcome = async {
            let mut answer = self.dps(Method::PUT, "/register", Some(body)).await;
            while answer["status"] == "assigning" {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let operation = answer["operationId"].as_str().unwrap().to_owned();
                answer = self.dps(Method::GET, &format!("/operations/{operation}"), None).await;
            }
            answer
        };
        tokio::time::timeout(PATIENCE, outcome).await.expect("the registration does not end")
    }

    /// Sends telemetry to the hub that it was assigned.
    async fn send(&self, body: Value) -> StatusCode {
        let hub = &self.site.running.endpoints().iot_hubs[0];
        let (host, port, id) = (&hub.host_name, hub.https_port, self.id);
        let url = format!("https://{host}:{port}/devices/{id}/messages/events?api-version=2021-04-12");
        let request = self.https.post(url).header("iothub-contenttype", "application/json").body(body.to_string());
        request.send().await.unwrap().status()
    }
}

/// An enrollment group of all devices that `factory` gave a certificate, which the function app allocates.
async fn enroll(site: &Site, factory: &Authority) {
    let document = json!({
        "enrollmentGroupId": "factory",
        "attestation": {
            "type": "x509",
            "x509": { "signingCertificates": { "primary": { "certificate": factory.pem() } } },
        },
        "allocationPolicy": "custom",
        "customAllocationDefinition": {
            "webhookUrl": site.running.endpoints().webhook_url,
            "apiVersion": "2021-10-01",
        },
    });
    site.dps(Method::PUT, "/enrollmentGroups/factory", Some(document)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_with_a_certificate_gets_a_twin_and_its_telemetry_reaches_it() {
    let site = Site::start().await;
    let factory = factory();
    enroll(&site, &factory).await;
    let device = Device::of(&site, "Pump-7", &factory);

    let answer = device.register().await;
    assert_eq!(answer["status"], "assigned", "{answer}");
    let state = &answer["registrationState"];
    assert_eq!((&state["deviceId"], &state["payload"]), (&json!("Pump-7"), &json!({ "dtId": "pump-7" })));
    let twin = site.twin("pump-7").await.unwrap();
    assert_eq!((&twin["$metadata"]["$model"], &twin["HubRegistrationId"]), (&json!(THERMOSTAT), &json!("pump-7")));
    let tags = site.hub(Method::GET, "/twins/Pump-7", None).await["tags"].clone();
    assert_eq!(tags, json!({ "dtId": "pump-7", "dtmi": THERMOSTAT }));

    assert_eq!(device.send(json!({ "Temperature": 21.5 })).await, StatusCode::NO_CONTENT);
    site.caught_up().await;
    assert_eq!(site.twin("pump-7").await.unwrap()["Temperature"], 21.5);

    site.delete_device("Pump-7").await;
    site.caught_up().await;
    assert_eq!(site.twin("pump-7").await, None);
    assert_eq!(device.send(json!({ "Temperature": 22.5 })).await, StatusCode::UNAUTHORIZED);
    let (log, shown) = (site.console().await.join("\n"), BASE64.encode(device.certificate.der()));
    assert!(!log.contains(&shown), "the handler logs no certificates");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_with_a_strangers_certificate_gets_nothing() {
    let site = Site::start().await;
    enroll(&site, &factory()).await;
    let twins = site.running.services().digital_twins.twin_count();
    let device = Device::of(&site, "pump-7", &factory());
    let answer = device.register().await;
    assert_eq!(answer["errorCode"].as_u64().unwrap() / 1_000, 401, "{answer}");
    assert_eq!(device.send(json!({ "Temperature": 21.5 })).await, StatusCode::UNAUTHORIZED);
    assert_eq!(site.running.services().digital_twins.twin_count(), twins);
    assert_eq!(site.running.services().iot_hubs[0].devices(), []);
}
