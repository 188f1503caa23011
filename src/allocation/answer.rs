//! What DPS is told of an allocated device.

use dtdl::ModelId;
use serde::Serialize;
use serde_json::{Map, Value};

use super::hub::HubHost;
use super::request::InitialTwin;
use crate::digital_twins::TwinId;

/// The answer to an allocation request.
///
/// DPS hands `initialTwin` to IoT Hub when the device is new there, and `payload` to the device.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AllocationAnswer {
    iot_hub_host_name: String,
    initial_twin: DeviceTwin,
    payload: Payload,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct DeviceTwin {
    tags: Map<String, Value>,
    properties: Properties,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Properties {
    desired: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Payload {
    #[serde(rename = "dtId")]
    dt_id: TwinId,
}

impl AllocationAnswer {
    /// The device belongs to `hub`, its twin is `twin`, which has `model`. The enrollment's own
    /// `initial` device twin is kept, `tags.dtId` and `tags.dtmi` are added to it: an answer with an
    /// initial twin replaces that of the enrollment.
    #[must_use]
    pub fn new(hub: &HubHost, initial: &InitialTwin, twin: &TwinId, model: &ModelId) -> Self {
        let InitialTwin { mut tags, desired } = initial.clone();
        tags.insert("dtId".to_owned(), twin.as_str().into());
        tags.insert("dtmi".to_owned(), model.as_str().into());
        Self {
            iot_hub_host_name: hub.as_str().to_owned(),
            initial_twin: DeviceTwin { tags, properties: Properties { desired } },
            payload: Payload { dt_id: twin.clone() },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(serde::Deserialize)]
    struct Recorded {
        name: String,
        http: u16,
        body: Value,
    }

    fn answer() -> AllocationAnswer {
        AllocationAnswer::new(
            &HubHost::parse("contoso-hub.azure-devices.net").unwrap(),
            &InitialTwin::default(),
            &TwinId::parse("thermo-01").unwrap(),
            &ModelId::parse("dtmi:contosocom:DigitalTwins:Thermostat;2").unwrap(),
        )
    }

    /// Whether every member of `part` is in `whole`, objects member by member.
    fn holds(whole: &Value, part: &Value) -> bool {
        match (whole, part) {
            (Value::Object(whole), Value::Object(part)) => {
                part.iter().all(|(name, value)| whole.get(name).is_some_and(|other| holds(other, value)))
            }
            _ => whole == part,
        }
    }

    #[test]
    fn of_the_recorded_answers_only_the_good_ones_can_be_ours() {
        let recorded: Vec<Recorded> =
            serde_json::from_str(include_str!("../../tests/fixtures/iot/webhook_responses.json")).unwrap();
        assert_eq!(recorded.len(), 11);
        let mut with_desired = answer();
        with_desired.initial_twin.properties.desired.insert("state".to_owned(), "ready".into());
        for Recorded { name, http, body } in recorded {
            let can_be_ours = match http {
                200 => [answer(), with_desired.clone()].iter().any(|ours| holds(&json!(ours), &body)),
                400 | 503 => true,
                _ => false,
            };
            let is_good = ["assigned", "assigned_with_payload", "minimal", "rejected"].contains(&name.as_str());
            assert_eq!(can_be_ours, is_good, "{name}");
        }
    }

    #[test]
    fn the_digital_twin_replaces_tags_of_the_enrollment_that_claim_to_be_it() {
        let tags = json!({ "dtId": "other", "dtmi": "other", "floor": 2 });
        let initial = InitialTwin { tags: tags.as_object().unwrap().clone(), desired: Map::new() };
        let hub = HubHost::parse("h").unwrap();
        let (twin, model) = (TwinId::parse("t").unwrap(), ModelId::parse("dtmi:x:T;1").unwrap());
        let answer = json!(AllocationAnswer::new(&hub, &initial, &twin, &model));
        assert_eq!(answer["initialTwin"]["tags"], json!({ "dtId": "t", "dtmi": "dtmi:x:T;1", "floor": 2 }));
    }
}
