//! An instance and a client of it, without a network between them.

use std::sync::Arc;

use axum::{
    body::{self, Body},
    http::{HeaderMap, Request, StatusCode, header},
};
use jiff::{SignedDuration, Timestamp};
use local_azure::{
    clock::Clock,
    digital_twins::{self, DigitalTwins, Options, Scheme, State},
    gate::{Caller, Gate, Rules},
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

pub(crate) const TOKEN: &str = "the token";
/// What event routes may lead to; what the recordings call it.
pub(crate) const ENDPOINT: &str = "someEventHubEndpoint";

/// What an instance begins with.
pub(crate) struct Instance {
    pub(crate) service: Arc<DigitalTwins>,
    pub(crate) clock: Clock,
    pub(crate) host: String,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Instance {
    pub(crate) fn new() -> Self {
        Self::with(SignedDuration::ZERO, Rules::default(), State::default())
    }

    /// An instance with models and a graph in it.
    pub(crate) fn of(models: &[Value], graph: &Value) -> Self {
        let instance = Self::new();
        instance.service.upload_models(models).unwrap();
        instance.service.load_graph(graph).unwrap();
        instance
    }

    pub(crate) fn with(query_lag: SignedDuration, rules: Rules, state: State) -> Self {
        let clock = Clock::manual("2023-06-01T20:31:10.5580386Z".parse::<Timestamp>().unwrap());
        let service = DigitalTwins::new(Options {
            clock: clock.clone(),
            gate: Arc::new(Gate::new(rules)),
            accepts_token: Arc::new(|token| (token == TOKEN).then_some(Caller::Other)),
            query_lag,
            endpoints: [ENDPOINT.to_owned()].into(),
            store: state.into(),
            scheme: Scheme::Https,
        });
        Self { service, clock, host: "adt.example".to_owned() }
    }

    /// Sends a request as it is.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = digital_twins::router(Arc::clone(&self.service)).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, bytes }
    }

    /// Sends a request with a good token; the newest version unless the path says another.
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
        let path = if path.contains("api-version=") {
            path.to_owned()
        } else {
            let separator = if path.contains('?') { '&' } else { '?' };
            format!("{path}{separator}api-version=2023-10-31")
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host)
            .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(request.body(body).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], None).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.ask("PUT", path, &[], Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, operations: &Value) -> Answer {
        self.ask("PATCH", path, &[], Some(operations)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, &[], None).await
    }

    pub(crate) async fn query(&self, query: &str) -> Answer {
        self.ask("POST", "/query", &[], Some(&json!({ "query": query }))).await
    }

    /// The rows of a query that fits one page.
    pub(crate) async fn rows(&self, query: &str) -> Vec<Value> {
        let answer = self.query(query).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        assert_eq!(answer.json()["continuationToken"], Value::Null, "{query}");
        answer.json()["value"].as_array().unwrap().clone()
    }

    /// The `$dtId`s that a condition selects.
    pub(crate) async fn ids(&self, condition: &str) -> Vec<String> {
        let rows = self.rows(&format!("SELECT T FROM DIGITALTWINS T WHERE {condition}")).await;
        rows.iter().map(|row| row["T"]["$dtId"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn pass(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn etag(&self) -> &str {
        self.header("etag").unwrap()
    }

    /// Status, code and message of an error.
    pub(crate) fn error(&self) -> (u16, String, String) {
        let error = self.json()["error"].clone();
        let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        (self.status.as_u16(), text("code"), text("message"))
    }

    /// The texts of an error's details.
    pub(crate) fn details(&self) -> Vec<String> {
        let details = self.json()["error"]["details"].clone();
        details.as_array().unwrap().iter().map(|detail| detail["message"].as_str().unwrap().to_owned()).collect()
    }
}

/// A DTDL interface.
pub(crate) fn model(id: &str, contents: Value) -> Value {
    json!({ "@id": id, "@type": "Interface", "@context": "dtmi:dtdl:context;2", "contents": contents })
}

pub(crate) fn property(name: &str, schema: impl Into<Value>) -> Value {
    json!({ "@type": "Property", "name": name, "schema": schema.into() })
}

pub(crate) fn component(name: &str, schema: &str) -> Value {
    json!({ "@type": "Component", "name": name, "schema": schema })
}

pub(crate) fn relationship(name: &str) -> Value {
    json!({ "@type": "Relationship", "name": name, "properties": [property("isAccessRestricted", "boolean")] })
}

/// A twin as it is sent.
pub(crate) fn twin(model: &str, properties: Value) -> Value {
    let mut twin = properties;
    twin["$metadata"] = json!({ "$model": model });
    twin
}
