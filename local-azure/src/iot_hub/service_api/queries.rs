//! Queries and statistics (IoT Hub: service REST API, Query - Get Twins; Statistics).

use axum::{
    Json,
    body::Bytes,
    http::HeaderMap,
    response::{IntoResponse as _, Response},
};
use serde_json::{Map, Value, json};

use super::request::{Admitted, RegistryRead, ServiceConnect, json};
use crate::iot_hub::{
    self, Address, Entry, Error, IotHub, Status,
    hubs::text,
    query::{Collection, Query},
};

/// Items in one page of a query without `x-ms-max-item-count`, and the most with it.
const PAGE: usize = 100;

/// Answers a query in pages: the continuation token is the last address that the page before looked at. The last page
/// has none: Node's SDK takes an empty one for a further page.
pub(super) async fn query(hub: Admitted<ServiceConnect>, headers: HeaderMap, body: Bytes) -> Result<Response, Error> {
    let request = json(&body)?;
    let query = request.get("query").and_then(Value::as_str).unwrap_or_default();
    let query = Query::parse(query).map_err(|error| Error::ArgumentInvalid(error.to_string()))?;
    let size =
        text(&headers, "x-ms-max-item-count").and_then(|count| count.parse().ok()).unwrap_or(PAGE).clamp(1, PAGE);
    let after = text(&headers, "x-ms-continuation").filter(|token| !token.is_empty()).map(address).transpose()?;
    let (items, more) = match query.count() {
        Some(name) => (vec![Value::from(Map::from_iter([(name.to_owned(), hub.count(&query).into())]))], None),
        None => hub.page(&query, after.as_ref(), size),
    };
    let continuation = more.map(|at| [("x-ms-continuation", at.to_string())]);
    Ok(([("x-ms-item-type", query.item_type())], continuation, Json(Value::from(items))).into_response())
}

/// How many devices there are.
pub(super) async fn devices(hub: Admitted<RegistryRead>) -> Json<Value> {
    let (total, enabled) = hub.store.read(|state| {
        let enabled = state.devices().filter(|(_, entry)| entry.identity.status == Status::Enabled).count();
        (state.devices().len(), enabled)
    });
    Json(json!({
        "totalDeviceCount": total,
        "enabledDeviceCount": enabled,
        "disabledDeviceCount": total - enabled,
    }))
}

/// How many devices are connected.
pub(super) async fn service(hub: Admitted<ServiceConnect>) -> Json<Value> {
    Json(json!({ "connectedDeviceCount": hub.counts().connected }))
}

/// `device` or `device/module`.
fn address(token: &str) -> Result<Address, Error> {
    Ok(match token.split_once('/') {
        None => Address::device(token.parse()?),
        Some((device, module)) => Address::module(device.parse()?, module.parse()?),
    })
}

impl IotHub {
    /// The first twins behind `after` that a query finds; where there may be more, the last that was looked at.
    fn page(&self, query: &Query, after: Option<&Address>, size: usize) -> (Vec<Value>, Option<Address>) {
        self.store.read(|state| {
            let mut rest = twins(state, query.collection).skip_while(|(at, _)| after.is_some_and(|after| at <= after));
            let mut found = Vec::new();
            for (at, entry) in &mut rest {
                let twin = self.show_twin(&at, entry);
                if query.finds(&twin) {
                    found.push(query.select(twin));
                }
                if found.len() == size {
                    return (found, rest.next().map(|_| at));
                }
            }
            (found, None)
        })
    }

    /// How many twins a query finds.
    fn count(&self, query: &Query) -> usize {
        self.store.read(|state| {
            let found = |(at, entry): &(Address, &Entry)| query.finds(&self.show_twin(at, entry));
            twins(state, query.collection).filter(found).count()
        })
    }
}

/// What a query looks at, in the order of the addresses.
fn twins(state: &iot_hub::State, collection: Collection) -> impl Iterator<Item = (Address, &Entry)> {
    let devices = state.devices().filter(move |_| collection == Collection::Devices);
    let devices = devices.map(|(id, entry)| (Address::device(id.clone()), entry));
    let owners = state.devices().filter(move |_| collection == Collection::Modules);
    let modules = owners.flat_map(|(device, _)| {
        let modules = state.modules(device).into_iter().flatten();
        modules.map(|(module, entry)| (Address::module(device.clone(), module.clone()), entry))
    });
    devices.chain(modules)
}
