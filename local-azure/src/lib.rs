//! All of Azure that device and twin provisioning needs, in one process on one machine.

pub mod clock;
pub mod event_hubs;
pub mod gate;
pub mod store;
