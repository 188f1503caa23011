//! What DPS answers to a registration, and what follows from it.

use serde::Deserialize;
use serde_json::Value;

use super::error::{ProvisioningError, ServiceError};

/// What the device does next.
#[derive(Debug)]
pub(super) enum Step {
    /// Done.
    Assigned(AssignedHub),
    /// Ask again later for this operation.
    Poll { operation_id: String },
    /// The service is busy or in trouble: send the same request again later.
    Repeat(ServiceError),
}

/// The hub that DPS chose.
#[derive(Debug, PartialEq)]
pub(super) struct AssignedHub {
    pub(super) host: String,
    pub(super) device_id: String,
    pub(super) substatus: Option<String>,
    pub(super) payload: Option<Value>,
}

/// `RegistrationOperationStatus` of the DPS device API.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OperationStatus {
    operation_id: Option<String>,
    status: String,
    registration_state: Option<RegistrationState>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegistrationState {
    assigned_hub: Option<String>,
    device_id: Option<String>,
    substatus: Option<String>,
    error_code: Option<u32>,
    error_message: Option<String>,
    payload: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ErrorBody {
    error_code: Option<u32>,
    message: Option<String>,
    tracking_id: Option<String>,
}

/// Reads one answer: `status` from its topic, `body` from its payload.
///
/// Below 300 is an operation, 429 and above is worth repeating (as the device SDKs do), what lies between is final.
pub(super) fn read(status: u16, body: &[u8]) -> Result<Step, ProvisioningError> {
    if status >= 300 {
        let body: ErrorBody = serde_json::from_slice(body).unwrap_or_default();
        let error = ServiceError::new(status, body.error_code, body.message, body.tracking_id);
        return match status {
            429.. => Ok(Step::Repeat(error)),
            _ => Err(ProvisioningError::from_service(error)),
        };
    }
    let operation: OperationStatus =
        serde_json::from_slice(body).map_err(|error| ProvisioningError::BadAnswer(format!("its body: {error}")))?;
    let state = operation.registration_state.unwrap_or_default();
    match operation.status.as_str() {
        "assigned" => match (state.assigned_hub, state.device_id) {
            (Some(host), Some(device_id)) => {
                Ok(Step::Assigned(AssignedHub { host, device_id, substatus: state.substatus, payload: state.payload }))
            }
            _ => Err(ProvisioningError::BadAnswer("assigned, without assignedHub or deviceId".to_owned())),
        },
        "assigning" | "registering" => match operation.operation_id {
            Some(operation_id) => Ok(Step::Poll { operation_id }),
            None => Err(ProvisioningError::BadAnswer("assigning, without operationId".to_owned())),
        },
        "failed" => {
            Err(ProvisioningError::Failed(ServiceError::new(status, state.error_code, state.error_message, None)))
        }
        "disabled" => Err(ProvisioningError::Disabled),
        "unassigned" => Err(ProvisioningError::Unassigned),
        other => Err(ProvisioningError::BadAnswer(format!("the unknown status {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../tests/fixtures/iot/dps_mqtt.json")).unwrap()
    }

    fn read_recorded(out: &Value) -> Result<Step, ProvisioningError> {
        let topic = super::super::topics::AnswerTopic::parse(out["topic"].as_str().unwrap()).unwrap();
        read(topic.status, out["payload"].to_string().as_bytes())
    }

    fn recorded_exchange(name: &str) -> Vec<Result<Step, ProvisioningError>> {
        let vectors = vectors();
        let exchange = vectors["exchanges"].as_array().unwrap().iter().find(|e| e["name"] == name).unwrap();
        exchange["steps"].as_array().unwrap().iter().map(|step| read_recorded(&step["out"])).collect()
    }

    fn recorded_error(name: &str) -> Result<Step, ProvisioningError> {
        let vectors = vectors();
        read_recorded(&vectors["errors"].as_array().unwrap().iter().find(|e| e["name"] == name).unwrap()["out"])
    }

    #[test]
    fn an_assignment_is_polled_for_until_it_names_the_hub() {
        let steps = recorded_exchange("assigned");
        for step in &steps[..2] {
            assert!(matches!(step, Ok(Step::Poll { operation_id }) if operation_id.starts_with("5.316aac5bdc130deb.")));
        }
        let Ok(Step::Assigned(hub)) = &steps[2] else { panic!("{steps:?}") };
        let expected = AssignedHub {
            host: "contoso-hub.azure-devices.net".to_owned(),
            device_id: "thermo-01".to_owned(),
            substatus: Some("initialAssignment".to_owned()),
            payload: Some(serde_json::json!({"dtId": "thermo-01"})),
        };
        assert_eq!(hub, &expected);
    }

    #[test]
    fn a_failed_webhook_is_told_with_its_code_and_text() {
        let steps = recorded_exchange("custom_allocation_failed");
        let Err(ProvisioningError::Failed(error)) = &steps[0] else { panic!("{steps:?}") };
        assert_eq!((error.code(), error.status()), (Some(400_207), 200));
        assert_eq!(error.message(), Some("Custom allocation failed with status code: 400"));
    }

    #[test]
    fn a_disabled_enrollment_is_told_apart() {
        assert!(matches!(recorded_exchange("disabled_enrollment")[0], Err(ProvisioningError::Disabled)));
    }

    #[test]
    fn a_wrong_signature_is_final_and_throttling_is_not() {
        for (name, code, message) in
            [("unauthorized_sas", 401_000, "Unauthorized"), ("invalid_certificate", 401_002, "Invalid certificate.")]
        {
            let Err(ProvisioningError::Unauthorized(error)) = recorded_error(name) else { panic!("{name}") };
            assert_eq!((error.status(), error.code(), error.message()), (401, Some(code), Some(message)));
        }
        let Ok(Step::Repeat(error)) = recorded_error("throttled") else { panic!() };
        assert_eq!((error.status(), error.code()), (429, Some(429_001)));
        assert_eq!(error.message(), Some("Operations are being throttled for this tenant."));
    }

    #[test]
    fn an_unknown_enrollment_is_told_apart_from_other_refusals() {
        let vectors = vectors();
        let known = vectors["errors"].as_array().unwrap().iter().find(|e| e["name"] == "enrollment_not_found").unwrap();
        let body = serde_json::json!({"errorCode": known["code"], "message": "no", "trackingId": "t"});
        assert!(matches!(read(404, body.to_string().as_bytes()), Err(ProvisioningError::NoEnrollment(_))));
        assert!(matches!(read(400, br#"{"errorCode":400004}"#), Err(ProvisioningError::Rejected(_))));
        assert!(matches!(read(404, b"not json"), Err(ProvisioningError::Rejected(_))));
    }

    #[test]
    fn answers_that_make_no_sense_are_said_to() {
        let cases: [&[u8]; 6] = [
            b"",
            b"[]",
            br#"{"status":"assigned"}"#,
            br#"{"status":"assigning"}"#,
            br#"{"status":"nonsense"}"#,
            br#"{"operationId":"5.a.b"}"#,
        ];
        for body in cases {
            let read = read(200, body);
            assert!(matches!(read, Err(ProvisioningError::BadAnswer(_))), "{read:?}");
        }
    }
}
