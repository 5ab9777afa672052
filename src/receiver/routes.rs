//! The paths of all APIs, the form of their errors, and the index page.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::answer::Refusal;
use super::state::ReceiverState;
use super::{metrics_k8s_io, page, pod_batch, pod_lifecycle, resource_api};

/// A router for all APIs over one state, for servers with listeners of their own.
pub fn router(state: &ReceiverState) -> Router {
    Router::new()
        .route("/", get(index))
        .merge(resource_api::router())
        .merge(metrics_k8s_io::router())
        .merge(pod_batch::router())
        .merge(pod_lifecycle::router())
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(write_refusal))
        .with_state(state.clone())
}

async fn no_such_path(uri: Uri) -> Refusal {
    Refusal::not_found(format!("no such path: {}; GET / lists those there are", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    let message = format!("{method} is not allowed on {}", uri.path());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message)
}

/// Gives a refusal the form of the API that the path belongs to.
async fn write_refusal(request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    let mut response = next.run(request).await;
    let Some(refusal) = response.extensions_mut().remove::<Refusal>() else { return response };
    match uri.path() {
        path if path.starts_with("/api/v1/metrics") => pod_batch::refuse(&refusal),
        path if path.starts_with("/apis") || path.starts_with("/api/v1") => {
            metrics_k8s_io::refuse(&refusal)
        }
        path if path.starts_with("/pod/") => pod_lifecycle::refuse(refusal),
        _ => resource_api::refuse(&refusal),
    }
}

/// The index: a page in a browser, plain text elsewhere.
async fn index(State(state): State<ReceiverState>, headers: HeaderMap) -> Response {
    let wants_html = headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    if !wants_html {
        return ([(CONTENT_TYPE, "text/plain; charset=utf-8")], page::TEXT).into_response();
    }
    let now = state.now();
    let store = state.store();
    let html = page::html(&store.nodes(now), &store.deployments(now, None), &store.pods(now));
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
    ];
    (headers, html).into_response()
}
