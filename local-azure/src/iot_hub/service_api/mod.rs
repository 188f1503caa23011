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
    routing::{MethodRouter, on},
};

use super::{
    IotHub, device_api,
    hubs::Hubs,
    operation::{Operation, ROUTES, Route},
};

/// The largest request: a hundred devices, or a whole twin.
const BODY_BYTES: usize = 512 * 1024;

/// All hubs behind one router, with what devices can do over HTTPS. A request's `Host` says which one it is for; where
/// there is only one, it takes all.
pub fn router(hubs: Vec<Arc<IotHub>>) -> Router {
    let hubs: Hubs = hubs.into();
    let with_route = |router: Router<Hubs>, route: &Route| {
        let passing = middleware::from_fn_with_state((Arc::clone(&hubs), route.operation), passing::pass);
        let handler = handler(route).route_layer(passing);
        let router = match route.also {
            Some(path) => router.route(path, handler.clone()),
            None => router,
        };
        router.route(route.path, handler)
    };
    ROUTES.iter().fold(Router::new(), with_route).layer(DefaultBodyLimit::max(BODY_BYTES)).with_state(hubs)
}

/// What carries an operation out. Those of devices over MQTT have none.
fn handler(route: &Route) -> MethodRouter<Hubs> {
    use Operation as Op;
    let method = route.verb.filter();
    match route.operation {
        Op::ListDevices => on(method, devices::list),
        Op::BulkDevices => on(method, devices::bulk),
        Op::GetDevice | Op::GetModule => on(method, devices::get),
        Op::CreateOrUpdateDevice | Op::CreateOrUpdateModule => on(method, devices::put),
        Op::DeleteDevice | Op::DeleteModule => on(method, devices::delete),
        Op::ListModules => on(method, devices::list_modules),
        Op::QueryTwins => on(method, queries::query),
        Op::GetTwin | Op::GetModuleTwin => on(method, twins::get),
        Op::UpdateTwin | Op::UpdateModuleTwin => on(method, twins::patch),
        Op::ReplaceTwin | Op::ReplaceModuleTwin => on(method, twins::put),
        Op::InvokeMethod | Op::InvokeModuleMethod => on(method, methods::call),
        Op::GetDeviceStatistics => on(method, queries::devices),
        Op::GetServiceStatistics => on(method, queries::service),
        Op::SendDeviceMessage => on(method, device_api::send),
        Op::ReceiveDeviceMessage => on(method, device_api::receive),
        Op::CompleteDeviceMessage => on(method, device_api::complete),
        Op::AbandonDeviceMessage => on(method, device_api::abandon),
        Op::Connect | Op::GetDeviceTwin | Op::UpdateReportedProperties | Op::AnswerMethod => MethodRouter::new(),
    }
}
