//! The pod specification and life-cycle API.

use std::time::Duration;

use nodetally::receiver::ReceiverBounds;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{Server, answer, json_body};

pub fn spec(name: &str, ip: &str) -> Value {
    json!({
        "pod_name": name,
        "pod_namespace": "production",
        "pod_ip": ip,
        "node_name": "worker-1",
        "is_dead": false,
        "pod_identity": "my-app",
        "workload_selector_labels": {"app.kubernetes.io/name": "my-app"},
        "pod_obj": {"spec": {"nodeName": "worker-1"}},
        "time_stamp": "2026-05-12T10:32:14.123456"
    })
}

async fn post(server: &Server, body: &Value) -> Value {
    let (status, row) = answer(json_body(server.post("/pod/spec"), body)).await;
    assert_eq!(status, 200, "{row}");
    row
}

async fn mark_dead(server: &Server, body: &Value) -> Value {
    let (status, changed) = answer(json_body(server.post("/pod/mark_dead"), body)).await;
    assert_eq!(status, 200, "{changed}");
    changed
}

async fn plain(request: RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn names(server: &Server, path: &str) -> Vec<String> {
    server.names(path, "pod_name").await
}

#[tokio::test]
async fn a_row_is_answered_as_it_is_stored() {
    let server = Server::start().await;
    let row = post(&server, &spec("web-1", "10.244.1.5")).await;
    assert_eq!(row, spec("web-1", "10.244.1.5"));
    for path in ["/pod/name/web-1", "/pod/ip/10.244.1.5"] {
        assert_eq!(server.get_ok(path).await, row, "{path}");
    }
    for path in ["/pod/info", "/pod/list/worker-1"] {
        assert_eq!(server.get_ok(path).await, json!([row]), "{path}");
    }
    assert_eq!(server.get_ok("/pod/list/worker-2").await, json!([]));
}

#[tokio::test]
async fn only_five_keys_are_required_and_the_rest_is_null() {
    let server = Server::start().await;
    let five = json!({
        "pod_name": "bare", "pod_ip": "10.0.0.9", "node_name": "n", "is_dead": false,
        "time_stamp": "2026-05-12T10:32:14"
    });
    let row = post(&server, &five).await;
    for key in ["pod_namespace", "pod_obj", "pod_identity", "workload_selector_labels"] {
        assert_eq!(row.get(key), Some(&Value::Null), "{key}");
    }
    for key in ["pod_name", "pod_ip", "node_name", "is_dead", "time_stamp"] {
        let mut bad = five.clone();
        bad.as_object_mut().unwrap().remove(key);
        let (status, text) = plain(json_body(server.post("/pod/spec"), &bad)).await;
        assert_eq!((status, text), (400, format!("Missing required field: {key}")));
    }
}

#[tokio::test]
async fn a_time_stamp_with_a_zone_is_400() {
    let server = Server::start().await;
    for stamp in ["2026-05-12T10:32:14.123456Z", "2026-05-12T10:32:14+00:00", "soon"] {
        let mut body = spec("web-1", "10.0.0.1");
        body["time_stamp"] = json!(stamp);
        let (status, text) = plain(json_body(server.post("/pod/spec"), &body)).await;
        assert_eq!(status, 400);
        assert!(text.contains("time_stamp must be a date-time without a zone"), "{text}");
    }
    assert_eq!(server.get_ok("/pod/info").await, json!([]));
}

#[tokio::test]
async fn a_blank_name_is_answered_and_not_stored() {
    let server = Server::start().await;
    for name in ["", "  \t"] {
        post(&server, &spec(name, "10.0.0.1")).await;
        assert_eq!(mark_dead(&server, &json!({"pod_name": name})).await, json!(0));
    }
    assert_eq!(server.get_ok("/pod/info").await, json!([]));
}

#[tokio::test]
async fn a_post_replaces_the_row_of_its_name_and_null_clears_nothing() {
    let server = Server::start().await;
    post(&server, &spec("web-1", "10.0.0.1")).await;
    let again = json!({
        "pod_name": "web-1", "pod_ip": "10.0.0.2", "node_name": "worker-2", "is_dead": false,
        "time_stamp": "2026-05-12T11:00:00", "pod_namespace": null, "pod_obj": null,
        "pod_identity": null
    });
    let row = post(&server, &again).await;
    let mut expected = spec("web-1", "10.0.0.2");
    expected["node_name"] = json!("worker-2");
    expected["time_stamp"] = json!("2026-05-12T11:00:00");
    assert_eq!(row, expected);
    assert_eq!(server.get_ok("/pod/info").await, json!([expected]));

    // The key is the name alone: another namespace's pod of the same name takes the row.
    let mut other = spec("web-1", "10.0.0.3");
    other["pod_namespace"] = json!("staging");
    post(&server, &other).await;
    assert_eq!(server.get_ok("/pod/info").await, json!([other]));
}

#[tokio::test]
async fn marking_dead_counts_rows_and_honours_the_address() {
    let server = Server::start().await;
    post(&server, &spec("web-1", "10.0.0.1")).await;
    let stale = json!({"pod_name": "web-1", "pod_ip": "10.0.0.9"});
    assert_eq!(mark_dead(&server, &stale).await, json!(0));
    assert_eq!(names(&server, "/pod/list/worker-1").await, ["web-1"]);
    let precise = json!({"pod_name": "web-1", "pod_ip": "10.0.0.1"});
    assert_eq!(mark_dead(&server, &precise).await, json!(1));
    assert_eq!(server.get_ok("/pod/list/worker-1").await, json!([]));
    assert_eq!(server.get_ok("/pod/name/web-1").await["is_dead"], true, "the row itself stays");
    assert_eq!(mark_dead(&server, &json!({"pod_name": "none"})).await, json!(0));
    post(&server, &spec("web-2", "10.0.0.2")).await;
    let by_name = json!({"pod_name": "web-2", "pod_ip": null});
    assert_eq!(mark_dead(&server, &by_name).await, json!(1));
    for body in [json!({"pod_ip": "10.0.0.1"}), json!({"pod_name": 5}), json!("web-1")] {
        let (status, _) = plain(json_body(server.post("/pod/mark_dead"), &body)).await;
        assert_eq!(status, 400, "{body}");
    }
}

#[tokio::test]
async fn an_address_that_was_used_again_is_the_live_pods() {
    let server = Server::start().await;
    post(&server, &spec("old", "10.0.0.1")).await;
    mark_dead(&server, &json!({"pod_name": "old"})).await;
    server.advance(1);
    post(&server, &spec("new", "10.0.0.1")).await;
    server.advance(1);
    post(&server, &{
        let mut dead = spec("zombie", "10.0.0.1");
        dead["is_dead"] = json!(true);
        dead
    })
    .await;
    assert_eq!(server.get_ok("/pod/ip/10.0.0.1").await["pod_name"], "new");
}

#[tokio::test]
async fn what_is_not_there_is_404_in_plain_text() {
    let server = Server::start().await;
    for path in ["/pod/name/none", "/pod/ip/10.0.0.1"] {
        let answered = plain(server.client.get(format!("{}{path}", server.base))).await;
        assert_eq!(answered, (404, "No data found".to_owned()), "{path}");
    }
    let (status, text) = plain(server.client.get(format!("{}/pod/nothing", server.base))).await;
    assert_eq!(status, 404);
    assert!(text.starts_with("no such path: /pod/nothing"), "{text}");
}

#[tokio::test]
async fn lists_are_ordered_by_namespace_then_name() {
    let server = Server::start().await;
    for (namespace, name) in
        [(json!("b"), "b-1"), (json!(null), "none"), (json!("b"), "a-1"), (json!("a"), "z-1")]
    {
        let mut body = spec(name, "10.0.0.1");
        body["pod_namespace"] = namespace;
        post(&server, &body).await;
    }
    for path in ["/pod/info", "/pod/list/worker-1"] {
        assert_eq!(names(&server, path).await, ["z-1", "a-1", "b-1", "none"], "{path}");
    }
}

#[tokio::test]
async fn a_body_beyond_two_mebibytes_is_413() {
    let server = Server::start().await;
    let sized = |bytes: usize| {
        let mut body = spec("big", "10.0.0.1");
        body["pod_obj"] = json!("");
        let rest = bytes - body.to_string().len();
        body["pod_obj"] = json!("x".repeat(rest));
        body
    };
    let row = post(&server, &sized(2 << 20)).await;
    assert_eq!(row["pod_obj"], sized(2 << 20)["pod_obj"]);
    let (status, text) = plain(json_body(server.post("/pod/spec"), &sized((2 << 20) + 1))).await;
    assert_eq!((status, text), (413, "the body is larger than 2097152 bytes".to_owned()));
}

#[tokio::test]
async fn rows_are_bounded_and_dead_ones_go_first() {
    let mut bounds = ReceiverBounds::for_interval(Duration::from_secs(15));
    bounds.pods_max = 2;
    let server = Server::start_with(bounds).await;
    post(&server, &spec("a", "10.0.0.1")).await;
    server.advance(1);
    post(&server, &spec("b", "10.0.0.2")).await;
    let (status, text) = plain(json_body(server.post("/pod/spec"), &spec("c", "10.0.0.3"))).await;
    assert_eq!(status, 507);
    assert!(text.contains("at most 2 rows"), "{text}");
    mark_dead(&server, &json!({"pod_name": "b"})).await;
    post(&server, &spec("c", "10.0.0.3")).await;
    assert_eq!(names(&server, "/pod/info").await, ["a", "c"]);
}
