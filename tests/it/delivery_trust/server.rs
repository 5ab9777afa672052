//! A server that answers by a script over TCP, TLS, HTTP/1.1 and HTTP/2, and writes down what came.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsAcceptor;

#[derive(Debug, Clone)]
pub struct Seen {
    pub at: Instant,
    pub version: Version,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub of: Client,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.to_str().unwrap())
    }
}

/// The client's side of a connection, as the server sees it.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// The name that it asked for.
    pub server_name: Option<String>,
    pub has_certificate: bool,
}

#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
    after: Duration,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: "why".to_owned(), after: Duration::ZERO }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn body(mut self, text: String) -> Self {
        self.body = text;
        self
    }

    pub fn after(mut self, time: Duration) -> Self {
        self.after = time;
        self
    }
}

type Script = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

#[derive(Debug, Default)]
struct Log {
    seen: Vec<Seen>,
    connections: usize,
}

pub struct Server {
    pub address: SocketAddr,
    log: Arc<Mutex<Log>>,
    serving: JoinHandle<()>,
    has_tls: bool,
}

/// The transport of the server: TLS, HTTP version, delay.
#[derive(Default)]
pub struct Way {
    pub tls: Option<ServerConfig>,
    /// Offered in TLS; without TLS there is none.
    pub http2: bool,
    /// From the arrival of a connection to the first word on it.
    pub opens_after: Duration,
}

impl Way {
    pub fn tls(tls: ServerConfig) -> Self {
        Self { tls: Some(tls), ..Self::default() }
    }
}

impl Server {
    pub async fn start(way: Way, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log: Arc<Mutex<Log>> = Arc::default();
        let (script, has_tls): (Script, bool) = (Arc::new(script), way.tls.is_some());
        let tls = way.tls.map(|mut tls| {
            if way.http2 {
                tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            }
            TlsAcceptor::from(Arc::new(tls))
        });
        let shared = Arc::clone(&log);
        let serving = tokio::spawn(async move {
            // Dropped with the task, and every connection with it.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                shared.lock().unwrap().connections += 1;
                let (tls, script, log) = (tls.clone(), Arc::clone(&script), Arc::clone(&shared));
                connections.spawn(async move {
                    sleep(way.opens_after).await;
                    open(stream, tls, script, log).await;
                });
            }
        });
        Self { address, log, serving, has_tls }
    }

    /// By its address.
    pub fn url(&self) -> String {
        self.url_of("127.0.0.1")
    }

    pub fn url_of(&self, host: &str) -> String {
        let scheme = if self.has_tls { "https" } else { "http" };
        format!("{scheme}://{host}:{}", self.address.port())
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.log.lock().unwrap().seen.clone()
    }

    pub fn connections(&self) -> usize {
        self.log.lock().unwrap().connections
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn open(stream: TcpStream, tls: Option<TlsAcceptor>, script: Script, log: Arc<Mutex<Log>>) {
    stream.set_nodelay(true).unwrap();
    let Some(tls) = tls else {
        return talk(stream, false, Client::default(), script, log).await;
    };
    // A client that refuses the certificate ends it here.
    let Ok(stream) = tls.accept(stream).await else { return };
    let session = stream.get_ref().1;
    let client = Client {
        server_name: session.server_name().map(str::to_owned),
        has_certificate: session.peer_certificates().is_some(),
    };
    let http2 = session.alpn_protocol() == Some(b"h2");
    talk(stream, http2, client, script, log).await;
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    http2: bool,
    client: Client,
    script: Script,
    log: Arc<Mutex<Log>>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (client, script, log) = (client.clone(), Arc::clone(&script), Arc::clone(&log));
        async move {
            let at = Instant::now();
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let seen = Seen { at, version: head.version, headers: head.headers, body, of: client };
            let reply = script(&seen);
            log.lock().unwrap().seen.push(seen);
            sleep(reply.after).await;
            let mut response = Response::builder().status(reply.status);
            for (name, value) in reply.headers {
                response = response.header(name, value);
            }
            Ok::<_, hyper::Error>(response.body(Full::new(Bytes::from(reply.body))).unwrap())
        }
    });
    let stream = TokioIo::new(stream);
    let _ = match http2 {
        true => http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await,
        false => http1::Builder::new().serve_connection(stream, service).await,
    };
}
