//! MQTT 3.1.1, over TLS and over WebSockets, which DPS and IoT Hub share.
//!
//! Both services listen on 8883, and on 443 under one path; a client's user name tells which of them it wants. What is
//! common to them (accepting, TLS, CONNECT, keep-alive, acknowledgements, subscriptions) is here; what a message means
//! is theirs.

mod connection;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod session;
mod subscriptions;
mod template;
mod web_socket;

use std::{sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

pub use self::web_socket::router;
pub(crate) use self::{
    connection::Credentials,
    session::{Endpoint, Incoming, NotAdmitted, Outgoing, Push, Refused},
    subscriptions::Subscriptions,
    template::Template,
    web_socket::is_web_socket,
};
use crate::{dps::Dps, iot_hub::IotHub, x509::Chain};

/// The services behind the port.
#[derive(Clone)]
pub struct Services {
    /// The provisioning service, if there is one.
    pub dps: Option<Arc<Dps>>,
    /// The hubs, told apart by the host in the user name.
    pub hubs: Vec<Arc<IotHub>>,
    /// What one client, and all together, may take.
    pub limits: Limits,
}

/// What keeps hostile or broken clients from harming others.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at a time; what comes on top is closed at once.
    pub connections: usize,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How long a client may wait with its CONNECT.
    pub connect: Duration,
    /// How long a client may take to accept a packet.
    pub write: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            handshake: Duration::from_secs(10),
            connect: Duration::from_secs(10),
            write: Duration::from_secs(30),
        }
    }
}

/// How long accepting pauses after it failed (no file descriptors left, for instance).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves MQTT over TLS on `listener` until `shutdown`, then closes every connection.
pub async fn serve(listener: TcpListener, tls: TlsAcceptor, services: Services, shutdown: CancellationToken) {
    let services = Arc::new(services);
    let places = Arc::new(Semaphore::new(services.limits.connections));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "MQTT: cannot accept connections");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            warn!(%peer, limit = services.limits.connections, "MQTT: too many connections, closed one");
            continue;
        };
        let (tls, services, shutdown) = (tls.clone(), Arc::clone(&services), shutdown.clone());
        connections.spawn(async move {
            let _place = place;
            match secure(stream, &tls, services.limits.handshake).await {
                Ok(stream) => {
                    let chain = Chain::of(stream.get_ref().1);
                    let ending = connection::converse(stream, chain, &services, &shutdown).await;
                    debug!(%peer, %ending, "MQTT: connection ended");
                }
                Err(error) => debug!(%peer, %error, "MQTT: no TLS connection"),
            }
        });
    }
    connections.close();
    connections.wait().await;
}

async fn secure(
    stream: TcpStream,
    tls: &TlsAcceptor,
    deadline: Duration,
) -> std::io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
    // Small packets, each of which somebody waits for.
    stream.set_nodelay(true)?;
    timeout(deadline, tls.accept(stream)).await.map_err(std::io::Error::from)?
}
