//! `/query`.

use std::num::NonZeroUsize;

use axum::http::HeaderName;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{reply::Reply, request::Request};
use crate::digital_twins::{DigitalTwins, error::Error, query::Continuation};

/// Azure Digital Twins service limits: rows on a page.
const MAX_ROWS: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    #[serde(default)]
    query: Option<String>,
    #[serde(default)]
    continuation_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    value: Vec<Value>,
    continuation_token: Option<String>,
}

pub(super) fn query(service: &DigitalTwins, request: &Request) -> Result<Reply, Error> {
    let body: Body = serde_json::from_slice(request.body()?).map_err(|_| Error::InvalidPayload)?;
    let size = request.page_size(MAX_ROWS)?;
    let page = service.query(body.query.as_deref(), body.continuation_token.as_deref(), size, request.version)?;
    let answer = Answer { value: page.rows, continuation_token: page.next.as_ref().map(Continuation::to_token) };
    Ok(Reply::ok(&answer).with_header(HeaderName::from_static("query-charge"), charge(page.examined)))
}

/// How much a query costs. The service's formula is not public; this one gives what was recorded for counting none,
/// and grows with the objects that had to be looked at.
fn charge(examined: usize) -> String {
    let hundredths = 299 + 3 * examined;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}
