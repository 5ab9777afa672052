//! The node's own CPU time, disk and network over one interval.

use super::account::{DiskUsage, NodeCpu, NodeUsage};
use super::counters::Counters;
use super::delta::{CounterBounds, Gains, most_cpu_usec, most_disk_bytes};
use super::event_counts::EventCounts;
use super::interfaces::{Earlier, InterfacesDelta, interfaces_delta};
use crate::quantity::{Bytes, CpuTime, Ticks};
use crate::snapshot::Snapshot;
use crate::snapshot::gaps::{GapReason, Gaps};
use crate::snapshot::roots::Units;
use crate::snapshot::topology::BlockKind;
use crate::source::proc::diskstats::{DiskActivity, DiskName, DiskstatsRow};
use crate::source::proc::stat::NodeStat;

/// Writes the node's usage since `last` and its gauges into `usage`.
pub(super) fn settle_node(
    last: Option<&Counters>,
    snapshot: &Snapshot,
    units: Units,
    usage: &mut NodeUsage,
    gaps: &mut Gaps,
) {
    usage.gauges_of(&snapshot.node);
    usage.events = EventCounts::default();
    usage.cpu = last.and_then(|last| cpu(last, snapshot, units, gaps));
    let disks = last.and_then(|last| disks(last, snapshot, gaps));
    usage.disk = disks.and_then(|(usage, _)| usage);
    usage.disk_activity = disks.map(|(_, activity)| activity);
    usage.disk_name = only_disk(snapshot);
    let network = last.and_then(|last| network(last, snapshot, gaps));
    usage.network = network.map(|network| network.all);
    usage.interface = network.and_then(|network| network.carrier);
}

fn is_disk(snapshot: &Snapshot, row: &DiskstatsRow) -> bool {
    snapshot.topology.device_of(row).is_some_and(|device| device.kind == BlockKind::Disk)
}

/// The name of the node's disk, where there is one.
fn only_disk(snapshot: &Snapshot) -> Option<DiskName> {
    let mut disks = snapshot.node.disks.iter().filter(|row| is_disk(snapshot, row));
    let first = disks.next()?;
    disks.next().is_none().then(|| DiskName::new(first.name()))?
}

fn cpu(last: &Counters, snapshot: &Snapshot, units: Units, gaps: &mut Gaps) -> Option<NodeCpu> {
    let node = &snapshot.node;
    let (before, now) = (last.node_cpu?, node.cpu?);
    let over_usec = node.cpu_read_at.usec_since(last.node_cpu_read_at);
    let most = CounterBounds::most(most_cpu_usec(before.cpus.max(now.cpus), over_usec));
    let mut gains = Gains::default();
    let usec = |ticks: Ticks| ticks.to_cpu_time(units.ticks_per_second).as_usec();
    let mut delta = |part: fn(&NodeStat) -> Option<Ticks>| {
        let (before, now) = (part(&before)?, part(&now)?);
        let mut own = Gains::default();
        let gained = own.of(usec(before), usec(now), most);
        gains.went_back |= own.went_back;
        gains.too_much |= own.too_much;
        own.known().then(|| CpuTime::from_usec(gained))
    };
    let sum = |a: Option<CpuTime>, b: Option<CpuTime>| Some(a? + b?);
    let user = sum(delta(|stat| stat.user), delta(|stat| stat.nice));
    let system = delta(|stat| stat.system);
    let irq = delta(|stat| stat.irq);
    let softirq = delta(|stat| stat.softirq);
    let (idle, iowait) = (delta(|stat| stat.idle), delta(|stat| stat.iowait));
    let steal = delta(|stat| stat.steal);
    gains.report(gaps, &[b"/proc/stat"]);
    let by_ticks = sum(sum(user, system), sum(irq, softirq));
    let not_busy = sum(idle, iowait);

    // Busy time is the time of all CPUs less their idle time. The kernel measures idle time where
    // it begins and ends. It counts use by the tick, which misses short work and whatever a virtual
    // machine lost. A CPU that was taken off and on again may start its idle time from 0.
    let went_back = |part: fn(&NodeStat) -> Option<Ticks>| {
        let (before, now_ticks) = (part(&before), part(&now));
        before.zip(now_ticks).is_none_or(|(before, now_ticks)| {
            now_ticks.as_ticks() + 2 * u64::from(now.cpus) < before.as_ticks()
        })
    };
    let is_whole =
        before.cpus == now.cpus && !went_back(|stat| stat.idle) && !went_back(|stat| stat.iowait);
    let mut stands_still = false;
    let awake = last.node_cpu_awake.zip(node.cpu_awake).filter(|_| is_whole);
    let by_awake = awake.and_then(|(before, after)| {
        let awake_usec = after.saturating_sub(before).as_micros();
        let all = u64::try_from(awake_usec).unwrap_or(u64::MAX);
        let all = CpuTime::from_usec(all.saturating_mul(now.cpus.into()));
        let (not_busy, steal, by_ticks) = (not_busy?, steal?, by_ticks?);
        let counted = by_ticks + steal;
        if let Some(consequence) = idle_fault(all, not_busy, counted) {
            gaps.add(&[b"/proc/stat"], GapReason::NotOffered { consequence });
            stands_still = counted + not_busy == CpuTime::ZERO;
            return None;
        }
        let in_use = all.saturating_sub(not_busy);
        // A woken CPU that waits for its hypervisor is counted as idle and as stolen, so not all
        // stolen time may be subtracted from the time in use.
        Some(in_use.saturating_sub(steal).max(by_ticks.min(in_use)))
    });
    Some(NodeCpu {
        // Where nothing is counted at all, nothing is known.
        busy: by_awake.or(by_ticks.filter(|_| !stands_still))?,
        busy_by_idle: by_awake,
        busy_by_ticks: by_ticks,
        user,
        system,
        irq,
        softirq,
        steal,
        idle,
        iowait,
        interrupts: node.interrupts,
        interrupts_count: before
            .interrupts
            .zip(now.interrupts)
            .and_then(|(before, now)| now.checked_sub(before)),
        over_usec,
    })
}

/// The reason why busy time cannot be what idle time leaves of `all`, the time of all CPUs. `other`:
/// what was counted beside idle time.
///
/// Where a container's or sandbox' own `/proc/stat` is made up (lxcfs, gVisor), idle time can stand
/// still, or be that of more CPUs. A virtual machine that is not run loses ticks of what it was busy
/// with, some hundredths up to a fifth.
fn idle_fault(all: CpuTime, not_busy: CpuTime, other: CpuTime) -> Option<&'static str> {
    let all = all.as_usec();
    let least = if not_busy == CpuTime::ZERO { all / 4 * 3 } else { all / 2 };
    let counted = (not_busy + other).as_usec();
    if counted < least {
        return Some(
            "idle time stands still: the node's busy time is what user, system and interrupt \
             time show",
        );
    }
    (not_busy.as_usec() > all.saturating_add(all / 8)).then_some(
        "idle time is more than the CPUs have: the node's busy time is what user, system and \
         interrupt time show",
    )
}

/// The transfers of the node's disks, and their activity.
fn disks(
    last: &Counters,
    snapshot: &Snapshot,
    gaps: &mut Gaps,
) -> Option<(Option<DiskUsage>, DiskActivity)> {
    let node = &snapshot.node;
    let before = last.disks.as_ref().filter(|_| node.disks_readable)?;
    let most = most_disk_bytes(node.disks_read_at.usec_since(last.disks_read_at));
    let mut usage = Some(DiskUsage::default());
    let mut activity = DiskActivity::NONE;
    for row in node.disks.iter().filter(|row| is_disk(snapshot, row)) {
        // A disk that appeared since counts from 0. If its number was another disk's, the name or
        // the sequence number differs.
        let before =
            before.iter().find(|before| before.device == row.device && before.name() == row.name());
        let before = before.filter(|_| last.is_same_disk(row.device, snapshot));
        let mut gains = Gains::default();
        let gained = disk_gain(before, row, most, &mut gains);
        let mut others = Gains::default();
        activity = activity.plus(activity_gain(before, row, &mut others));
        let went_back = gains.went_back | others.went_back;
        Gains { went_back, ..gains }.report(gaps, &[b"/proc/diskstats ", row.name()]);
        usage = usage.filter(|_| gains.known());
        if let Some(usage) = &mut usage {
            usage.read += gained.read;
            usage.written += gained.written;
            usage.read_ops += gained.read_ops;
            usage.write_ops += gained.write_ops;
        }
    }
    Some((usage, activity))
}

/// The activity of one disk since `before`; from 0 where there is none.
fn activity_gain(
    before: Option<&DiskstatsRow>,
    now: &DiskstatsRow,
    gains: &mut Gains,
) -> DiskActivity {
    // The kernel writes milliseconds in 32 bits. An operation that hung adds its whole time as it
    // ends, so the interval bounds nothing.
    let times = CounterBounds { most: u64::MAX, narrow_unit: Some(1) };
    let mut gain = |part: fn(&DiskActivity) -> Option<u64>, bounds: Option<CounterBounds>| {
        let now = part(&now.activity)?;
        let before = before.map_or(Some(0), |before| part(&before.activity))?;
        // A kernel of 32 bits counts operations in 32 bits.
        let bounds = bounds.unwrap_or(CounterBounds::narrow(u64::MAX, 1, [before, now]));
        Some(gains.of(before, now, bounds))
    };
    DiskActivity {
        merged_reads: gain(|all| all.merged_reads, None),
        merged_writes: gain(|all| all.merged_writes, None),
        read_ms: gain(|all| all.read_ms, Some(times)),
        write_ms: gain(|all| all.write_ms, Some(times)),
        in_progress: now.activity.in_progress,
        io_ms: gain(|all| all.io_ms, Some(times)),
        weighted_io_ms: gain(|all| all.weighted_io_ms, Some(times)),
    }
}

/// The transfers of one disk since `before`; from 0 where there is none.
fn disk_gain(
    before: Option<&DiskstatsRow>,
    now: &DiskstatsRow,
    most: u64,
    gains: &mut Gains,
) -> DiskUsage {
    gains.unread |= now.is_odd || before.is_some_and(|before| before.is_odd);
    if gains.unread {
        return DiskUsage::default();
    }
    let sums = |row: &DiskstatsRow| [row.read.as_bytes(), row.written.as_bytes()];
    let all = [Some(now), before].into_iter().flatten().flat_map(sums);
    // A kernel of 32 bits counts sectors and operations in 32 bits.
    let bytes = CounterBounds::narrow(most, 512, all);
    let most_ops = most / 512;
    let ops = CounterBounds { most: most_ops, narrow_unit: bytes.narrow_unit.map(|_| 1) };
    let mut gain = |part: fn(&DiskstatsRow) -> u64, bounds: CounterBounds| {
        gains.of(before.map_or(0, part), part(now), bounds)
    };
    DiskUsage {
        read: Bytes::from_bytes(gain(|row| row.read.as_bytes(), bytes)),
        written: Bytes::from_bytes(gain(|row| row.written.as_bytes(), bytes)),
        read_ops: gain(|row| row.read_ops, ops),
        write_ops: gain(|row| row.write_ops, ops),
        ..DiskUsage::default()
    }
}

/// The traffic with the outside: of the host's namespace, and of hardware that was moved into
/// another one.
fn network(last: &Counters, snapshot: &Snapshot, gaps: &mut Gaps) -> Option<InterfacesDelta> {
    let node = &snapshot.node;
    let before = last.interfaces.as_ref().filter(|_| node.interfaces_readable)?;
    let over_usec = node.interfaces_read_at.usec_since(before.read_at);
    let earlier = Earlier::Known(&before.rows);
    let rate = |name| node.link_rate(name);
    let mut usage = interfaces_delta(earlier, &node.interfaces, over_usec, rate, |gains, name| {
        gains.report(gaps, &[b"/proc/1/net/dev ", name]);
    })?;
    let others = snapshot.namespaces.iter().filter(|other| !other.is_host && other.readable);
    for namespace in others {
        // In a new namespace hardware starts at its present value.
        let Some(before) = last.namespace(namespace.id) else { continue };
        let over_usec = namespace.read_at.usec_since(before.read_at);
        let earlier = Earlier::Known(&before.rows);
        // Its owner reports what is odd.
        let delta =
            interfaces_delta(earlier, &namespace.interfaces, over_usec, |_| None, |_, _| {});
        if let Some(delta) = delta {
            usage.all.add(&delta.hardware);
        }
    }
    Some(usage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::DeviceNumber;

    fn row(figures: [u64; 4]) -> DiskstatsRow {
        DiskstatsRow::new(b"vda", DeviceNumber { major: 254, minor: 0 }, figures).unwrap()
    }

    #[test]
    fn every_counter_of_a_disk_has_its_own_gain_and_bound() {
        let mut gains = Gains::default();
        let (before, now) = (row([100, 200, 30, 40]), row([1100, 2200, 33, 44]));
        let right = DiskUsage {
            read: Bytes::from_bytes(1000),
            written: Bytes::from_bytes(2000),
            read_ops: 3,
            write_ops: 4,
            ..DiskUsage::default()
        };
        assert_eq!(disk_gain(Some(&before), &now, u64::MAX, &mut gains), right);
        assert_eq!(gains, Gains::default());
        // No transfer is shorter than a sector.
        for (ops, too_much) in [(10, false), (11, true)] {
            let mut gains = Gains::default();
            disk_gain(None, &row([0, 0, 0, ops]), 5120, &mut gains);
            assert_eq!(gains.too_much, too_much, "{ops}");
        }
    }

    /// Milliseconds have 32 bits. What one of both rows lacks is not known.
    #[test]
    fn times_of_a_disk_pass_their_end() {
        let with = |read_ms: Option<u64>, in_progress: u64, merged_writes: u64| {
            let activity = DiskActivity {
                read_ms,
                in_progress: Some(in_progress),
                merged_writes: Some(merged_writes),
                ..DiskActivity::NONE
            };
            let mut row = row([0; 4]);
            row.activity = activity;
            row
        };
        let before = with(Some(u64::from(u32::MAX) - 99), 9, 1 << 33);
        for (now, read_ms, merged_writes, went_back) in [
            (with(Some(400), 3, (1 << 33) + 7), Some(500), 7, false),
            (with(Some(u64::from(u32::MAX)), 3, 1 << 33), Some(99), 0, false),
            (with(Some(1 << 31), 3, 1 << 33), Some(0), 0, true),
            (with(None, 3, 5), None, 0, true),
        ] {
            let mut gains = Gains::default();
            let gained = activity_gain(Some(&before), &now, &mut gains);
            let right = DiskActivity {
                read_ms,
                in_progress: Some(3),
                merged_writes: Some(merged_writes),
                ..DiskActivity::NONE
            };
            assert_eq!((gained, gains.went_back), (right, went_back));
        }
        let new = activity_gain(None, &before, &mut Gains::default());
        assert_eq!(new, before.activity);
        // The state file of an earlier version has no such figures.
        let bare = activity_gain(Some(&row([0; 4])), &before, &mut Gains::default());
        assert_eq!(bare, DiskActivity { in_progress: Some(9), ..DiskActivity::default() });
    }

    #[test]
    fn an_odd_row_of_a_disk_is_not_known() {
        let (well, mut odd) = (row([1, 1, 1, 1]), row([5, 5, 5, 5]));
        odd.is_odd = true;
        for (before, now, unread) in
            [(well, row([6, 6, 6, 6]), false), (odd, row([6, 6, 6, 6]), true), (well, odd, true)]
        {
            let mut gains = Gains::default();
            let gained = disk_gain(Some(&before), &now, u64::MAX, &mut gains);
            assert_eq!((gained == DiskUsage::default(), gains.unread), (unread, unread));
        }
    }

    /// Of 8 s of all CPUs: three quarters must show where there is no idle time, else half, and idle
    /// time is an eighth more at most.
    #[test]
    fn idle_time_is_a_fault_beyond_its_bounds() {
        for (idle, other, is_fault) in [
            (0, 5_999, true),
            (0, 6_000, false),
            (1, 3_998, true),
            (1, 3_999, false),
            (9_000, 0, false),
            (9_001, 0, true),
        ] {
            let usec = |millis: u64| CpuTime::from_usec(millis * 1000);
            let fault = idle_fault(usec(8_000), usec(idle), usec(other));
            assert_eq!(fault.is_some(), is_fault, "{idle} {other}");
        }
    }
}
