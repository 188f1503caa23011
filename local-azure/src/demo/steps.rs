//! The steps of the story: what is done in each, and what must be true then.

use device_simulator::{HubConnection, Telemetry};
use serde_json::{Value, json};

use super::{
    Found, Reason,
    checks::{differences, equal, member},
    stage::{Device, Stage, THERMOSTAT},
};
use crate::{
    control::all_dead_letters,
    iot_hub::{Address, DeviceId},
};

/// A device that nobody expects.
const NEW: &str = "thermostat-101";
/// A device whose twin waits for it in the sample graph.
const EXPECTED: &str = "Thermostat-67";
const WAITING_TWIN: &str = "server-room-thermostat";
const BUILDING: &str = "building-1";
/// Messages that each device sends.
const MESSAGES: u32 = 20;
const MALFORMED: &str = "Temperature: warm";

pub(super) async fn sample_graph(stage: &Stage<'_>) -> Found<()> {
    let twins = &stage.services.digital_twins;
    equal("the number of models", twins.model_count(), 2)?;
    equal("the number of twins", twins.twin_count(), 4)?;
    equal("the number of relationships", twins.relationship_count(), 3)?;
    let waiting = stage.twin(WAITING_TWIN)?;
    equal("HubRegistrationId of the waiting twin", member(&waiting, "/HubRegistrationId")?, &json!("thermostat-67"))?;
    Ok(((), "2 models, 4 twins, 3 relationships".to_owned()))
}

pub(super) async fn new_device(stage: &Stage<'_>) -> Found<Device> {
    let before = stage.services.digital_twins.twin_count();
    let device = stage.register(NEW).await?;
    equal("the twin's id", device.twin_id.as_str(), NEW)?;
    let twin = bound_twin(stage, &device)?;
    equal("its model", member(&twin, "/$metadata/$model")?, &json!(THERMOSTAT))?;
    equal("the number of twins", stage.services.digital_twins.twin_count(), before + 1)?;
    Ok((device, format!("{NEW} got the twin {NEW}")))
}

pub(super) async fn expected_device(stage: &Stage<'_>) -> Found<Device> {
    let before = stage.services.digital_twins.twin_count();
    let device = stage.register(EXPECTED).await?;
    equal("the twin's id", device.twin_id.as_str(), WAITING_TWIN)?;
    let twin = bound_twin(stage, &device)?;
    equal("its DisplayName", member(&twin, "/DisplayName")?, &json!("Server room"))?;
    equal("the number of twins", stage.services.digital_twins.twin_count(), before)?;
    Ok((device, format!("{EXPECTED} got the twin {WAITING_TWIN}")))
}

/// The device's twin, with the bookkeeping that says whose it is.
fn bound_twin(stage: &Stage<'_>, device: &Device) -> Result<Value, Reason> {
    let twin = stage.twin(&device.twin_id)?;
    let lower = device.registration_id.as_str().to_ascii_lowercase();
    equal("HubRegistrationId", member(&twin, "/HubRegistrationId")?, &Value::from(lower))?;
    let hub = device.assignment.hub.host().split('.').next().unwrap_or_default();
    equal("HubName", member(&twin, "/HubName")?, &Value::from(hub))?;
    member(&twin, "/$metadata/HubRegistrationId/sourceTime")?;
    Ok(twin)
}

pub(super) async fn tags(stage: &Stage<'_>, devices: [&Device; 2]) -> Found<()> {
    for device in devices {
        let tags = device_twin(stage, device)?;
        equal("tags.dtId", member(&tags, "/tags/dtId")?, &Value::from(device.twin_id.as_str()))?;
        equal("tags.dtmi", member(&tags, "/tags/dtmi")?, &json!(THERMOSTAT))?;
    }
    Ok(((), devices.map(|device| format!("dtId {}", device.twin_id)).join(", ")))
}

fn device_twin(stage: &Stage<'_>, device: &Device) -> Result<Value, Reason> {
    let id: DeviceId = device.assignment.device_id.as_str().parse()?;
    let address = Address::device(id);
    let hub = stage.services.iot_hubs.iter().find(|hub| hub.host_name().is(device.assignment.hub.host()));
    let twin = hub.and_then(|hub| hub.device_twin(&address));
    twin.ok_or_else(|| Reason(format!("IoT Hub has no device {address}")))
}

pub(super) async fn telemetry(stage: &Stage<'_>, devices: [&Device; 2]) -> Found<()> {
    let mut values = Vec::new();
    for (device, base) in devices.into_iter().zip([20.0, 30.0]) {
        let connection = stage.connect(device).await?;
        let mut last = base;
        for n in 1..=MESSAGES {
            last = base + f64::from(n) / 8.0;
            send_temperature(&connection, last).await?;
        }
        connection.disconnect().await?;
        values.push(last);
    }
    stage.events_are_handled().await;
    for (device, &last) in devices.into_iter().zip(&values) {
        temperature_is(stage, device, last)?;
    }
    let last: Vec<_> = devices.iter().zip(&values).map(|(device, last)| format!("{} {last}", device.twin_id)).collect();
    Ok(((), format!("{} messages; {}", 2 * MESSAGES, last.join(", "))))
}

async fn send_temperature(connection: &HubConnection, value: f64) -> Result<(), Reason> {
    Ok(connection.send(&Telemetry::json(&json!({ "Temperature": value }))?).await?)
}

fn temperature_is(stage: &Stage<'_>, device: &Device, value: f64) -> Result<(), Reason> {
    let twin = stage.twin(&device.twin_id)?;
    equal(&format!("Temperature of {}", device.twin_id), member(&twin, "/Temperature")?, &Value::from(value))
}

pub(super) async fn registration_again(stage: &Stage<'_>, device: &Device) -> Found<()> {
    const MAY_CHANGE: [&str; 4] = [
        "/$etag",
        "/$metadata/$lastUpdateTime",
        "/$metadata/HubRegistrationId/lastUpdateTime",
        "/$metadata/HubRegistrationId/sourceTime",
    ];
    const LAST_REGISTRATION: &str = "/$metadata/HubRegistrationId/sourceTime";
    let (twins, before) = (stage.services.digital_twins.twin_count(), stage.twin(&device.twin_id)?);
    let tags = device_twin(stage, device)?;
    let again = stage.register(device.registration_id.as_str()).await?;
    equal("the twin's id", &again.twin_id, &device.twin_id)?;
    equal("the hub", again.assignment.hub.host(), device.assignment.hub.host())?;
    let after = stage.twin(&device.twin_id)?;
    let other: Vec<_> =
        differences(&before, &after).into_iter().filter(|at| !MAY_CHANGE.contains(&at.as_str())).collect();
    equal("what else changed in the twin", other.join(", ").as_str(), "")?;
    let (old, new) = (member(&before, LAST_REGISTRATION)?, member(&after, LAST_REGISTRATION)?);
    if old == new {
        return Err(Reason(format!("the time of the last registration is still {old}")));
    }
    equal("the number of twins", stage.services.digital_twins.twin_count(), twins)?;
    equal("tags of the device twin", member(&device_twin(stage, device)?, "/tags")?, member(&tags, "/tags")?)?;
    Ok(((), format!("last registration {}", new.as_str().unwrap_or_default())))
}

pub(super) async fn malformed_message(stage: &Stage<'_>, devices: [&Device; 2]) -> Found<()> {
    let before = all_dead_letters(stage.services).len();
    let [culprit, other] = devices;
    let (first, second) = (stage.connect(culprit).await?, stage.connect(other).await?);
    send_temperature(&first, 40.0).await?;
    first.send(&Telemetry::new(MALFORMED)).await?;
    send_temperature(&first, 41.5).await?;
    send_temperature(&second, 42.5).await?;
    first.disconnect().await?;
    second.disconnect().await?;
    stage.events_are_handled().await;
    temperature_is(stage, culprit, 41.5)?;
    temperature_is(stage, other, 42.5)?;
    let letters = all_dead_letters(stage.services);
    equal("the number of new dead letter documents", letters.len().saturating_sub(before), 1)?;
    let document =
        letters.iter().map(|letter| &letter.document).find(|document| document.to_string().contains(MALFORMED));
    let document = document.ok_or_else(|| Reason("no dead letter has the message's body".to_owned()))?;
    let reason = member(document, "/deadLetters/0/reason/detail")?;
    Ok(((), format!("dead letter: {}", reason.as_str().unwrap_or_default())))
}

pub(super) async fn deletion(stage: &Stage<'_>, gone: &Device, stays: &Device) -> Found<()> {
    let twins = &stage.services.digital_twins;
    let (twins_before, relationships_before) = (twins.twin_count(), twins.relationship_count());
    stage.relate(BUILDING, "contains", &gone.twin_id).await?;
    equal("the number of relationships", twins.relationship_count(), relationships_before + 1)?;
    stage.delete(gone).await?;
    stage.events_are_handled().await;
    if twins.twin(&gone.twin_id).is_some() {
        return Err(Reason(format!("the twin {} still stands", gone.twin_id)));
    }
    equal("the number of twins", twins.twin_count(), twins_before - 1)?;
    equal("the number of relationships", twins.relationship_count(), relationships_before)?;
    stage.twin(&stays.twin_id)?;
    Ok(((), format!("{} gone; {} twins and {relationships_before} relationships stay", gone.twin_id, twins_before - 1)))
}
