//! Rows of the life-cycle API as every store keeps them.

use super::port::SpecRow;
use crate::payload::pod_lifecycle::{PodSpecPost, RowHead};

impl SpecRow {
    /// The row of its columns; `None`: its JSON is damaged.
    pub(super) fn of_columns(head: &str, is_dead: bool, pod_obj: Option<String>) -> Option<Self> {
        let head: RowHead = serde_json::from_str(head).ok()?;
        Some(Self { head: RowHead { is_dead, ..head }, pod_obj })
    }

    /// True if a post would end this row, which is that of another node's pod. `only_on`: the only node
    /// whose live rows it may end.
    pub(super) fn is_ended_from_elsewhere(&self, post: &RowHead, only_on: Option<&str>) -> bool {
        !self.is_within(only_on) && post.is_dead && !self.head.is_dead
    }

    /// The row after a post. Fields that the post leaves out keep the values of `old`.
    ///
    /// A pod of that name may have moved here from another node. With `only_on` its row there gives
    /// nothing to the new row.
    pub(super) fn after(old: Option<Self>, post: PodSpecPost, only_on: Option<&str>) -> Self {
        let PodSpecPost { row: mut head, mut pod_obj } = post;
        if let Some(old) = old.filter(|old| old.is_within(only_on)) {
            head.pod_namespace = head.pod_namespace.or(old.head.pod_namespace);
            head.pod_identity = head.pod_identity.or(old.head.pod_identity);
            head.workload_selector_labels =
                head.workload_selector_labels.or(old.head.workload_selector_labels);
            pod_obj = pod_obj.or(old.pod_obj);
        }
        Self { head, pod_obj }
    }

    pub(super) fn is_within(&self, only_on: Option<&str>) -> bool {
        only_on.is_none_or(|node| self.head.node_name == node)
    }

    /// The bytes that count against the bound.
    pub(super) fn text_bytes(&self) -> u64 {
        (self.head.text_bytes() + self.pod_obj.as_ref().map_or(0, String::len)) as u64
    }
}
