//! Invocations of Event Hub triggers.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use super::{System, date_time, envelope, json_net, merge_body, quoted};
use crate::{event_hubs::StoredEvent, functions_host::app::DataType};

/// Where events come from.
#[derive(Debug, Clone)]
pub(in crate::functions_host) struct Partition {
    pub(in crate::functions_host) namespace: String,
    pub(in crate::functions_host) event_hub: String,
    pub(in crate::functions_host) consumer_group: String,
    pub(in crate::functions_host) number: usize,
}

/// Which attempt this is; there only if the function has a retry policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::functions_host) struct Retry {
    /// 0 for the first attempt.
    pub(in crate::functions_host) count: u32,
    /// `None`: for ever.
    pub(in crate::functions_host) max_count: Option<u32>,
    /// Why the attempt before failed.
    pub(in crate::functions_host) failure: Option<String>,
}

/// What an invocation tells of its events beside the events themselves.
#[derive(Debug, Clone, Copy)]
pub(in crate::functions_host) struct Delivery<'a> {
    /// The trigger's name.
    pub(in crate::functions_host) name: &'a str,
    pub(in crate::functions_host) data_type: DataType,
    pub(in crate::functions_host) partition: &'a Partition,
    pub(in crate::functions_host) system: System,
    pub(in crate::functions_host) retry: Option<&'a Retry>,
}

/// Without `dataType`, events must be JSON; one that is not makes the host fail before it calls the handler.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "event {sequence_number} is not JSON, which a trigger without dataType needs; the whole batch fails. \
     Set \"dataType\": \"binary\" in function.json"
)]
pub(in crate::functions_host) struct NotJson {
    pub(in crate::functions_host) sequence_number: u64,
}

/// The body for a batch (cardinality `many`).
pub(in crate::functions_host) fn batch(
    delivery: Delivery<'_>,
    events: &[Arc<StoredEvent>],
) -> Result<Vec<u8>, NotJson> {
    let body = |event: &Arc<StoredEvent>| {
        let value = many_value(delivery.data_type, &event.data.body);
        value.ok_or(NotJson { sequence_number: event.sequence_number })
    };
    let bodies = events.iter().map(body).collect::<Result<Vec<_>, _>>()?;
    let array = |value: fn(&StoredEvent) -> Value| quoted(&events.iter().map(|event| value(event)).collect::<Vec<_>>());
    let mut metadata = partition_context(delivery.partition);
    metadata.extend([
        ("PartitionKeyArray".to_owned(), array(partition_key)),
        ("OffsetArray".to_owned(), array(|event| json!(numeric_offset(event).to_string()))),
        ("OffsetStringArray".to_owned(), array(|event| json!(event.offset))),
        ("SequenceNumberArray".to_owned(), array(|event| json!(event.sequence_number))),
        ("EnqueuedTimeUtcArray".to_owned(), array(|event| json!(date_time(event.enqueued_time, "")))),
        ("PropertiesArray".to_owned(), array(|event| json!(event.data.application_properties))),
        ("SystemPropertiesArray".to_owned(), array(|event| Value::Object(system_properties(event)))),
        ("sys".to_owned(), delivery.system.to_json()),
    ]);
    metadata.extend(delivery.retry.map(retry_context));
    Ok(envelope(delivery.name, quoted(&bodies), metadata))
}

/// The body for one event (cardinality `one`).
pub(in crate::functions_host) fn single(delivery: Delivery<'_>, event: &StoredEvent) -> Vec<u8> {
    let body = &event.data.body;
    let mut metadata = partition_context(delivery.partition);
    if let key @ Value::String(_) = partition_key(event) {
        metadata.insert("PartitionKey".to_owned(), quoted(&key));
    }
    metadata.extend([
        ("Offset".to_owned(), quoted(&numeric_offset(event).to_string())),
        ("OffsetString".to_owned(), quoted(&event.offset)),
        ("SequenceNumber".to_owned(), quoted(&event.sequence_number)),
        ("EnqueuedTimeUtc".to_owned(), json!(whole_seconds(event))),
        ("Properties".to_owned(), json!(event.data.application_properties)),
        ("SystemProperties".to_owned(), Value::Object(system_properties(event))),
        ("sys".to_owned(), delivery.system.to_json()),
    ]);
    metadata.extend(delivery.retry.map(retry_context));
    merge_lone_body(&mut metadata, delivery.data_type, body);
    envelope(delivery.name, lone_value(delivery.data_type, body), metadata)
}

/// The body of an event among others; `None` where it would have to be JSON and is not.
pub(super) fn many_value(data_type: DataType, body: &[u8]) -> Option<Value> {
    match data_type {
        DataType::Binary => Some(json!(BASE64_STANDARD.encode(body))),
        DataType::String => Some(json!(String::from_utf8_lossy(body))),
        DataType::Unset => json_net::parse(body),
    }
}

/// The body of an event by itself.
pub(super) fn lone_value(data_type: DataType, body: &[u8]) -> Value {
    match data_type {
        DataType::Binary => json!(BASE64_STANDARD.encode(body)),
        DataType::String | DataType::Unset => quoted(&String::from_utf8_lossy(body)),
    }
}

/// The text of a lone event is looked at as JSON, whose members replace metadata of the same names: a device can forge
/// them.
pub(super) fn merge_lone_body(metadata: &mut Map<String, Value>, data_type: DataType, body: &[u8]) {
    if data_type != DataType::Binary
        && let Ok(body) = serde_json::from_str(&String::from_utf8_lossy(body))
    {
        merge_body(metadata, &body);
    }
}

/// Both names under which the versions of the Event Hubs extension know it.
fn partition_context(partition: &Partition) -> Map<String, Value> {
    let context = json!({
        "IsCheckpointingAfterInvocation": true,
        "FullyQualifiedNamespace": partition.namespace,
        "EventHubName": partition.event_hub,
        "ConsumerGroup": partition.consumer_group,
        "PartitionId": partition.number.to_string(),
    });
    Map::from_iter([("TriggerPartitionContext".to_owned(), context.clone()), ("PartitionContext".to_owned(), context)])
}

/// AMQP properties, annotations, then the extension's aliases (azure-sdk-for-net: `AmqpSystemProperties.cs`,
/// `EventHubTriggerBindingStrategy.cs`).
fn system_properties(event: &StoredEvent) -> Map<String, Value> {
    let mut properties = event.data.properties.clone();
    properties.extend(event.data.annotations.clone());
    properties.extend([
        ("x-opt-sequence-number".to_owned(), json!(event.sequence_number)),
        ("x-opt-offset".to_owned(), json!(event.offset)),
        ("x-opt-enqueued-time".to_owned(), json!(date_time(event.enqueued_time, "+00:00"))),
        ("SequenceNumber".to_owned(), json!(event.sequence_number)),
        ("Offset".to_owned(), json!(numeric_offset(event))),
        ("OffsetString".to_owned(), json!(event.offset)),
        ("PartitionKey".to_owned(), partition_key(event)),
        ("EnqueuedTimeUtc".to_owned(), json!(date_time(event.enqueued_time, ""))),
    ]);
    properties
}

fn partition_key(event: &StoredEvent) -> Value {
    event.data.annotations.get("x-opt-partition-key").cloned().unwrap_or_default()
}

/// Offsets of geo-replicated namespaces are no numbers; the old `Offset` then is -1.
fn numeric_offset(event: &StoredEvent) -> i64 {
    event.offset.parse().unwrap_or(-1)
}

/// A lone time loses its fraction on the way through the host.
fn whole_seconds(event: &StoredEvent) -> String {
    let text = date_time(event.enqueued_time, "");
    text.split_once('.').map_or(text.clone(), |(seconds, _)| seconds.to_owned())
}

fn retry_context(retry: &Retry) -> (String, Value) {
    let max_count = retry.max_count.map_or(json!(-1), |count| json!(count));
    // .NET serializes the exception itself; handlers can count on its class and message at most.
    let exception = retry.failure.as_ref().map(|message| {
        json!({
            "ClassName": "Microsoft.Azure.WebJobs.Host.FunctionInvocationException",
            "Message": message,
            "Data": null,
            "InnerException": null,
            "HelpURL": null,
            "StackTraceString": null,
            "RemoteStackTraceString": null,
            "RemoteStackIndex": 0,
            "ExceptionMethod": null,
            "HResult": -2_146_233_088,
            "Source": null,
            "WatsonBuckets": null,
        })
    });
    let context = json!({
        "RetryCount": retry.count,
        "MaxRetryCount": max_count,
        "Exception": exception,
        "Instance": null,
        "State": {},
    });
    ("RetryContext".to_owned(), context)
}
