//! The operations of the data plane, and which one a request asks for: method and path, without regard to the case of
//! the path's fixed parts.

use std::borrow::Cow;

use axum::http::Method;
use percent_encoding::percent_decode_str;

use crate::{digital_twins::version::ApiVersion, gate::Class};

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    AddModels,
    ListModels,
    GetModel,
    UpdateModel,
    DeleteModel,
    Query,
    GetTwin,
    AddTwin,
    UpdateTwin,
    DeleteTwin,
    ListRelationships,
    ListIncomingRelationships,
    GetRelationship,
    AddRelationship,
    UpdateRelationship,
    DeleteRelationship,
    GetComponent,
    UpdateComponent,
    SendTelemetry,
    SendComponentTelemetry,
    ListEventRoutes,
    GetEventRoute,
    AddEventRoute,
    DeleteEventRoute,
    ListImportJobs,
    GetImportJob,
    AddImportJob,
    DeleteImportJob,
    CancelImportJob,
    ListDeleteJobs,
    AddDeleteJob,
    GetDeleteJob,
}

/// How an operation is asked for, and what is known of it before it is carried out.
#[derive(Debug)]
pub(super) struct Route {
    kind: Kind,
    pub(super) method: Method,
    /// Parts in braces stand for any text.
    pub(super) path: &'static str,
    /// The operation's name in the service's published interface.
    pub(super) name: &'static str,
    /// Which of the service's limits it counts against.
    class: Class,
    /// The first version of the interface that has it.
    since: ApiVersion,
}

const fn route(kind: Kind, method: Method, path: &'static str, name: &'static str, class: Class) -> Route {
    Route { kind, method, path, name, class, since: ApiVersion::V20201031 }
}

const fn job(kind: Kind, method: Method, path: &'static str, name: &'static str, since: ApiVersion) -> Route {
    Route { kind, method, path, name, class: Class::Jobs, since }
}

/// Every operation.
#[rustfmt::skip]
pub(super) static ROUTES: [Route; 32] = {
    use ApiVersion::{V20230227Preview as IMPORTS, V20231031 as DELETIONS};
    use Class::{CreateOrDelete, EventRoutes, Models, Other, Patch, Read};
    const GET: Method = Method::GET;
    const PUT: Method = Method::PUT;
    const PATCH: Method = Method::PATCH;
    const DELETE: Method = Method::DELETE;
    const POST: Method = Method::POST;
    [
        route(Kind::AddModels, POST, "/models", "DigitalTwinModels_Add", Models),
        route(Kind::ListModels, GET, "/models", "DigitalTwinModels_List", Models),
        route(Kind::GetModel, GET, "/models/{id}", "DigitalTwinModels_GetById", Models),
        route(Kind::UpdateModel, PATCH, "/models/{id}", "DigitalTwinModels_Update", Models),
        route(Kind::DeleteModel, DELETE, "/models/{id}", "DigitalTwinModels_Delete", Models),
        route(Kind::Query, POST, "/query", "Query_QueryTwins", Class::Query),
        route(Kind::GetTwin, GET, "/digitaltwins/{id}", "DigitalTwins_GetById", Read),
        route(Kind::AddTwin, PUT, "/digitaltwins/{id}", "DigitalTwins_Add", CreateOrDelete),
        route(Kind::UpdateTwin, PATCH, "/digitaltwins/{id}", "DigitalTwins_Update", Patch),
        route(Kind::DeleteTwin, DELETE, "/digitaltwins/{id}", "DigitalTwins_Delete", CreateOrDelete),
        route(Kind::ListRelationships, GET, "/digitaltwins/{id}/relationships", "DigitalTwins_ListRelationships", Read),
        route(Kind::ListIncomingRelationships, GET, "/digitaltwins/{id}/incomingrelationships", "DigitalTwins_ListIncomingRelationships", Read),
        route(Kind::GetRelationship, GET, "/digitaltwins/{id}/relationships/{relationshipId}", "DigitalTwins_GetRelationshipById", Read),
        route(Kind::AddRelationship, PUT, "/digitaltwins/{id}/relationships/{relationshipId}", "DigitalTwins_AddRelationship", CreateOrDelete),
        route(Kind::UpdateRelationship, PATCH, "/digitaltwins/{id}/relationships/{relationshipId}", "DigitalTwins_UpdateRelationship", Patch),
        route(Kind::DeleteRelationship, DELETE, "/digitaltwins/{id}/relationships/{relationshipId}", "DigitalTwins_DeleteRelationship", CreateOrDelete),
        route(Kind::GetComponent, GET, "/digitaltwins/{id}/components/{componentPath}", "DigitalTwins_GetComponent", Read),
        route(Kind::UpdateComponent, PATCH, "/digitaltwins/{id}/components/{componentPath}", "DigitalTwins_UpdateComponent", Patch),
        route(Kind::SendTelemetry, POST, "/digitaltwins/{id}/telemetry", "DigitalTwins_SendTelemetry", Other),
        route(Kind::SendComponentTelemetry, POST, "/digitaltwins/{id}/components/{componentPath}/telemetry", "DigitalTwins_SendComponentTelemetry", Other),
        route(Kind::ListEventRoutes, GET, "/eventroutes", "EventRoutes_List", EventRoutes),
        route(Kind::GetEventRoute, GET, "/eventroutes/{id}", "EventRoutes_GetById", EventRoutes),
        route(Kind::AddEventRoute, PUT, "/eventroutes/{id}", "EventRoutes_Add", EventRoutes),
        route(Kind::DeleteEventRoute, DELETE, "/eventroutes/{id}", "EventRoutes_Delete", EventRoutes),
        job(Kind::ListImportJobs, GET, "/jobs/imports", "ImportJobs_List", IMPORTS),
        job(Kind::GetImportJob, GET, "/jobs/imports/{id}", "ImportJobs_GetById", IMPORTS),
        job(Kind::AddImportJob, PUT, "/jobs/imports/{id}", "ImportJobs_Add", IMPORTS),
        job(Kind::DeleteImportJob, DELETE, "/jobs/imports/{id}", "ImportJobs_Delete", IMPORTS),
        job(Kind::CancelImportJob, POST, "/jobs/imports/{id}/cancel", "ImportJobs_Cancel", IMPORTS),
        job(Kind::ListDeleteJobs, GET, "/jobs/deletions", "DeleteJobs_List", DELETIONS),
        job(Kind::AddDeleteJob, POST, "/jobs/deletions", "DeleteJobs_Add", DELETIONS),
        job(Kind::GetDeleteJob, GET, "/jobs/deletions/{id}", "DeleteJobs_GetById", DELETIONS),
    ]
};

impl Route {
    fn segments(&self) -> impl Iterator<Item = &'static str> {
        self.path.trim_start_matches('/').split('/')
    }

    fn fits(&self, method: &Method, segments: &[Cow<'_, str>]) -> bool {
        let fits =
            |(wanted, found): (&str, &Cow<'_, str>)| wanted.starts_with('{') || found.eq_ignore_ascii_case(wanted);
        self.method == method && self.segments().count() == segments.len() && self.segments().zip(segments).all(fits)
    }
}

/// An operation that a request asks for.
#[derive(Debug)]
pub(super) struct Operation {
    route: &'static Route,
    /// What the request's path has where the route's has braces, decoded.
    names: Vec<String>,
}

impl Operation {
    /// The operation of a request, if there is one.
    pub(super) fn of(method: &Method, path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        let segments = path.strip_suffix('/').unwrap_or(path).split('/');
        let segments: Vec<Cow<'_, str>> =
            segments.map(|segment| percent_decode_str(segment).decode_utf8()).collect::<Result<_, _>>().ok()?;
        let route = ROUTES.iter().find(|route| route.fits(method, &segments))?;
        let names = route.segments().zip(segments).filter(|(wanted, _)| wanted.starts_with('{'));
        Some(Self { route, names: names.map(|(_, found)| found.into_owned()).collect() })
    }

    pub(super) fn kind(&self) -> Kind {
        self.route.kind
    }

    /// The ids of the path: of what is asked for, and of the part of it; empty where the path has none.
    pub(super) fn names(&self) -> (&str, &str) {
        let name = |index| self.names.get(index).map_or("", String::as_str);
        (name(0), name(1))
    }

    /// The operation's name in the service's published interface.
    pub(super) fn name(&self) -> &'static str {
        self.route.name
    }

    /// Which of the service's limits it counts against.
    pub(super) fn class(&self) -> Class {
        self.route.class
    }

    /// Whether clients of that version know it.
    pub(super) fn is_in(&self, version: ApiVersion) -> bool {
        self.route.since <= version
    }

    /// The largest body that it takes, in bytes.
    pub(super) fn max_body(&self) -> usize {
        match self.kind() {
            // A model has at most 1 MB (Azure Digital Twins service limits); whole uploads have a limit of ours.
            Kind::AddModels => 16 * 1024 * 1024,
            // A continuation token carries a query of 8,000 characters, escaped twice.
            Kind::Query => 256 * 1024,
            // Azure Digital Twins service limits: request payload.
            _ => 32 * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_matched_without_regard_to_case_and_ids_are_decoded() {
        for (method, path, expected) in [
            (Method::GET, "/Models", Some((Kind::ListModels, "", ""))),
            (Method::POST, "/models/", Some((Kind::AddModels, "", ""))),
            (Method::GET, "/models/a%2Fb", Some((Kind::GetModel, "a/b", ""))),
            (Method::POST, "/QUERY", Some((Kind::Query, "", ""))),
            (Method::PUT, "/DigitalTwins/a%2fb", Some((Kind::AddTwin, "a/b", ""))),
            (Method::GET, "/digitaltwins/a%2Fb/Relationships", Some((Kind::ListRelationships, "a/b", ""))),
            (Method::GET, "/digitaltwins/A/relationships/R", Some((Kind::GetRelationship, "A", "R"))),
            (Method::POST, "/digitaltwins/a/components/c/Telemetry", Some((Kind::SendComponentTelemetry, "a", "c"))),
            (Method::PUT, "/eventRoutes/r", Some((Kind::AddEventRoute, "r", ""))),
            (Method::POST, "/jobs/imports/j/cancel", Some((Kind::CancelImportJob, "j", ""))),
            (Method::GET, "/jobs", None),
            (Method::GET, "/digitaltwins", None),
            (Method::POST, "/digitaltwins/a", None),
            (Method::GET, "/digitaltwins/a/other", None),
            (Method::GET, "/digitaltwins/a/relationships/b/c", None),
            (Method::GET, "/digitaltwins/%ff", None),
            (Method::GET, "/", None),
        ] {
            let found = Operation::of(&method, path);
            let found = found.as_ref().map(|found| (found.kind(), found.names().0, found.names().1));
            assert_eq!(found, expected, "{method} {path}");
        }
    }

    #[test]
    fn each_route_leads_to_its_own_operation() {
        for route in &ROUTES {
            let found = Operation::of(&route.method, route.path).unwrap();
            assert_eq!((found.kind(), found.name()), (route.kind, route.name));
        }
    }
}
