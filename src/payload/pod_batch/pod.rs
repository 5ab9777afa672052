//! A pod as a resource of a message.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{ConditionWire, Map, conditions, cores, or_empty};
use crate::directory::pod::{Container, ContainerState, Labels, Pod};
use crate::payload::options::{EncodeOptions, UnknownPodPolicy};
use crate::payload::subjects::{Subject, View, Who};

#[derive(Serialize)]
pub(super) struct Resource<'a> {
    namespace: &'a str,
    name: Box<str>,
    uid: Box<str>,
    status: Status<'a>,
    spec: Spec<'a>,
    metadata: Metadata<'a>,
    metrics: Metrics,
}

#[derive(Serialize, Default)]
struct Status<'a> {
    phase: &'static str,
    conditions: Vec<ConditionWire<'a>>,
    /// In the order init, regular, ephemeral.
    container_statuses: Vec<ContainerStatus<'a>>,
}

#[derive(Serialize)]
struct ContainerStatus<'a> {
    name: &'a str,
    ready: bool,
    restarts: u32,
    state: BTreeMap<&'static str, State<'a>>,
    last_state: BTreeMap<&'static str, State<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum State<'a> {
    Running { started_at: &'a str },
    Waiting { reason: &'a str },
    Terminated { exit_code: i32, reason: &'a str, started_at: &'a str, finished_at: &'a str },
}

#[derive(Serialize, Default)]
struct Spec<'a> {
    node_name: &'a str,
    priority_class: &'a str,
    service_account: &'a str,
}

#[derive(Serialize)]
struct Metadata<'a> {
    labels: Map<'a>,
    annotations: Map<'a>,
    owner_references: Vec<Owner<'a>>,
    creation_timestamp: &'a str,
}

#[derive(Serialize)]
struct Owner<'a> {
    kind: &'a str,
    name: &'a str,
    uid: &'a str,
}

#[derive(Serialize, Default)]
struct Metrics {
    cpu: Cpu,
    memory: Memory,
    network: Network,
    filesystem: Filesystem,
}

#[derive(Serialize, Default)]
struct Cpu {
    usage: f64,
    requests: f64,
    limits: f64,
}

#[derive(Serialize, Default)]
struct Memory {
    usage_bytes: u64,
    requests_bytes: u64,
    limits_bytes: u64,
}

#[derive(Serialize, Default)]
struct Network {
    rx_bytes: u64,
    tx_bytes: u64,
}

#[derive(Serialize, Default)]
struct Filesystem {
    usage_bytes: u64,
    capacity_bytes: u64,
    /// How old the figure is; left out where there is none. Not a key of the API's.
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<u64>,
    /// Something could not be read, so the truth is not less; left out otherwise. Likewise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    incomplete: bool,
}

static NO_LABELS: Labels = Labels::new();

/// `None`: the endpoint does not want it.
pub(super) fn resource<'a>(
    view: &View<'_>,
    subject: &Subject<'a>,
    options: &'a EncodeOptions,
) -> Option<Resource<'a>> {
    let (namespace, name, labels) = match (subject.who, &options.unknown_pods) {
        (Who::Pod(pod), _) => (&*pod.namespace, pod.name.clone(), &pod.labels),
        (Who::Named(named), _) => (&*named.namespace, named.name.clone(), &named.labels),
        (Who::Uid(uid), UnknownPodPolicy::Uid { namespace }) => {
            (&**namespace, uid.to_string().into(), &NO_LABELS)
        }
        (Who::Uid(_), UnknownPodPolicy::Wait | UnknownPodPolicy::Skip) => return None,
    };
    // One without a name would cost all the others of its message their place at the server.
    if namespace.is_empty() || name.is_empty() || !options.filter.matches(namespace, labels) {
        return None;
    }
    let metrics = metrics(view, subject, options);
    let Who::Pod(pod) = subject.who else {
        let uid = match (subject.usage, subject.container) {
            (Some(usage), _) => usage.uid.to_string(),
            (None, Some(id)) => id.to_string(),
            (None, None) => String::new(),
        };
        return Some(Resource {
            namespace,
            name,
            uid: uid.into(),
            status: Status { phase: subject.phase().as_str(), ..Status::default() },
            spec: Spec { node_name: &options.node_name, ..Spec::default() },
            metadata: Metadata {
                labels: Map::labels(labels),
                annotations: Map::labels(&NO_LABELS),
                owner_references: Vec::new(),
                creation_timestamp: "",
            },
            metrics,
        });
    };
    Some(Resource {
        namespace,
        name,
        uid: if pod.api_uid.is_empty() { pod.uid.to_string().into() } else { pod.api_uid.clone() },
        status: Status {
            phase: subject.phase().as_str(),
            conditions: conditions(&pod.conditions),
            container_statuses: pod.containers.iter().map(container_status).collect(),
        },
        spec: Spec {
            node_name: if pod.node_name.is_empty() { &options.node_name } else { &pod.node_name },
            priority_class: &pod.priority_class,
            service_account: &pod.service_account,
        },
        metadata: Metadata {
            labels: Map::labels(labels),
            annotations: Map::annotations(&pod.annotations, options),
            owner_references: owners(pod),
            creation_timestamp: or_empty(pod.creation_timestamp.as_deref()),
        },
        metrics,
    })
}

fn owners(pod: &Pod) -> Vec<Owner<'_>> {
    let owners = pod.owners.iter();
    owners.map(|o| Owner { kind: &o.kind, name: &o.name, uid: &o.uid }).collect()
}

fn container_status(container: &Container) -> ContainerStatus<'_> {
    ContainerStatus {
        name: &container.name,
        ready: container.ready,
        restarts: container.restart_count,
        state: container.state.iter().map(state).collect(),
        last_state: container.last_state.iter().map(state).collect(),
    }
}

fn state(state: &ContainerState) -> (&'static str, State<'_>) {
    match state {
        ContainerState::Running { started_at } => {
            ("running", State::Running { started_at: or_empty(started_at.as_deref()) })
        }
        ContainerState::Waiting { reason } => {
            ("waiting", State::Waiting { reason: or_empty(reason.as_deref()) })
        }
        ContainerState::Terminated { exit_code, signal: _, reason, started_at, finished_at } => {
            let terminated = State::Terminated {
                exit_code: *exit_code,
                reason: or_empty(reason.as_deref()),
                started_at: or_empty(started_at.as_deref()),
                finished_at: or_empty(finished_at.as_deref()),
            };
            ("terminated", terminated)
        }
    }
}

fn metrics(view: &View<'_>, subject: &Subject<'_>, options: &EncodeOptions) -> Metrics {
    let flows = subject.own.wanted(options);
    let (requests, limits) = match subject.who {
        Who::Pod(pod) => (pod.requests(), pod.limits()),
        Who::Named(_) | Who::Uid(_) => Default::default(),
    };
    let uid = match subject.who {
        Who::Pod(pod) => Some(pod.uid),
        Who::Uid(uid) => Some(uid),
        Who::Named(_) => subject.usage.map(|usage| usage.uid),
    };
    let filesystem = uid.and_then(|uid| view.filesystems.get(&uid));
    Metrics {
        cpu: Cpu {
            usage: cores(subject.cpu_nanocores),
            requests: requests.cpu.map_or(0.0, |cpu| cpu.as_f64()),
            limits: limits.cpu.map_or(0.0, |cpu| cpu.as_f64()),
        },
        memory: Memory {
            usage_bytes: subject.memory_bytes,
            requests_bytes: requests.memory.map_or(0, |memory| memory.units()),
            limits_bytes: limits.memory.map_or(0, |memory| memory.units()),
        },
        network: Network { rx_bytes: flows.recv_bytes, tx_bytes: flows.sent_bytes },
        filesystem: filesystem.map_or_else(Filesystem::default, |filesystem| Filesystem {
            usage_bytes: filesystem.usage_bytes,
            capacity_bytes: filesystem.capacity_bytes.unwrap_or(0),
            age_seconds: Some(filesystem.age_millis / 1000),
            incomplete: filesystem.incomplete,
        }),
    }
}
