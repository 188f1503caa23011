//! The service's errors: codes, texts and statuses.
//!
//! The texts are those that the service sent when the official SDKs' tests were recorded, where they are known.

use dtdl::ModelId;

use super::{
    event_route,
    id::{InvalidId, JobId, RelationshipId, TwinId},
    json_patch,
    query::{self, InvalidToken, SyntaxError},
};

/// Why the service refuses an operation.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// There is no twin of that id.
    #[error(
        "There is no digital twin instance that exists with the ID {0}. Please verify that the twin id is valid and \
         ensure that the twin is not deleted. See section on querying the twins https://aka.ms/adtv2query."
    )]
    TwinNotFound(TwinId),
    /// The twin has no relationship of that id.
    #[error(
        "Relationship {id} not found on twin {source_id}. Please verify that the relationship id is valid and ensure \
         that the relationship is not deleted. See section on listing relationships in the documentation \
         https://aka.ms/adtv2twins."
    )]
    RelationshipNotFound {
        /// The relationship's id.
        id: RelationshipId,
        /// The twin that it was looked for on.
        source_id: TwinId,
    },
    /// A relationship is to end at a twin that is not there.
    #[error(
        "The target digital twin is invalid or does not exist. Please validate that the target twin is valid and \
         ensure that the target twin is not deleted. See section on querying the twins https://aka.ms/adtv2query ."
    )]
    TargetNotFound,
    /// The twin has no component of that name.
    #[error(
        "{twin} does not have component {component} Please verify that the component path is correct. You can get \
         components by getting the twin, See example https://aka.ms/TwinGetSwSmpl."
    )]
    ComponentNotFound {
        /// The twin.
        twin: TwinId,
        /// What was asked for.
        component: String,
    },
    /// There is no model of that id.
    #[error(
        "There is no Model(s) available that matches the provided id(s) {0}. Check that the Model ID provided is valid \
         by doing a Model_List API call."
    )]
    ModelNotFound(ModelId),
    /// `If-Match` names another version than the current one.
    #[error(
        "The provided etag {0} doesn't match the current etag for the resource. Please obtain and provide the latest \
         etag by getting the resource. See section on get apis in the documentation https://aka.ms/adtv2twins."
    )]
    ETagMismatch(String),
    /// `If-None-Match: *`, and the twin is there.
    #[error(
        "If-None-Match: * header was specified but a twin with the id {0} was found. Please specify a different twin id."
    )]
    TwinExists(TwinId),
    /// `If-None-Match: *`, and the relationship is there.
    #[error(
        "If-None-Match: * header was specified but a relationship with the id {0} was found. Please specify a \
         different relationship id."
    )]
    RelationshipExists(RelationshipId),
    /// A twin that does not fit its model; one text for each fault.
    #[error("Invalid twin specified")]
    InvalidTwin(Vec<String>),
    /// A relationship whose properties do not fit its model; one text for each fault.
    #[error("Invalid relationship specified")]
    InvalidRelationship(Vec<String>),
    /// A relationship that the source's model does not have, or not to such a target.
    #[error(
        "Twin relationship does not align with the model. Please ensure that the relationship is in alignment with the \
         model. See section on listing models http://aka.ms/adtv2models."
    )]
    MisalignedRelationship,
    /// A relationship from a twin to itself.
    #[error("A relationship from a twin to itself is not allowed.")]
    RelationshipToItself,
    /// A twin that still has relationships cannot be deleted.
    #[error(
        "Twin {0} has active relationships. Cannot delete a twin unless all the relationships are deleted. Please \
         ensure that the active relationships on the twin are deleted. See section on retrieving relationships \
         https://aka.ms/adtv2twins."
    )]
    RelationshipsNotDeleted(TwinId),
    /// A patch document that cannot be carried out.
    #[error(
        "{0} Please provide a valid patch document. See section on update apis in the documentation \
         https://aka.ms/adtv2twins."
    )]
    InvalidPatch(PatchFault),
    /// A patch document that is no JSON array of objects: where, and what the service's web framework says.
    #[error("{message}")]
    MalformedPatch {
        /// The place in the document.
        key: String,
        /// What is wrong there.
        message: String,
    },
    /// New twins of a decommissioned model are refused.
    #[error("The model {0} is decommissioned. New twins cannot be created from a decommissioned model.")]
    ModelDecommissioned(ModelId),
    /// Uploaded models that break a rule of DTDL; the parser's words.
    #[error(
        "None of the models in this request could be created due to a problem with one or more models: {0}. See model \
         documentation(https://aka.ms/ADTv2Models) for supported format."
    )]
    InvalidModels(String),
    /// Uploaded models that are there already.
    #[error(
        "Some of the model ids already exist: {}. Use Model_List API to view models that already exist. See the \
         Swagger example (https://aka.ms/ModelListSwSmpl).",
        listed(.0)
    )]
    ModelsExist(Vec<ModelId>),
    /// A model that others extend or have as a component cannot be deleted.
    #[error(
        "This model is currently being referenced by {}. You must delete these references before deleting the Model.. \
         To delete references, do Delete Model on Ids provided above.",
        listed(.0)
    )]
    ModelReferenced(Vec<ModelId>),
    /// A text that is no model id.
    #[error(
        "The format of the Model ID {0} provided is not supported. See model \
         documentation(https://aka.ms/ADTv2Models) for supported format."
    )]
    InvalidModelId(String),
    /// An upload without models.
    #[error(
        "Operation failed as models provided was empty or of a type that is not supported.. Check that your Model \
         Array contains at least one item and it is of a supported type. See link(https://aka.ms/ADTv2Models) for \
         details."
    )]
    NoModels,
    /// A twin or a component that is no JSON object.
    #[error("Payload is invalid.")]
    InvalidPayload,
    /// A relationship without a name or a target.
    #[error("Could not deserialize relationship create body.")]
    InvalidRelationshipBody,
    /// An argument that cannot be used: which one, and why.
    #[error("{0}")]
    InvalidArgument(String),
    /// A query that cannot be read.
    #[error("SQL query parse failed: {0} See samples in https://aka.ms/adtv2query for the correct syntax.")]
    InvalidQuery(QueryFault),
    /// A query that is too much work. The service's text is not known.
    #[error(
        "The query took too long: more than {} twins and relationships had to be looked at. Please narrow it down.",
        query::MAX_EXAMINED
    )]
    QueryTimeout,
    /// A continuation token that is none.
    #[error("The continuation token is invalid.")]
    InvalidToken,
    /// A body is needed.
    #[error("A non-empty request body is required.")]
    NoBody,
    /// There is no event route of that id.
    #[error(
        "There is no route available that matches the provided input. Check for all valid event routes by calling \
         EventRoute_List. See Swagger example (https://aka.ms/RouteSwSmpl)."
    )]
    RouteNotFound,
    /// An event route cannot have that id.
    #[error("The event route id provided is invalid: {0}.")]
    InvalidRouteId(InvalidId),
    /// An event route is to lead to an endpoint that the instance does not have.
    #[error(
        "The endpoint provided does not exist or is not active. Check that your endpoint is provisioned correctly. See \
         event route documentation (https://aka.ms/ADTv2Routes)."
    )]
    InvalidEndpoint,
    /// A filter that cannot be read.
    #[error(
        "The provided filter is invalid. {0} See event route documentation for supported values and structure \
         (https://aka.ms/ADTv2Routes)."
    )]
    InvalidFilter(FilterFault),
    /// There is no import job of that id.
    #[error(
        "There is no job available that matches the provided id {0}. Check that the Job ID provided is valid by doing \
         a Jobs_List API call."
    )]
    JobNotFound(JobId),
    /// There is no delete job of that id. The service's text is not known: it is that for import jobs.
    #[error("{}", Self::JobNotFound(.0.clone()))]
    DeleteJobNotFound(JobId),
    /// There is a job of that id already.
    #[error("Provided Job ID already exists: {0}. Use Jobs_List API to view jobs that already exist.")]
    JobExists(JobId),
    /// One job runs at a time.
    #[error(
        "Cannot start another job while one is in progress. Please wait for it to complete before starting another one."
    )]
    JobRunning,
    /// A blob of an import job that no URI names.
    #[error(
        "Azure Storage Blob URI '{uri}' failed validation. Invalid URI: {reason} Please check: \
         https://docs.microsoft.com/en-us/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata"
    )]
    InvalidBlobUri {
        /// What came.
        uri: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A job cannot be made, cancelled or deleted that way: why.
    #[error("{0}")]
    InvalidJobRequest(String),
    /// A documented limit of the service: what there would be too much of.
    #[error("{what} would exceed the limit of {limit}.")]
    LimitExceeded {
        /// What is limited.
        what: &'static str,
        /// How much is allowed.
        limit: usize,
    },
}

/// A part of a graph that was refused when the graph was loaded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{part}: {error}{}", in_parentheses(error.details()))]
pub struct RefusedPart {
    /// Which twin or relationship.
    pub part: String,
    /// What a PUT of it would have answered.
    pub error: Error,
}

fn in_parentheses(details: &[String]) -> String {
    if details.is_empty() { String::new() } else { format!(" ({})", details.join(" ")) }
}

/// What is wrong with a patch document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct PatchFault(pub(crate) json_patch::Fault);

/// What is wrong with a query, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct QueryFault(pub(crate) SyntaxError);

/// What is wrong with the filter of an event route, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct FilterFault(pub(crate) event_route::FilterFault);

impl Error {
    /// The HTTP status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::TwinNotFound(_)
            | Self::RelationshipNotFound { .. }
            | Self::TargetNotFound
            | Self::ComponentNotFound { .. }
            | Self::ModelNotFound(_)
            | Self::RouteNotFound
            | Self::JobNotFound(_)
            | Self::DeleteJobNotFound(_) => 404,
            Self::ModelsExist(_) | Self::ModelReferenced(_) | Self::JobExists(_) => 409,
            Self::JobRunning => 429,
            Self::ETagMismatch(_) | Self::TwinExists(_) | Self::RelationshipExists(_) => 412,
            _ => 400,
        }
    }

    /// The error code that clients decide by.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TwinNotFound(_) => "DigitalTwinNotFound",
            Self::RelationshipNotFound { .. } => "RelationshipNotFound",
            Self::TargetNotFound => "TargetDigitalTwinNotFound",
            Self::ComponentNotFound { .. } => "ComponentNotFound",
            Self::ModelNotFound(_) => "ModelNotFound",
            Self::ETagMismatch(_) | Self::TwinExists(_) | Self::RelationshipExists(_) => "PreconditionFailed",
            Self::InvalidTwin(_) | Self::InvalidRelationship(_) | Self::InvalidJobRequest(_) => "ValidationFailed",
            Self::MisalignedRelationship => "InvalidRelationship",
            Self::RelationshipToItself => "OperationNotAllowed",
            Self::RelationshipsNotDeleted(_) => "RelationshipsNotDeleted",
            Self::InvalidPatch(_) | Self::MalformedPatch { .. } => "JsonPatchInvalid",
            Self::ModelDecommissioned(_) => "ModelDecommissioned",
            Self::InvalidModels(_) => "DTDLParserError",
            Self::ModelsExist(_) => "ModelIdAlreadyExists",
            Self::ModelReferenced(_) => "ModelReferencesNotDeleted",
            Self::InvalidModelId(_)
            | Self::NoModels
            | Self::InvalidPayload
            | Self::InvalidRelationshipBody
            | Self::InvalidBlobUri { .. }
            | Self::InvalidArgument(_) => "InvalidArgument",
            Self::RouteNotFound => "EventRouteNotFound",
            Self::InvalidRouteId(_) => "EventRouteIdInvalid",
            Self::InvalidEndpoint => "EventRouteEndpointInvalid",
            Self::InvalidFilter(_) => "EventRouteFilterInvalid",
            Self::JobNotFound(_) => "JobNotFound",
            Self::DeleteJobNotFound(_) => "DeleteJobNotFound",
            Self::JobExists(_) => "JobIdAlreadyExists",
            Self::JobRunning => "TooManyRequests",
            Self::InvalidQuery(_) => "SqlQueryError",
            Self::QueryTimeout => "TimeoutError",
            Self::InvalidToken | Self::NoBody => "BadRequest",
            Self::LimitExceeded { .. } => "LimitExceeded",
        }
    }

    /// One text for each single fault, where there can be several.
    pub fn details(&self) -> &[String] {
        match self {
            Self::InvalidTwin(faults) | Self::InvalidRelationship(faults) => faults,
            _ => &[],
        }
    }
}

impl From<json_patch::Fault> for Error {
    fn from(fault: json_patch::Fault) -> Self {
        Self::InvalidPatch(PatchFault(fault))
    }
}

impl From<json_patch::NotAPatch> for Error {
    fn from(fault: json_patch::NotAPatch) -> Self {
        match fault {
            json_patch::NotAPatch::Malformed { key, message } => Self::MalformedPatch { key, message },
            json_patch::NotAPatch::Fault(fault) => fault.into(),
        }
    }
}

impl From<query::Failure> for Error {
    fn from(failure: query::Failure) -> Self {
        match failure {
            query::Failure::Syntax(error) => Self::InvalidQuery(QueryFault(error)),
            query::Failure::TooMuch(_) => Self::QueryTimeout,
        }
    }
}

impl From<InvalidToken> for Error {
    fn from(_: InvalidToken) -> Self {
        Self::InvalidToken
    }
}

impl From<InvalidId> for Error {
    fn from(error: InvalidId) -> Self {
        Self::InvalidArgument(format!("The id provided is invalid: {error}."))
    }
}

fn listed(ids: &[ModelId]) -> String {
    ids.iter().map(ModelId::as_str).collect::<Vec<_>>().join(", ")
}
