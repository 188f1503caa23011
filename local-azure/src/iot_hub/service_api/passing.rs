//! The way of a request through the gate.

use axum::{
    extract::{RawPathParams, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::Hubs;
use crate::{
    front,
    gate::{self, Class, Service},
    iot_hub::{Error, operation::Operation},
};

/// Lets a request through to its operation, and its answer out, where the gate has nothing against it.
pub(super) async fn pass(
    State((hubs, operation)): State<(Hubs, Operation)>,
    parameters: RawPathParams,
    request: Request,
    next: Next,
) -> Response {
    // All hubs have the same gate.
    let Some(hub) = hubs.first() else { return next.run(request).await };
    let subject = parameters.iter().find(|(name, _)| *name == "device").map_or("", |(_, device)| device);
    let operation = operation.name();
    match hub.gate.pass(gate::Request { service: Service::IotHub, operation, class: Class::Other, subject }).await {
        Ok(passage) => {
            let response = next.run(request).await;
            if passage.is_answered().await { response } else { front::no_answer() }
        }
        Err(refusal) => Error::from(refusal).into_response(),
    }
}
