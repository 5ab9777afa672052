//! The endpoints that are standard output or files: started, kept, changed and ended.

use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::warn;

use super::endpoint::{EndpointHandle, EndpointView};
use super::error::EndpointError;
use super::render::{Encoder, SampleEncoder};
use crate::config::{Destination, EndpointSettings, Settings};
use crate::delivery::{BodyAsJson, Handle, Rotation, SinkSettings, SinkTarget, SinkWorker, sink};
use crate::quantity::counted;
use crate::spool::Batch;

/// The specification of a sink, from the settings.
#[derive(Debug)]
pub struct SinkSpec {
    pub sink: SinkSettings,
    pub encoder: SampleEncoder,
}

impl SinkSpec {
    /// `None`: the endpoint is a server.
    ///
    /// # Errors
    /// Its label selector is none.
    pub fn of(
        endpoint: &EndpointSettings,
        settings: &Settings,
    ) -> Result<Option<Self>, EndpointError> {
        let rotation = endpoint
            .rotation
            .map(|rotation| Rotation { bytes_max: rotation.bytes.as_bytes(), kept: rotation.keep });
        let target = match &endpoint.url {
            Destination::Http(_) => return Ok(None),
            Destination::Stdout => SinkTarget::Stdout,
            Destination::File(path) => SinkTarget::File { path: path.clone(), rotation },
        };
        // A dialect of lines reports usage.
        let Encoder::Samples(encoder) = Encoder::of(endpoint, settings)? else { return Ok(None) };
        let bytes = endpoint.queue_bytes.as_bytes();
        let sink = SinkSettings {
            name: endpoint.name.clone(),
            target,
            url: endpoint.url.to_string(),
            queue_bytes_max: usize::try_from(bytes).unwrap_or(usize::MAX),
            as_json: endpoint.dialect.profile().as_json.map(BodyAsJson),
            dry_run: None,
        };
        Ok(Some(Self { sink, encoder }))
    }
}

/// All running sinks.
#[derive(Debug, Default)]
pub(super) struct Sinks {
    running: Vec<RunningSink>,
}

#[derive(Debug)]
struct RunningSink {
    settings: SinkSettings,
    handle: Handle,
}

/// The sinks that a reload will run, made but not started.
#[derive(Debug)]
pub(super) struct SinksPlan(Vec<(RunningSink, Option<SinkWorker>)>);

/// Names of the sinks that a reload changed.
#[derive(Debug, Default)]
pub(super) struct SinkChanges {
    pub(super) begun: Vec<String>,
    pub(super) changed: Vec<String>,
    pub(super) ended: Vec<String>,
}

impl Sinks {
    /// The plan, and the handles for the sampling thread. A sink of the same settings is kept.
    pub(super) fn plan(&self, specs: Vec<SinkSpec>) -> (SinksPlan, Vec<EndpointHandle>) {
        let (mut steps, mut handles) = (Vec::new(), Vec::new());
        for SinkSpec { sink: settings, encoder } in specs {
            let same = self.running.iter().find(|running| running.settings == settings);
            let (handle, worker) = match same {
                Some(running) => (running.handle.clone(), None),
                None => {
                    let (handle, worker) = sink(settings.clone());
                    (handle, Some(worker))
                }
            };
            handles.push(EndpointHandle { handle: handle.clone(), encoder, server: None });
            steps.push((RunningSink { settings, handle }, worker));
        }
        (SinksPlan(steps), handles)
    }

    /// Carries the plan out. A changed sink starts when the one before it has written what it had,
    /// until `deadline`; what is left goes to the new one.
    pub(super) fn apply(
        &mut self,
        plan: SinksPlan,
        deadline: Instant,
        tasks: &mut JoinSet<()>,
    ) -> SinkChanges {
        let mut before = std::mem::take(&mut self.running);
        let mut changes = SinkChanges::default();
        for (sink, worker) in plan.0 {
            let name = &sink.settings.name;
            let at = before.iter().position(|old| old.settings.name == *name);
            let predecessor = at.map(|at| before.swap_remove(at));
            if let Some(worker) = worker {
                let names =
                    if predecessor.is_some() { &mut changes.changed } else { &mut changes.begun };
                names.push(name.clone());
                let handle = sink.handle.clone();
                tokio::spawn(async move {
                    if let Some(predecessor) = predecessor {
                        handle.prepend(predecessor.handle.flush(deadline).await, false);
                    }
                    worker.run().await;
                });
            }
            self.running.push(sink);
        }
        for ended in before {
            changes.ended.push(ended.settings.name.clone());
            tasks.spawn(ended.finish(deadline));
        }
        changes
    }

    pub(super) fn views(&self) -> impl Iterator<Item = EndpointView> {
        self.running.iter().map(|running| EndpointView {
            name: running.settings.name.clone(),
            url: running.settings.url.clone(),
            embedded: false,
            handle: running.handle.clone(),
        })
    }

    /// Lets all sinks write until `deadline`.
    pub(super) fn finish(self, deadline: Instant, tasks: &mut JoinSet<()>) {
        for running in self.running {
            tasks.spawn(running.finish(deadline));
        }
    }
}

impl RunningSink {
    /// Writes until `deadline`, and logs what is left.
    async fn finish(self, deadline: Instant) {
        let left: Vec<Batch> = self.handle.flush(deadline).await;
        if !left.is_empty() {
            let SinkSettings { name, target, .. } = &self.settings;
            warn!(
                "endpoint {name}: the lines of {} are lost: {target} did not take them in time",
                counted(left.len(), "sample", "samples")
            );
        }
    }
}
