//! The node as a resource of a message.

use serde::Serialize;

use super::{ConditionWire, Map, conditions, cores, or_empty};
use crate::directory::node::{Node, NodeResources};
use crate::directory::pod::Labels;
use crate::directory::resource_quantity::ResourceQuantity;
use crate::payload::options::EncodeOptions;
use crate::payload::subjects::{Subjects, View};

#[derive(Serialize)]
pub(super) struct Resource<'a> {
    name: &'a str,
    uid: &'a str,
    status: Status<'a>,
    metadata: Metadata<'a>,
    metrics: Metrics,
}

#[derive(Serialize, Default)]
struct Status<'a> {
    conditions: Vec<ConditionWire<'a>>,
    addresses: Vec<Address<'a>>,
    capacity: Amounts,
    allocatable: Amounts,
}

#[derive(Serialize)]
struct Address<'a> {
    r#type: &'a str,
    address: &'a str,
}

/// Kubernetes quantities; what the node does not say is `0`.
#[derive(Serialize)]
struct Amounts {
    cpu: String,
    memory: String,
    pods: String,
    #[serde(rename = "ephemeral-storage")]
    ephemeral_storage: String,
}

impl Default for Amounts {
    fn default() -> Self {
        Self::of(&NodeResources::default())
    }
}

impl Amounts {
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
struct Metadata<'a> {
    labels: Map<'a>,
    annotations: Map<'a>,
    creation_timestamp: &'a str,
}

#[derive(Serialize)]
struct Metrics {
    cpu: Cpu,
    memory: Memory,
    network: Network,
    filesystem: Filesystem,
}

#[derive(Serialize)]
struct Cpu {
    usage: f64,
    capacity: f64,
    allocatable: f64,
}

#[derive(Serialize)]
struct Memory {
    usage_bytes: u64,
    capacity_bytes: u64,
    allocatable_bytes: u64,
}

#[derive(Serialize)]
struct Network {
    rx_bytes: u64,
    tx_bytes: u64,
    /// In the interval, however the bytes are counted.
    rx_errors: u64,
    tx_errors: u64,
}

#[derive(Serialize)]
struct Filesystem {
    usage_bytes: u64,
    capacity_bytes: u64,
    available_bytes: u64,
    inodes_used: u64,
    inodes_free: u64,
}

/// Until the Node object is known, capacity is what the host itself shows.
pub(super) fn resource<'a>(
    view: &View<'a>,
    subjects: &Subjects<'_>,
    options: &'a EncodeOptions,
) -> Resource<'a> {
    static NO_LABELS: Labels = Labels::new();
    let node = view.catalog.node.as_deref();
    Resource {
        name: node.map_or(&options.node_name, |node| &node.name),
        uid: node.map_or("", |node| &node.uid),
        status: node.map(status).unwrap_or_default(),
        metadata: Metadata {
            labels: Map::labels(node.map_or(&NO_LABELS, |node| &node.labels)),
            annotations: match node {
                Some(node) => Map::annotations(&node.annotations, options),
                None => Map::labels(&NO_LABELS),
            },
            creation_timestamp: or_empty(node.and_then(|n| n.creation_timestamp.as_deref())),
        },
        metrics: metrics(view, subjects, options),
    }
}

fn status(node: &Node) -> Status<'_> {
    let addresses = node.addresses.iter();
    Status {
        conditions: conditions(&node.conditions),
        addresses: addresses.map(|(kind, address)| Address { r#type: kind, address }).collect(),
        capacity: Amounts::of(&node.capacity),
        allocatable: Amounts::of(&node.allocatable),
    }
}

fn metrics(view: &View<'_>, subjects: &Subjects<'_>, options: &EncodeOptions) -> Metrics {
    let used = &view.account.node;
    let node = view.catalog.node.as_deref();
    let total = node.map(|node| node.capacity).unwrap_or_default();
    let allocatable = node.map(|node| node.allocatable).unwrap_or_default();
    let cpus = total.cpu.map_or(f64::from(used.cpus), ResourceQuantity::as_f64);
    let memory = used.memory.unwrap_or_default();
    let memory_total = total.memory.map_or(memory.total.as_bytes(), ResourceQuantity::units);
    let flows = subjects.node.wanted(options);
    let network = used.network.unwrap_or_default();
    let filesystem = view.node_filesystem.unwrap_or_default();
    Metrics {
        cpu: Cpu {
            usage: cores(used.cpu.map_or(0, |cpu| cpu.nanocores())),
            capacity: cpus,
            allocatable: allocatable.cpu.map_or(cpus, ResourceQuantity::as_f64),
        },
        memory: Memory {
            usage_bytes: memory.working_set().as_bytes(),
            capacity_bytes: memory_total,
            allocatable_bytes: allocatable.memory.map_or(memory_total, ResourceQuantity::units),
        },
        network: Network {
            rx_bytes: flows.recv_bytes,
            tx_bytes: flows.sent_bytes,
            rx_errors: network.rx_errors,
            tx_errors: network.tx_errors,
        },
        filesystem: Filesystem {
            usage_bytes: filesystem.usage_bytes,
            capacity_bytes: filesystem.capacity_bytes,
            available_bytes: filesystem.available_bytes,
            inodes_used: filesystem.inodes_used,
            inodes_free: filesystem.inodes_free,
        },
    }
}
