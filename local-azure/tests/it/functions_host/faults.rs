//! What goes wrong on purpose with events and handlers.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::timeout;

use super::{
    Bench, GROUP, Setup, event,
    handler::{Call, Orders, PATIENCE, Pending, Reply},
    reads_events,
};

/// Retries for ever, without a wait worth the name.
fn retries() -> Setup {
    let policy = json!({ "strategy": "fixedDelay", "maxRetryCount": -1, "delayInterval": "00:00:00.001" });
    Setup::functions([reads_events(json!({}), json!({ "retry": policy }))])
}

fn retry_count(call: &Call) -> u64 {
    call.json()["Metadata"]["RetryContext"]["RetryCount"].as_u64().unwrap()
}

fn events(bench: &Bench, count: usize) {
    for n in 0..count {
        bench.hub.append("a", event(n.to_string()));
    }
}

async fn succeed(bench: &mut Bench) -> Call {
    bench.director.call().await.answer(Reply::json("{}"))
}

fn states(bench: &Bench) -> Vec<&'static str> {
    bench.host.handlers().iter().map(|handler| handler.state).collect()
}

#[tokio::test]
async fn a_duplicated_batch_comes_twice_and_counts_once() {
    let mut bench = retries().serve().await;
    bench.inject(json!({ "service": "event-hubs", "effect": { "duplicate": true }, "count": 1 })).unwrap();
    events(&bench, 1);
    let first = succeed(&mut bench).await;
    let second = bench.director.call().await;
    assert_eq!(bench.checkpoint(), None);
    assert_eq!((first.sequence_numbers(), second.question.sequence_numbers()), (vec![0], vec![0]));
    assert_eq!((retry_count(&first), retry_count(&second.question)), (0, 0));
    second.answer(Reply::json("{}"));
    bench.caught_up().await;
    events(&bench, 1);
    assert_eq!(succeed(&mut bench).await.sequence_numbers(), [1]);
    bench.caught_up().await;
    let partition = bench.host.statistics()[0].partitions[0];
    assert_eq!((partition.succeeded, partition.events), (3, 2));
}

#[tokio::test]
async fn a_partition_that_goes_back_delivers_again_what_it_had_finished() {
    let mut bench = Setup { partitions: 2, ..retries() }.serve().await;
    let partition = bench.hub.partition_of("a");
    for n in 0..5 {
        bench.hub.append("a", event(n.to_string()));
        assert_eq!(succeed(&mut bench).await.sequence_numbers(), [n]);
        bench.caught_up().await;
    }
    let fault = json!({
        "service": "event-hubs", "operation": "deviceevents", "subject": partition.to_string(), "effect": { "rewind": 3 },
    });
    bench.inject(fault).unwrap();
    assert_eq!(succeed(&mut bench).await.sequence_numbers(), [2, 3, 4]);
    bench.caught_up().await;
    bench.inject(json!({ "service": "event-hubs", "effect": { "rewind": 1_000 } })).unwrap();
    assert_eq!(succeed(&mut bench).await.sequence_numbers(), [0, 1, 2, 3, 4]);
    bench.caught_up().await;
    assert_eq!(bench.hub.checkpoint(GROUP, partition), Ok(Some(4)));
}

#[tokio::test]
async fn a_batch_in_flight_while_its_partition_goes_back_does_not_count() {
    let mut bench = retries().serve().await;
    events(&bench, 2);
    succeed(&mut bench).await;
    bench.caught_up().await;
    events(&bench, 1);
    let in_flight = bench.director.call().await;
    bench.inject(json!({ "service": "event-hubs", "effect": { "rewind": 1 } })).unwrap();
    in_flight.answer(Reply::json("{}"));
    let again = bench.director.call().await;
    assert_eq!(again.question.sequence_numbers(), [1, 2]);
    assert_eq!(bench.checkpoint(), Some(0));
    again.answer(Reply::json("{}"));
    bench.caught_up().await;
}

#[tokio::test]
async fn a_partition_that_moves_is_worked_on_by_two_handlers_and_the_first_one_s_word_does_not_count() {
    let mut bench = Setup { instances: 2, ..retries() }.serve().await;
    bench.inject(json!({ "service": "event-hubs", "effect": { "move": true }, "count": 1 })).unwrap();
    events(&bench, 1);
    let (one, other) = (bench.director.call().await, bench.director.call().await);
    assert_eq!((one.question.sequence_numbers(), other.question.sequence_numbers()), (vec![0], vec![0]));
    let home = bench.host.handlers()[0].pid.unwrap();
    let is_home = |call: &Pending<Call, Reply>| call.question.pid == home;
    assert_ne!(is_home(&one), is_home(&other));
    let (first, second) = if is_home(&one) { (one, other) } else { (other, one) };
    let mut invocations = bench.host.invocations();
    second.answer(Reply::json("{}"));
    assert_eq!(invocations.recv().await.unwrap().failure, None);
    bench.caught_up().await;
    // The first one goes on failing, and the events come again to nobody.
    first.answer(Reply::status(503));
    assert!(invocations.recv().await.unwrap().failure.is_some());
    events(&bench, 1);
    let next = bench.director.call().await;
    assert_ne!(next.question.pid, home);
    assert_eq!((next.question.sequence_numbers(), retry_count(&next.question)), (vec![1], 0));
    next.answer(Reply::json("{}"));
    bench.caught_up().await;
    assert_eq!(bench.host.statistics()[0].partitions[0].events, 2);
}

#[tokio::test]
async fn endless_moves_and_duplicates_still_come_to_an_end() {
    let mut bench = Setup { instances: 2, ..retries() }.serve().await;
    bench.inject(json!({ "service": "event-hubs", "effect": { "move": true }, "probability": 0.5 })).unwrap();
    bench.inject(json!({ "service": "event-hubs", "effect": { "duplicate": true } })).unwrap();
    events(&bench, 20);
    while bench.hub.lag(GROUP).unwrap() != [0] {
        let mut invocations = bench.host.invocations();
        succeed(&mut bench).await;
        invocations.recv().await.unwrap();
    }
}

#[tokio::test]
async fn a_handler_that_is_killed_while_it_works_gets_the_batch_again() {
    let mut bench = retries().serve().await;
    events(&bench, 1);
    let in_flight = bench.director.call().await;
    bench.host.kill(0).unwrap().await;
    let dead = in_flight.abandoned().await.pid;
    let start = bench.director.start().await.answer(Orders::default());
    assert_ne!(start.pid, dead);
    let again = succeed(&mut bench).await;
    assert_eq!((again.pid, again.sequence_numbers()), (start.pid, vec![0]));
    assert_eq!(bench.host.handlers()[0].restarts, 1);
}

#[tokio::test]
async fn a_handler_is_killed_at_once_before_an_invocation_and_after_it() {
    let mut bench = retries().serve().await;
    bench.inject(json!({ "service": "functions", "effect": { "kill": "now" } })).unwrap();
    bench.director.start().await.answer(Orders::default());
    bench.inject(json!({ "service": "functions", "effect": { "kill": "after" }, "skip": 1, "count": 1 })).unwrap();
    for (number, kill) in [(0, false), (1, true)] {
        events(&bench, 1);
        let mut invocations = bench.host.invocations();
        assert_eq!(succeed(&mut bench).await.sequence_numbers(), [number]);
        let failure = invocations.recv().await.unwrap().failure;
        assert_eq!(failure.is_some_and(|failure| failure.contains("a fault that was asked for")), kill);
    }
    bench.director.start().await.answer(Orders::default());
    let again = succeed(&mut bench).await;
    assert_eq!((again.sequence_numbers(), retry_count(&again)), (vec![1], 1));
    assert_eq!(bench.host.handlers()[0].restarts, 2);
    let fired: Vec<u64> = bench.gate.faults().iter().map(|fault| fault.fired).collect();
    assert_eq!(fired, [1, 1]);
}

#[tokio::test]
async fn a_handler_is_killed_again_and_again() {
    let mut bench = retries().serve().await;
    let first = bench.host.handlers()[0].pid.unwrap();
    bench.inject(json!({ "service": "functions", "effect": { "killEveryMs": 5 }, "count": 2 })).unwrap();
    let (host, gate) = (Arc::clone(&bench.host), Arc::clone(&bench.gate));
    let settled = async {
        // The second kill may find the first process still dying.
        while gate.faults()[0].fired < 2 || host.handlers()[0].pid.is_none_or(|pid| pid == first) {
            tokio::task::yield_now().await;
        }
    };
    let serve_all = async {
        loop {
            bench.director.start().await.answer(Orders::default());
        }
    };
    tokio::select! {
        settled = timeout(PATIENCE, settled) => settled.expect("the handler is not killed twice"),
        () = serve_all => {}
    }
    assert_eq!(bench.gate.faults()[0].fired, 2);
}

/// Kills the handler of an instance until its host stops.
async fn crash(bench: &mut Bench, instance: usize) {
    for crashes in 1..=3 {
        bench.host.kill(instance).unwrap().await;
        if crashes < 3 {
            bench.director.start().await.answer(Orders::default());
        }
    }
}

#[tokio::test]
async fn after_the_third_crash_a_new_host_begins_at_the_checkpoint_with_no_retry_behind_it() {
    let mut bench = retries().serve().await;
    events(&bench, 1);
    succeed(&mut bench).await;
    bench.caught_up().await;
    events(&bench, 1);
    for _ in 0..3 {
        let call = bench.director.call().await;
        assert_eq!(call.question.sequence_numbers(), [1]);
        bench.host.kill(0).unwrap().await;
        call.abandoned().await;
        bench.director.start().await.answer(Orders::default());
    }
    let again = succeed(&mut bench).await;
    assert_eq!((again.sequence_numbers(), retry_count(&again)), (vec![1], 0));
}

#[tokio::test]
async fn while_the_host_of_an_instance_is_down_the_others_read_its_partitions() {
    let platform_restart = Duration::from_secs(3_600);
    let mut bench = Setup { instances: 2, partitions: 4, platform_restart, ..retries() }.serve().await;
    crash(&mut bench, 0).await;
    let survivor = bench.host.handlers()[1].pid.unwrap();
    let mut partitions = BTreeSet::new();
    for n in 0..40 {
        bench.hub.append(&format!("device-{n}"), event(n.to_string()));
    }
    while bench.hub.lag(GROUP).unwrap().iter().any(|&lag| lag > 0) {
        let mut invocations = bench.host.invocations();
        let call = succeed(&mut bench).await;
        assert_eq!(call.pid, survivor);
        partitions.insert(call.json()["Metadata"]["PartitionContext"]["PartitionId"].to_string());
        invocations.recv().await.unwrap();
    }
    assert_eq!(partitions.len(), 4);
    assert_eq!(states(&bench), ["stopped", "ready"]);
}

#[tokio::test]
async fn an_instance_whose_host_is_new_gets_its_partitions_back() {
    let mut bench = Setup { instances: 2, ..retries() }.serve().await;
    crash(&mut bench, 0).await;
    let start = bench.director.start().await.answer(Orders::default());
    bench.host.ready().await.unwrap();
    events(&bench, 1);
    assert_eq!(succeed(&mut bench).await.pid, start.pid);
}

#[tokio::test]
async fn each_instance_has_an_identity_header_of_its_own() {
    let mut bench = Setup { instances: 2, ..retries() }.start().await;
    let mut headers = BTreeSet::new();
    for _ in 0..2 {
        let start = bench.director.start().await.answer(Orders::default());
        headers.insert(start.environment["IDENTITY_HEADER"].clone());
    }
    assert_eq!(headers, BTreeSet::from(["header of 0", "header of 1"].map(str::to_owned)));
}

#[tokio::test]
async fn what_is_not_there_cannot_go_wrong() {
    let bench = retries().serve().await;
    for (fault, expected) in [
        (
            json!({ "service": "functions", "effect": { "kill": "now", "instance": 1 } }),
            "there is no instance 1 of the function app; the last one is 0",
        ),
        (
            json!({ "service": "event-hubs", "operation": "other", "effect": { "rewind": 1 } }),
            "no function reads other; there are: deviceevents partition 0",
        ),
        (
            json!({ "service": "event-hubs", "subject": "1", "effect": { "duplicate": true } }),
            "no function reads any event hub partition 1; there are: deviceevents partition 0",
        ),
        (
            json!({ "service": "event-hubs", "effect": { "move": true } }),
            "the function app has one instance: a partition has nowhere to go; start local-azure with --instances 2",
        ),
    ] {
        assert_eq!(bench.inject(fault).unwrap_err().to_string(), expected);
    }
    assert!(bench.gate.faults().is_empty());
    assert!(bench.host.kill(1).is_err());
}
