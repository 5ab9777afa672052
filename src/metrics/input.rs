//! The input of the readers of figures.

use crate::disk_usage::usage::{FilesystemUsage, NodeFilesystem, PodFilesystem};
use crate::ledger::Account;
use crate::ledger::account::{CpuUsage, ExitedUsage, Usage};

/// The usage of the node.
#[derive(Debug, Clone, Copy)]
pub struct NodeInput<'a> {
    pub account: &'a Account,
    /// The filesystem that the node's pods lie on.
    pub filesystem: Option<NodeFilesystem>,
    /// The node is one of Kubernetes, so it has the figures of `k8s.node.*` too.
    pub in_kubernetes: bool,
}

/// One owner's usage.
#[derive(Debug, Clone, Copy)]
pub struct OwnerInput<'a> {
    pub usage: &'a Usage,
    /// CPU time as a rate over the interval; `None` if it is not known.
    pub cpu_rate: Option<CpuUsage>,
    /// Of a pod whose files were counted.
    pub filesystem: Option<PodFilesystem>,
}

/// The usage of one process, or of several together. `None`: not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessInput {
    pub cpu_usec: Option<i64>,
    pub resident_bytes: Option<i64>,
    pub read_bytes: Option<i64>,
    pub written_bytes: Option<i64>,
    pub threads: Option<i64>,
    /// 1 for one process.
    pub processes: i64,
}

/// The reader of a figure: the amount of the interval of a counter, the kernel's total of a kernel
/// counter, the present value of any other. `None`: not known.
#[derive(Debug, Clone, Copy)]
pub enum Read {
    Node(fn(&NodeInput<'_>) -> Option<i64>),
    Filesystem(fn(&FilesystemUsage) -> Option<i64>),
    Owner(fn(&OwnerInput<'_>) -> Option<i64>),
    Exited(fn(&ExitedUsage) -> Option<i64>),
    Process(fn(&ProcessInput) -> Option<i64>),
}

/// The input of one entity's figures.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    Node(&'a NodeInput<'a>),
    Filesystem(&'a FilesystemUsage),
    Owner(&'a OwnerInput<'a>),
    Exited(&'a ExitedUsage),
    Process(&'a ProcessInput),
}

/// A value as it is kept; beyond 2^63 it stays at the end.
pub(super) fn kept(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
