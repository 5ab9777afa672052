//! The page at `/`: built files of `web/` for browsers, and plain text for other clients.

use std::io::Write as _;
use std::sync::LazyLock;

use axum::Router;
use axum::http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::state::ReceiverState;

/// The index as plain text.
pub(super) const TEXT: &str = "\
nodetally receiver

GET  /api/nodes                                                    ?window=<seconds>
GET  /api/nodes/<node>                                             ?window=<seconds>
GET  /api/nodes/<node>/pods
GET  /api/pods                                                     ?namespace=
GET  /api/pods/<pod>                                               ?window=<seconds> &namespace=
GET  /api/namespaces
GET  /api/namespaces/<namespace>                                   ?window=<seconds>
GET  /api/namespaces/<namespace>/pods
GET  /api/namespaces/<namespace>/deployments
GET  /api/namespaces/<namespace>/deployments/<deployment>          ?window=<seconds>
GET  /api/namespaces/<namespace>/deployments/<deployment>/pods
GET  /api/deployments                                              ?namespace=
GET  /api/deployments/<deployment>                                 ?window=<seconds> &namespace=
POST /api/nodes/<node>/metrics
POST /api/namespaces/<namespace>/pods/<pod>/metrics

Time series also at .../timeseries?window=<seconds>.
All paths, parameters and bodies: /openapi.json

Kubernetes metrics (kubectl top --server=<this address>)
GET  /apis/metrics.k8s.io/v1beta1/nodes                            ?labelSelector=
GET  /apis/metrics.k8s.io/v1beta1/nodes/<node>
GET  /apis/metrics.k8s.io/v1beta1/pods                             ?labelSelector=
GET  /apis/metrics.k8s.io/v1beta1/namespaces/<namespace>/pods      ?labelSelector=
GET  /apis/metrics.k8s.io/v1beta1/namespaces/<namespace>/pods/<pod>

Pod batches
GET  /api/v1/metrics/pods
GET  /api/v1/metrics/nodes
POST /api/v1/metrics/pods
POST /api/v1/metrics/nodes

Pod specifications and life cycle
GET  /pod/info
GET  /pod/name/<pod>
GET  /pod/ip/<ip>
GET  /pod/list/<node>
POST /pod/spec
POST /pod/mark_dead
";

/// Nothing but the files below may run or load.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static INDEX: LazyLock<PageFile> =
    LazyLock::new(|| PageFile::new("text/html; charset=utf-8", include_bytes!("web/index.html")));
static SCRIPT: LazyLock<PageFile> =
    LazyLock::new(|| PageFile::new("text/javascript; charset=utf-8", include_bytes!("web/app.js")));
static STYLE: LazyLock<PageFile> =
    LazyLock::new(|| PageFile::new("text/css; charset=utf-8", include_bytes!("web/app.css")));

pub(super) fn router() -> Router<ReceiverState> {
    Router::new()
        .route("/", get(index))
        .route("/assets/app.js", get(async |headers: HeaderMap| SCRIPT.answer(&headers)))
        .route("/assets/app.css", get(async |headers: HeaderMap| STYLE.answer(&headers)))
}

async fn index(headers: HeaderMap) -> Response {
    if accepts(&headers, ACCEPT.as_str(), "text/html") {
        return INDEX.answer(&headers);
    }
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], TEXT).into_response()
}

/// A built file of the page.
#[derive(Debug)]
struct PageFile {
    content_type: &'static str,
    whole: &'static [u8],
    gzip: Bytes,
    /// Changes with the contents, so that a browser asks for a file once.
    etag: String,
}

impl PageFile {
    fn new(content_type: &'static str, whole: &'static [u8]) -> Self {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        // Writing to memory cannot fail.
        let _ = gzip.write_all(whole);
        let gzip = gzip.finish().unwrap_or_default().into();
        let digest = ring::digest::digest(&ring::digest::SHA256, whole);
        let mut etag = String::from("\"");
        for byte in digest.as_ref().iter().take(16) {
            etag.push_str(&format!("{byte:02x}"));
        }
        etag.push('"');
        Self { content_type, whole, gzip, etag }
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let common = [
            (CACHE_CONTROL, "no-cache"),
            (ETAG, self.etag.as_str()),
            (VARY, "accept, accept-encoding"),
            (CONTENT_SECURITY_POLICY, POLICY),
        ];
        if accepts(headers, IF_NONE_MATCH.as_str(), &self.etag) {
            return (StatusCode::NOT_MODIFIED, common).into_response();
        }
        let content = [(CONTENT_TYPE, self.content_type)];
        if accepts(headers, ACCEPT_ENCODING.as_str(), "gzip") {
            let packed = [(CONTENT_ENCODING, "gzip")];
            return (common, content, packed, self.gzip.clone()).into_response();
        }
        (common, content, self.whole).into_response()
    }
}

fn accepts(headers: &HeaderMap, header: &str, value: &str) -> bool {
    let given = headers.get_all(header).iter();
    given.filter_map(|given| given.to_str().ok()).any(|given| given.contains(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_loads_nothing_from_elsewhere() {
        let packed: usize = [&INDEX, &SCRIPT, &STYLE].iter().map(|file| file.gzip.len()).sum();
        assert!(packed < 150_000, "{packed} bytes");
        let index = String::from_utf8(INDEX.whole.to_vec()).unwrap();
        for part in index.split(['"', '\'']).filter(|part| part.contains('/')) {
            let is_own =
                part.starts_with("/assets/") || part.contains('<') || part.contains("data:");
            assert!(is_own, "{part}");
        }
    }

    #[test]
    fn a_file_comes_packed_where_that_is_accepted_and_once() {
        let plain = SCRIPT.answer(&HeaderMap::new());
        assert_eq!(plain.headers().get(CONTENT_ENCODING), None);
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, "gzip, br".parse().unwrap());
        assert_eq!(SCRIPT.answer(&headers).headers()[CONTENT_ENCODING], "gzip");
        headers.insert(IF_NONE_MATCH, SCRIPT.etag.parse().unwrap());
        assert_eq!(SCRIPT.answer(&headers).status(), 304);
        assert_eq!(STYLE.answer(&headers).status(), 200);
    }
}
