//! An Azure Digital Twins instance in memory, for tests: it answers as the service does, keeps count
//! of the calls, and can be told to answer otherwise.

mod chance;
mod twins;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::http::headers::{Headers, IF_MATCH};
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Method, Request, StatusCode, Transport};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use self::chance::Chance;
pub(crate) use self::twins::Twins;
use crate::digital_twins::Client;

/// What happens to a call instead of, or before, its usual answer.
pub(crate) enum Step {
    /// The service refuses with this status and code.
    Refuse(u16, &'static str),
    /// The service never answers.
    Hang,
    /// The connection breaks before the call reaches the service.
    Break,
    /// Somebody else is quicker.
    First(Box<dyn FnOnce(&mut Twins) + Send>),
    /// The call succeeds, but its answer is lost on the way.
    LoseAnswer,
}

impl Step {
    pub(crate) fn first(act: impl FnOnce(&mut Twins) + Send + 'static) -> Self {
        Self::First(Box::new(act))
    }
}

#[derive(Default)]
struct Inner {
    models: Vec<Value>,
    twins: Twins,
    relationships: BTreeMap<String, Value>,
    /// What queries return while the index lags behind.
    lagging: Option<Vec<Value>>,
    refuses_source_times: Vec<&'static str>,
    refused_values: Vec<Value>,
    latency: Duration,
    calls: Vec<String>,
    script: Vec<(String, Step)>,
    chance: Option<Chance>,
    /// What calls are refused with until further notice, by how their names begin.
    outages: Vec<(String, u16, &'static str)>,
}

/// The instance.
#[derive(Clone)]
pub(crate) struct Service(Arc<Mutex<Inner>>);

impl std::fmt::Debug for Service {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Service")
    }
}

impl Service {
    /// An instance with these models and no twin.
    pub(crate) fn with_models(models: impl IntoIterator<Item = Value>) -> Self {
        let models = models.into_iter().collect();
        Self(Arc::new(Mutex::new(Inner { models, ..Inner::default() })))
    }

    /// A client of the instance.
    pub(crate) fn client(&self) -> Client {
        let endpoint = "https://contoso.api.weu.digitaltwins.azure.net".parse().unwrap();
        Client::new(endpoint, Arc::new(Anybody), Transport::new(Arc::new(self.clone())), 100)
    }

    /// What the next call named `call` meets. Calls are named `GET <twin>`, `PUT <twin>`, `PATCH <twin>`,
    /// `DELETE <twin>`, `QUERY` and `MODELS`; of relationships `GET <twin>/<relationship>`,
    /// `PUT <twin>/<relationship>`, `DELETE <twin>/<relationship>`, `OUT <twin>` and `IN <twin>`.
    pub(crate) fn script(&self, call: &str, step: Step) {
        self.inner().script.push((call.to_owned(), step));
    }

    /// From now on `percent` of all calls that are not scripted fail, or meet somebody who was quicker, and calls take
    /// some time, all by chance.
    pub(crate) fn fail_by_chance(&self, seed: u64, percent: u64) {
        self.inner().chance = Some(Chance::new(seed, percent));
    }

    /// Every call whose name begins with `calls` is refused, until [`recover`](Self::recover).
    pub(crate) fn fail(&self, calls: &str, status: u16, code: &'static str) {
        self.inner().outages.push((calls.to_owned(), status, code));
    }

    /// The service works again.
    pub(crate) fn recover(&self) {
        self.inner().outages.clear();
        self.inner().chance = None;
    }

    /// The instance gets another model.
    pub(crate) fn add_model(&self, model: Value) {
        self.inner().models.push(model);
    }

    /// Patches with this value are refused.
    pub(crate) fn refuse_value(&self, value: Value) {
        self.inner().refused_values.push(value);
    }

    /// Relates two twins: `source` `contains` `target`.
    pub(crate) fn relate(&self, source: &str, id: &str, target: &str) {
        self.relate_with(source, id, target, json!({}));
    }

    /// Relates two twins by a relationship with properties.
    pub(crate) fn relate_with(&self, source: &str, id: &str, target: &str, properties: Value) {
        let mut relationship = json!({ "$relationshipName": "contains", "$targetId": target });
        relationship.as_object_mut().unwrap().extend(properties.as_object().unwrap().clone());
        self.inner().relationships.insert(format!("{source}/{id}"), relationship);
    }

    /// Every call takes so long.
    pub(crate) fn set_latency(&self, latency: Duration) {
        self.inner().latency = latency;
    }

    /// Queries go on returning what is there now.
    pub(crate) fn freeze_queries(&self) {
        let mut inner = self.inner();
        inner.lagging = Some(inner.twins.by_id.values().cloned().collect());
    }

    /// From now on, calls of this verb are refused if they say a source time.
    pub(crate) fn refuse_source_times(&self, verb: &'static str) {
        self.inner().refuses_source_times.push(verb);
    }

    pub(crate) fn with_twins<T>(&self, act: impl FnOnce(&mut Twins) -> T) -> T {
        act(&mut self.inner().twins)
    }

    pub(crate) fn relationships(&self) -> Vec<String> {
        self.inner().relationships.keys().cloned().collect()
    }

    /// A relationship, `<source>/<id>`, with its ids.
    pub(crate) fn relationship(&self, key: &str) -> Option<Value> {
        self.inner().relationship(key)
    }

    /// The calls since the last time of asking.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.inner().calls)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }
}

/// A status, the ETag of what there is now, and a body.
type Answer = (u16, Option<String>, Value);

impl Inner {
    fn answer(&mut self, call: &str, request: &Request) -> Answer {
        let body: Value = match request.body() {
            Body::Bytes(bytes) if !bytes.is_empty() => serde_json::from_slice(bytes).unwrap(),
            _ => Value::Null,
        };
        let (verb, target) = call.split_once(' ').unwrap_or((call, ""));
        if self.refuses_source_times.contains(&verb) && body.to_string().contains("sourceTime") {
            return refusal(400, "JsonPatchInvalid");
        }
        match verb {
            "QUERY" => self.answer_query(body["query"].as_str().unwrap()),
            "MODELS" => {
                let asked = request.url().query_pairs().find(|(name, _)| name == "dependenciesFor").unwrap().1;
                self.answer_model(&asked)
            }
            _ if target.contains('/') => self.answer_relationship(verb, target, body),
            _ => self.answer_twin(verb, target, body, request.headers().get_optional_str(&IF_MATCH)),
        }
    }

    fn answer_query(&self, query: &str) -> Answer {
        let lagging = Twins::of(self.lagging.iter().flatten().map(by_id));
        let source = if self.lagging.is_some() { &lagging } else { &self.twins };
        (200, None, json!({ "value": source.query(query), "continuationToken": null }))
    }

    /// The model that was asked for, with all others.
    fn answer_model(&self, asked: &str) -> Answer {
        if !self.models.iter().any(|model| model["@id"] == *asked) {
            return refusal(404, "ModelNotFound");
        }
        let rows: Vec<Value> = self.models.iter().map(|model| json!({ "model": model })).collect();
        (200, None, json!({ "value": rows, "nextLink": null }))
    }

    fn answer_relationship(&mut self, verb: &str, target: &str, body: Value) -> Answer {
        match verb {
            "GET" => match self.relationship(target) {
                Some(relationship) => (200, None, relationship),
                None => refusal(404, "RelationshipNotFound"),
            },
            "PUT" => {
                let source = target.split('/').next().unwrap();
                if self.twins.get(source).is_none() {
                    return refusal(404, "DigitalTwinNotFound");
                }
                if self.twins.get(body["$targetId"].as_str().unwrap()).is_none() {
                    return refusal(404, "TargetDigitalTwinNotFound");
                }
                if self.relationships.contains_key(target) {
                    return refusal(412, "PreconditionFailed");
                }
                self.relationships.insert(target.to_owned(), body.clone());
                (200, None, body)
            }
            "DELETE" => match self.relationships.remove(target) {
                Some(_) => (204, None, Value::Null),
                None => refusal(404, "RelationshipNotFound"),
            },
            other => panic!("unexpected call {other} of a relationship"),
        }
    }

    fn answer_twin(&mut self, verb: &str, target: &str, body: Value, if_match: Option<&str>) -> Answer {
        match (verb, self.twins.get(target).cloned()) {
            ("PUT", Some(_)) => refusal(412, "PreconditionFailed"),
            ("PUT", None) => written(self.twins.put(target, body)),
            (_, None) => refusal(404, "DigitalTwinNotFound"),
            ("OUT" | "IN", Some(_)) => {
                let rows: Vec<Value> = self.related(verb, target).collect();
                (200, None, json!({ "value": rows, "nextLink": null }))
            }
            ("PATCH" | "DELETE", Some(twin)) if if_match.is_some_and(|etag| twin["$etag"] != etag) => {
                refusal(412, "PreconditionFailed")
            }
            ("DELETE", Some(_)) if ["OUT", "IN"].iter().any(|way| self.related(way, target).next().is_some()) => {
                refusal(400, "RelationshipsNotDeleted")
            }
            ("DELETE", Some(_)) => {
                self.twins.remove(target);
                (204, None, Value::Null)
            }
            ("PATCH", Some(_)) if self.is_refused(&body) => refusal(400, "ValidationFailed"),
            ("PATCH", Some(_)) => {
                let (_, etag, _) = written(self.twins.apply(target, body.as_array().unwrap()));
                (204, etag, Value::Null)
            }
            (_, Some(twin)) => written(twin),
        }
    }

    /// Whether a patch has a value that the instance was told to refuse.
    fn is_refused(&self, patch: &Value) -> bool {
        patch.as_array().unwrap().iter().any(|operation| self.refused_values.contains(&operation["value"]))
    }

    /// The relationships that leave (`OUT`) or reach (`IN`) a twin.
    fn related(&self, way: &str, twin: &str) -> impl Iterator<Item = Value> {
        let end = if way == "OUT" { "$sourceId" } else { "$targetId" };
        self.relationships.keys().filter_map(|key| self.relationship(key)).filter(move |row| row[end] == twin)
    }

    fn relationship(&self, key: &str) -> Option<Value> {
        let mut relationship = self.relationships.get(key)?.clone();
        let (source, id) = key.split_once('/').unwrap();
        relationship["$relationshipId"] = id.into();
        relationship["$sourceId"] = source.into();
        Some(relationship)
    }
}

fn by_id(twin: &Value) -> (String, Value) {
    (twin["$dtId"].as_str().unwrap().to_owned(), twin.clone())
}

fn refusal(status: u16, code: &str) -> Answer {
    (status, None, json!({ "error": { "code": code, "message": "Scripted." } }))
}

fn written(twin: Value) -> Answer {
    (200, twin["$etag"].as_str().map(str::to_owned), twin)
}

fn name(request: &Request) -> String {
    let segments = request.url().path_segments().unwrap();
    let path: Vec<_> = segments.map(|segment| percent_decode_str(segment).decode_utf8().unwrap()).collect();
    let path: Vec<&str> = path.iter().map(|segment| &**segment).collect();
    match (request.method(), &path[..]) {
        (_, ["query"]) => "QUERY".to_owned(),
        (_, ["models"]) => "MODELS".to_owned(),
        (Method::Get, [_, id]) => format!("GET {id}"),
        (Method::Put, [_, id]) => format!("PUT {id}"),
        (Method::Patch, [_, id]) => format!("PATCH {id}"),
        (Method::Delete, [_, id]) => format!("DELETE {id}"),
        (Method::Get, [_, id, "relationships"]) => format!("OUT {id}"),
        (Method::Get, [_, id, "incomingrelationships"]) => format!("IN {id}"),
        (Method::Get, [_, id, "relationships", relationship]) => format!("GET {id}/{relationship}"),
        (Method::Delete, [_, id, "relationships", relationship]) => format!("DELETE {id}/{relationship}"),
        (Method::Put, [_, id, "relationships", relationship]) => format!("PUT {id}/{relationship}"),
        other => panic!("unexpected call {other:?}"),
    }
}

#[async_trait]
impl HttpClient for Service {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let call = name(request);
        let (latency, step) = {
            let mut inner = self.inner();
            inner.calls.push(call.clone());
            let at = inner.script.iter().position(|(name, _)| *name == call);
            let scripted = at.map(|at| inner.script.remove(at).1);
            let by_chance = inner.chance.as_mut().map(|chance| (chance.latency(), chance.step(&call)));
            let (latency, step) = by_chance.unwrap_or_default();
            (inner.latency + latency, scripted.or(step))
        };
        tokio::time::sleep(latency).await;
        let mut is_lost = false;
        match step {
            Some(Step::Hang) => std::future::pending().await,
            Some(Step::Refuse(status, code)) => return Ok(response(refusal(status, code))),
            Some(Step::Break) => return Err(broken()),
            Some(Step::First(act)) => act(&mut self.inner().twins),
            Some(Step::LoseAnswer) => is_lost = true,
            None => {}
        }
        let outage = self.inner().outages.iter().find(|(calls, ..)| call.starts_with(calls)).cloned();
        if let Some((_, status, code)) = outage {
            return Ok(response(refusal(status, code)));
        }
        let answer = self.inner().answer(&call, request);
        if is_lost {
            return Err(broken());
        }
        Ok(response(answer))
    }
}

fn broken() -> azure_core::Error {
    azure_core::Error::with_message(azure_core::error::ErrorKind::Io, "connection reset")
}

fn response((status, etag, body): Answer) -> AsyncRawResponse {
    let mut headers = Headers::new();
    if let Some(etag) = etag {
        headers.insert("etag", etag);
    }
    AsyncRawResponse::from_bytes(StatusCode::from(status), headers, body.to_string())
}

/// A credential whose tokens the instance does not look at.
#[derive(Debug)]
struct Anybody;

#[async_trait]
impl TokenCredential for Anybody {
    async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        let tomorrow = azure_core::time::OffsetDateTime::now_utc() + azure_core::time::Duration::days(1);
        Ok(AccessToken::new("token", tomorrow))
    }
}
