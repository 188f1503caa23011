//! function.json: a function's trigger, its outputs, its retry policy.

use axum::http::Method;
use serde_json::Value;

use super::{error::Error, path_template::PathTemplate, retry_policy::RetryPolicy, section::Section};

/// A function.
#[derive(Debug, Clone)]
pub struct Function {
    /// The name of its folder. Static, because operations are counted by static names; an app has a handful.
    pub name: &'static str,
    /// What starts it.
    pub trigger: Trigger,
    /// The name of its `http` output, if it has one.
    pub http_output: Option<String>,
    /// Its blob outputs.
    pub blob_outputs: Vec<BlobOutput>,
    /// What happens after a failed invocation; without it, nothing.
    pub retry: Option<RetryPolicy>,
    /// Its function.json, whole.
    pub json: Value,
}

/// What starts a function.
#[derive(Debug, Clone)]
pub enum Trigger {
    /// An HTTP request.
    Http(HttpTrigger),
    /// Events of an event hub.
    EventHub(EventHubTrigger),
}

/// An `httpTrigger` binding.
#[derive(Debug, Clone)]
pub struct HttpTrigger {
    /// The binding's name.
    pub name: String,
    /// The path behind the route prefix, where it is not the function's name.
    pub route: Option<String>,
    /// The methods that reach the function; empty: all.
    pub methods: Vec<Method>,
    /// Whether callers need a key.
    pub auth_level: AuthLevel,
}

/// Who may call an HTTP function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthLevel {
    /// Everybody.
    Anonymous,
    /// Who has a function key.
    Function,
}

/// An `eventHubTrigger` binding.
#[derive(Debug, Clone)]
pub struct EventHubTrigger {
    /// The binding's name.
    pub name: String,
    /// The event hub.
    pub event_hub: String,
    /// The consumer group.
    pub consumer_group: String,
    /// How many events an invocation gets.
    pub cardinality: Cardinality,
    /// What becomes of bodies.
    pub data_type: DataType,
}

/// How many events an invocation gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cardinality {
    /// One.
    One,
    /// A batch.
    Many,
}

/// What becomes of the bodies of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// Parsed as JSON and written anew.
    Unset,
    /// Decoded as UTF-8; what is not becomes U+FFFD.
    String,
    /// Kept, as base64.
    Binary,
}

/// A `blob` output.
#[derive(Debug, Clone)]
pub struct BlobOutput {
    /// The binding's name, which answers must match with case.
    pub name: String,
    /// Where blobs go.
    pub path: PathTemplate,
    /// Whether text that is valid base64 is decoded: yes, unless the binding's `dataType` is `binary`.
    pub decodes_base64: bool,
}

impl Function {
    /// Reads the function.json of the function `name`.
    pub(super) fn parse(name: &str, text: &str) -> Result<Self, Error> {
        let file = format!("{name}/function.json");
        let value: Value =
            serde_json::from_str(text).map_err(|source| Error::NotJson { file: file.clone(), source })?;
        let root = Section::root(&file, &value);
        let mut triggers = Vec::new();
        let mut http_output = None;
        let mut blob_outputs = Vec::new();
        for binding in root.sections("bindings")? {
            match (binding.text("direction")?.unwrap_or("in"), binding.required_text("type")?) {
                ("in", kind) if kind.eq_ignore_ascii_case("httpTrigger") => {
                    triggers.push(Trigger::Http(http_trigger(&binding)?));
                }
                ("in", kind) if kind.eq_ignore_ascii_case("eventHubTrigger") => {
                    triggers.push(Trigger::EventHub(event_hub_trigger(&binding)?));
                }
                ("out", kind) if kind.eq_ignore_ascii_case("http") => {
                    http_output = Some(binding.required_text("name")?.to_owned());
                }
                ("out", kind) if kind.eq_ignore_ascii_case("blob") => blob_outputs.push(blob_output(&binding)?),
                _ => {
                    let wanted = "httpTrigger or eventHubTrigger in, http or blob out: local-azure has no others";
                    return Err(binding.invalid("type", wanted));
                }
            }
        }
        let one_trigger = "exactly one trigger";
        let trigger = triggers.pop().ok_or_else(|| root.invalid("bindings", one_trigger))?;
        if !triggers.is_empty() {
            return Err(root.invalid("bindings", one_trigger));
        }
        let retry = RetryPolicy::read(&root.section("retry"))?;
        let name = Box::leak(name.to_owned().into_boxed_str());
        Ok(Self { name, trigger, http_output, blob_outputs, retry, json: value })
    }

    /// Whether it has an HTTP trigger, an HTTP output and nothing else: only then requests can be passed on raw.
    pub fn is_http_in_and_out(&self) -> bool {
        matches!(self.trigger, Trigger::Http(_)) && self.http_output.is_some() && self.blob_outputs.is_empty()
    }
}

fn http_trigger(binding: &Section<'_>) -> Result<HttpTrigger, Error> {
    let auth_level = match binding.text("authLevel")?.map(str::to_ascii_lowercase).as_deref() {
        None | Some("function") => AuthLevel::Function,
        Some("anonymous") => AuthLevel::Anonymous,
        Some(_) => return Err(binding.invalid("authLevel", "function or anonymous: local-azure has no admin key")),
    };
    let route = binding.text("route")?.map(|route| route.trim_matches('/').to_owned());
    if route.as_ref().is_some_and(|route| route.contains('{')) {
        return Err(binding.invalid("route", "a route without parameters: local-azure has no others"));
    }
    let methods = binding
        .texts("methods")?
        .iter()
        .map(|method| Method::from_bytes(method.to_ascii_uppercase().as_bytes()))
        .collect::<Result<_, _>>()
        .map_err(|_| binding.invalid("methods", "an array of HTTP methods"))?;
    Ok(HttpTrigger { name: binding.required_text("name")?.to_owned(), route, methods, auth_level })
}

fn event_hub_trigger(binding: &Section<'_>) -> Result<EventHubTrigger, Error> {
    let cardinality = match binding.text("cardinality")?.map(str::to_ascii_lowercase).as_deref() {
        None | Some("one") => Cardinality::One,
        Some("many") => Cardinality::Many,
        Some(_) => return Err(binding.invalid("cardinality", "one or many")),
    };
    let data_type = match binding.text("dataType")?.map(str::to_ascii_lowercase).as_deref() {
        None => DataType::Unset,
        Some("string") => DataType::String,
        Some("binary") => DataType::Binary,
        Some(_) => return Err(binding.invalid("dataType", "string or binary")),
    };
    Ok(EventHubTrigger {
        name: binding.required_text("name")?.to_owned(),
        event_hub: binding.required_text("eventHubName")?.to_owned(),
        consumer_group: binding.text("consumerGroup")?.unwrap_or("$Default").to_owned(),
        cardinality,
        data_type,
    })
}

fn blob_output(binding: &Section<'_>) -> Result<BlobOutput, Error> {
    let wanted = "container/name with {rand-guid} and {datetime:yyyy-MM-dd} at most";
    let path = PathTemplate::parse(binding.required_text("path")?).ok_or_else(|| binding.invalid("path", wanted))?;
    let binary = binding.text("dataType")?.is_some_and(|data_type| data_type.eq_ignore_ascii_case("binary"));
    Ok(BlobOutput { name: binding.required_text("name")?.to_owned(), path, decodes_base64: !binary })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_telemetry_function_reads_batches_of_bytes_and_writes_dead_letters() {
        let text = include_str!("../../../../DeviceTelemetryToTwinFunc/function.json");
        let function = Function::parse("DeviceTelemetryToTwinFunc", text).unwrap();
        let Trigger::EventHub(trigger) = &function.trigger else { panic!("{:?}", function.trigger) };
        assert_eq!(trigger.event_hub, "deviceevents");
        assert_eq!(trigger.consumer_group, "adt-functions");
        assert_eq!((trigger.cardinality, trigger.data_type), (Cardinality::Many, DataType::Binary));
        assert_eq!(function.blob_outputs[0].name, "deadLetters");
        assert!(!function.is_http_in_and_out());
        assert_eq!(function.retry.unwrap().max_retry_count, None);
    }

    #[test]
    fn the_allocation_function_is_http_in_and_out_with_a_key() {
        let text = include_str!("../../../../DpsAdtAllocationFunc/function.json");
        let function = Function::parse("DpsAdtAllocationFunc", text).unwrap();
        assert!(function.is_http_in_and_out());
        let Trigger::Http(trigger) = function.trigger else { panic!("{:?}", function.trigger) };
        assert_eq!(trigger.methods, [Method::POST]);
        assert_eq!(trigger.auth_level, AuthLevel::Function);
    }

    #[test]
    fn the_lifecycle_function_reads_its_own_event_hub() {
        let text = include_str!("../../../../DeleteDeviceInTwinFunc/function.json");
        let function = Function::parse("DeleteDeviceInTwinFunc", text).unwrap();
        let Trigger::EventHub(trigger) = function.trigger else { panic!("{:?}", function.trigger) };
        assert_eq!(trigger.event_hub, "lifecycleevents");
    }

    #[test]
    fn what_this_host_does_not_have_is_refused_by_name() {
        let cases = [
            r#"{"bindings": []}"#,
            r#"{"bindings": [{"type": "timerTrigger", "name": "t"}]}"#,
            r#"{"bindings": [{"type": "httpTrigger", "name": "r", "route": "twins/{id}"}]}"#,
            r#"{"bindings": [{"type": "httpTrigger", "name": "r", "authLevel": "admin"}]}"#,
            r#"{"bindings": [{"type": "blob", "direction": "out", "name": "b", "path": "a/{blobTrigger}"}]}"#,
        ];
        let errors = cases.map(|text| Function::parse("F", text).unwrap_err().to_string()).join("\n");
        insta::assert_snapshot!(errors, @r#"
        F/function.json: bindings is []; wanted exactly one trigger
        F/function.json: bindings[0].type is "timerTrigger"; wanted httpTrigger or eventHubTrigger in, http or blob out: local-azure has no others
        F/function.json: bindings[0].route is "twins/{id}"; wanted a route without parameters: local-azure has no others
        F/function.json: bindings[0].authLevel is "admin"; wanted function or anonymous: local-azure has no admin key
        F/function.json: bindings[0].path is "a/{blobTrigger}"; wanted container/name with {rand-guid} and {datetime:yyyy-MM-dd} at most
        "#);
    }
}
