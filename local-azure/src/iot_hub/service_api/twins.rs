//! Device twins, and the one query over them that needs no query language.

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::HeaderMap,
};

use super::{
    Hubs,
    answer::Tagged,
    request::{Needs, address, admit, condition, json},
};
use crate::iot_hub::{Address, Condition, Error, IotHub, TwinPatch};

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
