//! Clients that do not behave: each harms itself only.

use std::time::Duration;

use local_azure::mqtt::Limits;
use rumqttc::{ConnAck, ConnectReturnCode, Packet};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    iot_site::{HUB, KEY, Options, Site, device, hub_connect},
    mqtt_client::{Client, PATIENCE},
};

/// Reads to the end; a reset is an end.
async fn ends(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut read = Vec::new();
    let reading = stream.read_to_end(&mut read);
    let _ = tokio::time::timeout(PATIENCE, reading).await.expect("the server does not close");
    read
}

#[tokio::test]
async fn garbage_ends_its_own_connection_and_no_other() {
    let site = Site::start().await;
    site.create(&device("d1"));
    let mut good = site.connect(hub_connect(HUB, "d1", KEY)).await;

    let mut plain = TcpStream::connect(site.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    ends(&mut plain).await;

    let first_packets: &[&[u8]] = &[
        b"\x00\x00",                                     // no packet type
        b"\xc0\x00",                                     // PINGREQ before CONNECT
        b"\x10\xff\xff\xff\x7f",                         // CONNECT of 256 MiB
        b"\x10\xff\xff\xff\xff\xff",                     // a length without an end
        b"\x10\x02\x00\x09",                             // CONNECT that breaks off inside
        b"\x10\x0c\x00\x04MQTT\x04\x01\x00\x3c\x00\x00", // reserved flag
        b"\x10\x0c\x00\x04MQTT\x04\x40\x00\x3c\x00\x00", // a password without a user name
    ];
    for bytes in first_packets {
        let mut stream = site.stream().await;
        stream.write_all(bytes).await.unwrap();
        assert_eq!(ends(&mut stream).await, b"", "{bytes:?}");
    }
    let mut old = site.stream().await;
    old.write_all(b"\x10\x0c\x00\x04MQTT\x05\x02\x00\x3c\x00\x00").await.unwrap();
    assert_eq!(ends(&mut old).await, [0x20, 2, 0, 1], "MQTT 5 is told that its version is not served");

    good.ping().await;
    site.stop().await;
}

#[tokio::test]
async fn garbage_within_a_session_ends_it() {
    let site = Site::start().await;
    site.create(&device("d1"));
    let packets = [
        Packet::Connect(hub_connect(HUB, "d1", KEY)),
        Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, false)),
        Packet::PingResp,
    ];
    for packet in packets {
        let mut client = site.connect(hub_connect(HUB, "d1", KEY)).await;
        client.send(packet).await;
        client.closed().await;
    }
    site.stop().await;
}

#[tokio::test]
async fn who_says_nothing_is_not_waited_for() {
    let short = Duration::from_millis(200);
    let with = |limits| Site::with(Options { limits, ..Options::default() });
    let site = with(Limits { handshake: short, ..Limits::default() }).await;
    let mut no_handshake = TcpStream::connect(site.address).await.unwrap();
    assert_eq!(ends(&mut no_handshake).await, b"");
    site.stop().await;
    // Its handshake may take as long as it takes on a busy machine.
    let site = with(Limits { connect: short, ..Limits::default() }).await;
    let mut no_connect = site.stream().await;
    assert_eq!(ends(&mut no_connect).await, b"");
    site.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_their_place_is_free_again_later() {
    let site =
        Site::with(Options { limits: Limits { connections: 2, ..Limits::default() }, ..Options::default() }).await;
    for id in ["d1", "d2", "d3"] {
        site.create(&device(id));
    }
    let first = site.connect(hub_connect(HUB, "d1", KEY)).await;
    let mut second = site.connect(hub_connect(HUB, "d2", KEY)).await;
    let mut third = TcpStream::connect(site.address).await.unwrap();
    assert_eq!(ends(&mut third).await, b"");
    second.ping().await;

    first.disconnect().await;
    let stream = loop {
        // Refused until the server has cleared the first one away.
        if let Ok(stream) = site.try_stream().await {
            break stream;
        }
    };
    let (mut client, code, _) = Client::connect(stream, hub_connect(HUB, "d3", KEY)).await;
    assert_eq!(code, ConnectReturnCode::Success);
    client.ping().await;
    site.stop().await;
}

#[tokio::test]
async fn stopping_closes_every_connection() {
    let site = Site::start().await;
    site.create(&device("d1"));
    let mut client = site.connect(hub_connect(HUB, "d1", KEY)).await;
    site.stop().await;
    client.closed().await;
}
