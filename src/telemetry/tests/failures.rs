//! What fails: for good or for now, alone or with everything else.

use super::*;
use crate::recorded::dead_letters;
use crate::scripted::Step;

fn is_again(answer: &Answer) -> bool {
    matches!(answer, Answer::Again { .. })
}

#[tokio::test]
async fn a_bad_message_costs_only_itself() {
    let (service, function) = function();
    let good = || (0..20).map(|seconds| warm(seconds, 20.0));
    let mut events: Vec<_> = good().collect();
    events.insert(7, says("thermo-01", 7, json!({ "Temperature": "bad", "Humidity": 40 })));
    events.push(Event { body: Bytes::from_static(b"\xff"), ..warm(30, 0.0) });
    events.push(Event { body: Bytes::from("[".repeat(1000)), ..warm(31, 0.0) });
    let letters = dead_letters(run(&function, events, 0).await);
    assert_eq!(
        letters.iter().map(|letter| letter.reason.code).collect::<Vec<_>>(),
        [Code::Value, Code::Body, Code::Body]
    );
    assert_eq!(property(&service, "thermo-01", "Temperature"), json!(20.0));
    assert_eq!(property(&service, "thermo-01", "Humidity"), json!(40));
}

#[tokio::test]
async fn a_value_that_the_service_refuses_costs_only_its_message() {
    let (service, function) = function();
    service.refuse_value(json!(666.0));
    let mut events: Vec<_> = (0..40).map(|seconds| warm(seconds, 20.0)).collect();
    events.push(says("thermo-01", 41, json!({ "Temperature": 666.0 })));
    events.push(says("thermo-01", 42, json!({ "Humidity": 41 })));
    events.push(says("thermo-01", 43, json!({ "Humidity": 666.0 })));
    let found = outcomes(&function, events).await;
    assert_eq!(
        (code(&found[40]), &found[41], code(&found[42])),
        (Code::Refused, &Some(Outcome::Applied), Code::Refused)
    );
    assert_eq!(found[39], Some(Outcome::Applied), "the newest good one");
    assert!(found[..40].iter().all(Option::is_some));
    assert_eq!(property(&service, "thermo-01", "Temperature"), json!(20.0));
    assert_eq!(property(&service, "thermo-01", "Humidity"), json!(41));
    // Refused, read anew, refused, taken apart: no more calls than that takes.
    let patches = service.calls().into_iter().filter(|call| call.starts_with("PATCH")).count();
    assert!(patches < 30, "{patches}");
}

#[tokio::test]
async fn a_twin_that_refuses_everything_ends_in_dead_letters_after_a_bounded_number_of_calls() {
    let (service, function) = function();
    service.fail("PATCH", 400, "ValidationFailed");
    let names = ["Temperature", "Humidity"];
    let events = (0..200).map(|at| says("thermo-01", at, json!({ names[at as usize % 2]: at }))).collect();
    let found = outcomes(&function, events).await;
    assert!(found.iter().all(|outcome| code(outcome) == Code::Refused));
    assert!(service.calls().len() < 100);
}

#[tokio::test]
async fn a_twin_whose_model_changed_meanwhile_is_read_anew() {
    let (service, function) = function();
    outcomes(&function, vec![warm(0, 20.0)]).await;
    service.add_model(model("dtmi:test:Thermostat;2", &["Temperature", "Pressure"]));
    service.with_twins(|twins| twins.touch("thermo-01", "$metadata", json!({ "$model": "dtmi:test:Thermostat;2" })));
    service.script("PATCH thermo-01", Step::Refuse(400, "JsonPatchInvalid"));
    service.script("PATCH thermo-01", Step::Refuse(400, "JsonPatchInvalid"));
    let found =
        outcomes(&function, vec![says("thermo-01", 1, json!({ "Temperature": 1, "Humidity": 1, "Pressure": 1 }))])
            .await;
    assert_eq!(found, [Some(Outcome::Applied)]);
    assert_eq!(property(&service, "thermo-01", "Pressure"), json!(1));
    assert_eq!(property(&service, "thermo-01", "Humidity"), json!(null));
}

#[tokio::test]
async fn a_twin_whose_model_is_gone_takes_nothing() {
    let (service, function) = function();
    let members = json!({ "HubRegistrationId": "thermo-09", "$metadata": { "$model": "dtmi:test:Gone;1" } });
    put(&service, "thermo-09", members);
    let found = outcomes(&function, vec![says("thermo-09", 0, json!({ "Temperature": 1 })), warm(0, 20.0)]).await;
    assert_eq!((code(&found[0]), &found[1]), (Code::Model, &Some(Outcome::Applied)));
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_a_moment_is_tried_again_within_the_attempt() {
    let (service, function) = function();
    for _ in 0..6 {
        service.script("PATCH thermo-01", Step::Refuse(503, "ServiceUnavailable"));
    }
    service.script("QUERY", Step::Refuse(503, "ServiceUnavailable"));
    assert_eq!(outcomes(&function, vec![warm(0, 20.0)]).await, [Some(Outcome::Applied)]);
}

#[tokio::test(start_paused = true)]
async fn a_patch_whose_answer_is_lost_is_written_again() {
    let (service, function) = function();
    service.script("PATCH thermo-01", Step::LoseAnswer);
    assert_eq!(outcomes(&function, vec![warm(0, 20.0)]).await, [Some(Outcome::Applied)]);
    assert_eq!(property(&service, "thermo-01", "Temperature"), json!(20.0));
}

#[tokio::test(start_paused = true)]
async fn while_the_service_is_down_the_batch_comes_again_and_then_nothing_is_lost() {
    let (service, function) = function();
    service.fail("", 503, "ServiceUnavailable");
    let events = || vec![warm(0, 20.0), Event { body: Bytes::new(), ..warm(1, 0.0) }];
    for retries in [0, 4, 100] {
        assert!(is_again(&run(&function, events(), retries).await), "{retries} retries");
    }
    service.recover();
    let letters = dead_letters(run(&function, events(), 101).await);
    assert_eq!(letters.iter().map(|letter| letter.reason.code).collect::<Vec<_>>(), [Code::Body]);
    assert_eq!(property(&service, "thermo-01", "Temperature"), json!(20.0));
}

#[tokio::test(start_paused = true)]
async fn what_alone_fails_at_every_attempt_is_a_dead_letter_at_the_last() {
    let (service, function) = function();
    put(&service, "thermo-02", json!({ "HubRegistrationId": "thermo-02" }));
    service.fail("PATCH thermo-02", 500, "InternalServerError");
    let events = || vec![warm(0, 20.0), says("thermo-02", 1, json!({ "Temperature": 1 }))];
    for retries in 0..4 {
        assert!(is_again(&run(&function, events(), retries).await), "{retries} retries");
    }
    let letters = dead_letters(run(&function, events(), 4).await);
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((letter.reason.code, letter.device_id.as_deref()), (Code::StillFailing, Some("thermo-02")));
    assert_eq!(property(&service, "thermo-01", "Temperature"), json!(20.0));
}

#[tokio::test(start_paused = true)]
async fn one_failing_twin_in_a_batch_of_its_own_is_told_from_an_outage_by_a_probe() {
    let (service, function) = function();
    service.fail("PATCH", 500, "InternalServerError");
    outcomes(&function, vec![warm(0, 20.0)]).await;
    let letters = dead_letters(run(&function, vec![warm(0, 20.0)], 4).await);
    assert_eq!(letters.len(), 1);
    service.fail("GET", 500, "InternalServerError");
    assert!(is_again(&run(&function, vec![warm(0, 20.0)], 4).await));
}

#[tokio::test(start_paused = true)]
async fn while_every_write_is_throttled_the_batch_comes_again() {
    let (service, function) = function();
    service.fail("PATCH", 429, "TooManyRequests");
    assert!(is_again(&run(&function, vec![warm(0, 20.0)], 100).await));
    service.recover();
    assert_eq!(dead_letters(run(&function, vec![warm(0, 20.0)], 101).await), []);
}

#[tokio::test]
async fn a_dead_letter_keeps_the_event_as_it_came() {
    let (_, function) = function();
    let event = with_property(warm(0, 0.0), "alert", json!("Größe"));
    let event = Event { body: Bytes::from_static(b"{\"Temperature\":\"24,7\",\"raw\":\"\xff\"}"), ..event };
    let letters = dead_letters(run(&function, vec![event.clone()], 0).await);
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!(letter.body.0, event.body);
    assert_eq!(letter.properties["alert"], json!("Größe"));
    assert_eq!(letter.system_properties["iothub-connection-device-id"], json!("thermo-01"));
    assert_eq!(letter.source_time, event.source_time());
    assert_eq!((letter.sequence_number, letter.partition.as_deref()), (Some(0), Some("3")));
}
