//! `nodetally run`: one thread samples, this one runs the endpoints, the receiver and reloads.

use std::io::Write;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::asked_sample::AskedSample;
use super::error::AgentError;
use super::metrics_feed::{MetricsFeed, store_options};
use super::notify::{self, Watchdog};
use super::reload::{Reload, RunningAgent};
use super::sampling::SamplingThread;
use super::self_metrics::SelfMetrics;
use super::sources::Sources;
use super::startup::{
    NO_ADDRESSES, Specs, announce, lock_state, open_sampler, pod_files, resume, run_options, specs,
};
use super::status::{Status, StatusView};
use super::{host, wait};
use crate::config::Settings;
use crate::delivery::DryRun;
use crate::endpoint::supervisor::Endpoints;
use crate::metrics::published::PublishedMetrics;

/// Runs the agent until SIGTERM or SIGINT. SIGHUP reloads the settings. Prints to `out` where the
/// figures can be seen. With `dry_run` requests are printed there, and the agent also ends when that
/// closes; the settings are those of [`Settings::for_dry_run`].
///
/// # Errors
/// The agent cannot start. A panic of the sampling thread ends the process where the panic
/// hook is installed, and is an error elsewhere.
pub fn run(
    settings: Settings,
    reload: Reload<'_>,
    dry_run: Option<DryRun>,
    out: &mut dyn Write,
) -> Result<(), AgentError> {
    if !host::forbid_core_dumps() {
        warn!("{}", host::CORE_DUMPS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // These threads look up names and run the credential plugins of kubeconfigs.
        .max_blocking_threads(4)
        .build()
        .map_err(|source| AgentError::System { what: "no runtime", source })?;
    let outcome = runtime.block_on(serve(settings, reload, dry_run, out));
    // A look-up or a plugin that hangs must not keep the process from ending.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn serve(
    settings: Settings,
    reload: Reload<'_>,
    dry_run: Option<DryRun>,
    out: &mut dyn Write,
) -> Result<(), AgentError> {
    let system = |what| move |source| AgentError::System { what, source };
    let mut terminate = signal(SignalKind::terminate()).map_err(system("no SIGTERM handler"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("no SIGINT handler"))?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(system("no SIGHUP handler"))?;

    let sampler = open_sampler(&settings, run_options(&settings))?;
    let lock = lock_state(&settings)?;
    let Specs { receiver, servers, sinks } = specs(&settings, None, dry_run.as_ref()).await?;
    let boot = host::boot_id(&settings);
    let mut endpoints = Endpoints::new(boot);
    let (plan, handles) = endpoints.plan(servers, sinks)?;
    let self_metrics: Arc<SelfMetrics> = Arc::default();
    let published: Arc<PublishedMetrics> = Arc::default();
    let (waker, stop) = wait::stop_signal().map_err(system("no pipe to the sampling thread"))?;
    let waker = Arc::new(waker);
    let asked_sample = Arc::new(AskedSample::new(Arc::downgrade(&waker)));
    let mut status =
        Status::new(Arc::clone(&self_metrics), Arc::clone(&published), Arc::clone(&asked_sample));
    let status_plan = status.plan(&settings).await?;
    let sources = Sources::start(&settings);
    let (state, ledger) = resume(&settings, &sampler);
    endpoints.apply(plan, &settings.node.name, &sources.directory);
    let counters = ledger.counters().filter(|counters| counters.boot == Some(boot));
    endpoints.recover(counters.map(|counters| counters.ended_at));
    endpoints.log_orphans(settings.spool.dir.as_deref(), settings.state.dir.as_deref());
    let receiver = receiver.apply(None).await;

    for endpoint in &settings.endpoints {
        if endpoint.dialect.profile().needs_addresses && !settings.directory.knows_addresses() {
            warn!("endpoint {}: {NO_ADDRESSES}", endpoint.name);
        }
    }
    if dry_run.is_some() {
        info!(
            "dry run: requests are printed to standard output; nothing is sent and nothing is kept"
        );
    } else {
        announce(&settings, receiver.as_ref().map(|receiver| receiver.address), out);
    }
    let view = StatusView {
        node_name: settings.node.name.clone(),
        directory: sources.directory.clone(),
        endpoints: endpoints.views(),
        boot: Some(boot),
        machine: Arc::new(host::machine(&host::roots(&settings))),
    };
    status.apply(status_plan, view).await;
    let feed = |options| MetricsFeed::new(options, Arc::clone(&published), sampler.roots());
    let metrics = store_options(&settings).map(feed);
    let sampling = SamplingThread {
        sampler,
        ledger,
        state,
        endpoints: handles,
        directory: sources.directory.clone(),
        pod_files: pod_files(&settings),
        boot,
        interval: settings.sampling.interval,
        self_metrics: Arc::clone(&self_metrics),
        metrics,
        published,
        asked_sample,
    };
    let (changes, requested) = mpsc::channel();
    let (ended_tx, mut ended) = oneshot::channel::<()>();
    let (begun_tx, mut begun) = oneshot::channel::<()>();
    let mut begun_tx = Some(begun_tx);
    let sampler_thread = thread::Builder::new()
        .name("sampler".to_owned())
        .spawn(move || {
            sampling.run(&stop, &requested, Watchdog::from_environment(), |_| {
                if let Some(begun) = begun_tx.take() {
                    notify::ready();
                    let _ = begun.send(());
                }
            });
            drop(ended_tx);
        })
        .map_err(system("the sampling thread cannot be started"))?;

    let closed = dry_run.clone();
    let mut closed = pin!(async move {
        match closed {
            Some(dry_run) => dry_run.closed().await,
            None => std::future::pending().await,
        }
    });
    let mut running = RunningAgent {
        settings,
        dry_run,
        lock,
        endpoints,
        receiver,
        sources,
        status,
        changes,
        waker,
    };
    let mut has_begun = false;
    let why = loop {
        tokio::select! {
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            _ = &mut ended => break "the end of the sampling thread",
            () = &mut closed => break "the end of the output",
            _ = &mut begun, if !has_begun => has_begun = true,
            // A reload ends with READY=1, which would be untrue before the first sample.
            _ = hang_up.recv(), if has_begun => running.reload(&reload).await,
        }
    };
    info!("stopping after {why}");
    notify::stopping();
    let RunningAgent { endpoints, receiver, status, sources, waker, .. } = running;
    drop(waker);
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
