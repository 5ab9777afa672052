//! Splits each cgroup's total usage into its children's and its own.

use super::cgroup_delta::CgroupDelta;
use super::delta::{UsageDelta, signed};
use super::unread::{PendingCgroup, PendingCgroups};
use crate::snapshot::{CountedAt, Snapshot};

/// Computes the self usage of every cgroup, children before parents. What is withheld for an unread
/// cgroup stays in `pending`.
pub(super) fn split_self_usage(
    deltas: &mut [CgroupDelta],
    pending: &mut PendingCgroups,
    snapshot: &Snapshot,
) {
    if !pending.0.is_empty() {
        pending.inherit(deltas, snapshot);
    }
    let has_substitutes = deltas.iter().any(is_substituted);
    for (at, reading) in snapshot.cgroups.iter().enumerate().rev() {
        let Some(delta) = deltas.get_mut(at) else { continue };
        let own_pending = pending.get_mut(delta.pending);
        // At this point total_* is the sum of the children.
        let children = UsageDelta { cpu: delta.total_cpu, io: delta.total_io };
        if reading.removed {
            // A removed child may have a later reading than this removed parent.
            delta.measured_cpu = delta.measured_cpu.map(|cpu| cpu.at_least(children.cpu));
            delta.measured_io = delta.measured_io.map(|io| io.at_least(children.io));
        }
        if delta.cpu_went_back {
            delta.measured_cpu = delta.measured_cpu.map(|cpu| cpu.at_least(children.cpu));
        }
        if delta.io_went_back {
            delta.measured_io = delta.measured_io.map(|io| io.at_least(children.io));
        }
        match delta.measured_cpu {
            Some(measured) => {
                delta.self_usage.cpu = measured.less(delta.total_cpu).less(delta.moved.cpu);
                delta.total_cpu = measured;
            }
            None => delta.total_cpu.add(delta.self_usage.cpu),
        }
        match delta.measured_io {
            Some(measured) => {
                delta.self_usage.io = measured.less(delta.total_io).less(delta.moved.io);
                delta.total_io = measured;
            }
            None => delta.total_io.add(delta.self_usage.io),
        }
        let mut parent_withholds = delta.unread;
        if delta.unread {
            if let Some(own_pending) = own_pending {
                own_pending.attributed.add(children);
                own_pending.withheld.take(delta.moved);
            }
        } else if delta.withhold || own_pending.is_some() {
            let mut own = UsageDelta { cpu: delta.self_usage.cpu, io: delta.self_usage.io };
            if let Some(own_pending) = own_pending {
                own.add(own_pending.withheld);
                // With a measured total, the parent already counted what the children were
                // attributed. Without one, there is no total that it is part of.
                if delta.measured_cpu.is_some() {
                    own.cpu = own.cpu.less(own_pending.attributed.cpu);
                    delta.total_cpu = delta.total_cpu.less(own_pending.attributed.cpu);
                }
                if delta.measured_io.is_some() {
                    own.io = own.io.less(own_pending.attributed.io);
                    delta.total_io = delta.total_io.less(own_pending.attributed.io);
                }
                own_pending.seen = false;
            }
            if delta.withhold {
                // A cgroup without counters cannot contain the child's usage, but its parent can.
                parent_withholds = delta.measured_cpu.is_none() || delta.measured_io.is_none();
                if delta.measured_cpu.is_some() || delta.measured_io.is_some() {
                    pending.0.push(PendingCgroup::new(reading.key.clone(), own));
                    own = UsageDelta::default();
                }
            }
            (delta.self_usage.cpu, delta.self_usage.io) = (own.cpu, own.io);
        }
        match delta.measured_memory {
            Some(measured) => {
                let own = measured.saturating_sub(delta.total_memory);
                delta.self_usage.memory_bytes = own.saturating_sub(delta.moved_memory);
                delta.total_memory = measured;
            }
            None => {
                delta.self_usage.memory_bytes = signed(delta.self_usage.resident.as_bytes());
                delta.total_memory =
                    delta.total_memory.saturating_add(delta.self_usage.memory_bytes);
            }
        }
        let (cpu, io, memory) = (delta.total_cpu, delta.total_io, delta.total_memory);
        let excess = delta.self_usage.cpu.usage.saturating_neg();
        if excess > 0 && delta.measured_cpu.is_some() && has_substitutes {
            let taken = take_excess(deltas, snapshot, at, excess);
            if let Some(delta) = deltas.get_mut(at) {
                delta.self_usage.cpu.usage += taken;
            }
        }
        if let Some(parent) = reading.parent.and_then(|parent| deltas.get_mut(parent)) {
            parent.total_cpu.add(cpu);
            parent.total_io.add(io);
            parent.total_memory = parent.total_memory.saturating_add(memory);
            parent.withhold |= parent_withholds;
        }
    }
    pending.0.retain_mut(|pending| std::mem::take(&mut pending.seen));
}

/// True if the cgroup's processes count for it, since it has no CPU counter.
fn is_substituted(delta: &CgroupDelta) -> bool {
    delta.measured_cpu.is_none() && delta.self_usage.cpu_from_processes
}

/// Takes up to `excess` microseconds from cgroups whose processes count for them and whose usage
/// the counter of the cgroup at `at` includes. Returns what was taken.
///
/// A process counts in clock ticks, so it can run ahead of that counter by one. The counter is
/// right: what is above it was counted in the interval before.
fn take_excess(deltas: &mut [CgroupDelta], snapshot: &Snapshot, at: usize, excess: i64) -> i64 {
    let mut left = excess;
    for (other, reading) in snapshot.cgroups.iter().enumerate() {
        let is_in_counter = || {
            let in_processes = reading.own_processes().any(
                |process| matches!(process.place, CountedAt::CountedIn(counted) if counted == at),
            );
            in_processes || counting_above(deltas, snapshot, other) == Some(at)
        };
        if left == 0 || !deltas.get(other).is_some_and(is_substituted) || !is_in_counter() {
            continue;
        }
        if let Some(delta) = deltas.get_mut(other) {
            let taken = left.min(delta.self_usage.cpu.usage.max(0));
            delta.self_usage.cpu.usage -= taken;
            left -= taken;
        }
    }
    excess - left
}

/// The nearest cgroup above `at` that has a CPU counter.
fn counting_above(deltas: &[CgroupDelta], snapshot: &Snapshot, at: usize) -> Option<usize> {
    let above = |at: usize| snapshot.cgroups.get(at)?.parent;
    let mut above_it = std::iter::successors(above(at), |at| above(*at));
    above_it.find(|at| deltas.get(*at).is_some_and(|delta| delta.measured_cpu.is_some()))
}
