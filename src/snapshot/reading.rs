//! The readings of a cgroup, a process and a network namespace.

use super::topology::InterfaceFacts;
use crate::identity::{CgroupKey, ProcessKey};
use crate::quantity::{BootTime, Bytes, CpuTime, Limit};
use crate::source::cgroup::cpu_max::CpuMax;
use crate::source::cgroup::cpu_stat::CpuStat;
use crate::source::cgroup::io_stat::IoRow;
use crate::source::cgroup::memory_events::MemoryEvents;
use crate::source::cgroup::memory_stat::MemoryStat;
use crate::source::cgroup::pressure::Pressure;
use crate::source::proc::net_dev::InterfaceRow;
use crate::source::proc::pid_io::ProcessIo;
use crate::source::proc::pid_stat::Comm;

/// One cgroup. An absent file leaves `None`, which is never zero. If the file of `cpu` or `io`
/// could not be read, they are `None` too, and a gap says why.
#[derive(Debug, Clone)]
pub struct CgroupReading {
    pub key: CgroupKey,
    /// Index of the parent in [`Snapshot::cgroups`](super::Snapshot::cgroups); `None` for the root.
    pub parent: Option<usize>,
    /// The last time at which `cpu` and `io` were valid.
    pub read_at: BootTime,
    pub cpu: Option<CpuStat>,
    pub io: Option<Vec<IoRow>>,
    /// `cpu.stat` or `io.stat` is there and could not be read, so the usage is not known.
    pub cpu_unreadable: bool,
    pub io_unreadable: bool,
    pub memory: MemoryReading,
    pub pids: PidsReading,
    pub pressure: PressureReading,
    pub cpu_max: Option<CpuMax>,
    /// cpu.weight, 1 to 10000; 0 where all processes are idle ones (cpu.idle).
    pub cpu_weight: Option<u64>,
    /// Processes in this cgroup itself, not below it.
    pub processes: Vec<ProcessReading>,
    /// The identity of the network namespace of the first of them.
    pub namespace: Option<u64>,
    /// It was removed after a reading since the last sample. `cpu`, `io` and the memory events are
    /// as of that reading; all else is empty. It is in one snapshot only.
    pub removed: bool,
    /// It is no cgroup of the cgroup2 tree but the path of a cgroup of v1, or of one that the tree
    /// lacks. It has no figures but those of its processes.
    pub placed: bool,
}

impl CgroupReading {
    /// A cgroup without any reading.
    #[must_use]
    pub fn unread(key: CgroupKey) -> Self {
        Self {
            key,
            parent: None,
            read_at: BootTime::default(),
            cpu: None,
            io: None,
            cpu_unreadable: false,
            io_unreadable: false,
            memory: MemoryReading::default(),
            pids: PidsReading::default(),
            pressure: PressureReading::default(),
            cpu_max: None,
            cpu_weight: None,
            processes: Vec::new(),
            namespace: None,
            removed: false,
            placed: false,
        }
    }

    /// The processes that are counted in it.
    pub fn own_processes(&self) -> impl Iterator<Item = &ProcessReading> {
        self.processes.iter().filter(|process| process.place != CountedAt::Elsewhere)
    }

    /// Marks it as removed, and clears what is not valid any more.
    pub(super) fn mark_removed(&mut self) {
        self.removed = true;
        self.processes.clear();
        self.namespace = None;
        self.memory = MemoryReading { events: self.memory.events, ..MemoryReading::default() };
        self.pids = PidsReading::default();
        self.pressure = PressureReading::default();
    }
}

/// The memory files of one cgroup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryReading {
    pub current: Option<Bytes>,
    pub peak: Option<Bytes>,
    pub max: Option<Limit<Bytes>>,
    /// memory.min, the memory that is never reclaimed.
    pub min: Option<Limit<Bytes>>,
    pub swap_max: Option<Limit<Bytes>>,
    pub swap_current: Option<Bytes>,
    /// Huge pages of every size; part of `current` only where cgroup2 is mounted with
    /// `memory_hugetlb_accounting`. `None`: the node has none, or the hugetlb controller is off.
    pub huge_pages: Option<Bytes>,
    pub stat: Option<MemoryStat>,
    pub events: Option<MemoryEvents>,
}

impl MemoryReading {
    /// memory.current less the inactive page cache, not below 0: the kubelet's definition.
    #[must_use]
    pub fn working_set(&self) -> Option<Bytes> {
        Some(self.current?.saturating_sub(self.stat?.inactive_file?))
    }

    /// Subtracts the memory of a cgroup below. Peak and limits stay those of the whole.
    pub fn subtract(&mut self, below: &Self) {
        let less = |whole: Option<Bytes>, part: Option<Bytes>| {
            Some(whole?.saturating_sub(part.unwrap_or_default()))
        };
        self.current = less(self.current, below.current);
        self.swap_current = less(self.swap_current, below.swap_current);
        self.huge_pages = less(self.huge_pages, below.huge_pages);
        if let (Some(stat), Some(below)) = (&mut self.stat, &below.stat) {
            stat.anon = less(stat.anon, below.anon);
            stat.file = less(stat.file, below.file);
            stat.kernel = less(stat.kernel, below.kernel);
            stat.shmem = less(stat.shmem, below.shmem);
            stat.inactive_file = less(stat.inactive_file, below.inactive_file);
            stat.active_file = less(stat.active_file, below.active_file);
            stat.file_mapped = less(stat.file_mapped, below.file_mapped);
        }
    }
}

/// The pids files of one cgroup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PidsReading {
    /// Tasks, threads included.
    pub current: Option<u64>,
    pub max: Option<Limit<u64>>,
}

/// The pressure files of one cgroup, or of the node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PressureReading {
    /// The time of the reads; they are less frequent than those of the counters.
    pub read_at: BootTime,
    pub cpu: Option<Pressure>,
    pub memory: Option<Pressure>,
    pub io: Option<Pressure>,
}

/// The place where a process is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CountedAt {
    /// In this reading alone.
    #[default]
    Here,
    /// In another reading; this one only lists it.
    Elsewhere,
    /// In this placed reading. The counters of the cgroup of that index in
    /// [`Snapshot::cgroups`](super::Snapshot::cgroups) include it.
    CountedIn(usize),
}

/// One process, as of `read_at`.
#[derive(Debug, Clone)]
pub struct ProcessReading {
    pub key: ProcessKey,
    pub read_at: BootTime,
    pub comm: Comm,
    pub parent_pid: u32,
    pub kernel_thread: bool,
    /// `None`: the kernel's figure is none.
    pub threads: Option<u32>,
    /// User and system time of all its threads, exited ones included, in multiples of a clock tick.
    /// `None`: the kernel's figure is none.
    pub cpu: Option<CpuTime>,
    /// The same of its ended children that it has waited for, and of theirs.
    pub children: Option<CpuTime>,
    /// `None`: not known, as of a process whose first thread has exited and whose others cannot be
    /// read.
    pub resident: Option<Bytes>,
    /// `None` unless asked for and permitted.
    pub io: Option<ProcessIo>,
    /// Only with `cmdline`; arguments are separated by NUL.
    pub cmdline: Option<Box<[u8]>>,
    pub place: CountedAt,
}

/// One interface of a network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterfaceReading {
    pub row: InterfaceRow,
    pub facts: InterfaceFacts,
}

/// A network namespace and its interfaces.
#[derive(Debug, Clone)]
pub struct NamespaceReading {
    /// Its identity, as of [`CgroupReading::namespace`].
    pub id: u64,
    /// It is the namespace of pid 1, whose figures are the node's and never a pod's.
    pub is_host: bool,
    /// A process in it, through which it is read.
    pub leader_pid: u32,
    pub read_at: BootTime,
    /// All, those that are left out too. Empty for the host's namespace, which the node's reading
    /// has.
    pub interfaces: Vec<InterfaceReading>,
    /// The interfaces could be read.
    pub readable: bool,
}
