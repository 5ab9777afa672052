//! The number of rows and bytes, so that no post has to count them.

use std::time::Duration;

use crate::quantity::WallTime;
use crate::receiver::bounds::Full;

/// The kind of a node in `latest` and `document`.
pub(super) const NODE: i64 = 0;
/// The kind of a pod.
pub(super) const POD: i64 = 1;
/// The kind of a host unit in `latest`, and of a node's record in `document`.
pub(super) const UNIT: i64 = 2;

/// The totals of the database, restored where a post is rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Totals {
    pub(super) nodes: u64,
    pub(super) pods: u64,
    pub(super) units: u64,
    pub(super) keys: u64,
    pub(super) node_documents: Amount,
    pub(super) pod_documents: Amount,
    pub(super) records: Amount,
    pub(super) specs: Amount,
    pub(super) nodes_silent: Silent,
    pub(super) pods_silent: Silent,
    pub(super) units_silent: Silent,
}

/// A number of texts, and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Amount {
    pub(super) count: u64,
    pub(super) bytes: u64,
}

/// When there was no silent node or pod, and until when there can be none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Silent {
    none_at: WallTime,
    none_until: WallTime,
}

impl Totals {
    /// The rows of a kind in `latest`.
    pub(super) fn rows_of(&mut self, kind: i64) -> &mut u64 {
        match kind {
            NODE => &mut self.nodes,
            UNIT => &mut self.units,
            _ => &mut self.pods,
        }
    }

    pub(super) fn documents_of(&mut self, kind: i64) -> &mut Amount {
        match kind {
            NODE => &mut self.node_documents,
            UNIT => &mut self.records,
            _ => &mut self.pod_documents,
        }
    }

    fn silent_of(&mut self, kind: i64) -> &mut Silent {
        match kind {
            NODE => &mut self.nodes_silent,
            UNIT => &mut self.units_silent,
            _ => &mut self.pods_silent,
        }
    }

    /// Takes over what another copy knows of silent nodes and pods.
    pub(super) fn keep_hints(&mut self, other: &Self) {
        self.nodes_silent = other.nodes_silent;
        self.pods_silent = other.pods_silent;
        self.units_silent = other.units_silent;
    }

    /// A search for silent nodes or pods may find one.
    pub(super) fn may_have_silent(&mut self, kind: i64, now: WallTime) -> bool {
        let silent = self.silent_of(kind);
        !(silent.none_at..=silent.none_until).contains(&now)
    }

    /// Notes that all of them push. The oldest push was at `oldest`.
    pub(super) fn none_silent(
        &mut self,
        kind: i64,
        now: WallTime,
        oldest: WallTime,
        stale_after: Duration,
    ) {
        let stale_after = u64::try_from(stale_after.as_millis()).unwrap_or(u64::MAX);
        let none_until = oldest.as_unix_millis().saturating_add(stale_after);
        *self.silent_of(kind) =
            Silent { none_at: now, none_until: WallTime::from_unix_millis(none_until) };
    }
}

impl Amount {
    pub(super) fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    pub(super) fn remove(&mut self, bytes: u64) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub(super) fn has_room(&self, bytes: u64, count_max: usize, bytes_max: usize) -> bool {
        self.count < count_max as u64 && self.bytes.saturating_add(bytes) <= bytes_max as u64
    }

    /// The bound that is reached.
    pub(super) fn full(
        &self,
        what: &'static str,
        bytes: &'static str,
        count_max: usize,
        bytes_max: usize,
    ) -> Full {
        if self.count >= count_max as u64 {
            Full { what, max: count_max }
        } else {
            Full { what: bytes, max: bytes_max }
        }
    }
}
