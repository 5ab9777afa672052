//! The input of a dump.

use crate::attribution::Owner;
use crate::directory::Catalog;
use crate::disk_usage::usage::FilesystemUsage;
use crate::ledger::account::{Account, PodUsage, ProcessUsage, UnitUsage};
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
    pub filesystems: &'a [FilesystemUsage],
    /// In the order wanted; those left out by a filter are not here.
    pub pods: Vec<&'a PodUsage>,
    pub units: Vec<&'a UnitUsage>,
    /// The processes with a row of their own.
    pub processes: Vec<&'a ProcessUsage>,
    /// The other processes, by owner.
    pub rests: Vec<ProcessGroup>,
}

/// The owner of a process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProcessOwner {
    Kernel,
    Pod { uid: String, container: Option<String> },
    Container { id: String },
    Unit { path: Vec<u8> },
}

impl ProcessOwner {
    #[must_use]
    pub fn of(process: &ProcessUsage) -> Self {
        if process.kernel_thread {
            return Self::Kernel;
        }
        if let Some(path) = &process.named {
            return Self::Unit { path: path.to_vec() };
        }
        Self::of_cgroup(&process.cgroup)
    }

    /// The owner of the cgroup at `path`.
    #[must_use]
    pub fn of_cgroup(path: &[u8]) -> Self {
        let located = Owner::locate(path);
        match located.owner {
            Owner::Pod { uid, .. } => Self::Pod { uid: uid.to_string(), container: None },
            Owner::PodContainer { uid, id, .. } => {
                Self::Pod { uid: uid.to_string(), container: Some(id.to_string()) }
            }
            Owner::Container { id, .. } => Self::Container { id: id.to_string() },
            Owner::Unit | Owner::Guest(_) | Owner::Named => {
                Self::Unit { path: located.starts_at.to_vec() }
            }
            Owner::Root | Owner::Inner(_) => Self::Unit { path: path.to_vec() },
        }
    }
}

/// The processes of one owner without a row of their own, summed.
#[derive(Debug, Clone)]
pub struct ProcessGroup {
    pub owner: ProcessOwner,
    pub processes: u64,
    pub cpu_usage_usec: u64,
    pub resident: Bytes,
}
