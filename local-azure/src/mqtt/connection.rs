//! One client: its CONNECT, and which service it wants.

use std::sync::Arc;

use bytes::BytesMut;
use futures::{SinkExt as _, StreamExt as _};
use rumqttc::{Codec, ConnAck, Connect, ConnectAuth, ConnectReturnCode, LastWill, Packet};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_util::{codec::Framed, sync::CancellationToken};

use super::{
    Services,
    session::{self, Ending, Endpoint, NotAdmitted, Terms},
};
use crate::{iot_hub::MESSAGE_BYTES, x509::Chain};

/// A CONNECT with a will; nobody is known yet, so no more is read.
const CONNECT_BYTES: usize = 80 * 1024;
/// The largest message with the longest topic.
pub(super) const PACKET_BYTES: usize = MESSAGE_BYTES + 66 * 1024;
/// Read at a time, to begin with: a few messages of telemetry.
const READ_BUFFER_BYTES: usize = 1024;
/// Twins are the largest thing sent.
const OUTGOING_BYTES: usize = 512 * 1024;

/// Who a client says it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Credentials<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) user_name: &'a str,
    /// A token; `None` also if it is not text.
    pub(crate) password: Option<&'a str>,
    /// What it showed in its TLS handshake.
    pub(crate) certificate: Option<&'a Chain>,
    /// Whether an earlier session is to be forgotten.
    pub(crate) clean: bool,
    pub(crate) will: Option<&'a LastWill>,
}

/// Talks to one client until one of both ends it. Over any stream of bytes: what TLS gives, or a WebSocket. `chain` is
/// what the client showed in its TLS handshake; it is kept until the client has signed in.
pub(crate) async fn converse<S>(
    stream: S,
    chain: Option<Chain>,
    services: &Services,
    shutdown: &CancellationToken,
) -> Ending
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let codec = Codec { max_incoming_size: CONNECT_BYTES, max_outgoing_size: OUTGOING_BYTES };
    let mut packets = framed(stream, codec);
    let first = tokio::select! {
        () = shutdown.cancelled() => return Ending::Shutdown,
        first = timeout(services.limits.connect, packets.next()) => first,
    };
    let connect = match first {
        Ok(Some(Ok(Packet::Connect(connect)))) => connect,
        Ok(Some(Ok(_))) => return Ending::Protocol("the first packet is not CONNECT"),
        Ok(Some(Err(error @ rumqttc::Error::InvalidProtocolLevel(_)))) => {
            refuse(&mut packets, services, ConnectReturnCode::RefusedProtocolVersion).await;
            return Ending::Malformed(error);
        }
        Ok(Some(Err(error))) => return Ending::Malformed(error),
        Ok(None) => return Ending::Gone,
        Err(_) => return Ending::Silent,
    };
    let Some(credentials) = credentials(&connect, chain.as_ref()) else {
        refuse(&mut packets, services, ConnectReturnCode::BadUserNamePassword).await;
        return Ending::Protocol("CONNECT has no user name");
    };
    packets.codec_mut().max_incoming_size = PACKET_BYTES;
    if credentials.user_name.contains("/registrations/") {
        let endpoint = match &services.dps {
            Some(dps) => Arc::clone(dps).sign_in(credentials).await,
            None => Err(ConnectReturnCode::ServiceUnavailable.into()),
        };
        drop(chain);
        welcome(packets, services, &connect, endpoint, shutdown).await
    } else {
        let host = credentials.user_name.split('/').next().unwrap_or_default();
        let endpoint = match services.hubs.iter().find(|hub| hub.host_name().is(host)) {
            Some(hub) => Arc::clone(hub).sign_in(credentials).await,
            None => Err(ConnectReturnCode::NotAuthorized.into()),
        };
        drop(chain);
        welcome(packets, services, &connect, endpoint, shutdown).await
    }
}

/// Devices are idle most of the time, and there may be thousands: their buffers begin small, that for writing as nothing.
fn framed<S: AsyncRead + AsyncWrite>(stream: S, codec: Codec) -> Framed<S, Codec> {
    let mut packets = Framed::with_capacity(stream, codec, READ_BUFFER_BYTES);
    *packets.write_buffer_mut() = BytesMut::new();
    packets
}

/// An empty password is as good as none: clients with certificates send either.
fn as_text(password: &[u8]) -> Option<&str> {
    std::str::from_utf8(password).ok().filter(|text| !text.is_empty())
}

fn credentials<'a>(connect: &'a Connect, chain: Option<&'a Chain>) -> Option<Credentials<'a>> {
    let (user_name, password) = match &connect.auth {
        ConnectAuth::None => return None,
        ConnectAuth::Username { username } => (username, None),
        ConnectAuth::UsernamePassword { username, password } => (username, as_text(password)),
    };
    Some(Credentials {
        client_id: &connect.client_id,
        user_name,
        password,
        certificate: chain,
        clean: connect.clean_session,
        will: connect.last_will.as_ref(),
    })
}

/// Lets the client in and serves it, or says why not.
async fn welcome<S, E>(
    mut packets: Framed<S, Codec>,
    services: &Services,
    connect: &Connect,
    endpoint: Result<E, NotAdmitted>,
    shutdown: &CancellationToken,
) -> Ending
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
    E: Endpoint,
{
    let mut endpoint = match endpoint {
        Ok(endpoint) => endpoint,
        Err(reason) => {
            if let NotAdmitted::Told(code) = reason {
                refuse(&mut packets, services, code).await;
            }
            return Ending::NotAdmitted(reason);
        }
    };
    let subscriptions = endpoint.earlier_subscriptions();
    let welcome = ConnAck::new(ConnectReturnCode::Success, !subscriptions.is_empty());
    let ending = match timeout(services.limits.write, packets.send(Packet::ConnAck(welcome))).await {
        Ok(Ok(())) => {
            let terms = Terms { keep_alive: connect.keep_alive, write: services.limits.write };
            session::serve(&mut packets, &mut endpoint, subscriptions, terms, shutdown).await
        }
        Ok(Err(error)) => Ending::Malformed(error),
        Err(_) => Ending::Stalled,
    };
    endpoint.ended(ending.is_proper()).await;
    ending
}

async fn refuse<S>(packets: &mut Framed<S, Codec>, services: &Services, code: ConnectReturnCode)
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    // The connection ends either way: a client that does not read its answer misses it.
    let _ = timeout(services.limits.write, packets.send(Packet::ConnAck(ConnAck::new(code, false)))).await;
}
