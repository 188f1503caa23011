//! What DPS asks: the body of a custom allocation request, read without trust.
//!
//! Members and spelling follow "How to use custom allocation policies" of the Azure DPS documentation.
//! Its texts and samples spell one name in several ways (`currentIotHubHostName`,
//! `currentIoTHubHostName`), so members of the request are found without regard to case; what the
//! device itself sent is not forgiven anything.

use dtdl::{InvalidModelId, ModelId};
use serde_json::{Map, Value};

use super::hub::{HubHost, LinkedHubs};
use crate::device::{DeviceId, InvalidName, RegistrationId};

/// A request to allocate a device: everything that deciding takes, and nothing else of the body.
#[derive(Debug, Clone)]
pub struct AllocationRequest {
    /// Who registers.
    pub registration_id: RegistrationId,
    /// What IoT Hub calls the device: the enrolment's own `deviceId`, else the registration id, in
    /// the spelling that the hub knows already if the device was assigned before.
    pub device_id: DeviceId,
    /// `currentDeviceId` where it is another spelling of the registration id: an operator may have
    /// copied it from there into the twin.
    pub known_spelling: Option<RegistrationId>,
    /// The hub that the device is assigned to now.
    pub current_hub: Option<HubHost>,
    /// Where it may go.
    pub linked_hubs: LinkedHubs,
    /// The model that the device says it has.
    pub model: ModelId,
    /// The enrolment's initial device twin.
    pub initial_twin: InitialTwin,
    /// `parentId` of the enrolment's tags, unchecked: the operator's word.
    pub enrolled_parent: Option<String>,
    /// `parentId` of the device's payload, unchecked: followed only where a setting allows it.
    pub claimed_parent: Option<String>,
}

/// The initial device twin: what IoT Hub gives a device that it does not know yet.
///
/// System members (`$version`, `$metadata`) are left out: IoT Hub refuses them in an initial twin.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InitialTwin {
    /// Tags.
    pub tags: Map<String, Value>,
    /// Desired properties.
    pub desired: Map<String, Value>,
}

/// A request that no repetition can make right. Each message is one line and says what to mend.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// The body is not JSON, or nested too deeply.
    #[error("the body is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The body, or a member of it, has another JSON type than it must have.
    #[error("{member} is {got}, wanted {wanted}")]
    Type {
        /// Where in the body.
        member: &'static str,
        /// The JSON type that is there; `absent` where nothing is.
        got: &'static str,
        /// The JSON type that belongs there.
        wanted: &'static str,
    },
    /// A request is for a group enrolment or for an individual one.
    #[error("both enrollmentGroup and individualEnrollment are there, wanted one of them")]
    TwoEnrolments,
    /// The registration id or the enrolment's device id is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The device sent no payload: it has to say its model there.
    #[error("the device sent no payload, wanted {{\"modelId\": \"dtmi:...\"}} in its registration")]
    NoPayload,
    /// `modelId` of the payload is not a DTMI.
    #[error("modelId of the device's payload: {0}")]
    ModelId(#[from] InvalidModelId),
    /// `linkedHubs` names no hub.
    #[error("linkedHubs names no hub: link one to the provisioning service or to the enrolment")]
    NoHub,
}

impl AllocationRequest {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Malformed`]: what makes it no request that can be served. What is only decoration (a
    /// parent, the current hub, tags of the wrong type) is left out instead.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let body: Value = serde_json::from_slice(body)?;
        let body = Members::of("the body", Some(&body))?;
        let context = Members::of("deviceRuntimeContext", body.get("deviceRuntimeContext"))?;
        let (enrolment, own_device_id) = enrolment(&body)?;

        let registration_id = string("deviceRuntimeContext.registrationId", context.get("registrationId"))?;
        let registration_id = RegistrationId::parse(registration_id)?;
        let current_device_id = context.get("currentDeviceId").and_then(Value::as_str);
        let known_spelling =
            current_device_id.and_then(|id| RegistrationId::parse(id).ok()).filter(|id| *id == registration_id);
        let called = known_spelling.as_ref().unwrap_or(&registration_id).as_str();
        let device_id = DeviceId::parse(own_device_id.unwrap_or(called))?;
        let initial_twin = InitialTwin::of(enrolment.get("initialTwin"));
        let payload = context.get("payload").filter(|payload| !payload.is_null()).ok_or(Malformed::NoPayload)?;
        let Value::Object(payload) = payload else {
            return Err(wrong_type("the device's payload", Some(payload), "an object with modelId"));
        };

        Ok(Self {
            model: model_id(payload)?,
            linked_hubs: linked_hubs(body.get("linkedHubs"))?,
            current_hub: context.get("currentIotHubHostName").and_then(Value::as_str).and_then(HubHost::parse),
            enrolled_parent: parent(&initial_twin.tags),
            claimed_parent: parent(payload),
            registration_id,
            device_id,
            known_spelling,
            initial_twin,
        })
    }
}

impl InitialTwin {
    fn of(document: Option<&Value>) -> Self {
        let twin = Members::or_empty(document);
        let properties = Members::or_empty(twin.get("properties"));
        Self {
            tags: without_system_members(twin.get("tags")),
            desired: without_system_members(properties.get("desired")),
        }
    }
}

/// The members of a JSON object, found by name: exactly, else without regard to case.
#[derive(Clone, Copy)]
struct Members<'a>(Option<&'a Map<String, Value>>);

impl<'a> Members<'a> {
    fn of(what: &'static str, value: Option<&'a Value>) -> Result<Self, Malformed> {
        match value {
            Some(Value::Object(members)) => Ok(Self(Some(members))),
            other => Err(wrong_type(what, other, "an object")),
        }
    }

    fn or_empty(value: Option<&'a Value>) -> Self {
        Self(value.and_then(Value::as_object))
    }

    /// The member; `null` counts as absent.
    fn get(self, name: &str) -> Option<&'a Value> {
        let members = self.0?;
        members
            .get(name)
            .or_else(|| members.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value))
            .filter(|value| !value.is_null())
    }
}

/// The enrolment's record, and its own name for the device: a group has none, its devices are called
/// in the hub what they call themselves.
fn enrolment<'a>(body: &Members<'a>) -> Result<(Members<'a>, Option<&'a str>), Malformed> {
    match (body.get("enrollmentGroup"), body.get("individualEnrollment")) {
        (Some(_), Some(_)) => Err(Malformed::TwoEnrolments),
        (group, None) => Ok((Members::or_empty(group), None)),
        (None, individual) => {
            let individual = Members::or_empty(individual);
            let device_id = individual.get("deviceId").and_then(Value::as_str);
            Ok((individual, device_id.filter(|id| !id.is_empty())))
        }
    }
}

fn linked_hubs(value: Option<&Value>) -> Result<LinkedHubs, Malformed> {
    let Some(Value::Array(hubs)) = value else {
        return Err(wrong_type("linkedHubs", value, "an array of host names"));
    };
    LinkedHubs::new(hubs.iter().filter_map(Value::as_str).filter_map(HubHost::parse)).ok_or(Malformed::NoHub)
}

fn model_id(payload: &Map<String, Value>) -> Result<ModelId, Malformed> {
    Ok(ModelId::parse(string("modelId of the device's payload", payload.get("modelId"))?)?)
}

fn parent(members: &Map<String, Value>) -> Option<String> {
    members.get("parentId").and_then(Value::as_str).map(str::to_owned)
}

fn without_system_members(value: Option<&Value>) -> Map<String, Value> {
    let members = value.and_then(Value::as_object).into_iter().flatten();
    members.filter(|(name, _)| !name.starts_with('$')).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn string<'a>(member: &'static str, value: Option<&'a Value>) -> Result<&'a str, Malformed> {
    value.and_then(Value::as_str).ok_or_else(|| wrong_type(member, value, "a string"))
}

fn wrong_type(member: &'static str, value: Option<&Value>, wanted: &'static str) -> Malformed {
    let got = match value {
        None => "absent",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "a boolean",
        Some(Value::Number(_)) => "a number",
        Some(Value::String(_)) => "a string",
        Some(Value::Array(_)) => "an array",
        Some(Value::Object(_)) => "an object",
    };
    Malformed::Type { member, got, wanted }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[derive(serde::Deserialize)]
    struct Recorded {
        name: String,
        expect: Option<String>,
        body: Value,
    }

    fn recorded() -> Vec<Recorded> {
        serde_json::from_str(include_str!("../../tests/fixtures/iot/webhook_requests.json")).unwrap()
    }

    fn decode(body: &Value) -> Result<AllocationRequest, Malformed> {
        AllocationRequest::decode(body.to_string().as_bytes())
    }

    fn body() -> Value {
        json!({
            "enrollmentGroup": {},
            "deviceRuntimeContext": { "registrationId": "Thermo-01", "payload": { "modelId": "dtmi:x:Thing;1" } },
            "linkedHubs": ["contoso-hub.azure-devices.net"],
        })
    }

    #[test]
    fn recorded_requests_decode() {
        let outcomes: Vec<String> = recorded()
            .iter()
            .map(|Recorded { name, expect, body }| match decode(body) {
                Ok(request) => {
                    assert!(expect.is_none(), "{name}: decoded");
                    let hub = request.current_hub.as_ref().map_or("-", HubHost::as_str);
                    format!("{name}: {} as {} on {hub}, {}", request.registration_id, request.device_id, request.model)
                }
                Err(error) => format!("{name}: {error}"),
            })
            .collect();
        insta::assert_snapshot!(outcomes.join("\n"), @r#"
        group_symkey_initial: the device sent no payload, wanted {"modelId": "dtmi:..."} in its registration
        group_symkey_with_payload: modelId of the device's payload is absent, wanted a string
        group_reprovision_sparse_enrollment: SAS-IoT-Devices as SAS-IoT-Devices on IoTPnPWS-Hub-20210726.azure-devices.net, dtmi:azureiot:PhoneAsADevice;2
        group_symkey_modelid: thermo-01 as thermo-01 on -, dtmi:contosocom:DigitalTwins:Thermostat;2
        group_reprovision: thermo-01 as thermo-01 on contoso-hub.azure-devices.net, dtmi:contosocom:DigitalTwins:Thermostat;2
        group_reprovision_never_policy: thermo-01 as thermo-01 on contoso-hub.azure-devices.net, dtmi:contosocom:DigitalTwins:Thermostat;2
        individual_symkey: thermo-01 as thermo-device-01 on -, dtmi:contosocom:DigitalTwins:Thermostat;2
        group_x509: thermo-x509-01 as thermo-x509-01 on -, dtmi:contosocom:DigitalTwins:Thermostat;2
        individual_tpm: mydevice as mydevice on -, dtmi:contosocom:DigitalTwins:Thermostat;2
        no_payload: the device sent no payload, wanted {"modelId": "dtmi:..."} in its registration
        payload_is_string: the device's payload is a string, wanted an object with modelId
        modelid_not_a_dtmi: modelId of the device's payload: "x' OR 1=1" is not a model id: it begins with dtmi:; a model id looks like dtmi:com:example:Thermostat;1
        linked_hubs_empty: linkedHubs names no hub: link one to the provisioning service or to the enrolment
        linked_hubs_missing: linkedHubs is absent, wanted an array of host names
        registration_id_missing: deviceRuntimeContext.registrationId is absent, wanted a string
        mixed_case_registration_id: Thermo-01 as Thermo-01 on -, dtmi:contosocom:DigitalTwins:Thermostat;2
        "#);
    }

    #[test]
    fn names_are_read_in_any_spelling() {
        for name in ["currentIotHubHostName", "currentIoTHubHostName", "currentIotHubHostname"] {
            let mut body = body();
            body["deviceRuntimeContext"][name] = "Contoso-Hub.azure-devices.net".into();
            let request = decode(&body).unwrap();
            assert_eq!(request.current_hub, HubHost::parse("contoso-hub.azure-devices.net"), "{name}");
        }
    }

    #[test]
    fn a_request_without_an_enrolment_is_one() {
        let mut body = body();
        body["enrollmentGroup"].take();
        assert_eq!(decode(&body).unwrap().initial_twin, InitialTwin::default());
    }

    #[test]
    fn two_enrolments_are_refused() {
        let mut body = body();
        body["individualEnrollment"] = json!({});
        assert!(matches!(decode(&body), Err(Malformed::TwoEnrolments)));
    }

    #[test]
    fn the_device_id_is_the_individual_enrolments_own_else_what_the_hub_knows_else_the_registration_id() {
        let mut known = body();
        known["deviceRuntimeContext"]["currentDeviceId"] = "THERMO-01".into();
        let mut individual = known.clone();
        individual["enrollmentGroup"].take();
        individual["individualEnrollment"] = json!({ "deviceId": "Device-7" });
        let mut unnamed = individual.clone();
        unnamed["individualEnrollment"]["deviceId"] = "".into();
        let mut other = body();
        other["deviceRuntimeContext"]["currentDeviceId"] = "Device-6".into();
        let mut group = body();
        group["enrollmentGroup"]["deviceId"] = "Device-7".into();
        for (body, device) in [
            (body(), "Thermo-01"),
            (known, "THERMO-01"),
            (individual, "Device-7"),
            (unnamed, "THERMO-01"),
            (other, "Thermo-01"),
            (group, "Thermo-01"),
        ] {
            assert_eq!(decode(&body).unwrap().device_id.as_str(), device, "{body}");
        }
    }

    #[test]
    fn the_initial_twin_keeps_its_tags_and_desired_properties_only() {
        let mut body = body();
        body["enrollmentGroup"]["initialTwin"] = json!({
            "tags": { "$version": 1, "parentId": "room-21", "floor": { "n": 2 } },
            "properties": { "desired": { "$metadata": {}, "interval": 500 }, "reported": { "x": 1 } },
        });
        let request = decode(&body).unwrap();
        assert_eq!(Value::from(request.initial_twin.tags), json!({ "parentId": "room-21", "floor": { "n": 2 } }));
        assert_eq!(Value::from(request.initial_twin.desired), json!({ "interval": 500 }));
        assert_eq!(request.enrolled_parent.as_deref(), Some("room-21"));
        assert_eq!(request.claimed_parent, None);
    }

    #[test]
    fn decoration_of_the_wrong_type_is_left_out() {
        for wrong in [json!(1), json!("text"), json!([]), json!(null), json!({ "tags": 1, "properties": [] })] {
            let mut body = body();
            body["enrollmentGroup"]["initialTwin"] = wrong.clone();
            body["deviceRuntimeContext"]["currentIotHubHostName"] = wrong.clone();
            body["deviceRuntimeContext"]["currentDeviceId"] = wrong.clone();
            let request = decode(&body).unwrap();
            assert_eq!(request.initial_twin, InitialTwin::default(), "{wrong}");
        }
    }

    #[test]
    fn linked_hubs_that_are_none_are_left_out_until_there_is_none() {
        let mut body = body();
        body["linkedHubs"] = json!([1, "", null, "b.net", "a b"]);
        let request = decode(&body).unwrap();
        let policy = crate::settings::HubPolicy::First;
        assert_eq!(request.linked_hubs.choose(policy, &request.registration_id, None).as_str(), "b.net");
        body["linkedHubs"] = json!([1, ""]);
        assert!(matches!(decode(&body), Err(Malformed::NoHub)));
    }

    #[test]
    fn hostile_bodies_are_refused_in_one_short_line() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let mut long = body();
        long["deviceRuntimeContext"]["payload"]["modelId"] = format!("dtmi:{}\n;1", "x".repeat(500_000)).into();
        let mut strange = body();
        strange["deviceRuntimeContext"]["registrationId"] = "a\r\nb".into();
        for body in
            [deep, long.to_string(), strange.to_string(), "{".to_owned(), String::new(), "\u{feff}{}".to_owned()]
        {
            let error = AllocationRequest::decode(body.as_bytes()).unwrap_err().to_string();
            assert!(error.len() < 300 && !error.contains(['\r', '\n']), "{error}");
        }
        assert!(AllocationRequest::decode(b"{\"a\": \"\xff\"}").is_err());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "dtmi:[a-z:]{0,9};[0-9]{0,3}|[A-Za-z0-9.-]{0,9}|\\PC{0,9}".prop_map(Value::from),
        ];
        let name = "modelId|tags|properties|desired|parentId|deviceId|registrationId|payload|\\PC{0,4}";
        leaf.prop_recursive(4, 32, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((name, inner), 0..4)
                    .prop_map(|members| Value::Object(Map::from_iter(members))),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = AllocationRequest::decode(&bytes);
        }

        #[test]
        fn no_json_in_any_place_makes_it_panic(value in any_json(), at in 0..8_usize) {
            let mut body = body();
            body["individualEnrollment"] = Value::Null;
            let places = [
                "/deviceRuntimeContext", "/deviceRuntimeContext/registrationId", "/deviceRuntimeContext/payload",
                "/deviceRuntimeContext/payload/modelId", "/linkedHubs", "/linkedHubs/0", "/enrollmentGroup",
                "/individualEnrollment",
            ];
            *body.pointer_mut(places[at]).unwrap() = value;
            if let Ok(request) = decode(&body) {
                prop_assert_eq!(request.registration_id.as_str(), "Thermo-01");
            }
        }
    }
}
