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
use crate::payload::body::BodyError;
use crate::payload::dialect::Dialect;
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

fn accepted(count: usize) -> Result<Response, Refusal> {
    Ok(routes::json(
        StatusCode::OK,
        &json!({
            "status": "success",
            "message": "Metrics received successfully",
            "metrics_count": count
        }),
    ))
}

async fn push_pods(State(app): State<App>, body: Body) -> Response {
    keep_pods(&app, body).unwrap_or_else(refuse)
}

fn keep_pods(app: &App, body: Body) -> Result<Response, Refusal> {
    let body = body?;
    let batch = decode_pods(&body.bytes).map_err(|error| invalid(&error))?;
    app.once(body.post, |turn| match turn {
        Turn::First => keep_pod_resources(app, batch.resources),
        Turn::Repeat => accepted(batch.resources.len()),
    })
}

/// All of them or, as far as they are counted, none: a batch that is answered 507 comes again.
fn keep_pod_resources(app: &App, mut pods: Vec<PodResource>) -> Result<Response, Refusal> {
    let (now, bounds) = (app.now(), app.bounds());
    let count = pods.len();
    let (mut store, mut resources) = (app.store(), app.resources());
    resources.pods.sweep(now, &bounds);
    let running = pods.iter().filter(|pod| pod.runs);
    store.room_for_pods(now, running.map(|pod| (&*pod.namespace, &*pod.name)))?;
    for pod in &mut pods {
        let key = (pod.namespace.clone(), pod.name.clone());
        let json = Bytes::from(std::mem::take(&mut pod.json));
        resources.pods.put(now, key, json, bounds.pods_max, &bounds)?;
    }
    for pod in pods.into_iter().filter(|pod| pod.runs) {
        store.record_pod(now, &pod.namespace, &pod.name, pod.post, Dialect::PodBatch)?;
    }
    accepted(count)
}

async fn push_nodes(State(app): State<App>, body: Body) -> Response {
    keep_nodes(&app, body).unwrap_or_else(refuse)
}

fn keep_nodes(app: &App, body: Body) -> Result<Response, Refusal> {
    let body = body?;
    let batch = decode_nodes(&body.bytes).map_err(|error| invalid(&error))?;
    app.once(body.post, |turn| match turn {
        Turn::First => keep_node_resources(app, batch.resources),
        Turn::Repeat => accepted(batch.resources.len()),
    })
}

/// As those of pods.
fn keep_node_resources(app: &App, mut nodes: Vec<NodeResource>) -> Result<Response, Refusal> {
    let (now, bounds) = (app.now(), app.bounds());
    let count = nodes.len();
    let (mut store, mut resources) = (app.store(), app.resources());
    resources.nodes.sweep(now, &bounds);
    store.room_for_nodes(now, nodes.iter().map(|node| &*node.name))?;
    for node in &mut nodes {
        let key = (String::new(), node.name.clone());
        let json = Bytes::from(std::mem::take(&mut node.json));
        resources.nodes.put(now, key, json, bounds.nodes_max, &bounds)?;
    }
    for node in nodes {
        store.record_node(now, &node.name, node.post, Dialect::PodBatch)?;
        store.set_amounts(&node.name, node.capacity, node.allocatable);
    }
    accepted(count)
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
