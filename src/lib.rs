//! The function app: keeps the digital twins of devices that DPS provisions in step with them.
//!
//! An HTTP server that the Azure Functions host runs as a custom handler, with three functions: [`allocation`] finds or
//! makes the twin of a device that registers, [`telemetry`] writes what devices send into their twins, [`lifecycle`]
//! removes the twins of deleted devices. [`host`] speaks the host's protocol, [`digital_twins`] that of Azure Digital
//! Twins, [`binding`] knows which twin is whose, [`outcome`] what becomes of a batch; [`app`] puts it all together.
//! [`operate`] has the commands that operators run beside it.

pub mod allocation;
pub mod app;
pub mod binding;
pub mod dead_letter;
pub mod device;
pub mod digital_twins;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod host;
pub mod lifecycle;
pub mod logging;
pub mod operate;
pub mod outcome;
#[cfg(test)]
mod recorded;
#[cfg(test)]
mod scripted;
pub mod server;
pub mod settings;
pub mod telemetry;

pub use app::{run, run_until, serve};
