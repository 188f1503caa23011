//! One connection to a hub.

use std::time::Duration;

use device_simulator::{ConnectError, ConnectionLost, DeviceKey, HubConnection, HubLogin, SendError, Telemetry};
use rumqttc::mqttbytes::v4::{ConnectReturnCode, Packet, PubAck};
use serde_json::json;
use tokio::{io::DuplexStream, time::Instant};

use crate::peer::{KEY, Peer, Session};

fn login() -> HubLogin {
    let key = DeviceKey::from_base64(KEY).unwrap();
    HubLogin::new("contoso-hub.azure-devices.localhost:18883".parse().unwrap(), "d1".parse().unwrap(), key)
}

async fn connect(peer: &mut Peer) -> (HubConnection, Session<DuplexStream>) {
    let (transport, login) = (peer.transport.clone(), login());
    let (connection, hub) = tokio::join!(HubConnection::connect(&transport, &login), peer.accept_hub());
    (connection.unwrap(), hub)
}

fn reading() -> Telemetry {
    Telemetry::json(&json!({"Temperature": 24.73})).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_message_is_sent_as_the_sample_sends_it_and_resolves_when_acknowledged() {
    let mut peer = Peer::new();
    let (connection, mut hub) = connect(&mut peer).await;
    assert_eq!(
        (hub.dialed.as_str(), hub.connect.client_id.as_str()),
        ("contoso-hub.azure-devices.localhost:18883", "d1")
    );
    assert_eq!((hub.connect.clean_session, hub.connect.keep_alive), (false, 60));
    let (user_name, password) = hub.credentials();
    assert!(user_name.starts_with("contoso-hub.azure-devices.localhost/d1/?api-version=2021-04-12&"), "{user_name}");
    assert!(password.starts_with("SharedAccessSignature sr=contoso-hub.azure-devices.localhost%2Fdevices%2Fd1&sig="));
    assert!(!password.contains("skn"), "the key of a device has no name");

    let telemetry = reading();
    let send = connection.send(&telemetry);
    let answer = async {
        let message = hub.message().await;
        assert_eq!(message.topic, "devices/d1/messages/events/%24.ct=application%2Fjson&%24.ce=utf-8");
        assert_eq!((message.payload.as_ref(), message.dup), (br#"{"Temperature":24.73}"#.as_slice(), false));
        tokio::time::sleep(Duration::from_secs(5)).await;
        hub.acknowledge(&message).await;
    };
    let begin = Instant::now();
    let (sent, ()) = tokio::join!(send, answer);
    sent.unwrap();
    assert_eq!(begin.elapsed().as_secs(), 5);

    let (end, ()) = tokio::join!(connection.disconnect(), hub.expect_end());
    end.unwrap();
}

#[tokio::test(start_paused = true)]
async fn many_messages_are_on_their_way_at_once_and_in_order() {
    let mut peer = Peer::new();
    let (connection, mut hub) = connect(&mut peer).await;
    let messages: Vec<Telemetry> = (0..200_u32).map(|n| Telemetry::new(n.to_string())).collect();
    let sends = futures::future::join_all(messages.iter().map(|message| connection.send(message)));
    let answers = async {
        for n in 0..200_u32 {
            let message = hub.message().await;
            assert_eq!(message.payload, n.to_string());
            hub.acknowledge(&message).await;
        }
    };
    let (sent, ()) = tokio::join!(sends, answers);
    assert!(sent.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn a_message_on_a_connection_that_breaks_is_reported_lost() {
    let mut peer = Peer::new();
    let (connection, mut hub) = connect(&mut peer).await;
    let telemetry = reading();
    let break_off = async {
        hub.message().await;
        drop(hub);
    };
    let (sent, ()) = tokio::join!(connection.send(&telemetry), break_off);
    assert!(matches!(sent, Err(SendError::Lost(ConnectionLost::Closed))), "{sent:?}");
    let late = connection.send(&telemetry).await;
    assert!(matches!(late, Err(SendError::Lost(_))), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn a_quiet_connection_is_kept_alive_by_pings_and_a_silent_server_is_noticed() {
    let mut peer = Peer::new();
    let (connection, mut hub) = connect(&mut peer).await;
    for _ in 0..3 {
        let begin = Instant::now();
        assert_eq!(hub.receive().await, Packet::PingReq);
        assert_eq!(begin.elapsed().as_secs(), 60);
        hub.send(Packet::PingResp).await;
    }
    let begin = Instant::now();
    let lost = connection.closed().await;
    assert!(matches!(lost, ConnectionLost::Silent(_)), "{lost:?}");
    assert_eq!(begin.elapsed().as_secs(), 80, "a ping after 60 s, and 20 s without an answer");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_pings_but_acknowledges_nothing_is_noticed() {
    let mut peer = Peer::new();
    let (transport, login) = (peer.transport.clone(), HubLogin { keep_alive: Duration::from_secs(25), ..login() });
    let (connection, mut hub) = tokio::join!(HubConnection::connect(&transport, &login), peer.accept_hub());
    let (connection, telemetry) = (connection.unwrap(), reading());
    let begin = Instant::now();
    let (sent, ()) = tokio::join!(connection.send(&telemetry), hub.answer_pings());
    assert!(matches!(sent, Err(SendError::Lost(ConnectionLost::Silent(_)))), "{sent:?}");
    assert_eq!(begin.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_of_nothing_ends_the_connection() {
    let mut peer = Peer::new();
    let (connection, mut hub) = connect(&mut peer).await;
    hub.send(Packet::PubAck(PubAck::new(9))).await;
    let lost = connection.closed().await;
    assert_eq!(lost.to_string(), "the server broke the protocol: packet 9 acknowledged, which was not sent");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_connection_says_goodbye() {
    let mut peer = Peer::new();
    let (connection, mut hub) = connect(&mut peer).await;
    drop(connection);
    hub.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_typed() {
    let mut peer = Peer::new();
    let transport = peer.transport.clone();
    let refuse = async { peer.accept().await.answer_connect(ConnectReturnCode::NotAuthorized).await };
    let login = login();
    let (connection, ()) = tokio::join!(HubConnection::connect(&transport, &login), refuse);
    let error = connection.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }) && error.is_unauthorized(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_connect_is_given_up() {
    let mut peer = Peer::new();
    let login = login();
    let transport = peer.transport.clone();
    let (connection, _hub) = tokio::join!(HubConnection::connect(&transport, &login), peer.accept());
    assert!(matches!(connection, Err(ConnectError::TimedOut { .. })), "{connection:?}");
}
