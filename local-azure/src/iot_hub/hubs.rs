//! The hubs that share one address: which of them an HTTPS request is for.

use std::sync::Arc;

use axum::http::{HeaderMap, header};

use super::IotHub;

/// The hubs, as handlers get them.
pub(super) type Hubs = Arc<[Arc<IotHub>]>;

/// The hub that a request's `Host` names; where there is only one, it takes all.
pub(super) fn hub_for<'h>(hubs: &'h [Arc<IotHub>], headers: &HeaderMap) -> Option<&'h Arc<IotHub>> {
    match hubs {
        [only] => Some(only),
        several => several.iter().find(|hub| hub.host_name().is(host(headers))),
    }
}

/// What a request's `Host` says; nothing where it has none.
pub(super) fn host(headers: &HeaderMap) -> &str {
    text(headers, header::HOST.as_str()).unwrap_or_default()
}

/// A header as text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
