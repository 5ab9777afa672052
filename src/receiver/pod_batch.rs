//! The pod batch API: whole pods and nodes, whose usage is also read as the resource API's.
//!
//! Every error is `{"error": {"code": "…", "message": "…"}}`.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use serde_json::json;

use super::pieces::Pieces;
use super::request::{JsonBody, Refusal};
use super::routes::{self, App, Turn};
use super::store::{Dialect, Full};
use crate::payload::body::BodyError;
use crate::payload::pod_batch::{NodeResource, PodResource, decode_nodes, decode_pods};

/// Some hundred pods with their labels, conditions and containers; a client splits what is larger.
const BODY_BYTES_MAX: usize = 4 << 20;

type Body = Result<JsonBody<BODY_BYTES_MAX>, Refusal>;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/api/v1/metrics/pods", get(pods).post(push_pods))
        .route("/api/v1/metrics/nodes", get(nodes).post(push_nodes))
}

pub(super) fn refuse(refusal: Refusal) -> Response {
    let code = match refusal.status {
        StatusCode::BAD_REQUEST => "invalid_request",
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::REQUEST_TIMEOUT => "timeout",
        StatusCode::PAYLOAD_TOO_LARGE => "payload_too_large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_media_type",
        StatusCode::UNPROCESSABLE_ENTITY => "idempotency_key_reused",
        StatusCode::INSUFFICIENT_STORAGE => "insufficient_storage",
        _ => "internal",
    };
    let error = json!({"error": {"code": code, "message": refusal.message}});
    routes::json(refusal.status, &error)
}

fn invalid(error: &BodyError) -> Refusal {
    Refusal::bad_request(error)
}

/// The first that had no place, after all others were kept.
fn accepted(count: usize, full: Option<Full>) -> Result<Response, Refusal> {
    match full {
        Some(full) => Err(Refusal::new(StatusCode::INSUFFICIENT_STORAGE, full)),
        None => Ok(routes::json(
            StatusCode::OK,
            &json!({
                "status": "success",
                "message": "Metrics received successfully",
                "metrics_count": count
            }),
        )),
    }
}

async fn push_pods(State(app): State<App>, body: Body) -> Response {
    keep_pods(&app, body).unwrap_or_else(refuse)
}

fn keep_pods(app: &App, body: Body) -> Result<Response, Refusal> {
    let body = body?;
    let batch = decode_pods(&body.bytes).map_err(|error| invalid(&error))?;
    app.once(body.post, |turn| match turn {
        Turn::First => keep_pod_resources(app, batch.resources),
        Turn::Repeat => accepted(batch.resources.len(), None),
    })
}

fn keep_pod_resources(app: &App, pods: Vec<PodResource>) -> Result<Response, Refusal> {
    let (now, bounds) = (app.now(), app.bounds());
    let count = pods.len();
    let mut full = None;
    let (mut store, mut resources) = (app.store(), app.resources());
    resources.pods.sweep(now, &bounds);
    for pod in pods {
        let recorded = match pod.runs {
            true => store.record_pod(now, &pod.namespace, &pod.name, pod.post, Dialect::PodBatch),
            false => Ok(()),
        };
        let key = (pod.namespace, pod.name);
        let kept = resources.pods.put(now, key, Bytes::from(pod.json), bounds.pods_max, &bounds);
        full = full.or(recorded.err()).or(kept.err());
    }
    accepted(count, full)
}

async fn push_nodes(State(app): State<App>, body: Body) -> Response {
    keep_nodes(&app, body).unwrap_or_else(refuse)
}

fn keep_nodes(app: &App, body: Body) -> Result<Response, Refusal> {
    let body = body?;
    let batch = decode_nodes(&body.bytes).map_err(|error| invalid(&error))?;
    app.once(body.post, |turn| match turn {
        Turn::First => keep_node_resources(app, batch.resources),
        Turn::Repeat => accepted(batch.resources.len(), None),
    })
}

fn keep_node_resources(app: &App, nodes: Vec<NodeResource>) -> Result<Response, Refusal> {
    let (now, bounds) = (app.now(), app.bounds());
    let count = nodes.len();
    let mut full = None;
    let (mut store, mut resources) = (app.store(), app.resources());
    resources.nodes.sweep(now, &bounds);
    for node in nodes {
        let recorded = store.record_node(now, &node.name, node.post, Dialect::PodBatch);
        store.set_amounts(&node.name, node.capacity, node.allocatable);
        let key = (String::new(), node.name);
        let kept = resources.nodes.put(now, key, Bytes::from(node.json), bounds.nodes_max, &bounds);
        full = full.or(recorded.err()).or(kept.err());
    }
    accepted(count, full)
}

async fn pods(State(app): State<App>) -> Response {
    let bounds = app.bounds();
    let resources = app.resources();
    latest(resources.pods.live(app.now(), &bounds))
}

async fn nodes(State(app): State<App>) -> Response {
    let bounds = app.bounds();
    let resources = app.resources();
    latest(resources.nodes.live(app.now(), &bounds))
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
