//! Packets recorded from unmodified Azure SDKs (Node.js and Python), replayed.

use local_azure::{iot_hub::Condition, sas::Token};
use rumqttc::{Connect, QoS};
use serde_json::Value;

use crate::{
    iot_site::{GROUP_KEY, LATER, Options, Site, device},
    mqtt_client::{Client, device_key, raw_token},
};

fn packets() -> Vec<Value> {
    include_str!("../fixtures/iot/wire_capture.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The recorded CONNECT. Hub tokens are taken as they are; those for DPS were signed with a key that no group key
/// leads to, so they are signed anew over the same text.
fn connect(packet: &Value) -> Connect {
    let id = packet["clientId"].as_str().unwrap();
    let recorded = packet["password"].as_str().unwrap();
    let password = if packet["username"].as_str().unwrap().contains("/registrations/") {
        let resource = recorded.split(['=', '&']).nth(1).unwrap();
        let policy = Token::parse(recorded).unwrap().policy().map(str::to_owned);
        raw_token(&device_key(GROUP_KEY, id), resource, policy.as_deref(), LATER)
    } else {
        recorded.to_owned()
    };
    let mut connect = Connect::new(id);
    connect.clean_session = packet["clean"].as_bool().unwrap();
    connect.keep_alive = u16::try_from(packet["keepalive"].as_u64().unwrap()).unwrap();
    connect.set_credentials(packet["username"].as_str().unwrap(), password);
    connect
}

fn quality(value: &Value) -> QoS {
    if value == 1 { QoS::AtLeastOnce } else { QoS::AtMostOnce }
}

/// Sends one recorded packet after CONNECT and judges the answer.
async fn replay(client: &mut Client, packet: &Value) {
    match packet["pkt"].as_str().unwrap() {
        "SUBSCRIBE" => {
            let filter = &packet["filters"][0];
            let code = client.subscribe(filter[0].as_str().unwrap(), quality(&filter[1])).await;
            assert_eq!(code, rumqttc::SubscribeReasonCode::Success(quality(&filter[1])));
        }
        "UNSUBSCRIBE" => client.unsubscribe(packet["filters"][0].as_str().unwrap()).await,
        "PUBLISH" => {
            let topic = packet["topic"].as_str().unwrap();
            client.publish(topic, quality(&packet["qos"]), packet["payload"].as_str().unwrap()).await;
            let request_id = topic.split("$rid=").nth(1).map(|rest| rest.split('&').next().unwrap());
            let expected = match topic {
                _ if topic.contains("/iotdps-register/") => "$dps/registrations/res/202/?$rid=",
                // The recorded operation is another server's.
                _ if topic.contains("/iotdps-get-operationstatus/") => "$dps/registrations/res/404/?$rid=",
                _ if topic.contains("/twin/GET/") => "$iothub/twin/res/200/?$rid=",
                _ if topic.contains("/properties/reported/") => "$iothub/twin/res/204/?$rid=",
                _ => return,
            };
            let (answer, _) = client.message().await;
            assert!(answer.starts_with(&format!("{expected}{}", request_id.unwrap())), "{topic} -> {answer}");
        }
        other => panic!("{other} is not a packet of a session"),
    }
}

#[tokio::test]
async fn recorded_sessions_of_the_sdks_run_from_connect_to_disconnect() {
    let site = Site::with(Options { hubs: vec!["localhost", "myhub.azure-devices.net"], ..Options::default() }).await;
    site.create(&device("d1"));
    site.create_in(1, &device("d1"));
    let mut session: Option<Client> = None;
    let mut messages = 0;
    for packet in packets() {
        match packet["pkt"].as_str().unwrap() {
            "HTTP" | "EOF" => session = None,
            "CONNECT" => session = Some(site.connect(connect(&packet)).await),
            "DISCONNECT" => session.take().unwrap().disconnect().await,
            _ => {
                messages += usize::from(packet["topic"].as_str().is_some_and(|topic| topic.contains("/events/")));
                replay(session.as_mut().unwrap(), &packet).await;
            }
        }
    }
    let events = Site::events(&site.telemetry);
    assert_eq!(events.len(), messages);
    assert!(messages > 5);
    let reported = site.hubs[0].device_twin(&device("d1")).unwrap()["properties"]["reported"]["fw"].clone();
    assert_eq!(reported, "1");
    site.hubs[0].delete(&device("d1"), &Condition::Any).unwrap();
    site.stop().await;
}
