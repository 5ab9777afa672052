//! The posts about pods: changes as they come, and differences from the rows of the server.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::pod_object::ip_of;
use super::{ListedPod, spec_body};
use crate::directory::pod::Pod;
use crate::directory::{Catalog, SourceKind};
use crate::payload::options::PodFilter;
use crate::quantity::WallTime;

/// A change to be posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PodChange {
    /// [`spec_body`] of this pod.
    Upsert(Arc<Pod>),
    /// [`mark_dead_body`](super::mark_dead_body) of these.
    MarkDead { pod_name: Box<str>, pod_ip: Option<Box<str>> },
}

/// The pods that a server knows from this agent.
///
/// A row's key is the pod's name alone. Two pods of one name in two namespaces of this node cannot both
/// have a row; the one that has it keeps it as long as it lives, since a row that alternated
/// with every event would be right for neither, and the other takes it over when that one ends. Of
/// two that are both new the older has it. A name that passes from one pod to the next is never
/// marked dead in between, because both can have the node's IP, by which alone the server
/// distinguishes them.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    /// By name. No more than the catalog has pods.
    reported: BTreeMap<Box<str>, ReportedPod>,
}

#[derive(Debug, Clone)]
struct ReportedPod {
    pod: Arc<Pod>,
    /// The content of what was sent, as a hash.
    content: u64,
    /// The last post may not have arrived.
    is_doubtful: bool,
    /// The number of consecutive lists without it.
    missing: u8,
}

/// The most consecutive lists without a row that is sent again. Beyond them the name belongs to a pod of
/// another node, whose row must not be replaced.
const MISSING_MAX: u8 = 3;

/// The pods of one name that are not over.
#[derive(Default)]
struct Living<'a> {
    all: Vec<&'a Arc<Pod>>,
    /// Those of them that may be sent: not filtered out, with an IP.
    to_report: Vec<&'a Arc<Pod>>,
}

impl Lifecycle {
    /// The changes since the last call. A pod without an IP waits; one that has ended or left is dead.
    /// No pod is marked dead while no source knows the pods of this node.
    pub fn changes(&mut self, catalog: &Catalog, filters: &PodFilter) -> Vec<PodChange> {
        let living = living(catalog, filters);
        let mut acts = Vec::new();
        if knows_pods(catalog) {
            self.reported.retain(|name, reported| {
                // One that lives still is not dead because it may not be sent any more: the filters
                // have changed, or it has no IP for now.
                let stays = living.get(&**name).is_some_and(|living| {
                    let is_reported = |pod: &&Arc<Pod>| pod.uid == reported.pod.uid;
                    !living.to_report.is_empty() || living.all.iter().any(is_reported)
                });
                if !stays {
                    acts.push(mark_dead(name, ip_of(&reported.pod)));
                }
                stays
            });
        }
        for (name, pods) in &living {
            let Some(pod) = self.holder(name, &pods.to_report) else { continue };
            if let Some(reported) = self.reported.get_mut(*name) {
                let is_doubtful = std::mem::take(&mut reported.is_doubtful);
                if Arc::ptr_eq(&reported.pod, pod) && !is_doubtful {
                    continue;
                }
                let content = content_of(pod);
                reported.pod = Arc::clone(pod);
                if std::mem::replace(&mut reported.content, content) == content && !is_doubtful {
                    continue;
                }
                reported.missing = 0;
            } else {
                self.report(name, pod);
            }
            acts.push(PodChange::Upsert(Arc::clone(pod)));
        }
        acts
    }

    /// The differences from the rows that the server lists as alive on this node. A row without a
    /// living pod is marked dead; a pod without its row is sent again. To be called after the result
    /// of [`changes`](Self::changes) is posted.
    pub fn reconcile(
        &mut self,
        listed: &[ListedPod],
        catalog: &Catalog,
        filters: &PodFilter,
    ) -> Vec<PodChange> {
        if !knows_pods(catalog) {
            return Vec::new();
        }
        let living = living(catalog, filters);
        let mut acts = Vec::new();
        for row in listed {
            let of_name = living.get(&*row.pod_name);
            let is_of = |pod: &&Arc<Pod>| {
                row.pod_namespace.as_deref().is_none_or(|found| *found == *pod.namespace)
            };
            let lives = of_name
                .is_some_and(|pods| !pods.to_report.is_empty() || pods.all.iter().any(is_of));
            if !lives {
                self.reported.remove(&row.pod_name);
                acts.push(mark_dead(&row.pod_name, row.pod_ip.as_deref()));
            }
        }
        for (name, pods) in &living {
            let Some(pod) = self.holder(name, &pods.to_report) else { continue };
            let is_row = |row: &ListedPod| {
                *row.pod_name == **name
                    && row.pod_ip.as_deref() == ip_of(pod)
                    // A server that has no namespaces, or rows of before it had them.
                    && row.pod_namespace.as_deref().is_none_or(|found| *found == *pod.namespace)
            };
            let missing = match self.reported.get(*name) {
                _ if listed.iter().any(is_row) => 0,
                None => 1,
                Some(reported) => reported.missing.saturating_add(1),
            };
            if (1..=MISSING_MAX).contains(&missing) {
                self.report(name, pod);
                acts.push(PodChange::Upsert(Arc::clone(pod)));
            }
            if let Some(reported) = self.reported.get_mut(*name) {
                reported.missing = missing;
            }
        }
        acts
    }

    /// A post was lost, and which one is not known: the next [`changes`](Self::changes) sends all
    /// living pods again.
    pub fn doubt(&mut self) {
        for reported in self.reported.values_mut() {
            reported.is_doubtful = true;
        }
    }

    fn report(&mut self, name: &str, pod: &Arc<Pod>) {
        let pod = Arc::clone(pod);
        let content = content_of(&pod);
        let reported = ReportedPod { pod, content, is_doubtful: false, missing: 0 };
        self.reported.insert(name.into(), reported);
    }

    /// The pod that has this name's row.
    fn holder<'a>(&self, name: &str, pods: &[&'a Arc<Pod>]) -> Option<&'a Arc<Pod>> {
        let reported = self.reported.get(name);
        let is_reported = |pod: &Pod| reported.is_some_and(|reported| reported.pod.uid == pod.uid);
        // A pod made again under the same name is of the same namespace, and the newer of two
        // is the one that goes on; of two namespaces the one that was there first keeps it.
        let kept = reported.map(|reported| &reported.pod.namespace);
        let namespace = pods
            .iter()
            .map(|pod| &pod.namespace)
            .find(|namespace| Some(*namespace) == kept)
            .or_else(|| {
                let first = pods
                    .iter()
                    .min_by_key(|pod| (pod.creation_timestamp.as_deref(), &pod.namespace));
                first.map(|pod| &pod.namespace)
            })?;
        let candidates = pods.iter().filter(|pod| pod.namespace == *namespace);
        let newest = candidates.max_by_key(|pod| {
            let goes_on = pod.deletion_timestamp.is_none();
            (goes_on, pod.creation_timestamp.as_deref(), is_reported(pod), pod.uid)
        });
        newest.copied()
    }
}

/// The stamp is no content.
fn content_of(pod: &Pod) -> u64 {
    let mut hasher = DefaultHasher::new();
    spec_body(pod, &pod.node_name, WallTime::default()).hash(&mut hasher);
    hasher.finish()
}

fn mark_dead(name: &str, ip: Option<&str>) -> PodChange {
    let pod_ip = ip.filter(|ip| !ip.is_empty()).map(Into::into);
    PodChange::MarkDead { pod_name: name.into(), pod_ip }
}

/// True once a source that knows all pods of a node has published them. Before that, an empty catalog
/// does not mean that there is no pod: every row would be ended.
#[must_use]
pub fn knows_pods(catalog: &Catalog) -> bool {
    let of_pods = [SourceKind::Kubernetes, SourceKind::Kubelet, SourceKind::Cri];
    let mut sources = catalog.sources.iter();
    sources.any(|source| of_pods.contains(&source.kind) && source.current_at.is_some())
}

fn living<'a>(catalog: &'a Catalog, filters: &PodFilter) -> BTreeMap<&'a str, Living<'a>> {
    let mut living: BTreeMap<&str, Living<'_>> = BTreeMap::new();
    let pods = catalog.pods().iter().filter(|pod| !pod.phase.is_final());
    // The server passes over blank names; it is asked nothing of them.
    for pod in pods.filter(|pod| !pod.name.trim().is_empty()) {
        let of_name = living.entry(&pod.name).or_default();
        of_name.all.push(pod);
        if ip_of(pod).is_some() && filters.matches(&pod.namespace, &pod.labels) {
            of_name.to_report.push(pod);
        }
    }
    living
}
