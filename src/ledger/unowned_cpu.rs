//! The reason why CPU time has no owner, where processes stand in cgroups without a CPU counter.

use super::account::Account;
use super::cgroup_delta::CgroupDelta;
use crate::snapshot::gaps::GapReason;
use crate::snapshot::{CgroupReading, CountedAt, ProcessReading, Snapshot};

/// A smaller remainder, in microseconds, is the steps of the kernel's meters.
const REMAINDER_MIN_USEC: u64 = 20_000;

/// Adds one gap if the balance of CPU leaves more than 1 % of the node's busy time, and more than
/// 20 ms, and a process stands in a cgroup without a CPU counter. It is at the cgroup that has most
/// of them.
pub(super) fn note_unowned_cpu(
    snapshot: &Snapshot,
    cgroups: &[CgroupDelta],
    account: &mut Account,
) {
    let Some(all) = account.conservation.cpu_usec else { return };
    let usec = u64::try_from(all.unattributed).unwrap_or(0);
    if usec <= (all.node / 100).max(REMAINDER_MIN_USEC) {
        return;
    }
    let uncounted = snapshot.cgroups.iter().zip(cgroups).filter_map(|(reading, cgroup)| {
        let processes =
            reading.own_processes().filter(|process| is_uncounted(reading, cgroup, process));
        Some((processes.count(), reading)).filter(|(processes, _)| *processes > 0)
    });
    let mut others = 0;
    let mut most: Option<(usize, &CgroupReading)> = None;
    for (processes, reading) in uncounted {
        others += usize::from(most.is_some());
        if most.is_none_or(|(most, _)| processes > most) {
            most = Some((processes, reading));
        }
    }
    if let Some((_, reading)) = most {
        let reason = GapReason::UnownedCpu { millis: usec / 1000, others };
        account.gaps.add(&[&reading.key.path], reason);
    }
}

/// True if no cgroup's counter has the time of the process.
pub(super) fn is_uncounted(
    reading: &CgroupReading,
    cgroup: &CgroupDelta,
    process: &ProcessReading,
) -> bool {
    let is_root = *reading.key.path == *b"/";
    let is_here = process.place == CountedAt::Here;
    let uncounted = is_here && reading.cpu.is_none() && !cgroup.unread || is_root;
    uncounted && !process.kernel_thread
}
