//! Tests of the function app from outside: what it reads from the wire and what it writes to it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "a test that panics has failed: that is what it is for; nothing here is an interface"
)]

mod commands;
mod digital_twins;
mod documents;
mod examples;
mod fixtures;
mod host;
mod process;
mod server;
mod whole_loop;
mod wire;
