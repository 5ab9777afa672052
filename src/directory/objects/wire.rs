//! The API's objects with the fields that are read. Other fields (`env`, `volumes`, `managedFields`,
//! ...) are skipped without a copy.
//!
//! All fields but names and uids may be missing or null: a bookmark has `containers: null`, the kubelet
//! writes `creationTimestamp: null`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::bounded_json::{BoundedList, BoundedText, Quantity};
use crate::directory::node::StatedQuantity;
use crate::directory::resource_quantity::ResourceQuantity;

/// The most containers of a pod; real pods have some ten.
pub(super) const CONTAINERS_MAX: usize = 128;
pub(super) const CONDITIONS_MAX: usize = 64;
const PORTS_MAX: usize = 128;
const OWNERS_MAX: usize = 16;
const AUDIENCES_MAX: usize = 16;
const ADDRESSES_MAX: usize = 32;
const ITEMS_MAX: usize = crate::directory::source_status::PODS_MAX;

#[derive(Deserialize)]
pub(super) struct ApiObjectList<'a> {
    #[serde(borrow)]
    pub kind: Option<std::borrow::Cow<'a, str>>,
    pub metadata: Option<ApiListMetadata>,
    #[serde(borrow)]
    pub items: Option<BoundedList<&'a RawValue, ITEMS_MAX>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiListMetadata {
    pub resource_version: Option<BoundedText>,
    #[serde(rename = "continue")]
    pub continue_token: Option<Box<str>>,
}

#[derive(Deserialize)]
pub(super) struct ApiEvent<'a> {
    #[serde(rename = "type", borrow)]
    pub kind: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    pub object: &'a RawValue,
}

#[derive(Deserialize)]
pub(super) struct ApiTokenReview {
    pub status: Option<ApiTokenStatus>,
}

#[derive(Deserialize, Default)]
pub(super) struct ApiTokenStatus {
    pub authenticated: Option<bool>,
    pub user: Option<ApiTokenUser>,
    pub audiences: Option<BoundedList<BoundedText, AUDIENCES_MAX>>,
}

#[derive(Deserialize)]
pub(super) struct ApiTokenUser {
    pub username: Option<BoundedText>,
    pub extra: Option<ApiTokenExtra>,
}

/// The keys of a user's extra fields that are read.
#[derive(Deserialize)]
pub(super) struct ApiTokenExtra {
    #[serde(rename = "authentication.kubernetes.io/node-name")]
    pub node_name: Option<BoundedList<BoundedText, AUDIENCES_MAX>>,
}

/// The version of an object of any kind.
#[derive(Deserialize)]
pub(super) struct ApiVersioned {
    pub metadata: Option<ApiListMetadata>,
}

#[derive(Deserialize)]
pub(super) struct ApiPodController<'a> {
    #[serde(borrow)]
    pub metadata: ApiMetadata<'a>,
    /// Absent in a metadata-only answer.
    #[serde(borrow)]
    pub spec: Option<ApiControllerSpec<'a>>,
}

#[derive(Deserialize, Default)]
pub(super) struct ApiControllerSpec<'a> {
    #[serde(borrow)]
    pub selector: Option<ApiSelector<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiSelector<'a> {
    #[serde(borrow)]
    pub match_labels: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiMetadata<'a> {
    pub name: BoundedText,
    pub namespace: Option<BoundedText>,
    pub uid: BoundedText,
    pub creation_timestamp: Option<BoundedText>,
    pub deletion_timestamp: Option<BoundedText>,
    #[serde(borrow)]
    pub labels: Option<&'a RawValue>,
    #[serde(borrow)]
    pub annotations: Option<&'a RawValue>,
    pub owner_references: Option<BoundedList<ApiOwnerReference, OWNERS_MAX>>,
}

#[derive(Deserialize)]
pub(super) struct ApiOwnerReference {
    pub kind: BoundedText,
    pub name: BoundedText,
    pub uid: Option<BoundedText>,
    pub controller: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct ApiPod<'a> {
    #[serde(borrow)]
    pub metadata: ApiMetadata<'a>,
    pub spec: Option<ApiPodSpec>,
    pub status: Option<ApiPodStatus>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiPodSpec {
    pub node_name: Option<BoundedText>,
    pub init_containers: Option<BoundedList<ApiContainer, CONTAINERS_MAX>>,
    pub containers: Option<BoundedList<ApiContainer, CONTAINERS_MAX>>,
    pub ephemeral_containers: Option<BoundedList<ApiContainer, CONTAINERS_MAX>>,
    pub resources: Option<ApiResources>,
    pub overhead: Option<ApiAmounts>,
    pub host_network: Option<bool>,
    pub service_account_name: Option<BoundedText>,
    pub priority_class_name: Option<BoundedText>,
    pub runtime_class_name: Option<BoundedText>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiContainer {
    pub name: BoundedText,
    pub image: Option<BoundedText>,
    pub ports: Option<BoundedList<ApiPort, PORTS_MAX>>,
    pub resources: Option<ApiResources>,
    pub restart_policy: Option<BoundedText>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiPort {
    pub container_port: Option<i64>,
    pub protocol: Option<BoundedText>,
}

#[derive(Deserialize, Default)]
pub(super) struct ApiResources {
    pub requests: Option<ApiAmounts>,
    pub limits: Option<ApiAmounts>,
}

/// The amounts of a pod's or container's ResourceList that are sent.
#[derive(Deserialize, Default)]
pub(super) struct ApiAmounts {
    #[serde(default)]
    pub cpu: Quantity<ResourceQuantity>,
    #[serde(default)]
    pub memory: Quantity<ResourceQuantity>,
}

/// The amounts of a node's ResourceList that are sent.
#[derive(Deserialize, Default)]
pub(super) struct ApiNodeAmounts {
    #[serde(default)]
    pub cpu: Quantity<StatedQuantity>,
    #[serde(default)]
    pub memory: Quantity<StatedQuantity>,
    #[serde(default)]
    pub pods: Quantity<StatedQuantity>,
    #[serde(default, rename = "ephemeral-storage")]
    pub ephemeral_storage: Quantity<StatedQuantity>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiPodStatus {
    pub phase: Option<BoundedText>,
    pub reason: Option<BoundedText>,
    pub message: Option<BoundedText>,
    pub conditions: Option<BoundedList<ApiCondition, CONDITIONS_MAX>>,
    #[serde(rename = "podIP")]
    pub pod_ip: Option<BoundedText>,
    #[serde(rename = "podIPs")]
    pub pod_ips: Option<BoundedList<ApiPodIp, ADDRESSES_MAX>>,
    pub init_container_statuses: Option<BoundedList<ApiContainerStatus, CONTAINERS_MAX>>,
    pub container_statuses: Option<BoundedList<ApiContainerStatus, CONTAINERS_MAX>>,
    pub ephemeral_container_statuses: Option<BoundedList<ApiContainerStatus, CONTAINERS_MAX>>,
    pub qos_class: Option<BoundedText>,
}

#[derive(Deserialize)]
pub(super) struct ApiPodIp {
    pub ip: Option<BoundedText>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiCondition {
    #[serde(rename = "type")]
    pub kind: BoundedText,
    pub status: Option<BoundedText>,
    pub reason: Option<BoundedText>,
    pub message: Option<BoundedText>,
    pub last_transition_time: Option<BoundedText>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiContainerStatus {
    pub name: BoundedText,
    #[serde(rename = "containerID")]
    pub container_id: Option<BoundedText>,
    pub ready: Option<bool>,
    pub restart_count: Option<i64>,
    pub state: Option<ApiContainerState>,
    pub last_state: Option<ApiContainerState>,
}

/// The state of a container: one field is set. No field means waiting without a reason.
#[derive(Deserialize, Default)]
pub(super) struct ApiContainerState {
    pub waiting: Option<ApiWaiting>,
    pub running: Option<ApiRunning>,
    pub terminated: Option<ApiTerminated>,
}

#[derive(Deserialize)]
pub(super) struct ApiWaiting {
    pub reason: Option<BoundedText>,
    pub message: Option<BoundedText>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiRunning {
    pub started_at: Option<BoundedText>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiTerminated {
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    pub reason: Option<BoundedText>,
    pub message: Option<BoundedText>,
    pub started_at: Option<BoundedText>,
    pub finished_at: Option<BoundedText>,
    #[serde(rename = "containerID")]
    pub container_id: Option<BoundedText>,
}

#[derive(Deserialize)]
pub(super) struct ApiNode<'a> {
    #[serde(borrow)]
    pub metadata: ApiMetadata<'a>,
    pub spec: Option<ApiNodeSpec>,
    pub status: Option<ApiNodeStatus>,
}

#[derive(Deserialize, Default)]
pub(super) struct ApiNodeSpec {
    #[serde(rename = "providerID")]
    pub provider_id: Option<BoundedText>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiNodeStatus {
    pub capacity: Option<ApiNodeAmounts>,
    pub allocatable: Option<ApiNodeAmounts>,
    pub conditions: Option<BoundedList<ApiCondition, CONDITIONS_MAX>>,
    pub addresses: Option<BoundedList<ApiAddress, ADDRESSES_MAX>>,
    pub node_info: Option<ApiNodeInfo>,
}

#[derive(Deserialize)]
pub(super) struct ApiAddress {
    #[serde(rename = "type")]
    pub kind: BoundedText,
    pub address: BoundedText,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiNodeInfo {
    pub operating_system: Option<BoundedText>,
    pub architecture: Option<BoundedText>,
    pub kubelet_version: Option<BoundedText>,
    pub container_runtime_version: Option<BoundedText>,
    pub kernel_version: Option<BoundedText>,
    pub os_image: Option<BoundedText>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiVersion {
    pub git_version: BoundedText,
}

#[derive(Deserialize)]
pub(super) struct ApiStatus {
    pub kind: Option<BoundedText>,
    pub metadata: Option<ApiListMetadata>,
    pub message: Option<BoundedText>,
    pub reason: Option<BoundedText>,
    pub details: Option<ApiStatusDetails>,
    pub code: Option<u16>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiStatusDetails {
    pub group: Option<BoundedText>,
    pub kind: Option<BoundedText>,
    pub name: Option<BoundedText>,
    pub retry_after_seconds: Option<u32>,
}
