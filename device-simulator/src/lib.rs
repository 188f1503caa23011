//! An IoT device in software: it registers with the Device Provisioning Service (DPS) by its symmetric key and then
//! sends telemetry to the IoT Hub that it was assigned to, over MQTT 3.1.1 and TLS.
//!
//! - [`provision`] turns a [`ProvisioningRequest`] into an [`Assignment`].
//! - [`HubConnection`] is one connection to a hub; [`HubConnection::send`] resolves when the hub has the message.
//! - [`Device`] is the whole: it registers, connects, sends, reconnects, and tells an observer what happens.
//!
//! ```no_run
//! use device_simulator::{GroupKey, HubConnection, HubLogin, ProvisioningRequest, Telemetry, Transport, provision};
//! use serde_json::json;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let registration_id = "thermo-01".parse()?;
//! let key = GroupKey::from_base64("8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lE=")?.derive(&registration_id);
//! let dps = "global.azure-devices-provisioning.net".parse()?;
//! let request = ProvisioningRequest::new(dps, "0ne00ABCDEF".parse()?, registration_id, key.clone())
//!     .with_payload(json!({ "modelId": "dtmi:contosocom:DigitalTwins:Thermostat;2" }));
//!
//! let transport = Transport::new(None)?;
//! let assignment = provision(&transport, &request).await?;
//! let connection = HubConnection::connect(&transport, &HubLogin::assigned(&assignment, key)).await?;
//! connection.send(&Telemetry::json(&json!({ "Temperature": 24.73 }))?).await?;
//! connection.disconnect().await?;
//! # Ok(())
//! # }
//! ```
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
