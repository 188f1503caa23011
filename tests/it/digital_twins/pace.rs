//! Throttling, seen from outside.

use std::time::Duration;

use function_app::digital_twins::{Error, Filter, Query};
use serde_json::json;
use tokio::time::Instant;

use super::script::{Reply, Script, id, twin};

fn throttled(seconds: &str) -> Reply {
    let body = json!({ "error": { "statusCode": 429, "message": "Maximum request rate limit reached." } });
    Reply::json(429, &body).header("retry-after", seconds)
}

#[tokio::test(start_paused = true)]
async fn a_throttled_call_waits_as_long_as_the_service_asks() {
    let script = Script::new([throttled("5"), Reply::json(200, &twin("a"))]);
    let start = Instant::now();
    script.client().get(&id("a")).await.unwrap();
    assert!((5..7).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert_eq!(script.sent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_too_long_is_left_to_the_caller() {
    let script = Script::new([throttled("3600"), throttled("3600")]);
    let (client, start) = (script.client(), Instant::now());
    // The first may be about its twin alone; after the second, no call goes out.
    for _ in 0..3 {
        let error = client.get(&id("a")).await.unwrap_err();
        assert!(
            matches!(error, Error::Throttled { retry_after: Some(wait) } if wait > Duration::from_secs(50)),
            "{error}"
        );
        assert!(error.is_transient() && error.is_throttled());
    }
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(script.sent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_throttled_alone_holds_up_no_other() {
    let script = Script::new([throttled("5"), Reply::json(200, &twin("a")), Reply::json(200, &twin("a"))]);
    let (client, start) = (script.client(), Instant::now());
    let timed = async || {
        client.get(&id("a")).await.unwrap();
        start.elapsed().as_secs()
    };
    let (one, other) = tokio::join!(timed(), timed());
    assert_eq!(one.min(other), 0);
    assert!((5..7).contains(&one.max(other)), "{one} {other}");
}

#[tokio::test(start_paused = true)]
async fn one_class_of_operations_does_not_hold_up_another() {
    let script = Script::new([throttled("3600"), throttled("3600"), Reply::json(200, &json!({ "value": [] }))]);
    let client = script.client();
    for _ in 0..2 {
        client.get(&id("a")).await.unwrap_err();
    }
    client.query(&Query::twins_where(&Filter::id_in(["pump-1"]))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_service_that_goes_on_throttling_says_so_in_the_end() {
    let script = Script::new([throttled("1"), throttled("1"), throttled("1"), throttled("1")]);
    let error = script.client().get(&id("a")).await.unwrap_err();
    assert!(error.is_throttled(), "{error}");
    assert_eq!(script.sent().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_reads_take_as_long_as_the_pace_allows() {
    let script = Script::new((0..10_000).map(|_| Reply::json(200, &twin("a"))));
    let (client, start) = (script.client(), Instant::now());
    let reads = (0..10_000).map(|_| {
        let client = client.clone();
        async move { client.get(&id("a")).await }
    });
    let refused = futures::future::join_all(reads).await.iter().filter(|read| read.is_err()).count();
    // 900 a second; what would wait for more than 10 s is refused.
    assert!((900..=910).contains(&refused), "{refused}");
    assert!((9..=11).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}
