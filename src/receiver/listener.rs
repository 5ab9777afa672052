//! A listening socket: accepts connections within bounds, serves a router on them, shuts down.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tracing::{debug, warn};

use super::front_proxy::ClientCertificates;
use crate::descriptors;

/// Bounds on the clients of a listener.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// The most connections at once, and at most an eighth of the descriptors that the process may
    /// have. A further one takes the place of the one that has been idle the longest. If all have a
    /// request under way, it waits.
    pub connections_max: usize,
    /// The time a client has for the head of a request. An idle connection is closed after it too.
    pub head_timeout: Duration,
    /// The time a client has to read the next part of an answer.
    pub write_timeout: Duration,
}

/// The longest head of a request, and the buffer of an answer; both exist once for each connection.
const BUFFER_BYTES_MAX: usize = 16 << 10;

/// The time to finish open answers at a shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// A socket that accepts connections.
pub trait Listener: Sync {
    type Stream: AsyncRead + AsyncWrite + Send + 'static;

    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// The address at the other end; `None` for a unix socket.
    fn peer(stream: &Self::Stream) -> Option<IpAddr>;

    /// The certificates of the client, which are known once the stream was read.
    fn certificates(_: &Self::Stream) -> ClientCertificates {
        ClientCertificates::default()
    }
}

/// The other end of a connection, in the extensions of each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub Option<IpAddr>);

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = Self::accept(self).await?;
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    fn peer(stream: &TcpStream) -> Option<IpAddr> {
        stream.peer_addr().ok().map(|address| address.ip())
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        Ok(Self::accept(self).await?.0)
    }

    fn peer(_: &UnixStream) -> Option<IpAddr> {
        None
    }
}

/// The other end of a connection, and its certificates.
fn client_of<L: Listener>(_: &L, stream: &L::Stream) -> (Peer, ClientCertificates) {
    (Peer(L::peer(stream)), L::certificates(stream))
}

/// Waits for the next connection and retries if the listener fails.
async fn next_connection<L: Listener>(listener: &L) -> L::Stream {
    loop {
        match listener.accept().await {
            Ok(stream) => return stream,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // Mostly out of file descriptors: an immediate retry would only spin.
                warn!(
                    "accepting a connection failed: {}; retry in 1s",
                    descriptors::describe(&error)
                );
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// The connections of one listener, the one that was idle the longest first.
#[derive(Debug, Default)]
struct Places(Mutex<Vec<Weak<Place>>>);

/// The place of one connection.
#[derive(Debug, Default)]
struct Place {
    /// A request was read and its answer is not made yet.
    is_busy: AtomicBool,
    /// Ends the connection.
    evicted: Notify,
}

impl Places {
    fn add(&self, place: &Arc<Place>) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|place| place.strong_count() > 0);
        places.push(Arc::downgrade(place));
    }

    /// Moves a place to the end, when its connection begins to wait for the next request.
    fn rest(&self, place: &Arc<Place>) {
        place.is_busy.store(false, Ordering::Relaxed);
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|other| other.as_ptr() != Arc::as_ptr(place));
        places.push(Arc::downgrade(place));
    }

    /// Ends the connection that has been without a request for the longest.
    fn evict_one(&self) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_idle = |place: &Arc<Place>| !place.is_busy.load(Ordering::Relaxed);
        let idle = places.iter().position(|place| place.upgrade().is_some_and(|one| is_idle(&one)));
        if let Some(place) = idle.and_then(|at| places.remove(at).upgrade()) {
            place.evicted.notify_one();
        }
    }
}

/// The number of connections that a listener may have: its limit, within its part of the process's
/// descriptors.
fn places_of(connections_max: usize) -> usize {
    connections_max.min(descriptors::limit() / 8).max(1)
}

/// Serves `router` on `listener` until `shutdown` ends, within `limits`. Open answers are finished,
/// for a few seconds at most.
pub async fn serve_router(
    listener: impl Listener,
    router: axum::Router,
    limits: ConnectionLimits,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = std::pin::pin!(shutdown);
    let permits = Arc::new(Semaphore::new(places_of(limits.connections_max)));
    let places = Arc::new(Places::default());
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = async {
            let stream = next_connection(&listener).await;
            if permits.available_permits() == 0 {
                places.evict_one();
            }
            (Arc::clone(&permits).acquire_owned().await.ok(), stream)
        };
        let (permit, stream) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut shutdown => break,
        };
        let (peer, certificates) = client_of(&listener, &stream);
        let router = router.clone().layer(Extension(peer)).layer(Extension(certificates));
        serve_connection(stream, router, limits, &graceful, &places, permit);
    }
    drop(listener);
    let _ = tokio::time::timeout(SHUTDOWN_GRACE, graceful.shutdown()).await;
}

/// Serves one connection in a task of its own.
fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    router: axum::Router,
    limits: ConnectionLimits,
    graceful: &GracefulShutdown,
    places: &Arc<Places>,
    permit: Option<OwnedSemaphorePermit>,
) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.write_timeout));
    let place = Arc::new(Place::default());
    places.add(&place);
    let router = TowerToHyperService::new(router);
    let service = {
        let (places, place) = (Arc::clone(places), Arc::clone(&place));
        hyper::service::service_fn(move |request| {
            place.is_busy.store(true, Ordering::Relaxed);
            let answer = hyper::service::Service::call(&router, request);
            let (places, place) = (Arc::clone(&places), Arc::clone(&place));
            async move {
                let answer = answer.await;
                places.rest(&place);
                answer
            }
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        tokio::select! {
            ended = connection => {
                if let Err(error) = ended {
                    debug!("a connection ended early: {error}");
                }
            }
            () = place.evicted.notified() => debug!("an idle connection made room for another"),
        }
        drop(permit);
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

    const LIMITS: ConnectionLimits = ConnectionLimits {
        connections_max: 1,
        head_timeout: Duration::from_secs(1),
        write_timeout: Duration::from_millis(300),
    };

    /// The bytes that a client can read, and how long the connection lasted. The client reads either
    /// at once or only after the server has ended the connection.
    #[expect(clippy::disallowed_methods, reason = "the test measures how long it takes")]
    fn talk(request: &[u8], reads_at_once: bool) -> (Vec<u8>, Duration) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let large = || async { vec![b'x'; 100_000] };
            let router = axum::Router::new().route("/large", get(large));
            let (mut client, server) = duplex(32 << 10);
            let (graceful, permits) = (GracefulShutdown::new(), Arc::new(Semaphore::new(1)));
            let permit = Arc::clone(&permits).acquire_owned().await.ok();
            let begun = Instant::now();
            serve_connection(server, router, LIMITS, &graceful, &Arc::default(), permit);
            client.write_all(request).await.unwrap();
            let mut read = Vec::new();
            if reads_at_once {
                let _ = client.read_to_end(&mut read).await;
            }
            let _ = permits.acquire().await;
            let ended = begun.elapsed();
            let _ = client.read_to_end(&mut read).await;
            (read, ended)
        })
    }

    #[test]
    fn a_client_that_reads_no_answer_does_not_hold_a_connection() {
        let request = b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n".repeat(20);
        let (read, ended) = talk(&request, false);
        assert!(read.len() <= 32 << 10, "{}", read.len());
        assert!(ended >= LIMITS.write_timeout, "{ended:?}");
        let (read, ended) = talk(&request, true);
        assert!(read.len() > 2_000_000, "a client that reads gets every answer: {}", read.len());
        assert!(ended >= LIMITS.head_timeout, "and has time for a next request: {ended:?}");
    }

    #[test]
    fn idle_connections_make_room_the_oldest_first() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let router = axum::Router::new().route("/healthz", get(|| async { "ok" }));
            let limits = ConnectionLimits { connections_max: 4, ..LIMITS };
            let limits = ConnectionLimits { head_timeout: Duration::from_secs(60), ..limits };
            let serving =
                tokio::spawn(serve_router(listener, router, limits, std::future::pending()));
            let ask = async |client: &mut TcpStream| {
                client.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
                let mut answer = [0; 512];
                let read = client.read(&mut answer).await.unwrap();
                assert!(answer[..read].starts_with(b"HTTP/1.1 200"), "{answer:?}");
            };
            let mut first = TcpStream::connect(address).await.unwrap();
            let mut idle = Vec::new();
            for _ in 0..3 {
                idle.push(TcpStream::connect(address).await.unwrap());
            }
            // It waits for less time than those that never asked.
            ask(&mut first).await;
            for _ in 0..2 {
                ask(&mut TcpStream::connect(address).await.unwrap()).await;
            }
            let mut byte = [0];
            assert_eq!(idle[0].read(&mut byte).await.unwrap_or(0), 0, "the oldest was ended");
            ask(&mut first).await;
            for _ in 0..20 {
                idle.push(TcpStream::connect(address).await.unwrap());
            }
            ask(&mut TcpStream::connect(address).await.unwrap()).await;
            serving.abort();
        });
    }

    #[test]
    fn a_request_head_is_bounded_in_bytes_and_time() {
        let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n", "x".repeat(BUFFER_BYTES_MAX));
        let (read, _) = talk(long.as_bytes(), true);
        assert!(read.starts_with(b"HTTP/1.1 431 "), "{}", String::from_utf8_lossy(&read));
        let (_, ended) = talk(b"GET /large HTTP/1.1\r\nhost:", true);
        assert!(ended >= LIMITS.head_timeout, "{ended:?}");
    }
}
