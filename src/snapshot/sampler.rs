//! One tick after another over everything a node offers.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use super::cgroups::{CgroupTree, Walk};
use super::gaps::{Gap, GapReason, Gaps};
use super::held::FileBudget;
use super::namespaces::NamespaceReader;
use super::node::NodeReader;
use super::pass::Pass;
use super::processes::{HeldStats, NamespaceBy, ProcessDetail, ProcessReader};
use super::roots::{Hierarchy, Roots};
use super::sockets::SocketReader;
use super::{CgroupReading, Snapshot, Work};
use crate::identity::{BootId, CgroupKey};
use crate::quantity::{BootTime, WallTime};
use crate::source::root::{Buffer, Dir, Failure};

/// What is read beyond the counters that every use needs.
#[derive(Debug, Clone, Copy)]
pub struct SamplerOptions {
    pub processes: ProcessDetail,
    /// Asked how long the node has been awake (CLOCK_MONOTONIC). `None`: the node's busy time is
    /// what its ticks say.
    pub awake: Option<fn() -> Duration>,
    /// Pressure, limits and peaks of active cgroups are read every so many ticks.
    pub detail_ticks: u64,
    /// Files kept open between ticks, at most.
    pub held_files_max: usize,
    /// Have the kernel tell what comes and goes between samples: see [`Sampler::attend`].
    pub notices: bool,
    /// Ask for the TCP sockets of the host's network namespace.
    pub sockets: bool,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self {
            processes: ProcessDetail::default(),
            awake: None,
            detail_ticks: 1,
            held_files_max: 4096,
            notices: false,
            sockets: false,
        }
    }
}

/// What the kernel tells of between two samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// A cgroup came, or lost its last process.
    Cgroups,
    /// A socket ended.
    Sockets,
}

/// More processes than this are not followed where they have to be listed from /proc.
const PROCESSES_MAX: usize = 65_536;

/// Reads one host again and again into one [`Snapshot`].
pub struct Sampler {
    roots: Roots,
    options: SamplerOptions,
    hierarchy: Hierarchy,
    procfs: Dir,
    node: NodeReader,
    tree: Option<CgroupTree>,
    namespaces: NamespaceReader,
    namespaces_by: NamespaceBy,
    sockets: SocketReader,
    buffer: Buffer,
    snapshot: Snapshot,
    tick: u64,
}

impl Sampler {
    /// Opens the roots. Only a missing or forbidden procfs is an error: without it there is
    /// nothing to say.
    pub fn open(roots: Roots, mut options: SamplerOptions) -> Result<Self, Failure> {
        let procfs = roots.open_procfs()?;
        let mut snapshot = Snapshot::default();
        let mut buffer = Buffer::default();
        snapshot.boot = procfs
            .read_record(c"sys/kernel/random/boot_id", &mut buffer)
            .ok()
            .and_then(BootId::parse);
        if snapshot.boot.is_none() {
            let consequence = "there is no boot id, so nothing is carried over a restart";
            snapshot.gaps.standing.push(Gap {
                path: (*b"/proc/sys/kernel/random/boot_id").into(),
                reason: GapReason::NotOffered { consequence },
            });
        }
        let node = NodeReader::open(&roots, &procfs, &mut snapshot.gaps);
        let mount = roots.find_cgroup2();
        snapshot.gaps.standing.extend(mount.gaps);
        let mut tree = None;
        let mut has_io_stat = false;
        if let Some(path) = &mount.path {
            let opened = Dir::open(path).and_then(|dir| {
                has_io_stat =
                    name_missing_controllers(&dir, mount.hierarchy, &mut buffer, &mut snapshot);
                CgroupTree::new(
                    dir,
                    &mut snapshot.cgroups,
                    roots.captured.clone(),
                    options.held_files_max,
                    options.detail_ticks,
                )
            });
            match opened {
                Ok(mut opened) => {
                    if options.notices {
                        snapshot.gaps.standing.extend(opened.watch(path));
                    }
                    tree = Some(opened);
                }
                Err(failure) => {
                    let path = path.as_os_str().as_encoded_bytes().into();
                    let reason = match failure {
                        Failure::Denied => GapReason::Denied,
                        _ => GapReason::NotOffered {
                            consequence: "the cgroup2 mount cannot be opened: no figures of pods \
                                and units but those of their live processes",
                        },
                    };
                    snapshot.gaps.standing.push(Gap { path, reason });
                }
            }
        }
        // Without io.stat the processes' own figures are all there is of disk traffic.
        options.processes.io |= !has_io_stat;
        let mut namespaces = NamespaceReader::default();
        let mut namespaces_by = NamespaceBy::Link;
        let mut host = namespaces_by.namespace_of(&procfs, 1);
        if host == Err(Failure::Denied) {
            namespaces_by = NamespaceBy::File;
            host = namespaces_by.namespace_of(&procfs, 1);
        }
        match host {
            Ok(inode) => namespaces.host = inode,
            Err(failure) => {
                let reason = match failure {
                    Failure::Denied => GapReason::Denied,
                    _ => GapReason::NotOffered {
                        consequence: "the host's network namespace is not known, so pods have no \
                            network figures",
                    },
                };
                snapshot.gaps.standing.push(Gap { path: (*b"/proc/1/ns/net").into(), reason });
            }
        }
        let mut sockets = SocketReader::default();
        if options.sockets {
            let own = namespaces_by.own_namespace(&procfs).ok().flatten();
            match SocketReader::open(own.is_some() && own == namespaces.host) {
                Ok(opened) => sockets = opened,
                Err(gap) => snapshot.gaps.standing.push(gap),
            }
        }
        Ok(Self {
            hierarchy: mount.hierarchy,
            roots,
            options,
            procfs,
            node,
            tree,
            namespaces,
            namespaces_by,
            sockets,
            buffer,
            snapshot,
            tick: 0,
        })
    }

    #[must_use]
    pub fn hierarchy(&self) -> Hierarchy {
        self.hierarchy
    }

    /// Whether each process's own `/proc/<pid>/io` is read: where it was asked for, and where
    /// cgroups have no io.stat.
    #[must_use]
    pub fn reads_process_io(&self) -> bool {
        self.options.processes.io
    }

    #[must_use]
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// Takes over from the sampler of before what it was told of since its last sample.
    pub fn inherit(&mut self, before: Self) {
        self.sockets.inherit(before.sockets);
    }

    /// What is missing, when no more samples are wanted.
    #[must_use]
    pub fn into_gaps(self) -> Gaps {
        self.snapshot.gaps
    }

    /// The state of the last tick.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Can be read when there is something to [`attend`](Self::attend) to between two samples.
    #[must_use]
    pub fn alarm(&self, alarm: Alarm) -> Option<BorrowedFd<'_>> {
        match alarm {
            Alarm::Cgroups => self.tree.as_ref()?.alarm(),
            Alarm::Sockets => self.sockets.alarm(),
        }
    }

    /// Takes in what came and went since the last sample: cgroups, so that they have a name in the
    /// next one even if they are gone by then, and the last counters of sockets, before the kernel
    /// has more of them than it keeps. No figure of a cgroup is missing without it.
    pub fn attend(&mut self, alarm: Alarm, clock: &dyn Fn() -> BootTime) {
        let Snapshot { cgroups, gaps, work, sockets, .. } = &mut self.snapshot;
        if alarm == Alarm::Sockets {
            return self.sockets.attend(sockets);
        }
        let Some(tree) = &mut self.tree else { return };
        let mut pass = Pass { buffer: &mut self.buffer, gaps, work, clock, tick: self.tick };
        let processes = ProcessReader {
            procfs: &self.procfs,
            namespaces: self.namespaces_by,
            units: self.roots.units,
            detail: self.options.processes,
        };
        tree.attend(&mut Walk { readings: cgroups, processes, pass: &mut pass });
    }

    /// Reads everything once. `clock` is asked for the time of each read; `wall` only stamps.
    pub fn sample(&mut self, clock: &dyn Fn() -> BootTime, wall: WallTime) -> &Snapshot {
        let Snapshot {
            boot: _,
            begun_at,
            ended_at,
            wall: stamped,
            node,
            topology,
            cgroups,
            namespaces,
            sockets,
            gaps,
            work,
        } = &mut self.snapshot;
        *work = Work::default();
        gaps.begin_tick();
        *begun_at = clock();
        *stamped = wall;
        let mut pass = Pass { buffer: &mut self.buffer, gaps, work, clock, tick: self.tick };
        self.node.read(&self.roots, &self.procfs, node, topology, &mut pass);
        self.sockets.read(sockets, &mut pass);
        let processes = ProcessReader {
            procfs: &self.procfs,
            namespaces: self.namespaces_by,
            units: self.roots.units,
            detail: self.options.processes,
        };
        match &mut self.tree {
            Some(tree) => {
                tree.walk(&mut Walk { readings: &mut *cgroups, processes, pass: &mut pass });
            }
            None => place_processes(&processes, cgroups, &mut pass),
        }
        self.namespaces.read(&self.procfs, cgroups, namespaces, &mut pass);
        self.sockets.finish(sockets, &mut pass);
        self.node.read_cpu(node, self.options.awake, &mut pass);
        *ended_at = clock();
        self.tick += 1;
        &self.snapshot
    }
}

/// On a hybrid host cpu.stat may be all that cgroup v2 has. Returns whether io is among what it
/// has.
fn name_missing_controllers(
    dir: &Dir,
    hierarchy: Hierarchy,
    buffer: &mut Buffer,
    snapshot: &mut Snapshot,
) -> bool {
    let Ok(text) = dir.read_record(c"cgroup.controllers", buffer) else { return false };
    let has = |name: &[u8]| {
        text.split(|byte| byte.is_ascii_whitespace()).any(|controller| controller == name)
    };
    let missing: [(&[u8], &'static str, &'static str); 4] = [
        (
            b"cpu",
            "cgroup2 has no cpu controller (v1 holds it): CPU time is there, throttling is not",
            "the cpu controller is off: CPU time is there, throttling is not",
        ),
        (
            b"memory",
            "cgroup2 has no memory controller (v1 holds it): memory of pods and units is the \
             resident set of their processes",
            "the memory controller is off: memory of pods and units is the resident set of their \
             processes",
        ),
        (
            b"io",
            "cgroup2 has no io controller (v1 holds it): disk traffic of pods and units is that \
             of their live processes",
            "the io controller is off: disk traffic of pods and units is that of their live \
             processes",
        ),
        (
            b"pids",
            "cgroup2 has no pids controller (v1 holds it): task counts are missing",
            "the pids controller is off: task counts are missing",
        ),
    ];
    for (name, on_hybrid, otherwise) in missing {
        if !has(name) {
            let hybrid = hierarchy == Hierarchy::Hybrid;
            let consequence = if hybrid { on_hybrid } else { otherwise };
            let path = [b"cgroup2 controller ", name].concat().into();
            let reason = GapReason::NotOffered { consequence };
            snapshot.gaps.standing.push(Gap { path, reason });
        }
    }
    has(b"io")
}

/// Without a cgroup2 tree: every process of /proc, gathered by the path that its cgroup file names,
/// so that units still have their processes. These cgroups have no figures of their own.
fn place_processes(
    reader: &ProcessReader<'_>,
    cgroups: &mut Vec<CgroupReading>,
    pass: &mut Pass<'_>,
) {
    let placed = reader.list_all(pass, PROCESSES_MAX);
    let mut old = std::mem::take(cgroups);
    let mut budget = FileBudget { left: 0 };
    let groups = placed.chunk_by(|(a, _), (b, _)| a == b);
    for group in groups {
        let Some((path, _)) = group.first() else { continue };
        let pids: Vec<u32> = group.iter().map(|(_, pid)| *pid).collect();
        let known = old.iter().position(|cgroup| *cgroup.key.path == **path);
        let mut reading = match known {
            Some(at) => old.swap_remove(at),
            None => CgroupReading::unread(CgroupKey { path: Arc::from(&**path), inode: 0 }),
        };
        let mut held = HeldStats::default();
        reader.read(&pids, &mut reading.processes, &mut held, &mut budget, false, pass);
        reading.read_at = pass.now();
        let first = reading.processes.first().map(|process| process.key.pid);
        let namespace = |pid| reader.namespaces.namespace_of(reader.procfs, pid).ok().flatten();
        reading.namespace = first.and_then(namespace);
        cgroups.push(reading);
    }
    cgroups.sort_by(|a, b| super::cgroups::tree_order(&a.key.path, &b.key.path));
}
