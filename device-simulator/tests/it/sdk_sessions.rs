//! Sessions of the device beside those that were recorded of Azure's SDKs, packet by packet.

use device_simulator::{DeviceKey, HubConnection, HubLogin, ProvisioningRequest, SystemProperty, Telemetry, provision};
use rumqttc::mqttbytes::v4::{Connect, ConnectAuth, ConnectReturnCode, Packet, PubAck, Subscribe};
use serde_json::{Value, json};

use crate::peer::{KEY, Peer, Request};

/// The packets that this client sent, in its first session under this user name.
fn recorded(agent: &str, user_name: &str) -> Vec<Value> {
    let capture = include_str!("../fixtures/iot/wire_capture.jsonl");
    let packets = capture.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut session = packets.skip_while(|packet| {
        let name = packet["username"].as_str().unwrap_or_default();
        !(name.starts_with(user_name) && name.contains(agent))
    });
    let connect = session.next().unwrap();
    let others = session.take_while(|packet| packet["pkt"] != "CONNECT" && packet["pkt"] != "HTTP");
    std::iter::once(connect).chain(others).map(steady).collect()
}

/// A packet of the device in the form of the recording.
fn sent(packet: &Packet) -> Value {
    steady(match packet {
        Packet::Connect(connect) => shown_connect(connect),
        Packet::Subscribe(Subscribe { filters, .. }) => {
            let filters: Vec<_> = filters.iter().map(|filter| json!([filter.path, filter.qos as u8])).collect();
            json!({ "pkt": "SUBSCRIBE", "filters": filters })
        }
        Packet::Publish(publish) => json!({
            "pkt": "PUBLISH",
            "qos": publish.qos as u8,
            "retain": u8::from(publish.retain),
            "dup": u8::from(publish.dup),
            "topic": std::str::from_utf8(&publish.topic).unwrap(),
            "payload": std::str::from_utf8(&publish.payload).unwrap(),
        }),
        Packet::Disconnect => json!({ "pkt": "DISCONNECT" }),
        other => panic!("{other:?}"),
    })
}

fn shown_connect(connect: &Connect) -> Value {
    let ConnectAuth::UsernamePassword { username, password } = &connect.auth else { panic!("{:?}", connect.auth) };
    json!({
        "pkt": "CONNECT",
        "proto": "MQTT",
        "level": 4,
        "clean": connect.clean_session,
        "clientId": connect.client_id,
        "username": username,
        "password": std::str::from_utf8(password).unwrap(),
        "will": connect.last_will.as_ref().map(|will| &will.topic),
    })
}

/// Leaves out what each client and each session has its own of: the client's version, how often it pings, request
/// ids, signatures; and how JSON is spaced.
fn steady(mut packet: Value) -> Value {
    let members = packet.as_object_mut().unwrap();
    for name in ["port", "keepalive"] {
        members.remove(name);
    }
    if members["pkt"] != "CONNECT" {
        members.remove("clientId");
    }
    let cut = |text: &str, mark: &str| text.split(mark).next().unwrap().to_owned();
    for (name, value) in members.iter_mut() {
        let Some(text) = value.as_str() else { continue };
        *value = match name.as_str() {
            "username" => cut(text, "&").into(),
            "password" => cut(text, "&").into(),
            "topic" => match text.split_once("$rid=") {
                Some((head, id)) => format!("{head}{}", id.split_once('&').map_or("", |(_, rest)| rest)).into(),
                None => text.into(),
            },
            "payload" => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
            _ => continue,
        };
    }
    packet
}

/// A session on which the device registers and is answered what Azure's SDKs were answered.
#[tokio::test(start_paused = true)]
async fn a_registration_is_that_of_python_s_sdk() {
    let mut peer = Peer::new();
    let key = DeviceKey::from_base64(KEY).unwrap();
    let (dps, id_scope, id) = ("dps.localhost", "0ne00ABCDEF", "Py-Dev.1");
    let request = ProvisioningRequest::new(dps.parse().unwrap(), id_scope.parse().unwrap(), id.parse().unwrap(), key)
        .with_payload(json!({"modelId": "dtmi:contosocom:DigitalTwins:Thermostat;2"}));
    let transport = peer.transport.clone();
    let device = tokio::spawn(async move { provision(&transport, &request).await });
    let answers = [
        (202, json!({"operationId": "5.aa.bb", "status": "assigning"})),
        (
            200,
            json!({
                "operationId": "5.aa.bb", "status": "assigned",
                "registrationState": {"assignedHub": "localhost", "deviceId": id, "status": "assigned"},
            }),
        ),
    ];
    let mut answers = answers.iter();

    let mut session = peer.accept().await;
    session.answer_connect(ConnectReturnCode::Success).await;
    let mut packets = vec![sent(&Packet::Connect(session.connect.clone()))];
    loop {
        let packet = session.receive().await;
        packets.push(sent(&packet));
        match packet {
            Packet::Subscribe(subscribe) => session.grant(&subscribe).await,
            Packet::Publish(publish) => {
                session.acknowledge(&publish).await;
                let (status, body) = answers.next().unwrap();
                session.answer(&Request::of(&publish), *status, "", body).await;
            }
            _ => break,
        }
    }
    assert!(device.await.unwrap().is_ok());
    let mut recorded = recorded("provisioning-py", "0ne00ABCDEF/registrations/Py-Dev.1/");
    // Python's SDK asks for a session that is kept, though DPS keeps none, and does not name its policy.
    recorded[0]["clean"] = true.into();
    assert_eq!(packets, recorded);
}

#[tokio::test(start_paused = true)]
async fn a_message_is_that_of_azure_s_sdks() {
    let mut peer = Peer::new();
    let key = DeviceKey::from_base64(KEY).unwrap();
    let login = HubLogin::new("localhost:8883".parse().unwrap(), "d1".parse().unwrap(), key);
    let transport = peer.transport.clone();
    let (connection, mut hub) = tokio::join!(HubConnection::connect(&transport, &login), peer.accept_hub());
    let connection = connection.unwrap();
    // Node's has the same version of the API.
    let node = recorded("azure-iot-device%2F1", "localhost/d1/");
    assert_eq!(sent(&Packet::Connect(hub.connect.clone())), node[0]);

    let telemetry = Telemetry::new(br#"{"Temperature":25.3}"#.as_slice())
        .with_system_property(SystemProperty::MessageId, "m 1/é")
        .with_system_property(SystemProperty::CorrelationId, "c1")
        .with_system_property(SystemProperty::ContentType, "application/json")
        .with_system_property(SystemProperty::ContentEncoding, "utf-8")
        .with_system_property(SystemProperty::ComponentName, "comp1")
        .with_property("unit", "°C & more");
    let plain = Telemetry::new(br#"{"Temperature":1}"#.as_slice());
    // Node's writes the component behind the device's own properties.
    let python = recorded("iothub-py", "localhost/d1/");
    for (telemetry, recorded) in [(telemetry, &python[1]), (plain, &node[2])] {
        let send = connection.send(&telemetry);
        let take = async {
            let Packet::Publish(message) = hub.receive().await else { panic!("no PUBLISH") };
            hub.send(Packet::PubAck(PubAck::new(message.pkid))).await;
            sent(&Packet::Publish(message))
        };
        let (acknowledged, message) = tokio::join!(send, take);
        acknowledged.unwrap();
        assert_eq!(&message, recorded);
    }
    let (end, goodbye) = tokio::join!(connection.disconnect(), hub.receive());
    end.unwrap();
    assert_eq!(sent(&goodbye), *node.last().unwrap());
}
