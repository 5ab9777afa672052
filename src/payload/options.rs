//! An endpoint's wishes, in terms that all encoders of samples share.

use bytes::Bytes as Body;

use super::selector::Selector;
use crate::directory::pod::Labels;

/// A path and the body to be posted to it.
#[derive(Debug, Clone)]
pub struct Message {
    pub path: String,
    pub body: Body,
}

/// [`EncodeOptions::resources_max`] unless set otherwise.
pub const RESOURCES_MAX: usize = 500;

/// [`EncodeOptions::body_bytes_max`] unless set otherwise: the default limit of gRPC
/// receivers, and of many over HTTP.
pub const BODY_BYTES_MAX: usize = 4 << 20;

/// The options of one endpoint. A dialect reads those that it has a use for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodeOptions {
    pub node_name: Box<str>,
    /// Disk and network bytes are running totals since the agent started, not deltas of the
    /// interval.
    pub cumulative: bool,
    pub unknown_pods: UnknownPodPolicy,
    pub filter: PodFilter,
    /// Posts carry keys that the resource API does not name.
    pub extras: bool,
    /// The annotations that are sent, by key; a `*` at the end stands for any suffix. Annotations
    /// can hold whole manifests and secrets, so none is sent unless it is asked for.
    pub annotations: Vec<Box<str>>,
    pub cluster: ClusterContext,
    /// Labels of all series of remote write.
    pub external_labels: Labels,
    /// The most resources of one message; further ones go into further messages.
    pub resources_max: usize,
    /// The most bytes of one body of metrics; what is beyond goes into further ones.
    pub body_bytes_max: usize,
}

impl EncodeOptions {
    /// Deltas of all known pods of this node, without extras.
    #[must_use]
    pub fn new(node_name: &str) -> Self {
        Self {
            node_name: node_name.into(),
            cumulative: false,
            unknown_pods: UnknownPodPolicy::Wait,
            filter: PodFilter::default(),
            extras: false,
            annotations: Vec::new(),
            cluster: ClusterContext::default(),
            external_labels: Labels::new(),
            resources_max: RESOURCES_MAX,
            body_bytes_max: BODY_BYTES_MAX,
        }
    }
}

/// The treatment of a pod that the directory does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnknownPodPolicy {
    /// It is sent under its uid in this namespace.
    Uid { namespace: Box<str> },
    /// It is sent once it is known, with the bytes counted until then.
    Wait,
    /// It is not sent; bytes counted until it is known are left out.
    Skip,
}

/// The pods that an endpoint receives; the default is all. A pod known by its uid alone is judged
/// by the namespace it is sent in, without labels. The node's own values are never filtered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodFilter {
    /// Only these namespaces; empty: all.
    pub include: Vec<Box<str>>,
    /// Not these, even if they are included.
    pub exclude: Vec<Box<str>>,
    pub selector: Selector,
}

impl PodFilter {
    /// `true` where a pod of this namespace with these labels is sent.
    #[must_use]
    pub fn matches(&self, namespace: &str, labels: &Labels) -> bool {
        let is_in = |list: &[Box<str>]| list.iter().any(|name| **name == *namespace);
        (self.include.is_empty() || is_in(&self.include))
            && !is_in(&self.exclude)
            && self.selector.fits(labels)
    }
}

/// Facts of the cluster that no source knows, and overrides of those that one does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterContext {
    pub cluster_id: Box<str>,
    pub name: Box<str>,
    pub labels: Labels,
    /// `None`: the scheme of the node's providerID, `gce` as `gcp`.
    pub provider: Option<Box<str>>,
    /// `None`: as the node is labelled.
    pub region: Option<Box<str>>,
    /// `None`: as the node is labelled.
    pub zone: Option<Box<str>>,
}
