//! The API's paths and what they answer.
//!
//! Time series are served under two spellings, `…?window=<seconds>` and
//! `…/timeseries?window=<seconds>`: the API's document has the first, the server it came with the
//! second. Every error is `{"error": "…"}`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::store::{Full, Store};
use super::{Bounds, Clock, page};
use crate::payload::resource_api::{check_name, decode_node, decode_pod};
use crate::quantity::WallTime;

/// A post is some 300 bytes; the rest is room for keys this server does not know.
const BODY_BYTES_MAX: usize = 64 << 10;

/// The time a client has for a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct App {
    store: Arc<Mutex<Store>>,
    clock: Clock,
}

impl App {
    pub(super) fn new(bounds: Bounds, clock: Clock) -> Self {
        Self { store: Arc::new(Mutex::new(Store::new(bounds))), clock }
    }

    pub(super) fn set_bounds(&self, bounds: Bounds) {
        self.store().set_bounds(bounds);
    }

    fn now(&self) -> WallTime {
        (self.clock)()
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        // A panic under the lock can leave no half of a push behind that a read could trip over.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn router(app: App) -> Router {
    Router::new()
        .route("/", get(index))
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
        .route("/api/namespaces/{ns}/deployments", get(deployments))
        .route("/api/namespaces/{ns}/deployments/{name}", get(deployment))
        .route("/api/namespaces/{ns}/deployments/{name}/pods", get(deployment))
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(app)
}

/// An error as the API answers it.
struct ApiError(StatusCode, String);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        json(self.0, &serde_json::json!({ "error": self.1 }))
    }
}

impl From<Full> for ApiError {
    fn from(full: Full) -> Self {
        Self(StatusCode::INSUFFICIENT_STORAGE, full.to_string())
    }
}

fn bad_request(message: impl ToString) -> ApiError {
    ApiError(StatusCode::BAD_REQUEST, message.to_string())
}

fn not_found(message: String) -> ApiError {
    ApiError(StatusCode::NOT_FOUND, message)
}

type Answer = Result<Response, ApiError>;

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
            (status, headers, body).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn found(value: &impl Serialize) -> Answer {
    Ok(json(StatusCode::OK, value))
}

/// The names in the path, decoded.
struct Names<T>(T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Names<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(names)) => Ok(Self(names)),
            Err(rejection) => Err(ApiError(rejection.status(), rejection.body_text())),
        }
    }
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
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Query(raw) = Query::<RawFilter>::from_request_parts(parts, app)
            .await
            .map_err(|rejection| bad_request(rejection.body_text()))?;
        let window_secs_max = app.store().bounds().retention.as_secs();
        let window = match raw.window.as_deref() {
            None => None,
            Some(text) => match text.parse() {
                Ok(seconds) if (1..=window_secs_max).contains(&seconds) => {
                    Some(Duration::from_secs(seconds))
                }
                _ => {
                    let text: String = text.chars().take(40).collect();
                    return Err(bad_request(format!(
                        "window must be a whole number of seconds from 1 to {window_secs_max}, \
                         not `{text}`"
                    )));
                }
            },
        };
        Ok(Self { window, namespace: raw.namespace })
    }
}

/// A body that may be read as JSON: the right type, not compressed, within the limits.
struct JsonBody(Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request<Body>, state: &S) -> Result<Self, ApiError> {
        check_headers(request.headers())?;
        match tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, state)).await {
            Ok(Ok(body)) => Ok(Self(body)),
            Ok(Err(rejection)) => Err(unread(&rejection)),
            Err(_) => Err(ApiError(
                StatusCode::REQUEST_TIMEOUT,
                format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs()),
            )),
        }
    }
}

fn unread(rejection: &BytesRejection) -> ApiError {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {BODY_BYTES_MAX} bytes"),
        ),
        status => ApiError(status, rejection.body_text()),
    }
}

fn check_headers(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    if let Some(encoding) = text(CONTENT_ENCODING)
        && !encoding.eq_ignore_ascii_case("identity")
    {
        return Err(ApiError(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("Content-Encoding {encoding} is not supported; send the body as it is"),
        ));
    }
    let kind = text(CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json")) {
        return Ok(());
    }
    // 400 and not 415: what this API's clients know a wrong type by.
    Err(bad_request("Content-Type must be application/json"))
}

fn name_of<'a>(what: &str, name: &'a str) -> Result<&'a str, ApiError> {
    check_name(name).map_err(|error| bad_request(format!("{what} in the path is {error}")))?;
    Ok(name)
}

async fn push_node(
    State(app): State<App>,
    Names(node): Names<String>,
    JsonBody(body): JsonBody,
) -> Answer {
    let node = name_of("the node's name", &node)?;
    let figures = decode_node(&body).map_err(bad_request)?;
    app.store().record_node(app.now(), node, figures)?;
    Ok(stored(&format!("metrics of node {node} stored")))
}

async fn push_pod(
    State(app): State<App>,
    Names((namespace, pod)): Names<(String, String)>,
    JsonBody(body): JsonBody,
) -> Answer {
    let namespace = name_of("the namespace", &namespace)?;
    let pod = name_of("the pod's name", &pod)?;
    let post = decode_pod(&body).map_err(bad_request)?;
    app.store().record_pod(app.now(), namespace, pod, post)?;
    Ok(stored(&format!("metrics of pod {namespace}/{pod} stored")))
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

fn unknown_node(node: &str) -> ApiError {
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

fn unknown_pod(pod: &str, namespace: Option<&str>) -> ApiError {
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

fn namespace_window(app: &App, ns: &str, window: Duration) -> Answer {
    let store = app.store();
    found(&store.namespace_series(app.now(), ns, window).ok_or_else(|| unknown_namespace(ns))?)
}

async fn namespace_pods(State(app): State<App>, Names(ns): Names<String>) -> Answer {
    let store = app.store();
    found(&store.namespace_pods(app.now(), &ns).ok_or_else(|| unknown_namespace(&ns))?)
}

fn unknown_namespace(ns: &str) -> ApiError {
    not_found(format!("no pod of namespace {ns} has been pushed lately"))
}

/// Pushes do not say who owns a pod, so no deployment is known.
async fn deployments(State(app): State<App>, Names(ns): Names<String>) -> Answer {
    let store = app.store();
    store.namespace(app.now(), &ns).ok_or_else(|| unknown_namespace(&ns))?;
    let none: [(); 0] = [];
    found(&none)
}

async fn deployment(Names((_, name)): Names<(String, String)>) -> ApiError {
    not_found(format!("deployment {name} is not known: pushes do not say who owns a pod"))
}

async fn no_such_path(uri: Uri) -> ApiError {
    not_found(format!("no such path: {}; GET / lists those there are", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let path = uri.path();
    ApiError(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not allowed on {path}"))
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
    let html = page::html(&store.nodes(now), &store.pods(now));
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
    ];
    (headers, html).into_response()
}
