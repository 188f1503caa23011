//! What can be asked of DPS, over MQTT and over HTTPS: the lists by which requests are routed, counted and throttled.

use crate::{front::Verb, gate::Class, mqtt::Template};

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Connect,
    RegisterDevice,
    Poll,
    LookUpRegistration,
    ChangeEnrollmentGroups,
    QueryEnrollmentGroups,
    GetEnrollmentGroup,
    CreateOrUpdateEnrollmentGroup,
    DeleteEnrollmentGroup,
    GetEnrollmentGroupAttestationMechanism,
    ChangeEnrollments,
    QueryEnrollments,
    GetEnrollment,
    CreateOrUpdateEnrollment,
    DeleteEnrollment,
    GetEnrollmentAttestationMechanism,
    QueryDeviceRegistrationStates,
    GetDeviceRegistrationState,
    DeleteDeviceRegistrationState,
}

impl Operation {
    /// Its name: faults and counts call it so.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Connect => "Connect",
            Self::RegisterDevice => "RegisterDevice",
            Self::Poll => "OperationStatusLookup",
            Self::LookUpRegistration => "DeviceRegistrationStatusLookup",
            Self::ChangeEnrollmentGroups => "RunBulkEnrollmentGroupOperation",
            Self::QueryEnrollmentGroups => "QueryEnrollmentGroups",
            Self::GetEnrollmentGroup => "GetEnrollmentGroup",
            Self::CreateOrUpdateEnrollmentGroup => "CreateOrUpdateEnrollmentGroup",
            Self::DeleteEnrollmentGroup => "DeleteEnrollmentGroup",
            Self::GetEnrollmentGroupAttestationMechanism => "GetEnrollmentGroupAttestationMechanism",
            Self::ChangeEnrollments => "RunBulkEnrollmentOperation",
            Self::QueryEnrollments => "QueryEnrollments",
            Self::GetEnrollment => "GetEnrollment",
            Self::CreateOrUpdateEnrollment => "CreateOrUpdateEnrollment",
            Self::DeleteEnrollment => "DeleteEnrollment",
            Self::GetEnrollmentAttestationMechanism => "GetEnrollmentAttestationMechanism",
            Self::QueryDeviceRegistrationStates => "QueryDeviceRegistrationStates",
            Self::GetDeviceRegistrationState => "GetDeviceRegistrationState",
            Self::DeleteDeviceRegistrationState => "DeleteDeviceRegistrationState",
        }
    }

    /// Which limit it counts against.
    pub(super) fn class(self) -> Class {
        match self {
            Self::Connect => Class::Other,
            Self::RegisterDevice => Class::Registration,
            Self::Poll | Self::LookUpRegistration => Class::Poll,
            _ => Class::Enrollments,
        }
    }
}

/// How an operation is asked for over HTTPS.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) operation: Operation,
    pub(super) verb: Verb,
    /// Parts in braces stand for any text.
    pub(super) path: &'static str,
}

const fn route(operation: Operation, verb: Verb, path: &'static str) -> Route {
    Route { operation, verb, path }
}

/// What devices ask for over HTTPS.
pub(super) static DEVICE_ROUTES: [Route; 3] = {
    use Operation as Op;
    use Verb::{Get, Post, Put};
    [
        route(Op::RegisterDevice, Put, "/{scope}/registrations/{id}/register"),
        route(Op::Poll, Get, "/{scope}/registrations/{id}/operations/{operation}"),
        route(Op::LookUpRegistration, Post, "/{scope}/registrations/{id}"),
    ]
};

/// What services ask for.
#[rustfmt::skip]
pub(super) static SERVICE_ROUTES: [Route; 15] = {
    use Operation as Op;
    use Verb::{Delete, Get, Post, Put};
    [
        route(Op::ChangeEnrollmentGroups, Post, "/enrollmentGroups"),
        route(Op::QueryEnrollmentGroups, Post, "/enrollmentGroups/query"),
        route(Op::GetEnrollmentGroup, Get, "/enrollmentGroups/{group}"),
        route(Op::CreateOrUpdateEnrollmentGroup, Put, "/enrollmentGroups/{group}"),
        route(Op::DeleteEnrollmentGroup, Delete, "/enrollmentGroups/{group}"),
        route(Op::GetEnrollmentGroupAttestationMechanism, Post, "/enrollmentGroups/{group}/attestationmechanism"),
        route(Op::ChangeEnrollments, Post, "/enrollments"),
        route(Op::QueryEnrollments, Post, "/enrollments/query"),
        route(Op::GetEnrollment, Get, "/enrollments/{registration}"),
        route(Op::CreateOrUpdateEnrollment, Put, "/enrollments/{registration}"),
        route(Op::DeleteEnrollment, Delete, "/enrollments/{registration}"),
        route(Op::GetEnrollmentAttestationMechanism, Post, "/enrollments/{registration}/attestationmechanism"),
        route(Op::QueryDeviceRegistrationStates, Post, "/registrations/{group}/query"),
        route(Op::GetDeviceRegistrationState, Get, "/registrations/{registration}"),
        route(Op::DeleteDeviceRegistrationState, Delete, "/registrations/{registration}"),
    ]
};

/// What devices publish to.
pub(super) static TOPICS: [(Operation, Template); 2] = [
    (Operation::RegisterDevice, Template("$dps/registrations/PUT/iotdps-register/?$rid={request}")),
    (
        Operation::Poll,
        Template("$dps/registrations/GET/iotdps-get-operationstatus/?$rid={request}&operationId={operation}"),
    ),
];

/// What devices subscribe to.
pub(super) const ANSWERS: &str = "$dps/registrations/res/#";

/// Everything that can be asked of DPS: the method or the kind of packet; path, topic or filter; the operation's name.
pub fn operations() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let connect = ("CONNECT", "{scope}/registrations/{id}/api-version={version}", Operation::Connect.name());
    let routes = DEVICE_ROUTES.iter().chain(&SERVICE_ROUTES);
    let routes = routes.map(|route| (route.verb.name(), route.path, route.operation.name()));
    let topics = TOPICS.iter().map(|(operation, topic)| ("PUBLISH", topic.0, operation.name()));
    routes.chain([connect]).chain(topics).chain([("SUBSCRIBE", ANSWERS, "Subscribe")])
}
