//! The control API: what goes on inside, for people and for tests.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /control/state` | counts, the handlers, lag partition by partition |
//! | `GET /control/dead-letters` | every dead letter document, with the blob's name |
//! | `GET /control/faults` | the faults that are switched on, and how often each happened |
//! | `POST /control/faults` | switches a fault on |
//! | `DELETE /control/faults` | switches all faults off |
//! | `POST /control/c2d` | 202: a message waits in a device's queue |
//! | `POST /control/reset` | 204: everything is as at the start |
//! | `GET /control/events` | what happens, as server-sent events |

mod c2d;
mod events;
mod faults;
mod local_only;

pub(crate) use self::local_only::is_local;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    middleware,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    Faults,
    functions_host::{FunctionStatistics, HandlerStatus},
    gate::OperationCount,
    iot_hub::Counts,
    services::Services,
};

/// The container that dead letters are written to.
const DEAD_LETTERS: &str = "dead-letters";

/// The API's routes, closed to pages of other origins.
///
/// Streams of events end with `shutdown`.
pub fn router(services: Services, shutdown: CancellationToken) -> Router {
    let to_devices = c2d::router(services.iot_hubs.clone());
    let faults = faults::router(Faults::of(&services));
    let events = events::router(services.feed.clone(), shutdown);
    Router::new()
        .route("/control/state", get(state))
        .route("/control/dead-letters", get(dead_letters))
        .route("/control/reset", post(reset))
        .with_state(services)
        .merge(to_devices)
        .merge(faults)
        .merge(events)
        .layer(middleware::from_fn(local_only::guard))
}

/// What `GET /control/state` answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Registration records.
    pub registrations: usize,
    /// Hub by hub.
    pub iot_hubs: Vec<HubSnapshot>,
    /// Models in Azure Digital Twins.
    pub models: usize,
    /// Twins.
    pub twins: usize,
    /// Relationships.
    pub relationships: usize,
    /// The functions that read events: outcomes and lag, partition by partition.
    pub functions: Vec<FunctionStatistics>,
    /// The handler processes.
    pub handlers: Vec<HandlerStatus>,
    /// Dead letter documents.
    pub dead_letters: usize,
    /// How often each operation was asked for.
    pub operations: Vec<OperationCount>,
}

/// One hub.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HubSnapshot {
    /// Its host name.
    pub host_name: String,
    /// Its numbers.
    #[serde(flatten)]
    pub counts: Counts,
}

/// A dead letter document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// The blob's name within the container.
    pub name: String,
    /// When it was written.
    pub last_modified: jiff::Timestamp,
    /// The document as the handler wrote it; text where it is not JSON.
    pub document: Value,
}

impl Snapshot {
    /// How things are now.
    pub fn take(services: &Services) -> Self {
        let hub = |hub: &Arc<crate::iot_hub::IotHub>| HubSnapshot {
            host_name: hub.host_name().to_string(),
            counts: hub.counts(),
        };
        Self {
            registrations: services.dps.count(),
            iot_hubs: services.iot_hubs.iter().map(hub).collect(),
            models: services.digital_twins.model_count(),
            twins: services.digital_twins.twin_count(),
            relationships: services.digital_twins.relationship_count(),
            functions: services.functions.statistics(),
            handlers: services.functions.handlers(),
            dead_letters: services.blobs.list(DEAD_LETTERS, "").len(),
            operations: services.gate.counts(),
        }
    }
}

/// All dead letters, by name.
pub fn all_dead_letters(services: &Services) -> Vec<DeadLetter> {
    let letter = |(name, blob): (String, crate::functions_host::Blob)| {
        let document = serde_json::from_slice(&blob.content)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&blob.content).into_owned()));
        DeadLetter { name, last_modified: blob.last_modified, document }
    };
    services.blobs.list(DEAD_LETTERS, "").into_iter().map(letter).collect()
}

async fn state(State(services): State<Services>) -> Response {
    Json(Snapshot::take(&services)).into_response()
}

async fn dead_letters(State(services): State<Services>) -> Response {
    Json(all_dead_letters(&services)).into_response()
}

async fn reset(State(services): State<Services>) -> Response {
    match services.reset().await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "message": error.to_string() }))).into_response()
        }
    }
}
