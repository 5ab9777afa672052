//! CPU time of processes that ended since the last sample, known from the parents that waited for
//! them.
//!
//! It is needed where a cgroup has no CPU counter, since there a process counts only while it lives.
//! A parent's figure holds the whole lives of its children, so what they used up to the last sample
//! is subtracted: it was counted then.

use std::sync::Arc;

use super::account::{Account, ExitedChildren};
use super::cgroup_delta::CgroupDelta;
use super::counters::{Counters, ProcessCounters};
use super::delta::{CounterBounds, Gains, signed, unsigned};
use super::unowned_cpu::is_uncounted;
use crate::identity::ProcessKey;
use crate::quantity::CpuTime;
use crate::snapshot::node::InterruptTime;
use crate::snapshot::roots::Units;
use crate::snapshot::{CountedAt, Snapshot};

/// Longer chains of parents are not followed.
const ANCESTORS_MAX: usize = 64;

/// A parent in a cgroup without a CPU counter.
#[derive(Debug, Clone, Copy)]
struct Parent {
    /// Its place in the account's processes.
    process: usize,
    /// Its cgroup's place in the snapshot.
    cgroup: usize,
    /// Its place in the counters.
    counters: usize,
    usec: u64,
}

/// The memory that is reused in each interval.
#[derive(Debug, Default)]
pub(super) struct ChildrenSettler {
    parents: Vec<Parent>,
    /// Places in the counters whose children are in cgroups that have a counter.
    counted: Vec<usize>,
    /// Usage from before of ended processes whose parent ended too, with the place of its next
    /// ancestor.
    orphans: Vec<(usize, u64)>,
}

impl ChildrenSettler {
    /// Adds the usage to the cgroups of the parents, and to the account's list. `next`: the counters
    /// of `snapshot`.
    pub fn settle(
        &mut self,
        last: Option<&Counters>,
        next: &mut Counters,
        units: Units,
        snapshot: &Snapshot,
        cgroups: &mut [CgroupDelta],
        account: &mut Account,
    ) {
        account.exited_children.clear();
        let Some(last) = last else { return };
        self.list_parents(next, snapshot, cgroups);
        if self.parents.is_empty() {
            return;
        }
        self.settle_ended(last, next);
        for parent in &mut self.parents {
            let Some(now) = next.processes.get_mut(parent.counters) else { continue };
            let before = match last.process(now.key) {
                Some(before) => before.children,
                None => last.precedes(now.key, units).then_some(CpuTime::ZERO),
            };
            let Some((before, children)) = before.zip(now.children) else { continue };
            let mut gains = Gains::default();
            let (before, children) = (before.as_usec(), children.as_usec());
            let gained = gains.of(before, children, CounterBounds::NONE);
            let known = now.expected.as_usec().min(gained);
            now.expected = CpuTime::from_usec(now.expected.as_usec() - known);
            parent.usec = gained - known;
        }
        self.settle_orphans(next);
        let counted = &self.counted;
        self.parents.retain(|parent| parent.usec > 0 && !counted.contains(&parent.counters));
        // A child may have been in a cgroup with a counter for all its life, unseen. So all together
        // are at most what the node has left, and who has the most gives way first.
        self.parents.sort_unstable_by_key(|parent| (parent.usec, parent.counters));
        let mut left = left_of_node(snapshot, cgroups, account);
        for parent in &self.parents {
            let usec = left.map_or(parent.usec, |left| parent.usec.min(left));
            left = left.map(|left| left - usec);
            let process = account.processes.get(parent.process).filter(|_| usec > 0);
            let Some((process, cgroup)) = process.zip(cgroups.get_mut(parent.cgroup)) else {
                continue;
            };
            let usage = &mut cgroup.self_usage;
            usage.cpu.usage = usage.cpu.usage.saturating_add(signed(usec));
            usage.cpu_known = true;
            usage.cpu_from_processes = true;
            account.exited_children.push(ExitedChildren {
                parent: process.key,
                comm: process.comm,
                cgroup: Arc::clone(&process.cgroup),
                cpu: CpuTime::from_usec(usec),
            });
        }
        account.exited_children.reverse();
    }

    /// Finds the processes in cgroups without a CPU counter, and among them those with children in a
    /// cgroup that has one.
    fn list_parents(&mut self, next: &Counters, snapshot: &Snapshot, cgroups: &[CgroupDelta]) {
        self.parents.clear();
        self.counted.clear();
        let mut at = 0;
        for (place, (reading, cgroup)) in snapshot.cgroups.iter().zip(cgroups).enumerate() {
            for process in reading.own_processes() {
                if is_uncounted(reading, cgroup, process)
                    && let Some(counters) = next.place_of(process.key)
                {
                    let cgroup = place;
                    self.parents.push(Parent { process: at, cgroup, counters, usec: 0 });
                }
                at += 1;
            }
        }
        if self.parents.is_empty() {
            return;
        }
        for (reading, cgroup) in snapshot.cgroups.iter().zip(cgroups) {
            for process in reading.own_processes() {
                if process.place == CountedAt::Here && cgroup.measured_cpu.is_none() {
                    continue;
                }
                self.counted.extend(living(next, process.parent_pid, process.key));
            }
        }
        self.counted.sort_unstable();
        self.counted.dedup();
    }

    /// Notes for each process that has ended what of it was counted before, with the parent that
    /// waits for it.
    fn settle_ended(&mut self, last: &Counters, next: &mut Counters) {
        self.orphans.clear();
        for now in &mut next.processes {
            now.expected = last.process(now.key).map_or(CpuTime::ZERO, |before| before.expected);
        }
        for ended in &last.processes {
            if next.process(ended.key).is_some() {
                continue;
            }
            let usec = |time: Option<CpuTime>| time.map_or(0, CpuTime::as_usec);
            let counted = usec(ended.cpu)
                .saturating_add(usec(ended.children))
                .saturating_add(ended.expected.as_usec());
            let mut pid = ended.parent_pid;
            for step in 0..ANCESTORS_MAX {
                if let Some(at) = living(next, pid, ended.key) {
                    match next.processes.get_mut(at) {
                        Some(parent) if step == 0 => {
                            parent.expected += CpuTime::from_usec(counted);
                        }
                        _ => self.orphans.push((at, counted)),
                    }
                    break;
                }
                match living(last, pid, ended.key).and_then(|at| last.processes.get(at)) {
                    Some(above) => pid = above.parent_pid,
                    None => break,
                }
            }
        }
    }

    /// Takes what orphans had used before from whoever waited for them: the next ancestor, or one
    /// above it that they were given to.
    fn settle_orphans(&mut self, next: &Counters) {
        self.parents.sort_unstable_by_key(|parent| parent.counters);
        for (at, counted) in &self.orphans {
            let (mut at, mut counted) = (*at, *counted);
            for _ in 0..ANCESTORS_MAX {
                let found = self.parents.binary_search_by_key(&at, |parent| parent.counters);
                if let Some(parent) = found.ok().and_then(|found| self.parents.get_mut(found)) {
                    let taken = counted.min(parent.usec);
                    (parent.usec, counted) = (parent.usec - taken, counted - taken);
                }
                let Some(process) = next.processes.get(at).filter(|_| counted > 0) else { break };
                match living(next, process.parent_pid, process.key) {
                    Some(above) => at = above,
                    None => break,
                }
            }
        }
    }
}

/// The place of the process `pid` in `counters`, which started before its child.
fn living(counters: &Counters, pid: u32, child: ProcessKey) -> Option<usize> {
    let at = counters.processes.partition_point(|process| process.key.pid < pid);
    let is_it = |process: &&ProcessCounters| {
        pid != 0 && process.key.pid == pid && process.key.start_ticks <= child.start_ticks
    };
    counters.processes.get(at).filter(is_it).map(|_| at)
}

/// The node's CPU time that no cgroup, live process or interrupt has, in microseconds. `None`: it is
/// not known.
fn left_of_node(snapshot: &Snapshot, cgroups: &[CgroupDelta], account: &Account) -> Option<u64> {
    let node = account.node.cpu?;
    let mut given = 0_i64;
    for (reading, cgroup) in snapshot.cgroups.iter().zip(cgroups) {
        let is_counted =
            |at: usize| cgroups.get(at).is_some_and(|above| above.measured_cpu.is_some());
        match cgroup.measured_cpu {
            Some(_) if reading.parent.is_some_and(is_counted) => {}
            Some(measured) => given = given.saturating_add(measured.usage),
            None => given = given.saturating_add(cgroup.self_usage.cpu.usage),
        }
        // Of processes that another path places, which have it once more.
        if cgroup.measured_cpu.is_some() {
            given = given.saturating_sub(cgroup.moved.cpu.usage);
        }
    }
    let usec = |time: Option<CpuTime>| time.map_or(0, CpuTime::as_usec);
    let interrupts = match node.interrupts {
        InterruptTime::Apart => usec(node.irq).saturating_add(usec(node.softirq)),
        InterruptTime::InTasks => 0,
    };
    let left = signed(node.busy.as_usec()).saturating_sub(given);
    Some(unsigned(left).saturating_sub(interrupts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::CgroupKey;
    use crate::ledger::account::{NodeCpu, NodeUsage, ProcessUsage};
    use crate::ledger::delta::CpuDelta;
    use crate::quantity::BootTime;
    use crate::snapshot::{CgroupReading, ProcessReading};
    use crate::source::cgroup::cpu_stat::CpuStat;

    /// A pid is reused, so a parent is one that started before its child.
    #[test]
    fn a_parent_is_alive_if_its_pid_is_that_of_an_older_process() {
        let process = |pid, start_ticks| ProcessCounters {
            key: ProcessKey { pid, start_ticks },
            read_at: BootTime::default(),
            cpu: None,
            io: None,
            in_counters: false,
            parent_pid: 1,
            children: None,
            expected: CpuTime::ZERO,
        };
        let processes = vec![process(0, 1), process(3, 10), process(5, 20), process(9, 30)];
        let counters = Counters { processes, ..Counters::default() };
        for (pid, child_start, found) in [
            (3, 10, Some(1)),
            (3, 11, Some(1)),
            (3, 9, None),
            (5, 25, Some(2)),
            (4, 25, None),
            (9, 30, Some(3)),
            (9, 29, None),
            (10, 40, None),
            (0, 40, None),
        ] {
            let child = ProcessKey { pid: 77, start_ticks: child_start };
            assert_eq!(living(&counters, pid, child), found, "{pid} {child_start}");
        }
    }

    /// Its own parent waits for the first, and for a grandchild whoever it was given to.
    #[test]
    fn a_process_is_expected_of_its_parent_or_else_of_an_ancestor() {
        let process = |pid, parent_pid, usec| ProcessCounters {
            key: ProcessKey { pid, start_ticks: u64::from(pid) },
            read_at: BootTime::default(),
            cpu: Some(CpuTime::from_usec(usec)),
            io: None,
            in_counters: false,
            parent_pid,
            children: Some(CpuTime::from_usec(usec * 10)),
            expected: CpuTime::from_usec(usec * 100),
        };
        let grandparent = process(10, 1, 3);
        let last = Counters {
            processes: vec![grandparent, process(20, 10, 1), process(30, 20, 2)],
            ..Counters::default()
        };
        let mut next = Counters { processes: vec![grandparent], ..Counters::default() };
        let mut settler = ChildrenSettler::default();
        settler.settle_ended(&last, &mut next);
        assert_eq!(next.processes[0].expected.as_usec(), 300 + 111);
        assert_eq!(settler.orphans, [(0, 222)]);
    }

    const UNITS: Units = Units { ticks_per_second: 100, page_size_bytes: 4096 };

    fn cgroup(path: &str, parent: Option<usize>) -> CgroupReading {
        let key = CgroupKey { path: path.as_bytes().into(), inode: 1 };
        CgroupReading { parent, ..CgroupReading::unread(key) }
    }

    /// A process that started `pid` ticks after boot.
    fn process(pid: u32, parent_pid: u32, children_usec: u64) -> ProcessReading {
        ProcessReading {
            key: ProcessKey { pid, start_ticks: u64::from(pid) },
            comm: Default::default(),
            parent_pid,
            kernel_thread: false,
            threads: None,
            resident: None,
            cpu: Some(CpuTime::ZERO),
            children: Some(CpuTime::from_usec(children_usec)),
            io: None,
            cmdline: None,
            read_at: BootTime::default(),
            place: CountedAt::Here,
        }
    }

    fn listed(reading: &ProcessReading) -> ProcessUsage {
        ProcessUsage {
            key: reading.key,
            comm: reading.comm,
            parent_pid: reading.parent_pid,
            threads: None,
            kernel_thread: false,
            cgroup: Arc::from(&b"/"[..]),
            named: None,
            cpu: None,
            disk: None,
            resident: None,
            cmdline: None,
        }
    }

    /// Three parents in the root, which has no counter.
    struct Parents {
        /// Where the child 200 of the first is counted, and if its cgroup has a counter.
        place: CountedAt,
        is_counted: bool,
        /// CPU time counted before of children that the first has not waited for.
        expected: u64,
        busy: Option<u64>,
    }

    const PARENTS: Parents =
        Parents { place: CountedAt::Here, is_counted: false, expected: 0, busy: None };

    impl Parents {
        /// The lines, what the root's own usage got, and what is still expected of the first. Its
        /// children show 500 more, those of the second 300.
        fn settled(self) -> (Vec<(u32, u64)>, i64, u64) {
            let cgroups = vec![cgroup("/", None), cgroup("/a", Some(0))];
            let mut snapshot = Snapshot { cgroups, ..Snapshot::default() };
            let parents = [process(100, 1, 500), process(101, 1, 300), process(102, 1, 0)];
            let child = ProcessReading { place: self.place, ..process(200, 100, 0) };
            snapshot.cgroups[0].processes = parents.to_vec();
            snapshot.cgroups[1].processes = vec![child.clone()];
            snapshot.cgroups[1].cpu = Some(CpuStat::default());
            let mut cgroups = [CgroupDelta::nothing(), CgroupDelta::nothing()];
            cgroups[1].measured_cpu = self.is_counted.then(CpuDelta::default);
            let (mut last, mut next) = (Counters::default(), Counters::default());
            next.fill(&snapshot);
            last.processes = next.processes.clone();
            last.processes.iter_mut().for_each(|before| before.children = Some(CpuTime::ZERO));
            last.processes[0].expected = CpuTime::from_usec(self.expected);
            let processes = parents.iter().chain([&child]).map(listed).collect();
            let mut account = Account { processes, ..Account::default() };
            account.node.cpu = self
                .busy
                .map(|busy| NodeCpu { busy: CpuTime::from_usec(busy), ..NodeCpu::default() });
            let mut settler = ChildrenSettler::default();
            settler.settle(Some(&last), &mut next, UNITS, &snapshot, &mut cgroups, &mut account);
            let lines = &account.exited_children;
            let lines = lines.iter().map(|line| (line.parent.pid, line.cpu.as_usec()));
            let expected = next.processes[0].expected.as_usec();
            (lines.collect(), cgroups[0].self_usage.cpu.usage, expected)
        }
    }

    #[test]
    fn a_parent_of_children_in_a_cgroup_with_a_counter_has_no_line() {
        let second = (vec![(101, 300)], 300, 0);
        assert_eq!(PARENTS.settled(), (vec![(100, 500), (101, 300)], 800, 0));
        assert_eq!(Parents { is_counted: true, ..PARENTS }.settled(), second);
        // Another path of the process names its owner; the counters are another cgroup's.
        assert_eq!(Parents { place: CountedAt::CountedIn(1), ..PARENTS }.settled(), second);
    }

    /// Who has least comes first.
    #[test]
    fn all_parents_together_have_at_most_what_the_node_has_left() {
        for (busy, lines) in [
            (900, vec![(100, 500), (101, 300)]),
            (610, vec![(100, 310), (101, 300)]),
            (300, vec![(101, 300)]),
            (0, vec![]),
        ] {
            let usage = lines.iter().map(|(_, usec)| *usec as i64).sum();
            let found = Parents { busy: Some(busy), ..PARENTS }.settled();
            assert_eq!(found, (lines, usage, 0), "{busy}");
        }
    }

    #[test]
    fn what_was_counted_before_is_in_no_line_and_the_rest_of_it_is_expected() {
        for (expected, first, left) in [(150, Some(350), 0), (500, None, 0), (620, None, 120)] {
            let found = Parents { expected, ..PARENTS }.settled();
            let lines: Vec<_> =
                first.map(|usec| (100, usec)).into_iter().chain([(101, 300)]).collect();
            let usage = 300 + first.map_or(0, |usec| usec as i64);
            assert_eq!(found, (lines, usage, left), "{expected}");
        }
    }

    /// 50 of the orphan: 30 from its parent, which has no more, and 20 from the one above that.
    #[test]
    fn what_an_orphan_used_before_is_taken_from_one_ancestor_after_another() {
        let processes = [process(10, 1, 0), process(20, 10, 0), process(30, 20, 0)];
        let mut snapshot = Snapshot::default();
        snapshot.cgroups.push(CgroupReading { processes: processes.to_vec(), ..cgroup("/", None) });
        let mut next = Counters::default();
        next.fill(&snapshot);
        for (counted, left) in [
            (0, [100, 40, 30]),
            (20, [100, 40, 10]),
            (50, [100, 20, 0]),
            (75, [95, 0, 0]),
            (999, [0, 0, 0]),
        ] {
            let parent = |counters, usec| Parent { process: 0, cgroup: 0, counters, usec };
            let mut settler = ChildrenSettler {
                // In any order.
                parents: vec![parent(2, 30), parent(0, 100), parent(1, 40)],
                orphans: vec![(2, counted)],
                ..ChildrenSettler::default()
            };
            settler.settle_orphans(&next);
            let found: Vec<u64> = settler.parents.iter().map(|parent| parent.usec).collect();
            assert_eq!(found, left, "{counted}");
        }
        // Ancestors in cgroups that have a counter are passed by.
        let mut settler = ChildrenSettler {
            parents: vec![Parent { process: 0, cgroup: 0, counters: 0, usec: 100 }],
            orphans: vec![(2, 50), (1, 5)],
            ..ChildrenSettler::default()
        };
        settler.settle_orphans(&next);
        assert_eq!(settler.parents[0].usec, 45);
    }

    /// 100 busy less 30 of /a with all below it, 7 of /c/d, 4 of processes in /c, 5 in the root, and
    /// the interrupts' 3 where they are in no task's usage.
    #[test]
    fn the_node_has_left_what_no_counter_process_or_interrupt_has() {
        let tree = vec![
            cgroup("/", None),
            cgroup("/a", Some(0)),
            cgroup("/a/b", Some(1)),
            cgroup("/c", Some(0)),
            cgroup("/c/d", Some(3)),
        ];
        let snapshot = Snapshot { cgroups: tree, ..Snapshot::default() };
        let measured = |usage| Some(CpuDelta { usage, ..CpuDelta::default() });
        let mut cgroups = [(); 5].map(|()| CgroupDelta::nothing());
        cgroups[0].self_usage.cpu.usage = 5;
        cgroups[1].measured_cpu = measured(30);
        cgroups[2].measured_cpu = measured(20);
        cgroups[3].self_usage.cpu.usage = 4;
        cgroups[4].measured_cpu = measured(7);
        for (busy, interrupts, left) in [
            (100, InterruptTime::Apart, 51),
            (100, InterruptTime::InTasks, 54),
            (48, InterruptTime::Apart, 0),
            (40, InterruptTime::InTasks, 0),
        ] {
            let mut account = Account::default();
            account.node.cpu = Some(NodeCpu {
                busy: CpuTime::from_usec(busy),
                irq: Some(CpuTime::from_usec(1)),
                softirq: Some(CpuTime::from_usec(2)),
                interrupts,
                ..NodeCpu::default()
            });
            assert_eq!(left_of_node(&snapshot, &cgroups, &account), Some(left), "{busy}");
        }
        assert_eq!(left_of_node(&snapshot, &cgroups, &Account::default()), None);
        // Processes whose owner another path names, in /a and below it, which that path has as well.
        let account = |busy| {
            let cpu = NodeCpu { busy: CpuTime::from_usec(busy), ..NodeCpu::default() };
            let node = NodeUsage { cpu: Some(cpu), ..NodeUsage::default() };
            Account { node, ..Account::default() }
        };
        let without = left_of_node(&snapshot, &cgroups, &account(100));
        cgroups[1].moved.cpu.usage = 6;
        cgroups[2].moved.cpu.usage = 2;
        let placed = cgroup("/kubepods/pod", None);
        let snapshot = Snapshot { cgroups: [snapshot.cgroups, vec![placed]].concat(), ..snapshot };
        let mut cgroups = cgroups.to_vec();
        cgroups.push(CgroupDelta::nothing());
        cgroups[5].self_usage.cpu.usage = 8;
        assert_eq!(left_of_node(&snapshot, &cgroups, &account(100)), without);
    }
}
