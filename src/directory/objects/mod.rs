//! Kubernetes' objects in JSON, as the API server and the kubelet's `/pods` write them.
//!
//! Only the fields of a [`Pod`] or [`Node`] are copied out of a body. An object that does not have the
//! API's form is counted and skipped; the others of its list are read.

mod bounded_json;
mod wire;

#[cfg(test)]
mod tests;

use serde_json::value::RawValue;

use self::bounded_json::{BoundedList, BoundedText, pairs};
use super::node::{Node, NodeInfo, NodeResources};
use super::pod::{
    Amounts, Condition, Container, ContainerKind, ContainerState, Labels, OwnerReference, Phase,
    Pod, Resources,
};
use crate::attribution::QosClass;
use crate::identity::{ContainerId, PodUid};

/// The longest label value, in bytes; the API allows 63.
const LABEL_BYTES_MAX: usize = 256;

/// Limits of what is kept of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectLimits {
    /// The longest annotation value, in bytes; longer ones are dropped.
    pub annotation_bytes_max: usize,
}

/// Errors of a body. They hold nothing of the body, since it may hold secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("it ends in the middle (line {line}, column {column})")]
    Cut { line: usize, column: usize },
    #[error("it is no JSON (line {line}, column {column})")]
    NotJson { line: usize, column: usize },
    #[error("it is not what the API has there (line {line}, column {column})")]
    NotTheApis { line: usize, column: usize },
}

impl From<serde_json::Error> for DecodeError {
    fn from(error: serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            serde_json::error::Category::Eof => Self::Cut { line, column },
            serde_json::error::Category::Syntax => Self::NotJson { line, column },
            serde_json::error::Category::Data | serde_json::error::Category::Io => {
                Self::NotTheApis { line, column }
            }
        }
    }
}

/// A `PodList`, or one page of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodPage {
    pub pods: Vec<Pod>,
    /// `metadata.resourceVersion`: a watch starts there. The kubelet gives none.
    pub resource_version: Option<Box<str>>,
    /// `metadata.continue`: the token of the next page; `None` on the last.
    pub continue_token: Option<Box<str>>,
    /// The number of items that do not have the form of a pod.
    pub unreadable: usize,
}

/// One event of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    Added {
        pod: Box<Pod>,
        resource_version: Box<str>,
    },
    Modified {
        pod: Box<Pod>,
        resource_version: Box<str>,
    },
    /// The last state of the pod; its phase may still be `Running`.
    Deleted {
        pod: Box<Pod>,
        resource_version: Box<str>,
    },
    /// The position of the watch, without a change.
    Bookmark {
        resource_version: Box<str>,
    },
    Error(ErrorStatus),
    /// An event of an unknown kind, or of an object that does not have the form of a pod.
    Unreadable {
        resource_version: Option<Box<str>>,
    },
}

/// A `Status` object: the API server's description of an error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ErrorStatus {
    /// The HTTP status, also where the error is an event of a watch.
    pub code: Option<u16>,
    /// For programs: `Forbidden`, `Expired`, ...
    pub reason: Box<str>,
    pub message: Box<str>,
    /// `details.group`, the API group that was asked for; empty for the core group.
    pub group: Box<str>,
    /// `details.kind`, the resource's name in the plural.
    pub kind: Box<str>,
    /// `details.name`
    pub name: Box<str>,
    pub retry_after_seconds: Option<u32>,
    /// Only of an expired list: the token for its remaining pages, in their present state.
    pub continue_token: Option<Box<str>>,
}

/// Parses a list of pods of the API server or a kubelet.
pub fn pods_of_list(body: &[u8], limits: &ObjectLimits) -> Result<PodPage, DecodeError> {
    let list: wire::ApiObjectList<'_> = serde_json::from_slice(body)?;
    let items = match list.items {
        Some(items) => items.0,
        // An empty list may be null, but any object without items is no list.
        None if list.kind.as_deref() == Some("PodList") => Vec::new(),
        None => return Err(DecodeError::NotTheApis { line: 1, column: 1 }),
    };
    let metadata = list.metadata.unwrap_or_default();
    let items_len = items.len();
    let mut pods: Vec<Pod> = items.iter().filter_map(|item| pod(item, limits)).collect();
    pods.shrink_to_fit();
    Ok(PodPage {
        unreadable: items_len - pods.len(),
        pods,
        resource_version: optional(metadata.resource_version),
        continue_token: metadata.continue_token.filter(|token| !token.is_empty()),
    })
}

/// Parses one event of a watch of pods.
pub fn watch_event(event: &[u8], limits: &ObjectLimits) -> Result<WatchEvent, DecodeError> {
    let event: wire::ApiEvent<'_> = serde_json::from_slice(event)?;
    if event.kind == "ERROR" {
        return Ok(WatchEvent::Error(status(event.object.get().as_bytes())?));
    }
    let Some(resource_version) = resource_version_of(event.object) else {
        return Ok(WatchEvent::Unreadable { resource_version: None });
    };
    if event.kind == "BOOKMARK" {
        return Ok(WatchEvent::Bookmark { resource_version });
    }
    let Some(pod) = pod(event.object, limits).map(Box::new) else {
        return Ok(WatchEvent::Unreadable { resource_version: Some(resource_version) });
    };
    Ok(match &*event.kind {
        "ADDED" => WatchEvent::Added { pod, resource_version },
        "MODIFIED" => WatchEvent::Modified { pod, resource_version },
        "DELETED" => WatchEvent::Deleted { pod, resource_version },
        _ => WatchEvent::Unreadable { resource_version: Some(resource_version) },
    })
}

fn resource_version_of(object: &RawValue) -> Option<Box<str>> {
    let object: wire::ApiVersioned = serde_json::from_str(object.get()).ok()?;
    optional(object.metadata?.resource_version)
}

/// Parses a Node object.
pub fn node(body: &[u8], limits: &ObjectLimits) -> Result<Node, DecodeError> {
    let node: wire::ApiNode<'_> = serde_json::from_slice(body)?;
    let metadata = node.metadata;
    let status = node.status.unwrap_or_default();
    let info = status.node_info.unwrap_or_default();
    let address = |address: wire::ApiAddress| (address.kind.0, address.address.0);
    Ok(Node {
        labels: pairs(metadata.labels, LABEL_BYTES_MAX)?.kept,
        annotations: pairs(metadata.annotations, limits.annotation_bytes_max)?.kept,
        name: metadata.name.0,
        uid: metadata.uid.0,
        creation_timestamp: optional(metadata.creation_timestamp),
        provider_id: optional(node.spec.unwrap_or_default().provider_id),
        capacity: node_resources(status.capacity),
        allocatable: node_resources(status.allocatable),
        conditions: all(status.conditions, condition),
        addresses: all(status.addresses, address),
        info: NodeInfo {
            operating_system: text(info.operating_system),
            architecture: text(info.architecture),
            kubelet_version: text(info.kubelet_version),
            container_runtime_version: text(info.container_runtime_version),
            kernel_version: text(info.kernel_version),
            os_image: text(info.os_image),
        },
    })
}

/// A ReplicaSet or Job that controls pods.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodController {
    /// Its own controller.
    pub owner: Option<OwnerReference>,
    /// `spec.selector.matchLabels`; empty where only the metadata was asked for.
    pub match_labels: Labels,
}

/// Parses a ReplicaSet or Job, whole or its metadata alone.
pub fn pod_controller(body: &[u8]) -> Result<PodController, DecodeError> {
    let object: wire::ApiPodController<'_> = serde_json::from_slice(body)?;
    let owners = all(object.metadata.owner_references, owner);
    let selector = object.spec.unwrap_or_default().selector.unwrap_or_default();
    Ok(PodController {
        owner: owners.into_iter().find(|owner| owner.controller),
        match_labels: pairs(selector.match_labels, LABEL_BYTES_MAX)?.kept,
    })
}

/// Parses the `gitVersion` of `/version`.
pub fn version(body: &[u8]) -> Result<Box<str>, DecodeError> {
    let version: wire::ApiVersion = serde_json::from_slice(body)?;
    Ok(version.git_version.0)
}

/// The user whom an API server found for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenUser {
    pub name: String,
    /// The node of the pod that the token is bound to; `None`: it is bound to none, or the API server does
    /// not say.
    pub node_name: Option<String>,
}

/// The user of an answered `TokenReview`; `None`: the token is not valid for this audience.
pub fn token_review(body: &[u8], audience: &str) -> Result<Option<TokenUser>, DecodeError> {
    let review: wire::ApiTokenReview = serde_json::from_slice(body)?;
    let status = review.status.unwrap_or_default();
    // An authenticator that knows no audiences leaves them out, and then the token can be for anybody.
    let is_for_it = status.audiences.is_some_and(|all| all.0.iter().any(|one| *one.0 == *audience));
    let is_valid = status.authenticated == Some(true) && is_for_it;
    let Some(user) = status.user.filter(|_| is_valid) else { return Ok(None) };
    let Some(name) = user.username else { return Ok(None) };
    let nodes = user.extra.and_then(|extra| extra.node_name);
    let node_name = nodes.and_then(|nodes| nodes.0.into_iter().next());
    Ok(Some(TokenUser { name: name.0.into(), node_name: node_name.map(|node| node.0.into()) }))
}

/// Parses a `Status`. Some errors have none: 429 and some 404s are plain text.
pub fn status(body: &[u8]) -> Result<ErrorStatus, DecodeError> {
    let status: wire::ApiStatus = serde_json::from_slice(body)?;
    if status.kind.is_none_or(|kind| *kind.0 != *"Status") {
        return Err(DecodeError::NotTheApis { line: 1, column: 1 });
    }
    let details = status.details.unwrap_or_default();
    let continue_token = status.metadata.and_then(|metadata| metadata.continue_token);
    Ok(ErrorStatus {
        code: status.code,
        reason: text(status.reason),
        message: text(status.message),
        group: text(details.group),
        kind: text(details.kind),
        name: text(details.name),
        retry_after_seconds: details.retry_after_seconds,
        continue_token: continue_token.filter(|token| !token.is_empty()),
    })
}

/// `None` if the object does not have the form of a pod.
fn pod(raw: &RawValue, limits: &ObjectLimits) -> Option<Pod> {
    let pod: wire::ApiPod<'_> = serde_json::from_str(raw.get()).ok()?;
    let metadata = pod.metadata;
    let annotations = pairs(metadata.annotations, limits.annotation_bytes_max).ok()?;
    let cgroups_uid = annotations.mirrored.as_deref().unwrap_or(&metadata.uid.0);
    let uid = PodUid::of_text(cgroups_uid.as_bytes())?;
    let (spec, status) = (pod.spec.unwrap_or_default(), pod.status.unwrap_or_default());
    let mut ips = all(status.pod_ips, |ip| text(ip.ip));
    ips.retain(|ip| !ip.is_empty());
    if let Some(ip) = optional(status.pod_ip).filter(|ip| !ips.contains(ip)) {
        ips.insert(0, ip);
    }
    let mut containers = Vec::new();
    let mut add = |specs: Option<Specs>, statuses: Option<Statuses>, kind: ContainerKind| {
        let specs = specs.map(|list| list.0).unwrap_or_default();
        let mut statuses = statuses.map(|list| list.0).unwrap_or_default();
        containers.extend(specs.into_iter().map(|spec| {
            let at = statuses.iter().position(|status| status.name.0 == spec.name.0);
            container(spec, at.map(|at| statuses.swap_remove(at)), kind)
        }));
    };
    add(spec.init_containers, status.init_container_statuses, ContainerKind::Init);
    add(spec.containers, status.container_statuses, ContainerKind::Regular);
    add(spec.ephemeral_containers, status.ephemeral_container_statuses, ContainerKind::Ephemeral);
    containers.shrink_to_fit();
    Some(Pod {
        uid,
        api_uid: metadata.uid.0,
        namespace: optional(metadata.namespace)?,
        name: Some(metadata.name.0).filter(|name| !name.is_empty())?,
        node_name: text(spec.node_name),
        labels: pairs(metadata.labels, LABEL_BYTES_MAX).ok()?.kept,
        annotations: annotations.kept,
        owners: all(metadata.owner_references, owner),
        workload: None,
        creation_timestamp: optional(metadata.creation_timestamp),
        deletion_timestamp: optional(metadata.deletion_timestamp),
        phase: Phase::parse(&text(status.phase)),
        reason: optional(status.reason),
        message: optional(status.message),
        conditions: all(status.conditions, condition),
        containers,
        sandbox: None,
        resources: resources(spec.resources),
        overhead: amounts(spec.overhead),
        ips,
        host_network: spec.host_network.unwrap_or(false),
        qos: match &*text(status.qos_class) {
            "Guaranteed" => Some(QosClass::Guaranteed),
            "Burstable" => Some(QosClass::Burstable),
            "BestEffort" => Some(QosClass::BestEffort),
            _ => None,
        },
        service_account: text(spec.service_account_name),
        priority_class: text(spec.priority_class_name),
        runtime_class: optional(spec.runtime_class_name),
    })
}

type Specs = BoundedList<wire::ApiContainer, { wire::CONTAINERS_MAX }>;
type Statuses = BoundedList<wire::ApiContainerStatus, { wire::CONTAINERS_MAX }>;

fn container(
    spec: wire::ApiContainer,
    status: Option<wire::ApiContainerStatus>,
    kind: ContainerKind,
) -> Container {
    let always = spec.restart_policy.is_some_and(|policy| *policy.0 == *"Always");
    let mut container = Container {
        name: spec.name.0,
        kind: if kind == ContainerKind::Init && always { ContainerKind::Sidecar } else { kind },
        image: text(spec.image),
        ports: all(spec.ports, port).into_iter().flatten().collect(),
        resources: resources(spec.resources),
        id: None,
        last_id: None,
        ready: false,
        restart_count: 0,
        state: None,
        last_state: None,
    };
    if let Some(status) = status {
        let (state, ended_id) = state(status.state.unwrap_or_default());
        let (last_state, last_id) = self::state(status.last_state.unwrap_or_default());
        container.id = status.container_id.and_then(|id| container_id(&id.0)).or(ended_id);
        container.last_id = last_id;
        container.ready = status.ready.unwrap_or(false);
        let restarts = status.restart_count.unwrap_or(0).max(0);
        container.restart_count = u32::try_from(restarts).unwrap_or(u32::MAX);
        (container.state, container.last_state) = (state, last_state);
    }
    container
}

/// The state, and the id of the container that ended.
fn state(state: wire::ApiContainerState) -> (Option<ContainerState>, Option<ContainerId>) {
    if let Some(ended) = state.terminated {
        let id = ended.container_id.and_then(|id| container_id(&id.0));
        let terminated = ContainerState::Terminated {
            exit_code: ended.exit_code.unwrap_or(0),
            signal: ended.signal.filter(|signal| *signal != 0),
            reason: optional(ended.reason),
            message: optional(ended.message),
            started_at: optional(ended.started_at),
            finished_at: optional(ended.finished_at),
        };
        return (Some(terminated), id);
    }
    if let Some(running) = state.running {
        let started_at = optional(running.started_at);
        return (Some(ContainerState::Running { started_at }), None);
    }
    let waiting = state.waiting.map(|waiting| ContainerState::Waiting {
        reason: optional(waiting.reason),
        message: optional(waiting.message),
    });
    (waiting, None)
}

/// The id in `containerd://<64 hex digits>`, of any runtime. Other forms of ids name no cgroup.
fn container_id(text: &str) -> Option<ContainerId> {
    let (_, id) = text.split_once("://")?;
    ContainerId::parse(id.as_bytes())
}

/// `None` if no port has that number.
fn port(port: wire::ApiPort) -> Option<(u16, Box<str>)> {
    let number = port.container_port.and_then(|number| u16::try_from(number).ok());
    let number = number.filter(|number| *number != 0)?;
    Some((number, optional(port.protocol).unwrap_or_else(|| "TCP".into())))
}

fn owner(owner: wire::ApiOwnerReference) -> OwnerReference {
    OwnerReference {
        kind: owner.kind.0,
        name: owner.name.0,
        uid: text(owner.uid),
        controller: owner.controller.unwrap_or(false),
    }
}

fn condition(condition: wire::ApiCondition) -> Condition {
    Condition {
        kind: condition.kind.0,
        status: text(condition.status),
        reason: optional(condition.reason),
        message: optional(condition.message),
        last_transition_time: optional(condition.last_transition_time),
    }
}

fn resources(resources: Option<wire::ApiResources>) -> Resources {
    let resources = resources.unwrap_or_default();
    Resources { requests: amounts(resources.requests), limits: amounts(resources.limits) }
}

fn amounts(amounts: Option<wire::ApiAmounts>) -> Amounts {
    let wire::ApiAmounts { cpu, memory } = amounts.unwrap_or_default();
    Amounts { cpu: cpu.0, memory: memory.0 }
}

fn node_resources(amounts: Option<wire::ApiNodeAmounts>) -> NodeResources {
    let amounts = amounts.unwrap_or_default();
    NodeResources {
        cpu: amounts.cpu.0,
        memory: amounts.memory.0,
        pods: amounts.pods.0,
        ephemeral_storage: amounts.ephemeral_storage.0,
    }
}

/// `None` for an absent and for an empty text, which are the same to the API.
fn optional(text: Option<BoundedText>) -> Option<Box<str>> {
    text.map(|text| text.0).filter(|text| !text.is_empty())
}

fn text(text: Option<BoundedText>) -> Box<str> {
    text.unwrap_or_default().0
}

fn all<T, U, const MAX: usize>(
    list: Option<BoundedList<T, MAX>>,
    each: impl FnMut(T) -> U,
) -> Vec<U> {
    // Not in place: that would keep the larger allocation of the wire structs.
    let Some(BoundedList(list)) = list else { return Vec::new() };
    let mut kept = Vec::with_capacity(list.len());
    kept.extend(list.into_iter().map(each));
    kept
}
