//! The node as a resource of a message.

use serde::Serialize;

use super::parts::{ConditionJson, LabelMap, conditions, cores, or_empty};
use crate::directory::node::{Node, NodeResources};
use crate::directory::pod::Labels;
use crate::directory::resource_quantity::ResourceQuantity;
use crate::payload::entities::{Entities, Observation};
use crate::payload::options::EncodeOptions;

#[derive(Serialize)]
pub(super) struct NodeResourceJson<'a> {
    name: &'a str,
    uid: &'a str,
    status: NodeStatusJson<'a>,
    metadata: NodeMetadataJson<'a>,
    metrics: NodeMetricsJson,
}

#[derive(Serialize, Default)]
struct NodeStatusJson<'a> {
    conditions: Vec<ConditionJson<'a>>,
    addresses: Vec<NodeAddressJson<'a>>,
    capacity: NodeAmountsJson,
    allocatable: NodeAmountsJson,
}

#[derive(Serialize)]
struct NodeAddressJson<'a> {
    r#type: &'a str,
    address: &'a str,
}

/// Kubernetes quantities; what the node does not say is `0`.
#[derive(Serialize)]
struct NodeAmountsJson {
    cpu: String,
    memory: String,
    pods: String,
    #[serde(rename = "ephemeral-storage")]
    ephemeral_storage: String,
}

impl Default for NodeAmountsJson {
    fn default() -> Self {
        Self::of(&NodeResources::default())
    }
}

impl NodeAmountsJson {
    fn of(resources: &NodeResources) -> Self {
        let whole = |quantity: Option<ResourceQuantity>| {
            quantity.map_or(0, ResourceQuantity::units).to_string()
        };
        let cpu_milli = resources.cpu.map_or(0, ResourceQuantity::milli_units);
        Self {
            cpu: match cpu_milli % 1000 {
                0 => (cpu_milli / 1000).to_string(),
                _ => format!("{cpu_milli}m"),
            },
            memory: whole(resources.memory),
            pods: whole(resources.pods),
            ephemeral_storage: whole(resources.ephemeral_storage),
        }
    }
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

/// Until the Node object is known, capacity is what the host itself shows.
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
        status: node.map(status).unwrap_or_default(),
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

fn status(node: &Node) -> NodeStatusJson<'_> {
    let addresses = node.addresses.iter();
    NodeStatusJson {
        conditions: conditions(&node.conditions),
        addresses: addresses
            .map(|(kind, address)| NodeAddressJson { r#type: kind, address })
            .collect(),
        capacity: NodeAmountsJson::of(&node.capacity),
        allocatable: NodeAmountsJson::of(&node.allocatable),
    }
}

fn metrics(
    view: &Observation<'_>,
    entities: &Entities<'_>,
    options: &EncodeOptions,
) -> NodeMetricsJson {
    let used = &view.account.node;
    let node = view.catalog.node.as_deref();
    let total = node.map(|node| node.capacity).unwrap_or_default();
    let allocatable = node.map(|node| node.allocatable).unwrap_or_default();
    let cpus = total.cpu.map_or(f64::from(used.cpus), ResourceQuantity::as_f64);
    let memory = used.memory.unwrap_or_default();
    let memory_total =
        total.memory.map_or(memory.total.unwrap_or_default().as_bytes(), ResourceQuantity::units);
    let flows = entities.node.wanted(options);
    let network = used.network.unwrap_or_default();
    let filesystem = view.node_filesystem.unwrap_or_default();
    NodeMetricsJson {
        cpu: NodeCpuJson {
            usage: cores(used.cpu.map_or(0, |cpu| cpu.nanocores())),
            capacity: cpus,
            allocatable: allocatable.cpu.map_or(cpus, ResourceQuantity::as_f64),
        },
        memory: NodeMemoryJson {
            usage_bytes: memory.working_set().unwrap_or_default().as_bytes(),
            capacity_bytes: memory_total,
            allocatable_bytes: allocatable.memory.map_or(memory_total, ResourceQuantity::units),
        },
        network: NodeNetworkJson {
            rx_bytes: flows.recv_bytes,
            tx_bytes: flows.sent_bytes,
            rx_errors: network.rx_errors,
            tx_errors: network.tx_errors,
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
