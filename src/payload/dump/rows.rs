//! The objects of the document; pods, containers and units are in `owners`.

use super::input::{Dump, ProcessGroup};
use super::row::DumpRow;
use crate::attribution::InnerNode;
use crate::disk_usage::usage::FilesystemUsage;
use crate::ledger::account::{
    Account, Balance, CpuUsage, DiskSource, DiskUsage, ExitedChildren, ExitedUsage, NetworkSource,
    NetworkUsage, NodeCpu, ProcessUsage, Usage,
};
use crate::ledger::{MemoryKind, MemoryParts, ProcessOwner};
use crate::payload::stamp::Rfc3339Millis;
use crate::quantity::{Bytes, CpuTime, Limit};
use crate::snapshot::PressureReading;
use crate::snapshot::gaps::{Gap, Gaps};
use crate::source::cgroup::pressure::{Pressure, Stall};
use crate::source::proc::diskstats::DiskActivity;
use crate::source::proc::meminfo::MemInfo;

pub(super) fn node(dump: &Dump<'_>) -> DumpRow {
    let (host, account) = (dump.host, dump.account);
    let node = &account.node;
    DumpRow::default()
        .with("name", &*host.name)
        .with("boot_id", account.boot.map(|boot| boot.to_string()))
        .with("kernel_release", host.kernel_release.as_deref())
        .with("os", host.os.as_deref())
        .with("cpu_model", host.cpu_model.as_deref())
        .with("sampled_at", Rfc3339Millis(account.wall).to_string())
        .with("interval_usec", account.since.map(|since| account.until.usec_since(since)))
        .with("cpus", node.cpus)
        .and(node.cpu.map(node_cpu))
        .and(node.memory.map(node_memory))
        .and(node.memory_parts.map(memory_parts))
        .and(node.disk.map(|disk| disk_usage(disk, "diskstats")))
        .and(node.disk_activity.map(disk_activity))
        .and(node.network.map(network))
        .and(pressure(&node.pressure))
        .with("load_1m_hundredths", node.load.and_then(|load| load.one_minute_hundredths))
        .with("load_5m_hundredths", node.load.and_then(|load| load.five_minutes_hundredths))
        .with("load_15m_hundredths", node.load.and_then(|load| load.fifteen_minutes_hundredths))
        .with("uptime_seconds", node.uptime_hundredths.map(|hundredths| hundredths / 100))
        .with("procs_running", node.procs_running)
        .with("procs_blocked", node.procs_blocked)
        .with("empty_pod_cgroups", account.empty_pod_cgroups)
        .and(
            dump.filesystems
                .map(|all| DumpRow::default().with_rows("filesystems", all.iter().map(filesystem))),
        )
}

fn node_cpu(cpu: NodeCpu) -> DumpRow {
    DumpRow::default()
        .with("cpu_busy_usec", cpu.busy.as_usec())
        .with("cpu_busy_by_idle_usec", cpu.busy_by_idle.map(CpuTime::as_usec))
        .with("cpu_busy_by_ticks_usec", cpu.busy_by_ticks.map(CpuTime::as_usec))
        .with("cpu_user_usec", cpu.user.map(CpuTime::as_usec))
        .with("cpu_system_usec", cpu.system.map(CpuTime::as_usec))
        .with("cpu_irq_usec", cpu.irq.map(CpuTime::as_usec))
        .with("cpu_softirq_usec", cpu.softirq.map(CpuTime::as_usec))
        .with("cpu_steal_usec", cpu.steal.map(CpuTime::as_usec))
        .with("cpu_idle_usec", cpu.idle.map(CpuTime::as_usec))
        .with("cpu_iowait_usec", cpu.iowait.map(CpuTime::as_usec))
        .with("cpu_over_usec", cpu.over_usec)
        .with("cpu_millicores", cpu.millicores())
}

fn node_memory(memory: MemInfo) -> DumpRow {
    DumpRow::default()
        .with("memory_total_bytes", memory.total.map(Bytes::as_bytes))
        .with("memory_free_bytes", memory.free.map(Bytes::as_bytes))
        .with("memory_available_bytes", memory.available.map(Bytes::as_bytes))
        .with("memory_used_bytes", memory.used().map(Bytes::as_bytes))
        .with("memory_working_set_bytes", memory.working_set().map(Bytes::as_bytes))
        .with("memory_page_cache_active_bytes", memory.active_file.map(Bytes::as_bytes))
        .with("memory_page_cache_inactive_bytes", memory.inactive_file.map(Bytes::as_bytes))
        .with("memory_mapped_bytes", memory.mapped.map(Bytes::as_bytes))
        .with("memory_huge_pages_free_bytes", memory.huge_pages_free_bytes().map(Bytes::as_bytes))
        .with("swap_total_bytes", memory.swap_total.map(Bytes::as_bytes))
        .with("swap_free_bytes", memory.swap_free.map(Bytes::as_bytes))
}

/// The key of one kind of memory.
const fn memory_part_key(kind: MemoryKind) -> &'static str {
    match kind {
        MemoryKind::Anonymous => "memory_anonymous_bytes",
        MemoryKind::PageCache => "memory_page_cache_bytes",
        MemoryKind::Shared => "memory_shared_bytes",
        MemoryKind::SlabReclaimable => "memory_slab_reclaimable_bytes",
        MemoryKind::SlabUnreclaimable => "memory_slab_unreclaimable_bytes",
        MemoryKind::KernelStacks => "memory_kernel_stacks_bytes",
        MemoryKind::PageTables => "memory_page_tables_bytes",
        MemoryKind::PerCpu => "memory_per_cpu_bytes",
        MemoryKind::Vmalloc => "memory_vmalloc_bytes",
        MemoryKind::HugePages => "memory_huge_pages_bytes",
        MemoryKind::Zswap => "memory_zswap_bytes",
        MemoryKind::ZfsArc => "memory_zfs_arc_bytes",
        MemoryKind::CpuLists => "memory_cpu_lists_bytes",
        MemoryKind::Other => "memory_other_bytes",
    }
}

/// The keys of a node's row that add up to its memory in use.
pub fn memory_part_keys() -> impl Iterator<Item = &'static str> {
    MemoryKind::ALL.into_iter().map(memory_part_key)
}

fn memory_parts(parts: MemoryParts) -> DumpRow {
    MemoryKind::ALL.into_iter().fold(DumpRow::default(), |row, kind| {
        row.with(memory_part_key(kind), parts.get(kind).map(Bytes::as_bytes))
    })
}

fn filesystem(usage: &FilesystemUsage) -> DumpRow {
    DumpRow::default()
        .with_bytes(["mount_point", "mount_point_hex"], &usage.mount_point)
        .with("filesystem", &*usage.filesystem)
        .with("capacity_bytes", usage.capacity_bytes)
        .with("used_bytes", usage.used_bytes)
        .with("available_bytes", usage.available_bytes)
        .with("inodes", usage.inodes)
        .with("inodes_free", usage.inodes_free)
}

fn disk_usage(disk: DiskUsage, from: &'static str) -> DumpRow {
    // Processes' own counters have bytes only.
    let has_ops = disk.from == DiskSource::IoStat;
    DumpRow::default()
        .with("disk_read_bytes", disk.read.as_bytes())
        .with("disk_written_bytes", disk.written.as_bytes())
        .with("disk_read_ops", has_ops.then_some(disk.read_ops))
        .with("disk_write_ops", has_ops.then_some(disk.write_ops))
        .with("disk_from", from)
}

fn disk_activity(activity: DiskActivity) -> DumpRow {
    let usec = |ms: Option<u64>| ms.map(|ms| ms.saturating_mul(1000));
    DumpRow::default()
        .with("disk_merged_reads", activity.merged_reads)
        .with("disk_merged_writes", activity.merged_writes)
        .with("disk_read_time_usec", usec(activity.read_ms))
        .with("disk_write_time_usec", usec(activity.write_ms))
        .with("disk_io_time_usec", usec(activity.io_ms))
        .with("disk_weighted_io_time_usec", usec(activity.weighted_io_ms))
        .with("disk_ops_in_progress", activity.in_progress)
}

fn network(network: NetworkUsage) -> DumpRow {
    // Sockets have neither errors nor drops.
    let (from, has_errors) = match network.from {
        NetworkSource::Interfaces => ("interfaces", true),
        NetworkSource::TcpSockets => ("tcp_sockets", false),
    };
    DumpRow::default()
        .with("network_rx_bytes", network.rx.as_bytes())
        .with("network_tx_bytes", network.tx.as_bytes())
        .with("network_rx_packets", network.rx_packets)
        .with("network_tx_packets", network.tx_packets)
        .with("network_rx_errors", has_errors.then_some(network.rx_errors))
        .with("network_tx_errors", has_errors.then_some(network.tx_errors))
        .with("network_rx_dropped", has_errors.then_some(network.rx_dropped))
        .with("network_tx_dropped", has_errors.then_some(network.tx_dropped))
        .with("network_from", from)
}

fn pressure(reading: &PressureReading) -> DumpRow {
    let stall = |stall: Stall| {
        DumpRow::default()
            .with("avg10_basis_points", stall.avg10_basis_points)
            .with("total_usec", stall.total.as_usec())
    };
    let stalls = |pressure: Pressure| {
        DumpRow::default()
            .with_row("some", pressure.some.map(stall))
            .with_row("full", pressure.full.map(stall))
    };
    DumpRow::default()
        .with_row("pressure_cpu", reading.cpu.map(stalls))
        .with_row("pressure_memory", reading.memory.map(stalls))
        .with_row("pressure_io", reading.io.map(stalls))
}

fn cpu_usage(cpu: CpuUsage) -> DumpRow {
    DumpRow::default()
        .with("cpu_usage_usec", cpu.usage.as_usec())
        .with("cpu_user_usec", cpu.split.map(|split| split.user.as_usec()))
        .with("cpu_system_usec", cpu.split.map(|split| split.system.as_usec()))
        .with("cpu_over_usec", cpu.over_usec)
        .with("cpu_millicores", cpu.millicores())
}

pub(super) fn usage(usage: &Usage) -> DumpRow {
    let memory = &usage.memory;
    let throttling = usage.throttling;
    let of_memory = |bytes: Option<Bytes>| bytes.map(Bytes::as_bytes);
    let events = usage.events.named().fold(DumpRow::default(), |row, (name, n)| row.with(name, n));
    let tasks_limit = match usage.pids.max {
        Some(Limit::At(tasks)) => Some(tasks),
        Some(Limit::Max) | None => None,
    };
    let disk = usage.disk.map(|disk| {
        let from = match disk.from {
            DiskSource::IoStat => "io.stat",
            DiskSource::Processes => "processes",
        };
        disk_usage(disk, from)
    });
    DumpRow::default()
        .and(usage.cpu.map(cpu_usage))
        .with("cpu_throttled_usec", throttling.map(|throttling| throttling.throttled.as_usec()))
        .with("cpu_throttled_periods", throttling.map(|throttling| throttling.throttled_periods))
        .with("cpu_periods", throttling.map(|throttling| throttling.periods))
        .with("cpu_limit_millicores", usage.cpu_limit_millicores())
        .with("cpu_weight", usage.cpu_weight)
        .with("memory_current_bytes", of_memory(memory.current))
        .with("memory_working_set_bytes", of_memory(memory.working_set()))
        .with("memory_anon_bytes", of_memory(memory.stat.and_then(|stat| stat.anon)))
        .with("memory_file_bytes", of_memory(memory.stat.and_then(|stat| stat.file)))
        .with("memory_kernel_bytes", of_memory(memory.stat.and_then(|stat| stat.kernel)))
        .with("memory_peak_bytes", of_memory(memory.peak))
        .with("memory_limit_bytes", of_memory(usage.memory_limit()))
        .with("memory_reservation_bytes", of_memory(usage.memory_reservation()))
        .with("memory_huge_pages_bytes", of_memory(memory.huge_pages))
        .with("memory_swap_bytes", of_memory(memory.swap_current))
        .with("memory_swap_limit_bytes", of_memory(usage.swap_limit()))
        .with("memory_resident_bytes", usage.resident.as_bytes())
        .and(events)
        .and(disk)
        .and(usage.network.map(network))
        .with("tasks", usage.pids.current)
        .with("tasks_limit", tasks_limit)
        .with("processes", usage.processes)
        .with("processes_cpu_usage_usec", usage.processes_cpu.as_usec())
        .and(pressure(&usage.pressure))
}

fn owner(owner: &ProcessOwner) -> DumpRow {
    let row = |kind: &'static str| DumpRow::default().with("owner", kind);
    match owner {
        ProcessOwner::Kernel => row("kernel"),
        ProcessOwner::Pod { uid, container } => {
            row("pod").with("pod_uid", &**uid).with("container_id", container.as_deref())
        }
        ProcessOwner::Container { id } => row("container").with("container_id", &**id),
        ProcessOwner::Unit { path } => {
            row("unit").with("unit_cgroup", String::from_utf8_lossy(path))
        }
    }
}

pub(super) fn process(process: &ProcessUsage) -> DumpRow {
    let cmdline = process.cmdline.as_ref().map(|cmdline| {
        let arguments = cmdline.split(|byte| *byte == 0);
        arguments.map(|argument| String::from_utf8_lossy(argument).into_owned()).collect::<Vec<_>>()
    });
    DumpRow::default()
        .with("process_kind", "process")
        .with("pid", process.key.pid)
        .with("start_ticks", process.key.start_ticks)
        .with_bytes(["comm", "comm_hex"], process.comm.as_bytes())
        .with("parent_pid", process.parent_pid)
        .with("threads", process.threads)
        .with("kernel_thread", process.kernel_thread)
        .and(owner(&ProcessOwner::of(process)))
        .with_cgroup(&process.cgroup)
        .with("cpu_usage_usec", process.cpu.map(|cpu| cpu.usage.as_usec()))
        .with("cpu_over_usec", process.cpu.map(|cpu| cpu.over_usec))
        .with("cpu_millicores", process.cpu.map(|cpu| cpu.millicores()))
        .with("memory_resident_bytes", process.resident.map(Bytes::as_bytes))
        .with("disk_read_bytes", process.disk.map(|disk| disk.read.as_bytes()))
        .with("disk_written_bytes", process.disk.map(|disk| disk.written.as_bytes()))
        .with("cmdline", cmdline)
}

/// The processes that ended, by the parent that waited for them.
pub(super) fn exited_children(exited: &ExitedChildren) -> DumpRow {
    DumpRow::default()
        .with("process_kind", "exited_children")
        .with("parent_pid", exited.parent.pid)
        .with("parent_start_ticks", exited.parent.start_ticks)
        .with_bytes(["comm", "comm_hex"], exited.comm.as_bytes())
        .and(owner(&ProcessOwner::of_cgroup(&exited.cgroup)))
        .with_cgroup(&exited.cgroup)
        .with("cpu_usage_usec", exited.cpu.as_usec())
}

/// The processes of one owner that have no row of their own.
pub(super) fn process_group(group: &ProcessGroup) -> DumpRow {
    DumpRow::default()
        .with("process_kind", "rest")
        .and(owner(&group.owner))
        .with("processes", group.processes)
        .with("cpu_usage_usec", group.cpu_usage_usec)
        .with("memory_resident_bytes", group.resident.as_bytes())
}

/// The balance of each resource that has one, with its key.
pub(super) fn balances(account: &Account) -> impl Iterator<Item = (&'static str, DumpRow)> {
    let all = &account.conservation;
    let balances = [
        ("cpu_usec", all.cpu_usec),
        ("memory_bytes", all.memory_bytes),
        ("disk_read_bytes", all.disk_read_bytes),
        ("disk_written_bytes", all.disk_written_bytes),
        ("network_rx_bytes", all.network_rx_bytes),
        ("network_tx_bytes", all.network_tx_bytes),
    ];
    balances.into_iter().filter_map(|(resource, found)| {
        let found = found?;
        let inside = resource.starts_with("network").then_some(found.inside_node);
        Some((resource, balance(found).with("inside_node", inside)))
    })
}

fn balance(balance: Balance) -> DumpRow {
    DumpRow::default()
        .with("node", balance.node)
        .with("pods", balance.pods)
        .with("host_units", balance.host_units)
        .with("kernel", balance.kernel)
        .with("interrupts", balance.interrupts)
        .with("exited", balance.exited)
        .with("unattributed", balance.unattributed)
        .with("uncertainty", balance.uncertainty)
}

pub(super) fn exited(exited: &ExitedUsage) -> DumpRow {
    let (exited_kind, qos) = match exited.node {
        InnerNode::Pods { qos } => ("pods", Some(qos)),
        InnerNode::Containers { .. } => ("containers", None),
        InnerNode::Guests => ("guests", None),
        InnerNode::Slice => ("units", None),
    };
    DumpRow::default()
        .with_cgroup(&exited.path)
        .with("exited_kind", exited_kind)
        .with("qos_class", qos.map(|qos| qos.as_str()))
        .with("cpu_usage_usec", exited.cpu.as_usec())
        .with("disk_read_bytes", exited.disk.read.as_bytes())
        .with("disk_written_bytes", exited.disk.written.as_bytes())
        .with("network_rx_bytes", exited.network.rx.as_bytes())
        .with("network_tx_bytes", exited.network.tx.as_bytes())
}

/// The gaps of every sample on this host, then those of this one.
pub(super) fn gaps(gaps: &Gaps) -> impl Iterator<Item = DumpRow> {
    let row = |path: &[u8], reason: String, standing: bool| {
        let row = DumpRow::default().with_bytes(["path", "path_hex"], path);
        row.with("reason", reason).with("standing", standing)
    };
    let gap = move |gap: &Gap, standing| row(&gap.path, gap.reason.to_string(), standing);
    let unlisted = gaps.count.saturating_sub(gaps.current.len() as u64);
    let unlisted =
        (unlisted > 0).then(|| row(b"", format!("{unlisted} further gaps are not listed"), false));
    let standing = gaps.standing.iter().map(move |found| gap(found, true));
    standing.chain(gaps.current.iter().map(move |found| gap(found, false))).chain(unlisted)
}
