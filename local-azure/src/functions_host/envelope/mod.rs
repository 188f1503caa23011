//! The body of an invocation that is not passed on raw: `{"Data": {...}, "Metadata": {...}}`.
//!
//! Member names are in PascalCase. A value that .NET sees as an object stays a JSON object; every other one, arrays
//! included, becomes a JSON string that holds its JSON text (azure-functions-host:
//! `ScriptInvocationContextExtensions.cs`).

mod by_hand;
mod events;
mod http;
mod json_net;
#[cfg(test)]
mod tests;
mod time;

pub(super) use self::{
    by_hand::by_hand,
    events::{Delivery, Partition, Retry, batch, single},
    http::{HttpRequest, http_request, joined_query},
    time::date_time,
};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// What every invocation's metadata says in `sys`.
#[derive(Debug, Clone, Copy)]
pub(super) struct System {
    pub(super) function: &'static str,
    pub(super) now: Timestamp,
    pub(super) guid: Uuid,
}

impl System {
    fn to_json(self) -> Value {
        json!({ "MethodName": self.function, "UtcNow": date_time(self.now, "Z"), "RandGuid": self.guid })
    }
}

/// The JSON text of a value, as a JSON string.
fn quoted(value: &impl Serialize) -> Value {
    // Maps with text keys, numbers and text always serialize.
    Value::String(serde_json::to_string(value).unwrap_or_default())
}

fn envelope(name: &str, data: Value, metadata: Map<String, Value>) -> Vec<u8> {
    let data = Map::from_iter([(name.to_owned(), data)]);
    let mut body = Vec::new();
    // As above; writing to memory does not fail.
    let _ = serde_json::to_writer(&mut body, &json!({ "Data": data, "Metadata": metadata }));
    body
}

/// Adds the members of a JSON body to the metadata, as the host does for HTTP triggers and single events: members
/// that exist already are replaced, whatever their case; arrays and nulls are left out.
fn merge_body(metadata: &mut Map<String, Value>, body: &Value) {
    let Value::Object(members) = body else { return };
    for (name, value) in members {
        let value = match value {
            Value::Null | Value::Array(_) => continue,
            Value::Object(_) => value.clone(),
            Value::String(text) => quoted(text),
            Value::Bool(flag) => quoted(if *flag { &"True" } else { &"False" }),
            Value::Number(number) => quoted(&number.to_string()),
        };
        insert(metadata, name, value);
    }
}

fn insert(metadata: &mut Map<String, Value>, name: &str, value: Value) {
    if name.to_ascii_lowercase().ends_with("trigger") {
        return;
    }
    let existing = metadata.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned();
    metadata.insert(existing.unwrap_or_else(|| name.to_owned()), value);
}
