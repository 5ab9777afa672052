//! The usage of one interval, by owner.

use std::borrow::Cow;
use std::sync::Arc;

use super::delta::{IoDelta, unsigned};
use super::event_counts::EventCounts;
use super::memory_parts::MemoryParts;
use crate::attribution::{self, GuestKind, InnerNode, QosClass, Runtime};
use crate::identity::{BootId, ContainerId, PodUid, ProcessKey};
use crate::quantity::{BootTime, Bytes, CpuTime, Limit, WallTime};
use crate::snapshot::gaps::Gaps;
use crate::snapshot::node::{InterruptTime, NodeReading};
use crate::snapshot::{MemoryReading, PidsReading, PressureReading};
use crate::source::cgroup::cpu_max::CpuMax;
use crate::source::cgroup::cpu_stat::{CpuStat, Throttling};
use crate::source::proc::diskstats::{DiskActivity, DiskName};
use crate::source::proc::loadavg::LoadAverage;
use crate::source::proc::meminfo::MemInfo;
use crate::source::proc::net_dev::InterfaceName;
use crate::source::proc::pid_stat::Comm;

/// The usage of one node in one interval. Every amount is a difference over the interval; every
/// gauge is as of its end. `None` is "not known", never zero.
#[derive(Debug, Clone, Default)]
pub struct Account {
    pub boot: Option<BootId>,
    /// End of the earlier sample; `None` in the first sample, which has gauges only.
    pub since: Option<BootTime>,
    pub until: BootTime,
    pub wall: WallTime,
    pub node: NodeUsage,
    /// Sorted by uid.
    pub pods: Vec<PodUsage>,
    /// Containers of pods, sorted by pod and id.
    pub containers: Vec<ContainerUsage>,
    /// Host units and containers outside Kubernetes, sorted by path.
    pub units: Vec<UnitUsage>,
    /// Inner cgroups with usage that no live child explains, sorted by path.
    pub exited: Vec<ExitedUsage>,
    /// Usage of ended processes by the parent that waited for them, largest first. It is in the
    /// usage of the parent's owner, and known only where a cgroup has no CPU counter.
    pub exited_children: Vec<ExitedChildren>,
    /// Live processes, in the order of their cgroups.
    pub processes: Vec<ProcessUsage>,
    /// Number of pod cgroups without processes, usage or containers, which a kubelet can leave
    /// behind. They are no pods.
    pub empty_pod_cgroups: u32,
    pub conservation: Conservation,
    /// Counters that did what a counter cannot do. Their usage is 0 or unknown.
    pub gaps: Gaps,
}

impl Account {
    /// The length of the interval, in microseconds; `None` in the first sample.
    #[must_use]
    pub fn interval_usec(&self) -> Option<u64> {
        Some(self.until.usec_since(self.since?))
    }

    /// CPU time as a rate over the interval, so that rate times interval is the usage: also of what
    /// lived for a part of it, and of runs that are summed.
    #[must_use]
    pub fn over_interval(&self, cpu: CpuUsage) -> CpuUsage {
        CpuUsage { over_usec: self.interval_usec().unwrap_or(cpu.over_usec), ..cpu }
    }

    /// All containers of a pod, the sandbox and exited ones too.
    #[must_use]
    pub fn containers_of(&self, pod: PodUid) -> &[ContainerUsage] {
        let start = self.containers.partition_point(|container| container.pod < pod);
        let end = self.containers.partition_point(|container| container.pod <= pod);
        self.containers.get(start..end).unwrap_or_default()
    }
}

/// CPU time used, and the time between the object's own two reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuUsage {
    pub usage: CpuTime,
    /// `None` if the usage is that of live processes and not a cgroup's.
    pub split: Option<CpuSplit>,
    /// Time between the two reads.
    pub over_usec: u64,
}

/// User and system CPU time; on most kernels sampled by the tick.
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

    /// Billionths of a CPU, rounded to the nearest; 0 over no time.
    #[must_use]
    pub fn nanocores(&self) -> u64 {
        cores(self.usage, self.over_usec, 1_000_000_000)
    }
}

/// Disk traffic in the interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskUsage {
    pub read: Bytes,
    pub written: Bytes,
    pub read_ops: u64,
    pub write_ops: u64,
    pub from: DiskSource,
}

impl DiskUsage {
    pub(super) fn of_delta(delta: IoDelta, from: DiskSource) -> Self {
        Self {
            read: Bytes::from_bytes(unsigned(delta.read)),
            written: Bytes::from_bytes(unsigned(delta.written)),
            read_ops: unsigned(delta.read_ops),
            write_ops: unsigned(delta.write_ops),
            from,
        }
    }
}

/// The source of an owner's disk usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiskSource {
    /// io.stat of its cgroups, each transfer counted once over all layers.
    #[default]
    IoStat,
    /// `/proc/<pid>/io` of its live processes, where cgroup v2 has no io controller. Exited
    /// processes are missing, and a write counts when made, not when written back.
    Processes,
}

/// Network traffic in the interval.
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

impl NetworkUsage {
    /// The traffic without the part `other`.
    pub(super) fn less(&self, other: &Self) -> Self {
        Self {
            rx: self.rx.saturating_sub(other.rx),
            tx: self.tx.saturating_sub(other.tx),
            rx_packets: self.rx_packets.saturating_sub(other.rx_packets),
            tx_packets: self.tx_packets.saturating_sub(other.tx_packets),
            rx_errors: self.rx_errors.saturating_sub(other.rx_errors),
            tx_errors: self.tx_errors.saturating_sub(other.tx_errors),
            rx_dropped: self.rx_dropped.saturating_sub(other.rx_dropped),
            tx_dropped: self.tx_dropped.saturating_sub(other.tx_dropped),
            from: self.from,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        let before = *self;
        self.rx += other.rx;
        self.tx += other.tx;
        self.rx_packets += other.rx_packets;
        self.tx_packets += other.tx_packets;
        self.rx_errors += other.rx_errors;
        self.tx_errors += other.tx_errors;
        self.rx_dropped += other.rx_dropped;
        self.tx_dropped += other.tx_dropped;
        // A part without traffic does not change the source of the sum.
        let is_zero = |one: &Self| one.rx == Bytes::ZERO && one.tx == Bytes::ZERO;
        if is_zero(&before) || !is_zero(other) {
            self.from = self.from.max(other.from);
        }
    }
}

/// The source of an owner's network usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum NetworkSource {
    /// The interfaces of a network namespace of its own: all bytes, headers included.
    #[default]
    Interfaces,
    /// Its TCP sockets in the host's network namespace: payload, with segments for packets and
    /// neither errors nor drops. UDP, and connections that began and ended between two samples, are
    /// not in it.
    TcpSockets,
}

/// The usage of the node itself.
#[derive(Debug, Clone, Default)]
pub struct NodeUsage {
    pub cpus: u32,
    pub cpu: Option<NodeCpu>,
    pub memory: Option<MemInfo>,
    /// `None`: memory in use is not known.
    pub memory_parts: Option<MemoryParts>,
    /// Events of the whole cgroup tree in the interval.
    pub events: EventCounts,
    pub disk: Option<DiskUsage>,
    /// Merges and times of its disks in the interval, as a sum over the disks.
    pub disk_activity: Option<DiskActivity>,
    /// The node's disk; `None`: there is none, or several.
    pub disk_name: Option<DiskName>,
    pub network: Option<NetworkUsage>,
    /// The one interface to other hosts that has carried traffic; `None`: none or several have.
    pub interface: Option<InterfaceName>,
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
        self.memory_parts = MemoryParts::of_node(node);
        self.pressure = node.pressure;
        self.load = node.load;
        self.uptime_hundredths = node.uptime_hundredths;
        self.procs_running = node.cpu.and_then(|cpu| cpu.procs_running);
        self.procs_blocked = node.cpu.and_then(|cpu| cpu.procs_blocked);
    }
}

/// The node's CPU time over the interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeCpu {
    /// One of the two below: see `ledger::balance`.
    pub busy: CpuTime,
    /// The time of all CPUs less `idle`, `iowait` and `steal`. `None` for a captured host, where
    /// CPUs came or went, and where idle time cannot be true. Too low where CPUs sleep often and
    /// shortly.
    pub busy_by_idle: Option<CpuTime>,
    /// The sum of user, system, irq and softirq. Counted by the tick, so it misses short work, and
    /// much on a virtual machine that lost ticks.
    pub busy_by_ticks: Option<CpuTime>,
    /// Includes nice, and guests of both. `None`, here and below: the kernel's figure is none.
    pub user: Option<CpuTime>,
    pub system: Option<CpuTime>,
    pub irq: Option<CpuTime>,
    pub softirq: Option<CpuTime>,
    /// Taken by the hypervisor; not part of busy.
    pub steal: Option<CpuTime>,
    pub idle: Option<CpuTime>,
    /// Idle with I/O outstanding; not part of busy.
    pub iowait: Option<CpuTime>,
    /// Tells if `irq` and `softirq` are also in the tasks' usage.
    pub interrupts: InterruptTime,
    /// The number of interrupts of all kinds, `intr` of `/proc/stat`.
    pub interrupts_count: Option<u64>,
    pub over_usec: u64,
}

impl NodeCpu {
    /// Thousandths of a CPU in use, rounded to the nearest; 0 over no time.
    #[must_use]
    pub fn millicores(&self) -> u64 {
        cores(self.busy, self.over_usec, 1_000)
    }

    /// Billionths of a CPU in use, rounded to the nearest; 0 over no time.
    #[must_use]
    pub fn nanocores(&self) -> u64 {
        cores(self.busy, self.over_usec, 1_000_000_000)
    }
}

/// CPUs in use, in units of 1/`parts` CPU.
fn cores(usage: CpuTime, over_usec: u64, parts: u64) -> u64 {
    let over = u128::from(over_usec);
    if over == 0 {
        return 0;
    }
    let cores = (u128::from(usage.as_usec()) * u128::from(parts) + over / 2) / over;
    u64::try_from(cores).unwrap_or(u64::MAX)
}

/// The usage of one owner: amounts of the interval, gauges as of its end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub cpu: Option<CpuUsage>,
    pub disk: Option<DiskUsage>,
    pub network: Option<NetworkUsage>,
    pub memory: MemoryReading,
    /// Sum of the resident sets of its live processes; shared pages count once per process.
    pub resident: Bytes,
    pub throttling: Option<Throttling>,
    /// Events in the interval.
    pub events: EventCounts,
    pub pids: PidsReading,
    pub pressure: PressureReading,
    pub cpu_max: Option<CpuMax>,
    pub cpu_weight: Option<u64>,
    pub processes: u32,
    /// CPU of its live processes; the rest of `cpu` is of exited ones.
    pub processes_cpu: CpuTime,
    /// The kernel's own CPU counters of its highest cgroup, since that was made.
    pub cpu_counters: Option<CpuStat>,
    /// The start of the oldest of its live processes.
    pub started: Option<BootTime>,
    /// The one interface that has carried traffic in its network namespace; `None`: none or several
    /// have, or it has no namespace of its own.
    pub interface: Option<InterfaceName>,
}

impl Usage {
    /// CPU of exited processes: what the cgroup used beyond its live ones. 0 if the ticks of the
    /// live ones run ahead of the cgroup's own clock. `None`: the CPU usage is not known.
    #[must_use]
    pub fn exited_processes_cpu(&self) -> Option<CpuTime> {
        Some(self.cpu?.usage.saturating_sub(self.processes_cpu))
    }

    /// The CPU limit in thousandths of a CPU; `None` if none is set or it is not known.
    #[must_use]
    pub fn cpu_limit_millicores(&self) -> Option<u64> {
        let CpuMax { quota: Limit::At(quota), period } = self.cpu_max? else { return None };
        let millicores = u128::from(quota.as_usec()) * 1000 / u128::from(period.as_usec().max(1));
        u64::try_from(millicores).ok()
    }

    /// The memory limit; `None` if none is set or it is not known.
    #[must_use]
    pub fn memory_limit(&self) -> Option<Bytes> {
        match self.memory.max? {
            Limit::At(bytes) => Some(bytes),
            Limit::Max => None,
        }
    }

    /// The memory that is never reclaimed; `None` if that is all of it, or it is not known.
    #[must_use]
    pub fn memory_reservation(&self) -> Option<Bytes> {
        self.memory.min.and_then(Limit::at)
    }

    /// The limit of swap; `None` if none is set or it is not known.
    #[must_use]
    pub fn swap_limit(&self) -> Option<Bytes> {
        self.memory.swap_max.and_then(Limit::at)
    }

    /// Memory in use: the working set, or where cgroup v2 has no memory controller, the resident
    /// sets of the processes.
    #[must_use]
    pub fn memory_in_use(&self) -> Bytes {
        self.memory.working_set().unwrap_or(self.resident)
    }
}

/// The usage of a pod: of its slice, with the sandbox and the runtime's own processes in it.
#[derive(Debug, Clone)]
pub struct PodUsage {
    pub uid: PodUid,
    pub qos: QosClass,
    /// The cgroup in which its counters were found.
    pub path: Arc<[u8]>,
    /// Its cgroup was removed, and this was read before its end. Its usage between that reading and
    /// its end is in [`Account::exited`].
    pub exited: bool,
    /// It is in the host's network namespace, so its network usage is that of its TCP sockets.
    /// `None`: not known, because a right is missing.
    pub host_network: Option<bool>,
    pub usage: Usage,
}

/// The usage of a container of a pod; the sandbox is one of them.
#[derive(Debug, Clone)]
pub struct ContainerUsage {
    pub pod: PodUid,
    pub id: ContainerId,
    pub runtime: Runtime,
    pub path: Arc<[u8]>,
    /// Its cgroup was removed. Later usage is in its pod, if that is still there.
    pub exited: bool,
    pub usage: Usage,
}

/// The usage of a host unit, or of a container outside Kubernetes.
#[derive(Debug, Clone)]
pub struct UnitUsage {
    /// The cgroup at which the owner starts; `/` for strays in the root cgroup.
    pub path: Arc<[u8]>,
    pub kind: UnitKind,
    /// Its cgroup was removed, and this was read before its end.
    pub exited: bool,
    pub usage: Usage,
}

impl UnitUsage {
    /// The last component of the path (`ssh.service`); of a guest, its own name (`web` of
    /// `lxc.payload.web`).
    #[must_use]
    pub fn name(&self) -> Cow<'_, [u8]> {
        let name = self.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        match self.kind {
            _ if name.is_empty() => Cow::Borrowed(b"/"),
            UnitKind::Guest(_) => attribution::guest_name(name),
            _ => Cow::Borrowed(name),
        }
    }
}

/// The kind of a host unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitKind {
    /// A systemd unit, or a plain cgroup of the host.
    Unit,
    /// A container outside Kubernetes.
    Container { id: ContainerId, runtime: Runtime },
    /// A guest system or a batch job, with everything in it.
    Guest(GuestKind),
    /// A cgroup that a file of names made an owner, with everything in it but pods.
    Named,
    /// Live processes in a slice itself, which systemd does not put there.
    Slice,
    /// Processes in the root cgroup that are no kernel threads.
    Root,
}

/// The usage of cgroups below an inner cgroup that were created and removed since the last sample.
#[derive(Debug, Clone)]
pub struct ExitedUsage {
    pub path: Arc<[u8]>,
    pub node: InnerNode,
    pub cpu: CpuTime,
    pub disk: DiskUsage,
    /// Traffic of its TCP sockets in the host's network namespace.
    pub network: NetworkUsage,
}

/// The usage of processes that ended since the last sample, which their parent waited for.
#[derive(Debug, Clone)]
pub struct ExitedChildren {
    pub parent: ProcessKey,
    /// The parent's.
    pub comm: Comm,
    /// The parent's.
    pub cgroup: Arc<[u8]>,
    /// Their usage since the last sample only.
    pub cpu: CpuTime,
}

/// The usage of a live process.
#[derive(Debug, Clone)]
pub struct ProcessUsage {
    pub key: ProcessKey,
    pub comm: Comm,
    pub parent_pid: u32,
    pub threads: Option<u32>,
    pub kernel_thread: bool,
    /// The cgroup it is in; where a cgroup of v1 says more about its owner than cgroup2 does, that
    /// one.
    pub cgroup: Arc<[u8]>,
    /// The cgroup that a file of names made its owner; `None` if its path alone tells the owner.
    pub named: Option<Arc<[u8]>>,
    /// `None` if it started before the last sample and was not seen in it.
    pub cpu: Option<CpuUsage>,
    pub disk: Option<DiskUsage>,
    /// `None`: not known.
    pub resident: Option<Bytes>,
    pub cmdline: Option<Box<[u8]>>,
}

/// The balance of each resource: node + inside_node = pods + host_units + kernel + interrupts +
/// exited + unattributed.
///
/// Nothing is rescaled. The remainder `unattributed` is signed: it is the disagreement of two
/// clocks or meters, and usage without an owner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Conservation {
    /// Microseconds. The node's total moves in clock ticks, the parts in nanoseconds.
    pub cpu_usec: Option<Balance>,
    /// Bytes at the end of the interval: MemTotal less MemFree against memory.current.
    pub memory_bytes: Option<Balance>,
    pub disk_read_bytes: Option<Balance>,
    pub disk_written_bytes: Option<Balance>,
    /// The node's is what came from outside. See [`Balance::inside_node`].
    pub network_rx_bytes: Option<Balance>,
    pub network_tx_bytes: Option<Balance>,
}

/// The balance of one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Balance {
    pub node: u64,
    pub pods: u64,
    pub host_units: u64,
    /// Kernel threads; of network, the sockets of the root cgroup (such as those of NFS). Of memory,
    /// slab, stacks and page tables that no cgroup is charged for, and the root cgroup's own memory
    /// where no other processes stand in it. 0 for disks.
    pub kernel: u64,
    /// irq and softirq; of CPU only. Where the kernel counts them with the tasks that they
    /// interrupt, an estimate of those that came while a CPU was idle.
    pub interrupts: u64,
    /// Cgroups removed since the last sample; of memory, what slices hold beyond their live
    /// children.
    pub exited: u64,
    pub unattributed: i64,
    /// The most of `unattributed`, on either side of 0, that the kernel's meters leave open: what
    /// they disagree by, their steps, and the estimate of interrupts. What is beyond has another
    /// cause. `None`: not known; of CPU only.
    pub uncertainty: Option<u64>,
    /// Of network: traffic of owners that did not pass the node's own interfaces, because it went
    /// from one owner of the node to another. It is the sum of all owners beyond the node's, so at
    /// least so much; traffic between owners that outside traffic without an owner makes up for is
    /// not in it. 0 for other resources.
    pub inside_node: u64,
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
        Self {
            node,
            pods,
            host_units,
            kernel,
            interrupts,
            exited,
            unattributed,
            uncertainty: None,
            inside_node: 0,
        }
    }

    /// A balance with the outside: what the parts have beyond the node's was inside the node.
    #[must_use]
    pub fn with_outside(node: u64, pods: u64, host_units: u64, kernel: u64, exited: u64) -> Self {
        let balance = Self::new(node, pods, host_units, kernel, 0, exited);
        let inside_node = balance.unattributed.min(0).unsigned_abs();
        Self { unattributed: balance.unattributed.max(0), inside_node, ..balance }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight figures, each another one, times `by`.
    fn traffic(by: u64, from: NetworkSource) -> NetworkUsage {
        NetworkUsage {
            rx: Bytes::from_bytes(1000 * by),
            tx: Bytes::from_bytes(2000 * by),
            rx_packets: 30 * by,
            tx_packets: 40 * by,
            rx_errors: 5 * by,
            tx_errors: 6 * by,
            rx_dropped: 7 * by,
            tx_dropped: 8 * by,
            from,
        }
    }

    #[test]
    fn every_figure_of_traffic_is_added_and_subtracted() {
        let from = NetworkSource::Interfaces;
        let mut sum = traffic(3, from);
        sum.add(&traffic(2, from));
        assert_eq!(sum, traffic(5, from));
        assert_eq!(sum.less(&traffic(4, from)), traffic(1, from));
        assert_eq!(traffic(1, from).less(&traffic(2, from)), traffic(0, from));
    }

    #[test]
    fn a_part_without_traffic_does_not_change_the_source() {
        use NetworkSource::{Interfaces, TcpSockets};
        let received = |from| NetworkUsage { tx: Bytes::ZERO, ..traffic(1, from) };
        let sent = |from| NetworkUsage { rx: Bytes::ZERO, ..traffic(1, from) };
        for (sum, part, from) in [
            (traffic(1, Interfaces), traffic(0, TcpSockets), Interfaces),
            (traffic(1, Interfaces), received(TcpSockets), TcpSockets),
            (traffic(1, Interfaces), sent(TcpSockets), TcpSockets),
            (received(Interfaces), traffic(0, TcpSockets), Interfaces),
            (sent(Interfaces), traffic(0, TcpSockets), Interfaces),
            (traffic(0, Interfaces), traffic(0, TcpSockets), TcpSockets),
        ] {
            let mut all = sum;
            all.add(&part);
            assert_eq!(all.from, from, "{sum:?} {part:?}");
        }
    }

    #[test]
    fn cores_are_rounded_to_the_nearest() {
        let usage = |usec, over_usec| CpuUsage {
            usage: CpuTime::from_usec(usec),
            over_usec,
            ..CpuUsage::default()
        };
        // 1,499.5 and 1,499.4 thousandths of a CPU.
        assert_eq!(usage(14_995_000, 10_000_000).millicores(), 1500);
        assert_eq!(usage(14_994_000, 10_000_000).millicores(), 1499);
        assert_eq!(usage(2_500_000, 10_000_000).nanocores(), 250_000_000);
        assert_eq!(usage(5, 0).millicores(), 0);
        let node =
            NodeCpu { busy: CpuTime::from_usec(7_000), over_usec: 4_000, ..NodeCpu::default() };
        assert_eq!((node.millicores(), node.nanocores()), (1750, 1_750_000_000));
    }

    #[test]
    fn a_limit_of_cpu_is_its_quota_in_its_period() {
        let limit = |quota: Limit<CpuTime>, period_usec| {
            let period = CpuTime::from_usec(period_usec);
            Usage { cpu_max: Some(CpuMax { quota, period }), ..Usage::default() }
        };
        let quota = |usec| Limit::At(CpuTime::from_usec(usec));
        assert_eq!(limit(quota(250_000), 100_000).cpu_limit_millicores(), Some(2500));
        assert_eq!(limit(quota(250), 0).cpu_limit_millicores(), Some(250_000));
        assert_eq!(limit(Limit::Max, 100_000).cpu_limit_millicores(), None);
        assert_eq!(Usage::default().cpu_limit_millicores(), None);
    }

    #[test]
    fn a_balance_keeps_the_sign_of_what_is_left() {
        let balance = Balance::new(100, 40, 30, 20, 5, 1);
        assert_eq!(balance.unattributed, 4);
        assert_eq!(Balance::new(100, 90, 30, 0, 0, 0).unattributed, -20);
        let outside = Balance::with_outside(100, 90, 30, 0, 0);
        assert_eq!((outside.unattributed, outside.inside_node), (0, 20));
        let outside = Balance::with_outside(100, 60, 30, 2, 1);
        assert_eq!((outside.unattributed, outside.inside_node), (7, 0));
    }

    #[test]
    fn a_rate_is_over_the_interval_and_not_over_a_short_life() {
        let cpu = CpuUsage {
            usage: CpuTime::from_usec(3_000_000),
            over_usec: 2_000_000,
            ..CpuUsage::default()
        };
        let mut account =
            Account { until: BootTime::from_nanos(40_000_000_000), ..Account::default() };
        // The first sample has no interval.
        assert_eq!(account.interval_usec(), None);
        assert_eq!(account.over_interval(cpu), cpu);
        account.since = Some(BootTime::from_nanos(30_000_000_000));
        assert_eq!(account.interval_usec(), Some(10_000_000));
        assert_eq!(account.over_interval(cpu), CpuUsage { over_usec: 10_000_000, ..cpu });
    }

    #[test]
    fn the_containers_of_a_pod_are_all_of_it_and_no_others() {
        let pod = |digit: u8| PodUid::parse(&[digit; 32]).unwrap();
        let container = |of: u8, digit: u8| ContainerUsage {
            pod: pod(of),
            id: ContainerId::parse(&[digit; 64]).unwrap(),
            runtime: Runtime::Containerd,
            path: Arc::from(&b"/"[..]),
            exited: false,
            usage: Usage::default(),
        };
        let containers = vec![
            container(b'1', b'a'),
            container(b'2', b'b'),
            container(b'2', b'c'),
            container(b'4', b'd'),
        ];
        let account = Account { containers, ..Account::default() };
        for (of, digits) in [(b'1', &b"a"[..]), (b'2', b"bc"), (b'3', b""), (b'4', b"d")] {
            let found = account.containers_of(pod(of)).iter().map(|one| one.id);
            let right = digits.iter().map(|digit| ContainerId::parse(&[*digit; 64]).unwrap());
            assert!(found.eq(right), "{of}");
        }
    }

    #[test]
    fn exited_processes_have_what_the_live_ones_have_not() {
        let usage = |cpu: Option<u64>, live| Usage {
            cpu: cpu
                .map(|usec| CpuUsage { usage: CpuTime::from_usec(usec), ..CpuUsage::default() }),
            processes_cpu: CpuTime::from_usec(live),
            ..Usage::default()
        };
        for (cpu, live, exited) in
            [(Some(90), 30, Some(60)), (Some(30), 40, Some(0)), (None, 30, None)]
        {
            let found = usage(cpu, live).exited_processes_cpu();
            assert_eq!(found.map(CpuTime::as_usec), exited);
        }
    }

    #[test]
    fn a_limit_of_memory_is_one_that_is_set() {
        let limit = |max| {
            let memory = MemoryReading { max, ..MemoryReading::default() };
            Usage { memory, ..Usage::default() }.memory_limit()
        };
        let bytes = Bytes::from_bytes(1 << 20);
        assert_eq!(limit(Some(Limit::At(bytes))), Some(bytes));
        assert_eq!(limit(Some(Limit::Max)), None);
        assert_eq!(limit(None), None);
    }

    #[test]
    fn a_unit_is_called_by_its_last_component_and_a_guest_by_its_own_name() {
        for (path, kind, name) in [
            ("/system.slice/ssh.service", UnitKind::Unit, "ssh.service"),
            ("/lxc.payload.web", UnitKind::Guest(GuestKind::Lxc), "web"),
            ("/lxc.payload.web", UnitKind::Named, "lxc.payload.web"),
            ("/", UnitKind::Root, "/"),
        ] {
            let (path, usage) = (Arc::from(path.as_bytes()), Usage::default());
            let unit = UnitUsage { path, kind, exited: false, usage };
            assert_eq!(unit.name(), name.as_bytes());
        }
    }
}
