//! Enrollments: kept through the service API, and what devices get that register under them.

use axum::http::{HeaderMap, Method, StatusCode};
use rumqttc::{Connect, QoS};
use serde_json::{Value, json};

use crate::{
    iot_site::{GROUP_KEY, HUB, ID_SCOPE, KEY, LATER, OTHER_HUB, Site, device, hub_connect, poll, register},
    mqtt_client::{device_key, raw_token, token},
};

const OTHER_KEY: &str = "b3RoZXIta2V5LW90aGVyLWtleS1vdGhlci1rZXktbzE=";

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

/// A service that keeps the enrollments.
struct Owner<'a> {
    site: &'a Site,
    authorization: String,
}

impl<'a> Owner<'a> {
    fn of(site: &'a Site) -> Self {
        Self { site, authorization: token(KEY, &site.http.to_string(), Some("provisioningserviceowner"), LATER) }
    }

    async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
        let url = format!("http://{}{path}?api-version=2021-10-01", self.site.http);
        let mut request = reqwest::Client::new().request(method, url).header("authorization", &self.authorization);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.body(body.to_string()).send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.unwrap();
        Answer { status, headers, body: serde_json::from_slice(&body).unwrap_or_default() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], Value::Null).await
    }

    /// Makes what there is not yet.
    async fn put(&self, path: &str, body: Value) -> Value {
        let answer = self.call(Method::PUT, path, &[], body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.body
    }
}

fn with_keys(more: Value) -> Value {
    let keys = json!({ "primaryKey": KEY, "secondaryKey": OTHER_KEY });
    let mut enrollment = json!({ "attestation": { "type": "symmetricKey", "symmetricKey": keys } });
    enrollment.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    enrollment
}

/// Registers a device that signs with this key itself: the last answer's body.
async fn register_with_key(site: &Site, id: &str, key: &str) -> Value {
    let resource = format!("{ID_SCOPE}/registrations/{id}");
    let mut connect = Connect::new(id);
    connect.set_credentials(
        format!("{resource}/api-version=2019-03-31"),
        token(key, &resource, Some("registration"), LATER),
    );
    let mut client = site.connect(connect).await;
    client.subscribe("$dps/registrations/res/#", QoS::AtLeastOnce).await;
    let mut answer = register(&mut client, id, None).await;
    while answer["status"] == "assigning" {
        (_, answer) = poll(&mut client, answer["operationId"].as_str().unwrap()).await;
    }
    client.disconnect().await;
    answer
}

#[tokio::test]
async fn a_group_is_made_read_changed_and_deleted_with_its_registrations() {
    let site = Site::start().await;
    let owner = Owner::of(&site);
    let webhook = json!({ "webhookUrl": "https://example.com/api/f?code=secret", "apiVersion": "2021-10-01" });
    let wanted = with_keys(json!({
        "enrollmentGroupId": "second", "allocationPolicy": "static", "iotHubs": [OTHER_HUB],
        "initialTwin": { "tags": { "a": 1 } }, "reprovisionPolicy": { "updateHubAssignment": true, "migrateDeviceData": false },
    }));
    let made = owner.put("/enrollmentGroups/second", wanted.clone()).await;
    assert_eq!((&made["allocationPolicy"], &made["iotHubs"]), (&json!("static"), &json!([OTHER_HUB])));
    assert_eq!(made["attestation"], json!({ "type": "symmetricKey" }), "keys are not shown");
    let keys = owner.call(Method::POST, "/enrollmentGroups/second/attestationmechanism", &[], Value::Null).await;
    assert_eq!(keys.body["symmetricKey"]["secondaryKey"], OTHER_KEY);

    let key = device_key(OTHER_KEY, "d1");
    let state = register_with_key(&site, "d1", &key).await["registrationState"].take();
    assert_eq!((&state["assignedHub"], &state["deviceId"]), (&json!(OTHER_HUB), &json!("d1")));
    assert!(site.hook.requests().is_empty());
    assert_eq!(site.hubs[1].device_twin(&device("d1")).unwrap()["tags"], json!({ "a": 1 }));
    site.connect(hub_connect(OTHER_HUB, "d1", &device_key(KEY, "d1"))).await.disconnect().await;
    let under = owner.call(Method::POST, "/registrations/second/query", &[], Value::Null).await;
    assert_eq!(under.body.as_array().unwrap().len(), 1);
    assert_eq!(under.headers["x-ms-item-type"], "deviceRegistration");
    assert_eq!(owner.get("/registrations/D1").await.body, state);

    let twice = owner.call(Method::PUT, "/enrollmentGroups/second", &[], wanted).await;
    assert_eq!((twice.status, &twice.body["errorCode"]), (StatusCode::CONFLICT, &json!(409_201)));
    let etag = made["etag"].as_str().unwrap();
    let custom = json!({ "attestation": { "type": "symmetricKey" }, "allocationPolicy": "custom", "customAllocationDefinition": webhook });
    let changed = owner.call(Method::PUT, "/enrollmentGroups/second", &[("if-match", etag)], custom).await;
    assert_eq!(changed.body["customAllocationDefinition"], webhook);
    assert_eq!(changed.headers["etag"].to_str().unwrap(), changed.body["etag"]);
    assert_eq!(changed.body["createdDateTimeUtc"], made["createdDateTimeUtc"]);
    let kept = owner.call(Method::POST, "/enrollmentGroups/second/attestationmechanism", &[], Value::Null).await;
    assert_eq!(kept.body, keys.body, "keys that are not said stay");
    let stale = owner.call(Method::DELETE, "/enrollmentGroups/second", &[("if-match", etag)], Value::Null).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);

    let deleted = owner.call(Method::DELETE, "/enrollmentGroups/second", &[], Value::Null).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    assert_eq!(owner.get("/enrollmentGroups/second").await.body["errorCode"], 404_204);
    assert_eq!(owner.get("/registrations/d1").await.body["errorCode"], 404_202);
    let refused = register_with_key(&site, "d1", &key).await;
    assert_eq!(refused["errorCode"], 401_000, "no group has its key");
    site.stop().await;
}

#[tokio::test]
async fn a_device_of_an_individual_enrollment_has_its_own_keys_and_name() {
    let site = Site::start().await;
    let owner = Owner::of(&site);
    let vectors: Value = serde_json::from_str(include_str!("../fixtures/iot/webhook_requests.json")).unwrap();
    let recorded = vectors.as_array().unwrap().iter().find(|case| case["name"] == "individual_symkey").unwrap();
    let enrollment = &recorded["body"]["individualEnrollment"];
    let webhook = owner.get("/enrollmentGroups/thermostats").await.body["customAllocationDefinition"].take();
    let wanted = with_keys(json!({
        "registrationId": "thermo-01", "deviceId": "thermo-device-01", "allocationPolicy": "custom",
        "customAllocationDefinition": webhook, "iotHubs": [HUB],
    }));
    owner.put("/enrollments/thermo-01", wanted).await;

    for key in [KEY, OTHER_KEY] {
        let answer = register_with_key(&site, "Thermo-01", key).await;
        assert_eq!(answer["registrationState"]["deviceId"], "thermo-device-01", "{answer}");
    }
    let asked = site.hook.requests();
    let members = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(&asked[0]["individualEnrollment"]), members(enrollment));
    assert_eq!(asked[0]["individualEnrollment"]["deviceId"], "thermo-device-01");
    assert_eq!(asked[1]["deviceRuntimeContext"]["currentDeviceId"], "thermo-device-01");
    assert_eq!(asked[0]["linkedHubs"], json!([HUB]));
    assert!(asked[0].get("enrollmentGroup").is_none());
    site.connect(hub_connect(HUB, "thermo-device-01", OTHER_KEY)).await.disconnect().await;

    let of_group = register_with_key(&site, "thermo-01", &device_key(GROUP_KEY, "thermo-01")).await;
    assert_eq!(of_group["errorCode"], 401_000, "its own enrollment goes before a group");
    site.stop().await;
}

#[tokio::test]
async fn a_disabled_enrollment_is_a_registration_without_a_hub() {
    let site = Site::start().await;
    let owner = Owner::of(&site);
    owner.put("/enrollments/d1", with_keys(json!({ "provisioningStatus": "disabled" }))).await;
    assert_eq!(register_with_key(&site, "d1", KEY).await["status"], "disabled");
    let all =
        owner.call(Method::POST, "/enrollments/query", &[], json!({ "query": "SELECT * FROM enrollments" })).await;
    assert_eq!(all.body[0]["registrationId"], "d1");
    assert_eq!(all.body.as_array().unwrap().len(), 1);
    site.stop().await;
}

#[tokio::test]
async fn a_device_that_nothing_is_enrolled_for_is_told_so_with_the_recorded_code() {
    let site = Site::start().await;
    let gone = Owner::of(&site).call(Method::DELETE, "/enrollmentGroups/thermostats", &[], Value::Null).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let vectors: Value = serde_json::from_str(include_str!("../fixtures/iot/dps_mqtt.json")).unwrap();
    let mut recorded = vectors["errors"].as_array().unwrap().iter();
    let code = &recorded.find(|error| error["name"] == "enrollment_not_found").unwrap()["code"];
    let refused = register_with_key(&site, "d1", &device_key(GROUP_KEY, "d1")).await;
    assert_eq!(&refused["errorCode"], code);
    site.stop().await;
}

#[tokio::test]
async fn hashed_devices_spread_over_the_hubs_and_stay_where_they_are() {
    let site = Site::start().await;
    let owner = Owner::of(&site);
    owner.put("/enrollmentGroups/hashed", with_keys(json!({}))).await;
    let mut reached = std::collections::BTreeSet::new();
    for n in 0..16 {
        let id = format!("d{n}");
        let hub = register_with_key(&site, &id, &device_key(KEY, &id)).await["registrationState"]["assignedHub"].take();
        let again = register_with_key(&site, &id, &device_key(KEY, &id)).await;
        assert_eq!(again["registrationState"]["assignedHub"], hub);
        reached.insert(hub.as_str().unwrap().to_owned());
    }
    assert_eq!(reached.len(), 2, "{reached:?}");
    site.stop().await;
}

#[tokio::test]
async fn enrollments_survive_a_restart_and_the_first_group_has_the_keys_of_the_process() {
    let first = Site::start().await;
    Owner::of(&first).put("/enrollments/d1", with_keys(json!({ "deviceId": "other" }))).await;
    let disabled = json!({
        "attestation": { "type": "symmetricKey", "symmetricKey": { "primaryKey": OTHER_KEY, "secondaryKey": OTHER_KEY } },
        "provisioningStatus": "disabled",
    });
    let owner = Owner::of(&first);
    let answer = owner.call(Method::PUT, "/enrollmentGroups/thermostats", &[("if-match", "*")], disabled).await;
    assert_eq!(answer.status, StatusCode::OK);
    let second = first.restarted().await;
    first.stop().await;
    assert_eq!(register_with_key(&second, "d1", KEY).await["registrationState"]["deviceId"], "other");
    let of_group = register_with_key(&second, "d2", &device_key(GROUP_KEY, "d2")).await;
    assert_eq!(of_group["status"], "disabled", "what else was changed stays");
    second.stop().await;
}

/// A bulk operation's answer: whether all went well, and what did not, by name.
async fn bulk(owner: &Owner<'_>, mode: &str, enrollments: Vec<Value>) -> (Value, Vec<(String, u64)>) {
    let body = json!({ "mode": mode, "enrollments": enrollments });
    let mut answer = owner.call(Method::POST, "/enrollments", &[], body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let errors = answer.body["errors"].take();
    let error = |error: &Value| {
        assert!(error["errorStatus"].is_string(), "{error}");
        (error["registrationId"].as_str().unwrap().to_owned(), error["errorCode"].as_u64().unwrap())
    };
    (answer.body["isSuccessful"].take(), errors.as_array().unwrap().iter().map(error).collect())
}

#[tokio::test]
async fn enrollments_are_made_changed_and_deleted_several_at_once_and_each_on_its_own() {
    let site = Site::start().await;
    let owner = Owner::of(&site);
    let enrollment = |id: &str| with_keys(json!({ "registrationId": id }));
    let of_device = |id: &str, device: &str, etag: &Value| {
        with_keys(json!({ "registrationId": id, "deviceId": device, "etag": etag }))
    };
    let failed = |id: &str, code: u64| (json!(false), vec![(id.to_owned(), code)]);
    let well = (json!(true), vec![]);

    assert_eq!(bulk(&owner, "create", vec![enrollment("d1"), enrollment("d2")]).await, well);
    let again = bulk(&owner, "create", vec![enrollment("d2"), enrollment("d3")]).await;
    assert_eq!(again, failed("d2", 409_201));
    let etag = owner.get("/enrollments/d3").await.body["etag"].take();

    let changed = vec![of_device("d1", "first", &json!(null)), of_device("D2", "second", &json!("\"stale\""))];
    assert_eq!(bulk(&owner, "update", changed).await, well, "an update looks at no ETag");
    assert_eq!(owner.get("/enrollments/d2").await.body["deviceId"], "second");
    assert_eq!(register_with_key(&site, "d1", KEY).await["registrationState"]["deviceId"], "first");
    assert_eq!(bulk(&owner, "update", vec![enrollment("d4")]).await, failed("d4", 404_201));

    let by_etag = vec![of_device("d3", "third", &etag), of_device("d2", "other", &json!("\"stale\""))];
    assert_eq!(bulk(&owner, "updateIfMatchETag", by_etag).await, failed("d2", 412_000));
    assert_eq!(owner.get("/enrollments/d3").await.body["deviceId"], "third");
    assert_eq!(owner.get("/enrollments/d2").await.body["deviceId"], "second");
    assert_eq!(bulk(&owner, "updateIfMatchETag", vec![enrollment("d2")]).await, failed("d2", 400_004));

    let gone = ["d1", "d4", "d2"].map(|id| json!({ "registrationId": id })).to_vec();
    assert_eq!(bulk(&owner, "delete", gone).await, failed("d4", 404_201));
    assert_eq!(owner.get("/enrollments/d2").await.status, StatusCode::NOT_FOUND);
    assert_eq!(owner.get("/registrations/d1").await.status, StatusCode::NOT_FOUND, "its registration goes with it");

    let groups = json!({ "mode": "create", "enrollmentGroups": [with_keys(json!({ "enrollmentGroupId": "second" }))] });
    let made = owner.call(Method::POST, "/enrollmentGroups", &[], groups.clone()).await;
    assert_eq!(made.body, json!({ "isSuccessful": true, "errors": [] }));
    let twice = owner.call(Method::POST, "/enrollmentGroups", &[], groups).await;
    assert_eq!(twice.body["errors"][0]["enrollmentGroupId"], "second");
    site.stop().await;
}

#[tokio::test]
async fn a_bulk_operation_that_is_not_understood_whole_changes_nothing() {
    let site = Site::start().await;
    let owner = Owner::of(&site);
    let numbered = |count: usize| -> Vec<Value> {
        (0..count).map(|n| with_keys(json!({ "registrationId": format!("d{n}") }))).collect()
    };
    let mut unnamed = numbered(2);
    unnamed.push(with_keys(json!({})));
    let mut misnamed = numbered(2);
    misnamed.push(with_keys(json!({ "registrationId": "d+1" })));
    for (why, body) in [
        ("eleven", json!({ "mode": "create", "enrollments": numbered(11) })),
        ("no such mode", json!({ "mode": "replace", "enrollments": numbered(1) })),
        ("no mode", json!({ "enrollments": numbered(1) })),
        ("no list", json!({ "mode": "create", "enrollmentGroups": numbered(1) })),
        ("no object", json!([])),
        ("one without a name", json!({ "mode": "create", "enrollments": unnamed })),
        ("one with a name that is none", json!({ "mode": "create", "enrollments": misnamed })),
    ] {
        let answer = owner.call(Method::POST, "/enrollments", &[], body).await;
        assert_eq!((answer.status, &answer.body["errorCode"]), (StatusCode::BAD_REQUEST, &json!(400_004)), "{why}");
    }
    let all = owner.call(Method::POST, "/enrollments/query", &[], json!({ "query": "SELECT *" })).await;
    assert_eq!(all.body, json!([]));
    assert_eq!(bulk(&owner, "create", numbered(10)).await.0, true);
    site.stop().await;
}

#[tokio::test]
async fn a_list_comes_in_pages_of_the_size_that_was_asked_for() {
    let site = Site::start().await;
    let owner = Owner::of(&site);
    let named = |n: usize| with_keys(json!({ "registrationId": format!("d{n}") }));
    bulk(&owner, "create", (1..=5).map(named).collect()).await;
    let (mut ids, mut pages, mut token) = (Vec::new(), Vec::new(), None::<String>);
    loop {
        let mut headers = vec![("x-ms-max-item-count", "2")];
        headers.extend(token.as_deref().map(|token| ("x-ms-continuation", token)));
        let page = owner.call(Method::POST, "/enrollments/query", &headers, json!({ "query": "SELECT *" })).await;
        let items = page.body.as_array().unwrap();
        pages.push(items.len());
        ids.extend(items.iter().map(|item| item["registrationId"].as_str().unwrap().to_owned()));
        token = page.headers.get("x-ms-continuation").map(|token| token.to_str().unwrap().to_owned());
        if token.is_none() {
            break;
        }
    }
    assert_eq!((pages, ids), (vec![2, 2, 1], ["d1", "d2", "d3", "d4", "d5"].map(str::to_owned).to_vec()));
    site.stop().await;
}

#[tokio::test]
async fn who_may_not_or_is_not_understood_is_told_so() {
    let site = Site::start().await;
    let owner = Owner::of(&site);
    let host = site.http.to_string();
    for (why, authorization) in [
        ("another policy", token(KEY, &host, Some("service"), LATER)),
        ("another key", token(OTHER_KEY, &host, Some("provisioningserviceowner"), LATER)),
        ("another host", raw_token(KEY, "elsewhere", Some("provisioningserviceowner"), LATER)),
        ("expired", token(KEY, &host, Some("provisioningserviceowner"), 1)),
    ] {
        let answer = Owner { site: &site, authorization }.get("/enrollmentGroups/thermostats").await;
        assert_eq!((answer.status, &answer.body["errorCode"]), (StatusCode::UNAUTHORIZED, &json!(401_002)), "{why}");
    }
    let custom = json!({ "allocationPolicy": "custom" });
    for (why, body) in [
        ("no object", json!([])),
        ("no attestation", json!({})),
        ("X.509", json!({ "attestation": { "type": "x509" } })),
        ("another id", with_keys(json!({ "registrationId": "d2" }))),
        ("a hub that is not linked", with_keys(json!({ "iotHubs": ["elsewhere.azure-devices.net"] }))),
        ("no webhook", with_keys(custom)),
        (
            "a key that is none",
            json!({ "attestation": { "type": "symmetricKey", "symmetricKey": { "primaryKey": "x" } } }),
        ),
    ] {
        let answer = owner.call(Method::PUT, "/enrollments/d1", &[], body).await;
        assert_eq!((answer.status, &answer.body["errorCode"]), (StatusCode::BAD_REQUEST, &json!(400_004)), "{why}");
    }
    assert_eq!(owner.get("/enrollments/d1").await.body["errorCode"], 404_201);
    assert_eq!(owner.get("/enrollments/d+1").await.status, StatusCode::BAD_REQUEST);
    let unknown = owner.call(Method::POST, "/enrollments/query", &[], json!({ "query": "SELECT a" })).await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
    site.stop().await;
}
