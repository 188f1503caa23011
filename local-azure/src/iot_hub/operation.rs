//! What can be asked of a hub, over HTTPS and over MQTT: the lists by which requests are routed, counted and throttled.

use super::methods;
use crate::{front::Verb, gate::Class, mqtt::Template};

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Connect,
    ListDevices,
    BulkDevices,
    GetDevice,
    CreateOrUpdateDevice,
    DeleteDevice,
    ListModules,
    GetModule,
    CreateOrUpdateModule,
    DeleteModule,
    QueryTwins,
    GetTwin,
    UpdateTwin,
    ReplaceTwin,
    GetModuleTwin,
    UpdateModuleTwin,
    ReplaceModuleTwin,
    InvokeMethod,
    InvokeModuleMethod,
    GetDeviceStatistics,
    GetServiceStatistics,
    SendDeviceMessage,
    ReceiveDeviceMessage,
    CompleteDeviceMessage,
    AbandonDeviceMessage,
    GetDeviceTwin,
    UpdateReportedProperties,
    AnswerMethod,
}

impl Operation {
    /// Its name: faults and counts call it so.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Connect => "Connect",
            Self::ListDevices => "ListDevices",
            Self::BulkDevices => "BulkDevices",
            Self::GetDevice => "GetDevice",
            Self::CreateOrUpdateDevice => "CreateOrUpdateDevice",
            Self::DeleteDevice => "DeleteDevice",
            Self::ListModules => "ListModules",
            Self::GetModule => "GetModule",
            Self::CreateOrUpdateModule => "CreateOrUpdateModule",
            Self::DeleteModule => "DeleteModule",
            Self::QueryTwins => "QueryTwins",
            Self::GetTwin => "GetTwin",
            Self::UpdateTwin => "UpdateTwin",
            Self::ReplaceTwin => "ReplaceTwin",
            Self::GetModuleTwin => "GetModuleTwin",
            Self::UpdateModuleTwin => "UpdateModuleTwin",
            Self::ReplaceModuleTwin => "ReplaceModuleTwin",
            Self::InvokeMethod => "InvokeMethod",
            Self::InvokeModuleMethod => "InvokeModuleMethod",
            Self::GetDeviceStatistics => "GetDeviceStatistics",
            Self::GetServiceStatistics => "GetServiceStatistics",
            Self::SendDeviceMessage => "SendDeviceMessage",
            Self::ReceiveDeviceMessage => "ReceiveDeviceMessage",
            Self::CompleteDeviceMessage => "CompleteDeviceMessage",
            Self::AbandonDeviceMessage => "AbandonDeviceMessage",
            Self::GetDeviceTwin => "GetDeviceTwin",
            Self::UpdateReportedProperties => "UpdateReportedProperties",
            Self::AnswerMethod => "AnswerMethod",
        }
    }

    /// Which throttle it counts against.
    pub(super) fn class(self) -> Class {
        match self {
            Self::Connect => Class::Connect,
            Self::ListDevices
            | Self::BulkDevices
            | Self::GetDevice
            | Self::CreateOrUpdateDevice
            | Self::DeleteDevice
            | Self::ListModules
            | Self::GetModule
            | Self::CreateOrUpdateModule
            | Self::DeleteModule => Class::Registry,
            Self::QueryTwins => Class::Query,
            Self::GetTwin | Self::GetModuleTwin | Self::GetDeviceTwin => Class::TwinRead,
            Self::UpdateTwin
            | Self::ReplaceTwin
            | Self::UpdateModuleTwin
            | Self::ReplaceModuleTwin
            | Self::UpdateReportedProperties => Class::TwinUpdate,
            Self::InvokeMethod | Self::InvokeModuleMethod => Class::Method,
            Self::SendDeviceMessage => Class::Send,
            Self::ReceiveDeviceMessage => Class::Receive,
            Self::GetDeviceStatistics
            | Self::GetServiceStatistics
            | Self::CompleteDeviceMessage
            | Self::AbandonDeviceMessage
            | Self::AnswerMethod => Class::Other,
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
    /// Another spelling, which documentation or SDKs have.
    pub(super) also: Option<&'static str>,
}

const fn route(operation: Operation, verb: Verb, path: &'static str) -> Route {
    Route { operation, verb, path, also: None }
}

/// Every operation over HTTPS: the service API and the device API.
#[rustfmt::skip]
pub(super) static ROUTES: [Route; 24] = {
    use Operation as Op;
    use Verb::{Delete, Get, Patch, Post, Put};
    [
        // Node's SDK ends the path with a slash.
        Route { also: Some("/devices/"), ..route(Op::ListDevices, Get, "/devices") },
        route(Op::BulkDevices, Post, "/devices"),
        route(Op::GetDevice, Get, "/devices/{device}"),
        route(Op::CreateOrUpdateDevice, Put, "/devices/{device}"),
        route(Op::DeleteDevice, Delete, "/devices/{device}"),
        route(Op::ListModules, Get, "/devices/{device}/modules"),
        route(Op::GetModule, Get, "/devices/{device}/modules/{module}"),
        route(Op::CreateOrUpdateModule, Put, "/devices/{device}/modules/{module}"),
        route(Op::DeleteModule, Delete, "/devices/{device}/modules/{module}"),
        route(Op::QueryTwins, Post, "/devices/query"),
        route(Op::GetTwin, Get, "/twins/{device}"),
        route(Op::UpdateTwin, Patch, "/twins/{device}"),
        route(Op::ReplaceTwin, Put, "/twins/{device}"),
        route(Op::GetModuleTwin, Get, "/twins/{device}/modules/{module}"),
        route(Op::UpdateModuleTwin, Patch, "/twins/{device}/modules/{module}"),
        route(Op::ReplaceModuleTwin, Put, "/twins/{device}/modules/{module}"),
        route(Op::InvokeMethod, Post, "/twins/{device}/methods"),
        route(Op::InvokeModuleMethod, Post, "/twins/{device}/modules/{module}/methods"),
        route(Op::GetDeviceStatistics, Get, "/statistics/devices"),
        route(Op::GetServiceStatistics, Get, "/statistics/service"),
        route(Op::SendDeviceMessage, Post, "/devices/{device}/messages/events"),
        // Documentation and SDKs spell it in two ways.
        Route { also: Some("/devices/{device}/messages/devicebound"), ..route(Op::ReceiveDeviceMessage, Get, "/devices/{device}/messages/deviceBound") },
        Route { also: Some("/devices/{device}/messages/devicebound/{lock}"), ..route(Op::CompleteDeviceMessage, Delete, "/devices/{device}/messages/deviceBound/{lock}") },
        Route { also: Some("/devices/{device}/messages/devicebound/{lock}/abandon"), ..route(Op::AbandonDeviceMessage, Post, "/devices/{device}/messages/deviceBound/{lock}/abandon") },
    ]
};

/// What devices and modules publish to.
pub(super) static TOPICS: [(Operation, Template); 5] = [
    (Operation::SendDeviceMessage, Template("devices/{device}/messages/events/{properties}")),
    (Operation::SendDeviceMessage, Template("devices/{device}/modules/{module}/messages/events/{properties}")),
    (Operation::GetDeviceTwin, Template("$iothub/twin/GET/?$rid={request}")),
    (Operation::UpdateReportedProperties, Template("$iothub/twin/PATCH/properties/reported/?$rid={request}")),
    (Operation::AnswerMethod, Template("$iothub/methods/res/{status}/?$rid={request}")),
];

/// What devices and modules subscribe to.
pub(super) static FILTERS: [Template; 5] = [
    Template("$iothub/twin/res/#"),
    Template("$iothub/twin/PATCH/properties/desired/#"),
    Template(methods::CALLS),
    Template("devices/{device}/messages/devicebound/#"),
    Template("devices/{device}/modules/{module}/#"),
];

/// Everything that can be asked of a hub: the method or the kind of packet; path, topic or filter; the operation's
/// name.
pub fn operations() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let connect = ("CONNECT", "{hub}/{device}/?api-version={version}", Operation::Connect.name());
    let routes = ROUTES.iter().map(|route| (route.verb.name(), route.path, route.operation.name()));
    let topics = TOPICS.iter().map(|(operation, topic)| ("PUBLISH", topic.0, operation.name()));
    let filters = FILTERS.iter().map(|filter| ("SUBSCRIBE", filter.0, "Subscribe"));
    routes.chain([connect]).chain(topics).chain(filters)
}
