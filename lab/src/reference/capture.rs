//! A handler that keeps the largest batch that the host sends, byte for byte.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    routing::post,
};
use serde_json::Value;

use super::{done, serve, setting};

/// Names the file to write.
pub const FILE: &str = "LAB_CAPTURE_FILE";

#[derive(Debug)]
struct Capture {
    file: PathBuf,
    largest: Mutex<usize>,
}

/// Serves until it is killed.
///
/// # Errors
/// When it cannot serve.
pub async fn run() -> anyhow::Result<()> {
    let capture = Capture { file: setting(FILE)?.into(), largest: Mutex::new(0) };
    let functions = Router::new()
        .route("/DeviceTelemetryToTwinFunc", post(keep))
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::new(capture));
    serve(functions).await
}

async fn keep(State(capture): State<Arc<Capture>>, body: Bytes) -> Result<Json<Value>, StatusCode> {
    let mut largest = capture.largest.lock().unwrap_or_else(PoisonError::into_inner);
    if body.len() > *largest {
        // The batch comes again then.
        fs::write(&capture.file, &body).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
        *largest = body.len();
    }
    Ok(done())
}
