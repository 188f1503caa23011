//! Identities of devices and modules.

use axum::{Json, body::Bytes, extract::Query, http::StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer::Tagged,
    request::{Admitted, IfMatch, RegistryRead, RegistryWrite, json},
};
use crate::iot_hub::{
    Address, Condition, Error, IotHub, NewIdentity, Status, TwinPatch, authentication::WantedAuthentication,
};

/// The most devices in one answer (IoT Hub: service REST API, get devices).
const PAGE: usize = 1_000;
/// The most devices in one bulk operation.
const BULK: usize = 100;

/// What clients write of an identity; the rest of what they may send is the service's to say and ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wanted {
    device_id: Option<String>,
    module_id: Option<String>,
    /// Bulk operations say `id`.
    id: Option<String>,
    import_mode: Option<String>,
    etag: Option<String>,
    status: Option<Status>,
    status_reason: Option<String>,
    authentication: Option<WantedAuthentication>,
    capabilities: Option<WantedCapabilities>,
    managed_by: Option<String>,
    #[serde(rename = "twinETag")]
    twin_etag: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WantedCapabilities {
    iot_edge: bool,
}

impl Wanted {
    fn read(body: &[u8]) -> Result<Self, Error> {
        Self::from_value(json(body)?)
    }

    fn from_value(value: Value) -> Result<Self, Error> {
        // Serde would read an array as a structure's members in their order.
        if !value.is_object() {
            return Err(Error::ArgumentInvalid("an identity must be a JSON object".into()));
        }
        serde_json::from_value(value).map_err(|error| Error::ArgumentInvalid(format!("not an identity: {error}")))
    }

    /// The body must be about what the path says.
    fn identity_of(self, at: &Address) -> Result<NewIdentity, Error> {
        let same = |said: &Option<String>, is: &str| said.as_ref().is_none_or(|said| said == is);
        let module = at.module.as_ref().map_or("", |module| module.as_str());
        if !same(&self.device_id, at.device.as_str()) || !same(&self.module_id, module) {
            return Err(Error::ArgumentInvalid(format!("the path says {at}, the body has another id")));
        }
        self.identity()
    }

    fn identity(self) -> Result<NewIdentity, Error> {
        let authentication = self.authentication.unwrap_or_default().read();
        let authentication = authentication.map_err(|error| Error::ArgumentInvalid(error.to_string()))?;
        Ok(NewIdentity {
            authentication,
            status: self.status.unwrap_or_default(),
            status_reason: self.status_reason,
            iot_edge: self.capabilities.unwrap_or_default().iot_edge,
            managed_by: self.managed_by,
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Page {
    top: Option<usize>,
}

pub(super) async fn list(hub: Admitted<RegistryRead>, Query(page): Query<Page>) -> Json<Value> {
    let top = page.top.unwrap_or(PAGE).min(PAGE);
    let devices = hub.store.read(|state| {
        let show = |(id, entry): (&_, &_)| hub.show_identity(&Address::device(Clone::clone(id)), entry);
        state.devices().take(top).map(show).collect::<Vec<_>>()
    });
    Json(devices.into())
}

pub(super) async fn list_modules(hub: Admitted<RegistryRead>, at: Address) -> Result<Json<Value>, Error> {
    let modules = hub.store.read(|state| {
        let modules = state.modules(&at.device)?.iter();
        let show =
            |(id, entry): (&_, &_)| hub.show_identity(&Address::module(at.device.clone(), Clone::clone(id)), entry);
        Some(modules.map(show).collect::<Vec<_>>())
    });
    Ok(Json(modules.ok_or_else(|| Error::not_found(&at))?.into()))
}

pub(super) async fn get(hub: Admitted<RegistryRead>, at: Address) -> Result<Tagged, Error> {
    hub.identity(&at).map(Tagged).ok_or_else(|| Error::not_found(&at))
}

/// Without `If-Match` a PUT only creates, with it, it only updates.
pub(super) async fn put(
    hub: Admitted<RegistryWrite>,
    at: Address,
    IfMatch(condition): IfMatch,
    body: Bytes,
) -> Result<Tagged, Error> {
    let new = Wanted::read(&body)?.identity_of(&at)?;
    let entry = match condition {
        None => hub.create(&at, new)?,
        Some(condition) => hub.update(&at, new, &condition)?,
    };
    Ok(Tagged(hub.show_identity(&at, &entry)))
}

pub(super) async fn delete(
    hub: Admitted<RegistryWrite>,
    at: Address,
    IfMatch(condition): IfMatch,
) -> Result<StatusCode, Error> {
    hub.delete(&at, &condition.unwrap_or(Condition::Any))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Creates, updates or deletes up to a hundred devices; each on its own.
pub(super) async fn bulk(hub: Admitted<RegistryWrite>, body: Bytes) -> Result<Json<Value>, Error> {
    let Value::Array(items) = json(&body)? else {
        return Err(Error::ArgumentInvalid("the body must be an array of devices".into()));
    };
    if items.len() > BULK {
        return Err(Error::ArgumentInvalid(format!("{} devices, at most {BULK} are allowed", items.len())));
    }
    let mut errors = Vec::new();
    for item in items {
        let twin = TwinPatch::from_json(&item);
        let wanted = Wanted::from_value(item)?;
        let id = wanted.id.clone().unwrap_or_default();
        if let Err(error) = bulk_one(&hub, &id, wanted, &twin) {
            errors.push(json!({ "deviceId": id, "errorCode": error.code(), "errorStatus": error.name() }));
        }
    }
    Ok(Json(json!({ "isSuccessful": errors.is_empty(), "errors": errors, "warnings": [] })))
}

fn bulk_one(hub: &IotHub, id: &str, wanted: Wanted, twin: &TwinPatch) -> Result<(), Error> {
    let at = Address::device(id.parse()?);
    let mode = wanted.import_mode.clone().unwrap_or_default();
    let only_if = |etag: &Option<String>| match etag {
        Some(etag) if mode.to_ascii_lowercase().ends_with("ifmatchetag") => Condition::from_header(etag),
        _ => Condition::Any,
    };
    let condition = only_if(&wanted.etag);
    match mode.to_ascii_lowercase().as_str() {
        "create" => hub.create(&at, wanted.identity()?).map(drop),
        "update" | "updateifmatchetag" => hub.update(&at, wanted.identity()?, &condition).map(drop),
        "delete" | "deleteifmatchetag" => hub.delete(&at, &condition),
        "updatetwin" | "updatetwinifmatchetag" => hub.patch_twin(&at, twin, &only_if(&wanted.twin_etag)).map(drop),
        _ => Err(Error::ArgumentInvalid(format!("importMode \"{mode}\" is not supported"))),
    }
}
