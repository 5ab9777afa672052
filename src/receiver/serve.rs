//! The socket: binds, accepts, shuts down.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, warn};

use super::Bounds;
use super::routes;
use crate::quantity::WallTime;

/// The wall clock that stamps the pushes.
pub type Clock = Arc<dyn Fn() -> WallTime + Send + Sync>;

/// The most connections at once; further ones wait unaccepted.
const CONNECTIONS_MAX: usize = 512;

/// The time a client has for the head of a request, which bounds how long an idle connection
/// stays open too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(90);

/// The time answers under way have at a shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// What was pushed, whatever address it is asked for on. Clones are the same.
#[derive(Clone)]
pub struct Kept(routes::App);

impl Kept {
    #[must_use]
    pub fn new(bounds: Bounds, clock: Clock) -> Self {
        Self(routes::App::new(bounds, clock))
    }

    /// Keeps it within these bounds from here on.
    pub fn set_bounds(&self, bounds: Bounds) {
        self.0.set_bounds(bounds);
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

/// A bound receiver, not yet serving.
pub struct Receiver {
    listener: TcpListener,
    local_addr: SocketAddr,
    router: axum::Router,
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}

impl Receiver {
    /// Binds to `addr`; port 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn bind(addr: SocketAddr, bounds: Bounds, clock: Clock) -> io::Result<Self> {
        Self::bind_over(addr, Kept::new(bounds, clock)).await
    }

    /// The same over what another receiver, on another address, may already keep.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn bind_over(addr: SocketAddr, kept: Kept) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let local_addr = listener.local_addr()?;
        Ok(Self { listener, local_addr, router: router(&kept) })
    }

    /// The address that was bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `shutdown` ends; answers under way are finished, for a few seconds at most.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        serve_router(self.listener, self.router, shutdown).await;
    }
}

/// All paths over what is kept, for whoever has connections of their own.
pub fn router(kept: &Kept) -> axum::Router {
    routes::router(kept.0.clone())
}

/// A socket that connections are accepted on.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                Ok(Stream::Tcp(stream))
            }
            Self::Unix(listener) => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }

    /// Waits for the next connection, however long there can be none.
    async fn next(&self) -> Stream {
        loop {
            match self.accept().await {
                Ok(stream) => return stream,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // Out of file descriptors, mostly: trying again at once would only spin.
                    warn!("no connections can be accepted: {error}; trying again in 1s");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

/// Serves `router` on `listener` until `shutdown` ends, with bounds on connections and on the time
/// that a request's head may take.
pub async fn serve_router(
    listener: impl Into<Listener>,
    router: axum::Router,
    shutdown: impl Future<Output = ()>,
) {
    let listener = listener.into();
    let mut shutdown = std::pin::pin!(shutdown);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place.ok(), listener.next().await)
        };
        let (place, stream) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut shutdown => break,
        };
        match stream {
            Stream::Tcp(stream) => answer(stream, router.clone(), &graceful, place),
            Stream::Unix(stream) => answer(stream, router.clone(), &graceful, place),
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(SHUTDOWN_GRACE, graceful.shutdown()).await;
}

/// Answers what comes over `stream`, beside all others.
fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: axum::Router,
    graceful: &GracefulShutdown,
    place: Option<OwnedSemaphorePermit>,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            debug!("a connection ended early: {error}");
        }
        drop(place);
    });
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
