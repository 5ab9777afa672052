//! Whether a cgroup that the last snapshot did not have was born since, or only not seen.

use super::counters::Counters;
use super::delta::gained;
use super::flow::signed;
use super::line::earlier_of;
use crate::snapshot::Snapshot;

/// By how much newborn cgroups may exceed what their parent's gain has left for them: a tick, since
/// totals are rounded one by one, and a captured tree may have its parents read first.
const SLACK_USEC: i64 = 10_000;

/// CPU that newborn cgroups below another may have used, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// The gain of the cgroup less those of what stands below it and was there before.
    Usec(i64),
    /// Its counter cannot tell; the next one above it may.
    Unknown,
    /// It was not born itself, so its past and that of all below it is nobody's gain.
    Nothing,
}

/// By the cgroups of the snapshot at hand; empty where none of them is new.
#[derive(Debug, Default)]
pub(super) struct Births {
    rooms: Vec<Room>,
}

impl Births {
    /// `node_usec`: what the top-level cgroups together can have used.
    pub fn prepare(&mut self, last: &Counters, snapshot: &Snapshot, node_usec: Option<i64>) {
        self.rooms.clear();
        let known = last.cgroups.iter().map(|kept| &kept.key);
        if known.eq(snapshot.cgroups.iter().map(|reading| &reading.key)) {
            return;
        }
        let mut before = &last.cgroups[..];
        for reading in &snapshot.cgroups {
            let usage = |cpu: crate::source::cgroup::cpu_stat::CpuStat| cpu.usage.as_usec();
            let gain = earlier_of(&mut before, reading)
                .and_then(|earlier| Some(signed(gained(usage(earlier.cpu?), usage(reading.cpu?)))));
            // The root's cpu.stat is made of ticks and has the kernel's own in it.
            let gain = if reading.parent.is_none() { node_usec } else { gain };
            let at = self.rooms.len();
            self.rooms.push(gain.map_or(Room::Unknown, Room::Usec));
            if let (Some(gain), true) = (gain, reading.parent.is_some()) {
                self.take(snapshot, at, gain);
            }
        }
    }

    /// Whether the cgroup at `at`, whose parents have been asked about, was born with `usage_usec`.
    pub fn is_born(&mut self, snapshot: &Snapshot, at: usize, usage_usec: i64) -> bool {
        let room = self.above(snapshot, at).and_then(|above| self.rooms.get(above)).copied();
        let born = match room {
            Some(Room::Usec(room)) => usage_usec <= room.saturating_add(SLACK_USEC),
            Some(Room::Nothing) => false,
            Some(Room::Unknown) | None => true,
        };
        if born {
            self.take(snapshot, at, usage_usec);
        }
        if let Some(room) = self.rooms.get_mut(at) {
            *room = if born { Room::Usec(usage_usec) } else { Room::Nothing };
        }
        born
    }

    fn take(&mut self, snapshot: &Snapshot, at: usize, usec: i64) {
        let above = self.above(snapshot, at);
        if let Some(Room::Usec(room)) = above.and_then(|above| self.rooms.get_mut(above)) {
            *room = room.saturating_sub(usec);
        }
    }

    /// The nearest cgroup above that can tell.
    fn above(&self, snapshot: &Snapshot, at: usize) -> Option<usize> {
        let mut above = snapshot.cgroups.get(at)?.parent;
        while let Some(next) = above {
            if self.rooms.get(next) != Some(&Room::Unknown) {
                break;
            }
            above = snapshot.cgroups.get(next)?.parent;
        }
        above
    }
}
