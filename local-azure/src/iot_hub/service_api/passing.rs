//! The way of a request through the gate.

use axum::{
    extract::{MatchedPath, RawPathParams, Request, State},
    http::Method,
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::Hubs;
use crate::{
    front,
    gate::{self, Class, Service},
    iot_hub::Error,
};

/// Lets a request through to its operation, and its answer out, where the gate has nothing against it.
pub(super) async fn pass(
    State(hubs): State<Hubs>,
    path: MatchedPath,
    parameters: RawPathParams,
    request: Request,
    next: Next,
) -> Response {
    // All hubs have the same gate.
    let (Some(hub), Some(operation)) = (hubs.first(), operation(request.method(), path.as_str())) else {
        return next.run(request).await;
    };
    let subject = parameters.iter().find(|(name, _)| *name == "device").map_or("", |(_, device)| device);
    match hub.gate.pass(gate::Request { service: Service::IotHub, operation, class: Class::Other, subject }).await {
        Ok(passage) => {
            let response = next.run(request).await;
            if passage.is_answered().await { response } else { front::no_answer() }
        }
        Err(refusal) => Error::from(refusal).into_response(),
    }
}

fn operation(method: &Method, path: &str) -> Option<&'static str> {
    Some(match (path, method) {
        ("/devices" | "/devices/", &Method::GET) => "ListDevices",
        ("/devices", &Method::POST) => "BulkDevices",
        ("/devices/query", &Method::POST) => "QueryTwins",
        ("/statistics/devices", &Method::GET) => "GetDeviceStatistics",
        ("/statistics/service", &Method::GET) => "GetServiceStatistics",
        ("/devices/{device}/messages/events", &Method::POST) => "SendDeviceMessage",
        ("/devices/{device}/messages/devicebound" | "/devices/{device}/messages/deviceBound", &Method::GET) => {
            "ReceiveDeviceMessage"
        }
        (path, &Method::DELETE) if path.ends_with("/{lock}") => "CompleteDeviceMessage",
        (path, &Method::POST) if path.ends_with("/{lock}/abandon") => "AbandonDeviceMessage",
        ("/devices/{device}", &Method::GET) => "GetDevice",
        ("/devices/{device}", &Method::PUT) => "CreateOrUpdateDevice",
        ("/devices/{device}", &Method::DELETE) => "DeleteDevice",
        ("/devices/{device}/modules", &Method::GET) => "ListModules",
        ("/devices/{device}/modules/{module}", &Method::GET) => "GetModule",
        ("/devices/{device}/modules/{module}", &Method::PUT) => "CreateOrUpdateModule",
        ("/devices/{device}/modules/{module}", &Method::DELETE) => "DeleteModule",
        ("/twins/{device}", &Method::GET) => "GetTwin",
        ("/twins/{device}", &Method::PATCH) => "UpdateTwin",
        ("/twins/{device}", &Method::PUT) => "ReplaceTwin",
        ("/twins/{device}/methods", &Method::POST) => "InvokeMethod",
        ("/twins/{device}/modules/{module}/methods", &Method::POST) => "InvokeModuleMethod",
        ("/twins/{device}/modules/{module}", &Method::GET) => "GetModuleTwin",
        ("/twins/{device}/modules/{module}", &Method::PATCH) => "UpdateModuleTwin",
        ("/twins/{device}/modules/{module}", &Method::PUT) => "ReplaceModuleTwin",
        _ => return None,
    })
}
