//! A listening socket: accepts connections within bounds, serves a router on them, shuts down.

use std::io;
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

/// Bounds on the clients of a listener.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// The most connections at once. Further ones are not accepted until one ends.
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
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = Self::accept(self).await?;
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        Ok(Self::accept(self).await?.0)
    }
}

/// Waits for the next connection and retries if the listener fails.
async fn next_connection<L: Listener>(listener: &L) -> L::Stream {
    loop {
        match listener.accept().await {
            Ok(stream) => return stream,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // Mostly out of file descriptors: an immediate retry would only spin.
                warn!("accepting a connection failed: {error}; retry in 1s");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
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
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit.ok(), next_connection(&listener).await)
        };
        let (permit, stream) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut shutdown => break,
        };
        serve_connection(stream, router.clone(), limits, &graceful, permit);
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
    permit: Option<OwnedSemaphorePermit>,
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
            serve_connection(server, router, LIMITS, &graceful, permit);
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
    fn a_request_head_is_bounded_in_bytes_and_time() {
        let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n", "x".repeat(BUFFER_BYTES_MAX));
        let (read, _) = talk(long.as_bytes(), true);
        assert!(read.starts_with(b"HTTP/1.1 431 "), "{}", String::from_utf8_lossy(&read));
        let (_, ended) = talk(b"GET /large HTTP/1.1\r\nhost:", true);
        assert!(ended >= LIMITS.head_timeout, "{ended:?}");
    }
}
