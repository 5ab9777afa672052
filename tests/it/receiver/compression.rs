//! Posts whose bodies come compressed.

use std::io::Write as _;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::pod_batch::{envelope, node, pod};
use super::pod_lifecycle::spec;
use super::{Server, answer, node_body, pod_body};
use crate::support::rounds::rounds;

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// With a window of 8 MiB and no size told, as of a stream whose end is not known.
fn zstd(body: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(23).unwrap();
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn compressed(encoding: &str, body: &[u8]) -> Vec<u8> {
    match encoding {
        "zstd" => zstd(body),
        _ => gzip(body),
    }
}

async fn post(server: &Server, path: &str, encoding: &str, body: Vec<u8>) -> (u16, Value) {
    let request = server.post(path).header("content-type", "application/json");
    answer(request.header("content-encoding", encoding).body(body)).await
}

fn error(answer: &Value) -> &str {
    let error = &answer["error"];
    error.as_str().or_else(|| error["message"].as_str()).unwrap()
}

#[tokio::test]
async fn every_post_is_taken_compressed_and_is_the_same_post() {
    for encoding in ["gzip", "zstd", "GZip", "x-gzip", "identity, gzip"] {
        let (plain, server) = (Server::start().await, Server::start().await);
        for (path, body) in [
            ("/api/nodes/n/metrics", node_body(7)),
            ("/api/namespaces/d/pods/p/metrics", pod_body("n", 7)),
            ("/api/v1/metrics/pods", envelope(&[pod("shop", "web-1", 0.5)])),
            ("/api/v1/metrics/nodes", envelope(&[node("node-1")])),
            ("/pod/spec", spec("web-1", "10.0.0.1")),
            ("/pod/mark_dead", json!({"pod_name": "web-1"})),
        ] {
            let body = body.to_string().into_bytes();
            let as_it_is = post(&plain, path, "identity", body.clone()).await;
            assert!(as_it_is.0 < 300, "{path}: {}", as_it_is.1);
            let answer = post(&server, path, encoding, compressed(encoding, &body)).await;
            assert_eq!(answer, as_it_is, "{path}, {encoding}");
        }
        for path in ["/api/nodes", "/api/pods", "/api/v1/metrics/pods", "/pod/info"] {
            assert_eq!(server.get_ok(path).await, plain.get_ok(path).await, "{path}, {encoding}");
        }
    }
}

#[tokio::test]
async fn a_repeat_may_be_compressed_in_another_way() {
    let server = Server::start().await;
    let body = node_body(1).to_string().into_bytes();
    for (at, (encoding, sent)) in
        [("gzip", gzip(&body)), ("zstd", zstd(&body)), ("identity", body)].into_iter().enumerate()
    {
        let request = server.post("/api/nodes/n/metrics").header("content-encoding", encoding);
        let request = request.header("content-type", "application/json");
        let response = request.header("idempotency-key", "k").body(sent).send().await.unwrap();
        assert_eq!(response.status(), 201, "{encoding}");
        let replayed = response.headers().contains_key("idempotency-replayed");
        assert_eq!(replayed, at > 0, "{encoding}");
    }
}

/// The most this process ever had resident, in KiB.
fn resident_peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn a_body_is_bounded_as_it_is_meant_and_costs_no_more_than_that() {
    let server = Server::start().await;
    let padded = |bytes: usize| {
        let mut body = node_body(1);
        body["padding"] = json!("");
        let padding = bytes - body.to_string().len();
        body["padding"] = json!("x".repeat(padding));
        body.to_string().into_bytes()
    };
    for encoding in ["gzip", "zstd"] {
        let (path, whole) = ("/api/nodes/n/metrics", padded(64 << 10));
        assert_eq!(post(&server, path, encoding, compressed(encoding, &whole)).await.0, 201);
        let more = compressed(encoding, &padded((64 << 10) + 1));
        assert!(more.len() < 1000);
        let (status, answer) = post(&server, path, encoding, more).await;
        assert_eq!(status, 413, "{encoding}: {answer}");
        assert!(error(&answer).contains("larger than 65536 bytes"), "{answer}");
    }
    // 2 GiB of spaces in some hundred KiB at most, to each route at once.
    let before_kib = resident_peak_kib();
    let spaces = vec![b' '; 8 << 20];
    for encoding in ["gzip", "zstd"] {
        let piece = compressed(encoding, &spaces);
        let bomb = piece.repeat(256);
        for (path, limit) in [
            ("/api/nodes/n/metrics", 64 << 10),
            ("/api/v1/metrics/pods", 4 << 20),
            ("/api/v1/metrics/nodes", 4 << 20),
        ] {
            let bomb = bomb.get(..limit.min(bomb.len())).unwrap().to_vec();
            let (status, answer) = post(&server, path, encoding, bomb).await;
            assert_eq!(status, 413, "{path}, {encoding}: {answer}");
        }
    }
    let more_kib = resident_peak_kib() - before_kib;
    assert!(more_kib < 200 << 10, "{more_kib} KiB for bombs of 2 GiB");
}

#[tokio::test]
async fn what_cannot_be_decoded_is_400_and_an_unknown_encoding_415() {
    let server = Server::start().await;
    let path = "/api/nodes/n/metrics";
    let body = node_body(1).to_string().into_bytes();
    for encoding in ["gzip", "zstd"] {
        let whole = compressed(encoding, &body);
        let mut changed = whole.clone();
        let middle = whole.len() / 2;
        changed[middle..].fill(0xff);
        let cut = whole[..middle].to_vec();
        for (sent, why) in [(cut, "cut off"), (body.clone(), ""), (changed, "")] {
            let (status, answer) = post(&server, path, encoding, sent).await;
            let text = error(&answer);
            assert_eq!(status, 400, "{text}");
            let named = format!("the body's {encoding} stream cannot be read: ");
            assert!(text.starts_with(&named) && text.contains(why), "{text}");
        }
    }
    for encoding in ["br", "deflate", "gzip, zstd", "zstd, zstd"] {
        let (status, answer) = post(&server, path, encoding, body.clone()).await;
        let text = error(&answer);
        assert_eq!(status, 415, "{text}");
        assert!(text.contains("send gzip, zstd or the body as it is"), "{text}");
    }
    assert_eq!(server.get_ok("/api/nodes").await, json!([]));
}

#[tokio::test]
async fn no_compressed_bytes_are_answered_with_a_failure_of_the_servers() {
    let server = Server::start().await;
    let mut runner = TestRunner::default();
    let body = envelope(&[pod("shop", "web-1", 0.5)]).to_string().into_bytes();
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let bytes = proptest::collection::vec(any::<u8>(), 0..300);
    let whole = ["gzip", "zstd"].map(|encoding| (encoding, compressed(encoding, &body)));
    for round in 0..rounds(50) {
        for (encoding, whole) in &whole {
            let mut sent = whole.clone();
            for (at, byte) in changes.new_tree(&mut runner).unwrap().current() {
                *at.get_mut(&mut sent) = byte;
            }
            if round % 3 == 0 {
                sent = bytes.new_tree(&mut runner).unwrap().current();
            }
            let (status, answer) = post(&server, "/api/v1/metrics/pods", encoding, sent).await;
            assert!(status < 500, "round {round}, {encoding}: {status}, {answer}");
        }
    }
    server.get_ok("/api/pods").await;
}
