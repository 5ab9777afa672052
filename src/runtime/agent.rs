//! `nodetally run`: one thread samples, this one runs the endpoints, the receiver and reloads.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::embedded::{Embedded, EmbeddedPlan};
use super::identity::Sources;
use super::notify::{self, Pulse};
use super::pod_files::PodFiles;
use super::reload::{Reload, Running};
use super::sampling::Sampling;
use super::status::{Status, Subjects};
use super::vitals::Vitals;
use super::{host, wait};
use crate::checkpoint::StateDir;
use crate::clock;
use crate::config::Settings;
use crate::disk_usage::target::UsageOptions;
use crate::disk_usage::worker::UsageLane;
use crate::endpoint::endpoint::EndpointSpec;
use crate::endpoint::error::EndpointError;
use crate::endpoint::supervisor::Endpoints;
use crate::ledger::Ledger;
use crate::snapshot::processes::ProcessDetail;
use crate::snapshot::roots::Hierarchy;
use crate::snapshot::sampler::{Sampler, SamplerOptions};
use crate::source::root::Failure;

/// Pressure, limits and peaks of active cgroups are read at every fourth sample.
const DETAIL_TICKS: u64 = 4;

/// What stands in the way of an endpoint of the pod life cycle.
pub const NO_ADDRESSES: &str = "it will be told of no pod: no source in directory.sources knows \
                                the addresses of pods (\"kubernetes\" and \"kubelet\" do)";

/// Why the agent cannot run.
#[derive(Debug, Error)]
pub enum AgentError {
    #[error("{path} cannot be opened: {reason}; the agent needs the host's procfs")]
    NoProcfs { path: String, reason: &'static str },
    #[error(
        "the receiver cannot listen on {address}: {source}; --listen ADDRESS names another place"
    )]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("the status side cannot listen on {address}: {source}; status.listen names the place")]
    ListenStatus { address: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("{what}: {source}")]
    System { what: &'static str, source: std::io::Error },
}

/// Runs until SIGTERM or SIGINT; SIGHUP makes it `reload`. `out` is told where to look.
///
/// # Errors
/// It cannot begin, or the sampling thread has panicked.
pub fn run(settings: Settings, reload: Reload<'_>, out: &mut dyn Write) -> Result<(), AgentError> {
    if !host::forbid_core_dumps() {
        warn!("{}", host::CORE_DUMPS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // They look up names and run the credential plugins of kubeconfigs.
        .max_blocking_threads(4)
        .build()
        .map_err(|source| AgentError::System { what: "no runtime", source })?;
    let outcome = runtime.block_on(serve(settings, reload, out));
    // A look-up or a plugin that hangs shall not keep the process from ending.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn serve(
    settings: Settings,
    reload: Reload<'_>,
    out: &mut dyn Write,
) -> Result<(), AgentError> {
    let system = |what| move |source| AgentError::System { what, source };
    let mut terminate = signal(SignalKind::terminate()).map_err(system("no SIGTERM handler"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("no SIGINT handler"))?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(system("no SIGHUP handler"))?;

    let sampler = open_sampler(&settings, run_options(&settings))?;
    let (receiver, wanted) = wanted(&settings, None).await?;
    let boot = host::boot_id(&settings);
    let mut endpoints = Endpoints::new(boot);
    let (plan, handles) = endpoints.plan(wanted)?;
    let vitals: Arc<Vitals> = Arc::default();
    let mut status = Status::new(Arc::clone(&vitals));
    let status_plan = status.plan(&settings.status).await?;
    let sources = Sources::start(&settings);
    let (state, ledger) = resume(&settings, &sampler);
    endpoints.apply(plan, &settings.node.name, &sources.directory);
    let counters = ledger.counters().filter(|counters| counters.boot == Some(boot));
    endpoints.recover(counters.map(|counters| counters.ended_at));
    endpoints.log_orphans(settings.spool.dir.as_deref(), settings.state.dir.as_deref());
    let receiver = receiver.carry_out(None).await;

    for endpoint in &settings.endpoints {
        if endpoint.dialect.profile().needs_addresses && !settings.directory.knows_addresses() {
            warn!("endpoint {}: {NO_ADDRESSES}", endpoint.name);
        }
    }
    announce(&settings, receiver.as_ref().map(|receiver| receiver.address), out);
    let subjects = Subjects {
        node_name: settings.node.name.clone(),
        directory: sources.directory.clone(),
        endpoints: endpoints.views(),
        boot: Some(boot),
    };
    status.carry_out(status_plan, subjects).await;
    let sampling = Sampling {
        sampler,
        ledger,
        state,
        endpoints: handles,
        directory: sources.directory.clone(),
        pod_files: pod_files(&settings),
        boot,
        interval: settings.sampling.interval,
        vitals: Arc::clone(&vitals),
    };
    let (keep_going, stop) = wait::stop().map_err(system("no pipe to the sampling thread"))?;
    let (changes, asked) = mpsc::channel();
    let (ended_tx, mut ended) = oneshot::channel::<()>();
    let (begun_tx, mut begun) = oneshot::channel::<()>();
    let mut begun_tx = Some(begun_tx);
    let sampler_thread = thread::Builder::new()
        .name("sampler".to_owned())
        .spawn(move || {
            sampling.run(&stop, &asked, Pulse::asked_for(), |_| {
                if let Some(begun) = begun_tx.take() {
                    notify::ready();
                    let _ = begun.send(());
                }
            });
            drop(ended_tx);
        })
        .map_err(system("the sampling thread cannot be started"))?;

    let mut running =
        Running { settings, endpoints, receiver, sources, status, changes, keep_going };
    let mut has_begun = false;
    let why = loop {
        tokio::select! {
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            _ = &mut ended => break "the end of the sampling thread",
            _ = &mut begun, if !has_begun => has_begun = true,
            // A reload ends with READY, which before the first sample would be untrue.
            _ = hang_up.recv(), if has_begun => running.reload(&reload).await,
        }
    };
    info!("stopping after {why}");
    notify::stopping();
    let Running { endpoints, receiver, status, sources, keep_going, .. } = running;
    drop(keep_going);
    let panicked = sampler_thread.join().is_err();
    drop(sources);
    endpoints.finish().await;
    status.end().await;
    if let Some(receiver) = receiver {
        receiver.end().await;
    }
    if panicked {
        let source = std::io::Error::other("it panicked");
        return Err(AgentError::System { what: "the sampling thread ended", source });
    }
    Ok(())
}

/// What is to be sent to, and what is to become of the embedded receiver.
pub(super) async fn wanted(
    settings: &Settings,
    receiver: Option<&Embedded>,
) -> Result<(EmbeddedPlan, Vec<EndpointSpec>), AgentError> {
    let (plan, receiver) = EmbeddedPlan::of(settings, receiver).await?;
    let configured = settings.endpoints.iter().map(|endpoint| EndpointSpec::of(endpoint, settings));
    let wanted =
        receiver.into_iter().map(Ok).chain(configured).collect::<Result<_, EndpointError>>()?;
    Ok((plan, wanted))
}

/// The slow lane that measures what pods keep on disk, where it is wanted.
pub(super) fn pod_files(settings: &Settings) -> PodFiles {
    let filesystem = &settings.filesystem;
    if !filesystem.pod_usage {
        return PodFiles::default();
    }
    let options = UsageOptions {
        entries_per_second: filesystem.entries_per_second as u64,
        refresh: filesystem.refresh,
        kubelet_dir: filesystem.kubelet_dir.clone(),
        ..UsageOptions::default()
    };
    match UsageLane::start(host::roots(settings), options, clock::boot_time) {
        Ok(lane) => PodFiles::new(Some(lane)),
        Err(error) => {
            warn!("what pods keep on disk is not measured: {error}");
            PodFiles::default()
        }
    }
}

/// What `run` reads with these settings.
pub(super) fn run_options(settings: &Settings) -> SamplerOptions {
    SamplerOptions {
        processes: ProcessDetail { io: settings.sampling.process_io, cmdline: false },
        awake: Some(clock::awake_time),
        detail_ticks: DETAIL_TICKS,
        held_files_max: host::held_files_max(),
        notices: true,
        sockets: settings.sampling.tcp_sockets,
    }
}

/// Opens the host's trees; also for `dump` and `check`.
pub fn open_sampler(settings: &Settings, options: SamplerOptions) -> Result<Sampler, AgentError> {
    Sampler::open(host::roots(settings), options).map_err(|failure| AgentError::NoProcfs {
        path: settings.paths.procfs.display().to_string(),
        reason: match failure {
            Failure::Absent | Failure::Gone => "it is not there",
            Failure::Denied => "permission denied",
            Failure::TooLarge | Failure::Failed(_) => "it cannot be read",
        },
    })
}

/// The counters of the last run, if there is a place for them.
fn resume(settings: &Settings, sampler: &Sampler) -> (Option<StateDir>, Ledger) {
    let mut ledger = Ledger::new(sampler.roots().units);
    let Some(dir) = &settings.state.dir else { return (None, ledger) };
    // Counters that cannot be replaced would give again what was sent since they were kept. Why they
    // cannot is told when the first new ones are not.
    let load = |state: &StateDir| state.is_writable().map_or(Ok(None), |()| state.load());
    let opened = StateDir::open(dir).map(|state| (load(&state), state));
    match opened {
        Ok((loaded, state)) => {
            match loaded {
                Ok(Some(counters)) => {
                    info!("going on from the counters in {}", dir.display());
                    ledger.resume(counters);
                }
                Ok(None) => {}
                Err(error) => {
                    warn!("the last counters are lost, the first interval is a gap: {error}")
                }
            }
            (Some(state), ledger)
        }
        Err(error) => {
            warn!("no counters are kept, a restart will be a gap: {error}");
            (None, ledger)
        }
    }
}

/// Tells the person who started the agent what it does and where to look.
fn announce(settings: &Settings, receiver: Option<SocketAddr>, out: &mut dyn Write) {
    let name = &settings.node.name;
    let interval = humantime::format_duration(settings.sampling.interval);
    let mut text = format!("nodetally samples {name} every {interval}\n");
    match receiver {
        Some(address) => text.push_str(&format!(
            "the receiver answers on http://{address}/, for instance\n  \
             curl http://{address}/api/nodes/{name}\n  \
             curl http://{address}/api/nodes/{name}/pods\n"
        )),
        None => {
            for endpoint in &settings.endpoints {
                text.push_str(&format!("  to {} at {}\n", endpoint.name, endpoint.url));
            }
        }
    }
    // Whoever closed the output does not want to be told.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// What kind of host it is, in words.
#[must_use]
pub fn hierarchy_words(hierarchy: Hierarchy) -> &'static str {
    match hierarchy {
        Hierarchy::Unified => "cgroup v2",
        Hierarchy::Hybrid => "hybrid: cgroup v2 beside v1 controllers",
        Hierarchy::V1Only => "cgroup v1 only",
        Hierarchy::None => "no cgroups",
    }
}
