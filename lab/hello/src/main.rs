//! The smallest axum server that the Functions host could start: what the start of the handler is measured against.

use std::{io, net::Ipv4Addr};

use axum::{Router, routing::get};
use tokio::net::TcpListener;

fn main() -> io::Result<()> {
    let port = std::env::var("FUNCTIONS_CUSTOMHANDLER_PORT").ok().and_then(|port| port.parse().ok());
    let port: u16 = port.ok_or_else(|| io::Error::other("FUNCTIONS_CUSTOMHANDLER_PORT is not a port"))?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        axum::serve(listener, Router::new().route("/", get(|| async { "hello\n" }))).await
    })
}
