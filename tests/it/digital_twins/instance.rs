//! The client against an instance: that of local-azure, which keeps the service's rules.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, Body as AzureBody, HttpClient, Request, StatusCode, Transport};
use dtdl::ModelId;
use function_app::digital_twins::{
    Client, Condition, Creation, Error, Filter, NewTwin, Patch, PropertyName, Query, Relationship, RelationshipId,
};
use jiff::SignedDuration;
use local_azure::clock::Clock;
use local_azure::digital_twins::{DigitalTwins, Options, Scheme, State, router};
use local_azure::gate::{Caller, Gate, Rules};
use serde_json::{Map, json};
use tower::ServiceExt;

use super::script::{Script, id};

const REGISTRATION: PropertyName = PropertyName::literal("HubRegistrationId");

/// Hands requests over to the instance without a network.
#[derive(Debug)]
struct Direct(Router);

#[async_trait]
impl HttpClient for Direct {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let AzureBody::Bytes(body) = request.body() else { panic!("a body in memory") };
        let mut forwarded = axum::http::Request::builder()
            .method(request.method().as_ref())
            .uri(request.path_and_query())
            .header("host", request.url().host_str().unwrap());
        for (name, value) in request.headers().iter() {
            forwarded = forwarded.header(name.as_str(), value.as_str());
        }
        let forwarded = forwarded.body(Body::from(body.clone())).unwrap();
        let (parts, body) = self.0.clone().oneshot(forwarded).await.unwrap().into_parts();
        let mut headers = Headers::new();
        for (name, value) in &parts.headers {
            headers.insert(name.as_str().to_owned(), value.to_str().unwrap().to_owned());
        }
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Ok(AsyncRawResponse::from_bytes(StatusCode::from(parts.status.as_u16()), headers, body))
    }
}

/// An instance with the models and the sample graph of the repository, and a client of it.
fn instance(rules: Rules) -> Client {
    let twins = DigitalTwins::new(Options {
        clock: Clock::system(),
        gate: Arc::new(Gate::new(rules)),
        accepts_token: Arc::new(|token| (token == "the-token").then_some(Caller::Other)),
        query_lag: SignedDuration::ZERO,
        endpoints: BTreeSet::new(),
        store: State::default().into(),
        scheme: Scheme::Https,
    });
    let json = |text: &str| serde_json::from_str(text).unwrap();
    let models = [
        json(include_str!("../../../models/SpaceModel.json")),
        json(include_str!("../../../models/ThermostatModel.json")),
    ];
    twins.upload_models(&models).unwrap();
    twins.load_graph(&json(include_str!("../../../models/sample-graph.json"))).unwrap();
    let transport = Transport::new(Arc::new(Direct(router(twins))));
    Client::new("https://contoso.api.weu.digitaltwins.azure.net".parse().unwrap(), Script::token(), transport, 90)
}

fn thermostat() -> ModelId {
    ModelId::parse("dtmi:contosocom:DigitalTwins:Thermostat;2").unwrap()
}

#[tokio::test]
async fn a_twin_lives_and_dies() {
    let client = instance(Rules::default());
    let (pump, time) = (id("pump/1"), "2024-05-01T12:00:00.123Z".parse().unwrap());
    assert_eq!(client.get(&pump).await.unwrap(), None);
    let new = NewTwin::of(&thermostat())
        .property("HubRegistrationId", json!("pump-1"))
        .source_time("HubRegistrationId", time);
    let Creation::Created(created) = client.create(&pump, &new).await.unwrap() else { panic!("it is new") };
    assert_eq!(created.source_time("HubRegistrationId"), Some(time));
    assert_eq!(client.create(&pump, &new).await.unwrap(), Creation::Exists);

    let patch = Patch::new().add("Temperature", json!(21.5)).source_time("Temperature", time);
    let seen = Condition::IfMatch(created.etag().clone());
    let etag = client.patch(&pump, &patch, seen.clone()).await.unwrap();
    let twin = client.get(&pump).await.unwrap().unwrap();
    assert_eq!((twin.etag(), twin.property("Temperature")), (&etag, Some(&json!(21.5))));
    assert_eq!(twin.source_time("Temperature"), Some(time));
    assert_eq!(twin.model(), &thermostat());

    assert!(matches!(client.patch(&pump, &patch, seen.clone()).await, Err(Error::PreconditionFailed { .. })));
    assert!(matches!(client.delete(&pump, seen).await, Err(Error::PreconditionFailed { .. })));
    let refused = client.patch(&pump, &Patch::new().add("Unknown", json!(1)), Condition::Always).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { status: 400, .. }), "{refused}");

    client.delete(&pump, Condition::IfMatch(etag)).await.unwrap();
    assert!(matches!(client.delete(&pump, Condition::Always).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn relationships_hold_a_twin_until_they_are_gone() {
    let client = instance(Rules::default());
    let (building, lobby) = (id("building-1"), id("lobby-thermostat"));
    for number in 0..25 {
        let relationship = Relationship {
            id: RelationshipId::parse(&format!("extra/{number}")).unwrap(),
            source: building.clone(),
            name: "contains".to_owned(),
            target: lobby.clone(),
            properties: Map::from_iter([("ownershipUser".to_owned(), json!("me"))]),
        };
        assert_eq!(client.put_relationship(&relationship).await.unwrap(), Creation::Created(()));
        assert_eq!(client.put_relationship(&relationship).await.unwrap(), Creation::Exists);
    }
    assert_eq!(client.relationships(&building).await.unwrap().len(), 28);
    let incoming = client.incoming_relationships(&lobby).await.unwrap();
    assert_eq!(incoming.len(), 26);
    let refused = client.delete(&lobby, Condition::Always).await.unwrap_err();
    assert_eq!(refused.code(), Some("RelationshipsNotDeleted"));
    for relationship in incoming {
        client.delete_relationship(&relationship.source, &relationship.id).await.unwrap();
    }
    client.delete(&lobby, Condition::Always).await.unwrap();
    assert!(matches!(client.relationships(&lobby).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn a_query_finds_what_it_names_and_nothing_else() {
    let client = instance(Rules::default());
    let hostile = [r"it's", r"\' OR true --", r"back\slash", "[[", "größe", "') "];
    for (number, registration) in hostile.iter().enumerate() {
        let new = NewTwin::of(&thermostat()).property("HubRegistrationId", json!(registration));
        client.create(&id(&format!("hostile-{number}")), &new).await.unwrap();
    }
    for (number, registration) in hostile.iter().enumerate() {
        let twins =
            client.query(&Query::twins_where(&Filter::property_in(REGISTRATION, [*registration]))).await.unwrap();
        let ids: Vec<_> = twins.iter().map(|twin| twin.id().as_str().to_owned()).collect();
        assert_eq!(ids, [format!("hostile-{number}")], "{registration}");
    }
    let count = async |filter: Filter| client.query(&Query::twins_where(&filter)).await.unwrap().len();
    assert_eq!(count(Filter::id_in(["building-1", "absent"])).await, 1);
    assert_eq!(count(Filter::id_in([])).await, 0);
    assert_eq!(count(Filter::is_defined(REGISTRATION)).await, 1 + hostile.len());
    let either = Filter::id_in(["building-1"]).or(Filter::property_in(REGISTRATION, ["thermostat-67"]));
    assert_eq!(count(either.clone()).await, 2);
    assert_eq!(count(either.and(Filter::is_defined(REGISTRATION))).await, 1);
}

#[tokio::test]
async fn a_model_is_read_as_it_was_uploaded() {
    let client = instance(Rules::default());
    let models = client.model(&thermostat()).await.unwrap();
    assert!(models.contents(&thermostat()).unwrap().properties.contains_key("Temperature"));
    let absent = client.model(&ModelId::parse("dtmi:absent;1").unwrap()).await.unwrap_err();
    assert_eq!(absent.code(), Some("ModelNotFound"));
}

#[tokio::test(start_paused = true)]
async fn at_our_pace_the_service_never_throttles() {
    let client = instance(Rules { digital_twins_limits: true, ..Rules::default() });
    let reads = (0..5000).map(|_| {
        let client = client.clone();
        async move { client.get(&id("building-1")).await }
    });
    let start = tokio::time::Instant::now();
    for read in futures::future::join_all(reads).await {
        read.unwrap();
    }
    // A call that was throttled would have waited for as long as the service asks, 5 s and more.
    assert!((5.0..6.5).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
}
