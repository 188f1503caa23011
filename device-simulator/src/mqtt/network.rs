//! Where the bytes go: TCP, with `localhost` resolved here.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr},
};

use futures::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::identity::Endpoint;

/// A connection that carries bytes both ways.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// Opens connections. Everything above (TLS, MQTT) is the same whatever is below.
pub trait Network: Send + Sync {
    /// Opens a connection to `endpoint`.
    fn dial<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, io::Result<Box<dyn ByteStream>>>;
}

/// TCP.
///
/// `localhost` and every name below it mean this machine and are never asked of DNS (RFC 6761, section 6.3): 127.0.0.1
/// is tried first, then ::1. Other names go to the system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemNetwork;

impl Network for SystemNetwork {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, io::Result<Box<dyn ByteStream>>> {
        Box::pin(async move {
            let port = endpoint.port();
            let stream = if is_localhost(endpoint.host()) {
                match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                    Ok(stream) => stream,
                    // The first failure is the one to report: most services listen on 127.0.0.1.
                    Err(error) => TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.map_err(|_| error)?,
                }
            } else {
                TcpStream::connect((endpoint.host(), port)).await?
            };
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn ByteStream>)
        })
    }
}

fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.rsplit('.').next().is_some_and(|label| label.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_below_localhost_are_this_machine() {
        for name in ["localhost", "LocalHost", "localhost.", "contoso-hub.azure-devices.localhost"] {
            assert!(is_localhost(name), "{name}");
        }
        for name in ["localhost.example.com", "notlocalhost", "127.0.0.1", "::1", ""] {
            assert!(!is_localhost(name), "{name}");
        }
    }

    #[tokio::test]
    async fn a_name_below_localhost_is_dialed_without_dns() {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let endpoint =
            Endpoint::new("some-hub.azure-devices.localhost", listener.local_addr().unwrap().port()).unwrap();
        let (dialed, accepted) = tokio::join!(SystemNetwork.dial(&endpoint), listener.accept());
        dialed.unwrap();
        accepted.unwrap();
    }
}
