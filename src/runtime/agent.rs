//! `nodetally run`: one thread samples, this one runs the endpoints and the receiver.

use std::io::{Read as _, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use super::sampling::{Outlet, Sampling};
use super::state::StateDir;
use super::{clock, host, wait};
use crate::config::{self, EndpointSettings, Settings};
use crate::delivery::{self, BaseUrl, Handle, secret_header};
use crate::ledger::Ledger;
use crate::receiver::{Bounds, Receiver};
use crate::snapshot::processes::ProcessDetail;
use crate::snapshot::roots::Hierarchy;
use crate::snapshot::sampler::{Sampler, SamplerOptions};
use crate::source::root::Failure;

/// How long a stop may take to send what waits.
const FLUSH_DEADLINE: Duration = Duration::from_secs(5);

/// Pressure, limits and peaks of active cgroups are read at every fourth sample.
const DETAIL_TICKS: u64 = 4;

/// The namespace of pods whose own is not known, towards the embedded receiver.
const UNKNOWN_NAMESPACE: &str = "unknown";

/// Why the agent cannot run.
#[derive(Debug, Error)]
pub enum AgentError {
    #[error("{path} cannot be opened: {reason}; the agent needs the host's procfs")]
    NoProcfs { path: String, reason: &'static str },
    #[error(
        "the receiver cannot listen on {address}: {source}; --listen ADDRESS names another place"
    )]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("endpoint {name}: {reason}")]
    Endpoint { name: String, reason: String },
    #[error("{what}: {source}")]
    System { what: &'static str, source: std::io::Error },
}

/// Runs until SIGTERM or SIGINT. `out` is told where to look.
pub fn run(settings: &Settings, out: &mut dyn Write) -> Result<(), AgentError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .map_err(|source| AgentError::System { what: "no runtime", source })?;
    runtime.block_on(serve(settings, out))
}

async fn serve(settings: &Settings, out: &mut dyn Write) -> Result<(), AgentError> {
    let system = |what| move |source| AgentError::System { what, source };
    let mut terminate = signal(SignalKind::terminate()).map_err(system("no SIGTERM handler"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("no SIGINT handler"))?;

    let options = SamplerOptions {
        processes: ProcessDetail { io: settings.sampling.process_io, cmdline: false },
        awake: Some(clock::awake_time),
        detail_ticks: DETAIL_TICKS,
        held_files_max: host::held_files_max(),
        notices: true,
        sockets: settings.sampling.tcp_sockets,
    };
    let sampler = open_sampler(settings, options)?;

    let mut outlets = Vec::new();
    let mut receiver = None;
    if settings.uses_embedded_receiver() {
        let started = start_receiver(settings).await?;
        outlets.push(outlet(started.settings, false, Some(UNKNOWN_NAMESPACE.to_owned()))?);
        receiver = Some((started.address, started.stop, started.done));
    }
    for endpoint in &settings.endpoints {
        let namespace = match endpoint.unknown_pods {
            config::UnknownPods::Uid => Some(endpoint.unknown_namespace.clone()),
            config::UnknownPods::Skip => None,
        };
        let cumulative = endpoint.counters == config::Counters::Cumulative;
        outlets.push(outlet(delivery_settings(endpoint)?, cumulative, namespace)?);
    }
    let handles: Vec<(String, Handle)> =
        outlets.iter().map(|(name, outlet)| (name.clone(), outlet.handle.clone())).collect();

    announce(settings, receiver.as_ref().map(|(address, ..)| *address), out);
    let (state, ledger) = resume(settings, &sampler);
    let sampling = Sampling {
        sampler,
        ledger,
        state,
        outlets: outlets.into_iter().map(|(_, outlet)| outlet).collect(),
        node_name: settings.node.name.clone(),
        interval: settings.sampling.interval,
    };
    let (keep_going, stop) = wait::stop().map_err(system("no pipe to the sampling thread"))?;
    let (ended_tx, mut ended) = oneshot::channel::<()>();
    let mut ready = false;
    let sampler_thread = thread::Builder::new()
        .name("sampler".to_owned())
        .spawn(move || {
            sampling.run(&stop, |_| {
                // systemd is told of readiness by the first sample, and of life by each one.
                let state = if ready { NotifyState::Watchdog } else { NotifyState::Ready };
                ready = true;
                let _ = sd_notify::notify(&[state]);
            });
            drop(ended_tx);
        })
        .map_err(system("the sampling thread cannot be started"))?;

    let signal_name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        _ = &mut ended => "the end of the sampling thread",
    };
    info!("stopping after {signal_name}");
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    drop(keep_going);
    let panicked = sampler_thread.join().is_err();

    let deadline = Instant::now() + FLUSH_DEADLINE;
    let mut flushes = JoinSet::new();
    for (name, handle) in handles {
        flushes.spawn(async move { (name, handle.flush(deadline).await) });
    }
    while let Some(flushed) = flushes.join_next().await {
        let Ok((name, left)) = flushed else { continue };
        if !left.is_empty() {
            let posts: usize = left.iter().map(|batch| batch.posts.len()).sum();
            warn!("endpoint {name}: {} samples ({posts} posts) could not be sent", left.len());
        }
    }
    if let Some((_, stop, done)) = receiver {
        let _ = stop.send(());
        let _ = tokio::time::timeout(Duration::from_secs(1), done).await;
    }
    if panicked {
        let source = std::io::Error::other("it panicked");
        return Err(AgentError::System { what: "the sampling thread ended", source });
    }
    Ok(())
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
    let opened = StateDir::open(dir).map(|state| (state.load(), state));
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

struct StartedReceiver {
    address: SocketAddr,
    settings: delivery::Settings,
    stop: oneshot::Sender<()>,
    done: tokio::task::JoinHandle<()>,
}

async fn start_receiver(settings: &Settings) -> Result<StartedReceiver, AgentError> {
    let wanted = settings.receiver.listen;
    let mut bounds = Bounds::for_interval(settings.sampling.interval);
    bounds.retention = settings.receiver.retention;
    bounds.stale_after = settings.receiver.stale_after;
    let points = bounds.retention.as_millis() / settings.sampling.interval.as_millis().max(1);
    // One more for the point that a window of the whole retention begins with.
    bounds.points_max = usize::try_from(points + 1).unwrap_or(usize::MAX).min(POINTS_MAX);
    let bound = Receiver::bind(wanted, bounds, Arc::new(clock::wall_time)).await;
    let receiver = bound.map_err(|source| AgentError::Listen { address: wanted, source })?;
    let address = receiver.local_addr();
    let (stop, stopped) = oneshot::channel();
    let done = tokio::spawn(receiver.serve(async {
        let _ = stopped.await;
    }));
    // A receiver on every address is reached on the loopback one.
    let reached = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            SocketAddr::from(([127, 0, 0, 1], v4.port()))
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, v6.port()))
        }
        address => address,
    };
    let url = BaseUrl::parse(&format!("http://{reached}/")).map_err(|error| {
        AgentError::Endpoint { name: "receiver".to_owned(), reason: error.to_string() }
    })?;
    let settings = delivery::Settings::new("receiver", url, seed(&settings.node.name));
    Ok(StartedReceiver { address, settings, stop, done })
}

/// The most points of one series, however long the retention and short the interval.
const POINTS_MAX: usize = 3600;

/// How an endpoint of the settings is spoken to.
pub fn delivery_settings(endpoint: &EndpointSettings) -> Result<delivery::Settings, AgentError> {
    let failed = |reason: String| AgentError::Endpoint { name: endpoint.name.clone(), reason };
    let url = BaseUrl::parse(endpoint.url.as_url().as_str())
        .map_err(|error| failed(error.to_string()))?;
    let mut settings = delivery::Settings::new(&endpoint.name, url, seed(&endpoint.name));
    settings.request_timeout = endpoint.timeout;
    settings.concurrency_max = endpoint.concurrency;
    settings.queue_bytes_max =
        usize::try_from(endpoint.queue_bytes.as_bytes()).unwrap_or(usize::MAX);
    if let Some(file) = &endpoint.bearer_token_file {
        let token = read_token(file).map_err(|error| {
            failed(format!("the token file {} cannot be read: {error}", file.display()))
        })?;
        secret_header(&mut settings.headers, "authorization", &format!("Bearer {token}"))
            .map_err(failed)?;
    }
    Ok(settings)
}

/// A token is shorter than any server's limit of a header.
const TOKEN_BYTES_MAX: u64 = 16 << 10;

#[expect(clippy::disallowed_methods, reason = "a secret's file is no file of the kernel's")]
fn read_token(file: &Path) -> std::io::Result<String> {
    // Opening a FIFO would wait for somebody to write.
    if !std::fs::metadata(file)?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut text = String::new();
    std::fs::File::open(file)?.take(TOKEN_BYTES_MAX).read_to_string(&mut text)?;
    match text.trim() {
        "" => Err(std::io::Error::other("it is empty")),
        token => Ok(token.to_owned()),
    }
}

fn outlet(
    settings: delivery::Settings,
    cumulative: bool,
    unknown_namespace: Option<String>,
) -> Result<(String, Outlet), AgentError> {
    let name = settings.name.clone();
    let (handle, worker) = delivery::endpoint(settings)
        .map_err(|error| AgentError::Endpoint { name: name.clone(), reason: error.to_string() })?;
    tokio::spawn(worker.run());
    Ok((name, Outlet { handle, cumulative, unknown_namespace }))
}

/// Different on every node and endpoint, so that retries after a common outage do not come in step.
fn seed(name: &str) -> u64 {
    let start = clock::boot_time().as_nanos();
    name.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
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
