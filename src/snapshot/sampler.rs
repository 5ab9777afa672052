//! The sampler: reads everything a node offers, tick by tick.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::cgroups::{CgroupTree, CgroupWalk, is_cgroup2};
use super::controllers::Controllers;
use super::gaps::{Gap, GapReason, Gaps};
use super::held::HELD_FILES_MAX;
use super::huge_pages::HugePageFiles;
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

/// Ticks after which the controllers of the cgroups are looked at again.
const TICKS_TO_CONTROLLERS: u64 = 16;

/// Reads one host repeatedly into one [`Snapshot`].
pub struct Sampler {
    roots: Roots,
    options: SamplerOptions,
    hierarchy: Hierarchy,
    /// `None`: there is no cgroup2 tree, or it does not say.
    controllers: Option<Controllers>,
    /// The options want `/proc/<pid>/io` whatever the cgroups have.
    wants_process_io: bool,
    procfs: Dir,
    node: NodeReader,
    huge_pages: HugePageFiles,
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
    pub fn open(roots: Roots, options: SamplerOptions) -> Result<Self, ReadFailure> {
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
        let mut controllers = None;
        if let Some(path) = &mount.path {
            let opened = Dir::open(path).and_then(|dir| {
                if !is_cgroup2(&dir) {
                    return Err(ReadFailure::Absent);
                }
                if is_part_of_a_tree(&dir) {
                    let consequence = "its root is a cgroup of a larger tree, as in a container: where \
                                       /proc is the host's, usage of the rest of the host is in the \
                                       remainder; measure on the host itself";
                    let reason = GapReason::NotOffered { consequence };
                    snapshot.gaps.standing.push(Gap { path: (*b"cgroup2").into(), reason });
                }
                controllers = Controllers::open(&dir, mount.hierarchy, &mut buffer);
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
        let wants_process_io = options.processes.io;
        let sizes = Dir::open(&roots.sysfs.join("kernel/mm/hugepages")).ok();
        let huge_pages = HugePageFiles::find(sizes.as_ref());
        let mut opened = Self {
            hierarchy: mount.hierarchy,
            controllers,
            wants_process_io,
            roots,
            options,
            procfs,
            node,
            huge_pages,
            tree,
            placement: Placement::new(options.says_more),
            namespaces,
            namespaces_by,
            sockets,
            buffer,
            snapshot,
            tick: 0,
        };
        opened.look_at_controllers();
        Ok(opened)
    }

    /// Names the controllers that cgroups lack. Without io.stat, disk traffic is known from the processes
    /// only.
    fn look_at_controllers(&mut self) {
        let standing = &mut self.snapshot.gaps.standing;
        let has_io_stat = match &mut self.controllers {
            Some(controllers) => controllers.look(&mut self.buffer, standing),
            None => false,
        };
        self.options.processes.io = self.wants_process_io || !has_io_stat;
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
        tree.drain_events(&mut CgroupWalk {
            readings: cgroups,
            processes,
            huge_pages: &[],
            context: &mut context,
        });
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
        if self.tick > 0 && self.tick.is_multiple_of(TICKS_TO_CONTROLLERS) {
            self.look_at_controllers();
        }
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
                huge_pages: self.huge_pages.worth_reading(node.memory.as_ref()),
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

/// True if the tree's root is another cgroup than the host's root, which alone has no `cgroup.type`
/// (Documentation/admin-guide/cgroup-v2.rst, "Core Interface Files").
fn is_part_of_a_tree(root: &Dir) -> bool {
    root.has(c"cgroup.type")
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
