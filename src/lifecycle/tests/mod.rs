//! The whole function, against an Azure Digital Twins instance in memory.

mod relationships;

use serde_json::{Value, json};

use super::*;
use crate::dead_letter::Code;
use crate::host::Event;
use crate::outcome::{LeftOut, Outcome};
use crate::recorded::{batch, dead_letters, lifecycle_event, with_property, with_system};
use crate::scripted::{Service, Step};
use crate::settings::OnDelete;

const MODEL: &str = "dtmi:test:Thermostat;1";
const SPACE: &str = "dtmi:test:Space;1";

/// An instance with twin `thermo-01`, which device thermo-01 registered in contoso-hub, and a function.
fn function() -> (Service, DeleteDeviceInTwin) {
    function_that(OnDelete::Delete)
}

fn function_that(on_delete: OnDelete) -> (Service, DeleteDeviceInTwin) {
    let interface = |id: &str, names: &[&str]| {
        let contents: Value =
            names.iter().map(|name| json!({ "@type": "Property", "name": name, "schema": "string" })).collect();
        json!({ "@context": "dtmi:dtdl:context;2", "@id": id, "@type": "Interface", "contents": contents })
    };
    let bookkeeping = ["HubRegistrationId", "HubDeviceId", "HubName", "Note"];
    let service = Service::with_models([interface(MODEL, &bookkeeping), interface(SPACE, &["Note"])]);
    put(&service, "thermo-01", registered());
    let directory = Directory::new(service.client(), 100);
    let settings = Lifecycle { on_delete };
    let function = DeleteDeviceInTwin::new(service.client(), directory, settings, NonZeroU32::new(5).unwrap());
    (service, function)
}

fn registered() -> Value {
    json!({ "HubRegistrationId": "thermo-01", "HubName": "contoso-hub", "Note": "by the window" })
}

/// The same, registered after all that is recorded.
fn registered_anew() -> Value {
    let metadata = json!({ "$model": MODEL, "HubRegistrationId": { "sourceTime": "2026-06-01T00:00:00Z" } });
    json!({ "HubRegistrationId": "thermo-01", "HubName": "contoso-hub", "$metadata": metadata })
}

fn put(service: &Service, id: &str, members: Value) {
    service.with_twins(|twins| twins.put(id, of_model(MODEL, members)));
}

fn of_model(model: &str, members: Value) -> Value {
    let mut twin = json!({ "$metadata": { "$model": model } });
    twin.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    twin
}

/// A device that somebody deleted just now, so that a query may lag behind.
fn deleted_just_now(device: &str) -> Event {
    let event = with_property(lifecycle_event("device_deleted_no_tags"), "deviceId", json!(device));
    let event = with_property(event, "operationTimestamp", json!(Timestamp::now().to_string()));
    let event = with_system(event, "iothub-connection-device-id", json!(device));
    with_system(event, "iothub-enqueuedtime", json!(Timestamp::now().as_millisecond()))
}

async fn outcomes(function: &DeleteDeviceInTwin, events: Vec<Event>) -> Vec<Option<Outcome>> {
    let (count, batch) = (events.len(), batch(events, 0));
    let attempt = Attempt::begin(&batch, function.max_attempts);
    let work = attempt.work(function.work_through(&batch, &attempt)).await;
    (0..count).map(|event| work.outcomes.get(event).cloned()).collect()
}

async fn outcome(function: &DeleteDeviceInTwin, event: Event) -> Option<Outcome> {
    outcomes(function, vec![event]).await.remove(0)
}

async fn run(function: &DeleteDeviceInTwin, events: Vec<Event>, retries: u32) -> Answer {
    function.run(batch(events, retries), &InvocationId::from_header(None)).await
}

fn twins(service: &Service) -> Vec<String> {
    service.with_twins(|twins| twins.ids().into_iter().map(str::to_owned).collect())
}

fn left_out(rule: LeftOut) -> Option<Outcome> {
    Some(Outcome::LeftOut(rule))
}

#[tokio::test]
async fn a_deleted_device_takes_its_twin_and_the_twins_relationships_with_it() {
    let (service, function) = function();
    for id in ["hall", "fan"] {
        service.with_twins(|twins| twins.put(id, of_model(SPACE, json!({}))));
    }
    service.relate("hall", "r1", "thermo-01");
    service.relate("thermo-01", "r2", "fan");
    service.relate("hall", "r3", "fan");
    assert_eq!(outcome(&function, lifecycle_event("device_deleted")).await, Some(Outcome::Applied));
    assert_eq!(twins(&service), ["fan", "hall"]);
    assert_eq!(service.relationships(), ["hall/r3"]);
}

#[tokio::test]
async fn a_deletion_that_comes_again_finds_nothing_and_is_done_with() {
    let (service, function) = function();
    outcome(&function, lifecycle_event("device_deleted")).await;
    assert_eq!(outcome(&function, lifecycle_event("device_deleted")).await, left_out(LeftOut::NotFound));
    assert_eq!(twins(&service), Vec::<String>::new());
}

#[tokio::test]
async fn recorded_events_delete_no_more_than_they_say() {
    for (name, expected, survives) in [
        ("module_created", left_out(LeftOut::OtherOperation), true),
        ("device_created_by_dps", left_out(LeftOut::OtherOperation), true),
        ("module_deleted_TRAP", left_out(LeftOut::Module), true),
        ("old_style_module_delete", left_out(LeftOut::OtherSource), true),
        ("device_deleted_no_tags", left_out(LeftOut::NotFound), true),
        ("device_deleted", Some(Outcome::Applied), false),
        ("with_enrichments", Some(Outcome::Applied), false),
    ] {
        let (service, function) = function();
        assert_eq!(outcome(&function, lifecycle_event(name)).await, expected, "{name}");
        assert_eq!(twins(&service).len() == 1, survives, "{name}");
    }
}

#[tokio::test]
async fn a_device_that_moved_to_another_hub_keeps_its_twin() {
    let (service, function) = function();
    service.with_twins(|twins| twins.touch("thermo-01", "HubName", json!("contoso-hub-2")));
    assert_eq!(outcome(&function, lifecycle_event("moved_to_another_hub_TRAP")).await, left_out(LeftOut::OtherHub));
    assert_eq!(twins(&service), ["thermo-01"]);
}

#[tokio::test]
async fn a_late_deletion_spares_a_device_that_registered_since() {
    let (service, function) = function();
    put(&service, "thermo-01", registered_anew());
    service.relate("thermo-01", "r1", "thermo-01");
    assert_eq!(outcome(&function, lifecycle_event("device_deleted")).await, left_out(LeftOut::RegisteredAnew));
    assert_eq!((twins(&service).len(), service.relationships().len()), (1, 1));
}

#[tokio::test]
async fn a_twin_of_another_device_stays_whatever_the_tag_says() {
    let (service, function) = function();
    put(&service, "thermo-01", json!({ "HubRegistrationId": "thermo-02" }));
    assert_eq!(outcome(&function, lifecycle_event("device_deleted")).await, left_out(LeftOut::NotBound));
    assert_eq!(twins(&service), ["thermo-01"]);
}

#[tokio::test]
async fn a_stale_tag_does_not_hide_the_twin_that_is_bound_to_the_device() {
    let (service, function) = function();
    service.with_twins(|twins| twins.remove("thermo-01"));
    put(&service, "boiler", registered());
    assert_eq!(outcome(&function, lifecycle_event("device_deleted")).await, Some(Outcome::Applied));
    assert_eq!(twins(&service), Vec::<String>::new());
}

#[tokio::test]
async fn a_space_that_bears_a_devices_name_stays() {
    let (service, function) = function();
    service.with_twins(|twins| twins.put("thermo-02", of_model(SPACE, json!({}))));
    assert_eq!(outcome(&function, lifecycle_event("device_deleted_no_tags")).await, left_out(LeftOut::Unmarked));
    assert_eq!(twins(&service), ["thermo-01", "thermo-02"]);
}

#[tokio::test]
async fn a_twin_whose_model_is_gone_is_still_deleted() {
    let (service, function) = function();
    service.with_twins(|twins| twins.put("thermo-01", of_model("dtmi:test:Gone;1", registered())));
    assert_eq!(outcome(&function, lifecycle_event("device_deleted")).await, Some(Outcome::Applied));
    assert_eq!(twins(&service), Vec::<String>::new());
}

#[tokio::test]
async fn telemetry_in_between_does_not_stop_a_deletion() {
    let (service, function) = function();
    for note in 0..5 {
        let touch = Step::first(move |twins| twins.touch("thermo-01", "Note", json!(note.to_string())));
        service.script("DELETE thermo-01", touch);
    }
    assert_eq!(outcome(&function, lifecycle_event("device_deleted")).await, Some(Outcome::Applied));
    assert_eq!(twins(&service), Vec::<String>::new());
}

#[tokio::test]
async fn a_registration_in_between_saves_the_twin() {
    let (service, function) = function();
    let register = Step::first(|twins| drop(twins.put("thermo-01", of_model(MODEL, registered_anew()))));
    service.script("DELETE thermo-01", register);
    assert_eq!(outcome(&function, lifecycle_event("device_deleted")).await, left_out(LeftOut::RegisteredAnew));
    assert_eq!(twins(&service), ["thermo-01"]);
}

#[tokio::test]
async fn a_relationship_that_is_added_meanwhile_is_deleted_too() {
    let (service, function) = function();
    service.relate("thermo-01", "r1", "thermo-01");
    // It is not there yet when the lists are read.
    service.script("OUT thermo-01", Step::Refuse(404, "DigitalTwinNotFound"));
    service.script("IN thermo-01", Step::Refuse(404, "DigitalTwinNotFound"));
    assert_eq!(outcome(&function, lifecycle_event("device_deleted")).await, Some(Outcome::Applied));
    assert_eq!((twins(&service).len(), service.relationships().len()), (0, 0));
    let deletes = service.calls().into_iter().filter(|call| call == "DELETE thermo-01").count();
    assert_eq!(deletes, 2);
}

#[tokio::test]
async fn an_unassigned_twin_stays_without_what_binds_it() {
    let (service, function) = function_that(OnDelete::Unassign);
    service.relate("thermo-01", "r1", "thermo-01");
    assert_eq!(outcome(&function, lifecycle_event("device_deleted")).await, Some(Outcome::Applied));
    let twin = service.with_twins(|twins| twins.get("thermo-01").unwrap().clone());
    let names = ["HubRegistrationId", "HubName", "Note"];
    assert_eq!(names.map(|name| twin.get(name).is_some()), [false, false, true]);
    assert_eq!(service.relationships().len(), 1);
    assert_eq!(outcome(&function, lifecycle_event("device_deleted")).await, left_out(LeftOut::NotBound));
}

#[tokio::test(start_paused = true)]
async fn while_a_query_may_lag_no_twin_is_not_the_last_word() {
    let (service, function) = function();
    let Answer::Again { reason } = run(&function, vec![deleted_just_now("thermo-07")], 100).await else { panic!() };
    assert!(reason.contains("thermo-07"), "{reason}");
    // The query catches up.
    put(&service, "boiler", json!({ "HubRegistrationId": "thermo-07" }));
    assert_eq!(dead_letters(run(&function, vec![deleted_just_now("thermo-07")], 101).await), []);
    assert_eq!(twins(&service), ["thermo-01"]);
}

#[tokio::test]
async fn a_tag_that_names_no_twin_is_the_last_word_at_once() {
    let (_, function) = function();
    let body = json!({ "deviceId": "thermo-07", "tags": { "dtId": "thermo-07" } }).to_string();
    let event = Event { body: body.into(), ..deleted_just_now("thermo-07") };
    assert_eq!(outcome(&function, event).await, left_out(LeftOut::NotFound));
}

#[tokio::test]
async fn an_old_event_without_a_twin_is_done_with() {
    let (_, function) = function();
    assert_eq!(outcome(&function, lifecycle_event("device_deleted_no_tags")).await, left_out(LeftOut::NotFound));
}

#[tokio::test(start_paused = true)]
async fn an_outage_in_the_middle_is_made_good_by_the_next_attempt() {
    let (service, function) = function();
    service.relate("hall", "r1", "thermo-01");
    service.relate("thermo-01", "r2", "fan");
    service.fail("DELETE thermo-01/r2", 503, "ServiceUnavailable");
    let events = || vec![lifecycle_event("device_deleted")];
    assert!(matches!(run(&function, events(), 0).await, Answer::Again { .. }));
    assert_eq!(service.relationships(), ["thermo-01/r2"]);
    service.recover();
    assert_eq!(dead_letters(run(&function, events(), 1).await), []);
    assert_eq!((twins(&service).len(), service.relationships().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_deletion_whose_answer_is_lost_is_done() {
    let (service, function) = function();
    service.script("DELETE thermo-01", Step::LoseAnswer);
    assert_eq!(outcome(&function, lifecycle_event("device_deleted")).await, Some(Outcome::Applied));
    assert_eq!(twins(&service), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn one_twin_that_cannot_be_deleted_holds_up_no_other_for_ever() {
    let (service, function) = function();
    put(&service, "thermo-02", json!({ "HubRegistrationId": "thermo-02" }));
    service.fail("DELETE thermo-01", 500, "InternalServerError");
    let events = || vec![lifecycle_event("device_deleted"), lifecycle_event("device_deleted_no_tags")];
    assert!(matches!(run(&function, events(), 3).await, Answer::Again { .. }));
    assert_eq!(twins(&service), ["thermo-01"]);
    let letters = dead_letters(run(&function, events(), 4).await);
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((letter.reason.code, letter.device_id.as_deref()), (Code::StillFailing, Some("thermo-01")));
}

#[tokio::test]
async fn what_the_service_refuses_for_good_is_a_dead_letter() {
    let (service, function) = function();
    service.fail("DELETE thermo-01", 400, "InvalidArgument");
    let letters = dead_letters(run(&function, vec![lifecycle_event("device_deleted")], 0).await);
    assert_eq!(letters.iter().map(|letter| letter.reason.code).collect::<Vec<_>>(), [Code::Refused]);
}
