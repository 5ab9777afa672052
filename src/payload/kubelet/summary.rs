//! `/stats/summary`: the kubelet's statistics of the node and its pods as JSON.
//!
//! The types are those of k8s.io/kubelet/pkg/apis/stats/v1alpha1. A figure that is not known is absent.

use serde::Serialize;

use super::{MachineFacts, cpu_since_creation, figure, text};
use crate::metrics::entity::{AttributeName, EntityClass, EntityId};
use crate::metrics::sample::{Entry, MetricSample};
use crate::payload::stamp::Rfc3339Seconds;
use crate::quantity::WallTime;

#[derive(Debug, Serialize)]
pub struct Summary<'s> {
    node: NodeStats<'s>,
    pods: Vec<PodStats<'s>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeStats<'s> {
    node_name: &'s str,
    system_containers: Vec<ContainerStats<'s>>,
    start_time: Rfc3339Seconds,
    cpu: CpuStats,
    memory: MemoryStats,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<NetworkStats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fs: Option<FsStats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rlimit: Option<RlimitStats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    swap: Option<SwapStats>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PodStats<'s> {
    pod_ref: PodReference<'s>,
    start_time: Rfc3339Seconds,
    containers: Vec<ContainerStats<'s>>,
    cpu: CpuStats,
    memory: MemoryStats,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<NetworkStats>,
    #[serde(rename = "ephemeral-storage", skip_serializing_if = "Option::is_none")]
    ephemeral_storage: Option<FsStats>,
    #[serde(rename = "process_stats", skip_serializing_if = "Option::is_none")]
    process_stats: Option<ProcessStats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    swap: Option<SwapStats>,
}

#[derive(Debug, Serialize)]
struct PodReference<'s> {
    name: &'s str,
    namespace: &'s str,
    uid: &'s str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStats<'s> {
    name: &'s str,
    start_time: Rfc3339Seconds,
    cpu: CpuStats,
    memory: MemoryStats,
    #[serde(skip_serializing_if = "Option::is_none")]
    swap: Option<SwapStats>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CpuStats {
    time: Rfc3339Seconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_nano_cores: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_core_nano_seconds: Option<i64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MemoryStats {
    time: Rfc3339Seconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    available_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_set_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rss_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page_faults: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    major_page_faults: Option<i64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SwapStats {
    time: Rfc3339Seconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    swap_available_bytes: Option<i64>,
    swap_usage_bytes: i64,
}

#[derive(Debug, Serialize)]
struct NetworkStats {
    time: Rfc3339Seconds,
    #[serde(flatten)]
    all: InterfaceStats,
    interfaces: Vec<InterfaceStats>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct InterfaceStats {
    /// Empty where several interfaces, or none, carry the traffic.
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rx_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rx_errors: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_errors: Option<i64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FsStats {
    time: Rfc3339Seconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    available_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inodes_free: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inodes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inodes_used: Option<i64>,
}

#[derive(Debug, Serialize)]
struct RlimitStats {
    time: Rfc3339Seconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    maxpid: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    curproc: Option<i64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
struct ProcessStats {
    process_count: i64,
}

impl<'s> Summary<'s> {
    /// The summary of a sample. Like the kubelet's it has what runs.
    #[must_use]
    pub fn of_sample(sample: &'s MetricSample, machine: &MachineFacts) -> Self {
        let live = |class| sample.of(class).iter().filter(|entry| entry.ended.is_none());
        let pods = live(EntityClass::Pod).map(|pod| pod_stats(sample, pod)).collect();
        Self { node: node_stats(sample, machine), pods }
    }

    /// The JSON document, without a line break at its end.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = Vec::new();
        super::super::append(self, &mut out);
        String::from_utf8(out).unwrap_or_default()
    }
}

fn node_stats<'s>(sample: &'s MetricSample, machine: &MachineFacts) -> NodeStats<'s> {
    let node = sample.of(EntityClass::Node).first();
    let time = Rfc3339Seconds(sample.wall);
    let get = |name, attributes: &[(&str, &str)]| node?.value(name, attributes);
    let working_set = get("nodetally.node.memory.working_set", &[]);
    let available = get("system.memory.limit", &[])
        .zip(working_set)
        .map(|(total, used)| total.saturating_sub(used).max(0));
    let network = |name, direction| get(name, &[("network.io.direction", direction)]);
    let traffic = InterfaceStats {
        name: node.map(interface_name).unwrap_or_default(),
        rx_bytes: network("system.network.io", "receive"),
        rx_errors: network("system.network.errors", "receive"),
        tx_bytes: network("system.network.io", "transmit"),
        tx_errors: network("system.network.errors", "transmit"),
    };
    let inodes = get("k8s.node.filesystem.inode.count", &[]);
    let inodes_free = get("k8s.node.filesystem.inode.free", &[]);
    let capacity = get("k8s.node.filesystem.capacity", &[]);
    let curproc = get("nodetally.node.threads", &[]);
    let faults = |kind| get("system.paging.faults", &[("system.paging.fault.type", kind)]);
    let major = faults("major");
    let swap = |state| get("system.paging.usage", &[("system.paging.state", state)]);
    NodeStats {
        node_name: &sample.node.name,
        system_containers: system_containers(sample, available),
        start_time: Rfc3339Seconds(node.map_or(sample.wall, start)),
        cpu: CpuStats {
            time,
            usage_nano_cores: get("nodetally.node.cpu.usage", &[]),
            usage_core_nano_seconds: nanos(get("nodetally.node.cpu.time", &[])),
        },
        memory: MemoryStats {
            time,
            available_bytes: available,
            usage_bytes: get("system.memory.usage", &[("system.memory.state", "used")]),
            working_set_bytes: working_set,
            rss_bytes: get("k8s.node.memory.rss", &[]),
            page_faults: faults("minor").zip(major).map(|(minor, major)| minor + major),
            major_page_faults: major,
        },
        network: traffic.rx_bytes.is_some().then(|| NetworkStats::of(time, traffic)),
        fs: capacity.is_some().then(|| FsStats {
            time,
            available_bytes: get("k8s.node.filesystem.available", &[]),
            capacity_bytes: capacity,
            used_bytes: get("k8s.node.filesystem.usage", &[]),
            inodes_free,
            inodes,
            inodes_used: inodes.zip(inodes_free).map(|(all, free)| all - free),
        }),
        rlimit: (curproc.is_some() || machine.pid_max.is_some()).then_some(RlimitStats {
            time,
            maxpid: machine.pid_max,
            curproc,
        }),
        swap: swap("used").map(|used| SwapStats {
            time,
            swap_available_bytes: swap("free"),
            swap_usage_bytes: used,
        }),
    }
}

/// The start of what its figures count.
fn start(entry: &Entry) -> WallTime {
    entry.facts.created.unwrap_or(entry.started)
}

fn nanos(usec: Option<i64>) -> Option<i64> {
    usec.map(|usec| usec.saturating_mul(1000))
}

/// The name that the kubelet has for a unit; `None`: it is none of its system containers.
fn system_name(entry: &Entry) -> Option<&'static str> {
    match entry.entity.attribute(AttributeName::UNIT)? {
        "kubelet.service" => Some("kubelet"),
        "containerd.service" | "crio.service" | "docker.service" => Some("runtime"),
        _ => None,
    }
}

/// The kubelet, the runtime, and all pods together.
fn system_containers(sample: &MetricSample, available: Option<i64>) -> Vec<ContainerStats<'_>> {
    let units = sample.of(EntityClass::Unit).iter().filter(|entry| entry.ended.is_none());
    let mut all: Vec<ContainerStats<'_>> = Vec::new();
    for (name, unit) in units.filter_map(|unit| Some((system_name(unit)?, unit))) {
        // With Docker, containerd runs as well; the first is shown, as in the kubelet.
        if !all.iter().any(|other| other.name == name) {
            all.push(container_stats(name, sample, unit));
        }
    }
    all.extend(pods_together(sample, available));
    all
}

/// The usage of all pods. Its CPU time is that of the balance, so pods that have ended stay in it.
fn pods_together(sample: &MetricSample, available: Option<i64>) -> Option<ContainerStats<'_>> {
    let pods = || sample.of(EntityClass::Pod).iter().filter(|entry| entry.ended.is_none());
    let sum = |name: &str, attributes: &[(&str, &str)]| {
        pods().filter_map(|pod| figure(pod, name, attributes)).reduce(i64::saturating_add)
    };
    let node = sample.of(EntityClass::Node).first()?;
    pods().next()?;
    let time = Rfc3339Seconds(sample.wall);
    let faults = |kind| sum("paging.faults", &[("system.paging.fault.type", kind)]);
    let major = faults("major");
    Some(ContainerStats {
        name: "pods",
        start_time: Rfc3339Seconds(node.started),
        cpu: CpuStats {
            time,
            usage_nano_cores: sum("cpu.usage", &[]),
            usage_core_nano_seconds: nanos(
                node.value("nodetally.node.cpu.part.time", &[("nodetally.part", "pods")]),
            ),
        },
        memory: MemoryStats {
            time,
            available_bytes: available,
            usage_bytes: sum("memory.usage", &[]),
            working_set_bytes: sum("memory.working_set", &[]),
            rss_bytes: sum("memory.rss", &[]),
            page_faults: faults("minor").zip(major).map(|(minor, major)| minor + major),
            major_page_faults: major,
        },
        swap: None,
    })
}

fn container_stats<'s>(name: &'s str, sample: &MetricSample, entry: &Entry) -> ContainerStats<'s> {
    ContainerStats {
        name,
        start_time: Rfc3339Seconds(start(entry)),
        cpu: cpu_stats(sample, entry),
        memory: memory_stats(sample, entry),
        swap: swap_stats(sample, entry),
    }
}

fn cpu_stats(sample: &MetricSample, entry: &Entry) -> CpuStats {
    let counted = figure(entry, "cpu.time", &[]);
    CpuStats {
        time: Rfc3339Seconds(sample.wall),
        usage_nano_cores: figure(entry, "cpu.usage", &[]),
        usage_core_nano_seconds: nanos(cpu_since_creation(entry, counted, |it| Some(it.usage))),
    }
}

fn memory_stats(sample: &MetricSample, entry: &Entry) -> MemoryStats {
    let faults = |kind| figure(entry, "paging.faults", &[("system.paging.fault.type", kind)]);
    let major = faults("major");
    MemoryStats {
        time: Rfc3339Seconds(sample.wall),
        available_bytes: figure(entry, "memory.available", &[]),
        usage_bytes: figure(entry, "memory.usage", &[]),
        working_set_bytes: figure(entry, "memory.working_set", &[]),
        rss_bytes: figure(entry, "memory.rss", &[]),
        page_faults: faults("minor").zip(major).map(|(minor, major)| minor + major),
        major_page_faults: major,
    }
}

fn swap_stats(sample: &MetricSample, entry: &Entry) -> Option<SwapStats> {
    Some(SwapStats {
        time: Rfc3339Seconds(sample.wall),
        swap_available_bytes: None,
        swap_usage_bytes: figure(entry, "memory.swap", &[])?,
    })
}

fn pod_stats<'s>(sample: &'s MetricSample, pod: &'s Entry) -> PodStats<'s> {
    let time = Rfc3339Seconds(sample.wall);
    let network = |name, direction| figure(pod, name, &[("network.io.direction", direction)]);
    let traffic = InterfaceStats {
        name: interface_name(pod),
        rx_bytes: network("network.io", "receive"),
        rx_errors: network("network.errors", "receive"),
        tx_bytes: network("network.io", "transmit"),
        tx_errors: network("network.errors", "transmit"),
    };
    let used = figure(pod, "filesystem.usage", &[]);
    PodStats {
        pod_ref: PodReference {
            name: text(pod, AttributeName::POD),
            namespace: text(pod, AttributeName::NAMESPACE),
            uid: text(pod, AttributeName::POD_UID),
        },
        start_time: Rfc3339Seconds(start(pod)),
        containers: containers(sample, pod),
        cpu: cpu_stats(sample, pod),
        memory: memory_stats(sample, pod),
        network: traffic.rx_bytes.is_some().then(|| NetworkStats::of(time, traffic)),
        ephemeral_storage: used.is_some().then(|| FsStats {
            time,
            available_bytes: figure(pod, "filesystem.available", &[]),
            capacity_bytes: figure(pod, "filesystem.capacity", &[]),
            used_bytes: used,
            inodes_free: None,
            inodes: None,
            inodes_used: figure(pod, "filesystem.inode.count", &[]),
        }),
        process_stats: figure(pod, "processes", &[])
            .map(|count| ProcessStats { process_count: count }),
        swap: swap_stats(sample, pod),
    }
}

/// The named containers of a pod; the sandbox is in the pod alone.
fn containers<'s>(sample: &'s MetricSample, pod: &Entry) -> Vec<ContainerStats<'s>> {
    let EntityId::Pod(uid) = pod.entity.id else { return Vec::new() };
    let all = sample.of(EntityClass::Container);
    let pod_of = |entry: &Entry| match entry.entity.id {
        EntityId::Container { pod, .. } => pod,
        _ => None,
    };
    let first = all.partition_point(|entry| pod_of(entry) < Some(uid));
    let own = all.iter().skip(first).take_while(|entry| pod_of(entry) == Some(uid));
    let live = own.filter(|entry| entry.ended.is_none());
    live.filter_map(|entry| {
        let name = entry.entity.attribute(AttributeName::CONTAINER)?;
        Some(container_stats(name, sample, entry))
    })
    .collect()
}

fn interface_name(entry: &Entry) -> String {
    let name = entry.facts.interface.as_ref();
    name.map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned()).unwrap_or_default()
}

impl NetworkStats {
    fn of(time: Rfc3339Seconds, all: InterfaceStats) -> Self {
        let interfaces = if all.name.is_empty() { Vec::new() } else { vec![all.clone()] };
        Self { time, all, interfaces }
    }
}
