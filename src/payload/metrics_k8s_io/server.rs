//! The API server around the metrics: discovery, nodes and pods of the core API, and failures.
//!
//! `kubectl top` first asks which groups there are, and beside the nodes' metrics for the nodes
//! themselves, of which it takes `status.allocatable`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::{API_VERSION, ResourceUsage};

const GROUP: &str = "metrics.k8s.io";

/// A node of the core API, as far as it is known here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CoreNode {
    metadata: CoreMetadata,
    status: CoreNodeStatus,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct CoreMetadata {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct CoreNodeStatus {
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<ResourceUsage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allocatable: Option<ResourceUsage>,
}

impl CoreNode {
    /// `gives`: its capacity, and what of it pods may use.
    #[must_use]
    pub fn new(
        name: &str,
        labels: BTreeMap<String, String>,
        gives: Option<(ResourceUsage, ResourceUsage)>,
    ) -> Self {
        let metadata = CoreMetadata { name: name.to_owned(), namespace: None, uid: None, labels };
        let (capacity, allocatable) = gives.unzip();
        Self { metadata, status: CoreNodeStatus { capacity, allocatable } }
    }
}

/// A pod of the core API, as far as it is known here: one that is pushed is Running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CorePod {
    metadata: CoreMetadata,
    spec: CorePodSpec,
    status: CorePodStatus,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct CorePodSpec {
    node_name: String,
    /// The API requires the list.
    containers: [(); 0],
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct CorePodStatus {
    phase: &'static str,
}

impl CorePod {
    #[must_use]
    pub fn new(
        namespace: &str,
        name: &str,
        uid: Option<&str>,
        labels: BTreeMap<String, String>,
        node_name: &str,
    ) -> Self {
        Self {
            metadata: CoreMetadata {
                name: name.to_owned(),
                namespace: Some(namespace.to_owned()),
                uid: uid.map(str::to_owned),
                labels,
            },
            spec: CorePodSpec { node_name: node_name.to_owned(), containers: [] },
            status: CorePodStatus { phase: "Running" },
        }
    }
}

/// A list of the core API: `NodeList`, `PodList`.
#[must_use]
pub fn core_list(kind: &str, items: &impl Serialize) -> Value {
    json!({"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": "0"}, "items": items})
}

/// A single object of the core API, outside a list: `Node`, `Pod`.
#[must_use]
pub fn core_object(kind: &str, object: &impl Serialize) -> Value {
    let mut object = json!(object);
    object["kind"] = json!(kind);
    object["apiVersion"] = json!("v1");
    object
}

/// The answer to `GET /api`.
#[must_use]
pub fn core_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// The answer to `GET /api/v1`.
#[must_use]
pub fn core_resources() -> Value {
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1",
        "resources": [resource("nodes", "Node", false), resource("pods", "Pod", true)]
    })
}

/// The answer to `GET /apis`.
#[must_use]
pub fn groups() -> Value {
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group_body()]})
}

/// The answer to `GET /apis/metrics.k8s.io`.
#[must_use]
pub fn group() -> Value {
    let mut group = group_body();
    group["kind"] = json!("APIGroup");
    group["apiVersion"] = json!("v1");
    group
}

fn group_body() -> Value {
    let version = json!({"groupVersion": API_VERSION, "version": "v1beta1"});
    json!({"name": GROUP, "versions": [version], "preferredVersion": version})
}

/// The answer to `GET /apis/metrics.k8s.io/v1beta1`.
#[must_use]
pub fn resources() -> Value {
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": API_VERSION,
        "resources": [
            resource("nodes", "NodeMetrics", false), resource("pods", "PodMetrics", true)
        ]
    })
}

fn resource(name: &str, kind: &str, namespaced: bool) -> Value {
    json!({
        "name": name, "singularName": "", "namespaced": namespaced, "kind": kind,
        "verbs": ["get", "list"]
    })
}

/// Why a request failed, as a `Status` object.
#[must_use]
pub fn failure(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code
    })
}

/// The `Status` object for an object of this group that is not known; `kind` is `nodes` or `pods`.
#[must_use]
pub fn not_found(kind: &str, name: &str) -> Value {
    let message = format!("{kind}.{GROUP} \"{name}\" not found");
    let mut status = failure(404, "NotFound", &message);
    status["details"] = json!({"name": name, "group": GROUP, "kind": kind});
    status
}

/// The `Status` object for an object of the core API that is not known.
#[must_use]
pub fn core_not_found(kind: &str, name: &str) -> Value {
    let mut status = failure(404, "NotFound", &format!("{kind} \"{name}\" not found"));
    status["details"] = json!({"name": name, "kind": kind});
    status
}
