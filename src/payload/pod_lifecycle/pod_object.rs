//! A pod's object as Kubernetes writes it, reduced to what the directory keeps.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::directory::pod::{
    Condition, Container, ContainerKind, ContainerState, Labels, OwnerReference, Pod,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LifecyclePod<'a> {
    metadata: LifecycleMetadata<'a>,
    spec: LifecycleSpec<'a>,
    status: LifecycleStatus<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LifecycleMetadata<'a> {
    name: &'a str,
    namespace: &'a str,
    uid: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    owner_references: Vec<LifecycleOwner<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    creation_timestamp: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_timestamp: Option<&'a str>,
}

#[derive(Serialize)]
struct LifecycleOwner<'a> {
    kind: &'a str,
    name: &'a str,
    uid: &'a str,
    controller: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LifecycleSpec<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    node_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    service_account_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    priority_class_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime_class_name: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    host_network: bool,
    containers: Vec<LifecycleContainerSpec<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    init_containers: Vec<LifecycleContainerSpec<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ephemeral_containers: Vec<LifecycleContainerSpec<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LifecycleContainerSpec<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    image: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<LifecyclePort<'a>>,
    /// `Always` of a sidecar.
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_policy: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LifecyclePort<'a> {
    container_port: u16,
    protocol: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LifecycleStatus<'a> {
    phase: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(rename = "podIP", skip_serializing_if = "Option::is_none")]
    pod_ip: Option<&'a str>,
    #[serde(rename = "podIPs", skip_serializing_if = "Vec::is_empty")]
    pod_ips: Vec<LifecycleIp<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qos_class: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<LifecycleCondition<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    container_statuses: Vec<LifecycleContainerStatus<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    init_container_statuses: Vec<LifecycleContainerStatus<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ephemeral_container_statuses: Vec<LifecycleContainerStatus<'a>>,
}

#[derive(Serialize)]
struct LifecycleIp<'a> {
    ip: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LifecycleCondition<'a> {
    r#type: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_transition_time: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LifecycleContainerStatus<'a> {
    name: &'a str,
    ready: bool,
    restart_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<LifecycleContainerState<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_state: Option<LifecycleContainerState<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
enum LifecycleContainerState<'a> {
    Waiting {
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
    },
    Running {
        #[serde(skip_serializing_if = "Option::is_none")]
        started_at: Option<&'a str>,
    },
    Terminated {
        exit_code: i32,
        #[serde(skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        finished_at: Option<&'a str>,
    },
}

/// `status.podIP`. A hostNetwork pod has its node's.
pub(super) fn ip_of(pod: &Pod) -> Option<&str> {
    pod.ips.first().map(|ip| &**ip).filter(|ip| !ip.is_empty())
}

pub(super) fn of(pod: &Pod) -> LifecyclePod<'_> {
    let is_init =
        |kind: ContainerKind| matches!(kind, ContainerKind::Init | ContainerKind::Sidecar);
    LifecyclePod {
        metadata: LifecycleMetadata {
            name: &pod.name,
            namespace: &pod.namespace,
            uid: &pod.api_uid,
            labels: labels(&pod.labels),
            owner_references: pod.owners.iter().map(owner).collect(),
            creation_timestamp: pod.creation_timestamp.as_deref(),
            deletion_timestamp: pod.deletion_timestamp.as_deref(),
        },
        spec: LifecycleSpec {
            node_name: &pod.node_name,
            service_account_name: &pod.service_account,
            priority_class_name: &pod.priority_class,
            runtime_class_name: pod.runtime_class.as_deref(),
            host_network: pod.host_network,
            containers: containers(pod, |kind| kind == ContainerKind::Regular),
            init_containers: containers(pod, is_init),
            ephemeral_containers: containers(pod, |kind| kind == ContainerKind::Ephemeral),
        },
        status: LifecycleStatus {
            phase: pod.phase.as_str(),
            reason: pod.reason.as_deref(),
            message: pod.message.as_deref(),
            pod_ip: ip_of(pod),
            pod_ips: pod.ips.iter().map(|ip| LifecycleIp { ip }).collect(),
            qos_class: pod.qos.map(|qos| qos.as_str()),
            conditions: pod.conditions.iter().map(condition).collect(),
            container_statuses: statuses(pod, |kind| kind == ContainerKind::Regular),
            init_container_statuses: statuses(pod, is_init),
            ephemeral_container_statuses: statuses(pod, |kind| kind == ContainerKind::Ephemeral),
        },
    }
}

fn labels(labels: &Labels) -> BTreeMap<&str, &str> {
    labels.iter().map(|(key, value)| (&**key, &**value)).collect()
}

fn owner(owner: &OwnerReference) -> LifecycleOwner<'_> {
    let OwnerReference { kind, name, uid, controller } = owner;
    LifecycleOwner { kind, name, uid, controller: *controller }
}

fn of_kind(pod: &Pod, is: impl Fn(ContainerKind) -> bool) -> impl Iterator<Item = &Container> {
    pod.containers.iter().filter(move |container| is(container.kind))
}

fn containers(pod: &Pod, is: impl Fn(ContainerKind) -> bool) -> Vec<LifecycleContainerSpec<'_>> {
    of_kind(pod, is).map(container_spec).collect()
}

fn container_spec(container: &Container) -> LifecycleContainerSpec<'_> {
    let ports = container.ports.iter();
    LifecycleContainerSpec {
        name: &container.name,
        image: &container.image,
        ports: ports
            .map(|(container_port, protocol)| LifecyclePort {
                container_port: *container_port,
                protocol,
            })
            .collect(),
        restart_policy: (container.kind == ContainerKind::Sidecar).then_some("Always"),
    }
}

fn statuses(pod: &Pod, is: impl Fn(ContainerKind) -> bool) -> Vec<LifecycleContainerStatus<'_>> {
    of_kind(pod, is).map(status).collect()
}

fn status(container: &Container) -> LifecycleContainerStatus<'_> {
    LifecycleContainerStatus {
        name: &container.name,
        ready: container.ready,
        restart_count: container.restart_count,
        state: container.state.as_ref().map(state),
        last_state: container.last_state.as_ref().map(state),
    }
}

fn state(state: &ContainerState) -> LifecycleContainerState<'_> {
    match state {
        ContainerState::Waiting { reason, message } => LifecycleContainerState::Waiting {
            reason: reason.as_deref(),
            message: message.as_deref(),
        },
        ContainerState::Running { started_at } => {
            LifecycleContainerState::Running { started_at: started_at.as_deref() }
        }
        ContainerState::Terminated { exit_code, signal, reason, message, finished_at, .. } => {
            LifecycleContainerState::Terminated {
                exit_code: *exit_code,
                signal: *signal,
                reason: reason.as_deref(),
                message: message.as_deref(),
                finished_at: finished_at.as_deref(),
            }
        }
    }
}

fn condition(condition: &Condition) -> LifecycleCondition<'_> {
    LifecycleCondition {
        r#type: &condition.kind,
        status: &condition.status,
        reason: condition.reason.as_deref(),
        last_transition_time: condition.last_transition_time.as_deref(),
    }
}
