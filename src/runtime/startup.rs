//! Parts of the agent that a start and a reload make in the same way.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use tracing::{info, warn};

use super::embedded::{Embedded, EmbeddedPlan};
use super::error::AgentError;
use super::host;
use super::pod_files::PodFiles;
use crate::attribution;
use crate::checkpoint::{StateDir, StateError};
use crate::clock;
use crate::config::{Destination, Origin, Settings, keys};
use crate::delivery::DryRun;
use crate::descriptors;
use crate::disk_usage::target::UsageOptions;
use crate::disk_usage::worker::UsageLane;
use crate::endpoint::endpoint::EndpointSpec;
use crate::endpoint::sinks::SinkSpec;
use crate::ledger::Ledger;
use crate::own_files::DirLock;
use crate::printable::printable_lines;
use crate::snapshot::processes::ProcessDetail;
use crate::snapshot::roots::{Hierarchy, Roots};
use crate::snapshot::sampler::{Sampler, SamplerOptions};
use crate::source::root::ReadFailure;

/// Pressure, limits and peaks of active cgroups are read at every fourth sample.
const DETAIL_TICKS: u64 = 4;

/// The reason why a pod-lifecycle endpoint reports no pod.
pub const NO_ADDRESSES: &str = "no pod will be reported: no source in directory.sources knows the \
                                addresses of pods (\"kubernetes\" and \"kubelet\" do)";

/// All endpoints, and the plan of the embedded receiver.
pub(super) struct Specs {
    pub receiver: EmbeddedPlan,
    pub servers: Vec<EndpointSpec>,
    pub sinks: Vec<SinkSpec>,
}

/// The endpoints as configured. In a dry run no receiver is started, and all endpoints print their
/// requests.
pub(super) async fn specs(
    settings: &Settings,
    receiver: Option<&Embedded>,
    dry_run: Option<&DryRun>,
) -> Result<Specs, AgentError> {
    let (receiver, of_receiver) = match dry_run {
        Some(_) => (EmbeddedPlan::None, EmbeddedPlan::spec_without_receiver(settings)?),
        None => EmbeddedPlan::of(settings, receiver).await?,
    };
    let mut servers: Vec<EndpointSpec> = of_receiver.into_iter().collect();
    let mut sinks = Vec::new();
    for endpoint in &settings.endpoints {
        match &endpoint.url {
            Destination::Http(url) => servers.push(EndpointSpec::of(endpoint, url, settings)?),
            Destination::Stdout | Destination::File(_) => {
                sinks.extend(SinkSpec::of(endpoint, settings)?);
            }
        }
    }
    for spec in &mut servers {
        spec.delivery.dry_run = dry_run.cloned();
    }
    for spec in &mut sinks {
        spec.sink.dry_run = dry_run.cloned();
    }
    Ok(Specs { receiver, servers, sinks })
}

/// Starts the thread that measures the disk usage of pods, if it is configured.
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
            warn!("pod filesystem usage is not measured: {error}");
            PodFiles::default()
        }
    }
}

/// The options of the sampler that `run` uses.
pub fn run_options(settings: &Settings) -> SamplerOptions {
    SamplerOptions {
        processes: ProcessDetail { io: settings.sampling.process_io, cmdline: false },
        awake: Some(clock::awake_time),
        detail_ticks: DETAIL_TICKS,
        events: true,
        sockets: settings.sampling.tcp_sockets,
        says_more: attribution::says_more,
        ..SamplerOptions::default()
    }
}

/// Opens the host's procfs, sysfs and cgroup tree, for `run`, `dump` and `check`.
///
/// # Errors
/// The host's procfs cannot be opened, or a path of `[paths]` is plainly another place.
pub fn open_sampler(settings: &Settings, options: SamplerOptions) -> Result<Sampler, AgentError> {
    descriptors::raise_limit();
    let roots = host::roots(settings);
    check_places(settings, &roots)?;
    Sampler::open(roots, options).map_err(|failure| AgentError::NoProcfs {
        path: settings.paths.procfs.display().to_string(),
        reason: match failure {
            ReadFailure::Absent | ReadFailure::Gone => "it is not there",
            ReadFailure::Denied => "permission denied",
            ReadFailure::TooLarge | ReadFailure::Failed(_) => "it cannot be read",
        },
    })
}

/// Checks that procfs, sysfs and the root directory are what their settings call them. Whether a
/// directory is a cgroup2 mount is a gap of the sampler, since owners have figures without one.
fn check_places(settings: &Settings, roots: &Roots) -> Result<(), AgentError> {
    let wrong = |flag, path: &Path, fault, what| {
        Err(AgentError::NotThePlace { flag, path: path.to_owned(), fault, what })
    };
    // With subset=pid there is no `stat`, and in a pid namespace no pid 1 need be visible.
    let of_procfs = ["stat", "self/stat", "1/stat", "mountinfo"];
    let procfs = &roots.procfs;
    // One that is not there, or is closed, has an error of its own.
    if procfs.is_dir() && !of_procfs.iter().any(|file| is_there(&procfs.join(file))) {
        let what = "the host's procfs, which has the file stat";
        return wrong("--path.procfs", procfs, "it is no procfs", what);
    }
    let is_set = |key| *settings.origins.of(key) != Origin::Default;
    let sysfs = &roots.sysfs;
    let of_sysfs = ["class", "block", "devices", "fs"];
    if is_set(&keys::PATHS_SYSFS) && !of_sysfs.iter().any(|name| is_there(&sysfs.join(name))) {
        let what = "the host's sysfs, which has the directory class";
        return wrong("--path.sysfs", sysfs, "it is no sysfs", what);
    }
    if is_set(&keys::PATHS_ROOTFS) && !roots.rootfs.is_dir() {
        let what = "the host's root directory";
        return wrong("--path.rootfs", &roots.rootfs, "it is no directory", what);
    }
    Ok(())
}

/// False only if nothing is there: a file that may not be seen is.
fn is_there(path: &Path) -> bool {
    !matches!(path.symlink_metadata(), Err(error) if matches!(
        error.kind(),
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
    ))
}

/// The state directory and a ledger that resumes from the counters in it.
pub(super) fn resume(settings: &Settings, sampler: &Sampler) -> (Option<StateDir>, Ledger) {
    let mut ledger = Ledger::new(sampler.roots().units);
    let Some(state) = open_state(settings) else { return (None, ledger) };
    // Counters that cannot be replaced are not used: their next use would send the same interval
    // twice. The reason is logged when the first save fails.
    match state.is_writable().map_or(Ok(None), |()| state.load()) {
        Ok(Some(counters)) => {
            let dir = settings.state.dir.as_deref().unwrap_or(Path::new(""));
            info!("state: resumed from the counters in {}", dir.display());
            ledger.resume(counters);
        }
        Ok(None) => {}
        Err(error) => {
            warn!("state: the last counters are lost, the first interval is unknown: {error}");
        }
    }
    (Some(state), ledger)
}

/// Locks the state directory for this agent. `None`: none is set, it cannot be used, or this process has
/// locked it already.
///
/// # Errors
/// Another agent uses it.
pub(super) fn lock_state(settings: &Settings) -> Result<Option<DirLock>, AgentError> {
    let Some(dir) = &settings.state.dir else { return Ok(None) };
    // A directory that cannot be opened is logged where it is opened for use.
    let Ok(state) = StateDir::open(dir) else { return Ok(None) };
    match state.lock() {
        Ok(lock) => Ok(lock),
        Err(error @ StateError::InUse { .. }) => Err(error.into()),
        Err(error) => {
            warn!(
                "state: the directory cannot be locked, a second agent there is not noticed: {error}"
            );
            Ok(None)
        }
    }
}

/// The state directory; `None` if none is set or it cannot be opened.
pub(super) fn open_state(settings: &Settings) -> Option<StateDir> {
    let unusable = |error: &_| {
        warn!("state: counters are not kept, a restart will lose an interval: {error}");
    };
    StateDir::open(settings.state.dir.as_deref()?).inspect_err(unusable).ok()
}

/// Prints the interval and the addresses that the agent sends to or answers on.
pub(super) fn announce(settings: &Settings, receiver: Option<SocketAddr>, out: &mut dyn Write) {
    let name = &settings.node.name;
    let interval = humantime::format_duration(settings.sampling.interval);
    let mut text = format!("nodetally samples {name} every {interval}\n");
    match receiver.map(|address| (address, host::reached_at(address))) {
        Some((address, reached)) => text.push_str(&format!(
            "the receiver answers on http://{address}/, for instance\n  \
             curl http://{reached}/api/nodes/{name}\n  \
             curl http://{reached}/api/nodes/{name}/pods\n"
        )),
        None => {
            for endpoint in &settings.endpoints {
                text.push_str(&format!("  to {} at {}\n", endpoint.name, endpoint.url));
            }
        }
    }
    // A closed output is no reason to stop.
    let _ = out.write_all(printable_lines(&text).as_bytes()).and_then(|()| out.flush());
}

/// The kind of cgroup hierarchy, in words.
#[must_use]
pub fn hierarchy_words(hierarchy: Hierarchy) -> &'static str {
    match hierarchy {
        Hierarchy::Unified => "cgroup v2",
        Hierarchy::Hybrid => "hybrid: cgroup v2 beside v1 controllers",
        Hierarchy::V1Only => "cgroup v1 only",
        Hierarchy::None => "no cgroups",
    }
}
