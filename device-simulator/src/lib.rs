//! An IoT device in software: it registers with the Device Provisioning Service (DPS) by its symmetric key and then
//! sends telemetry to the IoT Hub that it was assigned to, over MQTT 3.1.1 and TLS.
//!
//! - [`provision`] turns a [`ProvisioningRequest`] into an [`Assignment`].
//! - [`HubConnection`] is one connection to a hub; [`HubConnection::send`] resolves when the hub has the message.
//! - [`Device`] is the whole: it registers, connects, sends, reconnects, and tells an observer what happens.
//!
//! Nothing here starts a runtime: call it from within one of tokio's, with time and I/O enabled.

mod backoff;
mod device;
mod hub;
mod identity;
mod key;
mod mqtt;
mod provisioning;
mod sas;
mod settings;
pub mod thermometer;

pub use device::{Device, DeviceError, Event, Summary, TelemetrySource};
pub use dtdl::ModelId;
pub use hub::{HubConnection, HubLogin, MAX_TELEMETRY_SIZE, SendError, SystemProperty, Telemetry, TelemetryError};
pub use identity::{DeviceId, Endpoint, IdScope, InvalidName, MQTT_PORT, RegistrationId};
pub use key::{DeviceKey, GroupKey, InvalidKey};
pub use mqtt::{ByteStream, ConnectError, ConnectionLost, Network, Refusal, SystemNetwork, Transport, TrustError};
pub use provisioning::{
    Assignment, Progress, ProvisioningError, ProvisioningRequest, ServiceError, provision, provision_with_progress,
};
pub use settings::{Problem, Reason, Setting, Settings, SettingsError};
