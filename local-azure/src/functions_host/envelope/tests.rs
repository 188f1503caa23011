//! Envelopes, byte for byte as recorded.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::{Map, Value};

use super::{Delivery, HttpRequest, Partition, Retry, System, batch, http_request, single};
use crate::{
    event_hubs::{EventData, StoredEvent},
    functions_host::app::DataType,
};

/// The text of a recorded payload.
fn recorded(file: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/functions/");
    std::fs::read_to_string(format!("{folder}{file}")).unwrap()
}

fn recorded_json(file: &str) -> Value {
    serde_json::from_str(&recorded(file)).unwrap()
}

/// The data type of the binding for which a payload was recorded.
fn data_type(file: &str) -> DataType {
    let index = recorded_json("index.json");
    let request = index["requests"].as_array().unwrap().iter().find(|request| request["file"] == file).unwrap();
    match request["functionJson"]["dataType"].as_str() {
        None => DataType::Unset,
        Some("string") => DataType::String,
        Some("binary") => DataType::Binary,
        Some(other) => panic!("{other}"),
    }
}

/// The value inside a JSON string.
fn inner(value: &Value) -> Value {
    serde_json::from_str(value.as_str().unwrap()).unwrap()
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// The original bodies of a recorded batch.
fn decoded_bodies(file: &str) -> Vec<Bytes> {
    let body = |event: &Value| BASE64_STANDARD.decode(event["bodyBase64"].as_str().unwrap()).unwrap().into();
    recorded_json(file).as_array().unwrap().iter().map(body).collect()
}

/// The event that the host was given, from what it made of it.
fn event(system: &Value, properties: &Value, body: Bytes) -> StoredEvent {
    let stamped = ["x-opt-sequence-number", "x-opt-offset", "x-opt-enqueued-time"];
    let aliases = ["SequenceNumber", "Offset", "OffsetString", "PartitionKey", "EnqueuedTimeUtc"];
    let mut data = EventData { body, application_properties: object(properties), ..EventData::default() };
    for (name, value) in object(system) {
        if name.starts_with("iothub-") || name.starts_with("dt-") {
            data.annotations.insert(name, value);
        } else if !stamped.contains(&name.as_str()) && !aliases.contains(&name.as_str()) {
            data.properties.insert(name, value);
        }
    }
    StoredEvent {
        data,
        sequence_number: system["x-opt-sequence-number"].as_u64().unwrap(),
        offset: system["x-opt-offset"].as_str().unwrap().to_owned(),
        enqueued_time: system["x-opt-enqueued-time"].as_str().unwrap().parse().unwrap(),
    }
}

fn partition(context: &Value) -> Partition {
    let text = |name: &str| context[name].as_str().unwrap().to_owned();
    Partition {
        namespace: text("FullyQualifiedNamespace"),
        event_hub: text("EventHubName"),
        consumer_group: text("ConsumerGroup"),
        number: text("PartitionId").parse().unwrap(),
    }
}

fn system(metadata: &Value) -> System {
    let sys = &metadata["sys"];
    let function = match sys["MethodName"].as_str().unwrap() {
        "DeviceTelemetryToTwinFunc" => "DeviceTelemetryToTwinFunc",
        "DeleteDeviceInTwinFunc" => "DeleteDeviceInTwinFunc",
        "DpsAdtAllocationFunc" => "DpsAdtAllocationFunc",
        other => panic!("{other}"),
    };
    System {
        function,
        now: sys["UtcNow"].as_str().unwrap().parse().unwrap(),
        guid: sys["RandGuid"].as_str().unwrap().parse().unwrap(),
    }
}

fn retry(metadata: &Value) -> Option<Retry> {
    let context = metadata.get("RetryContext")?;
    let number = |name: &str| u32::try_from(context[name].as_u64().unwrap()).unwrap();
    Some(Retry { count: number("RetryCount"), max_count: Some(number("MaxRetryCount")), failure: None })
}

/// What the host sends for events of the partition and at the time of a recorded batch.
fn encoded(recording: &Value, data_type: DataType, events: &[Arc<StoredEvent>]) -> String {
    let metadata = &recording["Metadata"];
    let (partition, retry) = (partition(&metadata["PartitionContext"]), retry(metadata));
    let delivery =
        Delivery { name: "events", data_type, partition: &partition, system: system(metadata), retry: retry.as_ref() };
    String::from_utf8(batch(delivery, events).unwrap()).unwrap()
}

/// What the host sends for the events of a recorded batch.
fn encoded_batch(recording: &Value, data_type: DataType, bodies: Vec<Bytes>) -> String {
    let metadata = &recording["Metadata"];
    let (systems, properties) = (inner(&metadata["SystemPropertiesArray"]), inner(&metadata["PropertiesArray"]));
    let pairs = systems.as_array().unwrap().iter().zip(properties.as_array().unwrap());
    let events: Vec<_> =
        pairs.zip(bodies).map(|((system, properties), body)| Arc::new(event(system, properties, body))).collect();
    encoded(recording, data_type, &events)
}

/// The events of a batch, from what a handler must make of it.
fn decoded_events(file: &str) -> Vec<Arc<StoredEvent>> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let event = |(decoded, body): (&Value, Bytes)| {
        let StoredEvent { data, .. } = event(&decoded["systemProperties"], &decoded["properties"], body);
        Arc::new(StoredEvent {
            data,
            sequence_number: decoded["sequenceNumber"].as_u64().unwrap(),
            offset: text(&decoded["offsetString"]),
            enqueued_time: format!("{}Z", text(&decoded["enqueuedTimeUtc"])).parse().unwrap(),
        })
    };
    recorded_json(file).as_array().unwrap().iter().zip(decoded_bodies(file)).map(event).collect()
}

fn text_bodies(recording: &Value) -> Vec<Bytes> {
    let bodies = inner(&recording["Data"]["events"]);
    bodies.as_array().unwrap().iter().map(|text| Bytes::from(text.as_str().unwrap().to_owned())).collect()
}

#[test]
fn batches_of_text_are_sent_as_recorded() {
    for file in [
        "telemetry-batch-many.json",
        "telemetry-batch-many-one-event.json",
        "telemetry-batch-many-georeplicated-offset.json",
        "telemetry-batch-many-retry0.json",
        "lifecycle-batch-many.json",
        "lifecycle-batch-mixed.json",
    ] {
        let recording = recorded_json(file);
        assert_eq!(encoded_batch(&recording, data_type(file), text_bodies(&recording)), recorded(file), "{file}");
    }
}

#[test]
fn recorded_batches_hold_the_decoded_events() {
    for (file, decoded) in [
        ("telemetry-batch-many.json", "decoded-telemetry-batch.json"),
        ("telemetry-batch-many-binary.json", "decoded-telemetry-batch-binary.json"),
        ("lifecycle-batch-many.json", "decoded-lifecycle-batch.json"),
    ] {
        let recording = recorded_json(file);
        assert_eq!(encoded(&recording, data_type(file), &decoded_events(decoded)), recorded(file), "{file}");
    }
}

#[test]
fn without_a_data_type_bodies_are_written_anew() {
    let file = "telemetry-batch-many-nodatatype.json";
    let bodies = decoded_bodies("decoded-telemetry-batch.json");
    assert_eq!(encoded_batch(&recorded_json(file), data_type(file), bodies), recorded(file));
}

#[test]
fn as_text_bytes_that_are_not_utf_8_are_lost() {
    let file = "telemetry-batch-many-nonutf8-string.json";
    let body = decoded_bodies("decoded-telemetry-batch-binary.json").pop().unwrap();
    assert_eq!(encoded_batch(&recorded_json(file), data_type(file), vec![body]), recorded(file));
}

#[test]
fn version_5_of_the_extension_sent_the_same_without_what_version_6_added() {
    let file = "telemetry-batch-many-v5.json";
    let recording = recorded_json(file);
    let mut ours: Value =
        serde_json::from_str(&encoded_batch(&recording, data_type(file), text_bodies(&recording))).unwrap();
    let metadata = ours["Metadata"].as_object_mut().unwrap();
    metadata.shift_remove("TriggerPartitionContext");
    metadata.shift_remove("OffsetStringArray");
    let mut system = inner(&metadata["SystemPropertiesArray"]);
    for properties in system.as_array_mut().unwrap() {
        properties.as_object_mut().unwrap().shift_remove("OffsetString");
    }
    metadata["SystemPropertiesArray"] = Value::String(system.to_string());
    assert_eq!(ours.to_string(), recorded(file));
}

#[test]
fn without_a_data_type_one_event_that_is_not_json_stops_the_batch() {
    let recording = recorded_json("telemetry-batch-many-one-event.json");
    let metadata = &recording["Metadata"];
    let systems = inner(&metadata["SystemPropertiesArray"]);
    let event = event(&systems[0], &Value::Object(Map::new()), Bytes::from_static(b"not json"));
    let partition = partition(&metadata["PartitionContext"]);
    let delivery = Delivery {
        name: "events",
        data_type: DataType::Unset,
        partition: &partition,
        system: system(metadata),
        retry: None,
    };
    let error = batch(delivery, &[Arc::new(event)]).unwrap_err();
    assert_eq!(error.sequence_number, systems[0]["x-opt-sequence-number"]);
}

#[test]
fn a_retry_tells_its_number_and_why_the_attempt_before_failed() {
    let recording = recorded_json("telemetry-batch-many-one-event.json");
    let metadata = &recording["Metadata"];
    let partition = partition(&metadata["PartitionContext"]);
    let retry = Retry { count: 3, max_count: None, failure: Some("no luck".to_owned()) };
    let delivery = Delivery {
        name: "events",
        data_type: DataType::Binary,
        partition: &partition,
        system: system(metadata),
        retry: Some(&retry),
    };
    let sent: Value = serde_json::from_slice(&batch(delivery, &[]).unwrap()).unwrap();
    let context = &sent["Metadata"]["RetryContext"];
    assert_eq!((&context["RetryCount"], &context["MaxRetryCount"]), (&3.into(), &Value::from(-1)));
    assert_eq!(context["Exception"]["Message"], "no luck");
}

/// What the host sends for the event of `single.json` with this body.
fn encoded_single(data_type: DataType, body: Bytes) -> String {
    let recording = recorded_json("single.json");
    let metadata = &recording["Metadata"];
    let partition = partition(&metadata["PartitionContext"]);
    let delivery = Delivery { name: "event", data_type, partition: &partition, system: system(metadata), retry: None };
    let event = event(&metadata["SystemProperties"], &metadata["Properties"], body);
    String::from_utf8(single(delivery, &event)).unwrap()
}

#[test]
fn single_events_are_sent_as_recorded() {
    let body = decoded_bodies("decoded-telemetry-batch.json").pop().unwrap();
    assert_eq!(encoded_single(DataType::Unset, body.clone()), recorded("single.json"));
    for file in ["single.json", "single-binary.json"] {
        assert_eq!(encoded_single(data_type(file), body.clone()), recorded(file));
    }
}

#[test]
fn the_body_of_a_single_event_can_forge_its_metadata() {
    let text = inner(&recorded_json("single-metadata-spoof.json")["Data"]["event"]);
    let body = Bytes::from(text.as_str().unwrap().to_owned());
    let file = "single-metadata-spoof.json";
    assert_eq!(encoded_single(data_type(file), body), recorded(file));
}

/// The request that the host was sent, from what it made of it.
fn encoded_http(file: &str, body: Bytes) -> String {
    let recording = recorded_json(file);
    let request = &recording["Data"]["req"];
    let header = |(name, values): (&String, &Value)| {
        let value = HeaderValue::from_str(values[0].as_str().unwrap()).unwrap();
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), value)
    };
    let headers: HeaderMap = request["Headers"].as_object().unwrap().iter().map(header).collect();
    let url: url::Url = request["Url"].as_str().unwrap().parse().unwrap();
    let has_key = url.query().is_some();
    let request = HttpRequest { method: Method::POST, url, headers, has_key, body };
    String::from_utf8(http_request("req", &request, system(&recording["Metadata"]))).unwrap()
}

#[test]
fn http_requests_are_sent_as_recorded() {
    let body = Bytes::from(recorded("http-trigger-original-body.json"));
    assert_eq!(encoded_http("http-trigger-nonforwarded.json", body), recorded("http-trigger-nonforwarded.json"));
}

#[test]
fn the_body_of_a_chunked_http_request_is_lost() {
    let file = "http-trigger-nonforwarded-chunked-body-lost.json";
    let body = Bytes::from(recorded("http-trigger-original-body.json"));
    assert_eq!(encoded_http(file, body), recorded(file));
}
