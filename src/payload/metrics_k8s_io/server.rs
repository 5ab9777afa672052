//! Nodes and pods of the core API, and failures.
//!
//! `kubectl top` asks beside the nodes' metrics for the nodes themselves, of which it takes
//! `status.allocatable`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::ResourceUsage;
use super::discovery::GROUP;

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

/// A single object of the core API, outside a list: `Node`, `Pod`.
#[must_use]
pub fn core_object(kind: &str, object: &impl Serialize) -> Value {
    let mut object = json!(object);
    object["kind"] = json!(kind);
    object["apiVersion"] = json!("v1");
    object
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
