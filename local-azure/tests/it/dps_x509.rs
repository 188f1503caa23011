//! Devices that register with a certificate: under an enrollment of their own, or of a group.

use local_azure::{dps, iot_hub::Address, x509::Certificate};
use reqwest::{Method, StatusCode};
use rumqttc::{Connect, ConnectReturnCode, QoS};
use serde_json::{Value, json};

use crate::{
    certificates::{Authority, Shown, YEARS, authority},
    iot_site::{GROUP_KEY, HUB, ID_SCOPE, KEY, LATER, Site, device, dps_connect, poll, register, x509_connect},
    mqtt_client::token,
};

/// CONNECT without a password.
fn connect(id: &str) -> Connect {
    let mut connect = Connect::new(id);
    connect.set_username(format!("{ID_SCOPE}/registrations/{id}/api-version=2019-03-31&ClientVersion=test"));
    connect
}

/// Registers as who has this certificate: the last answer's topic and body.
async fn try_register(site: &Site, id: &str, shown: &Shown) -> Value {
    let (mut client, code) = site.try_connect_showing(shown, connect(id)).await;
    assert_eq!(code, ConnectReturnCode::Success, "a device is told when it registers");
    client.subscribe("$dps/registrations/res/#", QoS::AtLeastOnce).await;
    let mut answer = register(&mut client, id, Some(json!({ "modelId": "dtmi:a;1" }))).await;
    while answer["status"] == "assigning" {
        (_, answer) = poll(&mut client, answer["operationId"].as_str().unwrap()).await;
    }
    client.disconnect().await;
    answer
}

/// A request to the service API; status and body.
async fn service(site: &Site, method: Method, path: &str, etag: Option<&str>, body: Value) -> (StatusCode, Value) {
    let authorization = token(KEY, &site.http.to_string(), Some(dps::OWNER), LATER);
    let url = format!("http://{}{path}?api-version=2021-10-01", site.http);
    let mut request = reqwest::Client::new().request(method, url).header("authorization", authorization);
    if let Some(etag) = etag {
        request = request.header("if-match", etag);
    }
    let response = request.body(body.to_string()).send().await.unwrap();
    let status = response.status();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
}

async fn enroll(site: &Site, path: &str, x509: Value, more: Value) -> Value {
    let mut document = json!({ "attestation": { "type": "x509", "x509": x509 } });
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (status, body) = service(site, Method::PUT, path, None, document).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

/// Enrolls a single device with one or two certificates.
async fn enroll_device(site: &Site, id: &str, shown: &[&Shown], more: Value) -> Value {
    let certificate = |at: usize| shown.get(at).map(|shown| json!({ "certificate": shown.base64() }));
    let certificates = json!({ "primary": certificate(0), "secondary": certificate(1) });
    enroll(site, &format!("/enrollments/{id}"), json!({ "clientCertificates": certificates }), more).await
}

async fn enroll_group(site: &Site, id: &str, primary: &Authority, secondary: Option<&Authority>) -> Value {
    let certificate = |authority: &Authority| json!({ "certificate": authority.pem() });
    let certificates = json!({ "primary": certificate(primary), "secondary": secondary.map(certificate) });
    let hashed = json!({ "allocationPolicy": "static" });
    enroll(site, &format!("/enrollmentGroups/{id}"), json!({ "signingCertificates": certificates }), hashed).await
}

fn thumbprint(shown: &Shown) -> String {
    shown.sha256().unwrap().to_string()
}

/// How the first hub knows a device.
fn authentication(site: &Site, at: &Address) -> Value {
    site.hubs[0].identity(at).unwrap()["authentication"].take()
}

#[tokio::test]
async fn a_device_of_its_own_enrollment_is_allocated_by_the_webhook_and_known_in_its_hub_by_its_certificate() {
    let site = Site::start().await;
    let shown = Shown::self_signed("Pump-1", YEARS);
    let custom = json!({ "allocationPolicy": "static", "deviceId": "the pump".replace(' ', "-"), "initialTwin": { "tags": { "a": 1 } } });
    let enrolled = enroll_device(&site, "pump-1", &[&shown], custom).await;
    let info = &enrolled["attestation"]["x509"]["clientCertificates"]["primary"];
    assert_eq!(
        info,
        &json!({ "info": Certificate::from_der(shown.leaf()).unwrap().show() }),
        "no certificate, but what it says"
    );
    let (_, read) = service(&site, Method::GET, "/enrollments/pump-1", None, Value::Null).await;
    assert_eq!(read, enrolled);

    let answer = try_register(&site, "Pump-1", &shown).await;
    let state = &answer["registrationState"];
    assert_eq!(
        (&answer["status"], &state["x509"], &state["deviceId"]),
        (&json!("assigned"), &json!({}), &json!("the-pump"))
    );
    let known = json!({ "primaryThumbprint": thumbprint(&shown), "secondaryThumbprint": thumbprint(&shown) });
    let in_hub = authentication(&site, &device("the-pump"));
    assert_eq!((&in_hub["type"], &in_hub["x509Thumbprint"]), (&json!("selfSigned"), &known));
    let (mut client, code) = site.try_connect_showing(&shown, x509_connect(HUB, "the-pump")).await;
    assert_eq!(code, ConnectReturnCode::Success);
    client.ping().await;
    site.stop().await;
}

#[tokio::test]
async fn the_webhook_is_shown_the_certificate() {
    let site = Site::start().await;
    let shown = Shown::self_signed("d1", YEARS);
    let (_, group) = service(&site, Method::GET, "/enrollmentGroups/thermostats", None, Value::Null).await;
    let custom =
        json!({ "allocationPolicy": "custom", "customAllocationDefinition": group["customAllocationDefinition"] });
    enroll_device(&site, "d1", &[&shown], custom).await;
    assert_eq!(try_register(&site, "d1", &shown).await["status"], "assigned");
    let request = site.hook.requests().remove(0);
    let context = json!({
        "registrationId": "d1", "x509": { "clientCertificate": shown.base64() }, "payload": { "modelId": "dtmi:a;1" },
    });
    assert_eq!(request["deviceRuntimeContext"], context);
    let info = &request["individualEnrollment"]["attestation"]["x509"]["clientCertificates"]["primary"]["info"];
    assert_eq!(info["sha256Thumbprint"], thumbprint(&shown));
    // The documented form, member for member.
    let recorded: Value = serde_json::from_str(include_str!("../fixtures/iot/webhook_requests.json")).unwrap();
    let recorded = recorded.as_array().unwrap().iter().find(|case| case["name"] == "group_x509").unwrap();
    let members = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let recorded = &recorded["body"];
    assert_eq!(members(&request["deviceRuntimeContext"]), members(&recorded["deviceRuntimeContext"]));
    let of_group = &recorded["enrollmentGroup"]["attestation"]["x509"]["signingCertificates"]["primary"]["info"];
    assert_eq!(members(info), members(of_group));
    site.stop().await;
}

#[tokio::test]
async fn a_rolled_certificate_is_known_in_the_hub_after_the_next_registration() {
    let site = Site::start().await;
    let (first, second) = (Shown::self_signed("d1", YEARS), Shown::self_signed("d1", YEARS));
    enroll_device(&site, "d1", &[&first, &second], json!({ "allocationPolicy": "static" })).await;
    for (shown, other) in [(&first, &second), (&second, &first)] {
        assert_eq!(try_register(&site, "d1", shown).await["status"], "assigned");
        assert_eq!(authentication(&site, &device("d1"))["x509Thumbprint"]["primaryThumbprint"], thumbprint(shown));
        let (_, code) = site.try_connect_showing(shown, x509_connect(HUB, "d1")).await;
        assert_eq!(code, ConnectReturnCode::Success);
        let (_, code) = site.try_connect_showing(other, x509_connect(HUB, "d1")).await;
        assert_eq!(code, ConnectReturnCode::NotAuthorized);
    }
    site.stop().await;
}

#[tokio::test]
async fn devices_of_a_group_are_called_as_their_certificates_say() {
    let site = Site::start().await;
    let (root, other_root) = (authority("root", None), authority("other root", None));
    let line = authority("line 7", Some(&root));
    enroll_group(&site, "factory", &root, Some(&other_root)).await;
    for (id, shown) in [
        ("by-root", Shown::issued("by-root", YEARS, &[&root])),
        ("By-Other", Shown::issued("by-other", YEARS, &[&other_root])),
        ("by-line", Shown::issued("by-line", YEARS, &[&root, &line])),
    ] {
        let answer = try_register(&site, id, &shown).await;
        let state = &answer["registrationState"];
        assert_eq!(
            (&state["deviceId"], &state["x509"]),
            (&json!(id), &json!({ "enrollmentGroupId": "factory" })),
            "{answer}"
        );
        let (_, code) = site.try_connect_showing(&shown, x509_connect(HUB, id)).await;
        assert_eq!(code, ConnectReturnCode::Success);
    }
    let (_, under) = service(&site, Method::POST, "/registrations/factory/query", None, Value::Null).await;
    assert_eq!(under.as_array().unwrap().len(), 3);
    site.stop().await;
}

#[tokio::test]
async fn the_group_of_the_nearest_authority_counts_and_a_devices_own_enrollment_before_it() {
    let site = Site::start().await;
    let root = authority("root", None);
    let line = authority("line 7", Some(&root));
    enroll_group(&site, "a-factory", &root, None).await;
    enroll_group(&site, "b-line", &line, None).await;
    let shown = Shown::issued("d1", YEARS, &[&root, &line]);
    let answer = try_register(&site, "d1", &shown).await;
    assert_eq!(answer["registrationState"]["x509"], json!({ "enrollmentGroupId": "b-line" }));
    enroll_device(&site, "d1", &[&shown], json!({ "allocationPolicy": "static" })).await;
    assert_eq!(try_register(&site, "d1", &shown).await["registrationState"]["x509"], json!({}));
    site.stop().await;
}

#[tokio::test]
async fn others_are_told_why_not_when_they_register() {
    let site = Site::start().await;
    let (root, stranger) = (authority("root", None), authority("root", None));
    let line = authority("line 7", Some(&root));
    enroll_group(&site, "factory", &root, None).await;
    let own = Shown::self_signed("own", YEARS);
    enroll_device(&site, "own", &[&own], json!({ "allocationPolicy": "static" })).await;
    let over = Shown::self_signed("over", (2020, 2025));
    enroll_device(&site, "over", &[&over], json!({ "allocationPolicy": "static" })).await;
    let mut cut = Shown::issued("d1", YEARS, &[&root, &line]);
    cut.chain.truncate(1);
    for (why, id, shown, message) in [
        ("an authority of the same name", "d1", Shown::issued("d1", YEARS, &[&stranger]), "CA certificate not found."),
        ("nobody's", "d1", Shown::self_signed("d1", YEARS), "CA certificate not found."),
        ("the issuer was not sent", "d1", cut, "CA certificate not found."),
        ("no more valid", "d1", Shown::issued("d1", (2020, 2025), &[&root]), "CA certificate not found."),
        ("another's name", "d2", Shown::issued("d1", YEARS, &[&root]), "Invalid certificate."),
        ("another certificate than enrolled", "own", Shown::self_signed("own", YEARS), "Invalid certificate."),
        ("of the group, but has its own", "own", Shown::issued("own", YEARS, &[&root]), "Invalid certificate."),
        ("enrolled, but no more valid", "over", over, "Invalid certificate."),
    ] {
        let answer = try_register(&site, id, &shown).await;
        assert_eq!((&answer["errorCode"], &answer["message"]), (&json!(401_002), &json!(message)), "{why}: {answer}");
    }
    let mut client = site.connect(connect("own")).await;
    client.subscribe("$dps/registrations/res/#", QoS::AtLeastOnce).await;
    assert_eq!(register(&mut client, "own", None).await["errorCode"], 401_000, "neither token nor certificate");
    let mut client = site.connect(dps_connect("own", GROUP_KEY)).await;
    client.subscribe("$dps/registrations/res/#", QoS::AtLeastOnce).await;
    assert_eq!(register(&mut client, "own", None).await["errorCode"], 401_000, "a token in place of the certificate");
    assert_eq!(site.dps.count(), 0);
    site.stop().await;
}

#[tokio::test]
async fn an_enrollment_is_written_back_as_it_was_read_and_refused_where_it_cannot_be() {
    let site = Site::start().await;
    let root = authority("root", None);
    let mut made = enroll_group(&site, "factory", &root, None).await;
    made["provisioningStatus"] = json!("disabled");
    let etag = made["etag"].as_str().unwrap().to_owned();
    let (status, changed) = service(&site, Method::PUT, "/enrollmentGroups/factory", Some(&etag), made.clone()).await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    assert_eq!(changed["attestation"], made["attestation"]);
    let (_, mechanism) =
        service(&site, Method::POST, "/enrollmentGroups/factory/attestationmechanism", None, Value::Null).await;
    assert_eq!(mechanism, made["attestation"]);
    let answer = try_register(&site, "d1", &Shown::issued("d1", YEARS, &[&root])).await;
    assert_eq!(answer["status"], "disabled");

    let leaf = Shown::issued("d2", YEARS, &[&root]).base64();
    for (x509, said) in [
        (json!({ "caReferences": { "primary": "root" } }), "caReferences"),
        (json!({ "signingCertificates": { "primary": { "certificate": leaf } } }), "may not issue"),
    ] {
        let document = json!({ "attestation": { "type": "x509", "x509": x509 } });
        let (status, body) = service(&site, Method::PUT, "/enrollmentGroups/second", None, document).await;
        assert_eq!((status, &body["errorCode"]), (StatusCode::BAD_REQUEST, &json!(400_004)));
        assert!(body["message"].as_str().unwrap().contains(said), "{body}");
    }
    site.stop().await;
}

#[tokio::test]
async fn enrollments_with_certificates_outlive_the_process() {
    let site = Site::start().await;
    let root = authority("root", None);
    enroll_group(&site, "factory", &root, None).await;
    let first = Shown::issued("d1", YEARS, &[&root]);
    let before = try_register(&site, "d1", &first).await;
    let later = site.restarted().await;
    site.stop().await;
    assert_eq!(try_register(&later, "d2", &Shown::issued("d2", YEARS, &[&root])).await["status"], "assigned");
    let (_, kept) = service(&later, Method::GET, "/registrations/d1", None, Value::Null).await;
    assert_eq!(kept, before["registrationState"]);
    later.stop().await;
}
