//! The four ports of local-azure, bound on loopback before anything starts.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait to be accepted: a fleet of devices may come at once.
const BACKLOG: u32 = 4_096;
/// How often a port that the system chose for IPv4 may prove taken for IPv6 before we give up.
const ATTEMPTS: usize = 16;

/// Which ports to listen on; 0 lets the system choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Digital Twins and IoT Hub's service API, over TLS.
    pub https: u16,
    /// DPS and IoT Hub for devices, MQTT over TLS.
    pub mqtt: u16,
    /// The Functions host.
    pub functions: u16,
    /// Control API and managed identity endpoint.
    pub control: u16,
}

impl Ports {
    /// All chosen by the system.
    pub const FREE: Self = Self { https: 0, mqtt: 0, functions: 0, control: 0 };
}

impl Default for Ports {
    fn default() -> Self {
        Self { https: 8443, mqtt: 8883, functions: 7071, control: 8080 }
    }
}

/// A port could not be had.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Somebody else listens there.
    #[error("port {port} is taken: choose another one with {option}, or let the system choose all with --free-ports")]
    Taken {
        /// The port.
        port: u16,
        /// The option that sets it.
        option: &'static str,
    },
    /// It is not for everybody, as ports below 1024 are not.
    #[error(
        "this user may not listen on port {port}: choose another one with {option}, run as root, or let every user have \
         it (on Linux: sudo sysctl net.ipv4.ip_unprivileged_port_start={port})"
    )]
    Denied {
        /// The port.
        port: u16,
        /// The option that sets it.
        option: &'static str,
    },
    /// The system refuses for another reason.
    #[error("cannot listen on port {port}: {source}; choose another one with {option}")]
    Refused {
        /// The port.
        port: u16,
        /// The option that sets it.
        option: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// One port, bound on 127.0.0.1 and, where the machine has it, on ::1.
#[derive(Debug)]
pub struct Loopback {
    /// The port, also where the system chose it.
    pub port: u16,
    /// One listener an address family.
    pub listeners: Vec<TcpListener>,
}

impl Loopback {
    /// Binds `port`; `option` is named in errors.
    ///
    /// # Errors
    /// When the port is taken or refused.
    pub fn bind(port: u16, option: &'static str) -> Result<Self, PortError> {
        for _ in 0..ATTEMPTS {
            let v4 =
                listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).map_err(|error| refused(port, option, error))?;
            let bound = v4.local_addr().map_err(|error| refused(port, option, error))?.port();
            match listen(SocketAddr::from((Ipv6Addr::LOCALHOST, bound))) {
                Ok(v6) => return Ok(Self { port: bound, listeners: vec![v4, v6] }),
                // Free on IPv4 but not on IPv6: the system may choose once more, a person's choice is refused.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && port == 0 => {}
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(refused(port, option, error)),
                // A machine without IPv6.
                Err(_) => return Ok(Self { port: bound, listeners: vec![v4] }),
            }
        }
        Err(refused(port, option, io::ErrorKind::AddrInUse.into()))
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart finds its port although connections of the run before still linger. (On Windows the option would
    // let two processes share the port.)
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn refused(port: u16, option: &'static str, source: io::Error) -> PortError {
    match source.kind() {
        io::ErrorKind::AddrInUse => PortError::Taken { port, option },
        io::ErrorKind::PermissionDenied => PortError::Denied { port, option },
        _ => PortError::Refused { port, option, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named_with_its_option() {
        let first = Loopback::bind(0, "--https-port").unwrap();
        let error = Loopback::bind(first.port, "--https-port").unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "port {} is taken: choose another one with --https-port, or let the system choose all with --free-ports",
                first.port
            )
        );
    }

    /// Whether a test may listen on port 443 depends on who runs it, so the system's answer stands here.
    #[test]
    fn a_port_that_is_not_for_this_user_is_named_with_what_to_do() {
        let error = refused(443, "--https-port", io::ErrorKind::PermissionDenied.into());
        assert_eq!(
            error.to_string(),
            "this user may not listen on port 443: choose another one with --https-port, run as root, or let every \
             user have it (on Linux: sudo sysctl net.ipv4.ip_unprivileged_port_start=443)"
        );
        let error = refused(443, "--https-port", io::ErrorKind::OutOfMemory.into());
        assert_eq!(error.to_string(), "cannot listen on port 443: out of memory; choose another one with --https-port");
    }

    #[tokio::test]
    async fn both_families_share_the_port_that_the_system_chose() {
        let loopback = Loopback::bind(0, "--mqtt-port").unwrap();
        for listener in &loopback.listeners {
            assert_eq!(listener.local_addr().unwrap().port(), loopback.port);
        }
    }
}
