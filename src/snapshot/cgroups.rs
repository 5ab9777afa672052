//! The walk over the cgroup2 tree.
//!
//! Two rules decide the order of reads. Children are read before their parent, so that what a
//! parent has more than its children is time that passed or somebody who died, never a negative.
//! And a subtree is left alone when its top stands still: CPU and I/O counters are hierarchical, so
//! if neither they nor memory.current of a cgroup moved, nothing below it did, and its processes
//! used no CPU. To know that, an inner cgroup's counters are read once on the way down; only if
//! they moved are its children read, and it once more behind them.

use std::ffi::CStr;
use std::sync::Arc;

use super::CgroupReading;
use super::held::{FileBudget, FileReader, HeldFiles};
use super::pass::{Outcome, Pass};
use super::processes::{HeldStats, ProcessReader};
use super::roots::CapturedInstant;
use crate::identity::CgroupKey;
use crate::quantity::{Bytes, Limit};
use crate::source::cgroup::io_stat::IoRow;
use crate::source::cgroup::{
    cpu_max, cpu_stat, io_stat, memory_events, memory_stat, pressure, procs, single,
};
use crate::source::root::{Dir, EntryKinds, Failure};

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

    /// Brings every reading up to date, with those of new cgroups in their places and those of
    /// removed ones out.
    pub fn walk(&mut self, walk: &mut Walk<'_, '_>) {
        self.visit(0, false, walk);
        if self.any_gone || !self.born.is_empty() {
            self.rebuild(walk.readings);
        }
    }

    /// `refresh_above`: a resting subtree has its turn to be read in full, and this is part of it.
    fn visit(&mut self, at: usize, refresh_above: bool, walk: &mut Walk<'_, '_>) {
        let Some(slot) = self.slots.get(at) else { return };
        let end = slot.end;
        let first = self.read_hot(at, walk);
        if first == Moved::Gone {
            self.mark_gone(at, end);
            return;
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
        reading.read_at = match &self.captured {
            Some(captured) => captured.read_at(&path),
            None => reader.pass.now(),
        };
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
            Outcome::Gone => return Moved::Gone,
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
            Outcome::Gone => return Moved::Gone,
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
        if moved { Moved::Yes } else { Moved::No }
    }

    /// Whether a child came that is not known, or a known one went unnoticed.
    fn children_changed(&self, at: usize, live_children: u64) -> bool {
        let Some(slot) = self.slots.get(at) else { return false };
        if !slot.links_count_children {
            return true;
        }
        slot.dir.links().is_ok_and(|links| links != live_children + 2)
    }

    /// Finds and reads the children that are not known yet. True if there are any.
    fn find_children(&mut self, at: usize, walk: &mut Walk<'_, '_>) -> bool {
        let Some(slot) = self.slots.get(at) else { return false };
        let (end, depth) = (slot.end, slot.depth + 1);
        let path = walk.readings.get(at).map(|reading| Arc::clone(&reading.key.path));
        let Some(path) = path else { return false };
        let mut listing = std::mem::take(&mut self.listing);
        if let Err(failure) = listing.fill(&slot.dir) {
            walk.pass.gaps.add_failure(&[&path], failure);
            self.listing = listing;
            return false;
        }
        // Both sides are in the order of names, so one walk over them tells old from new.
        let mut child = at + 1;
        let mut found = false;
        for name in listing.names() {
            while child < end && self.name_before(child, name, walk.readings) {
                child = self.pass_over(child, end);
            }
            let known = self.slots.get(child).filter(|slot| child < end && !slot.gone);
            if known.is_some() && component_of(walk.readings, child) == Some(name.to_bytes()) {
                child = known.map_or(end, |slot| slot.end);
                continue;
            }
            let dir = self.slots.get(at).map(|slot| slot.dir.open_dir(name));
            let path = join(&path, name.to_bytes());
            match dir {
                Some(Ok(dir)) => {
                    found = true;
                    self.grow(dir, path, depth, walk);
                }
                Some(Err(failure)) => walk.pass.gaps.add_failure(&[&path], failure),
                None => {}
            }
        }
        while child < end {
            child = self.pass_over(child, end);
        }
        self.listing = listing;
        found
    }

    fn name_before(&self, child: usize, name: &CStr, readings: &[CgroupReading]) -> bool {
        component_of(readings, child).is_some_and(|known| known < name.to_bytes())
            || self.slots.get(child).is_some_and(|slot| slot.gone)
    }

    /// A known child that the listing does not have. On cgroup2 its own files say that it is gone;
    /// a copy's files stay readable while they are held open.
    fn pass_over(&mut self, child: usize, end: usize) -> usize {
        let next = self.slots.get(child).map_or(end, |slot| slot.end);
        if self.slots.get(child).is_some_and(|slot| !slot.links_count_children) {
            self.mark_gone(child, next);
        }
        next
    }

    /// Reads a new cgroup with all below it, children first, into `born`.
    fn grow(&mut self, dir: Dir, path: Arc<[u8]>, depth: usize, walk: &mut Walk<'_, '_>) {
        if depth > DEPTH_MAX || self.slots.len() + self.born.len() >= CGROUPS_MAX {
            let limit = if depth > DEPTH_MAX { DEPTH_MAX } else { CGROUPS_MAX };
            walk.pass.gaps.add(&[&path], super::gaps::GapReason::Bounded { limit });
            return;
        }
        let mut children = Listing::default();
        if let Err(failure) = children.fill(&dir) {
            walk.pass.gaps.add_failure(&[&path], failure);
        }
        for name in children.names() {
            let path = join(&path, name.to_bytes());
            match dir.open_dir(name) {
                Ok(child) => self.grow(child, path, depth + 1, walk),
                Err(failure) => walk.pass.gaps.add_failure(&[&path], failure),
            }
        }
        let Ok((slot, reading)) = self.make(dir, path, depth) else { return };
        // The new one is read as the only member of a tree of its own, then set aside.
        let old_slots = std::mem::replace(&mut self.slots, vec![slot]);
        let old_readings = std::mem::replace(walk.readings, vec![reading]);
        let alive = self.read_hot(0, walk) != Moved::Gone;
        if alive
            && let (Some(slot), Some(reading)) = (self.slots.first_mut(), walk.readings.first_mut())
        {
            walk.pass.work.cgroups_visited += 1;
            let mut rest = Rest {
                slot,
                reading,
                budget: &mut self.budget,
                pids: &mut self.pids,
                detail: true,
                refresh: true,
                hold: false,
                is_root: false,
            };
            rest.read(&walk.processes, walk.pass);
        }
        let mut made = self.slots.pop().zip(walk.readings.pop());
        if let Some((slot, _)) = made.as_mut().filter(|_| !alive) {
            slot.files.release_all(&mut self.budget);
            slot.stats.release(&mut self.budget);
        }
        self.slots = old_slots;
        *walk.readings = old_readings;
        self.born.extend(made.filter(|_| alive));
    }

    fn make(
        &self,
        dir: Dir,
        path: Arc<[u8]>,
        depth: usize,
    ) -> Result<(Slot, CgroupReading), Failure> {
        let status = dir.status()?;
        let captured = self.captured.as_ref().and_then(|captured| captured.cgroups.get(&*path));
        let inode = captured.map_or(status.inode, |cgroup| cgroup.inode);
        let slot = Slot {
            dir,
            end: 1,
            depth,
            gone: false,
            rests: Rests::Not,
            links_count_children: status.is_cgroup2,
            files: HeldFiles::default(),
            stats: HeldStats::default(),
            namespace_leader: 0,
        };
        let reading = CgroupReading::unread(CgroupKey { path, inode });
        Ok((slot, reading))
    }

    /// Takes out what is gone, puts in what was born, and works out the tree's shape anew.
    fn rebuild(&mut self, readings: &mut Vec<CgroupReading>) {
        let slots = std::mem::take(&mut self.slots);
        let mut all: Vec<(Slot, CgroupReading)> =
            slots.into_iter().zip(std::mem::take(readings)).collect();
        for (slot, _) in all.iter_mut().filter(|(slot, _)| slot.gone) {
            slot.stats.release(&mut self.budget);
            slot.files.release_all(&mut self.budget);
        }
        all.retain(|(slot, _)| !slot.gone);
        all.append(&mut self.born);
        all.sort_by(|(_, a), (_, b)| tree_order(&a.key.path, &b.key.path));
        let mut ancestors: Vec<usize> = Vec::new();
        for at in 0..all.len() {
            let depth = all[at].0.depth;
            while ancestors.len() > depth {
                if let Some(done) = ancestors.pop() {
                    all[done].0.end = at;
                }
            }
            all[at].1.parent = ancestors.last().copied();
            ancestors.push(at);
        }
        for done in ancestors {
            all[done].0.end = all.len();
        }
        self.any_gone = false;
        (self.slots, *readings) = all.into_iter().unzip();
    }
}

/// The files that are read only of cgroups in which something happened.
struct Rest<'a> {
    slot: &'a mut Slot,
    reading: &'a mut CgroupReading,
    budget: &'a mut FileBudget,
    pids: &'a mut Vec<u32>,
    detail: bool,
    refresh: bool,
    hold: bool,
    is_root: bool,
}

impl Rest<'_> {
    fn read(&mut self, processes: &ProcessReader<'_>, pass: &mut Pass<'_>) {
        let path = Arc::clone(&self.reading.key.path);
        let files = &mut self.slot.files.rest;
        let mut reader = FileReader {
            dir: &self.slot.dir,
            path: &path,
            hold: self.hold,
            ask_again: self.refresh,
            budget: self.budget,
            pass,
        };
        let memory = &mut self.reading.memory;
        let has_memory = memory.current.is_some();
        if has_memory {
            let stat = reader.record(&mut files.memory_stat, c"memory.stat", memory_stat::parse);
            keep(&mut memory.stat, stat);
            let events =
                reader.record(&mut files.memory_events, c"memory.events", memory_events::parse);
            keep(&mut memory.events, events);
        }
        if self.detail && has_memory {
            let bytes = |text: &[u8]| single::parse_figure(text).map(Bytes::from_bytes);
            let limit = |text: &[u8]| {
                single::parse_limit(text).map(|limit| match limit {
                    Limit::Max => Limit::Max,
                    Limit::At(bytes) => Limit::At(Bytes::from_bytes(bytes)),
                })
            };
            keep(&mut memory.peak, reader.record(&mut files.memory_peak, c"memory.peak", bytes));
            keep(&mut memory.max, reader.record(&mut files.memory_max, c"memory.max", limit));
            let swap = reader.record(&mut files.memory_swap_current, c"memory.swap.current", bytes);
            keep(&mut memory.swap_current, swap);
        }
        if self.detail && !self.is_root {
            let pids = &mut self.reading.pids;
            let figure = single::parse_figure;
            keep(
                &mut pids.current,
                reader.record(&mut files.pids_current, c"pids.current", figure),
            );
            let limit = single::parse_limit;
            keep(&mut pids.max, reader.record(&mut files.pids_max, c"pids.max", limit));
            let cpu_max = reader.record(&mut files.cpu_max, c"cpu.max", cpu_max::parse);
            keep(&mut self.reading.cpu_max, cpu_max);
        }
        if self.detail {
            let pressures = &mut self.reading.pressure;
            let psi = pressure::parse;
            keep(&mut pressures.cpu, reader.record(&mut files.cpu_pressure, c"cpu.pressure", psi));
            let memory = reader.record(&mut files.memory_pressure, c"memory.pressure", psi);
            keep(&mut pressures.memory, memory);
            keep(&mut pressures.io, reader.record(&mut files.io_pressure, c"io.pressure", psi));
            pressures.read_at = reader.pass.now();
        }
        let pids = &mut *self.pids;
        let listed =
            reader.records(&mut files.procs, c"cgroup.procs", |text| procs::parse(text, pids));
        match listed {
            Outcome::Present(foreign) => {
                if foreign > 0 {
                    pass.gaps.add_foreign(&path);
                }
            }
            // A threaded cgroup answers EOPNOTSUPP; its processes are its domain's.
            Outcome::Absent | Outcome::Gone => pids.clear(),
            Outcome::Unreadable => return,
        }
        pids.sort_unstable();
        pids.dedup();
        let held = &mut self.slot.stats;
        processes.read(pids, &mut self.reading.processes, held, self.budget, self.hold, pass);
        self.find_namespace(processes, pass);
    }

    /// Asks for the namespace when the first process is another than before, and now and then all
    /// the same, since a process may move. The root cgroup's processes are the host's own.
    fn find_namespace(&mut self, reader: &ProcessReader<'_>, pass: &mut Pass<'_>) {
        let first = self.reading.processes.first().map(|process| process.key.pid);
        let Some(first) = first.filter(|_| !self.is_root) else {
            self.slot.namespace_leader = 0;
            self.reading.namespace = None;
            return;
        };
        if self.slot.namespace_leader == first && !self.refresh {
            return;
        }
        match reader.namespaces.namespace_of(reader.procfs, first) {
            Ok(inode) => {
                self.reading.namespace = inode;
                self.slot.namespace_leader = first;
            }
            Err(failure) => pass.gaps.add_once(b"/proc/<pid>/ns/net", failure),
        }
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

fn join(parent: &[u8], name: &[u8]) -> Arc<[u8]> {
    let parent = if parent == b"/" { &b""[..] } else { parent };
    [parent, b"/", name].concat().into()
}

fn component_of(readings: &[CgroupReading], at: usize) -> Option<&[u8]> {
    readings.get(at)?.key.path.rsplit(|byte| *byte == b'/').next()
}

/// The names of a directory's subdirectories in order, in memory that is used again.
#[derive(Debug, Default)]
struct Listing {
    bytes: Vec<u8>,
    ranges: Vec<(usize, usize)>,
}

impl Listing {
    fn fill(&mut self, dir: &Dir) -> Result<(), Failure> {
        let Self { bytes, ranges } = self;
        bytes.clear();
        ranges.clear();
        dir.entries(EntryKinds::Dirs, |name| {
            let start = bytes.len();
            bytes.extend_from_slice(name.to_bytes_with_nul());
            ranges.push((start, bytes.len()));
        })?;
        ranges.sort_unstable_by(|a, b| bytes[a.0..a.1].cmp(&bytes[b.0..b.1]));
        Ok(())
    }

    fn names(&self) -> impl Iterator<Item = &CStr> {
        self.ranges
            .iter()
            .filter_map(|(start, end)| CStr::from_bytes_with_nul(&self.bytes[*start..*end]).ok())
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
