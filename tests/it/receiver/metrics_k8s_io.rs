//! The read side as `metrics.k8s.io`.

use serde_json::{Value, json};

use super::{Server, answer, node_body, pod_body};

const V1BETA1: &str = "/apis/metrics.k8s.io/v1beta1";

async fn two_pods() -> Server {
    let server = Server::start().await;
    let mut node = node_body(2300);
    node["memory_bytes"] = json!(4_194_304);
    node["cpu_nanocores"] = json!(2_300_456_789_u64);
    node["window_millis"] = json!(15_012);
    node["labels"] = json!({"zone": "a"});
    server.push("/api/nodes/node-1/metrics", &node).await;
    server.push("/api/nodes/node-2/metrics", &node_body(1)).await;
    let mut web = pod_body("node-1", 300);
    web["labels"] = json!({"app": "web", "tier": "front"});
    web["window_millis"] = json!(14_990);
    web["containers"] = json!([
        {"name": "app", "cpu_nanocores": 299_000_001, "memory_bytes": 10_240},
        {"name": "proxy", "cpu_nanocores": 0, "memory_bytes": 1}
    ]);
    server.push("/api/namespaces/default/pods/web-1/metrics", &web).await;
    server.push_pod("kube-system", "dns-1", "node-2", 5).await;
    server
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn nodes_have_the_apis_form_alone_and_in_the_list() {
    let server = two_pods().await;
    let node = json!({
        "metadata": {
            "name": "node-1",
            "creationTimestamp": "2025-06-11T15:00:00Z",
            "labels": {"zone": "a"}
        },
        "timestamp": "2025-06-11T15:00:00Z",
        "window": "15.012s",
        "usage": {"cpu": "2300456789n", "memory": "4096Ki"}
    });
    let list = server.get_ok(&format!("{V1BETA1}/nodes")).await;
    assert_eq!(list["kind"], "NodeMetricsList");
    assert_eq!(list["apiVersion"], "metrics.k8s.io/v1beta1");
    assert_eq!(list["items"][0], node);
    assert_eq!(list["items"][1]["usage"], json!({"cpu": "1000000n", "memory": "4123456789"}));
    assert_eq!(list["items"][1]["window"], "15s", "the interval, where the push says nothing");
    let mut alone = node;
    alone["kind"] = json!("NodeMetrics");
    alone["apiVersion"] = json!("metrics.k8s.io/v1beta1");
    assert_eq!(server.get_ok(&format!("{V1BETA1}/nodes/node-1")).await, alone);
}

#[tokio::test]
async fn pods_have_their_containers_or_appear_as_one() {
    let server = two_pods().await;
    let web = server.get_ok(&format!("{V1BETA1}/namespaces/default/pods/web-1")).await;
    assert_eq!(
        web,
        json!({
            "kind": "PodMetrics",
            "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": {
                "name": "web-1",
                "namespace": "default",
                "creationTimestamp": "2025-06-11T15:00:00Z",
                "labels": {"app": "web", "tier": "front"}
            },
            "timestamp": "2025-06-11T15:00:00Z",
            "window": "14.99s",
            "containers": [
                {"name": "app", "usage": {"cpu": "299000001n", "memory": "10Ki"}},
                {"name": "proxy", "usage": {"cpu": "0", "memory": "1"}}
            ]
        })
    );
    let all = server.get_ok(&format!("{V1BETA1}/pods")).await;
    assert_eq!(all["kind"], "PodMetricsList");
    assert_eq!(names(&all), ["web-1", "dns-1"]);
    assert_eq!(
        all["items"][1]["containers"],
        json!([{"name": "dns-1", "usage": {"cpu": "5000000n", "memory": "524288Ki"}}])
    );
    let one = server.get_ok(&format!("{V1BETA1}/namespaces/kube-system/pods")).await;
    assert_eq!(names(&one), ["dns-1"]);
    let none = server.get_ok(&format!("{V1BETA1}/namespaces/nowhere/pods?limit=1")).await;
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn selectors_choose_by_label_and_name() {
    let server = two_pods().await;
    for (query, expected) in [
        ("labelSelector=app%3Dweb", vec!["web-1"]),
        ("labelSelector=app%3Dweb,tier!%3Dfront", vec![]),
        ("labelSelector=app+in+(web,db),!zone", vec!["web-1"]),
        ("labelSelector=!app", vec!["dns-1"]),
        ("labelSelector=", vec!["web-1", "dns-1"]),
        ("fieldSelector=metadata.name%3Ddns-1", vec!["dns-1"]),
        ("fieldSelector=metadata.namespace!%3Ddefault", vec!["dns-1"]),
        ("fieldSelector=metadata.namespace%3D%3Ddefault,metadata.name!%3Dx", vec!["web-1"]),
    ] {
        let list = server.get_ok(&format!("{V1BETA1}/pods?{query}")).await;
        assert_eq!(names(&list), expected, "{query}");
    }
    let nodes = server.get_ok(&format!("{V1BETA1}/nodes?labelSelector=zone%3Da")).await;
    assert_eq!(names(&nodes), ["node-1"]);
}

#[tokio::test]
async fn every_failure_is_a_status_object() {
    let server = two_pods().await;
    for (path, code, reason, part) in [
        ("/nodes/none", 404, "NotFound", "nodes.metrics.k8s.io \"none\" not found"),
        ("/namespaces/default/pods/dns-1", 404, "NotFound", "pods.metrics.k8s.io \"dns-1\""),
        ("/nothing", 404, "NotFound", "no such path"),
        ("/nodes/%FF", 400, "BadRequest", "UTF-8"),
        ("/pods?labelSelector=a%20b", 400, "BadRequest", "labelSelector cannot be read"),
        ("/pods?fieldSelector=spec.nodeName%3Dn", 400, "BadRequest", "metadata.name"),
        ("/pods?labelSelector=a&labelSelector=b", 400, "BadRequest", "labelSelector"),
        ("/pods?watch=true", 405, "MethodNotAllowed", "watch"),
        ("/pods?limit=ten", 400, "BadRequest", "limit is not a whole number"),
        ("/pods?limit=-1", 400, "BadRequest", "limit is not a whole number"),
        ("/pods?continue=x", 400, "BadRequest", "continue cannot be read: it is not a token"),
    ] {
        let (status, error) = server.get(&format!("{V1BETA1}{path}")).await;
        assert_eq!(status, code, "{path}");
        assert_eq!(
            (&error["kind"], &error["apiVersion"], &error["status"]),
            (&json!("Status"), &json!("v1"), &json!("Failure"))
        );
        assert_eq!((&error["reason"], &error["code"]), (&json!(reason), &json!(code)), "{path}");
        assert!(error["message"].as_str().unwrap().contains(part), "{path}: {error}");
    }
    let details = &server.get(&format!("{V1BETA1}/nodes/none")).await.1["details"];
    assert_eq!(details, &json!({"name": "none", "group": "metrics.k8s.io", "kind": "nodes"}));
    let (status, error) = answer(server.post(&format!("{V1BETA1}/nodes"))).await;
    assert_eq!((status, &error["reason"]), (405, &json!("MethodNotAllowed")));
}

#[tokio::test]
async fn silent_pods_and_nodes_are_in_no_list() {
    let server = two_pods().await;
    server.advance(61);
    for path in ["/nodes", "/pods"] {
        let list = server.get_ok(&format!("{V1BETA1}{path}")).await;
        assert_eq!(list["items"], json!([]), "{path}");
    }
    assert_eq!(server.get(&format!("{V1BETA1}/nodes/node-1")).await.0, 404);
}

#[tokio::test]
async fn a_client_finds_out_what_there_is() {
    let server = two_pods().await;
    assert_eq!(server.get_ok("/api").await["versions"], json!(["v1"]));
    let groups = server.get_ok("/apis").await;
    assert_eq!(groups["kind"], "APIGroupList");
    assert_eq!(groups["groups"][0]["name"], "metrics.k8s.io");
    let group = server.get_ok("/apis/metrics.k8s.io").await;
    assert_eq!((&group["kind"], &group["name"]), (&json!("APIGroup"), &json!("metrics.k8s.io")));
    assert_eq!(group["versions"][0]["groupVersion"], "metrics.k8s.io/v1beta1");
    let resources = server.get_ok(V1BETA1).await;
    assert_eq!(resources["groupVersion"], "metrics.k8s.io/v1beta1");
    assert_eq!(resources["resources"][1]["kind"], "PodMetrics");
    assert_eq!(server.get_ok("/api/v1").await["kind"], "APIResourceList");
    let nodes = server.get_ok("/api/v1/nodes").await;
    assert_eq!((&nodes["kind"], names(&nodes)), (&json!("NodeList"), vec!["node-1", "node-2"]));
    assert_eq!(names(&server.get_ok("/api/v1/pods").await), ["web-1", "dns-1"]);
    let node = server.get_ok("/api/v1/nodes/node-1").await;
    assert_eq!((&node["kind"], &node["metadata"]["name"]), (&json!("Node"), &json!("node-1")));
    let pod = server.get_ok("/api/v1/namespaces/default/pods/web-1").await;
    assert_eq!((&pod["kind"], &pod["status"]["phase"]), (&json!("Pod"), &json!("Running")));
    let (status, error) = server.get("/api/v1/nodes/none").await;
    assert_eq!((status, &error["message"]), (404, &json!("nodes \"none\" not found")));
    let pods = server.get_ok("/api/v1/namespaces/default/pods").await;
    assert_eq!(pods["items"][0]["spec"]["nodeName"], "node-1");
}
