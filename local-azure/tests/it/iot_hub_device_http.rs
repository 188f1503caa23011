//! A device's side of IoT Hub over HTTPS.

use axum::http::{HeaderMap, Method, StatusCode};
use bytes::Bytes;
use jiff::SignedDuration;
use local_azure::{
    clock::Clock,
    iot_hub::{CloudMessage, Condition, NewIdentity, Status},
};
use serde_json::{Value, json};

use crate::{
    iot_site::{HUB, KEY, LATER, NOW, Options, Site, device, module},
    mqtt_client::token,
};

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// A device that asks by its hub's name.
struct Device<'a> {
    site: &'a Site,
    authorization: String,
}

impl<'a> Device<'a> {
    fn d1(site: &'a Site) -> Self {
        Self { site, authorization: token(KEY, &format!("{HUB}/devices/d1"), None, LATER) }
    }

    async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let url = format!("http://{}/devices/d1/messages/{path}?api-version=2020-03-13", self.site.http);
        let mut request = reqwest::Client::new().request(method, url).header("authorization", &self.authorization);
        for (name, value) in [("host", HUB)].iter().chain(headers) {
            request = request.header(*name, *value);
        }
        let response = request.body(body.to_owned()).send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, body: response.bytes().await.unwrap() }
    }

    async fn receive(&self) -> Answer {
        self.call(Method::GET, "devicebound", &[("iothub-messagelocktimeout", "30")], "").await
    }
}

fn lock(answer: &Answer) -> String {
    answer.headers["etag"].to_str().unwrap().trim_matches('"').to_owned()
}

#[tokio::test]
async fn a_message_arrives_with_its_properties_and_who_sent_it() {
    let site = Site::start().await;
    site.create(&device("d1"));
    let headers = [
        ("iothub-messageid", "m1"),
        ("iothub-contenttype", "application/json"),
        ("iothub-app-unit", "C"),
        ("iothub-connection-device-id", "other"),
    ];
    let answer = Device::d1(&site).call(Method::POST, "events", &headers, r#"{"Temperature":21.5}"#).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let event = Site::events(&site.telemetry).remove(0);
    assert_eq!(event.body, r#"{"Temperature":21.5}"#);
    assert_eq!(Value::from(event.properties), json!({ "message-id": "m1", "content-type": "application/json" }));
    assert_eq!(event.application_properties["unit"], "C");
    assert_eq!(event.annotations["iothub-connection-device-id"], "d1");
    assert_eq!(event.annotations["iothub-message-source"], "Telemetry");
    site.stop().await;
}

#[tokio::test]
async fn a_batch_is_as_many_messages() {
    let site = Site::start().await;
    site.create(&device("d1"));
    let batch = json!([
        { "body": "eyJhIjoxfQ==", "properties": { "iothub-app-n": "1", "iothub-messageid": "m1" } },
        { "body": "plain", "base64Encoded": false },
    ]);
    let kind = [("content-type", "application/vnd.microsoft.iothub.json")];
    let answer = Device::d1(&site).call(Method::POST, "events", &kind, &batch.to_string()).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let events = Site::events(&site.telemetry);
    assert_eq!(events.iter().map(|event| &event.body[..]).collect::<Vec<_>>(), [&br#"{"a":1}"#[..], b"plain"]);
    assert_eq!(
        (&events[0].application_properties["n"], &events[0].properties["message-id"]),
        (&json!("1"), &json!("m1"))
    );
    let broken = Device::d1(&site).call(Method::POST, "events", &kind, r#"[{"body":"?"}]"#).await;
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    site.stop().await;
}

#[tokio::test]
async fn a_waiting_message_is_locked_given_back_completed_and_gone() {
    let clock = Clock::manual(jiff::Timestamp::from_second(NOW).unwrap());
    let site = Site::with(Options { clock: clock.clone(), ..Options::default() }).await;
    site.create(&device("d1"));
    let message = |body: &'static str| CloudMessage {
        body: body.into(),
        message_id: Some(format!("id {body}")),
        properties: [("key".to_owned(), Value::from("value"))].into_iter().collect(),
        ..CloudMessage::default()
    };
    let hub = &site.hubs[0];
    hub.send_to_device(&"d1".parse().unwrap(), message("first")).unwrap();
    hub.send_to_device(&"d1".parse().unwrap(), message("second")).unwrap();
    let d1 = Device::d1(&site);

    let first = d1.receive().await;
    assert_eq!((first.status, &first.body[..]), (StatusCode::OK, &b"first"[..]));
    assert_eq!(
        (&first.headers["iothub-messageid"], &first.headers["iothub-app-key"]),
        (&"id first".parse().unwrap(), &"value".parse().unwrap())
    );
    let second = d1.receive().await;
    assert_eq!(second.body, "second", "the first is locked");
    assert_eq!(d1.receive().await.status, StatusCode::NO_CONTENT);

    let given_back = d1.call(Method::POST, &format!("devicebound/{}/abandon", lock(&first)), &[], "").await;
    assert_eq!(given_back.status, StatusCode::NO_CONTENT);
    let late = d1.call(Method::DELETE, &format!("devicebound/{}", lock(&first)), &[], "").await;
    assert_eq!(late.status, StatusCode::PRECONDITION_FAILED);
    let again = d1.receive().await;
    assert_eq!(again.body, "first");
    let completed = d1.call(Method::DELETE, &format!("deviceBound/{}", lock(&again)), &[], "").await;
    assert_eq!(completed.status, StatusCode::NO_CONTENT);

    clock.advance(SignedDuration::from_secs(31));
    let unlocked = d1.receive().await;
    assert_eq!(unlocked.body, "second", "a lock ends by itself");
    d1.call(Method::DELETE, &format!("devicebound/{}", lock(&unlocked)), &[], "").await;
    assert_eq!(d1.receive().await.status, StatusCode::NO_CONTENT);
    assert_eq!(hub.identity(&device("d1")).unwrap()["cloudToDeviceMessageCount"], 0);
    site.stop().await;
}

#[tokio::test]
async fn what_node_s_sdk_sends_is_taken_one_by_one_and_in_batches() {
    let vectors: Value = serde_json::from_str(include_str!("../fixtures/iot/hub_service_http.json")).unwrap();
    let recorded = &vectors["device_http_send"];
    let site = Site::start().await;
    site.create(&device("d1"));
    let url = format!("http://{}{}", site.http, recorded["path"].as_str().unwrap());
    let request = || {
        let method = recorded["method"].as_str().unwrap().parse().unwrap();
        let authorization = Device::d1(&site).authorization;
        reqwest::Client::new().request(method, &url).header("host", HUB).header("authorization", authorization)
    };
    let mut single = request().body("{}");
    for (name, value) in recorded["headers"].as_object().unwrap() {
        single = single.header(name.replace("<name>", "floor"), value.as_str().unwrap());
    }
    let batch = request()
        .header("content-type", recorded["batch_content_type"].as_str().unwrap())
        .body(r#"[{"body": "YQ==", "properties": {"iothub-app-floor": "2"}}, {"body": "Yg=="}]"#);
    for request in [single, batch] {
        assert_eq!(request.send().await.unwrap().status().as_u16(), recorded["expect"]);
    }
    let events = Site::events(&site.telemetry);
    let bodies: Vec<&[u8]> = events.iter().map(|event| event.body.as_ref()).collect();
    assert_eq!(bodies, [b"{}".as_slice(), b"a", b"b"]);
    let (first, second) = (&events[0], &events[1]);
    for (property, header) in
        [("to", "iothub-to"), ("content-type", "iothub-contenttype"), ("content-encoding", "iothub-contentencoding")]
    {
        assert_eq!(first.properties[property], recorded["headers"][header], "{property}");
    }
    assert_eq!(first.application_properties["floor"], recorded["headers"]["iothub-app-<name>"]);
    assert_eq!(second.application_properties["floor"], "2");
    site.stop().await;
}

#[tokio::test]
async fn only_the_device_itself_is_let_in() {
    let site = Site::start().await;
    site.create(&device("d1"));
    site.create(&module("d1", "m1"));
    site.create(&device("d2"));
    for (why, authorization) in [
        ("another device", token(KEY, &format!("{HUB}/devices/d2"), None, LATER)),
        ("a module of it", token(KEY, &format!("{HUB}/devices/d1/modules/m1"), None, LATER)),
        (
            "another key",
            token("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", &format!("{HUB}/devices/d1"), None, LATER),
        ),
        ("expired", token(KEY, &format!("{HUB}/devices/d1"), None, NOW - 300)),
    ] {
        let answer = Device { site: &site, authorization }.call(Method::POST, "events", &[], "{}").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{why}");
        assert_eq!(answer.headers["iothub-errorcode"], "IotHubUnauthorizedAccess", "{why}");
    }
    let disabled = NewIdentity { status: Status::Disabled, ..NewIdentity::default() };
    site.hubs[0].update(&device("d1"), disabled, &Condition::Any).unwrap();
    assert_eq!(Device::d1(&site).receive().await.status, StatusCode::UNAUTHORIZED);
    assert!(Site::events(&site.telemetry).is_empty());
    site.stop().await;
}
