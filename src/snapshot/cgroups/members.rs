//! Which cgroups there are: finding new ones, and taking out those that are gone.

use std::ffi::CStr;
use std::sync::Arc;

use super::rest::Rest;
use super::{CGROUPS_MAX, CgroupTree, DEPTH_MAX, Moved, Rests, Slot, Walk, Watched, tree_order};
use crate::identity::CgroupKey;
use crate::snapshot::CgroupReading;
use crate::snapshot::gaps::GapReason;
use crate::snapshot::held::HeldFiles;
use crate::snapshot::pass::Pass;
use crate::snapshot::processes::HeldStats;
use crate::source::root::{Dir, EntryKinds, Failure};

impl CgroupTree {
    /// Whether a child came that is not known, or a known one went unnoticed.
    pub(super) fn children_changed(&self, at: usize, live_children: u64) -> bool {
        let Some(slot) = self.slots.get(at) else { return false };
        if !slot.links_count_children {
            return true;
        }
        slot.dir.links().is_ok_and(|links| links != live_children + 2)
    }

    /// Finds and reads the children that are not known yet. True if there are any.
    pub(super) fn find_children(&mut self, at: usize, walk: &mut Walk<'_, '_>) -> bool {
        // With no room left, what is new would be opened again and again for nothing.
        if self.attending && self.slots.len() + self.born.len() >= CGROUPS_MAX {
            return false;
        }
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
        let is_copy = self.slots.get(child).is_some_and(|slot| !slot.links_count_children);
        // Between two walks none is taken out: the next one has to tell of its end.
        if is_copy && !self.attending {
            self.mark_gone(child, next);
        }
        next
    }

    /// Reads a new cgroup with all below it, children first, into `born`.
    fn grow(&mut self, dir: Dir, path: Arc<[u8]>, depth: usize, walk: &mut Walk<'_, '_>) {
        if depth > DEPTH_MAX || self.slots.len() + self.born.len() >= CGROUPS_MAX {
            let limit = if depth > DEPTH_MAX { DEPTH_MAX } else { CGROUPS_MAX };
            walk.pass.gaps.add(&[&path], GapReason::Bounded { limit });
            return;
        }
        // Before its children are listed, so that none comes unnoticed in between.
        let watched = self.watch_one(&path, false, walk.pass);
        let mut children = Listing::default();
        if let Err(failure) = children.fill(&dir) {
            walk.pass.gaps.add_failure(&[&path], failure);
        }
        let first_below = self.born.len();
        for name in children.names() {
            let path = join(&path, name.to_bytes());
            match dir.open_dir(name) {
                Ok(child) => self.grow(child, path, depth + 1, walk),
                Err(failure) => walk.pass.gaps.add_failure(&[&path], failure),
            }
        }
        let Ok((mut slot, reading)) = self.make(dir, path, depth) else {
            self.forget(watched);
            self.unmake(first_below);
            return;
        };
        slot.watched = watched;
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
                rests: false,
                hold: false,
                is_root: false,
            };
            rest.read(&walk.processes, walk.pass);
            if self.attending {
                // Its first process may be on its way into a namespace of its own.
                slot.namespace_leader = 0;
            }
        }
        let made = self.slots.pop().zip(walk.readings.pop());
        self.slots = old_slots;
        *walk.readings = old_readings;
        self.born.extend(made);
        if !alive {
            self.unmake(first_below);
        }
    }

    /// Takes back who was born since, with a cgroup that went while it was read: what stood below it
    /// would be taken for a child of the cgroup before it.
    fn unmake(&mut self, first: usize) {
        while self.born.len() > first {
            let Some((mut slot, _)) = self.born.pop() else { return };
            slot.files.release_all(&mut self.budget);
            slot.stats.release(&mut self.budget);
            self.forget(slot.watched.take());
        }
    }

    pub(super) fn make(
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
            news: false,
            watched: None,
            rests: Rests::Not,
            links_count_children: status.is_cgroup2,
            files: HeldFiles::default(),
            stats: HeldStats::default(),
            namespace_leader: 0,
        };
        let reading = CgroupReading::unread(CgroupKey { path, inode });
        Ok((slot, reading))
    }

    /// Watches the cgroup at `path`, where the kernel's notices are wanted and to be had.
    pub(super) fn watch_one(
        &mut self,
        path: &[u8],
        is_root: bool,
        pass: &mut Pass<'_>,
    ) -> Option<Watched> {
        self.notices.as_mut()?.watch(path, is_root, pass)
    }

    fn forget(&mut self, watched: Option<Watched>) {
        if let (Some(notices), Some(watched)) = (&mut self.notices, watched) {
            notices.forget(watched);
        }
    }

    /// Takes out what is gone, puts in what was born, and works out the tree's shape anew. What is
    /// gone and was read since the last walk stays as removed.
    pub(super) fn rebuild(&mut self, readings: &mut Vec<CgroupReading>) {
        self.let_depart(readings);
        let slots = std::mem::take(&mut self.slots);
        let mut all: Vec<(Slot, CgroupReading)> =
            slots.into_iter().zip(std::mem::take(readings)).collect();
        all.retain(|(slot, reading)| !slot.gone || reading.removed && slot.news);
        all.append(&mut self.born);
        all.sort_by(|(_, a), (_, b)| tree_order(&a.key.path, &b.key.path));
        if self.any_departed {
            leave_out_replaced(&mut all);
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
        self.any_gone = false;
        (self.slots, *readings) = all.into_iter().unzip();
        if let Some(notices) = &mut self.notices {
            notices.learn(&self.slots);
        }
    }

    /// Gives back what is held of cgroups that are gone. One that has removed before leaves for
    /// good; one with news departs now, and so does what stood above it and is gone as well.
    fn let_depart(&mut self, readings: &mut [CgroupReading]) {
        for at in (0..self.slots.len()).rev() {
            let (Some(slot), Some(reading)) = (self.slots.get_mut(at), readings.get_mut(at)) else {
                continue;
            };
            if !slot.gone {
                continue;
            }
            slot.stats.release(&mut self.budget);
            slot.files.release_all(&mut self.budget);
            let watched = slot.watched.take();
            slot.news &= !reading.removed;
            if slot.news {
                self.any_departed = true;
                reading.depart();
                let above = reading.parent.and_then(|above| self.slots.get_mut(above));
                if let Some(above) = above {
                    above.news |= above.gone;
                }
            }
            self.forget(watched);
        }
    }
}

/// A cgroup that was made again under the same path would have the removed one's children for its
/// own. The living one is worth more: the other stays in its parent's counters without a name.
fn leave_out_replaced(all: &mut Vec<(Slot, CgroupReading)>) {
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

fn join(parent: &[u8], name: &[u8]) -> Arc<[u8]> {
    let parent = if parent == b"/" { &b""[..] } else { parent };
    [parent, b"/", name].concat().into()
}

fn component_of(readings: &[CgroupReading], at: usize) -> Option<&[u8]> {
    readings.get(at)?.key.path.rsplit(|byte| *byte == b'/').next()
}

/// The names of a directory's subdirectories in order, in memory that is used again.
#[derive(Debug, Default)]
pub(super) struct Listing {
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
