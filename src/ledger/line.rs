//! The result of one cgroup, between its counters and its owner.

use std::sync::Arc;

use super::account::NetworkUsage;
use super::counters::CgroupCounters;
use super::delta::gained;
use super::flow::{CpuFlow, IoFlow, Tally};
use crate::attribution::Owner;
use crate::quantity::Bytes;
use crate::snapshot::CgroupReading;
use crate::snapshot::cgroups::tree_order;
use crate::source::cgroup::cpu_stat::Throttling;
use crate::source::proc::net_dev::InterfaceRow;

/// What is worked out of one cgroup.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    /// Its owner's entry.
    pub entry: usize,
    pub owner: Owner,
    /// Gains of the cgroup and all below it; `None` where they are not known.
    pub raw_cpu: Option<CpuFlow>,
    pub raw_io: Option<IoFlow>,
    pub raw_memory: Option<i64>,
    /// The same, with the sum of the children where it is not known; on the way there, that sum.
    pub whole_cpu: CpuFlow,
    pub whole_io: IoFlow,
    pub whole_memory: i64,
    /// What it has beyond its children.
    pub own: Tally,
    pub throttling: Option<Throttling>,
    pub oom_kills: Option<u64>,
    /// Its place among the pending.
    pub pending: Option<usize>,
    /// It could not be read: what it used is told once it can.
    pub unread: bool,
    /// Something below it could not be read, so its own part cannot be told from that yet.
    pub withhold: bool,
}

/// The counters of the same cgroup in the earlier list, which is in the same order; what stands
/// before it there is passed over.
pub(super) fn earlier_of<'c>(
    before: &mut &'c [CgroupCounters],
    reading: &CgroupReading,
) -> Option<&'c CgroupCounters> {
    while let Some((first, rest)) = before.split_first() {
        let same_path =
            Arc::ptr_eq(&first.key.path, &reading.key.path) || first.key.path == reading.key.path;
        if !same_path && tree_order(&first.key.path, &reading.key.path).is_gt() {
            return None;
        }
        *before = rest;
        if same_path {
            // Another inode: a cgroup that was removed and one that was made since.
            return (first.key.inode == reading.key.inode).then_some(first);
        }
    }
    None
}

pub(super) fn network_gain<'r>(
    before: &[InterfaceRow],
    now: impl Iterator<Item = &'r InterfaceRow>,
) -> NetworkUsage {
    let mut total = NetworkUsage::default();
    for row in now {
        let before = before.iter().find(|before| before.name == row.name);
        let gain = |part: fn(&InterfaceRow) -> u64| gained(before.map_or(0, part), part(row));
        total.rx += Bytes::from_bytes(gain(|row| row.rx_bytes));
        total.tx += Bytes::from_bytes(gain(|row| row.tx_bytes));
        total.rx_packets += gain(|row| row.rx_packets);
        total.tx_packets += gain(|row| row.tx_packets);
        total.rx_errors += gain(|row| row.rx_errors);
        total.tx_errors += gain(|row| row.tx_errors);
        total.rx_dropped += gain(|row| row.rx_dropped);
        total.tx_dropped += gain(|row| row.tx_dropped);
    }
    total
}
