//! Event Hub triggers: batches, answers, retries, checkpoints.

use std::collections::BTreeSet;

use local_azure::functions_host::Error;
use serde_json::{Value, json};

use super::{
    Bench, FUNCTION, Setup, assert_called_as, event,
    handler::{Call, Orders, Reply},
    reads_events, recorded,
};

/// A policy that waits a thousandth of a second.
fn retry(count: i32) -> Value {
    json!({ "retry": { "strategy": "fixedDelay", "maxRetryCount": count, "delayInterval": "00:00:00.001" } })
}

fn with_retry(count: i32) -> Setup {
    Setup::functions([reads_events(json!({}), retry(count))])
}

#[tokio::test]
async fn a_batch_is_posted_to_the_function_s_name_with_the_host_s_headers() {
    let mut bench = Setup::default().serve().await;
    bench.hub.append("a", event("one"));
    let call = bench.director.call().await.answer(Reply::json(recorded("response-minimal.json")));

    assert_called_as(&call, "telemetry-batch-many.json");
    assert_eq!(call.header("transfer-encoding"), Some("chunked"));
    let body = call.json();
    assert_eq!(body["Data"]["events"], r#"["b25l"]"#);
    assert_eq!(body["Metadata"]["sys"]["MethodName"], FUNCTION);
    assert_eq!(body["Metadata"].get("RetryContext"), None);

    bench.caught_up().await;
    assert_eq!(bench.checkpoint(), Some(0));
}

/// Answers one batch with `body`; gives what the invocation logged.
async fn answered(bench: &mut Bench, body: String) -> Vec<String> {
    let mut invocations = bench.host.invocations();
    bench.hub.append("a", event("x"));
    bench.director.call().await.answer(Reply::json(body));
    bench.caught_up().await;
    let invocation = invocations.recv().await.unwrap();
    assert_eq!(invocation.failure, None);
    invocation.logs
}

#[tokio::test]
async fn recorded_answers_do_what_they_do_in_the_real_host() {
    let mut bench = Setup::default().serve().await;
    let no_logs: [&str; 0] = [];
    assert_eq!(answered(&mut bench, recorded("response-minimal.json")).await, no_logs);
    assert!(bench.dead_letters().is_empty());

    let logs = answered(&mut bench, recorded("response-camelcase.json")).await;
    assert_eq!(logs, ["top-level member names match without case"]);

    // An output that the function does not have is left alone.
    let logs = answered(&mut bench, recorded("response-http-nonforwarded.json")).await;
    assert_eq!(logs, ["allocated thermostat-01"]);
    assert!(bench.dead_letters().is_empty());
}

#[tokio::test]
async fn outputs_become_blobs() {
    for (file, expected) in [
        ("response-with-outputs-single.json", &br#"{"reason":"not-json","sequenceNumber":4713}"#[..]),
        (
            "response-with-outputs.json",
            br#"[{"reason":"not-json","function":"DeviceTelemetryToTwinFunc","partitionId":"0","sequenceNumber":4713,"bodyBase64":"//4AAW5vdCBqc29u"}]"#,
        ),
        ("response-base64-trap.json", &[0xb5, 0xeb, 0x2d]),
    ] {
        let mut bench = Setup::default().serve().await;
        answered(&mut bench, recorded(file)).await;
        assert_eq!(bench.dead_letters(), [expected], "{file}");
    }
}

#[tokio::test]
async fn without_a_retry_policy_one_failure_loses_the_batch() {
    let mut bench = Setup::default().serve().await;
    bench.hub.append("a", event("x"));
    bench.director.call().await.answer(Reply::status(503));
    bench.caught_up().await;
    assert_eq!(bench.checkpoint(), Some(0));
    let partition = bench.host.statistics()[0].partitions[0];
    assert_eq!((partition.failed, partition.succeeded, partition.given_up), (1, 0, 1));
}

#[tokio::test]
async fn a_failed_batch_comes_again_with_a_new_id_and_its_retry_count_and_then_is_given_up() {
    let mut bench = with_retry(2).serve().await;
    bench.hub.append("a", event("x"));
    bench.hub.append("a", event("y"));
    let mut ids = BTreeSet::new();
    let mut batches = BTreeSet::new();
    for (count, status) in [(0, 500), (1, 429), (2, 302)] {
        let call = bench.director.call().await.answer(Reply::status(status));
        let body = call.json();
        let context = &body["Metadata"]["RetryContext"];
        assert_eq!((&context["RetryCount"], &context["MaxRetryCount"]), (&json!(count), &json!(2)));
        assert_eq!(context["Exception"].is_null(), count == 0);
        ids.insert(call.header("x-azure-functions-invocationid").unwrap().to_owned());
        batches.insert(body["Data"]["events"].to_string());
        assert_eq!(bench.checkpoint(), None);
        assert_eq!(call.sequence_numbers(), [0, 1]);
    }
    assert_eq!((ids.len(), batches.len()), (3, 1));
    bench.caught_up().await;
    assert_eq!(bench.host.statistics()[0].partitions[0].given_up, 1);
}

#[tokio::test]
async fn an_endless_policy_never_gives_up() {
    let mut bench = with_retry(-1).serve().await;
    bench.hub.append("a", event("x"));
    for count in 0..20 {
        let call = bench.director.call().await.answer(Reply::status(503));
        let context = &call.json()["Metadata"]["RetryContext"];
        assert_eq!((&context["RetryCount"], &context["MaxRetryCount"]), (&json!(count), &json!(-1)));
    }
    assert_eq!(bench.checkpoint(), None);
    bench.director.call().await.answer(Reply::json("{}"));
    bench.caught_up().await;
    let partition = bench.host.statistics()[0].partitions[0];
    assert_eq!((partition.invocations, partition.succeeded, partition.given_up), (21, 1, 0));
    assert_eq!((partition.events, partition.lag), (1, 0));
}

#[tokio::test]
async fn answers_that_the_host_does_not_understand_fail_the_invocation() {
    let mut bench = with_retry(-1).serve().await;
    let mut invocations = bench.host.invocations();
    bench.hub.append("a", event("x"));
    for reply in [
        Reply::new(200, "text/plain", "fine"),
        Reply::json("{"),
        Reply::json("[]"),
        Reply::json(r#"{"Logs": "one"}"#),
        Reply::status(404),
    ] {
        bench.director.call().await.answer(reply);
        assert!(invocations.recv().await.unwrap().failure.is_some());
    }
    bench.director.call().await.answer(Reply::json("{}"));
    assert_eq!(invocations.recv().await.unwrap().failure, None);
}

#[tokio::test]
async fn one_batch_is_in_flight_a_partition_and_partitions_do_not_wait_for_each_other() {
    let mut bench = Setup { partitions: 2, ..Setup::default() }.serve().await;
    let key = |partition| (0..).map(|n| n.to_string()).find(|key| bench.hub.partition_of(key) == partition).unwrap();
    let (zero, one) = (key(0), key(1));
    bench.hub.append(&zero, event("0-0"));
    let first = bench.director.call().await;
    for n in 1..=3 {
        bench.hub.append(&zero, event(format!("0-{n}")));
    }
    bench.hub.append(&one, event("1-0"));
    let other = bench.director.call().await;
    let partition = |call: &Call| call.json()["Metadata"]["PartitionContext"]["PartitionId"].clone();
    assert_eq!((partition(&first.question), partition(&other.question)), ("0".into(), "1".into()));
    other.answer(Reply::json("{}"));

    first.answer(Reply::json("{}"));
    let rest = bench.director.call().await.answer(Reply::json("{}"));
    assert_eq!(rest.sequence_numbers(), [1, 2, 3]);
    bench.caught_up().await;
    assert!(!bench.director.has_call());
    let partitions = bench.host.statistics().remove(0).partitions;
    assert_eq!(partitions.iter().map(|partition| partition.events).collect::<Vec<_>>(), [4, 1]);
}

#[tokio::test]
async fn batches_are_no_larger_than_the_app_wants_them() {
    let host_json = json!({ "customHandler": {}, "extensions": { "eventHubs": { "maxEventBatchSize": 3 } } });
    let mut bench = Setup { host_json, ..Setup::default() }.serve().await;
    bench.hub.append("a", event("0"));
    let first = bench.director.call().await;
    for n in 1..=7 {
        bench.hub.append("a", event(n.to_string()));
    }
    first.answer(Reply::json("{}"));
    for expected in [&[1, 2, 3][..], &[4, 5, 6], &[7]] {
        assert_eq!(bench.director.call().await.answer(Reply::json("{}")).sequence_numbers(), expected);
    }
}

#[tokio::test]
async fn cardinality_one_sends_event_by_event() {
    let function = reads_events(json!({ "cardinality": "one", "name": "event" }), json!({}));
    let mut bench = Setup::functions([function]).serve().await;
    bench.hub.append("a", event("zero"));
    bench.hub.append("a", event("one"));
    for (number, body) in [("0", "emVybw=="), ("1", "b25l")] {
        let call = bench.director.call().await.answer(Reply::json("{}")).json();
        assert_eq!((&call["Metadata"]["SequenceNumber"], &call["Data"]["event"]), (&number.into(), &body.into()));
    }
    bench.caught_up().await;
    assert_eq!(bench.checkpoint(), Some(1));
}

#[tokio::test]
async fn without_a_data_type_a_body_that_is_not_json_never_reaches_the_handler() {
    let mut function = reads_events(json!({}), retry(1));
    function.1["bindings"][0].as_object_mut().unwrap().shift_remove("dataType");
    let mut bench = Setup::functions([function]).serve().await;
    let mut invocations = bench.host.invocations();
    bench.hub.append("a", event("not json"));
    bench.caught_up().await;
    assert!(!bench.director.has_call());
    let failure = invocations.recv().await.unwrap().failure.unwrap();
    assert!(failure.starts_with("event 0 is not JSON"), "{failure}");
    assert_eq!(bench.host.statistics()[0].partitions[0].given_up, 1);

    bench.hub.append("a", event("{\"t\": 21.50}"));
    let call = bench.director.call().await.answer(Reply::json("{}"));
    assert_eq!(call.json()["Data"]["events"], r#"[{"t":21.5}]"#);
}

#[tokio::test]
async fn an_empty_answer_hangs_until_the_timeout_and_costs_the_handler_its_life() {
    let host_json = json!({ "customHandler": {}, "functionTimeout": "00:00:01" });
    let functions = vec![reads_events(json!({}), retry(-1))];
    let mut bench = Setup { host_json, functions, ..Setup::default() }.serve().await;
    let mut invocations = bench.host.invocations();
    bench.hub.append("a", event("x"));
    let hung = bench.director.call().await.answer(Reply::status(204));

    bench.director.start().await.answer(Orders::default());
    let failure = invocations.recv().await.unwrap().failure.unwrap();
    assert_eq!(failure, format!("Timeout value of 1s was exceeded by function {FUNCTION}"));
    let again = bench.director.call().await.answer(Reply::json("{}"));
    assert_ne!(again.pid, hung.pid);
    let host = std::sync::Arc::clone(&bench.host);
    let mut caught_up = std::pin::pin!(host.caught_up());
    loop {
        // On a busy machine an answer can come too late: then the batch comes again.
        tokio::select! {
            () = &mut caught_up => break,
            call = bench.director.call() => drop(call.answer(Reply::json("{}"))),
        }
    }
    assert_eq!(bench.host.handlers()[0].restarts, 1);
}

#[tokio::test]
async fn a_handler_that_dies_fails_what_it_was_doing_and_its_successor_gets_it() {
    let mut bench = with_retry(-1).serve().await;
    bench.hub.append("a", event("x"));
    bench.director.call().await.answer(Reply::exit(1));
    bench.director.start().await.answer(Orders::default());
    let again = bench.director.call().await.answer(Reply::json("{}"));
    // Further retries can have met the port of the dead process before the host noticed.
    assert!(again.json()["Metadata"]["RetryContext"]["RetryCount"].as_u64().unwrap() >= 1);
    bench.caught_up().await;
}

#[tokio::test]
async fn a_host_that_stops_for_its_handler_s_errors_leaves_the_batch_to_the_next() {
    let mut bench = with_retry(-1).serve().await;
    bench.hub.append("a", event("x"));
    bench.director.call().await.answer(Reply::exit(1));
    for _ in 0..2 {
        bench.director.start().await.answer(Orders { exit: Some(1), ..Orders::default() });
    }
    bench.director.start().await.answer(Orders::default());
    let again = bench.director.call().await.answer(Reply::json("{}"));
    assert_eq!(again.json()["Metadata"]["RetryContext"]["RetryCount"], 0);
    bench.caught_up().await;
}

#[tokio::test]
async fn stopping_lets_the_invocation_in_flight_end_and_begins_no_other() {
    let mut bench = with_retry(-1).serve().await;
    bench.hub.append("a", event("0"));
    let in_flight = bench.director.call().await;
    bench.hub.append("a", event("1"));
    bench.shutdown.cancel();
    in_flight.answer(Reply::json("{}"));
    bench.host.stopped().await;
    assert_eq!(bench.checkpoint(), Some(0));
    assert!(!bench.director.has_call());
}

#[tokio::test]
async fn stopping_during_a_retry_leaves_the_batch_without_a_checkpoint() {
    let policy = json!({ "strategy": "fixedDelay", "maxRetryCount": -1, "delayInterval": "01:00:00" });
    let function = reads_events(json!({}), json!({ "retry": policy }));
    let mut bench = Setup::functions([function]).serve().await;
    let mut invocations = bench.host.invocations();
    bench.hub.append("a", event("0"));
    bench.director.call().await.answer(Reply::status(503));
    assert!(invocations.recv().await.unwrap().failure.is_some());
    bench.stop().await;
    assert_eq!(bench.checkpoint(), None);
}

#[tokio::test]
async fn instances_share_the_partitions() {
    let mut bench = Setup { partitions: 4, instances: 2, ..Setup::default() }.serve().await;
    for n in 0..40 {
        bench.hub.append(&format!("device-{n}"), event(n.to_string()));
    }
    let mut served = BTreeSet::new();
    while bench.hub.lag(super::GROUP).unwrap().iter().any(|&lag| lag > 0) {
        let mut invocations = bench.host.invocations();
        let call = bench.director.call().await.answer(Reply::json("{}"));
        served.insert((call.pid, call.json()["Metadata"]["PartitionContext"]["PartitionId"].to_string()));
        invocations.recv().await.unwrap();
    }
    let handlers: BTreeSet<_> = served.iter().map(|(pid, _)| pid).collect();
    assert_eq!((handlers.len(), served.len()), (2, 4), "{served:?}");
}

#[tokio::test]
async fn event_hubs_and_consumer_groups_must_exist() {
    let start = async |trigger: Value| {
        let setup = Setup::functions([reads_events(trigger, json!({}))]);
        setup.try_start().await.err().map(|error: Error| error.to_string())
    };
    assert_eq!(
        start(json!({ "eventHubName": "other" })).await.unwrap(),
        "function DeviceTelemetryToTwinFunc reads event hub other, which does not exist; there are: deviceevents"
    );
    assert_eq!(
        start(json!({ "consumerGroup": "other" })).await.unwrap(),
        "event hub deviceevents has no consumer group other; create it together with the event hub"
    );
}
