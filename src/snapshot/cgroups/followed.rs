//! The followed cgroups: which are, and how the limits of cgroups, watches and descriptors are
//! divided among them.

use std::sync::Arc;

use super::events::{self, CgroupEvents};
use super::shares::{self, Need};
use super::slot::{CgroupSlot, CgroupWatch};
use super::tree_order;
use crate::snapshot::CgroupReading;
use crate::snapshot::gaps::GapReason;
use crate::snapshot::held::DescriptorBudget;
use crate::snapshot::read_context::ReadContext;

/// Limit of followed cgroups. The usage of others stays in their parents' self usage.
pub const CGROUPS_MAX: usize = 16_384;

/// Once there are more, shares of so many are divided, so that a subtree that is within its share
/// finds room at once.
const CGROUPS_SHARED: usize = CGROUPS_MAX - CGROUPS_MAX / 16;

/// The state of all followed cgroups between ticks, in the order of their readings.
#[derive(Debug)]
pub(super) struct FollowedCgroups {
    pub slots: Vec<CgroupSlot>,
    /// Found in this tick; inserted by [`Self::rebuild`].
    pub created: Vec<(CgroupSlot, CgroupReading)>,
    pub any_gone: bool,
    /// Some readings are of removed cgroups: see [`CgroupReading::removed`].
    pub any_removed: bool,
    pub events: Option<CgroupEvents>,
    pub budget: DescriptorBudget,
    /// A cgroup found no room since the shares were divided, and would have had a share.
    pub any_refused: bool,
    /// Some cgroups are left out, so shares are in force.
    pub any_left_out: bool,
}

impl FollowedCgroups {
    /// None yet.
    pub fn new(budget: DescriptorBudget) -> Self {
        Self {
            slots: Vec::new(),
            created: Vec::new(),
            any_gone: false,
            any_removed: false,
            events: None,
            budget,
            any_refused: false,
            any_left_out: false,
        }
    }

    /// True if a new child of the cgroup at `at` can be followed.
    pub fn has_room(&self, at: usize, readings: &[CgroupReading]) -> bool {
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
    pub fn admit(&mut self, at: usize, readings: &[CgroupReading]) -> bool {
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

    /// Drops the created cgroups from `first` on, after their parent was removed while it was read.
    /// They would become children of the cgroup before it.
    pub fn undo_created(&mut self, first: usize) {
        while self.created.len() > first {
            let Some((mut slot, _)) = self.created.pop() else { return };
            slot.release(&mut self.budget);
            self.forget(slot.watched.take());
        }
    }

    pub fn mark_gone(&mut self, at: usize, end: usize) {
        for slot in &mut self.slots[at..end] {
            slot.gone = true;
            slot.dir.release(&mut self.budget);
        }
        self.any_gone = true;
    }

    /// Has the cgroup at `at` read in full at the next walk, with its process list.
    pub fn reread(&mut self, at: usize) {
        let Some(end) = self.slots.get(at).map(|slot| slot.end) else { return };
        // A walk visits it only if it visits those above.
        for slot in self.slots.iter_mut().take(at + 1).filter(|slot| slot.end >= end) {
            slot.dirty |= !slot.gone;
        }
    }

    /// Ends a reading of the cgroup at `at`: its directory stays open within the budget.
    pub fn rest(&mut self, at: usize) {
        if let Some(slot) = self.slots.get_mut(at) {
            self.budget.begin(slot.is_beyond_share);
            slot.dir.rest(&mut self.budget);
        }
    }

    /// Divides the limit of followed cgroups, and drops those beyond a share.
    pub fn divide(&mut self, readings: &mut Vec<CgroupReading>) {
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
    pub fn divide_watches(&mut self, readings: &[CgroupReading], context: &mut ReadContext<'_>) {
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
                let path = Arc::clone(&readings[at].key.path);
                self.slots[at].watched = self.watch_one(&path, at == 0, context);
            }
        }
        if let Some(events) = &mut self.events {
            events.index_watches(&self.slots);
        }
    }

    /// Adds one gap for all cgroups that are left out, at the parent that has most of them.
    pub fn add_gap(&self, readings: &[CgroupReading], context: &mut ReadContext<'_>) {
        let most = self.slots.iter().zip(readings.iter()).max_by_key(|(slot, _)| slot.left_out);
        if let Some((slot, reading)) = most.filter(|(slot, _)| slot.left_out > 0) {
            let reason = GapReason::LeftOut { cgroups: slot.left_out, limit: CGROUPS_MAX };
            context.gaps.add(&[&reading.key.path], reason);
        }
    }

    /// Watches the cgroup at `path`, if events are wanted and possible.
    pub fn watch_one(
        &mut self,
        path: &[u8],
        is_root: bool,
        context: &mut ReadContext<'_>,
    ) -> Option<CgroupWatch> {
        self.events.as_mut()?.watch(path, is_root, context)
    }

    pub fn forget(&mut self, watched: Option<CgroupWatch>) {
        if let (Some(events), Some(watched)) = (&mut self.events, watched) {
            events.forget(watched);
        }
    }

    /// Drops gone cgroups, inserts created ones, and divides the shares anew if some are left out.
    pub fn rebuild(&mut self, readings: &mut Vec<CgroupReading>) {
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
        // Not `append`: the first walk creates all there are, and that room is not needed again.
        all.extend(std::mem::take(&mut self.created));
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
        // Not `unzip`, which makes room for twice as many.
        self.slots.reserve_exact(all.len());
        readings.reserve_exact(all.len());
        for (slot, reading) in all {
            self.slots.push(slot);
            readings.push(reading);
        }
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
