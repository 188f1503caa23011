//! What the log says.

use std::io;
use std::sync::Mutex;

use tracing::instrument::WithSubscriber;

use super::*;

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that `work` logs, as JSON objects without their times.
async fn lines(work: impl Future) -> Vec<Value> {
    crate::logging::want_everything();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().json().without_time().with_writer(move || writer.clone()).finish();
    work.with_subscriber(subscriber).await;
    let log = log.0.lock().unwrap();
    std::str::from_utf8(&log).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn warnings(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|line| line["level"] == "WARN").map(|line| &line["fields"]).collect()
}

#[tokio::test]
async fn a_batch_is_summed_up_in_one_line() {
    let (_, function) = function();
    let events = vec![
        warm(0, 20.0),
        warm(1, 21.0),
        recorded::message("from_module"),
        recorded::message("twin_change"),
        recorded::message("connection_state"),
        recorded::message("bad_not_json"),
    ];
    let lines = lines(run(&function, events, 2)).await;
    let summaries: Vec<_> = lines.iter().filter(|line| line["fields"]["message"] == "batch").collect();
    let [summary] = summaries[..] else { panic!("{lines:?}") };
    let mut fields = summary["fields"].clone();
    assert!(fields.as_object_mut().unwrap().remove("ms").unwrap().is_u64());
    assert_eq!(summary["level"], "INFO");
    insta::assert_json_snapshot!(fields, @r#"
    {
      "message": "batch",
      "function": "DeviceTelemetryToTwinFunc",
      "partition": "3",
      "attempt": 3,
      "events": 6,
      "applied": 1,
      "superseded": 1,
      "left_out": 3,
      "left_out_by": "{\"module\": 1, \"otherSource\": 2}",
      "dead_letters": 1,
      "open": 0,
      "twins": 1,
      "patches": 1,
      "deleted": 0,
      "adt_calls": 4
    }
    "#);
}

#[tokio::test]
async fn an_unknown_member_is_warned_about_once_with_the_name_that_was_meant() {
    let (_, function) = function();
    let batch = |seconds| vec![says("thermo-01", seconds, json!({ "temperature": 20 }))];
    let lines = lines(async {
        run(&function, batch(0), 0).await;
        run(&function, batch(1), 0).await;
    });
    let lines = lines.await;
    let [warning] = warnings(&lines)[..] else { panic!("{lines:?}") };
    assert_eq!((&warning["member"], &warning["nearest"]), (&json!("temperature"), &json!("Temperature")));
    assert_eq!(warning["model"], MODEL);
}

#[tokio::test]
async fn a_device_without_twin_is_warned_about_once() {
    let (_, function) = function();
    let stranger = || says("stranger", 0, json!({ "Temperature": 20 }));
    let lines = lines(async {
        run(&function, vec![stranger(), stranger()], 0).await;
        run(&function, vec![stranger()], 0).await;
    });
    let lines = lines.await;
    let [warning] = warnings(&lines)[..] else { panic!("{lines:?}") };
    assert_eq!(warning["device"], "stranger");
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_warned_about_once_a_minute() {
    let (service, function) = function();
    service.fail("", 503, "ServiceUnavailable");
    let lines = lines(async {
        for retries in 0..3 {
            run(&function, vec![warm(0, 20.0)], retries).await;
        }
    });
    let lines = lines.await;
    let waiting = warnings(&lines).into_iter().filter(|fields| fields["message"].as_str().unwrap().contains("waits"));
    assert_eq!(waiting.count(), 1);
}

#[tokio::test]
async fn the_log_of_a_dead_letter_says_who_and_why_and_not_what() {
    let (_, function) = function();
    let body = json!({ "Temperature": 20.0, "token": "SharedAccessSignature sig=secret", "Humidity": "dry" });
    let lines = lines(run(&function, vec![says("thermo-01", 7, body)], 0)).await;
    let warnings = warnings(&lines);
    let letter = warnings.iter().find(|fields| fields["message"] == "dead letter").unwrap();
    assert_eq!((&letter["device"], &letter["sequence"]), (&json!("thermo-01"), &json!(7)));
    assert!(!lines.iter().any(|line| line.to_string().contains("secret")));
}
