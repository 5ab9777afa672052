//! The observation of one `dump`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Settings;
use crate::directory::Catalog;
use crate::disk_usage::usage::FilesystemUsage;
use crate::ledger::Account;
use crate::metrics::sample::{MetricSample, NodeAttributes};
use crate::metrics::store::{MetricStore, StoreInput, StoreOptions};
use crate::payload::dump::HostFacts;
use crate::payload::kubelet::MachineFacts;
use crate::snapshot::gaps::Gaps;

/// The usage between two samples, its names, and facts about the host.
pub(super) struct Observed {
    pub machine: MachineFacts,
    pub host: HostFacts,
    /// The host is a node of Kubernetes.
    pub in_kubernetes: bool,
    pub account: Account,
    pub catalog: Arc<Catalog>,
    pub gaps: Gaps,
    pub filesystems: Vec<FilesystemUsage>,
    /// Where its processes can be read.
    pub procfs: PathBuf,
    /// It is of a capture.
    pub is_replayed: bool,
}

impl Observed {
    /// The metrics of the one interval, as `run` has them with these settings. Totals begin with it.
    pub fn metrics(&self, settings: &Settings) -> MetricSample {
        let mut store = MetricStore::new(StoreOptions {
            node: NodeAttributes {
                name: self.host.name.as_str().into(),
                in_kubernetes: self.in_kubernetes,
                cluster: settings.cluster.name.as_str().into(),
            },
            processes: settings.metrics.processes,
            // Nothing is sampled again, so that a name could come later.
            waits_for_names: false,
            keeps_intervals: false,
        });
        store.add(&StoreInput {
            account: &self.account,
            catalog: &self.catalog,
            pod_filesystems: &BTreeMap::new(),
            node_filesystem: None,
            filesystems: &self.filesystems,
            seen_by_all: None,
        })
    }
}
