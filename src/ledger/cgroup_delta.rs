//! The differences of one cgroup, between its counters and its owner.

use std::sync::Arc;

use super::account::ProcessUsage;
use super::counters::CgroupCounters;
use super::delta::{CpuDelta, IoDelta, UsageDelta, signed};
use super::event_counts::EventCounts;
use super::self_usage::SelfUsage;
use crate::attribution::Position;
use crate::snapshot::CgroupReading;
use crate::snapshot::cgroups::tree_order;
use crate::source::cgroup::cpu_stat::Throttling;

/// Everything that is computed for one cgroup of one interval.
#[derive(Debug, Clone, Copy)]
pub(super) struct CgroupDelta {
    /// Index of its owner's entry.
    pub entry: usize,
    pub position: Position,
    /// Differences of its counters, which include all cgroups below it; `None`: not known.
    pub measured_cpu: Option<CpuDelta>,
    pub measured_io: Option<IoDelta>,
    pub measured_memory: Option<i64>,
    /// A counter went back, so the difference may be less than that of the children.
    pub cpu_went_back: bool,
    pub io_went_back: bool,
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
    /// The part of its measured usage that processes had whose owner another path names.
    pub moved: UsageDelta,
    pub moved_memory: i64,
}

impl CgroupDelta {
    /// Takes the usage of a process away that is counted with its owner.
    pub fn take_away(&mut self, process: &ProcessUsage) {
        if let Some(cpu) = process.cpu {
            // Ticks tell no share of the kernel's in it.
            self.moved
                .cpu
                .add(CpuDelta { usage: signed(cpu.usage.as_usec()), ..CpuDelta::default() });
        }
        if let Some(disk) = process.disk {
            self.moved.io.add(IoDelta {
                read: signed(disk.read.as_bytes()),
                written: signed(disk.written.as_bytes()),
                ..IoDelta::default()
            });
        }
        let resident = signed(process.resident.unwrap_or_default().as_bytes());
        self.moved_memory = self.moved_memory.saturating_add(resident);
    }
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
