//! The host's own API: what there is, how it is, functions invoked by hand.

use axum::http::{StatusCode, header};
use reqwest::Client;
use serde_json::{Value, json};

use super::{
    Bench, FUNCTION, Setup,
    handler::{Orders, Reply},
    reads_events,
};
use local_azure::functions_host::Operation;

const HTTP_FUNCTION: &str = "DpsAdtAllocationFunc";

fn functions() -> Vec<(&'static str, Value)> {
    let http = include_str!("../../../../DpsAdtAllocationFunc/function.json");
    vec![(HTTP_FUNCTION, serde_json::from_str(http).unwrap()), reads_events(json!({}), json!({}))]
}

async fn serve(setup: Setup) -> (Bench, String, Client) {
    let bench = setup.serve().await;
    let address = bench.listen().await;
    (bench, address, Client::builder().no_proxy().build().unwrap())
}

async fn get(http: &Client, url: String) -> (StatusCode, Value) {
    let response = http.get(url).send().await.unwrap();
    let status = response.status();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
}

#[tokio::test]
async fn functions_are_listed_as_the_host_lists_them_without_a_key() {
    let settings = local_azure::functions_host::app::AppSettings::default()
        .with(format!("AzureWebJobs.{FUNCTION}.Disabled"), "true");
    let (_bench, address, http) = serve(Setup { settings, ..Setup::functions(functions()) }).await;
    let (status, list) = get(&http, format!("{address}/admin/functions")).await;
    assert_eq!(status, StatusCode::OK);
    let function = |name: &str, invoke: Option<String>, config: &Value, is_disabled: bool| {
        json!({
            "name": name, "script_root_path_href": null, "script_href": null, "config_href": null,
            "test_data_href": null, "href": format!("{address}/admin/functions/{name}"),
            "invoke_url_template": invoke, "language": null, "config": config, "files": null, "test_data": null,
            "isDisabled": is_disabled, "isDirect": false, "isProxy": false,
        })
    };
    let [(_, http_json), (_, events_json)] = <[_; 2]>::try_from(functions()).unwrap();
    let disabled = function(FUNCTION, None, &events_json, true);
    let invoke_url = format!("{address}/api/dpsadtallocationfunc");
    assert_eq!(list, json!([disabled, function(HTTP_FUNCTION, Some(invoke_url), &http_json, false)]));

    let one = get(&http, format!("{address}/Admin/Functions/devicetelemetrytotwinfunc")).await;
    assert_eq!(one, (StatusCode::OK, disabled));
    let status = get(&http, format!("{address}/admin/functions/{HTTP_FUNCTION}/status")).await;
    assert_eq!(status, (StatusCode::OK, json!({})));
    for path in ["/admin/functions/Other", "/admin/functions/Other/status", "/admin/other"] {
        assert_eq!(get(&http, format!("{address}{path}")).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_message_by_hand_is_an_event_that_nobody_sent() {
    let retry = json!({ "retry": { "strategy": "fixedDelay", "maxRetryCount": 3, "delayInterval": "00:00:01" } });
    let text = r#"{"Temperature":21.5,"SystemProperties":{"iothub-connection-device-id":"forged"}}"#;
    let not_enqueued = json!({
        "SequenceNumber": i64::MIN, "Offset": -1, "OffsetString": null, "PartitionKey": null,
        "EnqueuedTimeUtc": "0001-01-01T00:00:00",
    });
    let forged = json!({ "iothub-connection-device-id": "forged" });
    let base64 =
        "eyJUZW1wZXJhdHVyZSI6MjEuNSwiU3lzdGVtUHJvcGVydGllcyI6eyJpb3RodWItY29ubmVjdGlvbi1kZXZpY2UtaWQiOiJmb3JnZWQifX0=";
    for (trigger, data, system_properties) in [
        (json!({}), json!([base64]).to_string(), &not_enqueued),
        (json!({ "dataType": "string" }), json!([text]).to_string(), &not_enqueued),
        (json!({ "dataType": null }), format!("[{text}]"), &not_enqueued),
        (json!({ "cardinality": "one" }), base64.to_owned(), &not_enqueued),
        // Why one must not read events one by one.
        (json!({ "cardinality": "one", "dataType": "string" }), json!(text).to_string(), &forged),
    ] {
        let setup = Setup::functions([reads_events(trigger.clone(), retry.clone())]);
        let (mut bench, address, http) = serve(setup).await;
        let request = http.post(format!("{address}/admin/functions/{FUNCTION}")).json(&json!({ "input": text }));
        let accepted = request.send().await.unwrap();
        assert_eq!((accepted.status(), accepted.text().await.unwrap().as_str()), (StatusCode::ACCEPTED, ""));
        let call = bench.director.call().await.answer(Reply::json("{}"));
        assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/DeviceTelemetryToTwinFunc"));
        let envelope = call.json();
        assert_eq!(envelope["Data"], json!({ "events": data }), "{trigger}");
        let metadata = &envelope["Metadata"];
        assert_eq!(&metadata["SystemProperties"], system_properties, "{trigger}");
        assert_eq!(metadata["Properties"], json!({}));
        assert_eq!(metadata["SequenceNumber"], "-9223372036854775808");
        assert_eq!(metadata["Offset"], r#""-1""#);
        assert_eq!(metadata["EnqueuedTimeUtc"], "0001-01-01T00:00:00");
        assert_eq!(metadata["sys"]["MethodName"], FUNCTION);
        for absent in ["PartitionContext", "PartitionKey", "OffsetString", "RetryContext", "SystemPropertiesArray"] {
            assert!(metadata.get(absent).is_none(), "{trigger}: {absent}");
        }
        bench.stop().await;
    }
}

#[tokio::test]
async fn what_became_of_a_message_by_hand_is_told_like_any_invocation_and_not_tried_again() {
    let retry = json!({ "retry": { "strategy": "fixedDelay", "maxRetryCount": -1, "delayInterval": "00:00:00" } });
    let (mut bench, address, http) = serve(Setup::functions([reads_events(json!({}), retry)])).await;
    let mut invocations = bench.host.invocations();
    let url = format!("{address}/admin/functions/{FUNCTION}");
    let by_hand = || http.post(&url).json(&json!({ "input": "a" })).send();

    assert_eq!(by_hand().await.unwrap().status(), StatusCode::ACCEPTED);
    let reply = json!({ "Logs": ["a line"], "Outputs": { "deadLetter": { "a": 1 } } });
    bench.director.call().await.answer(Reply::json(reply.to_string()));
    let done = invocations.recv().await.unwrap();
    assert_eq!((done.function, done.events, done.failure), (FUNCTION, None, None));
    assert_eq!(done.logs, ["a line"]);
    assert_eq!(bench.dead_letters(), [br#"{"a":1}"#]);

    assert_eq!(by_hand().await.unwrap().status(), StatusCode::ACCEPTED);
    bench.director.call().await.answer(Reply::status(503));
    assert!(invocations.recv().await.unwrap().failure.unwrap().contains("503"));
    assert_eq!(bench.checkpoint(), None);
    bench.stop().await;
    assert!(!bench.director.has_call());
}

#[tokio::test]
async fn an_invocation_that_cannot_be_is_accepted_and_fails_without_a_call() {
    let mut functions = functions();
    functions[1] = reads_events(json!({ "dataType": null }), json!({}));
    let (bench, address, http) = serve(Setup::functions(functions)).await;
    let mut invocations = bench.host.invocations();
    for (function, body, failure) in [
        (HTTP_FUNCTION, json!({ "input": "{}" }), "An HttpRequest is required"),
        (FUNCTION, json!({}), "there is no input"),
        (FUNCTION, json!({ "input": "no JSON" }), "the input is not JSON"),
    ] {
        let request = http.post(format!("{address}/admin/functions/{function}")).json(&body);
        assert_eq!(request.send().await.unwrap().status(), StatusCode::ACCEPTED);
        let told = invocations.recv().await.unwrap().failure.unwrap();
        assert!(told.starts_with(failure), "{told}");
    }
    assert!(!bench.director.has_call());
}

#[tokio::test]
async fn what_is_no_invocation_is_refused() {
    let (bench, address, http) = serve(Setup::default()).await;
    let url = format!("{address}/admin/functions/{FUNCTION}");
    let post = |body: &'static str, content_type| http.post(&url).header(header::CONTENT_TYPE, content_type).body(body);
    let json = |body| post(body, "application/json");
    let right = r#"{"input":"a"}"#;
    for (request, status) in [
        (json(""), StatusCode::BAD_REQUEST),
        (json(r#"{"input":{}}"#), StatusCode::BAD_REQUEST),
        (post(right, "text/plain"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (http.post(&url).body(right), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (http.put(&url).body(right), StatusCode::METHOD_NOT_ALLOWED),
        // A page of another origin, and one that calls itself so.
        (json(right).header(header::ORIGIN, "https://example.com"), StatusCode::FORBIDDEN),
        (json(right).header(header::HOST, "example.com:7071"), StatusCode::FORBIDDEN),
        (http.post(format!("{url}/other")).json(&json!({ "input": "a" })), StatusCode::NOT_FOUND),
    ] {
        let what = format!("{request:?}");
        assert_eq!(request.send().await.unwrap().status(), status, "{what}");
    }
    assert!(!bench.director.has_call());
}

#[tokio::test]
async fn the_host_tells_how_it_is() {
    let mut bench = Setup::default().start().await;
    let address = bench.listen().await;
    let http = Client::builder().no_proxy().build().unwrap();
    let state = |status: &Value| status["state"].as_str().unwrap().to_owned();
    let url = format!("{address}/admin/host/status");
    assert_eq!(state(&get(&http, url.clone()).await.1), "Starting");

    bench.director.start().await.answer(Orders::default());
    bench.host.ready().await.unwrap();
    let (_, status) = get(&http, url.clone()).await;
    assert_eq!(state(&status), "Running");
    assert_eq!(status["version"], "4.1037.0.0");
    assert_eq!(status["functionAppContentEditingState"], "Unknown");
    assert!(status["processUptime"].is_u64());

    let ping = http.post(format!("{address}/admin/host/ping")).send().await.unwrap();
    assert_eq!((ping.status(), &ping.headers()[header::CACHE_CONTROL]), (StatusCode::OK, &"no-store".parse().unwrap()));
    bench.stop().await;
    assert_eq!(state(&get(&http, url).await.1), "Stopped");
}

#[tokio::test]
async fn every_operation_of_the_table_is_answered() {
    let (_bench, address, http) = serve(Setup::functions(functions())).await;
    for operation in Operation::ALL {
        let path = operation.template().replace("{name}", FUNCTION);
        for method in operation.methods() {
            let request = http.request(method.clone(), format!("{address}{path}")).json(&json!({ "input": "a" }));
            let answered = request.send().await.unwrap().status();
            assert!(answered.is_success(), "{method} {path}: {answered}");
        }
    }
}
