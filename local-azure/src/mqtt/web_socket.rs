//! MQTT over WebSocket on the HTTPS port, for networks that let nothing else out (IoT Hub: communicate using MQTT;
//! DPS: MQTT support).
//!
//! Each binary frame carries bytes of the MQTT stream; frames and packets need not begin and end together.
//! Compression (`permessage-deflate`, which Node's SDK offers) is not agreed to: neither does Azure.

use std::{io, sync::Arc};

use axum::{
    Router,
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _, future::ready};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::{
    io::{CopyToBytes, SinkWriter, StreamReader},
    sync::CancellationToken,
    task::TaskTracker,
};
use tracing::{debug, warn};

use super::{
    Services,
    connection::{self, PACKET_BYTES},
};
use crate::front::Peer;

/// The path of both services, the dollar sign as it is and encoded.
const PATHS: [&str; 2] = ["/$iothub/websocket", "/%24iothub/websocket"];
const SUBPROTOCOL: &str = "mqtt";

#[derive(Clone)]
struct Door {
    services: Arc<Services>,
    places: Arc<Semaphore>,
    connections: TaskTracker,
    shutdown: CancellationToken,
}

/// Whether a request's path is that of the WebSockets.
pub(crate) fn is_web_socket(path: &str) -> bool {
    PATHS.contains(&path)
}

/// Upgrades requests to WebSockets and serves MQTT on them until `shutdown`; `connections` tells when all have ended.
pub fn router(services: Services, shutdown: CancellationToken, connections: TaskTracker) -> Router {
    let places = Arc::new(Semaphore::new(services.limits.connections));
    let door = Door { services: Arc::new(services), places, connections, shutdown };
    PATHS.into_iter().fold(Router::new(), |router, path| router.route(path, get(open))).with_state(door)
}

async fn open(State(door): State<Door>, Peer(chain): Peer, upgrade: WebSocketUpgrade) -> Response {
    let upgrade = upgrade.protocols([SUBPROTOCOL]).max_message_size(PACKET_BYTES).max_frame_size(PACKET_BYTES);
    if upgrade.selected_protocol().is_none() {
        return (StatusCode::BAD_REQUEST, "offer the WebSocket subprotocol mqtt\n").into_response();
    }
    let Ok(place) = Arc::clone(&door.places).try_acquire_owned() else {
        warn!(limit = door.services.limits.connections, "MQTT over WebSocket: too many connections, refused one");
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let counted = door.connections.token();
    upgrade.on_upgrade(async move |socket| {
        let (_place, _counted) = (place, counted);
        let mut stream = bytes_of(socket);
        let ending = connection::converse(&mut stream, chain, &door.services, &door.shutdown).await;
        debug!(%ending, "MQTT over WebSocket: connection ended");
        // Says goodbye; a client that does not listen misses it.
        let _ = timeout(door.services.limits.write, stream.shutdown()).await;
    })
}

/// The bytes that binary frames carry, in both directions.
fn bytes_of(socket: WebSocket) -> impl AsyncRead + AsyncWrite + Send + Unpin {
    let (sink, frames) = socket.split();
    let incoming = frames.filter_map(|frame| ready(payload(frame).transpose()));
    let outgoing =
        sink.sink_map_err(io::Error::other).with(|bytes: Bytes| ready(Ok::<_, io::Error>(Message::Binary(bytes))));
    tokio::io::join(StreamReader::new(incoming), SinkWriter::new(CopyToBytes::new(outgoing)))
}

/// What a frame carries; pings are answered by whoever reads them.
fn payload(frame: Result<Message, axum::Error>) -> io::Result<Option<Bytes>> {
    match frame.map_err(io::Error::other)? {
        Message::Binary(bytes) => Ok(Some(bytes)),
        Message::Text(_) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "a text frame; MQTT travels in binary ones"))
        }
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => Ok(None),
    }
}
