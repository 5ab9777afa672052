//! What one interval came to, by owner.

use std::sync::Arc;

use crate::attribution::{InnerNode, QosClass, Runtime};
use crate::identity::{BootId, ContainerId, PodUid, ProcessKey};
use crate::quantity::{BootTime, Bytes, CpuTime, Limit, WallTime};
use crate::snapshot::node::{InterruptTime, NodeReading};
use crate::snapshot::{MemoryReading, PidsReading, PressureReading};
use crate::source::cgroup::cpu_max::CpuMax;
use crate::source::cgroup::cpu_stat::Throttling;
use crate::source::proc::loadavg::LoadAverage;
use crate::source::proc::meminfo::MemInfo;
use crate::source::proc::pid_stat::Comm;

/// One interval of one node. Every flow is a difference over the interval; every gauge is as of
/// its end. `None` is "not known", never zero.
#[derive(Debug, Clone, Default)]
pub struct Account {
    pub boot: Option<BootId>,
    /// End of the earlier sample; `None` in the first sample of all, which has gauges only.
    pub since: Option<BootTime>,
    pub until: BootTime,
    pub wall: WallTime,
    pub node: NodeUsage,
    /// By uid.
    pub pods: Vec<PodUsage>,
    /// Containers of pods, by pod and id.
    pub containers: Vec<ContainerUsage>,
    /// Host units and containers outside Kubernetes, by path.
    pub units: Vec<UnitUsage>,
    /// Inner cgroups with usage that no live child explains, by path.
    pub exited: Vec<ExitedUsage>,
    /// Live processes, in the order of their cgroups.
    pub processes: Vec<ProcessUsage>,
    /// Pod cgroups without processes, usage or containers: twins and leftovers that a kubelet
    /// leaves behind. They are no pods.
    pub empty_pod_cgroups: u32,
    pub conservation: Conservation,
}

impl Account {
    /// The containers of a pod.
    #[must_use]
    pub fn containers_of(&self, pod: PodUid) -> &[ContainerUsage] {
        let start = self.containers.partition_point(|container| container.pod < pod);
        let end = self.containers.partition_point(|container| container.pod <= pod);
        self.containers.get(start..end).unwrap_or_default()
    }
}

/// CPU time used and over how long, by the times of the object's own reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuUsage {
    pub usage: CpuTime,
    /// `None` where the figure is that of live processes and not a cgroup's.
    pub split: Option<CpuSplit>,
    /// Time between the two reads.
    pub over_usec: u64,
}

/// How CPU time divides; on most kernels sampled by the tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuSplit {
    pub user: CpuTime,
    pub system: CpuTime,
}

impl CpuUsage {
    /// Thousandths of a CPU, rounded to the nearest; 0 over no time.
    #[must_use]
    pub fn millicores(&self) -> u64 {
        cores(self.usage, self.over_usec, 1_000)
    }

    /// Billionths of a CPU, likewise.
    #[must_use]
    pub fn nanocores(&self) -> u64 {
        cores(self.usage, self.over_usec, 1_000_000_000)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskUsage {
    pub read: Bytes,
    pub written: Bytes,
    pub read_ops: u64,
    pub write_ops: u64,
    pub from: DiskSource,
}

/// Where an owner's disk figure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiskSource {
    /// io.stat of its cgroups, each transfer counted once over all layers.
    #[default]
    IoStat,
    /// `/proc/<pid>/io` of its live processes, where cgroup v2 has no io controller: what processes
    /// that have exited did is missing, and writes count when made, not when written back.
    Processes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NetworkUsage {
    pub rx: Bytes,
    pub tx: Bytes,
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_errors: u64,
    pub tx_errors: u64,
    pub rx_dropped: u64,
    pub tx_dropped: u64,
    pub from: NetworkSource,
}

/// Where an owner's network figure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum NetworkSource {
    /// The interfaces of a network namespace of its own: all that passed, headers included.
    #[default]
    Interfaces,
    /// Its TCP sockets in the host's network namespace: payload, with segments for packets and
    /// neither errors nor drops. UDP, and connections that began and ended between two samples, are
    /// not in it.
    TcpSockets,
}

/// The node itself.
#[derive(Debug, Clone, Default)]
pub struct NodeUsage {
    pub cpus: u32,
    pub cpu: Option<NodeCpu>,
    pub memory: Option<MemInfo>,
    pub disk: Option<DiskUsage>,
    pub network: Option<NetworkUsage>,
    pub pressure: PressureReading,
    pub load: Option<LoadAverage>,
    pub uptime_hundredths: Option<u64>,
    pub procs_running: Option<u64>,
    pub procs_blocked: Option<u64>,
}

impl NodeUsage {
    pub(super) fn gauges_of(&mut self, node: &NodeReading) {
        self.cpus = node.cpu.map_or(0, |cpu| cpu.cpus);
        self.memory = node.memory;
        self.pressure = node.pressure;
        self.load = node.load;
        self.uptime_hundredths = node.uptime_hundredths;
        self.procs_running = node.cpu.map(|cpu| cpu.procs_running);
        self.procs_blocked = node.cpu.map(|cpu| cpu.procs_blocked);
    }
}

/// The node's CPU time over the interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeCpu {
    /// The time of all CPUs less `idle`, `iowait` and `steal`. Of a captured host, and where CPUs
    /// came or went: the sum of the four parts behind it. Those are counted by the tick, so they
    /// come to a little more or less than it, and on a virtual machine that lost ticks to much less.
    pub busy: CpuTime,
    /// With nice, and with guests inside both.
    pub user: CpuTime,
    pub system: CpuTime,
    pub irq: CpuTime,
    pub softirq: CpuTime,
    /// Taken by the hypervisor: no part of busy.
    pub steal: CpuTime,
    pub idle: CpuTime,
    /// Idle with I/O outstanding: no part of busy.
    pub iowait: CpuTime,
    /// Whether `irq` and `softirq` are in the tasks' usage as well.
    pub interrupts: InterruptTime,
    pub over_usec: u64,
}

impl NodeCpu {
    /// Thousandths of a CPU in use, rounded to the nearest; 0 over no time.
    #[must_use]
    pub fn millicores(&self) -> u64 {
        cores(self.busy, self.over_usec, 1_000)
    }

    /// Billionths of a CPU in use, likewise.
    #[must_use]
    pub fn nanocores(&self) -> u64 {
        cores(self.busy, self.over_usec, 1_000_000_000)
    }
}

/// CPUs in use, in parts of which `parts` make one.
fn cores(usage: CpuTime, over_usec: u64, parts: u64) -> u64 {
    let over = u128::from(over_usec);
    if over == 0 {
        return 0;
    }
    let cores = (u128::from(usage.as_usec()) * u128::from(parts) + over / 2) / over;
    u64::try_from(cores).unwrap_or(u64::MAX)
}

/// What an owner used and holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub cpu: Option<CpuUsage>,
    pub disk: Option<DiskUsage>,
    pub network: Option<NetworkUsage>,
    pub memory: MemoryReading,
    /// Σ of the resident sets of its live processes; shared pages count once a process.
    pub resident: Bytes,
    pub throttling: Option<Throttling>,
    /// Processes that the OOM killer took in the interval.
    pub oom_kills: Option<u64>,
    pub pids: PidsReading,
    pub pressure: PressureReading,
    pub cpu_max: Option<CpuMax>,
    pub processes: u32,
    /// CPU of its live processes; what `cpu` has more is of processes that have exited.
    pub processes_cpu: CpuTime,
}

impl Usage {
    /// CPU of processes that have exited: what the cgroup used beyond its live ones. Ticks of the
    /// live ones may run ahead of the cgroup's own clock, and then it is 0.
    #[must_use]
    pub fn exited_processes_cpu(&self) -> Option<CpuTime> {
        Some(self.cpu?.usage.saturating_sub(self.processes_cpu))
    }

    /// The CPU limit in thousandths of a CPU, where one is set.
    #[must_use]
    pub fn cpu_limit_millicores(&self) -> Option<u64> {
        let CpuMax { quota: Limit::At(quota), period } = self.cpu_max? else { return None };
        let millicores = u128::from(quota.as_usec()) * 1000 / u128::from(period.as_usec().max(1));
        u64::try_from(millicores).ok()
    }

    /// The memory limit, where one is set.
    #[must_use]
    pub fn memory_limit(&self) -> Option<Bytes> {
        match self.memory.max? {
            Limit::At(bytes) => Some(bytes),
            Limit::Max => None,
        }
    }

    /// The best that is known of memory in use: the working set, or where cgroup v2 has no memory
    /// controller, the processes' resident sets.
    #[must_use]
    pub fn memory_in_use(&self) -> Bytes {
        self.memory.working_set().unwrap_or(self.resident)
    }
}

/// A pod: its slice, which includes the sandbox and what the runtime spends in it.
#[derive(Debug, Clone)]
pub struct PodUsage {
    pub uid: PodUid,
    pub qos: QosClass,
    /// The cgroup in which its counters were found.
    pub path: Arc<[u8]>,
    /// Its cgroup is gone; what is here was read before its end. Flows of what it did between that
    /// reading and its end stand in `exited`.
    pub exited: bool,
    /// It stands in the host's network namespace, so the host's figures are not its own, and its
    /// network figure is that of its TCP sockets. `None`: not known, for want of rights.
    pub host_network: Option<bool>,
    pub usage: Usage,
}

/// A container of a pod, the sandbox among them.
#[derive(Debug, Clone)]
pub struct ContainerUsage {
    pub pod: PodUid,
    pub id: ContainerId,
    pub runtime: Runtime,
    pub path: Arc<[u8]>,
    /// As of a pod; what it did later stands in its pod, if that is still there.
    pub exited: bool,
    pub usage: Usage,
}

#[derive(Debug, Clone)]
pub struct UnitUsage {
    /// The cgroup at which the owner starts; the root's `/` stands for strays in the root cgroup.
    pub path: Arc<[u8]>,
    pub kind: UnitKind,
    /// As of a pod.
    pub exited: bool,
    pub usage: Usage,
}

impl UnitUsage {
    /// The last component of the path: `ssh.service`.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        let name = self.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if name.is_empty() { b"/" } else { name }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitKind {
    /// A systemd unit, or a plain cgroup of the host.
    Unit,
    /// A container outside Kubernetes.
    Container { id: ContainerId, runtime: Runtime },
    /// Processes in the root cgroup that are no kernel threads.
    Root,
}

/// Usage of what lived and died below an inner cgroup since the last sample.
#[derive(Debug, Clone)]
pub struct ExitedUsage {
    pub path: Arc<[u8]>,
    pub node: InnerNode,
    pub cpu: CpuTime,
    pub disk: DiskUsage,
    /// Of its TCP sockets in the host's namespace.
    pub network: NetworkUsage,
}

#[derive(Debug, Clone)]
pub struct ProcessUsage {
    pub key: ProcessKey,
    pub comm: Comm,
    pub parent_pid: u32,
    pub threads: u32,
    pub kernel_thread: bool,
    /// The cgroup it stands in.
    pub cgroup: Arc<[u8]>,
    /// `None` where it was there before the last sample and was not seen in it.
    pub cpu: Option<CpuUsage>,
    pub disk: Option<DiskUsage>,
    pub resident: Bytes,
    pub cmdline: Option<Box<[u8]>>,
}

/// node = pods + host_units + kernel + interrupts + exited + unattributed, for each resource.
///
/// Never rescaled: the remainder is signed, and says how far two clocks or two meters disagree, or
/// what nobody can be given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Conservation {
    /// Microseconds. The node's total moves in clock ticks, the parts in nanoseconds.
    pub cpu_usec: Option<Balance>,
    /// Bytes at the end of the interval: MemTotal less MemFree against memory.current.
    pub memory_bytes: Option<Balance>,
    pub disk_read_bytes: Option<Balance>,
    pub disk_written_bytes: Option<Balance>,
    /// Traffic between two pods of the node passes no physical interface, so pods may have more
    /// than the node and the remainder be negative.
    pub network_rx_bytes: Option<Balance>,
    pub network_tx_bytes: Option<Balance>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Balance {
    pub node: u64,
    pub pods: u64,
    pub host_units: u64,
    /// Kernel threads, and of network the sockets of the root cgroup (such as NFS has); 0 for
    /// resources that they are not told apart in.
    pub kernel: u64,
    /// irq and softirq; of CPU only. Where the kernel counts them with the tasks that they
    /// interrupt, the share of them that idle time has in all time: an estimate of those that came
    /// while a CPU was idle.
    pub interrupts: u64,
    /// What died since the last sample; of memory, what slices hold beyond their live children.
    pub exited: u64,
    pub unattributed: i64,
}

impl Balance {
    #[must_use]
    pub fn new(
        node: u64,
        pods: u64,
        host_units: u64,
        kernel: u64,
        interrupts: u64,
        exited: u64,
    ) -> Self {
        let parts = [pods, host_units, kernel, interrupts, exited];
        let given: i128 = parts.iter().map(|part| i128::from(*part)).sum();
        let unattributed = (i128::from(node) - given).clamp(i64::MIN.into(), i64::MAX.into());
        let unattributed = i64::try_from(unattributed).unwrap_or_default();
        Self { node, pods, host_units, kernel, interrupts, exited, unattributed }
    }
}
