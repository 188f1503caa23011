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

/// Asks for the twin of a device for an event that had come by `came`.
async fn try_find(directory: &Directory, id: &str, claim: Option<&str>, came: Instant) -> Result<Found, Error> {
    let (device, claim) = (device(id), claim.map(twin));
    directory.find(Sender { device: &device, claim: claim.as_ref(), takes_unbound: false, came }).await
}

/// The same for an event that just came.
async fn find(directory: &Directory, id: &str, claim: Option<&str>) -> String {
    describe(&try_find(directory, id, claim, Instant::now()).await.unwrap())
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
    let failed = try_find(&directory, "pump-1", Some("lobby"), Instant::now()).await;
    assert!(failed.unwrap_err().is_transient());
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
async fn a_verdict_against_the_sender_counts_for_events_that_had_come_before_the_twin_was_read() {
    let service = service();
    put(&service, "lobby", pump(json!({ "HubRegistrationId": "pump-2" })));
    let directory = directory(&service);
    let find = async |claim, came| describe(&try_find(&directory, "pump-1", Some(claim), came).await.unwrap());
    let early = Instant::now();
    tokio::time::advance(Duration::from_millis(1)).await;
    let verdicts = [("lobby", "foreign lobby"), ("roof", "missing")];
    for (claim, verdict) in verdicts {
        assert_eq!(find(claim, early).await, verdict);
    }
    // Another process registers the device.
    put(&service, "lobby", pump(json!({ "HubRegistrationId": "pump-1" })));
    put(&service, "roof", pump(json!({ "HubRegistrationId": "pump-1" })));
    service.calls();
    for (claim, verdict) in verdicts {
        assert_eq!(find(claim, early).await, verdict);
    }
    assert_eq!(service.calls(), Vec::<String>::new());
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(find("lobby", Instant::now()).await, "bound lobby");
    assert_eq!(find("roof", Instant::now()).await, "bound roof");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_was_under_way_when_an_event_came_is_no_verdict_on_it() {
    let service = service();
    service.set_latency(Duration::from_millis(10));
    let directory = directory(&service);
    let later = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        find(&directory, "pump-1", Some("roof")).await
    };
    let found = tokio::join!(find(&directory, "pump-1", Some("roof")), later);
    assert_eq!(found, ("missing".to_owned(), "missing".to_owned()));
    assert_eq!(service.calls(), ["GET roof", "GET roof"]);
}

#[tokio::test]
async fn a_twin_of_nobody_is_read_once_where_it_will_do() {
    let service = service();
    put(&service, "lobby", pump(json!({})));
    let directory = directory(&service);
    let (device, claim) = (device("pump-1"), twin("lobby"));
    for _ in 0..3 {
        let came = Instant::now();
        let sender = Sender { device: &device, claim: Some(&claim), takes_unbound: true, came };
        assert_eq!(describe(&directory.find(sender).await.unwrap()), "unbound lobby");
    }
    assert_eq!(service.calls(), ["GET lobby", "MODELS"]);
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
    let found = try_find(&directory(&service), "m", Some("m"), Instant::now()).await.unwrap();
    let Found::Bound(known) = found else { panic!("not bound") };
    let state = known.state().lock().await;
    let mut paths: Vec<String> = state.stamps.keys().map(PropertyPath::to_string).collect();
    paths.sort();
    assert_eq!(paths, ["/State", "/motor/Speed"]);
    assert!(state.stamps.values().all(|stamp| stamp.time.to_string() == time && stamp.sequence.is_none()));
    assert_eq!(state.etag.as_str(), "W/\"1\"");
}
