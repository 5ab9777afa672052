//! Tells a cgroup that was created since the last snapshot from one that was only not seen in it.

use super::cgroup_delta::earlier_counters;
use super::counters::Counters;
use super::delta::{CounterBounds, Gain, gain, signed};
use crate::snapshot::Snapshot;

/// New cgroups may exceed their parent's remaining delta by one tick. Totals are rounded one by
/// one, and a captured tree may have its parents read first.
const SLACK_USEC: i64 = 10_000;

/// CPU that new cgroups below a cgroup can have used, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CpuHeadroom {
    /// The delta of the cgroup less those of the cgroups below it that are not new.
    Usec(i64),
    /// The cgroup has no counter; the next one above it may have.
    Unknown,
    /// The cgroup existed before, so its past and that of all below it is nobody's usage.
    None,
}

/// Headroom of each cgroup of the current snapshot; empty if no cgroup is new.
#[derive(Debug, Default)]
pub(super) struct CreatedCgroups {
    headrooms: Vec<CpuHeadroom>,
}

impl CreatedCgroups {
    /// `node_usec`: the most that the top-level cgroups together can have used.
    pub fn prepare(&mut self, last: &Counters, snapshot: &Snapshot, node_usec: Option<i64>) {
        self.headrooms.clear();
        let known = last.cgroups.iter().map(|kept| &kept.key);
        if known.eq(snapshot.tree().iter().map(|reading| &reading.key)) {
            return;
        }
        let mut before = &last.cgroups[..];
        for reading in &snapshot.cgroups {
            let delta = earlier_counters(&mut before, reading).and_then(|earlier| {
                let (before, now) = (earlier.cpu?.usage, reading.cpu?.usage);
                match gain(before.as_usec(), now.as_usec(), CounterBounds::NONE) {
                    Gain::Of(gained) => Some(signed(gained)),
                    Gain::WentBack | Gain::TooMuch => None,
                }
            });
            // The root's cpu.stat is made of ticks and includes the kernel's own.
            let delta = if reading.parent.is_none() { node_usec } else { delta };
            let at = self.headrooms.len();
            self.headrooms.push(delta.map_or(CpuHeadroom::Unknown, CpuHeadroom::Usec));
            if let (Some(delta), true) = (delta, reading.parent.is_some()) {
                self.use_up(snapshot, at, delta);
            }
        }
    }

    /// True if the new cgroup at `at` was created with `usage_usec`. Parents are asked about before
    /// their children.
    pub fn is_created(&mut self, snapshot: &Snapshot, at: usize, usage_usec: i64) -> bool {
        let above = self.above(snapshot, at);
        let headroom = above.and_then(|above| self.headrooms.get(above)).copied();
        let created = match headroom {
            Some(CpuHeadroom::Usec(usec)) => usage_usec <= usec.saturating_add(SLACK_USEC),
            Some(CpuHeadroom::None) => false,
            Some(CpuHeadroom::Unknown) | None => true,
        };
        if created {
            self.use_up(snapshot, at, usage_usec);
        }
        if let Some(own) = self.headrooms.get_mut(at) {
            *own = if created { CpuHeadroom::Usec(usage_usec) } else { CpuHeadroom::None };
        }
        created
    }

    fn use_up(&mut self, snapshot: &Snapshot, at: usize, usec: i64) {
        let above = self.above(snapshot, at);
        if let Some(CpuHeadroom::Usec(left)) = above.and_then(|above| self.headrooms.get_mut(above))
        {
            *left = left.saturating_sub(usec);
        }
    }

    /// The nearest cgroup above whose headroom is known.
    fn above(&self, snapshot: &Snapshot, at: usize) -> Option<usize> {
        let mut above = snapshot.cgroups.get(at)?.parent;
        while let Some(next) = above {
            if self.headrooms.get(next) != Some(&CpuHeadroom::Unknown) {
                break;
            }
            above = snapshot.cgroups.get(next)?.parent;
        }
        above
    }
}
