//! Registrations against an Azure Digital Twins instance in memory.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::host::InvocationId;
use crate::scripted::{Service, Step, Twins};
use crate::settings::{AllowedModels, HubPolicy, ModelChange, ModelPattern};

const THERMOSTAT: &str = "dtmi:contosocom:DigitalTwins:Thermostat;2";
const HUB: &str = "contoso-hub.azure-devices.net";
const LONG_AGO: &str = "2026-01-01T00:00:00Z";

fn interface(id: &str, extends: &[&str], contents: Value) -> Value {
    json!({ "@context": "dtmi:dtdl:context;2", "@id": id, "@type": "Interface", "extends": extends, "contents": contents })
}

fn strings(names: &[&str]) -> Value {
    names.iter().map(|name| json!({ "@type": "Property", "name": name, "schema": "string" })).collect()
}

fn service() -> Service {
    let bookkeeping = strings(&["HubRegistrationId", "HubDeviceId", "HubName"]);
    let mut third = bookkeeping.clone();
    let battery = json!({ "@type": "Component", "name": "battery", "schema": "dtmi:x:Battery;1" });
    third.as_array_mut().unwrap().push(battery);
    Service::with_models([
        interface("dtmi:x:Battery;1", &[], json!([])),
        interface("dtmi:x:Room;1", &[], strings(&["DisplayName"])),
        interface("dtmi:x:Named;1", &[], strings(&["HubDeviceId"])),
        interface("dtmi:contosocom:DigitalTwins:Thermostat;1", &[], bookkeeping.clone()),
        interface(THERMOSTAT, &[], bookkeeping),
        interface("dtmi:contosocom:DigitalTwins:Thermostat;3", &[], third),
        interface("dtmi:x:SmartThermostat;1", &[THERMOSTAT], json!([])),
    ])
}

fn settings() -> crate::settings::Allocation {
    crate::settings::Allocation {
        hub_policy: HubPolicy::Sticky,
        models: AllowedModels::Any,
        model_change: ModelChange::Reject,
        parent_from_device: false,
    }
}

fn function(service: &Service) -> Allocation {
    with_settings(service, settings())
}

fn with_settings(service: &Service, settings: crate::settings::Allocation) -> Allocation {
    let client = service.client();
    Allocation::new(client.clone(), Directory::new(client, 100), settings)
}

fn body(id: &str, model: &str) -> Value {
    json!({
        "enrollmentGroup": { "enrollmentGroupId": "thermostats" },
        "deviceRuntimeContext": { "registrationId": id, "symmetricKey": {}, "payload": { "modelId": model } },
        "linkedHubs": [HUB],
    })
}

async fn ask(function: &Allocation, body: &Value) -> (StatusCode, Value) {
    let request = HttpRequest { body: body.to_string().into() };
    let answer = function.run(request, &InvocationId::from_header(None)).await;
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

async fn register(service: &Service, id: &str, model: &str) -> (StatusCode, Value) {
    ask(&function(service), &body(id, model)).await
}

/// A thermostat's twin, bound to `registration` by an earlier registration.
fn registered(registration: &str) -> Value {
    let mut twin = prepared(registration);
    twin["HubName"] = "contoso-hub".into();
    twin["$metadata"]["HubRegistrationId"] = json!({ "sourceTime": LONG_AGO });
    twin
}

/// A thermostat's twin, as a registration leaves it that is going on at the same time.
fn just_registered(registration: &str) -> Value {
    let mut twin = registered(registration);
    twin["$metadata"]["HubRegistrationId"]["sourceTime"] = Timestamp::now().to_string().into();
    twin
}

/// A thermostat's twin that an operator meant for `registration`.
fn prepared(registration: &str) -> Value {
    json!({ "$metadata": { "$model": THERMOSTAT }, "HubRegistrationId": registration })
}

fn put(service: &Service, id: &str, twin: Value) {
    service.with_twins(|twins| twins.put(id, twin));
}

fn get(service: &Service, id: &str) -> Value {
    service.with_twins(|twins| twins.get(id).cloned()).unwrap()
}

fn sorted(mut calls: Vec<String>) -> Vec<String> {
    calls.sort();
    calls
}

#[tokio::test]
async fn a_device_without_a_twin_gets_one() {
    let service = service();
    let (status, answer) = register(&service, "Thermo-01", THERMOSTAT).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(
        answer,
        json!({
            "iotHubHostName": HUB,
            "initialTwin": { "tags": { "dtId": "thermo-01", "dtmi": THERMOSTAT }, "properties": { "desired": {} } },
            "payload": { "dtId": "thermo-01" },
        })
    );
    let twin = get(&service, "thermo-01");
    assert!(twin["$metadata"]["HubRegistrationId"]["sourceTime"].is_string());
    let members: Vec<&String> = twin.as_object().unwrap().keys().filter(|name| !name.starts_with('$')).collect();
    assert_eq!(members, ["HubRegistrationId", "HubName"]);
    assert_eq!((&twin["HubRegistrationId"], &twin["HubName"]), (&json!("thermo-01"), &json!("contoso-hub")));
}

#[tokio::test]
async fn a_new_twin_has_the_components_of_its_model() {
    let service = service();
    register(&service, "thermo-01", "dtmi:contosocom:DigitalTwins:Thermostat;3").await;
    assert_eq!(get(&service, "thermo-01")["battery"], json!({ "$metadata": {} }));
}

#[tokio::test]
async fn registering_again_changes_only_the_time_of_the_registration() {
    let service = service();
    let mut before = registered("thermo-01");
    before["Temperature"] = json!(21.5);
    put(&service, "thermo-01", before);
    let mut before = get(&service, "thermo-01");
    assert_eq!(register(&service, "THERMO-01", THERMOSTAT).await.0, StatusCode::OK);
    let mut after = get(&service, "thermo-01");
    assert_ne!(after["$metadata"]["HubRegistrationId"].take()["sourceTime"], LONG_AGO);
    before["$metadata"]["HubRegistrationId"].take();
    for twin in [&mut before, &mut after] {
        twin["$etag"].take();
    }
    assert_eq!(after, before);
}

#[tokio::test(start_paused = true)]
async fn allocating_takes_two_round_trips() {
    let service = service();
    let trip = Duration::from_millis(100);
    service.set_latency(trip);
    for known in [false, true] {
        let start = Instant::now();
        assert_eq!(register(&service, "thermo-01", THERMOSTAT).await.0, StatusCode::OK);
        assert_eq!(start.elapsed(), 2 * trip, "known: {known}");
    }
    let read = ["GET thermo-01", "MODELS", "QUERY"];
    let calls = service.calls();
    assert_eq!(sorted(calls[0..3].to_vec()), read);
    assert_eq!(calls[3], "PUT thermo-01");
    assert_eq!(sorted(calls[4..7].to_vec()), read);
    assert_eq!(calls[7..], ["PATCH thermo-01"]);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_takes_two_round_trips_more() {
    let service = service();
    let trip = Duration::from_millis(100);
    service.set_latency(trip);
    put(&service, "thermo-01", registered("thermo-01"));
    service.script("PATCH thermo-01", Step::first(|twins| twins.touch("thermo-01", "Temperature", json!(20))));
    let start = Instant::now();
    assert_eq!(register(&service, "thermo-01", THERMOSTAT).await.0, StatusCode::OK);
    assert_eq!(start.elapsed(), 4 * trip);
    assert_eq!(get(&service, "thermo-01")["Temperature"], 20);
}

#[tokio::test]
async fn after_a_second_conflict_dps_asks_again() {
    let service = service();
    put(&service, "thermo-01", registered("thermo-01"));
    for temperature in 0..2 {
        let touch = move |twins: &mut Twins| twins.touch("thermo-01", "Temperature", json!(temperature));
        service.script("PATCH thermo-01", Step::first(touch));
    }
    let (status, answer) = register(&service, "thermo-01", THERMOSTAT).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
}

#[tokio::test]
async fn a_second_conflict_with_another_registration_is_none() {
    let service = service();
    put(&service, "thermo-01", registered("thermo-01"));
    service.script("PATCH thermo-01", Step::first(|twins| twins.touch("thermo-01", "Temperature", json!(20))));
    service.script("PATCH thermo-01", Step::first(|twins| drop(twins.put("thermo-01", just_registered("thermo-01")))));
    assert_eq!(register(&service, "thermo-01", THERMOSTAT).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_lost_race_to_create_finds_the_winners_twin() {
    let service = service();
    // Another instance's twin appears between our reads and our creation.
    service.script(
        "PUT thermo-01",
        Step::first(|twins| {
            let mut twin = just_registered("thermo-01");
            twin["Temperature"] = json!(22);
            twins.put("thermo-01", twin);
        }),
    );
    let (status, answer) = register(&service, "thermo-01", THERMOSTAT).await;
    assert_eq!((status, &answer["payload"]["dtId"]), (StatusCode::OK, &json!("thermo-01")));
    assert_eq!(get(&service, "thermo-01")["Temperature"], 22);
    // The winner has recorded the registration: nothing to add.
    assert!(!service.calls().contains(&"PATCH thermo-01".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_registrations_at_once_make_one_twin_and_get_one_answer() {
    for known in [false, true] {
        let service = service();
        service.set_latency(Duration::from_millis(5));
        if known {
            put(&service, "thermo-01", registered("thermo-01"));
        }
        // Fifty instances of the app, two registrations each.
        let tasks: Vec<_> = (0..50)
            .map(|_| Arc::new(function(&service)))
            .flat_map(|function| [(function.clone(), "Thermo-01"), (function, "THERMO-01")])
            .map(|(function, id)| tokio::spawn(async move { ask(&function, &body(id, THERMOSTAT)).await }))
            .collect();
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap());
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:#?}");
        assert_eq!(answers[0].0, StatusCode::OK);
        assert_eq!(service.with_twins(|twins| twins.ids().len()), 1);
    }
}

#[tokio::test]
async fn an_operators_twin_is_bound_whatever_its_id() {
    let service = service();
    put(&service, "Lobby thermostat", prepared("THERMO-01"));
    let (status, answer) = register(&service, "THERMO-01", THERMOSTAT).await;
    assert_eq!((status, &answer["payload"]["dtId"]), (StatusCode::OK, &json!("Lobby thermostat")));
    let twin = get(&service, "Lobby thermostat");
    assert_eq!(twin["HubRegistrationId"], "thermo-01");
    assert!(twin["$metadata"]["HubRegistrationId"]["sourceTime"].is_string());
    assert_eq!(service.with_twins(|twins| twins.ids().len()), 1);
}

#[tokio::test]
async fn the_spelling_that_the_hub_knows_finds_an_operators_twin_too() {
    let service = service();
    put(&service, "lobby", prepared("Thermo-01"));
    let mut body = body("THERMO-01", THERMOSTAT);
    body["deviceRuntimeContext"]["currentDeviceId"] = "Thermo-01".into();
    assert_eq!(ask(&function(&service), &body).await.1["payload"]["dtId"], "lobby");
}

#[tokio::test]
async fn the_twin_of_an_earlier_registration_comes_before_an_operators() {
    let service = service();
    put(&service, "a", prepared("thermo-01"));
    put(&service, "b", registered("thermo-01"));
    put(&service, "c", registered("thermo-01"));
    assert_eq!(register(&service, "thermo-01", THERMOSTAT).await.1["payload"]["dtId"], "b");
}

#[tokio::test]
async fn a_twin_with_the_devices_name_and_nothing_set_is_adopted() {
    let service = service();
    put(&service, "thermo-01", json!({ "$metadata": { "$model": THERMOSTAT }, "Temperature": 19 }));
    assert_eq!(register(&service, "thermo-01", THERMOSTAT).await.0, StatusCode::OK);
    let twin = get(&service, "thermo-01");
    assert_eq!((&twin["HubRegistrationId"], &twin["Temperature"]), (&json!("thermo-01"), &json!(19)));
}

#[tokio::test]
async fn a_stale_row_is_read_again() {
    let service = service();
    put(&service, "lobby", prepared("thermo-01"));
    service.freeze_queries();
    service.with_twins(|twins| twins.touch("lobby", "Temperature", json!(20)));
    let (status, answer) = register(&service, "thermo-01", THERMOSTAT).await;
    assert_eq!((status, &answer["payload"]["dtId"]), (StatusCode::OK, &json!("lobby")));
    assert_eq!(get(&service, "lobby")["Temperature"], 20);
}

#[tokio::test]
async fn a_row_of_a_twin_that_now_is_anothers_is_left_alone() {
    let service = service();
    put(&service, "lobby", prepared("thermo-01"));
    service.freeze_queries();
    service.with_twins(|twins| twins.put("lobby", registered("thermo-02")));
    let (status, answer) = register(&service, "thermo-01", THERMOSTAT).await;
    assert_eq!((status, &answer["payload"]["dtId"]), (StatusCode::OK, &json!("thermo-01")));
    assert_eq!(get(&service, "lobby")["HubRegistrationId"], "thermo-02");
}

#[tokio::test]
async fn a_row_of_a_deleted_twin_leads_to_a_new_one() {
    let service = service();
    put(&service, "lobby", registered("thermo-01"));
    service.freeze_queries();
    service.with_twins(|twins| twins.remove("lobby"));
    let (status, answer) = register(&service, "thermo-01", THERMOSTAT).await;
    assert_eq!((status, &answer["payload"]["dtId"]), (StatusCode::OK, &json!("thermo-01")));
    assert_eq!(service.with_twins(|twins| twins.ids().join(",")), "thermo-01");
}

#[tokio::test]
async fn a_row_of_the_deleted_twin_with_the_devices_name_is_not_believed() {
    let service = service();
    put(&service, "thermo-01", registered("thermo-01"));
    service.freeze_queries();
    service.with_twins(|twins| twins.remove("thermo-01"));
    assert_eq!(register(&service, "thermo-01", THERMOSTAT).await.0, StatusCode::OK);
    assert_eq!(service.calls().pop().as_deref(), Some("PUT thermo-01"));
}

#[tokio::test]
async fn permanent_failures_are_400_and_leave_everything_as_it_was() {
    let default = settings;
    let upgrade = || crate::settings::Allocation { model_change: ModelChange::Upgrade, ..settings() };
    let listed = || {
        let models = AllowedModels::Listed(vec![ModelPattern::Prefix("dtmi:x:".to_owned())]);
        crate::settings::Allocation { models, ..settings() }
    };
    let ours = || registered("thermo-01");
    let named = json!({ "$metadata": { "$model": "dtmi:x:Named;1" }, "HubDeviceId": "other" });
    let (first, third) = ("dtmi:contosocom:DigitalTwins:Thermostat;1", "dtmi:contosocom:DigitalTwins:Thermostat;3");
    for (case, settings, twin, asked, reason) in [
        ("another registration's", default(), registered("thermo-02"), THERMOSTAT, "bound to registration"),
        ("another device's", default(), named, "dtmi:x:Named;1", "bound to device"),
        ("another model", default(), ours(), "dtmi:x:Room;1", "which is not dtmi:x:Room;1"),
        ("another model, upgrades on", upgrade(), ours(), "dtmi:x:Room;1", "which is not dtmi:x:Room;1"),
        ("a lower version, upgrades on", upgrade(), ours(), first, "which is not"),
        ("a higher version, upgrades off", default(), ours(), third, "ALLOCATION_MODEL_CHANGE=upgrade"),
        ("a model that is not there", default(), ours(), "dtmi:x:Gone;1", "upload it"),
        ("a model that is not allowed", listed(), ours(), THERMOSTAT, "ALLOCATION_MODELS"),
    ] {
        let service = service();
        put(&service, "thermo-01", twin);
        let before = get(&service, "thermo-01");
        let (status, answer) = ask(&with_settings(&service, settings), &body("thermo-01", asked)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{case}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(reason), "{case}: {answer}");
        assert_eq!(get(&service, "thermo-01"), before, "{case}");
    }
}

#[tokio::test]
async fn a_twin_whose_model_extends_the_asked_one_fits_and_is_named() {
    let service = service();
    let mut twin = registered("thermo-01");
    twin["$metadata"]["$model"] = "dtmi:x:SmartThermostat;1".into();
    put(&service, "thermo-01", twin);
    let (status, answer) = register(&service, "thermo-01", THERMOSTAT).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["initialTwin"]["tags"]["dtmi"], "dtmi:x:SmartThermostat;1");
}

#[tokio::test]
async fn an_upgrade_changes_the_model_and_adds_its_components() {
    let service = service();
    put(&service, "thermo-01", registered("thermo-01"));
    let settings = crate::settings::Allocation { model_change: ModelChange::Upgrade, ..settings() };
    let asked = "dtmi:contosocom:DigitalTwins:Thermostat;3";
    let (status, answer) = ask(&with_settings(&service, settings), &body("thermo-01", asked)).await;
    assert_eq!((status, &answer["initialTwin"]["tags"]["dtmi"]), (StatusCode::OK, &json!(asked)));
    let twin = get(&service, "thermo-01");
    assert_eq!((&twin["$metadata"]["$model"], &twin["battery"]), (&json!(asked), &json!({ "$metadata": {} })));
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_503() {
    for (call, step) in [
        ("GET thermo-01", Step::Refuse(403, "Forbidden")),
        ("QUERY", Step::Refuse(401, "Unauthorized")),
        ("GET thermo-01", Step::Hang),
        ("QUERY", Step::Hang),
        ("MODELS", Step::Hang),
        ("PATCH thermo-01", Step::Hang),
    ] {
        let service = service();
        put(&service, "thermo-01", registered("thermo-01"));
        service.script(call, step);
        let start = Instant::now();
        let (status, answer) = register(&service, "thermo-01", THERMOSTAT).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{call}: {answer}");
        assert!(start.elapsed() <= DEADLINE, "{call}: {:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_stays_down_or_throttles_is_503() {
    for status in [429, 500, 503] {
        for call in ["GET thermo-01", "QUERY", "PUT thermo-01"] {
            let service = service();
            for _ in 0..10 {
                service.script(call, Step::Refuse(status, "Down"));
            }
            let (answered, answer) = register(&service, "thermo-01", THERMOSTAT).await;
            assert_eq!(answered, StatusCode::SERVICE_UNAVAILABLE, "{status} to {call}: {answer}");
        }
    }
}

#[tokio::test]
async fn what_the_service_refuses_to_create_is_400() {
    let service = service();
    for _ in 0..2 {
        service.script("PUT thermo-01", Step::Refuse(400, "ModelDecommissioned"));
    }
    let (status, answer) = register(&service, "thermo-01", THERMOSTAT).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["message"].as_str().unwrap().contains("ModelDecommissioned"), "{answer}");
}

#[tokio::test]
async fn refused_source_times_are_left_out_from_then_on() {
    let service = service();
    service.refuse_source_times();
    let function = function(&service);
    assert_eq!(ask(&function, &body("thermo-01", THERMOSTAT)).await.0, StatusCode::OK);
    assert_eq!(service.calls().iter().filter(|call| *call == "PUT thermo-01").count(), 2);
    assert_eq!(ask(&function, &body("thermo-01", THERMOSTAT)).await.0, StatusCode::OK);
    assert_eq!(service.calls().iter().filter(|call| *call == "PATCH thermo-01").count(), 1);
}

#[tokio::test]
async fn a_new_twin_is_put_below_the_parent_that_the_operator_named() {
    let service = service();
    put(&service, "room-21", json!({ "$metadata": { "$model": "dtmi:x:Room;1" } }));
    let mut body = body("thermo-01", THERMOSTAT);
    body["enrollmentGroup"]["initialTwin"] = json!({ "tags": { "parentId": "room-21", "floor": 2 },
        "properties": { "desired": { "interval": 500 } } });
    let (status, answer) = ask(&function(&service), &body).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(service.relationships(), ["room-21/contains-thermo-01"]);
    assert_eq!(
        answer["initialTwin"],
        json!({ "tags": { "parentId": "room-21", "floor": 2, "dtId": "thermo-01", "dtmi": THERMOSTAT },
            "properties": { "desired": { "interval": 500 } } })
    );
    // Only on creation: an operator who moved the twin since has the last word.
    service.calls();
    ask(&function(&service), &body).await;
    assert!(!service.calls().iter().any(|call| call.contains('/')));
}

#[tokio::test]
async fn a_parent_that_cannot_be_had_does_not_fail_the_registration() {
    for parent in ["missing", "..", "thermo-01"] {
        let service = service();
        service.script("PUT thermo-01/contains-thermo-01", Step::Refuse(400, "OperationNotAllowed"));
        let mut body = body("thermo-01", THERMOSTAT);
        body["enrollmentGroup"]["initialTwin"] = json!({ "tags": { "parentId": parent } });
        assert_eq!(ask(&function(&service), &body).await.0, StatusCode::OK, "{parent}");
        assert!(service.relationships().is_empty());
    }
}

#[tokio::test]
async fn the_devices_word_for_its_parent_counts_only_where_the_setting_allows_it() {
    for allowed in [false, true] {
        let service = service();
        put(&service, "room-21", json!({ "$metadata": { "$model": "dtmi:x:Room;1" } }));
        let mut body = body("thermo-01", THERMOSTAT);
        body["deviceRuntimeContext"]["payload"]["parentId"] = "room-21".into();
        let settings = crate::settings::Allocation { parent_from_device: allowed, ..settings() };
        assert_eq!(ask(&with_settings(&service, settings), &body).await.0, StatusCode::OK);
        assert_eq!(service.relationships().len(), usize::from(allowed));
    }
}

#[tokio::test(start_paused = true)]
async fn a_creation_whose_answer_was_lost_is_still_ours() {
    let service = service();
    put(&service, "room-21", json!({ "$metadata": { "$model": "dtmi:x:Room;1" } }));
    service.script("PUT thermo-01", Step::LoseAnswer);
    let mut body = body("thermo-01", THERMOSTAT);
    body["enrollmentGroup"]["initialTwin"] = json!({ "tags": { "parentId": "room-21" } });
    assert_eq!(ask(&function(&service), &body).await.0, StatusCode::OK);
    assert_eq!(service.relationships(), ["room-21/contains-thermo-01"]);
}

#[tokio::test]
async fn the_device_id_is_written_where_it_differs_and_removed_where_it_does_not() {
    let service = service();
    let mut request = body("thermo-01", THERMOSTAT);
    request["individualEnrollment"] = json!({ "registrationId": "thermo-01", "deviceId": "Device-7" });
    request["enrollmentGroup"].take();
    ask(&function(&service), &request).await;
    assert_eq!(get(&service, "thermo-01")["HubDeviceId"], "Device-7");
    register(&service, "Thermo-01", THERMOSTAT).await;
    assert_eq!(get(&service, "thermo-01").get("HubDeviceId"), None);
}

#[tokio::test]
async fn the_device_id_is_written_where_the_model_has_nothing_else_to_tell_the_device_by() {
    let service = service();
    register(&service, "Thermo-01", "dtmi:x:Named;1").await;
    assert_eq!(get(&service, "thermo-01")["HubDeviceId"], "Thermo-01");
}

#[tokio::test]
async fn a_twin_without_bookkeeping_needs_no_write() {
    let service = service();
    put(&service, "thermo-01", json!({ "$metadata": { "$model": "dtmi:x:Room;1" } }));
    assert_eq!(register(&service, "thermo-01", "dtmi:x:Room;1").await.0, StatusCode::OK);
    assert_eq!(sorted(service.calls()), ["GET thermo-01", "MODELS", "QUERY"]);
}

#[tokio::test]
async fn a_move_to_another_hub_is_recorded() {
    let service = service();
    put(&service, "thermo-01", registered("thermo-01"));
    let mut request = body("thermo-01", THERMOSTAT);
    request["linkedHubs"] = json!(["North-Hub.azure-devices.net"]);
    request["deviceRuntimeContext"]["currentIotHubHostName"] = HUB.into();
    assert_eq!(ask(&function(&service), &request).await.1["iotHubHostName"], "North-Hub.azure-devices.net");
    assert_eq!(get(&service, "thermo-01")["HubName"], "North-Hub");
}
