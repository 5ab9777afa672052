//! Lists of the Kubernetes APIs in parts: `limit` and `continue`.

use serde_json::{Value, json};

use super::Server;

const V1BETA1: &str = "/apis/metrics.k8s.io/v1beta1";

const PODS: [(&str, &str); 5] =
    [("a", "web-1"), ("a", "web-2"), ("b", "dns-1"), ("b", "web-1"), ("c", "web-1")];

async fn five_pods_of_two_nodes() -> Server {
    let server = Server::start().await;
    for node in ["node-1", "node-2"] {
        server.push(&format!("/api/nodes/{node}/metrics"), &super::node_body(1)).await;
    }
    for (namespace, name) in PODS {
        let mut body = super::pod_body("node-1", 5);
        body["labels"] = json!({"app": name.split('-').next().unwrap()});
        server.push(&format!("/api/namespaces/{namespace}/pods/{name}/metrics"), &body).await;
    }
    server
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            let metadata = &item["metadata"];
            let namespace = metadata["namespace"].as_str().unwrap_or_default();
            format!("{namespace}/{}", metadata["name"].as_str().unwrap())
        })
        .collect()
}

fn token(list: &Value) -> Option<&str> {
    list["metadata"].get("continue").map(|token| token.as_str().unwrap())
}

/// The parts of a list, each at most `limit` long.
async fn parts(server: &Server, path: &str, query: &str, limit: usize) -> Vec<Vec<String>> {
    let mut parts = Vec::new();
    let mut next = String::new();
    loop {
        let list = server.get_ok(&format!("{path}?limit={limit}{query}{next}")).await;
        let part = names(&list);
        assert!(part.len() <= limit, "{part:?}");
        parts.push(part);
        match token(&list) {
            Some(token) => next = format!("&continue={token}"),
            None => return parts,
        }
        assert!(parts.len() < 20, "it ends: {parts:?}");
    }
}

#[tokio::test]
async fn the_parts_of_a_list_are_the_list() {
    let server = five_pods_of_two_nodes().await;
    for path in [
        &*format!("{V1BETA1}/pods"),
        "/api/v1/pods",
        &format!("{V1BETA1}/nodes"),
        "/api/v1/nodes",
        &format!("{V1BETA1}/namespaces/a/pods"),
        "/api/v1/namespaces/b/pods",
    ] {
        let whole = names(&server.get_ok(path).await);
        assert!(whole.len() >= 2, "{path}");
        for limit in 1..=whole.len() + 1 {
            let parts = parts(&server, path, "", limit).await;
            // The last part says that it is the last: none is empty.
            assert_eq!(parts.len(), whole.len().div_ceil(limit), "{path} {limit}: {parts:?}");
            assert_eq!(parts.concat(), whole, "{path} {limit}");
        }
        for all in ["limit=0", "limit=", "limit=9223372036854775807", "continue="] {
            let list = server.get_ok(&format!("{path}?{all}")).await;
            assert_eq!((names(&list), token(&list)), (whole.clone(), None), "{path} {all}");
        }
    }
}

/// Rows that do not fit the selector are not counted, also where the last that fits is followed by others.
#[tokio::test]
async fn a_selector_counts_before_the_limit() {
    let server = five_pods_of_two_nodes().await;
    let path = format!("{V1BETA1}/pods");
    for (query, expected) in [
        (
            "&labelSelector=app%3Dweb",
            [&["a/web-1", "a/web-2"][..], &["b/web-1", "c/web-1"]].to_vec(),
        ),
        ("&labelSelector=app%3Ddns", vec![&["b/dns-1"][..]]),
        ("&fieldSelector=metadata.name%3Dweb-1", vec![&["a/web-1", "b/web-1"], &["c/web-1"]]),
        ("&labelSelector=app%3Dnone", vec![&[]]),
    ] {
        assert_eq!(parts(&server, &path, query, 2).await, expected, "{query}");
    }
}

/// More rows than are read from the store at a time, of which few fit.
#[tokio::test]
async fn a_long_list_is_searched_to_its_end() {
    let server = Server::start().await;
    let resources: Vec<Value> = (0..1200)
        .map(|at| {
            let mut pod = super::pod_batch::pod("default", &format!("pod-{at:04}"), 0.1);
            pod["metadata"]["labels"] = json!({"tenth": (at % 100 == 7).to_string()});
            pod
        })
        .collect();
    let batch = super::pod_batch::envelope(&resources);
    let post = super::json_body(server.post("/api/v1/metrics/pods"), &batch);
    assert_eq!(super::answer(post).await.0, 200);
    let path = format!("{V1BETA1}/pods");
    let found = parts(&server, &path, "&labelSelector=tenth%3Dtrue", 5).await;
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [5, 5, 2]);
    assert_eq!(found[2][1], "default/pod-1107");
    let found = parts(&server, &path, "", 500).await;
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [500, 500, 200]);
}

#[tokio::test]
async fn the_rest_begins_behind_a_place_whether_or_not_it_is_still_there() {
    let server = five_pods_of_two_nodes().await;
    let path = format!("{V1BETA1}/pods");
    let first = server.get_ok(&format!("{path}?limit=3")).await;
    assert_eq!(names(&first), ["a/web-1", "a/web-2", "b/dns-1"]);
    let rest = format!("{path}?continue={}", token(&first).unwrap());
    // All but one go silent, and one comes in before the place.
    server.advance(50);
    server.push_pod("a", "new", "node-1", 1).await;
    server.push_pod("c", "web-1", "node-1", 1).await;
    server.advance(20);
    assert_eq!(names(&server.get_ok(&rest).await), ["c/web-1"]);
}

#[tokio::test]
async fn a_token_that_is_damaged_or_of_another_list_is_refused() {
    let server = five_pods_of_two_nodes().await;
    let first = server.get_ok(&format!("{V1BETA1}/pods?limit=1")).await;
    let good = token(&first).unwrap();
    for (path, token, part) in [
        ("/api/v1/pods".to_owned(), good.to_owned(), "another list"),
        (format!("{V1BETA1}/namespaces/a/pods"), good.to_owned(), "another list"),
        (format!("{V1BETA1}/nodes"), good.to_owned(), "another list"),
        (format!("{V1BETA1}/pods"), good.get(1..).unwrap().to_owned(), "not a token"),
        (format!("{V1BETA1}/pods"), "%00".to_owned(), "not a token"),
        (format!("{V1BETA1}/pods"), "A".repeat(9000), "longer than"),
    ] {
        let (status, error) = server.get(&format!("{path}?continue={token}")).await;
        assert_eq!((status, &error["kind"]), (400, &json!("Status")), "{path}");
        assert_eq!(error["reason"], "BadRequest");
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with("continue cannot be read"), "{message}");
        assert!(message.contains(part), "{message}");
    }
}
