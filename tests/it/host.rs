//! The host's invocations: every recorded body is decoded to what it says.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use function_app::host::{DataType, DecodeError, Event, EventBatch, HttpRequest, Output, timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fixtures;

fn decode(name: &str, data_type: DataType) -> EventBatch {
    EventBatch::decode(&fixtures::bytes("functions", name), data_type).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn assert_is(event: &Event, expected: &Value) {
    assert_eq!(STANDARD.encode(&event.body), expected["bodyBase64"], "body");
    if let Some(text) = expected["bodyUtf8"].as_str() {
        assert_eq!(String::from_utf8_lossy(&event.body), text);
    }
    assert_eq!(serde_json::to_value(&event.properties).unwrap(), expected["properties"]);
    assert_eq!(serde_json::to_value(&event.system).unwrap(), expected["systemProperties"]);
    assert_eq!(event.sequence_number, expected["sequenceNumber"].as_i64());
    assert_eq!(event.enqueued_time, timestamp(&expected["enqueuedTimeUtc"]));
    assert!(event.enqueued_time.is_some());
}

fn assert_decodes(name: &str, data_type: DataType, expectation: &str) {
    let batch = decode(name, data_type);
    let expected = fixtures::json("functions", expectation);
    let expected = expected.as_array().unwrap();
    assert_eq!(batch.events.len(), expected.len(), "{name}");
    for (event, expected) in batch.events.iter().zip(expected) {
        assert_is(event, expected);
    }
}

#[test]
fn a_batch_of_text_is_decoded() {
    assert_decodes("telemetry-batch-many.json", DataType::Text, "decoded-telemetry-batch.json");
}

#[test]
fn a_batch_of_bytes_is_decoded_whatever_the_bytes() {
    assert_decodes("telemetry-batch-many-binary.json", DataType::Binary, "decoded-telemetry-batch-binary.json");
}

#[test]
fn a_batch_of_deletions_is_decoded() {
    assert_decodes("lifecycle-batch-many.json", DataType::Text, "decoded-lifecycle-batch.json");
    let batch = decode("lifecycle-batch-mixed.json", DataType::Text);
    let operations: Vec<_> = batch.events.iter().map(|event| event.properties.text("optype").unwrap()).collect();
    assert_eq!(operations, ["createDeviceIdentity", "deleteDeviceIdentity"]);
    assert_eq!(batch.events[0].sequence_number, Some(22));
    assert_eq!(batch.partition.as_deref(), Some("1"));
}

#[test]
fn metadata_of_older_extensions_says_the_same() {
    let batch = decode("telemetry-batch-many-v5.json", DataType::Text);
    let newer = decode("telemetry-batch-many.json", DataType::Text);
    for (event, newer) in batch.events.iter().zip(&newer.events) {
        assert_eq!((&event.body, &event.properties), (&newer.body, &newer.properties));
        assert_eq!(event.device_id(), newer.device_id());
        assert_eq!(event.source_time(), newer.source_time());
    }
    assert_eq!(batch.events.len(), newer.events.len());
}

/// An event's own words on who sent what and when, in one line.
fn brief(event: &Event) -> String {
    let device = event.device_id().unwrap();
    let [module, component, source] =
        [event.module_id(), event.dt_subject(), event.message_source()].map(Option::unwrap_or_default);
    let sequence = event.sequence_number.unwrap();
    let (enqueued, sent) = (event.enqueued_time.unwrap(), event.source_time().unwrap());
    let properties = serde_json::to_string(&event.properties).unwrap();
    format!("#{sequence} {enqueued} ({sent}) {device}/{module}.{component} {source} {properties}")
}

#[test]
fn every_recorded_batch_says_who_sent_what_when() {
    let index = fixtures::json("functions", "index.json");
    let mut lines = Vec::new();
    for request in index["requests"].as_array().unwrap() {
        let binding = &request["functionJson"];
        if binding["cardinality"] != "many" {
            continue;
        }
        let file = request["file"].as_str().unwrap();
        let data_type = if binding["dataType"] == "binary" { DataType::Binary } else { DataType::Text };
        let EventBatch { events, retries, partition } = decode(file, data_type);
        lines.push(format!("{file}: partition {}, retries {retries}", partition.unwrap()));
        lines.extend(events.iter().map(|event| format!("  {}", brief(event))));
    }
    insta::assert_snapshot!(lines.join("\n"), @r#"
    telemetry-batch-many.json: partition 0, retries 0
      #4711 2024-05-01T12:00:00.25Z (2024-05-01T12:00:00.123Z) thermostat-01/. Telemetry {"dtId":"twin-thermostat-01","dtmi":"dtmi:com:contoso:Thermostat;1","alert":"false"}
      #4712 2024-05-01T12:00:00.9Z (2024-05-01T12:00:00.4Z) thermostat-02/.thermostat1 Telemetry {"dtId":"twin-thermostat-02","dtmi":"dtmi:com:contoso:Thermostat;1"}
    telemetry-batch-many-v5.json: partition 0, retries 0
      #4711 2024-05-01T12:00:00.25Z (2024-05-01T12:00:00.123Z) thermostat-01/. Telemetry {"dtId":"twin-thermostat-01","dtmi":"dtmi:com:contoso:Thermostat;1","alert":"false"}
      #4712 2024-05-01T12:00:00.9Z (2024-05-01T12:00:00.4Z) thermostat-02/.thermostat1 Telemetry {"dtId":"twin-thermostat-02","dtmi":"dtmi:com:contoso:Thermostat;1"}
    telemetry-batch-many-binary.json: partition 0, retries 0
      #4711 2024-05-01T12:00:00.25Z (2024-05-01T12:00:00.123Z) thermostat-01/. Telemetry {"dtId":"twin-thermostat-01","dtmi":"dtmi:com:contoso:Thermostat;1","alert":"false"}
      #4712 2024-05-01T12:00:00.9Z (2024-05-01T12:00:00.4Z) thermostat-02/.thermostat1 Telemetry {"dtId":"twin-thermostat-02","dtmi":"dtmi:com:contoso:Thermostat;1"}
      #4713 2024-05-01T12:00:02Z (2024-05-01T12:00:02Z) thermostat-03/. Telemetry {"dtId":"twin-thermostat-03"}
    telemetry-batch-many-nodatatype.json: partition 0, retries 0
      #4711 2024-05-01T12:00:00.25Z (2024-05-01T12:00:00.123Z) thermostat-01/. Telemetry {"dtId":"twin-thermostat-01","dtmi":"dtmi:com:contoso:Thermostat;1","alert":"false"}
      #4712 2024-05-01T12:00:00.9Z (2024-05-01T12:00:00.4Z) thermostat-02/.thermostat1 Telemetry {"dtId":"twin-thermostat-02","dtmi":"dtmi:com:contoso:Thermostat;1"}
    telemetry-batch-many-nonutf8-string.json: partition 0, retries 0
      #4713 2024-05-01T12:00:02Z (2024-05-01T12:00:02Z) thermostat-03/. Telemetry {"dtId":"twin-thermostat-03"}
    telemetry-batch-many-one-event.json: partition 3, retries 0
      #4712 2024-05-01T12:00:00.9Z (2024-05-01T12:00:00.4Z) thermostat-02/.thermostat1 Telemetry {"dtId":"twin-thermostat-02","dtmi":"dtmi:com:contoso:Thermostat;1"}
    telemetry-batch-many-georeplicated-offset.json: partition 0, retries 0
      #4714 2024-05-01T12:00:03Z (2024-05-01T12:00:00.123Z) thermostat-01/. Telemetry {"dtId":"twin-thermostat-01","dtmi":"dtmi:com:contoso:Thermostat;1","alert":"false"}
    telemetry-batch-many-retry0.json: partition 0, retries 0
      #4711 2024-05-01T12:00:00.25Z (2024-05-01T12:00:00.123Z) thermostat-01/. Telemetry {"dtId":"twin-thermostat-01","dtmi":"dtmi:com:contoso:Thermostat;1","alert":"false"}
    lifecycle-batch-many.json: partition 1, retries 0
      #20 2024-05-01T12:05:00.125Z (2024-05-01T12:05:00.125Z) thermostat-01/. deviceLifecycleEvents {"hubName":"contoso-hub","deviceId":"thermostat-01","operationTimestamp":"2024-05-01T12:05:00.1254567Z","opType":"deleteDeviceIdentity"}
      #21 2024-05-01T12:05:00.25Z (2024-05-01T12:05:00.25Z) thermostat-02/. deviceLifecycleEvents {"hubName":"contoso-hub","deviceId":"thermostat-02","operationTimestamp":"2024-05-01T12:05:00.2504567Z","opType":"deleteDeviceIdentity"}
    lifecycle-batch-mixed.json: partition 1, retries 0
      #22 2024-05-01T12:06:00.5Z (2024-05-01T12:06:00.5Z) thermostat-09/. deviceLifecycleEvents {"hubName":"contoso-hub","deviceId":"thermostat-09","operationTimestamp":"2024-05-01T12:06:00.5004567Z","opType":"createDeviceIdentity"}
      #20 2024-05-01T12:05:00.125Z (2024-05-01T12:05:00.125Z) thermostat-01/. deviceLifecycleEvents {"hubName":"contoso-hub","deviceId":"thermostat-01","operationTimestamp":"2024-05-01T12:05:00.1254567Z","opType":"deleteDeviceIdentity"}
    "#);
}

#[test]
fn who_sent_what_when_is_known() {
    let batch = decode("telemetry-batch-many.json", DataType::Text);
    let [first, second] = &batch.events[..] else { panic!("two events") };
    assert_eq!(first.device_id().unwrap().as_str(), "thermostat-01");
    assert_eq!(first.module_id(), None);
    assert_eq!(first.message_source(), Some("Telemetry"));
    assert_eq!(first.content_type(), Some("application/json"));
    assert_eq!(first.source_time().unwrap().to_string(), "2024-05-01T12:00:00.123Z");
    assert_eq!(first.dt_subject(), None);
    assert_eq!(second.dt_subject(), Some("thermostat1"));
    assert_eq!(batch.partition.as_deref(), Some("0"));
    assert_eq!(batch.retries, 0);
}

#[test]
fn bodies_that_the_host_wrote_anew_are_taken_as_they_are() {
    let batch = decode("telemetry-batch-many-nodatatype.json", DataType::Binary);
    let bodies: Vec<_> = batch.events.iter().map(|event| std::str::from_utf8(&event.body).unwrap()).collect();
    assert_eq!(
        bodies,
        [
            r#"{"Temperature":21.5,"Humidity":40,"ts":"2024-05-01T12:00:00+00:00"}"#,
            r#"{"Temperature":-3.25,"note":"Größe \"L\"","ts":"2024-05-01T12:00:00.5Z"}"#,
        ]
    );
}

#[test]
fn bytes_that_the_host_lost_stay_lost() {
    let batch = decode("telemetry-batch-many-nonutf8-string.json", DataType::Text);
    assert_eq!(&batch.events[0].body[..], "\u{fffd}\u{fffd}\0\u{1}not json".as_bytes());
}

#[test]
fn a_batch_of_one_is_a_batch() {
    assert_eq!(decode("telemetry-batch-many-one-event.json", DataType::Text).events.len(), 1);
}

#[test]
fn an_offset_that_is_no_number_does_no_harm() {
    let batch = decode("telemetry-batch-many-georeplicated-offset.json", DataType::Text);
    assert_eq!(batch.events[0].sequence_number, Some(4714));
}

#[test]
fn the_first_attempt_says_that_it_is_the_first() {
    assert_eq!(decode("telemetry-batch-many-retry0.json", DataType::Text).retries, 0);
}

#[test]
fn a_later_attempt_says_how_often_the_batch_came_before() {
    let mut body = fixtures::json("functions", "telemetry-batch-many-retry0.json");
    body["Metadata"]["RetryContext"] = json!({ "RetryCount": 7, "MaxRetryCount": -1, "Exception": { "deep": [1] } });
    assert_eq!(EventBatch::decode(body.to_string().as_bytes(), DataType::Text).unwrap().retries, 7);
}

#[test]
fn events_that_come_one_by_one_are_not_trusted() {
    for name in ["single.json", "single-binary.json", "single-metadata-spoof.json"] {
        let decoded = EventBatch::decode(&fixtures::bytes("functions", name), DataType::Binary);
        assert!(matches!(decoded, Err(DecodeError::One)), "{name}");
    }
}

/// What the host sends for `POST /admin/functions/{name}`: a batch of one with the metadata of a single event.
#[test]
fn an_event_by_hand_has_no_sender_whatever_its_metadata_say() {
    let mut body = json!({
        "Data": { "events": r#"["eyJUZW1wZXJhdHVyZSI6MjEuNX0="]"# },
        "Metadata": {
            "Offset": r#""-1""#, "SequenceNumber": "-9223372036854775808", "EnqueuedTimeUtc": "0001-01-01T00:00:00",
            "Properties": { "dtId": "pump-1" },
            "SystemProperties": { "SequenceNumber": i64::MIN, "iothub-connection-device-id": "pump-1" },
            "sys": { "MethodName": "DeviceTelemetryToTwinFunc" },
        },
    });
    let batch = EventBatch::decode(body.to_string().as_bytes(), DataType::Binary).unwrap();
    let [event] = batch.events.as_slice() else { panic!("{batch:?}") };
    assert_eq!(&event.body[..], br#"{"Temperature":21.5}"#);
    assert_eq!((event.device_id(), event.source_time(), event.sequence_number), (None, None, None));
    assert_eq!(event.properties.iter().count(), 0);
    assert_eq!(batch.retries, 0);

    body["Data"]["events"] = json!(r#"["YQ==","YQ=="]"#);
    assert_eq!(refused(&body), "Metadata.PropertiesArray is missing");
}

#[test]
fn a_request_in_the_envelope_has_the_caller_s_body() {
    let request = HttpRequest::decode(&fixtures::bytes("functions", "http-trigger-nonforwarded.json")).unwrap();
    assert_eq!(&request.body[..], fixtures::bytes("functions", "http-trigger-original-body.json"));
    let lost = fixtures::bytes("functions", "http-trigger-nonforwarded-chunked-body-lost.json");
    assert!(HttpRequest::decode(&lost).unwrap().body.is_empty());
}

#[test]
fn an_output_that_the_host_would_decode_as_base64_cannot_be_made() {
    let trap = fixtures::json("functions", "response-base64-trap.json");
    assert_eq!(STANDARD.decode(trap["Outputs"]["deadLetter"].as_str().unwrap()).unwrap(), [0xb5, 0xeb, 0x2d]);
    assert!(Output::json(&trap["Outputs"]["deadLetter"]).is_err());
}

/// A batch of two events, to be spoilt.
fn batch() -> Value {
    fixtures::json("functions", "telemetry-batch-many-binary.json")
}

fn refused(body: &Value) -> String {
    EventBatch::decode(body.to_string().as_bytes(), DataType::Binary).unwrap_err().to_string()
}

#[test]
fn a_batch_that_would_lose_an_event_is_refused() {
    let mut body = batch();
    body["Metadata"]["PropertiesArray"] = json!("[{},{}]");
    assert_eq!(refused(&body), "Metadata.PropertiesArray has 2 elements for 3 events");

    let mut body = batch();
    body["Metadata"].as_object_mut().unwrap().remove("SystemPropertiesArray");
    assert_eq!(refused(&body), "Metadata.SystemPropertiesArray is missing");

    let mut body = batch();
    body["Metadata"]["SequenceNumberArray"] = json!("[1,2,3,4]");
    assert_eq!(refused(&body), "Metadata.SequenceNumberArray has 4 elements for 3 events");

    let mut body = batch();
    body["Data"]["events"] = json!("[]");
    assert_eq!(refused(&body), "the batch has 0 events; it takes 1 to 10000");

    let mut body = batch();
    body["Data"]["events"] = json!(format!("[{}]", vec!["\"\""; 10_001].join(",")));
    assert_eq!(refused(&body), "the batch has 10001 events; it takes 1 to 10000");

    let mut body = batch();
    body["Data"]["more"] = json!("[]");
    assert!(refused(&body).starts_with("the body is not as the Functions host writes it"));

    for body in
        [json!({}), json!({ "Data": {}, "Metadata": {} }), json!([]), json!({ "Data": { "e": "[" }, "Metadata": {} })]
    {
        refused(&body);
    }
}

#[test]
fn what_is_not_there_is_taken_from_where_else_it_is() {
    let mut body = batch();
    let metadata = body["Metadata"].as_object_mut().unwrap();
    for name in ["SequenceNumberArray", "EnqueuedTimeUtcArray", "PartitionContext"] {
        metadata.remove(name).unwrap();
    }
    let batch = EventBatch::decode(body.to_string().as_bytes(), DataType::Binary).unwrap();
    assert_eq!(batch.events[0].sequence_number, Some(4711));
    assert_eq!(batch.events[0].enqueued_time.unwrap().to_string(), "2024-05-01T12:00:00.25Z");
    assert_eq!(batch.partition, None);
}

#[test]
fn arrays_that_are_not_quoted_are_read_as_well() {
    let mut body = batch();
    for part in ["Data", "Metadata"] {
        for (_, value) in body[part].as_object_mut().unwrap() {
            if let Some(inner) = value.as_str().and_then(|text| serde_json::from_str(text).ok()) {
                *value = inner;
            }
        }
    }
    assert_eq!(EventBatch::decode(body.to_string().as_bytes(), DataType::Binary).unwrap(), {
        EventBatch::decode(&fixtures::bytes("functions", "telemetry-batch-many-binary.json"), DataType::Binary).unwrap()
    });
}

proptest! {
    #[test]
    fn any_bytes_survive_the_way_through_the_host(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20)) {
        let array: Vec<_> = bodies.iter().map(|body| STANDARD.encode(body)).collect();
        let empty = json!(vec![json!({}); bodies.len()]).to_string();
        let body = json!({
            "Data": { "events": json!(array).to_string() },
            "Metadata": { "PropertiesArray": empty, "SystemPropertiesArray": empty },
        });
        let batch = EventBatch::decode(body.to_string().as_bytes(), DataType::Binary).unwrap();
        let decoded: Vec<_> = batch.events.iter().map(|event| event.body.to_vec()).collect();
        prop_assert_eq!(decoded, bodies);
    }

    #[test]
    fn no_body_makes_the_decoder_panic(body in prop::collection::vec(any::<u8>(), 0..400), cut in 0_usize..4000) {
        let _ = EventBatch::decode(&body, DataType::Binary);
        let _ = HttpRequest::decode(&body);
        let recorded = fixtures::bytes("functions", "telemetry-batch-many.json");
        let _ = EventBatch::decode(&recorded[..cut.min(recorded.len())], DataType::Binary);
    }
}
