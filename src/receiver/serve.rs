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
use tokio_io_timeout::TimeoutStream;
use tracing::{debug, warn};

use super::Bounds;
use super::routes;
use crate::quantity::WallTime;

/// The wall clock that stamps the pushes.
pub type Clock = Arc<dyn Fn() -> WallTime + Send + Sync>;

/// What clients may hold of a listener.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most connections at once; further ones wait unaccepted.
    pub connections_max: usize,
    /// The time a client has for the head of a request, which bounds how long an idle connection
    /// stays open too.
    pub head_timeout: Duration,
    /// The time it has to take something of an answer.
    pub write_timeout: Duration,
}

/// Pushers come back after an interval and find their connection open.
const LIMITS: Limits = Limits {
    connections_max: 512,
    head_timeout: Duration::from_secs(90),
    write_timeout: Duration::from_secs(15),
};

/// The longest head of a request, and what of an answer waits for its client; held for each connection.
const BUFFER_BYTES_MAX: usize = 16 << 10;

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
        serve_router(self.listener, self.router, LIMITS, shutdown).await;
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

/// Serves `router` on `listener` until `shutdown` ends, with bounds on connections, on what is held of
/// each, and on the time that a request's head and the taking of an answer may take.
pub async fn serve_router(
    listener: impl Into<Listener>,
    router: axum::Router,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let listener = listener.into();
    let mut shutdown = std::pin::pin!(shutdown);
    let places = Arc::new(Semaphore::new(limits.connections_max));
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
            Stream::Tcp(stream) => answer(stream, router.clone(), limits, &graceful, place),
            Stream::Unix(stream) => answer(stream, router.clone(), limits, &graceful, place),
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(SHUTDOWN_GRACE, graceful.shutdown()).await;
}

/// Answers what comes over `stream`, beside all others.
fn answer(
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    router: axum::Router,
    limits: Limits,
    graceful: &GracefulShutdown,
    place: Option<OwnedSemaphorePermit>,
) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.write_timeout));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router));
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

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    const LIMITS: Limits = Limits {
        connections_max: 1,
        head_timeout: Duration::from_secs(1),
        write_timeout: Duration::from_millis(300),
    };

    /// What there is to read for a client that reads at once, or not before the server has ended the
    /// connection; and when it did.
    fn talk(request: &[u8], reads_at_once: bool) -> (Vec<u8>, Duration) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let large = || async { vec![b'x'; 100_000] };
            let router = axum::Router::new().route("/large", get(large));
            let (mut client, server) = duplex(32 << 10);
            let (graceful, places) = (GracefulShutdown::new(), Arc::new(Semaphore::new(1)));
            let place = Arc::clone(&places).acquire_owned().await.ok();
            let begun = Instant::now();
            answer(server, router, LIMITS, &graceful, place);
            client.write_all(request).await.unwrap();
            let mut read = Vec::new();
            if reads_at_once {
                let _ = client.read_to_end(&mut read).await;
            }
            let _ = places.acquire().await;
            let ended = begun.elapsed();
            let _ = client.read_to_end(&mut read).await;
            (read, ended)
        })
    }

    #[test]
    fn who_takes_nothing_of_an_answer_does_not_hold_a_connection() {
        let request = b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n".repeat(20);
        let (read, ended) = talk(&request, false);
        assert!(read.len() <= 32 << 10, "{}", read.len());
        assert!(ended >= LIMITS.write_timeout, "{ended:?}");
        let (read, ended) = talk(&request, true);
        assert!(read.len() > 2_000_000, "whoever takes it has all: {}", read.len());
        assert!(ended >= LIMITS.head_timeout, "and then is waited for: {ended:?}");
    }

    #[test]
    fn a_head_has_its_bounds_in_bytes_and_time() {
        let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n", "x".repeat(BUFFER_BYTES_MAX));
        let (read, _) = talk(long.as_bytes(), true);
        assert!(read.starts_with(b"HTTP/1.1 431 "), "{}", String::from_utf8_lossy(&read));
        let (_, ended) = talk(b"GET /large HTTP/1.1\r\nhost:", true);
        assert!(ended >= LIMITS.head_timeout, "{ended:?}");
    }
}
