//! The figures of pods, containers and units, which are the same.

use crate::ledger::account::{DiskSource, DiskUsage, NetworkSource, NetworkUsage};
use crate::metrics::entity::EntityClass;
use crate::metrics::input::{OwnerInput, Read, kept};
use crate::metrics::metric::{Instrument, Metric, Unit};
use crate::quantity::{Bytes, Limit};
use crate::snapshot::PressureReading;
use crate::source::cgroup::cpu_stat::Throttling;
use crate::source::cgroup::pressure::{Pressure, Stall};

/// A figure that all owners have: pods, containers and units in this order.
struct OwnerMetric {
    /// `None`: that class does not have it.
    names: [Option<&'static str>; 3],
    instrument: Instrument,
    unit: Unit,
    attributes: &'static [(&'static str, &'static str)],
    help: &'static str,
    source: &'static str,
    dump_key: &'static str,
    read: fn(&OwnerInput<'_>) -> Option<i64>,
}

macro_rules! ours {
    ($name:literal) => {
        [
            Some(concat!("nodetally.pod.", $name)),
            Some(concat!("nodetally.container.", $name)),
            Some(concat!("nodetally.unit.", $name)),
        ]
    };
}

macro_rules! standard {
    ($name:literal) => {
        [
            Some(concat!("k8s.pod.", $name)),
            Some(concat!("container.", $name)),
            Some(concat!("nodetally.unit.", $name)),
        ]
    };
}

const READ: &[(&str, &str)] = &[("disk.io.direction", "read")];
const WRITE: &[(&str, &str)] = &[("disk.io.direction", "write")];
const RECEIVE: &[(&str, &str)] = &[("network.io.direction", "receive")];
const TRANSMIT: &[(&str, &str)] = &[("network.io.direction", "transmit")];

/// The metrics of pods, containers and units.
pub(super) fn metrics() -> [Vec<Metric>; 3] {
    let classes = [EntityClass::Pod, EntityClass::Container, EntityClass::Unit];
    let mut at = 0;
    classes.map(|class| {
        let of_class = DECLARED.iter().filter_map(|declared| {
            Some(Metric {
                class,
                name: declared.names[at]?,
                instrument: declared.instrument,
                unit: declared.unit,
                attributes: declared.attributes,
                help: declared.help,
                source: declared.source,
                dump_key: declared.dump_key,
                read: Read::Owner(declared.read),
            })
        });
        let metrics = of_class.collect();
        at += 1;
        metrics
    })
}

fn memory(bytes: Option<Bytes>) -> Option<i64> {
    bytes.map(|bytes| kept(bytes.as_bytes()))
}

fn throttling(input: &OwnerInput<'_>, part: fn(Throttling) -> u64) -> Option<i64> {
    input.usage.throttling.map(part).map(kept)
}

fn disk(input: &OwnerInput<'_>, part: fn(DiskUsage) -> u64) -> Option<i64> {
    input.usage.disk.map(part).map(kept)
}

/// Operations are known of cgroups only.
fn disk_operations(input: &OwnerInput<'_>, part: fn(DiskUsage) -> u64) -> Option<i64> {
    let disk = input.usage.disk.filter(|disk| disk.from == DiskSource::IoStat);
    disk.map(part).map(kept)
}

fn network(input: &OwnerInput<'_>, part: fn(NetworkUsage) -> u64) -> Option<i64> {
    input.usage.network.map(part).map(kept)
}

/// Errors and drops are known of interfaces only.
fn network_faults(input: &OwnerInput<'_>, part: fn(NetworkUsage) -> u64) -> Option<i64> {
    let network = input.usage.network.filter(|network| network.from == NetworkSource::Interfaces);
    network.map(part).map(kept)
}

type PressureOf = fn(&PressureReading) -> Option<Pressure>;
type StallKind = fn(Pressure) -> Option<Stall>;

fn stalled(reading: &PressureReading, resource: PressureOf, kind: StallKind) -> Option<i64> {
    resource(reading).and_then(kind).map(|stall| kept(stall.total.as_usec()))
}

fn stall_share(reading: &PressureReading, resource: PressureOf, kind: StallKind) -> Option<i64> {
    resource(reading).and_then(kind).map(|stall| kept(stall.avg10_basis_points))
}

/// The two figures of one resource and kind of pressure.
macro_rules! pressure {
    ($resource:ident, $kind:ident) => {
        OwnerMetric {
            names: ours!("pressure.stall.time"),
            instrument: Instrument::KernelCounter,
            unit: Unit::SECONDS,
            attributes: &[
                ("nodetally.pressure.resource", stringify!($resource)),
                ("nodetally.pressure.kind", stringify!($kind)),
            ],
            help: "Time that tasks waited for a resource: some of them, or all at once.",
            source: concat!(stringify!($resource), ".pressure total"),
            dump_key: concat!(
                "pressure_",
                stringify!($resource),
                ".",
                stringify!($kind),
                ".total_usec"
            ),
            read: |input| stalled(&input.usage.pressure, |it| it.$resource, |it| it.$kind),
        }
    };
    (share $resource:ident, $kind:ident) => {
        OwnerMetric {
            names: ours!("pressure.stall.share"),
            instrument: Instrument::Gauge,
            unit: Unit::SHARE,
            attributes: &[
                ("nodetally.pressure.resource", stringify!($resource)),
                ("nodetally.pressure.kind", stringify!($kind)),
            ],
            help: "Share of the last ten seconds in which tasks waited for a resource.",
            source: concat!(stringify!($resource), ".pressure avg10"),
            dump_key: concat!(
                "pressure_",
                stringify!($resource),
                ".",
                stringify!($kind),
                ".avg10_basis_points"
            ),
            read: |input| stall_share(&input.usage.pressure, |it| it.$resource, |it| it.$kind),
        }
    };
}

const DECLARED: &[OwnerMetric] = &[
    OwnerMetric {
        names: standard!("cpu.time"),
        instrument: Instrument::Counter,
        unit: Unit::SECONDS,
        attributes: &[],
        help: "CPU time used.",
        source: "cpu.stat usage_usec",
        dump_key: "cpu_usage_usec",
        read: |input| input.usage.cpu.map(|cpu| kept(cpu.usage.as_usec())),
    },
    OwnerMetric {
        names: standard!("cpu.usage"),
        instrument: Instrument::Gauge,
        unit: Unit::CPUS,
        attributes: &[],
        help: "CPUs in use, as a mean over the interval.",
        source: "cpu.stat usage_usec",
        dump_key: "cpu_millicores",
        read: |input| input.cpu_rate.map(|cpu| kept(cpu.nanocores())),
    },
    OwnerMetric {
        names: ours!("cpu.mode.time"),
        instrument: Instrument::Counter,
        unit: Unit::SECONDS,
        attributes: &[("cpu.mode", "user")],
        help: "CPU time by mode. On most kernels the split is sampled by the tick.",
        source: "cpu.stat user_usec",
        dump_key: "cpu_user_usec",
        read: |input| input.usage.cpu?.split.map(|split| kept(split.user.as_usec())),
    },
    OwnerMetric {
        names: ours!("cpu.mode.time"),
        instrument: Instrument::Counter,
        unit: Unit::SECONDS,
        attributes: &[("cpu.mode", "system")],
        help: "CPU time by mode. On most kernels the split is sampled by the tick.",
        source: "cpu.stat system_usec",
        dump_key: "cpu_system_usec",
        read: |input| input.usage.cpu?.split.map(|split| kept(split.system.as_usec())),
    },
    OwnerMetric {
        names: ours!("cpu.throttled.time"),
        instrument: Instrument::Counter,
        unit: Unit::SECONDS,
        attributes: &[],
        help: "Time that a CPU limit kept tasks from running.",
        source: "cpu.stat throttled_usec",
        dump_key: "cpu_throttled_usec",
        read: |input| throttling(input, |it| it.throttled.as_usec()),
    },
    OwnerMetric {
        names: ours!("cpu.throttled.periods"),
        instrument: Instrument::Counter,
        unit: Unit::count("{period}"),
        attributes: &[],
        help: "Periods in which a CPU limit kept tasks from running.",
        source: "cpu.stat nr_throttled",
        dump_key: "cpu_throttled_periods",
        read: |input| throttling(input, |it| it.throttled_periods),
    },
    OwnerMetric {
        names: ours!("cpu.periods"),
        instrument: Instrument::Counter,
        unit: Unit::count("{period}"),
        attributes: &[],
        help: "Periods of the CPU limit in which tasks ran.",
        source: "cpu.stat nr_periods",
        dump_key: "cpu_periods",
        read: |input| throttling(input, |it| it.periods),
    },
    OwnerMetric {
        names: ours!("cpu.limit"),
        instrument: Instrument::UpDownCounter,
        unit: Unit::CPUS,
        attributes: &[],
        help: "The CPU limit; absent if none is set.",
        source: "cpu.max",
        dump_key: "cpu_limit_millicores",
        read: |input| {
            let millicores = input.usage.cpu_limit_millicores()?;
            Some(kept(millicores.saturating_mul(1_000_000)))
        },
    },
    OwnerMetric {
        names: ours!("cpu.weight"),
        instrument: Instrument::Gauge,
        unit: Unit::count("{weight}"),
        attributes: &[],
        help: "The weight beside its siblings where CPUs are scarce, 1 to 10000; 0 gets idle time only.",
        source: "cpu.weight",
        dump_key: "cpu_weight",
        read: |input| input.usage.cpu_weight.map(kept),
    },
    OwnerMetric {
        names: standard!("memory.usage"),
        instrument: Instrument::UpDownCounter,
        unit: Unit::BYTES,
        attributes: &[],
        help: "Memory charged, page cache included.",
        source: "memory.current",
        dump_key: "memory_current_bytes",
        read: |input| memory(input.usage.memory.current),
    },
    OwnerMetric {
        names: standard!("memory.working_set"),
        instrument: Instrument::UpDownCounter,
        unit: Unit::BYTES,
        attributes: &[],
        help: "Memory charged less the inactive page cache: what the kubelet compares with a limit.",
        source: "memory.current, memory.stat inactive_file",
        dump_key: "memory_working_set_bytes",
        read: |input| memory(input.usage.memory.working_set()),
    },
    OwnerMetric {
        names: standard!("memory.available"),
        instrument: Instrument::UpDownCounter,
        unit: Unit::BYTES,
        attributes: &[],
        help: "The memory limit less the working set; absent without a limit.",
        source: "memory.max, memory.current, memory.stat inactive_file",
        dump_key: "",
        read: |input| {
            let limit = input.usage.memory_limit()?;
            memory(Some(limit.saturating_sub(input.usage.memory.working_set()?)))
        },
    },
    OwnerMetric {
        names: standard!("memory.rss"),
        instrument: Instrument::UpDownCounter,
        unit: Unit::BYTES,
        attributes: &[],
        help: "Anonymous memory.",
        source: "memory.stat anon",
        dump_key: "memory_anon_bytes",
        read: |input| memory(input.usage.memory.stat?.anon),
    },
    OwnerMetric {
        names: ours!("memory.file"),
        instrument: Instrument::UpDownCounter,
        unit: Unit::BYTES,
        attributes: &[],
        help: "Page cache, tmpfs and shared memory included.",
        source: "memory.stat file",
        dump_key: "memory_file_bytes",
        read: |input| memory(input.usage.memory.stat?.file),
    },
    OwnerMetric {
        names: ours!("memory.file_mapped"),
        instrument: Instrument::UpDownCounter,
        unit: Unit::BYTES,
        attributes: &[],
        help: "Page cache that processes have mapped.",
        source: "memory.stat file_mapped",
        dump_key: "",
        read: |input| memory(input.usage.memory.stat?.file_mapped),
    },
    OwnerMetric {
        names: ours!("memory.kernel"),
        instrument: Instrument::UpDownCounter,
        unit: Unit::BYTES,
        attributes: &[],
        help: "Kernel memory charged.",
        source: "memory.stat kernel",
        dump_key: "memory_kernel_bytes",
        read: |input| memory(input.usage.memory.stat?.kernel),
    },
    OwnerMetric {
        names: ours!("memory.peak"),
        instrument: Instrument::Gauge,
        unit: Unit::BYTES,
        attributes: &[],
        help: "The most memory that was ever charged.",
        source: "memory.peak",
        dump_key: "memory_peak_bytes",
        read: |input| memory(input.usage.memory.peak),
    },
    OwnerMetric {
        names: ours!("memory.limit"),
        instrument: Instrument::UpDownCounter,
        unit: Unit::BYTES,
        attributes: &[],
        help: "The memory limit; absent if none is set.",
        source: "memory.max",
        dump_key: "memory_limit_bytes",
        read: |input| memory(input.usage.memory_limit()),
    },
    OwnerMetric {
        names: ours!("memory.reservation"),
        instrument: Instrument::UpDownCounter,
        unit: Unit::BYTES,
        attributes: &[],
        help: "Memory that is never reclaimed; absent if that is all of it.",
        source: "memory.min",
        dump_key: "memory_reservation_bytes",
        read: |input| memory(input.usage.memory_reservation()),
    },
    OwnerMetric {
        names: ours!("memory.swap.limit"),
        instrument: Instrument::UpDownCounter,
        unit: Unit::BYTES,
        attributes: &[],
        help: "The limit of swap; absent if none is set.",
        source: "memory.swap.max",
        dump_key: "memory_swap_limit_bytes",
        read: |input| memory(input.usage.swap_limit()),
    },
    OwnerMetric {
        names: ours!("memory.swap"),
        instrument: Instrument::UpDownCounter,
        unit: Unit::BYTES,
        attributes: &[],
        help: "Swap in use.",
        source: "memory.swap.current",
        dump_key: "memory_swap_bytes",
        read: |input| memory(input.usage.memory.swap_current),
    },
    OwnerMetric {
        names: ours!("memory.huge_pages"),
        instrument: Instrument::UpDownCounter,
        unit: Unit::BYTES,
        attributes: &[],
        help: "Huge pages of every size, which memory in use does not have; absent if the node has none.",
        source: "hugetlb.<size>.current",
        dump_key: "memory_huge_pages_bytes",
        read: |input| memory(input.usage.memory.huge_pages),
    },
    OwnerMetric {
        names: ours!("memory.resident"),
        instrument: Instrument::UpDownCounter,
        unit: Unit::BYTES,
        attributes: &[],
        help: "Sum of the resident sets of the processes; shared pages count once per process.",
        source: "/proc/<pid>/stat rss",
        dump_key: "memory_resident_bytes",
        read: |input| memory(Some(input.usage.resident)),
    },
    OwnerMetric {
        names: ours!("memory.oom_kills"),
        instrument: Instrument::Counter,
        unit: Unit::count("{process}"),
        attributes: &[],
        help: "Processes that the OOM killer killed.",
        source: "memory.events oom_kill",
        dump_key: "oom_kills",
        read: |input| input.usage.events.oom_kills.map(kept),
    },
    OwnerMetric {
        names: ours!("memory.limit_hits"),
        instrument: Instrument::Counter,
        unit: Unit::count("{event}"),
        attributes: &[],
        help: "Allocations that met the memory limit, so that memory had to be reclaimed.",
        source: "memory.events max",
        dump_key: "memory_limit_hits",
        read: |input| input.usage.events.memory_limit_hits.map(kept),
    },
    OwnerMetric {
        names: standard!("paging.faults"),
        instrument: Instrument::Counter,
        unit: Unit::count("{fault}"),
        attributes: &[("system.paging.fault.type", "minor")],
        help: "Page faults: major ones waited for a disk.",
        source: "memory.stat pgfault, pgmajfault",
        dump_key: "page_faults",
        read: |input| {
            let events = input.usage.events;
            Some(kept(events.page_faults?.saturating_sub(events.major_page_faults?)))
        },
    },
    OwnerMetric {
        names: standard!("paging.faults"),
        instrument: Instrument::Counter,
        unit: Unit::count("{fault}"),
        attributes: &[("system.paging.fault.type", "major")],
        help: "Page faults: major ones waited for a disk.",
        source: "memory.stat pgmajfault",
        dump_key: "major_page_faults",
        read: |input| input.usage.events.major_page_faults.map(kept),
    },
    OwnerMetric {
        names: [
            Some("nodetally.pod.disk.io"),
            Some("container.disk.io"),
            Some("nodetally.unit.disk.io"),
        ],
        instrument: Instrument::Counter,
        unit: Unit::BYTES,
        attributes: READ,
        help: "Bytes read from and written to disks, once over all layers.",
        source: "io.stat rbytes",
        dump_key: "disk_read_bytes",
        read: |input| disk(input, |it| it.read.as_bytes()),
    },
    OwnerMetric {
        names: [
            Some("nodetally.pod.disk.io"),
            Some("container.disk.io"),
            Some("nodetally.unit.disk.io"),
        ],
        instrument: Instrument::Counter,
        unit: Unit::BYTES,
        attributes: WRITE,
        help: "Bytes read from and written to disks, once over all layers.",
        source: "io.stat wbytes",
        dump_key: "disk_written_bytes",
        read: |input| disk(input, |it| it.written.as_bytes()),
    },
    OwnerMetric {
        names: ours!("disk.operations"),
        instrument: Instrument::Counter,
        unit: Unit::count("{operation}"),
        attributes: READ,
        help: "Operations on disks, once over all layers.",
        source: "io.stat rios",
        dump_key: "disk_read_ops",
        read: |input| disk_operations(input, |it| it.read_ops),
    },
    OwnerMetric {
        names: ours!("disk.operations"),
        instrument: Instrument::Counter,
        unit: Unit::count("{operation}"),
        attributes: WRITE,
        help: "Operations on disks, once over all layers.",
        source: "io.stat wios",
        dump_key: "disk_write_ops",
        read: |input| disk_operations(input, |it| it.write_ops),
    },
    OwnerMetric {
        names: standard!("network.io"),
        instrument: Instrument::Counter,
        unit: Unit::BYTES,
        attributes: RECEIVE,
        help: "Bytes over the network. In the host's network namespace: those of TCP connections.",
        source: "/proc/<pid>/net/dev, sock_diag",
        dump_key: "network_rx_bytes",
        read: |input| network(input, |it| it.rx.as_bytes()),
    },
    OwnerMetric {
        names: standard!("network.io"),
        instrument: Instrument::Counter,
        unit: Unit::BYTES,
        attributes: TRANSMIT,
        help: "Bytes over the network. In the host's network namespace: those of TCP connections.",
        source: "/proc/<pid>/net/dev, sock_diag",
        dump_key: "network_tx_bytes",
        read: |input| network(input, |it| it.tx.as_bytes()),
    },
    OwnerMetric {
        names: ours!("network.packet.count"),
        instrument: Instrument::Counter,
        unit: Unit::count("{packet}"),
        attributes: RECEIVE,
        help: "Packets over the network. In the host's network namespace: TCP segments.",
        source: "/proc/<pid>/net/dev, sock_diag",
        dump_key: "network_rx_packets",
        read: |input| network(input, |it| it.rx_packets),
    },
    OwnerMetric {
        names: ours!("network.packet.count"),
        instrument: Instrument::Counter,
        unit: Unit::count("{packet}"),
        attributes: TRANSMIT,
        help: "Packets over the network. In the host's network namespace: TCP segments.",
        source: "/proc/<pid>/net/dev, sock_diag",
        dump_key: "network_tx_packets",
        read: |input| network(input, |it| it.tx_packets),
    },
    OwnerMetric {
        names: [
            Some("k8s.pod.network.errors"),
            Some("nodetally.container.network.errors"),
            Some("nodetally.unit.network.errors"),
        ],
        instrument: Instrument::Counter,
        unit: Unit::count("{error}"),
        attributes: RECEIVE,
        help: "Errors of network interfaces.",
        source: "/proc/<pid>/net/dev",
        dump_key: "network_rx_errors",
        read: |input| network_faults(input, |it| it.rx_errors),
    },
    OwnerMetric {
        names: [
            Some("k8s.pod.network.errors"),
            Some("nodetally.container.network.errors"),
            Some("nodetally.unit.network.errors"),
        ],
        instrument: Instrument::Counter,
        unit: Unit::count("{error}"),
        attributes: TRANSMIT,
        help: "Errors of network interfaces.",
        source: "/proc/<pid>/net/dev",
        dump_key: "network_tx_errors",
        read: |input| network_faults(input, |it| it.tx_errors),
    },
    OwnerMetric {
        names: ours!("network.packet.dropped"),
        instrument: Instrument::Counter,
        unit: Unit::count("{packet}"),
        attributes: RECEIVE,
        help: "Packets that network interfaces dropped.",
        source: "/proc/<pid>/net/dev",
        dump_key: "network_rx_dropped",
        read: |input| network_faults(input, |it| it.rx_dropped),
    },
    OwnerMetric {
        names: ours!("network.packet.dropped"),
        instrument: Instrument::Counter,
        unit: Unit::count("{packet}"),
        attributes: TRANSMIT,
        help: "Packets that network interfaces dropped.",
        source: "/proc/<pid>/net/dev",
        dump_key: "network_tx_dropped",
        read: |input| network_faults(input, |it| it.tx_dropped),
    },
    OwnerMetric {
        names: ours!("tasks"),
        instrument: Instrument::UpDownCounter,
        unit: Unit::count("{task}"),
        attributes: &[],
        help: "Processes and threads.",
        source: "pids.current",
        dump_key: "tasks",
        read: |input| input.usage.pids.current.map(kept),
    },
    OwnerMetric {
        names: ours!("tasks.limit"),
        instrument: Instrument::UpDownCounter,
        unit: Unit::count("{task}"),
        attributes: &[],
        help: "The limit of processes and threads; absent if none is set.",
        source: "pids.max",
        dump_key: "tasks_limit",
        read: |input| match input.usage.pids.max? {
            Limit::At(tasks) => Some(kept(tasks)),
            Limit::Max => None,
        },
    },
    OwnerMetric {
        names: ours!("processes"),
        instrument: Instrument::UpDownCounter,
        unit: Unit::count("{process}"),
        attributes: &[],
        help: "Processes.",
        source: "cgroup.procs",
        dump_key: "processes",
        read: |input| Some(i64::from(input.usage.processes)),
    },
    OwnerMetric {
        names: [Some("k8s.pod.filesystem.usage"), None, None],
        instrument: Instrument::UpDownCounter,
        unit: Unit::BYTES,
        attributes: &[],
        help: "Disk space of writable layers, emptyDir volumes and logs.",
        source: "the pod's directories",
        dump_key: "",
        read: |input| input.filesystem.map(|filesystem| kept(filesystem.usage_bytes)),
    },
    OwnerMetric {
        names: [Some("k8s.pod.filesystem.capacity"), None, None],
        instrument: Instrument::UpDownCounter,
        unit: Unit::BYTES,
        attributes: &[],
        help: "Size of the filesystem that holds them.",
        source: "statfs",
        dump_key: "",
        read: |input| input.filesystem?.capacity_bytes.map(kept),
    },
    OwnerMetric {
        names: [Some("k8s.pod.filesystem.available"), None, None],
        instrument: Instrument::UpDownCounter,
        unit: Unit::BYTES,
        attributes: &[],
        help: "Space of that filesystem that is left to users without privileges.",
        source: "statfs",
        dump_key: "",
        read: |input| input.filesystem?.available_bytes.map(kept),
    },
    OwnerMetric {
        names: [Some("nodetally.pod.filesystem.inode.count"), None, None],
        instrument: Instrument::UpDownCounter,
        unit: Unit::count("{inode}"),
        attributes: &[],
        help: "Files and directories of the pod; absent where a quota gave bytes only.",
        source: "the pod's directories",
        dump_key: "",
        read: |input| input.filesystem?.inodes.map(kept),
    },
    pressure!(share cpu, some),
    pressure!(share cpu, full),
    pressure!(share memory, some),
    pressure!(share memory, full),
    pressure!(share io, some),
    pressure!(share io, full),
    pressure!(cpu, some),
    pressure!(cpu, full),
    pressure!(memory, some),
    pressure!(memory, full),
    pressure!(io, some),
    pressure!(io, full),
];
