//! What is known of a request's client from its connection.

use std::convert::Infallible;

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::request::Parts,
};

use super::Line;
use crate::x509::Chain;

/// The certificates that the client showed in its TLS handshake, if any.
#[derive(Debug, Clone)]
pub(crate) struct Peer(pub(crate) Option<Chain>);

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get::<ConnectInfo<Line>>().and_then(|ConnectInfo(line)| line.chain().cloned())))
    }
}
