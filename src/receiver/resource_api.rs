//! The resource API: pushes of nodes and pods, and all its reads.
//!
//! Time series have two spellings, `…?window=<seconds>` and `…/timeseries?window=<seconds>`: the
//! API's document has the first, the server it came with the second. Every error is
//! `{"error": "…"}`.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Serialize;

use super::answer::{HandlerResult, Refusal, json};
use super::listing::{ARRAY, Items, ListSource, answer, answer_if_any};
use super::request::{JsonBody, PathNames, checked_name};
use super::span::Filter;
use super::state::ReceiverState;
use super::store::{
    Change, EntityQuery, NodePush, NodeRow, PodKey, PodPush, PodRow, Point, RowPage, SeriesRow,
    Span, StoreError, StoredOutcome, SumKey, SumRow, UsagePushes,
};
use crate::payload::dialect::Dialect;
use crate::payload::resource_api::{
    DeploymentRecord, NamespaceRecord, NodeRecord, PeakRecord, PodRecord, UsageValues, decode_node,
    decode_pod,
};
use crate::payload::stamp::Rfc3339Seconds;
use crate::quantity::WallTime;

/// The largest body. A post is some 300 bytes beside its labels and containers; the rest is room for
/// keys that this server does not know.
const BODY_BYTES_MAX: usize = 64 << 10;

pub(super) fn router() -> Router<ReceiverState> {
    Router::new()
        .route("/api/nodes", get(nodes))
        .route("/api/nodes/timeseries", get(nodes))
        .route("/api/nodes/{node}", get(node))
        .route("/api/nodes/{node}/timeseries", get(node))
        .route("/api/nodes/{node}/metrics", post(push_node))
        .route("/api/nodes/{node}/pods", get(node_pods))
        .route("/api/pods", get(pods))
        .route("/api/pods/timeseries", get(pods))
        .route("/api/pods/{pod}", get(pod))
        .route("/api/pods/{pod}/timeseries", get(pod))
        .route("/api/namespaces", get(namespaces))
        .route("/api/namespaces/timeseries", get(namespaces))
        .route("/api/namespaces/{ns}", get(namespace))
        .route("/api/namespaces/{ns}/timeseries", get(namespace))
        .route("/api/namespaces/{ns}/pods", get(namespace_pods))
        .route("/api/namespaces/{ns}/pods/{pod}/metrics", post(push_pod))
        .route("/api/namespaces/{ns}/deployments", get(namespace_deployments))
        .route("/api/namespaces/{ns}/deployments/{name}", get(deployment))
        .route("/api/namespaces/{ns}/deployments/{name}/timeseries", get(deployment))
        .route("/api/namespaces/{ns}/deployments/{name}/pods", get(deployment_pods))
        .route("/api/deployments", get(deployments))
        .route("/api/deployments/timeseries", get(deployments))
        .route("/api/deployments/{name}", get(deployments_named))
        .route("/api/deployments/{name}/timeseries", get(deployments_named))
}

pub(super) fn refuse(refusal: &Refusal) -> Response {
    json(refusal.status, &serde_json::json!({ "error": refusal.message }))
}

fn ok(value: &impl Serialize) -> HandlerResult {
    Ok(json(StatusCode::OK, value))
}

async fn push_node(
    State(state): State<ReceiverState>,
    PathNames(node): PathNames<String>,
    body: JsonBody<BODY_BYTES_MAX>,
) -> HandlerResult {
    let name = checked_name("the node's name", &node)?.to_owned();
    let post = decode_node(&body.bytes).map_err(Refusal::bad_request)?;
    let push = NodePush { name, post, amounts: None };
    let change = pushes(vec![push], Vec::new());
    state.store_post(body.head, change, |_| stored(&format!("metrics of node {node} stored"))).await
}

async fn push_pod(
    State(state): State<ReceiverState>,
    PathNames((namespace, pod)): PathNames<(String, String)>,
    body: JsonBody<BODY_BYTES_MAX>,
) -> HandlerResult {
    checked_name("the namespace", &namespace)?;
    checked_name("the pod's name", &pod)?;
    let post = decode_pod(&body.bytes).map_err(Refusal::bad_request)?;
    let message = format!("metrics of pod {namespace}/{pod} stored");
    let change = pushes(Vec::new(), vec![PodPush { namespace, name: pod, post }]);
    state.store_post(body.head, change, |_: StoredOutcome| stored(&message)).await
}

fn pushes(nodes: Vec<NodePush>, pods: Vec<PodPush>) -> Change {
    Change::Usage(UsagePushes { nodes, pods, ..UsagePushes::of(Dialect::ResourceApi) })
}

fn stored(message: &str) -> Response {
    json(StatusCode::CREATED, &serde_json::json!({ "message": message }))
}

/// The latest values of nodes.
struct Nodes {
    state: ReceiverState,
    wanted: EntityQuery,
    /// Nodes that were not pushed since are marked.
    live_since: WallTime,
}

impl Nodes {
    fn of(state: ReceiverState, name: Option<String>) -> Self {
        let live_since = state.live().since;
        Self { wanted: EntityQuery { name, ..state.listed_nodes() }, live_since, state }
    }
}

impl ListSource for Nodes {
    type Row = NodeRow;

    async fn read(&self, page: RowPage) -> Result<Vec<NodeRow>, StoreError> {
        self.state.store().nodes(self.wanted.clone(), page).await
    }

    fn place(row: &NodeRow) -> (String, String) {
        (String::new(), row.name.clone())
    }

    fn write(&self, row: &NodeRow, items: &mut Items) {
        items.push(&node_record(row, self.live_since));
    }
}

fn node_record(row: &NodeRow, live_since: WallTime) -> NodeRecord<'_> {
    let is_stale = row.seen_at < live_since;
    let mut record = NodeRecord::new(&row.name, Rfc3339Seconds(row.at), &row.usage, is_stale);
    record.extras = Some(&row.extras);
    record
}

/// The latest values of pods.
struct Pods {
    state: ReceiverState,
    wanted: EntityQuery,
}

impl ListSource for Pods {
    type Row = PodRow;

    async fn read(&self, page: RowPage) -> Result<Vec<PodRow>, StoreError> {
        self.state.store().pods(self.wanted.clone(), page).await
    }

    fn place(row: &PodRow) -> (String, String) {
        (row.namespace.clone(), row.name.clone())
    }

    fn write(&self, row: &PodRow, items: &mut Items) {
        let at = Rfc3339Seconds(row.at);
        let mut record = PodRecord::new(&row.namespace, &row.name, at, &row.usage);
        record.node_name = Some(&row.node_name);
        record.extras = Some(&row.extras);
        items.push(&record);
    }
}

/// The series of nodes.
struct NodeSeries {
    state: ReceiverState,
    wanted: EntityQuery,
    span: Span,
}

impl ListSource for NodeSeries {
    type Row = SeriesRow<String>;

    async fn read(&self, page: RowPage) -> Result<Vec<SeriesRow<String>>, StoreError> {
        self.state.store().node_series(self.wanted.clone(), page, self.span).await
    }

    fn place(row: &SeriesRow<String>) -> (String, String) {
        (String::new(), row.of.clone())
    }

    fn write(&self, row: &SeriesRow<String>, items: &mut Items) {
        for point in &row.points {
            let at = Rfc3339Seconds(point.at);
            let mut record = NodeRecord::new(&row.of, at, &point.usage, false);
            record.peak = peak(point);
            items.push(&record);
        }
    }
}

/// The series of pods.
struct PodSeries {
    state: ReceiverState,
    wanted: EntityQuery,
    span: Span,
}

impl ListSource for PodSeries {
    type Row = SeriesRow<PodKey>;

    async fn read(&self, page: RowPage) -> Result<Vec<SeriesRow<PodKey>>, StoreError> {
        self.state.store().pod_series(self.wanted.clone(), page, self.span).await
    }

    fn place(row: &SeriesRow<PodKey>) -> (String, String) {
        (row.of.namespace.clone(), row.of.name.clone())
    }

    fn write(&self, row: &SeriesRow<PodKey>, items: &mut Items) {
        for point in &row.points {
            items.push(&pod_point(&row.of, point));
        }
    }
}

fn pod_point<'a>(of: &'a PodKey, point: &Point) -> PodRecord<'a> {
    let at = Rfc3339Seconds(point.at);
    let mut record = PodRecord::new(&of.namespace, &of.name, at, &point.usage);
    record.peak = peak(point);
    record
}

/// `None` of a single push, whose peak is itself.
fn peak(point: &Point) -> Option<PeakRecord> {
    point
        .own_peak()
        .map(|(cpu_millicores, memory_bytes)| PeakRecord { cpu_millicores, memory_bytes })
}

async fn nodes(State(state): State<ReceiverState>, filter: Filter) -> HandlerResult {
    match filter.span {
        None => answer(Nodes::of(state, None), RowPage::of_rows(), ARRAY).await,
        Some(span) => {
            let wanted = state.kept();
            answer(NodeSeries { state, wanted, span }, RowPage::of_series(), ARRAY).await
        }
    }
}

async fn node(
    State(state): State<ReceiverState>,
    PathNames(node): PathNames<String>,
    filter: Filter,
) -> HandlerResult {
    match filter.span {
        None => {
            let row = listed_node(&state, &node).await?.ok_or_else(|| unknown_node(&node))?;
            ok(&node_record(&row, state.live().since))
        }
        Some(span) => {
            let wanted = EntityQuery { name: Some(node.clone()), ..state.kept() };
            let series = NodeSeries { wanted: wanted.clone(), state: state.clone(), span };
            if series.read(RowPage::of_series()).await?.is_empty() {
                return Err(unknown_node(&node));
            }
            answer(series, RowPage::of_series(), ARRAY).await
        }
    }
}

async fn listed_node(state: &ReceiverState, name: &str) -> Result<Option<NodeRow>, StoreError> {
    let wanted = EntityQuery { name: Some(name.to_owned()), ..state.listed_nodes() };
    Ok(state.store().nodes(wanted, RowPage::of_rows()).await?.pop())
}

async fn node_pods(
    State(state): State<ReceiverState>,
    PathNames(node): PathNames<String>,
) -> HandlerResult {
    let wanted = EntityQuery { node: Some(node.clone()), ..state.live() };
    let pods = Pods { state: state.clone(), wanted };
    if let Some(answer) = answer_if_any(pods, RowPage::of_rows(), ARRAY).await? {
        return Ok(answer);
    }
    listed_node(&state, &node).await?.ok_or_else(|| unknown_node(&node))?;
    ok(&[(); 0])
}

fn unknown_node(node: &str) -> Refusal {
    Refusal::not_found(format!("node {node} is not known"))
}

async fn pods(State(state): State<ReceiverState>, filter: Filter) -> HandlerResult {
    let namespace = filter.namespace;
    match filter.span {
        None => {
            let wanted = EntityQuery { namespace, ..state.live() };
            answer(Pods { state, wanted }, RowPage::of_rows(), ARRAY).await
        }
        Some(span) => {
            let wanted = EntityQuery { namespace, ..state.kept() };
            answer(PodSeries { state, wanted, span }, RowPage::of_series(), ARRAY).await
        }
    }
}

async fn pod(
    State(state): State<ReceiverState>,
    PathNames(pod): PathNames<String>,
    filter: Filter,
) -> HandlerResult {
    let namespace = filter.namespace;
    let unknown = || {
        Refusal::not_found(match &namespace {
            Some(namespace) => format!("pod {namespace}/{pod} is not known"),
            None => format!("pod {pod} is not known in any namespace"),
        })
    };
    let select = |all: EntityQuery| EntityQuery {
        namespace: namespace.clone(),
        name: Some(pod.clone()),
        ..all
    };
    let Some(span) = filter.span else {
        let pods = Pods { state: state.clone(), wanted: select(state.live()) };
        if let Some(answer) = answer_if_any(pods, RowPage::of_rows(), ARRAY).await? {
            return Ok(answer);
        }
        if state.store().pods(select(state.kept()), RowPage::of_rows()).await?.is_empty() {
            return Err(unknown());
        }
        let stale_after = humantime::format_duration(state.bounds().stale_after);
        return Err(Refusal::not_found(format!(
            "pod {pod} has not been pushed for {stale_after}; ?window=<seconds> shows its past"
        )));
    };
    let mut all = Vec::new();
    let mut next = Some(RowPage::of_series());
    while let Some(page) = next.take() {
        let part = state.store().pod_series(select(state.kept()), page.clone(), span).await?;
        next = page.next(part.len(), part.last().map(PodSeries::place));
        all.extend(part);
    }
    if all.is_empty() {
        return Err(unknown());
    }
    let points =
        all.iter().flat_map(|row| row.points.iter().map(|point| pod_point(&row.of, point)));
    let mut points: Vec<_> = points.collect();
    points.sort_by_key(|point| point.timestamp);
    ok(&points)
}

fn namespace_record(row: &SumRow) -> NamespaceRecord<'_> {
    NamespaceRecord::new(&row.of.namespace, Rfc3339Seconds(row.at), &row.usage)
}

fn deployment_record<'a>(
    of: &'a SumKey,
    at: WallTime,
    usage: &UsageValues,
) -> DeploymentRecord<'a> {
    let name = of.deployment.as_deref().unwrap_or_default();
    DeploymentRecord::new(&of.namespace, name, Rfc3339Seconds(at), usage)
}

async fn namespaces(State(state): State<ReceiverState>, filter: Filter) -> HandlerResult {
    match filter.span {
        None => {
            let sums = state.store().sums(state.live(), false).await?;
            ok(&sums.iter().map(namespace_record).collect::<Vec<_>>())
        }
        Some(span) => {
            let series = state.store().sum_series(state.kept(), false, span).await?;
            ok(&namespace_points(&series))
        }
    }
}

fn namespace_points(series: &[SeriesRow<SumKey>]) -> Vec<NamespaceRecord<'_>> {
    let points = series.iter().flat_map(|row| row.points.iter().map(move |point| (row, point)));
    let records = points.map(|(row, point)| {
        NamespaceRecord::new(&row.of.namespace, Rfc3339Seconds(point.at), &point.usage)
    });
    records.collect()
}

/// The points of all series, by time.
fn deployment_points(series: &[SeriesRow<SumKey>]) -> Vec<DeploymentRecord<'_>> {
    let points = series.iter().flat_map(|row| row.points.iter().map(move |point| (row, point)));
    let records = points.map(|(row, point)| deployment_record(&row.of, point.at, &point.usage));
    let mut records: Vec<_> = records.collect();
    records.sort_by_key(|record| record.timestamp);
    records
}

/// The API's document has the series of a deployment under this path too. So a name that is not a
/// namespace's is looked up among the deployments.
async fn namespace(
    State(state): State<ReceiverState>,
    PathNames(ns): PathNames<String>,
    filter: Filter,
) -> HandlerResult {
    let Some(span) = filter.span else {
        let wanted = EntityQuery { namespace: Some(ns.clone()), ..state.live() };
        let sums = state.store().sums(wanted, false).await?;
        return ok(&namespace_record(sums.first().ok_or_else(|| unknown_namespace(&ns))?));
    };
    let wanted = EntityQuery { namespace: Some(ns.clone()), ..state.kept() };
    let series = state.store().sum_series(wanted, false, span).await?;
    if !series.is_empty() {
        return ok(&namespace_points(&series));
    }
    let wanted = EntityQuery { deployment: Some(ns.clone()), ..state.kept() };
    let series = state.store().sum_series(wanted, true, span).await?;
    if series.is_empty() {
        return Err(unknown_namespace(&ns));
    }
    ok(&deployment_points(&series))
}

async fn namespace_pods(
    State(state): State<ReceiverState>,
    PathNames(ns): PathNames<String>,
) -> HandlerResult {
    let wanted = EntityQuery { namespace: Some(ns.clone()), ..state.live() };
    let found = answer_if_any(Pods { state, wanted }, RowPage::of_rows(), ARRAY).await?;
    found.ok_or_else(|| unknown_namespace(&ns))
}

fn unknown_namespace(ns: &str) -> Refusal {
    Refusal::not_found(format!("no pod of namespace {ns} has been pushed lately"))
}

/// The latest sums of the deployments that are wanted.
async fn latest_deployments(
    state: &ReceiverState,
    wanted: EntityQuery,
) -> Result<Vec<SumRow>, Refusal> {
    Ok(state.store().sums(wanted, true).await?)
}

fn deployment_records(sums: &[SumRow]) -> Vec<DeploymentRecord<'_>> {
    let records = sums.iter().map(|row| deployment_record(&row.of, row.at, &row.usage));
    records.collect()
}

async fn deployments(State(state): State<ReceiverState>, filter: Filter) -> HandlerResult {
    let namespace = filter.namespace;
    match filter.span {
        None => {
            let wanted = EntityQuery { namespace, ..state.live() };
            ok(&deployment_records(&latest_deployments(&state, wanted).await?))
        }
        Some(span) => {
            let wanted = EntityQuery { namespace, ..state.kept() };
            ok(&deployment_points(&state.store().sum_series(wanted, true, span).await?))
        }
    }
}

async fn namespace_deployments(
    State(state): State<ReceiverState>,
    PathNames(ns): PathNames<String>,
) -> HandlerResult {
    let wanted = EntityQuery { namespace: Some(ns.clone()), ..state.live() };
    if state.store().sums(wanted.clone(), false).await?.is_empty() {
        return Err(unknown_namespace(&ns));
    }
    ok(&deployment_records(&latest_deployments(&state, wanted).await?))
}

async fn deployment(
    State(state): State<ReceiverState>,
    PathNames((ns, name)): PathNames<(String, String)>,
    filter: Filter,
) -> HandlerResult {
    let select = |all: EntityQuery| EntityQuery {
        namespace: Some(ns.clone()),
        deployment: Some(name.clone()),
        ..all
    };
    let unknown = || unknown_deployment(Some(&ns), &name);
    if let Some(span) = filter.span {
        let series = state.store().sum_series(select(state.kept()), true, span).await?;
        return if series.is_empty() { Err(unknown()) } else { ok(&deployment_points(&series)) };
    }
    let sums = latest_deployments(&state, select(state.live())).await?;
    let records = deployment_records(&sums);
    ok(records.first().ok_or_else(unknown)?)
}

async fn deployment_pods(
    State(state): State<ReceiverState>,
    PathNames((ns, name)): PathNames<(String, String)>,
) -> HandlerResult {
    let wanted =
        EntityQuery { namespace: Some(ns.clone()), deployment: Some(name.clone()), ..state.live() };
    let found = answer_if_any(Pods { state, wanted }, RowPage::of_rows(), ARRAY).await?;
    found.ok_or_else(|| unknown_deployment(Some(&ns), &name))
}

/// The deployments of that name, of one namespace or of all.
async fn deployments_named(
    State(state): State<ReceiverState>,
    PathNames(name): PathNames<String>,
    filter: Filter,
) -> HandlerResult {
    let namespace = filter.namespace;
    let select = |all: EntityQuery| EntityQuery {
        namespace: namespace.clone(),
        deployment: Some(name.clone()),
        ..all
    };
    let unknown = || unknown_deployment(namespace.as_deref(), &name);
    if let Some(span) = filter.span {
        let series = state.store().sum_series(select(state.kept()), true, span).await?;
        return if series.is_empty() { Err(unknown()) } else { ok(&deployment_points(&series)) };
    }
    let sums = latest_deployments(&state, select(state.live())).await?;
    if sums.is_empty() { Err(unknown()) } else { ok(&deployment_records(&sums)) }
}

fn unknown_deployment(ns: Option<&str>, name: &str) -> Refusal {
    let place = ns.map_or_else(|| "any namespace".to_owned(), |ns| format!("namespace {ns}"));
    Refusal::not_found(format!(
        "deployment {name} is not known in {place}: no pod has lately been pushed with it as its \
         deployment_name"
    ))
}
