//! Several instances of the function app on one Azure Digital Twins: what races between them leaves behind.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::StreamExt;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::chance::Chance;
use super::site::{Site, TELEMETRY, THERMOSTAT};
use crate::process::Port;

const HUB: &str = "contoso-hub.azure-devices.localhost";

/// An instance of the app: a handler process of its own, which is called as a Functions host calls it.
struct Instance {
    port: u16,
    http: reqwest::Client,
    _process: Child,
}

impl Instance {
    async fn start(site: &Site) -> Self {
        let free = Port::free();
        let port = free.number;
        let mut process = Command::new(env!("CARGO_BIN_EXE_handler"))
            .env_clear()
            .envs(site.running.endpoints().app_settings())
            .env("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stdout.take().unwrap()).lines();
        let serving = log.next_line().await.unwrap().unwrap();
        assert!(serving.contains(r#""message":"serving""#), "{serving}");
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Self { port, http: reqwest::Client::builder().no_proxy().build().unwrap(), _process: process }
    }

    /// So many of them.
    async fn several<const N: usize>(site: &Site) -> [Self; N] {
        let all = join_all((0..N).map(|_| Self::start(site))).await;
        all.try_into().unwrap_or_else(|_| panic!("{N} instances"))
    }

    async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let answer = self.http.post(url).json(body).send().await.unwrap();
        let status = answer.status();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
    }

    /// Asks where a registering device belongs, and again as often as the answer is to do so, as DPS does ("How to use
    /// custom allocation policies").
    async fn allocate(&self, registration_id: &str) -> Value {
        let request = json!({
            "enrollmentGroup": {
                "enrollmentGroupId": "adt-devices", "attestation": { "type": "symmetricKey" },
                "capabilities": { "iotEdge": false }, "etag": "\"0000\"", "provisioningStatus": "enabled",
                "allocationPolicy": "custom", "iotHubs": [HUB],
            },
            "deviceRuntimeContext": {
                "registrationId": registration_id, "symmetricKey": {}, "payload": { "modelId": THERMOSTAT },
            },
            "linkedHubs": [HUB],
        });
        loop {
            let (status, answer) = self.post("/api/DpsAdtAllocationFunc", &request).await;
            if status == StatusCode::OK {
                return answer;
            }
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{registration_id}: {answer}");
        }
    }

    /// Gives the function a batch as often as it wants it. Its answer must be without dead letters.
    async fn deliver(&self, batch: &[Said]) {
        let mut retries = 0;
        loop {
            let (status, answer) = self.post(&format!("/{TELEMETRY}"), &envelope(batch, retries)).await;
            if status == StatusCode::OK {
                assert_eq!(answer["Outputs"], json!({}), "{answer}");
                return;
            }
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
            retries += 1;
        }
    }
}

/// A message as IoT Hub passed it on.
#[derive(Debug, Clone)]
struct Said {
    device: String,
    sequence: i64,
    time: Timestamp,
    body: Value,
}

/// A batch of one partition as the Functions host writes it.
fn envelope(batch: &[Said], retries: u32) -> Value {
    let texts = |text: &dyn Fn(&Said) -> Value| Value::from(batch.iter().map(text).collect::<Value>().to_string());
    let system = |said: &Said| {
        json!({
            "content-type": "application/json", "content-encoding": "utf-8",
            "iothub-connection-device-id": said.device, "iothub-enqueuedtime": said.time.to_string(),
            "iothub-message-source": "Telemetry", "x-opt-sequence-number": said.sequence,
        })
    };
    let context = json!({
        "FullyQualifiedNamespace": "contoso-eh.servicebus.windows.net", "EventHubName": "deviceevents",
        "ConsumerGroup": "adt-functions", "PartitionId": "0",
    });
    json!({
        "Data": { "events": texts(&|said| BASE64.encode(said.body.to_string()).into()) },
        "Metadata": {
            "PartitionContext": context,
            "PropertiesArray": texts(&|_| json!({})),
            "SystemPropertiesArray": texts(&system),
            "SequenceNumberArray": texts(&|said| said.sequence.into()),
            "EnqueuedTimeUtcArray": texts(&|said| said.time.to_string().into()),
            "OffsetStringArray": texts(&|said| said.sequence.to_string().into()),
            "RetryContext": { "RetryCount": retries, "MaxRetryCount": -1 },
        },
    })
}

/// Whether a twin differs from what it was in its bookkeeping alone.
fn assert_only_bookkeeping_changed(before: &Value, after: &Value) {
    let rest = |twin: &Value| {
        let mut twin = twin.clone();
        twin.as_object_mut().unwrap().shift_remove("$etag");
        twin["$metadata"].as_object_mut().unwrap().shift_remove("$lastUpdateTime");
        for name in ["HubRegistrationId", "HubName"] {
            twin.as_object_mut().unwrap().shift_remove(name);
            twin["$metadata"].as_object_mut().unwrap().shift_remove(name);
        }
        twin
    };
    assert_eq!(rest(before), rest(after));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_registrations_of_a_hundred_devices_through_three_instances_make_a_hundred_twins() {
    let site = Site::start().await;
    let twins_before = site.running.services().digital_twins.twin_count();
    let instances: [Instance; 3] = Instance::several(&site).await;
    // Every fourth device has a twin: under its own name, or prepared under another.
    let prepared = |n: usize| match n % 8 {
        0 => Some((format!("pump-{n}"), json!({ "DisplayName": "Pump", "Temperature": 20.5 }))),
        4 => Some((format!("twin-{n}"), json!({ "HubRegistrationId": format!("pump-{n}"), "Location": "Roof" }))),
        _ => None,
    };
    let mut expected = Vec::new();
    for n in 0..100 {
        let twin = match prepared(n) {
            Some((id, properties)) => {
                site.create_twin(&id, THERMOSTAT, properties).await;
                let before = site.twin(&id).await;
                (id, before)
            }
            None => (format!("pump-{n}"), None),
        };
        expected.push(twin);
    }

    let spelled = |n: usize, round: usize| match (n + round) % 4 {
        0 => format!("pump-{n}"),
        1 => format!("PUMP-{n}"),
        2 => format!("Pump-{n}"),
        _ => format!("pUmP-{n}"),
    };
    // The ten registrations of a device are all under way at the same time.
    let registrations = (0..1000).map(|at| {
        let (n, round) = (at / 10, at % 10);
        let instance = &instances[at % instances.len()];
        async move { (n, instance.allocate(&spelled(n, round)).await) }
    });
    let answers: Vec<_> = futures::stream::iter(registrations).buffer_unordered(120).collect().await;

    for (n, (twin, before)) in expected.iter().enumerate() {
        let own: Vec<_> = answers.iter().filter(|(of, _)| *of == n).map(|(_, answer)| answer).collect();
        assert_eq!(own.len(), 10);
        for answer in &own {
            assert_eq!(answer, &own[0], "pump-{n}");
        }
        assert_eq!(own[0]["iotHubHostName"], HUB);
        assert_eq!(own[0]["initialTwin"]["tags"], json!({ "dtId": twin, "dtmi": THERMOSTAT }));
        let after = site.twin(twin).await.unwrap();
        assert_eq!(after["HubRegistrationId"], format!("pump-{n}"));
        assert_eq!(after["HubName"], "contoso-hub");
        match before {
            Some(before) => assert_only_bookkeeping_changed(before, &after),
            None => assert_eq!(after.get("Temperature"), None, "nobody measured anything"),
        }
    }
    assert_eq!(site.running.services().digital_twins.twin_count(), twins_before + 100);
    assert_eq!(site.adt_calls("DigitalTwins_Delete"), 0, "no twin too many was ever made");
}

const PROPERTIES: [&str; 2] = ["Temperature", "ComfortIndex"];

/// Messages of one partition, from `devices`; of each property the times go up and down.
fn partition(chance: &mut Chance, devices: &[String]) -> Vec<Said> {
    let begin = Timestamp::now() - SignedDuration::from_mins(30);
    let begin = begin.round(jiff::Unit::Second).unwrap();
    let message = |sequence: i64| {
        let names = [&PROPERTIES[..1], &PROPERTIES[1..], &PROPERTIES[..]][chance.below(3) as usize];
        let value = sequence as f64 + 0.5;
        Said {
            device: devices[chance.below(devices.len() as u64) as usize].clone(),
            sequence,
            // No two are the same: the last digits are the number's.
            time: begin + SignedDuration::from_millis(1000 * chance.below(60) as i64 + sequence),
            body: names.iter().map(|name| ((*name).to_owned(), value.into())).collect::<Map<_, _>>().into(),
        }
    };
    (0..120).map(message).collect()
}

/// Looks at twins again and again: the source time of a property never goes back.
#[derive(Default)]
struct Watch(BTreeMap<(String, &'static str), Timestamp>);

impl Watch {
    async fn look(&mut self, site: &Site, devices: &[String]) {
        for device in devices {
            let twin = site.twin(device).await.unwrap();
            for property in PROPERTIES {
                let Some(now) = source_time(&twin, property) else { continue };
                let last = self.0.insert((device.clone(), property), now);
                assert!(last.is_none_or(|last| last <= now), "{device} {property}: {last:?}, then {now}");
            }
        }
    }
}

fn source_time(twin: &Value, property: &str) -> Option<Timestamp> {
    twin["$metadata"][property]["sourceTime"].as_str().map(|time| time.parse().unwrap())
}

async fn assert_newest(site: &Site, messages: &[Said], device: &str) {
    let twin = site.twin(device).await.unwrap();
    for property in PROPERTIES {
        let said = messages.iter().filter(|said| said.device == device && said.body.get(property).is_some());
        let Some(newest) = said.max_by_key(|said| said.time) else { continue };
        assert_eq!(twin[property], newest.body[property], "{device} {property}");
        assert_eq!(source_time(&twin, property), Some(newest.time), "{device} {property}");
    }
}

/// One instance reads a partition to its end. Another reads it too until the host stops it somewhere: in the same order,
/// or in the opposite one, and some of it after the first has finished.
#[tokio::test(flavor = "multi_thread")]
async fn two_instances_that_read_one_partition_leave_the_newest_values() {
    let site = Site::with(|config| config.adt_latency = Duration::from_millis(2)).await;
    let [first, second] = Instance::several(&site).await;
    for seed in 0..6 {
        let devices: Vec<_> = (0..3).map(|n| format!("pump-{seed}-{n}")).collect();
        for device in &devices {
            site.create_twin(device, THERMOSTAT, json!({ "HubRegistrationId": device })).await;
        }
        let mut chance = Chance::new(seed);
        let messages = partition(&mut chance, &devices);
        let batches: Vec<_> = messages.chunks(8).collect();
        let mut stopped: Vec<_> = batches.iter().copied().take(10).collect();
        if seed % 2 == 1 {
            stopped.reverse();
        }
        let (at_once, late) = stopped.split_at(chance.below(9) as usize);
        let reading = async {
            let first = async { for_each(&first, &batches).await };
            tokio::join!(first, for_each(&second, at_once));
            for_each(&second, late).await;
        };
        let mut watch = Watch::default();
        tokio::pin!(reading);
        loop {
            tokio::select! {
                () = &mut reading => break,
                () = watch.look(&site, &devices) => {}
            }
        }
        for device in &devices {
            assert_newest(&site, &messages, device).await;
        }
    }
}

async fn for_each(instance: &Instance, batches: &[&[Said]]) {
    for batch in batches {
        instance.deliver(batch).await;
    }
}
