//! Where the agent answers for itself, if `status.listen` says so.
//!
//! ```text
//! GET /healthz   200 while samples are taken, else 503: for a liveness probe
//! GET /readyz    200 from the first sample on: for a readiness probe
//! GET /metrics   its own figures as OpenMetrics text
//! ```

use std::net::SocketAddr;
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

use super::agent::AgentError;
use super::clock;
use super::vitals::Vitals;
use crate::delivery::Handle;
use crate::directory::Directory;
use crate::identity::BootId;
use crate::payload::open_metrics::{self, Exposition};
use crate::quantity::BootTime;
use crate::receiver;

/// What is told of; a reload changes it.
#[derive(Debug, Clone, Default)]
pub struct Subjects {
    pub directory: Directory,
    /// Endpoints by name.
    pub endpoints: Vec<(String, Handle)>,
    pub boot: Option<BootId>,
}

#[derive(Debug)]
struct Shared {
    vitals: Arc<Vitals>,
    subjects: Mutex<Subjects>,
    started_at: BootTime,
}

/// The side that answers.
#[derive(Debug)]
pub struct Status {
    /// As the settings have it.
    pub listen: SocketAddr,
    shared: Arc<Shared>,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

/// Bound and not answering yet.
#[derive(Debug)]
pub struct Bound {
    listen: SocketAddr,
    listener: TcpListener,
}

impl Bound {
    /// # Errors
    /// The address cannot be bound.
    pub async fn to(listen: SocketAddr) -> Result<Self, AgentError> {
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|source| AgentError::ListenStatus { address: listen, source })?;
        Ok(Self { listen, listener })
    }

    /// Answers from here on.
    pub fn serve(self, vitals: Arc<Vitals>, subjects: Subjects) -> Status {
        let shared = Arc::new(Shared {
            vitals,
            subjects: Mutex::new(subjects),
            started_at: clock::boot_time(),
        });
        let router = Router::new()
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(Arc::clone(&shared));
        let (stop, stopped) = oneshot::channel::<()>();
        let done = tokio::spawn(receiver::serve_router(self.listener, router, async {
            let _ = stopped.await;
        }));
        Status { listen: self.listen, shared, stop, done }
    }
}

impl Status {
    /// Tells of these from here on.
    pub fn set_subjects(&self, subjects: Subjects) {
        *self.shared.subjects.lock().unwrap_or_else(PoisonError::into_inner) = subjects;
    }

    pub async fn end(self) {
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(Duration::from_secs(1), self.done).await;
    }
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
    let subjects = shared.subjects.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let text = exposition(&shared.vitals, &subjects, clock::boot_time());
    ([(header::CONTENT_TYPE, open_metrics::CONTENT_TYPE)], text)
}

fn exposition(vitals: &Vitals, subjects: &Subjects, now: BootTime) -> String {
    let mut all = Exposition::default();
    all.info("nodetally_build", "The program.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    all.counter("nodetally_samples", "Samples taken.").sample(&[], vitals.samples());
    if let Some(last) = vitals.last_at() {
        let seconds = |usec: u64| usec as f64 / 1e6;
        all.gauge("nodetally_sample_age_seconds", "Time since the last sample.")
            .sample(&[], seconds(now.usec_since(last)));
        all.gauge("nodetally_sample_duration_seconds", "How long the last sample took.")
            .sample(&[], seconds(vitals.took_usec()));
        all.gauge("nodetally_sample_gaps", "What could not be read in the last sample.")
            .sample(&[], vitals.gaps());
        all.gauge("nodetally_cgroups", "Cgroups in the last sample.").sample(&[], vitals.cgroups());
    }
    directory(&mut all, subjects, now);
    endpoints(&mut all, subjects);
    all.finish()
}

fn directory(all: &mut Exposition, subjects: &Subjects, now: BootTime) {
    let catalog = subjects.directory.catalog();
    if catalog.sources.is_empty() {
        return;
    }
    let mut known = all.gauge(
        "nodetally_directory_known",
        "Pods, containers and patterns that a source of identity knows.",
    );
    for source in &catalog.sources {
        known.sample(&[("source", source.kind.as_str())], source.known);
    }
    let mut up =
        all.gauge("nodetally_directory_up", "Whether a source of identity answers at present.");
    for source in &catalog.sources {
        let up_now = source.trouble.is_none() && source.current_at.is_some();
        up.sample(&[("source", source.kind.as_str())], u8::from(up_now));
    }
    let mut age = all.gauge(
        "nodetally_directory_age_seconds",
        "Time since what a source of identity tells was known to be so; absent before it answered.",
    );
    for source in &catalog.sources {
        if let Some(at) = source.current_at {
            let seconds = now.since(at).as_secs_f64();
            age.sample(&[("source", source.kind.as_str())], seconds);
        }
    }
}

fn endpoints(all: &mut Exposition, subjects: &Subjects) {
    let now = clock::moment(subjects.boot.unwrap_or_else(|| BootId::from_bits(0)));
    let told: Vec<_> = subjects
        .endpoints
        .iter()
        .map(|(name, handle)| (name.as_str(), handle.statistics(&now)))
        .collect();
    if told.is_empty() {
        return;
    }
    let mut posts = all.counter("nodetally_posts", "Posts by what became of them.");
    for (name, figures) in &told {
        let accepted = std::iter::once(("accepted", figures.accepted_posts));
        for (outcome, count) in accepted.chain(figures.dropped_posts.by_reason()) {
            posts.sample(&[("endpoint", name), ("outcome", outcome)], count);
        }
    }
    let mut retries = all.counter("nodetally_retries", "Tries beyond each post's first.");
    for (name, figures) in &told {
        retries.sample(&[("endpoint", name)], figures.retries);
    }
    let mut waiting = all.gauge("nodetally_queue_posts", "Posts that wait or are under way.");
    for (name, figures) in &told {
        waiting.sample(&[("endpoint", name)], figures.waiting_posts);
    }
    let mut bytes = all.gauge("nodetally_queue_bytes", "What waits, in bytes.");
    for (name, figures) in &told {
        bytes.sample(&[("endpoint", name)], figures.in_memory_bytes as u64 + figures.on_disk.bytes);
    }
    let mut success = all.gauge(
        "nodetally_last_success_age_seconds",
        "Time since a post was last accepted; absent before the first.",
    );
    for (name, figures) in &told {
        if let Some(age) = figures.last_success_age {
            success.sample(&[("endpoint", name)], age.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::SourceKind;

    #[test]
    fn the_directorys_age_and_trouble_stand_in_the_figures() {
        let at = |secs: u64| BootTime::from_nanos(secs * 1_000_000_000);
        let (directory, publishers) =
            Directory::new(&[SourceKind::Kubernetes, SourceKind::Cri, SourceKind::File]);
        publishers[0].still_current(at(100));
        publishers[0].failed("connection refused", at(130));
        publishers[1].still_current(at(150));
        let subjects = Subjects { directory, ..Subjects::default() };
        let text = exposition(&Vitals::default(), &subjects, at(160));
        for line in [
            "nodetally_directory_up{source=\"kubernetes\"} 0\n",
            "nodetally_directory_up{source=\"cri\"} 1\n",
            "nodetally_directory_up{source=\"file\"} 0\n",
            "nodetally_directory_age_seconds{source=\"kubernetes\"} 60\n",
            "nodetally_directory_age_seconds{source=\"cri\"} 10\n",
            "nodetally_samples_total 0\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(!text.contains("age_seconds{source=\"file\"}"), "{text}");
    }
}
