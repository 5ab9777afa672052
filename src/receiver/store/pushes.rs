//! Recording of pushes: each goes to the series of its node or pod; silent ones are evicted.

use std::collections::{BTreeMap, BTreeSet};

use super::series::{Point, Series};
use crate::payload::dialect::Dialect;
use crate::payload::pod_batch::NodeAmounts;
use crate::payload::resource_api::{NodeEcho, NodePost, PodEcho, PodPost};
use crate::quantity::WallTime;
use crate::receiver::bounds::{Full, ReceiverBounds};

/// All nodes and pods with their usage.
#[derive(Debug)]
pub(in crate::receiver) struct Store {
    pub(super) bounds: ReceiverBounds,
    pub(super) nodes: BTreeMap<String, StoredNode>,
    /// By namespace, then by name. No namespace is empty.
    pub(super) namespaces: BTreeMap<String, BTreeMap<String, StoredPod>>,
    pods_count: usize,
    swept_at: WallTime,
}

#[derive(Debug)]
pub(super) struct StoredNode {
    pub(super) series: Series,
    pub(super) extras: NodeEcho,
    /// Capacity and allocatable amounts; `None` until a pod batch has them.
    pub(super) amounts: Option<(NodeAmounts, NodeAmounts)>,
    dialect: Dialect,
}

#[derive(Debug)]
pub(super) struct StoredPod {
    pub(super) series: Series,
    pub(super) node_name: String,
    pub(super) extras: PodEcho,
    dialect: Dialect,
}

/// True if pushes of dialect `one` replace those of `other`. While a pod or node is pushed in
/// both, only those with disk bytes count, so that no network byte counts twice.
fn outranks(one: Dialect, other: Dialect) -> bool {
    one.profile().has_disk_io && !other.profile().has_disk_io
}

impl Store {
    pub(in crate::receiver) fn new(bounds: ReceiverBounds) -> Self {
        Self {
            bounds,
            nodes: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            pods_count: 0,
            swept_at: WallTime::default(),
        }
    }

    pub(in crate::receiver) fn bounds(&self) -> &ReceiverBounds {
        &self.bounds
    }

    /// Replaces the bounds. What lies beyond the new ones is removed as its node or pod is pushed
    /// again, or with the next sweep.
    pub(in crate::receiver) fn set_bounds(&mut self, bounds: ReceiverBounds) {
        self.bounds = bounds;
    }

    /// Checks that all of these nodes can be recorded.
    ///
    /// # Errors
    /// There is no room for all of them.
    pub(in crate::receiver) fn room_for_nodes<'a>(
        &self,
        now: WallTime,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<(), Full> {
        let is_live =
            |name: &&str| self.nodes.get(*name).is_some_and(|node| self.live(now, &node.series));
        let new: BTreeSet<&str> = names.filter(|name| !is_live(name)).collect();
        let live = self.nodes.values().filter(|node| self.live(now, &node.series));
        room("nodes", self.bounds.nodes_max, live.count(), new.len())
    }

    /// Checks that all of these pods, by namespace and name, can be recorded.
    ///
    /// # Errors
    /// There is no room for all of them.
    pub(in crate::receiver) fn room_for_pods<'a>(
        &self,
        now: WallTime,
        names: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), Full> {
        let is_live = |(namespace, name): &(&str, &str)| {
            let known = self.namespaces.get(*namespace).and_then(|pods| pods.get(*name));
            known.is_some_and(|pod| self.live(now, &pod.series))
        };
        let new: BTreeSet<_> = names.filter(|name| !is_live(name)).collect();
        room("pods", self.bounds.pods_max, self.live_pods(now).count(), new.len())
    }

    /// Records a node's push, unless a dialect that outranks this one still pushes the node.
    ///
    /// # Errors
    /// The node is new, and there is no room for it.
    pub(in crate::receiver) fn record_node(
        &mut self,
        now: WallTime,
        name: &str,
        post: NodePost,
        dialect: Dialect,
    ) -> Result<(), Full> {
        self.sweep(now);
        let point = Point { at: now, usage: post.usage };
        if let Some(node) = self.nodes.get_mut(name) {
            if add(&mut node.series, &mut node.dialect, point, dialect, &self.bounds) {
                node.extras = post.extras;
            }
            return Ok(());
        }
        if self.nodes.len() >= self.bounds.nodes_max {
            self.evict_stalest_node(now)?;
        }
        let series = Series::new(point);
        let node = StoredNode { series, extras: post.extras, amounts: None, dialect };
        self.nodes.insert(name.to_owned(), node);
        Ok(())
    }

    /// Sets capacity and allocatable amounts of a known node.
    pub(in crate::receiver) fn set_amounts(
        &mut self,
        name: &str,
        capacity: NodeAmounts,
        allocatable: NodeAmounts,
    ) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.amounts = Some((capacity, allocatable));
        }
    }

    /// Records a pod's push, unless a dialect that outranks this one still pushes the pod.
    ///
    /// # Errors
    /// The pod is new, and there is no room for it.
    pub(in crate::receiver) fn record_pod(
        &mut self,
        now: WallTime,
        namespace: &str,
        name: &str,
        post: PodPost,
        dialect: Dialect,
    ) -> Result<(), Full> {
        self.sweep(now);
        let point = Point { at: now, usage: post.usage };
        let known = self.namespaces.get_mut(namespace).and_then(|pods| pods.get_mut(name));
        if let Some(pod) = known {
            if add(&mut pod.series, &mut pod.dialect, point, dialect, &self.bounds) {
                pod.node_name = post.node_name;
                pod.extras = post.extras;
            }
            return Ok(());
        }
        if self.pods_count >= self.bounds.pods_max {
            self.evict_stalest_pod(now)?;
        }
        let series = Series::new(point);
        let pod = StoredPod { series, node_name: post.node_name, extras: post.extras, dialect };
        self.namespaces.entry(namespace.to_owned()).or_default().insert(name.to_owned(), pod);
        self.pods_count += 1;
        Ok(())
    }

    fn evict_stalest_node(&mut self, now: WallTime) -> Result<(), Full> {
        let silent = self.nodes.iter().filter(|(_, node)| !self.live(now, &node.series));
        let stalest = silent.min_by_key(|(_, node)| node.series.last().at);
        let Some(name) = stalest.map(|(name, _)| name.clone()) else {
            return Err(Full { what: "nodes", max: self.bounds.nodes_max });
        };
        self.nodes.remove(&name);
        Ok(())
    }

    fn evict_stalest_pod(&mut self, now: WallTime) -> Result<(), Full> {
        let silent = self.all_pods().filter(|(.., pod)| !self.live(now, &pod.series));
        let stalest = silent.min_by_key(|(.., pod)| pod.series.last().at);
        let Some((namespace, name, _)) = stalest else {
            return Err(Full { what: "pods", max: self.bounds.pods_max });
        };
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        if let Some(pods) = self.namespaces.get_mut(&namespace) {
            pods.remove(&name);
            if pods.is_empty() {
                self.namespaces.remove(&namespace);
            }
        }
        self.pods_count -= 1;
        Ok(())
    }

    /// Removes what no window reaches any more. It visits everything, so it runs once in
    /// `stale_after`.
    fn sweep(&mut self, now: WallTime) {
        if self.swept_at >= now.minus(self.bounds.stale_after) && now >= self.swept_at {
            return;
        }
        self.swept_at = now;
        let since = now.minus(self.bounds.retention);
        self.nodes.retain(|_, node| node.series.last().at >= since);
        self.namespaces.retain(|_, pods| {
            pods.retain(|_, pod| pod.series.last().at >= since);
            !pods.is_empty()
        });
        self.pods_count = self.namespaces.values().map(BTreeMap::len).sum();
    }

    /// True if the newest push is not older than `stale_after`.
    pub(super) fn live(&self, now: WallTime, series: &Series) -> bool {
        series.last().at >= now.minus(self.bounds.stale_after)
    }

    /// True if the newest push is not older than `retention`.
    pub(super) fn kept(&self, now: WallTime, series: &Series) -> bool {
        series.last().at >= now.minus(self.bounds.retention)
    }

    /// All pods with namespace and name.
    pub(super) fn all_pods(&self) -> impl Iterator<Item = (&str, &str, &StoredPod)> {
        self.namespaces.iter().flat_map(|(namespace, pods)| {
            pods.iter().map(move |(name, pod)| (namespace.as_str(), name.as_str(), pod))
        })
    }

    /// The live pods with namespace and name.
    pub(super) fn live_pods(
        &self,
        now: WallTime,
    ) -> impl Iterator<Item = (&str, &str, &StoredPod)> {
        self.all_pods().filter(move |(.., pod)| self.live(now, &pod.series))
    }
}

/// Silent ones are evicted, live ones are not.
fn room(what: &'static str, max: usize, live: usize, new: usize) -> Result<(), Full> {
    if new == 0 || live + new <= max { Ok(()) } else { Err(Full { what, max }) }
}

/// Adds a push to a series. Returns false where it is ignored: a dialect that outranks it still pushes.
fn add(
    series: &mut Series,
    known: &mut Dialect,
    point: Point,
    dialect: Dialect,
    bounds: &ReceiverBounds,
) -> bool {
    let last = series.last().at;
    if outranks(*known, dialect) && last >= point.at.minus(bounds.stale_after) {
        return false;
    }
    // Where the greater dialect takes over, the other has most likely just pushed the same interval.
    if outranks(dialect, *known) && last >= point.at.minus(bounds.interval / 2) {
        series.replace_last(point);
    } else {
        series.push(point, bounds.retention, bounds.points_max);
    }
    *known = dialect;
    true
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::payload::dialect::Dialect::{PodBatch, ResourceApi};
    use crate::payload::resource_api::UsageValues;

    fn at(seconds: u64) -> WallTime {
        WallTime::from_unix_millis(seconds * 1000)
    }

    fn post(node: &str, cpu_millicores: u64) -> PodPost {
        PodPost {
            usage: UsageValues { cpu_millicores, ..UsageValues::default() },
            node_name: node.to_owned(),
            extras: PodEcho::default(),
        }
    }

    fn node_post() -> NodePost {
        NodePost { usage: UsageValues::default(), extras: NodeEcho::default() }
    }

    fn small() -> Store {
        let mut bounds = ReceiverBounds::for_interval(Duration::from_secs(15));
        bounds.nodes_max = 2;
        bounds.pods_max = 2;
        Store::new(bounds)
    }

    fn names(store: &Store, now: WallTime) -> Vec<&str> {
        store.pods(now).into_iter().map(|record| record.pod_name).collect()
    }

    #[test]
    fn a_new_pod_evicts_the_longest_silent_one_but_no_live_one() {
        let mut store = small();
        store.record_pod(at(0), "default", "a", post("n", 1), ResourceApi).unwrap();
        store.record_pod(at(10), "other", "b", post("n", 1), ResourceApi).unwrap();
        let full = store.record_pod(at(30), "default", "c", post("n", 1), ResourceApi).unwrap_err();
        assert_eq!(
            full.to_string(),
            "this receiver keeps at most 2 pods, and all of them still push"
        );
        store.record_pod(at(30), "default", "a", post("n", 1), ResourceApi).unwrap();
        store.record_pod(at(80), "default", "c", post("n", 1), ResourceApi).unwrap();
        assert_eq!(names(&store, at(80)), ["a", "c"]);
        assert!(!store.namespaces.contains_key("other"), "no empty namespace stays");
        assert_eq!(store.pods_count, 2);
    }

    #[test]
    fn a_new_node_evicts_the_longest_silent_one_but_no_live_one() {
        let mut store = small();
        store.record_node(at(0), "a", node_post(), ResourceApi).unwrap();
        store.record_node(at(1), "b", node_post(), ResourceApi).unwrap();
        assert!(store.record_node(at(2), "c", node_post(), ResourceApi).is_err());
        store.record_node(at(2), "a", node_post(), ResourceApi).unwrap();
        store.record_node(at(70), "c", node_post(), ResourceApi).unwrap();
        let nodes: Vec<_> = store.nodes(at(70)).iter().map(|node| node.node_name).collect();
        assert_eq!(nodes, ["a", "c"]);
    }

    #[test]
    fn there_is_room_for_what_can_be_recorded_and_for_no_more() {
        let mut store = small();
        let pods = |names: &'static [&'static str]| names.iter().map(|name| ("default", *name));
        assert!(store.room_for_pods(at(0), pods(&["a", "b", "a"])).is_ok());
        assert!(store.room_for_pods(at(0), pods(&["a", "b", "c"])).is_err());
        store.record_pod(at(0), "default", "a", post("n", 1), ResourceApi).unwrap();
        store.record_pod(at(50), "default", "b", post("n", 1), ResourceApi).unwrap();
        assert!(store.room_for_pods(at(55), pods(&["a", "b"])).is_ok());
        assert!(store.room_for_pods(at(55), pods(&["b", "c"])).is_err());
        // One is silent by now, and may itself be among those that come.
        for names in [&["b", "c"], &["a", "b"]] {
            assert!(store.room_for_pods(at(80), pods(names)).is_ok());
        }
        assert!(store.room_for_pods(at(80), pods(&["a", "c"])).is_err());
        store.set_bounds(ReceiverBounds { pods_max: 1, ..store.bounds().clone() });
        assert!(store.room_for_pods(at(55), pods(&["a", "b"])).is_ok(), "they are there");

        for name in ["a", "b"] {
            store.record_node(at(0), name, node_post(), ResourceApi).unwrap();
        }
        assert!(store.room_for_nodes(at(1), ["a", "b"].into_iter()).is_ok());
        assert!(store.room_for_nodes(at(1), ["c"].into_iter()).is_err());
        assert!(store.room_for_nodes(at(100), ["c"].into_iter()).is_ok());
    }

    #[test]
    fn what_no_window_reaches_is_forgotten() {
        let mut store = small();
        store.record_pod(at(0), "default", "a", post("n", 1), ResourceApi).unwrap();
        store.record_node(at(0), "n", node_post(), ResourceApi).unwrap();
        assert!(store.node(at(3600), "n").is_some());
        assert!(store.node(at(3601), "n").is_none());
        let hour = Duration::from_secs(3600);
        assert_eq!(store.pod_series(at(3600), "a", None, hour).unwrap().len(), 1);
        assert_eq!(store.pod_series(at(3601), "a", None, hour), None);
        assert_eq!(store.namespace_series(at(3601), "default", hour), None);
        store.record_node(at(3700), "m", node_post(), ResourceApi).unwrap();
        assert_eq!((store.nodes.len(), store.namespaces.len(), store.pods_count), (1, 0, 0));
    }

    #[test]
    fn a_clock_set_back_loses_and_panics_nothing() {
        let mut store = small();
        store.record_pod(at(10_000), "default", "a", post("n", 1), ResourceApi).unwrap();
        store.record_pod(at(5_000), "default", "a", post("n", 2), ResourceApi).unwrap();
        assert_eq!(names(&store, at(5_000)), ["a"]);
        let window = Duration::from_secs(60);
        assert!(store.namespace_series(at(5_000), "default", window).is_some());
    }

    #[test]
    fn a_pod_that_moved_is_listed_where_it_runs_now() {
        let mut store = small();
        store.record_pod(at(0), "default", "db-0", post("n1", 1), ResourceApi).unwrap();
        store.record_pod(at(15), "default", "db-0", post("n2", 2), ResourceApi).unwrap();
        assert_eq!(store.node_pods(at(15), "n1"), None);
        assert_eq!(store.node_pods(at(15), "n2").unwrap().len(), 1);
    }

    #[test]
    fn a_pod_that_is_pushed_by_two_apis_counts_once() {
        let mut store = small();
        let mut push = |seconds, cpu, dialect| {
            store.record_pod(at(seconds), "default", "a", post("n", cpu), dialect).unwrap();
            let shown = store.pods(at(seconds));
            shown.iter().map(|pod| pod.usage.cpu_millicores).collect::<Vec<_>>()
        };
        assert_eq!(push(0, 1, PodBatch), [1]);
        assert_eq!(push(5, 2, ResourceApi), [2], "the one with disk usage takes over");
        assert_eq!(push(10, 3, PodBatch), [2], "and stays while it pushes");
        assert_eq!(push(70, 4, PodBatch), [4], "but no longer");
    }

    #[test]
    fn the_first_interval_that_two_apis_push_counts_once() {
        let mut store = small();
        let sent = |bytes| PodPost {
            usage: UsageValues { sent_bytes: bytes, ..UsageValues::default() },
            ..post("n", 0)
        };
        for (seconds, bytes, dialect) in [
            (0, 10, PodBatch),
            (15, 20, PodBatch),
            (16, 20, ResourceApi),
            (30, 40, PodBatch),
            (31, 40, ResourceApi),
        ] {
            store.record_pod(at(seconds), "default", "a", sent(bytes), dialect).unwrap();
        }
        let hour = Duration::from_secs(3600);
        let series = store.pod_series(at(31), "a", None, hour).unwrap();
        let sent: Vec<_> = series.iter().map(|point| point.usage.sent_bytes).collect();
        assert_eq!(sent, [10, 20, 40]);
    }
}
