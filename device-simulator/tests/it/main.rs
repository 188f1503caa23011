//! The device against a scripted DPS and IoT Hub: MQTT over TLS, replaying recorded exchanges.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod device;
mod hub;
mod peer;
mod program;
mod provisioning;
mod sdk_sessions;
