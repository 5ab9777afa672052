//! The Kubernetes read API `metrics.k8s.io/v1beta1`, with the nodes and pods of `v1` that
//! `kubectl top` needs. Every error is a `Status` object.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::get;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::{HandlerResult, Refusal, json};
use super::listing::{self, Items, ListSource};
use super::request::PathNames;
use super::state::ReceiverState;
use super::store::{EntityQuery, NodeRow, PodRow, RowPage, StoreError};
use crate::payload::metrics_k8s_io::{
    ContainerMetrics, CoreNode, CorePod, ListPosition, MetricsInterval, NodeMetrics, Object,
    PodMetrics, ResourceUsage, server,
};
use crate::payload::pod_batch::NodeAmounts;
use crate::payload::selector::Selector;
use crate::quantity::WallTime;

pub(super) fn router() -> Router<ReceiverState> {
    const V1BETA1: &str = "/apis/metrics.k8s.io/v1beta1";
    Router::new()
        .route("/api/v1/nodes", get(core_nodes))
        .route("/api/v1/nodes/{name}", get(core_node))
        .route("/api/v1/pods", get(core_pods))
        .route("/api/v1/namespaces/{ns}/pods", get(core_namespace_pods))
        .route("/api/v1/namespaces/{ns}/pods/{name}", get(core_pod))
        .route(&format!("{V1BETA1}/nodes"), get(nodes))
        .route(&format!("{V1BETA1}/nodes/{{name}}"), get(node))
        .route(&format!("{V1BETA1}/pods"), get(pods))
        .route(&format!("{V1BETA1}/namespaces/{{ns}}/pods"), get(namespace_pods))
        .route(&format!("{V1BETA1}/namespaces/{{ns}}/pods/{{name}}"), get(pod))
}

pub(super) fn refuse(refusal: &Refusal) -> Response {
    let reason = match refusal.status {
        StatusCode::BAD_REQUEST => "BadRequest",
        StatusCode::UNAUTHORIZED => "Unauthorized",
        StatusCode::FORBIDDEN => "Forbidden",
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowed",
        StatusCode::NOT_ACCEPTABLE => "NotAcceptable",
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

/// The parameters that are read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSelection {
    label_selector: Option<String>,
    field_selector: Option<String>,
    watch: Option<String>,
    limit: Option<String>,
    r#continue: Option<String>,
}

/// The objects that a request selects.
struct Selection {
    labels: Selector,
    fields: Vec<FieldRequirement>,
    /// The most that the answer may have.
    items_max: usize,
    /// The place behind which the answer begins.
    after: Option<(String, String)>,
    /// The list, for the token of its rest.
    path: String,
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
        if raw.watch.is_some_and(|watch| watch != "0" && !watch.eq_ignore_ascii_case("false")) {
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
        let path = parts.uri.path().to_owned();
        let after = raw.r#continue.filter(|token| !token.is_empty());
        let after = after.map(|token| ListPosition::parse(&token, &path)).transpose();
        let after = after
            .map_err(|error| Refusal::bad_request(format!("continue cannot be read: {error}")))?;
        let after = after.map(|position| (position.namespace, position.name));
        Ok(Self { labels, fields, items_max: items_max(raw.limit.as_deref())?, after, path })
    }
}

/// Reads `limit`, an int64 in Kubernetes: 0, like none, is all.
fn items_max(limit: Option<&str>) -> Result<usize, Refusal> {
    let limit = limit.filter(|text| !text.is_empty()).map_or(Ok(0), str::parse::<i64>);
    match limit.ok().and_then(|limit| usize::try_from(limit).ok()) {
        Some(0) => Ok(usize::MAX),
        Some(limit) => Ok(limit),
        None => Err(Refusal::bad_request("limit is not a whole number from 0 to 2^63-1")),
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
            Field::Namespace => candidate.namespace,
        };
        (value == self.value) == self.equal
    }
}

/// A node or pod that a request may select.
struct Candidate<'a> {
    /// Empty of a node.
    namespace: &'a str,
    name: &'a str,
    labels: Option<&'a BTreeMap<String, String>>,
}

impl Selection {
    fn fits(&self, candidate: &Candidate<'_>) -> bool {
        let label = |key: &str| candidate.labels?.get(key).map(String::as_str);
        self.fields.iter().all(|field| field.fits(candidate)) && self.labels.fits_values(label)
    }

    /// The first page of rows. A short list needs few, but those that do not fit are read as well.
    fn first_page(&self) -> RowPage {
        let RowPage { rows_max, .. } = RowPage::of_rows();
        let rows_max = self.items_max.saturating_add(1).clamp(ROWS_MIN, rows_max.max(ROWS_MIN));
        RowPage { after: self.after.clone(), rows_max }
    }

    /// The metadata of the list, and its end. `cut`: the place of the last item, if more follow.
    fn end(&self, version: &str, cut: Option<(String, String)>) -> String {
        let token = cut.map(|(namespace, name)| ListPosition { namespace, name }.token(&self.path));
        // A token has only letters, digits, dashes and underscores.
        let rest = token.map(|token| format!("\"continue\":\"{token}\""));
        let version = Some(version.to_owned()).filter(|version| !version.is_empty());
        let fields: Vec<String> = version.into_iter().chain(rest).collect();
        format!("],\"metadata\":{{{}}}}}", fields.join(","))
    }
}

/// The fewest rows that are read at a time.
const ROWS_MIN: usize = 50;

/// Makes the object of a row.
type Make<R, T> = fn(&R, u64) -> T;

/// The nodes that a request selects, as objects.
struct NodeObjects<T> {
    state: ReceiverState,
    selection: Selection,
    interval_millis: u64,
    form: ListForm,
    make: Make<NodeRow, T>,
}

impl<T: Serialize + 'static> ListSource for NodeObjects<T> {
    type Row = NodeRow;

    async fn read(&self, page: RowPage) -> Result<Vec<NodeRow>, StoreError> {
        self.state.store().nodes(self.state.live(), page).await
    }

    fn place(row: &NodeRow) -> (String, String) {
        (String::new(), row.name.clone())
    }

    fn write(&self, row: &NodeRow, items: &mut Items) {
        let labels = row.extras.labels.as_ref();
        if self.selection.fits(&Candidate { namespace: "", name: &row.name, labels }) {
            items.push(&(self.make)(row, self.interval_millis));
        }
    }

    fn items_max(&self) -> usize {
        self.selection.items_max
    }

    fn end(&self, _: usize, cut: Option<(String, String)>) -> String {
        self.selection.end(self.form.version, cut)
    }
}

/// The pods that a request selects, as objects.
struct PodObjects<T> {
    state: ReceiverState,
    namespace: Option<String>,
    selection: Selection,
    interval_millis: u64,
    form: ListForm,
    make: Make<PodRow, T>,
}

impl<T: Serialize + 'static> ListSource for PodObjects<T> {
    type Row = PodRow;

    async fn read(&self, page: RowPage) -> Result<Vec<PodRow>, StoreError> {
        let wanted = EntityQuery { namespace: self.namespace.clone(), ..self.state.live() };
        self.state.store().pods(wanted, page).await
    }

    fn place(row: &PodRow) -> (String, String) {
        (row.namespace.clone(), row.name.clone())
    }

    fn write(&self, row: &PodRow, items: &mut Items) {
        let labels = row.extras.labels.as_ref();
        let candidate = Candidate { namespace: &row.namespace, name: &row.name, labels };
        if self.selection.fits(&candidate) {
            items.push(&(self.make)(row, self.interval_millis));
        }
    }

    fn items_max(&self) -> usize {
        self.selection.items_max
    }

    fn end(&self, _: usize, cut: Option<(String, String)>) -> String {
        self.selection.end(self.form.version, cut)
    }
}

/// The length of the time that a push covers, where it does not say.
fn interval_millis(state: &ReceiverState) -> u64 {
    u64::try_from(state.bounds().interval.as_millis()).unwrap_or(u64::MAX)
}

fn covered(at: WallTime, window_millis: Option<u64>, interval_millis: u64) -> MetricsInterval {
    MetricsInterval::new(at, window_millis.unwrap_or(interval_millis))
}

fn node_metrics(row: &NodeRow, interval_millis: u64) -> NodeMetrics {
    let usage = ResourceUsage::new(
        nanocores(row.extras.cpu_nanocores, row.usage.cpu_millicores),
        row.usage.memory_bytes,
    );
    let taken = covered(row.at, row.extras.window_millis, interval_millis);
    NodeMetrics::new(&row.name, row.extras.labels.clone().unwrap_or_default(), taken, usage)
}

/// A pod that was pushed without containers appears as one container of its own name: clients add up
/// containers, so that none would mean no usage.
fn pod_metrics(row: &PodRow, interval_millis: u64) -> PodMetrics {
    let mut containers: Vec<ContainerMetrics> = Vec::new();
    for container in &row.extras.containers {
        let usage = ResourceUsage::new(container.cpu_nanocores, container.memory_bytes);
        containers.push(ContainerMetrics { name: container.name.clone(), usage });
    }
    if containers.is_empty() {
        let cpu = nanocores(row.extras.cpu_nanocores, row.usage.cpu_millicores);
        let usage = ResourceUsage::new(cpu, row.usage.memory_bytes);
        containers.push(ContainerMetrics { name: row.name.clone(), usage });
    }
    let labels = row.extras.labels.clone().unwrap_or_default();
    let taken = covered(row.at, row.extras.window_millis, interval_millis);
    PodMetrics::new(&row.namespace, &row.name, labels, taken, containers)
}

fn nanocores(exact: Option<u64>, millicores: u64) -> u64 {
    exact.unwrap_or(millicores.saturating_mul(1_000_000))
}

fn node_object(row: &NodeRow, _: u64) -> CoreNode {
    let usage =
        |amounts: NodeAmounts| ResourceUsage::new(amounts.cpu_nanocores, amounts.memory_bytes);
    // `kubectl top` divides by them.
    let known = row
        .amounts
        .filter(|(capacity, allocatable)| capacity.are_known() && allocatable.are_known());
    let amounts = known.map(|(capacity, allocatable)| (usage(capacity), usage(allocatable)));
    CoreNode::new(&row.name, row.extras.labels.clone().unwrap_or_default(), amounts)
}

fn pod_object(row: &PodRow, _: u64) -> CorePod {
    let labels = row.extras.labels.clone().unwrap_or_default();
    CorePod::new(&row.namespace, &row.name, row.extras.pod_uid.as_deref(), labels, &row.node_name)
}

/// The text of a list around its items.
#[derive(Debug, Clone, Copy)]
struct ListForm {
    begin: &'static str,
    /// A field of the metadata, or nothing.
    version: &'static str,
}

macro_rules! form {
    ($kind:literal, $api_version:literal, $version:literal) => {
        ListForm {
            begin: concat!(
                "{\"kind\":\"",
                $kind,
                "\",\"apiVersion\":\"",
                $api_version,
                "\",\"items\":["
            ),
            version: $version,
        }
    };
}

const NODE_METRICS: ListForm = form!("NodeMetricsList", "metrics.k8s.io/v1beta1", "");
const POD_METRICS: ListForm = form!("PodMetricsList", "metrics.k8s.io/v1beta1", "");
const NODES: ListForm = form!("NodeList", "v1", "\"resourceVersion\":\"0\"");
const PODS: ListForm = form!("PodList", "v1", "\"resourceVersion\":\"0\"");

async fn node_list<T: Serialize + 'static>(
    state: ReceiverState,
    selection: Selection,
    form: ListForm,
    make: Make<NodeRow, T>,
) -> HandlerResult {
    let (interval_millis, first) = (interval_millis(&state), selection.first_page());
    let nodes = NodeObjects { state, selection, interval_millis, form, make };
    listing::answer(nodes, first, form.begin).await
}

async fn pod_list<T: Serialize + 'static>(
    state: ReceiverState,
    namespace: Option<String>,
    selection: Selection,
    form: ListForm,
    make: Make<PodRow, T>,
) -> HandlerResult {
    let (interval_millis, first) = (interval_millis(&state), selection.first_page());
    let pods = PodObjects { state, namespace, selection, interval_millis, form, make };
    listing::answer(pods, first, form.begin).await
}

/// The live node of that name.
async fn one_node(state: &ReceiverState, name: &str) -> Result<Option<NodeRow>, StoreError> {
    let wanted = EntityQuery { name: Some(name.to_owned()), ..state.live() };
    Ok(state.store().nodes(wanted, RowPage::of_rows()).await?.pop())
}

/// The live pod of that name.
async fn one_pod(
    state: &ReceiverState,
    ns: &str,
    name: &str,
) -> Result<Option<PodRow>, StoreError> {
    let (namespace, name) = (Some(ns.to_owned()), Some(name.to_owned()));
    let wanted = EntityQuery { namespace, name, ..state.live() };
    Ok(state.store().pods(wanted, RowPage::of_rows()).await?.pop())
}

async fn nodes(State(state): State<ReceiverState>, selection: Selection) -> HandlerResult {
    node_list(state, selection, NODE_METRICS, node_metrics).await
}

async fn node(
    State(state): State<ReceiverState>,
    PathNames(name): PathNames<String>,
) -> HandlerResult {
    Ok(match one_node(&state, &name).await? {
        Some(row) => found(&Object::node(node_metrics(&row, interval_millis(&state)))),
        None => not_found(&server::not_found("nodes", &name)),
    })
}

async fn pods(State(state): State<ReceiverState>, selection: Selection) -> HandlerResult {
    pod_list(state, None, selection, POD_METRICS, pod_metrics).await
}

async fn namespace_pods(
    State(state): State<ReceiverState>,
    PathNames(ns): PathNames<String>,
    selection: Selection,
) -> HandlerResult {
    pod_list(state, Some(ns), selection, POD_METRICS, pod_metrics).await
}

async fn pod(
    State(state): State<ReceiverState>,
    PathNames((ns, name)): PathNames<(String, String)>,
) -> HandlerResult {
    Ok(match one_pod(&state, &ns, &name).await? {
        Some(row) => found(&Object::pod(pod_metrics(&row, interval_millis(&state)))),
        None => not_found(&server::not_found("pods", &name)),
    })
}

async fn core_nodes(State(state): State<ReceiverState>, selection: Selection) -> HandlerResult {
    node_list(state, selection, NODES, node_object).await
}

async fn core_pods(State(state): State<ReceiverState>, selection: Selection) -> HandlerResult {
    pod_list(state, None, selection, PODS, pod_object).await
}

async fn core_namespace_pods(
    State(state): State<ReceiverState>,
    PathNames(ns): PathNames<String>,
    selection: Selection,
) -> HandlerResult {
    pod_list(state, Some(ns), selection, PODS, pod_object).await
}

async fn core_node(
    State(state): State<ReceiverState>,
    PathNames(name): PathNames<String>,
) -> HandlerResult {
    Ok(match one_node(&state, &name).await? {
        Some(row) => found(&server::core_object("Node", &node_object(&row, 0))),
        None => not_found(&server::core_not_found("nodes", &name)),
    })
}

async fn core_pod(
    State(state): State<ReceiverState>,
    PathNames((ns, name)): PathNames<(String, String)>,
) -> HandlerResult {
    Ok(match one_pod(&state, &ns, &name).await? {
        Some(row) => found(&server::core_object("Pod", &pod_object(&row, 0))),
        None => not_found(&server::core_not_found("pods", &name)),
    })
}
