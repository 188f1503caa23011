//! The server as the host sees it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use function_app::host::{
    Answer, EventBatch, EventFunction, HttpAnswer, HttpFunction, HttpRequest, InvocationId, Output,
};
use function_app::server::{Functions, serve};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::fixtures;

/// What a function is to do, and what it was given.
enum Function {
    Done,
    Output(Value),
    Again,
    Panic,
    Wait(Arc<Notify>, Arc<Notify>),
    Record(Arc<Mutex<Vec<String>>>),
    Log,
}

#[async_trait]
impl EventFunction for Function {
    async fn run(&self, batch: EventBatch, invocation: &InvocationId) -> Answer {
        match self {
            Self::Done => Answer::done(),
            Self::Output(document) => Answer::with_output("deadLetter", Output::json(document).unwrap()),
            Self::Again => Answer::again("no token"),
            Self::Panic => panic!("on purpose"),
            Self::Wait(started, go) => {
                started.notify_one();
                go.notified().await;
                Answer::done()
            }
            Self::Record(seen) => {
                let bytes: usize = batch.events.iter().map(|event| event.body.len()).sum();
                seen.lock().unwrap().push(format!("{invocation} {} events {bytes} bytes", batch.events.len()));
                Answer::done()
            }
            Self::Log => {
                tracing::info!(events = batch.events.len(), "batch done");
                tracing::debug!("not shown");
                Answer::done()
            }
        }
    }
}

#[async_trait]
impl HttpFunction for Function {
    async fn run(&self, request: HttpRequest, _: &InvocationId) -> HttpAnswer {
        match self {
            Self::Panic => panic!("on purpose"),
            Self::Again => HttpAnswer::reason(StatusCode::SERVICE_UNAVAILABLE, "no token"),
            Self::Record(seen) => {
                seen.lock().unwrap().push(String::from_utf8(request.body.to_vec()).unwrap());
                HttpAnswer::json(StatusCode::OK, &json!({ "iotHubHostName": "contoso-hub.azure-devices.net" })).unwrap()
            }
            _ => HttpAnswer::json(StatusCode::OK, &json!({ "bytes": request.body.len() })).unwrap(),
        }
    }
}

fn event_router(function: Function) -> Router {
    Functions::new().event("DeviceTelemetryToTwinFunc", Arc::new(function)).into_router()
}

fn http_router(function: Function) -> Router {
    Functions::new().http("DpsAdtAllocationFunc", Arc::new(function)).into_router()
}

async fn post(router: Router, path: &str, body: Vec<u8>) -> (StatusCode, Option<String>, Vec<u8>) {
    let request = Request::post(path)
        .header("X-Azure-Functions-InvocationId", "5c6a5f0e-6ad2-4c0c-8a3e-0f6a4a0c9d11")
        .body(Body::from(body))
        .unwrap();
    let response = router.oneshot(request).await.unwrap();
    let content_type = response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
    (response.status(), content_type, to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec())
}

async fn post_batch(function: Function) -> (StatusCode, Option<String>, Vec<u8>) {
    let body = fixtures::bytes("functions", "telemetry-batch-many-binary.json");
    post(event_router(function), "/DeviceTelemetryToTwinFunc", body).await
}

#[tokio::test]
async fn health_is_answered_at_once() {
    let index = fixtures::json("functions", "index.json");
    let line: Vec<&str> = index["readiness"]["request"].as_str().unwrap().split(' ').collect();
    let request = Request::builder().method(line[0]).uri(line[1]).body(Body::empty()).unwrap();
    assert_eq!(event_router(Function::Done).oneshot(request).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_batch_that_is_done_is_never_answered_with_nothing() {
    let (status, content_type, body) = post_batch(Function::Done).await;
    assert_eq!((status, content_type.as_deref()), (StatusCode::OK, Some("application/json")));
    assert_eq!(body, fixtures::bytes("functions", "response-minimal.json"));
    // The host compares member names without case.
    let camel_case = fixtures::json("functions", "response-camelcase.json");
    let ours: Value = serde_json::from_slice(&body).unwrap();
    let names = |value: &Value| value.as_object().unwrap().keys().map(|key| key.to_lowercase()).collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&camel_case));
}

#[tokio::test]
async fn outputs_travel_with_the_answer() {
    let one = json!({ "reason": "not-json", "sequenceNumber": 4713 });
    let many = json!([{
        "reason": "not-json",
        "function": "DeviceTelemetryToTwinFunc",
        "partitionId": "0",
        "sequenceNumber": 4713,
        "bodyBase64": "//4AAW5vdCBqc29u",
    }]);
    for (document, name) in [(one, "response-with-outputs-single.json"), (many, "response-with-outputs.json")] {
        let (_, _, body) = post_batch(Function::Output(document)).await;
        let mut expected = fixtures::json("functions", name);
        // The recorded function logged something, this one does not.
        expected["Logs"] = json!([]);
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected, "{name}");
    }
}

#[tokio::test]
async fn a_batch_that_must_come_again_is_answered_so() {
    assert_eq!(post_batch(Function::Again).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(post_batch(Function::Panic).await.0, StatusCode::INTERNAL_SERVER_ERROR);
    let (status, ..) = post(event_router(Function::Done), "/DeviceTelemetryToTwinFunc", b"{}".to_vec()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_largest_batch_that_iot_hub_can_make_is_taken() {
    const EVENTS: usize = 256;
    const BODY: usize = 256 * 1024;
    let body = format!("\\\"{}\\\"", "A".repeat(BODY / 3 * 4 + 4));
    let empty = json!(vec![json!({}); EVENTS]).to_string();
    let metadata = json!({ "PropertiesArray": empty, "SystemPropertiesArray": empty });
    let batch = format!(r#"{{"Data":{{"events":"[{}]"}},"Metadata":{metadata}}}"#, vec![body; EVENTS].join(","));
    let seen = Arc::default();
    let router = event_router(Function::Record(Arc::clone(&seen)));
    let (status, ..) = post(router, "/DeviceTelemetryToTwinFunc", batch.into_bytes()).await;
    assert_eq!(status, StatusCode::OK);
    let bytes = EVENTS * (BODY / 3 * 3 + 3);
    let expected = format!("5c6a5f0e-6ad2-4c0c-8a3e-0f6a4a0c9d11 256 events {bytes} bytes");
    assert_eq!(*seen.lock().unwrap(), [expected]);
}

#[tokio::test]
async fn the_lines_of_an_invocation_come_with_its_answer() {
    function_app::logging::init(Some("function_app=info,it=info"));
    let (_, _, body) = post_batch(Function::Log).await;
    let answer: Value = serde_json::from_slice(&body).unwrap();
    let lines = answer["Logs"].as_array().unwrap();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line: Value = serde_json::from_str(lines[0].as_str().unwrap()).unwrap();
    assert_eq!(line["message"], "batch done");
    assert_eq!(line["events"], 3);
    assert_eq!(line["function"], "DeviceTelemetryToTwinFunc");
    assert_eq!(line["invocation"], "5c6a5f0e-6ad2-4c0c-8a3e-0f6a4a0c9d11");
}

#[tokio::test]
async fn the_webhook_takes_raw_and_enveloped_requests() {
    let seen = Arc::default();
    let original = fixtures::bytes("functions", "http-trigger-original-body.json");

    let router = http_router(Function::Record(Arc::clone(&seen)));
    let (status, content_type, body) =
        post(router, "/api/DpsAdtAllocationFunc?code=EXAMPLE-NOT-A-KEY", original.clone()).await;
    assert_eq!((status, content_type.as_deref()), (StatusCode::OK, Some("application/json")));
    assert_eq!(body, br#"{"iotHubHostName":"contoso-hub.azure-devices.net"}"#);

    let router = http_router(Function::Record(Arc::clone(&seen)));
    let enveloped = fixtures::bytes("functions", "http-trigger-nonforwarded.json");
    let (status, _, body) = post(router, "/DpsAdtAllocationFunc", enveloped).await;
    assert_eq!(status, StatusCode::OK);
    let expected = fixtures::json("functions", "response-http-nonforwarded.json");
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["Outputs"], expected["Outputs"]);

    let original = String::from_utf8(original).unwrap();
    assert_eq!(*seen.lock().unwrap(), [original.clone(), original]);
}

#[tokio::test]
async fn every_recorded_invocation_reaches_its_function_or_is_refused() {
    let index = fixtures::json("functions", "index.json");
    let mut lines = Vec::new();
    for recorded in index["requests"].as_array().unwrap() {
        let file = recorded["file"].as_str().unwrap();
        let request: Vec<&str> = recorded["request"].as_str().unwrap().split(' ').collect();
        let mut sent = Request::builder().method(request[0]).uri(request[1]);
        for (name, value) in recorded["headers"].as_object().unwrap() {
            // Of forwarded requests the index says what else they have.
            if name != "..." {
                sent = sent.header(name, value.as_str().unwrap());
            }
        }
        let seen = Arc::default();
        let function = || Arc::new(Function::Record(Arc::clone(&seen)));
        let router = Functions::new()
            .event("DeviceTelemetryToTwinFunc", function())
            .event("DeleteDeviceInTwinFunc", function())
            .http("DpsAdtAllocationFunc", function())
            .into_router();
        let sent = sent.body(Body::from(fixtures::bytes("functions", file))).unwrap();
        let status = router.oneshot(sent).await.unwrap().status().as_u16();
        let seen = seen.lock().unwrap().join("");
        let seen: String = seen.trim_start_matches("5c6a5f0e-6ad2-4c0c-8a3e-0f6a4a0c9d11 ").chars().take(40).collect();
        lines.push(format!("{file}: {status}, seen: \"{seen}\""));
    }
    insta::assert_snapshot!(lines.join("\n"), @r#"
    telemetry-batch-many.json: 200, seen: "2 events 148 bytes"
    telemetry-batch-many-v5.json: 200, seen: "2 events 148 bytes"
    telemetry-batch-many-binary.json: 200, seen: "3 events 160 bytes"
    telemetry-batch-many-nodatatype.json: 200, seen: "2 events 141 bytes"
    telemetry-batch-many-nonutf8-string.json: 200, seen: "1 events 16 bytes"
    telemetry-batch-many-one-event.json: 200, seen: "1 events 76 bytes"
    telemetry-batch-many-georeplicated-offset.json: 200, seen: "1 events 72 bytes"
    telemetry-batch-many-retry0.json: 200, seen: "1 events 72 bytes"
    lifecycle-batch-many.json: 200, seen: "2 events 464 bytes"
    lifecycle-batch-mixed.json: 200, seen: "2 events 464 bytes"
    single.json: 400, seen: ""
    single-binary.json: 400, seen: ""
    single-metadata-spoof.json: 400, seen: ""
    http-trigger-nonforwarded.json: 200, seen: "{"enrollmentGroup":{"enrollmentGroupId":"
    http-trigger-nonforwarded-chunked-body-lost.json: 200, seen: ""
    http-trigger-original-body.json: 200, seen: "{"enrollmentGroup":{"enrollmentGroupId":"
    "#);
}

fn enveloped(body: &str) -> Vec<u8> {
    json!({ "Data": { "req": { "Body": body } }, "Metadata": {} }).to_string().into_bytes()
}

/// Status and text of an answer in the envelope.
fn res(body: &[u8]) -> (u64, String) {
    let answer: Value = serde_json::from_slice(body).unwrap();
    let res = &answer["Outputs"]["res"];
    (res["statusCode"].as_u64().unwrap(), res["body"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn the_webhook_never_answers_500() {
    for (function, expected) in [(Function::Again, 503), (Function::Panic, 503)] {
        let function = Arc::new(function);
        let router = Functions::new().http("DpsAdtAllocationFunc", function).into_router();
        let (status, _, body) = post(router.clone(), "/api/DpsAdtAllocationFunc", b"{}".to_vec()).await;
        assert_eq!(status, expected);
        assert!(serde_json::from_slice::<Value>(&body).unwrap()["message"].is_string());
        let (status, _, body) = post(router, "/DpsAdtAllocationFunc", enveloped("{}")).await;
        assert_eq!((status, res(&body).0), (StatusCode::OK, 503));
    }
}

#[tokio::test]
async fn a_request_that_no_webhook_sends_is_refused_for_good() {
    let large = "x".repeat(1024 * 1024 + 1);
    let (status, ..) = post(http_router(Function::Done), "/api/DpsAdtAllocationFunc", large.clone().into_bytes()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    for body in [enveloped(&large), b"{".to_vec(), vec![b' '; 9 * 1024 * 1024]] {
        let (status, _, body) = post(http_router(Function::Done), "/DpsAdtAllocationFunc", body).await;
        assert_eq!((status, res(&body).0), (StatusCode::OK, 400));
    }
    let largest = "x".repeat(1024 * 1024);
    let (_, _, body) = post(http_router(Function::Done), "/DpsAdtAllocationFunc", enveloped(&largest)).await;
    assert_eq!(res(&body), (200, r#"{"bytes":1048576}"#.to_owned()));
}

/// A server on a port of its own, and a connection to it with a batch sent.
async fn with_batch_under_way(
    function: Function,
    shutdown: CancellationToken,
) -> (TcpStream, tokio::task::JoinHandle<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let functions = Functions::new().event("DeviceTelemetryToTwinFunc", Arc::new(function));
    let served = tokio::spawn(serve(listener, functions, shutdown));
    let body = fixtures::bytes("functions", "telemetry-batch-many-binary.json");
    let mut connection = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /DeviceTelemetryToTwinFunc HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    (connection, served)
}

#[tokio::test]
async fn a_batch_under_way_is_finished_before_the_end() {
    let (started, go, shutdown) = (Arc::new(Notify::new()), Arc::new(Notify::new()), CancellationToken::new());
    let function = Function::Wait(Arc::clone(&started), Arc::clone(&go));
    let (mut connection, served) = with_batch_under_way(function, shutdown.clone()).await;
    started.notified().await;
    shutdown.cancel();
    go.notify_one();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with(r#""Logs":[],"ReturnValue":null}"#), "{answer}");
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_batch_that_does_not_end_is_left_behind_after_five_seconds() {
    let (started, shutdown) = (Arc::new(Notify::new()), CancellationToken::new());
    let function = Function::Wait(Arc::clone(&started), Arc::new(Notify::new()));
    let (_connection, served) = with_batch_under_way(function, shutdown.clone()).await;
    started.notified().await;
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    shutdown.cancel();
    served.await.unwrap().unwrap();
    assert_eq!(start.elapsed().as_secs(), Duration::from_secs(5).as_secs());
}
