//! The cluster that a message comes from.

use serde::Serialize;

use super::parts::LabelMap;
use crate::directory::Catalog;
use crate::directory::node::Node;
use crate::directory::pod::{Labels, value_of};
use crate::payload::options::ClusterContext;

#[derive(Serialize)]
pub(super) struct Context<'a> {
    name: &'a str,
    kubernetes_version: &'a str,
    provider: Provider<'a>,
    labels: LabelMap<'a>,
    /// This node's own; an agent knows no other node.
    node_groups: Vec<NodeGroup<'a>>,
}

#[derive(Serialize)]
struct Provider<'a> {
    name: &'a str,
    region: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<&'a str>,
}

#[derive(Serialize)]
struct NodeGroup<'a> {
    name: &'a str,
    labels: LabelMap<'a>,
    platform: Platform<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<GroupMetadata<'a>>,
}

#[derive(Serialize)]
struct Platform<'a> {
    os: &'a str,
    architecture: &'a str,
    /// The kubelet's.
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
}

#[derive(Serialize)]
struct GroupMetadata<'a> {
    instance_type: &'a str,
}

/// The older label of each pair is what nodes before Kubernetes 1.17 have.
const REGION: [&str; 2] =
    ["topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"];
const ZONE: [&str; 2] = ["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"];
const INSTANCE_TYPE: [&str; 2] =
    ["node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type"];

/// Every node has another, so it is no label of its group.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// Of EKS, GKE, AKS, and of whoever names pools by hand.
const NODE_GROUP: [&str; 4] =
    ["eks.amazonaws.com/nodegroup", "cloud.google.com/gke-nodepool", "agentpool", "node-pool"];

pub(super) fn context<'a>(cluster: &'a ClusterContext, catalog: &'a Catalog) -> Context<'a> {
    let node = catalog.node.as_deref();
    let label = |keys: &[&str]| first_of(&node?.labels, keys);
    Context {
        name: &cluster.name,
        kubernetes_version: catalog.server_version.as_deref().unwrap_or_default(),
        provider: Provider {
            name: cluster.provider.as_deref().or_else(|| provider_of(node?)).unwrap_or_default(),
            region: cluster.region.as_deref().or_else(|| label(&REGION)).unwrap_or_default(),
            zone: cluster.zone.as_deref().or_else(|| label(&ZONE)),
        },
        labels: LabelMap::labels(&cluster.labels),
        node_groups: node.and_then(node_group).into_iter().collect(),
    }
}

/// `aws:///eu-central-1a/i-0abc`: the cloud's name stands before the colon.
fn provider_of(node: &Node) -> Option<&str> {
    let (scheme, _) = node.provider_id.as_deref()?.split_once("://")?;
    Some(match scheme {
        "gce" => "gcp",
        other => other,
    })
}

fn node_group(node: &Node) -> Option<NodeGroup<'_>> {
    let instance_type = first_of(&node.labels, &INSTANCE_TYPE);
    Some(NodeGroup {
        name: first_of(&node.labels, &NODE_GROUP)?,
        labels: LabelMap { except: HOSTNAME, ..LabelMap::labels(&node.labels) },
        platform: Platform {
            os: &node.info.operating_system,
            architecture: &node.info.architecture,
            version: &node.info.kubelet_version,
        },
        metadata: instance_type.map(|instance_type| GroupMetadata { instance_type }),
    })
}

fn first_of<'l>(labels: &'l Labels, keys: &[&str]) -> Option<&'l str> {
    keys.iter().find_map(|key| value_of(labels, key)).filter(|value| !value.is_empty())
}
