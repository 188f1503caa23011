//! One MQTT connection: CONNECT to DISCONNECT, packet by packet.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use rumqttc::mqttbytes::{
    QoS,
    v4::{Codec, ConnAck, Connect, Packet, PubAck, Publish},
};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_util::codec::Framed;

use super::{ByteStream, ConnectError, ConnectionLost, Refusal, Transport};
use crate::{identity::Endpoint, sas::SasToken};

/// IoT Hub and DPS send less; what is longer is not theirs.
const MAX_INCOMING: usize = 256 * 1024;
/// A message of 256 KiB and the longest topic.
const MAX_OUTGOING: usize = 384 * 1024;
/// How long the server may take over a CONNACK, or over the bytes of one packet.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long saying goodbye may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Who connects, and how.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) client_id: String,
    pub(crate) user_name: String,
    pub(crate) password: SasToken,
    pub(crate) clean_session: bool,
    pub(crate) keep_alive: Duration,
}

/// A connection whose CONNECT was accepted.
pub(crate) struct Link {
    framed: Framed<TlsStream<Box<dyn ByteStream>>, Codec>,
}

impl Link {
    /// Dials and logs in.
    pub(crate) async fn open(transport: &Transport, endpoint: &Endpoint, login: Login) -> Result<Self, ConnectError> {
        let stream = transport.dial(endpoint).await?;
        let codec = Codec { max_incoming_size: MAX_INCOMING, max_outgoing_size: MAX_OUTGOING };
        let mut link = Self { framed: Framed::new(stream, codec) };
        let unanswered = |source| ConnectError::Unanswered { endpoint: endpoint.clone(), source };
        let answer = async {
            link.feed(Packet::Connect(login.into_packet())).await?;
            link.flush().await?;
            link.receive().await
        };
        match timeout(ANSWER_TIMEOUT, answer).await {
            Err(_) => Err(ConnectError::TimedOut { endpoint: endpoint.clone(), after: ANSWER_TIMEOUT }),
            Ok(Err(lost)) => Err(unanswered(lost)),
            Ok(Ok(Packet::ConnAck(ConnAck { code, .. }))) => match Refusal::from_code(code) {
                None => Ok(link),
                Some(refusal) => Err(ConnectError::Refused { endpoint: endpoint.clone(), refusal }),
            },
            Ok(Ok(other)) => Err(unanswered(unexpected(&other))),
        }
    }

    /// Queues a packet; [`Link::flush`] sends it.
    pub(crate) async fn feed(&mut self, packet: Packet) -> Result<(), ConnectionLost> {
        within(ANSWER_TIMEOUT, self.framed.feed(packet)).await
    }

    /// Sends what is queued.
    pub(crate) async fn flush(&mut self) -> Result<(), ConnectionLost> {
        within(ANSWER_TIMEOUT, self.framed.flush()).await
    }

    /// Queues and sends one packet.
    pub(crate) async fn send(&mut self, packet: Packet) -> Result<(), ConnectionLost> {
        self.feed(packet).await?;
        self.flush().await
    }

    /// The next packet. Dropping the future loses nothing.
    pub(crate) async fn receive(&mut self) -> Result<Packet, ConnectionLost> {
        match self.framed.next().await {
            Some(packet) => Ok(packet?),
            None => Err(ConnectionLost::Closed),
        }
    }

    /// Acknowledges a message of the server, where it asks for it.
    pub(crate) async fn acknowledge(&mut self, publish: &Publish) -> Result<(), ConnectionLost> {
        match publish.qos {
            QoS::AtMostOnce => Ok(()),
            QoS::AtLeastOnce => self.send(Packet::PubAck(PubAck::new(publish.pkid))).await,
            QoS::ExactlyOnce => Err(ConnectionLost::Protocol("a message with QoS 2".to_owned())),
        }
    }

    /// Says DISCONNECT and closes, without waiting long for a server that is gone.
    pub(crate) async fn close(mut self) {
        let goodbye = async {
            self.send(Packet::Disconnect).await?;
            self.framed.close().await.map_err(ConnectionLost::from)
        };
        // Whatever happens to the goodbye, the connection is over.
        let _ = timeout(CLOSE_TIMEOUT, goodbye).await;
    }
}

/// The error for a packet that is not its sender's turn.
pub(crate) fn unexpected(packet: &Packet) -> ConnectionLost {
    ConnectionLost::Protocol(format!("{:?} out of turn", packet.packet_type()))
}

async fn within<E>(limit: Duration, write: impl Future<Output = Result<(), E>>) -> Result<(), ConnectionLost>
where
    ConnectionLost: From<E>,
{
    match timeout(limit, write).await {
        Ok(written) => Ok(written?),
        Err(_) => Err(ConnectionLost::Silent(limit)),
    }
}

impl Login {
    fn into_packet(self) -> Connect {
        let mut connect = Connect::new(self.client_id);
        connect.clean_session = self.clean_session;
        connect.keep_alive = u16::try_from(self.keep_alive.as_secs()).unwrap_or(u16::MAX);
        connect.set_credentials(self.user_name, self.password.expose().to_owned());
        connect
    }
}
