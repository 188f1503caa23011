//! `POST /control/c2d`: a message to a device. In Azure services send these over AMQP only.
//!
//! ```json
//! { "deviceId": "thermo-01", "body": {"setPoint": 21}, "contentType": "application/json",
//!   "messageId": "m1", "properties": {"priority": "high"} }
//! ```
//! A text is sent as it is, everything else as JSON. The answer, 202, says which hub took it and its number there.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::post,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::iot_hub::{Address, CloudMessage, DeviceId, Error, IotHub};

/// A message of the largest size with every character escaped.
const BODY_BYTES: usize = 512 * 1024;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a JSON object with deviceId and body")]
struct Order {
    device_id: DeviceId,
    #[serde(default)]
    body: Value,
    content_type: Option<String>,
    message_id: Option<String>,
    #[serde(default)]
    properties: Map<String, Value>,
}

impl Order {
    fn message(self) -> Result<(DeviceId, CloudMessage), Error> {
        if let Some((name, _)) = self.properties.iter().find(|(_, value)| !value.is_string() && !value.is_null()) {
            return Err(Error::ArgumentInvalid(format!("the property {name:?} must be a text or null")));
        }
        let body = match self.body {
            Value::String(text) => text,
            Value::Null => String::new(),
            json => json.to_string(),
        };
        let message = CloudMessage {
            body: body.into(),
            message_id: self.message_id,
            content_type: self.content_type,
            properties: self.properties,
        };
        Ok((self.device_id, message))
    }
}

/// The route, for devices of these hubs.
pub(super) fn router(hubs: Vec<Arc<IotHub>>) -> Router {
    Router::new().route("/control/c2d", post(send)).layer(DefaultBodyLimit::max(BODY_BYTES)).with_state(hubs.into())
}

async fn send(State(hubs): State<Arc<[Arc<IotHub>]>>, body: Bytes) -> Response {
    let order = serde_json::from_slice::<Order>(&body)
        .map_err(|error| Error::ArgumentInvalid(format!("not a message to a device: {error}")));
    match order.and_then(|order| deliver(&hubs, order)) {
        Ok(answer) => (StatusCode::ACCEPTED, Json(answer)).into_response(),
        Err(error) => error.into_response(),
    }
}

/// A device is known to one hub at a time; the first that knows it takes the message.
fn deliver(hubs: &[Arc<IotHub>], order: Order) -> Result<Value, Error> {
    let (device, message) = order.message()?;
    let at = Address::device(device.clone());
    let hub = hubs.iter().find(|hub| hub.store().read(|state| state.get(&at).is_some()));
    let hub = hub.ok_or_else(|| Error::DeviceNotFound(device.to_string()))?;
    let sequence = hub.send_to_device(&device, message)?;
    Ok(json!({ "hubHostName": hub.host_name().as_str(), "sequenceNumber": sequence }))
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, to_bytes},
        http::Request,
    };
    use tower::ServiceExt as _;

    use super::*;
    use crate::{
        clock::Clock,
        gate::Gate,
        iot_hub::{HostName, NewIdentity, Settings, State as HubState},
    };

    fn hub(name: &str) -> Arc<IotHub> {
        let settings = Settings { host_name: HostName::new(name), policies: vec![], routes: vec![] };
        Arc::new(IotHub::new(settings, HubState::default(), Clock::system(), Arc::new(Gate::default())))
    }

    async fn post(hubs: &[Arc<IotHub>], body: Value) -> (StatusCode, Value) {
        let request = Request::post("/control/c2d").body(Body::from(body.to_string())).unwrap();
        let response = router(hubs.to_vec()).oneshot(request).await.unwrap();
        let status = response.status();
        (status, serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap())
    }

    #[tokio::test]
    async fn the_hub_that_knows_the_device_takes_the_message() {
        let hubs = [hub("a.localhost"), hub("b.localhost")];
        let at = Address::device("d1".parse().unwrap());
        hubs[1].create(&at, NewIdentity::default()).unwrap();
        let (status, answer) = post(&hubs, json!({ "deviceId": "d1", "body": "x", "properties": { "a": "b" } })).await;
        assert_eq!((status, &answer["hubHostName"]), (StatusCode::ACCEPTED, &json!("b.localhost")));
        assert_eq!(hubs[1].identity(&at).unwrap()["cloudToDeviceMessageCount"], 1);

        let nobody = post(&hubs, json!({ "deviceId": "d2" })).await;
        assert_eq!(
            (nobody.0, &nobody.1["Message"]),
            (StatusCode::NOT_FOUND, &json!("ErrorCode:DeviceNotFound;there is no device d2"))
        );
    }

    #[tokio::test]
    async fn what_is_not_understood_is_a_bad_request() {
        let hubs = [hub("a.localhost")];
        for body in [
            json!({ "deviceId": "d 1" }),
            json!({ "deviceId": "d1", "priority": 1 }),
            json!({ "deviceId": "d1", "properties": { "a": 1 } }),
            json!(["d1"]),
        ] {
            assert_eq!(post(&hubs, body.clone()).await.0, StatusCode::BAD_REQUEST, "{body}");
        }
    }
}
