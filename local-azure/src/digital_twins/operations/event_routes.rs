//! Operations on event routes.

use std::{num::NonZeroUsize, ops::Bound};

use super::page;
use crate::digital_twins::{
    DigitalTwins,
    error::{Error, FilterFault},
    event_route::{self, EventRoute},
    id::RouteId,
    state::Step,
};

/// Azure Digital Twins service limits: event routes of an instance.
const MAX_ROUTES: usize = 6;

impl DigitalTwins {
    /// An event route.
    ///
    /// # Errors
    /// [`Error::RouteNotFound`].
    pub(crate) fn event_route(&self, id: &RouteId) -> Result<EventRoute, Error> {
        self.store.read(|state| state.routes.get(id).cloned().ok_or(Error::RouteNotFound))
    }

    /// A page of the event routes, ordered by id, and the id of the last one where more follow.
    pub(crate) fn list_event_routes(
        &self,
        after: Option<&RouteId>,
        size: NonZeroUsize,
    ) -> (Vec<EventRoute>, Option<RouteId>) {
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        self.store.read(|state| {
            let (routes, last) = page(state.routes.range::<RouteId, _>(range), size);
            (routes.into_iter().cloned().collect(), last)
        })
    }

    /// Creates or replaces an event route.
    ///
    /// # Errors
    /// [`Error::InvalidFilter`]; [`Error::InvalidEndpoint`] where the instance has no endpoint of that name;
    /// [`Error::LimitExceeded`].
    pub(crate) fn put_event_route(&self, route: EventRoute) -> Result<(), Error> {
        event_route::check_filter(&route.filter).map_err(|fault| Error::InvalidFilter(FilterFault(fault)))?;
        if !self.endpoints.contains(&route.endpoint_name) {
            return Err(Error::InvalidEndpoint);
        }
        self.change(|state, _now| {
            if state.routes.len() >= MAX_ROUTES && !state.routes.contains_key(&route.id) {
                return Err(Error::LimitExceeded { what: "The number of event routes", limit: MAX_ROUTES });
            }
            Ok((vec![Step::PutRoute(route)], ()))
        })
    }

    /// Deletes an event route.
    ///
    /// # Errors
    /// [`Error::RouteNotFound`].
    pub(crate) fn delete_event_route(&self, id: &RouteId) -> Result<(), Error> {
        self.change(|state, _now| match state.routes.contains_key(id) {
            true => Ok((vec![Step::DeleteRoute(id.clone())], ())),
            false => Err(Error::RouteNotFound),
        })
    }
}
