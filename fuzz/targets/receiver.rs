//! The receiver behind its socket: a run of requests, then everything it has is read. It never
//! fails by itself, keeps within its bounds, and what it says is JSON where it says so.
//!
//! ```text
//! <method> <path> [<seconds since the last>]
//! <body>
//! an empty line, and the next
//! ```
#![no_main]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;
use nodetally::quantity::WallTime;
use nodetally::receiver::{Bounds, Kept, router};
use tower::ServiceExt as _;

/// 2025-06-11T15:00:00Z
const THREE_PM_MS: u64 = 1_749_654_000_000;
const REQUESTS_MAX: usize = 24;
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

fuzz_target!(|input: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(run(input));
});

async fn run(input: &[u8]) {
    let now_ms = Arc::new(AtomicU64::new(THREE_PM_MS));
    let clock = Arc::clone(&now_ms);
    let bounds = Bounds {
        retention: Duration::from_secs(600),
        points_max: 8,
        nodes_max: 4,
        pods_max: 6,
        documents_bytes_max: 32 << 10,
        ..Bounds::for_interval(Duration::from_secs(15))
    };
    let kept = Kept::new(
        bounds,
        Arc::new(move || WallTime::from_unix_millis(clock.load(Ordering::Relaxed))),
    );
    let app = router(&kept);
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
        if let Some(seconds) = words.next().and_then(|word| word.parse::<u16>().ok()) {
            now_ms.fetch_add(u64::from(seconds) * 1000, Ordering::Relaxed);
        }
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_vec()));
        if let Ok(request) = request {
            check(&app, request, None).await;
        }
    }
    for path in READS {
        let request = Request::builder().uri(path).body(Body::empty());
        check(&app, request.expect("a path"), Some(StatusCode::OK)).await;
    }
    let request = Request::builder().uri("/").header(ACCEPT, "text/html").body(Body::empty());
    let page = check(&app, request.expect("a path"), Some(StatusCode::OK)).await;
    // The page has no scripts of its own, so any would be somebody's name.
    assert!(!page.to_ascii_lowercase().windows(7).any(|part| part == b"<script"));
}

async fn check(app: &Router, request: Request<Body>, expected: Option<StatusCode>) -> Vec<u8> {
    let path = request.uri().path().to_owned();
    let is_head = request.method() == Method::HEAD;
    let answer: Response<Body> = match app.clone().oneshot(request).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    };
    let status = answer.status();
    assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
    assert!(expected.is_none_or(|expected| expected == status), "{path}: {status}");
    let is_json = answer.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    let body = answer.into_body().collect().await.expect("a body in memory").to_bytes();
    assert!(body.len() <= ANSWER_BYTES_MAX, "{path}: {} bytes", body.len());
    if is_head {
        assert!(body.is_empty(), "{path}: what was not asked for");
    } else if is_json {
        let read = serde_json::from_slice::<serde::de::IgnoredAny>(&body);
        assert!(read.is_ok(), "{path}: {read:?}: {}", String::from_utf8_lossy(&body));
    }
    body.to_vec()
}
