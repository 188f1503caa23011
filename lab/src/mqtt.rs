//! Devices that speak MQTT packet by packet: all that they do is send, and count what is acknowledged.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, bail, ensure};
use futures::{SinkExt as _, StreamExt as _};
use rumqttc::{Codec, Connect, ConnectReturnCode, Packet, Publish, QoS};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::codec::Framed;

/// Packets here are small.
const PACKET_BYTES: usize = 64 * 1024;
const HOST: &str = "localhost";
/// Longer than any measurement takes: nobody has to say that it is there.
const KEEP_ALIVE_SECONDS: u16 = 1_700;

/// How devices reach a server.
#[derive(Clone)]
pub struct Network {
    tls: TlsConnector,
}

/// A connected device.
pub struct Device {
    packets: Framed<TlsStream<TcpStream>, Codec>,
}

impl Network {
    /// Trusts the certificates in `ca_file`.
    ///
    /// # Errors
    /// When there are none.
    pub fn trusting(ca_file: &Path) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca_file)? {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Connects a device of `hub` with a token.
    ///
    /// # Errors
    /// When it is not let in.
    pub async fn connect(&self, port: u16, hub: &str, device: &str, token: &str) -> anyhow::Result<Device> {
        let stream = TcpStream::connect((HOST, port)).await?;
        stream.set_nodelay(true)?;
        let stream = self.tls.connect(ServerName::try_from(HOST)?, stream).await?;
        let codec = Codec { max_incoming_size: PACKET_BYTES, max_outgoing_size: PACKET_BYTES };
        let mut packets = Framed::new(stream, codec);
        let mut connect = Connect::new(device);
        connect.keep_alive = KEEP_ALIVE_SECONDS;
        let user_name = format!("{hub}/{device}/?api-version=2021-04-12");
        connect.set_credentials(user_name, token.to_owned());
        packets.send(Packet::Connect(connect)).await?;
        match packets.next().await.context("no answer to CONNECT")?? {
            Packet::ConnAck(answer) => {
                ensure!(answer.code == ConnectReturnCode::Success, "{device} is not let in: {:?}", answer.code);
            }
            other => bail!("{device} expected CONNACK, got {other:?}"),
        }
        Ok(Device { packets })
    }
}

impl Device {
    /// Sends messages with quality of service 1 for `time`, `window` of them on the way at once; gives how many were
    /// acknowledged.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn send_for(&mut self, time: Duration, topic: &str, body: &str, window: u16) -> anyhow::Result<u64> {
        let message = |id| {
            let mut message = Publish::new(topic, QoS::AtLeastOnce, body);
            message.pkid = id;
            Packet::Publish(message)
        };
        let end = Instant::now() + time;
        for id in 1..=window {
            self.packets.feed(message(id)).await?;
        }
        self.packets.flush().await?;
        let mut acknowledged = 0;
        while let Ok(packet) = timeout_at(end, self.packets.next()).await {
            match packet.context("the connection ended")?? {
                Packet::PubAck(answer) => {
                    acknowledged += 1;
                    self.packets.send(message(answer.pkid)).await?;
                }
                other => bail!("expected PUBACK, got {other:?}"),
            }
        }
        Ok(acknowledged)
    }
}
