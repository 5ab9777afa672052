//! The pod specification and life-cycle API. Every error is plain text.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use tracing::warn;

use super::answer::{self, HandlerResult, Refusal};
use super::lifecycle_rows::{self, LifecycleRow};
use super::pieces::Pieces;
use super::request::{JsonBody, PathNames};
use super::state::{Arrival, ReceiverState};
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
    let spec = decode_spec(&body.bytes).map_err(Refusal::bad_request)?;
    state.once(body.post, |arrival| {
        if arrival == Arrival::Replay
            && let Some(row) = state.rows().named(&spec.row.pod_name)
        {
            return Ok(row.pieces().answer());
        }
        let is_nameless = spec.row.pod_name.trim().is_empty();
        if arrival == Arrival::First && !is_nameless {
            let (now, bounds) = (state.now(), state.bounds());
            return Ok(state.rows().upsert(now, spec, &bounds)?.answer());
        }
        if arrival == Arrival::First {
            warn!("dropped a pod specification from node {:?}: no pod_name", spec.row.node_name);
        }
        Ok(lifecycle_rows::pieces(&spec.row, spec.pod_obj.map(Bytes::from)).answer())
    })
}

async fn mark_dead(
    State(state): State<ReceiverState>,
    body: JsonBody<BODY_BYTES_MAX>,
) -> HandlerResult {
    let dead = decode_mark_dead(&body.bytes).map_err(Refusal::bad_request)?;
    state.once(body.post, |arrival| {
        let count = match arrival {
            Arrival::First => state.rows().mark_dead(state.now(), &dead),
            Arrival::Replay => state.rows().count_of(&dead),
        };
        Ok(answer::json(StatusCode::OK, &count))
    })
}

async fn info(State(state): State<ReceiverState>) -> Response {
    list_of(state.rows().all())
}

async fn list(State(state): State<ReceiverState>, PathNames(node): PathNames<String>) -> Response {
    list_of(state.rows().live_on(&node))
}

fn list_of(rows: Vec<&LifecycleRow>) -> Response {
    Pieces::list(rows.into_iter().map(LifecycleRow::pieces)).answer()
}

async fn by_name(
    State(state): State<ReceiverState>,
    PathNames(name): PathNames<String>,
) -> HandlerResult {
    one(state.rows().named(&name))
}

async fn by_ip(
    State(state): State<ReceiverState>,
    PathNames(ip): PathNames<String>,
) -> HandlerResult {
    one(state.rows().with_ip(&ip))
}

fn one(row: Option<&LifecycleRow>) -> HandlerResult {
    let row = row.ok_or_else(|| Refusal::not_found("No data found"))?;
    Ok(row.pieces().answer())
}
