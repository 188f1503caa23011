//! The service's side over HTTPS: enrollments and registration records (DPS: service REST API 2021-10-01).

mod answer;
mod enrollments;
mod registrations;
mod request;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};

use super::Dps;

/// The policy whose key opens everything.
pub const OWNER: &str = "provisioningserviceowner";
/// DPS' limit for messages.
const BODY_BYTES: usize = 96 * 1024;

/// The service API's routes.
pub(super) fn router(dps: Arc<Dps>) -> Router {
    let enrollment = get(enrollments::get).put(enrollments::put).delete(enrollments::delete);
    Router::new()
        .route("/enrollmentGroups/query", post(enrollments::groups))
        .route("/enrollmentGroups/{group}", enrollment.clone())
        .route("/enrollmentGroups/{group}/attestationmechanism", post(enrollments::attestation))
        .route("/enrollments/query", post(enrollments::individual))
        .route("/enrollments/{registration}", enrollment)
        .route("/enrollments/{registration}/attestationmechanism", post(enrollments::attestation))
        .route("/registrations/{registration}", get(registrations::get).delete(registrations::delete))
        .route("/registrations/{group}/query", post(registrations::query))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(dps)
}
