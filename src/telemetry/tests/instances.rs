//! Several instances, or other applications, that write to one twin at the same moment.

use super::*;
use crate::scripted::Step;

fn settings() -> Telemetry {
    Telemetry { trust_dtid: false, without_twin: WithoutTwin::LeaveOut }
}

/// Two instances that both know twin `thermo-01`, as the first wrote it.
async fn two_functions() -> (Service, DeviceTelemetryToTwin, DeviceTelemetryToTwin) {
    let (service, first) = function();
    outcomes(&first, vec![warm(0, 20.0)]).await;
    let second = restarted(&service, settings());
    assert_eq!(outcomes(&second, vec![warm(-1, 19.0)]).await, [Some(Outcome::Superseded)]);
    service.calls();
    (service, first, second)
}

#[tokio::test]
async fn a_late_message_does_not_overwrite_a_newer_value_of_another_instance() {
    let (service, first, second) = two_functions().await;
    outcomes(&first, vec![warm(10, 21.0)]).await;
    service.calls();
    assert_eq!(outcomes(&second, vec![warm(9, 19.0)]).await, [Some(Outcome::Superseded)]);
    assert_eq!(property(&service, "thermo-01", "Temperature"), json!(21.0));
    assert_eq!(service.calls(), ["PATCH thermo-01", "GET thermo-01"]);
}

#[tokio::test]
async fn a_twin_that_another_instance_wrote_costs_one_read_and_then_none() {
    let (service, first, second) = two_functions().await;
    outcomes(&first, vec![warm(10, 21.0)]).await;
    service.calls();
    let mixed = || vec![warm(11, 22.0), says("thermo-01", 9, json!({ "Temperature": 1, "Humidity": 40 }))];
    let applied = [Some(Outcome::Applied), Some(Outcome::Applied)];
    assert_eq!(outcomes(&second, mixed()).await, applied);
    assert_eq!(service.calls(), ["PATCH thermo-01", "GET thermo-01", "PATCH thermo-01"]);
    assert_eq!(property(&service, "thermo-01", "Temperature"), json!(22.0));
    assert_eq!(property(&service, "thermo-01", "Humidity"), json!(40));
    outcomes(&second, vec![warm(12, 23.0)]).await;
    outcomes(&second, vec![warm(13, 24.0)]).await;
    assert_eq!(service.calls(), ["PATCH thermo-01", "PATCH thermo-01"]);
}

#[tokio::test]
async fn a_batch_that_another_instance_has_too_is_written_once() {
    let (service, first, second) = two_functions().await;
    let batch = || vec![warm(10, 21.0), says("thermo-01", 11, json!({ "Humidity": 40 })), warm(9, 18.0)];
    let found = outcomes(&first, batch()).await;
    service.calls();
    assert_eq!(outcomes(&second, batch()).await, found);
    assert_eq!(service.calls(), ["PATCH thermo-01", "GET thermo-01"]);
}

#[tokio::test(start_paused = true)]
async fn a_patch_whose_answer_was_lost_is_found_in_the_twin() {
    let (service, first, _) = two_functions().await;
    service.script("PATCH thermo-01", Step::LoseAnswer);
    let found = outcomes(&first, vec![warm(10, 21.0), warm(9, 20.0)]).await;
    assert_eq!(found, [Some(Outcome::Applied), Some(Outcome::Superseded)]);
    // The client repeats it, which fails on account of the first.
    assert_eq!(service.calls(), ["PATCH thermo-01", "PATCH thermo-01", "GET thermo-01"]);
    assert_eq!(outcomes(&first, vec![warm(10, 21.0)]).await, [Some(Outcome::Applied)]);
    assert_eq!(service.calls(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_patch_whose_answer_was_lost_is_found_also_without_source_times() {
    let (service, first) = function();
    service.refuse_source_times("PATCH");
    outcomes(&first, vec![warm(0, 20.0)]).await;
    service.calls();
    service.script("PATCH thermo-01", Step::LoseAnswer);
    assert_eq!(outcomes(&first, vec![warm(10, 21.0)]).await, [Some(Outcome::Applied)]);
    assert_eq!(service.calls(), ["PATCH thermo-01", "PATCH thermo-01", "GET thermo-01"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_replaced_after_its_answer_was_lost_is_superseded() {
    let (service, first, _) = two_functions().await;
    service.script("PATCH thermo-01", Step::LoseAnswer);
    let newer = Step::first(|twins| {
        let mut twin = twins.get("thermo-01").unwrap().clone();
        twin["Temperature"] = json!(30);
        twin["$metadata"]["Temperature"]["sourceTime"] = json!("2024-05-01T13:00:00Z");
        twins.put("thermo-01", twin);
    });
    service.script("PATCH thermo-01", newer);
    assert_eq!(outcomes(&first, vec![warm(10, 21.0)]).await, [Some(Outcome::Superseded)]);
    assert_eq!(property(&service, "thermo-01", "Temperature"), json!(30));
}

#[tokio::test]
async fn own_order_counts_after_a_conflict_where_the_twin_takes_no_source_times() {
    let (service, first) = function();
    service.refuse_source_times("PATCH");
    outcomes(&first, vec![warm(10, 21.0)]).await;
    service.with_twins(|twins| twins.touch("thermo-01", "Humidity", json!(40)));
    let events = vec![warm(9, 19.0), says("thermo-01", 9, json!({ "Humidity": 41 }))];
    assert_eq!(outcomes(&first, events).await, [Some(Outcome::Superseded), Some(Outcome::Applied)]);
    assert_eq!(property(&service, "thermo-01", "Temperature"), json!(21.0));
    assert_eq!(property(&service, "thermo-01", "Humidity"), json!(41));
}

#[tokio::test]
async fn a_twin_that_was_bound_to_another_device_meanwhile_takes_nothing() {
    let (service, first, _) = two_functions().await;
    service.script(
        "PATCH thermo-01",
        Step::first(|twins| twins.touch("thermo-01", "HubRegistrationId", json!("thermo-02"))),
    );
    let claims = with_property(warm(10, 21.0), "dtId", json!("thermo-01"));
    assert_eq!(code(&outcomes(&first, vec![claims]).await[0]), Code::TwinOfOther);
    assert_eq!(outcomes(&first, vec![warm(11, 22.0)]).await, [Some(Outcome::LeftOut(LeftOut::NoTwin))]);
    assert_eq!(property(&service, "thermo-01", "Temperature"), json!(20.0));
}

#[tokio::test]
async fn a_twin_that_got_another_model_meanwhile_takes_what_that_knows() {
    let (service, first, _) = two_functions().await;
    service.add_model(model("dtmi:test:Thermostat;2", &["Temperature", "Pressure"]));
    let upgrade = Step::first(|twins| {
        let mut twin = twins.get("thermo-01").unwrap().clone();
        twin["$metadata"]["$model"] = json!("dtmi:test:Thermostat;2");
        twins.put("thermo-01", twin);
    });
    service.script("PATCH thermo-01", upgrade);
    let found = outcomes(&first, vec![says("thermo-01", 10, json!({ "Temperature": 21, "Pressure": 1 }))]).await;
    assert_eq!(found, [Some(Outcome::Applied)]);
    assert_eq!(property(&service, "thermo-01", "Pressure"), json!(1));
}

#[tokio::test]
async fn a_twin_that_was_deleted_and_made_anew_meanwhile_takes_any_value() {
    let (service, first, _) = two_functions().await;
    outcomes(&first, vec![warm(10, 21.0)]).await;
    put(&service, "thermo-01", json!({ "HubRegistrationId": "thermo-01" }));
    assert_eq!(
        outcomes(&first, vec![warm(11, 22.0), says("thermo-01", 9, json!({ "Humidity": 40 }))]).await,
        [Some(Outcome::Applied), Some(Outcome::Applied)]
    );
    assert_eq!(property(&service, "thermo-01", "Humidity"), json!(40));
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_other_writers_is_waited_out_with_few_calls() {
    let (service, first, _) = two_functions().await;
    for _ in 0..15 {
        service.script("PATCH thermo-01", Step::first(|twins| twins.renew("thermo-01")));
    }
    assert_eq!(outcomes(&first, vec![warm(10, 21.0)]).await, [Some(Outcome::Applied)]);
    let patches = service.calls().into_iter().filter(|call| call == "PATCH thermo-01").count();
    assert_eq!(patches, 16);
}

#[tokio::test(start_paused = true)]
async fn a_twin_that_never_stands_still_ends_in_a_dead_letter_alone() {
    let (service, first, _) = two_functions().await;
    put(&service, "thermo-02", json!({ "HubRegistrationId": "thermo-02" }));
    for _ in 0..1000 {
        service.script("PATCH thermo-01", Step::first(|twins| twins.renew("thermo-01")));
    }
    let found = run(&first, vec![warm(10, 21.0), says("thermo-02", 10, json!({ "Humidity": 40 }))], 4).await;
    let letters = recorded::dead_letters(found);
    assert_eq!(letters.iter().map(|letter| letter.reason.code).collect::<Vec<_>>(), [Code::StillFailing]);
    assert_eq!(property(&service, "thermo-02", "Humidity"), json!(40));
    assert!(service.calls().len() < 300);
}
