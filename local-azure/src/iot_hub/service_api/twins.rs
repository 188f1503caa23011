//! Device twins, and the one query over them that needs no query language.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde_json::Value;

use super::{
    Hubs,
    answer::Tagged,
    request::{Needs, address, admit, condition, json, text},
};
use crate::iot_hub::{Address, Condition, DeviceId, Error, IotHub, TwinPatch};

/// Twins in one page of a query without `x-ms-max-item-count`.
const PAGE: usize = 100;

pub(super) async fn get(
    State(hubs): State<Hubs>,
    headers: HeaderMap,
    Path(device): Path<String>,
) -> Result<Tagged, Error> {
    let hub = admit(&hubs, &headers, Needs::ServiceConnect)?;
    show(&hub, &address(&device, None)?)
}

pub(super) async fn get_module(
    State(hubs): State<Hubs>,
    headers: HeaderMap,
    Path((device, module)): Path<(String, String)>,
) -> Result<Tagged, Error> {
    let hub = admit(&hubs, &headers, Needs::ServiceConnect)?;
    show(&hub, &address(&device, Some(&module))?)
}

fn show(hub: &IotHub, at: &Address) -> Result<Tagged, Error> {
    hub.device_twin(at).map(Tagged).ok_or_else(|| Error::not_found(at))
}

pub(super) async fn patch(
    State(hubs): State<Hubs>,
    headers: HeaderMap,
    Path(device): Path<String>,
    body: Bytes,
) -> Result<Tagged, Error> {
    let hub = admit(&hubs, &headers, Needs::ServiceConnect)?;
    change(&hub, &address(&device, None)?, &headers, &body, IotHub::patch_twin)
}

pub(super) async fn patch_module(
    State(hubs): State<Hubs>,
    headers: HeaderMap,
    Path((device, module)): Path<(String, String)>,
    body: Bytes,
) -> Result<Tagged, Error> {
    let hub = admit(&hubs, &headers, Needs::ServiceConnect)?;
    change(&hub, &address(&device, Some(&module))?, &headers, &body, IotHub::patch_twin)
}

pub(super) async fn put(
    State(hubs): State<Hubs>,
    headers: HeaderMap,
    Path(device): Path<String>,
    body: Bytes,
) -> Result<Tagged, Error> {
    let hub = admit(&hubs, &headers, Needs::ServiceConnect)?;
    change(&hub, &address(&device, None)?, &headers, &body, IotHub::replace_twin)
}

pub(super) async fn put_module(
    State(hubs): State<Hubs>,
    headers: HeaderMap,
    Path((device, module)): Path<(String, String)>,
    body: Bytes,
) -> Result<Tagged, Error> {
    let hub = admit(&hubs, &headers, Needs::ServiceConnect)?;
    change(&hub, &address(&device, Some(&module))?, &headers, &body, IotHub::replace_twin)
}

type Change = fn(&IotHub, &Address, &TwinPatch, &Condition) -> Result<crate::iot_hub::Entry, Error>;

fn change(hub: &IotHub, at: &Address, headers: &HeaderMap, body: &[u8], change: Change) -> Result<Tagged, Error> {
    let patch = TwinPatch::from_json(&json(body)?);
    let entry = change(hub, at, &patch, &condition(headers).unwrap_or(Condition::Any))?;
    Ok(Tagged(hub.show_twin(at, &entry)))
}

/// `SELECT * FROM devices`, in pages: the continuation token is the last id of the page before. Python's SDK reads
/// both answer headers whether they are there or not, so both always are.
pub(super) async fn query(State(hubs): State<Hubs>, headers: HeaderMap, body: Bytes) -> Result<Response, Error> {
    let hub = admit(&hubs, &headers, Needs::ServiceConnect)?;
    let request = json(&body)?;
    let query = request.get("query").and_then(Value::as_str).unwrap_or_default();
    let words: Vec<String> = query.split_whitespace().map(str::to_ascii_lowercase).collect();
    if words != ["select", "*", "from", "devices"] {
        let reason = "local-azure answers no other query than SELECT * FROM devices".to_owned();
        return Err(Error::ArgumentInvalid(reason));
    }
    let size =
        text(&headers, "x-ms-max-item-count").and_then(|count| count.parse().ok()).unwrap_or(PAGE).clamp(1, PAGE);
    let after = text(&headers, "x-ms-continuation").filter(|token| !token.is_empty());
    let after = after.map(str::parse::<DeviceId>).transpose()?;
    let (page, more) = hub.store.read(|state| {
        let mut rest =
            state.devices().skip_while(|(id, _)| after.as_ref().is_some_and(|after| *id <= after)).peekable();
        let mut page = Vec::new();
        let mut last = None;
        while page.len() < size
            && let Some((id, entry)) = rest.next()
        {
            page.push(hub.show_twin(&Address::device(id.clone()), entry));
            last = Some(id.to_string());
        }
        (page, if rest.peek().is_some() { last } else { None })
    });
    let continuation = ("x-ms-continuation", more.unwrap_or_default());
    Ok(([continuation, ("x-ms-item-type", "Twin".to_owned())], Json(Value::from(page))).into_response())
}
