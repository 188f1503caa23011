//! The service's side over HTTPS: enrollments and registration records (DPS: service REST API 2021-10-01).

mod answer;
mod bulk;
mod enrollments;
mod registrations;
mod request;

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::DefaultBodyLimit,
    routing::{MethodRouter, on},
};

use super::{
    Dps,
    operation::{Operation, Route, SERVICE_ROUTES},
};

/// The policy whose key opens everything.
pub const OWNER: &str = "provisioningserviceowner";
/// DPS' limit for messages.
const BODY_BYTES: usize = 96 * 1024;

/// The service API's routes.
pub(super) fn router(dps: Arc<Dps>) -> Router {
    SERVICE_ROUTES
        .iter()
        .fold(Router::new(), |router, route| {
            router.route(route.path, handler(route).route_layer(Extension(route.operation)))
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(dps)
}

/// What carries an operation of the service API out.
fn handler(route: &Route) -> MethodRouter<Arc<Dps>> {
    use Operation as Op;
    let method = route.verb.filter();
    match route.operation {
        Op::ChangeEnrollmentGroups => on(method, bulk::groups),
        Op::ChangeEnrollments => on(method, bulk::individual),
        Op::QueryEnrollmentGroups => on(method, enrollments::groups),
        Op::QueryEnrollments => on(method, enrollments::individual),
        Op::GetEnrollmentGroup | Op::GetEnrollment => on(method, enrollments::get),
        Op::CreateOrUpdateEnrollmentGroup | Op::CreateOrUpdateEnrollment => on(method, enrollments::put),
        Op::DeleteEnrollmentGroup | Op::DeleteEnrollment => on(method, enrollments::delete),
        Op::GetEnrollmentGroupAttestationMechanism | Op::GetEnrollmentAttestationMechanism => {
            on(method, enrollments::attestation)
        }
        Op::QueryDeviceRegistrationStates => on(method, registrations::query),
        Op::GetDeviceRegistrationState => on(method, registrations::get),
        Op::DeleteDeviceRegistrationState => on(method, registrations::delete),
        _ => MethodRouter::new(),
    }
}
