//! What was pushed, in memory, bounded on every side. The time is passed in.
//!
//! A pod is live until `stale_after` has passed without a push; then it leaves the lists and the
//! sums, and its past stays readable until it is older than `retention`. A node stays listed for
//! all of `retention`, marked stale: pods come and go, but a node that falls silent is news.

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;

use super::Bounds;
use super::series::{Alignment, Point, Series, add_all, before, sum};
use crate::payload::resource_api::{Figures, NamespaceRecord, NodeRecord, PodPost, PodRecord};
use crate::payload::stamp::Rfc3339Seconds;
use crate::quantity::WallTime;

#[derive(Debug)]
pub(super) struct Store {
    bounds: Bounds,
    nodes: BTreeMap<String, Series>,
    /// By namespace, then by name. No namespace is empty.
    namespaces: BTreeMap<String, BTreeMap<String, Pod>>,
    pods_count: usize,
    swept_at: WallTime,
}

#[derive(Debug)]
struct Pod {
    series: Series,
    node_name: String,
    pod_uid: Option<String>,
    qos_class: Option<String>,
}

/// All places are taken by nodes or pods that still push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this receiver keeps at most {max} {what}, and all of them still push")]
pub(super) struct Full {
    what: &'static str,
    max: usize,
}

impl Store {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            nodes: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            pods_count: 0,
            swept_at: WallTime::default(),
        }
    }

    pub(super) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// What lies beyond the new bounds goes as its node or pod is pushed again, or with the next
    /// sweep.
    pub(super) fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    pub(super) fn record_node(
        &mut self,
        now: WallTime,
        name: &str,
        figures: Figures,
    ) -> Result<(), Full> {
        self.sweep(now);
        let point = Point { at: now, figures };
        if let Some(series) = self.nodes.get_mut(name) {
            series.push(point, self.bounds.retention, self.bounds.points_max);
            return Ok(());
        }
        if self.nodes.len() >= self.bounds.nodes_max {
            let stalest = self
                .nodes
                .iter()
                .map(|(name, series)| (series.last().at, name))
                .filter(|(at, _)| !self.live(now, *at))
                .min()
                .map(|(_, name)| name.clone());
            let Some(stalest) = stalest else {
                return Err(Full { what: "nodes", max: self.bounds.nodes_max });
            };
            self.nodes.remove(&stalest);
        }
        self.nodes.insert(name.to_owned(), Series::new(point));
        Ok(())
    }

    pub(super) fn record_pod(
        &mut self,
        now: WallTime,
        namespace: &str,
        name: &str,
        post: PodPost,
    ) -> Result<(), Full> {
        self.sweep(now);
        let point = Point { at: now, figures: post.figures };
        if let Some(pod) = self.namespaces.get_mut(namespace).and_then(|pods| pods.get_mut(name)) {
            pod.series.push(point, self.bounds.retention, self.bounds.points_max);
            pod.node_name = post.node_name;
            pod.pod_uid = post.pod_uid;
            pod.qos_class = post.qos_class;
            return Ok(());
        }
        if self.pods_count >= self.bounds.pods_max {
            self.evict_stalest_pod(now)?;
        }
        let pod = Pod {
            series: Series::new(point),
            node_name: post.node_name,
            pod_uid: post.pod_uid,
            qos_class: post.qos_class,
        };
        self.namespaces.entry(namespace.to_owned()).or_default().insert(name.to_owned(), pod);
        self.pods_count += 1;
        Ok(())
    }

    fn evict_stalest_pod(&mut self, now: WallTime) -> Result<(), Full> {
        let stalest = self
            .all_pods()
            .map(|(namespace, name, pod)| (pod.series.last().at, namespace, name))
            .filter(|(at, ..)| !self.live(now, *at))
            .min()
            .map(|(_, namespace, name)| (namespace.to_owned(), name.to_owned()));
        let Some((namespace, name)) = stalest else {
            return Err(Full { what: "pods", max: self.bounds.pods_max });
        };
        if let Some(pods) = self.namespaces.get_mut(&namespace) {
            pods.remove(&name);
            if pods.is_empty() {
                self.namespaces.remove(&namespace);
            }
        }
        self.pods_count -= 1;
        Ok(())
    }

    /// Forgets what no window can reach any more; now and then, since it looks at everything.
    fn sweep(&mut self, now: WallTime) {
        if self.live(now, self.swept_at) && now >= self.swept_at {
            return;
        }
        self.swept_at = now;
        let since = before(now, self.bounds.retention);
        self.nodes.retain(|_, series| series.last().at >= since);
        self.namespaces.retain(|_, pods| {
            pods.retain(|_, pod| pod.series.last().at >= since);
            !pods.is_empty()
        });
        self.pods_count = self.namespaces.values().map(BTreeMap::len).sum();
    }

    fn live(&self, now: WallTime, last: WallTime) -> bool {
        last >= before(now, self.bounds.stale_after)
    }

    fn kept(&self, now: WallTime, last: WallTime) -> bool {
        last >= before(now, self.bounds.retention)
    }

    fn all_pods(&self) -> impl Iterator<Item = (&str, &str, &Pod)> {
        self.namespaces.iter().flat_map(|(namespace, pods)| {
            pods.iter().map(move |(name, pod)| (namespace.as_str(), name.as_str(), pod))
        })
    }

    fn live_pods(&self, now: WallTime) -> impl Iterator<Item = (&str, &str, &Pod)> {
        self.all_pods().filter(move |(.., pod)| self.live(now, pod.series.last().at))
    }

    pub(super) fn nodes(&self, now: WallTime) -> Vec<NodeRecord<'_>> {
        self.nodes
            .iter()
            .filter(|(_, series)| self.kept(now, series.last().at))
            .map(|(name, series)| self.node_record(now, name, series.last()))
            .collect()
    }

    pub(super) fn node(&self, now: WallTime, name: &str) -> Option<NodeRecord<'_>> {
        let (name, series) = self.nodes.get_key_value(name)?;
        let last = series.last();
        self.kept(now, last.at).then(|| self.node_record(now, name, last))
    }

    fn node_record<'a>(&self, now: WallTime, name: &'a str, last: Point) -> NodeRecord<'a> {
        NodeRecord::new(name, stamp(last.at), &last.figures, !self.live(now, last.at))
    }

    /// `None` for a node that is not known, or of which nothing is left.
    pub(super) fn node_series(
        &self,
        now: WallTime,
        name: &str,
        window: Duration,
    ) -> Option<Vec<NodeRecord<'_>>> {
        let (name, series) = self.nodes.get_key_value(name)?;
        self.kept(now, series.last().at).then_some(())?;
        let points = series.since(before(now, window));
        Some(points.map(|p| NodeRecord::new(name, stamp(p.at), &p.figures, false)).collect())
    }

    /// The live pods of a node. `None` where neither the node nor a live pod of it was pushed.
    pub(super) fn node_pods(&self, now: WallTime, node: &str) -> Option<Vec<PodRecord<'_>>> {
        let pods: Vec<_> = self
            .live_pods(now)
            .filter(|(.., pod)| pod.node_name == node)
            .map(|(namespace, name, pod)| pod.record(namespace, name))
            .collect();
        (!pods.is_empty() || self.node(now, node).is_some()).then_some(pods)
    }

    pub(super) fn pods(&self, now: WallTime) -> Vec<PodRecord<'_>> {
        self.live_pods(now).map(|(namespace, name, pod)| pod.record(namespace, name)).collect()
    }

    /// The live pods called `name`, of one namespace or of all.
    pub(super) fn pods_named(
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
    pub(super) fn pod_series(
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
    pub(super) fn namespaces(&self, now: WallTime) -> Vec<NamespaceRecord<'_>> {
        self.namespaces.keys().filter_map(|namespace| self.namespace(now, namespace)).collect()
    }

    /// The sum over a namespace's live pods, stamped with the latest of their pushes. `None`
    /// where no live pod is known.
    pub(super) fn namespace(&self, now: WallTime, name: &str) -> Option<NamespaceRecord<'_>> {
        let (name, pods) = self.namespaces.get_key_value(name)?;
        let mut latest = None;
        let mut total = Figures::default();
        for last in pods.values().map(|pod| pod.series.last()) {
            if self.live(now, last.at) {
                latest = latest.max(Some(last.at));
                add_all(&mut total, &last.figures);
            }
        }
        Some(NamespaceRecord::new(name, stamp(latest?), &total))
    }

    /// The live pods of a namespace; `None` where there are none.
    pub(super) fn namespace_pods(&self, now: WallTime, name: &str) -> Option<Vec<PodRecord<'_>>> {
        let (namespace, pods) = self.namespaces.get_key_value(name)?;
        let live: Vec<_> = pods
            .iter()
            .filter(|(_, pod)| self.live(now, pod.series.last().at))
            .map(|(name, pod)| pod.record(namespace, name))
            .collect();
        (!live.is_empty()).then_some(live)
    }

    /// The namespace's sum over time; `None` where none of its pods is kept.
    pub(super) fn namespace_series(
        &self,
        now: WallTime,
        name: &str,
        window: Duration,
    ) -> Option<Vec<NamespaceRecord<'_>>> {
        let (name, pods) = self.namespaces.get_key_value(name)?;
        pods.values().any(|pod| self.kept(now, pod.series.last().at)).then_some(())?;
        let how = Alignment {
            interval: self.bounds.interval,
            hold: self.bounds.stale_after,
            counters: self.bounds.counters,
        };
        let points = sum(pods.values().map(|pod| &pod.series), before(now, window), how);
        Some(points.iter().map(|p| NamespaceRecord::new(name, stamp(p.at), &p.figures)).collect())
    }
}

impl Pod {
    fn record<'a>(&'a self, namespace: &'a str, name: &'a str) -> PodRecord<'a> {
        let last = self.series.last();
        let mut record = PodRecord::new(namespace, name, stamp(last.at), &last.figures);
        record.node_name = Some(&self.node_name);
        record.pod_uid = self.pod_uid.as_deref();
        record.qos_class = self.qos_class.as_deref();
        record
    }
}

fn stamp(at: WallTime) -> Rfc3339Seconds {
    Rfc3339Seconds(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> WallTime {
        WallTime::from_unix_millis(seconds * 1000)
    }

    fn post(node: &str, cpu_millicores: u64) -> PodPost {
        PodPost {
            figures: Figures { cpu_millicores, ..Figures::default() },
            node_name: node.to_owned(),
            pod_uid: None,
            qos_class: None,
        }
    }

    fn small() -> Store {
        let mut bounds = Bounds::for_interval(Duration::from_secs(15));
        bounds.nodes_max = 2;
        bounds.pods_max = 2;
        Store::new(bounds)
    }

    fn names(store: &Store, now: WallTime) -> Vec<&str> {
        store.pods(now).into_iter().map(|record| record.pod_name).collect()
    }

    #[test]
    fn a_new_pod_takes_the_place_of_the_longest_silent_one_but_of_none_that_lives() {
        let mut store = small();
        store.record_pod(at(0), "default", "a", post("n", 1)).unwrap();
        store.record_pod(at(10), "other", "b", post("n", 1)).unwrap();
        let full = store.record_pod(at(30), "default", "c", post("n", 1)).unwrap_err();
        assert_eq!(
            full.to_string(),
            "this receiver keeps at most 2 pods, and all of them still push"
        );
        store.record_pod(at(30), "default", "a", post("n", 1)).unwrap();
        store.record_pod(at(80), "default", "c", post("n", 1)).unwrap();
        assert_eq!(names(&store, at(80)), ["a", "c"]);
        assert!(!store.namespaces.contains_key("other"), "no empty namespace stays");
        assert_eq!(store.pods_count, 2);
    }

    #[test]
    fn nodes_are_bounded_likewise() {
        let mut store = small();
        store.record_node(at(0), "a", Figures::default()).unwrap();
        store.record_node(at(1), "b", Figures::default()).unwrap();
        assert!(store.record_node(at(2), "c", Figures::default()).is_err());
        store.record_node(at(2), "a", Figures::default()).unwrap();
        store.record_node(at(70), "c", Figures::default()).unwrap();
        let nodes: Vec<_> = store.nodes(at(70)).iter().map(|node| node.node_name).collect();
        assert_eq!(nodes, ["a", "c"]);
    }

    #[test]
    fn what_no_window_reaches_is_forgotten() {
        let mut store = small();
        store.record_pod(at(0), "default", "a", post("n", 1)).unwrap();
        store.record_node(at(0), "n", Figures::default()).unwrap();
        assert!(store.node(at(3600), "n").is_some());
        assert!(store.node(at(3601), "n").is_none());
        let hour = Duration::from_secs(3600);
        assert_eq!(store.pod_series(at(3600), "a", None, hour).unwrap().len(), 1);
        assert_eq!(store.pod_series(at(3601), "a", None, hour), None);
        assert_eq!(store.namespace_series(at(3601), "default", hour), None);
        store.record_node(at(3700), "m", Figures::default()).unwrap();
        assert_eq!((store.nodes.len(), store.namespaces.len(), store.pods_count), (1, 0, 0));
    }

    #[test]
    fn a_clock_set_back_loses_and_panics_nothing() {
        let mut store = small();
        store.record_pod(at(10_000), "default", "a", post("n", 1)).unwrap();
        store.record_pod(at(5_000), "default", "a", post("n", 2)).unwrap();
        assert_eq!(names(&store, at(5_000)), ["a"]);
        let window = Duration::from_secs(60);
        assert!(store.namespace_series(at(5_000), "default", window).is_some());
    }

    #[test]
    fn a_pod_that_moved_is_listed_where_it_runs_now() {
        let mut store = small();
        store.record_pod(at(0), "default", "db-0", post("n1", 1)).unwrap();
        store.record_pod(at(15), "default", "db-0", post("n2", 2)).unwrap();
        assert_eq!(store.node_pods(at(15), "n1"), None);
        assert_eq!(store.node_pods(at(15), "n2").unwrap().len(), 1);
    }
}
