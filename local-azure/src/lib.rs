//! All of Azure that device and twin provisioning needs, in one process on one machine.

pub mod certificates;
pub mod clock;
pub mod config;
pub mod credentials;
pub mod digital_twins;
pub mod dps;
pub mod endpoints;
pub mod event_hubs;
pub mod front;
pub mod functions_host;
pub mod gate;
pub mod identity;
pub mod iot_hub;
pub mod mqtt;
pub mod ports;
mod private_file;
pub mod sas;
pub mod store;
