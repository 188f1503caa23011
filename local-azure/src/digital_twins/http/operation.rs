//! Which operation a request asks for: method and path, without regard to the case of the path's fixed parts.

use axum::http::Method;
use percent_encoding::percent_decode_str;

use crate::gate::Class;

/// An operation of the data plane, with the ids of its path as they were sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    AddModels,
    ListModels,
    GetModel { id: String },
    UpdateModel { id: String },
    DeleteModel { id: String },
    Query,
    GetTwin { id: String },
    AddTwin { id: String },
    UpdateTwin { id: String },
    DeleteTwin { id: String },
    ListRelationships { twin: String },
    ListIncomingRelationships { twin: String },
    GetRelationship { twin: String, id: String },
    AddRelationship { twin: String, id: String },
    UpdateRelationship { twin: String, id: String },
    DeleteRelationship { twin: String, id: String },
    GetComponent { twin: String, name: String },
    UpdateComponent { twin: String, name: String },
    SendTelemetry { twin: String },
    SendComponentTelemetry { twin: String, name: String },
}

impl Operation {
    /// The operation of a request, if there is one.
    pub(super) fn of(method: &Method, path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        let mut parts = Vec::new();
        for part in path.strip_suffix('/').unwrap_or(path).split('/') {
            parts.push(percent_decode_str(part).decode_utf8().ok()?);
        }
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        let (collection, rest) = parts.split_first()?;
        match collection.to_ascii_lowercase().as_str() {
            "models" => Self::of_models(method, rest),
            "query" => (rest.is_empty() && method == Method::POST).then_some(Self::Query),
            "digitaltwins" => Self::of_twin(method, rest),
            _ => None,
        }
    }

    fn of_models(method: &Method, rest: &[&str]) -> Option<Self> {
        match (method, rest) {
            (&Method::POST, []) => Some(Self::AddModels),
            (&Method::GET, []) => Some(Self::ListModels),
            (&Method::GET, [id]) => Some(Self::GetModel { id: (*id).to_owned() }),
            (&Method::PATCH, [id]) => Some(Self::UpdateModel { id: (*id).to_owned() }),
            (&Method::DELETE, [id]) => Some(Self::DeleteModel { id: (*id).to_owned() }),
            _ => None,
        }
    }

    fn of_twin(method: &Method, rest: &[&str]) -> Option<Self> {
        let (twin, rest) = rest.split_first()?;
        let twin = (*twin).to_owned();
        let part = rest.first().map(|part| part.to_ascii_lowercase());
        match (part.as_deref(), rest.get(1..).unwrap_or_default()) {
            (None, _) => match *method {
                Method::GET => Some(Self::GetTwin { id: twin }),
                Method::PUT => Some(Self::AddTwin { id: twin }),
                Method::PATCH => Some(Self::UpdateTwin { id: twin }),
                Method::DELETE => Some(Self::DeleteTwin { id: twin }),
                _ => None,
            },
            (Some("relationships"), []) => (method == Method::GET).then_some(Self::ListRelationships { twin }),
            (Some("relationships"), [id]) => {
                let id = (*id).to_owned();
                match *method {
                    Method::GET => Some(Self::GetRelationship { twin, id }),
                    Method::PUT => Some(Self::AddRelationship { twin, id }),
                    Method::PATCH => Some(Self::UpdateRelationship { twin, id }),
                    Method::DELETE => Some(Self::DeleteRelationship { twin, id }),
                    _ => None,
                }
            }
            (Some("incomingrelationships"), []) => {
                (method == Method::GET).then_some(Self::ListIncomingRelationships { twin })
            }
            (Some("components"), [name]) => {
                let name = (*name).to_owned();
                match *method {
                    Method::GET => Some(Self::GetComponent { twin, name }),
                    Method::PATCH => Some(Self::UpdateComponent { twin, name }),
                    _ => None,
                }
            }
            (Some("components"), [name, last]) if last.eq_ignore_ascii_case("telemetry") => {
                let name = (*name).to_owned();
                (method == Method::POST).then_some(Self::SendComponentTelemetry { twin, name })
            }
            (Some("telemetry"), []) => (method == Method::POST).then_some(Self::SendTelemetry { twin }),
            _ => None,
        }
    }

    /// The operation's name in the service's published interface.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::AddModels => "DigitalTwinModels_Add",
            Self::ListModels => "DigitalTwinModels_List",
            Self::GetModel { .. } => "DigitalTwinModels_GetById",
            Self::UpdateModel { .. } => "DigitalTwinModels_Update",
            Self::DeleteModel { .. } => "DigitalTwinModels_Delete",
            Self::Query => "Query_QueryTwins",
            Self::GetTwin { .. } => "DigitalTwins_GetById",
            Self::AddTwin { .. } => "DigitalTwins_Add",
            Self::UpdateTwin { .. } => "DigitalTwins_Update",
            Self::DeleteTwin { .. } => "DigitalTwins_Delete",
            Self::ListRelationships { .. } => "DigitalTwins_ListRelationships",
            Self::ListIncomingRelationships { .. } => "DigitalTwins_ListIncomingRelationships",
            Self::GetRelationship { .. } => "DigitalTwins_GetRelationshipById",
            Self::AddRelationship { .. } => "DigitalTwins_AddRelationship",
            Self::UpdateRelationship { .. } => "DigitalTwins_UpdateRelationship",
            Self::DeleteRelationship { .. } => "DigitalTwins_DeleteRelationship",
            Self::GetComponent { .. } => "DigitalTwins_GetComponent",
            Self::UpdateComponent { .. } => "DigitalTwins_UpdateComponent",
            Self::SendTelemetry { .. } => "DigitalTwins_SendTelemetry",
            Self::SendComponentTelemetry { .. } => "DigitalTwins_SendComponentTelemetry",
        }
    }

    /// Which of the service's limits it counts against.
    pub(super) fn class(&self) -> Class {
        match self {
            Self::GetTwin { .. }
            | Self::ListRelationships { .. }
            | Self::ListIncomingRelationships { .. }
            | Self::GetRelationship { .. }
            | Self::GetComponent { .. } => Class::Read,
            Self::UpdateTwin { .. } | Self::UpdateRelationship { .. } | Self::UpdateComponent { .. } => Class::Patch,
            Self::AddTwin { .. }
            | Self::DeleteTwin { .. }
            | Self::AddRelationship { .. }
            | Self::DeleteRelationship { .. } => Class::CreateOrDelete,
            Self::Query => Class::Query,
            Self::AddModels
            | Self::ListModels
            | Self::GetModel { .. }
            | Self::UpdateModel { .. }
            | Self::DeleteModel { .. }
            | Self::SendTelemetry { .. }
            | Self::SendComponentTelemetry { .. } => Class::Other,
        }
    }

    /// What it works on: a twin (also for its relationships and components) or a model.
    pub(super) fn subject(&self) -> &str {
        match self {
            Self::AddModels | Self::ListModels | Self::Query => "",
            Self::GetModel { id } | Self::UpdateModel { id } | Self::DeleteModel { id } => id,
            Self::GetTwin { id } | Self::AddTwin { id } | Self::UpdateTwin { id } | Self::DeleteTwin { id } => id,
            Self::ListRelationships { twin }
            | Self::ListIncomingRelationships { twin }
            | Self::GetRelationship { twin, .. }
            | Self::AddRelationship { twin, .. }
            | Self::UpdateRelationship { twin, .. }
            | Self::DeleteRelationship { twin, .. }
            | Self::GetComponent { twin, .. }
            | Self::UpdateComponent { twin, .. }
            | Self::SendTelemetry { twin }
            | Self::SendComponentTelemetry { twin, .. } => twin,
        }
    }

    /// The largest body that it takes, in bytes.
    pub(super) fn max_body(&self) -> usize {
        match self {
            // A model has at most 1 MB (Azure Digital Twins service limits); whole uploads have a limit of ours.
            Self::AddModels => 16 * 1024 * 1024,
            // A continuation token carries a query of 8,000 characters, escaped twice.
            Self::Query => 256 * 1024,
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
        let id = || "a/b".to_owned();
        for (method, path, expected) in [
            (Method::GET, "/Models", Some(Operation::ListModels)),
            (Method::POST, "/models/", Some(Operation::AddModels)),
            (Method::GET, "/models/a%2Fb", Some(Operation::GetModel { id: id() })),
            (Method::POST, "/QUERY", Some(Operation::Query)),
            (Method::PUT, "/DigitalTwins/a%2fb", Some(Operation::AddTwin { id: id() })),
            (Method::GET, "/digitaltwins/a%2Fb/Relationships", Some(Operation::ListRelationships { twin: id() })),
            (
                Method::POST,
                "/digitaltwins/a%2Fb/components/c/Telemetry",
                Some(Operation::SendComponentTelemetry { twin: id(), name: "c".to_owned() }),
            ),
            (Method::GET, "/digitaltwins", None),
            (Method::POST, "/digitaltwins/a", None),
            (Method::GET, "/digitaltwins/a/other", None),
            (Method::GET, "/digitaltwins/a/relationships/b/c", None),
            (Method::GET, "/eventroutes", None),
            (Method::GET, "/digitaltwins/%ff", None),
            (Method::GET, "/", None),
        ] {
            assert_eq!(Operation::of(&method, path), expected, "{method} {path}");
        }
    }
}
