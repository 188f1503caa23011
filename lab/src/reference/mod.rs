//! What to compare with: handlers that the Functions host starts in the function app's place, and bare servers.

pub mod bare;
pub mod capture;
pub mod sample;

use std::{env, net::Ipv4Addr};

use anyhow::Context as _;
use axum::{Json, Router, routing::get};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Serves `functions` on the port that the host wants, and the question whether the process is ready.
async fn serve(functions: Router) -> anyhow::Result<()> {
    let port: u16 = setting("FUNCTIONS_CUSTOMHANDLER_PORT")?.parse().context("FUNCTIONS_CUSTOMHANDLER_PORT")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    axum::serve(listener, functions.route("/", get(|| async { "ready\n" }))).await.context("the server failed")
}

/// The answer that ends a batch.
fn done() -> Json<Value> {
    Json(json!({ "Outputs": {}, "Logs": [], "ReturnValue": null }))
}

fn setting(name: &str) -> anyhow::Result<String> {
    env::var(name).with_context(|| format!("{name} is not set; the Functions host of local-azure sets it"))
}
