//! `/jobs/imports` and `/jobs/deletions`.

use std::{num::NonZeroUsize, ops::RangeInclusive};

use axum::http::{HeaderName, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{
    reply::{Reply, ValuesFirst},
    request::Request,
};
use crate::digital_twins::{DigitalTwins, error::Error, id::JobId};

/// No size is documented: as large as a page of models.
const PAGE: NonZeroUsize = NonZeroUsize::new(100).unwrap();
/// Azure Digital Twins data plane: how long a delete job may take, 15 minutes to 24 hours.
const TIMEOUT_MINUTES: RangeInclusive<u32> = 15..=24 * 60;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Body {
    input_blob_uri: Option<String>,
    output_blob_uri: Option<String>,
}

pub(super) fn list_imports(service: &DigitalTwins, request: &Request) -> Result<Reply, Error> {
    let (value, last) =
        service.list_import_jobs(after(request)?.as_ref(), request.page_size(PAGE)?, |job, now| json(&job.wire(now)));
    Ok(list(request, "imports", value, last))
}

pub(super) fn get_import(service: &DigitalTwins, id: &str) -> Result<Reply, Error> {
    service.with_import_job(&id.parse()?, |job, now| Reply::ok(&job.wire(now)))
}

pub(super) fn add_import(service: &DigitalTwins, id: &str, request: &Request) -> Result<Reply, Error> {
    let body: Body = serde_json::from_slice(request.body()?).map_err(|_| Error::InvalidPayload)?;
    let (input, output) = (body.input_blob_uri.unwrap_or_default(), body.output_blob_uri.unwrap_or_default());
    service.add_import_job(id.parse()?, input, output, |job, now| Reply::json(StatusCode::CREATED, &job.wire(now)))
}

pub(super) fn delete_import(service: &DigitalTwins, id: &str) -> Result<Reply, Error> {
    service.delete_import_job(&id.parse()?)?;
    Ok(Reply::no_content())
}

pub(super) fn cancel_import(service: &DigitalTwins, id: &str) -> Result<Reply, Error> {
    service.cancel_import_job(&id.parse()?, |job, now| Reply::ok(&job.wire(now)))
}

pub(super) fn list_deletions(service: &DigitalTwins, request: &Request) -> Result<Reply, Error> {
    let (value, last) =
        service.list_delete_jobs(after(request)?.as_ref(), request.page_size(PAGE)?, |job, now| json(&job.wire(now)));
    Ok(list(request, "deletions", value, last))
}

/// The client says what the job is called, or leaves that to the service.
pub(super) fn add_deletion(service: &DigitalTwins, request: &Request) -> Result<Reply, Error> {
    if let Some(minutes) = request.argument("timeoutInMinutes")
        && !minutes.parse().is_ok_and(|minutes| TIMEOUT_MINUTES.contains(&minutes))
    {
        let (least, most) = (TIMEOUT_MINUTES.start(), TIMEOUT_MINUTES.end());
        let text = format!("timeoutInMinutes takes a number from {least} to {most}, got {minutes}.");
        return Err(Error::InvalidJobRequest(text));
    }
    let id = request.header("operation-id").map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
    let location = request.link(&["jobs", "deletions", &id], &[]);
    let reply = service.add_delete_job(id.parse()?, |job, now| Reply::json(StatusCode::ACCEPTED, &job.wire(now)))?;
    Ok(reply.with_header(HeaderName::from_static("operation-location"), location))
}

pub(super) fn get_deletion(service: &DigitalTwins, id: &str) -> Result<Reply, Error> {
    service.with_delete_job(&id.parse()?, |job, now| Reply::ok(&job.wire(now)))
}

fn json(job: &impl Serialize) -> Value {
    serde_json::to_value(job).unwrap_or_default()
}

fn after(request: &Request) -> Result<Option<JobId>, Error> {
    let token = request.argument("continuationToken");
    token.map(|token| token.parse().map_err(|_| Error::InvalidToken)).transpose()
}

fn list(request: &Request, collection: &str, value: Vec<Value>, last: Option<JobId>) -> Reply {
    let next_link = last.map(|last| request.link(&["jobs", collection], &[("continuationToken", last.as_str())]));
    Reply::ok(&ValuesFirst { value, next_link })
}
