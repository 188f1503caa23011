//! Registrations against an Azure Digital Twins instance in memory.

mod bookkeeping;
mod choice;
mod conflicts;
mod failures;
mod parents;

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

fn function(service: &Service) -> DpsAdtAllocation {
    with_settings(service, settings())
}

fn with_settings(service: &Service, settings: crate::settings::Allocation) -> DpsAdtAllocation {
    let client = service.client();
    DpsAdtAllocation::new(client.clone(), Directory::new(client, 100), settings)
}

fn body(id: &str, model: &str) -> Value {
    json!({
        "enrollmentGroup": { "enrollmentGroupId": "thermostats" },
        "deviceRuntimeContext": { "registrationId": id, "symmetricKey": {}, "payload": { "modelId": model } },
        "linkedHubs": [HUB],
    })
}

async fn ask(function: &DpsAdtAllocation, body: &Value) -> (StatusCode, Value) {
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
