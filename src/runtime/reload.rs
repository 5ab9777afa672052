//! SIGHUP: the settings read anew and brought into force, or left as they were.
//!
//! Everything that can fail is done first; what runs is touched only when nothing can fail any
//! more.

use std::sync::mpsc;

use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::agent::{self, AgentError};
use super::embedded::{Embedded, EmbeddedPlan};
use super::identity::Sources;
use super::notify;
use super::sampling::Change;
use super::status::{self, Status, Subjects};
use super::wait::KeepGoing;
use crate::checkpoint::StateDir;
use crate::config::{LogLevel, SamplingSettings, Settings};
use crate::endpoint::endpoint::EndpointHandle;
use crate::endpoint::supervisor::{EndpointChanges, Endpoints, EndpointsPlan};
use crate::snapshot::sampler::Sampler;

/// What a reload needs of whoever started the agent.
#[derive(Clone, Copy)]
pub struct Reload<'a> {
    /// File, environment and flags as at the start; an error is one line.
    pub settings: &'a dyn Fn() -> Result<Settings, String>,
    pub set_log_level: &'a dyn Fn(LogLevel),
}

/// What runs beside the sampling thread, and the settings that it runs by.
pub(super) struct Running {
    pub settings: Settings,
    pub endpoints: Endpoints,
    pub receiver: Option<Embedded>,
    pub sources: Sources,
    pub status: Status,
    pub changes: mpsc::Sender<Change>,
    pub keep_going: KeepGoing,
}

/// All that new settings need, made.
struct Prepared {
    sampler: Option<Sampler>,
    state: Option<StateDir>,
    receiver: EmbeddedPlan,
    endpoints: EndpointsPlan,
    handles: Vec<EndpointHandle>,
    status: status::StatusPlan,
}

impl Running {
    /// Says in the log what came of it.
    pub async fn reload(&mut self, reload: &Reload<'_>) {
        notify::reloading();
        let outcome = match (reload.settings)() {
            Ok(settings) => match self.prepare(&settings).await {
                Ok(prepared) => Ok((settings, prepared)),
                Err(error) => Err(error.to_string()),
            },
            Err(error) => Err(error),
        };
        match outcome {
            Ok((settings, prepared)) => {
                (reload.set_log_level)(settings.log.level);
                let changes = self.bring_into_force(&settings, prepared).await;
                info!("reloaded: {}", told(&self.settings, &settings, &changes));
                self.settings = settings;
            }
            Err(error) => error!("not reloaded, going on with the settings of before: {error}"),
        }
        notify::ready();
    }

    async fn prepare(&mut self, settings: &Settings) -> Result<Prepared, AgentError> {
        let sampler = if reads_the_same(&self.settings, settings) {
            None
        } else {
            Some(agent::open_sampler(settings, agent::run_options(settings))?)
        };
        let (receiver, wanted) = agent::wanted(settings, self.receiver.as_ref()).await?;
        let (endpoints, handles) = self.endpoints.plan(wanted)?;
        let state = settings.state.dir.as_deref().and_then(|dir| match StateDir::open(dir) {
            Ok(state) => Some(state),
            Err(error) => {
                warn!("no counters are kept, a restart will be a gap: {error}");
                None
            }
        });
        let status = self.status.plan(&settings.status).await?;
        Ok(Prepared { sampler, state, receiver, endpoints, handles, status })
    }

    async fn bring_into_force(
        &mut self,
        settings: &Settings,
        prepared: Prepared,
    ) -> EndpointChanges {
        let Prepared { sampler, state, receiver, endpoints, handles, status } = prepared;
        // What the sources of before had told is known again in a moment; until then pods wait.
        let sources = (!asks_the_same(&self.settings, settings)).then(|| Sources::start(settings));
        let pod_files =
            (!measures_the_same(&self.settings, settings)).then(|| agent::pod_files(settings));
        let (in_force, taken) = oneshot::channel();
        let change = Change {
            sampler,
            state,
            endpoints: handles,
            directory: sources.as_ref().map(|sources| sources.directory.clone()),
            pod_files,
            interval: settings.sampling.interval,
            in_force,
        };
        let _ = self.changes.send(change);
        self.keep_going.wake();
        // An error is the end of the sampling thread, which is seen to elsewhere.
        let _ = taken.await;
        if let Some(sources) = sources {
            self.sources = sources;
        }
        let directory = &self.sources.directory;
        let changes = self.endpoints.apply(endpoints, &settings.node.name, directory);
        self.receiver = receiver.carry_out(self.receiver.take()).await;
        let subjects = Subjects {
            node_name: settings.node.name.clone(),
            directory: directory.clone(),
            endpoints: self.endpoints.views(),
            boot: Some(self.endpoints.boot()),
        };
        self.status.carry_out(status, subjects).await;
        changes
    }
}

/// Whether a sampler opened by `before` reads what `now` asks for.
fn reads_the_same(before: &Settings, now: &Settings) -> bool {
    // How often it is asked is no matter of the sampler's.
    let sampling = SamplingSettings { interval: before.sampling.interval, ..now.sampling.clone() };
    before.paths == now.paths && before.sampling == sampling
}

/// Whether sources started by `before` ask what `now` wants to know.
fn asks_the_same(before: &Settings, now: &Settings) -> bool {
    before.directory == now.directory && before.node.name == now.node.name
}

/// Whether a slow lane started by `before` measures what `now` asks for.
fn measures_the_same(before: &Settings, now: &Settings) -> bool {
    before.filesystem == now.filesystem && before.paths == now.paths
}

/// What has changed, in a few words.
fn told(before: &Settings, now: &Settings, endpoints: &EndpointChanges) -> String {
    let mut words = Vec::new();
    if before.sampling.interval != now.sampling.interval {
        let interval = humantime::format_duration(now.sampling.interval);
        words.push(format!("samples every {interval}"));
    }
    if before.node.name != now.node.name {
        words.push(format!("the node is called {}", now.node.name));
    }
    let others = [
        ("what is read of the host", !reads_the_same(before, now)),
        ("directory", before.directory != now.directory),
        ("cluster", before.cluster != now.cluster),
        ("filesystem", before.filesystem != now.filesystem),
        ("status", before.status != now.status),
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
