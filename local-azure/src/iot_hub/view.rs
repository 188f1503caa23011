//! Devices, modules and twins as the service's API shows them.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Address, Entry, IotHub, connections::Seen, properties::NEVER};

impl IotHub {
    /// The identity as JSON, keys included; `None` if there is none.
    pub fn identity(&self, at: &Address) -> Option<Value> {
        self.store.read(|state| state.get(at).map(|entry| self.show_identity(at, entry)))
    }

    /// The twin as JSON; `None` if there is none.
    pub fn device_twin(&self, at: &Address) -> Option<Value> {
        self.store.read(|state| state.get(at).map(|entry| self.show_twin(at, entry)))
    }

    pub(super) fn show_identity(&self, at: &Address, entry: &Entry) -> Value {
        let identity = &entry.identity;
        let seen = self.connections.seen(at);
        let mut shown = names(at);
        shown.insert("generationId".into(), identity.generation.to_string().into());
        shown.insert("etag".into(), identity.etag().into());
        shown.insert("connectionState".into(), connection_state(&seen));
        shown.insert("connectionStateUpdatedTime".into(), time(seen.changed));
        shown.insert("lastActivityTime".into(), time(seen.active));
        shown.insert("cloudToDeviceMessageCount".into(), entry.queue.len().into());
        if at.module.is_some() {
            shown.insert("managedBy".into(), json!(identity.managed_by));
        } else {
            shown.insert("status".into(), json!(identity.status));
            shown.insert("statusReason".into(), json!(identity.status_reason));
            shown.insert("statusUpdatedTime".into(), time(identity.status_updated));
            shown.insert("capabilities".into(), json!({ "iotEdge": identity.iot_edge }));
        }
        shown.insert("authentication".into(), identity.authentication.show());
        shown.into()
    }

    pub(super) fn show_twin(&self, at: &Address, entry: &Entry) -> Value {
        let identity = &entry.identity;
        let seen = self.connections.seen(at);
        let mut twin = entry.twin.members();
        let mut shown = names(at);
        shown.insert("etag".into(), twin.shift_remove("etag").unwrap_or_default());
        shown.insert("deviceEtag".into(), identity.etag().into());
        shown.insert("status".into(), json!(identity.status));
        shown.insert("statusUpdateTime".into(), time(identity.status_updated));
        shown.insert("connectionState".into(), connection_state(&seen));
        shown.insert("lastActivityTime".into(), time(seen.active));
        shown.insert("cloudToDeviceMessageCount".into(), entry.queue.len().into());
        shown.insert("authenticationType".into(), identity.authentication.name().into());
        shown.insert("x509Thumbprint".into(), json!(identity.authentication.thumbprints()));
        shown.insert("modelId".into(), seen.model.unwrap_or_default().into());
        shown.append(&mut twin);
        shown.insert("capabilities".into(), json!({ "iotEdge": identity.iot_edge }));
        shown.into()
    }
}

fn names(at: &Address) -> Map<String, Value> {
    let mut names = Map::new();
    names.insert("deviceId".into(), at.device.as_str().into());
    if let Some(module) = &at.module {
        names.insert("moduleId".into(), module.as_str().into());
    }
    names
}

fn connection_state(seen: &Seen) -> Value {
    if seen.connected { "Connected" } else { "Disconnected" }.into()
}

fn time(time: Option<Timestamp>) -> Value {
    time.map_or_else(|| NEVER.into(), |time| format!("{time:.7}").into())
}
