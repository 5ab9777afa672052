//! The observation of one `dump`.

use std::sync::Arc;

use crate::directory::Catalog;
use crate::disk_usage::usage::FilesystemUsage;
use crate::ledger::Account;
use crate::payload::dump::HostFacts;
use crate::payload::kubelet::MachineFacts;
use crate::snapshot::gaps::Gaps;

/// The usage between two samples, its names, and facts about the host.
pub(super) struct Observed {
    pub machine: MachineFacts,
    pub host: HostFacts,
    pub account: Account,
    pub catalog: Arc<Catalog>,
    pub gaps: Gaps,
    pub filesystems: Vec<FilesystemUsage>,
}
