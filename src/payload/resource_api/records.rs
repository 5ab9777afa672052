//! The objects of the read side's answers.

use serde::Serialize;

use super::{NodeEcho, PodEcho, UsageValues};
use crate::payload::stamp::Rfc3339Seconds;

/// The largest values of the pushes that one point of a series is the mean of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PeakRecord {
    /// Thousandths of one CPU.
    pub cpu_millicores: u64,
    /// Bytes.
    pub memory_bytes: u64,
}

/// A node as the read side answers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeRecord<'a> {
    pub node_name: &'a str,
    pub timestamp: Rfc3339Seconds,
    #[serde(flatten)]
    pub usage: UsageValues,
    /// Of a point that several pushes were merged into; left out of a single push.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<PeakRecord>,
    /// `true` when the node has not been heard of for a while; left out otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
    /// Echoed from the last post; left out of a time series.
    #[serde(flatten)]
    pub extras: Option<&'a NodeEcho>,
}

impl<'a> NodeRecord<'a> {
    #[must_use]
    pub fn new(
        node_name: &'a str,
        timestamp: Rfc3339Seconds,
        usage: &UsageValues,
        stale: bool,
    ) -> Self {
        Self { node_name, timestamp, usage: *usage, peak: None, stale, extras: None }
    }
}

/// A pod as the read side answers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PodRecord<'a> {
    pub namespace: &'a str,
    pub pod_name: &'a str,
    /// Left out in a time series: a pod of the same name may have run elsewhere before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<&'a str>,
    pub timestamp: Rfc3339Seconds,
    #[serde(flatten)]
    pub usage: UsageValues,
    /// Of a point that several pushes were merged into; left out of a single push.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<PeakRecord>,
    /// Echoed from the last post; left out of a time series.
    #[serde(flatten)]
    pub extras: Option<&'a PodEcho>,
}

impl<'a> PodRecord<'a> {
    /// A record without the node and the extras, which the caller sets where they are known.
    #[must_use]
    pub fn new(
        namespace: &'a str,
        pod_name: &'a str,
        timestamp: Rfc3339Seconds,
        usage: &UsageValues,
    ) -> Self {
        Self {
            namespace,
            pod_name,
            node_name: None,
            timestamp,
            usage: *usage,
            peak: None,
            extras: None,
        }
    }
}

/// A namespace as the read side answers it: the sum over its pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamespaceRecord<'a> {
    pub namespace: &'a str,
    pub timestamp: Rfc3339Seconds,
    #[serde(flatten)]
    pub usage: UsageValues,
    /// Of a point that several pushes were merged into; left out of a single push.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<PeakRecord>,
}

impl<'a> NamespaceRecord<'a> {
    #[must_use]
    pub fn new(namespace: &'a str, timestamp: Rfc3339Seconds, usage: &UsageValues) -> Self {
        Self { namespace, timestamp, usage: *usage, peak: None }
    }
}

/// A deployment as the read side answers it: the sum over its pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeploymentRecord<'a> {
    pub namespace: &'a str,
    pub deployment_name: &'a str,
    pub timestamp: Rfc3339Seconds,
    #[serde(flatten)]
    pub usage: UsageValues,
    /// Of a point that several pushes were merged into; left out of a single push.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<PeakRecord>,
}

impl<'a> DeploymentRecord<'a> {
    #[must_use]
    pub fn new(
        namespace: &'a str,
        deployment_name: &'a str,
        timestamp: Rfc3339Seconds,
        usage: &UsageValues,
    ) -> Self {
        Self { namespace, deployment_name, timestamp, usage: *usage, peak: None }
    }
}
