//! The rows of the life-cycle API, one for each pod name, bounded in number and bytes.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::bounds::{Full, ReceiverBounds};
use super::pieces::Pieces;
use crate::payload::pod_lifecycle::{MarkDead, PodSpecPost, RowHead};
use crate::quantity::WallTime;

/// All rows, by pod name.
#[derive(Debug, Default)]
pub(super) struct LifecycleRows {
    by_name: BTreeMap<String, LifecycleRow>,
    bytes: usize,
}

/// A pod's row.
#[derive(Debug)]
pub(super) struct LifecycleRow {
    head: RowHead,
    /// The pod's object as JSON; `None` where no post had one.
    pod_obj: Option<Bytes>,
    changed_at: WallTime,
}

impl LifecycleRow {
    /// The row as JSON.
    pub(super) fn pieces(&self) -> Pieces {
        pieces(&self.head, self.pod_obj.clone())
    }

    fn weight(&self) -> usize {
        let pod_obj = self.pod_obj.as_ref().map_or(0, Bytes::len);
        // The name is stored twice.
        self.head.text_bytes() + self.head.pod_name.len() + pod_obj + size_of::<(String, Self)>()
    }
}

/// The JSON of a row, whether it is kept or not.
pub(super) fn pieces(head: &RowHead, pod_obj: Option<Bytes>) -> Pieces {
    let mut pieces = Pieces::from(Bytes::from(head.json_up_to_pod_obj()));
    pieces.push(pod_obj.unwrap_or(Bytes::from_static(b"null")));
    pieces.push("}");
    pieces
}

impl LifecycleRows {
    /// Replaces the row of that name and returns the new one as JSON. Fields that the post leaves out
    /// keep their values.
    ///
    /// Where there is no room, dead rows are evicted, the one that changed longest ago first. Then
    /// live rows follow that have not changed within the retention: their pods are sent again when
    /// they change, and a node that reconciles finds them missing.
    ///
    /// # Errors
    /// There is no room, and no row can be evicted. The earlier row stays.
    pub(super) fn upsert(
        &mut self,
        now: WallTime,
        post: PodSpecPost,
        bounds: &ReceiverBounds,
    ) -> Result<Pieces, Full> {
        let PodSpecPost { row: mut head, pod_obj } = post;
        let mut pod_obj = pod_obj.map(Bytes::from);
        let previous = self.remove(&head.pod_name.clone());
        if let Some(old) = &previous {
            head.pod_namespace = head.pod_namespace.or_else(|| old.head.pod_namespace.clone());
            head.pod_identity = head.pod_identity.or_else(|| old.head.pod_identity.clone());
            head.workload_selector_labels =
                head.workload_selector_labels.or_else(|| old.head.workload_selector_labels.clone());
            pod_obj = pod_obj.or_else(|| old.pod_obj.clone());
        }
        let row = LifecycleRow { head, pod_obj, changed_at: now };
        if let Err(full) = self.make_room(now, row.weight(), bounds) {
            if let Some(old) = previous {
                self.insert(old);
            }
            return Err(full);
        }
        let answer = row.pieces();
        self.insert(row);
        Ok(answer)
    }

    fn make_room(
        &mut self,
        now: WallTime,
        new: usize,
        bounds: &ReceiverBounds,
    ) -> Result<(), Full> {
        let since = now.minus(bounds.retention);
        while self.by_name.len() >= bounds.pods_max || self.bytes + new > bounds.documents_bytes_max
        {
            let first = self
                .by_name
                .iter()
                .filter(|(_, row)| row.head.is_dead || row.changed_at < since)
                .min_by_key(|(_, row)| (!row.head.is_dead, row.changed_at))
                .map(|(name, _)| name.clone());
            let Some(first) = first else {
                return Err(if self.by_name.len() >= bounds.pods_max {
                    Full { what: "rows", max: bounds.pods_max }
                } else {
                    Full { what: "bytes of rows", max: bounds.documents_bytes_max }
                });
            };
            self.remove(&first);
        }
        Ok(())
    }

    fn insert(&mut self, row: LifecycleRow) {
        self.bytes += row.weight();
        self.by_name.insert(row.head.pod_name.clone(), row);
    }

    fn remove(&mut self, name: &str) -> Option<LifecycleRow> {
        let row = self.by_name.remove(name)?;
        self.bytes -= row.weight();
        Some(row)
    }

    /// Marks the row that the post names as dead. Returns the number of such rows, 0 or 1, whether
    /// they were dead before or not.
    pub(super) fn mark_dead(&mut self, now: WallTime, post: &MarkDead) -> usize {
        let count = self.count_of(post);
        let row = self.by_name.get_mut(&post.pod_name).filter(|row| count > 0 && !row.head.is_dead);
        if let Some(row) = row {
            row.head.is_dead = true;
            row.changed_at = now;
        }
        count
    }

    /// The number of rows that the post names, dead or not: 0 or 1.
    pub(super) fn count_of(&self, post: &MarkDead) -> usize {
        let ip = post.pod_ip.as_ref();
        let fits = |row: &&LifecycleRow| ip.is_none_or(|ip| *ip == row.head.pod_ip);
        usize::from(self.named(&post.pod_name).filter(fits).is_some())
    }

    pub(super) fn named(&self, name: &str) -> Option<&LifecycleRow> {
        self.by_name.get(name)
    }

    /// The row with this address. Live rows come before dead ones, later before earlier.
    pub(super) fn with_ip(&self, ip: &str) -> Option<&LifecycleRow> {
        let rows = self.by_name.values().filter(|row| row.head.pod_ip == ip);
        rows.max_by_key(|row| (!row.head.is_dead, row.changed_at))
    }

    /// All rows, by namespace and name. Rows without a namespace come last.
    pub(super) fn all(&self) -> Vec<&LifecycleRow> {
        ordered(self.by_name.values())
    }

    /// The live rows of a node, in the same order as [`Self::all`].
    pub(super) fn live_on(&self, node: &str) -> Vec<&LifecycleRow> {
        let live = |row: &&LifecycleRow| !row.head.is_dead && row.head.node_name == node;
        ordered(self.by_name.values().filter(live))
    }
}

fn ordered<'a>(rows: impl Iterator<Item = &'a LifecycleRow>) -> Vec<&'a LifecycleRow> {
    let mut rows: Vec<&LifecycleRow> = rows.collect();
    // The sort is stable, and the rows are ordered by name already.
    rows.sort_by_key(|row| (row.head.pod_namespace.is_none(), row.head.pod_namespace.as_deref()));
    rows
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> WallTime {
        WallTime::from_unix_millis(seconds * 1000)
    }

    fn post(name: &str, dead: bool, obj_bytes: usize) -> PodSpecPost {
        PodSpecPost {
            row: RowHead {
                pod_name: name.to_owned(),
                pod_ip: "10.0.0.1".to_owned(),
                pod_namespace: None,
                time_stamp: "2026-05-12T10:32:14".to_owned(),
                node_name: "n".to_owned(),
                is_dead: dead,
                pod_identity: None,
                workload_selector_labels: None,
            },
            pod_obj: (obj_bytes > 0).then(|| "1".repeat(obj_bytes)),
        }
    }

    fn small() -> ReceiverBounds {
        let mut bounds = ReceiverBounds::for_interval(Duration::from_secs(15));
        bounds.pods_max = 2;
        bounds.documents_bytes_max = 4000;
        bounds
    }

    fn names(rows: &LifecycleRows) -> Vec<&str> {
        rows.all().iter().map(|row| row.head.pod_name.as_str()).collect()
    }

    #[test]
    fn dead_rows_are_evicted_first_then_long_unchanged_ones() {
        let (mut rows, bounds) = (LifecycleRows::default(), small());
        rows.upsert(at(0), post("a", false, 0), &bounds).unwrap();
        rows.upsert(at(10), post("b", true, 0), &bounds).unwrap();
        rows.upsert(at(20), post("c", false, 0), &bounds).unwrap();
        assert_eq!(names(&rows), ["a", "c"]);
        let full = rows.upsert(at(30), post("d", false, 0), &bounds).unwrap_err();
        assert!(full.to_string().contains("at most 2 rows"), "{full}");
        rows.upsert(at(3601), post("d", false, 0), &bounds).unwrap();
        assert_eq!(names(&rows), ["c", "d"]);
        assert_eq!(rows.bytes, rows.by_name.values().map(LifecycleRow::weight).sum::<usize>());
    }

    #[test]
    fn a_row_that_has_no_room_leaves_the_earlier_one() {
        let (mut rows, bounds) = (LifecycleRows::default(), small());
        rows.upsert(at(0), post("a", false, 1000), &bounds).unwrap();
        assert!(rows.upsert(at(0), post("a", false, 4000), &bounds).is_err());
        assert_eq!(names(&rows), ["a"]);
        assert_eq!(rows.bytes, rows.by_name.values().map(LifecycleRow::weight).sum::<usize>());
    }
}
