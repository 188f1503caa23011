//! `/digitaltwins/{id}`.

use super::{reply::Reply, request::Request};
use crate::digital_twins::{DigitalTwins, error::Error};

pub(super) fn get(service: &DigitalTwins, id: &str, request: &Request) -> Result<Reply, Error> {
    service.with_twin(&id.parse()?, |twin| Reply::ok(&twin.wire(request.version)).with_etag(&twin.etag))
}

pub(super) fn add(service: &DigitalTwins, id: &str, request: &Request) -> Result<Reply, Error> {
    let body = request.json(Error::InvalidPayload)?;
    let twin = service.put_twin(&id.parse()?, body, request.put()?, request.version)?;
    Ok(Reply::ok(&twin.wire(request.version)).with_etag(&twin.etag))
}

pub(super) fn update(service: &DigitalTwins, id: &str, request: &Request) -> Result<Reply, Error> {
    let operations = request.patch()?;
    let etag = service.patch_twin(&id.parse()?, &operations, &request.if_match(), request.version)?;
    Ok(Reply::no_content().with_etag(&etag))
}

pub(super) fn delete(service: &DigitalTwins, id: &str, request: &Request) -> Result<Reply, Error> {
    service.delete_twin(&id.parse()?, &request.if_match())?;
    Ok(Reply::no_content())
}
