//! A small MQTT client, for talking to DPS and IoT Hub packet by packet.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};

use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures::{SinkExt as _, StreamExt as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rumqttc::{
    Codec, Connect, ConnectReturnCode, Packet, PubAck, Publish, QoS, Subscribe, SubscribeReasonCode, Unsubscribe,
};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::codec::Framed;

use crate::certificates::Shown;

/// Nothing in these tests takes that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a client talks over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connected client.
pub(crate) struct Client {
    packets: Framed<Box<dyn Stream>, Codec>,
    inbox: VecDeque<Publish>,
    last_id: u16,
}

/// A token in the form of the Azure SDKs.
pub(crate) fn token(key: &str, resource: &str, policy: Option<&str>, expiry: i64) -> String {
    let resource = utf8_percent_encode(resource, NON_ALPHANUMERIC).to_string();
    raw_token(key, &resource, policy, expiry)
}

/// A token over a resource that is written as it is given.
pub(crate) fn raw_token(key: &str, resource: &str, policy: Option<&str>, expiry: i64) -> String {
    let signature = BASE64_STANDARD.encode(sign(key, &format!("{resource}\n{expiry}")));
    let signature = utf8_percent_encode(&signature, NON_ALPHANUMERIC);
    let policy = policy.map(|policy| format!("&skn={policy}")).unwrap_or_default();
    format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}{policy}")
}

/// The key of one device under a group key.
pub(crate) fn device_key(group_key: &str, registration_id: &str) -> String {
    BASE64_STANDARD.encode(sign(group_key, registration_id))
}

fn sign(key: &str, text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64_STANDARD.decode(key).unwrap());
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

/// Opens a TLS connection that trusts this certificate.
pub(crate) async fn tls(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
) -> std::io::Result<TlsStream<TcpStream>> {
    tls_showing(address, trusted, None, rustls::ALL_VERSIONS).await
}

/// The same with a certificate to show, over one of these versions of TLS. A key that does not belong to it is used as
/// it is: the server has to find out.
pub(crate) async fn tls_showing(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
    shown: Option<&Shown>,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let config = config.with_root_certificates(roots);
    let config = match shown {
        None => config.with_no_client_auth(),
        Some(shown) => {
            let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&shown.private_key()).unwrap();
            let certified = CertifiedKey::new(shown.chain.clone(), key);
            config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
        }
    };
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

impl Client {
    /// Connects; the answer is the caller's to judge.
    pub(crate) async fn connect(stream: impl Stream + 'static, connect: Connect) -> (Self, ConnectReturnCode, bool) {
        let codec = Codec { max_incoming_size: 1 << 20, max_outgoing_size: 1 << 20 };
        let packets = Framed::new(Box::new(stream) as Box<dyn Stream>, codec);
        let mut client = Self { packets, inbox: VecDeque::new(), last_id: 0 };
        client.send(Packet::Connect(connect)).await;
        match client.next().await {
            Some(Packet::ConnAck(ack)) => (client, ack.code, ack.session_present),
            other => panic!("expected CONNACK, got {other:?}"),
        }
    }

    /// Publishes; with quality of service 1 waits for the acknowledgement.
    pub(crate) async fn publish(&mut self, topic: &str, qos: QoS, payload: impl Into<Vec<u8>>) {
        self.publish_packet(Publish::new(topic, qos, payload)).await;
    }

    pub(crate) async fn publish_packet(&mut self, mut publish: Publish) {
        let mut awaited = publish.qos == QoS::AtLeastOnce;
        if publish.qos != QoS::AtMostOnce {
            publish.pkid = self.id();
        }
        let id = publish.pkid;
        self.send(Packet::Publish(publish)).await;
        while awaited {
            match self.next().await {
                Some(Packet::PubAck(ack)) => {
                    assert_eq!(ack.pkid, id);
                    awaited = false;
                }
                Some(Packet::Publish(publish)) => self.inbox.push_back(publish),
                other => panic!("expected PUBACK, got {other:?}"),
            }
        }
    }

    pub(crate) async fn subscribe(&mut self, filter: &str, qos: QoS) -> SubscribeReasonCode {
        let mut subscribe = Subscribe::new(filter, qos);
        subscribe.pkid = self.id();
        self.send(Packet::Subscribe(subscribe)).await;
        match self.next().await {
            Some(Packet::SubAck(ack)) => ack.return_codes[0],
            other => panic!("expected SUBACK, got {other:?}"),
        }
    }

    pub(crate) async fn unsubscribe(&mut self, filter: &str) {
        let mut unsubscribe = Unsubscribe::new(filter);
        unsubscribe.pkid = self.id();
        self.send(Packet::Unsubscribe(unsubscribe)).await;
        assert!(matches!(self.next().await, Some(Packet::UnsubAck(_))));
    }

    /// The next message, acknowledged: its topic and payload.
    pub(crate) async fn message(&mut self) -> (String, String) {
        let publish = match self.inbox.pop_front() {
            Some(publish) => publish,
            None => match self.next().await {
                Some(Packet::Publish(publish)) => publish,
                other => panic!("expected PUBLISH, got {other:?}"),
            },
        };
        if publish.qos == QoS::AtLeastOnce {
            self.send(Packet::PubAck(PubAck::new(publish.pkid))).await;
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(&publish.topic), text(&publish.payload))
    }

    /// Whether the server still answers, and has nothing else to say.
    pub(crate) async fn ping(&mut self) {
        self.send(Packet::PingReq).await;
        assert_eq!(self.next().await, Some(Packet::PingResp));
    }

    /// Waits until the server closes the connection.
    pub(crate) async fn closed(&mut self) {
        while let Some(packet) = self.next().await {
            assert!(!matches!(packet, Packet::PubAck(_)), "acknowledged what it should refuse");
        }
    }

    pub(crate) async fn disconnect(mut self) {
        self.send(Packet::Disconnect).await;
        self.closed().await;
    }

    pub(crate) async fn send(&mut self, packet: Packet) {
        self.packets.send(packet).await.unwrap();
    }

    /// The next packet, `None` at the end. A connection that breaks off has ended too.
    pub(crate) async fn next(&mut self) -> Option<Packet> {
        timeout(PATIENCE, self.packets.next()).await.expect("the server neither answers nor closes")?.ok()
    }

    fn id(&mut self) -> u16 {
        self.last_id += 1;
        self.last_id
    }
}
