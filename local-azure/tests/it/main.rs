//! Tests of local-azure's services through their public faces.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed: that is what it is for"
)]

mod certificates;
mod cloud_to_device;
mod commands;
mod coverage;
mod digital_twins;
mod direct_methods;
mod dps;
mod dps_allocation;
mod dps_enrollments;
mod dps_http;
mod dps_recorded;
mod dps_x509;
mod event_hubs;
mod functions_host;
mod https_x509;
mod iot_hub;
mod iot_hub_device_http;
mod iot_hub_events;
mod iot_hub_queries;
mod iot_hub_recorded;
mod iot_hub_service;
mod iot_hub_x509;
mod iot_site;
mod iot_wire;
mod limits;
mod mqtt_client;
mod mqtt_hostile;
mod sas;
mod simulator;
mod web_socket;
