//! The pod batch API: pods and nodes as whole documents. Their usage is also stored for the reads of
//! the resource API.
//!
//! Every error is `{"error": {"code": "…", "message": "…"}}`.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::json;

use super::answer::{self, HandlerResult, Refusal};
use super::listing::{self, Items, ListSource};
use super::request::JsonBody;
use super::state::ReceiverState;
use super::store::{
    Change, Document, DocumentKind, DocumentRow, NodePush, PodPush, RowPage, StoreError,
    UsagePushes,
};
use crate::payload::dialect::Dialect;
use crate::payload::pod_batch::{decode_nodes, decode_pods};

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
        StatusCode::UNAUTHORIZED => "unauthorized",
        StatusCode::FORBIDDEN => "forbidden",
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::REQUEST_TIMEOUT => "timeout",
        StatusCode::PAYLOAD_TOO_LARGE => "payload_too_large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_media_type",
        StatusCode::UNPROCESSABLE_ENTITY => "idempotency_key_reused",
        StatusCode::INSUFFICIENT_STORAGE => "insufficient_storage",
        StatusCode::SERVICE_UNAVAILABLE => "unavailable",
        _ => "internal",
    };
    let error = json!({"error": {"code": code, "message": refusal.message}});
    answer::json(refusal.status, &error)
}

async fn push_pods(
    State(state): State<ReceiverState>,
    body: JsonBody<BODY_BYTES_MAX>,
) -> HandlerResult {
    let resources = decode_pods(&body.bytes).map_err(Refusal::bad_request)?.resources;
    let count = resources.len();
    let mut pushes = UsagePushes::of(Dialect::PodBatch);
    for pod in resources {
        // Its document does not say the node.
        body.head.rights.check_node(&pod.post.node_name)?;
        pushes.documents.push(Document {
            kind: DocumentKind::Pod,
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            json: pod.json,
        });
        // The resource API has running pods alone.
        if pod.runs {
            pushes.pods.push(PodPush { namespace: pod.namespace, name: pod.name, post: pod.post });
        }
    }
    state.store_post(body.head, Change::Usage(pushes), |_| accepted(count)).await
}

async fn push_nodes(
    State(state): State<ReceiverState>,
    body: JsonBody<BODY_BYTES_MAX>,
) -> HandlerResult {
    let resources = decode_nodes(&body.bytes).map_err(Refusal::bad_request)?.resources;
    let count = resources.len();
    let mut pushes = UsagePushes::of(Dialect::PodBatch);
    for node in resources {
        pushes.documents.push(Document {
            kind: DocumentKind::Node,
            namespace: String::new(),
            name: node.name.clone(),
            json: node.json,
        });
        let amounts = Some((node.capacity, node.allocatable));
        pushes.nodes.push(NodePush { name: node.name, post: node.post, amounts });
    }
    state.store_post(body.head, Change::Usage(pushes), |_| accepted(count)).await
}

fn accepted(count: usize) -> Response {
    answer::json(
        StatusCode::OK,
        &json!({
            "status": "success",
            "message": "Metrics received successfully",
            "metrics_count": count
        }),
    )
}

/// The resources that are still posted.
struct Documents {
    state: ReceiverState,
    kind: DocumentKind,
}

impl ListSource for Documents {
    type Row = DocumentRow;

    async fn read(&self, page: RowPage) -> Result<Vec<Self::Row>, StoreError> {
        let since = self.state.live().since;
        self.state.store().documents(self.kind, since, page).await
    }

    fn place(row: &Self::Row) -> (String, String) {
        (row.namespace.clone(), row.name.clone())
    }

    fn write(&self, row: &Self::Row, items: &mut Items) {
        items.push_json(&row.json);
    }

    fn end(&self, count: usize, _: Option<(String, String)>) -> String {
        format!("],\"metrics_count\":{count}}}")
    }
}

const BEGIN: &str = "{\"resources\":[";

async fn pods(State(state): State<ReceiverState>) -> HandlerResult {
    let documents = Documents { state, kind: DocumentKind::Pod };
    listing::answer(documents, RowPage::of_documents(), BEGIN).await
}

async fn nodes(State(state): State<ReceiverState>) -> HandlerResult {
    let documents = Documents { state, kind: DocumentKind::Node };
    listing::answer(documents, RowPage::of_documents(), BEGIN).await
}
