//! The metrics of each sample, for the endpoints that send them and those who pull.

use std::sync::Arc;

use crate::clock;
use crate::config::Settings;
use crate::directory::Catalog;
use crate::ledger::Account;
use crate::metrics::published::PublishedMetrics;
use crate::metrics::sample::{MetricSample, NodeAttributes};
use crate::metrics::store::{MetricStore, StoreInput, StoreOptions};

use super::pod_files::Files;

/// Keeps the running totals of the sampling thread, where somebody wants them.
#[derive(Debug)]
pub struct MetricsFeed {
    store: MetricStore,
    published: Arc<PublishedMetrics>,
}

/// The options of the store; `None`: nobody is configured to get metrics.
#[must_use]
pub fn store_options(settings: &Settings) -> Option<StoreOptions> {
    let pushes = settings.endpoints.iter().any(|endpoint| endpoint.dialect.profile().needs_metrics);
    let is_wanted = pushes || settings.metrics.listen.is_some();
    is_wanted.then(|| StoreOptions {
        node: NodeAttributes {
            name: settings.node.name.as_str().into(),
            in_kubernetes: settings.directory.knows_pods(),
            cluster: settings.cluster.name.as_str().into(),
        },
        waits_for_names: settings.directory.knows_pods(),
        processes: settings.metrics.processes,
    })
}

impl MetricsFeed {
    #[must_use]
    pub fn new(options: StoreOptions, published: Arc<PublishedMetrics>) -> Self {
        Self { store: MetricStore::new(options), published }
    }

    /// The options that a reload changed. Totals continue.
    pub fn set_options(&mut self, options: StoreOptions) {
        self.store.set_options(options);
    }

    /// Adds an interval, publishes its metrics and returns them.
    pub fn add(
        &mut self,
        account: &Account,
        catalog: &Catalog,
        files: &Files,
    ) -> Arc<MetricSample> {
        let sample = Arc::new(self.store.add(&StoreInput {
            account,
            catalog,
            pod_filesystems: &files.pods,
            node_filesystem: files.node,
            filesystems: &[],
            seen_by_all: self.published.pullers.seen_by_all(clock::boot_time()),
        }));
        self.published.publish(Arc::clone(&sample));
        sample
    }
}
