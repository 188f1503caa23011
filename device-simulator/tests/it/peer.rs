//! The other side: a server that does what the test says, packet by packet.

use std::{io, sync::Arc};

use device_simulator::{ByteStream, DeviceKey, Endpoint, Network, ProvisioningRequest, Transport};
use futures::{SinkExt, StreamExt, future::BoxFuture};
use rumqttc::mqttbytes::{
    QoS,
    v4::{
        Codec, ConnAck, Connect, ConnectAuth, ConnectReturnCode, Packet, PubAck, Publish, SubAck, Subscribe,
        SubscribeReasonCode,
    },
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tokio::{io::DuplexStream, sync::mpsc};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::codec::Framed;

/// A key that no service ever had.
pub(crate) const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
pub(crate) const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/?$rid=";

/// The recorded exchanges with DPS.
pub(crate) fn recorded() -> Value {
    serde_json::from_str(include_str!("../fixtures/iot/dps_mqtt.json")).unwrap()
}

pub(crate) fn request() -> ProvisioningRequest {
    ProvisioningRequest::new(
        "dps.localhost".parse().unwrap(),
        "0ne00ABCDEF".parse().unwrap(),
        "thermo-01".parse().unwrap(),
        DeviceKey::from_base64(KEY).unwrap(),
    )
    .with_payload(serde_json::json!({"modelId": "dtmi:contosocom:DigitalTwins:Thermostat;2"}))
}

/// A certificate for `localhost`, DPS and any hub, and who accepts with it.
pub(crate) struct Certificate {
    pub(crate) pem: String,
    pub(crate) acceptor: TlsAcceptor,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let names = ["localhost", "dps.localhost", "*.azure-devices.localhost"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        Self { pem: made.cert.pem(), acceptor: TlsAcceptor::from(Arc::new(config)) }
    }
}

/// A network of one process: with no socket in it, tokio's paused clock moves exactly when all sides wait.
struct InMemory {
    dialed: mpsc::UnboundedSender<(Endpoint, DuplexStream)>,
}

impl Network for InMemory {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, io::Result<Box<dyn ByteStream>>> {
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let refused = |_| io::Error::from(io::ErrorKind::ConnectionRefused);
            self.dialed.send((endpoint.clone(), theirs)).map_err(refused)?;
            Ok(Box::new(ours) as Box<dyn ByteStream>)
        })
    }
}

/// Every server that the device dials.
pub(crate) struct Peer {
    certificate: Certificate,
    dialed: mpsc::UnboundedReceiver<(Endpoint, DuplexStream)>,
    pub(crate) transport: Transport,
}

impl Peer {
    pub(crate) fn new() -> Self {
        let certificate = Certificate::new();
        let (dialling, dialed) = mpsc::unbounded_channel();
        let network = Arc::new(InMemory { dialed: dialling });
        let transport = Transport::over(network, Some(certificate.pem.as_bytes())).unwrap();
        Self { certificate, dialed, transport }
    }

    /// Nobody listens any more.
    pub(crate) fn go_away(&mut self) {
        self.dialed.close();
    }

    /// Takes the next connection and its CONNECT, without answering.
    pub(crate) async fn accept(&mut self) -> Session<DuplexStream> {
        let (endpoint, stream) = self.dialed.recv().await.unwrap();
        Session::accept(&self.certificate.acceptor, endpoint.to_string(), stream).await
    }

    /// Takes the next connection and breaks it before TLS.
    pub(crate) async fn hang_up(&mut self) {
        drop(self.dialed.recv().await.unwrap());
    }

    /// Takes the next connection, as DPS: accepts CONNECT and SUBSCRIBE.
    pub(crate) async fn accept_dps(&mut self) -> Session<DuplexStream> {
        let mut session = self.accept().await;
        session.answer_connect(ConnectReturnCode::Success).await;
        session.answer_subscribe().await;
        session
    }

    /// Takes the next connection, as DPS, and assigns the device to `hub` at once.
    pub(crate) async fn assign(&mut self, hub: &str, device_id: &str) {
        let mut dps = self.accept_dps().await;
        let register = dps.request().await;
        let body = serde_json::json!({
            "operationId": "5.aa.bb", "status": "assigned",
            "registrationState": {"assignedHub": hub, "deviceId": device_id, "status": "assigned"},
        });
        dps.answer(&register, 200, "", &body).await;
        dps.expect_end().await;
    }

    /// Takes the next connection, as a hub that lets the device in.
    pub(crate) async fn accept_hub(&mut self) -> Session<DuplexStream> {
        let mut session = self.accept().await;
        session.answer_connect(ConnectReturnCode::Success).await;
        session
    }
}

/// One connection of the device, seen from the server.
pub(crate) struct Session<S> {
    /// Where the device thought it was dialling.
    pub(crate) dialed: String,
    pub(crate) connect: Connect,
    framed: Framed<TlsStream<S>, Codec>,
}

impl<S: ByteStream> Session<S> {
    pub(crate) async fn accept(acceptor: &TlsAcceptor, dialed: String, stream: S) -> Self {
        let stream = acceptor.accept(stream).await.unwrap();
        let codec = Codec { max_incoming_size: 1 << 20, max_outgoing_size: 1 << 20 };
        let mut framed = Framed::new(stream, codec);
        match framed.next().await.unwrap().unwrap() {
            Packet::Connect(connect) => Self { dialed, connect, framed },
            other => panic!("{other:?} instead of CONNECT"),
        }
    }

    pub(crate) async fn send(&mut self, packet: Packet) {
        self.framed.send(packet).await.unwrap();
    }

    pub(crate) async fn receive(&mut self) -> Packet {
        self.framed.next().await.unwrap().unwrap()
    }

    /// Answers pings and nothing else, until the device hangs up.
    pub(crate) async fn answer_pings(&mut self) {
        while let Some(Ok(packet)) = self.framed.next().await {
            if packet == Packet::PingReq {
                self.send(Packet::PingResp).await;
            }
        }
    }

    pub(crate) async fn answer_connect(&mut self, code: ConnectReturnCode) {
        self.send(Packet::ConnAck(ConnAck::new(code, false))).await;
    }

    pub(crate) async fn answer_subscribe(&mut self) {
        let Packet::Subscribe(subscribe) = self.receive().await else { panic!("no SUBSCRIBE") };
        assert_eq!(subscribe.filters.len(), 1);
        assert_eq!(
            (subscribe.filters[0].path.as_str(), subscribe.filters[0].qos),
            ("$dps/registrations/res/#", QoS::AtLeastOnce)
        );
        self.grant(&subscribe).await;
    }

    /// Lets the device have what it subscribes to.
    pub(crate) async fn grant(&mut self, subscribe: &Subscribe) {
        self.send(Packet::SubAck(SubAck::new(subscribe.pkid, vec![SubscribeReasonCode::Success(QoS::AtLeastOnce)])))
            .await;
    }

    /// The next message, without acknowledging it.
    pub(crate) async fn message(&mut self) -> Publish {
        match self.receive().await {
            Packet::Publish(publish) => publish,
            other => panic!("{other:?} instead of PUBLISH"),
        }
    }

    pub(crate) async fn acknowledge(&mut self, publish: &Publish) {
        self.send(Packet::PubAck(PubAck::new(publish.pkid))).await;
    }

    /// The next request to DPS, acknowledged.
    pub(crate) async fn request(&mut self) -> Request {
        let publish = self.message().await;
        assert_eq!(publish.qos, QoS::AtLeastOnce);
        self.acknowledge(&publish).await;
        Request::of(&publish)
    }

    /// Answers a request as DPS does, and takes the acknowledgement.
    pub(crate) async fn answer(&mut self, request: &Request, status: u16, parameters: &str, body: &Value) {
        let topic = format!("$dps/registrations/res/{status}/?$rid={}{parameters}", request.id);
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, body.to_string());
        publish.pkid = 7;
        self.send(Packet::Publish(publish)).await;
        assert_eq!(self.receive().await, Packet::PubAck(PubAck::new(7)));
    }

    /// Answers a request with what was recorded, under the request's own id.
    pub(crate) async fn replay(&mut self, request: &Request, recorded: &Value) {
        let topic = recorded["topic"].as_str().unwrap();
        let (head, query) = topic.strip_prefix("$dps/registrations/res/").unwrap().split_once("/?").unwrap();
        let parameters = query.split_once('&').map_or(String::new(), |(_, rest)| format!("&{rest}"));
        self.answer(request, head.parse().unwrap(), &parameters, &recorded["payload"]).await;
    }

    /// The device says goodbye and hangs up.
    pub(crate) async fn expect_end(&mut self) {
        assert_eq!(self.receive().await, Packet::Disconnect);
        assert!(self.framed.next().await.is_none());
    }

    /// The device hangs up in good order, after whatever messages are still on their way.
    pub(crate) async fn expect_goodbye(&mut self) {
        loop {
            match self.receive().await {
                Packet::Publish(message) => self.acknowledge(&message).await,
                Packet::Disconnect => return,
                other => panic!("{other:?} instead of DISCONNECT"),
            }
        }
    }

    pub(crate) fn credentials(&self) -> (&str, &str) {
        match &self.connect.auth {
            ConnectAuth::UsernamePassword { username, password } => (username, std::str::from_utf8(password).unwrap()),
            other => panic!("{other:?} instead of a user name and a password"),
        }
    }
}

/// A request to DPS: topic without the request id, request id, what follows it, body.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) topic: String,
    pub(crate) id: String,
    pub(crate) rest: String,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn of(publish: &Publish) -> Self {
        let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
        let (head, query) = topic.split_once("$rid=").unwrap();
        let (id, rest) = query.split_once('&').unwrap_or((query, ""));
        Self {
            topic: format!("{head}$rid="),
            id: id.to_owned(),
            rest: rest.to_owned(),
            body: String::from_utf8(publish.payload.to_vec()).unwrap(),
        }
    }
}
