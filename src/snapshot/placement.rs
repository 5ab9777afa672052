//! The readings of processes whose owner the cgroup2 tree alone does not tell.
//!
//! On a hybrid host the containers can stand in trees of v1 while cgroup2 lists their processes in
//! the runtime's unit. A host can be without a cgroup2 tree, or the agent sees only a part of it.
//! There the paths of `/proc/<pid>/cgroup` say more. For each such path there is a *placed* reading
//! behind those of the tree, with its processes and nothing else.

use std::sync::Arc;

use super::cgroups::tree_order;
use super::gaps::{Gap, GapReason};
use super::held::DescriptorBudget;
use super::processes::{HeldStats, PidPath, ProcessReader};
use super::read_context::ReadContext;
use super::reading::{CgroupReading, CountedAt, ProcessReading};
use crate::identity::CgroupKey;
use crate::source::proc::pid_cgroup::SaysMore;

/// Limit of processes that are listed from /proc where the cgroup2 tree lacks them.
const PROCESSES_MAX: usize = 65_536;

/// Places processes, in memory that is reused.
#[derive(Debug)]
pub(super) struct Placement {
    says_more: SaysMore,
    /// The placed readings of the last tick, in tree order.
    placed: Vec<CgroupReading>,
    /// Each listed process with the index of its reading.
    listed: Vec<(u32, usize)>,
    /// The cgroups of the last tick that listed a process of another one.
    doubled: Vec<u64>,
    doubled_before: Vec<u64>,
    is_first: bool,
    moved_noted: bool,
}

impl Placement {
    pub fn new(says_more: SaysMore) -> Self {
        Self {
            says_more,
            placed: Vec::new(),
            listed: Vec::new(),
            doubled: Vec::new(),
            doubled_before: Vec::new(),
            is_first: true,
            moved_noted: false,
        }
    }

    /// Takes the placed readings of the last tick off the tree's.
    pub fn take_back(&mut self, cgroups: &mut Vec<CgroupReading>) {
        let end = cgroups.partition_point(|reading| !reading.placed);
        self.placed.extend(cgroups.drain(end..));
        self.placed.iter_mut().for_each(|reading| reading.processes.clear());
    }

    /// Counts a process that several cgroups list in one of them: that of its own cgroup file, or
    /// where that is not readable, the one with the later reading. Calls `reread` with the index of
    /// each other cgroup, since it may only have changed since it was read.
    pub fn count_once(
        &mut self,
        cgroups: &mut [CgroupReading],
        reader: &ProcessReader<'_>,
        context: &mut ReadContext<'_>,
        mut reread: impl FnMut(usize),
    ) {
        self.listed.clear();
        for (at, reading) in cgroups.iter_mut().enumerate() {
            for process in &mut reading.processes {
                process.place = CountedAt::Here;
                self.listed.push((process.key.pid, at));
            }
        }
        self.listed.sort_unstable();
        std::mem::swap(&mut self.doubled, &mut self.doubled_before);
        self.doubled.clear();
        for group in self.listed.chunk_by(|(a, _), (b, _)| a == b).filter(|group| group.len() > 1) {
            let Some((pid, _)) = group.first() else { continue };
            let mut space = PidPath::default();
            let path = reader.cgroups_of(*pid, &mut space, self.says_more, context);
            let path = path.and_then(|found| found.unified);
            let its = |at: usize| cgroups.get(at).is_some_and(|r| path == Some(&*r.key.path));
            let read_at = |at: usize| {
                let found = cgroups.get(at).and_then(|reading| process_of(reading, *pid));
                found.map(|process| (process.cpu, process.read_at))
            };
            let listing = group.iter().map(|(_, at)| *at);
            let Some(kept) = listing.clone().max_by_key(|at| (its(*at), read_at(*at))) else {
                continue;
            };
            for at in listing.filter(|at| *at != kept) {
                let Some(reading) = cgroups.get_mut(at) else { continue };
                let inode = reading.key.inode;
                if let Some(process) =
                    reading.processes.iter_mut().find(|process| process.key.pid == *pid)
                {
                    process.place = CountedAt::Elsewhere;
                }
                if self.is_first || self.doubled_before.contains(&inode) {
                    let consequence = "lists processes that another cgroup lists too: each is \
                        counted once, in the cgroup of its /proc/<pid>/cgroup";
                    let reason = GapReason::NotOffered { consequence };
                    context.gaps.add(&[&reading.key.path, b"/cgroup.procs"], reason);
                }
                if !self.doubled.contains(&inode) {
                    self.doubled.push(inode);
                }
                reread(at);
            }
        }
        self.is_first = false;
    }

    /// Places the processes for which a path of v1 says more than that of their cgroup.
    pub fn place_by_v1(
        &mut self,
        cgroups: &mut [CgroupReading],
        reader: &ProcessReader<'_>,
        context: &mut ReadContext<'_>,
    ) {
        let mut space = PidPath::default();
        for (at, reading) in cgroups.iter_mut().enumerate() {
            let mut any = false;
            for process in &mut reading.processes {
                if process.kernel_thread || process.place != CountedAt::Here {
                    continue;
                }
                let pid = process.key.pid;
                let Some(found) = reader.cgroups_of(pid, &mut space, self.says_more, context)
                else {
                    continue;
                };
                if !(self.says_more)(found.best, &reading.key.path) {
                    continue;
                }
                any = true;
                let placed = reading_at(&mut self.placed, found.best);
                let place = CountedAt::CountedIn(at);
                placed.processes.push(ProcessReading { place, ..process.clone() });
                process.place = CountedAt::Elsewhere;
            }
            if any {
                // It may have been found through a process that is counted elsewhere.
                reading.namespace = namespace_of(reading, reader);
                self.note_moved(context);
            }
        }
    }

    /// Says once what placed owners lack.
    fn note_moved(&mut self, context: &mut ReadContext<'_>) {
        if std::mem::replace(&mut self.moved_noted, true) {
            return;
        }
        let consequence = "pods or containers are in cgroups of v1 only: their CPU, memory and disk \
            are those of their live processes; what their exited processes used is with the unit \
            that cgroup2 lists them in; throttling, limits and events are missing";
        context.gaps.standing.push(Gap {
            path: b"owners in cgroup v1".as_slice().into(),
            reason: GapReason::NotOffered { consequence },
        });
    }

    /// Places every process of /proc that no cgroup of the tree lists, by its path.
    pub fn place_unlisted(
        &mut self,
        cgroups: &[CgroupReading],
        reader: &ProcessReader<'_>,
        context: &mut ReadContext<'_>,
    ) {
        let mut found = reader.list_all(context, PROCESSES_MAX, self.says_more);
        found.retain(|(_, pid)| {
            self.listed.binary_search_by_key(pid, |(listed, _)| *listed).is_err()
        });
        let mut budget = DescriptorBudget::nothing();
        for group in found.chunk_by(|(a, _), (b, _)| a == b) {
            let Some((path, _)) = group.first() else { continue };
            let pids: Vec<u32> = group.iter().map(|(_, pid)| *pid).collect();
            // Apart, since other processes may have been placed there already.
            let mut processes = Vec::new();
            let mut held = HeldStats::default();
            reader.read(&pids, &mut processes, &mut held, &mut budget, false, context);
            let in_tree = cgroups.iter().position(|known| *known.key.path == **path);
            if let Some(in_tree) = in_tree {
                for process in &mut processes {
                    process.place = CountedAt::CountedIn(in_tree);
                }
            }
            reading_at(&mut self.placed, path).processes.append(&mut processes);
        }
    }

    /// Puts the placed readings behind those of the tree.
    pub fn give_back(
        &mut self,
        cgroups: &mut Vec<CgroupReading>,
        reader: &ProcessReader<'_>,
        context: &mut ReadContext<'_>,
    ) {
        self.placed.retain(|reading| !reading.processes.is_empty());
        for reading in &mut self.placed {
            reading.read_at = context.now();
            reading.namespace = namespace_of(reading, reader);
        }
        cgroups.append(&mut self.placed);
    }
}

/// The placed reading of `path`, which is added if it is new.
fn reading_at<'r>(placed: &'r mut Vec<CgroupReading>, path: &[u8]) -> &'r mut CgroupReading {
    let found = placed.binary_search_by(|reading| tree_order(&reading.key.path, path));
    let at = found.unwrap_or_else(|at| {
        let key = CgroupKey { path: Arc::from(path), inode: 0 };
        placed.insert(at, CgroupReading { placed: true, ..CgroupReading::unread(key) });
        at
    });
    &mut placed[at]
}

fn process_of(reading: &CgroupReading, pid: u32) -> Option<&ProcessReading> {
    reading.processes.iter().find(|process| process.key.pid == pid)
}

fn namespace_of(reading: &CgroupReading, reader: &ProcessReader<'_>) -> Option<u64> {
    let first = reading.own_processes().next()?.key.pid;
    reader.namespaces.namespace_of(reader.procfs, first).ok().flatten()
}
