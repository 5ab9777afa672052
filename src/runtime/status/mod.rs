//! The status server: HTTP on a unix socket in the state directory, and over TCP if `status.listen` is
//! set.
//!
//! ```text
//! GET /healthz   200 while samples are taken, else 503: for a liveness probe
//! GET /readyz    200 from the first sample on: for a readiness probe
//! GET /metrics   the agent's own metrics as OpenMetrics text
//! GET /status    the same as JSON, by endpoint, for `nodetally status`
//! GET /sample    the newest sample as lines of a dump, for `nodetally top`; on the unix socket only
//! GET /          these paths, as text
//! ```

mod access;
mod health;
mod metrics;
mod metrics_server;
mod report;
mod requests;
mod sample;
mod socket;
mod view;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::warn;

use super::asked_sample::AskedSample;
use super::error::{AccessError, AgentError};
use super::self_metrics::SelfMetrics;
use crate::clock;
use crate::config::Settings;
use crate::metrics::published::PublishedMetrics;
use crate::panics;
use crate::payload::open_metrics::TextFormat;
use crate::payload::status::{PATH, SAMPLE_PATH};
use crate::printable::printable;
use crate::receiver::{self, ConnectionLimits, Listener, TlsListener};
use access::MetricsAccess;
use socket::SocketFile;
use view::StatusShared;
pub use view::StatusView;

/// Connections are short; idle ones make room for a probe.
const LIMITS: ConnectionLimits = ConnectionLimits {
    connections_max: 128,
    head_timeout: Duration::from_secs(10),
    write_timeout: Duration::from_secs(5),
};

/// The listeners of the status server.
#[derive(Debug)]
pub struct Status {
    shared: Arc<StatusShared>,
    tcp: Option<StatusServer<SocketAddr>>,
    socket: Option<StatusServer<PathBuf>>,
    metrics: Option<StatusServer<SocketAddr>>,
    metrics_socket: Option<StatusServer<PathBuf>>,
    /// The line about an exposed token that was logged last.
    exposed: Option<String>,
}

/// A running listener.
#[derive(Debug)]
struct StatusServer<Address> {
    /// The configured address or path.
    address: Address,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
    /// The file of a unix socket; it is removed with the listener.
    file: Option<SocketFile>,
}

/// The listeners that a reload will run, bound but not started.
#[derive(Debug)]
pub struct StatusPlan {
    tcp: TcpPlan,
    socket: Option<PathBuf>,
    metrics: TcpPlan,
    metrics_socket: Option<PathBuf>,
    access: MetricsAccess,
    /// The log line of a token that is sent in the clear.
    exposed: Option<String>,
}

#[derive(Debug)]
enum TcpPlan {
    /// The running listener continues, or there is none.
    Keep,
    End,
    Start(SocketAddr, TcpListener),
}

impl TcpPlan {
    async fn of(
        running: Option<&StatusServer<SocketAddr>>,
        wanted: Option<SocketAddr>,
        section: &'static str,
    ) -> Result<Self, AgentError> {
        Ok(match wanted {
            listen if listen == running.map(|side| side.address) => Self::Keep,
            None => Self::End,
            Some(address) => {
                let bound = TcpListener::bind(address).await;
                let failed = |source| AgentError::ListenStatus { section, address, source };
                Self::Start(address, bound.map_err(failed)?)
            }
        })
    }

    async fn apply<L: Listener + Send + 'static>(
        self,
        side: &mut Option<StatusServer<SocketAddr>>,
        router: impl Fn() -> Router,
        listener_of: impl Fn(TcpListener) -> L,
    ) {
        let ended = match self {
            Self::Keep => None,
            Self::End => side.take(),
            Self::Start(address, listener) => {
                let is_loopback = address.ip().is_loopback();
                let router =
                    router().layer(axum::middleware::from_fn_with_state(is_loopback, check_host));
                side.replace(StatusServer::start(address, listener_of(listener), None, router))
            }
        };
        if let Some(ended) = ended {
            ended.end().await;
        }
    }
}

impl Status {
    /// A status server without listeners. `self_metrics` are those of the sampling thread.
    #[must_use]
    pub fn new(
        self_metrics: Arc<SelfMetrics>,
        published: Arc<PublishedMetrics>,
        asked_sample: Arc<AskedSample>,
    ) -> Self {
        let now = clock::boot_time();
        let shared = StatusShared::new(self_metrics, published, asked_sample, now);
        Self {
            shared: Arc::new(shared),
            tcp: None,
            socket: None,
            metrics: None,
            metrics_socket: None,
            exposed: None,
        }
    }

    /// Binds the configured addresses without starting the listeners, and reads the files of the
    /// metrics server.
    ///
    /// # Errors
    /// An address cannot be bound, or a file cannot be used.
    pub async fn plan(&self, settings: &Settings) -> Result<StatusPlan, AgentError> {
        let (status, metrics) = (&settings.status, &settings.metrics);
        let access = MetricsAccess::of(metrics)?;
        let exposed = access.exposes_token(metrics);
        let metrics_socket = metrics.socket.clone();
        let tcp = TcpPlan::of(self.tcp.as_ref(), status.listen, "status").await?;
        let metrics = TcpPlan::of(self.metrics.as_ref(), metrics.listen, "metrics").await?;
        let socket = status.socket.clone();
        Ok(StatusPlan { tcp, socket, metrics, metrics_socket, access, exposed })
    }

    /// Carries the plan out and reports `view` from here on. A socket that cannot be bound is logged
    /// and retried at the next reload; sampling does not depend on it.
    pub async fn apply(&mut self, plan: StatusPlan, view: StatusView) {
        self.shared.set_view(view);
        self.shared.set_access(plan.access);
        if self.exposed != plan.exposed {
            self.exposed = plan.exposed;
            if let Some(line) = &self.exposed {
                warn!("{line}");
            }
        }
        let shared = &self.shared;
        plan.tcp.apply(&mut self.tcp, || router(shared), |listener| listener).await;
        let with_tls = |listener| {
            let (shared, logged) = (Arc::clone(shared), Arc::clone(shared));
            let on_failed = move |peer: IpAddr, reason: &rustls::Error| {
                logged.handshakes.failed(peer, reason);
            };
            TlsListener::new(listener, move || shared.access().tls.clone(), Arc::new(on_failed))
        };
        let of_metrics = || metrics_server::router(shared);
        plan.metrics.apply(&mut self.metrics, of_metrics, with_tls).await;
        let failed = "`nodetally status` cannot ask this agent";
        let of_sample = || Router::new().route(SAMPLE_PATH, get(sample::sample));
        let of_status = || router(shared).merge(of_sample().with_state(Arc::clone(shared)));
        apply_socket(&mut self.socket, plan.socket, of_status, ["status.socket", failed]).await;
        let failed = "nobody can get metrics there";
        let words = ["metrics.socket", failed];
        apply_socket(&mut self.metrics_socket, plan.metrics_socket, of_metrics, words).await;
    }

    /// Ends the listeners; requests in progress have one second to finish.
    pub async fn end(self) {
        if let Some(side) = self.tcp {
            side.end().await;
        }
        if let Some(side) = self.metrics {
            side.end().await;
        }
        for side in [self.socket, self.metrics_socket].into_iter().flatten() {
            side.end().await;
        }
    }
}

async fn check_host(State(is_loopback): State<bool>, request: Request, next: Next) -> Response {
    match receiver::host_fault(request.headers(), is_loopback) {
        None => next.run(request).await,
        Some((status, message)) => (status, format!("{message}\n")).into_response(),
    }
}

impl<Address> StatusServer<Address> {
    fn start(
        address: Address,
        listener: impl Listener + Send + 'static,
        file: Option<SocketFile>,
        router: Router,
    ) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = receiver::serve_router(listener, router, LIMITS, async {
            let _ = stopped.await;
        });
        let done = panics::spawn_essential("the status server", serving);
        Self { address, stop, done, file }
    }

    async fn end(self) {
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(Duration::from_secs(1), self.done).await;
    }
}

/// The reason why a file of `[metrics]` cannot be used, for `check`; `None`: there is none.
#[must_use]
pub fn access_fault(settings: &Settings) -> Option<AccessError> {
    MetricsAccess::of(&settings.metrics).err()
}

/// Ends and starts the listener of a unix socket. `words`: the key, and what does not work without it.
async fn apply_socket(
    side: &mut Option<StatusServer<PathBuf>>,
    wanted: Option<PathBuf>,
    router: impl Fn() -> Router,
    words: [&str; 2],
) {
    let runs = |side: &&StatusServer<PathBuf>| side.file.as_ref().is_some_and(SocketFile::is_there);
    if side.as_ref().filter(runs).map(|side| &side.address) == wanted.as_ref() {
        return;
    }
    if let Some(ended) = side.take() {
        ended.end().await;
    }
    let Some(path) = wanted else { return };
    match socket::bind(&path).await {
        Ok((listener, file)) => {
            *side = Some(StatusServer::start(path, listener, Some(file), router()));
        }
        Err(reason) => {
            let [key, failed] = words;
            warn!("{key} {}: cannot be bound, {failed}: {reason}", path.display());
        }
    }
}

fn router(shared: &Arc<StatusShared>) -> Router {
    Router::new()
        .route("/", get(async || PATHS))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics))
        .route(PATH, get(status))
        .fallback(no_such_path)
        .with_state(Arc::clone(shared))
}

/// The paths, as the answer to `GET /`.
const PATHS: &str = "\
nodetally: the status of this agent

GET /healthz   200 while samples are taken, else 503
GET /readyz    200 from the first sample on, else 503
GET /metrics   the agent's own metrics as OpenMetrics text
GET /status    the same as JSON, as `nodetally status` asks for it
";

async fn no_such_path(uri: Uri) -> impl IntoResponse {
    let path: String = uri.path().chars().take(100).collect();
    let text = format!("no such path: {}; GET / lists those there are\n", printable(&path));
    (StatusCode::NOT_FOUND, text)
}

async fn metrics(State(shared): State<Arc<StatusShared>>) -> impl IntoResponse {
    let format = TextFormat::OpenMetrics;
    let text = metrics::exposition(&shared, clock::boot_time(), format);
    ([(header::CONTENT_TYPE, format.content_type())], text)
}

async fn status(State(shared): State<Arc<StatusShared>>) -> impl IntoResponse {
    let report = report::report(&shared, &shared.view(), clock::boot_time());
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (headers, report.to_json())
}
