//! The configured sources of pod names, each a Tokio task.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::error::ProbeError;
use crate::clock;
use crate::config::{DirectorySettings, DirectorySource, Settings};
use crate::directory::docker::Engine;
use crate::directory::kubelet::KubeletTrust;
use crate::directory::kubernetes::{ApiAccess, ServiceAccount};
use crate::directory::{
    Catalog, Directory, Publisher, SourceKind, SourceStatus, cri, docker, kubelet, kubernetes,
    static_file,
};
use crate::endpoint::client::seed;
use crate::panics;
use crate::quantity::BootTime;
use crate::retry_after::Backoff;

/// The age at which the log says that a source is stale.
const STALE_AFTER: Duration = Duration::from_secs(300);

/// The time between two checks of the sources' ages.
const LOOK: Duration = Duration::from_secs(30);

/// The running sources, and the directory that they publish to. Dropping it ends them.
#[derive(Debug, Default)]
pub struct Sources {
    pub directory: Directory,
    _tasks: JoinSet<()>,
}

/// A source with its options.
#[derive(Clone)]
enum ConfiguredSource {
    Kubernetes(kubernetes::KubernetesOptions),
    Kubelet(kubelet::KubeletOptions),
    Cri(cri::CriOptions),
    File(static_file::StaticFileOptions),
    Engine(docker::EngineOptions),
}

impl Sources {
    /// Starts the configured sources without waiting for an answer. Needs a Tokio runtime.
    #[must_use]
    pub fn start(settings: &Settings) -> Self {
        let configured = sources(settings);
        let kinds: Vec<SourceKind> = configured.iter().map(|(kind, _)| *kind).collect();
        let (directory, publishers) = Directory::new(&kinds);
        let mut tasks = JoinSet::new();
        let seed = seed(&settings.node.name);
        for ((kind, source), publisher) in configured.into_iter().zip(publishers) {
            tasks.spawn(supervise(kind, publisher, seed, move |publisher| {
                source.clone().run(publisher)
            }));
        }
        if !kinds.is_empty() {
            let started_at = clock::boot_time();
            let watched = directory.clone();
            // It only logs.
            tasks.spawn(async move { _ = panics::catch(watch_age(watched, started_at)).await });
        }
        Self { directory, _tasks: tasks }
    }
}

/// Runs a source. After a panic the source starts again, with a wait; what it published stays.
async fn supervise<F: Future<Output = ()>>(
    kind: SourceKind,
    publisher: Publisher,
    seed: u64,
    start: impl Fn(Publisher) -> F,
) {
    let (least, most) = (panics::RESTART_WAIT_MIN, panics::RESTART_WAIT_MAX);
    let mut backoff = Backoff::equal_jitter(least, most, seed);
    loop {
        let began = clock::timer_now();
        if panics::catch(start(publisher.clone())).await.is_ok() {
            return;
        }
        if began.elapsed() >= panics::STEADY {
            backoff.reset();
        }
        let wait = backoff.after_failure();
        error!(
            "identity source {kind}: its task panicked, a fault of the program; it starts again in \
             {} ms, its last answer stays in use, and sampling goes on",
            wait.as_millis()
        );
        publisher.restarted(clock::boot_time());
        tokio::time::sleep(wait).await;
    }
}

impl ConfiguredSource {
    async fn run(self, publisher: Publisher) {
        match self {
            Self::Kubernetes(options) => {
                let _: std::convert::Infallible = kubernetes::run(options, publisher).await;
            }
            Self::Kubelet(options) => kubelet::run(options, publisher).await,
            Self::Cri(options) => cri::run(options, publisher).await,
            Self::File(options) => static_file::run(options, publisher).await,
            Self::Engine(options) => docker::run(options, publisher).await,
        }
    }
}

/// The sources on a thread of their own, for a caller without a Tokio runtime.
#[derive(Debug)]
pub struct BackgroundSources {
    directory: Directory,
    answered: mpsc::Receiver<()>,
    /// Dropping it ends the thread.
    _stop: oneshot::Sender<()>,
}

impl BackgroundSources {
    /// Starts the configured sources.
    ///
    /// # Errors
    /// The thread or the runtime cannot be made.
    pub fn start(settings: &Settings) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let sources = {
            let _entered = runtime.enter();
            Sources::start(settings)
        };
        let directory = sources.directory.clone();
        let (stop, mut stopped) = oneshot::channel::<()>();
        let (all_answered, answered) = mpsc::channel();
        thread::Builder::new().name("directory".to_owned()).spawn(move || {
            // Moves the whole value: a closure captures single fields, which would end the tasks here.
            let sources = sources;
            runtime.block_on(async {
                tokio::select! {
                    () = all_have_answered(&sources.directory) => {
                        let _ = all_answered.send(());
                        let _ = stopped.await;
                    }
                    _ = &mut stopped => {}
                }
            });
        })?;
        Ok(Self { directory, answered, _stop: stop })
    }

    /// The catalog as it is now.
    #[must_use]
    pub fn latest(&self) -> Arc<Catalog> {
        self.directory.catalog()
    }

    /// The catalog once each source has answered or failed, or after `patience`. To be asked for once:
    /// the answers are reported once.
    #[must_use]
    pub fn catalog(&self, patience: Duration) -> Arc<Catalog> {
        let _ = self.answered.recv_timeout(patience);
        self.directory.catalog()
    }
}

async fn all_have_answered(directory: &Directory) {
    let mut changes = directory.changes();
    let has = |catalog: &Arc<Catalog>| {
        let sources = &catalog.sources;
        sources.iter().all(|source| source.current_at.is_some() || source.last_error.is_some())
    };
    // An error means that all sources ended.
    let _ = changes.wait_for(has).await;
}

/// Asks each source once. Returns the name of each question with its answer in a few words.
pub async fn probe(settings: &Settings) -> Vec<(String, Result<String, ProbeError>)> {
    let mut answers = Vec::new();
    for (kind, source) in sources(settings) {
        let one = match source {
            ConfiguredSource::Kubernetes(options) => {
                let asked = kubernetes::probe(options).await.into_iter();
                answers.extend(asked.map(|(question, answer)| {
                    (format!("{kind}: {question}"), answer.map_err(ProbeError::from))
                }));
                continue;
            }
            ConfiguredSource::Kubelet(options) => kubelet::probe(&options).await,
            ConfiguredSource::Cri(options) => cri::probe(&options).await,
            ConfiguredSource::File(options) => static_file::probe(&options).await,
            ConfiguredSource::Engine(options) => docker::probe(&options).await,
        };
        answers.push((kind.to_string(), one.map_err(ProbeError::from)));
    }
    answers
}

fn sources(settings: &Settings) -> Vec<(SourceKind, ConfiguredSource)> {
    let seed = seed(&settings.node.name);
    let directory = &settings.directory;
    let engine = |engine, socket: &PathBuf| {
        let options = docker::EngineOptions::new(engine, socket.clone(), seed, clock::boot_time);
        ConfiguredSource::Engine(options)
    };
    let source = |kind: &DirectorySource| match kind {
        DirectorySource::Kubernetes => (
            SourceKind::Kubernetes,
            ConfiguredSource::Kubernetes(kubernetes_options(settings, seed)),
        ),
        DirectorySource::Kubelet => {
            (SourceKind::Kubelet, ConfiguredSource::Kubelet(kubelet_options(directory, seed)))
        }
        DirectorySource::Cri => {
            let sockets = match &directory.cri_socket {
                Some(socket) => vec![socket.clone()],
                None => cri::SOCKETS.map(Into::into).to_vec(),
            };
            let mut options = cri::CriOptions::new(sockets, seed, clock::boot_time);
            options.annotation_bytes_max = annotation_bytes_max(directory);
            (SourceKind::Cri, ConfiguredSource::Cri(options))
        }
        DirectorySource::File => {
            let file = directory.file.clone();
            let options = static_file::StaticFileOptions::new(file, seed, clock::boot_time);
            (SourceKind::File, ConfiguredSource::File(options))
        }
        DirectorySource::Docker => {
            (SourceKind::Docker, engine(Engine::Docker, &directory.docker_socket))
        }
        DirectorySource::Podman => {
            (SourceKind::Podman, engine(Engine::Podman, &directory.podman_socket))
        }
    };
    directory.sources.iter().map(source).collect()
}

fn annotation_bytes_max(directory: &DirectorySettings) -> usize {
    usize::try_from(directory.annotation_bytes_max.as_bytes()).unwrap_or(usize::MAX)
}

/// The API server of the settings, and the credentials for it.
pub(super) fn api_access(settings: &Settings) -> ApiAccess {
    match &settings.directory.kubeconfig {
        Some(file) => ApiAccess::Kubeconfig(file.clone()),
        None => ApiAccess::InCluster(ServiceAccount::default()),
    }
}

fn kubernetes_options(settings: &Settings, seed: u64) -> kubernetes::KubernetesOptions {
    let access = api_access(settings);
    let node_name = settings.node.name.as_str();
    let mut options = kubernetes::KubernetesOptions::new(
        node_name,
        access,
        clock::boot_time,
        clock::wall_time,
        seed,
    );
    options.limits.annotation_bytes_max = annotation_bytes_max(&settings.directory);
    options
}

fn kubelet_options(directory: &DirectorySettings, seed: u64) -> kubelet::KubeletOptions {
    let trust = if directory.kubelet_insecure {
        KubeletTrust::Insecure
    } else {
        KubeletTrust::CaFile(directory.kubelet_ca_file.clone())
    };
    let url = directory.kubelet_url.as_url().as_str().to_owned();
    let token_file = directory.kubelet_token_file.clone();
    let mut options = kubelet::KubeletOptions::new(url, token_file, trust, seed, clock::boot_time);
    options.annotation_bytes_max = annotation_bytes_max(directory);
    options
}

/// Logs when a source becomes stale and when it is current again, once each.
async fn watch_age(directory: Directory, started_at: BootTime) {
    let mut stale = Vec::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let catalog = directory.catalog();
        for change in changes_of_age(&catalog.sources, &mut stale, started_at, clock::boot_time()) {
            match change {
                AgeChange::Stale(line) => warn!("{line}"),
                AgeChange::Current(line) => info!("{line}"),
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum AgeChange {
    Stale(String),
    Current(String),
}

/// The sources whose state changed since the last check. `stale` keeps the state of each source.
fn changes_of_age(
    sources: &[SourceStatus],
    stale: &mut Vec<bool>,
    started_at: BootTime,
    now: BootTime,
) -> Vec<AgeChange> {
    stale.resize(sources.len(), false);
    let mut changes = Vec::new();
    for (source, was_stale) in sources.iter().zip(stale) {
        let age = now.since(source.current_at.unwrap_or(started_at));
        let is_stale = age >= STALE_AFTER;
        if is_stale && !*was_stale {
            let age = humantime::format_duration(Duration::from_secs(age.as_secs()));
            let what = match source.current_at {
                Some(_) => format!("its last answer is {age} old"),
                None => format!("no answer for {age}"),
            };
            let why = source.last_error.as_ref().map(|error| format!(": {}", error.text));
            let why = why.unwrap_or_default();
            changes.push(AgeChange::Stale(format!(
                "identity source {}: stale, {what}, pods keep their last names{why}",
                source.kind
            )));
        } else if *was_stale && !is_stale {
            changes.push(AgeChange::Current(format!(
                "identity source {}: current again",
                source.kind
            )));
        }
        *was_stale = is_stale;
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_source_that_panics_is_started_again_and_keeps_what_it_published() {
        let (directory, mut publishers) = Directory::new(&[SourceKind::Cri]);
        let starts = std::sync::atomic::AtomicU32::new(0);
        let supervised = supervise(SourceKind::Cri, publishers.remove(0), 7, |publisher| {
            let start = starts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            async move {
                publisher.replace_cgroups(Vec::new(), BootTime::from_nanos(9));
                tokio::task::yield_now().await;
                assert!(start >= 1, "a panic that the test wants");
            }
        });
        let began = clock::timer_now();
        supervised.await;
        // The wait is half to all of 1 s.
        let took = clock::timer_now().duration_since(began).as_secs_f64();
        assert!(took >= 0.5, "{took}");
        let source = directory.catalog().sources[0].clone();
        assert_eq!((source.restarts, source.last_error), (1, None));
        assert_eq!(source.current_at, Some(BootTime::from_nanos(9)));
    }

    #[test]
    fn a_stale_source_is_logged_once_and_once_more_when_it_is_current() {
        let at = |secs: u64| BootTime::from_nanos(secs * 1_000_000_000);
        let (directory, publishers) = Directory::new(&[SourceKind::Kubernetes, SourceKind::Cri]);
        publishers[0].still_current(at(100));
        let mut stale = Vec::new();
        let mut look =
            |now| changes_of_age(&directory.catalog().sources, &mut stale, at(90), at(now));
        assert_eq!(look(389), []);
        let never =
            "identity source cri: stale, no answer for 5m, pods keep their last names".to_owned();
        assert_eq!(look(390), [AgeChange::Stale(never)]);
        publishers[0].failed("refused", at(395));
        let old = "identity source kubernetes: stale, its last answer is 5m 1s old, pods keep their last names: refused".to_owned();
        assert_eq!(look(401), [AgeChange::Stale(old)]);
        assert_eq!(look(500), []);
        publishers[0].still_current(at(510));
        let new = "identity source kubernetes: current again".to_owned();
        assert_eq!(look(520), [AgeChange::Current(new)]);
        assert_eq!(look(530), []);
    }
}
