//! Registration over HTTPS, as Node's SDK and clients of the REST API do it.

use axum::http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    iot_site::{GROUP_KEY, HUB, ID_SCOPE, KEY, LATER, Options, Site},
    mqtt_client::{device_key, raw_token},
};

/// A device at its HTTPS interface.
struct Device<'a> {
    site: &'a Site,
    id: &'a str,
    authorization: String,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl<'a> Device<'a> {
    /// With the token of Node's SDK: the resource is not encoded.
    fn new(site: &'a Site, id: &'a str, key: &str) -> Self {
        let authorization = raw_token(key, &format!("{ID_SCOPE}/registrations/{id}"), Some("registration"), LATER);
        Self { site, id, authorization }
    }

    fn in_group(site: &'a Site, id: &'a str) -> Self {
        Self::new(site, id, &device_key(GROUP_KEY, id))
    }

    async fn call(&self, method: Method, path: &str, query: &str, body: Value) -> Answer {
        let url = format!("http://{}/{ID_SCOPE}/registrations/{}{path}{query}", self.site.http, self.id);
        let request = reqwest::Client::new()
            .request(method, url)
            .header("authorization", &self.authorization)
            .header("content-type", "application/json; charset=utf-8")
            .body(body.to_string());
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, body: response.json().await.unwrap() }
    }

    async fn register(&self) -> Answer {
        let body = json!({ "registrationId": self.id, "payload": { "modelId": "dtmi:a;1" } });
        self.call(Method::PUT, "/register", "?api-version=2019-03-31", body).await
    }

    /// Node's SDK sends an empty object with its GET.
    async fn operation(&self, operation: &str) -> Answer {
        self.call(Method::GET, &format!("/operations/{operation}"), "?api-version=2019-03-31", json!({})).await
    }
}

fn members(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_device_registers_with_the_recorded_requests_and_answers() {
    let vectors: Value = serde_json::from_str(include_str!("../fixtures/iot/dps_http.json")).unwrap();
    let site = Site::start().await;
    let device = Device::in_group(&site, "Node-Dev.1");

    let answer = device.register().await;
    assert_eq!(answer.status.as_u16(), vectors["responses"][0]["status"]);
    assert_eq!(members(&answer.body), members(&vectors["responses"][0]["body"]));
    assert_eq!(answer.headers["retry-after"], "3");
    assert_eq!(answer.headers["content-type"], vectors["responses"][0]["headers"]["Content-Type"].as_str().unwrap());
    let location = format!("https://{}/{ID_SCOPE}/registrations/Node-Dev.1/register", site.http);
    assert_eq!(answer.headers["location"], location);
    assert!(answer.headers.contains_key("x-ms-request-id"));

    let operation = answer.body["operationId"].as_str().unwrap().to_owned();
    let mut answer = device.operation(&operation).await;
    while answer.status == StatusCode::ACCEPTED {
        assert_eq!(
            (&answer.body["status"], &answer.headers["retry-after"]),
            (&json!("assigning"), &"3".parse().unwrap())
        );
        answer = device.operation(&operation).await;
    }
    assert_eq!(answer.status.as_u16(), vectors["responses"][1]["status"]);
    assert_eq!(members(&answer.body), members(&vectors["responses"][1]["body"]));
    let state = &answer.body["registrationState"];
    assert_eq!(members(state), members(&vectors["responses"][1]["body"]["registrationState"]));
    assert_eq!((&state["assignedHub"], &state["registrationId"]), (&json!(HUB), &json!("Node-Dev.1")));
    assert!(!answer.headers.contains_key("retry-after"));
    assert_eq!(site.hook.requests()[0]["deviceRuntimeContext"]["payload"], json!({ "modelId": "dtmi:a;1" }));

    let looked_up = device.call(Method::POST, "", "?api-version=2019-03-31", json!({})).await;
    assert_eq!((looked_up.status, &looked_up.body), (StatusCode::OK, state));
    site.stop().await;
}

#[tokio::test]
async fn what_is_refused_is_told_in_the_recorded_form() {
    let site = Site::start().await;
    let stranger = Device::new(&site, "d1", KEY).register().await;
    assert_eq!((stranger.status, &stranger.body["errorCode"]), (StatusCode::UNAUTHORIZED, &json!(401_002)));
    assert_eq!(members(&stranger.body), ["errorCode", "trackingId", "message", "timestampUtc"]);
    assert_eq!(stranger.body["message"], "Unauthorized");

    let device = Device::in_group(&site, "d1");
    let cases = [
        ("no api-version", device.call(Method::PUT, "/register", "", json!({})).await, 400_004),
        (
            "another id",
            device.call(Method::PUT, "/register", "?api-version=1", json!({"registrationId": "d2"})).await,
            400_004,
        ),
        ("no object", device.call(Method::PUT, "/register", "?api-version=1", json!([])).await, 400_004),
        ("no id of DPS", Device::in_group(&site, "d+1").register().await, 400_004),
        ("no such operation", device.operation("5.1.2").await, 404_204),
        ("never registered", device.call(Method::POST, "", "?api-version=1", json!({})).await, 404_202),
    ];
    for (why, answer, code) in cases {
        assert_eq!(answer.body["errorCode"], code, "{why}");
        assert_eq!(u32::from(answer.status.as_u16()), code / 1000, "{why}");
    }
    assert!(site.hook.requests().is_empty());
    site.stop().await;
}

#[tokio::test]
async fn too_many_registrations_at_once_are_told_when_to_come_back() {
    let site = Site::with(Options { retries: 1_000, ..Options::default() }).await;
    site.hook.answers(|_| (503, String::new()));
    let device = Device::in_group(&site, "d1");
    let mut answer = device.register().await;
    for _ in 0..16 {
        answer = device.register().await;
    }
    assert_eq!((answer.status, &answer.body["errorCode"]), (StatusCode::TOO_MANY_REQUESTS, &json!(429_001)));
    assert_eq!(answer.headers["retry-after"], "3");
    site.stop().await;
}
