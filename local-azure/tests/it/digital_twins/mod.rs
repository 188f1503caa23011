//! Azure Digital Twins, asked over HTTP.

mod client;
mod components;
mod models;
mod queries;
mod recordings;
mod relationships;
mod replay;
mod twins;
