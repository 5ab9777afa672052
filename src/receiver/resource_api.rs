//! The resource API: pushes of nodes and pods, and all its reads.
//!
//! Time series are served under two spellings, `…?window=<seconds>` and
//! `…/timeseries?window=<seconds>`: the API's document has the first, the server it came with the
//! second. Every error is `{"error": "…"}`.

use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};

use super::request::{JsonBody, Names, Refusal, name_of};
use super::routes::{App, Turn, json};
use super::store::Full;
use crate::payload::dialect::Dialect;
use crate::payload::resource_api::{decode_node, decode_pod};

/// A post is some 300 bytes and what its labels and containers take; the rest is room for keys
/// this server does not know.
const BODY_BYTES_MAX: usize = 64 << 10;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/api/nodes", get(nodes))
        .route("/api/nodes/{node}", get(node))
        .route("/api/nodes/{node}/timeseries", get(node_series))
        .route("/api/nodes/{node}/metrics", post(push_node))
        .route("/api/nodes/{node}/pods", get(node_pods))
        .route("/api/pods", get(pods))
        .route("/api/pods/{pod}", get(pod))
        .route("/api/pods/{pod}/timeseries", get(pod_series))
        .route("/api/namespaces", get(namespaces))
        .route("/api/namespaces/{ns}", get(namespace))
        .route("/api/namespaces/{ns}/timeseries", get(namespace_series))
        .route("/api/namespaces/{ns}/pods", get(namespace_pods))
        .route("/api/namespaces/{ns}/pods/{pod}/metrics", post(push_pod))
        .route("/api/namespaces/{ns}/deployments", get(namespace_deployments))
        .route("/api/namespaces/{ns}/deployments/{name}", get(deployment))
        .route("/api/namespaces/{ns}/deployments/{name}/timeseries", get(deployment_series))
        .route("/api/namespaces/{ns}/deployments/{name}/pods", get(deployment_pods))
        .route("/api/deployments", get(deployments))
        .route("/api/deployments/{name}", get(deployments_named))
        .route("/api/deployments/{name}/timeseries", get(series_of_deployments_named))
}

impl From<Full> for Refusal {
    fn from(full: Full) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, full)
    }
}

fn not_found(message: String) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, message)
}

type Answer = Result<Response, Refusal>;

fn found(value: &impl Serialize) -> Answer {
    Ok(json(StatusCode::OK, value))
}

#[derive(Deserialize)]
struct RawFilter {
    window: Option<String>,
    namespace: Option<String>,
}

/// The query: how far back, and of which namespace.
struct Filter {
    window: Option<Duration>,
    namespace: Option<String>,
}

impl FromRequestParts<App> for Filter {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let Query(raw) = Query::<RawFilter>::from_request_parts(parts, app)
            .await
            .map_err(|rejection| Refusal::bad_request(rejection.body_text()))?;
        let window_secs_max = app.store().bounds().retention.as_secs();
        let window = match raw.window.as_deref() {
            None => None,
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
    State(app): State<App>,
    Names(node): Names<String>,
    body: JsonBody<BODY_BYTES_MAX>,
) -> Answer {
    let node = name_of("the node's name", &node)?;
    let post = decode_node(&body.bytes).map_err(Refusal::bad_request)?;
    app.once(body.post, |turn| {
        if turn == Turn::First {
            app.store().record_node(app.now(), node, post, Dialect::ResourceApi)?;
        }
        Ok(stored(&format!("metrics of node {node} stored")))
    })
}

async fn push_pod(
    State(app): State<App>,
    Names((namespace, pod)): Names<(String, String)>,
    body: JsonBody<BODY_BYTES_MAX>,
) -> Answer {
    let namespace = name_of("the namespace", &namespace)?;
    let pod = name_of("the pod's name", &pod)?;
    let post = decode_pod(&body.bytes).map_err(Refusal::bad_request)?;
    app.once(body.post, |turn| {
        if turn == Turn::First {
            app.store().record_pod(app.now(), namespace, pod, post, Dialect::ResourceApi)?;
        }
        Ok(stored(&format!("metrics of pod {namespace}/{pod} stored")))
    })
}

fn stored(message: &str) -> Response {
    json(StatusCode::CREATED, &serde_json::json!({ "message": message }))
}

async fn nodes(State(app): State<App>) -> Answer {
    found(&app.store().nodes(app.now()))
}

async fn node(State(app): State<App>, Names(node): Names<String>, filter: Filter) -> Answer {
    if let Some(window) = filter.window {
        return node_window(&app, &node, window);
    }
    let store = app.store();
    found(&store.node(app.now(), &node).ok_or_else(|| unknown_node(&node))?)
}

async fn node_series(State(app): State<App>, Names(node): Names<String>, filter: Filter) -> Answer {
    let window = filter.window.unwrap_or(app.store().bounds().retention);
    node_window(&app, &node, window)
}

fn node_window(app: &App, node: &str, window: Duration) -> Answer {
    let store = app.store();
    found(&store.node_series(app.now(), node, window).ok_or_else(|| unknown_node(node))?)
}

async fn node_pods(State(app): State<App>, Names(node): Names<String>) -> Answer {
    let store = app.store();
    found(&store.node_pods(app.now(), &node).ok_or_else(|| unknown_node(&node))?)
}

fn unknown_node(node: &str) -> Refusal {
    not_found(format!("node {node} is not known"))
}

async fn pods(State(app): State<App>, filter: Filter) -> Answer {
    let store = app.store();
    match filter.namespace {
        None => found(&store.pods(app.now())),
        Some(namespace) => found(&store.namespace_pods(app.now(), &namespace).unwrap_or_default()),
    }
}

async fn pod(State(app): State<App>, Names(pod): Names<String>, filter: Filter) -> Answer {
    if let Some(window) = filter.window {
        return pod_window(&app, &pod, filter.namespace.as_deref(), window);
    }
    let store = app.store();
    let namespace = filter.namespace.as_deref();
    let records = store.pods_named(app.now(), &pod, namespace);
    if !records.is_empty() {
        return found(&records);
    }
    let retention = store.bounds().retention;
    Err(match store.pod_series(app.now(), &pod, namespace, retention) {
        None => unknown_pod(&pod, namespace),
        Some(_) => not_found(format!(
            "pod {pod} has not been pushed for {}; ?window=<seconds> shows its past",
            humantime::format_duration(store.bounds().stale_after)
        )),
    })
}

async fn pod_series(State(app): State<App>, Names(pod): Names<String>, filter: Filter) -> Answer {
    let window = filter.window.unwrap_or(app.store().bounds().retention);
    pod_window(&app, &pod, filter.namespace.as_deref(), window)
}

fn pod_window(app: &App, pod: &str, namespace: Option<&str>, window: Duration) -> Answer {
    let store = app.store();
    let series = store.pod_series(app.now(), pod, namespace, window);
    found(&series.ok_or_else(|| unknown_pod(pod, namespace))?)
}

fn unknown_pod(pod: &str, namespace: Option<&str>) -> Refusal {
    not_found(match namespace {
        Some(namespace) => format!("pod {namespace}/{pod} is not known"),
        None => format!("pod {pod} is not known in any namespace"),
    })
}

async fn namespaces(State(app): State<App>) -> Answer {
    found(&app.store().namespaces(app.now()))
}

async fn namespace(State(app): State<App>, Names(ns): Names<String>, filter: Filter) -> Answer {
    if let Some(window) = filter.window {
        return namespace_window(&app, &ns, window);
    }
    let store = app.store();
    found(&store.namespace(app.now(), &ns).ok_or_else(|| unknown_namespace(&ns))?)
}

async fn namespace_series(
    State(app): State<App>,
    Names(ns): Names<String>,
    filter: Filter,
) -> Answer {
    let window = filter.window.unwrap_or(app.store().bounds().retention);
    namespace_window(&app, &ns, window)
}

/// The API's document has the series of a deployment under this path too, so a name that is no
/// namespace's may be a deployment's.
fn namespace_window(app: &App, ns: &str, window: Duration) -> Answer {
    let store = app.store();
    let now = app.now();
    if let Some(series) = store.namespace_series(now, ns, window) {
        return found(&series);
    }
    let series = store.deployment_series(now, None, ns, window);
    found(&series.ok_or_else(|| unknown_namespace(ns))?)
}

async fn namespace_pods(State(app): State<App>, Names(ns): Names<String>) -> Answer {
    let store = app.store();
    found(&store.namespace_pods(app.now(), &ns).ok_or_else(|| unknown_namespace(&ns))?)
}

fn unknown_namespace(ns: &str) -> Refusal {
    not_found(format!("no pod of namespace {ns} has been pushed lately"))
}

async fn deployments(State(app): State<App>, filter: Filter) -> Answer {
    let store = app.store();
    found(&store.deployments(app.now(), filter.namespace.as_deref()))
}

async fn namespace_deployments(State(app): State<App>, Names(ns): Names<String>) -> Answer {
    let store = app.store();
    store.namespace(app.now(), &ns).ok_or_else(|| unknown_namespace(&ns))?;
    found(&store.deployments(app.now(), Some(&ns)))
}

async fn deployment(
    State(app): State<App>,
    Names((ns, name)): Names<(String, String)>,
    filter: Filter,
) -> Answer {
    if let Some(window) = filter.window {
        return deployment_window(&app, Some(&ns), &name, window);
    }
    let store = app.store();
    let mut all = store.deployments(app.now(), Some(&ns)).into_iter();
    let record = all.find(|record| record.deployment_name == name);
    found(&record.ok_or_else(|| unknown_deployment(Some(&ns), &name))?)
}

async fn deployment_series(
    State(app): State<App>,
    Names((ns, name)): Names<(String, String)>,
    filter: Filter,
) -> Answer {
    let window = filter.window.unwrap_or(app.store().bounds().retention);
    deployment_window(&app, Some(&ns), &name, window)
}

async fn deployment_pods(
    State(app): State<App>,
    Names((ns, name)): Names<(String, String)>,
) -> Answer {
    let store = app.store();
    let pods = store.deployment_pods(app.now(), &ns, &name);
    found(&pods.ok_or_else(|| unknown_deployment(Some(&ns), &name))?)
}

/// The deployments of that name, of one namespace or of all.
async fn deployments_named(
    State(app): State<App>,
    Names(name): Names<String>,
    filter: Filter,
) -> Answer {
    let namespace = filter.namespace.as_deref();
    if let Some(window) = filter.window {
        return deployment_window(&app, namespace, &name, window);
    }
    let store = app.store();
    let mut records = store.deployments(app.now(), namespace);
    records.retain(|record| record.deployment_name == name);
    if records.is_empty() {
        return Err(unknown_deployment(namespace, &name));
    }
    found(&records)
}

async fn series_of_deployments_named(
    State(app): State<App>,
    Names(name): Names<String>,
    filter: Filter,
) -> Answer {
    let window = filter.window.unwrap_or(app.store().bounds().retention);
    deployment_window(&app, filter.namespace.as_deref(), &name, window)
}

fn deployment_window(app: &App, ns: Option<&str>, name: &str, window: Duration) -> Answer {
    let store = app.store();
    let series = store.deployment_series(app.now(), ns, name, window);
    found(&series.ok_or_else(|| unknown_deployment(ns, name))?)
}

fn unknown_deployment(ns: Option<&str>, name: &str) -> Refusal {
    let place = match ns {
        Some(ns) => format!("namespace {ns}"),
        None => "any namespace".to_owned(),
    };
    not_found(format!(
        "deployment {name} is not known in {place}: no pod has lately been pushed with it as its \
         deployment_name"
    ))
}
