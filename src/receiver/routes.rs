//! The paths of all dialects over what is kept, and the index page.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::documents::Documents;
use super::repeats::{self, Hashes, Known, Repeats};
use super::request::{LARGE_BODIES_MAX, Refusal};
use super::rows::Rows;
use super::store::Store;
use super::{Bounds, Clock, metrics_k8s_io, page, pod_batch, pod_lifecycle, resource_api};
use crate::quantity::WallTime;

#[derive(Clone)]
pub(super) struct App {
    store: Arc<Mutex<Store>>,
    resources: Arc<Mutex<Resources>>,
    rows: Arc<Mutex<Rows>>,
    repeats: Arc<Mutex<Repeats>>,
    hashes: Hashes,
    large_bodies: Arc<Semaphore>,
    clock: Clock,
}

/// Whether a post comes for the first time, or is one that was taken before and changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    First,
    Repeat,
}

/// What came as pod batches, whole.
#[derive(Debug, Default)]
pub(super) struct Resources {
    pub(super) pods: Documents,
    pub(super) nodes: Documents,
}

impl App {
    pub(super) fn new(bounds: Bounds, clock: Clock) -> Self {
        Self {
            store: Arc::new(Mutex::new(Store::new(bounds))),
            resources: Arc::default(),
            rows: Arc::default(),
            repeats: Arc::default(),
            hashes: Hashes::default(),
            large_bodies: Arc::new(Semaphore::new(LARGE_BODIES_MAX)),
            clock,
        }
    }

    pub(super) fn set_bounds(&self, bounds: Bounds) {
        self.store().set_bounds(bounds);
    }

    pub(super) fn bounds(&self) -> Bounds {
        self.store().bounds().clone()
    }

    pub(super) fn now(&self) -> WallTime {
        (self.clock)()
    }

    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        held(&self.store)
    }

    pub(super) fn resources(&self) -> MutexGuard<'_, Resources> {
        held(&self.resources)
    }

    pub(super) fn rows(&self) -> MutexGuard<'_, Rows> {
        held(&self.rows)
    }

    pub(super) fn hashes(&self) -> &Hashes {
        &self.hashes
    }

    /// The answer of `answer`, which keeps what was posted on the first turn only. Two that come at
    /// once wait for each other, so that one of them is a repeat; without a key each is a first.
    pub(super) fn once(
        &self,
        post: Option<repeats::Post>,
        answer: impl FnOnce(Turn) -> Result<Response, Refusal>,
    ) -> Result<Response, Refusal> {
        let Some(post) = post else { return answer(Turn::First) };
        let (now, bounds) = (self.now(), self.bounds());
        let mut repeats = held(&self.repeats);
        match repeats.known(now, post, &bounds) {
            Known::No => {
                let answer = answer(Turn::First)?;
                repeats.remember(now, post, &bounds);
                Ok(answer)
            }
            Known::Taken => {
                let mut answer = answer(Turn::Repeat)?;
                answer.headers_mut().insert(repeats::REPLAYED, HeaderValue::from_static("true"));
                Ok(answer)
            }
            Known::OtherBody => Err(Refusal::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "under this Idempotency-Key another body was taken; a key is for one post",
            )),
        }
    }

    /// Waits until a large body may be read.
    pub(super) async fn place_for_large_body(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        Arc::clone(&self.large_bodies).acquire_owned().await.ok()
    }
}

fn held<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic under the lock can leave no half of a push behind that a read could trip over.
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn router(app: App) -> Router {
    Router::new()
        .route("/", get(index))
        .merge(resource_api::router())
        .merge(metrics_k8s_io::router())
        .merge(pod_batch::router())
        .merge(pod_lifecycle::router())
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app)
}

/// A value as the answer.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
            (status, headers, body).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn no_such_path(uri: Uri) -> Response {
    let message = format!("no such path: {}; GET / lists those there are", uri.path());
    refuse(&uri, Refusal::new(StatusCode::NOT_FOUND, message))
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let message = format!("{method} is not allowed on {}", uri.path());
    refuse(&uri, Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message))
}

/// In the words of the API that the path belongs to.
fn refuse(uri: &Uri, refusal: Refusal) -> Response {
    match uri.path() {
        path if path.starts_with("/api/v1/metrics") => pod_batch::refuse(refusal),
        path if path.starts_with("/apis") || path.starts_with("/api/v1") => {
            metrics_k8s_io::refuse(refusal)
        }
        path if path.starts_with("/pod/") => pod_lifecycle::refuse(refusal),
        _ => refusal.into_response(),
    }
}

/// For people: a page in a browser, plain text elsewhere.
async fn index(State(app): State<App>, headers: HeaderMap) -> Response {
    let wants_html = headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    if !wants_html {
        return ([(CONTENT_TYPE, "text/plain; charset=utf-8")], page::TEXT).into_response();
    }
    let now = app.now();
    let store = app.store();
    let html = page::html(&store.nodes(now), &store.deployments(now, None), &store.pods(now));
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
    ];
    (headers, html).into_response()
}
