//! The published data of all sources, and its merge into one catalog.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::catalog::{Catalog, CgroupNameRule, EntityName};
use super::dropped::Dropped;
use super::node::Node;
use super::pod::{Pod, Workload};
use super::pod_budget::{Admission, PodBudget, SOURCE_BYTES_MAX};
use super::source_status::{PODS_MAX, SourceError, SourceKind, SourceStatus};
use crate::identity::{ContainerId, PodUid};
use crate::quantity::BootTime;

/// The data that one source has published.
#[derive(Debug)]
struct SourceState {
    status: SourceStatus,
    /// An error that leaves the source's pods current, such as a denied Node object.
    partial_error: Option<SourceError>,
    /// The error of pods that are kept in part, or not at all, since they take too much memory.
    overflow: Option<SourceError>,
    budget: PodBudget,
    pods: BTreeMap<PodUid, Arc<Pod>>,
    /// Pods that the source knew and has removed; none of them is in `pods`.
    dropped: Dropped,
    /// The pods in `pods` that the last answer lacked.
    absent_once: BTreeSet<PodUid>,
    containers: BTreeMap<ContainerId, Arc<EntityName>>,
    cgroups: Arc<[CgroupNameRule]>,
    node: Option<Arc<Node>>,
    /// The source has answered, and has no Node object to give.
    lacks_node: bool,
    server_version: Option<Arc<str>>,
}

impl SourceState {
    /// Replaces the pods and returns those of before that are not among the new ones.
    fn replace_pods(
        &mut self,
        pods: impl IntoIterator<Item = Pod>,
        now: BootTime,
    ) -> BTreeMap<PodUid, Arc<Pod>> {
        let mut before = std::mem::take(&mut self.pods);
        self.budget = PodBudget::default();
        let overflow = self.overflow.take();
        for mut pod in pods.into_iter().take(PODS_MAX) {
            let uid = pod.uid;
            self.dropped.remove(uid);
            match self.budget.admit(&mut pod) {
                Admission::Whole => {}
                Admission::Trimmed => self.overflows(now),
                Admission::Refused => {
                    self.overflows(now);
                    continue;
                }
            }
            let unchanged = before.remove(&uid).filter(|known| **known == pod);
            self.pods.insert(uid, unchanged.unwrap_or_else(|| Arc::new(pod)));
        }
        if let (Some(now), Some(before)) = (&mut self.overflow, overflow) {
            now.since = before.since;
        }
        before
    }

    /// Keeps a pod as far as there is room.
    fn put_pod(&mut self, mut pod: Pod, now: BootTime) {
        if let Some(before) = self.pods.remove(&pod.uid) {
            self.budget.release(&before);
        }
        if self.pods.len() >= PODS_MAX {
            return;
        }
        match self.budget.admit(&mut pod) {
            Admission::Whole => {}
            Admission::Trimmed => self.overflows(now),
            Admission::Refused => return self.overflows(now),
        }
        self.dropped.remove(pod.uid);
        self.pods.insert(pod.uid, Arc::new(pod));
    }

    fn overflows(&mut self, now: BootTime) {
        self.overflow.get_or_insert_with(|| SourceError {
            since: now,
            text: format!(
                "its pods take more than {} MiB: further ones are kept without annotations and labels",
                SOURCE_BYTES_MAX >> 20
            )
            .into(),
        });
    }

    /// The error that leaves the pods current.
    fn error_beside(&self) -> Option<SourceError> {
        self.partial_error.clone().or_else(|| self.overflow.clone())
    }
}

#[derive(Debug)]
struct DirectoryState {
    sources: Mutex<Vec<SourceState>>,
    merged: watch::Sender<Arc<Catalog>>,
}

/// The merged data of all sources.
#[derive(Debug, Clone)]
pub struct Directory {
    merged: watch::Receiver<Arc<Catalog>>,
}

impl Default for Directory {
    /// A directory without sources, whose catalog stays empty.
    fn default() -> Self {
        Self::new(&[]).0
    }
}

impl Directory {
    /// A directory with these sources in this order, and a publisher for each.
    #[must_use]
    pub fn new(sources: &[SourceKind]) -> (Self, Vec<Publisher>) {
        let states = sources.iter().map(|kind| SourceState {
            status: SourceStatus {
                kind: *kind,
                current_at: None,
                last_error: None,
                known: 0,
                restarts: 0,
            },
            partial_error: None,
            overflow: None,
            budget: PodBudget::default(),
            pods: BTreeMap::new(),
            dropped: Dropped::default(),
            absent_once: BTreeSet::new(),
            containers: BTreeMap::new(),
            cgroups: Arc::default(),
            node: None,
            lacks_node: *kind != SourceKind::Kubernetes,
            server_version: None,
        });
        let states: Vec<SourceState> = states.collect();
        let (merged_tx, merged) = watch::channel(Arc::new(merge(&states)));
        let shared = Arc::new(DirectoryState { sources: Mutex::new(states), merged: merged_tx });
        let publisher = |at| Publisher { shared: Arc::clone(&shared), at };
        (Self { merged }, (0..sources.len()).map(publisher).collect())
    }

    /// The catalog of now. It copies one pointer and waits for nothing.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.merged.borrow())
    }

    /// A receiver that wakes at each change of the catalog.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<Catalog>> {
        self.merged.clone()
    }
}

/// The writing end of one source. Clones are the same source.
#[derive(Debug, Clone)]
pub struct Publisher {
    shared: Arc<DirectoryState>,
    at: usize,
}

impl Publisher {
    /// Replaces all pods of the source. An unchanged pod stays the same object, so that readers see
    /// changes by the pointer.
    pub fn replace_pods(&self, pods: impl IntoIterator<Item = Pod>, now: BootTime) {
        self.publish(now, |state| {
            for pod in state.replace_pods(pods, now).into_values() {
                state.dropped.insert(pod);
            }
        });
    }

    /// Replaces all pods of a source that may not know all of them yet: a pod is removed after two
    /// answers in a row without it.
    pub fn replace_pods_absent_twice(&self, pods: impl IntoIterator<Item = Pod>, now: BootTime) {
        self.publish(now, |state| {
            let absent_before = std::mem::take(&mut state.absent_once);
            for (uid, pod) in state.replace_pods(pods, now) {
                if absent_before.contains(&uid)
                    || state.pods.len() >= PODS_MAX
                    || state.budget.admit(&mut (*pod).clone()) != Admission::Whole
                {
                    state.dropped.insert(pod);
                } else {
                    state.absent_once.insert(uid);
                    state.pods.insert(uid, pod);
                }
            }
        });
    }

    /// Adds or replaces one pod.
    pub fn put_pod(&self, pod: Pod, now: BootTime) {
        self.publish(now, |state| {
            state.put_pod(pod, now);
        });
    }

    /// Removes a pod that has ended. A pod of the same uid with another `api_uid` stays: it is the new
    /// mirror of the same static pod.
    pub fn remove_pod(&self, uid: PodUid, api_uid: &str, now: BootTime) {
        self.publish(now, |state| {
            if state.pods.get(&uid).is_some_and(|pod| *pod.api_uid == *api_uid)
                && let Some(pod) = state.pods.remove(&uid)
            {
                state.budget.release(&pod);
                state.dropped.insert(pod);
            }
        });
    }

    /// Replaces all containers outside Kubernetes.
    pub fn replace_containers(
        &self,
        containers: impl IntoIterator<Item = (ContainerId, EntityName)>,
        now: BootTime,
    ) {
        self.publish(now, |state| {
            let containers = containers.into_iter().map(|(id, named)| (id, Arc::new(named)));
            state.containers = containers.take(PODS_MAX).collect();
        });
    }

    /// Replaces all names of cgroups.
    pub fn replace_cgroups(&self, cgroups: Vec<CgroupNameRule>, now: BootTime) {
        self.publish(now, |state| state.cgroups = cgroups.into());
    }

    /// Sets the workload of pods that are published already. The source's age is unchanged.
    pub fn set_workloads(&self, pods: &[PodUid], workload: &Workload) {
        self.update(|state| {
            for uid in pods {
                if let Some(pod) = state.pods.get_mut(uid) {
                    // A few bytes, which the budget does not count.
                    Arc::make_mut(pod).workload = Some(workload.clone());
                }
            }
        });
    }

    /// Sets the Node object. The source's age is unchanged.
    pub fn set_node(&self, node: Node) {
        self.update(|state| state.node = Some(Arc::new(node)));
    }

    /// Records that the source answers and has no Node object to give, so that nobody waits for it.
    pub fn lacks_node(&self) {
        self.update(|state| state.lacks_node = true);
    }

    /// Sets the API server's `gitVersion`. The source's age is unchanged.
    pub fn set_server_version(&self, version: &str) {
        self.update(|state| state.server_version = Some(version.into()));
    }

    /// Sets the error of a part that is missing while the pods are current; `None` clears it. It is
    /// shown as the last error while there is no other.
    pub fn set_partial_error(&self, text: Option<&str>, now: BootTime) {
        self.update(|state| {
            let since = state.partial_error.as_ref().map_or(now, |error| error.since);
            let is_beside = state.status.last_error == state.error_beside();
            state.partial_error = text.map(|text| SourceError { since, text: text.into() });
            if is_beside {
                state.status.last_error = state.error_beside();
            }
        });
    }

    /// Records that pods were left out or trimmed before they came here, since all of them take too
    /// much memory. The pods stay current.
    pub fn overflowed(&self, now: BootTime) {
        self.update(|state| {
            let is_beside = state.status.last_error == state.error_beside();
            state.overflows(now);
            if is_beside {
                state.status.last_error = state.error_beside();
            }
        });
    }

    /// Confirms that the published data is current.
    pub fn still_current(&self, now: BootTime) {
        self.publish(now, |_| {});
    }

    /// Records that the source's task panicked and is started again. Its data stays.
    pub fn restarted(&self, now: BootTime) {
        self.update(|state| state.status.restarts += 1);
        self.failed("its task panicked, a fault of the program, and is started again", now);
    }

    /// Records that the source does not answer. Its data stays, and its age grows.
    pub fn failed(&self, text: &str, now: BootTime) {
        self.update(|state| {
            let is_beside = state.status.last_error == state.error_beside();
            let before = state.status.last_error.as_ref().filter(|_| !is_beside);
            let since = before.map_or(now, |error| error.since);
            state.status.last_error = Some(SourceError { since, text: text.into() });
        });
    }

    fn publish(&self, now: BootTime, change: impl FnOnce(&mut SourceState)) {
        self.update(|state| {
            change(state);
            state.status.current_at = Some(now);
            state.status.last_error = state.error_beside();
            state.status.known = state.pods.len() + state.containers.len() + state.cgroups.len();
        });
    }

    fn update(&self, change: impl FnOnce(&mut SourceState)) {
        // A panic elsewhere leaves the published data as it was.
        let mut all = self.shared.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = all.get_mut(self.at) {
            change(state);
        }
        self.shared.merged.send_replace(Arc::new(merge(&all)));
    }
}

fn merge(all: &[SourceState]) -> Catalog {
    // Last source first, so that earlier sources overwrite it.
    let (mut pods, mut departed) = (BTreeMap::new(), BTreeMap::new());
    let mut containers = BTreeMap::new();
    for state in all.iter().rev() {
        if !state.dropped.is_empty() {
            pods.retain(|uid, _| !state.dropped.contains(*uid));
        }
        departed.extend(state.dropped.pods().map(|pod| (pod.uid, Arc::clone(pod))));
        pods.extend(state.pods.iter().map(|(uid, pod)| (*uid, Arc::clone(pod))));
        containers.extend(state.containers.iter().map(|(id, named)| (*id, Arc::clone(named))));
    }
    departed.retain(|uid, _| !pods.contains_key(uid));
    let node = all.iter().find_map(|state| state.node.clone());
    Catalog {
        departed: departed.into_values().collect(),
        expects_node: node.is_none() && all.iter().any(|state| !state.lacks_node),
        node,
        pods: pods.into_values().collect(),
        containers: containers.into_iter().collect(),
        cgroups: all
            .iter()
            .map(|state| &state.cgroups)
            .find(|cgroups| !cgroups.is_empty())
            .cloned()
            .unwrap_or_default(),
        server_version: all.iter().find_map(|state| state.server_version.clone()),
        sources: all.iter().map(|state| state.status.clone()).collect(),
    }
}
