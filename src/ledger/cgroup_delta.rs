//! The differences of one cgroup, between its counters and its owner.

use std::sync::Arc;

use super::account::NetworkUsage;
use super::counters::CgroupCounters;
use super::delta::{CpuDelta, IoDelta, counter_delta};
use super::event_counts::EventCounts;
use super::self_usage::SelfUsage;
use crate::attribution::Owner;
use crate::quantity::Bytes;
use crate::snapshot::CgroupReading;
use crate::snapshot::cgroups::tree_order;
use crate::source::cgroup::cpu_stat::Throttling;
use crate::source::proc::net_dev::InterfaceRow;

/// Everything that is computed for one cgroup of one interval.
#[derive(Debug, Clone, Copy)]
pub(super) struct CgroupDelta {
    /// Index of its owner's entry.
    pub entry: usize,
    pub owner: Owner,
    /// Differences of its counters, which include all cgroups below it; `None`: not known.
    pub measured_cpu: Option<CpuDelta>,
    pub measured_io: Option<IoDelta>,
    pub measured_memory: Option<i64>,
    /// Total usage: the measured difference, or the sum of the children where it is not known.
    /// Until the cgroup's turn comes it is the sum of the children done so far.
    pub total_cpu: CpuDelta,
    pub total_io: IoDelta,
    pub total_memory: i64,
    /// Total usage less that of its children.
    pub self_usage: SelfUsage,
    pub throttling: Option<Throttling>,
    pub events: EventCounts,
    /// Its index among the pending cgroups.
    pub pending: Option<usize>,
    /// It could not be read. Its usage is attributed once it can.
    pub unread: bool,
    /// A cgroup below it could not be read, so its self usage still contains that one's usage.
    pub withhold: bool,
}

/// The earlier counters of the same cgroup. `before` is in tree order like the snapshot; entries in
/// front of the cgroup are skipped. `None`: the cgroup is new.
pub(super) fn earlier_counters<'c>(
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
            // With another inode, the cgroup was removed and created again.
            return (first.key.inode == reading.key.inode).then_some(first);
        }
    }
    None
}

/// The traffic of the interfaces `now` since `before`. An interface that `before` lacks counts from
/// 0.
pub(super) fn network_delta<'r>(
    before: &[InterfaceRow],
    now: impl Iterator<Item = &'r InterfaceRow>,
) -> NetworkUsage {
    let mut total = NetworkUsage::default();
    for row in now {
        let before = before.iter().find(|before| before.name == row.name);
        let delta =
            |part: fn(&InterfaceRow) -> u64| counter_delta(before.map_or(0, part), part(row));
        total.rx += Bytes::from_bytes(delta(|row| row.rx_bytes));
        total.tx += Bytes::from_bytes(delta(|row| row.tx_bytes));
        total.rx_packets += delta(|row| row.rx_packets);
        total.tx_packets += delta(|row| row.tx_packets);
        total.rx_errors += delta(|row| row.rx_errors);
        total.tx_errors += delta(|row| row.tx_errors);
        total.rx_dropped += delta(|row| row.rx_dropped);
        total.tx_dropped += delta(|row| row.tx_dropped);
    }
    total
}
