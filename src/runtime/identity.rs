//! The sources of identity that the settings name, each a task of the asynchronous side.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::{info, warn};

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
use crate::quantity::BootTime;

/// What a source told may be this old before the log says so.
const STALE_AFTER: Duration = Duration::from_secs(300);

/// How often the sources' age is looked at.
const LOOK: Duration = Duration::from_secs(30);

/// The sources that run, as long as this is held, and what they know together.
#[derive(Debug, Default)]
pub struct Sources {
    pub directory: Directory,
    /// Ended when it is let go of.
    _tasks: JoinSet<()>,
}

/// One source with all that it needs.
enum Source {
    Kubernetes(kubernetes::KubernetesOptions),
    Kubelet(kubelet::KubeletOptions),
    Cri(cri::CriOptions),
    File(static_file::StaticFileOptions),
    Engine(docker::EngineOptions),
}

impl Sources {
    /// Starts what the settings name. Nothing of it is waited for; it needs a runtime.
    #[must_use]
    pub fn start(settings: &Settings) -> Self {
        let wanted = sources(settings);
        let kinds: Vec<SourceKind> = wanted.iter().map(|(kind, _)| *kind).collect();
        let (directory, publishers) = Directory::new(&kinds);
        let mut tasks = JoinSet::new();
        for ((_, source), publisher) in wanted.into_iter().zip(publishers) {
            tasks.spawn(source.run(publisher));
        }
        if !kinds.is_empty() {
            tasks.spawn(watch_age(directory.clone(), clock::boot_time()));
        }
        Self { directory, _tasks: tasks }
    }
}

impl Source {
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

/// The sources asked on a thread of their own, for whoever has no runtime.
#[derive(Debug)]
pub struct Beside {
    directory: Directory,
    answered: mpsc::Receiver<()>,
    /// Ends the thread when it is let go of.
    _stop: oneshot::Sender<()>,
}

impl Beside {
    /// Starts what the settings name.
    ///
    /// # Errors
    /// No thread or no runtime can be had.
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
            // Whole, or a closure takes no more than it names, and the tasks end here and now.
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

    /// What is known once each source has answered or failed, or `patience` is at its end.
    #[must_use]
    pub fn catalog(self, patience: Duration) -> Arc<Catalog> {
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
    // An error is that no source is left to say anything.
    let _ = changes.wait_for(has).await;
}

/// Asks each source once: what was asked, and the answer in a few words or what is wrong.
pub async fn probe(settings: &Settings) -> Vec<(String, Result<String, String>)> {
    let mut answers = Vec::new();
    for (kind, source) in sources(settings) {
        let one = match source {
            Source::Kubernetes(options) => {
                for (asked, answer) in kubernetes::probe(options).await {
                    let answer = answer.map_err(|error| error.to_string());
                    answers.push((format!("{kind}: {asked}"), answer));
                }
                continue;
            }
            Source::Kubelet(options) => kubelet::probe(&options).await,
            Source::Cri(options) => cri::probe(&options).await,
            Source::File(options) => static_file::probe(&options).await,
            Source::Engine(options) => docker::probe(&options).await,
        };
        answers.push((kind.to_string(), one.map_err(|error| error.to_string())));
    }
    answers
}

fn sources(settings: &Settings) -> Vec<(SourceKind, Source)> {
    let seed = seed(&settings.node.name);
    let directory = &settings.directory;
    let source = |kind: &DirectorySource| match kind {
        DirectorySource::Kubernetes => {
            (SourceKind::Kubernetes, Source::Kubernetes(kubernetes_options(settings, seed)))
        }
        DirectorySource::Kubelet => {
            (SourceKind::Kubelet, Source::Kubelet(kubelet_options(directory, seed)))
        }
        DirectorySource::Cri => {
            let sockets = match &directory.cri_socket {
                Some(socket) => vec![socket.clone()],
                None => cri::SOCKETS.map(Into::into).to_vec(),
            };
            let mut options = cri::CriOptions::new(sockets, seed, clock::boot_time);
            options.annotation_bytes_max = annotation_bytes_max(directory);
            (SourceKind::Cri, Source::Cri(options))
        }
        DirectorySource::File => {
            let options =
                static_file::StaticFileOptions::new(directory.file.clone(), seed, clock::boot_time);
            (SourceKind::File, Source::File(options))
        }
        DirectorySource::Docker => {
            let socket = directory.docker_socket.clone();
            let options =
                docker::EngineOptions::new(Engine::Docker, socket, seed, clock::boot_time);
            (SourceKind::Docker, Source::Engine(options))
        }
        DirectorySource::Podman => {
            let socket = directory.podman_socket.clone();
            let options =
                docker::EngineOptions::new(Engine::Podman, socket, seed, clock::boot_time);
            (SourceKind::Podman, Source::Engine(options))
        }
    };
    directory.sources.iter().map(source).collect()
}

fn annotation_bytes_max(directory: &DirectorySettings) -> usize {
    usize::try_from(directory.annotation_bytes_max.as_bytes()).unwrap_or(usize::MAX)
}

fn kubernetes_options(settings: &Settings, seed: u64) -> kubernetes::KubernetesOptions {
    let access = match &settings.directory.kubeconfig {
        Some(file) => ApiAccess::Kubeconfig(file.clone()),
        None => ApiAccess::InCluster(ServiceAccount::default()),
    };
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
    let trust = match directory.kubelet_insecure {
        true => KubeletTrust::Insecure,
        false => KubeletTrust::CaFile(directory.kubelet_ca_file.clone()),
    };
    let url = directory.kubelet_url.as_url().as_str().to_owned();
    let token_file = directory.kubelet_token_file.clone();
    let mut options = kubelet::KubeletOptions::new(url, token_file, trust, seed, clock::boot_time);
    options.annotation_bytes_max = annotation_bytes_max(directory);
    options
}

/// Says when what a source told has grown old, and when it is new again, once each.
async fn watch_age(directory: Directory, started_at: BootTime) {
    let mut told = Vec::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let catalog = directory.catalog();
        for change in changes_of_age(&catalog.sources, &mut told, started_at, clock::boot_time()) {
            match change {
                Age::Old(line) => warn!("{line}"),
                Age::New(line) => info!("{line}"),
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Age {
    Old(String),
    New(String),
}

/// What has grown old or new since the last look; `told` keeps what was said of each source.
fn changes_of_age(
    sources: &[SourceStatus],
    told: &mut Vec<bool>,
    started_at: BootTime,
    now: BootTime,
) -> Vec<Age> {
    told.resize(sources.len(), false);
    let mut changes = Vec::new();
    for (source, told) in sources.iter().zip(told) {
        let age = now.since(source.current_at.unwrap_or(started_at));
        let is_stale = age >= STALE_AFTER;
        if is_stale && !*told {
            let age = humantime::format_duration(Duration::from_secs(age.as_secs()));
            let what = match source.current_at {
                Some(_) => format!("what it told is {age} old"),
                None => format!("it has told nothing for {age}"),
            };
            let why = source.last_error.as_ref().map(|trouble| format!(": {}", trouble.text));
            let why = why.unwrap_or_default();
            changes.push(Age::Old(format!("identity source {}: {what}{why}", source.kind)));
        } else if *told && !is_stale {
            changes.push(Age::New(format!("identity source {}: is up to date again", source.kind)));
        }
        *told = is_stale;
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_grows_old_is_told_of_once_and_once_more_when_it_is_new_again() {
        let at = |secs: u64| BootTime::from_nanos(secs * 1_000_000_000);
        let (directory, publishers) = Directory::new(&[SourceKind::Kubernetes, SourceKind::Cri]);
        publishers[0].still_current(at(100));
        let mut told = Vec::new();
        let mut look =
            |now| changes_of_age(&directory.catalog().sources, &mut told, at(90), at(now));
        assert_eq!(look(389), []);
        let never = "identity source cri: it has told nothing for 5m".to_owned();
        assert_eq!(look(390), [Age::Old(never)]);
        publishers[0].failed("refused", at(395));
        let old = "identity source kubernetes: what it told is 5m 1s old: refused".to_owned();
        assert_eq!(look(401), [Age::Old(old)]);
        assert_eq!(look(500), []);
        publishers[0].still_current(at(510));
        let new = "identity source kubernetes: is up to date again".to_owned();
        assert_eq!(look(520), [Age::New(new)]);
        assert_eq!(look(530), []);
    }
}
