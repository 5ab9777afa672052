//! What a post says beyond the API's own keys: servers keep and echo keys that they do not know, so
//! a reader can have names, workloads and containers from the same record.

use serde::{Serialize, Serializer};

use crate::attribution::QosClass;
use crate::directory::pod::Labels;
use crate::identity::PodUid;

/// Keys of a node's post that the API does not name.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct NodeExtras<'a> {
    /// Over how long the figures were taken, in milliseconds.
    pub window_millis: u64,
    /// CPU use in billionths of one CPU.
    pub cpu_nanocores: u64,
    /// Of the Node object; left out while that is not known.
    #[serde(serialize_with = "labels", skip_serializing_if = "Option::is_none")]
    pub labels: Option<&'a Labels>,
}

/// Keys of a pod's post that the API does not name. What is not known is left out.
#[derive(Debug, Clone, Serialize)]
pub struct PodExtras<'a> {
    #[serde(rename = "pod_uid", serialize_with = "shown", skip_serializing_if = "Option::is_none")]
    pub uid: Option<PodUid>,
    #[serde(
        rename = "qos_class",
        serialize_with = "qos_class",
        skip_serializing_if = "Option::is_none"
    )]
    pub qos: Option<QosClass>,
    /// Only of a pod that a Deployment made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_name: Option<&'a str>,
    /// `{}` of a pod that has none; left out of one known by its uid alone.
    #[serde(serialize_with = "labels", skip_serializing_if = "Option::is_none")]
    pub labels: Option<&'a Labels>,
    /// Over how long the figures were taken, in milliseconds.
    pub window_millis: u64,
    /// CPU use in billionths of one CPU.
    pub cpu_nanocores: u64,
    /// Those that have a name; their sum is less than the pod, which has its sandbox and what the
    /// runtime spends as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<ContainerFigures<'a>>,
}

/// A container of a pod, with the run before where it was restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ContainerFigures<'a> {
    pub name: &'a str,
    pub cpu_nanocores: u64,
    pub memory_bytes: u64,
}

#[expect(clippy::ref_option, reason = "serde hands the field over as it is")]
fn shown<S: Serializer>(
    value: &Option<impl std::fmt::Display>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

fn qos_class<S: Serializer>(qos: &Option<QosClass>, serializer: S) -> Result<S::Ok, S::Error> {
    shown(&qos.map(QosClass::as_str), serializer)
}

fn labels<S: Serializer>(labels: &Option<&Labels>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(labels.iter().flat_map(|labels| labels.iter().map(|(k, v)| (k, v))))
}
