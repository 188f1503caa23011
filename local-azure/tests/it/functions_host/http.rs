//! HTTP functions: keys, raw requests, envelopes.

use axum::http::{HeaderMap, StatusCode, header};
use reqwest::Client;
use serde_json::{Value, json};

use super::{
    Bench, KEY, Setup, assert_called_as,
    handler::{Call, Reply},
    recorded,
};

const FUNCTION: &str = "DpsAdtAllocationFunc";

fn allocation() -> (&'static str, Value) {
    let text = include_str!("../../../../DpsAdtAllocationFunc/function.json");
    (FUNCTION, serde_json::from_str(text).unwrap())
}

fn setup(custom_handler: Value) -> Setup {
    Setup { host_json: json!({ "customHandler": custom_handler }), ..Setup::functions([allocation()]) }
}

/// A host with one HTTP function, its address, and a client.
async fn serve(custom_handler: Value) -> (Bench, String, Client) {
    let bench = setup(custom_handler).serve().await;
    let address = bench.listen().await;
    let redirects = reqwest::redirect::Policy::none();
    (bench, address, Client::builder().no_proxy().redirect(redirects).build().unwrap())
}

/// Sends a request while the handler answers it; gives what the handler got and what the caller got.
async fn exchange(bench: &mut Bench, request: reqwest::RequestBuilder, reply: Reply) -> (Call, Answer) {
    let handler = async { bench.director.call().await.answer(reply) };
    let (answer, call) = tokio::join!(send(request), handler);
    (call, answer)
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

async fn send(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Answer { status, headers, body: response.text().await.unwrap() }
}

/// A body without a length.
fn chunked(body: &str) -> reqwest::Body {
    reqwest::Body::wrap_stream(futures::stream::iter([Ok::<_, std::convert::Infallible>(body.to_owned())]))
}

#[tokio::test]
async fn without_the_key_the_handler_is_not_called() {
    let (bench, address, http) = serve(json!({ "enableProxyingHttpRequest": true })).await;
    let url = format!("{address}/api/{FUNCTION}");
    for request in [
        http.post(&url),
        http.post(format!("{url}?code=wrong")),
        http.post(format!("{url}?code={KEY}")).header("x-functions-key", "wrong"),
    ] {
        assert_eq!(send(request).await.status, StatusCode::UNAUTHORIZED);
    }
    assert!(!bench.director.has_call());
}

#[tokio::test]
async fn other_paths_and_methods_are_not_found_even_without_a_key() {
    let (bench, address, http) = serve(json!({ "enableProxyingHttpRequest": true })).await;
    for request in [
        http.post(format!("{address}/api/Other?code={KEY}")),
        http.post(format!("{address}/{FUNCTION}?code={KEY}")),
        http.get(format!("{address}/api/{FUNCTION}?code={KEY}")),
        http.get(format!("{address}/api/{FUNCTION}")),
    ] {
        assert_eq!(send(request).await.status, StatusCode::NOT_FOUND);
    }
    assert!(!bench.director.has_call());
}

#[tokio::test]
async fn proxying_passes_the_request_as_it_is_and_adds_the_host_s_headers() {
    let (mut bench, address, http) = serve(json!({ "enableProxyingHttpRequest": true })).await;
    let body = recorded("http-trigger-original-body.json");
    let request = http
        .post(format!("{address}/api/{FUNCTION}?a=1&code={KEY}&a=%20"))
        .header("x-functions-key", KEY)
        .header("user-agent", "a-caller/1.0")
        .header("host", "contoso-func.azurewebsites.net")
        .header("x-azure-functions-invocationid", "forged")
        .body(body.clone());
    let (call, answer) = exchange(&mut bench, request, Reply::json("{}")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!((call.method.as_str(), call.path), ("POST", format!("/api/{FUNCTION}?a=1&code={KEY}&a=%20")));
    let header = |name: &str| call.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!(header("x-functions-key"), Some(KEY));
    assert_eq!(header("user-agent"), Some("a-caller/1.0"));
    assert_eq!(header("host"), Some("contoso-func.azurewebsites.net"));
    assert_eq!(header("x-azure-functions-hostversion"), Some("4.1037.0.0"));
    assert!(uuid::Uuid::parse_str(header("x-azure-functions-invocationid").unwrap()).is_ok());
    assert_eq!(header("x-ms-invocation-id"), header("x-azure-functions-invocationid"));
    assert_eq!(header("content-length"), Some(body.len().to_string().as_str()));
}

#[tokio::test]
async fn raw_answers_reach_the_caller_as_they_are() {
    let (mut bench, address, http) = serve(json!({ "enableProxyingHttpRequest": true })).await;
    let request = || http.post(format!("{address}/API/dpsadtallocationfunc?code={KEY}"));
    let mut reply = Reply::new(400, "text/plain", "no such model");
    reply.headers.push(("x-reason".to_owned(), "model".to_owned()));
    let (_, answer) = exchange(&mut bench, request(), reply).await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::BAD_REQUEST, "no such model"));
    assert_eq!(answer.headers["x-reason"], "model");

    let mut reply = Reply::status(302);
    reply.headers.push(("location".to_owned(), "/elsewhere".to_owned()));
    let (_, answer) = exchange(&mut bench, request(), reply).await;
    assert_eq!((answer.status, &answer.headers["location"]), (StatusCode::FOUND, &"/elsewhere".parse().unwrap()));

    let (_, answer) = exchange(&mut bench, request(), Reply::status(204)).await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::NO_CONTENT, ""));
}

#[tokio::test]
async fn proxying_keeps_a_chunked_body_and_forwarding_loses_it() {
    for (custom_handler, expected) in [
        (json!({ "enableProxyingHttpRequest": true, "enableForwardingHttpRequest": true }), "a body"),
        (json!({ "enableForwardingHttpRequest": true }), ""),
    ] {
        let (mut bench, address, http) = serve(custom_handler).await;
        let request = http.post(format!("{address}/api/{FUNCTION}?code={KEY}")).body(chunked("a body"));
        let (call, _) = exchange(&mut bench, request, Reply::json("{}")).await;
        assert_eq!(call.body(), expected.as_bytes());
    }
}

#[tokio::test]
async fn forwarding_rebuilds_the_query_and_signs_the_user_agent() {
    let (mut bench, address, http) = serve(json!({ "enableForwardingHttpRequest": true })).await;
    let request = http
        .post(format!("{address}/api/{FUNCTION}?a=1&code={KEY}&a=2"))
        .header("user-agent", "a-caller/1.0")
        .body("a body");
    let (call, _) = exchange(&mut bench, request, Reply::json("{}")).await;
    assert_eq!(call.path, format!("/api/{FUNCTION}?a=1%2C2&code={KEY}"));
    assert_eq!(call.header("user-agent"), Some("a-caller/1.0 Azure-Functions-Host/4.1037.0.0"));
    assert_eq!(call.header("x-ms-invocation-id"), None);
    assert_eq!(call.body(), b"a body");
}

#[tokio::test]
async fn in_an_envelope_the_handler_answers_through_its_http_output() {
    let (mut bench, address, http) = serve(json!({})).await;
    let body = recorded("http-trigger-original-body.json");
    let request = http.post(format!("{address}/api/{FUNCTION}?code={KEY}")).body(body.clone());
    let reply = Reply::json(recorded("response-http-nonforwarded.json"));
    let (call, answer) = exchange(&mut bench, request, reply).await;
    assert_called_as(&call, "http-trigger-nonforwarded.json");
    let envelope = call.json();
    assert_eq!(envelope["Data"]["req"]["Body"], body);
    assert_eq!(envelope["Data"]["req"]["Url"], format!("{address}/api/{FUNCTION}?code={KEY}"));

    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
    assert_eq!(answer.body, r#"{"iotHubHostName":"contoso-hub.azure-devices.net"}"#);
}

#[tokio::test]
async fn http_outputs_are_read_as_the_host_reads_them() {
    let (mut bench, address, http) = serve(json!({})).await;
    let cases = [
        (json!({}), 200, "{}"),
        (json!({ "res": { "STATUSCODE": "201", "Body": "made" } }), 201, "made"),
        (json!({ "res": { "status": 404 } }), 200, ""),
        (json!({ "res": { "body": { "a": 1 } } }), 200, "{\n  \"a\": 1\n}"),
        (json!({ "res": "text" }), 500, ""),
        (json!({ "res": { "statusCode": "many" } }), 500, ""),
    ];
    for (outputs, status, body) in cases {
        let request = http.post(format!("{address}/api/{FUNCTION}?code={KEY}")).body("{}");
        let reply = Reply::json(json!({ "Outputs": outputs }).to_string());
        let (_, answer) = exchange(&mut bench, request, reply).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (status, body), "{outputs}");
    }
}

#[tokio::test]
async fn a_second_output_turns_raw_requests_off() {
    let mut function = allocation();
    let blob = json!({ "type": "blob", "direction": "out", "name": "deadLetter", "path": "dead-letters/{rand-guid}" });
    function.1["bindings"].as_array_mut().unwrap().push(blob);
    let host_json = json!({ "customHandler": { "enableProxyingHttpRequest": true } });
    let mut bench = Setup { host_json, ..Setup::functions([function]) }.serve().await;
    let address = bench.listen().await;
    let request = Client::new().post(format!("{address}/api/{FUNCTION}?code={KEY}")).body("{}");
    let outputs = json!({ "Outputs": { "deadLetter": { "a": 1 }, "res": { "statusCode": 202 } } });
    let (call, answer) = exchange(&mut bench, request, Reply::json(outputs.to_string())).await;
    assert_eq!((call.path.as_str(), answer.status), ("/DpsAdtAllocationFunc", StatusCode::ACCEPTED));
    assert_eq!(bench.dead_letters(), [br#"{"a":1}"#]);
}

#[tokio::test]
async fn a_failed_invocation_is_500_for_the_caller() {
    for custom_handler in [json!({}), json!({ "enableProxyingHttpRequest": true })] {
        let (mut bench, address, http) = serve(custom_handler).await;
        let mut invocations = bench.host.invocations();
        let request = http.post(format!("{address}/api/{FUNCTION}?code={KEY}")).body("{}");
        let (_, answer) = exchange(&mut bench, request, Reply::exit(1)).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        let failure = invocations.recv().await.unwrap().failure.unwrap();
        assert!(!failure.contains(KEY), "{failure}");
    }
}

#[tokio::test]
async fn a_body_above_100_megabytes_is_refused() {
    let (bench, address, http) = serve(json!({ "enableProxyingHttpRequest": true })).await;
    let body = vec![b' '; 100 * 1024 * 1024 + 1];
    let answer = send(http.post(format!("{address}/api/{FUNCTION}?code={KEY}")).body(body)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(!bench.director.has_call());
}

#[tokio::test]
async fn a_host_that_stops_refuses_new_requests_and_finishes_old_ones() {
    let (mut bench, address, http) = serve(json!({ "enableProxyingHttpRequest": true })).await;
    let request = || http.post(format!("{address}/api/{FUNCTION}?code={KEY}")).body("{}");
    let old = tokio::spawn(send(request()));
    let in_flight = bench.director.call().await;
    bench.shutdown.cancel();
    let stopped = async {
        in_flight.answer(Reply::json("{\"ok\":true}"));
        bench.host.stopped().await;
    };
    stopped.await;
    assert_eq!(old.await.unwrap().body, "{\"ok\":true}");
    assert_eq!(send(request()).await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn instances_take_turns() {
    let custom_handler = json!({ "enableProxyingHttpRequest": true });
    let mut bench = Setup { instances: 3, ..setup(custom_handler) }.serve().await;
    let url = format!("{}/api/{FUNCTION}?code={KEY}", bench.listen().await);
    let http = Client::builder().no_proxy().build().unwrap();
    let mut pids = Vec::new();
    for _ in 0..6 {
        let (call, answer) = exchange(&mut bench, http.post(&url), Reply::json("{}")).await;
        assert_eq!(answer.status, StatusCode::OK);
        pids.push(Some(call.pid));
    }
    let handlers: Vec<_> = bench.host.handlers().iter().map(|handler| handler.pid).collect();
    assert_eq!(pids, handlers.repeat(2));
}
