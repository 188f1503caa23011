//! What every request is asked: which hub it is for, who asks, whether it may, and about what.

use std::{convert::Infallible, marker::PhantomData, ops::Deref, sync::Arc};

use axum::{
    extract::{FromRequestParts, Path},
    http::{HeaderMap, header, request::Parts},
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    iot_hub::{
        Address, Condition, Denial, Error, HostName, IotHub, Permissions,
        hubs::{Hubs, host, hub_for, text},
    },
    sas::Token,
};

/// What an operation needs the sender's policy to permit.
pub(super) trait Permission {
    const NAME: &'static str;

    fn is_among(permissions: Permissions) -> bool;
}

#[derive(Debug)]
pub(super) struct RegistryRead;

#[derive(Debug)]
pub(super) struct RegistryWrite;

#[derive(Debug)]
pub(super) struct ServiceConnect;

impl Permission for RegistryRead {
    const NAME: &'static str = "RegistryRead";

    fn is_among(permissions: Permissions) -> bool {
        permissions.registry_read
    }
}

impl Permission for RegistryWrite {
    const NAME: &'static str = "RegistryWrite";

    fn is_among(permissions: Permissions) -> bool {
        permissions.registry_write
    }
}

impl Permission for ServiceConnect {
    const NAME: &'static str = "ServiceConnect";

    fn is_among(permissions: Permissions) -> bool {
        permissions.service_connect
    }
}

/// The hub that a request is for, open to its sender for operations that need `P`. Comes first among the arguments of
/// an operation: who may not ask is told nothing else.
#[derive(Debug)]
pub(super) struct Admitted<P> {
    hub: Arc<IotHub>,
    permission: PhantomData<P>,
}

impl<P> Deref for Admitted<P> {
    type Target = IotHub;

    fn deref(&self) -> &IotHub {
        &self.hub
    }
}

impl<P: Permission> FromRequestParts<Hubs> for Admitted<P> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, hubs: &Hubs) -> Result<Self, Error> {
        let host = host(&parts.headers);
        let hub = hub_for(hubs, &parts.headers)
            .ok_or_else(|| Error::ArgumentInvalid(format!("there is no hub {}", HostName::new(host))))?;
        authorize::<P>(hub, host, &parts.headers).map_err(Error::Unauthorized)?;
        Ok(Self { hub: Arc::clone(hub), permission: PhantomData })
    }
}

fn authorize<P: Permission>(hub: &IotHub, host: &str, headers: &HeaderMap) -> Result<(), Denial> {
    let token = Token::parse(text(headers, header::AUTHORIZATION.as_str()).ok_or(Denial::NoToken)?)?;
    let policy = token.policy().and_then(|name| hub.policies.iter().find(|policy| policy.name == name));
    let policy = policy.ok_or(Denial::NoSuchPolicy)?;
    let now = hub.clock.now();
    // Where the one hub takes every host, a token may be for the host by which it was asked.
    if token.check(&[hub.host_name.as_str()], [&policy.key], now).is_err() {
        token.check(&[host], [&policy.key], now)?;
    }
    if P::is_among(policy.permissions) { Ok(()) } else { Err(Denial::Permission(P::NAME)) }
}

#[derive(Debug, Deserialize)]
struct Named {
    device: String,
    module: Option<String>,
}

/// The device or module that the path names.
impl FromRequestParts<Hubs> for Address {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, hubs: &Hubs) -> Result<Self, Error> {
        let Path(named) = Path::<Named>::from_request_parts(parts, hubs)
            .await
            .map_err(|rejection| Error::ArgumentInvalid(rejection.body_text()))?;
        Ok(Self { device: named.device.parse()?, module: named.module.as_deref().map(str::parse).transpose()? })
    }
}

/// The `If-Match` header.
#[derive(Debug)]
pub(super) struct IfMatch(pub(super) Option<Condition>);

impl FromRequestParts<Hubs> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Hubs) -> Result<Self, Infallible> {
        Ok(Self(text(&parts.headers, header::IF_MATCH.as_str()).map(Condition::from_header)))
    }
}

/// The body as JSON, whatever its content type says.
pub(super) fn json(body: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(body).map_err(|error| Error::ArgumentInvalid(format!("the body is not JSON: {error}")))
}
