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

#[cfg(test)]
impl CgroupDelta {
    /// A cgroup of which nothing is known.
    pub fn nothing() -> Self {
        Self {
            entry: 0,
            position: Position::ROOT,
            measured_cpu: None,
            measured_io: None,
            measured_memory: None,
            cpu_went_back: false,
            io_went_back: false,
            total_cpu: CpuDelta::default(),
            total_io: IoDelta::default(),
            total_memory: 0,
            self_usage: SelfUsage::default(),
            throttling: None,
            events: EventCounts::default(),
            pending: None,
            unread: false,
            withhold: false,
            moved: UsageDelta::default(),
            moved_memory: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{CgroupKey, ProcessKey};
    use crate::ledger::account::{CpuUsage, DiskSource, DiskUsage};
    use crate::quantity::{BootTime, Bytes, CpuTime};
    use crate::source::proc::pid_stat::Comm;

    #[test]
    fn a_process_takes_its_cpu_bytes_and_memory_with_it() {
        let process = ProcessUsage {
            key: ProcessKey { pid: 7, start_ticks: 1 },
            comm: Comm::default(),
            parent_pid: 1,
            threads: None,
            kernel_thread: false,
            cgroup: Arc::from(&b"/a"[..]),
            named: None,
            cpu: Some(CpuUsage { usage: CpuTime::from_usec(300), ..CpuUsage::default() }),
            disk: Some(DiskUsage {
                read: Bytes::from_bytes(20),
                written: Bytes::from_bytes(3000),
                from: DiskSource::Processes,
                ..DiskUsage::default()
            }),
            resident: Some(Bytes::from_bytes(4096)),
            cmdline: None,
        };
        let mut cgroup = CgroupDelta::nothing();
        cgroup.take_away(&process);
        cgroup.take_away(&process);
        assert_eq!(cgroup.moved.cpu, CpuDelta { usage: 600, ..CpuDelta::default() });
        assert_eq!(cgroup.moved.io, IoDelta { read: 40, written: 6000, ..IoDelta::default() });
        assert_eq!(cgroup.moved_memory, 8192);
    }

    #[test]
    fn earlier_counters_are_those_of_the_same_cgroup() {
        let counters = |path: &str, inode| CgroupCounters {
            key: CgroupKey { path: path.as_bytes().into(), inode },
            read_at: BootTime::default(),
            cpu: None,
            io: None,
            events: EventCounts::default(),
        };
        let known = [counters("/", 1), counters("/a", 2), counters("/a/x", 3), counters("/b", 4)];
        let mut before = &known[..];
        for (path, inode, found) in [
            ("/", 1, Some(1)),
            // Its name was another cgroup's.
            ("/a", 9, None),
            ("/a/w", 8, None),
            ("/a/x", 3, Some(3)),
            ("/b", 4, Some(4)),
            ("/c", 5, None),
        ] {
            let key = CgroupKey { path: path.as_bytes().into(), inode };
            let earlier = earlier_counters(&mut before, &CgroupReading::unread(key));
            assert_eq!(earlier.map(|earlier| earlier.key.inode), found, "{path}");
        }
    }
}
