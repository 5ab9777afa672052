//! A TCP listener whose connections speak TLS, where it is configured.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

use super::listener::Listener;

/// A TCP listener that asks for each connection if it speaks TLS. So a change needs no new socket.
#[derive(Debug)]
pub struct TlsListener<F> {
    tcp: TcpListener,
    config: F,
}

impl<F: Fn() -> Option<Arc<ServerConfig>> + Send + Sync> TlsListener<F> {
    /// `config` returns the TLS of the next connection; `None`: plain bytes.
    pub const fn new(tcp: TcpListener, config: F) -> Self {
        Self { tcp, config }
    }
}

/// A connection, with TLS or without.
///
/// The handshake is a part of the first read or write. So it is bounded by the limits of the
/// connection, and the listener does not wait for it.
pub struct MaybeTls(TlsState);

enum TlsState {
    Plain(TcpStream),
    Handshake(Box<Accept<TcpStream>>),
    Tls(Box<TlsStream<TcpStream>>),
    /// The handshake failed.
    Failed,
}

impl<F: Fn() -> Option<Arc<ServerConfig>> + Send + Sync> Listener for TlsListener<F> {
    type Stream = MaybeTls;

    async fn accept(&self) -> io::Result<MaybeTls> {
        let stream = Listener::accept(&self.tcp).await?;
        Ok(MaybeTls(match (self.config)() {
            Some(config) => TlsState::Handshake(Box::new(TlsAcceptor::from(config).accept(stream))),
            None => TlsState::Plain(stream),
        }))
    }

    fn peer(stream: &MaybeTls) -> Option<IpAddr> {
        let tcp = match &stream.0 {
            TlsState::Plain(stream) => stream,
            TlsState::Handshake(accept) => accept.get_ref()?,
            TlsState::Tls(stream) => stream.get_ref().0,
            TlsState::Failed => return None,
        };
        tcp.peer_addr().ok().map(|address| address.ip())
    }
}

impl MaybeTls {
    /// Ready once the handshake is done.
    fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let TlsState::Handshake(accept) = &mut self.0 {
            match ready!(Pin::new(&mut **accept).poll(context)) {
                Ok(stream) => self.0 = TlsState::Tls(Box::new(stream)),
                Err(error) => {
                    self.0 = TlsState::Failed;
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Passes a call on to the stream behind the handshake.
macro_rules! pass_on {
    ($self:ident, $context:ident, $call:ident($($argument:expr),*), $failed:expr) => {{
        let this = $self.get_mut();
        ready!(this.poll_handshake($context))?;
        match &mut this.0 {
            TlsState::Plain(stream) => Pin::new(stream).$call($context $(, $argument)*),
            TlsState::Tls(stream) => Pin::new(&mut **stream).$call($context $(, $argument)*),
            TlsState::Handshake(_) | TlsState::Failed => Poll::Ready($failed),
        }
    }};
}

impl AsyncRead for MaybeTls {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        pass_on!(self, context, poll_read(buffer), Ok(()))
    }
}

impl AsyncWrite for MaybeTls {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        pass_on!(self, context, poll_write(bytes), Err(io::ErrorKind::NotConnected.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        pass_on!(self, context, poll_flush(), Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let TlsState::Handshake(_) = self.0 {
            // Nobody waits for a handshake at the end.
            self.0 = TlsState::Failed;
        }
        pass_on!(self, context, poll_shutdown(), Ok(()))
    }
}
