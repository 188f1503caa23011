//! Relationships of a twin whose device registers anew while the twin is being deleted.

use super::*;
use crate::device::DeviceId;

/// A function, and twins hall, fan and thermo-01, with relationships between them.
fn related() -> (Service, DeleteDeviceInTwin) {
    let (service, function) = function();
    for id in ["hall", "fan"] {
        service.with_twins(|twins| twins.put(id, of_model(SPACE, json!({}))));
    }
    service.relate_with("hall", "r1", "thermo-01", json!({ "since": 2024, "by": { "who": "me" } }));
    service.relate_with("thermo-01", "r2", "fan", json!({ "since": 2025 }));
    service.relate("hall", "r3", "fan");
    (service, function)
}

/// What is related, and how.
fn graph(service: &Service) -> Vec<Option<Value>> {
    ["hall/r1", "thermo-01/r2", "hall/r3"].map(|key| service.relationship(key)).to_vec()
}

fn register(twins: &mut crate::scripted::Twins) {
    twins.put("thermo-01", of_model(MODEL, registered_anew()));
}

fn deletion() -> Vec<Event> {
    vec![lifecycle_event("device_deleted")]
}

fn is_forgotten(function: &DeleteDeviceInTwin) -> bool {
    function.removed.of(&DeviceId::parse("thermo-01").unwrap()).is_empty()
}

#[tokio::test]
async fn a_registration_in_between_saves_the_twin_with_its_relationships() {
    let (service, function) = related();
    let before = graph(&service);
    service.script("DELETE thermo-01", Step::first(register));
    assert_eq!(outcome(&function, deletion().remove(0)).await, left_out(LeftOut::RegisteredAnew));
    assert_eq!(graph(&service), before);
    assert!(is_forgotten(&function));
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_lost_cost_no_relationship() {
    let (service, function) = related();
    let before = graph(&service);
    for call in ["DELETE hall/r1", "DELETE thermo-01/r2", "PUT hall/r1", "PUT thermo-01/r2"] {
        service.script(call, Step::LoseAnswer);
    }
    service.script("DELETE thermo-01", Step::first(register));
    assert_eq!(outcome(&function, deletion().remove(0)).await, left_out(LeftOut::RegisteredAnew));
    assert_eq!(graph(&service), before);
}

#[tokio::test(start_paused = true)]
async fn a_registration_between_two_attempts_saves_the_relationships_too() {
    let before = graph(&related().0);
    let (service, function) = interrupted().await;
    assert_eq!(dead_letters(run(&function, deletion(), 1).await), []);
    assert_eq!(graph(&service), before);
}

/// After an attempt that took the relationships but not the twin, the device registers.
async fn interrupted() -> (Service, DeleteDeviceInTwin) {
    let (service, function) = related();
    for _ in 0..200 {
        service.script("DELETE thermo-01", Step::Refuse(503, "ServiceUnavailable"));
    }
    assert!(matches!(run(&function, deletion(), 0).await, Answer::Again { .. }));
    assert_eq!(service.relationships(), ["hall/r3"]);
    service.with_twins(register);
    (service, function)
}

#[tokio::test(start_paused = true)]
async fn a_relationship_that_somebody_made_anew_stays_as_it_is() {
    let (service, function) = interrupted().await;
    service.relate_with("hall", "r1", "thermo-01", json!({ "since": 2026 }));
    assert_eq!(dead_letters(run(&function, deletion(), 1).await), []);
    assert_eq!(service.relationship("hall/r1").unwrap()["since"], json!(2026));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_put_back_is_in_the_dead_letter_however_often_the_batch_comes() {
    let (service, function) = interrupted().await;
    service.with_twins(|twins| twins.remove("hall"));
    // Another event of the batch fails meanwhile.
    put(&service, "thermo-02", json!({ "HubRegistrationId": "thermo-02" }));
    service.fail("DELETE thermo-02", 503, "ServiceUnavailable");
    let events = || vec![lifecycle_event("device_deleted"), lifecycle_event("device_deleted_no_tags")];
    assert!(matches!(run(&function, events(), 1).await, Answer::Again { .. }));
    service.recover();
    let letters = dead_letters(run(&function, events(), 2).await);
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((letter.reason.code, letter.device_id.as_deref()), (Code::Relationships, Some("thermo-01")));
    insta::assert_snapshot!(
        letter.reason.detail,
        @"the twin lives on, and 1 relationships that it had cannot be put back; hall/r1: not found: DigitalTwinNotFound: Scripted."
    );
    let [document] = &letter.reason.relationships[..] else { panic!("{letter:?}") };
    assert_eq!(
        serde_json::from_str::<Value>(document).unwrap(),
        json!({ "$relationshipId": "r1", "$sourceId": "hall", "$relationshipName": "contains",
            "$targetId": "thermo-01", "since": 2024, "by": { "who": "me" } })
    );
    assert!(service.relationship("thermo-01/r2").is_some(), "it could be put back");
    assert!(is_forgotten(&function));
}

#[tokio::test(start_paused = true)]
async fn what_fails_to_be_put_back_to_the_end_is_in_the_dead_letter_too() {
    let (service, function) = interrupted().await;
    service.fail("PUT hall/r1", 500, "InternalServerError");
    assert!(matches!(run(&function, deletion(), 3).await, Answer::Again { .. }));
    let letters = dead_letters(run(&function, deletion(), 4).await);
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!(letter.reason.code, Code::StillFailing);
    let [document] = &letter.reason.relationships[..] else { panic!("{letter:?}") };
    assert!(document.contains("\"hall\""), "{document}");
    assert!(is_forgotten(&function));
}

#[tokio::test(start_paused = true)]
async fn a_twin_that_somebody_deletes_meanwhile_needs_nothing_back() {
    let (service, function) = interrupted().await;
    service.script("PUT hall/r1", Step::first(|twins| twins.remove("thermo-01")));
    assert_eq!(dead_letters(run(&function, deletion(), 1).await), []);
    assert_eq!(service.relationships(), ["hall/r3"]);
    assert!(is_forgotten(&function));
}

#[tokio::test(start_paused = true)]
async fn a_twin_that_is_another_devices_meanwhile_gets_its_relationships_back() {
    let (service, function) = interrupted().await;
    put(&service, "thermo-01", json!({ "HubRegistrationId": "thermo-02" }));
    assert_eq!(dead_letters(run(&function, deletion(), 1).await), []);
    assert_eq!(service.relationships(), ["hall/r1", "hall/r3", "thermo-01/r2"]);
}

#[tokio::test]
async fn after_a_deletion_nothing_is_kept() {
    let (service, function) = related();
    assert_eq!(outcome(&function, deletion().remove(0)).await, Some(Outcome::Applied));
    assert_eq!(service.relationships(), ["hall/r3"]);
    assert!(is_forgotten(&function));
}
