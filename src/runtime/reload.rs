//! Reloads the settings on SIGHUP, or keeps the present ones.
//!
//! Everything that can fail is done first. The running parts change only when nothing can fail any
//! more.

use std::sync::{Arc, mpsc};

use tokio::sync::oneshot;
use tracing::{error, info};

use super::embedded::{Embedded, EmbeddedPlan};
use super::error::AgentError;
use super::host;
use super::metrics_feed::store_options;
use super::notify;
use super::sampling::SamplingChange;
use super::sources::Sources;
use super::startup::{self, Specs};
use super::status::{Status, StatusPlan, StatusView};
use super::wait::Waker;
use crate::checkpoint::StateDir;
use crate::config::{ConfigError, SamplingSettings, Settings};
use crate::delivery::DryRun;
use crate::endpoint::endpoint::EndpointHandle;
use crate::endpoint::supervisor::{EndpointChanges, Endpoints, EndpointsPlan};
use crate::own_files::DirLock;
use crate::snapshot::sampler::Sampler;

/// The functions that a reload calls.
#[derive(Clone, Copy)]
pub struct Reload<'a> {
    /// Resolves file, environment and flags as at the start.
    pub settings: &'a dyn Fn() -> Result<Settings, ConfigError>,
    pub set_logging: &'a dyn Fn(&Settings),
}

/// The running parts beside the sampling thread, and their settings.
pub(super) struct RunningAgent {
    pub settings: Settings,
    /// Requests are printed there. `None`: they are sent.
    pub dry_run: Option<DryRun>,
    /// The lock of the state directory; `None` without one.
    pub lock: Option<DirLock>,
    pub endpoints: Endpoints,
    pub receiver: Option<Embedded>,
    pub sources: Sources,
    pub status: Status,
    pub changes: mpsc::Sender<SamplingChange>,
    /// Dropping the last one stops the sampling.
    pub waker: Arc<Waker>,
}

/// The parts that new settings need, made but not in force.
struct Prepared {
    sampler: Option<Sampler>,
    /// `None`: the present one continues, or there is none.
    lock: Option<DirLock>,
    state: Option<StateDir>,
    receiver: EmbeddedPlan,
    endpoints: EndpointsPlan,
    handles: Vec<EndpointHandle>,
    status: StatusPlan,
}

impl RunningAgent {
    /// Reloads and logs the outcome.
    pub async fn reload(&mut self, reload: &Reload<'_>) {
        notify::reloading();
        let outcome = match (reload.settings)() {
            Ok(settings) => self.prepare(&settings).await.map(|prepared| (settings, prepared)),
            Err(error) => Err(error.into()),
        };
        match outcome {
            Ok((settings, prepared)) => {
                (reload.set_logging)(&settings);
                let changes = self.apply(&settings, prepared).await;
                info!("reloaded: {}", summary(&self.settings, &settings, &changes));
                self.settings = settings;
            }
            Err(error) => {
                for line in error.to_string().lines() {
                    error!("not reloaded, the previous settings stay in force: {line}");
                }
            }
        }
        notify::ready();
    }

    async fn prepare(&mut self, settings: &Settings) -> Result<Prepared, AgentError> {
        let sampler = if reads_the_same(&self.settings, settings) {
            None
        } else {
            Some(startup::open_sampler(settings, startup::run_options(settings))?)
        };
        let dry_run = self.dry_run.as_ref();
        let Specs { receiver, servers, sinks } =
            startup::specs(settings, self.receiver.as_ref(), dry_run).await?;
        let (endpoints, handles) = self.endpoints.plan(servers, sinks)?;
        let lock = if settings.state == self.settings.state {
            None
        } else {
            startup::lock_state(settings)?
        };
        let state = startup::open_state(settings);
        let status = self.status.plan(settings).await?;
        Ok(Prepared { sampler, lock, state, receiver, endpoints, handles, status })
    }

    async fn apply(&mut self, settings: &Settings, prepared: Prepared) -> EndpointChanges {
        let Prepared { sampler, lock, state, receiver, endpoints, handles, status } = prepared;
        // New sources know the pods again in a moment; until then pods wait for their names.
        let sources = (!asks_the_same(&self.settings, settings)).then(|| Sources::start(settings));
        let pod_files =
            (!measures_the_same(&self.settings, settings)).then(|| startup::pod_files(settings));
        let (in_force, is_in_force) = oneshot::channel();
        let change = SamplingChange {
            sampler,
            state,
            endpoints: handles,
            directory: sources.as_ref().map(|sources| sources.directory.clone()),
            pod_files,
            interval: settings.sampling.interval,
            metrics: store_options(settings),
            in_force,
        };
        let _ = self.changes.send(change);
        self.waker.wake();
        // An error means that the sampling thread ended, which the main loop handles.
        let _ = is_in_force.await;
        if let Some(sources) = sources {
            self.sources = sources;
        }
        if lock.is_some() || settings.state.dir.is_none() {
            self.lock = lock;
        }
        let directory = &self.sources.directory;
        let changes = self.endpoints.apply(endpoints, &settings.node.name, directory);
        self.receiver = receiver.apply(self.receiver.take()).await;
        let view = StatusView {
            node_name: settings.node.name.clone(),
            directory: directory.clone(),
            endpoints: self.endpoints.views(),
            boot: Some(self.endpoints.boot()),
            machine: Arc::new(host::machine(&host::roots(settings))),
        };
        self.status.apply(status, view).await;
        changes
    }
}

/// True if a sampler opened by `before` also serves `now`.
fn reads_the_same(before: &Settings, now: &Settings) -> bool {
    // The interval does not change what the sampler reads.
    let sampling = SamplingSettings { interval: before.sampling.interval, ..now.sampling.clone() };
    before.paths == now.paths && before.sampling == sampling
}

/// True if sources started by `before` also serve `now`.
fn asks_the_same(before: &Settings, now: &Settings) -> bool {
    before.directory == now.directory && before.node.name == now.node.name
}

/// True if a disk usage worker started by `before` also serves `now`.
fn measures_the_same(before: &Settings, now: &Settings) -> bool {
    before.filesystem == now.filesystem && before.paths == now.paths
}

/// The changes, in a few words.
fn summary(before: &Settings, now: &Settings, endpoints: &EndpointChanges) -> String {
    let mut words = Vec::new();
    if before.sampling.interval != now.sampling.interval {
        let interval = humantime::format_duration(now.sampling.interval);
        words.push(format!("samples every {interval}"));
    }
    if before.node.name != now.node.name {
        words.push(format!("the node is called {}", now.node.name));
    }
    let others = [
        ("sampler", !reads_the_same(before, now)),
        ("directory", before.directory != now.directory),
        ("cluster", before.cluster != now.cluster),
        ("filesystem", before.filesystem != now.filesystem),
        ("status", before.status != now.status),
        ("metrics", before.metrics != now.metrics),
        ("state", before.state != now.state),
        ("spool", before.spool != now.spool),
        ("log", before.log != now.log),
        ("receiver", before.receiver != now.receiver && now.uses_embedded_receiver()),
    ];
    let differ: Vec<&str> =
        others.iter().filter(|(_, differs)| *differs).map(|(what, _)| *what).collect();
    if !differ.is_empty() {
        words.push(format!("changed: {}", differ.join(", ")));
    }
    let named = [
        ("new endpoints", &endpoints.begun),
        ("changed endpoints", &endpoints.changed),
        ("endpoints no longer sent to", &endpoints.ended),
    ];
    for (what, names) in named {
        if !names.is_empty() {
            words.push(format!("{what}: {}", names.join(", ")));
        }
    }
    if words.is_empty() { "nothing has changed".to_owned() } else { words.join("; ") }
}
