//! The rows of the life-cycle API: one a pod name, bounded in number and bytes.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Bounds;
use super::pieces::Pieces;
use super::series::before;
use super::store::Full;
use crate::payload::pod_lifecycle::{MarkDead, PodSpecPost, RowHead};
use crate::quantity::WallTime;

#[derive(Debug, Default)]
pub(super) struct Rows {
    by_name: BTreeMap<String, Row>,
    bytes: usize,
}

/// A pod's row.
#[derive(Debug)]
pub(super) struct Row {
    head: RowHead,
    /// As JSON.
    pod_obj: Option<Bytes>,
    changed_at: WallTime,
}

impl Row {
    /// The row as JSON.
    pub(super) fn pieces(&self) -> Pieces {
        pieces(&self.head, self.pod_obj.clone())
    }

    fn weight(&self) -> usize {
        let pod_obj = self.pod_obj.as_ref().map_or(0, Bytes::len);
        // Its name is there twice.
        self.head.text_bytes() + self.head.pod_name.len() + pod_obj + size_of::<(String, Self)>()
    }
}

/// A row as JSON that is not kept.
pub(super) fn pieces(head: &RowHead, pod_obj: Option<Bytes>) -> Pieces {
    let mut pieces = Pieces::from(Bytes::from(head.json_up_to_pod_obj()));
    pieces.push(pod_obj.unwrap_or(Bytes::from_static(b"null")));
    pieces.push("}");
    pieces
}

impl Rows {
    /// Keeps the row in place of the one of that name; what the post leaves open stays as it was.
    ///
    /// Where there is no place, dead rows go, the one that changed longest ago first, and then
    /// live ones that have not changed within the retention: their pods are sent again when they
    /// change, and a node that reconciles finds them missing.
    pub(super) fn upsert(
        &mut self,
        now: WallTime,
        post: PodSpecPost,
        bounds: &Bounds,
    ) -> Result<Pieces, Full> {
        let PodSpecPost { row: mut head, pod_obj } = post;
        let mut pod_obj = pod_obj.map(Bytes::from);
        let before_it = self.remove(&head.pod_name.clone());
        if let Some(old) = &before_it {
            head.pod_namespace = head.pod_namespace.or_else(|| old.head.pod_namespace.clone());
            head.pod_identity = head.pod_identity.or_else(|| old.head.pod_identity.clone());
            head.workload_selector_labels =
                head.workload_selector_labels.or_else(|| old.head.workload_selector_labels.clone());
            pod_obj = pod_obj.or_else(|| old.pod_obj.clone());
        }
        let row = Row { head, pod_obj, changed_at: now };
        if let Err(full) = self.make_room(now, row.weight(), bounds) {
            if let Some(old) = before_it {
                self.insert(old);
            }
            return Err(full);
        }
        let answer = row.pieces();
        self.insert(row);
        Ok(answer)
    }

    fn make_room(&mut self, now: WallTime, new: usize, bounds: &Bounds) -> Result<(), Full> {
        let since = before(now, bounds.retention);
        while self.by_name.len() >= bounds.pods_max || self.bytes + new > bounds.documents_bytes_max
        {
            let first = self
                .by_name
                .iter()
                .filter(|(_, row)| row.head.is_dead || row.changed_at < since)
                .min_by_key(|(_, row)| (!row.head.is_dead, row.changed_at))
                .map(|(name, _)| name.clone());
            let Some(first) = first else {
                return Err(match self.by_name.len() >= bounds.pods_max {
                    true => Full { what: "rows", max: bounds.pods_max },
                    false => Full { what: "bytes of rows", max: bounds.documents_bytes_max },
                });
            };
            self.remove(&first);
        }
        Ok(())
    }

    fn insert(&mut self, row: Row) {
        self.bytes += row.weight();
        self.by_name.insert(row.head.pod_name.clone(), row);
    }

    fn remove(&mut self, name: &str) -> Option<Row> {
        let row = self.by_name.remove(name)?;
        self.bytes -= row.weight();
        Some(row)
    }

    /// How many rows the post fits; one that was dead already counts.
    pub(super) fn mark_dead(&mut self, now: WallTime, post: &MarkDead) -> usize {
        let Some(row) = self.by_name.get_mut(&post.pod_name) else { return 0 };
        if post.pod_ip.as_ref().is_some_and(|ip| *ip != row.head.pod_ip) {
            return 0;
        }
        if !row.head.is_dead {
            row.head.is_dead = true;
            row.changed_at = now;
        }
        1
    }

    /// How many rows the post fits, dead or not.
    pub(super) fn count_of(&self, post: &MarkDead) -> usize {
        let ip = post.pod_ip.as_ref();
        let fits = |row: &&Row| ip.is_none_or(|ip| *ip == row.head.pod_ip);
        usize::from(self.named(&post.pod_name).filter(fits).is_some())
    }

    pub(super) fn named(&self, name: &str) -> Option<&Row> {
        self.by_name.get(name)
    }

    /// The row with this address; a live one before dead ones, and of those the latest.
    pub(super) fn with_ip(&self, ip: &str) -> Option<&Row> {
        let rows = self.by_name.values().filter(|row| row.head.pod_ip == ip);
        rows.max_by_key(|row| (!row.head.is_dead, row.changed_at))
    }

    /// All rows, by namespace and name; those without a namespace last.
    pub(super) fn all(&self) -> Vec<&Row> {
        ordered(self.by_name.values())
    }

    /// The live rows of a node, likewise.
    pub(super) fn live_on(&self, node: &str) -> Vec<&Row> {
        let live = |row: &&Row| !row.head.is_dead && row.head.node_name == node;
        ordered(self.by_name.values().filter(live))
    }
}

fn ordered<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<&'a Row> {
    let mut rows: Vec<&Row> = rows.collect();
    // By name they are already.
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

    fn small() -> Bounds {
        let mut bounds = Bounds::for_interval(Duration::from_secs(15));
        bounds.pods_max = 2;
        bounds.documents_bytes_max = 4000;
        bounds
    }

    fn names(rows: &Rows) -> Vec<&str> {
        rows.all().iter().map(|row| row.head.pod_name.as_str()).collect()
    }

    #[test]
    fn dead_rows_go_first_then_those_that_have_long_not_changed() {
        let (mut rows, bounds) = (Rows::default(), small());
        rows.upsert(at(0), post("a", false, 0), &bounds).unwrap();
        rows.upsert(at(10), post("b", true, 0), &bounds).unwrap();
        rows.upsert(at(20), post("c", false, 0), &bounds).unwrap();
        assert_eq!(names(&rows), ["a", "c"]);
        let full = rows.upsert(at(30), post("d", false, 0), &bounds).unwrap_err();
        assert!(full.to_string().contains("at most 2 rows"), "{full}");
        rows.upsert(at(3601), post("d", false, 0), &bounds).unwrap();
        assert_eq!(names(&rows), ["c", "d"]);
        assert_eq!(rows.bytes, rows.by_name.values().map(Row::weight).sum::<usize>());
    }

    #[test]
    fn a_row_that_has_no_place_leaves_the_one_before_it() {
        let (mut rows, bounds) = (Rows::default(), small());
        rows.upsert(at(0), post("a", false, 1000), &bounds).unwrap();
        assert!(rows.upsert(at(0), post("a", false, 4000), &bounds).is_err());
        assert_eq!(names(&rows), ["a"]);
        assert_eq!(rows.bytes, rows.by_name.values().map(Row::weight).sum::<usize>());
    }
}
