//! Message routing: which events go to which event hub, and what they are enriched with (IoT Hub: use message
//! routing; message enrichments overview).

use std::{fmt, sync::Arc};

use serde_json::{Map, Value};

use super::{DeviceId, DeviceTwin, HostName};
use crate::event_hubs::{EventData, EventHub};

/// What a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Messages that devices and modules send.
    DeviceMessages,
    /// Identities of devices and modules that come and go.
    DeviceLifecycleEvents,
}

impl Source {
    /// The value of `iothub-message-source`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::DeviceMessages => "Telemetry",
            Self::DeviceLifecycleEvents => "deviceLifecycleEvents",
        }
    }
}

/// Sends everything from one source to one event hub (its condition is `true`).
#[derive(Clone)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// What it takes.
    pub source: Source,
    /// Where it goes.
    pub endpoint: Arc<EventHub>,
    /// What is added on the way.
    pub enrichments: Vec<Enrichment>,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("name", &self.name)
            .field("source", &self.source)
            .field("endpoint", &self.endpoint.name())
            .field("enrichments", &self.enrichments)
            .finish()
    }
}

/// An application property that the hub adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrichment {
    /// The property's name.
    pub key: String,
    /// A text, `$iothubname`, or a path into the twin (`$twin.tags.dtId`).
    pub value: String,
}

impl Enrichment {
    /// The enrichments of the sample: `dtId` from the tag of that name, `hub` with the hub's name.
    pub fn twin_id_and_hub() -> Vec<Self> {
        [("dtId", "$twin.tags.dtId"), ("hub", "$iothubname")]
            .map(|(key, value)| Self { key: key.into(), value: value.into() })
            .to_vec()
    }

    /// What is stamped. A path that leads nowhere, or to an object, is stamped as it is written: the documented
    /// behavior. Numbers and booleans are stamped as text.
    fn resolve(&self, hub: &HostName, twin: Option<&DeviceTwin>) -> Value {
        if self.value == "$iothubname" {
            return hub.short().into();
        }
        let found = self.value.strip_prefix("$twin.").and_then(|path| twin?.at(path));
        match found {
            Some(Value::String(text)) => text.clone().into(),
            Some(primitive @ (Value::Number(_) | Value::Bool(_))) => primitive.to_string().into(),
            _ => self.value.clone().into(),
        }
    }

    fn stamp(&self, properties: &mut Map<String, Value>, hub: &HostName, twin: Option<&DeviceTwin>) {
        properties.insert(self.key.clone(), self.resolve(hub, twin));
    }
}

/// Sends an event along every route for its source, once to an endpoint; `twin` is what enrichments look at.
/// Returns to how many endpoints it went.
pub(super) fn send(
    routes: &[Route],
    hub: &HostName,
    source: Source,
    device: &DeviceId,
    event: &EventData,
    twin: Option<&DeviceTwin>,
) -> usize {
    let mut reached: Vec<&str> = Vec::new();
    for route in routes.iter().filter(|route| route.source == source) {
        if reached.contains(&route.endpoint.name()) {
            continue;
        }
        reached.push(route.endpoint.name());
        let mut event = event.clone();
        for enrichment in &route.enrichments {
            enrichment.stamp(&mut event.application_properties, hub, twin);
        }
        route.endpoint.append(device.as_str(), event);
    }
    reached.len()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::{clock::Clock, iot_hub::TwinPatch};

    fn stamped(value: &str, tags: &Value) -> Value {
        let patch = TwinPatch { tags: Some(tags.clone()), desired: None };
        let twin = DeviceTwin::default().patched(&patch, Timestamp::UNIX_EPOCH).unwrap();
        Enrichment { key: "k".into(), value: value.into() }
            .resolve(&HostName::new("contoso-hub.azure-devices.net"), Some(&twin))
    }

    #[test]
    fn a_tag_is_stamped_and_a_missing_tag_stamps_the_literal() {
        assert_eq!(stamped("$twin.tags.dtId", &json!({"dtId": "thermo-01"})), "thermo-01");
        assert_eq!(stamped("$twin.tags.dtId", &json!({})), "$twin.tags.dtId");
        assert_eq!(stamped("$twin.tags.dtId", &json!({"dtId": {"a": 1}})), "$twin.tags.dtId");
    }

    #[test]
    fn other_values_are_texts_and_the_hubs_name() {
        assert_eq!(stamped("$iothubname", &json!({})), "contoso-hub");
        assert_eq!(stamped("site 7", &json!({})), "site 7");
        assert_eq!(stamped("$twin.tags.floor", &json!({"floor": 3})), "3");
    }

    #[test]
    fn an_event_that_several_routes_take_arrives_once_at_an_endpoint() {
        let event_hub = |name| Arc::new(EventHub::new(name, NonZeroUsize::MIN, [""; 0], Clock::system()));
        let (first, second) = (event_hub("first"), event_hub("second"));
        let route = |name: &str, endpoint: &Arc<EventHub>, source| Route {
            name: name.into(),
            source,
            endpoint: Arc::clone(endpoint),
            enrichments: vec![],
        };
        let routes = [
            route("a", &first, Source::DeviceMessages),
            route("b", &first, Source::DeviceMessages),
            route("c", &second, Source::DeviceMessages),
            route("d", &second, Source::DeviceLifecycleEvents),
        ];
        let (hub, device) = (HostName::new("hub"), "d1".parse().unwrap());
        let reached = send(&routes, &hub, Source::DeviceMessages, &device, &EventData::default(), None);
        assert_eq!(reached, 2);
        assert_eq!([&first, &second].map(|hub| hub.read(0, None, 10).len()), [1, 1]);
    }
}
