//! Pods by way of the container runtime (CRI `runtime.v1`), without any API server.
//!
//! The lists of sandboxes and of containers are asked for now and then; that costs a runtime less
//! than its events, which containerd has had only since 1.7 and CRI-O only where they are switched
//! on. A call that fails ends the connection, and the next try begins with the socket.

mod client;
pub mod messages;
mod pods;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::sleep;
use tracing::info;

use super::pace::{self, Pace};
use super::pod::Pod;
use super::{Publisher, SourceKind};
use crate::quantity::BootTime;
use client::CriRuntime;
pub use pods::pods;

/// Where the runtimes have their sockets unless told otherwise: containerd, CRI-O, cri-dockerd and
/// k3s' containerd.
pub const SOCKETS: [&str; 4] = [
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/cri-dockerd.sock",
    "/run/k3s/containerd/containerd.sock",
];

/// How the runtime is asked. [`CriOptions::new`] has the defaults.
#[derive(Debug, Clone)]
pub struct CriOptions {
    /// The first that is there is the one.
    pub sockets: Vec<PathBuf>,
    /// From one look at the lists to the next (10 s).
    pub interval: Duration,
    /// How long one call may take (5 s).
    pub call_timeout: Duration,
    /// The largest answer, in bytes (16 MiB, which is the kubelet's own limit).
    pub message_bytes_max: usize,
    /// Longer values of annotations are left out, in bytes (1 KiB).
    pub annotation_bytes_max: usize,
    /// Where the random parts of the waits begin.
    pub seed: u64,
    pub clock: fn() -> BootTime,
}

impl CriOptions {
    #[must_use]
    pub fn new(sockets: Vec<PathBuf>, seed: u64, clock: fn() -> BootTime) -> Self {
        Self {
            sockets,
            interval: Duration::from_secs(10),
            call_timeout: Duration::from_secs(5),
            message_bytes_max: 16 << 20,
            annotation_bytes_max: 1 << 10,
            seed,
            clock,
        }
    }
}

/// Tells the publisher what the runtime knows, for ever.
pub async fn run(options: CriOptions, publisher: Publisher) {
    let mut pace = Pace::new(SourceKind::Cri, options.interval, options.seed);
    let mut connected = None;
    loop {
        let asked_at = (options.clock)();
        let outcome = match ask(&options, &mut connected).await {
            Ok(pods) => {
                publisher.replace_pods(pods, asked_at);
                Ok(())
            }
            Err(text) => {
                connected = None;
                Err(text)
            }
        };
        sleep(pace.after(outcome, &publisher, (options.clock)())).await;
    }
}

/// One look, for a person: what answers and how many pods it has.
///
/// # Errors
/// One line: what keeps it from answering.
pub async fn probe(options: &CriOptions) -> Result<String, String> {
    let mut connected = None;
    let pods = ask(options, &mut connected).await.map_err(pace::shown)?;
    let name = connected.map(|runtime| runtime.name).unwrap_or_default();
    let containers: usize = pods.iter().map(|pod| pod.containers.len()).sum();
    Ok(format!("{name}: {} pods, {containers} containers", pods.len()))
}

async fn ask(options: &CriOptions, connected: &mut Option<CriRuntime>) -> Result<Vec<Pod>, String> {
    let runtime = match connected {
        Some(runtime) => runtime,
        None => {
            let runtime = CriRuntime::connect(options).await?;
            info!("identity source {}: {}", SourceKind::Cri, runtime.name);
            connected.insert(runtime)
        }
    };
    let lists = lists(runtime).await.map_err(|text| format!("{}: {text}", runtime.name));
    let (sandboxes, containers) = lists?;
    Ok(pods::pods(sandboxes, containers, options.annotation_bytes_max))
}

async fn lists(
    runtime: &mut CriRuntime,
) -> Result<(Vec<messages::PodSandbox>, Vec<messages::CriContainer>), String> {
    // Containers first: the sandbox of each is then in the list that follows.
    let containers = runtime.containers().await?;
    Ok((runtime.sandboxes().await?, containers))
}
