//! The input of a dump.

use crate::directory::Catalog;
use crate::disk_usage::usage::FilesystemUsage;
use crate::ledger::ProcessOwner;
use crate::ledger::account::{Account, ExitedChildren, PodUsage, ProcessUsage, UnitUsage, Usage};
use crate::quantity::Bytes;
use crate::snapshot::gaps::Gaps;

/// Facts about the host.
#[derive(Debug, Clone, Default)]
pub struct HostFacts {
    pub name: String,
    pub kernel_release: Option<String>,
    pub os: Option<String>,
    pub cpu_model: Option<String>,
}

/// The input of a dump: the account, and the rows to print.
pub struct Dump<'a> {
    pub host: &'a HostFacts,
    pub account: &'a Account,
    /// The names of pods and containers; an empty catalog leaves them out.
    pub catalog: &'a Catalog,
    pub gaps: &'a Gaps,
    /// `None`: they were not looked at.
    pub filesystems: Option<&'a [FilesystemUsage]>,
    /// In the order wanted; those left out by a filter are not here.
    pub pods: Vec<&'a PodUsage>,
    /// The containers of a pod come largest first by this, equal ones by their ids.
    pub container_weight: fn(&Usage) -> u64,
    pub units: Vec<&'a UnitUsage>,
    /// The processes with a row of their own.
    pub processes: Vec<&'a ProcessUsage>,
    /// The processes that ended, by parent.
    pub exited_children: Vec<&'a ExitedChildren>,
    /// The other processes, by owner.
    pub rests: Vec<ProcessGroup>,
}

/// The processes of one owner without a row of their own, summed.
#[derive(Debug, Clone)]
pub struct ProcessGroup {
    pub owner: ProcessOwner,
    pub processes: u64,
    pub cpu_usage_usec: u64,
    pub resident: Bytes,
}
