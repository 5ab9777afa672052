//! The answers to those who pull metrics.
//!
//! ```text
//! GET /metrics                        everything, and the agent's own metrics
//! GET /metrics?entity=pod&namespace=a a part of it; entity=agent: the agent's own
//! GET /metrics/resource               the kubelet's path of that name
//! GET /metrics/cadvisor               the kubelet's path of that name
//! GET /stats/summary                  the kubelet's path of that name, as JSON
//! GET /healthz                        as on the status server
//! ```

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router, middleware};
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Frame;
use tracing::warn;

use super::health;
use super::metrics::exposition;
use super::view::StatusShared;
use crate::clock;
use crate::metrics::entity::EntityClass;
use crate::metrics::sample::MetricSample;
use crate::payload::kubelet;
use crate::payload::kubelet::summary::Summary;
use crate::payload::open_metrics::TextFormat;
use crate::payload::prometheus::{EntityFilter, MetricText};
use crate::printable::printable;
use crate::receiver::Peer;

/// Bytes of text that are made at once. A connection holds no more of an answer than that.
const PIECE_BYTES: usize = 64 << 10;

/// The paths, in words.
const PATHS: &str = "/metrics, /metrics/resource, /metrics/cadvisor, /stats/summary and /healthz";

/// The most characters of a wrong path in the log.
const PATH_CHARS_MAX: usize = 100;

/// The word for the agent's own metrics in `?entity=`.
const AGENT: &str = "agent";

pub(super) fn router(shared: &Arc<StatusShared>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/metrics/resource", get(resource))
        .route("/metrics/cadvisor", get(cadvisor))
        .route("/stats/summary", get(summary))
        .route_layer(middleware::from_fn_with_state(Arc::clone(shared), check_access))
        .route("/healthz", get(health::healthz))
        .fallback(no_such_path)
        .with_state(Arc::clone(shared))
}

/// Answers 401 to a request without the token.
async fn check_access(
    State(shared): State<Arc<StatusShared>>,
    request: Request,
    next: Next,
) -> Response {
    if shared.access().admits(request.headers()) {
        return next.run(request).await;
    }
    if shared.requests.count(StatusCode::UNAUTHORIZED) {
        let peer = name_of(request.extensions().get::<Peer>().copied());
        let what =
            if request.headers().contains_key(header::AUTHORIZATION) { "another" } else { "no" };
        warn!(
            "metrics: {peer} asks with {what} token and gets 401; the scraper must send that of \
             metrics.bearer_token_file (logged once)"
        );
    }
    let (challenge, text) = if request.headers().contains_key(header::AUTHORIZATION) {
        let text = "another token than that of metrics.bearer_token_file\n";
        ("Bearer realm=\"nodetally\", error=\"invalid_token\"", text)
    } else {
        let text = "a token is needed: send the header \"Authorization: Bearer TOKEN\"\n";
        ("Bearer realm=\"nodetally\"", text)
    };
    let mut response = (StatusCode::UNAUTHORIZED, text).into_response();
    let challenge = header::HeaderValue::from_static(challenge);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

/// A peer in words.
fn name_of(peer: Option<Peer>) -> String {
    peer.and_then(|peer| peer.0).map_or_else(|| "a local process".to_owned(), |ip| ip.to_string())
}

/// Answers 404 to a path that is none.
async fn no_such_path(
    State(shared): State<Arc<StatusShared>>,
    Extension(peer): Extension<Peer>,
    uri: Uri,
) -> Response {
    if shared.requests.count(StatusCode::NOT_FOUND) {
        let peer = name_of(Some(peer));
        let path: String = uri.path().chars().take(PATH_CHARS_MAX).collect();
        warn!(
            "metrics: {peer} asks for {} and gets 404; there are {PATHS} (logged once)",
            printable(&path)
        );
    }
    (StatusCode::NOT_FOUND, format!("no such path; there are {PATHS}\n")).into_response()
}

/// The parts that a request asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    filter: EntityFilter,
    /// The agent's own metrics too.
    agent: bool,
}

async fn metrics(
    State(shared): State<Arc<StatusShared>>,
    Extension(peer): Extension<Peer>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    let wanted = match wanted(&query) {
        Ok(wanted) => wanted,
        Err(reason) => {
            shared.requests.count(StatusCode::BAD_REQUEST);
            return (StatusCode::BAD_REQUEST, reason + "\n").into_response();
        }
    };
    let Some(sample) = pulled(&shared, peer, "/metrics", &query, &headers) else {
        return no_sample(&shared);
    };
    let format = format_of(&headers);
    let own = if wanted.agent {
        exposition(&shared, clock::boot_time(), format)
    } else {
        format.end().to_owned()
    };
    let mut text = MetricText::new(sample, format, wanted.filter);
    let more = move |piece: &mut Vec<u8>| text.write(piece, PIECE_BYTES);
    answer(&headers, format.content_type(), Box::new(more), own)
}

async fn resource(
    State(shared): State<Arc<StatusShared>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    let Some(sample) = pulled(&shared, peer, "/metrics/resource", "", &headers) else {
        return no_sample(&shared);
    };
    let format = format_of(&headers);
    let mut text = kubelet::resource::of_sample(sample, format);
    let more = move |piece: &mut Vec<u8>| text.write(piece, PIECE_BYTES);
    answer(&headers, format.content_type(), Box::new(more), format.end().to_owned())
}

async fn cadvisor(
    State(shared): State<Arc<StatusShared>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    let Some(sample) = pulled(&shared, peer, "/metrics/cadvisor", "", &headers) else {
        return no_sample(&shared);
    };
    let format = format_of(&headers);
    let mut text = kubelet::cadvisor::of_sample(sample, &shared.view().machine, format);
    let more = move |piece: &mut Vec<u8>| text.write(piece, PIECE_BYTES);
    answer(&headers, format.content_type(), Box::new(more), format.end().to_owned())
}

async fn summary(
    State(shared): State<Arc<StatusShared>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    let Some(sample) = pulled(&shared, peer, "/stats/summary", "", &headers) else {
        return no_sample(&shared);
    };
    let document = Summary::of_sample(&sample, &shared.view().machine).to_json();
    answer(&headers, "application/json", Box::new(|_: &mut Vec<u8>| false), document)
}

/// The newest sample, which whoever asks has seen now; `None` before the first.
fn pulled(
    shared: &StatusShared,
    peer: Peer,
    path: &str,
    query: &str,
    headers: &HeaderMap,
) -> Option<Arc<MetricSample>> {
    let sample = shared.published.sample()?;
    shared.requests.count(StatusCode::OK);
    let mut puller = DefaultHasher::new();
    (peer.0, path, query, text_of(headers, header::USER_AGENT)).hash(&mut puller);
    shared.published.pullers.saw(puller.finish(), sample.sequence, clock::boot_time());
    Some(sample)
}

fn no_sample(shared: &StatusShared) -> Response {
    shared.requests.count(StatusCode::SERVICE_UNAVAILABLE);
    let text = "no sample yet: the first figures are there about a second after the start\n";
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

fn text_of(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn format_of(headers: &HeaderMap) -> TextFormat {
    TextFormat::accepted(text_of(headers, header::ACCEPT), TextFormat::Prometheus)
}

/// The answer with the text that `more` makes, and `end` behind it.
fn answer(
    headers: &HeaderMap,
    content_type: &'static str,
    more: MorePieces,
    end: String,
) -> Response {
    let gzip = text_of(headers, header::ACCEPT_ENCODING).is_some_and(accepts_gzip);
    let answer = Answer {
        more,
        end: Some(end),
        piece: Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4),
        gzip: gzip.then(|| GzEncoder::new(Vec::new(), Compression::fast())),
    };
    let mut response = Response::new(Body::new(answer));
    let of_answer = response.headers_mut();
    let content_type = header::HeaderValue::from_static(content_type);
    of_answer.insert(header::CONTENT_TYPE, content_type);
    let vary = header::HeaderValue::from_static("accept, accept-encoding");
    of_answer.insert(header::VARY, vary);
    if gzip {
        of_answer.insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"));
    }
    response
}

fn accepts_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name == "gzip" || name == "*");
        is_gzip && !parts.any(|part| part == "q=0" || part == "q=0.0")
    })
}

/// Reads the parameters of a request.
fn wanted(query: &str) -> Result<Wanted, String> {
    let mut wanted = Wanted::default();
    let mut has_entity = false;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
        match key {
            "entity" if value == AGENT => (wanted.agent, has_entity) = (true, true),
            "entity" => {
                let class = EntityClass::ALL.into_iter().find(|class| class.as_str() == value);
                let Some(class) = class else {
                    let words = EntityClass::ALL.map(EntityClass::as_str).join(", ");
                    return Err(format!("entity: {value:?} is none of {words}, {AGENT}"));
                };
                has_entity = true;
                wanted.filter.classes.push(class);
            }
            "namespace" if wanted.filter.namespace.is_none() => {
                wanted.filter.namespace = Some(value.into_owned());
            }
            "namespace" => return Err("namespace: may be given once".to_owned()),
            other => return Err(format!("{other:?}: no parameter; there are entity, namespace")),
        }
    }
    if !has_entity {
        wanted.agent = wanted.filter.namespace.is_none();
    } else if wanted.filter.classes.is_empty() {
        // The agent's own metrics alone.
        wanted.filter.namespace = Some(String::new());
    }
    Ok(wanted)
}

/// Adds the next piece of a text; `false`: there is no more.
type MorePieces = Box<dyn FnMut(&mut Vec<u8>) -> bool + Send>;

/// An answer in the making.
struct Answer {
    more: MorePieces,
    /// The end of the text; `None`: it is written.
    end: Option<String>,
    piece: Vec<u8>,
    gzip: Option<GzEncoder<Vec<u8>>>,
}

impl Answer {
    /// The next piece; `None`: that was all.
    fn next(&mut self) -> Option<Bytes> {
        loop {
            self.piece.clear();
            let is_there = (self.more)(&mut self.piece);
            let is_last = !is_there && self.piece.is_empty();
            if is_last {
                let Some(end) = self.end.take() else {
                    // Writing to memory cannot fail.
                    let end = self.gzip.take()?.finish().unwrap_or_default();
                    return Some(Bytes::from(end));
                };
                self.piece.extend_from_slice(end.as_bytes());
            }
            let Some(gzip) = &mut self.gzip else {
                return Some(Bytes::copy_from_slice(&self.piece));
            };
            let _ = gzip.write_all(&self.piece);
            if gzip.get_ref().len() >= PIECE_BYTES / 4 {
                return Some(Bytes::from(std::mem::take(gzip.get_mut())));
            }
        }
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.get_mut().next().map(|piece| Ok(Frame::data(piece))))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn before_the_first_sample_there_is_no_answer_but_a_reason() {
        let shared =
            StatusShared::new(Arc::default(), Arc::default(), Arc::default(), clock::boot_time());
        let shared = Arc::new(shared);
        let router = router(&shared).layer(Extension(Peer(None)));
        let request = Request::get("/metrics").body(Body::empty()).unwrap();
        let answer = router.oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(text.starts_with(b"no sample yet: "), "{text:?}");
        assert_eq!(shared.requests.all().collect::<Vec<_>>(), [("503", 1)]);
        assert_eq!(shared.published.pullers.count(), 0, "nothing was seen");
    }

    #[test]
    fn parameters_choose_and_errors_say_what_there_is() {
        let all = wanted("").unwrap();
        assert!(all.agent && all.filter == EntityFilter::default());
        let pods = wanted("entity=pod&entity=container&namespace=a%2Fb").unwrap();
        assert_eq!(pods.filter.classes, [EntityClass::Pod, EntityClass::Container]);
        assert_eq!(pods.filter.namespace.as_deref(), Some("a/b"));
        assert!(!pods.agent);
        assert!(wanted("entity=agent").unwrap().agent);
        let error = wanted("entity=pods").unwrap_err();
        assert!(error.contains("\"pods\"") && error.contains("pod, container"), "{error}");
        let error = wanted("namespaces=a").unwrap_err();
        assert!(error.contains("entity, namespace"), "{error}");
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for yes in ["gzip", "deflate, gzip;q=0.5", "*"] {
            assert!(accepts_gzip(yes), "{yes}");
        }
        for no in ["", "identity", "gzip;q=0", "zstd, br"] {
            assert!(!accepts_gzip(no), "{no}");
        }
    }
}
