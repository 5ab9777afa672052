//! A receiver on a TCP address of its own.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;

use super::bounds::ReceiverBounds;
use super::listener::{ConnectionLimits, serve_router};
use super::routes::router;
use super::state::{ReceiverState, WallClock};
use super::store::StorePlace;
use super::tls::{OnFailedHandshake, TlsListener};

/// Pushers come back after an interval and find their connection still open.
const LIMITS: ConnectionLimits = ConnectionLimits {
    connections_max: 512,
    head_timeout: Duration::from_secs(90),
    write_timeout: Duration::from_secs(15),
};

/// A bound receiver, not yet serving.
#[derive(Debug)]
pub struct Receiver {
    listener: TcpListener,
    local_addr: SocketAddr,
    router: axum::Router,
    tls: Option<ReceiverTls>,
}

/// TLS as the state has it at each connection.
struct ReceiverTls {
    state: ReceiverState,
    on_failed: OnFailedHandshake,
}

impl fmt::Debug for ReceiverTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiverTls").finish_non_exhaustive()
    }
}

impl Receiver {
    /// Binds to `addr`, with a store in memory; port 0 chooses a free port.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn bind(
        addr: SocketAddr,
        bounds: ReceiverBounds,
        clock: WallClock,
    ) -> io::Result<Self> {
        let state = ReceiverState::open(&StorePlace::MEMORY, bounds, clock);
        Self::bind_with(addr, &state.map_err(io::Error::other)?).await
    }

    /// Binds to `addr` with a state that other receivers may share. Connections are plain.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn bind_with(addr: SocketAddr, state: &ReceiverState) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let local_addr = listener.local_addr()?;
        let is_loopback = local_addr.ip().to_canonical().is_loopback();
        Ok(Self { listener, local_addr, router: router(state, is_loopback), tls: None })
    }

    /// The same with TLS, where the state has it. `on_failed` is called after a failed handshake.
    #[must_use]
    pub fn with_tls_of(mut self, state: &ReceiverState, on_failed: OnFailedHandshake) -> Self {
        self.tls = Some(ReceiverTls { state: state.clone(), on_failed });
        self
    }

    /// The bound address, with the port that was chosen for port 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `shutdown` ends. Open answers are finished, for a few seconds at most.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        match self.tls {
            None => serve_router(self.listener, self.router, LIMITS, shutdown).await,
            Some(ReceiverTls { state, on_failed }) => {
                let listener = TlsListener::new(self.listener, move || state.tls(), on_failed);
                serve_router(listener, self.router, LIMITS, shutdown).await;
            }
        }
    }
}
