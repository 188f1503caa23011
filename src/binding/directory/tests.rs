//! Looking for twins in an Azure Digital Twins instance in memory.

use serde_json::{Value, json};

use super::*;
use crate::scripted::{Service, Step};

fn service() -> Service {
    let interface = |id: &str, names: &[&str]| {
        let contents: Value =
            names.iter().map(|name| json!({ "@type": "Property", "name": name, "schema": "string" })).collect();
        json!({ "@context": "dtmi:dtdl:context;2", "@id": id, "@type": "Interface", "contents": contents })
    };
    Service::with_models([
        interface("dtmi:x:Pump;1", &["HubRegistrationId", "HubDeviceId", "Speed"]),
        interface("dtmi:x:Plain;1", &["Speed"]),
    ])
}

fn pump(properties: Value) -> Value {
    of_model("dtmi:x:Pump;1", properties)
}

fn of_model(model: &str, properties: Value) -> Value {
    let mut twin = json!({ "$metadata": { "$model": model } });
    twin.as_object_mut().unwrap().extend(properties.as_object().unwrap().clone());
    twin
}

fn put(service: &Service, id: &str, twin: Value) {
    service.with_twins(|twins| twins.put(id, twin));
}

fn directory(service: &Service) -> Directory {
    Directory::new(service.client(), 100)
}

fn device(id: &str) -> DeviceId {
    DeviceId::parse(id).unwrap()
}

fn twin(id: &str) -> TwinId {
    TwinId::parse(id).unwrap()
}

fn describe(found: &Found) -> String {
    match found {
        Found::Bound(known) => format!("bound {}", known.id()),
        Found::Unbound(known) => format!("unbound {}", known.id()),
        Found::Foreign(known) => format!("foreign {}", known.id()),
        Found::Missing => "missing".to_owned(),
    }
}

async fn find(directory: &Directory, id: &str, dt_id: Option<&str>) -> String {
    let dt_id = dt_id.map(twin);
    describe(&directory.find(&device(id), dt_id.as_ref()).await.unwrap())
}

#[tokio::test]
async fn a_named_twin_is_followed_only_if_it_is_the_senders() {
    let service = service();
    put(&service, "a", pump(json!({ "HubRegistrationId": "pump-1" })));
    put(&service, "b", pump(json!({ "HubRegistrationId": "pump-1", "HubDeviceId": "Device-7" })));
    put(&service, "c", pump(json!({})));
    put(&service, "Pump-1", of_model("dtmi:x:Plain;1", json!({})));
    put(&service, "gone", of_model("dtmi:x:Gone;1", json!({})));
    let directory = directory(&service);
    for (sender, named, verdict) in [
        ("Pump-1", "a", "bound a"),
        ("pump-2", "a", "foreign a"),
        ("Device-7", "b", "bound b"),
        ("pump-1", "b", "foreign b"),
        ("pump-1", "c", "unbound c"),
        ("pump-1", "Pump-1", "bound Pump-1"),
        ("pump-2", "Pump-1", "foreign Pump-1"),
        ("gone", "gone", "unbound gone"),
        ("pump-1", "nowhere", "missing"),
    ] {
        assert_eq!(find(&directory, sender, Some(named)).await, verdict, "{sender} {named}");
    }
}

#[tokio::test]
async fn without_a_name_the_binding_is_followed() {
    let service = service();
    put(&service, "lobby", pump(json!({ "HubRegistrationId": "pump-1" })));
    put(&service, "roof", pump(json!({ "HubRegistrationId": "pump-2", "HubDeviceId": "Device-7" })));
    put(&service, "pump-3", of_model("dtmi:x:Plain;1", json!({})));
    put(&service, "Pump-4", of_model("dtmi:x:Plain;1", json!({})));
    put(&service, "pump-5", pump(json!({})));
    let directory = directory(&service);
    for (sender, verdict) in [
        ("Pump-1", "bound lobby"),
        ("Device-7", "bound roof"),
        ("device-7", "missing"),
        ("pump-2", "missing"),
        ("PUMP-3", "bound pump-3"),
        ("Pump-4", "bound Pump-4"),
        ("pump-5", "missing"),
    ] {
        assert_eq!(find(&directory, sender, None).await, verdict, "{sender}");
    }
}

#[tokio::test]
async fn the_best_claim_wins_and_then_the_smallest_id() {
    let service = service();
    let registered = json!({ "HubRegistrationId": "pump-1",
        "$metadata": { "$model": "dtmi:x:Pump;1", "HubRegistrationId": { "sourceTime": "2026-01-01T00:00:00Z" } } });
    put(&service, "a", pump(json!({ "HubRegistrationId": "pump-1" })));
    put(&service, "b", pump(registered.clone()));
    put(&service, "c", pump(registered));
    assert_eq!(find(&directory(&service), "pump-1", None).await, "bound b");
    put(&service, "d", pump(json!({ "HubDeviceId": "pump-1" })));
    assert_eq!(find(&directory(&service), "pump-1", None).await, "bound d");
}

#[tokio::test]
async fn a_row_is_read_before_it_is_believed() {
    let service = service();
    put(&service, "a", pump(json!({ "HubRegistrationId": "pump-1" })));
    put(&service, "b", pump(json!({ "HubRegistrationId": "pump-1" })));
    put(&service, "c", pump(json!({ "HubRegistrationId": "pump-1" })));
    service.freeze_queries();
    service.with_twins(|twins| {
        twins.remove("a");
        twins.touch("b", "HubRegistrationId", "pump-2".into());
        twins.touch("c", "Speed", "fast".into());
    });
    let found = directory(&service).look_up(&device("pump-1")).await.unwrap().unwrap();
    assert_eq!((found.twin.id().as_str(), found.twin.string_property("Speed")), ("c", Some("fast")));
    assert_eq!(found.rank, Rank::Prepared);
}

#[tokio::test]
async fn what_is_remembered_is_not_read_again() {
    let service = service();
    put(&service, "lobby", pump(json!({ "HubRegistrationId": "pump-1" })));
    let directory = directory(&service);
    for _ in 0..3 {
        assert_eq!(find(&directory, "pump-1", None).await, "bound lobby");
        assert_eq!(find(&directory, "pump-1", Some("lobby")).await, "bound lobby");
    }
    let mut calls = service.calls();
    calls.sort();
    assert_eq!(calls, ["GET lobby", "GET pump-1", "MODELS", "QUERY"]);
}

#[tokio::test]
async fn questions_at_once_make_one_read() {
    let service = service();
    put(&service, "lobby", pump(json!({ "HubRegistrationId": "pump-1" })));
    let directory = directory(&service);
    let answers = futures::future::join_all((0..20).map(|_| find(&directory, "pump-1", Some("lobby")))).await;
    assert!(answers.iter().all(|answer| answer == "bound lobby"));
    assert_eq!(service.calls(), ["GET lobby", "MODELS"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_read_is_not_remembered() {
    let service = service();
    put(&service, "lobby", pump(json!({ "HubRegistrationId": "pump-1" })));
    service.script("GET lobby", Step::Refuse(403, "Forbidden"));
    let directory = directory(&service);
    assert!(directory.find(&device("pump-1"), Some(&twin("lobby"))).await.unwrap_err().is_transient());
    assert_eq!(find(&directory, "pump-1", Some("lobby")).await, "bound lobby");
}

#[tokio::test(start_paused = true)]
async fn a_device_without_a_twin_is_looked_for_once_a_minute() {
    let service = service();
    let directory = directory(&service);
    let queries = || service.calls().iter().filter(|call| *call == "QUERY").count();
    assert_eq!(find(&directory, "pump-1", None).await, "missing");
    tokio::time::advance(Duration::from_secs(59)).await;
    put(&service, "lobby", pump(json!({ "HubRegistrationId": "pump-1" })));
    assert_eq!(find(&directory, "pump-1", None).await, "missing");
    assert_eq!(queries(), 1);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(find(&directory, "pump-1", None).await, "bound lobby");
    assert_eq!(queries(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_verdict_against_the_sender_is_soon_asked_for_again() {
    let service = service();
    put(&service, "lobby", pump(json!({ "HubRegistrationId": "pump-2" })));
    let directory = directory(&service);
    assert_eq!(find(&directory, "pump-1", Some("lobby")).await, "foreign lobby");
    assert_eq!(find(&directory, "pump-1", Some("roof")).await, "missing");
    put(&service, "lobby", pump(json!({ "HubRegistrationId": "pump-1" })));
    put(&service, "roof", pump(json!({ "HubRegistrationId": "pump-1" })));
    assert_eq!(find(&directory, "pump-1", Some("lobby")).await, "foreign lobby");
    assert_eq!(find(&directory, "pump-1", Some("roof")).await, "missing");
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(find(&directory, "pump-1", Some("lobby")).await, "bound lobby");
    assert_eq!(find(&directory, "pump-1", Some("roof")).await, "bound roof");
}

#[tokio::test]
async fn a_forgotten_twin_is_read_again() {
    let service = service();
    put(&service, "lobby", pump(json!({ "HubRegistrationId": "pump-1" })));
    let directory = directory(&service);
    assert_eq!(find(&directory, "pump-1", None).await, "bound lobby");
    service.with_twins(|twins| twins.touch("lobby", "HubRegistrationId", "pump-2".into()));
    put(&service, "roof", pump(json!({ "HubRegistrationId": "pump-1" })));
    directory.forget(&twin("lobby"));
    assert_eq!(find(&directory, "pump-1", None).await, "bound roof");
    service.with_twins(|twins| twins.remove("roof"));
    directory.forget(&twin("roof"));
    assert_eq!(find(&directory, "pump-1", None).await, "missing");
    put(&service, "cellar", pump(json!({ "HubRegistrationId": "pump-1" })));
    directory.forget_device(&device("pump-1"));
    assert_eq!(find(&directory, "pump-1", None).await, "bound cellar");
}

#[tokio::test]
async fn source_times_of_the_twin_and_its_components_are_known() {
    let time = "2026-01-01T00:00:00Z";
    let service = Service::with_models([
        json!({ "@context": "dtmi:dtdl:context;2", "@id": "dtmi:x:Motor;1", "@type": "Interface",
            "contents": [{ "@type": "Property", "name": "Speed", "schema": "string" }] }),
        json!({ "@context": "dtmi:dtdl:context;2", "@id": "dtmi:x:Machine;1", "@type": "Interface", "contents": [
            { "@type": "Property", "name": "State", "schema": "string" },
            { "@type": "Property", "name": "Mode", "schema": "string" },
            { "@type": "Component", "name": "motor", "schema": "dtmi:x:Motor;1" }] }),
    ]);
    put(
        &service,
        "m",
        json!({ "State": "on", "Mode": "auto", "motor": { "Speed": "1", "$metadata": { "Speed": { "sourceTime": time } } },
            "$metadata": { "$model": "dtmi:x:Machine;1", "State": { "sourceTime": time } } }),
    );
    let Found::Bound(known) = directory(&service).find(&device("m"), Some(&twin("m"))).await.unwrap() else {
        panic!("not bound")
    };
    let state = known.state().lock().await;
    let mut paths: Vec<String> = state.stamps.keys().map(PropertyPath::to_string).collect();
    paths.sort();
    assert_eq!(paths, ["/State", "/motor/Speed"]);
    assert!(state.stamps.values().all(|stamp| stamp.time.to_string() == time && stamp.sequence.is_none()));
    assert_eq!(state.etag.as_str(), "W/\"1\"");
}
