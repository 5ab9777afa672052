//! The node's own CPU time, disk and network over one interval.

use super::account::{DiskUsage, NetworkUsage, NodeCpu, NodeUsage};
use super::cgroup_delta::network_delta;
use super::counters::Counters;
use super::delta::counter_delta;
use crate::quantity::{Bytes, CpuTime, Ticks};
use crate::snapshot::Snapshot;
use crate::snapshot::roots::Units;
use crate::snapshot::topology::{BlockKind, InterfaceKind};

/// Writes the node's usage since `last` and its gauges into `usage`.
pub(super) fn settle_node(
    last: Option<&Counters>,
    snapshot: &Snapshot,
    units: Units,
    usage: &mut NodeUsage,
) {
    usage.gauges_of(&snapshot.node);
    usage.cpu = last.and_then(|last| cpu(last, snapshot, units));
    usage.disk = last.and_then(|last| disk(last, snapshot));
    usage.network = last.and_then(|last| network(last, snapshot));
}

fn cpu(last: &Counters, snapshot: &Snapshot, units: Units) -> Option<NodeCpu> {
    let node = &snapshot.node;
    let (before, now) = (last.node_cpu?, node.cpu?);
    // Within one boot these never start again from 0. On some kernels they go back by a tick, which
    // counts as no time.
    let delta = |before: Ticks, now: Ticks| {
        let ticks = Ticks::from_ticks(now.as_ticks().saturating_sub(before.as_ticks()));
        ticks.to_cpu_time(units.ticks_per_second)
    };
    let user = delta(before.user, now.user) + delta(before.nice, now.nice);
    let system = delta(before.system, now.system);
    let irq = delta(before.irq, now.irq);
    let softirq = delta(before.softirq, now.softirq);
    let (idle, iowait) = (delta(before.idle, now.idle), delta(before.iowait, now.iowait));
    let steal = delta(before.steal, now.steal);
    let by_ticks = user + system + irq + softirq;
    // Busy time is the time of all CPUs less their idle time. The kernel measures idle time where
    // it begins and ends. It counts use by the tick, which misses short work and whatever a virtual
    // machine lost. A CPU that was taken off and on again may start its idle time from 0.
    let went_back = |before: Ticks, now_ticks: Ticks| {
        now_ticks.as_ticks() + 2 * u64::from(now.cpus) < before.as_ticks()
    };
    let is_whole = before.cpus == now.cpus
        && !went_back(before.idle, now.idle)
        && !went_back(before.iowait, now.iowait);
    let awake = last.node_cpu_awake.zip(node.cpu_awake).filter(|_| is_whole);
    let by_awake = awake.map(|(before, after)| {
        let awake_usec = after.saturating_sub(before).as_micros();
        let all = u64::try_from(awake_usec).unwrap_or(u64::MAX);
        let all = CpuTime::from_usec(all.saturating_mul(now.cpus.into()));
        let in_use = all.saturating_sub(idle + iowait);
        // A woken CPU that waits for its hypervisor is counted as idle and as stolen, so not all
        // stolen time may be subtracted from the time in use.
        in_use.saturating_sub(steal).max(by_ticks.min(in_use))
    });
    Some(NodeCpu {
        busy: by_awake.unwrap_or(by_ticks),
        user,
        system,
        irq,
        softirq,
        steal,
        idle,
        iowait,
        interrupts: node.interrupts,
        over_usec: node.cpu_read_at.usec_since(last.node_cpu_read_at),
    })
}

fn disk(last: &Counters, snapshot: &Snapshot) -> Option<DiskUsage> {
    let node = &snapshot.node;
    let before = last.disks.as_ref().filter(|_| node.disks_readable)?;
    let mut usage = DiskUsage::default();
    let is_disk = |device| snapshot.topology.kind(device) == Some(BlockKind::Disk);
    for row in node.disks.iter().filter(|row| is_disk(row.device)) {
        // A disk that appeared since counts from 0. If its number was another disk's, the name
        // differs or the counters went back.
        let before =
            before.iter().find(|before| before.device == row.device && before.name() == row.name());
        let delta = |before: Option<u64>, now: u64| counter_delta(before.unwrap_or(0), now);
        let bytes = |before: Option<Bytes>, now: Bytes| {
            Bytes::from_bytes(delta(before.map(Bytes::as_bytes), now.as_bytes()))
        };
        usage.read += bytes(before.map(|row| row.read), row.read);
        usage.written += bytes(before.map(|row| row.written), row.written);
        usage.read_ops += delta(before.map(|row| row.read_ops), row.read_ops);
        usage.write_ops += delta(before.map(|row| row.write_ops), row.write_ops);
    }
    Some(usage)
}

fn network(last: &Counters, snapshot: &Snapshot) -> Option<NetworkUsage> {
    let node = &snapshot.node;
    let before = last.interfaces.as_ref().filter(|_| node.interfaces_readable)?;
    let counted = node.interfaces.iter().zip(&node.interface_kinds);
    let counted = counted.filter(|(_, (_, kind))| *kind == InterfaceKind::Counted);
    Some(network_delta(&before.rows, counted.map(|(row, _)| row)))
}
