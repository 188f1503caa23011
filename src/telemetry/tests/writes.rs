//! What is written, with how many calls.

use super::*;

#[tokio::test]
async fn a_message_becomes_a_value_with_its_source_time() {
    let (service, function) = function();
    assert_eq!(outcomes(&function, vec![warm(0, 21.5)]).await, [Some(Outcome::Applied)]);
    assert_eq!(property(&service, "thermo-01", "Temperature"), json!(21.5));
    assert_eq!(source_time(&service, "thermo-01", "Temperature"), json!("2024-05-01T12:00:00Z"));
}

#[tokio::test]
async fn a_batch_makes_one_patch_a_twin_and_no_other_call_once_the_twin_is_known() {
    let (service, function) = function();
    put(&service, "thermo-02", json!({ "HubRegistrationId": "thermo-02" }));
    let both = |seconds: i64| {
        let other = says("thermo-02", seconds, json!({ "Humidity": 40 }));
        vec![warm(seconds, 20.0), other, warm(seconds + 1, 21.0), says("thermo-01", seconds, json!({ "Humidity": 41 }))]
    };
    outcomes(&function, both(0)).await;
    service.calls();
    let applied = Some(Outcome::Applied);
    assert_eq!(
        outcomes(&function, both(10)).await,
        [Some(Outcome::Superseded), applied.clone(), applied.clone(), applied]
    );
    let mut calls = service.calls();
    calls.sort();
    assert_eq!(calls, ["PATCH thermo-01", "PATCH thermo-02"]);
    assert_eq!(property(&service, "thermo-01", "Temperature"), json!(21.0));
}

#[tokio::test]
async fn a_batch_that_comes_again_calls_nobody() {
    let (service, function) = function();
    let batch = || vec![warm(0, 20.0), warm(1, 21.0), says("thermo-01", 2, json!({ "Unknown": 1 }))];
    let first = outcomes(&function, batch()).await;
    service.calls();
    assert_eq!(outcomes(&function, batch()).await, first);
    assert_eq!(service.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn a_late_message_does_not_overwrite_a_newer_value_also_after_a_restart() {
    let (service, function) = function();
    outcomes(&function, vec![warm(10, 21.0)]).await;
    assert_eq!(outcomes(&function, vec![warm(9, 19.0)]).await, [Some(Outcome::Superseded)]);
    let settings = Telemetry { trust_dtid: false, without_twin: WithoutTwin::LeaveOut };
    let function = restarted(&service, settings);
    assert_eq!(outcomes(&function, vec![warm(9, 19.0)]).await, [Some(Outcome::Superseded)]);
    assert_eq!(property(&service, "thermo-01", "Temperature"), json!(21.0));
}

#[tokio::test]
async fn a_stored_source_time_far_ahead_of_now_stops_nothing() {
    let (service, function) = function();
    let members = json!({
        "HubRegistrationId": "thermo-01", "Temperature": 99,
        "$metadata": { "$model": MODEL, "Temperature": { "sourceTime": "9999-01-01T00:00:00Z" } }
    });
    put(&service, "thermo-01", members);
    assert_eq!(outcomes(&function, vec![warm(0, 21.5)]).await, [Some(Outcome::Applied)]);
    assert_eq!(property(&service, "thermo-01", "Temperature"), json!(21.5));
}

#[tokio::test]
async fn without_source_times_the_same_patch_goes_again_and_further_ones_go_without_at_once() {
    let (service, function) = function();
    service.refuse_source_times("PATCH");
    assert_eq!(outcomes(&function, vec![warm(0, 21.5)]).await, [Some(Outcome::Applied)]);
    assert_eq!(property(&service, "thermo-01", "Temperature"), json!(21.5));
    assert_eq!(source_time(&service, "thermo-01", "Temperature"), json!(null));
    service.calls();
    assert_eq!(outcomes(&function, vec![warm(1, 22.0), warm(0, 21.0)]).await[0], Some(Outcome::Applied));
    assert_eq!(service.calls(), ["PATCH thermo-01"]);
    assert_eq!(outcomes(&function, vec![warm(0, 19.0)]).await, [Some(Outcome::Superseded)]);
    assert_eq!(property(&service, "thermo-01", "Temperature"), json!(22.0));
}

#[tokio::test]
async fn the_order_of_values_outlives_a_new_choice_of_the_devices_twin() {
    let (service, function) = function();
    service.refuse_source_times("PATCH");
    outcomes(&function, vec![warm(10, 21.0)]).await;
    function.directory.forget_device(&DeviceId::parse("thermo-01").unwrap());
    assert_eq!(outcomes(&function, vec![warm(9, 19.0)]).await, [Some(Outcome::Superseded)]);
    assert_eq!(property(&service, "thermo-01", "Temperature"), json!(21.0));
}

#[tokio::test]
async fn a_patch_larger_than_the_service_takes_goes_in_parts() {
    let names: Vec<String> = (0..250).map(|number| format!("Reading{number:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let service = Service::with_models([model(MODEL, &names)]);
    put(&service, "thermo-01", json!({ "HubRegistrationId": "thermo-01" }));
    let function = restarted(&service, Telemetry { trust_dtid: false, without_twin: WithoutTwin::LeaveOut });
    let body: Value =
        names.iter().map(|name| ((*name).to_owned(), json!(1.5))).collect::<serde_json::Map<_, _>>().into();
    assert_eq!(outcomes(&function, vec![says("thermo-01", 0, body)]).await, [Some(Outcome::Applied)]);
    let patches = service.calls().into_iter().filter(|call| call.starts_with("PATCH")).count();
    assert_eq!(patches, 2);
    assert!(names.iter().all(|name| property(&service, "thermo-01", name) == json!(1.5)));
}

#[tokio::test]
async fn values_below_components_have_their_source_times_there() {
    let service = Service::with_models([
        json!({
            "@context": "dtmi:dtdl:context;2", "@id": MODEL, "@type": "Interface",
            "contents": [{ "@type": "Component", "name": "thermostat1", "schema": "dtmi:test:Sensor;1" }]
        }),
        json!({
            "@context": "dtmi:dtdl:context;2", "@id": "dtmi:test:Sensor;1", "@type": "Interface",
            "contents": [{ "@type": "Property", "name": "temperature", "schema": "double" }]
        }),
    ]);
    put(&service, "my-pnp-device", json!({ "thermostat1": { "$metadata": {} } }));
    let function = restarted(&service, Telemetry { trust_dtid: false, without_twin: WithoutTwin::LeaveOut });
    assert_eq!(outcomes(&function, vec![recorded::message("captured_pnp")]).await, [Some(Outcome::Applied)]);
    let component = property(&service, "my-pnp-device", "thermostat1");
    assert_eq!(component["temperature"], json!(68.77370855171125));
    assert_eq!(component["$metadata"]["temperature"]["sourceTime"], json!("2020-10-20T15:11:09.32Z"));
}
