//! IoT Hub: a device's connection and its messages.

mod connection;
mod driver;
mod outbox;
mod telemetry;
mod topics;

pub use connection::{HubConnection, HubLogin, SendError};
pub(crate) use outbox::{Outbox, Outcome};
pub use telemetry::{MAX_TELEMETRY_SIZE, SystemProperty, Telemetry, TelemetryError};
