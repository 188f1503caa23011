//! `/digitaltwins/{id}/components/{path}` and telemetry.

use super::{reply::Reply, request::Request};
use crate::digital_twins::{DigitalTwins, error::Error, time};

pub(super) fn get(service: &DigitalTwins, twin: &str, name: &str, request: &Request) -> Result<Reply, Error> {
    service.with_component(&twin.parse()?, name, |twin, component| {
        Reply::ok(&component.wire(request.version)).with_etag(&twin.etag)
    })
}

pub(super) fn update(service: &DigitalTwins, twin: &str, name: &str, request: &Request) -> Result<Reply, Error> {
    let operations = request.patch()?;
    let etag = service.patch_component(&twin.parse()?, name, operations, &request.if_match(), request.version)?;
    Ok(Reply::no_content().with_etag(&etag))
}

/// Telemetry may be any JSON: the service takes what the model does not have, too.
pub(super) fn send_telemetry(
    service: &DigitalTwins,
    twin: &str,
    component: Option<&str>,
    request: &Request,
) -> Result<Reply, Error> {
    if request.header("message-id").is_none_or(str::is_empty) {
        return Err(Error::InvalidArgument("The header Message-Id is required.".to_owned()));
    }
    if let Some(source_time) = request.header("telemetry-source-time")
        && time::parse_source_time(source_time).is_none()
    {
        let text = format!("Telemetry-Source-Time takes an RFC 3339 time, got {source_time}.");
        return Err(Error::InvalidArgument(text));
    }
    request.json(Error::InvalidPayload)?;
    service.take_telemetry(&twin.parse()?, component)?;
    Ok(Reply::no_content())
}
