//! The paths of all APIs, the form of their errors, and the index page.

use std::fmt;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

use super::answer::Refusal;
use super::host_header::host_fault;
use super::listener::Peer;
use super::request::discard_body;
use super::rights::{Rights, is_for_all};
use super::state::{ReceiverState, RightsError};
use super::{
    api_server, metrics_k8s_io, openapi, page, pod_batch, pod_lifecycle, resource_api, samples,
};

/// A router for all APIs over one state. `is_loopback`: it is served on a loopback address, where the
/// `Host` header must name this host.
pub fn router(state: &ReceiverState, is_loopback: bool) -> Router {
    Router::new()
        .merge(page::router())
        .merge(resource_api::router())
        .merge(samples::router())
        .merge(api_server::router())
        .merge(metrics_k8s_io::router())
        .merge(pod_batch::router())
        .merge(pod_lifecycle::router())
        .merge(openapi::router())
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(state.clone(), await_first_push))
        .layer(middleware::from_fn_with_state(state.clone(), check_access))
        .layer(middleware::from_fn_with_state(is_loopback, check_host))
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

async fn check_host(State(is_loopback): State<bool>, request: Request, next: Next) -> Response {
    match host_fault(request.headers(), is_loopback) {
        None => next.run(request).await,
        Some((status, message)) => Refusal::new(status, message).into_response(),
    }
}

/// Notes the rights of each request among its extensions. Refuses those whose token is missing, unknown
/// or of a role that never suffices; handlers refuse what depends on the body. Logs all of them.
async fn check_access(
    State(state): State<ReceiverState>,
    mut request: Request,
    next: Next,
) -> Response {
    let who = Asker::of(&request);
    let checked = if is_for_all(&who.method, request.uri().path()) {
        Ok(Rights::NONE)
    } else {
        let certificates = request.extensions().get().cloned().unwrap_or_default();
        match state.rights_of(request.headers(), &certificates).await {
            Ok(rights) => {
                let is_allowed = rights.check_request(&who.method, request.uri().path());
                is_allowed.map(|()| rights)
            }
            Err(error @ RightsError::TwoCredentials) => Err(Refusal::bad_request(error)),
            Err(error @ RightsError::NoReview(_)) => {
                state.log("a token cannot be checked", || format!("{who}: {error}"));
                Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, NO_REVIEW))
            }
        }
    };
    let response = match checked {
        Ok(rights) => {
            request.extensions_mut().insert(rights);
            next.run(request).await
        }
        Err(refusal) => {
            discard_body(request.into_body()).await;
            refusal.into_response()
        }
    };
    if let Some(refusal) = response.extensions().get::<Refusal>() {
        let kind = match refusal.status {
            StatusCode::UNAUTHORIZED => "a request without a valid token was refused",
            StatusCode::FORBIDDEN => "a request beyond the rights of its token was refused",
            _ => return response,
        };
        state.log(kind, || format!("{who}: {}", refusal.message));
    }
    response
}

/// The answer to a request whose token the API server does not check. The reason is in the log alone.
const NO_REVIEW: &str = "the token cannot be checked now: the API server does not answer";

/// The origin of a request, for the log.
struct Asker {
    peer: Option<Peer>,
    method: Method,
    /// The beginning of the path.
    path: String,
}

impl Asker {
    fn of(request: &Request) -> Self {
        Self {
            peer: request.extensions().get::<Peer>().copied(),
            method: request.method().clone(),
            path: request.uri().path().chars().take(100).collect(),
        }
    }
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer.and_then(|peer| peer.0) {
            Some(ip) => write!(f, "{ip}: ")?,
            None => f.write_str("a local process: ")?,
        }
        write!(f, "{} {:?}", self.method, self.path)
    }
}

/// Answers reads with 503 until the first push, of a receiver that awaits one.
async fn await_first_push(
    State(state): State<ReceiverState>,
    request: Request,
    next: Next,
) -> Response {
    if !state.awaits_first_push() {
        return next.run(request).await;
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    // What everybody may read holds without a sample.
    if is_read && !is_for_all(request.method(), request.uri().path()) {
        return Refusal::new(StatusCode::SERVICE_UNAVAILABLE, NO_SAMPLE_YET).into_response();
    }
    let response = next.run(request).await;
    if !is_read && response.status().is_success() {
        state.has_push();
    }
    response
}

/// The answer before the first sample, which comes a second after the start.
const NO_SAMPLE_YET: &str = "no sample yet: the first figures come a second after the start";

/// True if clients of an API server ask for such paths.
fn is_of_kubernetes(path: &str) -> bool {
    ["/apis", "/api/v1", "/openapi/", "/version"].iter().any(|begin| path.starts_with(begin))
}

/// Gives a refusal the form of the API that the path belongs to.
async fn write_refusal(request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    let mut response = next.run(request).await;
    let Some(refusal) = response.extensions_mut().remove::<Refusal>() else { return response };
    let status = refusal.status;
    let mut response = match uri.path() {
        path if path.starts_with("/api/v1/metrics") => pod_batch::refuse(&refusal),
        path if is_of_kubernetes(path) => metrics_k8s_io::refuse(&refusal),
        path if path.starts_with("/pod/") => pod_lifecycle::refuse(refusal),
        _ => resource_api::refuse(&refusal),
    };
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        StatusCode::UNAUTHORIZED => {
            let challenge = HeaderValue::from_static("Bearer realm=\"nodetally\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        _ => {}
    }
    response
}
