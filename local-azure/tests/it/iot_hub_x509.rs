//! Devices and modules that sign in to IoT Hub with a certificate.

use local_azure::iot_hub::{Address, Authentication, Condition, NewIdentity, Status, Thumbprints};
use rumqttc::{Connect, ConnectReturnCode, QoS};
use rustls::version::{TLS12, TLS13};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use crate::{
    certificates::{Shown, YEARS},
    iot_site::{HUB, KEY, LATER, Site, device, hub_connect, module, x509_connect},
    mqtt_client::{self, Client, token},
};

fn known(primary: &Shown, secondary: &Shown) -> Authentication {
    Authentication::Thumbprints(Thumbprints { primary: primary.sha1(), secondary: secondary.sha256() })
}

/// How the hub says that it knows who sent the last event.
fn methods(site: &Site) -> Vec<String> {
    let method = |event: &local_azure::event_hubs::EventData| {
        let text = event.annotations["iothub-connection-auth-method"].as_str().unwrap();
        let method: Value = serde_json::from_str(text).unwrap();
        format!("{} {} {}", method["scope"], method["type"], method["issuer"]).replace('"', "")
    };
    Site::events(&site.telemetry).iter().map(method).collect()
}

#[tokio::test]
async fn either_certificate_lets_a_device_in_over_each_version_of_tls() {
    let site = Site::start().await;
    let (first, second) = (Shown::self_signed("anything", YEARS), Shown::self_signed("d1", YEARS));
    site.create_with(0, &device("d1"), known(&first, &second));
    for shown in [&first, &second] {
        for version in [&TLS12, &TLS13] {
            let stream = mqtt_client::tls_showing(site.address, &site.certificate, Some(shown), &[version]).await;
            let (mut client, code, _) = Client::connect(stream.unwrap(), x509_connect(HUB, "d1")).await;
            assert_eq!(code, ConnectReturnCode::Success, "{version:?}");
            client.publish("devices/d1/messages/events/", QoS::AtLeastOnce, "{}").await;
            client.disconnect().await;
        }
    }
    assert_eq!(methods(&site), ["device x509 iothub"; 4]);
    site.stop().await;
}

#[tokio::test]
async fn a_module_is_let_in_by_its_own_certificate_and_a_token_counts_more_than_a_certificate() {
    let site = Site::start().await;
    let (of_device, of_module) = (Shown::self_signed("d1", YEARS), Shown::self_signed("m1", YEARS));
    site.create(&device("d1"));
    site.create_with(0, &module("d1", "m1"), known(&of_module, &of_module));
    let (mut client, code) = site.try_connect_showing(&of_module, x509_connect(HUB, "d1/m1")).await;
    assert_eq!(code, ConnectReturnCode::Success);
    client.publish("devices/d1/modules/m1/messages/events/", QoS::AtLeastOnce, "{}").await;
    assert_eq!(methods(&site), ["module x509 iothub"]);
    let (_, code) = site.try_connect_showing(&of_device, hub_connect(HUB, "d1", KEY)).await;
    assert_eq!(code, ConnectReturnCode::Success, "the certificate is not looked at");
    site.stop().await;
}

#[tokio::test]
async fn others_are_not_let_in() {
    let site = Site::start().await;
    let (own, other) = (Shown::self_signed("d1", YEARS), Shown::self_signed("d1", YEARS));
    let (over, early) = (Shown::self_signed("d1", (2020, 2025)), Shown::self_signed("d1", (2030, 2040)));
    let create = |id: &str, shown: &Shown| site.create_with(0, &device(id), known(shown, shown));
    create("d1", &own);
    create("over", &over);
    create("early", &early);
    create("off", &own);
    let disabled = NewIdentity { status: Status::Disabled, ..NewIdentity::default() };
    site.hubs[0].update(&device("off"), disabled, &Condition::Any).unwrap();
    site.create(&device("keys"));
    site.create_with(0, &device("authority"), Authentication::Authority {});
    site.create(&module("d1", "m1"));
    let with_token = |id: &str| {
        let mut connect = x509_connect(HUB, id);
        let user_name = format!("{HUB}/{id}/?api-version=2021-04-12");
        connect.set_credentials(user_name, token(KEY, &format!("{HUB}/devices/{id}"), None, LATER));
        connect
    };
    for (why, shown, connect) in [
        ("another certificate", &other, x509_connect(HUB, "d1")),
        ("no more valid", &over, x509_connect(HUB, "over")),
        ("not valid yet", &early, x509_connect(HUB, "early")),
        ("disabled", &own, x509_connect(HUB, "off")),
        ("has keys", &own, x509_connect(HUB, "keys")),
        ("needs an authority", &own, x509_connect(HUB, "authority")),
        ("unknown", &own, x509_connect(HUB, "d2")),
        ("a module has its own", &own, x509_connect(HUB, "d1/m1")),
        ("a token, but no keys", &own, with_token("d1")),
    ] {
        let (mut client, code) = site.try_connect_showing(shown, connect).await;
        assert_eq!(code, ConnectReturnCode::NotAuthorized, "{why}");
        client.closed().await;
    }
    let (_, code) = site.try_connect(x509_connect(HUB, "d1")).await;
    assert_eq!(code, ConnectReturnCode::NotAuthorized, "no certificate");
    let (_, code) = site.try_connect(with_token("d1")).await;
    assert_eq!(code, ConnectReturnCode::NotAuthorized, "a token alone");
    assert_eq!(site.hubs[0].counts().connected, 0);
    site.stop().await;
}

#[tokio::test]
async fn who_has_a_certificate_without_its_key_gets_no_connection() {
    let site = Site::start().await;
    let own = Shown::self_signed("d1", YEARS);
    site.create_with(0, &device("d1"), known(&own, &own));
    for version in [&TLS12, &TLS13] {
        let stolen = own.stolen();
        let ended = match mqtt_client::tls_showing(site.address, &site.certificate, Some(&stolen), &[version]).await {
            Err(error) => error,
            // In TLS 1.3 the client is done before the server has looked.
            Ok(mut stream) => stream.read_u8().await.unwrap_err(),
        };
        assert!(ended.to_string().contains("Decrypt"), "{version:?}: {ended}");
    }
    site.stop().await;
}

#[tokio::test]
async fn no_more_certificates_are_read_than_a_chain_can_have() {
    let site = Site::start().await;
    let Shown { chain, key } = Shown::self_signed("d1", YEARS);
    let mut shown = Shown { chain: vec![chain[0].clone(); 8], key };
    site.create_with(0, &device("d1"), known(&shown, &shown));
    let show =
        async |shown: &Shown| mqtt_client::tls_showing(site.address, &site.certificate, Some(shown), &[&TLS12]).await;
    let (_, code, _) = Client::connect(show(&shown).await.unwrap(), x509_connect(HUB, "d1")).await;
    assert_eq!(code, ConnectReturnCode::Success);
    shown.chain.push(chain[0].clone());
    assert!(show(&shown).await.is_err());
    site.stop().await;
}

#[tokio::test]
async fn thumbprints_outlive_the_process() {
    let site = Site::start().await;
    let own = Shown::self_signed("d1", YEARS);
    let at: Address = device("d1");
    site.create_with(0, &at, known(&own, &own));
    let later = site.restarted().await;
    site.stop().await;
    let connect: Connect = x509_connect(HUB, "d1");
    assert_eq!(later.try_connect_showing(&own, connect).await.1, ConnectReturnCode::Success);
    later.stop().await;
}
