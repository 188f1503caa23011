//! The service's side of IoT Hub over HTTP.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode},
};
use local_azure::iot_hub::router;
use rumqttc::QoS;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{
    iot_hub_recorded::assert_device,
    iot_site::{HUB, KEY, LATER, OTHER_HUB, SERVICE_KEY, Site, device, hub_connect},
    mqtt_client::token,
};

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// Sends a request as it is.
pub(crate) async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    Answer { status, headers, body: serde_json::from_slice(&body).unwrap_or_default() }
}

/// An owner at work on one hub.
pub(crate) struct Owner {
    pub(crate) router: Router,
    pub(crate) host: &'static str,
    pub(crate) authorization: String,
}

impl Owner {
    pub(crate) fn of(site: &Site) -> Self {
        let authorization = token(KEY, HUB, Some("iothubowner"), LATER);
        Self { router: router(site.hubs.clone()), host: HUB, authorization }
    }

    pub(crate) async fn call(&self, method: Method, path: &str, if_match: Option<&str>, body: Option<Value>) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{path}?api-version=2021-04-12"))
            .header("host", self.host)
            .header("authorization", &self.authorization);
        if let Some(if_match) = if_match {
            request = request.header("if-match", if_match);
        }
        send(&self.router, request.body(body.map_or_else(Body::empty, |body| Body::from(body.to_string()))).unwrap())
            .await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, None, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, path, None, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str, if_match: &str) -> Answer {
        self.call(Method::DELETE, path, Some(if_match), None).await
    }
}

/// A new device as the SDKs send it: empty keys mean new ones.
pub(crate) fn new_device(id: &str) -> Value {
    json!({
        "deviceId": id,
        "status": "enabled",
        "authentication": { "symmetricKey": { "primaryKey": "", "secondaryKey": "" }, "type": "sas" },
        "capabilities": { "iotEdge": false },
    })
}

#[tokio::test]
async fn a_device_is_created_read_and_deleted() {
    let site = Site::start().await;
    let owner = Owner::of(&site);
    let created = owner.put("/devices/d1", new_device("d1")).await;
    assert_eq!(created.status, StatusCode::OK);
    assert_device(&created.body);
    assert_eq!(created.headers["etag"], format!("\"{}\"", created.body["etag"].as_str().unwrap()));
    assert_eq!(owner.get("/devices/d1").await.body, created.body);

    let key = created.body["authentication"]["symmetricKey"]["primaryKey"].as_str().unwrap();
    site.connect(hub_connect(HUB, "d1", key)).await.ping().await;
    assert_eq!(owner.get("/devices").await.body.as_array().unwrap().len(), 1);
    let listed_by_node = owner.get("/devices/").await.body;
    assert_eq!(listed_by_node.as_array().unwrap().len(), 1);
    assert_eq!(owner.delete("/devices/d1", "\"*\"").await.status, StatusCode::NO_CONTENT);
    assert_eq!(owner.get("/devices/d1").await.status, StatusCode::NOT_FOUND);
    site.stop().await;
}

#[tokio::test]
async fn an_update_needs_the_version_it_saw() {
    let site = Site::start().await;
    let owner = Owner::of(&site);
    let created = owner.put("/devices/d1", new_device("d1")).await.body;
    let etag = format!("\"{}\"", created["etag"].as_str().unwrap());
    let disabled = json!({ "deviceId": "d1", "status": "disabled", "statusReason": "lost" });
    let updated = owner.call(Method::PUT, "/devices/d1", Some(&etag), Some(disabled.clone())).await;
    assert_eq!(updated.status, StatusCode::OK);
    assert_eq!((&updated.body["status"], &updated.body["statusReason"]), (&json!("disabled"), &json!("lost")));
    assert_eq!(updated.body["generationId"], created["generationId"]);
    assert_eq!(updated.body["authentication"], created["authentication"], "keys that are not named stay");
    assert_ne!(updated.body["etag"], created["etag"]);
    let again = owner.call(Method::PUT, "/devices/d1", Some(&etag), Some(disabled.clone())).await;
    assert_eq!(again.status, StatusCode::PRECONDITION_FAILED);
    let missing = owner.call(Method::PUT, "/devices/d2", Some("*"), Some(json!({ "deviceId": "d2" }))).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    site.stop().await;
}

#[tokio::test]
async fn a_device_made_anew_is_another() {
    let site = Site::start().await;
    let owner = Owner::of(&site);
    let first = owner.put("/devices/d1", new_device("d1")).await.body;
    owner.delete("/devices/d1", "*").await;
    let second = owner.put("/devices/d1", new_device("d1")).await.body;
    assert_ne!(first["generationId"], second["generationId"], "although the clock stands still");
    site.stop().await;
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused() {
    let site = Site::start().await;
    let owner = Owner::of(&site);
    let x509 = json!({ "deviceId": "d1", "authentication": { "type": "selfSigned" } });
    let colons = json!({ "primaryThumbprint": "A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D" });
    let colons = json!({ "deviceId": "d1", "authentication": { "type": "selfSigned", "x509Thumbprint": colons } });
    let bad_key = json!({ "deviceId": "d1", "authentication": { "symmetricKey": { "primaryKey": "x" } } });
    for (path, body) in [
        ("/devices/d%201%23x", new_device("d 1#x")),
        ("/devices/d1", new_device("d2")),
        ("/devices/d1", json!([])),
        ("/devices/d1", x509),
        ("/devices/d1", colons),
        ("/devices/d1", bad_key),
    ] {
        let answer = owner.put(path, body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(answer.headers["iothub-errorcode"], "ArgumentInvalid");
    }
    assert_eq!(site.hubs[0].counts().devices, 0);
    site.stop().await;
}

#[tokio::test]
async fn a_device_is_known_by_thumbprints_keys_or_an_authority_and_this_can_change() {
    let site = Site::start().await;
    let owner = Owner::of(&site);
    let (sha1, sha256) = ("A9993E364706816ABA3E25717850C26C9CD0D89D", "5A".repeat(32));
    let thumbprints = json!({ "primaryThumbprint": sha1.to_lowercase(), "secondaryThumbprint": sha256 });
    let of = |authentication: Value| json!({ "deviceId": "d1", "authentication": authentication });
    let by_thumbprint = of(json!({ "type": "selfSigned", "x509Thumbprint": thumbprints }));
    let made = owner.put("/devices/d1", by_thumbprint).await.body;
    let shown = json!({
        "symmetricKey": { "primaryKey": null, "secondaryKey": null },
        "x509Thumbprint": { "primaryThumbprint": sha1, "secondaryThumbprint": sha256 },
        "type": "selfSigned",
    });
    assert_eq!(made["authentication"], shown);
    let twin = owner.get("/twins/d1").await.body;
    assert_eq!((&twin["authenticationType"], &twin["x509Thumbprint"]), (&shown["type"], &shown["x509Thumbprint"]));

    let change = async |authentication: Value| {
        owner.call(Method::PUT, "/devices/d1", Some("*"), Some(of(authentication))).await.body["authentication"].take()
    };
    assert_eq!(change(json!(null)).await, shown, "what is not said stays");
    let by_key = change(json!({ "type": "sas" })).await;
    assert!(by_key["symmetricKey"]["primaryKey"].is_string(), "keys are made");
    assert_eq!((&by_key["type"], &by_key["x509Thumbprint"]["primaryThumbprint"]), (&json!("sas"), &Value::Null));
    assert_eq!(change(json!({ "type": "sas" })).await, by_key, "keys that are not named stay");
    let by_authority = change(json!({ "type": "certificateAuthority" })).await;
    assert_eq!(
        (&by_authority["type"], &by_authority["symmetricKey"]),
        (&json!("certificateAuthority"), &shown["symmetricKey"])
    );
    assert_eq!(owner.get("/twins/d1").await.body["authenticationType"], "certificateAuthority");
    site.stop().await;
}

#[tokio::test]
async fn modules_come_and_go_with_their_device() {
    let site = Site::start().await;
    let owner = Owner::of(&site);
    let orphan = owner.put("/devices/d1/modules/m1", json!({ "moduleId": "m1" })).await;
    assert_eq!(orphan.headers["iothub-errorcode"], "DeviceNotFound");
    owner.put("/devices/d1", new_device("d1")).await;
    owner.put("/devices/d1/modules/m1", json!({ "deviceId": "d1", "moduleId": "m1" })).await;
    assert_eq!(owner.get("/devices/d1/modules/m1").await.body["moduleId"], "m1");
    assert_eq!(owner.get("/devices/d1/modules").await.body.as_array().unwrap().len(), 1);
    assert_eq!(owner.get("/twins/d1/modules/m1").await.body["moduleId"], "m1");
    assert_eq!(owner.get("/devices/d1/modules/m2").await.body["errorCode"], 404_010);
    owner.delete("/devices/d1", "*").await;
    assert_eq!(owner.get("/devices/d1/modules").await.status, StatusCode::NOT_FOUND);
    site.stop().await;
}

#[tokio::test]
async fn a_twin_is_patched_under_its_etag_and_the_device_is_told() {
    let site = Site::start().await;
    let owner = Owner::of(&site);
    site.create(&device("d1"));
    let mut client = site.connect(hub_connect(HUB, "d1", KEY)).await;
    client.subscribe("$iothub/twin/PATCH/properties/desired/#", QoS::AtLeastOnce).await;

    let patch = json!({ "tags": { "a": 1 }, "properties": { "desired": { "interval": 5 } } });
    let patched = owner.call(Method::PATCH, "/twins/d1", Some("\"*\""), Some(patch)).await;
    assert_eq!(patched.status, StatusCode::OK);
    assert_eq!(patched.body["tags"], json!({ "a": 1 }));
    assert_eq!(client.message().await.1, r#"{"interval":5,"$version":2}"#);
    assert_eq!(owner.get("/twins/d1").await.body, patched.body);

    let put = owner.call(Method::PUT, "/twins/d1", Some("*"), Some(json!({ "tags": { "b": 2 } }))).await;
    assert_eq!(put.body["tags"], json!({ "b": 2 }));
    let stale = patched.body["etag"].as_str().unwrap();
    let refused = owner.call(Method::PATCH, "/twins/d1", Some(stale), Some(json!({ "tags": { "c": 3 } }))).await;
    assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED);
    let broken = owner.call(Method::PATCH, "/twins/d1", None, Some(json!({ "tags": { "a.b": 3 } }))).await;
    assert_eq!(broken.headers["iothub-errorcode"], "ArgumentInvalid");
    site.stop().await;
}

#[tokio::test]
async fn a_policy_opens_what_it_permits() {
    let site = Site::start().await;
    site.create(&device("d1"));
    let service = Owner { authorization: token(SERVICE_KEY, HUB, Some("service"), LATER), ..Owner::of(&site) };
    assert_eq!(service.get("/twins/d1").await.status, StatusCode::OK);
    assert_eq!(service.get("/devices/d1").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(service.delete("/devices/d1", "*").await.status, StatusCode::UNAUTHORIZED);
    for authorization in [
        String::new(),
        "Bearer x".into(),
        token(KEY, HUB, None, LATER),
        token(SERVICE_KEY, HUB, Some("iothubowner"), LATER),
        token(KEY, OTHER_HUB, Some("iothubowner"), LATER),
        token(KEY, &format!("{HUB}/devices/d1"), Some("iothubowner"), LATER),
        token(KEY, HUB, Some("iothubowner"), 1_000),
    ] {
        let stranger = Owner { authorization, ..Owner::of(&site) };
        assert_eq!(stranger.get("/devices/d1").await.status, StatusCode::UNAUTHORIZED, "{}", stranger.authorization);
    }
    site.stop().await;
}

#[tokio::test]
async fn the_host_chooses_the_hub_and_a_single_hub_takes_every_host() {
    let site = Site::start().await;
    site.create(&device("d1"));
    let other =
        Owner { host: OTHER_HUB, authorization: token(KEY, OTHER_HUB, Some("iothubowner"), LATER), ..Owner::of(&site) };
    assert_eq!(other.get("/devices/d1").await.status, StatusCode::NOT_FOUND);
    let unknown = Owner { host: "localhost:8443", ..Owner::of(&site) };
    assert_eq!(unknown.get("/devices/d1").await.status, StatusCode::BAD_REQUEST);
    let single = Owner {
        router: router(vec![site.hubs[0].clone()]),
        host: "localhost:8443",
        authorization: token(KEY, "localhost:8443", Some("iothubowner"), LATER),
    };
    assert_eq!(single.get("/devices/d1").await.status, StatusCode::OK);
    site.stop().await;
}

#[tokio::test]
async fn devices_are_deleted_in_bulk_each_on_its_own() {
    let site = Site::start().await;
    let owner = Owner::of(&site);
    site.create(&device("d1"));
    let delete = |id: &str| json!({ "id": id, "importMode": "Delete" });
    let answer = owner.call(Method::POST, "/devices", None, Some(json!([delete("d1"), delete("d2")]))).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body["isSuccessful"], false);
    assert_eq!(answer.body["errors"][0]["deviceId"], "d2");
    assert_eq!(site.hubs[0].counts().devices, 0);
    let many: Vec<Value> = (0..101).map(|n| delete(&format!("d{n}"))).collect();
    let answer = owner.call(Method::POST, "/devices", None, Some(many.into())).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    site.stop().await;
}

#[tokio::test]
async fn all_twins_are_queried_in_pages() {
    let site = Site::start().await;
    let owner = Owner::of(&site);
    for n in 0..5 {
        site.create(&device(&format!("d{n}")));
    }
    let page = async |continuation: &str, query: &str| {
        let request = Request::post("/devices/query?api-version=2021-04-12")
            .header("host", HUB)
            .header("authorization", &owner.authorization)
            .header("x-ms-max-item-count", "2")
            .header("x-ms-continuation", continuation)
            .body(Body::from(json!({ "query": query }).to_string()));
        send(&owner.router, request.unwrap()).await
    };
    let (mut continuation, mut found) = (String::new(), Vec::new());
    loop {
        let answer = page(&continuation, "select * from devices").await;
        assert_eq!(answer.headers["x-ms-item-type"], "Twin");
        let ids = answer.body.as_array().unwrap().iter().map(|twin| twin["deviceId"].as_str().unwrap().to_owned());
        found.extend(ids);
        // Node's SDK asks for ever where the header is there and empty.
        let Some(more) = answer.headers.get("x-ms-continuation") else { break };
        continuation = more.to_str().unwrap().to_owned();
        assert!(!continuation.is_empty());
    }
    assert_eq!(found, ["d0", "d1", "d2", "d3", "d4"]);
    assert_eq!(page("", "SELECT * FROM nowhere").await.status, StatusCode::BAD_REQUEST);
    site.stop().await;
}
