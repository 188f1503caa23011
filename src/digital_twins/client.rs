//! The client: one method an operation of the data plane.

mod catalogue;

use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use azure_core::http::headers::{self, HeaderName};
use azure_core::http::{Method, Request, Transport, Url};
use dtdl::{ModelId, ModelSet};
use serde_json::{Value, json};

use super::models::Models;
use super::pace::{Class, Pace};
use super::pages::{self, Page};
use super::wire::{Answer, Wire};
use super::{
    Condition, Creation, ETag, Error, IncomingRelationship, Malformed, NewTwin, Patch, Query, Relationship,
    RelationshipId, Twin, TwinId,
};

pub use catalogue::StoredModel;

/// The version of the data plane that is spoken.
const API_VERSION: &str = "2023-10-31";
const JSON: &str = "application/json";
const IF_NONE_MATCH: HeaderName = HeaderName::from_static("if-none-match");
/// Rows of a query that are read: lookups want a handful.
const MAX_QUERY_ROWS: usize = 10_000;
/// The most relationships that a twin can have in one direction (Azure Digital Twins: "Service limits").
const MAX_RELATIONSHIPS: usize = 50_000;
/// The most models that an instance holds.
const MAX_MODELS: usize = 10_000;

/// A client of one Azure Digital Twins instance. Cheap to clone; clones share connections, tokens, pace and models.
///
/// Every operation takes at most 30 s. It is tried up to four times on 408, 429, 5xx and broken connections, so a write
/// can reach the service twice: each is such that the second time changes nothing, but its condition may fail on
/// account of the first.
#[derive(Debug, Clone)]
pub struct Client {
    endpoint: Arc<Url>,
    wire: Wire,
    models: Models,
}

impl Client {
    /// A client of the instance at `endpoint` (`https://<instance>.api.<region>.digitaltwins.azure.net`), which it
    /// reaches over `transport` with tokens of `credential`, at most at `pace_percent` of the documented limits.
    /// Connects to nothing yet.
    #[must_use]
    pub fn new(endpoint: Url, credential: Arc<dyn TokenCredential>, transport: Transport, pace_percent: u16) -> Self {
        let pace = Pace::new(f64::from(pace_percent) / 100.0);
        Self { endpoint: Arc::new(endpoint), wire: Wire::new(credential, transport, pace), models: Models::new() }
    }

    /// Reads a twin; `None` when there is none with that id.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(&self, id: &TwinId) -> Result<Option<Twin>, Error> {
        const OPERATION: &str = "get twin";
        let request = Request::new(self.twin_url(id), Method::Get);
        match self.wire.send(OPERATION, Class::Read, request).await {
            Ok(answer) => twin(OPERATION, &answer).map(Some),
            Err(Error::NotFound { code, .. }) if code == "DigitalTwinNotFound" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a twin, unless one with that id exists.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create(&self, id: &TwinId, new: &NewTwin) -> Result<Creation, Error> {
        const OPERATION: &str = "create twin";
        let mut request = with_json(self.twin_url(id), Method::Put, JSON, &new.to_json());
        request.insert_header(IF_NONE_MATCH, "*");
        match self.wire.send(OPERATION, Class::CreateOrDelete, request).await {
            Ok(answer) => twin(OPERATION, &answer).map(Creation::Created),
            Err(Error::PreconditionFailed { .. }) => Ok(Creation::Exists),
            Err(error) => Err(error),
        }
    }

    /// Changes a twin and returns its new version.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::PreconditionFailed`] and others.
    pub async fn patch(&self, id: &TwinId, patch: &Patch, condition: Condition) -> Result<ETag, Error> {
        const OPERATION: &str = "patch twin";
        const CONTENT_TYPE: &str = "application/json-patch+json";
        let mut request = with_json(self.twin_url(id), Method::Patch, CONTENT_TYPE, &patch.to_json());
        if_match(&mut request, condition);
        let answer = self.wire.send(OPERATION, Class::Patch, request).await?;
        answer
            .headers
            .get_optional_str(&headers::ETAG)
            .map(ETag::new)
            .ok_or_else(|| Error::Answer { operation: OPERATION, reason: "it has no ETag header".to_owned() })
    }

    /// Deletes a twin. The service refuses (`RelationshipsNotDeleted`) while it has relationships in or out.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::PreconditionFailed`] and others.
    pub async fn delete(&self, id: &TwinId, condition: Condition) -> Result<(), Error> {
        let mut request = Request::new(self.twin_url(id), Method::Delete);
        if_match(&mut request, condition);
        self.wire.send("delete twin", Class::CreateOrDelete, request).await.map(drop)
    }

    /// The relationships that leave a twin.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the twin does not exist, and others.
    pub async fn relationships(&self, id: &TwinId) -> Result<Vec<Relationship>, Error> {
        const OPERATION: &str = "list relationships";
        let url = self.below_twin(id, &["relationships"]);
        let rows = self.list(OPERATION, Class::Read, url, MAX_RELATIONSHIPS).await?;
        each(OPERATION, rows, Relationship::from_json)
    }

    /// The relationships that lead to a twin.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the twin does not exist, and others.
    pub async fn incoming_relationships(&self, id: &TwinId) -> Result<Vec<IncomingRelationship>, Error> {
        const OPERATION: &str = "list incoming relationships";
        let url = self.below_twin(id, &["incomingrelationships"]);
        let rows = self.list(OPERATION, Class::Read, url, MAX_RELATIONSHIPS).await?;
        each(OPERATION, rows, IncomingRelationship::from_json)
    }

    /// Reads a relationship, its own properties included; `None` when it, or its source, does not exist.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn relationship(&self, source: &TwinId, id: &RelationshipId) -> Result<Option<Relationship>, Error> {
        const OPERATION: &str = "get relationship";
        let request = Request::new(self.relationship_url(source, id), Method::Get);
        match self.wire.send(OPERATION, Class::Read, request).await {
            Ok(answer) => Relationship::from_json(parse(OPERATION, &answer)?)
                .map(Some)
                .map_err(|error| Error::malformed(OPERATION, &error)),
            Err(Error::NotFound { code, .. }) if ["DigitalTwinNotFound", "RelationshipNotFound"].contains(&&*code) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a relationship, unless one with that id leaves the source already.
    ///
    /// # Errors
    /// [`Error::NotFound`] when one of the twins does not exist (code `TargetDigitalTwinNotFound`: the target), and
    /// others.
    pub async fn put_relationship(&self, relationship: &Relationship) -> Result<Creation<()>, Error> {
        const OPERATION: &str = "create relationship";
        let url = self.relationship_url(&relationship.source, &relationship.id);
        let mut request = with_json(url, Method::Put, JSON, &relationship.to_json());
        request.insert_header(IF_NONE_MATCH, "*");
        match self.wire.send(OPERATION, Class::CreateOrDelete, request).await {
            Ok(_) => Ok(Creation::Created(())),
            Err(Error::PreconditionFailed { .. }) => Ok(Creation::Exists),
            Err(error) => Err(error),
        }
    }

    /// Deletes a relationship.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it, or its source, does not exist, and others.
    pub async fn delete_relationship(&self, source: &TwinId, id: &RelationshipId) -> Result<(), Error> {
        let request = Request::new(self.relationship_url(source, id), Method::Delete);
        self.wire.send("delete relationship", Class::CreateOrDelete, request).await.map(drop)
    }

    /// The twins that a query finds. What was written up to 10 s ago need not be in it, and what was deleted can be
    /// (Azure Digital Twins: "Query language").
    ///
    /// # Errors
    /// [`Error::TooLarge`] when there are more than 10,000, and others.
    pub async fn query(&self, query: &Query) -> Result<Vec<Twin>, Error> {
        const OPERATION: &str = "query twins";
        let url = self.url(&["query"]);
        let mut pages = pages::Pages::new(OPERATION, MAX_QUERY_ROWS);
        let mut body = json!({ "query": query.text() });
        loop {
            let request = with_json(url.clone(), Method::Post, JSON, &body);
            let answer = self.wire.send(OPERATION, Class::Query, request).await?;
            let page: Page = parse(OPERATION, &answer)?;
            match pages.take(page.value, page.continuation_token)? {
                Some(token) => body = json!({ "query": query.text(), "continuationToken": token }),
                None => return each(OPERATION, pages.into_rows(), Twin::from_json),
            }
        }
    }

    /// A model with everything that it extends and contains, from memory where it was fetched within the last hour.
    ///
    /// # Errors
    /// [`Error::NotFound`] (`ModelNotFound`) when there is none, [`Error::UnreadableModel`], and others.
    pub async fn model(&self, id: &ModelId) -> Result<Arc<ModelSet>, Error> {
        self.models.get(id, self.fetch_model(id)).await
    }

    /// The model of a twin, as [`model`](Self::model). Twins outlive their model: of one that was deleted, nothing is
    /// known, and the set is empty.
    ///
    /// # Errors
    /// [`Error::UnreadableModel`], and others.
    pub async fn model_of(&self, twin: &Twin) -> Result<Arc<ModelSet>, Error> {
        match self.model(twin.model()).await {
            Err(Error::NotFound { .. }) => Ok(Arc::default()),
            models => models,
        }
    }

    async fn fetch_model(&self, id: &ModelId) -> Result<ModelSet, Error> {
        const OPERATION: &str = "get model";
        let unreadable = |reason: String| Error::UnreadableModel { model: id.clone(), reason };
        let mut url = self.url(&["models"]);
        url.query_pairs_mut().append_pair("dependenciesFor", id.as_str()).append_pair("includeModelDefinition", "true");
        let rows = self.list(OPERATION, Class::Model, url, MAX_MODELS).await?;
        let interfaces = rows
            .iter()
            .map(|row| {
                let definition = row.get("model").ok_or_else(|| Error::Answer {
                    operation: OPERATION,
                    reason: "a model lacks its definition".to_owned(),
                })?;
                dtdl::Interface::parse(definition).map_err(|error| unreadable(error.to_string()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let models = ModelSet::default().with(interfaces).map_err(|error| unreadable(error.to_string()))?;
        if models.get(id).is_none() {
            return Err(Error::NotFound {
                code: "ModelNotFound".to_owned(),
                message: format!("the list of {id} and its dependencies does not have it"),
            });
        }
        Ok(models)
    }

    /// All rows of a list, page after page.
    async fn list(
        &self,
        operation: &'static str,
        class: Class,
        first: Url,
        max_rows: usize,
    ) -> Result<Vec<Value>, Error> {
        let mut pages = pages::Pages::new(operation, max_rows);
        let mut url = first;
        loop {
            let answer = self.wire.send(operation, class, Request::new(url, Method::Get)).await?;
            let page: Page = parse(operation, &answer)?;
            match pages.take(page.value, page.next_link)? {
                Some(link) => url = pages::next_url(operation, &self.endpoint, &link)?,
                None => return Ok(pages.into_rows()),
            }
        }
    }

    fn twin_url(&self, id: &TwinId) -> Url {
        self.below_twin(id, &[])
    }

    fn relationship_url(&self, source: &TwinId, id: &RelationshipId) -> Url {
        self.below_twin(source, &["relationships", id.as_str()])
    }

    fn below_twin(&self, id: &TwinId, below: &[&str]) -> Url {
        self.url(&[&["digitaltwins", id.as_str()], below].concat())
    }

    /// The URL of `segments`, each escaped, with the version that is spoken.
    fn url(&self, segments: &[&str]) -> Url {
        let mut url = Url::clone(&self.endpoint);
        // Fails for URLs that cannot have a path (`mailto:`), which no endpoint is.
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().extend(segments);
        }
        url.query_pairs_mut().append_pair("api-version", API_VERSION);
        url
    }
}

fn with_json(url: Url, method: Method, content_type: &'static str, body: &Value) -> Request {
    let mut request = Request::new(url, method);
    request.insert_header(headers::CONTENT_TYPE, content_type);
    request.set_body(body.to_string().into_bytes());
    request
}

fn if_match(request: &mut Request, condition: Condition) {
    if let Condition::IfMatch(etag) = condition {
        request.insert_header(headers::IF_MATCH, etag.as_str().to_owned());
    }
}

fn parse<T: serde::de::DeserializeOwned>(operation: &'static str, answer: &Answer) -> Result<T, Error> {
    serde_json::from_slice(&answer.body).map_err(|error| Error::Answer { operation, reason: error.to_string() })
}

fn twin(operation: &'static str, answer: &Answer) -> Result<Twin, Error> {
    Twin::from_json(parse(operation, answer)?).map_err(|error| Error::malformed(operation, &error))
}

fn each<T>(
    operation: &'static str,
    rows: Vec<Value>,
    read: impl Fn(Value) -> Result<T, Malformed>,
) -> Result<Vec<T>, Error> {
    rows.into_iter().map(|row| read(row).map_err(|error| Error::malformed(operation, &error))).collect()
}
