//! What can be done with an instance, apart from how it is asked for.
//!
//! Each operation looks at the state, decides, and hands over changes; all times of one write are one reading of the
//! clock.

mod components;
mod event_routes;
mod jobs;
mod models;
mod relationships;
mod twins;

use std::num::NonZeroUsize;

pub(crate) use relationships::IncomingRelationship;

use super::{DigitalTwins, error::Error, id::ETag, query, version::ApiVersion};

/// When a write is to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// In any case, or at least where there is something (`*`).
    Any,
    /// While the version is this one.
    Version(String),
}

impl IfMatch {
    fn check(&self, current: &ETag) -> Result<(), Error> {
        match self {
            Self::Version(wanted) if wanted != current.as_str() => Err(Error::ETagMismatch(wanted.clone())),
            _ => Ok(()),
        }
    }
}

/// Whether a PUT may replace what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    CreateOrReplace,
    /// `If-None-Match: *`.
    CreateOnly,
}

/// The first `size` of them, and the id of the last one where more follow.
fn page<'s, K: Clone + 's, V>(
    mut all: impl Iterator<Item = (&'s K, &'s V)>,
    size: NonZeroUsize,
) -> (Vec<&'s V>, Option<K>) {
    let page: Vec<(&K, &V)> = all.by_ref().take(size.get()).collect();
    let last = all.next().and(page.last()).map(|(id, _)| (*id).clone());
    (page.into_iter().map(|(_, item)| item).collect(), last)
}

impl DigitalTwins {
    /// Runs a query, or goes on with one, on what queries see at present.
    ///
    /// # Errors
    /// What is wrong with the query or the token.
    pub(crate) fn query(
        &self,
        query: Option<&str>,
        token: Option<&str>,
        page_size: NonZeroUsize,
        version: ApiVersion,
    ) -> Result<query::Page, Error> {
        let continuation = token.map(query::Continuation::from_token).transpose()?;
        // Some clients send the query again with its token. Another query's token is of no use.
        if let (Some(continuation), Some(query)) = (&continuation, query)
            && continuation.query != query
        {
            return Err(Error::InvalidToken);
        }
        let page = self.see(|models, graph| {
            let ground = query::Ground { graph, models, version };
            match (&continuation, query) {
                (Some(continuation), _) => Ok(query::resume(continuation, ground, page_size.get())?),
                (None, Some(query)) => Ok(query::begin(query, ground, page_size.get())?),
                (None, None) => Err(Error::InvalidArgument("A query or a continuationToken is required.".to_owned())),
            }
        })?;
        Ok(page)
    }
}
