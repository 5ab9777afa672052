//! A pod as a resource of a message.

use std::collections::BTreeMap;

use serde::Serialize;

use super::parts::{ConditionJson, LabelMap, conditions, cores, or_empty};
use crate::directory::pod::{Container, ContainerState, Labels};
use crate::payload::entities::{Entity, EntityKind, Observation};
use crate::payload::options::{EncodeOptions, UnknownPodPolicy};

#[derive(Serialize)]
pub(super) struct PodResourceJson<'a> {
    namespace: &'a str,
    name: Box<str>,
    uid: Box<str>,
    status: PodStatusJson<'a>,
    spec: PodSpecJson<'a>,
    metadata: PodMetadataJson<'a>,
    metrics: PodMetricsJson,
}

#[derive(Serialize)]
struct PodStatusJson<'a> {
    phase: &'static str,
    /// `Evicted` and the like, and the reason for a person. Not keys of the API; left out where there
    /// is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    conditions: Vec<ConditionJson<'a>>,
    /// In the order init, regular, ephemeral.
    container_statuses: Vec<ContainerStatusJson<'a>>,
}

#[derive(Serialize)]
struct ContainerStatusJson<'a> {
    name: &'a str,
    ready: bool,
    restarts: u32,
    state: BTreeMap<&'static str, ContainerStateJson<'a>>,
    last_state: BTreeMap<&'static str, ContainerStateJson<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ContainerStateJson<'a> {
    Running {
        started_at: &'a str,
    },
    Waiting {
        reason: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
    },
    Terminated {
        exit_code: i32,
        #[serde(skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
        reason: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
        started_at: &'a str,
        finished_at: &'a str,
    },
}

#[derive(Serialize)]
struct PodSpecJson<'a> {
    node_name: &'a str,
    priority_class: &'a str,
    service_account: &'a str,
}

#[derive(Serialize)]
struct PodMetadataJson<'a> {
    labels: LabelMap<'a>,
    annotations: LabelMap<'a>,
    owner_references: Vec<PodOwnerJson<'a>>,
    creation_timestamp: &'a str,
}

#[derive(Serialize)]
struct PodOwnerJson<'a> {
    kind: &'a str,
    name: &'a str,
    uid: &'a str,
}

#[derive(Serialize)]
struct PodMetricsJson {
    cpu: PodCpuJson,
    memory: PodMemoryJson,
    network: PodNetworkJson,
    filesystem: PodFilesystemJson,
}

#[derive(Serialize)]
struct PodCpuJson {
    usage: f64,
    requests: f64,
    limits: f64,
}

#[derive(Serialize)]
struct PodMemoryJson {
    usage_bytes: u64,
    requests_bytes: u64,
    limits_bytes: u64,
}

#[derive(Serialize)]
struct PodNetworkJson {
    rx_bytes: u64,
    tx_bytes: u64,
}

#[derive(Serialize, Default)]
struct PodFilesystemJson {
    usage_bytes: u64,
    capacity_bytes: u64,
    /// The age of the values in seconds, left out where there are none. Not a key of the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<u64>,
    /// A directory could not be read, so the true value is at least this one; left out otherwise. Not
    /// a key of the API.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    incomplete: bool,
}

static NO_LABELS: Labels = Labels::new();

/// `None`: the endpoint does not want it.
pub(super) fn resource<'a>(
    view: &Observation<'_>,
    entity: &Entity<'a>,
    options: &'a EncodeOptions,
) -> Option<PodResourceJson<'a>> {
    let (namespace, name, labels) = match (entity.kind, &options.unknown_pods) {
        (EntityKind::Pod(pod), _) => (&*pod.namespace, pod.name.clone(), &pod.labels),
        (EntityKind::Named(named), _) => (&*named.namespace, named.name.clone(), &named.labels),
        (EntityKind::Uid(uid), UnknownPodPolicy::Uid { namespace }) => {
            (&**namespace, uid.to_string().into(), &NO_LABELS)
        }
        (EntityKind::Uid(_), UnknownPodPolicy::Wait | UnknownPodPolicy::Skip) => return None,
    };
    // One without a name would cost all the others of its message their place at the server.
    if namespace.is_empty() || name.is_empty() || !options.filter.matches(namespace, labels) {
        return None;
    }
    let pod = entity.pod();
    let uid = match (pod, entity.usage, entity.container) {
        (Some(pod), ..) if !pod.api_uid.is_empty() => pod.api_uid.clone(),
        (Some(pod), ..) => pod.uid.to_string().into(),
        (None, Some(usage), _) => usage.uid.to_string().into(),
        (None, None, Some(id)) => id.to_string().into(),
        (None, None, None) => Box::default(),
    };
    let node_name = pod.map(|pod| &*pod.node_name).filter(|name| !name.is_empty());
    let containers = pod.into_iter().flat_map(|pod| &pod.containers);
    let owners = pod.into_iter().flat_map(|pod| &pod.owners);
    Some(PodResourceJson {
        namespace,
        name,
        uid,
        status: PodStatusJson {
            phase: entity.phase().as_str(),
            reason: pod.and_then(|pod| pod.reason.as_deref()),
            message: pod.and_then(|pod| pod.message.as_deref()),
            conditions: pod.map_or_else(Vec::new, |pod| conditions(&pod.conditions)),
            container_statuses: containers.map(container_status).collect(),
        },
        spec: PodSpecJson {
            node_name: node_name.unwrap_or(&options.node_name),
            priority_class: pod.map_or("", |pod| &pod.priority_class),
            service_account: pod.map_or("", |pod| &pod.service_account),
        },
        metadata: PodMetadataJson {
            labels: LabelMap::labels(labels),
            annotations: LabelMap::annotations(
                pod.map_or(&NO_LABELS, |pod| &pod.annotations),
                options,
            ),
            owner_references: owners
                .map(|owner| PodOwnerJson { kind: &owner.kind, name: &owner.name, uid: &owner.uid })
                .collect(),
            creation_timestamp: or_empty(pod.and_then(|pod| pod.creation_timestamp.as_deref())),
        },
        metrics: metrics(view, entity, options),
    })
}

fn container_status(container: &Container) -> ContainerStatusJson<'_> {
    ContainerStatusJson {
        name: &container.name,
        ready: container.ready,
        restarts: container.restart_count,
        state: container.state.iter().map(state).collect(),
        last_state: container.last_state.iter().map(state).collect(),
    }
}

fn state(state: &ContainerState) -> (&'static str, ContainerStateJson<'_>) {
    match state {
        ContainerState::Running { started_at } => {
            ("running", ContainerStateJson::Running { started_at: or_empty(started_at.as_deref()) })
        }
        ContainerState::Waiting { reason, message } => {
            let (reason, message) = (or_empty(reason.as_deref()), message.as_deref());
            ("waiting", ContainerStateJson::Waiting { reason, message })
        }
        ContainerState::Terminated {
            exit_code,
            signal,
            reason,
            message,
            started_at,
            finished_at,
        } => {
            let terminated = ContainerStateJson::Terminated {
                exit_code: *exit_code,
                signal: *signal,
                reason: or_empty(reason.as_deref()),
                message: message.as_deref(),
                started_at: or_empty(started_at.as_deref()),
                finished_at: or_empty(finished_at.as_deref()),
            };
            ("terminated", terminated)
        }
    }
}

fn metrics(view: &Observation<'_>, entity: &Entity<'_>, options: &EncodeOptions) -> PodMetricsJson {
    let io = entity.own.io(options);
    let (requests, limits) =
        entity.pod().map(|pod| (pod.requests(), pod.limits())).unwrap_or_default();
    let uid = match entity.kind {
        EntityKind::Pod(pod) => Some(pod.uid),
        EntityKind::Uid(uid) => Some(uid),
        EntityKind::Named(_) => entity.usage.map(|usage| usage.uid),
    };
    let filesystem = uid.and_then(|uid| view.filesystems.get(&uid));
    PodMetricsJson {
        cpu: PodCpuJson {
            usage: cores(entity.cpu(&entity.own, options).nanocores()),
            requests: requests.cpu.map_or(0.0, |cpu| cpu.as_f64()),
            limits: limits.cpu.map_or(0.0, |cpu| cpu.as_f64()),
        },
        memory: PodMemoryJson {
            usage_bytes: entity.memory_bytes,
            requests_bytes: requests.memory.map_or(0, |memory| memory.units()),
            limits_bytes: limits.memory.map_or(0, |memory| memory.units()),
        },
        network: PodNetworkJson { rx_bytes: io.recv_bytes, tx_bytes: io.sent_bytes },
        filesystem: filesystem.map_or_else(Default::default, |filesystem| PodFilesystemJson {
            usage_bytes: filesystem.usage_bytes,
            capacity_bytes: filesystem.capacity_bytes.unwrap_or(0),
            age_seconds: Some(filesystem.age_millis / 1000),
            incomplete: filesystem.incomplete,
        }),
    }
}
