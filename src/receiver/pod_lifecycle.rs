//! The pod specification and life-cycle API. Every error is plain text.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::answer::{self, HandlerResult, JSON_HEADERS, Refusal};
use super::listing::{self, ARRAY, Items, ListSource};
use super::request::{JsonBody, PathNames, PostHead};
use super::rights::Rights;
use super::state::ReceiverState;
use super::store::{Change, RowPage, SpecQuery, SpecRow, StoreError, StoredOutcome};
use crate::payload::pod_lifecycle::{decode_mark_dead, decode_spec};

/// The largest body, as in the server of this API.
const BODY_BYTES_MAX: usize = 2 << 20;

pub(super) fn router() -> Router<ReceiverState> {
    Router::new()
        .route("/pod/spec", post(spec))
        .route("/pod/mark_dead", post(mark_dead))
        .route("/pod/info", get(info))
        .route("/pod/name/{name}", get(by_name))
        .route("/pod/ip/{ip}", get(by_ip))
        .route("/pod/list/{node}", get(list))
}

pub(super) fn refuse(refusal: Refusal) -> Response {
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-store")];
    (refusal.status, headers, refusal.message).into_response()
}

async fn spec(State(state): State<ReceiverState>, body: JsonBody<BODY_BYTES_MAX>) -> HandlerResult {
    let mut spec = decode_spec(&body.bytes).map_err(Refusal::bad_request)?;
    spec.row.pod_name = spec.row.pod_name.trim().to_owned();
    if spec.row.pod_name.is_empty() {
        state.log("a pod specification was dropped", || {
            format!(
                "it has no pod_name (from node {:?}); its sender is to set one",
                spec.row.node_name
            )
        });
    }
    let change = Change::Spec { post: spec, only_on: only_on(&body.head) };
    state
        .store_post(body.head, change, |outcome| match outcome {
            StoredOutcome::Spec(row) => row_answer(&row),
            StoredOutcome::Usage | StoredOutcome::MarkedDead(_) => StatusCode::OK.into_response(),
        })
        .await
}

async fn mark_dead(
    State(state): State<ReceiverState>,
    body: JsonBody<BODY_BYTES_MAX>,
) -> HandlerResult {
    let mut dead = decode_mark_dead(&body.bytes).map_err(Refusal::bad_request)?;
    dead.pod_name = dead.pod_name.trim().to_owned();
    // Without an address the row of that name is meant, whatever its address.
    dead.pod_ip = dead.pod_ip.map(|ip| ip.trim().to_owned()).filter(|ip| !ip.is_empty());
    if dead.pod_name.is_empty() {
        state.log("a mark_dead marked nothing", || {
            "it has no pod_name; its sender is to set one".to_owned()
        });
    } else if dead.pod_ip.is_none() {
        state.log("a mark_dead without pod_ip went by the name alone", || {
            format!("pod {:?}: its sender is to set the address", dead.pod_name)
        });
    }
    let change = Change::MarkDead { post: dead, only_on: only_on(&body.head) };
    state
        .store_post(body.head, change, |outcome| match outcome {
            StoredOutcome::MarkedDead(count) => answer::json(StatusCode::OK, &count),
            StoredOutcome::Usage | StoredOutcome::Spec(_) => StatusCode::OK.into_response(),
        })
        .await
}

fn only_on(head: &PostHead) -> Option<String> {
    head.rights.own_node().map(str::to_owned)
}

/// Rows of the life-cycle API.
struct SpecList {
    state: ReceiverState,
    wanted: SpecQuery,
}

impl ListSource for SpecList {
    type Row = SpecRow;

    async fn read(&self, page: RowPage) -> Result<Vec<SpecRow>, StoreError> {
        self.state.store().specs(self.wanted.clone(), page).await
    }

    fn place(row: &SpecRow) -> (String, String) {
        let (namespace, name) = row.place();
        (namespace.to_owned(), name.to_owned())
    }

    fn write(&self, row: &SpecRow, items: &mut Items) {
        items.push_json(&json_of(row));
    }
}

fn json_of(row: &SpecRow) -> String {
    let mut json = row.head.json_up_to_pod_obj();
    json.push_str(row.pod_obj.as_deref().unwrap_or("null"));
    json.push('}');
    json
}

fn row_answer(row: &SpecRow) -> Response {
    (StatusCode::OK, JSON_HEADERS, json_of(row)).into_response()
}

async fn info(State(state): State<ReceiverState>) -> HandlerResult {
    let specs = SpecList { state, wanted: SpecQuery::All };
    listing::answer(specs, RowPage::of_documents(), ARRAY).await
}

async fn list(
    State(state): State<ReceiverState>,
    PathNames(node): PathNames<String>,
    rights: Rights,
) -> HandlerResult {
    rights.check_node(&node)?;
    let specs = SpecList { state, wanted: SpecQuery::LiveOn(node) };
    listing::answer(specs, RowPage::of_documents(), ARRAY).await
}

async fn by_name(
    State(state): State<ReceiverState>,
    PathNames(name): PathNames<String>,
) -> HandlerResult {
    one(&state, SpecQuery::Named(name)).await
}

async fn by_ip(
    State(state): State<ReceiverState>,
    PathNames(ip): PathNames<String>,
) -> HandlerResult {
    one(&state, SpecQuery::WithIp(ip)).await
}

async fn one(state: &ReceiverState, wanted: SpecQuery) -> HandlerResult {
    let found = state.store().specs(wanted, RowPage::of_rows()).await?;
    let row = found.first().ok_or_else(|| Refusal::not_found("No data found"))?;
    Ok(row_answer(row))
}
