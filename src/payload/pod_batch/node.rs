//! The node as a resource of a message.

use std::borrow::Cow;

use serde::Serialize;

use super::decode::NodeAmounts;
use super::parts::{ConditionJson, LabelMap, conditions, cores, or_empty};
use crate::directory::node::{Node, NodeResources, StatedQuantity};
use crate::directory::pod::Labels;
use crate::ledger::account::NodeCpu;
use crate::payload::entities::{IoBytes, Observation};
use crate::payload::options::EncodeOptions;
use crate::payload::running_totals::Entities;
use crate::quantity::Bytes;

#[derive(Serialize)]
pub(super) struct NodeResourceJson<'a> {
    name: &'a str,
    uid: &'a str,
    status: NodeStatusJson<'a>,
    metadata: NodeMetadataJson<'a>,
    metrics: NodeMetricsJson,
}

#[derive(Serialize)]
struct NodeStatusJson<'a> {
    conditions: Vec<ConditionJson<'a>>,
    addresses: Vec<NodeAddressJson<'a>>,
    capacity: NodeAmountsJson<'a>,
    /// As the API server has it, an amount that is not stated is that of the capacity.
    allocatable: NodeAmountsJson<'a>,
}

#[derive(Serialize)]
struct NodeAddressJson<'a> {
    r#type: &'a str,
    address: &'a str,
}

/// Kubernetes quantities as the node states them. What neither it nor the host says is `0`.
#[derive(Serialize)]
struct NodeAmountsJson<'a> {
    cpu: Cow<'a, str>,
    memory: Cow<'a, str>,
    pods: Cow<'a, str>,
    #[serde(rename = "ephemeral-storage")]
    ephemeral_storage: Cow<'a, str>,
}

impl<'a> NodeAmountsJson<'a> {
    /// Of each amount the first that is known: of the node, then the fallback.
    fn of(stated: Option<&'a NodeResources>, fallback: &Self) -> Self {
        let first = |of: fn(&NodeResources) -> Option<&StatedQuantity>, other: &Cow<'a, str>| {
            stated.and_then(of).map_or_else(|| other.clone(), |known| known.as_str().into())
        };
        Self {
            cpu: first(|of| of.cpu.as_ref(), &fallback.cpu),
            memory: first(|of| of.memory.as_ref(), &fallback.memory),
            pods: first(|of| of.pods.as_ref(), &fallback.pods),
            ephemeral_storage: first(
                |of| of.ephemeral_storage.as_ref(),
                &fallback.ephemeral_storage,
            ),
        }
    }

    /// The amounts that the host itself shows.
    fn of_host(host: &HostCapacity) -> Self {
        let HostCapacity { cpus, memory_bytes, filesystem_bytes } = *host;
        Self {
            cpu: cpus.to_string().into(),
            memory: memory_bytes.to_string().into(),
            pods: "0".into(),
            ephemeral_storage: filesystem_bytes.to_string().into(),
        }
    }
}

/// The node's size as the host itself shows it; 0 where it does not.
struct HostCapacity {
    cpus: u32,
    memory_bytes: u64,
    filesystem_bytes: u64,
}

impl HostCapacity {
    fn of(view: &Observation<'_>) -> Self {
        let node = &view.account.node;
        Self {
            cpus: node.cpus,
            memory_bytes: node.memory.and_then(|memory| memory.total).map_or(0, Bytes::as_bytes),
            filesystem_bytes: view.node_filesystem.map_or(0, |files| files.capacity_bytes),
        }
    }
}

/// The node's capacity and what of it pods may use: as the Node object states them, else as the host shows
/// them. `None`: neither has CPUs and memory.
#[must_use]
pub fn node_amounts(view: &Observation<'_>) -> Option<(NodeAmounts, NodeAmounts)> {
    let host = HostCapacity::of(view);
    let node = view.catalog.node.as_deref();
    let amounts = |stated: Option<&NodeResources>, other: NodeAmounts| {
        let nanocores = |cpu: &StatedQuantity| cpu.value().milli_units().saturating_mul(1_000_000);
        let cpu = stated.and_then(|stated| stated.cpu.as_ref());
        let memory = stated.and_then(|stated| stated.memory.as_ref());
        NodeAmounts {
            cpu_nanocores: cpu.map_or(other.cpu_nanocores, nanocores),
            memory_bytes: memory.map_or(other.memory_bytes, |memory| memory.value().units()),
        }
    };
    let of_host = NodeAmounts {
        cpu_nanocores: u64::from(host.cpus) * 1_000_000_000,
        memory_bytes: host.memory_bytes,
    };
    let capacity = amounts(node.map(|node| &node.capacity), of_host);
    let allocatable = amounts(node.map(|node| &node.allocatable), capacity);
    let are_known = [capacity, allocatable].iter().all(NodeAmounts::are_known);
    are_known.then_some((capacity, allocatable))
}

#[derive(Serialize)]
struct NodeMetadataJson<'a> {
    labels: LabelMap<'a>,
    annotations: LabelMap<'a>,
    creation_timestamp: &'a str,
}

#[derive(Serialize)]
struct NodeMetricsJson {
    cpu: NodeCpuJson,
    memory: NodeMemoryJson,
    network: NodeNetworkJson,
    filesystem: NodeFilesystemJson,
}

#[derive(Serialize)]
struct NodeCpuJson {
    usage: f64,
    capacity: f64,
    allocatable: f64,
}

#[derive(Serialize)]
struct NodeMemoryJson {
    usage_bytes: u64,
    capacity_bytes: u64,
    allocatable_bytes: u64,
}

#[derive(Serialize)]
struct NodeNetworkJson {
    rx_bytes: u64,
    tx_bytes: u64,
    /// In the interval, however the bytes are counted.
    rx_errors: u64,
    tx_errors: u64,
}

#[derive(Serialize)]
struct NodeFilesystemJson {
    usage_bytes: u64,
    capacity_bytes: u64,
    available_bytes: u64,
    inodes_used: u64,
    inodes_free: u64,
}

/// Without a Node object, texts that only it has are empty, and the capacity is what the host itself
/// shows.
pub(super) fn resource<'a>(
    view: &Observation<'a>,
    entities: &Entities<'_>,
    options: &'a EncodeOptions,
) -> NodeResourceJson<'a> {
    static NO_LABELS: Labels = Labels::new();
    let node = view.catalog.node.as_deref();
    NodeResourceJson {
        name: node.map_or(&options.node_name, |node| &node.name),
        uid: node.map_or("", |node| &node.uid),
        status: status(node, &HostCapacity::of(view)),
        metadata: NodeMetadataJson {
            labels: LabelMap::labels(node.map_or(&NO_LABELS, |node| &node.labels)),
            annotations: LabelMap::annotations(
                node.map_or(&NO_LABELS, |node| &node.annotations),
                options,
            ),
            creation_timestamp: or_empty(node.and_then(|n| n.creation_timestamp.as_deref())),
        },
        metrics: metrics(view, entities, options),
    }
}

fn status<'a>(node: Option<&'a Node>, host: &HostCapacity) -> NodeStatusJson<'a> {
    let addresses = node.into_iter().flat_map(|node| &node.addresses);
    let of_host = NodeAmountsJson::of_host(host);
    let capacity = NodeAmountsJson::of(node.map(|node| &node.capacity), &of_host);
    NodeStatusJson {
        conditions: node.map_or_else(Vec::new, |node| conditions(&node.conditions)),
        addresses: addresses
            .map(|(kind, address)| NodeAddressJson { r#type: kind, address })
            .collect(),
        allocatable: NodeAmountsJson::of(node.map(|node| &node.allocatable), &capacity),
        capacity,
    }
}

fn metrics(
    view: &Observation<'_>,
    entities: &Entities<'_>,
    options: &EncodeOptions,
) -> NodeMetricsJson {
    let used = &view.account.node;
    let node = view.catalog.node.as_deref();
    let total = node.map(|node| &node.capacity);
    let allocatable = node.map(|node| &node.allocatable);
    let cpu_of = |of: Option<&NodeResources>| Some(of?.cpu.as_ref()?.value().as_f64());
    let memory_of = |of: Option<&NodeResources>| Some(of?.memory.as_ref()?.value().units());
    let cpus = cpu_of(total).unwrap_or(f64::from(used.cpus));
    let memory = used.memory.unwrap_or_default();
    let memory_total = memory_of(total).unwrap_or(memory.total.unwrap_or_default().as_bytes());
    let waited = &entities.node_while_waiting;
    // A total has what was counted while the node waited.
    let before = if options.cumulative { IoBytes::default() } else { waited.usage.io };
    let io = entities.node.io(options).plus(before);
    let network = used.network.unwrap_or_default();
    let cpu = used.cpu.map(|cpu| NodeCpu { busy: cpu.busy + waited.usage.cpu, ..cpu });
    let filesystem = view.node_filesystem.unwrap_or_default();
    NodeMetricsJson {
        cpu: NodeCpuJson {
            usage: cores(cpu.map_or(0, |cpu| cpu.nanocores())),
            capacity: cpus,
            allocatable: cpu_of(allocatable).unwrap_or(cpus),
        },
        memory: NodeMemoryJson {
            usage_bytes: memory.working_set().unwrap_or_default().as_bytes(),
            capacity_bytes: memory_total,
            allocatable_bytes: memory_of(allocatable).unwrap_or(memory_total),
        },
        network: NodeNetworkJson {
            rx_bytes: io.recv_bytes,
            tx_bytes: io.sent_bytes,
            rx_errors: network.rx_errors.saturating_add(waited.rx_errors),
            tx_errors: network.tx_errors.saturating_add(waited.tx_errors),
        },
        filesystem: NodeFilesystemJson {
            usage_bytes: filesystem.usage_bytes,
            capacity_bytes: filesystem.capacity_bytes,
            available_bytes: filesystem.available_bytes,
            inodes_used: filesystem.inodes_used,
            inodes_free: filesystem.inodes_free,
        },
    }
}
