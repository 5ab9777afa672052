//! Bodies of the APIs that are written and read here, each reader with every input. What is read is
//! written and read again, and a batch that is split is still all there.

use nodetally::payload::dump::decode::decode_lines;
use nodetally::payload::otlp;
use nodetally::payload::pod_batch::{PodResource, ReceivedBatch, decode_nodes, decode_pods, split};
use nodetally::payload::pod_lifecycle::{
    LIST_ROWS_MAX, decode_list, decode_mark_dead, decode_spec, mark_dead_body,
};
use nodetally::payload::remote_write;
use nodetally::payload::resource_api::{decode_node, decode_pod, encode_node, encode_pod};
use nodetally::payload::sample_post::decode_sample;
use nodetally::payload::status::StatusReport;
use serde::Serialize;
use serde_json::{Map, Value};

/// An answer's and a log's line are no place for a body.
const ERROR_BYTES_MAX: usize = 700;

/// Reads one input.
pub fn run(body: &[u8]) {
    if let Some(post) = read(decode_node(body)) {
        let again = with(&post.extras, |out| encode_node(&post.usage, None, out));
        assert_eq!(decode_node(&again), Ok(post));
    }
    if let Some(post) = read(decode_pod(body)) {
        let again = with(&post.extras, |out| encode_pod(&post.usage, &post.node_name, None, out));
        assert_eq!(decode_pod(&again), Ok(post));
    }

    let pods = read(decode_pods(body));
    let nodes = read(decode_nodes(body));
    let halves = split(body);
    if let Some((first, second)) = &halves {
        let count = |body: &[u8]| {
            let value: Value = serde_json::from_slice(body).ok()?;
            Some(value["resources"].as_array()?.len())
        };
        // The reader of whole values knows bounds that the splitting has no need of.
        if let (Some(all), Some(first), Some(second)) = (count(body), count(first), count(second)) {
            assert!(first > 0 && second > 0 && first + second == all);
        }
    }
    if let Some(pods) = &pods {
        added_up(body, pods, halves.as_ref());
    }
    if let Some(nodes) = &nodes {
        assert!(nodes.resources.iter().all(|node| !node.name.is_empty()));
    }

    if let Some(post) = read(decode_spec(body)) {
        let json = post.row.json_up_to_pod_obj() + post.pod_obj.as_deref().unwrap_or("null") + "}";
        let again = decode_spec(json.as_bytes()).expect("what was read is read again");
        assert_eq!(again.row, post.row);
        assert_eq!(again.pod_obj.is_some(), post.pod_obj.is_some());
        assert!(post.row.text_bytes() <= body.len());
    }
    if let Some(post) = read(decode_mark_dead(body)) {
        let again = mark_dead_body(&post.pod_name, post.pod_ip.as_deref());
        assert_eq!(decode_mark_dead(&again), Ok(post));
    }
    if let Some(sample) = read(decode_sample(body)) {
        assert!(!sample.node_name.is_empty());
        assert!(sample.nodes.iter().all(|(name, _)| !name.is_empty()));
        assert!(sample.units.iter().all(|unit| !unit.name.is_empty()));
    }
    agent(body);
    if let Some(lines) = read(decode_lines(body)) {
        let filled = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        assert_eq!(lines.len(), filled.count());
    }
    otlp_answer_and_body(body);
    remote_write_answer_and_body(body);
    if let Some(rows) = read(decode_list(body)) {
        assert!(rows.len() <= LIST_ROWS_MAX);
        assert!(rows.iter().all(|row| !row.pod_name.trim().is_empty()));
    }
}

/// The answer of a receiver of OTLP under each type, and a body that is split and shown.
fn otlp_answer_and_body(body: &[u8]) {
    for kind in ["", "application/x-protobuf", "application/json", "text/html"] {
        let answer = otlp::decode_answer(kind, body);
        assert!(answer.is_ok() || kind == "text/html" || body.contains(&b'<'));
        if let Some((_, message)) = read(answer) {
            assert!(message.len() <= 3 * body.len());
        }
    }
    if let Some((first, second)) = otlp::split(body) {
        assert_eq!([&*first, &*second].concat(), body);
        assert!(!first.is_empty() && !second.is_empty());
        assert_eq!(otlp::count(&first) + otlp::count(&second), otlp::count(body));
    }
    if let Some(json) = otlp::as_json(body) {
        assert!(serde_json::from_slice::<Value>(&json).is_ok());
    }
}

/// The same of a receiver of remote write.
fn remote_write_answer_and_body(body: &[u8]) {
    for kind in ["", "text/plain; charset=utf-8", "text/html"] {
        let answer = remote_write::decode_answer(kind, body);
        assert!(answer.is_ok() || kind == "text/html" || body.contains(&b'<'));
    }
    if let Some((first, second)) = remote_write::split(body) {
        assert!(!first.is_empty() && !second.is_empty());
    }
    if let Some(json) = remote_write::as_json(body) {
        assert!(serde_json::from_slice::<Value>(&json).is_ok());
    }
}

fn agent(body: &[u8]) {
    if let Some(status) = read(StatusReport::from_json(body)) {
        assert!(status.is_healthy || !status.is_all_healthy());
        assert_eq!(StatusReport::from_json(&status.to_json()).ok(), Some(status));
    }
}

fn read<T, E: std::fmt::Display>(outcome: Result<T, E>) -> Option<T> {
    match outcome {
        Ok(read) => Some(read),
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() <= ERROR_BYTES_MAX, "{} bytes: {text}", text.len());
            None
        }
    }
}

/// A post with what was read of it beyond its usage.
fn with(extras: &impl Serialize, write: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = Vec::new();
    write(&mut body);
    let mut post: Map<String, Value> = serde_json::from_slice(&body).expect("an object");
    let Ok(Value::Object(more)) = serde_json::to_value(extras) else { return body };
    post.extend(more);
    Value::Object(post).to_string().into_bytes()
}

fn added_up(
    body: &[u8],
    whole: &ReceivedBatch<PodResource>,
    halves: Option<&(impl AsRef<[u8]>, impl AsRef<[u8]>)>,
) {
    for pod in &whole.resources {
        assert!(serde_json::from_str::<Value>(&pod.json).is_ok());
    }
    if whole.resources.len() < 2 {
        assert!(halves.is_none());
        return;
    }
    let (first, second) = halves.expect("a batch of two or more is split");
    let mut all = Vec::new();
    for half in [first.as_ref(), second.as_ref()] {
        assert!(half.len() < body.len());
        let half = decode_pods(half).expect("half a batch is one");
        assert_eq!(
            (&half.cluster_id, &half.cluster_name),
            (&whole.cluster_id, &whole.cluster_name)
        );
        all.extend(half.resources);
    }
    assert_eq!(all, whole.resources);
}
