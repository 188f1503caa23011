//! Requests: recorded ones, and hostile ones.

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
    serde_json::from_str(include_str!("../../../tests/fixtures/iot/webhook_requests.json")).unwrap()
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
                let policy = crate::settings::HubPolicy::First;
                let first = request.linked_hubs.choose(policy, &request.registration_id, None);
                let (id, device, model) = (&request.registration_id, &request.device_id, &request.model);
                format!("{name}: {id} as {device} on {hub}, {model}, {first}")
            }
            Err(error) => {
                assert!(expect.as_ref().is_none_or(|expect| expect.starts_with("400")), "{name}: {expect:?}");
                format!("{name}: {error}")
            }
        })
        .collect();
    insta::assert_snapshot!(outcomes.join("\n"), @r#"
    group_symkey_initial: the device sent no payload, wanted {"modelId": "dtmi:..."} in its registration
    group_symkey_with_payload: modelId of the device's payload is absent, wanted a string
    group_reprovision_sparse_enrollment: SAS-IoT-Devices as SAS-IoT-Devices on IoTPnPWS-Hub-20210726.azure-devices.net, dtmi:azureiot:PhoneAsADevice;2, IoTPnPWS-Hub-20210726.azure-devices.net
    group_symkey_modelid: thermo-01 as thermo-01 on -, dtmi:contosocom:DigitalTwins:Thermostat;2, contoso-hub.azure-devices.net
    group_reprovision: thermo-01 as thermo-01 on contoso-hub.azure-devices.net, dtmi:contosocom:DigitalTwins:Thermostat;2, contoso-hub.azure-devices.net
    group_reprovision_never_policy: thermo-01 as thermo-01 on contoso-hub.azure-devices.net, dtmi:contosocom:DigitalTwins:Thermostat;2, contoso-hub.azure-devices.net
    individual_symkey: thermo-01 as thermo-device-01 on -, dtmi:contosocom:DigitalTwins:Thermostat;2, contoso-hub.azure-devices.net
    group_x509: thermo-x509-01 as thermo-x509-01 on -, dtmi:contosocom:DigitalTwins:Thermostat;2, contoso-hub.azure-devices.net
    individual_tpm: mydevice as mydevice on -, dtmi:contosocom:DigitalTwins:Thermostat;2, contoso-hub.azure-devices.net
    no_payload: the device sent no payload, wanted {"modelId": "dtmi:..."} in its registration
    payload_is_string: the device's payload is a string, wanted an object with modelId
    modelid_not_a_dtmi: modelId of the device's payload: "x' OR 1=1" is not a model id: it begins with dtmi:; a model id looks like dtmi:com:example:Thermostat;1
    linked_hubs_empty: linkedHubs names no hub: link one to the provisioning service or to the enrollment
    linked_hubs_missing: linkedHubs is absent, wanted an array of host names
    registration_id_missing: deviceRuntimeContext.registrationId is absent, wanted a string
    mixed_case_registration_id: Thermo-01 as Thermo-01 on -, dtmi:contosocom:DigitalTwins:Thermostat;2, contoso-hub.azure-devices.net
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
fn a_request_without_an_enrollment_is_one() {
    let mut body = body();
    body["enrollmentGroup"].take();
    assert_eq!(decode(&body).unwrap().initial_twin, InitialTwin::default());
}

#[test]
fn two_enrollments_are_refused() {
    let mut body = body();
    body["individualEnrollment"] = json!({});
    assert!(matches!(decode(&body), Err(Malformed::TwoEnrollments)));
}

#[test]
fn the_device_id_is_the_individual_enrollments_own_else_what_the_hub_knows_else_the_registration_id() {
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
    for body in [deep, long.to_string(), strange.to_string(), "{".to_owned(), String::new(), "\u{feff}{}".to_owned()] {
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
            proptest::collection::vec((name, inner), 0..4).prop_map(|members| Value::Object(Map::from_iter(members))),
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
            let named = body.pointer("/deviceRuntimeContext/registrationId").and_then(Value::as_str);
            prop_assert_eq!(Some(request.registration_id.as_str()), named);
        }
    }
}
