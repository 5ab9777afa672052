//! The edge to identity: who a pod's uid is, asked of others and never waited for.
//!
//! ```text
//! kubernetes ─┐
//! kubelet ────┤ Publisher          watch            ┌─ sampling thread: Directory::catalog
//! cri ────────┼──────────▶ merged Catalog ──────────┤
//! file, … ────┘                                     └─ life cycle: Directory::changes
//! ```
//!
//! Each source is a task of the asynchronous side and tells its [`Publisher`] what it hears. What
//! they know is merged, uid by uid, in the configured order: the first source that knows a pod is
//! believed, also in that it is gone: one that it knew and has dropped is not taken from a source
//! after it. Readers take the [`Catalog`] of the moment, which never changes under them.

mod bounded;
pub mod catalog;
pub mod cri;
pub mod docker;
mod dropped;
pub mod kubelet;
pub mod kubernetes;
pub mod node;
pub mod objects;
mod pace;
pub mod pod;
pub mod resource_quantity;
pub mod static_file;
mod unix_socket;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

pub use catalog::Catalog;
use catalog::{CgroupNameRule, EntityName};
use dropped::Dropped;
use node::Node;
use pod::{Pod, Workload};

use crate::identity::{ContainerId, PodUid};
use crate::quantity::BootTime;

/// More pods than this are not taken from any one source: Kubernetes advises 110 a node, and no
/// kubelet is configured for more than some hundreds.
pub const PODS_MAX: usize = 4096;

/// Where identity comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    Kubernetes,
    Kubelet,
    Cri,
    File,
    Docker,
    Podman,
}

impl SourceKind {
    /// The word for it in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Kubelet => "kubelet",
            Self::Cri => "cri",
            Self::File => "file",
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a source does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStatus {
    pub kind: SourceKind,
    /// The last moment at which what it state was known to be so; `None`: it has not answered yet.
    pub current_at: Option<BootTime>,
    /// What is wrong, in one line for a person; `None` while all is well.
    pub last_error: Option<SourceError>,
    /// How many pods and containers it knows.
    pub known: usize,
}

/// What keeps a source from answering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceError {
    /// When it began.
    pub since: BootTime,
    pub text: Arc<str>,
}

/// What one source has state.
#[derive(Debug)]
struct SourceState {
    status: SourceStatus,
    /// What stands as trouble although the source answers.
    partial_error: Option<SourceError>,
    pods: BTreeMap<PodUid, Arc<Pod>>,
    /// None of these is in `pods`.
    dropped: Dropped,
    /// Those of `pods` that were absent from the last answer.
    absent_once: BTreeSet<PodUid>,
    containers: BTreeMap<ContainerId, Arc<EntityName>>,
    cgroups: Arc<[CgroupNameRule]>,
    node: Option<Arc<Node>>,
    server_version: Option<Arc<str>>,
}

impl SourceState {
    /// Those of before that are not among `pods`.
    fn replace_pods(&mut self, pods: impl IntoIterator<Item = Pod>) -> BTreeMap<PodUid, Arc<Pod>> {
        let mut before = std::mem::take(&mut self.pods);
        for pod in pods.into_iter().take(PODS_MAX) {
            let uid = pod.uid;
            self.dropped.remove(uid);
            let same = before.remove(&uid).filter(|same| **same == pod);
            self.pods.insert(uid, same.unwrap_or_else(|| Arc::new(pod)));
        }
        before
    }
}

#[derive(Debug)]
struct DirectoryState {
    state: Mutex<Vec<SourceState>>,
    merged: watch::Sender<Arc<Catalog>>,
}

/// What all sources know together.
#[derive(Debug, Clone)]
pub struct Directory {
    merged: watch::Receiver<Arc<Catalog>>,
}

impl Default for Directory {
    /// One without sources, which knows nobody.
    fn default() -> Self {
        Self::new(&[]).0
    }
}

impl Directory {
    /// A directory with these sources in this order, and what each of them is to tell.
    #[must_use]
    pub fn new(sources: &[SourceKind]) -> (Self, Vec<Publisher>) {
        let state = sources.iter().map(|kind| SourceState {
            status: SourceStatus { kind: *kind, current_at: None, last_error: None, known: 0 },
            partial_error: None,
            pods: BTreeMap::new(),
            dropped: Dropped::default(),
            absent_once: BTreeSet::new(),
            containers: BTreeMap::new(),
            cgroups: Arc::default(),
            node: None,
            server_version: None,
        });
        let state: Vec<SourceState> = state.collect();
        let (merged_tx, merged) = watch::channel(Arc::new(merge(&state)));
        let shared = Arc::new(DirectoryState { state: Mutex::new(state), merged: merged_tx });
        let publisher = |at| Publisher { shared: Arc::clone(&shared), at };
        (Self { merged }, (0..sources.len()).map(publisher).collect())
    }

    /// What is known now. Never waits longer than it takes to copy a pointer.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.merged.borrow())
    }

    /// To be state when something changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<Catalog>> {
        self.merged.clone()
    }
}

/// One source's end of a directory.
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<DirectoryState>,
    at: usize,
}

impl Publisher {
    /// All that the source knows of pods, in place of what it knew before. A pod that is as it was
    /// stays the same object, so that readers see by the pointer what has changed.
    pub fn replace_pods(&self, pods: impl IntoIterator<Item = Pod>, now: BootTime) {
        self.publish(now, |state| {
            for (uid, _) in state.replace_pods(pods) {
                state.dropped.insert(uid);
            }
        });
    }

    /// As [`Publisher::replace_pods`], but a pod stays until it is absent from two answers running:
    /// of a source that may not know all of its pods yet.
    pub fn replace_pods_absent_twice(&self, pods: impl IntoIterator<Item = Pod>, now: BootTime) {
        self.publish(now, |state| {
            let absent_before = std::mem::take(&mut state.absent_once);
            for (uid, pod) in state.replace_pods(pods) {
                if absent_before.contains(&uid) || state.pods.len() >= PODS_MAX {
                    state.dropped.insert(uid);
                } else {
                    state.absent_once.insert(uid);
                    state.pods.insert(uid, pod);
                }
            }
        });
    }

    /// A pod that is new or has changed.
    pub fn put_pod(&self, pod: Pod, now: BootTime) {
        self.publish(now, |state| {
            if state.pods.len() < PODS_MAX || state.pods.contains_key(&pod.uid) {
                state.dropped.remove(pod.uid);
                state.pods.insert(pod.uid, Arc::new(pod));
            }
        });
    }

    /// A pod that is no more. A pod of the same uid that is another object of the API (the mirror of
    /// a static pod, made again) stays.
    pub fn remove_pod(&self, uid: PodUid, api_uid: &str, now: BootTime) {
        self.publish(now, |state| {
            if state.pods.get(&uid).is_some_and(|pod| *pod.api_uid == *api_uid) {
                state.pods.remove(&uid);
                state.dropped.insert(uid);
            }
        });
    }

    /// All containers outside Kubernetes that the source knows, in place of those before.
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

    /// The names that the static file has.
    pub fn replace_cgroups(&self, cgroups: Vec<CgroupNameRule>, now: BootTime) {
        self.publish(now, |state| state.cgroups = cgroups.into());
    }

    /// What pods belong to, found out after they were state. Says nothing of how current they are.
    pub fn set_workloads(&self, pods: &[PodUid], workload: &Workload) {
        self.update(|state| {
            for uid in pods {
                if let Some(pod) = state.pods.get_mut(uid) {
                    Arc::make_mut(pod).workload = Some(workload.clone());
                }
            }
        });
    }

    /// Says nothing of how current the pods are.
    pub fn set_node(&self, node: Node) {
        self.update(|state| state.node = Some(Arc::new(node)));
    }

    /// The API server's `gitVersion`. Says nothing of how current the pods are.
    pub fn set_server_version(&self, version: &str) {
        self.update(|state| state.server_version = Some(version.into()));
    }

    /// What cannot be had although the source answers otherwise; it stands as the trouble whenever
    /// there is no greater one. `None`: nothing any more.
    pub fn set_partial_error(&self, text: Option<&str>, now: BootTime) {
        self.update(|state| {
            let since = state.partial_error.as_ref().map_or(now, |error| error.since);
            let partial_error = text.map(|text| SourceError { since, text: text.into() });
            if state.status.last_error == state.partial_error {
                state.status.last_error.clone_from(&partial_error);
            }
            state.partial_error = partial_error;
        });
    }

    /// What was state holds still.
    pub fn still_current(&self, now: BootTime) {
        self.publish(now, |_| {});
    }

    /// The source does not answer; what it state before stays, and grows old.
    pub fn failed(&self, text: &str, now: BootTime) {
        self.update(|state| {
            let before = state
                .status
                .last_error
                .as_ref()
                .filter(|_| state.status.last_error != state.partial_error);
            let since = before.map_or(now, |error| error.since);
            state.status.last_error = Some(SourceError { since, text: text.into() });
        });
    }

    fn publish(&self, now: BootTime, change: impl FnOnce(&mut SourceState)) {
        self.update(|state| {
            change(state);
            state.status.current_at = Some(now);
            state.status.last_error.clone_from(&state.partial_error);
            state.status.known = state.pods.len() + state.containers.len() + state.cgroups.len();
        });
    }

    fn update(&self, change: impl FnOnce(&mut SourceState)) {
        // A panic elsewhere leaves what was state as it was.
        let mut all = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = all.get_mut(self.at) {
            change(state);
        }
        self.shared.merged.send_replace(Arc::new(merge(&all)));
    }
}

fn merge(all: &[SourceState]) -> Catalog {
    // Last source first, so that what an earlier one says stands in the end.
    let mut pods = BTreeMap::new();
    let mut containers = BTreeMap::new();
    for state in all.iter().rev() {
        if !state.dropped.is_empty() {
            pods.retain(|uid, _| !state.dropped.contains(*uid));
        }
        pods.extend(state.pods.iter().map(|(uid, pod)| (*uid, Arc::clone(pod))));
        containers.extend(state.containers.iter().map(|(id, named)| (*id, Arc::clone(named))));
    }
    Catalog {
        pods: pods.into_values().collect(),
        containers: containers.into_iter().collect(),
        cgroups: all
            .iter()
            .map(|state| &state.cgroups)
            .find(|cgroups| !cgroups.is_empty())
            .cloned()
            .unwrap_or_default(),
        node: all.iter().find_map(|state| state.node.clone()),
        server_version: all.iter().find_map(|state| state.server_version.clone()),
        sources: all.iter().map(|state| state.status.clone()).collect(),
    }
}
