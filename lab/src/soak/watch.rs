//! Looks at twins while all goes on: no value may go back in time, none may be another device's, and no twin of a
//! registered device may be missing.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use local_azure::digital_twins::DigitalTwins;
use serde_json::Value;

use super::{
    device::{Shared, lock},
    oracle::{History, Life, Property},
};

const INTERVAL: Duration = Duration::from_millis(50);

/// What was seen last of a device's twin.
#[derive(Debug, Default)]
struct Seen {
    /// In which of its lives.
    life: usize,
    times: HashMap<Property, Timestamp>,
}

/// Watches until it is dropped.
pub(super) async fn watch(twins: Arc<DigitalTwins>, devices: Vec<Shared>) {
    let mut seen: Vec<Seen> = devices.iter().map(|_| Seen::default()).collect();
    loop {
        tokio::time::sleep(INTERVAL).await;
        for (device, seen) in devices.iter().zip(&mut seen) {
            let mut history = lock(device);
            for what in look(&history, &twins, seen) {
                history.violated(what);
            }
        }
    }
}

/// What is wrong now.
fn look(history: &History, twins: &DigitalTwins, seen: &mut Seen) -> Vec<String> {
    let Some(life) = history.alive() else { return Vec::new() };
    if seen.life != history.lives.len() {
        *seen = Seen { life: history.lives.len(), times: HashMap::new() };
    }
    let Some(twin) = twins.twin(&life.twin) else {
        return vec![format!("I4: its twin {} is not there, it has been registered since {}", life.twin, life.from)];
    };
    let mut violations = bookkeeping(history, life, &twin);
    for property in Property::ALL {
        let Some((time, value)) = stored(&twin, property) else { continue };
        violations.extend(unsent(history, property, time, value));
        if let Some(before) = seen.times.insert(property, time).filter(|before| *before > time) {
            violations.push(format!("I3: {} went from {before} back to {time} ({value})", property.name()));
        }
    }
    violations
}

/// The twin is the device's, and what an operator said of it is as it was.
fn bookkeeping(history: &History, life: &Life, twin: &Value) -> Vec<String> {
    let text = |name: &str| twin.get(name).and_then(Value::as_str);
    let mut violations = Vec::new();
    if text("HubRegistrationId") != Some(&history.device.to_ascii_lowercase()) {
        violations.push(format!("I1: twin {} has HubRegistrationId {:?}", life.twin, text("HubRegistrationId")));
    }
    if history.prepared.as_ref() == Some(&life.twin) && text("DisplayName") != Some(&display_name(&life.twin)) {
        violations.push(format!("I1: twin {} has DisplayName {:?}", life.twin, text("DisplayName")));
    }
    violations
}

/// What an operator wrote into the twin beforehand.
pub(super) fn display_name(twin: &str) -> String {
    format!("Prepared as {twin}")
}

/// A property's value with its source time.
pub(super) fn stored(twin: &Value, property: Property) -> Option<(Timestamp, f64)> {
    let time = twin.get("$metadata")?.get(property.name())?.get("sourceTime")?.as_str()?.parse().ok()?;
    Some((time, twin.get(property.name())?.as_f64()?))
}

/// A value that the device did not send at that time.
pub(super) fn unsent(history: &History, property: Property, time: Timestamp, value: f64) -> Option<String> {
    let name = property.name();
    (!history.did_send(property, time, value)).then(|| format!("I9: {name} is {value} of {time}, which it never sent"))
}
