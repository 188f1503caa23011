//! Replay against an Azure Digital Twins instance in memory.

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::host::Event;
use crate::recorded::{lifecycle_event, message, with_system};
use crate::scripted::Service;

const MODEL: &str = "dtmi:test:Thermostat;1";

/// An instance with twin `thermo-01`, which the device of that name registered.
fn service() -> Service {
    let property = |name: &str, schema: &str| json!({ "@type": "Property", "name": name, "schema": schema });
    let contents =
        [property("Temperature", "double"), property("HubRegistrationId", "string"), property("HubName", "string")];
    let model = json!({ "@context": "dtmi:dtdl:context;2", "@id": MODEL, "@type": "Interface", "contents": contents });
    let service = Service::with_models([model]);
    put(&service, "thermo-01");
    service
}

fn put(service: &Service, device: &str) {
    let twin = json!({ "$metadata": { "$model": MODEL }, "HubRegistrationId": device, "HubName": "contoso-hub" });
    service.with_twins(|twins| twins.put(device, twin));
}

fn replay(service: &Service) -> Replay {
    let settings = Settings::read(|name| (name == "ADT_SERVICE_URL").then(|| "https://localhost".to_owned())).unwrap();
    Replay::new(service.client(), &settings, Mapping::default())
}

/// Says `body`, so many seconds after a certain time.
fn says(device: &str, seconds: i64, body: &str) -> Event {
    let time = 1_714_564_800_000 + 1000 * seconds;
    let event = with_system(message("sample_telemetry"), "iothub-connection-device-id", json!(device));
    let event = with_system(event, "iothub-enqueuedtime", json!(time));
    Event { body: Bytes::from(body.to_owned()), sequence_number: Some(seconds), ..event }
}

fn letters(function: Function, events: impl IntoIterator<Item = Event>) -> Letters {
    let letter = |(event, number)| Letter { number, partition: Some("3".to_owned()), event, reason: "why".to_owned() };
    Letters { function, letters: events.into_iter().zip(1..).map(letter).collect() }
}

/// What is said, and counted, and why it stopped.
async fn applied(replay: &Replay, letters: Letters) -> (Vec<String>, Tally, Option<Error>) {
    let (mut lines, mut tally) = (Vec::new(), Tally::default());
    let stopped = replay.apply(Path::new("a.json"), letters, &mut tally, |line| lines.push(line)).await.err();
    (lines, tally, stopped)
}

fn temperature(service: &Service) -> Value {
    service.with_twins(|twins| twins.get("thermo-01").unwrap()["Temperature"].clone())
}

#[tokio::test]
async fn each_event_is_applied_or_says_why_not() {
    let service = service();
    let events = [
        says("thermo-01", 2, r#"{"Temperature":21.5}"#),
        says("thermo-01", 1, r#"{"Temperature":"1"}"#),
        says("thermo-01", 3, r#"{"Temperature":"warm\n"}"#),
        says("stranger", 3, r#"{"Temperature":1}"#),
        says("thermo-01", 3, r#"{"Humidity":1}"#),
    ];
    let (lines, tally, stopped) = applied(&replay(&service), letters(Function::Telemetry, events)).await;
    assert!(stopped.is_none());
    insta::assert_snapshot!(lines.join("\n"), @r#"
    a.json#1 thermo-01 2024-05-01T12:00:02Z: applied
    a.json#2 thermo-01 2024-05-01T12:00:01Z: superseded by newer values
    a.json#3 thermo-01 2024-05-01T12:00:03Z: still a dead letter: /Temperature: expected a number (double), got the string "warm\n"
    a.json#4 stranger 2024-05-01T12:00:03Z: still a dead letter: device stranger has no twin
    a.json#5 thermo-01 2024-05-01T12:00:03Z: left out by the rule noProperty
    "#);
    insta::assert_snapshot!(tally, @"1 applied, 1 superseded by newer values, 1 left out by a rule; 2 still dead letters: mend what their reasons say, and replay the file again");
    assert!(!tally.is_clean());
    assert_eq!(temperature(&service), 21.5);
}

#[tokio::test]
async fn to_replay_again_changes_nothing() {
    let service = service();
    let events =
        || letters(Function::Telemetry, (1..=600).map(|n| says("thermo-01", n, &format!(r#"{{"Temperature":{n}}}"#))));
    let (_, tally, _) = applied(&replay(&service), events()).await;
    assert_eq!((tally.applied + tally.superseded, tally.is_clean()), (600, true));
    let state = |service: &Service| {
        service.with_twins(|twins| {
            let mut twin = twins.get("thermo-01").unwrap().clone();
            twin["$etag"].take();
            twin
        })
    };
    let before = state(&service);
    assert_eq!(before["Temperature"], 600);
    let (_, tally, _) = applied(&replay(&service), events()).await;
    assert!(tally.is_clean());
    assert_eq!(state(&service), before);
}

#[tokio::test]
async fn a_value_that_was_replaced_since_stays_out() {
    let service = service();
    let replay = replay(&service);
    applied(&replay, letters(Function::Telemetry, [says("thermo-01", 9, r#"{"Temperature":9}"#)])).await;
    let (lines, ..) =
        applied(&replay, letters(Function::Telemetry, [says("thermo-01", 1, r#"{"Temperature":1}"#)])).await;
    assert!(lines[0].ends_with("superseded by newer values"), "{lines:?}");
    assert_eq!(temperature(&service), 9);
}

#[tokio::test]
async fn deletions_are_applied_by_their_guards() {
    let service = service();
    let deletion = || letters(Function::Lifecycle, [lifecycle_event("device_deleted")]);
    let time = json!({ "sourceTime": "2099-01-01T00:00:00Z" });
    let anew = json!({ "$metadata": { "$model": MODEL, "HubRegistrationId": time },
        "HubRegistrationId": "thermo-01", "HubName": "contoso-hub" });
    service.with_twins(|twins| twins.put("thermo-01", anew));
    let (lines, ..) = applied(&replay(&service), deletion()).await;
    assert!(lines[0].ends_with("left out by the rule registeredAnew"), "{lines:?}");
    put(&service, "thermo-01");
    let (lines, ..) = applied(&replay(&service), deletion()).await;
    assert!(lines[0].ends_with(": applied"), "{lines:?}");
    assert_eq!(service.with_twins(|twins| twins.ids().len()), 0);
    let (lines, tally, _) = applied(&replay(&service), deletion()).await;
    assert!(lines[0].ends_with("left out by the rule notFound") && tally.is_clean(), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn when_nothing_can_be_applied_any_more_it_stops() {
    let service = service();
    service.fail("", 503, "Unavailable");
    let events = (1..=600).map(|n| says("thermo-01", n, r#"{"Temperature":1}"#));
    let (lines, tally, stopped) = applied(&replay(&service), letters(Function::Telemetry, events)).await;
    assert_eq!((lines.len(), tally.failed), (BATCH, BATCH));
    assert!(lines[0].contains("failed for now: "), "{}", lines[0]);
    let stopped = stopped.unwrap().to_string();
    assert!(stopped.starts_with("nothing could be applied any more, last of a.json: "), "{stopped}");
}

#[tokio::test(start_paused = true)]
async fn what_fails_beside_others_does_not_stop_them() {
    let service = service();
    put(&service, "thermo-02");
    service.fail("PATCH thermo-02", 503, "Unavailable");
    let events = [says("thermo-02", 1, r#"{"Temperature":1}"#), says("thermo-01", 1, r#"{"Temperature":1}"#)];
    let (lines, tally, stopped) = applied(&replay(&service), letters(Function::Telemetry, events)).await;
    assert!(stopped.is_none());
    assert!(lines[0].contains("failed for now") && lines[1].ends_with(": applied"), "{lines:?}");
    assert_eq!((tally.failed, tally.applied), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_fails_halfway_tells_which_relationships_it_took() {
    let service = service();
    service.with_twins(|twins| twins.put("hall", json!({ "$metadata": { "$model": MODEL } })));
    service.relate("hall", "r-1", "thermo-01");
    service.fail("DELETE thermo-01", 503, "Unavailable");
    let deletion = letters(Function::Lifecycle, [lifecycle_event("device_deleted")]);
    let (lines, ..) = applied(&replay(&service), deletion).await;
    assert!(lines[0].contains("failed for now: ") && lines[0].contains("to be made again: {"), "{lines:?}");
    assert!(lines[0].contains(r#""$relationshipId":"r-1""#), "{lines:?}");
}
