//! Events about identities that come and go (IoT Hub: non-telemetry event schemas, device lifecycle events).

use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Address, DeviceTwin, HostName, routing::Source};
use crate::event_hubs::EventData;

/// What happened to an identity. Modules have the same two operations, told apart by their module id only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Created,
    Deleted,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Created => "createDeviceIdentity",
            Self::Deleted => "deleteDeviceIdentity",
        }
    }
}

/// The event: its body is the twin, after the creation or right before the deletion, tags included.
pub(super) fn event(
    hub: &HostName,
    at: &Address,
    operation: Operation,
    twin: &DeviceTwin,
    now: Timestamp,
) -> EventData {
    let mut body = names(at, "deviceId", "moduleId");
    body.extend(twin.members());

    let mut application_properties = Map::new();
    application_properties.insert("hubName".into(), hub.short().into());
    application_properties.extend(names(at, "deviceId", "moduleId"));
    application_properties.insert("operationTimestamp".into(), format!("{now:.7}").into());
    application_properties.insert("opType".into(), operation.name().into());
    application_properties.insert("iothub-message-schema".into(), "deviceLifecycleNotification".into());

    let mut annotations = names(at, "iothub-connection-device-id", "iothub-connection-module-id");
    annotations.insert("iothub-enqueuedtime".into(), format!("{now:.3}").into());
    annotations.insert("iothub-message-source".into(), Source::DeviceLifecycleEvents.name().into());

    let properties = [
        ("content-type", "application/json".into()),
        ("content-encoding", "utf-8".into()),
        ("correlation-id", Uuid::new_v4().simple().to_string().into()),
        ("user-id", hub.short().into()),
    ];
    EventData {
        body: Value::from(body).to_string().into(),
        properties: properties.map(|(name, value): (&str, Value)| (name.to_owned(), value)).into_iter().collect(),
        application_properties,
        annotations,
    }
}

/// A device's id, and a module's, under these names.
fn names(at: &Address, device: &str, module: &str) -> Map<String, Value> {
    let mut names = Map::new();
    names.insert(device.into(), at.device.as_str().into());
    if let Some(id) = &at.module {
        names.insert(module.into(), id.as_str().into());
    }
    names
}
