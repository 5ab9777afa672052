//! The differences of one cgroup, between its counters and its owner.

use std::sync::Arc;

use super::account::{NetworkUsage, ProcessUsage};
use super::counters::CgroupCounters;
use super::delta::{CounterBounds, CpuDelta, Gains, IoDelta, UsageDelta, most_link_bytes, signed};
use super::event_counts::EventCounts;
use super::self_usage::SelfUsage;
use crate::attribution::Position;
use crate::quantity::Bytes;
use crate::snapshot::CgroupReading;
use crate::snapshot::cgroups::tree_order;
use crate::snapshot::gaps::Gaps;
use crate::source::cgroup::cpu_stat::Throttling;
use crate::source::proc::net_dev::{InterfaceName, InterfaceRow};

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

/// The traffic of the interfaces `now` since `before`, within `over_usec`. An interface that
/// `before` lacks counts from 0. `link_rate`: bytes in a second, where known. `None`: an interface shows more than it can have carried. `place`
/// names the namespace in gaps.
pub(super) fn network_delta<'r>(
    before: &[InterfaceRow],
    now: impl Iterator<Item = &'r InterfaceRow>,
    over_usec: u64,
    link_rate: impl Fn(InterfaceName) -> Option<u64>,
    place: &[u8],
    gaps: &mut Gaps,
) -> Option<NetworkUsage> {
    let mut total = Some(NetworkUsage::default());
    for row in now {
        let before = before.iter().find(|before| before.name == row.name);
        let mut gains = Gains::default();
        let most = most_link_bytes(link_rate(row.name), over_usec);
        let usage = interface_gain(before, row, most, &mut gains);
        gains.report(gaps, &[place, b" ", row.name.as_bytes()]);
        total = total.filter(|_| gains.known());
        if let Some(total) = &mut total {
            total.add(&usage);
        }
    }
    total
}

/// The traffic of one interface since `before`; from 0 where there is none. `most_bytes`: what its
/// link can carry in one direction.
pub(super) fn interface_gain(
    before: Option<&InterfaceRow>,
    now: &InterfaceRow,
    most_bytes: u64,
    gains: &mut Gains,
) -> NetworkUsage {
    gains.unread |= now.is_odd || before.is_some_and(|before| before.is_odd);
    if gains.unread {
        return NetworkUsage::default();
    }
    let bytes = |row: &InterfaceRow| [row.rx_bytes, row.tx_bytes];
    let all = [Some(now), before].into_iter().flatten().flat_map(bytes);
    let bounds = CounterBounds::narrow(most_bytes, 1, all);
    // No frame is shorter. Drivers count errors and drops as they like.
    let packets = CounterBounds { most: most_bytes / 16, ..bounds };
    let unbounded = CounterBounds { most: u64::MAX, ..bounds };
    let mut gain = |part: fn(&InterfaceRow) -> u64, bounds: CounterBounds| {
        gains.of(before.map_or(0, part), part(now), bounds)
    };
    NetworkUsage {
        rx: Bytes::from_bytes(gain(|row| row.rx_bytes, bounds)),
        tx: Bytes::from_bytes(gain(|row| row.tx_bytes, bounds)),
        rx_packets: gain(|row| row.rx_packets, packets),
        tx_packets: gain(|row| row.tx_packets, packets),
        rx_errors: gain(|row| row.rx_errors, unbounded),
        tx_errors: gain(|row| row.tx_errors, unbounded),
        rx_dropped: gain(|row| row.rx_dropped, unbounded),
        tx_dropped: gain(|row| row.tx_dropped, unbounded),
        ..NetworkUsage::default()
    }
}
