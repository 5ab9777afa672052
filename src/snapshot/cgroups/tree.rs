//! The cgroup tree, walked tick by tick.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use super::cold_files::ColdFiles;
use super::events::{self, CgroupEvents, Todo};
use super::followed::FollowedCgroups;
use super::hot_files::{HotFiles, Moved};
use super::listing::Listing;
use super::slot::{Activity, CgroupSlot, keep};
use crate::descriptors;
use crate::identity::CgroupKey;
use crate::snapshot::CgroupReading;
use crate::snapshot::gaps::{Gap, GapReason};
use crate::snapshot::held::{DescriptorBudget, FileReader, HeldDir, HeldFiles};
use crate::snapshot::processes::{HeldStats, ProcessReader};
use crate::snapshot::read_context::ReadContext;
use crate::snapshot::roots::CapturedInstant;
use crate::source::cgroup::io_stat::IoRow;
use crate::source::cgroup::memory_events;
use crate::source::root::{Dir, ReadFailure};

/// Limit of rounds of dividing and looking again in one walk.
const ROUNDS_MAX: usize = 4;

/// Depth of the deepest followed cgroup.
const DEPTH_MAX: usize = 64;

/// The longest path that is followed. Those of pods have some 250 bytes. A user can nest 64 names of 255 bytes
/// 16,000 times, and each path stays in memory and in the state file.
const PATH_BYTES_MAX: usize = 1024;

/// Ticks within which every cgroup is read in full at least once. Limits can be written, memory
/// reclaimed and pressure rise without any CPU use in the cgroup.
pub const REFRESH_TICKS: u64 = 16;

/// All followed cgroups with their open files.
#[derive(Debug)]
pub struct CgroupTree {
    /// The root cgroup's directory, below which closed ones are opened again.
    root: Dir,
    followed: FollowedCgroups,
    /// True while events between two walks are handled.
    between_walks: bool,
    pids: Vec<u32>,
    rows: Vec<IoRow>,
    listing: Listing,
    captured: Option<CapturedInstant>,
    /// Details of an active cgroup are read once in this number of ticks.
    detail_ticks: u64,
}

/// The arguments of a walk.
pub struct CgroupWalk<'a, 'p> {
    pub readings: &'a mut Vec<CgroupReading>,
    pub processes: ProcessReader<'a>,
    /// Files of huge pages; empty if none is worth a read.
    pub huge_pages: &'a [CString],
    pub context: &'a mut ReadContext<'p>,
}

impl CgroupTree {
    /// A tree with the root only.
    pub fn new(
        root: Dir,
        readings: &mut Vec<CgroupReading>,
        captured: Option<CapturedInstant>,
        held_files_max: usize,
        detail_ticks: u64,
    ) -> Result<Self, ReadFailure> {
        let budget = DescriptorBudget::of_limit(held_files_max, descriptors::limit());
        let mut tree = Self {
            root,
            followed: FollowedCgroups::new(budget),
            between_walks: false,
            pids: Vec::new(),
            rows: Vec::new(),
            listing: Listing::default(),
            captured,
            detail_ticks: detail_ticks.max(1),
        };
        let root = tree.root.open_path(b"/")?;
        let (slot, reading) = tree.make(root, Arc::from(&b"/"[..]), 0)?;
        tree.followed.slots.push(slot);
        readings.clear();
        readings.push(reading);
        Ok(tree)
    }

    /// From the next walk on, watches for cgroups that are created or removed between walks.
    /// Returns a gap if the kernel does not allow it. `mount`: the mount point of the tree's root.
    pub fn watch(&mut self, mount: &Path) -> Option<Gap> {
        match CgroupEvents::open(mount) {
            Ok(events) => {
                self.followed.events = Some(events);
                None
            }
            Err(unwatched) => Some(events::gap(unwatched)),
        }
    }

    /// Readable when [`Self::drain_events`] has something to do.
    pub fn event_fd(&self) -> Option<BorrowedFd<'_>> {
        self.followed.events.as_ref().map(|events| events.inotify.as_fd())
    }

    /// Updates every reading, inserts those of new cgroups and drops those of removed ones.
    pub fn walk(&mut self, walk: &mut CgroupWalk<'_, '_>) {
        if std::mem::take(&mut self.followed.any_removed) {
            for (slot, reading) in self.followed.slots.iter_mut().zip(walk.readings.iter()) {
                slot.gone |= reading.removed;
            }
            self.followed.rebuild(walk.readings);
        }
        if self.followed.slots.first().is_some_and(|root| root.watched.is_none()) {
            self.followed.slots[0].watched = self.followed.watch_one(b"/", true, walk.context);
            if let Some(events) = &mut self.followed.events {
                events.index_watches(&self.followed.slots);
            }
        }
        self.update(0, false, walk);
        let changes = self.followed.any_gone || !self.followed.created.is_empty();
        if changes {
            self.followed.rebuild(walk.readings);
        }
        for _ in 0..ROUNDS_MAX {
            if !std::mem::take(&mut self.followed.any_refused) {
                break;
            }
            self.followed.divide(walk.readings);
            self.find_again(walk);
            self.followed.rebuild(walk.readings);
        }
        if self.followed.any_left_out {
            self.followed.add_gap(walk.readings, walk.context);
        }
        if changes && self.followed.events.as_ref().is_some_and(CgroupEvents::is_full) {
            self.followed.divide_watches(walk.readings, walk.context);
        }
        if std::mem::take(&mut walk.context.gaps.out_of_descriptors) {
            for slot in &mut self.followed.slots {
                slot.release(&mut self.followed.budget);
            }
            self.followed.budget.halve();
        }
    }

    /// Looks for children again where some were left out and there is room for them now.
    fn find_again(&mut self, walk: &mut CgroupWalk<'_, '_>) {
        for at in (0..self.followed.slots.len()).rev() {
            if self.followed.slots[at].left_out == 0 || !self.followed.has_room(at, walk.readings) {
                continue;
            }
            if self.find_new_children(at, walk) {
                // Above them, what was read before they were found is older than they are.
                let mut above = Some(at);
                while let Some(at) = above {
                    self.read_again(at, walk);
                    self.followed.rest(at);
                    above = walk.readings.get(at).and_then(|reading| reading.parent);
                }
            }
        }
    }

    /// Updates a subtree. `refresh_above`: it is part of an idle subtree that is now read in full.
    fn update(&mut self, at: usize, refresh_above: bool, walk: &mut CgroupWalk<'_, '_>) {
        let Some(slot) = self.followed.slots.get(at) else { return };
        let end = slot.end;
        // Below an idle cgroup none has a turn of its own.
        let turn = (walk.context.tick + at as u64).is_multiple_of(REFRESH_TICKS);
        let refresh = refresh_above || turn;
        let mut first = self.read_hot(at, refresh, walk);
        if first == Moved::Gone {
            self.followed.mark_gone(at, end);
            return;
        }
        // It changed in a reading since its first one of the last walk.
        if let Some(slot) = self.followed.slots.get_mut(at)
            && (std::mem::take(&mut slot.dirty) | std::mem::take(&mut slot.revisit))
        {
            first = Moved::Yes;
        }
        // Those below are opened while this one is not.
        self.followed.rest(at);
        let is_root = at == 0;
        if first == Moved::No && !refresh && !is_root {
            self.skip_subtree(at, end, walk);
            return;
        }
        walk.context.counts.cgroups_visited += 1;
        if let Some(slot) = self.followed.slots.get_mut(at) {
            slot.activity = Activity::Active;
        }

        // Below an idle cgroup all are refreshed with it, since none is visited alone.
        let refresh_below = refresh && first == Moved::No && !is_root;
        let mut live_children = 0;
        let mut child = at + 1;
        while child < end {
            let next = self.followed.slots.get(child).map_or(end, |slot| slot.end);
            self.update(child, refresh_below, walk);
            live_children +=
                u64::from(self.followed.slots.get(child).is_some_and(|slot| !slot.gone));
            child = next;
        }
        let mut any_created = false;
        if self.children_changed(at, live_children, walk) {
            any_created = self.find_new_children(at, walk);
        }
        if end > at + 1 || any_created {
            self.read_again(at, walk);
        }
        let Some(reading) = walk.readings.get_mut(at) else { return };
        let Some(slot) = self.followed.slots.get_mut(at) else { return };
        self.followed.budget.begin(slot.is_beyond_share);
        let settings = std::mem::take(&mut slot.is_new) || refresh;
        let mut cold = ColdFiles {
            root: &self.root,
            slot,
            reading,
            budget: &mut self.followed.budget,
            pids: &mut self.pids,
            huge_pages: walk.huge_pages,
            settings,
            detail: refresh || (walk.context.tick + at as u64).is_multiple_of(self.detail_ticks),
            refresh,
            idle: refresh_below,
            // The root is read every tick.
            hold: first == Moved::Yes || is_root,
            is_root,
        };
        cold.read(&walk.processes, walk.context);
        self.followed.rest(at);
    }

    /// Skips an unchanged subtree: its last readings are valid now.
    fn skip_subtree(&mut self, at: usize, end: usize, walk: &mut CgroupWalk<'_, '_>) {
        let now = walk.context.now();
        let top = walk.readings.get(at).map_or(now, |reading| reading.read_at);
        let subtree =
            self.followed.slots[at..end].iter_mut().zip(walk.readings[at..end].iter_mut());
        for (depth, (slot, reading)) in subtree.enumerate() {
            reading.read_at = top;
            // They used nothing until now. Otherwise the next use would be spread over all the time
            // since the last reading.
            for process in &mut reading.processes {
                process.read_at = top;
            }
            let activity = if depth == 0 { Activity::IdleTop } else { Activity::IdleBelow };
            if slot.activity != activity {
                slot.activity = activity;
                slot.stats.release(&mut self.followed.budget);
                slot.dir.release(&mut self.followed.budget);
                match activity {
                    // Its hot files are read again in the next tick.
                    Activity::IdleTop => slot.files.release_cold(&mut self.followed.budget),
                    _ => slot.files.release_all(&mut self.followed.budget),
                }
            }
            walk.context.counts.cgroups_skipped += 1;
            walk.context.counts.processes_skipped += reading.processes.len() as u64;
        }
    }

    /// Reads the hot files, which tell if anything changed. `ask_again`: looks for files again that were
    /// absent.
    fn read_hot(&mut self, at: usize, ask_again: bool, walk: &mut CgroupWalk<'_, '_>) -> Moved {
        let FollowedCgroups { slots, budget, .. } = &mut self.followed;
        let Some(slot) = slots.get_mut(at) else { return Moved::Gone };
        let Some(reading) = walk.readings.get_mut(at) else { return Moved::Gone };
        budget.begin(slot.is_beyond_share);
        let hot = HotFiles {
            root: &self.root,
            slot,
            reading,
            budget,
            rows: &mut self.rows,
            captured: self.captured.as_ref(),
            ask_again,
            between_walks: self.between_walks,
        };
        hot.read(walk.context)
    }

    /// Reads the hot files of a cgroup whose children were read, so that its figures include
    /// theirs. What came since its first reading came from a child, perhaps after that child was
    /// read. So the next walk visits the children, even if nothing changes until then.
    fn read_again(&mut self, at: usize, walk: &mut CgroupWalk<'_, '_>) {
        let moved = self.read_hot(at, false, walk);
        if let Some(slot) = self.followed.slots.get_mut(at) {
            slot.revisit |= moved == Moved::Yes;
        }
    }

    /// Handles the events since the last call: inserts new cgroups, and reads those whose processes
    /// came or went, perhaps for the last time.
    pub fn drain_events(&mut self, walk: &mut CgroupWalk<'_, '_>) {
        let Some(events) = &mut self.followed.events else { return };
        events.collect();
        let todo = std::mem::take(&mut events.todo);
        self.between_walks = true;
        // Children before parents, as in every walk.
        for (at, wanted) in todo.iter().rev() {
            match wanted {
                Todo::Children => {
                    self.find_new_children(*at, walk);
                }
                Todo::Counters => self.read_dirty(*at, walk),
            }
        }
        self.between_walks = false;
        if let Some(events) = &mut self.followed.events {
            events.todo = todo;
        }
        if !self.followed.created.is_empty() {
            self.followed.rebuild(walk.readings);
        }
    }

    fn read_dirty(&mut self, at: usize, walk: &mut CgroupWalk<'_, '_>) {
        // A removed one keeps its last reading; the next walk finds out.
        let moved = self.read_hot(at, false, walk);
        self.followed.rest(at);
        if moved == Moved::Gone {
            return;
        }
        let Some(slot) = self.followed.slots.get_mut(at) else { return };
        let Some(reading) = walk.readings.get_mut(at) else { return };
        if reading.memory.current.is_none() {
            return;
        }
        let mut reader = FileReader {
            root: &self.root,
            dir: &mut slot.dir,
            path: &reading.key.path,
            hold: false,
            ask_again: false,
            budget: &mut self.followed.budget,
            context: walk.context,
        };
        let held = &mut slot.files.cold.memory_events;
        let events = reader.record(held, c"memory.events", memory_events::parse);
        keep(&mut reading.memory.events, events);
        slot.dir.rest(&mut self.followed.budget);
    }

    /// True if a child exists that can be followed, or a known one was removed unnoticed.
    fn children_changed(
        &mut self,
        at: usize,
        live_children: u64,
        walk: &mut CgroupWalk<'_, '_>,
    ) -> bool {
        let has_room = self.followed.has_room(at, walk.readings);
        let Some(slot) = self.followed.slots.get_mut(at) else { return false };
        if !slot.links_count_children || slot.left_out > 0 && has_room {
            return true;
        }
        let Some(reading) = walk.readings.get(at) else { return false };
        let dir = slot.dir.open(&self.root, &reading.key.path);
        let links = match dir.and_then(Dir::links) {
            Ok(links) => links,
            Err(failure) => {
                walk.context.gaps.add_failure(&[&reading.key.path], failure);
                return false;
            }
        };
        let others = links.saturating_sub(live_children + 2 + slot.foreign);
        if others > 0 && !has_room && slot.share < usize::MAX {
            // A listing would find more of those that are left out.
            slot.left_out = usize::try_from(others).unwrap_or(usize::MAX);
            return false;
        }
        links != live_children + 2 + slot.left_out as u64 + slot.foreign
    }

    /// Finds and reads new children; true if there are any.
    fn find_new_children(&mut self, at: usize, walk: &mut CgroupWalk<'_, '_>) -> bool {
        // Without room, a listing after each event would be for nothing.
        if self.between_walks && !self.followed.has_room(at, walk.readings) {
            return false;
        }
        let Some(slot) = self.followed.slots.get_mut(at) else { return false };
        let (end, depth) = (slot.end, slot.depth + 1);
        let path = walk.readings.get(at).map(|reading| Arc::clone(&reading.key.path));
        let Some(path) = path else { return false };
        let mut listing = std::mem::take(&mut self.listing);
        let dir = slot.dir.open(&self.root, &path);
        let listed = dir.and_then(|dir| listing.fill(dir));
        self.followed.rest(at);
        if let Err(failure) = listed {
            walk.context.gaps.add_failure(&[&path], failure);
            self.listing = listing;
            return false;
        }
        // Both lists are sorted by name, so one pass over them finds the new ones.
        let mut child = at + 1;
        let mut foreign = 0;
        let mut found = false;
        let mut left_out = 0;
        for name in listing.names() {
            while child < end && self.name_before(child, name, walk.readings) {
                child = self.skip_child(child, end);
            }
            let known = self.followed.slots.get(child).filter(|slot| child < end && !slot.gone);
            if known.is_some() && component_of(walk.readings, child) == Some(name.to_bytes()) {
                child = known.map_or(end, |slot| slot.end);
                continue;
            }
            let path = join(&path, name.to_bytes());
            if is_too_long(&path, walk.context)
                || self.followed.has_room(at, walk.readings) && self.is_foreign(&path)
            {
                foreign += 1;
            } else if self.followed.admit(at, walk.readings) {
                found = true;
                self.create(path, depth, at, walk);
            } else {
                left_out += 1;
            }
        }
        while child < end {
            child = self.skip_child(child, end);
        }
        self.listing = listing;
        if let Some(slot) = self.followed.slots.get_mut(at) {
            slot.left_out = left_out;
            slot.foreign = foreign;
        }
        self.followed.any_left_out |= left_out > 0;
        found
    }

    /// True if the directory at `path` is no cgroup of the tree: something else is mounted there,
    /// such as a hierarchy of v1. In a copy, the files tell.
    fn is_foreign(&self, path: &[u8]) -> bool {
        let Ok(dir) = self.root.open_path(path) else { return false };
        let is_copy = self.followed.slots.first().is_none_or(|root| !root.links_count_children);
        if is_copy { is_v1(&dir) } else { dir.status().is_ok_and(|status| !status.is_cgroup2) }
    }

    /// Has the cgroup at `at` read in full at the next walk, with its process list.
    pub fn reread(&mut self, at: usize) {
        self.followed.reread(at);
    }

    fn name_before(&self, child: usize, name: &CStr, readings: &[CgroupReading]) -> bool {
        component_of(readings, child).is_some_and(|known| known < name.to_bytes())
            || self.followed.slots.get(child).is_some_and(|slot| slot.gone)
    }

    /// Skips a known child that the listing lacks; returns the index of the next. On cgroup2 its
    /// own files report that it is gone. A copy's files stay readable while they are open.
    fn skip_child(&mut self, child: usize, end: usize) -> usize {
        let next = self.followed.slots.get(child).map_or(end, |slot| slot.end);
        let is_copy = self.followed.slots.get(child).is_some_and(|slot| !slot.links_count_children);
        // Between two walks none is dropped: the next walk has to report its end.
        if is_copy && !self.between_walks {
            self.followed.mark_gone(child, next);
        }
        next
    }

    /// Reads a new cgroup and everything below it, children first, into `created`. `above`: the
    /// known cgroup that they are below. It was admitted.
    fn create(
        &mut self,
        path: Arc<[u8]>,
        depth: usize,
        above: usize,
        walk: &mut CgroupWalk<'_, '_>,
    ) {
        if depth > DEPTH_MAX {
            walk.context.gaps.add(&[&path], GapReason::Bounded { limit: DEPTH_MAX });
            return;
        }
        let dir = match self.root.open_path(&path) {
            Ok(dir) => dir,
            Err(failure) => {
                return walk.context.gaps.add_failure(&[&path], failure);
            }
        };
        // The watch is set before its children are listed, so that none is missed in between.
        let watched = self.followed.watch_one(&path, false, walk.context);
        let mut children = Listing::default();
        if let Err(failure) = children.fill(&dir) {
            walk.context.gaps.add_failure(&[&path], failure);
        }
        let made = self.make(dir, Arc::clone(&path), depth);
        let Ok((mut slot, reading)) = made else {
            self.followed.forget(watched);
            return;
        };
        if !children.is_empty() {
            // A deep tree takes no descriptor for each level.
            slot.dir.release(&mut self.followed.budget);
        }
        let first_below = self.followed.created.len();
        for name in children.names() {
            let path = join(&path, name.to_bytes());
            if is_too_long(&path, walk.context)
                || self.followed.has_room(above, walk.readings) && self.is_foreign(&path)
            {
                slot.foreign += 1;
            } else if self.followed.admit(above, walk.readings) {
                self.create(path, depth + 1, above, walk);
            } else {
                slot.left_out += 1;
            }
        }
        self.followed.any_left_out |= slot.left_out > 0;
        slot.watched = watched;
        // The new one is read as the only cgroup of a tree, then set aside.
        let old_slots = std::mem::replace(&mut self.followed.slots, vec![slot]);
        let old_readings = std::mem::replace(walk.readings, vec![reading]);
        let alive = self.read_hot(0, false, walk) != Moved::Gone;
        if alive
            && let (Some(slot), Some(reading)) =
                (self.followed.slots.first_mut(), walk.readings.first_mut())
        {
            walk.context.counts.cgroups_visited += 1;
            let mut cold = ColdFiles {
                root: &self.root,
                slot,
                reading,
                budget: &mut self.followed.budget,
                pids: &mut self.pids,
                huge_pages: walk.huge_pages,
                settings: true,
                detail: true,
                refresh: true,
                idle: false,
                hold: false,
                is_root: false,
            };
            cold.read(&walk.processes, walk.context);
            if self.between_walks {
                // Its first process may not have entered its own namespace yet.
                slot.namespace_leader = 0;
            }
        }
        self.followed.rest(0);
        let made = self.followed.slots.pop().zip(walk.readings.pop());
        self.followed.slots = old_slots;
        *walk.readings = old_readings;
        self.followed.created.extend(made);
        if !alive {
            self.followed.undo_created(first_below);
        }
    }

    fn make(
        &self,
        dir: Dir,
        path: Arc<[u8]>,
        depth: usize,
    ) -> Result<(CgroupSlot, CgroupReading), ReadFailure> {
        let status = dir.status()?;
        let captured = self.captured.as_ref().and_then(|captured| captured.cgroups.get(&*path));
        let inode = captured.map_or(status.inode, |cgroup| cgroup.inode);
        let slot = CgroupSlot {
            dir: HeldDir::new(dir, &status),
            end: 1,
            depth,
            followed: 1,
            share: usize::MAX,
            is_beyond_share: false,
            left_out: 0,
            foreign: 0,
            gone: false,
            dirty: false,
            revisit: false,
            is_new: true,
            watched: None,
            activity: Activity::Active,
            links_count_children: status.is_cgroup2,
            files: HeldFiles::default(),
            stats: HeldStats::default(),
            namespace_leader: 0,
        };
        let reading = CgroupReading::unread(CgroupKey { path, inode });
        Ok((slot, reading))
    }
}

/// True if the directory is a cgroup of v1, which has files that v2 lacks.
fn is_v1(dir: &Dir) -> bool {
    let files = [c"tasks", c"notify_on_release", c"cgroup.clone_children", c"release_agent"];
    files.iter().any(|file| dir.has(file))
}

/// True if the directory is the root of a cgroup2 tree, or of a copy of one.
pub fn is_cgroup2(dir: &Dir) -> bool {
    dir.status().is_ok_and(|status| status.is_cgroup2) || dir.has(c"cgroup.procs") && !is_v1(dir)
}

fn join(parent: &[u8], name: &[u8]) -> Arc<[u8]> {
    let parent = if parent == b"/" { &b""[..] } else { parent };
    [parent, b"/", name].concat().into()
}

fn component_of(readings: &[CgroupReading], at: usize) -> Option<&[u8]> {
    readings.get(at)?.key.path.rsplit(|byte| *byte == b'/').next()
}

/// True of a path that is not followed, which is a gap of its parent: the usage is in the parent's.
fn is_too_long(path: &[u8], context: &mut ReadContext<'_>) -> bool {
    if path.len() <= PATH_BYTES_MAX {
        return false;
    }
    let parent = path.iter().rposition(|byte| *byte == b'/').and_then(|end| path.get(..end));
    let reason = GapReason::Bounded { limit: PATH_BYTES_MAX };
    context.gaps.add(&[parent.unwrap_or_default(), b" (bytes of a path below it)"], reason);
    true
}
