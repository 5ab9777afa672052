//! One snapshot: all readings of one instant.

use super::cgroups::tree_order;
use super::gaps::Gaps;
use super::node::NodeReading;
use super::read_context::ReadCounts;
use super::reading::{CgroupReading, NamespaceReading};
use super::sockets::SocketsReading;
use super::topology::BlockTopology;
use crate::identity::BootId;
use crate::quantity::{BootTime, WallTime};

/// One instant of one node.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// `None`: /proc/sys/kernel/random/boot_id could not be read, so no counter may be kept over a
    /// restart of the agent.
    pub boot: Option<BootId>,
    pub begun_at: BootTime,
    pub ended_at: BootTime,
    pub wall: WallTime,
    pub node: NodeReading,
    pub topology: BlockTopology,
    /// Parents before children: a cgroup is followed by its whole subtree. The first is the root,
    /// if there is a cgroup2 hierarchy. Placed readings follow the tree, in its order.
    pub cgroups: Vec<CgroupReading>,
    /// Network namespaces of the cgroups' processes, sorted by identity.
    pub namespaces: Vec<NamespaceReading>,
    pub sockets: SocketsReading,
    pub gaps: Gaps,
    pub counts: ReadCounts,
}

impl Snapshot {
    /// The cgroups of the cgroup2 tree, in [`tree_order`].
    #[must_use]
    pub fn tree(&self) -> &[CgroupReading] {
        let end = self.cgroups.partition_point(|reading| !reading.placed);
        self.cgroups.get(..end).unwrap_or_default()
    }

    /// Index of the cgroup of the tree at `path`.
    #[must_use]
    pub fn cgroup_at(&self, path: &[u8]) -> Option<usize> {
        self.tree().binary_search_by(|reading| tree_order(&reading.key.path, path)).ok()
    }
}
