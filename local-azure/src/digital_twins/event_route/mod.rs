//! Event routes: which events go to which endpoint.
//!
//! Routes are stored and checked. Events themselves are not sent: an endpoint is a name.

mod filter;

use serde::{Deserialize, Serialize};

pub(crate) use self::filter::{FilterFault, check as check_filter};
use super::id::RouteId;

/// An event route, as it is stored and as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventRoute {
    pub(crate) id: RouteId,
    /// An endpoint of the instance.
    pub(crate) endpoint_name: String,
    /// Which events take the route.
    pub(crate) filter: String,
}
