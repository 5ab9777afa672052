//! The pod batch API: pods and nodes as whole documents. Their usage is also stored for the reads of
//! the resource API.
//!
//! Every error is `{"error": {"code": "…", "message": "…"}}`.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use serde_json::json;

use super::answer::{self, HandlerResult, Refusal};
use super::pieces::Pieces;
use super::request::JsonBody;
use super::state::{Arrival, ReceiverState};
use crate::payload::dialect::Dialect;
use crate::payload::pod_batch::{NodeResource, PodResource, decode_nodes, decode_pods};

/// The largest body: some hundred pods with their labels, conditions and containers. A client splits
/// larger batches.
const BODY_BYTES_MAX: usize = 4 << 20;

pub(super) fn router() -> Router<ReceiverState> {
    Router::new()
        .route("/api/v1/metrics/pods", get(pods).post(push_pods))
        .route("/api/v1/metrics/nodes", get(nodes).post(push_nodes))
}

pub(super) fn refuse(refusal: &Refusal) -> Response {
    let code = match refusal.status {
        StatusCode::BAD_REQUEST => "invalid_request",
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::REQUEST_TIMEOUT => "timeout",
        StatusCode::PAYLOAD_TOO_LARGE => "payload_too_large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_media_type",
        StatusCode::UNPROCESSABLE_ENTITY => "idempotency_key_reused",
        StatusCode::INSUFFICIENT_STORAGE => "insufficient_storage",
        StatusCode::SERVICE_UNAVAILABLE => "no_sample_yet",
        _ => "internal",
    };
    let error = json!({"error": {"code": code, "message": refusal.message}});
    answer::json(refusal.status, &error)
}

async fn push_pods(
    State(state): State<ReceiverState>,
    body: JsonBody<BODY_BYTES_MAX>,
) -> HandlerResult {
    let pods = decode_pods(&body.bytes).map_err(Refusal::bad_request)?.resources;
    state.once(body.post, |arrival| accept(&state, arrival, pods, keep_pods))
}

async fn push_nodes(
    State(state): State<ReceiverState>,
    body: JsonBody<BODY_BYTES_MAX>,
) -> HandlerResult {
    let nodes = decode_nodes(&body.bytes).map_err(Refusal::bad_request)?.resources;
    state.once(body.post, |arrival| accept(&state, arrival, nodes, keep_nodes))
}

fn accept<R>(
    state: &ReceiverState,
    arrival: Arrival,
    resources: Vec<R>,
    keep: fn(&ReceiverState, Vec<R>) -> Result<(), Refusal>,
) -> HandlerResult {
    let count = resources.len();
    if arrival == Arrival::First {
        keep(state, resources)?;
    }
    Ok(answer::json(
        StatusCode::OK,
        &json!({
            "status": "success",
            "message": "Metrics received successfully",
            "metrics_count": count
        }),
    ))
}

/// Stores all pods or, as far as their usage is counted, none: the client sends a batch again that is
/// answered 507.
fn keep_pods(state: &ReceiverState, mut pods: Vec<PodResource>) -> Result<(), Refusal> {
    let (now, bounds) = (state.now(), state.bounds());
    let (mut store, mut documents) = (state.store(), state.documents());
    documents.pods.sweep(now, &bounds);
    let running = pods.iter().filter(|pod| pod.runs);
    store.room_for_pods(now, running.map(|pod| (&*pod.namespace, &*pod.name)))?;
    for pod in &mut pods {
        let key = (pod.namespace.clone(), pod.name.clone());
        let json = Bytes::from(std::mem::take(&mut pod.json));
        documents.pods.put(now, key, json, bounds.pods_max, &bounds)?;
    }
    for pod in pods.into_iter().filter(|pod| pod.runs) {
        store.record_pod(now, &pod.namespace, &pod.name, pod.post, Dialect::PodBatch)?;
    }
    Ok(())
}

/// Stores all nodes or, as far as their usage is counted, none.
fn keep_nodes(state: &ReceiverState, mut nodes: Vec<NodeResource>) -> Result<(), Refusal> {
    let (now, bounds) = (state.now(), state.bounds());
    let (mut store, mut documents) = (state.store(), state.documents());
    documents.nodes.sweep(now, &bounds);
    store.room_for_nodes(now, nodes.iter().map(|node| &*node.name))?;
    for node in &mut nodes {
        let key = (String::new(), node.name.clone());
        let json = Bytes::from(std::mem::take(&mut node.json));
        documents.nodes.put(now, key, json, bounds.nodes_max, &bounds)?;
    }
    for node in nodes {
        store.record_node(now, &node.name, node.post, Dialect::PodBatch)?;
        store.set_amounts(&node.name, node.capacity, node.allocatable);
    }
    Ok(())
}

async fn pods(State(state): State<ReceiverState>) -> Response {
    let bounds = state.bounds();
    latest(state.documents().pods.live(state.now(), &bounds))
}

async fn nodes(State(state): State<ReceiverState>) -> Response {
    let bounds = state.bounds();
    latest(state.documents().nodes.live(state.now(), &bounds))
}

fn latest<'a>(documents: impl Iterator<Item = &'a Bytes>) -> Response {
    let documents: Vec<&Bytes> = documents.collect();
    let count = documents.len();
    let mut answer =
        Pieces::from(Bytes::from(format!("{{\"metrics_count\":{count},\"resources\":")));
    answer.append(Pieces::list(documents.into_iter().map(|json| Pieces::from(json.clone()))));
    answer.push("}");
    answer.answer()
}
