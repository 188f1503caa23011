//! The service's side of IoT Hub over HTTP, against what was recorded of it and of its SDKs.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use local_azure::iot_hub::{Error, router};
use serde_json::{Value, json};

use crate::{
    iot_hub_service::{Answer, Owner, new_device, send},
    iot_site::{HUB, KEY, LATER, Options, Site, device},
    mqtt_client::token,
};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../fixtures/iot/hub_service_http.json")).unwrap()
}

/// Asserts that it is the recorded device, with an identity and keys of its own.
pub(crate) fn assert_device(device: &Value) {
    let (mut device, mut recorded) = (device.clone(), vectors()["device"].take());
    let mut own = |path: &str| {
        let [ours, theirs] = [&mut device, &mut recorded].map(|device| device.pointer_mut(path).unwrap().take());
        [ours, theirs].map(|value| value.as_str().unwrap().to_owned())
    };
    assert!(own("/generationId").iter().all(|text| text.parse::<u64>().is_ok()));
    assert!(own("/etag").iter().all(|text| BASE64_STANDARD.decode(text).is_ok()));
    for path in ["/authentication/symmetricKey/primaryKey", "/authentication/symmetricKey/secondaryKey"] {
        assert!(own(path).iter().all(|text| BASE64_STANDARD.decode(text).is_ok_and(|key| key.len() == 32)), "{path}");
    }
    assert_eq!(device, recorded);
}

#[tokio::test]
async fn errors_have_the_recorded_form() {
    let site = Site::start().await;
    let owner = Owner::of(&site);
    owner.put("/devices/tf-dev-01", new_device("tf-dev-01")).await;
    let module = json!({ "deviceId": "tf-dev-01", "moduleId": "telemetry" });
    owner.put("/devices/tf-dev-01/modules/telemetry", module.clone()).await;
    let stranger = Owner { authorization: token(KEY, HUB, Some("nobody"), LATER), ..Owner::of(&site) };
    let answers = [
        owner.get("/devices/missing").await,
        owner.put("/devices/tf-dev-01", new_device("tf-dev-01")).await,
        owner.delete("/devices/tf-dev-01", "\"other\"").await,
        stranger.get("/devices").await,
        owner.put("/devices/tf-dev-01/modules/telemetry", module).await,
    ];
    for answer in answers {
        let code = &answer.headers["iothub-errorcode"];
        let vectors = vectors();
        let recorded = vectors["errors"].as_array().unwrap();
        let recorded =
            recorded.iter().find(|error| error["headers"]["iothub-errorcode"] == code.to_str().unwrap()).unwrap();
        assert_eq!(answer.status.as_u16(), recorded["status"], "{code:?}");
        let names = |body: &Value| body.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&answer.body), names(&recorded["body"]), "{code:?}");
        assert_eq!(answer.body["errorCode"], recorded["body"]["errorCode"], "{code:?}");
        let text = |body: &Value, name: &str| body[name].as_str().map(str::to_owned);
        match (text(&answer.body, "Message"), text(&recorded["body"], "Message")) {
            (Some(ours), Some(theirs)) => {
                // Node's SDK makes an error of the name between the colon and the semicolon.
                let name = |message: &str| message.split_once(';').unwrap().0.to_owned();
                assert_eq!(name(&ours), name(&theirs));
                // Where the text is recorded, too, and not a placeholder, it is the same.
                if recorded["source"] == "same" || recorded["source"].as_str().unwrap_or_default().contains("Go client")
                {
                    assert_eq!(ours, theirs);
                }
                let tracking =
                    |body: &Value| text(body, "ExceptionMessage").unwrap().split_once(':').unwrap().0.to_owned();
                assert_eq!(tracking(&answer.body), tracking(&recorded["body"]));
            }
            _ => {
                // local-azure does not name the hub.
                let theirs = text(&recorded["body"], "message").unwrap().replace(" in IotHub tf-provider-dev", "");
                assert_eq!(text(&answer.body, "message").unwrap(), theirs);
            }
        }
    }
    site.stop().await;
}

#[test]
fn a_throttled_client_is_told_when_to_come_back_as_recorded() {
    let vectors = vectors();
    let mut errors = vectors["errors"].as_array().unwrap().iter();
    let recorded = errors.find(|error| error["status"] == 429).unwrap()["body"]["Message"].as_str().unwrap();
    let ours = Error::Throttled { retry_after: Duration::from_secs(10) }.to_string();
    assert!(recorded.split(';').nth(1).unwrap().starts_with(&ours), "{recorded}");
}

impl Owner {
    /// Sends a recorded request.
    async fn replay(&self, recorded: &Value) -> Answer {
        let mut request = Request::builder()
            .method(recorded["method"].as_str().unwrap())
            .uri(recorded["path"].as_str().unwrap())
            .header("host", self.host)
            .header("authorization", &self.authorization);
        for (name, value) in recorded["headers"].as_object().into_iter().flatten() {
            request = request.header(name, value.as_str().unwrap());
        }
        let body = recorded.get("body").map_or_else(Body::empty, |body| Body::from(body.to_string()));
        send(&self.router, request.body(body).unwrap()).await
    }
}

#[tokio::test]
async fn each_recorded_operation_does_what_it_says() {
    let vectors = vectors();
    let mut seen = Vec::new();
    for recorded in vectors["requests_captured"].as_array().unwrap() {
        let site = Site::start().await;
        let owner = Owner::of(&site);
        let sdk = recorded["sdk"].as_str().unwrap();
        if recorded["method"] != "PUT" {
            site.create(&device("d1"));
        }
        let answer = owner.replay(recorded).await;
        if let Some(expected) = recorded["expect"].as_u64() {
            assert_eq!(u64::from(answer.status.as_u16()), expected, "{sdk}");
        }
        for (name, value) in recorded["response_headers"].as_object().into_iter().flatten() {
            // A last page has no token for a further one.
            let wanted = value.as_str().filter(|value| !value.ends_with("or absent>"));
            let found = answer.headers.get(name).map(|value| value.to_str().unwrap());
            assert_eq!(found, wanted, "{sdk}: {name}");
        }
        let devices = site.hubs[0].counts().devices;
        let what = answer
            .headers
            .get("iothub-errorcode")
            .map_or_else(|| brief(&answer.body), |name| name.to_str().unwrap().into());
        seen.push(format!("{sdk}: {} {what}, devices: {devices}", answer.status.as_u16()));
        site.stop().await;
    }
    insta::assert_snapshot!(seen.join("\n"), @r#"
    azure-iothub 1.16.6 create: 400 "ArgumentInvalid", devices: 0
    azure-iothub delete: 204 null, devices: 0
    azure-iothub updateTwin: 200 {"deviceId":"d1","status":"enabled","tags":{"a":1}}, devices: 1
    azure-iothub removeDevices: 200 {"isSuccessful":true}, devices: 0
    azure-iothub createQuery: 200 [{"deviceId":"d1","status":"enabled"}], devices: 1
    azure-iot-hub 2.7.0 create_device_with_sas: 200 {"deviceId":"d1","status":"enabled"}, devices: 1
    azure-iot-hub delete_device: 204 null, devices: 0
    azure-iot-hub get_devices: 200 [{"deviceId":"d1","status":"enabled"}], devices: 1
    "#);
}

/// What of an answer's body tells what was done.
fn brief(body: &Value) -> Value {
    match body {
        Value::Array(items) => items.iter().map(brief).collect(),
        Value::Object(members) => {
            let told = ["deviceId", "status", "tags", "isSuccessful"];
            members
                .iter()
                .filter(|(name, _)| told.contains(&name.as_str()))
                .map(|(n, v)| (n.clone(), v.clone()))
                .collect()
        }
        other => other.clone(),
    }
}

/// Recorded from azure-iothub (Node.js) and azure-iot-hub (Python), in the order in which they were sent, each of the
/// two against a hub of its own.
#[tokio::test]
async fn recorded_requests_of_the_service_sdks_are_understood() {
    for sdk in ["azure-iothub", "python"] {
        let site = Site::with(Options { hubs: vec!["localhost"], ..Options::default() }).await;
        site.create(&device(if sdk == "python" { "other" } else { "d1" }));
        let router = router(site.hubs.clone());
        for line in include_str!("../fixtures/iot/wire_capture.jsonl").lines() {
            let packet: Value = serde_json::from_str(line).unwrap();
            let agent = packet["headers"]["user-agent"].as_str().unwrap_or_default();
            if !agent.starts_with(sdk) {
                continue;
            }
            let mut line = packet["line"].as_str().unwrap().split(' ');
            let (method, path) = (line.next().unwrap(), line.next().unwrap());
            let mut request = Request::builder().method(method).uri(path);
            for (name, value) in packet["headers"].as_object().unwrap() {
                request = request.header(name, value.as_str().unwrap());
            }
            let body = Body::from(packet["body"].as_str().unwrap().to_owned());
            let answer = send(&router, request.body(body).unwrap()).await;
            let expected = match (method, path.split('?').next().unwrap()) {
                ("PUT", "/devices/d%201%23x") => StatusCode::BAD_REQUEST,
                ("GET", "/devices/missing") => StatusCode::NOT_FOUND,
                ("DELETE", _) => StatusCode::NO_CONTENT,
                // The device was deleted by the request before.
                (_, "/twins/d1") => StatusCode::NOT_FOUND,
                _ => StatusCode::OK,
            };
            assert_eq!(answer.status, expected, "{sdk}: {method} {path}");
        }
        site.stop().await;
    }
}
