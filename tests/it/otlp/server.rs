//! A server that answers by a script, and keeps what it was sent.

use std::io::Read as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, Response};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::net::TcpListener;
use tokio::time::Instant;

#[derive(Debug, Clone)]
pub struct Received {
    pub at: Instant,
    pub path: String,
    pub headers: HeaderMap,
    /// Unpacked.
    pub body: Bytes,
    pub status: u16,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.to_str().unwrap())
    }
}

#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, &'static str)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: b"why".to_vec() }
    }

    /// As a receiver of OTLP accepts a post.
    pub fn ok(body: Vec<u8>) -> Self {
        Self { status: 200, headers: vec![("content-type", "application/x-protobuf")], body }
    }
}

/// Decides by the number of the request and the unpacked body.
type Script = dyn Fn(usize, &[u8]) -> Reply + Send + Sync;

#[derive(Clone)]
pub struct Server {
    pub url: String,
    received: Arc<Mutex<Vec<Received>>>,
    script: Arc<Script>,
}

impl Server {
    pub async fn start(script: impl Fn(usize, &[u8]) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { url, received: Arc::default(), script: Arc::new(script) };
        let router = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    pub fn accepted(&self) -> Vec<Received> {
        self.received().into_iter().filter(|one| one.status < 300).collect()
    }
}

async fn answer(State(server): State<Server>, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let packed = body.collect().await.unwrap().to_bytes();
    let body = match head.headers.get("content-encoding").map(|value| value.to_str().unwrap()) {
        Some("gzip") => {
            let mut body = Vec::new();
            flate2::read::GzDecoder::new(&*packed).read_to_end(&mut body).unwrap();
            Bytes::from(body)
        }
        None => packed,
        Some(other) => panic!("{other}"),
    };
    let mut received = server.received.lock().unwrap();
    let reply = (server.script)(received.len(), &body);
    received.push(Received {
        at: Instant::now(),
        path: head.uri.to_string(),
        headers: head.headers,
        body,
        status: reply.status,
    });
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(reply.body)).unwrap()
}
