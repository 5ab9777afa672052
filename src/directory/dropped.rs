//! The pods that a source knew and has dropped.

use std::collections::{BTreeSet, VecDeque};

use super::source_status::PODS_MAX;
use crate::identity::PodUid;

/// The most uids that are remembered, as many as a source may have. So a slower source has dropped
/// a pod too before it is forgotten here.
const DROPPED_MAX: usize = PODS_MAX;

/// The uids of dropped pods; the oldest is forgotten first.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    uids: BTreeSet<PodUid>,
    /// The uids in the order in which they were dropped.
    order: VecDeque<PodUid>,
}

impl Dropped {
    pub(super) fn insert(&mut self, uid: PodUid) {
        if !self.uids.insert(uid) {
            return;
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
        }
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

    fn uid(number: usize) -> PodUid {
        PodUid::parse(format!("10000000-0000-4000-8000-{number:012x}").as_bytes()).unwrap()
    }

    #[test]
    fn no_more_are_remembered_than_a_source_may_know_and_the_oldest_go_first() {
        let mut dropped = Dropped::default();
        for number in 0..DROPPED_MAX {
            dropped.insert(uid(number));
        }
        // Dropped again after all the others.
        dropped.remove(uid(0));
        assert!(!dropped.contains(uid(0)));
        dropped.insert(uid(0));
        assert!(dropped.contains(uid(1)));
        dropped.insert(uid(DROPPED_MAX));
        assert!(!dropped.contains(uid(1)), "the oldest");
        assert!(dropped.contains(uid(0)) && dropped.contains(uid(2)));
        assert_eq!((dropped.uids.len(), dropped.order.len()), (DROPPED_MAX, DROPPED_MAX));
    }
}
