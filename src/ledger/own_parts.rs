//! What each cgroup has beyond its children, and what of that waits for an unread one.

use std::sync::Arc;

use super::flow::signed;
use super::settle::Ledger;
use super::unread::{Flows, Pending};
use crate::snapshot::{CgroupReading, Snapshot};

impl Ledger {
    /// Puts what is kept of an unread cgroup where it is looked for; its place.
    pub(super) fn wait_for(&mut self, pending_at: Option<usize>, kept: Pending) -> usize {
        match pending_at.and_then(|at| Some((at, self.pending.get_mut(at)?))) {
            Some((at, pending)) => {
                let Pending { held, given, .. } = *pending;
                *pending = Pending { held, given, ..kept };
                at
            }
            None => {
                self.pending.push(kept);
                self.pending.len() - 1
            }
        }
    }

    /// What was withheld in cgroups that are gone: their parents' counters have it now.
    fn inherit_pending(&mut self, snapshot: &Snapshot) {
        for at in 0..self.pending.len() {
            let Some(dead) = self.pending.get(at).filter(|pending| !pending.alive) else {
                continue;
            };
            let (held, path) = (dead.held, Arc::clone(&dead.key.path));
            let is_above = |reading: &CgroupReading| {
                path.strip_prefix(&*reading.key.path)
                    .is_some_and(|rest| rest.first() == Some(&b'/'))
            };
            let above = snapshot.cgroups.iter().rposition(is_above);
            let line = above.and_then(|above| Some((above, self.lines.get_mut(above)?)));
            let Some((above, line)) = line else { continue };
            match line.pending.and_then(|at| self.pending.get_mut(at)) {
                Some(pending) => pending.held.add(held),
                None => {
                    line.pending = Some(self.pending.len());
                    let key = snapshot.cgroups.get(above).map(|reading| reading.key.clone());
                    self.pending.extend(key.map(|key| Pending::new(key, held)));
                }
            }
        }
    }

    /// Children before parents: what each cgroup has beyond its children.
    pub(super) fn take_own_parts(&mut self, snapshot: &Snapshot) {
        if !self.pending.is_empty() {
            self.inherit_pending(snapshot);
        }
        for (at, reading) in snapshot.cgroups.iter().enumerate().rev() {
            let Some(line) = self.lines.get_mut(at) else { continue };
            let pending = line.pending.and_then(|at| self.pending.get_mut(at));
            // By now whole_* is the sum of the children.
            let children = Flows { cpu: line.whole_cpu, io: line.whole_io };
            if reading.departed {
                // One whose end was noticed may stand below one whose last reading is older.
                line.raw_cpu = line.raw_cpu.map(|raw| raw.at_least(children.cpu));
                line.raw_io = line.raw_io.map(|raw| raw.at_least(children.io));
            }
            match line.raw_cpu {
                Some(raw) => {
                    line.own.cpu = raw.less(line.whole_cpu);
                    line.whole_cpu = raw;
                }
                None => line.whole_cpu.add(line.own.cpu),
            }
            match line.raw_io {
                Some(raw) => {
                    line.own.io = raw.less(line.whole_io);
                    line.whole_io = raw;
                }
                None => line.whole_io.add(line.own.io),
            }
            let mut passes_on = line.unread;
            if line.unread {
                if let Some(pending) = pending {
                    pending.given.add(children);
                }
            } else if line.withhold || pending.is_some() {
                let mut own = Flows { cpu: line.own.cpu, io: line.own.io };
                if let Some(pending) = pending {
                    own.add(pending.held);
                    // Without a whole reading to the end there is nothing that these are part of;
                    // with one, the parent was told of them when they were given.
                    if line.raw_cpu.is_some() {
                        own.cpu = own.cpu.less(pending.given.cpu);
                        line.whole_cpu = line.whole_cpu.less(pending.given.cpu);
                    }
                    if line.raw_io.is_some() {
                        own.io = own.io.less(pending.given.io);
                        line.whole_io = line.whole_io.less(pending.given.io);
                    }
                    pending.alive = false;
                }
                if line.withhold {
                    // A cgroup without counters has nothing in it that could be the child's.
                    passes_on = line.raw_cpu.is_none() || line.raw_io.is_none();
                    if line.raw_cpu.is_some() || line.raw_io.is_some() {
                        self.pending.push(Pending::new(reading.key.clone(), own));
                        own = Flows::default();
                    }
                }
                (line.own.cpu, line.own.io) = (own.cpu, own.io);
            }
            match line.raw_memory {
                Some(raw) => {
                    line.own.memory_bytes = raw.saturating_sub(line.whole_memory);
                    line.whole_memory = raw;
                }
                None => {
                    line.own.memory_bytes = signed(line.own.resident.as_bytes());
                    line.whole_memory = line.whole_memory.saturating_add(line.own.memory_bytes);
                }
            }
            let (cpu, io, memory) = (line.whole_cpu, line.whole_io, line.whole_memory);
            if let Some(parent) = reading.parent.and_then(|parent| self.lines.get_mut(parent)) {
                parent.whole_cpu.add(cpu);
                parent.whole_io.add(io);
                parent.whole_memory = parent.whole_memory.saturating_add(memory);
                parent.withhold |= passes_on;
            }
        }
        self.pending.retain_mut(|pending| std::mem::take(&mut pending.alive));
    }
}
