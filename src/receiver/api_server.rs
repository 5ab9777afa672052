//! The parts of an API server that every client may read: versions, lists of APIs, OpenAPI documents and
//! health. None has a figure.

use axum::Router;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::Value;

use super::answer::{HandlerResult, Refusal, json};
use crate::payload::metrics_k8s_io::{AggregatedDiscovery, discovery, openapi};

type MakeDocument = fn() -> Value;
type MakeAggregated = fn(AggregatedDiscovery) -> Value;

/// The paths of lists and documents. Clients ask for some of them with a slash at the end too.
const DOCUMENTS: [(&str, MakeDocument); 7] = [
    ("/version", discovery::version),
    ("/api/v1", discovery::core_resources),
    ("/apis/metrics.k8s.io", discovery::group),
    ("/apis/metrics.k8s.io/v1beta1", discovery::resources),
    ("/openapi/v3", openapi::index),
    ("/openapi/v3/api/v1", openapi::core_v3),
    ("/openapi/v3/apis/metrics.k8s.io/v1beta1", openapi::metrics_v3),
];

/// The lists that clients may ask for in a form which has the other lists in it.
const AGGREGATED: [(&str, MakeDocument, MakeAggregated); 2] = [
    ("/api", discovery::core_versions, AggregatedDiscovery::core),
    ("/apis", discovery::groups, AggregatedDiscovery::groups),
];

/// Health, as a kubelet and an API server ask for it.
const HEALTH: [&str; 3] = ["/healthz", "/livez", "/readyz"];

/// It is asked for in protobuf by `kubectl` before 1.28 alone, which answers `explain` from it.
const OPENAPI_V2: &str = "/openapi/v2";

pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let mut router = Router::new();
    for (path, document) in DOCUMENTS {
        let answer = async move || json(StatusCode::OK, &document());
        router = router.route(path, get(answer)).route(&format!("{path}/"), get(answer));
    }
    for (path, plain, aggregated) in AGGREGATED {
        let answer = async move |headers: HeaderMap| match form_of(&headers) {
            Some(form) => aggregated_answer(form, &aggregated(form)),
            None => json(StatusCode::OK, &plain()),
        };
        router = router.route(path, get(answer)).route(&format!("{path}/"), get(answer));
    }
    router = router.route(OPENAPI_V2, get(openapi_v2));
    for path in HEALTH {
        router = router.route(path, get(health));
    }
    router
}

/// True if the path is one of these.
pub(super) fn has(path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    DOCUMENTS.iter().any(|(known, _)| *known == path)
        || AGGREGATED.iter().any(|(known, ..)| *known == path)
        || HEALTH.contains(&path)
        || path == OPENAPI_V2
}

async fn openapi_v2(headers: HeaderMap) -> HandlerResult {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("*/*");
    if ["application/json", "application/*", "*/*"].iter().any(|kind| accept.contains(kind)) {
        return Ok(json(StatusCode::OK, &openapi::v2()));
    }
    let message = "this document is written as application/json only; /openapi/v3 has the same";
    Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, message))
}

async fn health() -> Response {
    ([(CACHE_CONTROL, "no-store")], "ok").into_response()
}

/// The form of the first `Accept` header that can be read.
fn form_of(headers: &HeaderMap) -> Option<AggregatedDiscovery> {
    let accept = headers.get(ACCEPT)?.to_str().ok()?;
    AggregatedDiscovery::of_accept(accept)
}

fn aggregated_answer(form: AggregatedDiscovery, value: &Value) -> Response {
    let mut response = json(StatusCode::OK, value);
    if let Ok(kind) = HeaderValue::from_str(&form.content_type()) {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response
}
