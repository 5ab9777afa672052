//! The metrics of each sample, for the endpoints that send them and those who pull.

use std::io;
use std::sync::Arc;

use tracing::warn;

use crate::clock;
use crate::config::{Counters, EndpointSettings, Settings};
use crate::directory::Catalog;
use crate::disk_usage::node::NodeFilesystems;
use crate::ledger::Account;
use crate::metrics::published::PublishedMetrics;
use crate::metrics::sample::{MetricSample, NodeAttributes};
use crate::metrics::store::{MetricStore, StoreInput, StoreOptions};
use crate::payload::profile::CounterForms;
use crate::quantity::WallTime;
use crate::snapshot::roots::Roots;

use super::pod_files::Files;

/// Keeps the running totals of the sampling thread, where somebody wants them.
#[derive(Debug)]
pub struct MetricsFeed {
    store: MetricStore,
    /// `None`: the thread could not be started.
    filesystems: Option<NodeFilesystems>,
    published: Arc<PublishedMetrics>,
}

/// The options of the store; `None`: nobody is configured to get metrics.
#[must_use]
pub fn store_options(settings: &Settings) -> Option<StoreOptions> {
    let pushes = settings.endpoints.iter().any(|endpoint| endpoint.dialect.profile().needs_metrics);
    let is_wanted = pushes || settings.metrics.is_served();
    is_wanted.then(|| StoreOptions {
        node: NodeAttributes {
            name: settings.node.name.as_str().into(),
            in_kubernetes: settings.directory.knows_pods(),
            cluster: settings.cluster.name.as_str().into(),
        },
        waits_for_names: settings.directory.knows_pods(),
        processes: settings.metrics.processes,
        keeps_intervals: settings.endpoints.iter().any(needs_intervals),
    })
}

/// `true` unless the endpoint gets no metrics, or running totals alone.
fn needs_intervals(endpoint: &EndpointSettings) -> bool {
    let profile = endpoint.dialect.profile();
    let chooses = profile.counters == CounterForms::Temporality;
    let has_totals = chooses && endpoint.counters == Counters::Cumulative;
    profile.needs_metrics && !has_totals
}

impl MetricsFeed {
    /// `roots`: the host whose filesystems are asked.
    #[must_use]
    pub fn new(options: StoreOptions, published: Arc<PublishedMetrics>, roots: &Roots) -> Self {
        let store = MetricStore::new(options).started_at(clock::wall_time());
        let mut feed = Self { store, filesystems: None, published };
        feed.set_roots(roots);
        feed
    }

    /// Asks the filesystems of another host from now on.
    pub fn set_roots(&mut self, roots: &Roots) {
        let started = NodeFilesystems::start(roots.clone());
        let failed = |error: &io::Error| warn!("metrics: filesystems are not measured: {error}");
        self.filesystems = started.inspect_err(failed).ok();
        // So that the first sample has them.
        if let Some(filesystems) = &mut self.filesystems {
            filesystems.latest(clock::boot_time());
        }
    }

    /// The options that a reload changed. Totals continue.
    pub fn set_options(&mut self, options: StoreOptions) {
        self.store.set_options(options);
    }

    /// The sample by which series end; `None`: there was none before it.
    #[must_use]
    pub fn closing_sample(&self) -> Option<MetricSample> {
        let last = self.published.sample()?.wall;
        // Where the clock went back, it is still behind the last one.
        let behind = WallTime::from_unix_millis(last.as_unix_millis() + 1);
        Some(self.store.closing_sample(clock::wall_time().max(behind)))
    }

    /// Adds an interval, publishes its metrics and returns them.
    pub fn add(
        &mut self,
        account: &Account,
        catalog: &Catalog,
        files: &Files,
    ) -> Arc<MetricSample> {
        let now = clock::boot_time();
        let filesystems = self.filesystems.as_mut().map(|all| all.latest(now)).unwrap_or_default();
        let sample = Arc::new(self.store.add(&StoreInput {
            account,
            catalog,
            pod_filesystems: &files.pods,
            node_filesystem: files.node,
            filesystems,
            seen_by_all: self.published.pullers.seen_by_all(now),
        }));
        self.published.publish(Arc::clone(&sample), self.store.ended_dropped());
        sample
    }
}
