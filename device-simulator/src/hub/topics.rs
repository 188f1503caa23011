//! The user name and topics of IoT Hub over MQTT (IoT Hub: communicate with your IoT hub using the MQTT protocol).

use crate::{identity::DeviceId, sas::encode};

const API_VERSION: &str = "2021-04-12";

/// The user name of CONNECT. The device id stands in it as it is.
pub(super) fn user_name(hub: &str, device_id: &DeviceId) -> String {
    let client = encode(concat!("device-simulator/", env!("CARGO_PKG_VERSION")));
    format!("{hub}/{device_id}/?api-version={API_VERSION}&DeviceClientType={client}")
}

/// What the token of CONNECT is for.
pub(super) fn resource(hub: &str, device_id: &DeviceId) -> String {
    format!("{hub}/devices/{device_id}")
}

/// The topic of a device-to-cloud message; `bag` holds its properties.
pub(super) fn telemetry(device_id: &DeviceId, bag: &str) -> String {
    format!("devices/{device_id}/messages/events/{bag}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_name_is_the_one_recorded_of_an_sdk_up_to_the_name_of_the_client() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/fixtures/iot/hub_mqtt_connect.json")).unwrap();
        let mut compared = 0;
        for connect in vectors.as_array().unwrap() {
            let recorded = connect["username"].as_str().unwrap();
            let parsed = &connect["parsed"];
            let (Some(host), Some(device_id)) = (parsed["host"].as_str(), parsed["deviceId"].as_str()) else {
                continue;
            };
            if parsed["api-version"] != API_VERSION {
                continue;
            }
            compared += 1;
            let ours = user_name(host, &device_id.parse().unwrap());
            assert_eq!(ours.split('&').next(), recorded.split('&').next());
        }
        assert!(compared >= 1);
    }
}
