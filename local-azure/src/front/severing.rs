//! HTTP connections that can be cut in place of an answer.
//!
//! HTTP has no word for "no answer", so a service says it with [`no_answer`]: a response that never leaves, because
//! the connection it would go out on is reset first. Only a server on a [`Severable`] listener behind
//! [`sever_unanswered`] can do so.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    extract::{ConnectInfo, Request, connect_info::Connected},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse as _, Response},
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use crate::x509::Chain;

/// Marks a response that must not go out.
#[derive(Debug, Clone, Copy)]
struct NoAnswer;

/// In place of an answer: the connection ends. The status is for nobody but tests without a connection.
pub(crate) fn no_answer() -> Response {
    let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
    response.extensions_mut().insert(NoAnswer);
    response
}

/// Cuts the connection of a request that gets [`no_answer`].
pub(crate) async fn sever_unanswered(request: Request, next: Next) -> Response {
    let line = request.extensions().get::<ConnectInfo<Line>>().map(|ConnectInfo(line)| line.clone());
    let response = next.run(request).await;
    if response.extensions().get::<NoAnswer>().is_some()
        && let Some(line) = line
    {
        line.sever();
    }
    response
}

/// A connection's switch, with what its client showed. Clones are the same switch.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    severed: Arc<AtomicBool>,
    chain: Option<Chain>,
}

impl Line {
    /// The client's certificates.
    pub(super) fn chain(&self) -> Option<&Chain> {
        self.chain.as_ref()
    }

    fn sever(&self) {
        self.severed.store(true, Ordering::Release);
    }
}

impl<L> Connected<IncomingStream<'_, Severable<L>>> for Line
where
    L: Listener,
    L::Io: Connection,
{
    fn connect_info(stream: IncomingStream<'_, Severable<L>>) -> Self {
        let SeverableStream { stream, severed } = stream.io();
        Self { severed: Arc::clone(severed), chain: stream.chain() }
    }
}

/// A stream over TCP: its end can be abrupt, and its client may have shown certificates.
pub(crate) trait Connection {
    /// Has the peer see a reset rather than an orderly end when the stream is dropped.
    fn abort(&self) -> io::Result<()>;

    /// The certificates that the client showed.
    fn chain(&self) -> Option<Chain> {
        None
    }
}

impl Connection for TcpStream {
    fn abort(&self) -> io::Result<()> {
        self.set_zero_linger()
    }
}

impl Connection for TlsStream<TcpStream> {
    fn abort(&self) -> io::Result<()> {
        self.get_ref().0.set_zero_linger()
    }

    fn chain(&self) -> Option<Chain> {
        Chain::of(self.get_ref().1)
    }
}

/// Hands out the connections of another listener, each with a switch.
#[derive(Debug)]
pub(crate) struct Severable<L>(pub(crate) L);

impl<L> Listener for Severable<L>
where
    L: Listener,
    L::Io: Connection,
{
    type Io = SeverableStream<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = self.0.accept().await;
        (SeverableStream { stream, severed: Arc::default() }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// A connection with a switch: once it is off, nothing is written any more.
#[derive(Debug)]
pub(crate) struct SeverableStream<S> {
    stream: S,
    severed: Arc<AtomicBool>,
}

impl<S: Connection> SeverableStream<S> {
    fn check(&self) -> io::Result<()> {
        if !self.severed.load(Ordering::Acquire) {
            return Ok(());
        }
        self.stream.abort()?;
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SeverableStream<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Connection + Unpin> AsyncWrite for SeverableStream<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::{Router, middleware, routing::get};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// Everything that a client reads until the end.
    async fn ask(path: &str) -> io::Result<String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let router =
            Router::new().route("/answered", get(|| async { "hello" })).route("/cut", get(|| async { no_answer() }));
        let service = router.layer(middleware::from_fn(sever_unanswered)).into_make_service_with_connect_info::<Line>();
        let server = tokio::spawn(async move { axum::serve(Severable(listener), service).await });
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes()).await?;
        let mut text = String::new();
        let read = stream.read_to_string(&mut text).await;
        server.abort();
        read.map(|_| text)
    }

    #[tokio::test]
    async fn an_answer_goes_out_and_no_answer_is_a_reset_without_a_byte() {
        let text = ask("/answered").await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("hello"), "{text}");
        assert_eq!(ask("/cut").await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}
