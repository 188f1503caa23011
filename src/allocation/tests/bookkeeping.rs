//! What is written to a twin.

use super::*;

#[tokio::test]
async fn a_device_without_a_twin_gets_one() {
    let service = service();
    let (status, answer) = register(&service, "Thermo-01", THERMOSTAT).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(
        answer,
        json!({
            "iotHubHostName": HUB,
            "initialTwin": { "tags": { "dtId": "thermo-01", "dtmi": THERMOSTAT }, "properties": { "desired": {} } },
            "payload": { "dtId": "thermo-01" },
        })
    );
    let twin = get(&service, "thermo-01");
    assert!(twin["$metadata"]["HubRegistrationId"]["sourceTime"].is_string());
    let members: Vec<&String> = twin.as_object().unwrap().keys().filter(|name| !name.starts_with('$')).collect();
    assert_eq!(members, ["HubRegistrationId", "HubName"]);
    assert_eq!((&twin["HubRegistrationId"], &twin["HubName"]), (&json!("thermo-01"), &json!("contoso-hub")));
}

#[tokio::test]
async fn a_new_twin_has_the_components_of_its_model() {
    let service = service();
    register(&service, "thermo-01", "dtmi:contosocom:DigitalTwins:Thermostat;3").await;
    assert_eq!(get(&service, "thermo-01")["battery"], json!({ "$metadata": {} }));
}

#[tokio::test]
async fn registering_again_changes_only_the_time_of_the_registration() {
    let service = service();
    let mut before = registered("thermo-01");
    before["Temperature"] = json!(21.5);
    put(&service, "thermo-01", before);
    let mut before = get(&service, "thermo-01");
    assert_eq!(register(&service, "THERMO-01", THERMOSTAT).await.0, StatusCode::OK);
    let mut after = get(&service, "thermo-01");
    assert_ne!(after["$metadata"]["HubRegistrationId"].take()["sourceTime"], LONG_AGO);
    before["$metadata"]["HubRegistrationId"].take();
    for twin in [&mut before, &mut after] {
        twin["$etag"].take();
    }
    assert_eq!(after, before);
}

#[tokio::test]
async fn source_times_refused_in_patches_are_left_out_from_then_on() {
    let service = service();
    service.refuse_source_times("PATCH");
    put(&service, "thermo-01", prepared("thermo-01"));
    let function = function(&service);
    let patches = || service.calls().iter().filter(|call| *call == "PATCH thermo-01").count();
    assert_eq!(ask(&function, &body("thermo-01", THERMOSTAT)).await.0, StatusCode::OK);
    assert_eq!(patches(), 2);
    assert_eq!(ask(&function, &body("thermo-01", THERMOSTAT)).await.0, StatusCode::OK);
    assert_eq!(patches(), 1);
}

#[tokio::test]
async fn source_times_refused_in_new_twins_are_still_patched() {
    let service = service();
    service.refuse_source_times("PUT");
    let function = function(&service);
    for id in ["thermo-01", "thermo-02"] {
        assert_eq!(ask(&function, &body(id, THERMOSTAT)).await.0, StatusCode::OK);
        assert_eq!(get(&service, id)["$metadata"]["HubRegistrationId"].get("sourceTime"), None);
    }
    assert_eq!(service.calls().iter().filter(|call| call.starts_with("PUT")).count(), 3);
    assert_eq!(ask(&function, &body("thermo-01", THERMOSTAT)).await.0, StatusCode::OK);
    assert!(get(&service, "thermo-01")["$metadata"]["HubRegistrationId"]["sourceTime"].is_string());
}

#[tokio::test]
async fn the_device_id_is_written_where_it_differs_and_removed_where_it_does_not() {
    let service = service();
    let mut request = body("thermo-01", THERMOSTAT);
    request["individualEnrollment"] = json!({ "registrationId": "thermo-01", "deviceId": "Device-7" });
    request["enrollmentGroup"].take();
    ask(&function(&service), &request).await;
    assert_eq!(get(&service, "thermo-01")["HubDeviceId"], "Device-7");
    register(&service, "Thermo-01", THERMOSTAT).await;
    assert_eq!(get(&service, "thermo-01").get("HubDeviceId"), None);
}

#[tokio::test]
async fn the_device_id_is_written_where_the_model_has_nothing_else_to_tell_the_device_by() {
    let service = service();
    register(&service, "Thermo-01", "dtmi:x:Named;1").await;
    assert_eq!(get(&service, "thermo-01")["HubDeviceId"], "Thermo-01");
}

#[tokio::test]
async fn a_twin_without_bookkeeping_needs_no_write() {
    let service = service();
    put(&service, "thermo-01", json!({ "$metadata": { "$model": "dtmi:x:Room;1" } }));
    assert_eq!(register(&service, "thermo-01", "dtmi:x:Room;1").await.0, StatusCode::OK);
    assert_eq!(sorted(service.calls()), ["GET thermo-01", "MODELS", "QUERY"]);
}

#[tokio::test]
async fn a_move_to_another_hub_is_recorded() {
    let service = service();
    put(&service, "thermo-01", registered("thermo-01"));
    let mut request = body("thermo-01", THERMOSTAT);
    request["linkedHubs"] = json!(["North-Hub.azure-devices.net"]);
    request["deviceRuntimeContext"]["currentIotHubHostName"] = HUB.into();
    assert_eq!(ask(&function(&service), &request).await.1["iotHubHostName"], "North-Hub.azure-devices.net");
    assert_eq!(get(&service, "thermo-01")["HubName"], "North-Hub");
}
