//! MQTT 3.1.1 over TLS, as much of it as a device needs: the way to a server, and packets to and fro.

mod error;
mod link;
mod network;
mod transport;

pub use error::{ConnectError, ConnectionLost, Refusal};
pub(crate) use link::{Link, Login, unexpected};
pub use network::{ByteStream, Network, SystemNetwork};
pub use transport::{Transport, TrustError};
