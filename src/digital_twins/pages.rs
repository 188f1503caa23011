//! Lists in pages: how far they are followed, and where to.

use azure_core::http::Url;
use serde::Deserialize;
use serde_json::Value;

use super::Error;

/// One page of a list (`nextLink`) or of a query's result (`continuationToken`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    pub(super) value: Vec<Value>,
    #[serde(default)]
    pub(super) next_link: Option<String>,
    #[serde(default)]
    pub(super) continuation_token: Option<String>,
}

/// The rows of the pages so far.
#[derive(Debug)]
pub(super) struct Pages {
    operation: &'static str,
    max_rows: usize,
    rows: Vec<Value>,
    empty_pages: usize,
    last: Option<String>,
}

impl Pages {
    /// A page may be empty and yet have a successor, but not for ever.
    const MAX_EMPTY: usize = 100;

    pub(super) fn new(operation: &'static str, max_rows: usize) -> Self {
        Self { operation, max_rows, rows: Vec::new(), empty_pages: 0, last: None }
    }

    /// Adds a page and returns how to get the next one, `None` after the last.
    pub(super) fn take(&mut self, rows: Vec<Value>, next: Option<String>) -> Result<Option<String>, Error> {
        if rows.is_empty() {
            self.empty_pages += 1;
        }
        if self.rows.len() + rows.len() > self.max_rows {
            return Err(Error::TooLarge { operation: self.operation, limit: format!("{} rows", self.max_rows) });
        }
        self.rows.extend(rows);
        let next = next.filter(|next| !next.is_empty());
        if self.empty_pages > Self::MAX_EMPTY || (next.is_some() && next == self.last) {
            return Err(Error::Answer {
                operation: self.operation,
                reason: "its pages do not come to an end".to_owned(),
            });
        }
        self.last.clone_from(&next);
        Ok(next)
    }

    pub(super) fn into_rows(self) -> Vec<Value> {
        self.rows
    }
}

/// Where `link` leads, if it leads to the instance that is being asked: the token goes nowhere else.
pub(super) fn next_url(operation: &'static str, endpoint: &Url, link: &str) -> Result<Url, Error> {
    match endpoint.join(link) {
        Ok(url) if url.origin() == endpoint.origin() => Ok(url),
        Ok(url) => Err(Error::Answer {
            operation,
            reason: format!(
                "its next page is at {}, not at {}",
                url.origin().ascii_serialization(),
                endpoint.origin().ascii_serialization()
            ),
        }),
        Err(error) => Err(Error::Answer { operation, reason: format!("the link to its next page is no URL: {error}") }),
    }
}
