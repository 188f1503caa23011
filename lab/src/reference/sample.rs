//! A handler that does what the original sample's function does: for each event of a batch, one after the other, one
//! PATCH with one `replace` (Azure-Samples/digital-twins-samples, `DeviceTelemetryToTwinFunc`).
//!
//! It has everything that makes it quick otherwise: connections and the token are kept, the batch is read by the
//! function app's own decoder.

use std::{fs, sync::Arc};

use anyhow::Context as _;
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    routing::post,
};
use function_app::host::{DataType, Event, EventBatch};
use reqwest::{Certificate, Client};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{done, serve, setting};

/// What the function works with.
#[derive(Debug)]
struct Sample {
    client: Client,
    digital_twins: String,
    token: String,
}

#[derive(Debug, Deserialize)]
struct Reading {
    #[serde(rename = "Temperature")]
    temperature: f64,
}

/// Serves until it is killed.
///
/// # Errors
/// When it has no token or cannot serve.
pub async fn run() -> anyhow::Result<()> {
    let authority = fs::read(setting("ADT_CA_FILE")?)?;
    let client = Client::builder().no_proxy().tls_certs_only([Certificate::from_pem(&authority)?]).build()?;
    let (digital_twins, token) = (setting("ADT_SERVICE_URL")?, token(&client).await?);
    let functions = Router::new()
        .route("/DeviceTelemetryToTwinFunc", post(telemetry))
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::new(Sample { client, digital_twins, token }));
    serve(functions).await
}

/// App Service: "How to use managed identities", REST endpoint reference.
async fn token(client: &Client) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Token {
        access_token: String,
    }
    let endpoint = setting("IDENTITY_ENDPOINT")?;
    let url = format!("{endpoint}?api-version=2019-08-01&resource=https%3A%2F%2Fdigitaltwins.azure.net");
    let request = client.get(url).header("X-IDENTITY-HEADER", setting("IDENTITY_HEADER")?);
    let token: Token = request.send().await?.error_for_status()?.json().await?;
    Ok(token.access_token)
}

async fn telemetry(State(sample): State<Arc<Sample>>, body: Bytes) -> Result<Json<Value>, StatusCode> {
    let batch = EventBatch::decode(&body, DataType::Binary).map_err(|_| StatusCode::BAD_REQUEST)?;
    for event in &batch.events {
        // As in the sample, an event that fails is lost; the bench looks whether one was.
        let _ = sample.apply(event).await;
    }
    Ok(done())
}

impl Sample {
    async fn apply(&self, event: &Event) -> anyhow::Result<()> {
        let twin = event.properties.text("dtId").context("no dtId")?;
        let reading: Reading = serde_json::from_slice(&event.body)?;
        let url = format!("{}/digitaltwins/{twin}?api-version=2023-10-31", self.digital_twins);
        let patch = json!([{ "op": "replace", "path": "/Temperature", "value": reading.temperature }]);
        let request = self.client.patch(url).bearer_auth(&self.token);
        let request = request.header("content-type", "application/json-patch+json").body(patch.to_string());
        request.send().await?.error_for_status()?;
        Ok(())
    }
}
