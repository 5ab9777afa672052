//! The sampler: reads everything a node offers, tick by tick.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::cgroups::{CgroupTree, CgroupWalk, is_cgroup2};
use super::gaps::{Gap, GapReason, Gaps};
use super::held::HELD_FILES_MAX;
use super::namespaces::NamespaceReader;
use super::node::NodeReader;
use super::placement::Placement;
use super::processes::{NamespaceBy, ProcessDetail, ProcessReader};
use super::read_context::ReadContext;
use super::roots::{Hierarchy, Roots};
use super::socket_reader::SocketReader;
use super::{CgroupReading, ReadCounts, Snapshot};
use crate::identity::BootId;
use crate::quantity::{BootTime, WallTime};
use crate::source::proc::pid_cgroup::SaysMore;
use crate::source::root::{Buffer, Dir, ReadFailure};

/// Options for reads beyond the basic counters.
#[derive(Debug, Clone, Copy)]
pub struct SamplerOptions {
    pub processes: ProcessDetail,
    /// Returns how long the node has been awake (CLOCK_MONOTONIC). `None`: the node's busy time is
    /// computed from its ticks.
    pub awake: Option<fn() -> Duration>,
    /// Pressure, limits and peaks of active cgroups are read once in this number of ticks.
    pub detail_ticks: u64,
    /// Limit of files kept open between ticks. Directories are kept besides, all within half of the
    /// process's limit of open files.
    pub held_files_max: usize,
    /// Watch for created and removed cgroups between samples: see [`Sampler::drain_events`].
    pub events: bool,
    /// Read the TCP sockets of the host's network namespace.
    pub sockets: bool,
    /// Returns true if the first path says more about the owner of a process than the second one.
    /// Readings know no owners.
    pub says_more: SaysMore,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self {
            processes: ProcessDetail::default(),
            awake: None,
            detail_ticks: 1,
            held_files_max: HELD_FILES_MAX,
            events: false,
            sockets: false,
            says_more: |_, _| false,
        }
    }
}

/// A queue of the kernel's events between two samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventQueue {
    /// Cgroups that were created, or lost their last process.
    Cgroups,
    /// Sockets that ended.
    Sockets,
}

/// Reads one host repeatedly into one [`Snapshot`].
pub struct Sampler {
    roots: Roots,
    options: SamplerOptions,
    hierarchy: Hierarchy,
    procfs: Dir,
    node: NodeReader,
    tree: Option<CgroupTree>,
    placement: Placement,
    namespaces: NamespaceReader,
    namespaces_by: NamespaceBy,
    sockets: SocketReader,
    buffer: Buffer,
    snapshot: Snapshot,
    tick: u64,
}

impl Sampler {
    /// Opens the roots.
    ///
    /// # Errors
    /// procfs is missing or forbidden. Everything else that is missing becomes a gap.
    pub fn open(roots: Roots, mut options: SamplerOptions) -> Result<Self, ReadFailure> {
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
        snapshot.gaps.standing.extend(roots.procfs_options(&procfs).gaps);
        let node = NodeReader::open(&roots, &procfs, &mut snapshot.gaps);
        let mount = roots.find_cgroup2();
        snapshot.gaps.standing.extend(mount.gaps);
        let mut tree = None;
        let mut has_io_stat = false;
        if let Some(path) = &mount.path {
            let opened = Dir::open(path).and_then(|dir| {
                if !is_cgroup2(&dir) {
                    return Err(ReadFailure::Absent);
                }
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
                    if options.events {
                        snapshot.gaps.standing.extend(opened.watch(path));
                    }
                    tree = Some(opened);
                }
                Err(failure) => {
                    let path = path.as_os_str().as_encoded_bytes().into();
                    let reason = match failure {
                        ReadFailure::Denied => GapReason::Denied,
                        _ => GapReason::NotOffered {
                            consequence: "is no cgroup2 mount, or cannot be opened: pods, \
                                containers and host units have the figures of their live processes \
                                only; --path.cgroupfs names the mount",
                        },
                    };
                    snapshot.gaps.standing.push(Gap { path, reason });
                }
            }
        }
        // Without io.stat, disk traffic is known from the processes only.
        options.processes.io |= !has_io_stat;
        let mut namespaces = NamespaceReader::default();
        let (namespaces_by, host) = NamespaceBy::find(&procfs);
        match host {
            Ok(id) => namespaces.host = id,
            Err(failure) => {
                let reason = match failure {
                    ReadFailure::Denied => GapReason::Denied,
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
            match SocketReader::open(&procfs, own.is_some() && own == namespaces.host) {
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
            placement: Placement::new(options.says_more),
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

    /// True if `/proc/<pid>/io` of each process is read: if the options say so, or cgroups have no
    /// io.stat.
    #[must_use]
    pub fn reads_process_io(&self) -> bool {
        self.options.processes.io
    }

    #[must_use]
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// Continues with what the previous sampler knows of sockets, and with the events that it received
    /// since its last sample.
    pub fn inherit(&mut self, before: Self) {
        self.sockets.inherit(before.sockets);
    }

    /// The gaps of the last tick. Ends the sampler.
    #[must_use]
    pub fn into_gaps(self) -> Gaps {
        self.snapshot.gaps
    }

    /// The state of the last tick.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// A descriptor that is readable when [`Self::drain_events`] has something to do.
    #[must_use]
    pub fn event_fd(&self, event_fd: EventQueue) -> Option<BorrowedFd<'_>> {
        match event_fd {
            EventQueue::Cgroups => self.tree.as_ref()?.event_fd(),
            EventQueue::Sockets => self.sockets.event_fd(),
        }
    }

    /// Handles the events since the last sample. Cgroups get a name in the next sample even if they
    /// are removed by then. The last counters of sockets are read before the kernel's queue
    /// overflows. No figure of a cgroup depends on it.
    pub fn drain_events(&mut self, event_fd: EventQueue, clock: &dyn Fn() -> BootTime) {
        let Snapshot { cgroups, gaps, counts, .. } = &mut self.snapshot;
        if event_fd == EventQueue::Sockets {
            return self.sockets.drain_events();
        }
        let Some(tree) = &mut self.tree else { return };
        let mut context =
            ReadContext { buffer: &mut self.buffer, gaps, counts, clock, tick: self.tick };
        let processes = ProcessReader {
            procfs: &self.procfs,
            namespaces: self.namespaces_by,
            units: self.roots.units,
            detail: self.options.processes,
        };
        tree.drain_events(&mut CgroupWalk { readings: cgroups, processes, context: &mut context });
    }

    /// The time for [`Self::look`]. `None`: there is none that would be over by `due`.
    #[must_use]
    pub fn next_look(&self, due: BootTime) -> Option<BootTime> {
        self.sockets.next_look(due)
    }

    /// Finds the cgroups of sockets that may end before the next sample; see
    /// [`SocketReader::look`].
    pub fn look(&mut self, clock: &dyn Fn() -> BootTime) {
        self.sockets.look(&mut self.buffer, clock);
    }

    /// Reads everything once. `clock` gives the time of each read; `wall` is the timestamp only.
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
            counts,
        } = &mut self.snapshot;
        *counts = ReadCounts::default();
        gaps.begin_tick();
        *begun_at = clock();
        *stamped = wall;
        let mut context =
            ReadContext { buffer: &mut self.buffer, gaps, counts, clock, tick: self.tick };
        self.node.read(&self.roots, &self.procfs, node, topology, &mut context);
        self.sockets.read(sockets, &mut context);
        let processes = ProcessReader {
            procfs: &self.procfs,
            namespaces: self.namespaces_by,
            units: self.roots.units,
            detail: self.options.processes,
        };
        self.placement.take_back(cgroups);
        let mut is_bare = true;
        if let Some(tree) = &mut self.tree {
            tree.walk(&mut CgroupWalk {
                readings: &mut *cgroups,
                processes,
                context: &mut context,
            });
            let reread = |at| tree.reread(at);
            self.placement.count_once(cgroups, &processes, &mut context, reread);
            if self.hierarchy == Hierarchy::Hybrid {
                self.placement.place_by_v1(cgroups, &processes, &mut context);
            }
            is_bare = add_bare_gap(cgroups, &mut context);
        }
        if is_bare {
            self.placement.place_unlisted(cgroups, &processes, &mut context);
        }
        self.placement.give_back(cgroups, &processes, &mut context);
        self.namespaces.read(&self.procfs, cgroups, namespaces, &mut context);
        self.sockets.finish(sockets, &mut context);
        self.node.read_cpu(node, self.options.awake, &mut context);
        *ended_at = clock();
        self.tick += 1;
        &self.snapshot
    }
}

/// Adds a gap for each missing controller: on a hybrid host cgroup v2 may have cpu.stat only. True
/// if the io controller is there.
fn name_missing_controllers(
    dir: &Dir,
    hierarchy: Hierarchy,
    buffer: &mut Buffer,
    snapshot: &mut Snapshot,
) -> bool {
    let lists = |text: &[u8], name: &[u8]| {
        text.split(|byte| byte.is_ascii_whitespace()).any(|controller| controller == name)
    };
    // Those of the cgroups below the root; unknown where the file cannot be read.
    let passed_on = dir.read_record(c"cgroup.subtree_control", buffer).map(<[u8]>::to_vec);
    let Ok(text) = dir.read_record(c"cgroup.controllers", buffer) else { return false };
    let has = |name: &[u8]| lists(text, name);
    let is_passed_on =
        |name: &[u8]| passed_on.as_ref().map_or(true, |passed_on| lists(passed_on, name));
    let missing: [(&[u8], &'static str, &'static str, &'static str); 4] = [
        (
            b"cpu",
            "cgroup2 has no cpu controller (v1 holds it): CPU time is there, throttling is not",
            "the cpu controller is off: CPU time is there, throttling is not",
            "the root's cgroup.subtree_control lacks cpu: CPU time is there, throttling is not",
        ),
        (
            b"memory",
            "cgroup2 has no memory controller (v1 holds it): memory of pods and units is the \
             resident set of their processes",
            "the memory controller is off: memory of pods and units is the resident set of their \
             processes",
            "the root's cgroup.subtree_control lacks memory: memory of pods and units is the resident \
             set of their processes",
        ),
        (
            b"io",
            "cgroup2 has no io controller (v1 holds it): disk traffic of pods and units is that \
             of their live processes",
            "the io controller is off: disk traffic of pods and units is that of their live \
             processes",
            "the root's cgroup.subtree_control lacks io: disk traffic of pods and units is that of \
             their live processes",
        ),
        (
            b"pids",
            "cgroup2 has no pids controller (v1 holds it): task counts are missing",
            "the pids controller is off: task counts are missing",
            "the root's cgroup.subtree_control lacks pids: task counts are missing",
        ),
    ];
    for (name, on_hybrid, off, not_passed_on) in missing {
        let consequence = match (has(name), hierarchy) {
            (true, _) => Some(not_passed_on).filter(|_| !is_passed_on(name)),
            (false, Hierarchy::Hybrid) => Some(on_hybrid),
            (false, _) => Some(off),
        };
        if let Some(consequence) = consequence {
            let path = [b"cgroup2 controller ", name].concat().into();
            let reason = GapReason::NotOffered { consequence };
            snapshot.gaps.standing.push(Gap { path, reason });
        }
    }
    has(b"io") && is_passed_on(b"io")
}

/// Adds a gap if the tree cannot be the host's: it has no cgroup but its root, or no process. True
/// if so; then the processes of /proc tell what they can.
fn add_bare_gap(cgroups: &[CgroupReading], context: &mut ReadContext<'_>) -> bool {
    let live = || cgroups.iter().filter(|reading| !reading.removed);
    let consequence = if live().count() <= 1 {
        "its root has no cgroup below: it is a container's own tree, or nothing on this host uses \
         cgroup v2; owners have the figures of their live processes only"
    } else if live().all(|reading| reading.processes.is_empty()) {
        "no cgroup in it lists a process: it is another host's tree, or the agent is in another pid \
         namespace; owners have the figures of the processes that /proc shows"
    } else {
        return false;
    };
    context.gaps.add(&[b"cgroup2"], GapReason::NotOffered { consequence });
    true
}
