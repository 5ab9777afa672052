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

use super::front_proxy::ClientCertificates;
use super::listener::Listener;

/// Is called with a peer whose handshake failed, and the reason.
pub type OnFailedHandshake = Arc<dyn Fn(IpAddr, &rustls::Error) + Send + Sync>;

/// A TCP listener that asks for each connection if it speaks TLS. So a change needs no new socket.
pub struct TlsListener<F> {
    tcp: TcpListener,
    config: F,
    on_failed: OnFailedHandshake,
}

impl<F: Fn() -> Option<Arc<ServerConfig>> + Send + Sync> TlsListener<F> {
    /// `config` returns the TLS of the next connection; `None`: plain bytes.
    pub const fn new(tcp: TcpListener, config: F, on_failed: OnFailedHandshake) -> Self {
        Self { tcp, config, on_failed }
    }
}

/// A connection, with TLS or without.
///
/// The handshake is a part of the first read or write. So it is bounded by the limits of the
/// connection, and the listener does not wait for it.
pub struct MaybeTls {
    state: TlsState,
    /// Set by the handshake.
    certificates: ClientCertificates,
}

enum TlsState {
    Plain(TcpStream),
    Handshake(Box<PendingHandshake>),
    Tls(Box<TlsStream<TcpStream>>),
    /// The handshake failed.
    Failed,
}

struct PendingHandshake {
    accept: Accept<TcpStream>,
    on_failed: OnFailedHandshake,
    peer: Option<IpAddr>,
}

impl PendingHandshake {
    fn report(&self, error: &io::Error) {
        let reason = error.get_ref().and_then(|inner| inner.downcast_ref());
        if let (Some(peer), Some(reason)) = (self.peer, reason) {
            (self.on_failed)(peer, reason);
        }
    }
}

fn ip_of(stream: &TcpStream) -> Option<IpAddr> {
    stream.peer_addr().ok().map(|address| address.ip())
}

impl<F: Fn() -> Option<Arc<ServerConfig>> + Send + Sync> Listener for TlsListener<F> {
    type Stream = MaybeTls;

    async fn accept(&self) -> io::Result<MaybeTls> {
        let stream = Listener::accept(&self.tcp).await?;
        let state = match (self.config)() {
            Some(config) => TlsState::Handshake(Box::new(PendingHandshake {
                peer: ip_of(&stream),
                accept: TlsAcceptor::from(config).accept(stream),
                on_failed: Arc::clone(&self.on_failed),
            })),
            None => TlsState::Plain(stream),
        };
        Ok(MaybeTls { state, certificates: ClientCertificates::default() })
    }

    fn peer(stream: &MaybeTls) -> Option<IpAddr> {
        match &stream.state {
            TlsState::Plain(stream) => ip_of(stream),
            TlsState::Handshake(handshake) => handshake.peer,
            TlsState::Tls(stream) => ip_of(stream.get_ref().0),
            TlsState::Failed => None,
        }
    }

    fn certificates(stream: &MaybeTls) -> ClientCertificates {
        stream.certificates.clone()
    }
}

impl MaybeTls {
    /// Ready once the handshake is done.
    fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let TlsState::Handshake(handshake) = &mut self.state {
            match ready!(Pin::new(&mut handshake.accept).poll(context)) {
                Ok(stream) => {
                    if let Some(shown) = stream.get_ref().1.peer_certificates() {
                        self.certificates.set(shown);
                    }
                    self.state = TlsState::Tls(Box::new(stream));
                }
                Err(error) => {
                    handshake.report(&error);
                    self.state = TlsState::Failed;
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
        match &mut this.state {
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
        if let TlsState::Handshake(_) = self.state {
            // Nobody waits for a handshake at the end.
            self.state = TlsState::Failed;
        }
        pass_on!(self, context, poll_shutdown(), Ok(()))
    }
}
