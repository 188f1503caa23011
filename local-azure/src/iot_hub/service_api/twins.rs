//! Device twins.

use axum::body::Bytes;

use super::{
    answer::Tagged,
    request::{Admitted, IfMatch, ServiceConnect, json},
};
use crate::iot_hub::{Address, Condition, Error, IotHub, TwinPatch};

pub(super) async fn get(hub: Admitted<ServiceConnect>, at: Address) -> Result<Tagged, Error> {
    hub.device_twin(&at).map(Tagged).ok_or_else(|| Error::not_found(&at))
}

pub(super) async fn patch(
    hub: Admitted<ServiceConnect>,
    at: Address,
    condition: IfMatch,
    body: Bytes,
) -> Result<Tagged, Error> {
    change(&hub, &at, condition, &body, IotHub::patch_twin)
}

pub(super) async fn put(
    hub: Admitted<ServiceConnect>,
    at: Address,
    condition: IfMatch,
    body: Bytes,
) -> Result<Tagged, Error> {
    change(&hub, &at, condition, &body, IotHub::replace_twin)
}

type Change = fn(&IotHub, &Address, &TwinPatch, &Condition) -> Result<crate::iot_hub::Entry, Error>;

fn change(
    hub: &IotHub,
    at: &Address,
    IfMatch(condition): IfMatch,
    body: &[u8],
    change: Change,
) -> Result<Tagged, Error> {
    let patch = TwinPatch::from_json(&json(body)?);
    let entry = change(hub, at, &patch, &condition.unwrap_or(Condition::Any))?;
    Ok(Tagged(hub.show_twin(at, &entry)))
}
