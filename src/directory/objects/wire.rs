//! The fields that are read of the API's objects, under the API's names. What is not named here
//! (`env`, `volumes`, `managedFields`, ...) is passed over without being copied.
//!
//! Everything but what makes an object itself may be missing or null: a bookmark has
//! `containers: null`, the kubelet writes `creationTimestamp: null`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::bounded::{List, Quantity, Text};

/// A pod has some ten containers at most; the kubelet's own limits end it long before this.
pub(super) const CONTAINERS_MAX: usize = 128;
pub(super) const CONDITIONS_MAX: usize = 64;
const PORTS_MAX: usize = 128;
const OWNERS_MAX: usize = 16;
const ADDRESSES_MAX: usize = 32;
const ITEMS_MAX: usize = super::super::PODS_MAX;

#[derive(Deserialize)]
pub(super) struct ObjectList<'a> {
    #[serde(borrow)]
    pub kind: Option<std::borrow::Cow<'a, str>>,
    pub metadata: Option<ListMetadata>,
    #[serde(borrow)]
    pub items: Option<List<&'a RawValue, ITEMS_MAX>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListMetadata {
    pub resource_version: Option<Text>,
    #[serde(rename = "continue")]
    pub continue_token: Option<Box<str>>,
}

#[derive(Deserialize)]
pub(super) struct Event<'a> {
    #[serde(rename = "type", borrow)]
    pub kind: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    pub object: &'a RawValue,
}

/// Of any object, whatever else it is.
#[derive(Deserialize)]
pub(super) struct Versioned {
    pub metadata: Option<ListMetadata>,
}

#[derive(Deserialize)]
pub(super) struct PartialObject<'a> {
    #[serde(borrow)]
    pub metadata: Metadata<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata<'a> {
    pub name: Text,
    pub namespace: Option<Text>,
    pub uid: Text,
    pub creation_timestamp: Option<Text>,
    pub deletion_timestamp: Option<Text>,
    #[serde(borrow)]
    pub labels: Option<&'a RawValue>,
    #[serde(borrow)]
    pub annotations: Option<&'a RawValue>,
    pub owner_references: Option<List<OwnerReference, OWNERS_MAX>>,
}

#[derive(Deserialize)]
pub(super) struct OwnerReference {
    pub kind: Text,
    pub name: Text,
    pub uid: Option<Text>,
    pub controller: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct Pod<'a> {
    #[serde(borrow)]
    pub metadata: Metadata<'a>,
    pub spec: Option<PodSpec>,
    pub status: Option<PodStatus>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodSpec {
    pub node_name: Option<Text>,
    pub init_containers: Option<List<Container, CONTAINERS_MAX>>,
    pub containers: Option<List<Container, CONTAINERS_MAX>>,
    pub ephemeral_containers: Option<List<Container, CONTAINERS_MAX>>,
    pub resources: Option<Resources>,
    pub overhead: Option<Amounts>,
    pub host_network: Option<bool>,
    pub service_account_name: Option<Text>,
    pub priority_class_name: Option<Text>,
    pub runtime_class_name: Option<Text>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Container {
    pub name: Text,
    pub image: Option<Text>,
    pub ports: Option<List<Port, PORTS_MAX>>,
    pub resources: Option<Resources>,
    pub restart_policy: Option<Text>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Port {
    pub container_port: Option<i64>,
    pub protocol: Option<Text>,
}

#[derive(Deserialize, Default)]
pub(super) struct Resources {
    pub requests: Option<Amounts>,
    pub limits: Option<Amounts>,
}

/// Of a ResourceList what is sent on; a container has no pods, and a pod's ephemeral storage counts
/// for nobody yet.
#[derive(Deserialize, Default)]
pub(super) struct Amounts {
    #[serde(default)]
    pub cpu: Quantity,
    #[serde(default)]
    pub memory: Quantity,
    #[serde(default)]
    pub pods: Quantity,
    #[serde(default, rename = "ephemeral-storage")]
    pub ephemeral_storage: Quantity,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodStatus {
    pub phase: Option<Text>,
    pub reason: Option<Text>,
    pub conditions: Option<List<Condition, CONDITIONS_MAX>>,
    #[serde(rename = "podIP")]
    pub pod_ip: Option<Text>,
    #[serde(rename = "podIPs")]
    pub pod_ips: Option<List<PodIp, ADDRESSES_MAX>>,
    pub init_container_statuses: Option<List<ContainerStatus, CONTAINERS_MAX>>,
    pub container_statuses: Option<List<ContainerStatus, CONTAINERS_MAX>>,
    pub ephemeral_container_statuses: Option<List<ContainerStatus, CONTAINERS_MAX>>,
    pub qos_class: Option<Text>,
}

#[derive(Deserialize)]
pub(super) struct PodIp {
    pub ip: Option<Text>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub kind: Text,
    pub status: Option<Text>,
    pub reason: Option<Text>,
    pub message: Option<Text>,
    pub last_transition_time: Option<Text>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerStatus {
    pub name: Text,
    #[serde(rename = "containerID")]
    pub container_id: Option<Text>,
    pub ready: Option<bool>,
    pub restart_count: Option<i64>,
    pub state: Option<ContainerState>,
    pub last_state: Option<ContainerState>,
}

/// One of the three is set; none of them is waiting without a reason.
#[derive(Deserialize, Default)]
pub(super) struct ContainerState {
    pub waiting: Option<Waiting>,
    pub running: Option<Running>,
    pub terminated: Option<Terminated>,
}

#[derive(Deserialize)]
pub(super) struct Waiting {
    pub reason: Option<Text>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Running {
    pub started_at: Option<Text>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Terminated {
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    pub reason: Option<Text>,
    pub started_at: Option<Text>,
    pub finished_at: Option<Text>,
    #[serde(rename = "containerID")]
    pub container_id: Option<Text>,
}

#[derive(Deserialize)]
pub(super) struct Node<'a> {
    #[serde(borrow)]
    pub metadata: Metadata<'a>,
    pub spec: Option<NodeSpec>,
    pub status: Option<NodeStatus>,
}

#[derive(Deserialize, Default)]
pub(super) struct NodeSpec {
    #[serde(rename = "providerID")]
    pub provider_id: Option<Text>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeStatus {
    pub capacity: Option<Amounts>,
    pub allocatable: Option<Amounts>,
    pub conditions: Option<List<Condition, CONDITIONS_MAX>>,
    pub addresses: Option<List<Address, ADDRESSES_MAX>>,
    pub node_info: Option<NodeInfo>,
}

#[derive(Deserialize)]
pub(super) struct Address {
    #[serde(rename = "type")]
    pub kind: Text,
    pub address: Text,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeInfo {
    pub operating_system: Option<Text>,
    pub architecture: Option<Text>,
    pub kubelet_version: Option<Text>,
    pub container_runtime_version: Option<Text>,
    pub kernel_version: Option<Text>,
    pub os_image: Option<Text>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Version {
    pub git_version: Text,
}

#[derive(Deserialize)]
pub(super) struct Status {
    pub kind: Option<Text>,
    pub metadata: Option<ListMetadata>,
    pub message: Option<Text>,
    pub reason: Option<Text>,
    pub details: Option<StatusDetails>,
    pub code: Option<u16>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusDetails {
    pub group: Option<Text>,
    pub kind: Option<Text>,
    pub name: Option<Text>,
    pub retry_after_seconds: Option<u32>,
}
