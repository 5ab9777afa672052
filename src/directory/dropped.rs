//! The pods that a source knew and has dropped.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::pod::Pod;
use super::source_status::PODS_MAX;
use crate::identity::PodUid;

/// The most uids that are remembered, as many as a source may have. So a slower source has dropped
/// a pod too before it is forgotten here.
const DROPPED_MAX: usize = PODS_MAX;

/// The most dropped pods that are kept whole, for the names of what still runs. A pod takes a few
/// kilobytes.
const NAMED_MAX: usize = 512;

/// The uids of dropped pods, and the last of the pods themselves; the oldest is forgotten first.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    uids: BTreeSet<PodUid>,
    /// The uids in the order in which they were dropped.
    order: VecDeque<PodUid>,
    /// In the order in which they were dropped.
    pods: VecDeque<Arc<Pod>>,
}

impl Dropped {
    pub(super) fn insert(&mut self, pod: Arc<Pod>) {
        let uid = pod.uid;
        if !self.uids.insert(uid) {
            return;
        }
        self.pods.push_back(pod);
        if self.pods.len() > NAMED_MAX {
            self.pods.pop_front();
        }
        self.order.push_back(uid);
        if self.order.len() > DROPPED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.uids.remove(&oldest);
        }
    }

    /// Forgets a pod that the source knows again.
    pub(super) fn remove(&mut self, uid: PodUid) {
        if self.uids.remove(&uid) {
            self.order.retain(|other| *other != uid);
            self.pods.retain(|pod| pod.uid != uid);
        }
    }

    pub(super) fn pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods.iter()
    }

    pub(super) fn contains(&self, uid: PodUid) -> bool {
        self.uids.contains(&uid)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.uids.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::objects::{ObjectLimits, pods_of_list};

    fn uid(number: usize) -> PodUid {
        PodUid::parse(format!("10000000-0000-4000-8000-{number:012x}").as_bytes()).unwrap()
    }

    fn pod(number: usize) -> Arc<Pod> {
        let body = format!(
            r#"{{"kind":"PodList","items":[{{"metadata":{{"name":"p","namespace":"n","uid":"{}"}}}}]}}"#,
            uid(number)
        );
        let limits = ObjectLimits { annotation_bytes_max: 0 };
        Arc::new(pods_of_list(body.as_bytes(), &limits).unwrap().pods.remove(0))
    }

    #[test]
    fn the_last_pods_are_kept_whole_until_they_are_known_again() {
        let mut dropped = Dropped::default();
        for number in 0..=NAMED_MAX {
            dropped.insert(pod(number));
        }
        let kept: Vec<PodUid> = dropped.pods().map(|pod| pod.uid).collect();
        assert_eq!((kept.len(), kept[0]), (NAMED_MAX, uid(1)));
        dropped.remove(uid(1));
        assert!(dropped.pods().all(|pod| pod.uid != uid(1)) && dropped.contains(uid(0)));
    }

    #[test]
    fn no_more_are_remembered_than_a_source_may_know_and_the_oldest_go_first() {
        let mut dropped = Dropped::default();
        for number in 0..DROPPED_MAX {
            dropped.insert(pod(number));
        }
        // Dropped again after all the others.
        dropped.remove(uid(0));
        assert!(!dropped.contains(uid(0)));
        dropped.insert(pod(0));
        assert!(dropped.contains(uid(1)));
        dropped.insert(pod(DROPPED_MAX));
        assert!(!dropped.contains(uid(1)), "the oldest");
        assert!(dropped.contains(uid(0)) && dropped.contains(uid(2)));
        assert_eq!((dropped.uids.len(), dropped.order.len()), (DROPPED_MAX, DROPPED_MAX));
    }
}
