//! Posts that come again: `Idempotency-Key`.

use std::time::Duration;

use nodetally::receiver::ReceiverBounds;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use reqwest::Response;
use serde_json::{Value, json};

use super::pod_batch::{envelope, node, pod};
use super::pod_lifecycle::spec;
use super::{Server, answer, json_body, node_body, pod_body};
use crate::support::rounds::rounds;

const NODE: &str = "/api/nodes/n/metrics";

/// Of a post with a key: its status, whether it is said to be a repeat, and what it is answered.
async fn post(server: &Server, path: &str, key: &str, body: &Value) -> (u16, bool, String) {
    let request = json_body(server.post(path), body).header("idempotency-key", key);
    told(request.send().await.unwrap()).await
}

async fn told(response: Response) -> (u16, bool, String) {
    let status = response.status().as_u16();
    let replayed = response.headers().get("idempotency-replayed").is_some_and(|it| it == "true");
    (status, replayed, response.text().await.unwrap())
}

/// A post of each route, and what its first is answered with.
fn posts() -> [(&'static str, Value, u16); 6] {
    [
        (NODE, node_body(1), 201),
        ("/api/namespaces/d/pods/p/metrics", pod_body("n", 1), 201),
        ("/api/v1/metrics/pods", envelope(&[pod("shop", "web-1", 0.5)]), 200),
        ("/api/v1/metrics/nodes", envelope(&[node("node-1")]), 200),
        ("/pod/spec", spec("web-1", "10.0.0.1"), 200),
        ("/pod/mark_dead", json!({"pod_name": "web-1"}), 200),
    ]
}

#[tokio::test]
async fn a_repeat_on_any_path_is_answered_like_the_first() {
    let server = Server::start().await;
    for (path, body, status) in posts() {
        let first = post(&server, path, "\"boot:central:7:0\"", &body).await;
        assert_eq!((first.0, first.1), (status, false), "{path}: {}", first.2);
        // The quotes are the header's way of writing a text, and no part of the key.
        for key in ["\"boot:central:7:0\"", "boot:central:7:0"] {
            let again = post(&server, path, key, &body).await;
            assert_eq!(again, (status, true, first.2.clone()), "{path}");
        }
        let another = post(&server, path, "\"boot:central:8:0\"", &body).await;
        assert_eq!(another, (status, false, first.2.clone()), "{path}");
    }
}

#[tokio::test]
async fn a_repeat_counts_nothing_though_others_came_between() {
    let server = Server::start().await;
    let pods = "/api/namespaces/d/pods/p/metrics";
    for cpu in [100, 200] {
        post(&server, NODE, &format!("n:{cpu}"), &node_body(cpu)).await;
        post(&server, pods, &format!("p:{cpu}"), &pod_body("n", cpu)).await;
        server.advance(15);
    }
    assert!(post(&server, NODE, "n:100", &node_body(100)).await.1);
    assert!(post(&server, pods, "p:100", &pod_body("n", 100)).await.1);
    for path in ["/api/nodes/n?window=600", "/api/pods/p?window=600"] {
        let series = server.get_ok(path).await;
        let cpu = series.as_array().unwrap().iter().map(|point| &point["cpu_millicores"]);
        assert_eq!(cpu.collect::<Vec<_>>(), [100, 200], "{path}");
    }
    // Without a key each post counts.
    server.push(NODE, &node_body(100)).await;
    server.advance(1);
    server.push(NODE, &node_body(100)).await;
    assert_eq!(server.get_ok("/api/nodes/n?window=600").await.as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn a_repeated_death_kills_no_later_pod_and_a_repeated_birth_wakes_no_dead_one() {
    let server = Server::start().await;
    let (dead, born) = (json!({"pod_name": "web-1"}), spec("web-1", "10.0.0.1"));
    post(&server, "/pod/spec", "1", &born).await;
    assert_eq!(post(&server, "/pod/mark_dead", "2", &dead).await.2, "1");
    let row = post(&server, "/pod/spec", "1", &born).await;
    assert!(row.1 && row.2.contains("\"is_dead\":true"), "as it is kept now: {}", row.2);
    assert_eq!(server.get_ok("/pod/name/web-1").await["is_dead"], true);

    post(&server, "/pod/spec", "3", &spec("web-1", "10.0.0.2")).await;
    assert_eq!(post(&server, "/pod/mark_dead", "2", &dead).await, (200, true, "1".to_owned()));
    assert_eq!(server.get_ok("/pod/name/web-1").await["is_dead"], false);
}

#[tokio::test]
async fn another_body_under_a_key_is_422_in_the_words_of_the_path() {
    let server = Server::start().await;
    for (path, body, status) in posts() {
        assert_eq!(post(&server, path, "k", &body).await.0, status, "{path}");
        let mut other = body.clone();
        other["something"] = json!("else");
        let (status, replayed, text) = post(&server, path, "k", &other).await;
        assert_eq!((status, replayed), (422, false), "{path}: {text}");
        let message = match path {
            path if path.starts_with("/pod/") => text,
            path if path.starts_with("/api/v1/") => {
                let error: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(error["error"]["code"], "idempotency_key_reused");
                error["error"]["message"].as_str().unwrap().to_owned()
            }
            _ => {
                serde_json::from_str::<Value>(&text).unwrap()["error"].as_str().unwrap().to_owned()
            }
        };
        assert!(
            message.contains("another body was accepted under this Idempotency-Key"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_refused_post_is_judged_anew_under_its_key() {
    let mut bounds = ReceiverBounds::for_interval(Duration::from_secs(15));
    bounds.nodes_max = 1;
    let server = Server::start_with(bounds).await;
    server.push("/api/nodes/other/metrics", &node_body(1)).await;
    assert_eq!(post(&server, NODE, "k", &node_body(1)).await.0, 507);
    assert_eq!(post(&server, NODE, "k", &json!({})).await.0, 400);
    server.advance(61);
    let taken = post(&server, NODE, "k", &node_body(1)).await;
    assert_eq!((taken.0, taken.1), (201, false), "{}", taken.2);
    assert!(post(&server, NODE, "k", &node_body(1)).await.1);
}

#[tokio::test]
async fn of_posts_that_come_at_once_under_one_key_one_counts() {
    let server = Server::start().await;
    let body = node_body(1).to_string();
    let posts: Vec<_> = (0..16)
        .map(|_| {
            let request = server.post(NODE).header("content-type", "application/json");
            let request = request.header("idempotency-key", "k").body(body.clone());
            tokio::spawn(async move { told(request.send().await.unwrap()).await })
        })
        .collect();
    let mut firsts = 0;
    for post in posts {
        let (status, replayed, _) = post.await.unwrap();
        assert_eq!(status, 201);
        firsts += usize::from(!replayed);
    }
    assert_eq!(firsts, 1);
}

#[tokio::test]
async fn a_key_that_is_none_is_400_and_names_what_is_allowed() {
    let server = Server::start().await;
    for key in ["", "\"\"", "\"open", "two words", &"x".repeat(256)] {
        let request = json_body(server.post(NODE), &node_body(1)).header("idempotency-key", key);
        let (status, error) = answer(request).await;
        assert_eq!(status, 400, "{key}");
        let text = error["error"].as_str().unwrap();
        assert!(text.contains("1 to 255 visible ASCII characters"), "{text}");
    }
    assert_eq!(server.get_ok("/api/nodes").await, json!([]));
}

#[tokio::test]
async fn what_is_forgotten_counts_as_new() {
    let mut bounds = ReceiverBounds::for_interval(Duration::from_secs(15));
    bounds.post_keys_max = 2;
    bounds.post_keys_age_max = Duration::from_secs(60);
    let server = Server::start_with(bounds).await;
    for key in ["a", "b", "c"] {
        assert!(!post(&server, NODE, key, &node_body(1)).await.1);
    }
    assert!(post(&server, NODE, "b", &node_body(1)).await.1, "one of the last two");
    assert!(!post(&server, NODE, "a", &node_body(1)).await.1, "the first of three");
    server.advance(60);
    assert!(post(&server, NODE, "a", &node_body(1)).await.1, "as old as is kept");
    server.advance(1);
    assert!(!post(&server, NODE, "a", &node_body(1)).await.1, "older");
}

/// One step with two servers: the first gets each post once, the second some of them again.
#[derive(Debug, Clone)]
enum Step {
    Post {
        at: usize,
        cpu: u64,
    },
    /// Of the posts so far, any.
    Repeat(prop::sample::Index),
    Wait(u64),
}

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..4_usize, 0..1000_u64).prop_map(|(at, cpu)| Step::Post { at, cpu }),
        4 => any::<prop::sample::Index>().prop_map(Step::Repeat),
        2 => (1..40_u64).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..40)
}

#[tokio::test]
async fn any_posts_with_any_repeats_among_them_leave_what_the_posts_alone_leave() {
    const PATHS: [&str; 4] =
        [NODE, "/api/nodes/m/metrics", "/api/namespaces/d/pods/p/metrics", "/api/v1/metrics/pods"];
    let mut runner = TestRunner::default();
    let steps = any_steps();
    let mut repeats = 0;
    for _ in 0..rounds(8) {
        let steps = steps.new_tree(&mut runner).unwrap().current();
        let (once, again) = (Server::start().await, Server::start().await);
        let mut sent: Vec<(&str, String, Value)> = Vec::new();
        for step in &steps {
            match step {
                Step::Wait(seconds) => {
                    once.advance(*seconds);
                    again.advance(*seconds);
                }
                Step::Post { at, cpu } => {
                    let body = match at {
                        0 | 1 => node_body(*cpu),
                        2 => pod_body("n", *cpu),
                        _ => envelope(&[pod("shop", "web-1", *cpu as f64 / 8.0)]),
                    };
                    let key = format!("boot:central:{}:0", sent.len());
                    for server in [&once, &again] {
                        assert!(!post(server, PATHS[*at], &key, &body).await.1);
                    }
                    sent.push((PATHS[*at], key, body));
                }
                Step::Repeat(_) if sent.is_empty() => {}
                Step::Repeat(which) => {
                    let (path, key, body) = which.get(&sent);
                    assert!(post(&again, path, key, body).await.1, "{steps:?}");
                    repeats += 1;
                }
            }
        }
        for path in [
            "/api/nodes",
            "/api/pods",
            "/api/v1/metrics/pods",
            "/api/nodes/n?window=3600",
            "/api/nodes/m?window=3600",
            "/api/pods/p?window=3600",
            "/api/pods/web-1?window=3600",
            "/api/namespaces/d?window=3600",
            "/apis/metrics.k8s.io/v1beta1/pods",
        ] {
            assert_eq!(again.get(path).await, once.get(path).await, "{path} after {steps:?}");
        }
    }
    // A round has about 8.
    assert!(repeats > 10, "only {repeats} repeats were tried");
}
