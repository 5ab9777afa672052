//! The cgroup tree, walked tick by tick.

use std::ffi::CStr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use super::cold_files::ColdFiles;
use super::events::{self, CgroupEvents, Todo};
use super::listing::Listing;
use super::shares::{self, Need};
use super::slot::{Activity, CgroupSlot, CgroupWatch, keep};
use super::tree_order;
use crate::descriptors;
use crate::identity::CgroupKey;
use crate::quantity::{BootTime, Bytes};
use crate::snapshot::CgroupReading;
use crate::snapshot::gaps::{Gap, GapReason};
use crate::snapshot::held::{DescriptorBudget, FileReader, HeldDir, HeldFiles};
use crate::snapshot::processes::{HeldStats, ProcessReader};
use crate::snapshot::read_context::{Outcome, ReadContext};
use crate::snapshot::roots::CapturedInstant;
use crate::source::cgroup::io_stat::IoRow;
use crate::source::cgroup::{cpu_stat, io_stat, memory_events, single};
use crate::source::root::{Dir, ReadFailure};

/// Limit of followed cgroups. The usage of others stays in their parents' self usage.
pub const CGROUPS_MAX: usize = 16_384;

/// Once there are more, shares of so many are divided, so that a subtree that is within its share
/// finds room at once.
const CGROUPS_SHARED: usize = CGROUPS_MAX - CGROUPS_MAX / 16;

/// Limit of rounds of dividing and looking again in one walk.
const ROUNDS_MAX: usize = 4;

/// Depth of the deepest followed cgroup.
const DEPTH_MAX: usize = 64;

/// Ticks within which every cgroup is read in full at least once. Limits can be written, memory
/// reclaimed and pressure rise without any CPU use in the cgroup.
pub const REFRESH_TICKS: u64 = 16;

/// The result of reading the hot files of a cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moved {
    No,
    Yes,
    Gone,
}

/// All followed cgroups with their open files.
#[derive(Debug)]
pub struct CgroupTree {
    /// The root cgroup's directory, below which closed ones are opened again.
    root: Dir,
    slots: Vec<CgroupSlot>,
    /// Found in this tick; inserted after the walk.
    created: Vec<(CgroupSlot, CgroupReading)>,
    any_gone: bool,
    /// Some readings are of removed cgroups: see [`CgroupReading::removed`].
    any_removed: bool,
    /// True while events between two walks are handled.
    between_walks: bool,
    events: Option<CgroupEvents>,
    budget: DescriptorBudget,
    /// A cgroup found no room since the shares were divided, and would have had a share.
    any_refused: bool,
    /// Some cgroups are left out, so shares are in force.
    any_left_out: bool,
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
        let mut tree = Self {
            root,
            slots: Vec::new(),
            created: Vec::new(),
            any_gone: false,
            any_removed: false,
            between_walks: false,
            events: None,
            budget: DescriptorBudget::of_limit(held_files_max, descriptors::limit()),
            any_refused: false,
            any_left_out: false,
            pids: Vec::new(),
            rows: Vec::new(),
            listing: Listing::default(),
            captured,
            detail_ticks: detail_ticks.max(1),
        };
        let root = tree.root.open_path(b"/")?;
        let (slot, reading) = tree.make(root, Arc::from(&b"/"[..]), 0)?;
        tree.slots.push(slot);
        readings.clear();
        readings.push(reading);
        Ok(tree)
    }

    /// From the next walk on, watches for cgroups that are created or removed between walks.
    /// Returns a gap if the kernel does not allow it. `mount`: the mount point of the tree's root.
    pub fn watch(&mut self, mount: &Path) -> Option<Gap> {
        match CgroupEvents::open(mount) {
            Ok(events) => {
                self.events = Some(events);
                None
            }
            Err(unwatched) => Some(events::gap(unwatched)),
        }
    }

    /// Readable when [`Self::drain_events`] has something to do.
    pub fn event_fd(&self) -> Option<BorrowedFd<'_>> {
        self.events.as_ref().map(|events| events.inotify.as_fd())
    }

    /// Updates every reading, inserts those of new cgroups and drops those of removed ones.
    pub fn walk(&mut self, walk: &mut CgroupWalk<'_, '_>) {
        if std::mem::take(&mut self.any_removed) {
            for (slot, reading) in self.slots.iter_mut().zip(walk.readings.iter()) {
                slot.gone |= reading.removed;
            }
            self.rebuild(walk.readings);
        }
        if self.slots.first().is_some_and(|root| root.watched.is_none()) {
            self.slots[0].watched = self.watch_one(b"/", true, walk.context);
            if let Some(events) = &mut self.events {
                events.index_watches(&self.slots);
            }
        }
        self.update(0, false, walk);
        let changes = self.any_gone || !self.created.is_empty();
        if changes {
            self.rebuild(walk.readings);
        }
        for _ in 0..ROUNDS_MAX {
            if !std::mem::take(&mut self.any_refused) {
                break;
            }
            self.divide(walk.readings);
            self.find_again(walk);
            self.rebuild(walk.readings);
        }
        if self.any_left_out {
            self.add_gap(walk);
        }
        if changes && self.events.as_ref().is_some_and(CgroupEvents::is_full) {
            self.divide_watches(walk);
        }
        if std::mem::take(&mut walk.context.gaps.out_of_descriptors) {
            for slot in &mut self.slots {
                slot.release(&mut self.budget);
            }
            self.budget.halve();
        }
    }

    /// Divides the limit of followed cgroups, and drops those beyond a share.
    fn divide(&mut self, readings: &mut Vec<CgroupReading>) {
        let shares = shares::divide(CGROUPS_SHARED, &needs(&self.slots, true));
        let mut any_dropped = false;
        for (at, slot) in self.slots.iter_mut().enumerate() {
            slot.share = shares.as_ref().map_or(usize::MAX, |shares| shares[at]);
            if slot.share == 0 {
                (slot.gone, slot.dirty) = (true, false);
                any_dropped = true;
            }
        }
        if !any_dropped {
            return;
        }
        for at in 1..self.slots.len() {
            let above = readings.get(at).and_then(|reading| reading.parent);
            let Some(above) = above.filter(|_| self.slots[at].share == 0) else { continue };
            if self.slots[above].share > 0 {
                self.slots[above].left_out += 1;
            }
        }
        self.insert_and_drop(readings);
    }

    /// Divides the limit of watched cgroups, so that no subtree has all watches.
    fn divide_watches(&mut self, walk: &mut CgroupWalk<'_, '_>) {
        let shares = shares::divide(events::WATCHED_MAX, &needs(&self.slots, false));
        let Some(shares) = shares else { return };
        for (at, share) in shares.iter().enumerate() {
            if *share == 0 {
                let watched = self.slots[at].watched.take();
                self.forget(watched);
            }
        }
        for (at, share) in shares.iter().enumerate() {
            if *share > 0 && self.slots[at].watched.is_none() {
                let path = Arc::clone(&walk.readings[at].key.path);
                self.slots[at].watched = self.watch_one(&path, at == 0, walk.context);
            }
        }
        if let Some(events) = &mut self.events {
            events.index_watches(&self.slots);
        }
    }

    /// Looks for children again where some were left out and there is room for them now.
    fn find_again(&mut self, walk: &mut CgroupWalk<'_, '_>) {
        for at in (0..self.slots.len()).rev() {
            if self.slots[at].left_out == 0 || !self.has_room(at, walk.readings) {
                continue;
            }
            if self.find_new_children(at, walk) {
                // Above them, what was read before they were found is older than they are.
                let mut above = Some(at);
                while let Some(at) = above {
                    self.read_hot(at, walk);
                    self.rest(at);
                    above = walk.readings.get(at).and_then(|reading| reading.parent);
                }
            }
        }
    }

    /// True if a new child of the cgroup at `at` can be followed.
    fn has_room(&self, at: usize, readings: &[CgroupReading]) -> bool {
        let mut above = Some(at);
        while let Some(at) = above {
            if self.slots.get(at).is_none_or(|slot| slot.followed >= slot.share) {
                return false;
            }
            above = readings.get(at).and_then(|reading| reading.parent);
        }
        self.slots.len() + self.created.len() < CGROUPS_MAX
    }

    /// Counts a new cgroup below the one at `at`; false if there is no room for it.
    fn admit(&mut self, at: usize, readings: &[CgroupReading]) -> bool {
        if !self.has_room(at, readings) {
            // It can be within its share all the same: others are to be dropped then.
            self.any_refused |= self.slots.len() + self.created.len() >= CGROUPS_MAX;
            return false;
        }
        let mut above = Some(at);
        while let Some(at) = above {
            let Some(slot) = self.slots.get_mut(at) else { break };
            slot.followed += 1;
            above = readings.get(at).and_then(|reading| reading.parent);
        }
        true
    }

    /// Adds one gap for all cgroups that are left out, at the parent that has most of them.
    fn add_gap(&self, walk: &mut CgroupWalk<'_, '_>) {
        let most =
            self.slots.iter().zip(walk.readings.iter()).max_by_key(|(slot, _)| slot.left_out);
        if let Some((slot, reading)) = most.filter(|(slot, _)| slot.left_out > 0) {
            let reason = GapReason::LeftOut { cgroups: slot.left_out, limit: CGROUPS_MAX };
            walk.context.gaps.add(&[&reading.key.path], reason);
        }
    }

    /// Ends a reading of the cgroup at `at`: its directory stays open within the budget.
    fn rest(&mut self, at: usize) {
        if let Some(slot) = self.slots.get_mut(at) {
            self.budget.begin(slot.is_beyond_share);
            slot.dir.rest(&mut self.budget);
        }
    }

    /// Updates a subtree. `refresh_above`: it is part of an idle subtree that is now read in full.
    fn update(&mut self, at: usize, refresh_above: bool, walk: &mut CgroupWalk<'_, '_>) {
        let Some(slot) = self.slots.get(at) else { return };
        let end = slot.end;
        let mut first = self.read_hot(at, walk);
        if first == Moved::Gone {
            self.mark_gone(at, end);
            return;
        }
        // It changed in a reading since the last walk.
        if self.slots.get_mut(at).is_some_and(|slot| std::mem::take(&mut slot.dirty)) {
            first = Moved::Yes;
        }
        // Those below are opened while this one is not.
        self.rest(at);
        let is_root = at == 0;
        let turn = (walk.context.tick + at as u64).is_multiple_of(REFRESH_TICKS);
        let refresh = refresh_above || turn;
        if first == Moved::No && !refresh && !is_root {
            self.skip_subtree(at, end, walk);
            return;
        }
        walk.context.counts.cgroups_visited += 1;
        if let Some(slot) = self.slots.get_mut(at) {
            slot.activity = Activity::Active;
        }

        // Below an idle cgroup all are refreshed with it, since none is visited alone.
        let refresh_below = refresh && first == Moved::No && !is_root;
        let mut live_children = 0;
        let mut child = at + 1;
        while child < end {
            let next = self.slots.get(child).map_or(end, |slot| slot.end);
            self.update(child, refresh_below, walk);
            live_children += u64::from(self.slots.get(child).is_some_and(|slot| !slot.gone));
            child = next;
        }
        let mut any_created = false;
        if self.children_changed(at, live_children, walk) {
            any_created = self.find_new_children(at, walk);
        }
        if end > at + 1 || any_created {
            self.read_hot(at, walk);
        }
        let Some(reading) = walk.readings.get_mut(at) else { return };
        let Some(slot) = self.slots.get_mut(at) else { return };
        self.budget.begin(slot.is_beyond_share);
        let mut cold = ColdFiles {
            root: &self.root,
            slot,
            reading,
            budget: &mut self.budget,
            pids: &mut self.pids,
            detail: refresh || (walk.context.tick + at as u64).is_multiple_of(self.detail_ticks),
            refresh,
            idle: refresh_below,
            // The root is read every tick.
            hold: first == Moved::Yes || is_root,
            is_root,
        };
        cold.read(&walk.processes, walk.context);
        self.rest(at);
    }

    /// Skips an unchanged subtree: its last readings are valid now.
    fn skip_subtree(&mut self, at: usize, end: usize, walk: &mut CgroupWalk<'_, '_>) {
        let now = walk.context.now();
        let top = walk.readings.get(at).map_or(now, |reading| reading.read_at);
        let subtree = self.slots[at..end].iter_mut().zip(walk.readings[at..end].iter_mut());
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
                slot.stats.release(&mut self.budget);
                slot.dir.release(&mut self.budget);
                match activity {
                    // Its hot files are read again in the next tick.
                    Activity::IdleTop => slot.files.release_cold(&mut self.budget),
                    _ => slot.files.release_all(&mut self.budget),
                }
            }
            walk.context.counts.cgroups_skipped += 1;
            walk.context.counts.processes_skipped += reading.processes.len() as u64;
        }
    }

    fn mark_gone(&mut self, at: usize, end: usize) {
        for slot in &mut self.slots[at..end] {
            slot.gone = true;
            slot.dir.release(&mut self.budget);
        }
        self.any_gone = true;
    }

    /// Reads the hot files, which tell if anything changed.
    fn read_hot(&mut self, at: usize, walk: &mut CgroupWalk<'_, '_>) -> Moved {
        let Some(slot) = self.slots.get_mut(at) else { return Moved::Gone };
        let Some(reading) = walk.readings.get_mut(at) else { return Moved::Gone };
        let path = Arc::clone(&reading.key.path);
        self.budget.begin(slot.is_beyond_share);
        let mut moved = false;
        // Files opened here must be released when it is idle again.
        if slot.activity == Activity::IdleBelow {
            slot.activity = Activity::Active;
        }
        let files = &mut slot.files.hot;
        let ask_again = (walk.context.tick + at as u64).is_multiple_of(REFRESH_TICKS);
        let mut reader = FileReader {
            root: &self.root,
            dir: &mut slot.dir,
            path: &path,
            hold: true,
            ask_again,
            budget: &mut self.budget,
            context: walk.context,
        };

        let cpu = reader.record(&mut files.cpu_stat, c"cpu.stat", cpu_stat::parse);
        if cpu != Outcome::Gone {
            reading.read_at = match &self.captured {
                Some(captured) => captured.read_at(&path),
                None => reader.context.now(),
            };
        }
        match cpu {
            Outcome::Gone => return Moved::Gone,
            Outcome::Present(cpu) => {
                reading.cpu_unreadable = false;
                moved |= reading.cpu.replace(cpu) != Some(cpu);
            }
            // Keeping the earlier reading would mean that nothing was used.
            Outcome::Unreadable => {
                reading.cpu = None;
                reading.cpu_unreadable = true;
                moved = true;
            }
            Outcome::Absent => {
                reading.cpu_unreadable = false;
                // A removed directory gives the same error if the file was not open. An existing
                // one has its process list.
                if !reader.has(c"cgroup.procs") {
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
                // It was removed between two reads; these are its last figures.
                slot.dirty |= moved;
                return Moved::Gone;
            }
            Outcome::Present(bytes) => {
                let current = Some(Bytes::from_bytes(bytes));
                moved |= reading.memory.current != current;
                reading.memory.current = current;
            }
            // A gauge of before is not that of now.
            Outcome::Unreadable => {
                reading.memory.current = None;
                moved = true;
            }
            Outcome::Absent => reading.memory.current = None,
        }
        let rows = &mut self.rows;
        let io = reader.record(&mut files.io_stat, c"io.stat", |text| io_stat::parse(text, rows));
        match io {
            Outcome::Gone => {
                slot.dirty |= moved;
                return Moved::Gone;
            }
            Outcome::Present(_) => {
                reading.io_unreadable = false;
                let held = reading.io.get_or_insert_default();
                if *held != *rows {
                    moved = true;
                    held.clear();
                    held.extend_from_slice(rows);
                }
            }
            Outcome::Unreadable => {
                reading.io = None;
                reading.io_unreadable = true;
                moved = true;
            }
            Outcome::Absent => (reading.io, reading.io_unreadable) = (None, false),
        }
        slot.dirty |= moved && self.between_walks;
        if moved { Moved::Yes } else { Moved::No }
    }

    /// Handles the events since the last call: inserts new cgroups, and reads those whose processes
    /// came or went, perhaps for the last time.
    pub fn drain_events(&mut self, walk: &mut CgroupWalk<'_, '_>) {
        let Some(events) = &mut self.events else { return };
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
        if let Some(events) = &mut self.events {
            events.todo = todo;
        }
        if !self.created.is_empty() {
            self.rebuild(walk.readings);
        }
    }

    fn read_dirty(&mut self, at: usize, walk: &mut CgroupWalk<'_, '_>) {
        // A removed one keeps its last reading; the next walk finds out.
        let moved = self.read_hot(at, walk);
        self.rest(at);
        if moved == Moved::Gone {
            return;
        }
        let Some(slot) = self.slots.get_mut(at) else { return };
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
            budget: &mut self.budget,
            context: walk.context,
        };
        let held = &mut slot.files.cold.memory_events;
        let events = reader.record(held, c"memory.events", memory_events::parse);
        keep(&mut reading.memory.events, events);
        slot.dir.rest(&mut self.budget);
    }

    /// True if a child exists that can be followed, or a known one was removed unnoticed.
    fn children_changed(
        &mut self,
        at: usize,
        live_children: u64,
        walk: &mut CgroupWalk<'_, '_>,
    ) -> bool {
        let has_room = self.has_room(at, walk.readings);
        let Some(slot) = self.slots.get_mut(at) else { return false };
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
        if self.between_walks && !self.has_room(at, walk.readings) {
            return false;
        }
        let Some(slot) = self.slots.get_mut(at) else { return false };
        let (end, depth) = (slot.end, slot.depth + 1);
        let path = walk.readings.get(at).map(|reading| Arc::clone(&reading.key.path));
        let Some(path) = path else { return false };
        let mut listing = std::mem::take(&mut self.listing);
        let dir = slot.dir.open(&self.root, &path);
        let listed = dir.and_then(|dir| listing.fill(dir));
        self.rest(at);
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
            let known = self.slots.get(child).filter(|slot| child < end && !slot.gone);
            if known.is_some() && component_of(walk.readings, child) == Some(name.to_bytes()) {
                child = known.map_or(end, |slot| slot.end);
                continue;
            }
            let path = join(&path, name.to_bytes());
            if self.has_room(at, walk.readings) && self.is_foreign(&path) {
                foreign += 1;
            } else if self.admit(at, walk.readings) {
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
        if let Some(slot) = self.slots.get_mut(at) {
            slot.left_out = left_out;
            slot.foreign = foreign;
        }
        self.any_left_out |= left_out > 0;
        found
    }

    /// True if the directory at `path` is no cgroup of the tree: something else is mounted there,
    /// such as a hierarchy of v1. In a copy, the files tell.
    fn is_foreign(&self, path: &[u8]) -> bool {
        let Ok(dir) = self.root.open_path(path) else { return false };
        let is_copy = self.slots.first().is_none_or(|root| !root.links_count_children);
        if is_copy { is_v1(&dir) } else { dir.status().is_ok_and(|status| !status.is_cgroup2) }
    }

    /// Has the cgroup at `at` read in full at the next walk, with its process list.
    pub fn reread(&mut self, at: usize) {
        let Some(end) = self.slots.get(at).map(|slot| slot.end) else { return };
        // A walk visits it only if it visits those above.
        for slot in self.slots.iter_mut().take(at + 1).filter(|slot| slot.end >= end) {
            slot.dirty |= !slot.gone;
        }
    }

    fn name_before(&self, child: usize, name: &CStr, readings: &[CgroupReading]) -> bool {
        component_of(readings, child).is_some_and(|known| known < name.to_bytes())
            || self.slots.get(child).is_some_and(|slot| slot.gone)
    }

    /// Skips a known child that the listing lacks; returns the index of the next. On cgroup2 its
    /// own files report that it is gone. A copy's files stay readable while they are open.
    fn skip_child(&mut self, child: usize, end: usize) -> usize {
        let next = self.slots.get(child).map_or(end, |slot| slot.end);
        let is_copy = self.slots.get(child).is_some_and(|slot| !slot.links_count_children);
        // Between two walks none is dropped: the next walk has to report its end.
        if is_copy && !self.between_walks {
            self.mark_gone(child, next);
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
        let watched = self.watch_one(&path, false, walk.context);
        let mut children = Listing::default();
        if let Err(failure) = children.fill(&dir) {
            walk.context.gaps.add_failure(&[&path], failure);
        }
        let made = self.make(dir, Arc::clone(&path), depth);
        let Ok((mut slot, reading)) = made else {
            self.forget(watched);
            return;
        };
        if !children.is_empty() {
            // A deep tree takes no descriptor for each level.
            slot.dir.release(&mut self.budget);
        }
        let first_below = self.created.len();
        for name in children.names() {
            let path = join(&path, name.to_bytes());
            if self.has_room(above, walk.readings) && self.is_foreign(&path) {
                slot.foreign += 1;
            } else if self.admit(above, walk.readings) {
                self.create(path, depth + 1, above, walk);
            } else {
                slot.left_out += 1;
            }
        }
        self.any_left_out |= slot.left_out > 0;
        slot.watched = watched;
        // The new one is read as the only cgroup of a tree, then set aside.
        let old_slots = std::mem::replace(&mut self.slots, vec![slot]);
        let old_readings = std::mem::replace(walk.readings, vec![reading]);
        let alive = self.read_hot(0, walk) != Moved::Gone;
        if alive
            && let (Some(slot), Some(reading)) = (self.slots.first_mut(), walk.readings.first_mut())
        {
            walk.context.counts.cgroups_visited += 1;
            let mut cold = ColdFiles {
                root: &self.root,
                slot,
                reading,
                budget: &mut self.budget,
                pids: &mut self.pids,
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
        self.rest(0);
        let made = self.slots.pop().zip(walk.readings.pop());
        self.slots = old_slots;
        *walk.readings = old_readings;
        self.created.extend(made);
        if !alive {
            self.undo_created(first_below);
        }
    }

    /// Drops the created cgroups from `first` on, after their parent was removed while it was read.
    /// They would become children of the cgroup before it.
    fn undo_created(&mut self, first: usize) {
        while self.created.len() > first {
            let Some((mut slot, _)) = self.created.pop() else { return };
            slot.release(&mut self.budget);
            self.forget(slot.watched.take());
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

    /// Watches the cgroup at `path`, if events are wanted and possible.
    fn watch_one(
        &mut self,
        path: &[u8],
        is_root: bool,
        context: &mut ReadContext<'_>,
    ) -> Option<CgroupWatch> {
        self.events.as_mut()?.watch(path, is_root, context)
    }

    fn forget(&mut self, watched: Option<CgroupWatch>) {
        if let (Some(events), Some(watched)) = (&mut self.events, watched) {
            events.forget(watched);
        }
    }

    /// Drops gone cgroups, inserts created ones, and divides the shares anew if some are left out.
    fn rebuild(&mut self, readings: &mut Vec<CgroupReading>) {
        self.insert_and_drop(readings);
        if self.any_left_out {
            self.divide(readings);
            self.any_left_out = self.slots.iter().any(|slot| slot.left_out > 0);
        }
    }

    /// Drops gone cgroups, inserts created ones and computes parents and subtrees anew. A gone
    /// cgroup that was read since the last walk stays, marked as removed.
    fn insert_and_drop(&mut self, readings: &mut Vec<CgroupReading>) {
        self.release_gone(readings);
        let slots = std::mem::take(&mut self.slots);
        let mut all: Vec<(CgroupSlot, CgroupReading)> =
            slots.into_iter().zip(std::mem::take(readings)).collect();
        all.retain(|(slot, reading)| !slot.gone || reading.removed && slot.dirty);
        all.append(&mut self.created);
        all.sort_by(|(_, a), (_, b)| tree_order(&a.key.path, &b.key.path));
        if self.any_removed {
            drop_replaced(&mut all);
        }
        let mut ancestors: Vec<usize> = Vec::new();
        for at in 0..all.len() {
            let depth = all[at].0.depth;
            while let Some(last) =
                ancestors.last().copied().filter(|last| all[*last].0.depth >= depth)
            {
                all[last].0.end = at;
                ancestors.pop();
            }
            all[at].1.parent = ancestors.last().copied();
            ancestors.push(at);
        }
        for done in ancestors {
            all[done].0.end = all.len();
        }
        for (at, (slot, _)) in all.iter_mut().enumerate() {
            slot.followed = slot.end - at;
        }
        self.any_gone = false;
        (self.slots, *readings) = all.into_iter().unzip();
        let shares = shares::divide(self.budget.cgroups(), &needs(&self.slots, false));
        for (at, slot) in self.slots.iter_mut().enumerate() {
            slot.is_beyond_share = shares.as_ref().is_some_and(|shares| shares[at] == 0);
        }
        if let Some(events) = &mut self.events {
            events.index_watches(&self.slots);
        }
    }

    /// Closes the files of gone cgroups. A dirty one is marked as removed, and so is a gone one
    /// above it. One that was marked before is dropped.
    fn release_gone(&mut self, readings: &mut [CgroupReading]) {
        for at in (0..self.slots.len()).rev() {
            let (Some(slot), Some(reading)) = (self.slots.get_mut(at), readings.get_mut(at)) else {
                continue;
            };
            if !slot.gone {
                continue;
            }
            slot.release(&mut self.budget);
            let watched = slot.watched.take();
            slot.dirty &= !reading.removed;
            if slot.dirty {
                self.any_removed = true;
                reading.mark_removed();
                let above = reading.parent.and_then(|above| self.slots.get_mut(above));
                if let Some(above) = above {
                    above.dirty |= above.gone;
                }
            }
            self.forget(watched);
        }
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

impl CapturedInstant {
    fn read_at(&self, path: &[u8]) -> BootTime {
        self.cgroups.get(path).map_or(self.at, |cgroup| cgroup.read_at)
    }
}

/// Drops removed cgroups whose path was created again: the new cgroup would get their children. The
/// dropped ones stay in their parent's counters, without a name.
fn drop_replaced(all: &mut Vec<(CgroupSlot, CgroupReading)>) {
    let replaced: Vec<Arc<[u8]>> = all
        .windows(2)
        .filter(|pair| {
            pair[0].1.key.path == pair[1].1.key.path && pair[0].1.removed != pair[1].1.removed
        })
        .map(|pair| Arc::clone(&pair[0].1.key.path))
        .collect();
    let lies_in = |path: &[u8], top: &[u8]| {
        path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    all.retain(|(_, reading)| {
        !reading.removed || !replaced.iter().any(|top| lies_in(&reading.key.path, top))
    });
}

/// The needs of the cgroups, with or without the children that are left out.
fn needs(slots: &[CgroupSlot], with_left_out: bool) -> Vec<Need> {
    let need = |slot: &CgroupSlot| Need {
        end: slot.end,
        left_out: if with_left_out { slot.left_out } else { 0 },
    };
    slots.iter().map(need).collect()
}

fn join(parent: &[u8], name: &[u8]) -> Arc<[u8]> {
    let parent = if parent == b"/" { &b""[..] } else { parent };
    [parent, b"/", name].concat().into()
}

fn component_of(readings: &[CgroupReading], at: usize) -> Option<&[u8]> {
    readings.get(at)?.key.path.rsplit(|byte| *byte == b'/').next()
}
