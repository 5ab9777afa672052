//! What the resource API reads of nodes, pods and namespaces.

use std::time::Duration;

use super::{Node, Pod, Store};
use crate::payload::resource_api::{NamespaceRecord, NodeRecord, PodRecord, UsageValues};
use crate::payload::stamp::Rfc3339Seconds;
use crate::quantity::WallTime;
use crate::receiver::series::{Alignment, add_all, before, sum};

impl Store {
    pub(in crate::receiver) fn nodes(&self, now: WallTime) -> Vec<NodeRecord<'_>> {
        self.nodes
            .iter()
            .filter(|(_, node)| self.kept(now, node.series.last().at))
            .map(|(name, node)| self.node_record(now, name, node))
            .collect()
    }

    pub(in crate::receiver) fn node(&self, now: WallTime, name: &str) -> Option<NodeRecord<'_>> {
        let (name, node) = self.nodes.get_key_value(name)?;
        self.kept(now, node.series.last().at).then(|| self.node_record(now, name, node))
    }

    fn node_record<'a>(&self, now: WallTime, name: &'a str, node: &'a Node) -> NodeRecord<'a> {
        let last = node.series.last();
        let stale = !self.live(now, last.at);
        let mut record = NodeRecord::new(name, stamp(last.at), &last.figures, stale);
        record.extras = Some(&node.extras);
        record
    }

    /// `None` for a node that is not known, or of which nothing is left.
    pub(in crate::receiver) fn node_series(
        &self,
        now: WallTime,
        name: &str,
        window: Duration,
    ) -> Option<Vec<NodeRecord<'_>>> {
        let (name, node) = self.nodes.get_key_value(name)?;
        self.kept(now, node.series.last().at).then_some(())?;
        let points = node.series.since(before(now, window));
        Some(points.map(|p| NodeRecord::new(name, stamp(p.at), &p.figures, false)).collect())
    }

    /// The live pods of a node. `None` where neither the node nor a live pod of it was pushed.
    pub(in crate::receiver) fn node_pods(
        &self,
        now: WallTime,
        node: &str,
    ) -> Option<Vec<PodRecord<'_>>> {
        let pods: Vec<_> = self
            .live_pods(now)
            .filter(|(.., pod)| pod.node_name == node)
            .map(|(namespace, name, pod)| pod.record(namespace, name))
            .collect();
        (!pods.is_empty() || self.node(now, node).is_some()).then_some(pods)
    }

    pub(in crate::receiver) fn pods(&self, now: WallTime) -> Vec<PodRecord<'_>> {
        self.live_pods(now).map(|(namespace, name, pod)| pod.record(namespace, name)).collect()
    }

    /// The live pods called `name`, of one namespace or of all.
    pub(in crate::receiver) fn pods_named(
        &self,
        now: WallTime,
        name: &str,
        namespace: Option<&str>,
    ) -> Vec<PodRecord<'_>> {
        self.named(name, namespace)
            .filter(|(.., pod)| self.live(now, pod.series.last().at))
            .map(|(namespace, name, pod)| pod.record(namespace, name))
            .collect()
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
            known |= self.kept(now, pod.series.last().at);
            records.extend(
                pod.series
                    .since(before(now, window))
                    .map(|p| PodRecord::new(namespace, name, stamp(p.at), &p.figures)),
            );
        }
        records.sort_by_key(|record| record.timestamp);
        known.then_some(records)
    }

    fn named<'a, 'q>(
        &'a self,
        name: &'q str,
        only: Option<&'q str>,
    ) -> impl Iterator<Item = (&'a str, &'a str, &'a Pod)> + use<'a, 'q> {
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
        for last in pods.values().map(|pod| pod.series.last()) {
            if self.live(now, last.at) {
                latest = latest.max(Some(last.at));
                add_all(&mut total, &last.figures);
            }
        }
        Some(NamespaceRecord::new(name, stamp(latest?), &total))
    }

    /// The live pods of a namespace; `None` where there are none.
    pub(in crate::receiver) fn namespace_pods(
        &self,
        now: WallTime,
        name: &str,
    ) -> Option<Vec<PodRecord<'_>>> {
        let (namespace, pods) = self.namespaces.get_key_value(name)?;
        let live: Vec<_> = pods
            .iter()
            .filter(|(_, pod)| self.live(now, pod.series.last().at))
            .map(|(name, pod)| pod.record(namespace, name))
            .collect();
        (!live.is_empty()).then_some(live)
    }

    /// The namespace's sum over time; `None` where none of its pods is kept.
    pub(in crate::receiver) fn namespace_series(
        &self,
        now: WallTime,
        name: &str,
        window: Duration,
    ) -> Option<Vec<NamespaceRecord<'_>>> {
        let (name, pods) = self.namespaces.get_key_value(name)?;
        pods.values().any(|pod| self.kept(now, pod.series.last().at)).then_some(())?;
        let series = pods.values().map(|pod| &pod.series);
        let points = sum(series, before(now, window), self.alignment());
        Some(points.iter().map(|p| NamespaceRecord::new(name, stamp(p.at), &p.figures)).collect())
    }

    pub(super) fn alignment(&self) -> Alignment {
        Alignment {
            interval: self.bounds.interval,
            hold: self.bounds.stale_after,
            counters: self.bounds.counters,
        }
    }
}

impl Pod {
    pub(super) fn record<'a>(&'a self, namespace: &'a str, name: &'a str) -> PodRecord<'a> {
        let last = self.series.last();
        let mut record = PodRecord::new(namespace, name, stamp(last.at), &last.figures);
        record.node_name = Some(&self.node_name);
        record.extras = Some(&self.extras);
        record
    }
}

pub(super) fn stamp(at: WallTime) -> Rfc3339Seconds {
    Rfc3339Seconds(at)
}
