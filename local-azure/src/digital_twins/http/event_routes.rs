//! `/eventroutes`.

use std::num::NonZeroUsize;

use serde::Deserialize;

use super::{
    reply::{Reply, ValuesFirst},
    request::Request,
};
use crate::digital_twins::{DigitalTwins, error::Error, event_route::EventRoute, id::RouteId};

/// More than an instance can have.
const PAGE: NonZeroUsize = NonZeroUsize::new(100).unwrap();

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    endpoint_name: String,
    filter: String,
}

pub(super) fn list(service: &DigitalTwins, request: &Request) -> Result<Reply, Error> {
    let after = request.argument("continuationToken").map(|token| token.parse().map_err(|_| Error::InvalidToken));
    let (value, last) = service.list_event_routes(after.transpose()?.as_ref(), request.page_size(PAGE)?);
    let next_link = last.map(|last| request.link(&["eventroutes"], &[("continuationToken", last.as_str())]));
    Ok(Reply::ok(&ValuesFirst { value, next_link }))
}

pub(super) fn get(service: &DigitalTwins, id: &str) -> Result<Reply, Error> {
    Ok(Reply::ok(&service.event_route(&route_id(id)?)?))
}

pub(super) fn add(service: &DigitalTwins, id: &str, request: &Request) -> Result<Reply, Error> {
    let id = route_id(id)?;
    let body = serde_json::from_slice(request.body()?).map_err(|_| Error::InvalidPayload)?;
    let Body { endpoint_name, filter } = body;
    service.put_event_route(EventRoute { id, endpoint_name, filter })?;
    Ok(Reply::no_content())
}

pub(super) fn delete(service: &DigitalTwins, id: &str) -> Result<Reply, Error> {
    service.delete_event_route(&route_id(id)?)?;
    Ok(Reply::no_content())
}

fn route_id(id: &str) -> Result<RouteId, Error> {
    id.parse().map_err(Error::InvalidRouteId)
}
