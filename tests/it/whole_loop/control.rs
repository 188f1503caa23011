//! The control API: back to the start, and what happens as it happens.

use device_simulator::Telemetry;
use futures::StreamExt as _;
use local_azure::gate::{Effect, Fault, Service};
use serde_json::{Value, json};

use super::site::{LIFECYCLE, Site, TELEMETRY, temperature};

/// The state, but for what a new process changes: its number, and the requests that it makes when it starts.
async fn state(site: &Site) -> Value {
    let mut state: Value = serde_json::from_str(&site.control("/control/state").await).unwrap();
    state["operations"].take();
    for handler in state["handlers"].as_array_mut().unwrap() {
        handler["pid"].take();
    }
    state
}

/// Everything that a reset has to undo.
async fn leave_traces(site: &Site) {
    let pump = site.register("pump-1").await;
    site.send(&pump, [temperature(1.0), Telemetry::new("broken")]).await;
    site.register("doomed").await;
    site.delete_device("doomed").await;
    site.caught_up().await;
    site.running.kill(0).await.unwrap();
    site.create_twin("scratch", super::site::SPACE, json!({})).await;
    assert_eq!(site.dead_letters().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_leaves_nothing_but_the_start() {
    let site = Site::with(|config| {
        config.instances = std::num::NonZeroUsize::new(2).unwrap();
        config.query_lag = std::time::Duration::from_secs(3_600);
    })
    .await;
    let at_the_start = state(&site).await;
    leave_traces(&site).await;
    let pump = site.register("pump-1").await;
    let connection = site.connect(&pump).await;
    site.running.faults().inject(Fault::new(Service::Identity, Effect::Reset)).unwrap();
    assert_ne!(state(&site).await, at_the_start);

    site.reset().await;
    assert_eq!(state(&site).await, at_the_start);
    assert!(site.running.faults().all().is_empty());
    assert_eq!(site.dead_letters().await, Vec::<Value>::new());
    assert_eq!((site.twin("pump-1").await, site.twin("scratch").await), (None, None));
    // Queries see the graph of the start, however late they see the rest.
    let query = json!({ "query": "SELECT COUNT() FROM DIGITALTWINS" });
    let (_, answer) = site.twins(reqwest::Method::POST, "/query", Some(query)).await;
    assert_eq!(answer["value"][0]["COUNT"], at_the_start["twins"]);
    // The device is disconnected.
    connection.closed().await;

    // Handlers remember nothing: the same again comes to the same.
    let pump = site.register("pump-1").await;
    site.send(&pump, [temperature(2.0)]).await;
    site.caught_up().await;
    assert_eq!(site.twin("pump-1").await.unwrap()["Temperature"], 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_before_a_reset_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let start = || Site::with(|config| config.data_dir = Some(folder.path().join("data")));
    let site = start().await;
    let at_the_start = state(&site).await;
    leave_traces(&site).await;
    site.reset().await;
    site.running.stop().await;
    let site = start().await;
    assert_eq!(state(&site).await, at_the_start);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_as_it_happens() {
    let site = Site::start().await;
    let url = format!("{}/control/events", site.running.endpoints().control);
    let response = reqwest::Client::builder().no_proxy().build().unwrap().get(url).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.bytes_stream();
    let fault = Fault::new(Service::IotHub, Effect::Delay(std::time::Duration::ZERO)).on("SendDeviceMessage");
    site.running.faults().inject(fault.times(1)).unwrap();
    let act = async {
        let pump = site.register("pump-1").await;
        site.send(&pump, [temperature(1.0), Telemetry::new("broken")]).await;
        site.delete_device("pump-1").await;
        site.caught_up().await;
    };
    let mut text = String::new();
    let listen = async {
        // The last of what each service tells: one may be heard after another.
        let last = ["twinDeleted", "deviceDisconnected", "fault", "deadLetters", LIFECYCLE, TELEMETRY];
        while last.iter().any(|what| !text.contains(&format!("\"{what}\""))) {
            text.push_str(std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap());
        }
    };
    tokio::join!(act, listen);

    let told: Vec<Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|json| serde_json::from_str(json).ok())
        .collect();
    let hub = &site.running.endpoints().iot_hubs[0].host_name;
    let device = json!({ "hub": hub, "deviceId": "pump-1" });
    let event = |hub: &str| json!({ "eventHub": hub, "deviceId": "pump-1", "partition": 0 });
    for (what, members) in [
        ("registration", json!({ "registrationId": "pump-1", "status": "assigned", "hub": hub })),
        ("deviceCreated", device.clone()),
        ("deviceConnected", device.clone()),
        ("fault", json!({ "operation": "SendDeviceMessage", "subject": "pump-1" })),
        ("event", event("deviceevents")),
        ("invocation", json!({ "function": TELEMETRY, "failure": null })),
        ("twinCreated", json!({ "twinId": "pump-1" })),
        ("twinChanged", json!({ "twinId": "pump-1" })),
        ("deviceDisconnected", device.clone()),
        ("deviceDeleted", device),
        ("event", event("lifecycleevents")),
        ("invocation", json!({ "function": LIFECYCLE })),
        ("twinDeleted", json!({ "twinId": "pump-1" })),
    ] {
        let is_it = |told: &&Value| {
            told["what"] == what && members.as_object().unwrap().iter().all(|(name, value)| told[name] == *value)
        };
        let found = told.iter().find(is_it).unwrap_or_else(|| panic!("no {what} {members} in {text}"));
        assert!(found["at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
        assert!(text.contains(&format!("event: {what}\n")));
    }
    assert!(
        told.iter().any(|told| told["what"] == "deadLetters" && told["blob"].as_str().unwrap().contains(TELEMETRY))
    );
    site.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_hear_nothing_and_reset_nothing() {
    let site = Site::start().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let control = &site.running.endpoints().control;
    for request in [http.get(format!("{control}/control/events")), http.post(format!("{control}/control/reset"))] {
        let answer = request.header("origin", "https://example.com").send().await.unwrap();
        assert_eq!(answer.status(), 403);
    }
}

/// The Functions host makes an event of it that nobody sent, here as in Azure.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_by_hand_becomes_a_dead_letter_that_says_why_and_no_deletion() {
    let site = Site::start().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut invocations = site.running.services().functions.invocations();
    for function in [LIFECYCLE, TELEMETRY] {
        let url = format!("{}/admin/functions/{function}", site.running.endpoints().functions);
        let input = r#"{"Temperature":21.5,"deviceId":"pump-1"}"#;
        let answer = http.post(url).json(&json!({ "input": input })).send().await.unwrap();
        assert_eq!(answer.status(), reqwest::StatusCode::ACCEPTED);
        let invocation = invocations.recv().await.unwrap();
        assert_eq!((invocation.function, invocation.failure), (function, None));
    }
    let letters = site.dead_letters().await;
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!(letter["reason"]["code"], "systemProperties");
    assert_eq!(letter["body"], r#"{"Temperature":21.5,"deviceId":"pump-1"}"#);
    assert_eq!(site.outcomes(LIFECYCLE)["otherOperation"], 1);
}
