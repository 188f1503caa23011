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
    /// What IoT Hub calls the device: the enrollment's own `deviceId`, else the registration id, in
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
    /// The enrollment's initial device twin.
    pub initial_twin: InitialTwin,
    /// `parentId` of the enrollment's tags, unchecked: the operator's word.
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
    /// A request is for a group enrollment or for an individual one.
    #[error("both enrollmentGroup and individualEnrollment are there, wanted one of them")]
    TwoEnrollments,
    /// The registration id or the enrollment's device id is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The device sent no payload: it has to say its model there.
    #[error("the device sent no payload, wanted {{\"modelId\": \"dtmi:...\"}} in its registration")]
    NoPayload,
    /// `modelId` of the payload is not a DTMI.
    #[error("modelId of the device's payload: {0}")]
    ModelId(#[from] InvalidModelId),
    /// `linkedHubs` names no hub.
    #[error("linkedHubs names no hub: link one to the provisioning service or to the enrollment")]
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
        let (enrollment, own_device_id) = enrollment(&body)?;

        let registration_id = string("deviceRuntimeContext.registrationId", context.get("registrationId"))?;
        let registration_id = RegistrationId::parse(registration_id)?;
        let current_device_id = context.get("currentDeviceId").and_then(Value::as_str);
        let known_spelling =
            current_device_id.and_then(|id| RegistrationId::parse(id).ok()).filter(|id| *id == registration_id);
        let called = known_spelling.as_ref().unwrap_or(&registration_id).as_str();
        let device_id = DeviceId::parse(own_device_id.unwrap_or(called))?;
        let initial_twin = InitialTwin::of(enrollment.get("initialTwin"));
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

/// The enrollment's record, and its own name for the device: a group has none, its devices are called
/// in the hub what they call themselves.
fn enrollment<'a>(body: &Members<'a>) -> Result<(Members<'a>, Option<&'a str>), Malformed> {
    match (body.get("enrollmentGroup"), body.get("individualEnrollment")) {
        (Some(_), Some(_)) => Err(Malformed::TwoEnrollments),
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
mod tests;
