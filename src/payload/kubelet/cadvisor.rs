//! `/metrics/cadvisor`: everything about containers, pods, host units and the machine, as the cAdvisor
//! in the kubelet writes it.
//!
//! ```text
//! container_cpu_usage_seconds_total{container="app",id="/kubepods/pod…/2e9e…",image="shop/app:1",name="2e9e…",namespace="shop",pod="web-1",cpu="total"} 2.994262 1795195817235
//! ```
//!
//! The row of a pod has no container and no name; that of the node has the id `/`. What has ended keeps
//! its counters, with the time of its end, as long as `/metrics` shows it.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use super::family::{
    ExtraLabel, Family, FamilyText, Kind, Series, Source, write_head, written_labels,
};
use super::{MachineFacts, place, text};
use crate::metrics::entity::{AttributeName, EntityClass, EntityId};
use crate::metrics::metric::Unit;
use crate::metrics::sample::{Entry, MetricSample};
use crate::payload::open_metrics::{TextFormat, escaped};
use crate::quantity::Limit;

static FAMILIES: LazyLock<Vec<Family>> = LazyLock::new(families);

/// The text of a sample.
#[must_use]
pub fn of_sample(
    sample: Arc<MetricSample>,
    machine: &MachineFacts,
    format: TextFormat,
) -> FamilyText {
    let labels = sample.entries.iter().map(labels_of).collect();
    let tail = machine_text(&sample, machine, format);
    FamilyText::new(sample, format, &FAMILIES, labels, tail)
}

/// `None`: the entity has no row.
fn labels_of(entry: &Entry) -> Option<Box<[u8]>> {
    let path = entry.facts.cgroup.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    let (id, name): (&str, String) = match &entry.entity.id {
        EntityId::Node => ("/", String::new()),
        EntityId::Pod(_) | EntityId::Unit(_) => (&path, String::new()),
        EntityId::Container { pod: Some(_), id } => (&path, id.to_string()),
        EntityId::Container { pod: None, id } => {
            let name = entry.entity.attribute(AttributeName::CONTAINER_NAME);
            (&path, name.map_or_else(|| id.to_string(), str::to_owned))
        }
        _ => return None,
    };
    // The strays of the root cgroup are no row of their own: the node has this id.
    if id.is_empty() || (id == "/" && entry.entity.id != EntityId::Node) {
        return None;
    }
    let labels = [
        ("container", text(entry, AttributeName::CONTAINER)),
        ("id", id),
        ("image", text(entry, AttributeName::IMAGE)),
        ("name", name.as_str()),
        ("namespace", text(entry, AttributeName::NAMESPACE)),
        ("pod", text(entry, AttributeName::POD)),
    ];
    Some(written_labels(&labels))
}

/// Seconds since 1970 at which the object was made; `None`: not known.
pub(super) fn created(entry: &Entry) -> Option<f64> {
    let wall = entry.facts.created.filter(|_| entry.ended.is_none())?;
    Some(seconds(wall.as_unix_millis()))
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit 53 bits")]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

const OWNERS: [EntityClass; 3] = [EntityClass::Pod, EntityClass::Container, EntityClass::Unit];
const NODE: EntityClass = EntityClass::Node;
const READ: &[(&str, &str)] = &[("disk.io.direction", "read")];
const WRITE: &[(&str, &str)] = &[("disk.io.direction", "write")];
const RECEIVE: &[(&str, &str)] = &[("network.io.direction", "receive")];
const TRANSMIT: &[(&str, &str)] = &[("network.io.direction", "transmit")];

type Series1 = Option<Series>;

/// The figure of pods, containers and units, and one of the node.
fn rows(name: &str, attributes: &[(&str, &str)], node: Series1) -> Vec<Series> {
    let owners = OWNERS.map(|class| Series::figure(class, name, attributes, ""));
    owners.into_iter().chain([node]).flatten().collect()
}

fn node(name: &str, attributes: &[(&str, &str)]) -> Series1 {
    Series::figure(NODE, name, attributes, "")
}

fn node_rows(name: &str, attributes: &[(&str, &str)]) -> Vec<Series> {
    node(name, attributes).into_iter().collect()
}

fn cpu_rows(name: &str, attributes: &[(&str, &str)], labels: &'static str) -> Vec<Series> {
    let rows = OWNERS.map(|class| match attributes {
        [] => Series::cpu(class, name, attributes, labels, |before| Some(before.usage)),
        [(_, "user")] => Series::cpu(class, name, attributes, labels, |before| before.user),
        _ => Series::cpu(class, name, attributes, labels, |before| before.system),
    });
    rows.into_iter().flatten().collect()
}

/// The rows of page faults. The kernel's counters include what is below, so only those of containers
/// are the container's own.
fn fault_rows() -> Vec<Series> {
    const FAULT: &str = "system.paging.fault.type";
    let names = OWNERS.map(|class| (class, "paging.faults"));
    let names = names.into_iter().chain([(NODE, "system.paging.faults")]);
    let rows = names.flat_map(|(class, name)| {
        let major = place(class, name, &[(FAULT, "major")]);
        let minor = place(class, name, &[(FAULT, "minor")]);
        let (Some(major), Some(minor)) = (major, minor) else { return Vec::new() };
        let series = |labels, source| Series::new(class, labels, source, Unit::BYTES);
        let mut rows = vec![
            series(",failure_type=\"pgfault\",scope=\"hierarchy\"", Source::Sum(major, minor)),
            series(",failure_type=\"pgmajfault\",scope=\"hierarchy\"", Source::Figure(major)),
        ];
        if class == EntityClass::Container {
            rows.extend([
                series(",failure_type=\"pgfault\",scope=\"container\"", Source::Sum(major, minor)),
                series(",failure_type=\"pgmajfault\",scope=\"container\"", Source::Figure(major)),
            ]);
        }
        rows
    });
    rows.collect()
}

fn with(extra: ExtraLabel, rows: Vec<Series>) -> Vec<Series> {
    rows.into_iter().map(|series| series.with(extra)).collect()
}

/// Rows of a fact of pods, containers and units.
fn facts(fact: fn(&MetricSample, &Entry) -> Option<f64>) -> Vec<Series> {
    OWNERS.map(|class| Series::fact(class, fact)).into()
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a period")]
fn cpu_period(_: &MetricSample, entry: &Entry) -> Option<f64> {
    let max = entry.facts.cpu_max.filter(|_| entry.ended.is_none())?;
    Some(max.period.as_usec() as f64)
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a period")]
fn cpu_quota(_: &MetricSample, entry: &Entry) -> Option<f64> {
    match entry.facts.cpu_max.filter(|_| entry.ended.is_none())?.quota {
        Limit::At(quota) => Some(quota.as_usec() as f64),
        Limit::Max => None,
    }
}

/// The weight in shares of cgroup v1: from 1 to 10000, to 2 to 262144. 0 stays 0.
#[expect(clippy::cast_precision_loss, reason = "shares end at 2^18")]
fn cpu_shares(_: &MetricSample, entry: &Entry) -> Option<f64> {
    let weight = entry.facts.cpu_weight.filter(|_| entry.ended.is_none())?;
    match weight {
        0 => Some(0.0),
        1..=10_000 => Some((2 + (weight - 1) * 262_142 / 9999) as f64),
        _ => None,
    }
}

/// 0 is no limit, as the help of the family says.
#[expect(clippy::cast_precision_loss, reason = "pids end at 2^22")]
fn tasks_max(_: &MetricSample, entry: &Entry) -> Option<f64> {
    let max = entry.facts.tasks_max.filter(|_| entry.ended.is_none())?;
    Some(match max {
        Limit::At(tasks) => tasks as f64,
        Limit::Max => 0.0,
    })
}

fn last_seen(sample: &MetricSample, entry: &Entry) -> Option<f64> {
    entry.ended.is_none().then(|| seconds(sample.wall.as_unix_millis()).floor())
}

fn families() -> Vec<Family> {
    let parts = [cpu(), disk(), memory(), network(), pressure(), rest()];
    let mut families: Vec<Family> = parts.into_iter().flatten().collect();
    families.sort_by_key(|family| family.name);
    families
}

fn counter(name: &'static str, help: &'static str, series: Vec<Series>) -> Family {
    Family { name, kind: Kind::Counter, help, is_stamped: true, series }
}

fn gauge(name: &'static str, help: &'static str, series: Vec<Series>) -> Family {
    Family { name, kind: Kind::Gauge, help, is_stamped: true, series }
}

/// A setting, which has no time.
fn setting(name: &'static str, help: &'static str, series: Vec<Series>) -> Family {
    Family { is_stamped: false, ..gauge(name, help, series) }
}

fn cpu() -> Vec<Family> {
    const MODE: &str = "cpu.mode";
    let with_node = |mut rows: Vec<Series>, node: Series1| {
        rows.extend(node);
        rows
    };
    let total = Series::figure(NODE, "nodetally.node.cpu.time", &[], ",cpu=\"total\"");
    let usage = cpu_rows("cpu.time", &[], ",cpu=\"total\"");
    let user = cpu_rows("cpu.mode.time", &[(MODE, "user")], "");
    let system = cpu_rows("cpu.mode.time", &[(MODE, "system")], "");
    vec![
        counter(
            "container_cpu_usage_seconds_total",
            "Cumulative cpu time consumed in seconds.",
            with_node(usage, total),
        ),
        counter(
            "container_cpu_user_seconds_total",
            "Cumulative user cpu time consumed in seconds.",
            with_node(user, node("system.cpu.time", &[(MODE, "user")])),
        ),
        counter(
            "container_cpu_system_seconds_total",
            "Cumulative system cpu time consumed in seconds.",
            with_node(system, node("system.cpu.time", &[(MODE, "system")])),
        ),
        counter(
            "container_cpu_cfs_periods_total",
            "Number of elapsed enforcement period intervals.",
            rows("cpu.periods", &[], None),
        ),
        counter(
            "container_cpu_cfs_throttled_periods_total",
            "Number of throttled period intervals.",
            rows("cpu.throttled.periods", &[], None),
        ),
        counter(
            "container_cpu_cfs_throttled_seconds_total",
            "Total time duration the container has been throttled.",
            rows("cpu.throttled.time", &[], None),
        ),
        setting("container_spec_cpu_period", "CPU period of the container.", facts(cpu_period)),
        setting("container_spec_cpu_quota", "CPU quota of the container.", facts(cpu_quota)),
        setting("container_spec_cpu_shares", "CPU share of the container.", facts(cpu_shares)),
    ]
}

fn disk() -> Vec<Family> {
    let by_device = |name, attributes, of_node: &str| {
        with(ExtraLabel::Device, rows(name, attributes, node(of_node, attributes)))
    };
    let sectors = |attributes| {
        let bytes = node("system.disk.io", attributes)
            .map(|series| Series { divisor: 512.0, ..series.with(ExtraLabel::Device) });
        bytes.into_iter().collect()
    };
    let of_disk = |name, attributes| with(ExtraLabel::Device, node_rows(name, attributes));
    // The device below a filesystem is not known.
    let space = |name| Series::figure(NODE, name, &[], ",device=\"\"").into_iter().collect();
    vec![
        counter(
            "container_fs_reads_bytes_total",
            "Cumulative count of bytes read",
            by_device("disk.io", READ, "system.disk.io"),
        ),
        counter(
            "container_fs_writes_bytes_total",
            "Cumulative count of bytes written",
            by_device("disk.io", WRITE, "system.disk.io"),
        ),
        counter(
            "container_fs_reads_total",
            "Cumulative count of reads completed",
            by_device("disk.operations", READ, "system.disk.operations"),
        ),
        counter(
            "container_fs_writes_total",
            "Cumulative count of writes completed",
            by_device("disk.operations", WRITE, "system.disk.operations"),
        ),
        counter(
            "container_fs_sector_reads_total",
            "Cumulative count of sector reads completed",
            sectors(READ),
        ),
        counter(
            "container_fs_sector_writes_total",
            "Cumulative count of sector writes completed",
            sectors(WRITE),
        ),
        counter(
            "container_fs_reads_merged_total",
            "Cumulative count of reads merged",
            of_disk("system.disk.merged", READ),
        ),
        counter(
            "container_fs_writes_merged_total",
            "Cumulative count of writes merged",
            of_disk("system.disk.merged", WRITE),
        ),
        counter(
            "container_fs_read_seconds_total",
            "Cumulative count of seconds spent reading",
            of_disk("system.disk.operation_time", READ),
        ),
        counter(
            "container_fs_write_seconds_total",
            "Cumulative count of seconds spent writing",
            of_disk("system.disk.operation_time", WRITE),
        ),
        gauge(
            "container_fs_io_current",
            "Number of I/Os currently in progress",
            of_disk("nodetally.node.disk.pending_operations", &[]),
        ),
        counter(
            "container_fs_io_time_seconds_total",
            "Cumulative count of seconds spent doing I/Os",
            of_disk("system.disk.io_time", &[]),
        ),
        counter(
            "container_fs_io_time_weighted_seconds_total",
            "Cumulative weighted I/O time in seconds",
            of_disk("nodetally.node.disk.weighted_io_time", &[]),
        ),
        gauge(
            "container_fs_usage_bytes",
            "Number of bytes that are consumed by the container on this filesystem.",
            space("k8s.node.filesystem.usage"),
        ),
        gauge(
            "container_fs_limit_bytes",
            "Number of bytes that can be consumed by the container on this filesystem.",
            space("k8s.node.filesystem.capacity"),
        ),
        gauge(
            "container_fs_inodes_total",
            "Number of Inodes",
            space("k8s.node.filesystem.inode.count"),
        ),
        gauge(
            "container_fs_inodes_free",
            "Number of available Inodes",
            space("k8s.node.filesystem.inode.free"),
        ),
    ]
}

fn memory() -> Vec<Family> {
    const STATE: &str = "system.memory.state";
    vec![
        gauge(
            "container_memory_usage_bytes",
            "Current memory usage in bytes, including all memory regardless of when it was accessed",
            rows("memory.usage", &[], node("system.memory.usage", &[(STATE, "used")])),
        ),
        gauge(
            "container_memory_working_set_bytes",
            "Current working set in bytes.",
            rows("memory.working_set", &[], node("nodetally.node.memory.working_set", &[])),
        ),
        gauge(
            "container_memory_rss",
            "Size of RSS in bytes.",
            rows("memory.rss", &[], node("k8s.node.memory.rss", &[])),
        ),
        gauge(
            "container_memory_cache",
            "Number of bytes of page cache memory.",
            rows("memory.file", &[], None),
        ),
        gauge(
            "container_memory_mapped_file",
            "Size of memory mapped files in bytes.",
            rows("memory.file_mapped", &[], None),
        ),
        gauge(
            "container_memory_kernel_usage",
            "Size of kernel memory allocated in bytes.",
            rows("memory.kernel", &[], None),
        ),
        gauge(
            "container_memory_max_usage_bytes",
            "Maximum memory usage recorded in bytes",
            rows("memory.peak", &[], None),
        ),
        gauge(
            "container_memory_swap",
            "Container swap usage in bytes.",
            rows(
                "memory.swap",
                &[],
                node("system.paging.usage", &[("system.paging.state", "used")]),
            ),
        ),
        counter(
            "container_memory_failcnt",
            "Number of memory usage hits limits",
            rows("memory.limit_hits", &[], None),
        ),
        counter(
            "container_memory_failures_total",
            "Cumulative count of memory allocation failures.",
            fault_rows(),
        ),
        counter(
            "container_oom_events_total",
            "Count of out of memory events observed for the container",
            rows("memory.oom_kills", &[], None),
        ),
        setting(
            "container_spec_memory_limit_bytes",
            "Memory limit for the container.",
            rows("memory.limit", &[], node("system.memory.limit", &[])),
        ),
        setting(
            "container_spec_memory_reservation_limit_bytes",
            "Memory reservation limit for the container.",
            rows("memory.reservation", &[], None),
        ),
        setting(
            "container_spec_memory_swap_limit_bytes",
            "Memory swap limit for the container.",
            rows("memory.swap.limit", &[], node("nodetally.node.swap.limit", &[])),
        ),
    ]
}

fn network() -> Vec<Family> {
    let family = |name, help, figure, attributes, of_node: &str| {
        let rows = rows(figure, attributes, node(of_node, attributes));
        counter(name, help, with(ExtraLabel::Interface, rows))
    };
    let io = ("network.io", "system.network.io");
    let packets = ("network.packet.count", "system.network.packet.count");
    let errors = ("network.errors", "system.network.errors");
    let dropped = ("network.packet.dropped", "system.network.packet.dropped");
    vec![
        family(
            "container_network_receive_bytes_total",
            "Cumulative count of bytes received",
            io.0,
            RECEIVE,
            io.1,
        ),
        family(
            "container_network_receive_packets_total",
            "Cumulative count of packets received",
            packets.0,
            RECEIVE,
            packets.1,
        ),
        family(
            "container_network_receive_errors_total",
            "Cumulative count of errors encountered while receiving",
            errors.0,
            RECEIVE,
            errors.1,
        ),
        family(
            "container_network_receive_packets_dropped_total",
            "Cumulative count of packets dropped while receiving",
            dropped.0,
            RECEIVE,
            dropped.1,
        ),
        family(
            "container_network_transmit_bytes_total",
            "Cumulative count of bytes transmitted",
            io.0,
            TRANSMIT,
            io.1,
        ),
        family(
            "container_network_transmit_packets_total",
            "Cumulative count of packets transmitted",
            packets.0,
            TRANSMIT,
            packets.1,
        ),
        family(
            "container_network_transmit_errors_total",
            "Cumulative count of errors encountered while transmitting",
            errors.0,
            TRANSMIT,
            errors.1,
        ),
        family(
            "container_network_transmit_packets_dropped_total",
            "Cumulative count of packets dropped while transmitting",
            dropped.0,
            TRANSMIT,
            dropped.1,
        ),
    ]
}

fn pressure() -> Vec<Family> {
    const RESOURCE: &str = "nodetally.pressure.resource";
    const KIND: &str = "nodetally.pressure.kind";
    let family = |name, help, resource, kind| {
        let attributes = [(RESOURCE, resource), (KIND, kind)];
        let of_node = node("nodetally.node.pressure.stall.time", &attributes);
        counter(name, help, rows("pressure.stall.time", &attributes, of_node))
    };
    vec![
        family(
            "container_pressure_cpu_waiting_seconds_total",
            "Total time duration tasks in the container have waited due to CPU congestion.",
            "cpu",
            "some",
        ),
        family(
            "container_pressure_cpu_stalled_seconds_total",
            "Total time duration no tasks in the container could make progress due to CPU congestion.",
            "cpu",
            "full",
        ),
        family(
            "container_pressure_memory_waiting_seconds_total",
            "Total time duration tasks in the container have waited due to memory congestion.",
            "memory",
            "some",
        ),
        family(
            "container_pressure_memory_stalled_seconds_total",
            "Total time duration no tasks in the container could make progress due to memory congestion.",
            "memory",
            "full",
        ),
        family(
            "container_pressure_io_waiting_seconds_total",
            "Total time duration tasks in the container have waited due to IO congestion.",
            "io",
            "some",
        ),
        family(
            "container_pressure_io_stalled_seconds_total",
            "Total time duration no tasks in the container could make progress due to IO congestion.",
            "io",
            "full",
        ),
    ]
}

fn rest() -> Vec<Family> {
    let everywhere = |fact: fn(&MetricSample, &Entry) -> Option<f64>| {
        let mut rows = facts(fact);
        rows.push(Series::fact(NODE, fact));
        rows
    };
    vec![
        gauge(
            "container_last_seen",
            "Last time a container was seen by the exporter",
            everywhere(last_seen),
        ),
        gauge(
            "container_processes",
            "Number of processes running inside the container.",
            rows("processes", &[], None),
        ),
        gauge(
            "container_threads",
            "Number of threads running inside the container",
            rows("tasks", &[], node("nodetally.node.threads", &[])),
        ),
        gauge(
            "container_threads_max",
            "Maximum number of threads allowed inside the container, infinity if value is zero",
            facts(tasks_max),
        ),
        setting(
            "container_start_time_seconds",
            "Start time of the container since unix epoch in seconds.",
            everywhere(|_, entry| created(entry)),
        ),
    ]
}

/// The rows that are the machine's, and those about the answer itself.
fn machine_text(sample: &MetricSample, machine: &MachineFacts, format: TextFormat) -> String {
    let mut head = Vec::new();
    let mut out = String::new();
    let mut family = |name: &str, help: &str, labels: &str, value: Option<i64>| {
        let Some(value) = value else { return };
        head.clear();
        write_head(name, Kind::Gauge, help, format, &mut head);
        out.push_str(&String::from_utf8_lossy(&head));
        // Writing to a text cannot fail.
        let _ = writeln!(out, "{name}{labels} {value}");
    };
    let node = sample.of(NODE).first();
    let figure = |name| node.and_then(|node| node.value(name, &[]));
    let known = |value: Option<u64>| value.and_then(|value| i64::try_from(value).ok());
    let ids = format!(
        "{{boot_id=\"{}\",machine_id=\"{}\",system_uuid=\"{}\"}}",
        escaped(&machine.boot_id),
        escaped(&machine.machine_id),
        escaped(&machine.system_uuid)
    );
    let version = format!(
        "{{cadvisorRevision=\"\",cadvisorVersion=\"\",dockerVersion=\"\",kernelVersion=\"{}\",osVersion=\"{}\"}}",
        escaped(&machine.kernel_version),
        escaped(&machine.os_version)
    );
    family(
        "cadvisor_version_info",
        "A metric with a constant '1' value labeled by kernel version, OS version, docker version, cadvisor version & cadvisor revision.",
        &version,
        Some(1),
    );
    family(
        "container_scrape_error",
        "1 if there was an error while getting container metrics, 0 otherwise",
        "",
        Some(0),
    );
    family(
        "machine_cpu_cores",
        "Number of logical CPU cores.",
        &ids,
        figure("system.cpu.logical.count"),
    );
    family(
        "machine_cpu_physical_cores",
        "Number of physical CPU cores.",
        &ids,
        known(machine.physical_cores),
    );
    family("machine_cpu_sockets", "Number of CPU sockets.", &ids, known(machine.sockets));
    family(
        "machine_memory_bytes",
        "Amount of memory installed on the machine.",
        &ids,
        figure("system.memory.limit"),
    );
    family(
        "machine_scrape_error",
        "1 if there was an error while getting machine metrics, 0 otherwise.",
        "",
        Some(0),
    );
    out
}
