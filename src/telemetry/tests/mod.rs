//! The whole function, against an Azure Digital Twins instance in memory.

mod failures;
mod instances;
mod log;
mod together;
mod whose;
mod writes;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::host::Event;
use crate::recorded::{self, batch, with_property, with_system};
use crate::scripted::Service;

const MODEL: &str = "dtmi:test:Thermostat;1";

/// An instance with twin `thermo-01`, bound to the device of that name, and a function that writes to it.
fn function() -> (Service, DeviceTelemetryToTwin) {
    function_with(Telemetry { trust_dtid: false, without_twin: WithoutTwin::LeaveOut })
}

fn function_with(settings: Telemetry) -> (Service, DeviceTelemetryToTwin) {
    let service = Service::with_models([model(MODEL, &["Temperature", "Humidity"])]);
    put(&service, "thermo-01", json!({ "HubRegistrationId": "thermo-01" }));
    let function = restarted(&service, settings);
    (service, function)
}

/// A function that remembers nothing yet.
fn restarted(service: &Service, settings: Telemetry) -> DeviceTelemetryToTwin {
    let directory = Directory::new(service.client(), 100);
    DeviceTelemetryToTwin::new(service.client(), directory, settings, NonZeroU32::new(5).unwrap())
}

fn model(id: &str, doubles: &[&str]) -> Value {
    let mut contents = vec![json!({ "@type": "Property", "name": "HubRegistrationId", "schema": "string" })];
    contents.extend(doubles.iter().map(|name| json!({ "@type": "Property", "name": name, "schema": "double" })));
    json!({ "@context": "dtmi:dtdl:context;2", "@id": id, "@type": "Interface", "contents": contents })
}

fn put(service: &Service, id: &str, members: Value) {
    let mut twin = json!({ "$metadata": { "$model": MODEL } });
    twin.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    service.with_twins(|twins| twins.put(id, twin));
}

/// Says `body`, so many seconds after a certain time; the sequence number goes with the time.
fn says(device: &str, seconds: i64, body: Value) -> Event {
    let time = 1_714_564_800_000 + 1000 * seconds;
    let event = with_system(recorded::message("sample_telemetry"), "iothub-connection-device-id", json!(device));
    let event = with_system(event, "iothub-enqueuedtime", json!(time));
    Event { body: Bytes::from(body.to_string()), sequence_number: Some(seconds), ..event }
}

fn warm(seconds: i64, temperature: f64) -> Event {
    says("thermo-01", seconds, json!({ "Temperature": temperature }))
}

/// What becomes of the events of a first attempt.
async fn outcomes(function: &DeviceTelemetryToTwin, events: Vec<Event>) -> Vec<Option<Outcome>> {
    let (count, batch) = (events.len(), batch(events, 0));
    let attempt = Attempt::begin(&batch, function.max_attempts);
    let work = attempt.work(function.work_through(&batch, &attempt)).await;
    (0..count).map(|event| work.outcomes.get(event).cloned()).collect()
}

async fn run(function: &DeviceTelemetryToTwin, events: Vec<Event>, retries: u32) -> Answer {
    function.run(batch(events, retries), &InvocationId::from_header(None)).await
}

fn property(service: &Service, twin: &str, name: &str) -> Value {
    service.with_twins(|twins| twins.get(twin).unwrap()[name].clone())
}

fn source_time(service: &Service, twin: &str, name: &str) -> Value {
    service.with_twins(|twins| twins.get(twin).unwrap()["$metadata"][name]["sourceTime"].clone())
}

/// The code with which an event became a dead letter.
fn code(outcome: &Option<Outcome>) -> Code {
    match outcome {
        Some(Outcome::DeadLetter(reason)) => reason.code,
        other => panic!("{other:?}"),
    }
}
