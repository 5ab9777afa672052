//! The objects of the document, a struct each; pods, containers and units are in `owners`.

use serde::{Serialize, Serializer};

use super::input::{Dump, ProcessGroup, ProcessOwner};
use crate::attribution::InnerNode;
use crate::disk_usage::usage::FilesystemUsage;
use crate::ledger::EventCounts;
use crate::ledger::account::{
    Account, Balance, CpuUsage, DiskSource, DiskUsage, ExitedUsage, NetworkSource, NetworkUsage,
    ProcessUsage, Usage,
};
use crate::payload::stamp::Rfc3339Millis;
use crate::quantity::{Bytes, Limit};
use crate::snapshot::PressureReading;
use crate::snapshot::gaps::{Gap, Gaps};
use crate::source::cgroup::pressure::{Pressure, Stall};

/// Bytes that are mostly text: as text where they are UTF-8, else with U+FFFD for what is not, and
/// the exact bytes in hexadecimal beside it.
#[derive(Serialize)]
pub(super) struct NameRow {
    #[serde(rename = "name")]
    text: String,
    #[serde(rename = "name_hex", skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

fn text_and_hex(bytes: &[u8]) -> (String, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => {
            let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            (String::from_utf8_lossy(bytes).into_owned(), Some(hex))
        }
    }
}

pub(super) fn named(bytes: &[u8]) -> NameRow {
    let (text, hex) = text_and_hex(bytes);
    NameRow { text, hex }
}

pub(super) fn is_false(value: &bool) -> bool {
    !value
}

#[derive(Serialize)]
pub(super) struct CgroupName {
    cgroup: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup_hex: Option<String>,
}

pub(super) fn cgroup_name(path: &[u8]) -> CgroupName {
    let (cgroup, cgroup_hex) = text_and_hex(path);
    CgroupName { cgroup, cgroup_hex }
}

#[derive(Serialize)]
pub(super) struct NodeRow<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel_release: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_model: Option<&'a str>,
    sampled_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval_usec: Option<u64>,
    cpus: u32,
    #[serde(flatten)]
    cpu: Option<NodeCpuRow>,
    #[serde(flatten)]
    memory: Option<NodeMemoryRow>,
    #[serde(flatten)]
    disk: Option<DiskUsageRow>,
    #[serde(flatten)]
    network: Option<NetworkRow>,
    #[serde(flatten)]
    pressure: PressureRow,
    #[serde(skip_serializing_if = "Option::is_none")]
    load_1m_hundredths: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load_5m_hundredths: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load_15m_hundredths: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    procs_running: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    procs_blocked: Option<u64>,
    empty_pod_cgroups: u32,
    filesystems: Vec<FilesystemRow>,
}

#[derive(Serialize)]
struct NodeCpuRow {
    cpu_busy_usec: u64,
    cpu_user_usec: u64,
    cpu_system_usec: u64,
    cpu_irq_usec: u64,
    cpu_softirq_usec: u64,
    cpu_steal_usec: u64,
    cpu_idle_usec: u64,
    cpu_iowait_usec: u64,
    cpu_over_usec: u64,
    cpu_millicores: u64,
}

#[derive(Serialize)]
struct NodeMemoryRow {
    memory_total_bytes: u64,
    memory_free_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_available_bytes: Option<u64>,
    memory_used_bytes: u64,
    memory_working_set_bytes: u64,
    swap_total_bytes: u64,
    swap_free_bytes: u64,
}

#[derive(Serialize)]
struct FilesystemRow {
    mount_point: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mount_point_hex: Option<String>,
    filesystem: String,
    capacity_bytes: u64,
    used_bytes: u64,
    available_bytes: u64,
    inodes: u64,
    inodes_free: u64,
}

pub(super) fn node<'a>(dump: &'a Dump<'_>) -> NodeRow<'a> {
    let (host, account) = (dump.host, dump.account);
    let node = &account.node;
    NodeRow {
        name: &host.name,
        boot_id: account.boot.map(|boot| boot.to_string()),
        kernel_release: host.kernel_release.as_deref(),
        os: host.os.as_deref(),
        cpu_model: host.cpu_model.as_deref(),
        sampled_at: Rfc3339Millis(account.wall).to_string(),
        interval_usec: account.since.map(|since| account.until.usec_since(since)),
        cpus: node.cpus,
        cpu: node.cpu.map(|cpu| NodeCpuRow {
            cpu_busy_usec: cpu.busy.as_usec(),
            cpu_user_usec: cpu.user.as_usec(),
            cpu_system_usec: cpu.system.as_usec(),
            cpu_irq_usec: cpu.irq.as_usec(),
            cpu_softirq_usec: cpu.softirq.as_usec(),
            cpu_steal_usec: cpu.steal.as_usec(),
            cpu_idle_usec: cpu.idle.as_usec(),
            cpu_iowait_usec: cpu.iowait.as_usec(),
            cpu_over_usec: cpu.over_usec,
            cpu_millicores: cpu.millicores(),
        }),
        memory: node.memory.map(|memory| NodeMemoryRow {
            memory_total_bytes: memory.total.as_bytes(),
            memory_free_bytes: memory.free.as_bytes(),
            memory_available_bytes: memory.available.map(Bytes::as_bytes),
            memory_used_bytes: memory.used().as_bytes(),
            memory_working_set_bytes: memory.working_set().as_bytes(),
            swap_total_bytes: memory.swap_total.as_bytes(),
            swap_free_bytes: memory.swap_free.as_bytes(),
        }),
        disk: node.disk.as_ref().map(|disk| disk_row(disk, true)),
        network: node.network.as_ref().map(network_row),
        pressure: pressure_row(&node.pressure),
        load_1m_hundredths: node.load.map(|load| load.one_minute_hundredths),
        load_5m_hundredths: node.load.map(|load| load.five_minutes_hundredths),
        load_15m_hundredths: node.load.map(|load| load.fifteen_minutes_hundredths),
        uptime_seconds: node.uptime_hundredths.map(|hundredths| hundredths / 100),
        procs_running: node.procs_running,
        procs_blocked: node.procs_blocked,
        empty_pod_cgroups: account.empty_pod_cgroups,
        filesystems: dump.filesystems.iter().map(filesystem).collect(),
    }
}

fn filesystem(usage: &FilesystemUsage) -> FilesystemRow {
    let (mount_point, mount_point_hex) = text_and_hex(&usage.mount_point);
    FilesystemRow {
        mount_point,
        mount_point_hex,
        filesystem: usage.filesystem.clone(),
        capacity_bytes: usage.capacity_bytes,
        used_bytes: usage.used_bytes,
        available_bytes: usage.available_bytes,
        inodes: usage.inodes,
        inodes_free: usage.inodes_free,
    }
}

#[derive(Serialize)]
struct DiskUsageRow {
    disk_read_bytes: u64,
    disk_written_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_read_ops: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_write_ops: Option<u64>,
    /// `diskstats`, `io.stat` or `processes`.
    disk_from: &'static str,
}

fn disk_row(disk: &DiskUsage, is_node: bool) -> DiskUsageRow {
    // Processes' own figures have bytes only.
    let has_ops = disk.from == DiskSource::IoStat;
    DiskUsageRow {
        disk_read_bytes: disk.read.as_bytes(),
        disk_written_bytes: disk.written.as_bytes(),
        disk_read_ops: has_ops.then_some(disk.read_ops),
        disk_write_ops: has_ops.then_some(disk.write_ops),
        disk_from: match (is_node, disk.from) {
            (true, _) => "diskstats",
            (false, DiskSource::IoStat) => "io.stat",
            (false, DiskSource::Processes) => "processes",
        },
    }
}

#[derive(Serialize)]
struct NetworkRow {
    network_rx_bytes: u64,
    network_tx_bytes: u64,
    network_rx_packets: u64,
    network_tx_packets: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_rx_errors: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_tx_errors: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_rx_dropped: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_tx_dropped: Option<u64>,
    /// `interfaces` or `tcp_sockets`.
    network_from: &'static str,
}

fn network_row(network: &NetworkUsage) -> NetworkRow {
    // A socket knows of neither.
    let has_trouble = network.from == NetworkSource::Interfaces;
    NetworkRow {
        network_rx_bytes: network.rx.as_bytes(),
        network_tx_bytes: network.tx.as_bytes(),
        network_rx_packets: network.rx_packets,
        network_tx_packets: network.tx_packets,
        network_rx_errors: has_trouble.then_some(network.rx_errors),
        network_tx_errors: has_trouble.then_some(network.tx_errors),
        network_rx_dropped: has_trouble.then_some(network.rx_dropped),
        network_tx_dropped: has_trouble.then_some(network.tx_dropped),
        network_from: match network.from {
            NetworkSource::Interfaces => "interfaces",
            NetworkSource::TcpSockets => "tcp_sockets",
        },
    }
}

#[derive(Serialize)]
struct PressureRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    pressure_cpu: Option<StallsRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pressure_memory: Option<StallsRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pressure_io: Option<StallsRow>,
}

#[derive(Serialize)]
struct StallsRow {
    some: StallRow,
    #[serde(skip_serializing_if = "Option::is_none")]
    full: Option<StallRow>,
}

#[derive(Serialize)]
struct StallRow {
    avg10_basis_points: u64,
    total_usec: u64,
}

fn pressure_row(reading: &PressureReading) -> PressureRow {
    let stall = |stall: Stall| StallRow {
        avg10_basis_points: stall.avg10_basis_points,
        total_usec: stall.total.as_usec(),
    };
    let stalls = |pressure: Pressure| StallsRow {
        some: stall(pressure.some),
        full: pressure.full.map(stall),
    };
    PressureRow {
        pressure_cpu: reading.cpu.map(stalls),
        pressure_memory: reading.memory.map(stalls),
        pressure_io: reading.io.map(stalls),
    }
}

#[derive(Serialize)]
struct CpuRow {
    cpu_usage_usec: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_user_usec: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_system_usec: Option<u64>,
    cpu_over_usec: u64,
    cpu_millicores: u64,
}

fn cpu_row(cpu: CpuUsage) -> CpuRow {
    CpuRow {
        cpu_usage_usec: cpu.usage.as_usec(),
        cpu_user_usec: cpu.split.map(|split| split.user.as_usec()),
        cpu_system_usec: cpu.split.map(|split| split.system.as_usec()),
        cpu_over_usec: cpu.over_usec,
        cpu_millicores: cpu.millicores(),
    }
}

/// The event counts that are known, each under its name.
struct EventRow(EventCounts);

impl Serialize for EventRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.named().filter_map(|(name, count)| Some((name, count?))))
    }
}

#[derive(Serialize)]
pub(super) struct UsageRow {
    #[serde(flatten)]
    cpu: Option<CpuRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_throttled_usec: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_throttled_periods: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_periods: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_limit_millicores: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_current_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_working_set_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_anon_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_file_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_kernel_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_peak_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_limit_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_swap_bytes: Option<u64>,
    memory_resident_bytes: u64,
    #[serde(flatten)]
    events: EventRow,
    #[serde(flatten)]
    disk: Option<DiskUsageRow>,
    #[serde(flatten)]
    network: Option<NetworkRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks_limit: Option<u64>,
    processes: u32,
    processes_cpu_usage_usec: u64,
    #[serde(flatten)]
    pressure: PressureRow,
}

pub(super) fn usage_row(usage: &Usage) -> UsageRow {
    let memory = &usage.memory;
    let throttling = usage.throttling;
    UsageRow {
        cpu: usage.cpu.map(cpu_row),
        cpu_throttled_usec: throttling.map(|throttling| throttling.throttled.as_usec()),
        cpu_throttled_periods: throttling.map(|throttling| throttling.throttled_periods),
        cpu_periods: throttling.map(|throttling| throttling.periods),
        cpu_limit_millicores: usage.cpu_limit_millicores(),
        memory_current_bytes: memory.current.map(Bytes::as_bytes),
        memory_working_set_bytes: memory.working_set().map(Bytes::as_bytes),
        memory_anon_bytes: memory.stat.map(|stat| stat.anon.as_bytes()),
        memory_file_bytes: memory.stat.map(|stat| stat.file.as_bytes()),
        memory_kernel_bytes: memory.stat.and_then(|stat| stat.kernel).map(Bytes::as_bytes),
        memory_peak_bytes: memory.peak.map(Bytes::as_bytes),
        memory_limit_bytes: usage.memory_limit().map(Bytes::as_bytes),
        memory_swap_bytes: memory.swap_current.map(Bytes::as_bytes),
        memory_resident_bytes: usage.resident.as_bytes(),
        events: EventRow(usage.events),
        disk: usage.disk.as_ref().map(|disk| disk_row(disk, false)),
        network: usage.network.as_ref().map(network_row),
        tasks: usage.pids.current,
        tasks_limit: usage.pids.max.and_then(|limit| match limit {
            Limit::At(tasks) => Some(tasks),
            Limit::Max => None,
        }),
        processes: usage.processes,
        processes_cpu_usage_usec: usage.processes_cpu.as_usec(),
        pressure: pressure_row(&usage.pressure),
    }
}

#[derive(Serialize)]
struct OwnerRow {
    /// `kernel`, `pod`, `container` or `unit`.
    owner: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod_uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_cgroup: Option<String>,
}

fn owner(owner: &ProcessOwner) -> OwnerRow {
    let mut row =
        OwnerRow { owner: "kernel", pod_uid: None, container_id: None, unit_cgroup: None };
    match owner {
        ProcessOwner::Kernel => {}
        ProcessOwner::Pod { uid, container } => {
            row.owner = "pod";
            row.pod_uid = Some(uid.clone());
            row.container_id.clone_from(container);
        }
        ProcessOwner::Container { id } => {
            row.owner = "container";
            row.container_id = Some(id.clone());
        }
        ProcessOwner::Unit { path } => {
            row.owner = "unit";
            row.unit_cgroup = Some(String::from_utf8_lossy(path).into_owned());
        }
    }
    row
}

#[derive(Serialize)]
pub(super) struct ProcessRow {
    process_kind: &'static str,
    pid: u32,
    start_ticks: u64,
    comm: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comm_hex: Option<String>,
    parent_pid: u32,
    threads: u32,
    kernel_thread: bool,
    #[serde(flatten)]
    owner: OwnerRow,
    #[serde(flatten)]
    cgroup: CgroupName,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_usage_usec: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_over_usec: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_millicores: Option<u64>,
    memory_resident_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_read_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_written_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cmdline: Option<Vec<String>>,
}

pub(super) fn process(process: &ProcessUsage) -> ProcessRow {
    let (comm, comm_hex) = text_and_hex(process.comm.as_bytes());
    ProcessRow {
        process_kind: "process",
        pid: process.key.pid,
        start_ticks: process.key.start_ticks,
        comm,
        comm_hex,
        parent_pid: process.parent_pid,
        threads: process.threads,
        kernel_thread: process.kernel_thread,
        owner: owner(&ProcessOwner::of(process)),
        cgroup: cgroup_name(&process.cgroup),
        cpu_usage_usec: process.cpu.map(|cpu| cpu.usage.as_usec()),
        cpu_over_usec: process.cpu.map(|cpu| cpu.over_usec),
        cpu_millicores: process.cpu.map(|cpu| cpu.millicores()),
        memory_resident_bytes: process.resident.as_bytes(),
        disk_read_bytes: process.disk.map(|disk| disk.read.as_bytes()),
        disk_written_bytes: process.disk.map(|disk| disk.written.as_bytes()),
        cmdline: process.cmdline.as_ref().map(|cmdline| {
            let arguments = cmdline.split(|byte| *byte == 0);
            arguments.map(|argument| String::from_utf8_lossy(argument).into_owned()).collect()
        }),
    }
}

#[derive(Serialize)]
pub(super) struct RestRow {
    process_kind: &'static str,
    #[serde(flatten)]
    owner: OwnerRow,
    processes: u64,
    cpu_usage_usec: u64,
    memory_resident_bytes: u64,
}

pub(super) fn rest(rest: &ProcessGroup) -> RestRow {
    RestRow {
        process_kind: "rest",
        owner: owner(&rest.owner),
        processes: rest.processes,
        cpu_usage_usec: rest.cpu_usage_usec,
        memory_resident_bytes: rest.resident.as_bytes(),
    }
}

#[derive(Serialize)]
pub(super) struct ConservationRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_usec: Option<BalanceRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<BalanceRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_read_bytes: Option<BalanceRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_written_bytes: Option<BalanceRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_rx_bytes: Option<BalanceRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_tx_bytes: Option<BalanceRow>,
    pub exited: Vec<ExitedRow>,
}

impl ConservationRow {
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, BalanceRow)> + use<> {
        [
            ("cpu_usec", self.cpu_usec),
            ("memory_bytes", self.memory_bytes),
            ("disk_read_bytes", self.disk_read_bytes),
            ("disk_written_bytes", self.disk_written_bytes),
            ("network_rx_bytes", self.network_rx_bytes),
            ("network_tx_bytes", self.network_tx_bytes),
        ]
        .into_iter()
        .filter_map(|(resource, balance)| Some((resource, balance?)))
    }
}

#[derive(Serialize, Clone, Copy)]
pub(super) struct BalanceRow {
    node: u64,
    pods: u64,
    host_units: u64,
    kernel: u64,
    interrupts: u64,
    exited: u64,
    unattributed: i64,
}

#[derive(Serialize)]
pub(super) struct ResourceRow {
    pub resource: &'static str,
    #[serde(flatten)]
    pub balance: BalanceRow,
}

#[derive(Serialize)]
pub(super) struct ExitedRow {
    #[serde(flatten)]
    cgroup: CgroupName,
    /// `pods`, `units` or `containers`: what it was that lived there.
    exited_kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    qos_class: Option<&'static str>,
    cpu_usage_usec: u64,
    disk_read_bytes: u64,
    disk_written_bytes: u64,
    network_rx_bytes: u64,
    network_tx_bytes: u64,
}

pub(super) fn conservation(account: &Account) -> ConservationRow {
    let row = |balance: Balance| BalanceRow {
        node: balance.node,
        pods: balance.pods,
        host_units: balance.host_units,
        kernel: balance.kernel,
        interrupts: balance.interrupts,
        exited: balance.exited,
        unattributed: balance.unattributed,
    };
    let balances = &account.conservation;
    ConservationRow {
        cpu_usec: balances.cpu_usec.map(row),
        memory_bytes: balances.memory_bytes.map(row),
        disk_read_bytes: balances.disk_read_bytes.map(row),
        disk_written_bytes: balances.disk_written_bytes.map(row),
        network_rx_bytes: balances.network_rx_bytes.map(row),
        network_tx_bytes: balances.network_tx_bytes.map(row),
        exited: account.exited.iter().map(exited).collect(),
    }
}

fn exited(exited: &ExitedUsage) -> ExitedRow {
    let (exited_kind, qos) = match exited.node {
        InnerNode::Pods { qos } => ("pods", Some(qos)),
        InnerNode::Containers { .. } => ("containers", None),
        InnerNode::Slice => ("units", None),
    };
    ExitedRow {
        cgroup: cgroup_name(&exited.path),
        exited_kind,
        qos_class: qos.map(|qos| qos.as_str()),
        cpu_usage_usec: exited.cpu.as_usec(),
        disk_read_bytes: exited.disk.read.as_bytes(),
        disk_written_bytes: exited.disk.written.as_bytes(),
        network_rx_bytes: exited.network.rx.as_bytes(),
        network_tx_bytes: exited.network.tx.as_bytes(),
    }
}

#[derive(Serialize)]
pub(super) struct GapRow {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    reason: String,
    /// True of every sample on this host, and not of this one alone.
    standing: bool,
}

pub(super) fn gaps(gaps: &Gaps) -> Vec<GapRow> {
    let row = |gap: &Gap, standing| {
        let (path, path_hex) = text_and_hex(&gap.path);
        GapRow { path, path_hex, reason: gap.reason.to_string(), standing }
    };
    let standing = gaps.standing.iter().map(|gap| row(gap, true));
    let mut rows: Vec<GapRow> =
        standing.chain(gaps.current.iter().map(|gap| row(gap, false))).collect();
    let unlisted = gaps.count.saturating_sub(gaps.current.len() as u64);
    if unlisted > 0 {
        rows.push(GapRow {
            path: String::new(),
            path_hex: None,
            reason: format!("{unlisted} further gaps are not listed"),
            standing: false,
        });
    }
    rows
}
