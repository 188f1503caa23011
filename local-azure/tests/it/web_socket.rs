//! MQTT over WebSocket: the same sessions as over TLS, in binary frames.

use std::io;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _, future::ready};
use local_azure::mqtt::Limits;
use rumqttc::{Connect, ConnectReturnCode, QoS};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        self, Message,
        client::IntoClientRequest as _,
        handshake::client::Response,
        http::{HeaderValue, StatusCode},
    },
};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

use crate::{
    iot_site::{self, GROUP_KEY, HUB, KEY, Options, Site, device, dps_connect, hub_connect},
    mqtt_client::{Client, Stream},
};

pub(crate) const PATH: &str = "/$iothub/websocket?iothub-no-client-cert=true";

type Socket = WebSocketStream<TcpStream>;

/// Asks for a WebSocket as Node's SDK does: with compression on offer.
async fn ask(site: &Site, path: &str, protocol: Option<&str>) -> Result<(Socket, Response), tungstenite::Error> {
    let mut request = format!("ws://{}{path}", site.http).into_client_request().unwrap();
    let headers = request.headers_mut();
    if let Some(protocol) = protocol {
        headers.insert("sec-websocket-protocol", protocol.parse().unwrap());
    }
    headers.insert("sec-websocket-extensions", HeaderValue::from_static("permessage-deflate; client_max_window_bits"));
    client_async(request, TcpStream::connect(site.http).await.unwrap()).await
}

async fn socket(site: &Site) -> Socket {
    ask(site, PATH, Some("mqtt")).await.unwrap().0
}

/// The bytes in a socket's frames, at most `frame` in each that is sent.
pub(crate) fn bytes_of<S>(socket: WebSocketStream<S>, frame: usize) -> impl Stream
where
    S: Stream,
{
    let (sink, frames) = socket.split();
    let incoming = frames.filter_map(|frame| {
        ready(match frame {
            Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
            Ok(_) => None,
            Err(error) => Some(Err(io::Error::other(error))),
        })
    });
    let cut = move |bytes: Bytes| {
        let frames: Vec<_> = bytes.chunks(frame).map(|part| Ok(Message::binary(part.to_vec()))).collect();
        futures::stream::iter(frames)
    };
    let outgoing = sink.with_flat_map(cut).sink_map_err(io::Error::other);
    tokio::io::join(StreamReader::new(incoming), SinkWriter::new(CopyToBytes::new(outgoing)))
}

async fn connect(site: &Site, connect: Connect, frame: usize) -> Client {
    let (client, code, _) = Client::connect(bytes_of(socket(site).await, frame), connect).await;
    assert_eq!(code, ConnectReturnCode::Success);
    client
}

#[tokio::test]
async fn a_device_registers_and_sends_however_packets_are_cut_into_frames() {
    let site = Site::start().await;
    let mut to_dps = connect(&site, dps_connect("ws-1", GROUP_KEY), usize::MAX).await;
    to_dps.subscribe("$dps/registrations/res/#", QoS::AtLeastOnce).await;
    let mut answer = iot_site::register(&mut to_dps, "ws-1", None).await;
    while answer["status"] == "assigning" {
        (_, answer) = iot_site::poll(&mut to_dps, answer["operationId"].as_str().unwrap()).await;
    }
    assert_eq!(answer["registrationState"]["assignedHub"], HUB);
    to_dps.disconnect().await;

    site.create(&device("d1"));
    let mut to_hub = connect(&site, hub_connect(HUB, "d1", KEY), 3).await;
    let body = vec![b'x'; 100_000];
    to_hub.publish("devices/d1/messages/events/", QoS::AtLeastOnce, body.clone()).await;
    assert_eq!(Site::events(&site.telemetry)[0].body, body);
    to_hub.disconnect().await;
    site.stop().await;
}

#[tokio::test]
async fn the_subprotocol_is_agreed_to_and_compression_is_not() {
    let site = Site::start().await;
    let (_, response) = ask(&site, PATH, Some("AMQPWSB10, mqtt")).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");
    assert!(!response.headers().contains_key("sec-websocket-extensions"));
    assert!(ask(&site, "/%24iothub/websocket", Some("mqtt")).await.is_ok());
    for protocol in [None, Some("AMQPWSB10")] {
        let Err(tungstenite::Error::Http(response)) = ask(&site, PATH, protocol).await else { panic!("{protocol:?}") };
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    }
    site.stop().await;
}

#[tokio::test]
async fn a_session_ends_with_a_close_frame_and_a_text_frame_ends_it() {
    let site = Site::start().await;
    site.create(&device("d1"));
    let mut waiting = socket(&site).await;
    waiting.send(Message::text("hello")).await.unwrap();
    assert!(matches!(waiting.next().await, Some(Ok(Message::Close(_)))));

    let mut waiting = socket(&site).await;
    waiting.send(Message::Ping(Bytes::from_static(b"?"))).await.unwrap();
    assert_eq!(waiting.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"?")));
    site.stop().await;
    assert!(matches!(waiting.next().await, Some(Ok(Message::Close(_)))));
}

#[tokio::test]
async fn sockets_beyond_the_limit_are_refused() {
    let site =
        Site::with(Options { limits: Limits { connections: 1, ..Limits::default() }, ..Options::default() }).await;
    let first = socket(&site).await;
    let Err(tungstenite::Error::Http(response)) = ask(&site, PATH, Some("mqtt")).await else { panic!() };
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(first);
    site.stop().await;
}
