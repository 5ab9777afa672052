//! Starts the endpoints, keeps, changes or ends each at a reload, and flushes them at the stop.

use std::path::{Path, PathBuf};
use std::thread;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use super::client::delivery_clock;
use super::endpoint::{
    BacklogStorage, Endpoint, EndpointHandle, EndpointSpec, EndpointView, SeriesServer, journal_dir,
};
use super::error::EndpointError;
use super::lifecycle::Reporter;
use super::migrate::{FLUSH_DEADLINE, Leaving, Successor, finish, migrate};
use super::render::Encoder;
use super::sinks::{SinkSpec, Sinks, SinksPlan};
use crate::clock;
use crate::delivery::{self, Handle, Storage, Worker};
use crate::directory::Directory;
use crate::identity::BootId;
use crate::panics;
use crate::payload::options::PodFilter;
use crate::quantity::{BootTime, counted};
use crate::spool::{Journal, Spool};

/// All running endpoints.
#[derive(Debug)]
pub struct Endpoints {
    boot: BootId,
    /// The spool thread of each directory. More than one while a reload migrates a backlog.
    spools: Vec<(PathBuf, Spool)>,
    running: Vec<Endpoint>,
    /// Endpoints that are no servers.
    sinks: Sinks,
    /// Reporters of the pod life cycle.
    reporters: Vec<Reporter>,
    /// Endpoints that left the settings and still send their backlog.
    leaving: JoinSet<()>,
    /// The deadline of migrations, set when the agent stops.
    ending: watch::Sender<Option<Instant>>,
}

/// The endpoints that a reload will run, made and checked but not started.
#[derive(Debug)]
pub struct EndpointsPlan {
    spools: Vec<(PathBuf, Spool)>,
    steps: Vec<EndpointStep>,
    sinks: SinksPlan,
    reporters: Vec<ReporterPlan>,
}

/// A life-cycle reporter to start: its endpoint and the pods it reports.
type ReporterPlan = (Handle, delivery::DeliverySettings, PodFilter);

#[derive(Debug)]
enum EndpointStep {
    /// Keeps the running endpoint of this index.
    Keep(usize),
    Start(Box<(Endpoint, Worker)>),
}

/// Names of the endpoints that a reload changed, for the log.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct EndpointChanges {
    pub begun: Vec<String>,
    pub changed: Vec<String>,
    pub ended: Vec<String>,
}

impl Endpoints {
    /// No endpoints.
    #[must_use]
    pub fn new(boot: BootId) -> Self {
        let (running, reporters, leaving) = (Vec::new(), Vec::new(), JoinSet::new());
        let (spools, ending) = (Vec::new(), watch::Sender::new(None));
        Self { boot, spools, running, sinks: Sinks::default(), reporters, leaving, ending }
    }

    /// Makes clients, queues and workers without starting any: the plan, and the handles for the
    /// sampling thread.
    ///
    /// # Errors
    /// The first client that cannot be made.
    pub fn plan(
        &self,
        specs: Vec<EndpointSpec>,
        sinks: Vec<SinkSpec>,
    ) -> Result<(EndpointsPlan, Vec<EndpointHandle>), EndpointError> {
        let mut spools = self.spools.clone();
        let (mut steps, mut handles, mut reporters) = (Vec::new(), Vec::new(), Vec::new());
        for mut spec in specs {
            let same = self.running.iter().enumerate().find(|(_, running)| running.is_of(&spec));
            if let Some((_, running)) = same {
                // The seed is no setting: a new one alone is no change.
                spec.delivery.seed = running.delivery.seed;
            }
            let (step, handle) = match same {
                Some((at, running))
                    if running.delivery == spec.delivery && running.storage == spec.storage =>
                {
                    (EndpointStep::Keep(at), running.handle.clone())
                }
                _ => {
                    let EndpointSpec { embedded, delivery, storage, .. } = &spec;
                    let places = places(&mut spools, &delivery.name, storage);
                    let (queue, journal) = (places.queue.clone(), places.journal.clone());
                    let (handle, worker) =
                        delivery::endpoint(delivery.clone(), places, delivery_clock(self.boot))?;
                    let endpoint = Endpoint {
                        embedded: *embedded,
                        delivery: delivery.clone(),
                        storage: storage.clone(),
                        handle: handle.clone(),
                        queue,
                        journal,
                        migration: None,
                    };
                    (EndpointStep::Start(Box::new((endpoint, worker))), handle)
                }
            };
            steps.push(step);
            match spec.encoder {
                Encoder::Samples(encoder) => {
                    let server = Some(SeriesServer::of(&spec.delivery));
                    handles.push(EndpointHandle { handle, encoder, server });
                }
                Encoder::Lifecycle(filters) => reporters.push((handle, spec.delivery, filters)),
            }
        }
        let (sinks, of_sinks) = self.sinks.plan(sinks);
        handles.extend(of_sinks);
        Ok((EndpointsPlan { spools, steps, sinks, reporters }, handles))
    }

    /// Carries the plan out. Call it once the sampling thread uses the plan's handles alone. Backlogs
    /// of changed endpoints migrate in the background.
    pub fn apply(
        &mut self,
        plan: EndpointsPlan,
        node_name: &str,
        directory: &Directory,
    ) -> EndpointChanges {
        let mut changes = EndpointChanges::default();
        let mut before: Vec<Option<Endpoint>> =
            std::mem::take(&mut self.running).into_iter().map(Some).collect();
        let EndpointsPlan { spools, steps, sinks, reporters } = plan;
        self.spools = spools;
        self.spools.retain(|(_, spool)| spool.is_in_use());
        // New reporters report all pods once more; a repeated report changes nothing.
        self.reporters.clear();
        for step in steps {
            let (mut endpoint, worker) = match step {
                EndpointStep::Keep(at) => {
                    self.running.extend(before.get_mut(at).and_then(Option::take));
                    continue;
                }
                EndpointStep::Start(start) => *start,
            };
            // Names are unique, so no other endpoint needs this predecessor.
            let predecessor = before
                .iter_mut()
                .find(|old| old.as_ref().is_some_and(|old| old.is_called_as(&endpoint)))
                .and_then(Option::take);
            let name = endpoint.delivery.name.clone();
            match predecessor {
                Some(predecessor) => {
                    let successor = Successor {
                        handle: endpoint.handle.clone(),
                        queue: endpoint.queue.clone(),
                        journal: endpoint.journal.clone(),
                        worker,
                    };
                    let migration =
                        migrate(predecessor, successor, self.boot, self.ending.subscribe());
                    endpoint.migration =
                        Some(panics::spawn_essential("the migration of a backlog", migration));
                    changes.changed.push(name);
                }
                None => {
                    tokio::spawn(worker.run());
                    changes.begun.push(name);
                }
            }
            self.running.push(endpoint);
        }
        for running in before.into_iter().flatten() {
            changes.ended.push(running.delivery.name.clone());
            let deadline = clock::timer_now() + FLUSH_DEADLINE;
            let leaves = finish(running, deadline, self.boot, Leaving::Removed);
            self.leaving.spawn(leaves);
        }
        let deadline = clock::timer_now() + FLUSH_DEADLINE;
        let of_sinks = self.sinks.apply(sinks, deadline, &mut self.leaving);
        changes.begun.extend(of_sinks.begun);
        changes.changed.extend(of_sinks.changed);
        changes.ended.extend(of_sinks.ended);
        self.reporters = reporters
            .into_iter()
            .map(|(handle, delivery, filters)| {
                Reporter::start(handle, delivery, filters, node_name, self.boot, directory)
            })
            .collect();
        // Forgets the endpoints that are done.
        while self.leaving.try_join_next().is_some() {}
        changes
    }

    /// Sends samples that an earlier run had journalled and not sent. `counted_until`: the end of the
    /// last interval in the checkpoint, if there is one.
    pub fn recover(&self, counted_until: Option<BootTime>) {
        let now = clock::moment(self.boot);
        for endpoint in &self.running {
            let samples = endpoint.handle.recover(&now, counted_until);
            if samples > 0 {
                info!(
                    "endpoint {}: {} sent now",
                    endpoint.delivery.name,
                    counted(
                        samples,
                        "sample in flight at the end of the last run is",
                        "samples in flight at the end of the last run are"
                    )
                );
            }
        }
    }

    /// Logs backlogs of endpoints that are no longer configured: in the spool and in the journal.
    pub fn log_orphans(&self, spool: Option<&Path>, state: Option<&Path>) {
        if let Some(spool) = spool {
            self.log_orphans_in_spool(spool);
        }
        if let Some(state) = state {
            self.log_orphans_in_journal(&journal_dir(state));
        }
    }

    fn names_of(&self, which: impl Fn(&BacklogStorage) -> bool) -> Vec<&str> {
        let those = self.running.iter().filter(|endpoint| which(&endpoint.storage));
        those.map(|endpoint| endpoint.delivery.name.as_str()).collect()
    }

    fn log_orphans_in_journal(&self, dir: &Path) {
        let orphans = Journal::orphans(dir, &self.names_of(|storage| storage.journal.is_some()));
        if !orphans.is_empty() {
            let names: Vec<&str> = orphans.iter().map(|(name, _)| name.as_str()).collect();
            let samples: usize = orphans.iter().map(|(_, samples)| samples).sum();
            warn!(
                "{}: {} for {} {} not sent: no endpoint of that name is configured; configure it again \
                 or remove the files",
                dir.display(),
                counted(samples, "sample", "samples"),
                names.join(", "),
                if samples == 1 { "is" } else { "are" },
            );
        }
    }

    /// Looks on a thread of its own, since the disk may not answer.
    fn log_orphans_in_spool(&self, spool: &Path) {
        let names = self.names_of(|storage| storage.spool.is_some());
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let spool = spool.to_owned();
        let looks = thread::Builder::new().name("spool-look".to_owned());
        let looked = looks.spawn(move || log_orphans_in_spool(&spool, &names));
        if let Err(error) = looked {
            warn!("spool: no thread to look for backlogs without an endpoint: {error}");
        }
    }

    #[must_use]
    pub fn boot(&self) -> BootId {
        self.boot
    }

    /// The running endpoints, for the status side.
    #[must_use]
    pub fn views(&self) -> Vec<EndpointView> {
        let view = |endpoint: &Endpoint| EndpointView {
            name: endpoint.delivery.name.clone(),
            url: endpoint.delivery.url.to_string(),
            embedded: endpoint.embedded,
            handle: endpoint.handle.clone(),
        };
        self.running.iter().map(view).chain(self.sinks.views()).collect()
    }

    /// Flushes all endpoints within five seconds and logs what stays unacknowledged.
    pub async fn finish(mut self) {
        let deadline = clock::timer_now() + FLUSH_DEADLINE;
        self.ending.send_replace(Some(deadline));
        for running in self.running {
            let leaves = finish(running, deadline, self.boot, Leaving::AgentStops);
            self.leaving.spawn(leaves);
        }
        self.sinks.finish(deadline, &mut self.leaving);
        while self.leaving.join_next().await.is_some() {}
    }
}

/// The queue and the journal of the endpoint `name`.
fn places(spools: &mut Vec<(PathBuf, Spool)>, name: &str, storage: &BacklogStorage) -> Storage {
    let queue = storage.spool.as_ref().map(|(dir, bounds)| {
        let known = spools.iter().find(|(of, _)| of == dir).map(|(_, spool)| spool.clone());
        let spool = known.unwrap_or_else(|| {
            let spool = Spool::new(dir.clone());
            spools.push((dir.clone(), spool.clone()));
            spool
        });
        spool.queue(name, *bounds)
    });
    let journal = storage.journal.as_ref().map(|dir| Journal::new(dir, name));
    Storage { queue, journal }
}

fn log_orphans_in_spool(spool: &Path, names: &[String]) {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let orphans = Spool::new(spool.to_owned()).orphans(&names);
    if !orphans.is_empty() {
        let files: Vec<&str> = orphans.iter().map(|(file, _)| file.as_str()).collect();
        let bytes: u64 = orphans.iter().map(|(_, bytes)| bytes).sum();
        warn!(
            "spool {}: the backlog in {} ({} KiB) is not sent: no endpoint of that name keeps samples \
             on disk; configure it again or remove the files",
            spool.display(),
            files.join(", "),
            bytes >> 10,
        );
    }
}
