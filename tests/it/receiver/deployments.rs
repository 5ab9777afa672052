//! Keys of a post beyond the API's own, and the deployments named by them.

use serde_json::{Value, json};

use super::{Server, answer, json_body, node_body, pod_body};

fn pod_of(deployment: &str, node: &str, cpu: u64) -> Value {
    let mut body = pod_body(node, cpu);
    body["deployment_name"] = json!(deployment);
    body
}

fn path(namespace: &str, pod: &str) -> String {
    format!("/api/namespaces/{namespace}/pods/{pod}/metrics")
}

#[tokio::test]
async fn every_extra_comes_back_in_the_latest_answers_and_in_no_series() {
    let server = Server::start().await;
    let extras = json!({
        "pod_uid": "a533c208-0be3-44e3-adb7-a0dae664d797",
        "qos_class": "Burstable",
        "deployment_name": "web",
        "workload_kind": "Deployment",
        "workload_name": "web",
        "labels": {"app": "web", "example.com/empty": ""},
        "window_millis": 15012,
        "cpu_nanocores": 300_123_456_u64,
        "containers": [{"name": "app", "cpu_nanocores": 299_000_000_u64, "memory_bytes": 4096}]
    });
    let mut body = pod_body("node-1", 300);
    body.as_object_mut().unwrap().extend(extras.as_object().unwrap().clone());
    server.push(&path("default", "web-1"), &body).await;
    for from in [
        "/api/pods",
        "/api/pods/web-1",
        "/api/namespaces/default/pods",
        "/api/nodes/node-1/pods",
        "/api/namespaces/default/deployments/web/pods",
    ] {
        let pod = &server.get_ok(from).await[0];
        for (key, value) in extras.as_object().unwrap() {
            assert_eq!(&pod[key], value, "{key} of {from}");
        }
    }
    let series = server.get_ok("/api/pods/web-1?window=60").await;
    for key in extras.as_object().unwrap().keys() {
        assert_eq!(series[0].get(key), None, "{key}");
    }

    let mut node = node_body(1);
    node["window_millis"] = json!(15000);
    node["cpu_nanocores"] = json!(1_000_001);
    node["labels"] = json!({"zone": "a"});
    server.push("/api/nodes/node-1/metrics", &node).await;
    let shown = server.get_ok("/api/nodes/node-1").await;
    for key in ["window_millis", "cpu_nanocores", "labels"] {
        assert_eq!(shown[key], node[key], "{key}");
        assert_eq!(server.get_ok("/api/nodes/node-1?window=60").await[0].get(key), None);
    }

    server.push_pod("default", "web-1", "node-1", 1).await;
    let pod = &server.get_ok("/api/pods/web-1").await[0];
    assert_eq!(pod.get("labels"), None, "the latest post counts, whole");
}

#[tokio::test]
async fn an_extra_of_another_type_or_size_is_400_and_named() {
    let server = Server::start().await;
    let long = "x".repeat(254);
    for (key, value, part) in [
        ("pod_uid", json!(null), "pod_uid must be a string of at most 64 characters, not null"),
        ("qos_class", json!(7), "qos_class must be a string of at most 64 characters, not 7"),
        ("deployment_name", json!(["x"]), "deployment_name must be a string"),
        ("deployment_name", json!(""), "deployment_name is an empty name"),
        ("workload_kind", json!(long), "workload_kind must be a string of at most 253 characters"),
        ("workload_name", json!({}), "workload_name must be a string"),
        ("labels", json!([]), "labels must be an object, not []"),
        ("labels", json!({"app": 1}), "labels.app must be a string, not 1"),
        ("window_millis", json!("15"), "window_millis must be an integer"),
        ("cpu_nanocores", json!(-1), "cpu_nanocores must be an integer"),
        ("containers", json!({}), "containers must be a list of at most 128 objects, not {}"),
        ("containers", json!(["app"]), "containers[0] must be an object, not \"app\""),
        (
            "containers",
            json!([{"name": "app"}]),
            "Missing required field: \
          containers[0].cpu_nanocores",
        ),
        (
            "containers",
            json!([{"name": 1, "cpu_nanocores": 1, "memory_bytes": 1}]),
            "containers[0].name must be a string",
        ),
        ("containers", json!(vec![json!({}); 129]), "containers must be a list of at most 128"),
    ] {
        let mut body = pod_body("n", 1);
        body[key] = value;
        let request = json_body(server.post(&path("default", "p")), &body);
        let (status, error) = answer(request).await;
        let text = error["error"].as_str().unwrap();
        assert_eq!(status, 400, "{text}");
        assert!(text.contains(part), "{part}: {text}");
    }
    let mut node = node_body(1);
    node["labels"] = json!("zone");
    let (status, error) = answer(json_body(server.post("/api/nodes/n/metrics"), &node)).await;
    assert_eq!((status, &error["error"]), (400, &json!("labels must be an object, not \"zone\"")));
    assert_eq!(server.get_ok("/api/pods").await, json!([]));
    assert_eq!(server.get_ok("/api/nodes").await, json!([]));
}

#[tokio::test]
async fn a_deployment_is_the_sum_of_its_pods_in_the_documents_shape() {
    let server = Server::start().await;
    server.push(&path("default", "web-1"), &pod_of("web", "node-1", 300)).await;
    server.push(&path("default", "web-2"), &pod_of("web", "node-2", 301)).await;
    server.push(&path("default", "db-1"), &pod_of("db", "node-2", 5)).await;
    server.push(&path("other", "web-1"), &pod_of("web", "node-1", 7)).await;
    server.push_pod("default", "alone", "node-1", 1000).await;
    let web = json!({
        "namespace": "default",
        "deployment_name": "web",
        "timestamp": "2025-06-11T15:00:00Z",
        "cpu_millicores": 601,
        "memory_bytes": 1073741824,
        "disk_io": {"read_bytes": 4096000, "write_bytes": 2048000},
        "network_io": {"bytes_sent": 246912, "bytes_recv": 1308642}
    });
    let all = server.get_ok("/api/namespaces/default/deployments").await;
    assert_eq!(all[1], web);
    let names = server.names("/api/namespaces/default/deployments", "deployment_name").await;
    assert_eq!(names, ["db", "web"]);
    assert_eq!(server.get_ok("/api/namespaces/default/deployments/web").await, web);
    let everywhere = server.get_ok("/api/deployments/web").await;
    assert_eq!((&everywhere[0], &everywhere[1]["cpu_millicores"]), (&web, &json!(7)));
    assert_eq!(server.get_ok("/api/deployments/web?namespace=default").await, json!([web]));
    assert_eq!(server.names("/api/deployments", "deployment_name").await, ["db", "web", "web"]);
    let pods = server.get_ok("/api/namespaces/default/deployments/web/pods").await;
    assert_eq!(
        pods[0],
        json!({
            "namespace": "default",
            "deployment_name": "web",
            "pod_name": "web-1",
            "node_name": "node-1",
            "timestamp": "2025-06-11T15:00:00Z",
            "cpu_millicores": 300,
            "memory_bytes": 536870912,
            "disk_io": {"read_bytes": 2048000, "write_bytes": 1024000},
            "network_io": {"bytes_sent": 123456, "bytes_recv": 654321}
        })
    );
    assert_eq!(pods.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_deployments_series_is_summed_by_interval_under_every_spelling() {
    let server = Server::start().await;
    for cpu in [100, 200] {
        server.push(&path("default", "web-1"), &pod_of("web", "node-1", cpu)).await;
        server.advance(7);
        server.push(&path("default", "web-2"), &pod_of("web", "node-2", cpu + 1)).await;
        server.push(&path("other", "web-3"), &pod_of("else", "node-2", 9)).await;
        server.advance(8);
    }
    let point = |at: &str, cpu: u64| {
        json!({
            "namespace": "default",
            "deployment_name": "web",
            "timestamp": at,
            "cpu_millicores": cpu,
            "memory_bytes": 1073741824,
            "disk_io": {"read_bytes": 4096000, "write_bytes": 2048000},
            "network_io": {"bytes_sent": 246912, "bytes_recv": 1308642}
        })
    };
    let series = json!([point("2025-06-11T15:00:07Z", 201), point("2025-06-11T15:00:22Z", 401)]);
    for path in [
        "/api/namespaces/default/deployments/web?window=60",
        "/api/namespaces/default/deployments/web/timeseries?window=60",
        "/api/deployments/web?window=60",
        "/api/deployments/web?window=60&namespace=default",
        "/api/deployments/web/timeseries?window=60&namespace=default",
        "/api/namespaces/web?window=60",
    ] {
        assert_eq!(server.get_ok(path).await, series, "{path}");
    }
}

#[tokio::test]
async fn a_deployment_without_live_pods_leaves_the_lists_and_keeps_its_past() {
    let server = Server::start().await;
    server.push(&path("default", "web-1"), &pod_of("web", "node-1", 100)).await;
    server.advance(61);
    server.push_pod("default", "alone", "node-1", 1).await;
    assert_eq!(server.get_ok("/api/namespaces/default/deployments").await, json!([]));
    for path in [
        "/api/namespaces/default/deployments/web",
        "/api/namespaces/default/deployments/web/pods",
        "/api/deployments/web",
        "/api/namespaces/other/deployments/web?window=60",
        "/api/deployments/none?window=60",
    ] {
        let (status, error) = server.get(path).await;
        assert_eq!(status, 404, "{path}");
        assert!(error["error"].as_str().unwrap().starts_with("deployment "), "{error}");
    }
    let past = server.get_ok("/api/namespaces/default/deployments/web?window=600").await;
    assert_eq!(past[0]["cpu_millicores"], 100);
}

#[tokio::test]
async fn labels_beyond_the_limits_are_left_out_and_cost_no_figures() {
    let server = Server::start().await;
    let shown = async |labels: Value| {
        let mut body = pod_body("n", 1);
        body["labels"] = labels;
        server.push(&path("default", "p"), &body).await;
        server.get_ok("/api/pods/p").await[0]["labels"].clone()
    };
    let long = json!({"a": "x".repeat(317), "b": "x".repeat(318), "c": "y"});
    assert_eq!(shown(long).await, json!({"a": "x".repeat(317), "c": "y"}));
    let many: serde_json::Map<_, _> = (0..200).map(|n| (n.to_string(), json!(""))).collect();
    assert_eq!(shown(json!(many)).await.as_object().unwrap().len(), 128);
    let heavy: serde_json::Map<_, _> =
        (100..200).map(|n| (n.to_string(), json!("x".repeat(253)))).collect();
    assert_eq!(shown(json!(heavy)).await.as_object().unwrap().len(), 32, "32 times 256 bytes");
    assert_eq!(shown(json!({})).await, json!({}), "none is not unknown");
}
