//! The receiver over real TCP, read and written by a plain HTTP client, with a clock of the test's.
//! This file has the server and the resource API; the other dialects stand beside it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

mod access;
mod any_bytes;
mod command;
mod compression;
mod deployments;
mod durability;
mod flood;
mod front_proxy;
mod idempotency;
mod kubernetes;
mod list_parts;
mod metrics_k8s_io;
mod openapi;
mod pod_batch;
mod pod_lifecycle;
mod postgres;
mod samples;
mod store_file;
mod token_review;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nodetally::quantity::WallTime;
use nodetally::receiver::{Receiver, ReceiverAccess, ReceiverBounds, ReceiverState, StorePlace};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// 2025-06-11T15:00:00Z, a multiple of 15 s.
const THREE_PM_MS: u64 = 1_749_654_000_000;

struct Server {
    base: String,
    client: Client,
    now_ms: Arc<AtomicU64>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        Self::start_with(ReceiverBounds::for_interval(Duration::from_secs(15))).await
    }

    async fn start_with(bounds: ReceiverBounds) -> Self {
        Self::start_with_access(bounds, ReceiverAccess::default()).await
    }

    async fn start_with_access(bounds: ReceiverBounds, access: ReceiverAccess) -> Self {
        let now_ms = Arc::new(AtomicU64::new(THREE_PM_MS));
        let clock = Arc::clone(&now_ms);
        let clock = Arc::new(move || WallTime::from_unix_millis(clock.load(Ordering::Relaxed)));
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let state = ReceiverState::open(&StorePlace::MEMORY, bounds, clock).unwrap();
        state.set_access(access);
        let receiver = Receiver::bind_with(addr, &state).await.unwrap();
        let base = format!("http://{}", receiver.local_addr());
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(receiver.serve(async {
            let _ = stopped.await;
        }));
        Self { base, client: client(), now_ms, stop, serving }
    }

    fn advance(&self, seconds: u64) {
        self.now_ms.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.base))
    }

    async fn push(&self, path: &str, body: &Value) {
        let (status, answer) = answer(json_body(self.post(path), body)).await;
        assert_eq!(status, 201, "{path}: {answer}");
        assert!(answer["message"].is_string());
    }

    async fn push_pod(&self, namespace: &str, pod: &str, node: &str, cpu: u64) {
        let path = format!("/api/namespaces/{namespace}/pods/{pod}/metrics");
        self.push(&path, &pod_body(node, cpu)).await;
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.client.get(format!("{}{path}", self.base))).await
    }

    async fn get_ok(&self, path: &str) -> Value {
        let (status, value) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    async fn names(&self, path: &str, key: &str) -> Vec<String> {
        let value = self.get_ok(path).await;
        let records = value.as_array().unwrap();
        records.iter().map(|record| record[key].as_str().unwrap().to_owned()).collect()
    }
}

fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

fn json_body(request: RequestBuilder, body: &Value) -> RequestBuilder {
    request.header("content-type", "application/json").body(body.to_string())
}

/// The status and the JSON of an answer; every answer of the API is JSON.
async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/json", "status {status}");
    let body = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

fn node_body(cpu: u64) -> Value {
    json!({
        "cpu_millicores": cpu,
        "memory_bytes": 4123456789_u64,
        "disk_io": {"read_bytes": 104857600, "write_bytes": 524288000},
        "network_io": {"bytes_sent": 19384728, "bytes_recv": 28374612}
    })
}

fn pod_body(node: &str, cpu: u64) -> Value {
    json!({
        "cpu_millicores": cpu,
        "memory_bytes": 536870912,
        "node_name": node,
        "disk_io": {"read_bytes": 2048000, "write_bytes": 1024000},
        "network_io": {"bytes_sent": 123456, "bytes_recv": 654321}
    })
}

#[tokio::test]
async fn nodes_answer_in_the_documents_shape() {
    let server = Server::start().await;
    server.push("/api/nodes/node-2/metrics", &node_body(1900)).await;
    server.push("/api/nodes/node-1/metrics", &node_body(2300)).await;
    let node_1 = json!({
        "node_name": "node-1",
        "timestamp": "2025-06-11T15:00:00Z",
        "cpu_millicores": 2300,
        "memory_bytes": 4123456789_u64,
        "disk_io": {"read_bytes": 104857600, "write_bytes": 524288000},
        "network_io": {"bytes_sent": 19384728, "bytes_recv": 28374612}
    });
    assert_eq!(server.get_ok("/api/nodes/node-1").await, node_1);
    let mut node_2 = node_1.clone();
    node_2["node_name"] = json!("node-2");
    node_2["cpu_millicores"] = json!(1900);
    assert_eq!(server.get_ok("/api/nodes").await, json!([node_1, node_2]));
    assert_eq!(server.get_ok("/api/nodes/node-1/pods").await, json!([]));
}

#[tokio::test]
async fn pods_answer_in_the_documents_shape_by_pod_node_and_namespace() {
    let server = Server::start().await;
    server.push_pod("newNs", "web-server-1", "node-1", 301).await;
    server.push_pod("default", "web-server-1", "node-1", 300).await;
    server.push_pod("default", "app-backend-1", "node-2", 500).await;
    let pod = |namespace, name, node, cpu: u64| {
        json!({
            "namespace": namespace,
            "pod_name": name,
            "node_name": node,
            "timestamp": "2025-06-11T15:00:00Z",
            "cpu_millicores": cpu,
            "memory_bytes": 536870912,
            "disk_io": {"read_bytes": 2048000, "write_bytes": 1024000},
            "network_io": {"bytes_sent": 123456, "bytes_recv": 654321}
        })
    };
    let backend = pod("default", "app-backend-1", "node-2", 500);
    let web = pod("default", "web-server-1", "node-1", 300);
    let new_web = pod("newNs", "web-server-1", "node-1", 301);
    let ok = |path| server.get_ok(path);
    assert_eq!(ok("/api/pods").await, json!([backend, web, new_web]));
    assert_eq!(ok("/api/pods?namespace=newNs").await, json!([new_web]));
    assert_eq!(ok("/api/pods/web-server-1").await, json!([web, new_web]));
    assert_eq!(ok("/api/pods/web-server-1?namespace=default").await, json!([web]));
    assert_eq!(ok("/api/nodes/node-1/pods").await, json!([web, new_web]));
    assert_eq!(ok("/api/namespaces/default/pods").await, json!([backend, web]));
    let default = json!({
        "namespace": "default",
        "timestamp": "2025-06-11T15:00:00Z",
        "cpu_millicores": 800,
        "memory_bytes": 1073741824,
        "disk_io": {"read_bytes": 4096000, "write_bytes": 2048000},
        "network_io": {"bytes_sent": 246912, "bytes_recv": 1308642}
    });
    assert_eq!(ok("/api/namespaces/default").await, default);
    let all = ok("/api/namespaces").await;
    assert_eq!(all[0], default);
    assert_eq!((&all[1]["namespace"], all.as_array().unwrap().len()), (&json!("newNs"), 2));
    assert_eq!(ok("/api/namespaces/default/deployments").await, json!([]));
}

#[tokio::test]
async fn the_extras_a_pod_was_pushed_with_come_back() {
    let server = Server::start().await;
    let mut body = pod_body("n", 1);
    body["pod_uid"] = json!("a533c208-0be3-44e3-adb7-a0dae664d797");
    body["qos_class"] = json!("Burstable");
    body["something_else"] = json!({"deep": null});
    server.push("/api/namespaces/default/pods/web/metrics", &body).await;
    let pods = server.get_ok("/api/pods/web").await;
    assert_eq!(pods[0]["pod_uid"], "a533c208-0be3-44e3-adb7-a0dae664d797");
    assert_eq!(pods[0]["qos_class"], "Burstable");
    assert_eq!(pods[0].get("something_else"), None);
}

#[tokio::test]
async fn a_window_answers_the_series_under_both_spellings() {
    let server = Server::start().await;
    for cpu in [1200, 1300, 1400] {
        server.push("/api/nodes/node-1/metrics", &node_body(cpu)).await;
        server.push_pod("default", "web", "node-1", cpu / 100).await;
        server.push_pod("other", "web", "node-1", cpu / 10).await;
        server.advance(60);
    }
    // Now 15:03:00; the points stand at 15:00, 15:01 and 15:02.
    for path in ["/api/nodes/node-1?window=120", "/api/nodes/node-1/timeseries?window=120"] {
        let series = server.get_ok(path).await;
        assert_eq!(series.as_array().unwrap().len(), 2, "{path}");
        assert_eq!(
            series[0],
            json!({
                "node_name": "node-1",
                "timestamp": "2025-06-11T15:01:00Z",
                "cpu_millicores": 1300,
                "memory_bytes": 4123456789_u64,
                "disk_io": {"read_bytes": 104857600, "write_bytes": 524288000},
                "network_io": {"bytes_sent": 19384728, "bytes_recv": 28374612}
            })
        );
        assert_eq!(series[1]["timestamp"], "2025-06-11T15:02:00Z");
    }
    for path in [
        "/api/pods/web?window=3600&namespace=default",
        "/api/pods/web/timeseries?window=3600&namespace=default",
    ] {
        let series = server.get_ok(path).await;
        assert_eq!(
            series[2],
            json!({
                "namespace": "default",
                "pod_name": "web",
                "timestamp": "2025-06-11T15:02:00Z",
                "cpu_millicores": 14,
                "memory_bytes": 536870912,
                "disk_io": {"read_bytes": 2048000, "write_bytes": 1024000},
                "network_io": {"bytes_sent": 123456, "bytes_recv": 654321}
            })
        );
        assert_eq!(series.as_array().unwrap().len(), 3, "{path}");
    }
    let both = server.names("/api/pods/web?window=60", "namespace").await;
    assert_eq!(both, ["default", "other"]);
    for path in ["/api/namespaces/other?window=60", "/api/namespaces/other/timeseries?window=60"] {
        assert_eq!(
            server.get_ok(path).await,
            json!([{
                "namespace": "other",
                "timestamp": "2025-06-11T15:02:00Z",
                "cpu_millicores": 140,
                "memory_bytes": 536870912,
                "disk_io": {"read_bytes": 2048000, "write_bytes": 1024000},
                "network_io": {"bytes_sent": 123456, "bytes_recv": 654321}
            }])
        );
    }
    let whole = server.get_ok("/api/nodes/node-1/timeseries").await;
    assert_eq!(whole.as_array().unwrap().len(), 3, "without a window: all that is kept");
    assert_eq!(server.get_ok("/api/nodes/node-1?window=59").await, json!([]));
}

#[tokio::test]
async fn a_namespace_is_the_sum_of_its_pods_though_they_push_at_different_moments() {
    let server = Server::start().await;
    for _ in 0..2 {
        server.push_pod("default", "a", "node-1", 100).await;
        server.advance(7);
        server.push_pod("default", "b", "node-2", 200).await;
        server.advance(8);
    }
    let series = server.get_ok("/api/namespaces/default?window=60").await;
    let points: Vec<_> = series
        .as_array()
        .unwrap()
        .iter()
        .map(|point| (&point["timestamp"], &point["cpu_millicores"], &point["disk_io"]))
        .collect();
    let disk = json!({"read_bytes": 4096000, "write_bytes": 2048000});
    assert_eq!(
        points,
        [
            (&json!("2025-06-11T15:00:07Z"), &json!(300), &disk),
            (&json!("2025-06-11T15:00:22Z"), &json!(300), &disk),
        ]
    );
}

#[tokio::test]
async fn a_silent_pod_leaves_the_lists_and_keeps_its_past_while_a_silent_node_is_marked() {
    let server = Server::start().await;
    server.push("/api/nodes/node-1/metrics", &node_body(1)).await;
    server.push_pod("default", "gone", "node-1", 100).await;
    server.advance(45);
    server.push_pod("default", "stays", "node-1", 10).await;
    server.advance(15);
    assert_eq!(server.names("/api/pods", "pod_name").await, ["gone", "stays"]);
    server.advance(1);
    for path in ["/api/pods", "/api/nodes/node-1/pods", "/api/namespaces/default/pods"] {
        assert_eq!(server.names(path, "pod_name").await, ["stays"], "{path}");
    }
    assert_eq!(server.get_ok("/api/namespaces/default").await["cpu_millicores"], 10);
    let (status, error) = server.get("/api/pods/gone").await;
    assert_eq!(status, 404);
    assert!(error["error"].as_str().unwrap().contains("has not been pushed for 1m"), "{error}");
    let past = server.get_ok("/api/pods/gone?window=600").await;
    assert_eq!(past[0]["cpu_millicores"], 100);

    let nodes = server.get_ok("/api/nodes").await;
    assert_eq!(
        (&nodes[0]["stale"], &nodes[0]["timestamp"]),
        (&json!(true), &json!("2025-06-11T15:00:00Z"))
    );

    server.advance(3600);
    assert_eq!(server.get_ok("/api/nodes").await, json!([]));
    assert_eq!(server.get_ok("/api/namespaces").await, json!([]));
    for path in [
        "/api/nodes/node-1",
        "/api/pods/gone?window=3600",
        "/api/namespaces/default?window=3600",
        "/api/namespaces/default/pods",
    ] {
        assert_eq!(server.get(path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn what_is_not_known_is_404_with_an_error_that_names_it() {
    let server = Server::start().await;
    server.push_pod("default", "web", "node-1", 1).await;
    for (path, part) in [
        ("/api/nodes/nowhere", "node nowhere is not known"),
        ("/api/nodes/nowhere?window=60", "node nowhere"),
        ("/api/nodes/nowhere/timeseries?window=60", "node nowhere"),
        ("/api/nodes/nowhere/pods", "node nowhere"),
        ("/api/pods/none", "pod none is not known in any namespace"),
        ("/api/pods/web?namespace=other", "pod other/web is not known"),
        ("/api/pods/none?window=60", "pod none"),
        ("/api/namespaces/none", "namespace none"),
        ("/api/namespaces/none?window=60", "namespace none"),
        ("/api/namespaces/none/pods", "namespace none"),
        ("/api/namespaces/none/deployments", "namespace none"),
        ("/api/namespaces/default/deployments/web", "deployment web"),
        ("/api/namespaces/default/deployments/web/pods", "deployment web"),
        ("/api/nodes/", "no such path: /api/nodes/"),
        ("/metrics", "no such path: /metrics"),
    ] {
        let (status, error) = server.get(path).await;
        assert_eq!(status, 404, "{path}");
        assert!(error["error"].as_str().unwrap().contains(part), "{path}: {error}");
    }
    let (status, error) = answer(server.post("/api/nodes")).await;
    assert_eq!((status, &error["error"]), (405, &json!("POST is not allowed on /api/nodes")));
}

#[tokio::test]
async fn a_bad_window_is_400_and_names_what_is_allowed() {
    let server = Server::start().await;
    server.push("/api/nodes/n/metrics", &node_body(1)).await;
    for window in ["0", "-5", "1.5", "abc", "", "3601", "99999999999999999999999"] {
        let (status, error) = server.get(&format!("/api/nodes/n?window={window}")).await;
        assert_eq!(status, 400, "{window}");
        let text = error["error"].as_str().unwrap();
        assert!(text.contains("a whole number of seconds from 1 to 3600"), "{text}");
    }
    assert_eq!(server.get("/api/nodes/n?window=1&window=2").await.0, 400);
    server.get_ok("/api/nodes/n?window=3600").await;
}

#[tokio::test]
async fn a_bad_push_is_refused_with_a_reason_and_stored_nowhere() {
    let server = Server::start().await;
    const PATH: &str = "/api/nodes/n/metrics";
    let json_type = || server.post(PATH).header("content-type", "application/json");
    let mut null = node_body(1);
    null["memory_bytes"] = json!(null);
    let mut fraction = node_body(1);
    fraction["network_io"]["bytes_sent"] = json!(1.5);
    let large = format!("{{\"padding\":\"{}\"}}", "x".repeat(64 << 10));
    for (request, expected, part) in [
        (json_type().body("{}"), 400, "Missing required field: cpu_millicores"),
        (json_type().body(r#"{"cpu_millicores":1}"#), 400, "Missing required field: memory_bytes"),
        (json_type().body(null.to_string()), 400, "memory_bytes must be an integer"),
        (json_type().body(fraction.to_string()), 400, "network_io.bytes_sent must be an integer"),
        (json_type().body("{\"cpu"), 400, "not valid JSON"),
        (json_type().body(vec![0x1f, 0x8b, 0xff]), 400, "not valid JSON"),
        (json_type(), 400, "not valid JSON"),
        (json_type().body("[]"), 400, "must be a JSON object"),
        (server.post(PATH).body(node_body(1).to_string()), 400, "Content-Type must be"),
        (
            server.post(PATH).header("content-type", "text/plain").body(node_body(1).to_string()),
            400,
            "Content-Type must be application/json",
        ),
        (json_type().header("content-encoding", "br").body("x"), 415, "br is not supported"),
        (json_type().body(large), 413, "larger than 65536 bytes"),
        (
            json_body(server.post("/api/namespaces/d/pods/p/metrics"), &node_body(1)),
            400,
            "Missing required field: node_name",
        ),
        (json_body(server.post("/api/nodes/a%0Ab/metrics"), &node_body(1)), 400, "control"),
        (json_body(server.post("/api/nodes/%FF/metrics"), &node_body(1)), 400, "UTF-8"),
        (
            json_body(
                server.post(&format!("/api/nodes/{}/metrics", "n".repeat(254))),
                &node_body(1),
            ),
            400,
            "longer than 253 characters",
        ),
    ] {
        let (status, error) = answer(request).await;
        let text = error["error"].as_str().unwrap();
        assert_eq!(status, expected, "{text}");
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(server.get_ok("/api/nodes").await, json!([]));
    assert_eq!(server.get_ok("/api/pods").await, json!([]));

    let charset = server.post(PATH).header("content-type", "Application/JSON; charset=utf-8");
    assert_eq!(answer(charset.body(node_body(1).to_string())).await.0, 201);
}

#[tokio::test]
async fn a_weird_name_comes_back_as_it_went_in() {
    let server = Server::start().await;
    server.push("/api/nodes/a%2Fb%20%22%C3%A9/metrics", &node_body(1)).await;
    assert_eq!(server.names("/api/nodes", "node_name").await, ["a/b \"é"]);
    server.get_ok("/api/nodes/a%2Fb%20%22%C3%A9").await;
}

#[tokio::test]
async fn a_full_store_says_so_and_goes_on_serving_those_it_has() {
    let mut bounds = ReceiverBounds::for_interval(Duration::from_secs(15));
    bounds.pods_max = 1;
    let server = Server::start_with(bounds).await;
    server.push_pod("default", "a", "n", 1).await;
    let path = "/api/namespaces/default/pods/b/metrics";
    let (status, error) = answer(json_body(server.post(path), &pod_body("n", 1))).await;
    assert_eq!(status, 507);
    assert!(error["error"].as_str().unwrap().contains("at most 1 pods"), "{error}");
    server.push_pod("default", "a", "n", 2).await;
    server.advance(61);
    server.push_pod("default", "b", "n", 3).await;
    assert_eq!(server.names("/api/pods", "pod_name").await, ["b"]);
}

#[tokio::test]
async fn the_index_is_a_page_for_browsers_and_text_for_the_rest() {
    let server = Server::start().await;
    let get = |path: &str| server.client.get(format!("{}{path}", server.base));
    let page = get("/").header("accept", "text/html,*/*;q=0.8").send().await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
    let page = page.text().await.unwrap();
    for (path, content_type) in
        [("/assets/app.js", "text/javascript"), ("/assets/app.css", "text/css")]
    {
        assert!(page.contains(path), "{page}");
        let file = get(path).send().await.unwrap();
        assert_eq!(file.status(), 200);
        assert!(file.headers()["content-type"].to_str().unwrap().starts_with(content_type));
        let etag = file.headers()["etag"].clone();
        let again = get(path).header("if-none-match", etag).send().await.unwrap();
        assert_eq!(again.status(), 304);
    }
    let text = get("/").send().await.unwrap();
    assert_eq!(text.headers()["content-type"], "text/plain; charset=utf-8");
    assert!(text.text().await.unwrap().contains("/api/namespaces/<namespace>/pods"));
}

#[tokio::test]
async fn a_shutdown_ends_serving_though_a_client_keeps_its_connection_open() {
    let server = Server::start().await;
    server.get_ok("/api/nodes").await;
    server.stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(2), server.serving).await.unwrap().unwrap();
    let refused = server.client.get(format!("{}/api/nodes", server.base)).send().await;
    assert!(refused.unwrap_err().is_connect());
}

/// A page in a browser on this host may resolve its own name to 127.0.0.1.
#[tokio::test]
async fn another_host_s_name_is_refused_in_the_form_of_each_api_and_stores_nothing() {
    let server = Server::start().await;
    let of_another = |request: RequestBuilder| request.header("host", "evil.example:7643");
    let path = "/api/nodes/n1/metrics";
    let post = json_body(of_another(server.post(path)), &node_body(1));
    let (status, refusal) = answer(post).await;
    assert_eq!(status, 403);
    assert!(refusal["error"].as_str().unwrap().contains("Host header"), "{refusal}");
    assert_eq!(server.get_ok("/api/nodes").await, json!([]));
    for (path, message) in [
        ("/api/v1/metrics/pods", "/error/message"),
        ("/apis/metrics.k8s.io/v1beta1/nodes", "/message"),
    ] {
        let (status, refusal) =
            answer(of_another(server.client.get(server.base.clone() + path))).await;
        let message = refusal.pointer(message).and_then(Value::as_str).unwrap_or_default();
        assert!(status == 403 && message.contains("Host header"), "{path}: {refusal}");
    }
    let local =
        server.client.get(server.base.clone() + "/api/nodes").header("host", "localhost:7643");
    assert_eq!(answer(local).await.0, 200);
    server.push(path, &node_body(1)).await;
}
