//! The pod specification and life-cycle API. Every error is plain text.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use tracing::warn;

use super::pieces::Pieces;
use super::request::{JsonBody, Names, Refusal};
use super::routes::{self, App, Turn};
use super::rows::{self, Row};
use crate::payload::pod_lifecycle::{PodSpecPost, decode_mark_dead, decode_spec};

/// What its server takes.
const BODY_BYTES_MAX: usize = 2 << 20;

type Body = Result<JsonBody<BODY_BYTES_MAX>, Refusal>;

pub(super) fn router() -> Router<App> {
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

async fn spec(State(app): State<App>, body: Body) -> Response {
    keep(&app, body).unwrap_or_else(refuse)
}

fn keep(app: &App, body: Body) -> Result<Response, Refusal> {
    let body = body?;
    let spec = decode_spec(&body.bytes).map_err(Refusal::bad_request)?;
    app.once(body.post, |turn| match turn {
        Turn::First => keep_row(app, spec),
        Turn::Repeat => {
            let kept = app.rows().named(&spec.row.pod_name).map(Row::pieces);
            let posted = || rows::pieces(&spec.row, spec.pod_obj.map(Bytes::from));
            Ok(kept.unwrap_or_else(posted).answer())
        }
    })
}

fn keep_row(app: &App, post: PodSpecPost) -> Result<Response, Refusal> {
    if post.row.pod_name.trim().is_empty() {
        warn!("a pod specification from node {:?} has no pod_name; not kept", post.row.node_name);
        return Ok(rows::pieces(&post.row, post.pod_obj.map(Bytes::from)).answer());
    }
    let (now, bounds) = (app.now(), app.bounds());
    match app.rows().upsert(now, post, &bounds) {
        Ok(row) => Ok(row.answer()),
        Err(full) => Err(Refusal::new(StatusCode::INSUFFICIENT_STORAGE, full)),
    }
}

async fn mark_dead(State(app): State<App>, body: Body) -> Response {
    mark(&app, body).unwrap_or_else(refuse)
}

fn mark(app: &App, body: Body) -> Result<Response, Refusal> {
    let body = body?;
    let dead = decode_mark_dead(&body.bytes).map_err(Refusal::bad_request)?;
    app.once(body.post, |turn| {
        let changed = match turn {
            Turn::First => app.rows().mark_dead(app.now(), &dead),
            Turn::Repeat => app.rows().count_of(&dead),
        };
        Ok(routes::json(StatusCode::OK, &changed))
    })
}

async fn info(State(app): State<App>) -> Response {
    all_of(app.rows().all())
}

async fn list(State(app): State<App>, node: Result<Names<String>, Refusal>) -> Response {
    match node {
        Ok(Names(node)) => all_of(app.rows().live_on(&node)),
        Err(refusal) => refuse(refusal),
    }
}

fn all_of(rows: Vec<&Row>) -> Response {
    Pieces::list(rows.into_iter().map(Row::pieces)).answer()
}

async fn by_name(State(app): State<App>, name: Result<Names<String>, Refusal>) -> Response {
    match name {
        Ok(Names(name)) => one(app.rows().named(&name)),
        Err(refusal) => refuse(refusal),
    }
}

async fn by_ip(State(app): State<App>, ip: Result<Names<String>, Refusal>) -> Response {
    match ip {
        Ok(Names(ip)) => one(app.rows().with_ip(&ip)),
        Err(refusal) => refuse(refusal),
    }
}

fn one(row: Option<&Row>) -> Response {
    match row {
        Some(row) => row.pieces().answer(),
        None => refuse(Refusal::new(StatusCode::NOT_FOUND, "No data found")),
    }
}
