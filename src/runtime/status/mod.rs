//! Where the agent answers for itself: on a unix socket in its state directory, and over TCP if
//! `status.listen` says so.
//!
//! ```text
//! GET /healthz   200 while samples are taken, else 503: for a liveness probe
//! GET /readyz    200 from the first sample on: for a readiness probe
//! GET /metrics   its own figures as OpenMetrics text
//! GET /status    the same as JSON, endpoint by endpoint: what `nodetally status` reads
//! ```

mod metrics;
mod report;
mod socket;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::warn;

use super::agent::AgentError;
use super::vitals::Vitals;
use crate::clock;
use crate::config::StatusSettings;
use crate::directory::Directory;
use crate::endpoint::endpoint::EndpointView;
use crate::identity::BootId;
use crate::payload::open_metrics;
use crate::payload::status::PATH;
use crate::quantity::BootTime;
use crate::receiver::{self, ConnectionLimits, Listener};
use socket::SocketFile;

/// Whoever asks comes anew each time, and a probe is not to wait for those who only hold connections.
const LIMITS: ConnectionLimits = ConnectionLimits {
    connections_max: 128,
    head_timeout: Duration::from_secs(10),
    write_timeout: Duration::from_secs(5),
};

/// What is told of; a reload changes it.
#[derive(Debug, Clone, Default)]
pub struct Subjects {
    pub node_name: String,
    pub directory: Directory,
    pub endpoints: Vec<EndpointView>,
    pub boot: Option<BootId>,
}

#[derive(Debug)]
struct Shared {
    vitals: Arc<Vitals>,
    subjects: Mutex<Subjects>,
    started_at: BootTime,
}

impl Shared {
    fn subjects(&self) -> Subjects {
        self.subjects.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// All places at which the agent answers.
#[derive(Debug)]
pub struct Status {
    shared: Arc<Shared>,
    tcp: Option<Side<SocketAddr>>,
    socket: Option<Side<PathBuf>>,
}

/// One place at which it answers.
#[derive(Debug)]
struct Side<Place> {
    /// As the settings have it.
    place: Place,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
    /// Of a unix socket; it goes with it.
    file: Option<SocketFile>,
}

/// Where it is to answer, with what could have failed done.
#[derive(Debug)]
pub struct StatusPlan {
    tcp: TcpPlan,
    socket: Option<PathBuf>,
}

#[derive(Debug)]
enum TcpPlan {
    /// It goes on where it is, or there is none and none is wanted.
    Keep,
    End,
    Begin(SocketAddr, TcpListener),
}

impl Status {
    /// Answers nowhere yet. `vitals` are those of the sampling thread.
    #[must_use]
    pub fn new(vitals: Arc<Vitals>) -> Self {
        let started_at = clock::boot_time();
        let shared = Shared { vitals, subjects: Mutex::default(), started_at };
        Self { shared: Arc::new(shared), tcp: None, socket: None }
    }

    /// Binds the address that is wanted and changes nothing yet.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn plan(&self, settings: &StatusSettings) -> Result<StatusPlan, AgentError> {
        let running = self.tcp.as_ref().map(|side| side.place);
        let tcp = match settings.listen {
            listen if listen == running => TcpPlan::Keep,
            None => TcpPlan::End,
            Some(listen) => {
                let bound = TcpListener::bind(listen).await;
                let failed = |source| AgentError::ListenStatus { address: listen, source };
                TcpPlan::Begin(listen, bound.map_err(failed)?)
            }
        };
        Ok(StatusPlan { tcp, socket: settings.socket.clone() })
    }

    /// Does what was planned, and tells of these from here on. A socket that cannot be had is no
    /// reason not to sample: it is warned of, and tried again at the next reload.
    pub async fn carry_out(&mut self, plan: StatusPlan, subjects: Subjects) {
        *self.shared.subjects.lock().unwrap_or_else(PoisonError::into_inner) = subjects;
        let ended = match plan.tcp {
            TcpPlan::Keep => None,
            TcpPlan::End => self.tcp.take(),
            TcpPlan::Begin(address, listener) => {
                let side = Side::begin(address, listener.into(), None, &self.shared);
                self.tcp.replace(side)
            }
        };
        if let Some(ended) = ended {
            ended.end().await;
        }
        let runs = |side: &&Side<PathBuf>| side.file.as_ref().is_some_and(SocketFile::is_there);
        if self.socket.as_ref().filter(runs).map(|side| &side.place) == plan.socket.as_ref() {
            return;
        }
        if let Some(ended) = self.socket.take() {
            ended.end().await;
        }
        let Some(path) = plan.socket else { return };
        match socket::bind(&path).await {
            Ok((listener, file)) => {
                let side = Side::begin(path, listener.into(), Some(file), &self.shared);
                self.socket = Some(side);
            }
            Err(reason) => {
                warn!("`nodetally status` cannot ask this agent: {}: {reason}", path.display());
            }
        }
    }

    /// Answers under way have a moment to be finished.
    pub async fn end(self) {
        if let Some(side) = self.tcp {
            side.end().await;
        }
        if let Some(side) = self.socket {
            side.end().await;
        }
    }
}

impl<Place> Side<Place> {
    fn begin(
        place: Place,
        listener: Listener,
        file: Option<SocketFile>,
        shared: &Arc<Shared>,
    ) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let done = tokio::spawn(receiver::serve_router(listener, router(shared), LIMITS, async {
            let _ = stopped.await;
        }));
        Self { place, stop, done, file }
    }

    async fn end(self) {
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(Duration::from_secs(1), self.done).await;
    }
}

fn router(shared: &Arc<Shared>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route(PATH, get(status))
        .with_state(Arc::clone(shared))
}

async fn healthz(State(shared): State<Arc<Shared>>) -> (StatusCode, &'static str) {
    match shared.vitals.is_well(shared.started_at, clock::boot_time()) {
        true => (StatusCode::OK, "ok\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "no sample for three intervals\n"),
    }
}

async fn readyz(State(shared): State<Arc<Shared>>) -> (StatusCode, &'static str) {
    match shared.vitals.last_at() {
        Some(_) => (StatusCode::OK, "ok\n"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "no sample yet\n"),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let text = metrics::exposition(&shared.vitals, &shared.subjects(), clock::boot_time());
    ([(header::CONTENT_TYPE, open_metrics::CONTENT_TYPE)], text)
}

async fn status(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let report = report::report(&shared, &shared.subjects(), clock::boot_time());
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (headers, report.to_json())
}
