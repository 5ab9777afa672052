//! The walk over the cgroup2 tree.
//!
//! Two rules decide the order of reads. Children are read before their parent, so that what a
//! parent has more than its children is time that passed or somebody who died, never a negative.
//! And a subtree is left alone when its top stands still: CPU and I/O counters are hierarchical, so
//! if neither they nor memory.current of a cgroup moved, nothing below it did, and its processes
//! used no CPU. To know that, an inner cgroup's counters are read once on the way down; only if
//! they moved are its children read, and it once more behind them.

mod members;
mod notices;
mod rest;

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use super::CgroupReading;
use super::gaps::Gap;
use super::held::{FileBudget, FileReader, HeldFiles};
use super::pass::{Outcome, Pass};
use super::processes::{HeldStats, ProcessReader};
use super::roots::CapturedInstant;
use crate::quantity::Bytes;
use crate::source::cgroup::io_stat::IoRow;
use crate::source::cgroup::{cpu_stat, io_stat, single};
use crate::source::root::{Dir, Failure};
use members::Listing;
use notices::{Notices, Watched};
use rest::Rest;

/// More cgroups than this are not followed; their usage stays in their parents' remainders.
pub const CGROUPS_MAX: usize = 16_384;

/// The deepest cgroup that is followed.
const DEPTH_MAX: usize = 64;

/// Every cgroup is read in full at least once in so many ticks, whatever its counters say: limits
/// can be written, memory reclaimed and pressure rise without any CPU being used in it.
pub const REFRESH_TICKS: u64 = 16;

/// What the agent holds of one cgroup between ticks; its figures are in the reading of the same
/// index.
#[derive(Debug)]
struct Slot {
    dir: Dir,
    /// One past the last slot of this one's subtree.
    end: usize,
    depth: usize,
    gone: bool,
    /// It was read since the last walk and told something new.
    news: bool,
    watched: Option<Watched>,
    /// What was given back of its files.
    rests: Rests,
    /// Hard links tell the number of children: true on cgroup2, not on a copy of one.
    links_count_children: bool,
    files: HeldFiles,
    stats: HeldStats,
    /// The process that the namespace was asked of.
    namespace_leader: u32,
}

/// Whether a cgroup rests, which tells what it may keep open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rests {
    Not,
    /// Its parent does not.
    AsTop,
    /// With its parent.
    Below,
}

/// Whether the hot files of a cgroup say anything new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moved {
    No,
    Yes,
    Gone,
}

#[derive(Debug)]
pub struct CgroupTree {
    slots: Vec<Slot>,
    /// Found in this tick, to be put in their places behind the walk.
    born: Vec<(Slot, CgroupReading)>,
    any_gone: bool,
    /// Some are in the readings for this once: see [`CgroupReading::removed`].
    any_departed: bool,
    /// Between two walks.
    attending: bool,
    notices: Option<Notices>,
    budget: FileBudget,
    pids: Vec<u32>,
    rows: Vec<IoRow>,
    listing: Listing,
    captured: Option<CapturedInstant>,
    /// Details are read every so many ticks of an active cgroup.
    detail_ticks: u64,
}

/// What a walk needs beside the tree itself.
pub struct Walk<'a, 'p> {
    pub readings: &'a mut Vec<CgroupReading>,
    pub processes: ProcessReader<'a>,
    pub pass: &'a mut Pass<'p>,
}

impl CgroupTree {
    /// A tree of which only the root is known yet.
    pub fn new(
        root: Dir,
        readings: &mut Vec<CgroupReading>,
        captured: Option<CapturedInstant>,
        held_files_max: usize,
        detail_ticks: u64,
    ) -> Result<Self, Failure> {
        let mut tree = Self {
            slots: Vec::new(),
            born: Vec::new(),
            any_gone: false,
            any_departed: false,
            attending: false,
            notices: None,
            budget: FileBudget::within_limit(held_files_max),
            pids: Vec::new(),
            rows: Vec::new(),
            listing: Listing::default(),
            captured,
            detail_ticks: detail_ticks.max(1),
        };
        let (slot, reading) = tree.make(root, Arc::from(&b"/"[..]), 0)?;
        tree.slots.push(slot);
        readings.clear();
        readings.push(reading);
        Ok(tree)
    }

    /// Watches, from the next walk on, what comes and goes between walks; the gap, where that is
    /// not to be had. `mount`: where the tree's root is mounted.
    pub fn watch(&mut self, mount: &Path) -> Option<Gap> {
        match Notices::open(mount) {
            Ok(notices) => {
                self.notices = Some(notices);
                None
            }
            Err(unwatched) => Some(notices::gap(unwatched)),
        }
    }

    /// Can be read when there is something to attend to.
    pub fn alarm(&self) -> Option<BorrowedFd<'_>> {
        self.notices.as_ref().map(|notices| notices.inotify.as_fd())
    }

    /// Brings every reading up to date, with those of new cgroups in their places and those of
    /// removed ones out.
    pub fn walk(&mut self, walk: &mut Walk<'_, '_>) {
        if std::mem::take(&mut self.any_departed) {
            for (slot, reading) in self.slots.iter_mut().zip(walk.readings.iter()) {
                slot.gone |= reading.removed;
            }
            self.rebuild(walk.readings);
        }
        if self.slots.first().is_some_and(|root| root.watched.is_none()) {
            self.slots[0].watched = self.watch_one(b"/", true, walk.pass);
            if let Some(notices) = &mut self.notices {
                notices.learn(&self.slots);
            }
        }
        self.visit(0, false, walk);
        if self.any_gone || !self.born.is_empty() {
            self.rebuild(walk.readings);
        }
    }

    /// `refresh_above`: a resting subtree has its turn to be read in full, and this is part of it.
    fn visit(&mut self, at: usize, refresh_above: bool, walk: &mut Walk<'_, '_>) {
        let Some(slot) = self.slots.get(at) else { return };
        let end = slot.end;
        let mut first = self.read_hot(at, walk);
        if first == Moved::Gone {
            self.mark_gone(at, end);
            return;
        }
        // What was read since the last walk has moved since the last walk.
        if self.slots.get_mut(at).is_some_and(|slot| std::mem::take(&mut slot.news)) {
            first = Moved::Yes;
        }
        let is_root = at == 0;
        let turn = (walk.pass.tick + at as u64).is_multiple_of(REFRESH_TICKS);
        let refresh = refresh_above || turn;
        if first == Moved::No && !refresh && !is_root {
            self.spare(at, end, walk);
            return;
        }
        walk.pass.work.cgroups_visited += 1;
        if let Some(slot) = self.slots.get_mut(at) {
            slot.rests = Rests::Not;
        }

        // Below a cgroup that rests nobody is asked whose turn it is, so all have theirs with it.
        let refresh_below = refresh && first == Moved::No && !is_root;
        let mut live_children = 0;
        let mut child = at + 1;
        while child < end {
            let next = self.slots.get(child).map_or(end, |slot| slot.end);
            self.visit(child, refresh_below, walk);
            live_children += u64::from(self.slots.get(child).is_some_and(|slot| !slot.gone));
            child = next;
        }
        let mut newborn = false;
        if self.children_changed(at, live_children) {
            newborn = self.find_children(at, walk);
        }
        if end > at + 1 || newborn {
            self.read_hot(at, walk);
        }
        let Some(reading) = walk.readings.get_mut(at) else { return };
        let Some(slot) = self.slots.get_mut(at) else { return };
        let mut rest = Rest {
            slot,
            reading,
            budget: &mut self.budget,
            pids: &mut self.pids,
            detail: refresh || (walk.pass.tick + at as u64).is_multiple_of(self.detail_ticks),
            refresh,
            rests: refresh_below,
            // The root is read every tick.
            hold: first == Moved::Yes || is_root,
            is_root,
        };
        rest.read(&walk.processes, walk.pass);
    }

    /// An unchanged subtree: what was read before holds now.
    fn spare(&mut self, at: usize, end: usize, walk: &mut Walk<'_, '_>) {
        let now = walk.pass.now();
        let top = walk.readings.get(at).map_or(now, |reading| reading.read_at);
        let subtree = self.slots[at..end].iter_mut().zip(walk.readings[at..end].iter_mut());
        for (depth, (slot, reading)) in subtree.enumerate() {
            reading.read_at = top;
            // They are known to have used nothing until now: or the first time one does, it would
            // count as spread over all the time since it was last read.
            for process in &mut reading.processes {
                process.read_at = top;
            }
            let rests = if depth == 0 { Rests::AsTop } else { Rests::Below };
            if slot.rests != rests {
                slot.rests = rests;
                slot.stats.release(&mut self.budget);
                match rests {
                    // Its hot files are read again in the next tick.
                    Rests::AsTop => slot.files.release_rest(&mut self.budget),
                    _ => slot.files.release_all(&mut self.budget),
                }
            }
            walk.pass.work.cgroups_spared += 1;
            walk.pass.work.processes_spared += reading.processes.len() as u64;
        }
    }

    fn mark_gone(&mut self, at: usize, end: usize) {
        for slot in &mut self.slots[at..end] {
            slot.gone = true;
        }
        self.any_gone = true;
    }

    /// Reads the files that say whether anything happened.
    fn read_hot(&mut self, at: usize, walk: &mut Walk<'_, '_>) -> Moved {
        let Some(slot) = self.slots.get_mut(at) else { return Moved::Gone };
        let Some(reading) = walk.readings.get_mut(at) else { return Moved::Gone };
        let path = Arc::clone(&reading.key.path);
        let mut moved = false;
        // What is opened below may have to be given back.
        if slot.rests == Rests::Below {
            slot.rests = Rests::Not;
        }
        let files = &mut slot.files.hot;
        let ask_again = (walk.pass.tick + at as u64).is_multiple_of(REFRESH_TICKS);
        let mut reader = FileReader {
            dir: &slot.dir,
            path: &path,
            hold: true,
            ask_again,
            budget: &mut self.budget,
            pass: walk.pass,
        };

        let cpu = reader.record(&mut files.cpu_stat, c"cpu.stat", cpu_stat::parse);
        if cpu != Outcome::Gone {
            reading.read_at = match &self.captured {
                Some(captured) => captured.read_at(&path),
                None => reader.pass.now(),
            };
        }
        match cpu {
            Outcome::Gone => return Moved::Gone,
            Outcome::Present(cpu) => {
                moved |= reading.cpu.replace(cpu) != Some(cpu);
            }
            // Not the reading of before, which would say that nothing was used.
            Outcome::Unreadable => {
                reading.cpu = None;
                moved = true;
            }
            Outcome::Absent => {
                // A directory that is no more answers the same way where files are not held; a
                // living one has its process list.
                if !slot.dir.has(c"cgroup.procs") {
                    return Moved::Gone;
                }
                reading.cpu = None;
                moved = true;
            }
        }
        let current =
            reader.record(&mut files.memory_current, c"memory.current", single::parse_figure);
        match current {
            Outcome::Gone => {
                // Removed between two reads: what was read is its last.
                slot.news |= moved;
                return Moved::Gone;
            }
            Outcome::Present(bytes) => {
                let current = Some(Bytes::from_bytes(bytes));
                moved |= reading.memory.current != current;
                reading.memory.current = current;
            }
            Outcome::Unreadable => moved = true,
            Outcome::Absent => reading.memory.current = None,
        }
        let rows = &mut self.rows;
        let io = reader.record(&mut files.io_stat, c"io.stat", |text| io_stat::parse(text, rows));
        match io {
            Outcome::Gone => {
                slot.news |= moved;
                return Moved::Gone;
            }
            Outcome::Present(()) => {
                let held = reading.io.get_or_insert_default();
                if *held != *rows {
                    moved = true;
                    held.clear();
                    held.extend_from_slice(rows);
                }
            }
            Outcome::Unreadable => {
                reading.io = None;
                moved = true;
            }
            Outcome::Absent => reading.io = None,
        }
        slot.news |= moved && self.attending;
        if moved { Moved::Yes } else { Moved::No }
    }
}

/// A new value replaces the old; a file that is absent makes it absent; one that cannot be read
/// leaves what was known.
fn keep<T>(slot: &mut Option<T>, outcome: Outcome<T>) {
    match outcome {
        Outcome::Present(value) => *slot = Some(value),
        Outcome::Absent => *slot = None,
        Outcome::Gone | Outcome::Unreadable => {}
    }
}

impl CapturedInstant {
    fn read_at(&self, path: &[u8]) -> crate::quantity::BootTime {
        self.cgroups.get(path).map_or(self.at, |cgroup| cgroup.read_at)
    }
}

/// Parents before children and each subtree in one piece: as if the slash, which stands in no
/// name, were the smallest byte.
#[must_use]
pub fn tree_order(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
    let rank = |byte: &u8| if *byte == b'/' { 0 } else { u16::from(*byte) + 1 };
    // The root's path is a slash, which is every other path's beginning.
    a.iter().map(rank).cmp(b.iter().map(rank))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtree_stays_in_one_piece_whatever_its_siblings_are_called() {
        let mut paths: Vec<&[u8]> =
            vec![b"/a.b", b"/a/z", b"/", b"/a", b"/a b", b"/a/b/c", b"/a/b", b"/a-b", b"/\x01"];
        paths.sort_by(|a, b| tree_order(a, b));
        let expected: Vec<&[u8]> =
            vec![b"/", b"/\x01", b"/a", b"/a/b", b"/a/b/c", b"/a/z", b"/a b", b"/a-b", b"/a.b"];
        assert_eq!(paths, expected);
    }
}
