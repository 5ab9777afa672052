//! The figures of the node but memory, and its balance.

use super::node_memory::{self, AMOUNT, memory_of};
use crate::disk_usage::usage::NodeFilesystem;
use crate::ledger::account::{Balance, Conservation, DiskUsage, NetworkUsage, NodeCpu};
use crate::metrics::entity::EntityClass;
use crate::metrics::input::{NodeInput, Read, kept};
use crate::metrics::metric::{Instrument, Metric, Unit};
use crate::quantity::CpuTime;
use crate::source::cgroup::pressure::{Pressure, Stall};
use crate::source::proc::diskstats::DiskActivity;

/// The fields that most figures of the node have in common.
const COMMON: Metric = Metric {
    class: EntityClass::Node,
    name: "",
    instrument: Instrument::Counter,
    unit: Unit::SECONDS,
    attributes: &[],
    help: "",
    source: "",
    dump_key: "",
    read: Read::Node(|_| None),
};

const READ: &[(&str, &str)] = &[("disk.io.direction", "read")];
const WRITE: &[(&str, &str)] = &[("disk.io.direction", "write")];
const RECEIVE: &[(&str, &str)] = &[("network.io.direction", "receive")];
const TRANSMIT: &[(&str, &str)] = &[("network.io.direction", "transmit")];

pub(super) fn metrics() -> Vec<Metric> {
    let parts = [
        cpu(),
        node_memory::metrics(),
        disk(),
        network(),
        pressure(),
        rest(),
        balance(),
        kubernetes(),
    ];
    parts.into_iter().flatten().collect()
}

/// A CPU time of the interval.
macro_rules! cpu_time {
    ($mode:literal, $source:literal, $key:literal, $field:ident) => {
        Metric {
            name: "system.cpu.time",
            attributes: &[("cpu.mode", $mode)],
            help: "Time of all CPUs by mode.",
            source: concat!("/proc/stat ", $source),
            dump_key: $key,
            read: Read::Node(|input| cpu_time(input, |cpu| cpu.$field)),
            ..COMMON
        }
    };
}

fn cpu_time(input: &NodeInput<'_>, part: fn(NodeCpu) -> Option<CpuTime>) -> Option<i64> {
    input.account.node.cpu.and_then(part).map(|time| kept(time.as_usec()))
}

fn cpu() -> Vec<Metric> {
    vec![
        Metric {
            name: "nodetally.node.cpu.time",
            help: "CPU time in use: what all owners together can have used.",
            source: "/proc/stat",
            dump_key: "cpu_busy_usec",
            read: Read::Node(|input| cpu_time(input, |cpu| Some(cpu.busy))),
            ..COMMON
        },
        Metric {
            name: "nodetally.node.cpu.usage",
            instrument: Instrument::Gauge,
            unit: Unit::CPUS,
            help: "CPUs in use, as a mean over the interval.",
            source: "/proc/stat",
            dump_key: "cpu_millicores",
            read: Read::Node(|input| input.account.node.cpu.map(|cpu| kept(cpu.nanocores()))),
            ..COMMON
        },
        Metric {
            name: "nodetally.node.cpu.meter.time",
            attributes: &[("nodetally.meter", "idle")],
            help: "CPU time in use by each of the kernel's two meters: time that was not idle, and ticks.",
            source: "/proc/stat",
            dump_key: "cpu_busy_by_idle_usec",
            read: Read::Node(|input| cpu_time(input, |cpu| cpu.busy_by_idle)),
            ..COMMON
        },
        Metric {
            name: "nodetally.node.cpu.meter.time",
            attributes: &[("nodetally.meter", "ticks")],
            help: "CPU time in use by each of the kernel's two meters: time that was not idle, and ticks.",
            source: "/proc/stat",
            dump_key: "cpu_busy_by_ticks_usec",
            read: Read::Node(|input| cpu_time(input, |cpu| cpu.busy_by_ticks)),
            ..COMMON
        },
        cpu_time!("user", "user, nice", "cpu_user_usec", user),
        cpu_time!("system", "system", "cpu_system_usec", system),
        cpu_time!("interrupt", "irq", "cpu_irq_usec", irq),
        cpu_time!("softirq", "softirq", "cpu_softirq_usec", softirq),
        cpu_time!("steal", "steal", "cpu_steal_usec", steal),
        cpu_time!("idle", "idle", "cpu_idle_usec", idle),
        cpu_time!("iowait", "iowait", "cpu_iowait_usec", iowait),
        Metric {
            name: "system.cpu.logical.count",
            instrument: Instrument::UpDownCounter,
            unit: Unit::count("{cpu}"),
            help: "CPUs that are online.",
            source: "/proc/stat",
            dump_key: "cpus",
            read: Read::Node(|input| {
                Some(input.account.node.cpus).filter(|cpus| *cpus > 0).map(i64::from)
            }),
            ..COMMON
        },
    ]
}

macro_rules! disk {
    ($name:literal, $unit:expr, $attributes:ident, $help:literal, $key:literal, $part:expr) => {
        Metric {
            name: $name,
            unit: $unit,
            attributes: $attributes,
            help: $help,
            source: "/proc/diskstats",
            dump_key: $key,
            read: Read::Node(|input| disk_of(input, $part)),
            ..COMMON
        }
    };
}

fn disk_of(input: &NodeInput<'_>, part: fn(DiskUsage) -> u64) -> Option<i64> {
    input.account.node.disk.map(part).map(kept)
}

macro_rules! activity {
    ($name:literal, $unit:expr, $attributes:expr, $help:literal, $key:literal, $part:expr) => {
        Metric {
            name: $name,
            unit: $unit,
            attributes: $attributes,
            help: $help,
            source: "/proc/diskstats",
            dump_key: $key,
            read: Read::Node(|input| activity_of(input, $part)),
            ..COMMON
        }
    };
}

fn activity_of(input: &NodeInput<'_>, part: fn(DiskActivity) -> Option<u64>) -> Option<i64> {
    input.account.node.disk_activity.and_then(part).map(kept)
}

fn usec(ms: Option<u64>) -> Option<u64> {
    ms.map(|ms| ms.saturating_mul(1000))
}

fn disk() -> Vec<Metric> {
    const BYTES: Unit = Unit::BYTES;
    const OPERATIONS: Unit = Unit::count("{operation}");
    vec![
        disk!(
            "system.disk.io",
            BYTES,
            READ,
            "Bytes read from and written to the node's disks.",
            "disk_read_bytes",
            |disk| disk.read.as_bytes()
        ),
        disk!(
            "system.disk.io",
            BYTES,
            WRITE,
            "Bytes read from and written to the node's disks.",
            "disk_written_bytes",
            |disk| disk.written.as_bytes()
        ),
        disk!(
            "system.disk.operations",
            OPERATIONS,
            READ,
            "Operations on the node's disks.",
            "disk_read_ops",
            |disk| disk.read_ops
        ),
        disk!(
            "system.disk.operations",
            OPERATIONS,
            WRITE,
            "Operations on the node's disks.",
            "disk_write_ops",
            |disk| disk.write_ops
        ),
        activity!(
            "system.disk.merged",
            OPERATIONS,
            READ,
            "Operations that were merged with a neighbour before they were issued.",
            "disk_merged_reads",
            |all| all.merged_reads
        ),
        activity!(
            "system.disk.merged",
            OPERATIONS,
            WRITE,
            "Operations that were merged with a neighbour before they were issued.",
            "disk_merged_writes",
            |all| all.merged_writes
        ),
        activity!(
            "system.disk.operation_time",
            Unit::SECONDS,
            READ,
            "Time that all operations took together.",
            "disk_read_time_usec",
            |all| usec(all.read_ms)
        ),
        activity!(
            "system.disk.operation_time",
            Unit::SECONDS,
            WRITE,
            "Time that all operations took together.",
            "disk_write_time_usec",
            |all| usec(all.write_ms)
        ),
        activity!(
            "system.disk.io_time",
            Unit::SECONDS,
            &[],
            "Time in which a disk had any operation under way, of all disks.",
            "disk_io_time_usec",
            |all| usec(all.io_ms)
        ),
        activity!(
            "nodetally.node.disk.weighted_io_time",
            Unit::SECONDS,
            &[],
            "Time in which operations were under way, times their number, of all disks.",
            "disk_weighted_io_time_usec",
            |all| usec(all.weighted_io_ms)
        ),
        Metric {
            instrument: Instrument::UpDownCounter,
            ..activity!(
                "nodetally.node.disk.pending_operations",
                OPERATIONS,
                &[],
                "Operations that are under way.",
                "disk_ops_in_progress",
                |all| all.in_progress
            )
        },
    ]
}

macro_rules! network {
    ($name:literal, $unit:expr, $attributes:ident, $help:literal, $key:literal, $part:expr) => {
        Metric {
            name: $name,
            unit: $unit,
            attributes: $attributes,
            help: $help,
            source: "/proc/net/dev",
            dump_key: $key,
            read: Read::Node(|input| network_of(input, $part)),
            ..COMMON
        }
    };
}

fn network_of(input: &NodeInput<'_>, part: fn(NetworkUsage) -> u64) -> Option<i64> {
    input.account.node.network.map(part).map(kept)
}

fn network() -> Vec<Metric> {
    const BYTES: Unit = Unit::BYTES;
    const PACKETS: Unit = Unit::count("{packet}");
    const ERRORS: Unit = Unit::count("{error}");
    vec![
        network!(
            "system.network.io",
            BYTES,
            RECEIVE,
            "Bytes over the node's interfaces to other hosts.",
            "network_rx_bytes",
            |it| it.rx.as_bytes()
        ),
        network!(
            "system.network.io",
            BYTES,
            TRANSMIT,
            "Bytes over the node's interfaces to other hosts.",
            "network_tx_bytes",
            |it| it.tx.as_bytes()
        ),
        network!(
            "system.network.packet.count",
            PACKETS,
            RECEIVE,
            "Packets over the node's interfaces to other hosts.",
            "network_rx_packets",
            |it| it.rx_packets
        ),
        network!(
            "system.network.packet.count",
            PACKETS,
            TRANSMIT,
            "Packets over the node's interfaces to other hosts.",
            "network_tx_packets",
            |it| it.tx_packets
        ),
        network!(
            "system.network.errors",
            ERRORS,
            RECEIVE,
            "Errors of the node's interfaces to other hosts.",
            "network_rx_errors",
            |it| it.rx_errors
        ),
        network!(
            "system.network.errors",
            ERRORS,
            TRANSMIT,
            "Errors of the node's interfaces to other hosts.",
            "network_tx_errors",
            |it| it.tx_errors
        ),
        network!(
            "system.network.packet.dropped",
            PACKETS,
            RECEIVE,
            "Packets that the node's interfaces to other hosts dropped.",
            "network_rx_dropped",
            |it| it.rx_dropped
        ),
        network!(
            "system.network.packet.dropped",
            PACKETS,
            TRANSMIT,
            "Packets that the node's interfaces to other hosts dropped.",
            "network_tx_dropped",
            |it| it.tx_dropped
        ),
    ]
}

fn stall(pressure: Option<Pressure>, kind: fn(Pressure) -> Option<Stall>) -> Option<Stall> {
    pressure.and_then(kind)
}

macro_rules! pressure {
    ($resource:ident, $kind:ident) => {
        [
            Metric {
                name: "nodetally.node.pressure.stall.share",
                instrument: Instrument::Gauge,
                unit: Unit::SHARE,
                attributes: &[
                    ("nodetally.pressure.resource", stringify!($resource)),
                    ("nodetally.pressure.kind", stringify!($kind)),
                ],
                help: "Share of the last ten seconds in which tasks waited for a resource.",
                source: concat!("/proc/pressure/", stringify!($resource), " avg10"),
                dump_key: concat!(
                    "pressure_",
                    stringify!($resource),
                    ".",
                    stringify!($kind),
                    ".avg10_basis_points"
                ),
                read: Read::Node(|input| {
                    let stall = stall(input.account.node.pressure.$resource, |it| it.$kind);
                    stall.map(|stall| kept(stall.avg10_basis_points))
                }),
                ..COMMON
            },
            Metric {
                name: "nodetally.node.pressure.stall.time",
                instrument: Instrument::KernelCounter,
                attributes: &[
                    ("nodetally.pressure.resource", stringify!($resource)),
                    ("nodetally.pressure.kind", stringify!($kind)),
                ],
                help: "Time that tasks waited for a resource: some of them, or all at once.",
                source: concat!("/proc/pressure/", stringify!($resource), " total"),
                dump_key: concat!(
                    "pressure_",
                    stringify!($resource),
                    ".",
                    stringify!($kind),
                    ".total_usec"
                ),
                read: Read::Node(|input| {
                    let stall = stall(input.account.node.pressure.$resource, |it| it.$kind);
                    stall.map(|stall| kept(stall.total.as_usec()))
                }),
                ..COMMON
            },
        ]
    };
}

fn pressure() -> Vec<Metric> {
    let all = [
        pressure!(cpu, some),
        pressure!(cpu, full),
        pressure!(memory, some),
        pressure!(memory, full),
        pressure!(io, some),
        pressure!(io, full),
    ];
    let [shares, times]: [Vec<Metric>; 2] =
        all.into_iter().fold([Vec::new(), Vec::new()], |[mut shares, mut times], [share, time]| {
            shares.push(share);
            times.push(time);
            [shares, times]
        });
    shares.into_iter().chain(times).collect()
}

fn rest() -> Vec<Metric> {
    const LOAD: Metric = Metric {
        name: "nodetally.node.load",
        instrument: Instrument::Gauge,
        unit: Unit::HUNDREDTHS,
        help: "Mean number of tasks that ran or waited, over 1, 5 or 15 minutes.",
        source: "/proc/loadavg",
        ..COMMON
    };
    const FAULTS: Metric = Metric {
        name: "system.paging.faults",
        unit: Unit::count("{fault}"),
        help: "Page faults: major ones waited for a disk. Absent without cgroup v2.",
        source: "memory.stat pgfault, pgmajfault of the root cgroup",
        ..COMMON
    };
    const TASKS: Metric = Metric {
        name: "nodetally.node.tasks",
        instrument: Instrument::UpDownCounter,
        unit: Unit::count("{task}"),
        help: "Tasks that run, or wait for I/O.",
        ..COMMON
    };
    vec![
        Metric {
            attributes: &[("nodetally.window", "1m")],
            dump_key: "load_1m_hundredths",
            read: Read::Node(|input| input.account.node.load?.one_minute_hundredths.map(kept)),
            ..LOAD
        },
        Metric {
            attributes: &[("nodetally.window", "5m")],
            dump_key: "load_5m_hundredths",
            read: Read::Node(|input| input.account.node.load?.five_minutes_hundredths.map(kept)),
            ..LOAD
        },
        Metric {
            attributes: &[("nodetally.window", "15m")],
            dump_key: "load_15m_hundredths",
            read: Read::Node(|input| input.account.node.load?.fifteen_minutes_hundredths.map(kept)),
            ..LOAD
        },
        Metric {
            name: "system.uptime",
            instrument: Instrument::Gauge,
            unit: Unit { ucum: "s", suffix: "seconds", per_unit: 100 },
            help: "Time since the node started.",
            source: "/proc/uptime",
            dump_key: "uptime_seconds",
            read: Read::Node(|input| input.account.node.uptime_hundredths.map(kept)),
            ..COMMON
        },
        Metric {
            attributes: &[("process.state", "running")],
            source: "/proc/stat procs_running",
            dump_key: "procs_running",
            read: Read::Node(|input| input.account.node.procs_running.map(kept)),
            ..TASKS
        },
        Metric {
            attributes: &[("process.state", "blocked")],
            source: "/proc/stat procs_blocked",
            dump_key: "procs_blocked",
            read: Read::Node(|input| input.account.node.procs_blocked.map(kept)),
            ..TASKS
        },
        Metric {
            attributes: &[("system.paging.fault.type", "minor")],
            read: Read::Node(|input| {
                let events = input.account.node.events;
                Some(kept(events.page_faults?.saturating_sub(events.major_page_faults?)))
            }),
            ..FAULTS
        },
        Metric {
            attributes: &[("system.paging.fault.type", "major")],
            read: Read::Node(|input| input.account.node.events.major_page_faults.map(kept)),
            ..FAULTS
        },
        Metric {
            name: "nodetally.node.threads",
            instrument: Instrument::UpDownCounter,
            unit: Unit::count("{thread}"),
            help: "Threads of all processes, those of the kernel included.",
            source: "/proc/loadavg",
            read: Read::Node(|input| input.account.node.load?.tasks.map(kept)),
            ..COMMON
        },
        Metric {
            name: "nodetally.node.empty_pod_cgroups",
            instrument: Instrument::UpDownCounter,
            unit: Unit::count("{cgroup}"),
            help: "Cgroups of pods without anything in them, which a kubelet left behind.",
            source: "the cgroup2 tree",
            dump_key: "empty_pod_cgroups",
            read: Read::Node(|input| Some(i64::from(input.account.empty_pod_cgroups))),
            ..COMMON
        },
    ]
}

type BalanceOf = fn(&Conservation) -> Option<Balance>;

fn balance_of(input: &NodeInput<'_>, of: BalanceOf, part: fn(Balance) -> u64) -> Option<i64> {
    of(&input.account.conservation).map(part).map(kept)
}

/// One part of one resource's balance.
macro_rules! part {
    ($resource:ident, $name:literal, $instrument:ident, $unit:ident, [$($direction:expr)?], $part:ident) => {
        Metric {
            name: concat!("nodetally.node.", $name),
            instrument: Instrument::$instrument,
            unit: Unit::$unit,
            attributes: &[$($direction,)? ("nodetally.part", stringify!($part))],
            help: "The node's usage by the parts of the balance. What is left is unattributed.",
            source: "the balance",
            dump_key: concat!("conservation.", stringify!($resource), ".", stringify!($part)),
            read: Read::Node(|input| balance_of(input, |all| all.$resource, |it| it.$part)),
            ..COMMON
        }
    };
}

/// The remainder of one resource, which can be negative.
macro_rules! unattributed {
    ($resource:ident, $name:literal, $instrument:ident, $unit:ident, [$($direction:expr)?]) => {
        Metric {
            name: concat!("nodetally.node.", $name),
            instrument: Instrument::$instrument,
            unit: Unit::$unit,
            attributes: &[$($direction)?],
            help: "The remainder: the node's usage less that of all parts. It can be negative.",
            source: "the balance",
            dump_key: concat!("conservation.", stringify!($resource), ".unattributed"),
            read: Read::Node(|input| {
                input.account.conservation.$resource.map(|balance| balance.unattributed)
            }),
            ..COMMON
        }
    };
}

fn balance() -> Vec<Metric> {
    const D_READ: (&str, &str) = ("disk.io.direction", "read");
    const D_WRITE: (&str, &str) = ("disk.io.direction", "write");
    const N_IN: (&str, &str) = ("network.io.direction", "receive");
    const N_OUT: (&str, &str) = ("network.io.direction", "transmit");
    vec![
        part!(cpu_usec, "cpu.part.time", Counter, SECONDS, [], pods),
        part!(cpu_usec, "cpu.part.time", Counter, SECONDS, [], host_units),
        part!(cpu_usec, "cpu.part.time", Counter, SECONDS, [], kernel),
        part!(cpu_usec, "cpu.part.time", Counter, SECONDS, [], interrupts),
        part!(cpu_usec, "cpu.part.time", Counter, SECONDS, [], exited),
        unattributed!(cpu_usec, "cpu.unattributed.time", SignedCounter, SECONDS, []),
        Metric {
            name: "nodetally.node.cpu.uncertainty.time",
            help: "The most of the remainder, on either side of 0, that the kernel's meters leave open.",
            source: "the balance",
            dump_key: "conservation.cpu_usec.uncertainty",
            read: Read::Node(|input| input.account.conservation.cpu_usec?.uncertainty.map(kept)),
            ..COMMON
        },
        part!(memory_bytes, "memory.part.usage", UpDownCounter, BYTES, [], pods),
        part!(memory_bytes, "memory.part.usage", UpDownCounter, BYTES, [], host_units),
        part!(memory_bytes, "memory.part.usage", UpDownCounter, BYTES, [], kernel),
        part!(memory_bytes, "memory.part.usage", UpDownCounter, BYTES, [], exited),
        unattributed!(memory_bytes, "memory.unattributed", UpDownCounter, BYTES, []),
        part!(disk_read_bytes, "disk.part.io", Counter, BYTES, [D_READ], pods),
        part!(disk_read_bytes, "disk.part.io", Counter, BYTES, [D_READ], host_units),
        part!(disk_read_bytes, "disk.part.io", Counter, BYTES, [D_READ], exited),
        part!(disk_written_bytes, "disk.part.io", Counter, BYTES, [D_WRITE], pods),
        part!(disk_written_bytes, "disk.part.io", Counter, BYTES, [D_WRITE], host_units),
        part!(disk_written_bytes, "disk.part.io", Counter, BYTES, [D_WRITE], exited),
        unattributed!(disk_read_bytes, "disk.unattributed", SignedCounter, BYTES, [D_READ]),
        unattributed!(disk_written_bytes, "disk.unattributed", SignedCounter, BYTES, [D_WRITE]),
        part!(network_rx_bytes, "network.part.io", Counter, BYTES, [N_IN], pods),
        part!(network_rx_bytes, "network.part.io", Counter, BYTES, [N_IN], host_units),
        part!(network_rx_bytes, "network.part.io", Counter, BYTES, [N_IN], kernel),
        part!(network_rx_bytes, "network.part.io", Counter, BYTES, [N_IN], exited),
        part!(network_rx_bytes, "network.part.io", Counter, BYTES, [N_IN], inside_node),
        part!(network_tx_bytes, "network.part.io", Counter, BYTES, [N_OUT], pods),
        part!(network_tx_bytes, "network.part.io", Counter, BYTES, [N_OUT], host_units),
        part!(network_tx_bytes, "network.part.io", Counter, BYTES, [N_OUT], kernel),
        part!(network_tx_bytes, "network.part.io", Counter, BYTES, [N_OUT], exited),
        part!(network_tx_bytes, "network.part.io", Counter, BYTES, [N_OUT], inside_node),
        unattributed!(network_rx_bytes, "network.unattributed", SignedCounter, BYTES, [N_IN]),
        unattributed!(network_tx_bytes, "network.unattributed", SignedCounter, BYTES, [N_OUT]),
    ]
}

fn inodes(input: &NodeInput<'_>, part: fn(NodeFilesystem) -> u64) -> Option<i64> {
    let filesystem = input.filesystem.filter(|it| it.inodes_used + it.inodes_free > 0);
    filesystem.map(part).map(kept)
}

/// The figures of the node under the names that Kubernetes' dashboards ask for.
fn kubernetes() -> Vec<Metric> {
    const HELP: &str = "The same figure of the node under its name for Kubernetes.";
    vec![
        Metric {
            name: "k8s.node.cpu.time",
            help: HELP,
            source: "/proc/stat",
            read: Read::Node(|input| {
                cpu_time(input, |cpu| Some(cpu.busy)).filter(|_| input.in_kubernetes)
            }),
            ..COMMON
        },
        Metric {
            name: "k8s.node.cpu.usage",
            instrument: Instrument::Gauge,
            unit: Unit::CPUS,
            help: HELP,
            source: "/proc/stat",
            read: Read::Node(|input| {
                let cpu = input.account.node.cpu.filter(|_| input.in_kubernetes)?;
                Some(kept(cpu.nanocores()))
            }),
            ..COMMON
        },
        Metric {
            name: "k8s.node.memory.usage",
            help: HELP,
            source: "/proc/meminfo MemTotal, MemFree",
            read: Read::Node(|input| {
                memory_of(input, |memory| memory.used()).filter(|_| input.in_kubernetes)
            }),
            ..AMOUNT
        },
        Metric {
            name: "k8s.node.memory.available",
            help: HELP,
            source: "/proc/meminfo MemAvailable",
            read: Read::Node(|input| {
                memory_of(input, |memory| memory.available).filter(|_| input.in_kubernetes)
            }),
            ..AMOUNT
        },
        Metric {
            name: "k8s.node.memory.working_set",
            help: HELP,
            source: "/proc/meminfo",
            read: Read::Node(|input| {
                memory_of(input, |memory| memory.working_set()).filter(|_| input.in_kubernetes)
            }),
            ..AMOUNT
        },
        Metric {
            name: "k8s.node.memory.rss",
            help: "Anonymous memory that is mapped.",
            source: "/proc/meminfo AnonPages",
            read: Read::Node(|input| {
                memory_of(input, |memory| memory.anon).filter(|_| input.in_kubernetes)
            }),
            ..AMOUNT
        },
        Metric {
            name: "k8s.node.network.io",
            unit: Unit::BYTES,
            attributes: RECEIVE,
            help: HELP,
            source: "/proc/net/dev",
            read: Read::Node(|input| {
                network_of(input, |it| it.rx.as_bytes()).filter(|_| input.in_kubernetes)
            }),
            ..COMMON
        },
        Metric {
            name: "k8s.node.network.io",
            unit: Unit::BYTES,
            attributes: TRANSMIT,
            help: HELP,
            source: "/proc/net/dev",
            read: Read::Node(|input| {
                network_of(input, |it| it.tx.as_bytes()).filter(|_| input.in_kubernetes)
            }),
            ..COMMON
        },
        Metric {
            name: "k8s.node.filesystem.usage",
            help: "The filesystem that the node's pods lie on.",
            source: "statfs",
            read: Read::Node(|input| input.filesystem.map(|it| kept(it.usage_bytes))),
            ..AMOUNT
        },
        Metric {
            name: "k8s.node.filesystem.capacity",
            help: "The filesystem that the node's pods lie on.",
            source: "statfs",
            read: Read::Node(|input| input.filesystem.map(|it| kept(it.capacity_bytes))),
            ..AMOUNT
        },
        Metric {
            name: "k8s.node.filesystem.available",
            help: "The filesystem that the node's pods lie on.",
            source: "statfs",
            read: Read::Node(|input| input.filesystem.map(|it| kept(it.available_bytes))),
            ..AMOUNT
        },
        Metric {
            name: "k8s.node.filesystem.inode.count",
            unit: Unit::count("{inode}"),
            help: "Inodes of that filesystem; absent where it makes them as it needs them.",
            source: "statfs",
            read: Read::Node(|input| inodes(input, |it| it.inodes_used + it.inodes_free)),
            ..AMOUNT
        },
        Metric {
            name: "k8s.node.filesystem.inode.free",
            unit: Unit::count("{inode}"),
            help: "Inodes of that filesystem; absent where it makes them as it needs them.",
            source: "statfs",
            read: Read::Node(|input| inodes(input, |it| it.inodes_free)),
            ..AMOUNT
        },
    ]
}
