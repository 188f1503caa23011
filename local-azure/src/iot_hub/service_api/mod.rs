//! The service's side over HTTPS: identities, twins, queries, methods (IoT Hub: service REST API 2021-04-12).

mod answer;
mod devices;
mod methods;
mod passing;
mod queries;
mod request;
mod twins;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};

use super::{IotHub, device_api};

/// The largest request: a hundred devices, or a whole twin.
const BODY_BYTES: usize = 512 * 1024;

/// All hubs behind one router, with what devices can do over HTTPS. A request's `Host` says which one it is for; where there is only one, it takes all.
pub fn router(hubs: Vec<Arc<IotHub>>) -> Router {
    let identity = get(devices::get).put(devices::put).delete(devices::delete);
    let twin = get(twins::get).patch(twins::patch).put(twins::put);
    let hubs: Hubs = hubs.into();
    Router::new()
        .route("/devices", get(devices::list).post(devices::bulk))
        // As Node's SDK asks for it.
        .route("/devices/", get(devices::list))
        .route("/devices/query", post(queries::query))
        .route("/statistics/devices", get(queries::devices))
        .route("/statistics/service", get(queries::service))
        .route("/devices/{device}", identity.clone())
        .route("/devices/{device}/modules", get(devices::list_modules))
        .route("/devices/{device}/modules/{module}", identity)
        .route("/twins/{device}", twin.clone())
        .route("/twins/{device}/modules/{module}", twin)
        .route("/twins/{device}/methods", post(methods::call))
        .route("/twins/{device}/modules/{module}/methods", post(methods::call))
        .merge(device_api::router())
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&hubs), passing::pass))
        .with_state(hubs)
}

/// The hubs, as handlers get them.
type Hubs = Arc<[Arc<IotHub>]>;
