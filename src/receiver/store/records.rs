//! Reads of the resource API: nodes, pods and namespaces.

use std::time::Duration;

use super::pushes::{Store, StoredNode, StoredPod};
use super::series::{Alignment, Point, add_all, sum};
use crate::payload::resource_api::{NamespaceRecord, NodeRecord, PodRecord, UsageValues};
use crate::payload::stamp::Rfc3339Seconds;
use crate::quantity::WallTime;

impl Store {
    /// All kept nodes, the stale ones marked.
    pub(in crate::receiver) fn nodes(&self, now: WallTime) -> Vec<NodeRecord<'_>> {
        self.nodes
            .iter()
            .filter(|(_, node)| self.kept(now, &node.series))
            .map(|(name, node)| self.node_record(now, name, node))
            .collect()
    }

    /// A kept node; `None` where it is not known.
    pub(in crate::receiver) fn node(&self, now: WallTime, name: &str) -> Option<NodeRecord<'_>> {
        let (name, node) = self.kept_node(now, name)?;
        Some(self.node_record(now, name, node))
    }

    fn kept_node(&self, now: WallTime, name: &str) -> Option<(&String, &StoredNode)> {
        self.nodes.get_key_value(name).filter(|(_, node)| self.kept(now, &node.series))
    }

    fn node_record<'a>(
        &self,
        now: WallTime,
        name: &'a str,
        node: &'a StoredNode,
    ) -> NodeRecord<'a> {
        let last = node.series.last();
        let stale = !self.live(now, &node.series);
        let mut record = NodeRecord::new(name, Rfc3339Seconds(last.at), &last.usage, stale);
        record.extras = Some(&node.extras);
        record
    }

    /// The points of a node; `None` where it is not known or no longer kept.
    pub(in crate::receiver) fn node_series(
        &self,
        now: WallTime,
        name: &str,
        window: Duration,
    ) -> Option<Vec<NodeRecord<'_>>> {
        let (name, node) = self.kept_node(now, name)?;
        let points = node.series.since(now.minus(window));
        let record = |p: &Point| NodeRecord::new(name, Rfc3339Seconds(p.at), &p.usage, false);
        Some(points.map(record).collect())
    }

    /// The live pods of a node. `None` where neither the node nor a live pod of it was pushed.
    pub(in crate::receiver) fn node_pods(
        &self,
        now: WallTime,
        node: &str,
    ) -> Option<Vec<PodRecord<'_>>> {
        let pods = self.live_pods(now).filter(|(.., pod)| pod.node_name == node);
        match pod_records(pods) {
            None => self.kept_node(now, node).map(|_| Vec::new()),
            pods => pods,
        }
    }

    /// The live pods.
    pub(in crate::receiver) fn pods(&self, now: WallTime) -> Vec<PodRecord<'_>> {
        pod_records(self.live_pods(now)).unwrap_or_default()
    }

    /// The live pods called `name`, of one namespace or of all.
    pub(in crate::receiver) fn pods_named(
        &self,
        now: WallTime,
        name: &str,
        namespace: Option<&str>,
    ) -> Vec<PodRecord<'_>> {
        let live = self.named(name, namespace).filter(|(.., pod)| self.live(now, &pod.series));
        pod_records(live).unwrap_or_default()
    }

    /// The points of the pods called `name`, by time. `None` where no such pod is kept.
    pub(in crate::receiver) fn pod_series(
        &self,
        now: WallTime,
        name: &str,
        namespace: Option<&str>,
        window: Duration,
    ) -> Option<Vec<PodRecord<'_>>> {
        let mut records = Vec::new();
        let mut known = false;
        for (namespace, name, pod) in self.named(name, namespace) {
            known |= self.kept(now, &pod.series);
            records.extend(
                pod.series
                    .since(now.minus(window))
                    .map(|p| PodRecord::new(namespace, name, Rfc3339Seconds(p.at), &p.usage)),
            );
        }
        records.sort_by_key(|record| record.timestamp);
        known.then_some(records)
    }

    fn named<'a, 'q>(
        &'a self,
        name: &'q str,
        only: Option<&'q str>,
    ) -> impl Iterator<Item = (&'a str, &'a str, &'a StoredPod)> + use<'a, 'q> {
        self.namespaces
            .iter()
            .filter(move |(namespace, _)| only.is_none_or(|only| only == namespace.as_str()))
            .filter_map(move |(namespace, pods)| {
                let (name, pod) = pods.get_key_value(name)?;
                Some((namespace.as_str(), name.as_str(), pod))
            })
    }

    /// The namespaces that have live pods.
    pub(in crate::receiver) fn namespaces(&self, now: WallTime) -> Vec<NamespaceRecord<'_>> {
        self.namespaces.keys().filter_map(|namespace| self.namespace(now, namespace)).collect()
    }

    /// The sum over a namespace's live pods, stamped with the latest of their pushes. `None`
    /// where no live pod is known.
    pub(in crate::receiver) fn namespace(
        &self,
        now: WallTime,
        name: &str,
    ) -> Option<NamespaceRecord<'_>> {
        let (name, pods) = self.namespaces.get_key_value(name)?;
        let mut latest = None;
        let mut total = UsageValues::default();
        for pod in pods.values().filter(|pod| self.live(now, &pod.series)) {
            let last = pod.series.last();
            latest = latest.max(Some(last.at));
            add_all(&mut total, &last.usage);
        }
        Some(NamespaceRecord::new(name, Rfc3339Seconds(latest?), &total))
    }

    /// The live pods of a namespace; `None` where there are none.
    pub(in crate::receiver) fn namespace_pods(
        &self,
        now: WallTime,
        name: &str,
    ) -> Option<Vec<PodRecord<'_>>> {
        pod_records(self.live_pods(now).filter(|(namespace, ..)| *namespace == name))
    }

    /// The namespace's sum over time; `None` where none of its pods is kept.
    pub(in crate::receiver) fn namespace_series(
        &self,
        now: WallTime,
        name: &str,
        window: Duration,
    ) -> Option<Vec<NamespaceRecord<'_>>> {
        let (name, pods) = self.namespaces.get_key_value(name)?;
        pods.values().any(|pod| self.kept(now, &pod.series)).then_some(())?;
        let series = pods.values().map(|pod| &pod.series);
        let points = sum(series, now.minus(window), self.alignment());
        let record = |p: &Point| NamespaceRecord::new(name, Rfc3339Seconds(p.at), &p.usage);
        Some(points.iter().map(record).collect())
    }

    pub(super) fn alignment(&self) -> Alignment {
        Alignment { interval: self.bounds.interval, hold: self.bounds.stale_after }
    }
}

/// The latest usage of each pod; `None` where there is no pod.
pub(super) fn pod_records<'a>(
    pods: impl Iterator<Item = (&'a str, &'a str, &'a StoredPod)>,
) -> Option<Vec<PodRecord<'a>>> {
    let records: Vec<_> = pods
        .map(|(namespace, name, pod)| {
            let last = pod.series.last();
            let stamp = Rfc3339Seconds(last.at);
            let mut record = PodRecord::new(namespace, name, stamp, &last.usage);
            record.node_name = Some(&pod.node_name);
            record.extras = Some(&pod.extras);
            record
        })
        .collect();
    (!records.is_empty()).then_some(records)
}
