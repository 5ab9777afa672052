//! From two snapshots to an account.

use std::sync::Arc;

use super::account::{Account, CpuUsage, DiskSource, DiskUsage, ProcessUsage};
use super::attribute::{Attribution, OwnerEntry};
use super::cgroup_delta::{CgroupDelta, earlier_counters};
use super::counters::Counters;
use super::created::CreatedCgroups;
use super::delta::{CpuDelta, IoDelta, counter_delta, signed};
use super::event_counts::EventCounts;
use super::io::delta_over_layers;
use super::node::settle_node;
use super::self_usage::SelfUsage;
use super::split::split_self_usage;
use super::unread::{Baseline, INTERVALS_MAX, PendingCgroups};
use crate::attribution::{Owner, OwnerStep};
use crate::identity::BootId;
use crate::quantity::CpuTime;
use crate::snapshot::roots::Units;
use crate::snapshot::{CgroupReading, ProcessReading, Snapshot};
use crate::source::cgroup::cpu_stat::Throttling;

/// Keeps the last counters and computes the usage since.
#[derive(Debug)]
pub struct Ledger {
    units: Units,
    last: Option<Counters>,
    /// True if `last` is from an earlier run of the agent.
    resumed: bool,
    /// The counters before `last`, kept for their memory.
    recycled: Counters,
    created: CreatedCgroups,
    pending: PendingCgroups,
    /// One per cgroup, in memory that is reused.
    cgroups: Vec<CgroupDelta>,
    /// One per owner.
    entries: Vec<OwnerEntry>,
    attribution: Attribution,
}

impl Ledger {
    #[must_use]
    pub fn new(units: Units) -> Self {
        Self {
            units,
            last: None,
            resumed: false,
            recycled: Counters::default(),
            created: CreatedCgroups::default(),
            pending: PendingCgroups::default(),
            cgroups: Vec::new(),
            entries: Vec::new(),
            attribution: Attribution::default(),
        }
    }

    /// Continues from counters of an earlier run of the agent. They are used only if the next
    /// snapshot is of the same boot and later.
    pub fn resume(&mut self, counters: Counters) {
        self.last = Some(counters);
        self.resumed = true;
        self.pending.0.clear();
    }

    /// The counters of the last snapshot, for the state file; `None` before the first.
    #[must_use]
    pub fn counters(&self) -> Option<&Counters> {
        self.last.as_ref()
    }

    /// Computes the usage between the last snapshot and this one into `account`, whose memory is
    /// reused.
    pub fn settle(&mut self, snapshot: &Snapshot, account: &mut Account) {
        // Within one run the kernel is the same without a boot id to prove it.
        let is_proven = |boot: Option<BootId>| boot.is_some() || !self.resumed;
        let last = self.last.take().filter(|last| {
            last.boot == snapshot.boot && is_proven(last.boot) && last.ended_at <= snapshot.begun_at
        });
        if last.is_none() {
            self.pending.0.clear();
        }
        account.boot = snapshot.boot;
        account.since = last.as_ref().map(|last| last.ended_at);
        account.until = snapshot.ended_at;
        account.wall = snapshot.wall;
        settle_node(last.as_ref(), snapshot, self.units, &mut account.node);
        self.settle_cgroups(last.as_ref(), snapshot, account);
        let Self { cgroups, pending, entries, attribution, units, .. } = self;
        split_self_usage(cgroups, pending, snapshot);
        attribution.run(last.as_ref(), *units, snapshot, cgroups, entries, account);

        let mut next = std::mem::take(&mut self.recycled);
        next.fill(snapshot);
        self.recycled = last.unwrap_or_default();
        next.keep_unread(&mut self.recycled, snapshot);
        self.last = Some(next);
        self.resumed = false;
    }

    /// Computes for each cgroup its owner, the differences of its counters, and the usage of its
    /// own processes.
    fn settle_cgroups(
        &mut self,
        last: Option<&Counters>,
        snapshot: &Snapshot,
        account: &mut Account,
    ) {
        self.cgroups.clear();
        self.entries.clear();
        account.processes.clear();
        let node_busy = account.node.cpu.map(|cpu| signed(cpu.busy.as_usec()));
        // The node's total moves in ticks, so it can be two ticks a CPU behind its parts.
        let ticks = self.units.ticks_per_second.max(1);
        let node_slack = signed(u64::from(account.node.cpus) * 2 * 1_000_000 / ticks);
        if let Some(last) = last {
            // The parts' clock can run ahead of the node's ticks by some hundredths.
            let most = node_busy.map(|busy| busy + busy / 16 + node_slack);
            self.created.prepare(last, snapshot, most);
        }
        let mut before = last.map_or(&[][..], |last| &last.cgroups);
        for (at, reading) in snapshot.cgroups.iter().enumerate() {
            let (owner, entry) = self.owner_of(snapshot, reading);
            let earlier = earlier_counters(&mut before, reading);
            let is_root = owner == Owner::Root;

            let pending_at = self.pending.0.iter().position(|pending| pending.key == reading.key);
            let (mut intervals, mut base) = (0, earlier.map(Baseline::of));
            if let Some(pending) = self.pending.get_mut(pending_at) {
                pending.seen = true;
                if pending.intervals > 0 {
                    intervals = pending.intervals;
                    base = Some(Baseline {
                        cpu: pending.cpu_before,
                        io: pending.io_before.as_deref(),
                        read_at: pending.read_before,
                    });
                }
            }
            let lacks = |base: &Baseline<'_>| {
                base.cpu.is_some() && reading.cpu.is_none()
                    || base.io.is_some() && reading.io.is_none()
            };
            let unread = !is_root && intervals < INTERVALS_MAX && base.as_ref().is_some_and(lacks);
            let over_usec = match (&base, last) {
                (Some(base), _) => reading.read_at.usec_since(base.read_at),
                (None, Some(last)) => reading.read_at.usec_since(last.ended_at),
                (None, None) => 0,
            };
            let countable = !is_root && !unread;
            let measured_cpu =
                reading.cpu.filter(|_| countable).and_then(|now| match (&base, last) {
                    (Some(base), _) => Some(CpuDelta::between(Some(base.cpu.as_ref()?), &now)),
                    (None, Some(_)) => {
                        let delta = CpuDelta::between(None, &now);
                        self.created.is_created(snapshot, at, delta.usage).then_some(delta)
                    }
                    (None, None) => None,
                });
            let measured_io = reading.io.as_ref().filter(|_| countable).and_then(|now| {
                let before = match (&base, last) {
                    (Some(base), _) => base.io?,
                    // Its CPU decides whether it was created.
                    (None, Some(_)) if measured_cpu.is_some() => &[],
                    (None, _) => return None,
                };
                Some(delta_over_layers(before, now, &snapshot.topology))
            });
            let created = earlier.is_none() && measured_cpu.is_some();
            let then = base.as_ref().and_then(|base| base.cpu?.throttling);
            let then = then.or(created.then(Throttling::default));
            let now = reading.cpu.and_then(|cpu| cpu.throttling).filter(|_| !unread);
            let throttling = now.zip(then).map(|(now, then)| Throttling {
                periods: counter_delta(then.periods, now.periods),
                throttled_periods: counter_delta(then.throttled_periods, now.throttled_periods),
                throttled: CpuTime::from_usec(counter_delta(
                    then.throttled.as_usec(),
                    now.throttled.as_usec(),
                )),
            });
            let new = if created { EventCounts::ZERO } else { EventCounts::default() };
            let then = earlier.map_or(new, |earlier| earlier.events);
            let events = EventCounts::of(reading).since(then);
            let self_usage = SelfUsage {
                cpu_known: measured_cpu.is_some(),
                io_known: measured_io.is_some(),
                over_usec,
                ..SelfUsage::default()
            };
            let mut cgroup = CgroupDelta {
                entry,
                owner,
                measured_cpu,
                measured_io,
                measured_memory: reading.memory.current.map(|bytes| signed(bytes.as_bytes())),
                total_cpu: CpuDelta::default(),
                total_io: IoDelta::default(),
                total_memory: 0,
                self_usage,
                throttling,
                events,
                pending: pending_at,
                unread,
                withhold: false,
            };
            let kept = base.filter(|_| unread).map(|base| base.to_pending(reading, intervals + 1));
            if let Some(kept) = kept {
                cgroup.pending = Some(self.pending.put(pending_at, kept));
            }
            for process in &reading.processes {
                let usage = self.process_usage(last, reading, process);
                cgroup.self_usage.count(
                    &usage,
                    reading.cpu.is_none() && !unread || is_root,
                    reading.io.is_none() && !unread || is_root,
                );
                account.processes.push(usage);
            }
            self.cgroups.push(cgroup);
        }
    }

    /// The owner of a cgroup and the index of its entry, which is added if the owner starts here.
    fn owner_of(&mut self, snapshot: &Snapshot, reading: &CgroupReading) -> (Owner, usize) {
        let at = self.cgroups.len();
        let parent = reading.parent.and_then(|parent| self.cgroups.get(parent));
        let step = match parent {
            Some(parent) => {
                let name = reading.key.path.rsplit(|byte| *byte == b'/').next();
                parent.owner.step(name.unwrap_or_default())
            }
            // This is the root, or a path of a host without a cgroup2 tree. There the owner may
            // already have an entry from another path of its own.
            None => {
                let located = Owner::locate(&reading.key.path);
                let known = self.entries.iter().rposition(|entry| {
                    let first = snapshot.cgroups.get(entry.top).map(|first| &first.key.path);
                    first.is_some_and(|path| Owner::locate(path).starts_at == located.starts_at)
                });
                if let Some(known) = known {
                    return (located.owner, known);
                }
                OwnerStep::New(located.owner)
            }
        };
        match (step, parent) {
            (OwnerStep::Inherits, Some(parent)) => (parent.owner, parent.entry),
            (OwnerStep::Inherits, None) => (Owner::Root, 0),
            (OwnerStep::New(owner), parent) => {
                let parent = parent.map(|parent| parent.owner);
                let self_usage = SelfUsage::default();
                self.entries.push(OwnerEntry { owner, parent, top: at, self_usage });
                (owner, self.entries.len() - 1)
            }
        }
    }

    fn process_usage(
        &self,
        last: Option<&Counters>,
        cgroup: &CgroupReading,
        process: &ProcessReading,
    ) -> ProcessUsage {
        let before = last.and_then(|last| last.process(process.key));
        let is_new = last.is_some_and(|last| last.precedes(process.key, self.units));
        let since = match (before, last) {
            (Some(before), _) => Some(before.read_at),
            (None, Some(last)) if is_new => Some(last.ended_at),
            _ => None,
        };
        // A process's counters never start again from 0. Written bytes go back by what was
        // discarded before it reached a disk.
        let cpu = since.map(|since| CpuUsage {
            usage: process.cpu.saturating_sub(before.map_or(CpuTime::ZERO, |before| before.cpu)),
            split: None,
            over_usec: process.read_at.usec_since(since),
        });
        let disk = since.zip(process.io).and_then(|(_, now)| {
            let then = match before {
                Some(before) => before.io?,
                None => Default::default(),
            };
            Some(DiskUsage {
                read: now.read.saturating_sub(then.read),
                written: now.written.saturating_sub(then.written),
                read_ops: 0,
                write_ops: 0,
                from: DiskSource::Processes,
            })
        });
        ProcessUsage {
            key: process.key,
            comm: process.comm,
            parent_pid: process.parent_pid,
            threads: process.threads,
            kernel_thread: process.kernel_thread,
            cgroup: Arc::clone(&cgroup.key.path),
            cpu,
            disk,
            resident: process.resident,
            cmdline: process.cmdline.clone(),
        }
    }
}
