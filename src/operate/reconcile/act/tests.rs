//! What became otherwise between looking and acting is left as it is.

use axum::response::Response;
use serde_json::{Value, json};

use super::*;
use crate::operate::iot_hub::tests::{hub, ok, refusal};
use crate::scripted::{Service, Step};

const MODEL: &str = "dtmi:test:Pump;1";
const SINCE: &str = "2026-06-01T00:00:00Z";

/// An instance with twin `pump`, bound to the device of that name in contoso-hub since before `SINCE`.
fn service() -> Service {
    let names = ["HubRegistrationId", "HubDeviceId", "HubName"];
    let contents: Value =
        names.iter().map(|name| json!({ "@type": "Property", "name": name, "schema": "string" })).collect();
    let model = json!({ "@context": "dtmi:dtdl:context;2", "@id": MODEL, "@type": "Interface", "contents": contents });
    let service = Service::with_models([model]);
    put(&service, json!({ "HubRegistrationId": "pump", "HubName": "contoso-hub" }), "2026-05-01T00:00:00Z");
    service
}

fn put(service: &Service, members: Value, registered: &str) {
    let mut twin = json!({ "$metadata": { "$model": MODEL, "HubRegistrationId": { "sourceTime": registered } } });
    twin.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    service.with_twins(|twins| twins.put("pump", twin));
}

/// Mends where the hub gives these answers.
async fn mend(service: &Service, difference: &Difference, answers: Vec<Response>) -> Result<String, String> {
    let settings = Settings::read(|name| (name == "ADT_SERVICE_URL").then(|| "https://localhost".to_owned())).unwrap();
    let (client, hubs) = (service.client(), [hub(answers).await.0]);
    let directory = Directory::new(client.clone(), 10);
    let actor = Actor::new(&client, &hubs, &settings, directory, SINCE.parse().unwrap());
    actor.mend(difference).await
}

/// Whether nothing but questions was asked.
fn is_unchanged(service: &Service) -> bool {
    service.calls().iter().all(|call| ["GET", "QUERY", "MODELS", "OUT", "IN"].iter().any(|verb| call.starts_with(verb)))
}

fn there(tags: Value) -> Response {
    ok(json!({ "deviceId": "pump", "etag": "AAAA", "tags": tags }))
}

fn gone() -> Response {
    refusal(404, "DeviceNotFound")
}

fn contoso() -> HubName {
    HubName::of_host("contoso-hub").unwrap()
}

fn ids() -> (TwinId, DeviceId) {
    (TwinId::parse("pump").unwrap(), DeviceId::parse("pump").unwrap())
}

fn orphan() -> Difference {
    let (twin, device) = ids();
    Difference::Orphan { twin, device, hub: contoso() }
}

fn device(twin_id: Option<&str>) -> Device {
    let (_, id) = ids();
    let tag = |value: &str| Some(value.to_owned());
    Device { hub: contoso(), id, etag: "AAAA".to_owned(), twin_id: twin_id.map(str::to_owned), model_id: tag(MODEL) }
}

#[tokio::test]
async fn a_twin_is_removed_where_the_hub_still_lacks_its_device() {
    let service = service();
    assert_eq!(mend(&service, &orphan(), vec![gone()]).await, Ok("removed".to_owned()));
    assert_eq!(service.with_twins(|twins| twins.ids().len()), 0);
}

#[tokio::test]
async fn a_twin_that_somebody_else_removed_is_gone() {
    let service = service();
    service.with_twins(|twins| twins.remove("pump"));
    assert_eq!(mend(&service, &orphan(), vec![gone()]).await, Ok("is gone already".to_owned()));
}

#[tokio::test]
async fn a_twin_whose_device_is_back_stays() {
    let service = service();
    let left = mend(&service, &orphan(), vec![there(json!({}))]).await.unwrap_err();
    assert_eq!(left, "hub contoso-hub has the device by now");
    assert!(is_unchanged(&service));
}

#[tokio::test]
async fn a_twin_that_was_bound_or_registered_anew_stays() {
    for (members, registered, says) in [
        (json!({ "HubRegistrationId": "other", "HubName": "contoso-hub" }), SINCE, "the twin changed meanwhile"),
        (json!({ "HubRegistrationId": "pump", "HubName": "second" }), SINCE, "the rule otherHub keeps it"),
        (
            json!({ "HubRegistrationId": "pump", "HubName": "contoso-hub" }),
            "2026-06-01T00:00:01Z",
            "the twin changed meanwhile",
        ),
    ] {
        let service = service();
        put(&service, members, registered);
        assert_eq!(mend(&service, &orphan(), vec![gone()]).await.unwrap_err(), says);
        assert!(is_unchanged(&service));
    }
}

#[tokio::test]
async fn a_twin_that_registers_at_the_last_moment_stays() {
    let service = service();
    let anew = json!({ "$metadata": { "$model": MODEL, "HubRegistrationId": { "sourceTime": "2026-07-01T00:00:00Z" } },
        "HubRegistrationId": "pump", "HubName": "contoso-hub" });
    service.script("DELETE pump", Step::first(move |twins| drop(twins.put("pump", anew))));
    let left = mend(&service, &orphan(), vec![gone()]).await.unwrap_err();
    assert_eq!(left, "the rule registeredAnew keeps it");
    assert_eq!(service.with_twins(|twins| twins.ids().len()), 1);
}

#[tokio::test]
async fn no_twin_is_made_for_a_device_that_is_gone_or_has_one() {
    let service = service();
    let no_twin = Difference::NoTwin { device: device(None), model: Some(MODEL.parse().unwrap()) };
    let left = mend(&service, &no_twin, vec![gone()]).await.unwrap_err();
    assert_eq!(left, "hub contoso-hub does not have the device any more");
    let left = mend(&service, &no_twin, vec![there(json!({}))]).await.unwrap_err();
    assert_eq!(left, "it has the twin pump by now");
    put(&service, json!({ "HubRegistrationId": "other" }), SINCE);
    let left = mend(&service, &no_twin, vec![there(json!({}))]).await.unwrap_err();
    assert_eq!(left, "twin pump is another device's or nobody's: bind it to this one, or delete it");
    service.with_twins(|twins| twins.remove("pump"));
    let absent = Difference::NoTwin { device: device(None), model: Some("dtmi:test:Absent;1".parse().unwrap()) };
    let left = mend(&service, &absent, vec![there(json!({}))]).await.unwrap_err();
    assert_eq!(left, "Azure Digital Twins has no model dtmi:test:Absent;1");
}

#[tokio::test]
async fn a_twin_that_was_made_is_told_also_where_its_tags_fail() {
    let service = service();
    service.with_twins(|twins| twins.remove("pump"));
    let no_twin = Difference::NoTwin { device: device(None), model: Some(MODEL.parse().unwrap()) };
    let answers = vec![there(json!({ "dtmi": MODEL })), refusal(412, "PreconditionFailed")];
    let left = mend(&service, &no_twin, answers).await.unwrap_err();
    assert_eq!(left, "made twin pump, but its tags: the device twin of pump changed meanwhile");
    let bound = service.with_twins(|twins| twins.get("pump").unwrap()["HubRegistrationId"].clone());
    assert_eq!(bound, "pump");
}

#[tokio::test]
async fn tags_are_set_only_for_the_twin_that_is_still_the_devices() {
    let service = service();
    let tags = Difference::Tags { device: device(Some("other")), twin: ids().0, model: MODEL.parse().unwrap() };
    let set = mend(&service, &tags, vec![there(json!({})), ok(json!({}))]).await;
    assert_eq!(set, Ok("tags are set".to_owned()));
    // They are right by now: the hub is asked for nothing more.
    let right = there(json!({ "dtId": "pump", "dtmi": MODEL }));
    assert!(mend(&service, &tags, vec![right]).await.is_ok());
    put(&service, json!({ "HubRegistrationId": "other" }), SINCE);
    assert_eq!(mend(&service, &tags, vec![there(json!({}))]).await.unwrap_err(), "twin pump changed meanwhile");
}
