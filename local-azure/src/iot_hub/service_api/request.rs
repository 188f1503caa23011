//! What every request is asked: which hub it is for, who asks, whether it may.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use serde_json::Value;

use super::Hubs;
use crate::{
    iot_hub::{Address, Condition, Denial, Error, HostName, IotHub, Permissions},
    sas::Token,
};

/// What an operation needs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Needs {
    RegistryRead,
    RegistryWrite,
    ServiceConnect,
}

impl Needs {
    fn name(self) -> &'static str {
        match self {
            Self::RegistryRead => "RegistryRead",
            Self::RegistryWrite => "RegistryWrite",
            Self::ServiceConnect => "ServiceConnect",
        }
    }

    fn given(self, permissions: Permissions) -> bool {
        match self {
            Self::RegistryRead => permissions.registry_read,
            Self::RegistryWrite => permissions.registry_write,
            Self::ServiceConnect => permissions.service_connect,
        }
    }
}

/// Finds the hub and checks the token.
pub(super) fn admit(hubs: &Hubs, headers: &HeaderMap, needs: Needs) -> Result<Arc<IotHub>, Error> {
    let host = text(headers, header::HOST.as_str()).unwrap_or_default();
    let hub = match &**hubs {
        [only] => Some(only),
        several => several.iter().find(|hub| hub.host_name().is(host)),
    };
    let hub = hub.ok_or_else(|| Error::ArgumentInvalid(format!("there is no hub {}", HostName::new(host))))?;
    authorize(hub, host, headers, needs).map_err(Error::Unauthorized)?;
    Ok(Arc::clone(hub))
}

fn authorize(hub: &IotHub, host: &str, headers: &HeaderMap, needs: Needs) -> Result<(), Denial> {
    let token = Token::parse(text(headers, header::AUTHORIZATION.as_str()).ok_or(Denial::NoToken)?)?;
    let policy = token.policy().and_then(|name| hub.policies.iter().find(|policy| policy.name == name));
    let policy = policy.ok_or(Denial::NoSuchPolicy)?;
    let now = hub.clock.now();
    // Where the one hub takes every host, a token may be for the host by which it was asked.
    if token.check(&[hub.host_name.as_str()], [&policy.key], now).is_err() {
        token.check(&[host], [&policy.key], now)?;
    }
    if needs.given(policy.permissions) { Ok(()) } else { Err(Denial::Permission(needs.name())) }
}

/// The address in a path.
pub(super) fn address(device: &str, module: Option<&str>) -> Result<Address, Error> {
    Ok(Address { device: device.parse()?, module: module.map(str::parse).transpose()? })
}

/// The `If-Match` header.
pub(super) fn condition(headers: &HeaderMap) -> Option<Condition> {
    text(headers, header::IF_MATCH.as_str()).map(Condition::from_header)
}

/// A header as text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The body as JSON, whatever its content type says.
pub(super) fn json(body: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(body).map_err(|error| Error::ArgumentInvalid(format!("the body is not JSON: {error}")))
}
