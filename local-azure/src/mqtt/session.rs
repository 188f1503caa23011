//! What every session has, whatever it is about: acknowledgements, keep-alive, subscriptions, an end.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use axum::http::StatusCode;
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use rumqttc::{
    Codec, ConnectReturnCode, Packet, PubAck, Publish, QoS, SubAck, Subscribe, SubscribeReasonCode, UnsubAck,
    Unsubscribe,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{codec::Framed, sync::CancellationToken};

use super::Subscriptions;
use crate::gate::Refusal;

/// The longest silence, also of clients that want no keep-alive (IoT Hub: communicate using MQTT, default keep-alive
/// timeout: one and a half times what the client says, at most 1767 s).
const LONGEST_SILENCE: Duration = Duration::from_secs(1_767);
/// Messages that a client may leave unacknowledged.
const UNACKNOWLEDGED: usize = 100;

/// A message from a client.
#[derive(Debug, Clone)]
pub(crate) struct Incoming<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: Bytes,
    pub(crate) retain: bool,
}

/// A message to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
}

/// What a service does of its own accord.
#[derive(Debug)]
pub(crate) enum Push {
    /// It has a message for the client.
    Message(Outgoing),
    /// It has a message for the client and wants to know when it arrived.
    Delivery {
        /// The message.
        message: Outgoing,
        /// What the service is told then.
        receipt: u64,
    },
    /// It wants the client gone.
    Close(&'static str),
}

/// A message cannot be taken. MQTT 3.1.1 has no way to say so: the connection is closed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(crate) String);

/// A client is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// It is told so in CONNACK.
    Told(ConnectReturnCode),
    /// The connection ends without CONNACK.
    NoAnswer,
}

impl From<ConnectReturnCode> for NotAdmitted {
    fn from(code: ConnectReturnCode) -> Self {
        Self::Told(code)
    }
}

impl From<Refusal> for NotAdmitted {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Status { status: StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, .. } => {
                Self::Told(ConnectReturnCode::NotAuthorized)
            }
            Refusal::Status { .. } => Self::Told(ConnectReturnCode::ServiceUnavailable),
            Refusal::Reset => Self::NoAnswer,
        }
    }
}

/// A service's side of a session.
pub(crate) trait Endpoint: Send {
    /// What the client had subscribed to in an earlier session that it did not want forgotten.
    fn earlier_subscriptions(&self) -> Subscriptions;

    /// Whether a client may subscribe to this filter.
    fn admits(&self, filter: &str) -> bool;

    /// The client subscribed or unsubscribed.
    fn subscribed(&mut self, subscriptions: &Subscriptions);

    /// Takes a message. It is acknowledged before the answer, if there is one, goes out.
    fn take(&mut self, message: Incoming<'_>) -> impl Future<Output = Result<Option<Outgoing>, Refused>> + Send;

    /// Waits for what the service does of its own accord. May be dropped and called again at any time.
    fn pushed(&mut self) -> impl Future<Output = Push> + Send;

    /// The client has the message of a [`Push::Delivery`]: it acknowledged it, or with quality of service 0 was sent it.
    fn acknowledged(&mut self, receipt: u64) {
        let _ = receipt;
    }

    /// The session is over; `properly` if the client said goodbye or the server stops.
    fn ended(&mut self, properly: bool) -> impl Future<Output = ()> + Send;
}

/// How a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ending {
    #[error("the client said goodbye")]
    Goodbye,
    #[error("the client is gone")]
    Gone,
    #[error("the client was silent for too long")]
    Silent,
    #[error("the client does not read what it is sent")]
    Stalled,
    #[error("the client broke the protocol: {0}")]
    Protocol(&'static str),
    #[error("a packet could not be read or written: {0}")]
    Malformed(rumqttc::Error),
    #[error("not admitted: {0:?}")]
    NotAdmitted(NotAdmitted),
    #[error("a message was refused: {0}")]
    Refused(Refused),
    #[error("the service closed it: {0}")]
    Closed(&'static str),
    #[error("the server stops")]
    Shutdown,
}

impl Ending {
    /// Whether the client need not be missed: its will stays unsaid.
    pub(super) fn is_proper(&self) -> bool {
        matches!(self, Self::Goodbye | Self::Shutdown)
    }
}

/// The terms of a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// The client's keep-alive in seconds, 0 for none.
    pub(super) keep_alive: u16,
    /// How long a client may take to accept a packet.
    pub(super) write: Duration,
}

impl Terms {
    fn silence(self) -> Duration {
        match self.keep_alive {
            0 => LONGEST_SILENCE,
            seconds => Duration::from_secs(u64::from(seconds)).mul_f32(1.5).min(LONGEST_SILENCE),
        }
    }
}

enum Event {
    Packet(Packet),
    Push(Push),
}

/// Serves a client that was let in.
pub(super) async fn serve<S, E>(
    packets: &mut Framed<S, Codec>,
    endpoint: &mut E,
    subscriptions: Subscriptions,
    terms: Terms,
    shutdown: &CancellationToken,
) -> Ending
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
    E: Endpoint,
{
    let mut session = Session { packets, endpoint, subscriptions, terms, unacknowledged: BTreeMap::new(), last_id: 0 };
    let Err(ending) = session.run(shutdown).await;
    ending
}

struct Session<'a, S, E> {
    packets: &'a mut Framed<S, Codec>,
    endpoint: &'a mut E,
    subscriptions: Subscriptions,
    terms: Terms,
    /// The packets that the client did not acknowledge yet, with the receipts that somebody waits for.
    unacknowledged: BTreeMap<u16, Option<u64>>,
    last_id: u16,
}

impl<S, E> Session<'_, S, E>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
    E: Endpoint,
{
    async fn run(&mut self, shutdown: &CancellationToken) -> Result<std::convert::Infallible, Ending> {
        let mut heard = Instant::now();
        loop {
            let event = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Err(Ending::Shutdown),
                push = self.endpoint.pushed() => Event::Push(push),
                packet = timeout_at(heard + self.terms.silence(), self.packets.next()) => match packet {
                    Ok(Some(Ok(packet))) => Event::Packet(packet),
                    Ok(Some(Err(error))) => return Err(Ending::Malformed(error)),
                    Ok(None) => return Err(Ending::Gone),
                    Err(_) => return Err(Ending::Silent),
                },
            };
            match event {
                Event::Push(Push::Message(message)) => self.send(message, None).await?,
                Event::Push(Push::Delivery { message, receipt }) => self.send(message, Some(receipt)).await?,
                Event::Push(Push::Close(reason)) => return Err(Ending::Closed(reason)),
                Event::Packet(packet) => {
                    heard = Instant::now();
                    self.handle(packet).await?;
                }
            }
        }
    }

    async fn handle(&mut self, packet: Packet) -> Result<(), Ending> {
        match packet {
            Packet::Publish(publish) => self.published(publish).await,
            Packet::Subscribe(subscribe) => self.subscribe(subscribe).await,
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(unsubscribe).await,
            Packet::PubAck(PubAck { pkid }) => {
                if let Some(Some(receipt)) = self.unacknowledged.remove(&pkid) {
                    self.endpoint.acknowledged(receipt);
                }
                Ok(())
            }
            Packet::PingReq => self.write(Packet::PingResp).await,
            Packet::Disconnect => Err(Ending::Goodbye),
            _ => Err(Ending::Protocol("a packet that no client of a session sends")),
        }
    }

    async fn published(&mut self, publish: Publish) -> Result<(), Ending> {
        if publish.qos == QoS::ExactlyOnce {
            return Err(Ending::Protocol("quality of service 2 is not supported"));
        }
        let topic = std::str::from_utf8(&publish.topic).map_err(|_| Ending::Protocol("a topic is not UTF-8"))?;
        let message = Incoming { topic, payload: publish.payload, retain: publish.retain };
        let answer = self.endpoint.take(message).await.map_err(Ending::Refused)?;
        if publish.qos == QoS::AtLeastOnce {
            self.write(Packet::PubAck(PubAck { pkid: publish.pkid })).await?;
        }
        match answer {
            Some(answer) => self.send(answer, None).await,
            None => Ok(()),
        }
    }

    async fn subscribe(&mut self, subscribe: Subscribe) -> Result<(), Ending> {
        let codes = subscribe.filters.iter().map(|filter| {
            let admitted = self.endpoint.admits(&filter.path);
            let granted = if admitted { self.subscriptions.add(&filter.path, filter.qos) } else { None };
            granted.map_or(SubscribeReasonCode::Failure, SubscribeReasonCode::Success)
        });
        let codes = codes.collect();
        self.endpoint.subscribed(&self.subscriptions);
        self.write(Packet::SubAck(SubAck::new(subscribe.pkid, codes))).await
    }

    async fn unsubscribe(&mut self, unsubscribe: Unsubscribe) -> Result<(), Ending> {
        for filter in &unsubscribe.topics {
            self.subscriptions.remove(filter);
        }
        self.endpoint.subscribed(&self.subscriptions);
        self.write(Packet::UnsubAck(UnsubAck::new(unsubscribe.pkid))).await
    }

    /// Sends a message to a client that asked for its topic; to another it is not sent.
    async fn send(&mut self, message: Outgoing, receipt: Option<u64>) -> Result<(), Ending> {
        let Some(quality) = self.subscriptions.quality_for(&message.topic) else { return Ok(()) };
        let mut publish = Publish::from_bytes(message.topic, quality, message.payload);
        if quality == QoS::AtLeastOnce {
            publish.pkid = self.packet_id(receipt)?;
            return self.write(Packet::Publish(publish)).await;
        }
        self.write(Packet::Publish(publish)).await?;
        if let Some(receipt) = receipt {
            self.endpoint.acknowledged(receipt);
        }
        Ok(())
    }

    fn packet_id(&mut self, receipt: Option<u64>) -> Result<u16, Ending> {
        if self.unacknowledged.len() >= UNACKNOWLEDGED {
            return Err(Ending::Protocol("messages are not acknowledged"));
        }
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if let Entry::Vacant(free) = self.unacknowledged.entry(self.last_id) {
                free.insert(receipt);
                return Ok(self.last_id);
            }
        }
    }

    async fn write(&mut self, packet: Packet) -> Result<(), Ending> {
        match timeout(self.terms.write, self.packets.send(packet)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Ending::Malformed(error)),
            Err(_) => Err(Ending::Stalled),
        }
    }
}
