//! Pods from the container runtime (CRI `runtime.v1`), without an API server.
//!
//! The lists of sandboxes and containers are polled. That costs a runtime less than its events, which
//! containerd has since 1.7 only and CRI-O only where they are switched on. A call that fails ends the
//! connection, and the next poll connects again.

mod client;
pub mod messages;
mod options;
mod pods;
#[cfg(test)]
mod tests;

use tracing::info;

use super::error::{CriError, PollError};
use super::pod::Pod;
use super::poll::Poller;
use super::publisher::Publisher;
use super::source_status::SourceKind;
use crate::quantity::counted;
use client::CriRuntime;
pub use options::{CriOptions, SOCKETS};
pub use pods::pods;

/// Publishes the runtime's pods, for ever.
pub async fn run(options: CriOptions, publisher: Publisher) {
    let mut poller = Poller::new(SourceKind::Cri, options.interval, options.seed);
    let mut connected = None;
    loop {
        let asked_at = (options.clock)();
        let answer = ask(&options, &mut connected).await;
        let outcome = answer.map(|pods| publisher.replace_pods(pods, asked_at));
        poller.report_and_wait(outcome, &publisher, (options.clock)()).await;
    }
}

/// Asks once and returns the answer as one line for a person.
///
/// # Errors
/// The runtime does not answer.
pub async fn probe(options: &CriOptions) -> Result<String, PollError> {
    let mut connected = None;
    let pods = ask(options, &mut connected).await?;
    let name = connected.map(|runtime| runtime.name).unwrap_or_default();
    let containers: usize = pods.iter().map(|pod| pod.containers.len()).sum();
    let pods = counted(pods.len(), "pod", "pods");
    Ok(format!("{name}: {pods}, {}", counted(containers, "container", "containers")))
}

/// The runtime's pods. A failure drops the connection.
async fn ask(
    options: &CriOptions,
    connected: &mut Option<CriRuntime>,
) -> Result<Vec<Pod>, PollError> {
    let mut runtime = match connected.take() {
        Some(runtime) => runtime,
        None => {
            let runtime = CriRuntime::connect(options).await?;
            info!("identity source {}: connected to {}", SourceKind::Cri, runtime.name);
            runtime
        }
    };
    let (sandboxes, containers) =
        lists(&mut runtime).await.map_err(|reason| PollError::new(&*runtime.name, reason))?;
    *connected = Some(runtime);
    Ok(pods::pods(sandboxes, containers, options.annotation_bytes_max))
}

async fn lists(
    runtime: &mut CriRuntime,
) -> Result<(Vec<messages::PodSandbox>, Vec<messages::CriContainer>), CriError> {
    // Containers first: the sandbox of each is then in the list that follows.
    let containers = runtime.containers().await?;
    Ok((runtime.sandboxes().await?, containers))
}
