//! All of Azure that device and twin provisioning needs, in one process on one machine.
//!
//! [`start`] takes a [`config::Config`] and gives a [`Running`]: the program does that, and so do all tests. Each
//! service stands in a module of its own:
//!
//! | module | stands in for |
//! | --- | --- |
//! | [`dps`] | Device Provisioning Service |
//! | [`iot_hub`] | IoT Hub: registry, device twins, routes |
//! | [`event_hubs`] | Event Hubs |
//! | [`functions_host`] | the Azure Functions host with its storage account |
//! | [`digital_twins`] | Azure Digital Twins |
//! | [`identity`] | managed identity |
//!
//! They share a few seams. Each one's state is one value that changes in one way ([`store`]) and can be kept
//! ([`data_dir`]), time comes from a [`clock`], every request passes the [`gate`], and what listens on a port is bound
//! before anything starts ([`ports`]). What happens is told by the [`feed`], what goes wrong on purpose is switched on
//! with [`Faults`]. [`front`] and [`mqtt`] are the two doors that several services share, and [`x509`] is what their
//! clients can show there. [`control`] shows what goes on inside, and [`demo`] tells the story that all of this is for.

pub mod certificates;
pub mod clock;
pub mod compiled_app;
pub mod config;
pub mod control;
pub mod credentials;
pub mod data_dir;
pub mod demo;
pub mod digital_twins;
pub mod dps;
pub mod endpoints;
pub mod event_hubs;
mod faults;
pub mod feed;
pub mod front;
pub mod functions_host;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod gate;
pub mod identity;
pub mod iot_hub;
pub mod mqtt;
pub mod ports;
mod private_file;
mod reset;
mod running;
pub mod sas;
pub mod services;
pub mod store;
pub mod x509;

pub use faults::{Faults, InjectError};
pub use reset::ResetError;
pub use running::{Running, StartError, start};
