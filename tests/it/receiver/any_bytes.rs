//! Whatever is posted, the receiver answers, and never with a failure of its own.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::{Server, node_body, pod_body};
use crate::support::rounds::rounds;

const POSTS: [&str; 6] = [
    "/api/nodes/n/metrics",
    "/api/namespaces/d/pods/p/metrics",
    "/api/v1/metrics/pods",
    "/api/v1/metrics/nodes",
    "/pod/spec",
    "/pod/mark_dead",
];

/// The keys of all dialects, so that a body gets past the first check.
const KEYS: [&str; 24] = [
    "cpu_millicores",
    "memory_bytes",
    "disk_io",
    "network_io",
    "node_name",
    "labels",
    "containers",
    "cluster_id",
    "context",
    "collected_at",
    "resources",
    "name",
    "namespace",
    "uid",
    "status",
    "spec",
    "metadata",
    "metrics",
    "pod_name",
    "pod_ip",
    "time_stamp",
    "is_dead",
    "pod_obj",
    "workload_selector_labels",
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "\\PC{0,20}".prop_map(Value::from),
        Just(json!("2025-02-23T10:00:00Z")),
        Just(json!("2026-05-12T10:32:14.123456")),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        let key =
            prop_oneof![proptest::sample::select(&KEYS[..]).prop_map(str::to_owned), "\\PC{0,8}",];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(key, inner, 0..10)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

/// Any bytes; any JSON; a good post in which one value is any JSON.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let mut batch = node_body(1);
    batch["pod_name"] = json!("p");
    let good = [pod_body("n", 1), node_body(1), batch];
    let changed =
        (proptest::sample::select(good.to_vec()), any_json(), any::<prop::sample::Index>())
            .prop_map(|(mut body, value, at)| {
                if let Some(object) = body.as_object_mut() {
                    let at = at.index(KEYS.len());
                    object.insert(KEYS[at].to_owned(), value);
                }
                body
            });
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        any_json().prop_map(|value| value.to_string().into_bytes()),
        changed.prop_map(|value| value.to_string().into_bytes()),
    ]
}

#[tokio::test]
async fn no_body_of_any_post_is_answered_with_a_failure_of_the_servers() {
    let server = Server::start().await;
    let mut runner = TestRunner::default();
    let bodies = any_body();
    let deep = ["[".repeat(60_000).into_bytes(), "{\"a\":".repeat(10_000).into_bytes()];
    let generated = (0..rounds(50)).map(|_| bodies.new_tree(&mut runner).unwrap().current());
    for (round, body) in deep.into_iter().chain(generated).enumerate() {
        for path in POSTS {
            let request = server.post(path).header("content-type", "application/json");
            let response = request.body(body.clone()).send().await.unwrap();
            let status = response.status().as_u16();
            let shown = String::from_utf8_lossy(&body);
            assert!(status < 500, "round {round}, {path} answered {status} to {shown}");
            response.bytes().await.unwrap();
        }
    }
    for path in [
        "/api/pods",
        "/api/nodes",
        "/api/v1/metrics/pods",
        "/pod/info",
        "/apis",
        "/api/deployments",
        "/apis/metrics.k8s.io/v1beta1/pods",
    ] {
        server.get_ok(path).await;
    }
}
