//! Azure Digital Twins, asked over HTTP.

mod client;
mod components;
mod event_routes;
mod jobs;
mod models;
mod queries;
mod recordings;
mod relationships;
mod replay;
mod twins;
