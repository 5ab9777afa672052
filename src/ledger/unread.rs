//! Cgroups whose counters could not be read for some intervals.
//!
//! The usage of such a cgroup is not known until its files are readable again. Then it is known for
//! the whole time. Meanwhile its parent's delta includes it, mixed with that of removed cgroups. So
//! the parent's self usage is withheld too, and settled together with the child's.

use std::sync::Arc;

use super::cgroup_delta::CgroupDelta;
use super::counters::CgroupCounters;
use super::delta::UsageDelta;
use crate::identity::CgroupKey;
use crate::quantity::BootTime;
use crate::snapshot::{CgroupReading, Snapshot};
use crate::source::cgroup::cpu_stat::CpuStat;
use crate::source::cgroup::io_stat::IoRow;

/// A cgroup that stays unread for longer is given up. Its usage then counts as exited in its
/// parent, until it has been read twice again.
pub(super) const INTERVALS_MAX: u8 = 4;

/// A cgroup that waits to be read again, or whose child does.
#[derive(Debug, Clone)]
pub(super) struct PendingCgroup {
    pub key: CgroupKey,
    /// Intervals without a reading; 0 if only a child is unread. The counters below are valid if
    /// this is not 0.
    pub intervals: u8,
    pub read_before: BootTime,
    pub cpu_before: Option<CpuStat>,
    pub io_before: Option<Vec<IoRow>>,
    /// Self usage of the intervals in which it was read and a child was not.
    pub withheld: UsageDelta,
    /// Usage that its children were attributed while it was not read.
    pub attributed: UsageDelta,
    /// It is in the current snapshot.
    pub seen: bool,
}

impl PendingCgroup {
    pub fn new(key: CgroupKey, withheld: UsageDelta) -> Self {
        Self {
            key,
            intervals: 0,
            read_before: BootTime::default(),
            cpu_before: None,
            io_before: None,
            withheld,
            attributed: UsageDelta::default(),
            seen: true,
        }
    }
}

/// The pending cgroups; empty while every cgroup is readable.
#[derive(Debug, Default)]
pub(super) struct PendingCgroups(pub Vec<PendingCgroup>);

impl PendingCgroups {
    pub fn get_mut(&mut self, at: Option<usize>) -> Option<&mut PendingCgroup> {
        self.0.get_mut(at?)
    }

    /// Stores `kept` for an unread cgroup; returns its index.
    pub fn put(&mut self, at: Option<usize>, kept: PendingCgroup) -> usize {
        if let Some((at, pending)) = at.and_then(|at| Some((at, self.0.get_mut(at)?))) {
            let PendingCgroup { withheld, attributed, .. } = *pending;
            *pending = PendingCgroup { withheld, attributed, ..kept };
            return at;
        }
        self.0.push(kept);
        self.0.len() - 1
    }

    /// Moves what was withheld in removed cgroups to the nearest cgroup above, whose counters
    /// include it now.
    pub fn inherit(&mut self, deltas: &mut [CgroupDelta], snapshot: &Snapshot) {
        for at in 0..self.0.len() {
            let Some(removed) = self.0.get(at).filter(|pending| !pending.seen) else { continue };
            let (withheld, path) = (removed.withheld, Arc::clone(&removed.key.path));
            let is_above = |reading: &CgroupReading| {
                path.strip_prefix(&*reading.key.path)
                    .is_some_and(|rest| rest.first() == Some(&b'/'))
            };
            let above = snapshot.cgroups.iter().rposition(is_above);
            let Some((reading, delta)) = above
                .and_then(|above| Some((snapshot.cgroups.get(above)?, deltas.get_mut(above)?)))
            else {
                continue;
            };
            match self.get_mut(delta.pending) {
                Some(pending) => pending.withheld.add(withheld),
                None => {
                    delta.pending = Some(self.0.len());
                    self.0.push(PendingCgroup::new(reading.key.clone(), withheld));
                }
            }
        }
    }
}

/// The earlier counters that a cgroup's delta is computed from.
pub(super) struct Baseline<'c> {
    pub cpu: Option<CpuStat>,
    pub io: Option<&'c [IoRow]>,
    pub read_at: BootTime,
}

impl<'c> Baseline<'c> {
    pub fn of(earlier: &'c CgroupCounters) -> Self {
        Self { cpu: earlier.cpu, io: earlier.io.as_deref(), read_at: earlier.read_at }
    }

    pub fn to_pending(&self, reading: &CgroupReading, intervals: u8) -> PendingCgroup {
        PendingCgroup {
            intervals,
            read_before: self.read_at,
            cpu_before: self.cpu,
            io_before: self.io.map(<[IoRow]>::to_vec),
            ..PendingCgroup::new(reading.key.clone(), UsageDelta::default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::delta::CpuDelta;

    fn withheld(usage: i64) -> UsageDelta {
        UsageDelta { cpu: CpuDelta { usage, ..CpuDelta::default() }, ..UsageDelta::default() }
    }

    fn key(path: &str) -> CgroupKey {
        CgroupKey { path: path.as_bytes().into(), inode: 1 }
    }

    /// Its parent's counters have it now.
    #[test]
    fn usage_withheld_in_a_removed_cgroup_goes_to_the_nearest_above() {
        let mut snapshot = Snapshot::default();
        for path in ["/", "/a", "/a/b", "/a/bc"] {
            snapshot.cgroups.push(CgroupReading::unread(key(path)));
        }
        let mut deltas = vec![CgroupDelta::nothing(); 4];
        let mut removed = PendingCgroup::new(key("/a/b/x/y"), withheld(70));
        removed.seen = false;
        let mut other = removed.clone();
        other.withheld = withheld(5);
        let seen = PendingCgroup::new(key("/a/bc"), withheld(1));
        let mut pending = PendingCgroups(vec![removed, other, seen]);
        pending.inherit(&mut deltas, &snapshot);
        let at: Vec<_> = deltas.iter().map(|delta| delta.pending).collect();
        assert_eq!(at, [None, None, Some(3), None]);
        assert_eq!(pending.0.len(), 4);
        assert_eq!((&pending.0[3].key, pending.0[3].withheld), (&key("/a/b"), withheld(75)));
    }

    #[test]
    fn what_a_cgroup_withholds_stays_while_it_is_unread() {
        let mut pending = PendingCgroups::default();
        let mut first = PendingCgroup::new(key("/a"), withheld(7));
        first.attributed = withheld(3);
        assert_eq!(pending.put(None, first), 0);
        let again = PendingCgroup { intervals: 2, ..PendingCgroup::new(key("/a"), withheld(0)) };
        assert_eq!(pending.put(Some(0), again), 0);
        let [kept] = pending.0.as_slice() else { panic!("one cgroup") };
        assert_eq!((kept.intervals, kept.withheld, kept.attributed), (2, withheld(7), withheld(3)));
        assert_eq!(pending.put(None, PendingCgroup::new(key("/b"), withheld(1))), 1);
    }
}
