//! The receiver behind its socket: a run of requests, then everything it has is read. It never
//! fails by itself, keeps within its bounds, and what it says is JSON where it says so.
//!
//! ```text
//! <method> <path> [<seconds since the last> | key:<its key> | gzip | zstd | gzip: | zstd:]…
//! <body>
//! an empty line, and the next
//! ```
//!
//! A body under `gzip` or `zstd` is packed here first, one under `gzip:` or `zstd:` comes as it is.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{Method, Request, Response, StatusCode};
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt as _;
use nodetally::quantity::WallTime;
use nodetally::receiver::{ReceiverBounds, ReceiverState, StorePlace, router};
use tower::ServiceExt as _;

/// 2025-06-11T15:00:00Z
const THREE_PM_MS: u64 = 1_749_654_000_000;
const REQUESTS_MAX: usize = 24;
const WORDS_MAX: usize = 4;
const ANSWER_BYTES_MAX: usize = 1 << 20;

const READS: [&str; 11] = [
    "/api/nodes",
    "/api/pods",
    "/api/namespaces",
    "/api/deployments",
    "/api/v1/metrics/pods",
    "/api/v1/metrics/nodes",
    "/api/v1/nodes",
    "/api/v1/pods",
    "/apis/metrics.k8s.io/v1beta1/nodes",
    "/apis/metrics.k8s.io/v1beta1/pods",
    "/pod/info",
];

/// Reads one input.
pub fn run(input: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(serve(input));
}

async fn serve(input: &[u8]) {
    let now_ms = Arc::new(AtomicU64::new(THREE_PM_MS));
    let clock = Arc::clone(&now_ms);
    let bounds = ReceiverBounds {
        retention: Duration::from_secs(600),
        nodes_max: 4,
        pods_max: 6,
        documents_bytes_max: 32 << 10,
        ..ReceiverBounds::for_interval(Duration::from_secs(15))
    };
    let state = ReceiverState::open(
        &StorePlace::MEMORY,
        bounds,
        Arc::new(move || WallTime::from_unix_millis(clock.load(Ordering::Relaxed))),
    )
    .expect("a store");
    let app = router(&state, true);
    let mut rest = input;
    for _ in 0..REQUESTS_MAX {
        let end = rest.windows(2).position(|two| two == b"\n\n");
        let (request, next) = rest.split_at(end.unwrap_or(rest.len()));
        rest = next.get(2..).unwrap_or_default();
        let end = request.iter().position(|byte| *byte == b'\n').unwrap_or(request.len());
        let (head, body) = request.split_at(end);
        let Ok(head) = std::str::from_utf8(head) else { continue };
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut request =
            Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json");
        let (mut body, mut has_key) = (body.to_vec(), false);
        for word in words.take(WORDS_MAX) {
            if let Some(key) = word.strip_prefix("key:") {
                request = request.header("idempotency-key", key);
                has_key = true;
            } else if let Ok(seconds) = word.parse::<u16>() {
                now_ms.fetch_add(u64::from(seconds) * 1000, Ordering::Relaxed);
            } else if let Some(name) = word.strip_suffix(':') {
                request = request.header(CONTENT_ENCODING, name);
            } else if let Some(packed) = packed(word, &body) {
                request = request.header(CONTENT_ENCODING, word);
                body = packed;
            }
        }
        let Ok(request) = request.body(()) else { continue };
        let (parts, ()) = request.into_parts();
        let send = || Request::from_parts(parts.clone(), Body::from(body.clone()));
        let first = check(&app, send(), None).await;
        if has_key && parts.method == Method::POST && first.status.is_success() {
            // At once again it is the same post, and changes nothing.
            let again = check(&app, send(), Some(first.status)).await;
            assert!(again.replayed, "{}", parts.uri);
        }
    }
    for path in READS {
        let request = Request::builder().uri(path).body(Body::empty());
        check(&app, request.expect("a path"), Some(StatusCode::OK)).await;
    }
    let request = Request::builder().uri("/").header(ACCEPT, "text/html").body(Body::empty());
    check(&app, request.expect("a path"), Some(StatusCode::OK)).await;
}

fn packed(how: &str, body: &[u8]) -> Option<Vec<u8>> {
    match how {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(body).ok()?;
            encoder.finish().ok()
        }
        "zstd" => zstd::encode_all(body, 1).ok(),
        _ => None,
    }
}

struct Answer {
    status: StatusCode,
    replayed: bool,
}

async fn check(app: &Router, request: Request<Body>, expected: Option<StatusCode>) -> Answer {
    let path = request.uri().path().to_owned();
    let is_head = request.method() == Method::HEAD;
    let answer: Response<Body> = match app.clone().oneshot(request).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    };
    let status = answer.status();
    assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
    assert!(expected.is_none_or(|expected| expected == status), "{path}: {status}");
    let replayed = answer.headers().contains_key("idempotency-replayed");
    let is_json = answer.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    let body = answer.into_body().collect().await.expect("a body in memory").to_bytes();
    assert!(body.len() <= ANSWER_BYTES_MAX, "{path}: {} bytes", body.len());
    if is_head {
        assert!(body.is_empty(), "{path}: what was not asked for");
    } else if is_json {
        let read = serde_json::from_slice::<serde::de::IgnoredAny>(&body);
        assert!(read.is_ok(), "{path}: {read:?}: {}", String::from_utf8_lossy(&body));
    }
    Answer { status, replayed }
}
