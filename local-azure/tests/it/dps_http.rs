//! Registration over HTTPS, as Node's SDK and clients of the REST API do it.

use axum::http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    dps_recorded::form,
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

fn vectors() -> Value {
    serde_json::from_str(include_str!("../fixtures/iot/dps_http.json")).unwrap()
}

impl Device<'_> {
    /// Sends a recorded request with a token of this device.
    async fn replay(&self, recorded: &Value, path: &str) -> Answer {
        let method = recorded["method"].as_str().unwrap().parse().unwrap();
        let url = format!("http://{}{path}", self.site.http);
        let mut request = reqwest::Client::new().request(method, url).header("authorization", &self.authorization);
        for (name, value) in recorded["headers"].as_object().into_iter().flatten() {
            if name != "authorization" {
                request = request.header(name, value.as_str().unwrap());
            }
        }
        let response = request.body(recorded["body"].to_string()).send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, body: response.json().await.unwrap() }
    }
}

/// Asserts that the answer has the recorded status, headers and members, in the recorded order; of what differs from run
/// to run, that it has the recorded form.
fn assert_like(answer: &Answer, recorded: &Value) {
    assert_eq!(answer.status.as_u16(), recorded["status"]);
    assert_eq!(members(&answer.body), members(&recorded["body"]));
    assert_eq!(answer.body["status"], recorded["body"]["status"]);
    let state = "/registrationState";
    for path in ["/operationId", &format!("{state}/createdDateTimeUtc"), &format!("{state}/lastUpdatedDateTimeUtc")] {
        let [ours, theirs] = [&answer.body, &recorded["body"]].map(|body| body.pointer(path).and_then(Value::as_str));
        assert_eq!(ours.map(form), theirs.map(form), "{path}");
    }
    let etag = |body: &Value| body["registrationState"]["etag"].as_str().map(str::len);
    assert_eq!(etag(&answer.body), etag(&recorded["body"]));
    for (name, value) in recorded["headers"].as_object().into_iter().flatten() {
        match name.as_str() {
            // Of the front of all of Azure, and what each answer has its own of.
            "Strict-Transport-Security" | "x-ms-request-id" | "Location" => {}
            _ => assert_eq!(answer.headers[name.to_ascii_lowercase()], value.as_str().unwrap(), "{name}"),
        }
    }
}

#[tokio::test]
async fn a_device_registers_with_the_recorded_requests_and_answers() {
    let vectors = vectors();
    let (register, poll) = (&vectors["requests"][0], &vectors["requests"][1]);
    let (assigning, assigned) = (&vectors["responses"][0], &vectors["responses"][1]);
    let site = Site::start().await;
    let device = Device::in_group(&site, register["body"]["registrationId"].as_str().unwrap());
    let form = |authorization: &str| authorization.split("&sig=").next().unwrap().to_owned();
    assert_eq!(form(&device.authorization), form(register["headers"]["authorization"].as_str().unwrap()));

    let path = register["path"].as_str().unwrap();
    let answer = device.replay(register, path).await;
    assert_like(&answer, assigning);
    let (location, _) = path.split_once('?').unwrap();
    assert_eq!(answer.headers["location"], format!("https://{}{location}", site.http));
    let there = |location: &str| location.rsplit('/').next().unwrap().to_owned();
    assert_eq!(there(location), there(assigning["headers"]["Location"].as_str().unwrap()));
    let id = answer.headers["x-ms-request-id"].to_str().unwrap();
    assert!(id.parse::<uuid::Uuid>().is_ok(), "{id}");

    let path = poll["path"].as_str().unwrap().replace("5.aa.bb", answer.body["operationId"].as_str().unwrap());
    let answer = loop {
        let answer = device.replay(poll, &path).await;
        if answer.status != StatusCode::ACCEPTED {
            break answer;
        }
        assert_eq!(answer.body["status"], assigning["body"]["status"]);
        assert_eq!(answer.headers["retry-after"], assigning["headers"]["Retry-After"].as_str().unwrap());
    };
    assert_like(&answer, assigned);
    let (state, recorded) = (&answer.body["registrationState"], &assigned["body"]["registrationState"]);
    assert_eq!(members(state), members(recorded));
    assert_eq!((&state["assignedHub"], &state["registrationId"]), (&json!(HUB), &register["body"]["registrationId"]));
    for name in ["status", "substatus"] {
        assert_eq!(state[name], recorded[name]);
        assert!(vectors[name].as_array().unwrap().contains(&state[name]), "{name}");
    }
    assert_eq!(answer.body["status"], assigned["body"]["status"]);
    let fields = vectors["registrationState_fields"].as_array().unwrap();
    assert!(members(state).iter().all(|name| fields.contains(&json!(name))));
    assert!(!answer.headers.contains_key("retry-after"));
    assert_eq!(site.hook.requests()[0]["deviceRuntimeContext"]["payload"], register["body"]["payload"]);

    let looked_up = device.call(Method::POST, "", "?api-version=2019-03-31", json!({})).await;
    assert_eq!((looked_up.status, &looked_up.body), (StatusCode::OK, state));
    site.stop().await;
}

/// aziot-identityd writes the audience of its token in lower case, and takes no assigning answer to a poll without
/// `registrationState.registrationId`.
#[tokio::test]
async fn the_identity_service_of_iot_edge_can_register() {
    let vectors = vectors();
    let request = &vectors["requests"][2];
    assert!(request["sdk"].as_str().unwrap().starts_with("aziot-identityd"));
    let site = Site::with(Options { retries: 1_000, ..Options::default() }).await;
    site.hook.answers(|_| (503, String::new()));
    let id = "Edge-1";
    let resource = format!("{ID_SCOPE}/registrations/{id}").to_lowercase();
    let authorization = raw_token(&device_key(GROUP_KEY, id), &resource, Some("registration"), LATER);
    let device = Device { site: &site, id, authorization };
    let path = request["path"].as_str().unwrap().replace("{scope}", ID_SCOPE).replace("{id}", id);
    let request = json!({ "method": request["method"], "body": { "registrationId": id } });
    let answer = device.replay(&request, &path).await;
    assert_eq!((answer.status, &answer.body["status"]), (StatusCode::ACCEPTED, &json!("assigning")));
    let answer = device.operation(answer.body["operationId"].as_str().unwrap()).await;
    assert_eq!(answer.body["registrationState"]["registrationId"], id);
    site.stop().await;
}

#[tokio::test]
async fn what_is_refused_is_told_in_the_recorded_form() {
    let site = Site::start().await;
    let stranger = Device::new(&site, "d1", KEY).register().await;
    let vectors: Value = serde_json::from_str(include_str!("../fixtures/iot/dps_mqtt.json")).unwrap();
    let errors = vectors["errors"].as_array().unwrap();
    let recorded = errors.iter().find(|error| error["name"] == "unauthorized_http").unwrap();
    assert_eq!(stranger.status.as_u16(), recorded["http"]);
    assert_eq!(members(&stranger.body), members(&recorded["payload"]));
    for name in ["errorCode", "message"] {
        assert_eq!(stranger.body[name], recorded["payload"][name]);
    }
    for name in ["trackingId", "timestampUtc"] {
        let length = |value: &Value| value.as_str().unwrap().len();
        assert_eq!(length(&stranger.body[name]), length(&recorded["payload"][name]), "{name}");
    }

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
