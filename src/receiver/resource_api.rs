//! The resource API: pushes of nodes and pods, and all its reads.
//!
//! Time series have two spellings, `…?window=<seconds>` and `…/timeseries?window=<seconds>`: the
//! API's document has the first, the server it came with the second. Every error is
//! `{"error": "…"}`.

use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, MatchedPath, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};

use super::answer::{HandlerResult, Refusal, json};
use super::request::{JsonBody, PathNames, checked_name};
use super::state::{Arrival, ReceiverState};
use crate::payload::dialect::Dialect;
use crate::payload::resource_api::{decode_node, decode_pod};

/// The largest body. A post is some 300 bytes beside its labels and containers; the rest is room for
/// keys that this server does not know.
const BODY_BYTES_MAX: usize = 64 << 10;

/// The end of a route whose answer is always a time series.
const TIMESERIES: &str = "/timeseries";

pub(super) fn router() -> Router<ReceiverState> {
    Router::new()
        .route("/api/nodes", get(nodes))
        .route("/api/nodes/{node}", get(node))
        .route("/api/nodes/{node}/timeseries", get(node))
        .route("/api/nodes/{node}/metrics", post(push_node))
        .route("/api/nodes/{node}/pods", get(node_pods))
        .route("/api/pods", get(pods))
        .route("/api/pods/{pod}", get(pod))
        .route("/api/pods/{pod}/timeseries", get(pod))
        .route("/api/namespaces", get(namespaces))
        .route("/api/namespaces/{ns}", get(namespace))
        .route("/api/namespaces/{ns}/timeseries", get(namespace))
        .route("/api/namespaces/{ns}/pods", get(namespace_pods))
        .route("/api/namespaces/{ns}/pods/{pod}/metrics", post(push_pod))
        .route("/api/namespaces/{ns}/deployments", get(namespace_deployments))
        .route("/api/namespaces/{ns}/deployments/{name}", get(deployment))
        .route("/api/namespaces/{ns}/deployments/{name}/timeseries", get(deployment))
        .route("/api/namespaces/{ns}/deployments/{name}/pods", get(deployment_pods))
        .route("/api/deployments", get(deployments))
        .route("/api/deployments/{name}", get(deployments_named))
        .route("/api/deployments/{name}/timeseries", get(deployments_named))
}

pub(super) fn refuse(refusal: &Refusal) -> Response {
    json(refusal.status, &serde_json::json!({ "error": refusal.message }))
}

fn ok(value: &impl Serialize) -> HandlerResult {
    Ok(json(StatusCode::OK, value))
}

fn found(value: Option<impl Serialize>, unknown: impl FnOnce() -> Refusal) -> HandlerResult {
    ok(&value.ok_or_else(unknown)?)
}

#[derive(Deserialize)]
struct RawFilter {
    window: Option<String>,
    namespace: Option<String>,
}

/// The query of a read.
struct Filter {
    /// The length of the time series; `None` where the latest values are asked for.
    window: Option<Duration>,
    namespace: Option<String>,
}

impl FromRequestParts<ReceiverState> for Filter {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ReceiverState) -> Result<Self, Refusal> {
        let Query(raw) = Query::<RawFilter>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Refusal::bad_request(rejection.body_text()))?;
        let retention = state.store().bounds().retention;
        let window_secs_max = retention.as_secs();
        let route = parts.extensions.get::<MatchedPath>();
        let is_series = route.is_some_and(|route| route.as_str().ends_with(TIMESERIES));
        let window = match raw.window.as_deref() {
            None => is_series.then_some(retention),
            Some(text) => match text.parse() {
                Ok(seconds) if (1..=window_secs_max).contains(&seconds) => {
                    Some(Duration::from_secs(seconds))
                }
                _ => {
                    let text: String = text.chars().take(40).collect();
                    return Err(Refusal::bad_request(format!(
                        "window must be a whole number of seconds from 1 to {window_secs_max}, \
                         not `{text}`"
                    )));
                }
            },
        };
        Ok(Self { window, namespace: raw.namespace })
    }
}

async fn push_node(
    State(state): State<ReceiverState>,
    PathNames(node): PathNames<String>,
    body: JsonBody<BODY_BYTES_MAX>,
) -> HandlerResult {
    let node = checked_name("the node's name", &node)?;
    let post = decode_node(&body.bytes).map_err(Refusal::bad_request)?;
    state.once(body.post, |arrival| {
        if arrival == Arrival::First {
            state.store().record_node(state.now(), node, post, Dialect::ResourceApi)?;
        }
        Ok(stored(&format!("metrics of node {node} stored")))
    })
}

async fn push_pod(
    State(state): State<ReceiverState>,
    PathNames((namespace, pod)): PathNames<(String, String)>,
    body: JsonBody<BODY_BYTES_MAX>,
) -> HandlerResult {
    let namespace = checked_name("the namespace", &namespace)?;
    let pod = checked_name("the pod's name", &pod)?;
    let post = decode_pod(&body.bytes).map_err(Refusal::bad_request)?;
    state.once(body.post, |arrival| {
        if arrival == Arrival::First {
            state.store().record_pod(state.now(), namespace, pod, post, Dialect::ResourceApi)?;
        }
        Ok(stored(&format!("metrics of pod {namespace}/{pod} stored")))
    })
}

fn stored(message: &str) -> Response {
    json(StatusCode::CREATED, &serde_json::json!({ "message": message }))
}

async fn nodes(State(state): State<ReceiverState>) -> HandlerResult {
    ok(&state.store().nodes(state.now()))
}

async fn node(
    State(state): State<ReceiverState>,
    PathNames(node): PathNames<String>,
    filter: Filter,
) -> HandlerResult {
    let (store, now) = (state.store(), state.now());
    let unknown = || unknown_node(&node);
    match filter.window {
        Some(window) => found(store.node_series(now, &node, window), unknown),
        None => found(store.node(now, &node), unknown),
    }
}

async fn node_pods(
    State(state): State<ReceiverState>,
    PathNames(node): PathNames<String>,
) -> HandlerResult {
    found(state.store().node_pods(state.now(), &node), || unknown_node(&node))
}

fn unknown_node(node: &str) -> Refusal {
    Refusal::not_found(format!("node {node} is not known"))
}

async fn pods(State(state): State<ReceiverState>, filter: Filter) -> HandlerResult {
    let (store, now) = (state.store(), state.now());
    match filter.namespace {
        None => ok(&store.pods(now)),
        Some(namespace) => ok(&store.namespace_pods(now, &namespace).unwrap_or_default()),
    }
}

async fn pod(
    State(state): State<ReceiverState>,
    PathNames(pod): PathNames<String>,
    filter: Filter,
) -> HandlerResult {
    let (store, now) = (state.store(), state.now());
    let namespace = filter.namespace.as_deref();
    let unknown = || {
        Refusal::not_found(match namespace {
            Some(namespace) => format!("pod {namespace}/{pod} is not known"),
            None => format!("pod {pod} is not known in any namespace"),
        })
    };
    if let Some(window) = filter.window {
        return found(store.pod_series(now, &pod, namespace, window), unknown);
    }
    let records = store.pods_named(now, &pod, namespace);
    if !records.is_empty() {
        return ok(&records);
    }
    let retention = store.bounds().retention;
    Err(match store.pod_series(now, &pod, namespace, retention) {
        None => unknown(),
        Some(_) => Refusal::not_found(format!(
            "pod {pod} has not been pushed for {}; ?window=<seconds> shows its past",
            humantime::format_duration(store.bounds().stale_after)
        )),
    })
}

async fn namespaces(State(state): State<ReceiverState>) -> HandlerResult {
    ok(&state.store().namespaces(state.now()))
}

/// The API's document has the series of a deployment under this path too. So a name that is not a
/// namespace's is looked up among the deployments.
async fn namespace(
    State(state): State<ReceiverState>,
    PathNames(ns): PathNames<String>,
    filter: Filter,
) -> HandlerResult {
    let (store, now) = (state.store(), state.now());
    let unknown = || unknown_namespace(&ns);
    let Some(window) = filter.window else { return found(store.namespace(now, &ns), unknown) };
    match store.namespace_series(now, &ns, window) {
        Some(series) => ok(&series),
        None => found(store.deployment_series(now, None, &ns, window), unknown),
    }
}

async fn namespace_pods(
    State(state): State<ReceiverState>,
    PathNames(ns): PathNames<String>,
) -> HandlerResult {
    found(state.store().namespace_pods(state.now(), &ns), || unknown_namespace(&ns))
}

fn unknown_namespace(ns: &str) -> Refusal {
    Refusal::not_found(format!("no pod of namespace {ns} has been pushed lately"))
}

async fn deployments(State(state): State<ReceiverState>, filter: Filter) -> HandlerResult {
    ok(&state.store().deployments(state.now(), filter.namespace.as_deref()))
}

async fn namespace_deployments(
    State(state): State<ReceiverState>,
    PathNames(ns): PathNames<String>,
) -> HandlerResult {
    let (store, now) = (state.store(), state.now());
    store.namespace(now, &ns).ok_or_else(|| unknown_namespace(&ns))?;
    ok(&store.deployments(now, Some(&ns)))
}

async fn deployment(
    State(state): State<ReceiverState>,
    PathNames((ns, name)): PathNames<(String, String)>,
    filter: Filter,
) -> HandlerResult {
    let (store, now) = (state.store(), state.now());
    let unknown = || unknown_deployment(Some(&ns), &name);
    if let Some(window) = filter.window {
        return found(store.deployment_series(now, Some(&ns), &name, window), unknown);
    }
    let mut all = store.deployments(now, Some(&ns)).into_iter();
    found(all.find(|record| record.deployment_name == name), unknown)
}

async fn deployment_pods(
    State(state): State<ReceiverState>,
    PathNames((ns, name)): PathNames<(String, String)>,
) -> HandlerResult {
    let unknown = || unknown_deployment(Some(&ns), &name);
    found(state.store().deployment_pods(state.now(), &ns, &name), unknown)
}

/// The deployments of that name, of one namespace or of all.
async fn deployments_named(
    State(state): State<ReceiverState>,
    PathNames(name): PathNames<String>,
    filter: Filter,
) -> HandlerResult {
    let (store, now) = (state.store(), state.now());
    let namespace = filter.namespace.as_deref();
    let unknown = || unknown_deployment(namespace, &name);
    if let Some(window) = filter.window {
        return found(store.deployment_series(now, namespace, &name, window), unknown);
    }
    let mut records = store.deployments(now, namespace);
    records.retain(|record| record.deployment_name == name);
    found((!records.is_empty()).then_some(records), unknown)
}

fn unknown_deployment(ns: Option<&str>, name: &str) -> Refusal {
    let place = ns.map_or_else(|| "any namespace".to_owned(), |ns| format!("namespace {ns}"));
    Refusal::not_found(format!(
        "deployment {name} is not known in {place}: no pod has lately been pushed with it as its \
         deployment_name"
    ))
}
