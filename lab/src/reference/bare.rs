//! Servers that do the least that local-azure's have to do: TLS, the protocol, an answer.

use std::{net::Ipv4Addr, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    http::{StatusCode, header},
    routing::get,
};
use futures::{SinkExt as _, StreamExt as _};
use local_azure::front::TlsListener;
use rumqttc::{Codec, ConnAck, ConnectReturnCode, Packet, PubAck};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::codec::Framed;

/// The version that every twin has.
const ETAG: &str = "W/\"5e5e2f6b-5a0c-4f2a-9d5c-2f0e3f1c7a11\"";
const PACKET_BYTES: usize = 512 * 1024;

/// Answers every read with the document `twin` and takes every patch, on a port of its own.
///
/// # Errors
/// When there is no port.
pub async fn serve_https(tls: Arc<ServerConfig>, twin: Bytes) -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let read = move || {
        let twin = twin.clone();
        async move { ([(header::CONTENT_TYPE, "application/json; charset=utf-8"), (header::ETAG, ETAG)], twin) }
    };
    let patch = |_patch: Bytes| async { (StatusCode::NO_CONTENT, [(header::ETAG, ETAG)]) };
    let router = Router::new().route("/digitaltwins/{id}", get(read).patch(patch));
    let listener = TlsListener::new(listener, tls)?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(port)
}

/// Lets every client in and acknowledges every message, on a port of its own.
///
/// # Errors
/// When there is no port.
pub async fn serve_mqtt(tls: Arc<ServerConfig>) -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let acceptor = TlsAcceptor::from(tls);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move { acknowledge(stream, &acceptor).await });
        }
    });
    Ok(port)
}

/// Until the client goes, or does what is not for this server.
async fn acknowledge(stream: TcpStream, acceptor: &TlsAcceptor) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let codec = Codec { max_incoming_size: PACKET_BYTES, max_outgoing_size: PACKET_BYTES };
    let mut packets = Framed::new(acceptor.accept(stream).await?, codec);
    while let Some(packet) = packets.next().await {
        let answer = match packet? {
            Packet::Connect(_) => Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, false)),
            Packet::Publish(publish) => Packet::PubAck(PubAck::new(publish.pkid)),
            _ => break,
        };
        packets.send(answer).await?;
    }
    Ok(())
}
