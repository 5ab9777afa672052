//! The same nodes and pods as objects of the Kubernetes APIs.

use std::collections::BTreeMap;

use super::{Node, Pod, Store};
use crate::payload::metrics_k8s_io::{
    ContainerMetrics, CoreNode, CorePod, MetricsInterval, NodeMetrics, PodMetrics, ResourceUsage,
};
use crate::payload::pod_batch::NodeAmounts;
use crate::quantity::WallTime;

/// A node or pod as a request chooses among them.
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
    /// The live nodes that are chosen.
    pub(in crate::receiver) fn node_metrics(
        &self,
        now: WallTime,
        chosen: impl Fn(&Candidate<'_>) -> bool,
    ) -> Vec<NodeMetrics> {
        let nodes = self.chosen_nodes(now, chosen);
        nodes.map(|(name, node)| self.metrics_of_node(name, node)).collect()
    }

    fn metrics_of_node(&self, name: &str, node: &Node) -> NodeMetrics {
        let last = node.series.last();
        let usage = ResourceUsage::new(
            nanocores(node.extras.cpu_nanocores, last.figures.cpu_millicores),
            last.figures.memory_bytes,
        );
        let taken = self.taken(last.at, node.extras.window_millis);
        NodeMetrics::new(name, node.extras.labels.clone().unwrap_or_default(), taken, usage)
    }

    /// The live pods that are chosen.
    pub(in crate::receiver) fn pod_metrics(
        &self,
        now: WallTime,
        chosen: impl Fn(&Candidate<'_>) -> bool,
    ) -> Vec<PodMetrics> {
        self.chosen_pods(now, chosen)
            .map(|(namespace, name, pod)| {
                let taken = self.taken(pod.series.last().at, pod.extras.window_millis);
                let containers = pod.container_metrics(name);
                PodMetrics::new(
                    namespace,
                    name,
                    pod.extras.labels.clone().unwrap_or_default(),
                    taken,
                    containers,
                )
            })
            .collect()
    }

    pub(in crate::receiver) fn node_objects(
        &self,
        now: WallTime,
        chosen: impl Fn(&Candidate<'_>) -> bool,
    ) -> Vec<CoreNode> {
        let nodes = self.chosen_nodes(now, chosen);
        nodes
            .map(|(name, node)| {
                let usage = |amounts: NodeAmounts| {
                    ResourceUsage::new(amounts.cpu_nanocores, amounts.memory_bytes)
                };
                let gives = node.gives.map(|(capacity, of_it)| (usage(capacity), usage(of_it)));
                CoreNode::new(name, node.extras.labels.clone().unwrap_or_default(), gives)
            })
            .collect()
    }

    pub(in crate::receiver) fn pod_objects(
        &self,
        now: WallTime,
        chosen: impl Fn(&Candidate<'_>) -> bool,
    ) -> Vec<CorePod> {
        self.chosen_pods(now, chosen)
            .map(|(namespace, name, pod)| {
                let uid = pod.extras.pod_uid.as_deref();
                CorePod::new(
                    namespace,
                    name,
                    uid,
                    pod.extras.labels.clone().unwrap_or_default(),
                    &pod.node_name,
                )
            })
            .collect()
    }

    fn chosen_nodes(
        &self,
        now: WallTime,
        chosen: impl Fn(&Candidate<'_>) -> bool,
    ) -> impl Iterator<Item = (&str, &Node)> {
        let live = self.nodes.iter().filter(move |(_, node)| self.live(now, node.series.last().at));
        live.map(|(name, node)| (name.as_str(), node)).filter(move |(name, node)| {
            chosen(&Candidate { namespace: None, name, labels: node.extras.labels.as_ref() })
        })
    }

    fn chosen_pods(
        &self,
        now: WallTime,
        chosen: impl Fn(&Candidate<'_>) -> bool,
    ) -> impl Iterator<Item = (&str, &str, &Pod)> {
        self.live_pods(now).filter(move |(namespace, name, pod)| {
            let labels = pod.extras.labels.as_ref();
            chosen(&Candidate { namespace: Some(namespace), name, labels })
        })
    }

    /// A push that does not say what time it covers covers the time between two.
    fn taken(&self, at: WallTime, window_millis: Option<u64>) -> MetricsInterval {
        let interval_millis = self.bounds.interval.as_millis();
        let interval_millis = u64::try_from(interval_millis).unwrap_or(u64::MAX);
        MetricsInterval::new(at, window_millis.unwrap_or(interval_millis))
    }
}

impl Pod {
    /// A pod whose containers were not told apart stands as one container of its own name: clients
    /// add up containers, and would take none for no usage.
    fn container_metrics(&self, pod_name: &str) -> Vec<ContainerMetrics> {
        if self.extras.containers.is_empty() {
            let figures = self.series.last().figures;
            let usage = ResourceUsage::new(
                nanocores(self.extras.cpu_nanocores, figures.cpu_millicores),
                figures.memory_bytes,
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
