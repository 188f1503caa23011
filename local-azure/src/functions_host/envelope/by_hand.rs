//! Invocations of Event Hub triggers that somebody asks for by hand.

use serde_json::{Map, json};

use super::{
    System, envelope,
    events::{lone_value, many_value, merge_lone_body},
    quoted,
};
use crate::functions_host::app::{Cardinality, EventHubTrigger};

/// The input is not JSON, which a trigger without `dataType` needs: the host fails before it calls the handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the input is not JSON, which a trigger without dataType needs. Set \"dataType\": \"binary\" in function.json")]
pub(in crate::functions_host) struct InputNotJson;

/// What .NET has where an event was in no partition.
const NO_NUMBER: i64 = i64::MIN;
/// What .NET has where nobody stamped a time.
const NO_TIME: &str = "0001-01-01T00:00:00";

/// The body for an event of which there is nothing but a text.
///
/// The host makes an event of the text and calls the function as for a single one, even where the trigger's
/// cardinality is `many`: then the body is an array with one element, and the metadata have the names that they have
/// for one event. There is no partition, no partition key, no retry, and nothing that IoT Hub would have said
/// (azure-sdk-for-net: `EventHubTriggerBindingStrategy.cs`, `ConvertFromString` and `GetBindingData`;
/// `EventHubTriggerInput.cs`, `New`; `EventData.cs`).
pub(in crate::functions_host) fn by_hand(
    trigger: &EventHubTrigger,
    input: &str,
    system: System,
) -> Result<Vec<u8>, InputNotJson> {
    let body = input.as_bytes();
    let data = match trigger.cardinality {
        Cardinality::One => lone_value(trigger.data_type, body),
        Cardinality::Many => quoted(&[many_value(trigger.data_type, body).ok_or(InputNotJson)?]),
    };
    let system_properties = json!({
        "SequenceNumber": NO_NUMBER,
        "Offset": -1,
        "OffsetString": null,
        "PartitionKey": null,
        "EnqueuedTimeUtc": NO_TIME,
    });
    let mut metadata = Map::from_iter([
        ("Offset".to_owned(), quoted(&"-1")),
        ("SequenceNumber".to_owned(), quoted(&NO_NUMBER)),
        ("EnqueuedTimeUtc".to_owned(), json!(NO_TIME)),
        ("Properties".to_owned(), json!({})),
        ("SystemProperties".to_owned(), system_properties),
        ("sys".to_owned(), system.to_json()),
    ]);
    if trigger.cardinality == Cardinality::One {
        merge_lone_body(&mut metadata, trigger.data_type, body);
    }
    Ok(envelope(&trigger.name, data, metadata))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use uuid::Uuid;

    use super::*;
    use crate::functions_host::app::DataType;

    fn body(cardinality: Cardinality, data_type: DataType, input: &str) -> Option<Value> {
        let trigger = EventHubTrigger {
            name: "events".to_owned(),
            event_hub: "deviceevents".to_owned(),
            consumer_group: "$Default".to_owned(),
            cardinality,
            data_type,
        };
        let system = System { function: "F", now: "2026-05-27T19:02:11.12Z".parse().unwrap(), guid: Uuid::nil() };
        by_hand(&trigger, input, system).ok().map(|body| serde_json::from_slice(&body).unwrap())
    }

    #[test]
    fn a_batch_of_one_has_the_metadata_of_a_single_event() {
        let body = body(Cardinality::Many, DataType::Binary, r#"{"Temperature":21.5}"#).unwrap();
        let expected = json!({
            "Data": { "events": r#"["eyJUZW1wZXJhdHVyZSI6MjEuNX0="]"# },
            "Metadata": {
                "Offset": r#""-1""#,
                "SequenceNumber": "-9223372036854775808",
                "EnqueuedTimeUtc": "0001-01-01T00:00:00",
                "Properties": {},
                "SystemProperties": {
                    "SequenceNumber": i64::MIN,
                    "Offset": -1,
                    "OffsetString": null,
                    "PartitionKey": null,
                    "EnqueuedTimeUtc": "0001-01-01T00:00:00",
                },
                "sys": { "MethodName": "F", "UtcNow": "2026-05-27T19:02:11.12Z", "RandGuid": Uuid::nil() },
            },
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn what_the_text_becomes_is_decided_by_the_trigger() {
        let data = |cardinality, data_type, input| body(cardinality, data_type, input).map(|body| body["Data"].clone());
        let events = |value: &str| Some(json!({ "events": value }));
        assert_eq!(data(Cardinality::Many, DataType::String, "a"), events(r#"["a"]"#));
        assert_eq!(data(Cardinality::Many, DataType::Unset, "[1.50]"), events("[[1.5]]"));
        assert_eq!(data(Cardinality::Many, DataType::Unset, "a"), None);
        assert_eq!(data(Cardinality::One, DataType::Unset, "a"), events(r#""a""#));
        assert_eq!(data(Cardinality::One, DataType::Binary, "a"), events("YQ=="));
    }

    #[test]
    fn only_a_single_text_adds_to_the_metadata() {
        let input = r#"{"SystemProperties":{"iothub-connection-device-id":"anybody"}}"#;
        let says = |cardinality, data_type| {
            let body = body(cardinality, data_type, input).unwrap();
            body["Metadata"]["SystemProperties"]["iothub-connection-device-id"] == "anybody"
        };
        assert!(says(Cardinality::One, DataType::String));
        assert!(!says(Cardinality::One, DataType::Binary));
        assert!(!says(Cardinality::Many, DataType::String));
    }
}
