//! Reads of the Kubernetes APIs: the live nodes and pods as their objects.

use std::collections::BTreeMap;

use super::pushes::{Store, StoredNode, StoredPod};
use crate::payload::metrics_k8s_io::{
    ContainerMetrics, CoreNode, CorePod, MetricsInterval, NodeMetrics, PodMetrics, ResourceUsage,
};
use crate::payload::pod_batch::NodeAmounts;
use crate::quantity::WallTime;

/// A node or pod that a request may select.
pub(in crate::receiver) struct Candidate<'a> {
    /// `None` of a node.
    pub(in crate::receiver) namespace: Option<&'a str>,
    pub(in crate::receiver) name: &'a str,
    labels: Option<&'a BTreeMap<String, String>>,
}

impl<'a> Candidate<'a> {
    pub(in crate::receiver) fn label(&self, key: &str) -> Option<&'a str> {
        self.labels?.get(key).map(String::as_str)
    }
}

impl Store {
    /// The usage of the live nodes that are selected.
    pub(in crate::receiver) fn node_metrics(
        &self,
        now: WallTime,
        selected: impl Fn(&Candidate<'_>) -> bool,
    ) -> Vec<NodeMetrics> {
        let nodes = self.selected_nodes(now, selected);
        nodes.map(|(name, node)| self.metrics_of_node(name, node)).collect()
    }

    fn metrics_of_node(&self, name: &str, node: &StoredNode) -> NodeMetrics {
        let last = node.series.last();
        let usage = ResourceUsage::new(
            nanocores(node.extras.cpu_nanocores, last.usage.cpu_millicores),
            last.usage.memory_bytes,
        );
        let covered = self.covered(last.at, node.extras.window_millis);
        NodeMetrics::new(name, node.extras.labels.clone().unwrap_or_default(), covered, usage)
    }

    /// The usage of the live pods that are selected.
    pub(in crate::receiver) fn pod_metrics(
        &self,
        now: WallTime,
        selected: impl Fn(&Candidate<'_>) -> bool,
    ) -> Vec<PodMetrics> {
        self.selected_pods(now, selected)
            .map(|(namespace, name, pod)| {
                let labels = pod.extras.labels.clone().unwrap_or_default();
                let covered = self.covered(pod.series.last().at, pod.extras.window_millis);
                PodMetrics::new(namespace, name, labels, covered, pod.container_metrics(name))
            })
            .collect()
    }

    /// The live nodes that are selected.
    pub(in crate::receiver) fn node_objects(
        &self,
        now: WallTime,
        selected: impl Fn(&Candidate<'_>) -> bool,
    ) -> Vec<CoreNode> {
        let nodes = self.selected_nodes(now, selected);
        nodes
            .map(|(name, node)| {
                let usage = |amounts: NodeAmounts| {
                    ResourceUsage::new(amounts.cpu_nanocores, amounts.memory_bytes)
                };
                let amounts = node
                    .amounts
                    .map(|(capacity, allocatable)| (usage(capacity), usage(allocatable)));
                CoreNode::new(name, node.extras.labels.clone().unwrap_or_default(), amounts)
            })
            .collect()
    }

    /// The live pods that are selected.
    pub(in crate::receiver) fn pod_objects(
        &self,
        now: WallTime,
        selected: impl Fn(&Candidate<'_>) -> bool,
    ) -> Vec<CorePod> {
        self.selected_pods(now, selected)
            .map(|(namespace, name, pod)| {
                let labels = pod.extras.labels.clone().unwrap_or_default();
                CorePod::new(namespace, name, pod.extras.pod_uid.as_deref(), labels, &pod.node_name)
            })
            .collect()
    }

    fn selected_nodes(
        &self,
        now: WallTime,
        selected: impl Fn(&Candidate<'_>) -> bool,
    ) -> impl Iterator<Item = (&str, &StoredNode)> {
        let live = self.nodes.iter().filter(move |(_, node)| self.live(now, &node.series));
        live.map(|(name, node)| (name.as_str(), node)).filter(move |(name, node)| {
            selected(&Candidate { namespace: None, name, labels: node.extras.labels.as_ref() })
        })
    }

    fn selected_pods(
        &self,
        now: WallTime,
        selected: impl Fn(&Candidate<'_>) -> bool,
    ) -> impl Iterator<Item = (&str, &str, &StoredPod)> {
        self.live_pods(now).filter(move |(namespace, name, pod)| {
            let labels = pod.extras.labels.as_ref();
            selected(&Candidate { namespace: Some(namespace), name, labels })
        })
    }

    /// The end and length of the time that a push covers: where it does not say, one interval.
    fn covered(&self, at: WallTime, window_millis: Option<u64>) -> MetricsInterval {
        let interval_millis = self.bounds.interval.as_millis();
        let interval_millis = u64::try_from(interval_millis).unwrap_or(u64::MAX);
        MetricsInterval::new(at, window_millis.unwrap_or(interval_millis))
    }
}

impl StoredPod {
    /// The pod's containers. A pod pushed without containers appears as one container of its own
    /// name: clients add up containers, so that none would mean no usage.
    fn container_metrics(&self, pod_name: &str) -> Vec<ContainerMetrics> {
        if self.extras.containers.is_empty() {
            let usage = self.series.last().usage;
            let usage = ResourceUsage::new(
                nanocores(self.extras.cpu_nanocores, usage.cpu_millicores),
                usage.memory_bytes,
            );
            return vec![ContainerMetrics { name: pod_name.to_owned(), usage }];
        }
        let containers = self.extras.containers.iter().map(|container| ContainerMetrics {
            name: container.name.clone(),
            usage: ResourceUsage::new(container.cpu_nanocores, container.memory_bytes),
        });
        containers.collect()
    }
}

fn nanocores(exact: Option<u64>, millicores: u64) -> u64 {
    exact.unwrap_or(millicores.saturating_mul(1_000_000))
}
