//! The device simulator, which has a client of its own, against DPS and IoT Hub.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use device_simulator::{Device, GroupKey, ProvisioningRequest, Transport};
use local_azure::clock::Clock;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::iot_site::{GROUP_KEY, HUB, ID_SCOPE, Options, Site, device};

#[tokio::test]
async fn it_registers_and_sends_its_readings() {
    let options = Options { clock: Clock::system(), retry_after: Duration::from_secs(1), ..Options::default() };
    let site = Site::with(options).await;
    let answer = json!({ "iotHubHostName": HUB, "initialTwin": { "tags": { "dtId": "thermo-01" } } }).to_string();
    site.hook.answers(move |_| (200, answer.clone()));

    let id: device_simulator::RegistrationId = "thermo-01".parse().unwrap();
    let dps = device_simulator::Endpoint::new("localhost", site.address.port()).unwrap();
    let key = GroupKey::from_base64(GROUP_KEY).unwrap().derive(&id);
    let request = ProvisioningRequest::new(dps, ID_SCOPE.parse().unwrap(), id, key);
    let request = request.with_payload(json!({ "modelId": "dtmi:contosocom:DigitalTwins:Thermostat;2" }));
    let certificate = BASE64_STANDARD.encode(&site.certificate);
    let root = format!("-----BEGIN CERTIFICATE-----\n{certificate}\n-----END CERTIFICATE-----\n");
    let transport = Transport::new(Some(root.as_bytes())).unwrap();
    let device_under_test =
        Device { messages: Some(3), interval: Duration::from_millis(5), ..Device::new(transport, request) };

    let summary = device_under_test.run(&CancellationToken::new(), |_| {}).await.unwrap();
    assert_eq!(summary.acknowledged, 3);
    let events = Site::events(&site.telemetry);
    assert_eq!(events.len(), 3);
    for event in events {
        assert_eq!(event.properties["content-type"], "application/json");
        assert_eq!(event.annotations["iothub-connection-device-id"], "thermo-01");
        assert_eq!(event.application_properties["dtId"], "thermo-01");
    }
    assert_eq!(
        site.hook.requests()[0]["deviceRuntimeContext"]["payload"]["modelId"],
        "dtmi:contosocom:DigitalTwins:Thermostat;2"
    );
    assert!(site.hubs[0].device_twin(&device("thermo-01")).is_some());
    site.stop().await;
}
