//! The pod batch API.

use std::time::Duration;

use nodetally::receiver::ReceiverBounds;
use serde_json::{Value, json};

use super::{Server, answer, json_body, node_body, pod_body};

const PODS: &str = "/api/v1/metrics/pods";
const NODES: &str = "/api/v1/metrics/nodes";

pub fn pod(namespace: &str, name: &str, cores: f64) -> Value {
    json!({
        "namespace": namespace,
        "name": name,
        "uid": "a533c208-0be3-44e3-adb7-a0dae664d797",
        "status": {
            "phase": "Running",
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "", "message": "",
                "last_transition_time": "2025-02-23T09:00:00Z"
            }],
            "container_statuses": [{
                "name": "app", "ready": true, "restarts": 0,
                "state": {"running": {"started_at": "2025-02-23T09:00:00Z"}}, "last_state": {}
            }]
        },
        "spec": {"node_name": "node-1", "priority_class": "", "service_account": "default"},
        "metadata": {
            "labels": {"app": "web", "pod-template-hash": "5d"},
            "annotations": {},
            "owner_references": [{"kind": "ReplicaSet", "name": "web-5d", "uid": "r"}],
            "creation_timestamp": "2025-02-23T09:00:00Z"
        },
        "metrics": {
            "cpu": {"usage": cores, "requests": 0.1, "limits": 0.0},
            "memory": {"usage_bytes": 104857600, "requests_bytes": 0, "limits_bytes": 0},
            "network": {"rx_bytes": 700, "tx_bytes": 800},
            "filesystem": {"usage_bytes": 1, "capacity_bytes": 2}
        }
    })
}

pub fn node(name: &str) -> Value {
    json!({
        "name": name,
        "uid": "n",
        "status": {
            "conditions": [], "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "1Gi"},
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "1Gi"}
        },
        "metadata": {"labels": {"zone": "a"}, "annotations": {}, "creation_timestamp": "x"},
        "metrics": {
            "cpu": {"usage": 1.5, "capacity": 4.0, "allocatable": 3.0},
            "memory": {
                "usage_bytes": 2048, "capacity_bytes": 8192, "allocatable_bytes": 4096
            },
            "network": {"rx_bytes": 1, "tx_bytes": 2, "rx_errors": 0, "tx_errors": 0},
            "filesystem": {
                "usage_bytes": 1, "capacity_bytes": 2, "available_bytes": 1, "inodes_used": 1,
                "inodes_free": 1
            }
        }
    })
}

pub fn envelope(resources: &[Value]) -> Value {
    json!({
        "cluster_id": "c1",
        "context": {
            "name": "prod", "kubernetes_version": "v1.33.1",
            "provider": {"name": "aws", "region": "eu-central-1", "zone": "eu-central-1a"},
            "labels": {}, "node_groups": []
        },
        "collected_at": "2025-02-23T10:00:00Z",
        "resources": resources
    })
}

#[tokio::test]
async fn pods_are_counted_and_read_under_both_apis() {
    let server = Server::start().await;
    let sent = [pod("default", "web-5d-x", 0.2505), pod("other", "web-5d-y", 2.0)];
    let (status, reply) = answer(json_body(server.post(PODS), &envelope(&sent))).await;
    assert_eq!(
        (status, reply),
        (
            200,
            json!({
                "status": "success",
                "message": "Metrics received successfully",
                "metrics_count": 2
            })
        )
    );
    assert_eq!(server.get_ok(PODS).await, json!({"metrics_count": 2, "resources": sent}));
    let read = server.get_ok("/api/pods/web-5d-x").await;
    assert_eq!(
        read[0],
        json!({
            "namespace": "default",
            "pod_name": "web-5d-x",
            "node_name": "node-1",
            "timestamp": "2025-06-11T15:00:00Z",
            "cpu_millicores": 251,
            "memory_bytes": 104857600,
            "disk_io": {"read_bytes": 0, "write_bytes": 0},
            "network_io": {"bytes_sent": 800, "bytes_recv": 700},
            "pod_uid": "a533c208-0be3-44e3-adb7-a0dae664d797",
            "deployment_name": "web",
            "labels": {"app": "web", "pod-template-hash": "5d"},
            "cpu_nanocores": 250_500_000
        })
    );
    let deployment = server.get_ok("/api/namespaces/default/deployments/web").await;
    assert_eq!(deployment["cpu_millicores"], 251);
    let metrics =
        server.get_ok("/apis/metrics.k8s.io/v1beta1/namespaces/other/pods/web-5d-y").await;
    assert_eq!(
        metrics["containers"][0]["usage"],
        json!({"cpu": "2000000000n", "memory": "102400Ki"})
    );
}

#[tokio::test]
async fn nodes_are_read_under_both_apis_with_what_pods_may_use() {
    let server = Server::start().await;
    let (status, reply) = answer(json_body(server.post(NODES), &envelope(&[node("n-1")]))).await;
    assert_eq!((status, &reply["metrics_count"]), (200, &json!(1)), "{reply}");
    let latest = server.get_ok(NODES).await;
    assert_eq!(latest, json!({"metrics_count": 1, "resources": [node("n-1")]}));
    let read = server.get_ok("/api/nodes/n-1").await;
    assert_eq!((&read["cpu_millicores"], &read["memory_bytes"]), (&json!(1500), &json!(2048)));
    let objects = server.get_ok("/api/v1/nodes").await;
    assert_eq!(
        objects["items"][0]["status"],
        json!({
            "capacity": {"cpu": "4000000000n", "memory": "8Ki"},
            "allocatable": {"cpu": "3000000000n", "memory": "4Ki"}
        })
    );
}

#[tokio::test]
async fn the_latest_batch_counts_and_what_is_no_longer_sent_leaves() {
    let server = Server::start().await;
    let push = async |name: &str, cores| {
        let body = envelope(&[pod("default", name, cores)]);
        assert_eq!(answer(json_body(server.post(PODS), &body)).await.0, 200);
    };
    push("a", 1.0).await;
    push("b", 1.0).await;
    server.advance(61);
    push("b", 2.0).await;
    let latest = server.get_ok(PODS).await;
    assert_eq!(latest, json!({"metrics_count": 1, "resources": [pod("default", "b", 2.0)]}));
    assert_eq!(server.names("/api/pods", "pod_name").await, ["b"]);
}

#[tokio::test]
async fn a_bad_envelope_is_400_with_code_and_field_and_leaves_nothing() {
    let server = Server::start().await;
    let good = envelope(&[pod("default", "a", 1.0), pod("default", "b", 1.0)]);
    for key in ["cluster_id", "context", "collected_at", "resources"] {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().remove(key);
        let (status, error) = answer(json_body(server.post(PODS), &bad)).await;
        let message = format!("Missing required field: {key}");
        let expected = json!({"error": {"code": "invalid_request", "message": message}});
        assert_eq!((status, error), (400, expected));
    }
    for (pointer, value, part) in [
        ("/collected_at", json!(5), "collected_at must be a string"),
        ("/context/node_groups", json!({}), "context.node_groups must be a list"),
        ("/resources/1/metrics/network", json!(null), "resources[1].metrics.network must be an"),
        (
            "/resources/1/namespace",
            json!("a\nb"),
            "resources[1].namespace is a name with a control",
        ),
        ("/resources/1/metadata/labels", json!({"a": 1}), "resources[1].metadata.labels.a must be"),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        let (status, error) = answer(json_body(server.post(PODS), &bad)).await;
        assert_eq!(status, 400, "{pointer}");
        assert!(error["error"]["message"].as_str().unwrap().contains(part), "{part}: {error}");
    }
    for request in [
        server.post(PODS).body(good.to_string()),
        json_body(server.post(PODS), &json!([])),
        json_body(server.post(NODES), &good),
        server.post(NODES).header("content-type", "application/json").body("{"),
    ] {
        let (status, error) = answer(request).await;
        assert_eq!((status, &error["error"]["code"]), (400, &json!("invalid_request")), "{error}");
    }
    assert_eq!(server.get_ok(PODS).await["metrics_count"], 0);
    assert_eq!(server.get_ok("/api/pods").await, json!([]));
    let (status, error) = answer(server.client.put(format!("{}{PODS}", server.base))).await;
    assert_eq!((status, &error["error"]["code"]), (405, &json!("method_not_allowed")));
}

#[tokio::test]
async fn a_body_beyond_four_mebibytes_is_413() {
    let server = Server::start().await;
    let padded = |bytes: usize| {
        let mut body = envelope(&[pod("default", "a", 1.0)]).to_string();
        body.push_str(&" ".repeat(bytes - body.len()));
        server.post(PODS).header("content-type", "application/json").body(body)
    };
    assert_eq!(answer(padded(4 << 20)).await.0, 200);
    let (status, error) = answer(padded((4 << 20) + 1)).await;
    assert_eq!(status, 413);
    assert_eq!(
        error["error"],
        json!({"code": "payload_too_large", "message": "the body is larger than 4194304 bytes"})
    );
}

/// It comes again, and what was kept of it would count twice.
#[tokio::test]
async fn a_batch_without_room_for_all_of_it_counts_nothing_however_often_it_comes() {
    for full in [false, true] {
        let mut bounds = ReceiverBounds::for_interval(Duration::from_secs(15));
        match full {
            true => {
                bounds.documents_bytes_max = pod("default", "a", 1.0).to_string().len() * 3 / 2;
            }
            false => bounds.pods_max = 1,
        }
        let server = Server::start_with(bounds).await;
        let one = envelope(&[pod("default", "a", 1.0)]);
        assert_eq!(answer(json_body(server.post(PODS), &one)).await.0, 200);
        let both = envelope(&[pod("default", "a", 2.0), pod("default", "b", 1.0)]);
        for _ in 0..3 {
            let request = server.post(PODS).header("idempotency-key", "\"k\"");
            let (status, error) = answer(json_body(request, &both)).await;
            assert_eq!((status, &error["error"]["code"]), (507, &json!("insufficient_storage")));
        }
        assert_eq!(server.names("/api/pods", "pod_name").await, ["a"]);
        let series = server.get_ok("/api/pods/a?window=60").await;
        assert_eq!(series.as_array().unwrap().len(), 1, "{series}");
    }
}

#[tokio::test]
async fn what_comes_by_both_apis_counts_once() {
    let server = Server::start().await;
    let batch = envelope(&[pod("default", "web", 2.0)]);
    for _ in 0..2 {
        let own = pod_body("node-1", 1999);
        server.push("/api/namespaces/default/pods/web/metrics", &own).await;
        server.push("/api/nodes/n-1/metrics", &node_body(7)).await;
        assert_eq!(answer(json_body(server.post(PODS), &batch)).await.0, 200);
        let nodes = envelope(&[node("n-1")]);
        assert_eq!(answer(json_body(server.post(NODES), &nodes)).await.0, 200);
        server.advance(15);
    }
    let series = server.get_ok("/api/pods/web?window=60").await;
    let cpu: Vec<_> = series.as_array().unwrap().iter().map(|p| &p["cpu_millicores"]).collect();
    assert_eq!(cpu, [1999, 1999]);
    assert_eq!(server.get_ok("/api/nodes/n-1").await["cpu_millicores"], 7);
    assert_eq!(server.get_ok(PODS).await["metrics_count"], 1);
}

#[tokio::test]
async fn a_pod_that_does_not_run_is_in_the_latest_resources_alone() {
    let server = Server::start().await;
    let mut done = pod("default", "job", 0.5);
    done["status"]["phase"] = json!("Succeeded");
    let body = envelope(&[done.clone(), pod("default", "web", 1.0)]);
    assert_eq!(answer(json_body(server.post(PODS), &body)).await.0, 200);
    assert_eq!(server.get_ok(PODS).await["resources"][0], done);
    assert_eq!(server.names("/api/pods", "pod_name").await, ["web"]);
}
