//! The Kubernetes read API `metrics.k8s.io/v1beta1`, with the parts of an API server that
//! `kubectl top` needs. Every error is a `Status` object.

use axum::Router;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::get;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::{Refusal, json};
use super::request::PathNames;
use super::state::ReceiverState;
use super::store::Candidate;
use crate::payload::metrics_k8s_io::{NodeMetricsList, Object, PodMetricsList, server};
use crate::payload::selector::Selector;

pub(super) fn router() -> Router<ReceiverState> {
    const V1BETA1: &str = "/apis/metrics.k8s.io/v1beta1";
    Router::new()
        .route("/api", get(async || found(&server::core_versions())))
        .route("/api/v1", get(async || found(&server::core_resources())))
        .route("/api/v1/nodes", get(core_nodes))
        .route("/api/v1/nodes/{name}", get(core_node))
        .route("/api/v1/pods", get(core_pods))
        .route("/api/v1/namespaces/{ns}/pods", get(core_namespace_pods))
        .route("/api/v1/namespaces/{ns}/pods/{name}", get(core_pod))
        .route("/apis", get(async || found(&server::groups())))
        .route("/apis/metrics.k8s.io", get(async || found(&server::group())))
        .route(V1BETA1, get(async || found(&server::resources())))
        .route(&format!("{V1BETA1}/nodes"), get(nodes))
        .route(&format!("{V1BETA1}/nodes/{{name}}"), get(node))
        .route(&format!("{V1BETA1}/pods"), get(pods))
        .route(&format!("{V1BETA1}/namespaces/{{ns}}/pods"), get(namespace_pods))
        .route(&format!("{V1BETA1}/namespaces/{{ns}}/pods/{{name}}"), get(pod))
}

pub(super) fn refuse(refusal: &Refusal) -> Response {
    let reason = match refusal.status {
        StatusCode::BAD_REQUEST => "BadRequest",
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowed",
        StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
        _ => "InternalError",
    };
    let status = server::failure(refusal.status.as_u16(), reason, &refusal.message);
    json(refusal.status, &status)
}

fn found(value: &impl Serialize) -> Response {
    json(StatusCode::OK, value)
}

fn not_found(status: &Value) -> Response {
    json(StatusCode::NOT_FOUND, status)
}

/// The parameters that are read. `limit` and `continue` are ignored: a server may answer with more
/// than was asked for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSelection {
    label_selector: Option<String>,
    field_selector: Option<String>,
    watch: Option<String>,
}

/// The objects that a request selects.
struct Selection {
    labels: Selector,
    fields: Vec<FieldRequirement>,
}

struct FieldRequirement {
    field: Field,
    value: String,
    equal: bool,
}

enum Field {
    Name,
    Namespace,
}

impl FromRequestParts<ReceiverState> for Selection {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ReceiverState) -> Result<Self, Refusal> {
        let Query(raw) = Query::<RawSelection>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Refusal::bad_request(rejection.body_text()))?;
        if raw.watch.is_some_and(|watch| !matches!(watch.as_str(), "false" | "0")) {
            let message = "watch is not supported on these resources";
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message));
        }
        let labels = Selector::parse(raw.label_selector.as_deref().unwrap_or_default());
        let labels = labels.map_err(|error| {
            Refusal::bad_request(format!("labelSelector cannot be read: {error}"))
        })?;
        let fields = raw.field_selector.as_deref().unwrap_or_default();
        let fields = fields.split(',').filter(|one| !one.trim().is_empty());
        let fields = fields.map(FieldRequirement::parse).collect::<Result<_, _>>()?;
        Ok(Self { labels, fields })
    }
}

impl FieldRequirement {
    /// Reads `metadata.name=web`, or the same with `==` or `!=`.
    fn parse(text: &str) -> Result<Self, Refusal> {
        let (field, value, equal) = match (text.split_once("!="), text.split_once('=')) {
            (Some((field, value)), _) => (field, value, false),
            (None, Some((field, value))) => (field, value.strip_prefix('=').unwrap_or(value), true),
            (None, None) => (text, "", true),
        };
        let field = match field.trim() {
            "metadata.name" => Field::Name,
            "metadata.namespace" => Field::Namespace,
            _ => {
                return Err(Refusal::bad_request(
                    "fieldSelector knows metadata.name and metadata.namespace only",
                ));
            }
        };
        Ok(Self { field, value: value.trim().to_owned(), equal })
    }

    fn fits(&self, candidate: &Candidate<'_>) -> bool {
        let value = match self.field {
            Field::Name => candidate.name,
            Field::Namespace => candidate.namespace.unwrap_or_default(),
        };
        (value == self.value) == self.equal
    }
}

impl Selection {
    fn fits(&self, candidate: &Candidate<'_>) -> bool {
        self.fields.iter().all(|field| field.fits(candidate))
            && self.labels.fits_values(|key| candidate.label(key))
    }

    fn fits_in(&self, namespace: &str, candidate: &Candidate<'_>) -> bool {
        candidate.namespace == Some(namespace) && self.fits(candidate)
    }
}

async fn nodes(State(state): State<ReceiverState>, selection: Selection) -> Response {
    let nodes = state.store().node_metrics(state.now(), |node| selection.fits(node));
    found(&NodeMetricsList::nodes(nodes))
}

async fn node(State(state): State<ReceiverState>, PathNames(name): PathNames<String>) -> Response {
    match state.store().node_metrics(state.now(), |node| node.name == name).pop() {
        Some(node) => found(&Object::node(node)),
        None => not_found(&server::not_found("nodes", &name)),
    }
}

async fn pods(State(state): State<ReceiverState>, selection: Selection) -> Response {
    let pods = state.store().pod_metrics(state.now(), |pod| selection.fits(pod));
    found(&PodMetricsList::pods(pods))
}

async fn namespace_pods(
    State(state): State<ReceiverState>,
    PathNames(ns): PathNames<String>,
    selection: Selection,
) -> Response {
    let pods = state.store().pod_metrics(state.now(), |pod| selection.fits_in(&ns, pod));
    found(&PodMetricsList::pods(pods))
}

async fn pod(
    State(state): State<ReceiverState>,
    PathNames((ns, name)): PathNames<(String, String)>,
) -> Response {
    let is_it = |pod: &Candidate<'_>| pod.namespace == Some(&ns) && pod.name == name;
    match state.store().pod_metrics(state.now(), is_it).pop() {
        Some(pod) => found(&Object::pod(pod)),
        None => not_found(&server::not_found("pods", &name)),
    }
}

async fn core_nodes(State(state): State<ReceiverState>, selection: Selection) -> Response {
    let nodes = state.store().node_objects(state.now(), |node| selection.fits(node));
    found(&server::core_list("NodeList", &nodes))
}

async fn core_pods(State(state): State<ReceiverState>, selection: Selection) -> Response {
    let pods = state.store().pod_objects(state.now(), |pod| selection.fits(pod));
    found(&server::core_list("PodList", &pods))
}

async fn core_namespace_pods(
    State(state): State<ReceiverState>,
    PathNames(ns): PathNames<String>,
    selection: Selection,
) -> Response {
    let pods = state.store().pod_objects(state.now(), |pod| selection.fits_in(&ns, pod));
    found(&server::core_list("PodList", &pods))
}

async fn core_node(
    State(state): State<ReceiverState>,
    PathNames(name): PathNames<String>,
) -> Response {
    match state.store().node_objects(state.now(), |node| node.name == name).pop() {
        Some(node) => found(&server::core_object("Node", &node)),
        None => not_found(&server::core_not_found("nodes", &name)),
    }
}

async fn core_pod(
    State(state): State<ReceiverState>,
    PathNames((ns, name)): PathNames<(String, String)>,
) -> Response {
    let is_it = |pod: &Candidate<'_>| pod.namespace == Some(&ns) && pod.name == name;
    match state.store().pod_objects(state.now(), is_it).pop() {
        Some(pod) => found(&server::core_object("Pod", &pod)),
        None => not_found(&server::core_not_found("pods", &name)),
    }
}
