//! The endpoints that figures are sent to: opened at the start, kept, changed and let go at a
//! reload, emptied at the end.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tracing::{info, warn};

use super::agent::AgentError;
use super::clock;
use super::hand_over::{FLUSH_DEADLINE, Leaving, Successor, finish_and_tell, hand_over};
use super::lifecycle::Reporter;
use super::sampling::Outlet;
use super::status;
use super::told::{self, Told};
use crate::config::{self, EndpointSettings, Settings};
use crate::delivery::{
    self, BaseUrl, ClientCertificate, Clock, Credential, Encoding, Handle, Places, Proxies, Secret,
    Tls, TokenSource, Trust, Worker,
};
use crate::directory::Directory;
use crate::identity::BootId;
use crate::payload::subjects::Filters;
use crate::quantity::BootTime;
use crate::spool::{self, Batch, Handover, Keeper, Queue};

/// An endpoint that has not taken a sample after a third of the interval, or of these bounds, takes
/// its time.
const PROMPT_LEAST: Duration = Duration::from_secs(1);
const PROMPT_MOST: Duration = Duration::from_secs(5);

/// An endpoint as the settings want it.
#[derive(Debug)]
pub struct Wanted {
    /// The agent's own receiver, which may have the name of one that is configured.
    pub embedded: bool,
    pub delivery: delivery::Settings,
    pub kept: Kept,
    pub told: Told,
}

/// Where what waits for an endpoint is to be kept beside memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    /// The directory of all queues, and what this one may hold.
    pub spool: Option<(PathBuf, spool::Bounds)>,
    /// The directory of what is on its way.
    pub handover: Option<PathBuf>,
}

impl Kept {
    fn of(endpoint: &EndpointSettings, settings: &Settings) -> Self {
        let waiting = &endpoint.waiting;
        let bounds =
            spool::Bounds { bytes_max: waiting.spool_bytes.as_bytes(), age_max: waiting.spool_age };
        let on_disk = waiting.durability == config::Durability::Disk;
        let spool_dir = settings.spool.dir.clone().filter(|_| on_disk);
        // Pods' lives are told anew by every run; figures are not.
        let is_counted = endpoint.dialect != config::Dialect::PodLifecycle;
        let state_dir = settings.state.dir.as_ref().filter(|_| is_counted);
        Self {
            spool: spool_dir.map(|dir| (dir, bounds)),
            handover: state_dir.map(|dir| handovers(dir)),
        }
    }
}

/// Where samples on their way are, beside the counters.
fn handovers(state_dir: &Path) -> PathBuf {
    state_dir.join("handover")
}

impl Wanted {
    /// # Errors
    /// Its URL, token, certificates or proxy cannot be used.
    pub fn of(endpoint: &EndpointSettings, settings: &Settings) -> Result<Self, AgentError> {
        Ok(Self {
            embedded: false,
            delivery: delivery_settings(endpoint, settings)?,
            kept: Kept::of(endpoint, settings),
            told: Told::of(endpoint, settings)?,
        })
    }
}

/// One endpoint that is sent to, with the settings that hold for it.
#[derive(Debug)]
pub(super) struct Endpoint {
    embedded: bool,
    delivery: delivery::Settings,
    kept: Kept,
    pub(super) handle: Handle,
    /// Where it waits, if not in memory alone.
    pub(super) queue: Option<Queue>,
    /// What of an earlier run may be on its way still.
    pub(super) handover: Option<Handover>,
    /// What waits for the settings before these is on its way here; the worker begins behind it.
    handover_task: Option<JoinHandle<()>>,
}

impl Endpoint {
    fn is_of(&self, wanted: &Wanted) -> bool {
        self.embedded == wanted.embedded && self.delivery.name == wanted.delivery.name
    }

    fn is_called_as(&self, other: &Self) -> bool {
        self.embedded == other.embedded && self.delivery.name == other.delivery.name
    }

    /// Lets it send until `deadline`; what is left.
    pub(super) async fn finish(self, deadline: Instant) -> (String, Vec<Batch>) {
        if let Some(task) = self.handover_task {
            let _ = task.await;
        }
        (self.delivery.name, self.handle.flush(deadline).await)
    }
}

/// All that run.
#[derive(Debug)]
pub struct Endpoints {
    boot: BootId,
    /// By the directory that queues on disk lie in; of more than one while what waits is moved.
    keepers: Vec<(PathBuf, Keeper)>,
    running: Vec<Endpoint>,
    /// Those that tell of pods that come, change and go.
    reporters: Vec<Reporter>,
    /// Endpoints no longer wanted that still send what waits.
    leaving: JoinSet<()>,
    /// When what is under way behind the scenes has to be done; set with the agent's end.
    ending: watch::Sender<Option<Instant>>,
}

/// What is to run in their place.
#[derive(Debug)]
pub struct Plan {
    keepers: Vec<(PathBuf, Keeper)>,
    steps: Vec<Step>,
    reporters: Vec<ReporterPlan>,
}

/// A reporter to be: how its endpoint is spoken to, and of which pods it tells.
type ReporterPlan = (Handle, delivery::Settings, Filters);

#[derive(Debug)]
enum Step {
    /// The one at this place of those that run.
    Keep(usize),
    Begin(Box<(Endpoint, Worker)>),
}

/// By name, for the log.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub begun: Vec<String>,
    pub changed: Vec<String>,
    pub ended: Vec<String>,
}

impl Endpoints {
    /// None yet.
    #[must_use]
    pub fn new(boot: BootId) -> Self {
        let (running, reporters, leaving) = (Vec::new(), Vec::new(), JoinSet::new());
        let (keepers, ending) = (Vec::new(), watch::Sender::new(None));
        Self { boot, keepers, running, reporters, leaving, ending }
    }

    /// Makes all that is needed and changes nothing yet: the plan, and where the sampling thread is
    /// to offer from then on.
    ///
    /// # Errors
    /// The first client that cannot be made.
    pub fn plan(&self, wanted: Vec<Wanted>) -> Result<(Plan, Vec<Outlet>), AgentError> {
        let mut keepers = self.keepers.clone();
        let (mut steps, mut outlets, mut reporters) = (Vec::new(), Vec::new(), Vec::new());
        for mut wanted in wanted {
            let same = self.running.iter().position(|running| running.is_of(&wanted));
            let running = same.and_then(|at| self.running.get(at));
            if let Some(running) = running {
                // Where its random numbers begin is no setting of a person's.
                wanted.delivery.seed = running.delivery.seed;
            }
            let (step, handle) = match (same, running) {
                (Some(at), Some(running))
                    if running.delivery == wanted.delivery && running.kept == wanted.kept =>
                {
                    (Step::Keep(at), running.handle.clone())
                }
                _ => {
                    let Wanted { embedded, delivery, kept, .. } = &wanted;
                    let failed = |error: delivery::ClientError| AgentError::Endpoint {
                        name: delivery.name.clone(),
                        reason: error.to_string(),
                    };
                    let places = places(&mut keepers, &delivery.name, kept);
                    let (queue, handover) = (places.queue.clone(), places.handover.clone());
                    let (handle, worker) =
                        delivery::endpoint(delivery.clone(), places, clock(self.boot))
                            .map_err(failed)?;
                    let offered_to = handle.clone();
                    let (embedded, delivery, kept) = (*embedded, delivery.clone(), kept.clone());
                    let handover_task = None;
                    let endpoint = Endpoint {
                        embedded,
                        delivery,
                        kept,
                        handle,
                        queue,
                        handover,
                        handover_task,
                    };
                    (Step::Begin(Box::new((endpoint, worker))), offered_to)
                }
            };
            steps.push(step);
            match wanted.told {
                Told::Figures(figures) => outlets.push(Outlet { handle, figures }),
                Told::Lifecycle(filters) => reporters.push((handle, wanted.delivery, filters)),
            }
        }
        Ok((Plan { keepers, steps, reporters }, outlets))
    }

    /// Does what was planned, once the sampling thread offers to the plan's outlets alone. What
    /// waits for settings that have changed is handed over behind the scenes.
    pub fn carry_out(&mut self, plan: Plan, node_name: &str, directory: &Directory) -> Changes {
        let mut changes = Changes::default();
        let mut before: Vec<Option<Endpoint>> =
            std::mem::take(&mut self.running).into_iter().map(Some).collect();
        let Plan { keepers, steps, reporters } = plan;
        self.keepers = keepers;
        self.keepers.retain(|(_, keeper)| keeper.is_in_use());
        // They begin anew and tell all that there is, which does no harm where it was told before.
        self.reporters.clear();
        for step in steps {
            let (mut endpoint, worker) = match step {
                Step::Keep(at) => {
                    self.running.extend(before.get_mut(at).and_then(Option::take));
                    continue;
                }
                Step::Begin(begin) => *begin,
            };
            // Names differ, so nobody else wants the one of this name.
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
                        handover: endpoint.handover.clone(),
                        worker,
                    };
                    let handing =
                        hand_over(predecessor, successor, self.boot, self.ending.subscribe());
                    endpoint.handover_task = Some(tokio::spawn(handing));
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
            let deadline = Instant::now() + FLUSH_DEADLINE;
            let leaves = finish_and_tell(running, deadline, self.boot, Leaving::TakenOut);
            self.leaving.spawn(leaves);
        }
        self.reporters = reporters
            .into_iter()
            .map(|(handle, delivery, filters)| {
                Reporter::start(handle, delivery, filters, node_name, self.boot, directory)
            })
            .collect();
        // Those that have left need not be remembered.
        while self.leaving.try_join_next().is_some() {}
        changes
    }

    /// Sends what an earlier run had handed over and not sent. `counted_until`: what the counters
    /// reach that are gone on from, if there are any.
    pub fn take_over(&self, counted_until: Option<BootTime>) {
        let now = clock::moment(self.boot);
        for endpoint in &self.running {
            let samples = endpoint.handle.take_over(&now, counted_until);
            if samples > 0 {
                info!(
                    "endpoint {}: {samples} samples of an earlier run were on their way and will be \
                     sent",
                    endpoint.delivery.name
                );
            }
        }
    }

    /// Says what waits for endpoints that are none, or keep nothing there any more: in the spool, and
    /// beside the counters.
    pub fn tell_leftovers(&self, spool: Option<&Path>, state: Option<&Path>) {
        if let Some(spool) = spool {
            self.tell_left_in_spool(spool);
        }
        if let Some(state) = state {
            self.tell_left_on_their_way(&handovers(state));
        }
    }

    fn names_of(&self, which: impl Fn(&Kept) -> bool) -> Vec<&str> {
        let those = self.running.iter().filter(|endpoint| which(&endpoint.kept));
        those.map(|endpoint| endpoint.delivery.name.as_str()).collect()
    }

    fn tell_left_on_their_way(&self, dir: &Path) {
        let leftovers = Handover::leftovers(dir, &self.names_of(|kept| kept.handover.is_some()));
        if !leftovers.is_empty() {
            let names: Vec<&str> = leftovers.iter().map(|(name, _)| name.as_str()).collect();
            let samples: usize = leftovers.iter().map(|(_, samples)| samples).sum();
            warn!(
                "{}: nobody sends the {samples} samples that were on their way to {}: no endpoint \
                 of that name is sent samples",
                dir.display(),
                names.join(", "),
            );
        }
    }

    /// On a thread that lasts no longer than that, since the disk may not answer.
    fn tell_left_in_spool(&self, spool: &Path) {
        let names = self.names_of(|kept| kept.spool.is_some());
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let spool = spool.to_owned();
        let looks = thread::Builder::new().name("spool-look".to_owned());
        let looked = looks.spawn(move || tell_left_in_spool(&spool, &names));
        if let Err(error) = looked {
            warn!("no thread for a look at what waits for nobody: {error}");
        }
    }

    #[must_use]
    pub fn boot(&self) -> BootId {
        self.boot
    }

    /// All that are sent to.
    #[must_use]
    pub fn told_of(&self) -> Vec<status::Endpoint> {
        let told = |endpoint: &Endpoint| status::Endpoint {
            name: endpoint.delivery.name.clone(),
            url: endpoint.delivery.url.to_string(),
            embedded: endpoint.embedded,
            handle: endpoint.handle.clone(),
        };
        self.running.iter().map(told).collect()
    }

    /// Lets all of them send what waits, within a few seconds, and says what could not be sent.
    pub async fn finish(mut self) {
        let deadline = Instant::now() + FLUSH_DEADLINE;
        self.ending.send_replace(Some(deadline));
        for running in self.running {
            let leaves = finish_and_tell(running, deadline, self.boot, Leaving::WithTheAgent);
            self.leaving.spawn(leaves);
        }
        while self.leaving.join_next().await.is_some() {}
    }
}

/// The queue and the directory that an endpoint of this name has.
fn places(keepers: &mut Vec<(PathBuf, Keeper)>, name: &str, kept: &Kept) -> Places {
    let queue = kept.spool.as_ref().map(|(dir, bounds)| {
        let known = keepers.iter().find(|(of, _)| of == dir).map(|(_, keeper)| keeper.clone());
        let keeper = known.unwrap_or_else(|| {
            let keeper = Keeper::new(dir.clone());
            keepers.push((dir.clone(), keeper.clone()));
            keeper
        });
        keeper.queue(name, *bounds)
    });
    let handover = kept.handover.as_ref().map(|dir| Handover::new(dir, name));
    Places { queue, handover }
}

fn tell_left_in_spool(spool: &Path, names: &[String]) {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let leftovers = Keeper::new(spool.to_owned()).leftovers(&names);
    if !leftovers.is_empty() {
        let files: Vec<&str> = leftovers.iter().map(|(file, _)| file.as_str()).collect();
        let bytes: u64 = leftovers.iter().map(|(_, bytes)| bytes).sum();
        warn!(
            "spool {}: nobody sends what waits in {} ({} KiB): no endpoint of that name keeps \
             samples on disk",
            spool.display(),
            files.join(", "),
            bytes >> 10,
        );
    }
}

fn clock(boot: BootId) -> Clock {
    Arc::new(move || clock::moment(boot))
}

/// How an endpoint of the settings is spoken to.
///
/// # Errors
/// Its URL, token, certificates or proxy cannot be used.
pub fn delivery_settings(
    endpoint: &EndpointSettings,
    agent: &Settings,
) -> Result<delivery::Settings, AgentError> {
    let failed = |reason: String| AgentError::Endpoint { name: endpoint.name.clone(), reason };
    let url = BaseUrl::parse(endpoint.url.as_url().as_str())
        .map_err(|error| failed(error.to_string()))?;
    let mut settings = delivery::Settings::new(&endpoint.name, url, seed(&endpoint.name));
    settings.request_timeout = endpoint.timeout;
    settings.concurrency_max = endpoint.concurrency;
    settings.queue_bytes_max =
        usize::try_from(endpoint.queue_bytes.as_bytes()).unwrap_or(usize::MAX);
    let waiting = &endpoint.waiting;
    settings.age_max = waiting.spool_age;
    settings.tries_max = u32::try_from(waiting.tries_max).unwrap_or(u32::MAX);
    settings.spread = own_part(&agent.node.name, waiting.spread);
    settings.prompt = (agent.sampling.interval / 3).clamp(PROMPT_LEAST, PROMPT_MOST);
    told::shape(endpoint, &mut settings);
    settings.retry_client_errors = endpoint.client_errors == config::ClientErrors::Retry;
    settings.trust = trust(endpoint).map_err(failed)?;
    settings.encoding = match endpoint.trust.compression {
        config::Compression::None => Encoding::None,
        config::Compression::Gzip => Encoding::Gzip,
        config::Compression::Zstd => Encoding::Zstd,
    };
    settings.trust.check(&settings.url).map_err(failed)?;
    Ok(settings)
}

/// How long into `spread` a node of this name waits: always the same, and others another time.
fn own_part(node_name: &str, spread: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    node_name.hash(&mut hasher);
    // The upper half as a fraction of 2^32.
    let part = hasher.finish() >> 32;
    let nanos = (spread.as_nanos() * u128::from(part)) >> 32;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Files are named here and read by the delivery; of the environment, which stays as it is for as
/// long as the process runs, the values are.
fn trust(endpoint: &EndpointSettings) -> Result<Trust, String> {
    let trust = &endpoint.trust;
    let token = match (&endpoint.bearer_token_file, &trust.bearer_token_env) {
        (Some(file), _) => Some(TokenSource::File(file.clone())),
        (None, Some(variable)) => {
            let token = std::env::var(variable).map_err(|_| {
                format!("the variable {variable}, which is to hold the token, is not set")
            })?;
            Some(TokenSource::Held { variable: variable.clone(), token: Secret::new(token) })
        }
        (None, None) => None,
    };
    Ok(Trust {
        credential: token.map(|token| Credential { header: endpoint.auth_header.clone(), token }),
        tls: Tls {
            ca_file: trust.ca_file.clone(),
            client_certificate: trust.client_certificate.as_ref().map(|files| ClientCertificate {
                certificate_file: files.certificate.clone(),
                key_file: files.key.clone(),
            }),
            server_name: trust.server_name.clone(),
        },
        proxies: Proxies::of_variables(|name| std::env::var(name).ok()),
    })
}

/// Different on every node and endpoint, so that retries after a common outage do not come in step.
pub fn seed(name: &str) -> u64 {
    let start = clock::boot_time().as_nanos();
    name.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
