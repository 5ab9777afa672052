//! From two snapshots to an account.

use std::sync::Arc;

use super::account::{Account, CpuUsage, DiskSource, DiskUsage, ProcessUsage};
use super::attribute::Attribution;
use super::cgroup_delta::{CgroupDelta, earlier_counters};
use super::counters::Counters;
use super::created::CreatedCgroups;
use super::delta::{
    CounterBounds, CpuDelta, Gains, IoDelta, UsageDelta, most_cpu_usec, most_disk_bytes, signed,
};
use super::event_counts::EventCounts;
use super::exited_children::ChildrenSettler;
use super::io::delta_over_layers;
use super::node::settle_node;
use super::owner_entry::OwnerEntry;
use super::room::push;
use super::self_usage::SelfUsage;
use super::split::split_self_usage;
use super::unowned_cpu::note_unowned_cpu;
use super::unread::{Baseline, INTERVALS_MAX, PendingCgroups};
use crate::attribution::{InnerNode, Located, Owner, Position};
use crate::directory::catalog::CgroupNameRule;
use crate::identity::BootId;
use crate::quantity::{Bytes, CpuTime};
use crate::snapshot::gaps::Gaps;
use crate::snapshot::roots::Units;
use crate::snapshot::{CgroupReading, CountedAt, ProcessReading, Snapshot};
use crate::source::cgroup::cpu_stat::{CpuStat, Throttling};
use crate::source::proc::pid_io::ProcessIo;
use crate::source::proc::stat::NodeStat;

/// The hardware, which bounds the usage of one interval.
#[derive(Debug, Clone, Copy)]
struct Hardware {
    /// 0: not known.
    cpus: u32,
    /// At least 1.
    disks: u64,
}

impl Hardware {
    fn of(last: Option<&Counters>, snapshot: &Snapshot) -> Self {
        let cpus = |stat: NodeStat| stat.cpus;
        let now = snapshot.node.cpu.map_or(0, cpus);
        // A CPU that was taken off meanwhile was used before.
        let then = last.and_then(|last| last.node_cpu).map_or(0, cpus);
        let disks = u64::try_from(snapshot.topology.devices.len()).unwrap_or(u64::MAX).max(1);
        Self { cpus: now.max(then), disks }
    }
}

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
    /// Rules of a file of names that make owners.
    named: Arc<[CgroupNameRule]>,
    children: ChildrenSettler,
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
            children: ChildrenSettler::default(),
            named: Arc::default(),
        }
    }

    /// From the next snapshot on, cgroups that a rule with `makes_owner` matches are owners. The
    /// usage of the interval that ends there goes to the new owners as a whole.
    pub fn set_rules(&mut self, rules: &Arc<[CgroupNameRule]>) {
        if !Arc::ptr_eq(&self.named, rules) {
            self.named = Arc::clone(rules);
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
        account.gaps.begin_tick();
        settle_node(last.as_ref(), snapshot, self.units, &mut account.node, &mut account.gaps);
        self.attribution.passed_down.prepare(last.as_ref(), snapshot);
        self.settle_cgroups(last.as_ref(), snapshot, account);
        let mut next = std::mem::take(&mut self.recycled);
        next.fill(snapshot);
        let Self { cgroups, pending, entries, attribution, children, .. } = self;
        let (last_counters, units) = (last.as_ref(), self.units);
        children.settle(last_counters, &mut next, units, snapshot, cgroups, account);
        split_self_usage(cgroups, pending, snapshot);
        attribution.run(last_counters, units, snapshot, cgroups, entries, account);
        note_unowned_cpu(snapshot, cgroups, account);

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
        let node_busy = account
            .node
            .cpu
            .map(|cpu| signed(cpu.busy.max(cpu.busy_by_ticks.unwrap_or_default()).as_usec()));
        // The node's total moves in ticks, so it can be two ticks a CPU behind its parts.
        let ticks = self.units.ticks_per_second.max(1);
        let node_slack = signed(u64::from(account.node.cpus) * 2 * 1_000_000 / ticks);
        if let Some(last) = last {
            // The parts' clock can run ahead of the node's ticks by some hundredths.
            let most = node_busy.map(|busy| busy + busy / 16 + node_slack);
            self.created.prepare(last, snapshot, most);
        }
        let hardware = Hardware::of(last, snapshot);
        let mut before = last.map_or(&[][..], |last| &last.cgroups);
        for (at, reading) in snapshot.cgroups.iter().enumerate() {
            let (position, entry) = self.owner_of(snapshot, reading);
            let owner = position.owner;
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
            let most = most_cpu_usec(hardware.cpus, over_usec);
            let (mut cpu_gains, mut io_gains) = (Gains::default(), Gains::default());
            let measured_cpu =
                reading.cpu.filter(|_| countable).and_then(|now| match (&base, last) {
                    (Some(base), _) => {
                        let before = base.cpu.as_ref()?;
                        Some(CpuDelta::between(Some(before), &now, most, &mut cpu_gains))
                    }
                    (None, Some(_)) => {
                        // More than its parent's gain is its past, and nothing odd.
                        let delta = CpuDelta::between(None, &now, u64::MAX, &mut cpu_gains);
                        self.created.is_created(snapshot, at, delta.usage).then_some(delta)
                    }
                    (None, None) => None,
                });
            let measured_cpu = measured_cpu.filter(|_| cpu_gains.known());
            let measured_io = reading.io.as_ref().filter(|_| countable).and_then(|now| {
                let before = match (&base, last) {
                    (Some(base), _) => base.io?,
                    // Its CPU decides whether it was created.
                    (None, Some(_)) if measured_cpu.is_some() => &[],
                    (None, _) => return None,
                };
                let topology = &snapshot.topology;
                let is_same = |device| last.is_none_or(|last| last.is_same_disk(device, snapshot));
                let gains = &mut io_gains;
                let delta = delta_over_layers(before, now, topology, over_usec, is_same, gains);
                Some((delta, before, now))
            });
            let measured_io = measured_io.filter(|_| io_gains.known());
            let rows = measured_io.map(|(_, before, now)| (before, now.as_slice()));
            self.attribution.passed_down.add_cgroup(rows, &snapshot.topology, over_usec);
            let measured_io = measured_io.map(|(delta, ..)| delta);
            let created = earlier.is_none() && measured_cpu.is_some();
            let then = base.as_ref().and_then(|base| base.cpu?.throttling);
            let then = then.or(created.then(Throttling::default));
            let now = reading.cpu.and_then(|cpu| cpu.throttling).filter(|_| !unread);
            let mut other_gains = Gains::default();
            let throttling = now.zip(then).map(|(now, then)| {
                let mut gain = |part: fn(&Throttling) -> u64| {
                    other_gains.of(part(&then), part(&now), CounterBounds::NONE)
                };
                Throttling {
                    periods: gain(|throttling| throttling.periods),
                    throttled_periods: gain(|throttling| throttling.throttled_periods),
                    throttled: CpuTime::from_usec(gain(|it| it.throttled.as_usec())),
                }
            });
            let cpu_went_back = cpu_gains.went_back;
            cpu_gains.went_back |= std::mem::take(&mut other_gains.went_back);
            cpu_gains.report_file(&mut account.gaps, &reading.key, b"cpu.stat");
            io_gains.report_file(&mut account.gaps, &reading.key, b"io.stat");
            let new = if created { EventCounts::ZERO } else { EventCounts::default() };
            let then = earlier.map_or(new, |earlier| earlier.events);
            let events = EventCounts::of(reading).since(then, &mut other_gains);
            other_gains.report_file(&mut account.gaps, &reading.key, b"memory.events");
            let is_split = |stat: CpuStat| stat.user.is_some() && stat.system.is_some();
            let now_split = reading.cpu.is_some_and(is_split);
            let then_split = base.as_ref().is_none_or(|base| base.cpu.is_some_and(is_split));
            let self_usage = SelfUsage {
                cpu_known: measured_cpu.is_some(),
                cpu_unknown: reading.cpu_unreadable || !cpu_gains.known(),
                cpu_unsplit: measured_cpu.is_some() && !(now_split && then_split),
                io_known: measured_io.is_some(),
                io_unknown: reading.io_unreadable || !io_gains.known(),
                over_usec,
                ..SelfUsage::default()
            };
            let mut cgroup = CgroupDelta {
                entry,
                position,
                measured_cpu,
                measured_io,
                measured_memory: reading.memory.current.map(|bytes| signed(bytes.as_bytes())),
                cpu_went_back,
                io_went_back: io_gains.went_back,
                total_cpu: CpuDelta::default(),
                total_io: IoDelta::default(),
                total_memory: 0,
                self_usage,
                throttling,
                events,
                pending: pending_at,
                unread,
                withhold: false,
                moved: UsageDelta::default(),
                moved_memory: 0,
            };
            let kept = base.filter(|_| unread).map(|base| base.to_pending(reading, intervals + 1));
            if let Some(kept) = kept {
                cgroup.pending = Some(self.pending.put(pending_at, kept));
            }
            let named = self.entries.get(entry).filter(|entry| entry.owner == Owner::Named);
            let named = named.and_then(|entry| snapshot.cgroups.get(entry.top));
            let named = named.map(|top| &top.key.path);
            let replaces = |part: bool| part && !unread || is_root;
            for process in reading.own_processes() {
                let mut usage =
                    self.process_usage(last, reading, process, hardware, &mut account.gaps);
                usage.named = named.cloned();
                // Until now its time was in the counters of another cgroup. How much of this
                // interval's still is, nobody knows.
                let was_in_counters = last
                    .and_then(|last| last.process(process.key))
                    .is_some_and(|before| before.in_counters);
                let mut replaces_cpu = replaces(reading.cpu.is_none());
                let replaces_io = replaces(reading.io.is_none());
                match process.place {
                    CountedAt::CountedIn(other) => {
                        if let Some(other) = self.cgroups.get_mut(other) {
                            other.take_away(&usage);
                        }
                    }
                    CountedAt::Here | CountedAt::Elsewhere => replaces_cpu &= !was_in_counters,
                }
                cgroup.self_usage.count(&usage, replaces_cpu, replaces_io);
                push(&mut account.processes, usage);
            }
            push(&mut self.cgroups, cgroup);
        }
    }

    /// The position of a cgroup and the index of its owner's entry, which is added if the owner
    /// starts here.
    fn owner_of(&mut self, snapshot: &Snapshot, reading: &CgroupReading) -> (Position, usize) {
        let path = &*reading.key.path;
        let parent = reading.parent.and_then(|parent| self.cgroups.get(parent));
        let Some(parent) = parent else {
            return self.owner_without_parent(snapshot, reading);
        };
        let step =
            parent.position.step(path.rsplit(|byte| *byte == b'/').next().unwrap_or_default());
        let (mut position, mut starts) = (step.position, step.starts);
        if self.is_named(&position.owner, path) {
            position.owner = Owner::Named;
            starts = true;
        }
        let (above, entry) = (parent.position.owner, parent.entry);
        if starts {
            return (position, self.add_entry(position.owner, Some(above), path.len()));
        }
        (position, entry)
    }

    /// The position of the root, or of a path that is no cgroup of the tree. Such a path's owner may
    /// already have an entry, from the tree or from another path.
    fn owner_without_parent(
        &mut self,
        snapshot: &Snapshot,
        reading: &CgroupReading,
    ) -> (Position, usize) {
        let located = self.located(&reading.key.path);
        let position = Position { owner: located.owner, ground: located.ground };
        if reading.placed {
            // They are in the tree's order too, so those of one owner follow each other.
            let is_its = |entry: &&OwnerEntry| {
                let first = snapshot.cgroups.get(entry.top).filter(|first| first.placed);
                first.and_then(|first| first.key.path.get(..entry.starts))
                    == Some(located.starts_at)
            };
            if self.entries.last().is_some_and(|last| is_its(&last)) {
                return (position, self.entries.len() - 1);
            }
            let starts_at = if located.starts_at.is_empty() { b"/" } else { located.starts_at };
            let in_tree = snapshot.cgroup_at(starts_at).and_then(|at| self.cgroups.get(at));
            if let Some(known) = in_tree {
                return (position, known.entry);
            }
        }
        (position, self.add_entry(located.owner, None, located.starts_at.len()))
    }

    fn add_entry(&mut self, owner: Owner, parent: Option<Owner>, starts: usize) -> usize {
        let (top, self_usage) = (self.cgroups.len(), SelfUsage::default());
        push(&mut self.entries, OwnerEntry { owner, parent, top, starts, self_usage });
        self.entries.len() - 1
    }

    /// [`Owner::locate`], with the owners that rules make.
    fn located<'p>(&self, path: &'p [u8]) -> Located<'p> {
        Owner::locate_with(path, |owner, above| self.is_named(owner, above))
    }

    /// True if a rule makes the cgroup at `path` an owner. Pods and what is in them stay pods.
    fn is_named(&self, owner: &Owner, path: &[u8]) -> bool {
        let is_kubernetes = matches!(
            owner,
            Owner::Pod { .. } | Owner::PodContainer { .. } | Owner::Inner(InnerNode::Pods { .. })
        );
        !is_kubernetes && self.named.iter().any(|rule| rule.makes_owner && rule.pattern.fits(path))
    }

    fn process_usage(
        &self,
        last: Option<&Counters>,
        cgroup: &CgroupReading,
        process: &ProcessReading,
        hardware: Hardware,
        gaps: &mut Gaps,
    ) -> ProcessUsage {
        let before = last.and_then(|last| last.process(process.key));
        let is_new = last.is_some_and(|last| last.precedes(process.key, self.units));
        let since = match (before, last) {
            (Some(before), _) => Some(before.read_at),
            (None, Some(last)) if is_new => Some(last.ended_at),
            _ => None,
        };
        let over_usec = since.map_or(0, |since| process.read_at.usec_since(since));
        let (mut gains, mut io_gains) = (Gains::default(), Gains::default());
        let cpu = since.zip(process.cpu).and_then(|(_, now)| {
            let then = before.map_or(Some(CpuTime::ZERO), |before| before.cpu)?;
            let most = most_cpu_usec(hardware.cpus, over_usec);
            let usage = gains.of(then.as_usec(), now.as_usec(), CounterBounds::most(most));
            Some(CpuUsage { usage: CpuTime::from_usec(usage), split: None, over_usec })
        });
        let cpu = cpu.filter(|_| gains.known());
        let disk = since.zip(process.io).and_then(|(_, now)| {
            let zero = ProcessIo {
                read: Some(Bytes::ZERO),
                written: Some(Bytes::ZERO),
                ..ProcessIo::default()
            };
            let then = before.map_or(Some(zero), |before| before.io)?;
            let most = most_disk_bytes(over_usec).saturating_mul(hardware.disks);
            let mut gain = |then: Bytes, now: Bytes| {
                let (then, now) = (then.as_bytes(), now.as_bytes());
                Bytes::from_bytes(io_gains.of(then, now, CounterBounds::most(most)))
            };
            // Written bytes go back by what was discarded before it reached a disk.
            let written = gain(then.written?, now.written?.max(then.written?));
            let read = gain(then.read?, now.read?);
            Some(DiskUsage {
                read,
                written,
                read_ops: 0,
                write_ops: 0,
                from: DiskSource::Processes,
            })
        });
        let disk = disk.filter(|_| io_gains.known());
        for (gains, file) in [(gains, "stat"), (io_gains, "io")] {
            if gains != Gains::default() {
                gains.report(gaps, &[format!("/proc/{}/{file}", process.key.pid).as_bytes()]);
            }
        }
        ProcessUsage {
            key: process.key,
            comm: process.comm,
            parent_pid: process.parent_pid,
            threads: process.threads,
            kernel_thread: process.kernel_thread,
            cgroup: Arc::clone(&cgroup.key.path),
            named: None,
            cpu,
            disk,
            resident: process.resident,
            cmdline: process.cmdline.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::catalog::{CgroupPattern, EntityName};
    use crate::directory::pod::Labels;
    use crate::identity::CgroupKey;

    const UNITS: Units = Units { ticks_per_second: 100, page_size_bytes: 4096 };

    fn rule(pattern: &str, makes_owner: bool) -> CgroupNameRule {
        let pattern = CgroupPattern::new(pattern).unwrap();
        let entity =
            EntityName { namespace: "shop".into(), name: "web".into(), labels: Labels::default() };
        CgroupNameRule { pattern, entity, makes_owner }
    }

    fn with_rules(rules: Vec<CgroupNameRule>) -> Ledger {
        let mut ledger = Ledger::new(UNITS);
        ledger.set_rules(&rules.into());
        ledger
    }

    /// The owner of each cgroup from the root to `path`, found in a tree, and where each starts.
    fn in_tree(ledger: &mut Ledger, path: &str) -> (Owner, String) {
        let mut snapshot = Snapshot::default();
        let ends = path.match_indices('/').skip(1).map(|(at, _)| at).chain([path.len()]);
        for (at, above) in
            ["/"].into_iter().chain(ends.map(|end| path.get(..end).unwrap())).enumerate()
        {
            let key = CgroupKey { path: above.as_bytes().into(), inode: 1 + at as u64 };
            let parent = at.checked_sub(1);
            snapshot.cgroups.push(CgroupReading { parent, ..CgroupReading::unread(key) });
        }
        ledger.settle_cgroups(None, &snapshot, &mut Account::default());
        let last = ledger.cgroups.last().unwrap();
        let top = ledger.entries[last.entry].top;
        let starts = String::from_utf8(snapshot.cgroups[top].key.path.to_vec()).unwrap();
        (last.position.owner, starts)
    }

    /// A process that only a cgroup of v1 places has the owner that it would have in the tree.
    #[test]
    fn rules_make_the_same_owners_of_paths_as_of_cgroups() {
        let mut ledger = with_rules(vec![
            rule("/system.slice/legacy-*", true),
            rule("/opt/*", true),
            rule("/data.slice", true),
            rule("/kubepods/*", true),
            rule("/system.slice/plain.service", false),
        ]);
        for (path, is_named, starts_at) in [
            ("/system.slice/legacy-web.service", true, "/system.slice/legacy-web.service"),
            ("/system.slice/legacy-web.service/a", true, "/system.slice/legacy-web.service"),
            // A unit below it is its.
            (
                "/system.slice/legacy-web.service/b.service",
                true,
                "/system.slice/legacy-web.service",
            ),
            ("/opt/shop", true, "/opt/shop"),
            ("/opt/shop/worker", true, "/opt/shop"),
            ("/opt", false, "/opt"),
            ("/data.slice/db.service", true, "/data.slice"),
            ("/system.slice/plain.service", false, "/system.slice/plain.service"),
            ("/system.slice/other.service", false, "/system.slice/other.service"),
            ("/kubepods/burstable", false, "/kubepods/burstable"),
        ] {
            let located = ledger.located(path.as_bytes());
            let found = (located.owner == Owner::Named, located.starts_at);
            assert_eq!(found, (is_named, starts_at.as_bytes()), "{path}");
            assert_eq!(in_tree(&mut ledger, path), (located.owner, starts_at.to_owned()));
        }
    }

    #[test]
    fn a_named_cgroup_keeps_its_pods_apart() {
        let ledger = with_rules(vec![rule("/kind*", true)]);
        let pod = b"/kind/kubepods/poda533c208-0be3-44e3-adb7-a0dae664d797";
        assert!(matches!(ledger.located(pod).owner, Owner::Pod { .. }));
        assert_eq!(ledger.located(b"/kind/kubelet").owner, Owner::Named);
    }

    /// One that is only new to the agent has a past, which is nobody's usage.
    #[test]
    fn a_process_counts_from_its_start_if_that_was_in_the_interval() {
        let ledger = Ledger::new(UNITS);
        let last = Counters {
            begun_at: crate::quantity::BootTime::from_nanos(100_000_000_000),
            ended_at: crate::quantity::BootTime::from_nanos(101_000_000_000),
            ..Counters::default()
        };
        let hardware = Hardware { cpus: 2, disks: 1 };
        let key = CgroupKey { path: b"/a".as_slice().into(), inode: 1 };
        let cgroup = CgroupReading::unread(key);
        for (start_ticks, usage) in [(10_050, Some(70_000)), (9_000, None)] {
            let process = ProcessReading {
                key: crate::identity::ProcessKey { pid: 7, start_ticks },
                comm: Default::default(),
                parent_pid: 1,
                kernel_thread: false,
                threads: None,
                resident: None,
                cpu: Some(CpuTime::from_usec(70_000)),
                children: None,
                io: Some(ProcessIo {
                    read: Some(Bytes::from_bytes(5)),
                    written: Some(Bytes::from_bytes(6)),
                    ..ProcessIo::default()
                }),
                cmdline: None,
                read_at: crate::quantity::BootTime::from_nanos(110_000_000_000),
                place: CountedAt::Here,
            };
            let gaps = &mut Gaps::default();
            let found = ledger.process_usage(Some(&last), &cgroup, &process, hardware, gaps);
            assert_eq!(found.cpu.map(|cpu| cpu.usage.as_usec()), usage, "{start_ticks}");
            let written = found.disk.map(|disk| (disk.read.as_bytes(), disk.written.as_bytes()));
            assert_eq!(written, usage.map(|_| (5, 6)), "{start_ticks}");
        }
    }

    #[test]
    fn an_owner_that_a_rule_made_is_listed_as_named() {
        let mut ledger = with_rules(vec![rule("/opt", true)]);
        let mut snapshot = Snapshot::default();
        for (at, path) in ["/", "/opt", "/sshd.service"].into_iter().enumerate() {
            let key = CgroupKey { path: path.as_bytes().into(), inode: 1 + at as u64 };
            let parent = (at > 0).then_some(0);
            snapshot.cgroups.push(CgroupReading { parent, ..CgroupReading::unread(key) });
        }
        let mut account = Account::default();
        ledger.settle(&snapshot, &mut account);
        use crate::ledger::account::UnitKind::{Named, Unit};
        let kinds: Vec<_> = account.units.iter().map(|unit| unit.kind).collect();
        assert_eq!(kinds, [Named, Unit]);
    }
}
