//! Stores posts in memory, in the rows that were read for them. Room is made before (`room`), and the
//! rows are written behind (`flush`).

use super::rows::{millis, to_column};
use super::schema::StorePart;
use super::work::{
    AcceptedPost, LatestRow, Work, WorkDocument, WorkSender, WorkSpec, column_of, document_kind,
};
use crate::payload::pod_lifecycle::{MarkDead, PodSpecPost};
use crate::payload::resource_api::UsageValues;
use crate::quantity::WallTime;
use crate::receiver::bounds::ReceiverBounds;
use crate::receiver::store::aging::LEVELS;
use crate::receiver::store::point::Point;
use crate::receiver::store::port::{
    Change, Document, DocumentKind, PostId, SpecRow, StoreError, StorePost, Stored, StoredOutcome,
    UsagePushes,
};
use crate::receiver::store::push::{Push, json};
use crate::receiver::store::totals::NODE;

impl Work {
    /// The answer to a post that changes nothing; `None`: it is to be stored.
    pub(super) fn answer_at_once(
        &self,
        post: &StorePost,
        bounds: &ReceiverBounds,
    ) -> Option<Result<Stored, StoreError>> {
        if let Some(id) = &post.id
            && let Some(accepted) = self.rows.accepted.get(&id.key)
            && accepted.at >= millis(post.at.minus(bounds.post_keys_age_max))
        {
            if accepted.body != id.body {
                return Some(Err(StoreError::OtherBody));
            }
            return Some(Ok(Stored { is_replay: true, outcome: self.replay(&post.change) }));
        }
        if let Change::Spec { post, only_on } = &post.change {
            let old = self.rows.specs.get(&post.row.pod_name).and_then(|spec| spec.row.as_ref());
            let only_on = only_on.as_deref();
            if old.is_some_and(|old| old.is_ended_from_elsewhere(&post.row, only_on)) {
                return Some(Err(StoreError::OtherNode));
            }
        }
        None
    }

    fn replay(&self, change: &Change) -> StoredOutcome {
        match change {
            Change::Usage(_) => StoredOutcome::Usage,
            Change::Spec { post, only_on } => {
                let known = self.rows.specs.get(&post.row.pod_name);
                let row = known.and_then(|spec| spec.row.clone());
                let row = row.filter(|row| row.is_within(only_on.as_deref()));
                let PodSpecPost { row: head, pod_obj } = post;
                StoredOutcome::Spec(
                    row.unwrap_or(SpecRow { head: head.clone(), pod_obj: pod_obj.clone() }),
                )
            }
            Change::MarkDead { post, only_on } => {
                StoredOutcome::MarkedDead(self.named_by(post, only_on.as_deref()))
            }
        }
    }

    fn named_by(&self, post: &MarkDead, only_on: Option<&str>) -> usize {
        let named = self.rows.specs.get(&post.pod_name);
        let named = named.filter(|spec| post.pod_ip.as_ref().is_none_or(|ip| *ip == spec.ip));
        usize::from(named.is_some_and(|spec| only_on.is_none_or(|node| *node == spec.node)))
    }

    /// Stores a post for which there is room.
    pub(super) fn store(&mut self, post: StorePost, bounds: &ReceiverBounds) -> Stored {
        let StorePost { at, sender, id, change } = post;
        let sender = self.sender(sender);
        let outcome = match change {
            Change::Usage(pushes) => {
                self.usage(at, sender, pushes, bounds);
                StoredOutcome::Usage
            }
            Change::Spec { post, only_on } => {
                StoredOutcome::Spec(self.spec(at, post, only_on.as_deref()))
            }
            Change::MarkDead { post, only_on } => {
                StoredOutcome::MarkedDead(self.mark_dead(at, &post, only_on.as_deref()))
            }
        };
        if let Some(id) = id.filter(|_| bounds.post_keys_max > 0) {
            self.remember(at, sender, id);
        }
        Stored { is_replay: false, outcome }
    }

    fn sender(&mut self, name: String) -> i64 {
        if let Some(sender) = self.rows.senders.get(&name) {
            return sender.id;
        }
        let id = self.new_id();
        self.rows.senders.insert(name, WorkSender { id, is_new: true });
        id
    }

    fn remember(&mut self, at: WallTime, sender: i64, id: PostId) {
        // One that was forgotten by age may still be there.
        if let Some(old) = self.rows.accepted.get(&id.key) {
            let sender = old.sender;
            self.count(sender, 3, -1);
        }
        let number = self.new_id();
        let (body, at) = (id.body.to_vec(), millis(at));
        self.rows.accepted.insert(id.key, AcceptedPost { body, sender, at, number, is_new: true });
        self.count(sender, 3, 1);
    }

    fn usage(
        &mut self,
        at: WallTime,
        sender: i64,
        mut pushes: UsagePushes,
        bounds: &ReceiverBounds,
    ) {
        let sampled_at = pushes.sampled_at;
        pushes.documents.retain(|document| !self.is_late_record(at, sampled_at, document));
        for push in pushes.pushes() {
            self.push(sampled_at.unwrap_or(at), at, sender, &push, bounds);
        }
        for document in pushes.documents {
            self.document(at, document);
        }
    }

    /// True if a record is of an earlier sample than the node's last one.
    fn is_late_record(
        &self,
        arrival: WallTime,
        sampled_at: Option<WallTime>,
        document: &Document,
    ) -> bool {
        let node = self.rows.latest.get(&(NODE, String::new(), document.name.clone()));
        let last = node.map(|node| node.at);
        // A last one from the future is of a clock that was set back since.
        document.kind == DocumentKind::Record
            && sampled_at.zip(last).is_some_and(|(sampled_at, last)| {
                millis(sampled_at) < last && last <= millis(arrival)
            })
    }

    fn document(&mut self, at: WallTime, document: Document) {
        let Document { kind, namespace, name, json } = document;
        let kind = document_kind(kind);
        let bytes = (namespace.len() + name.len() + json.len()) as u64;
        let key = (kind, namespace, name);
        let totals = self.totals.documents_of(kind);
        let new = WorkDocument { at: millis(at), bytes, json: Some(json) };
        if let Some(known) = self.rows.documents.insert(key, new) {
            totals.remove(known.bytes);
        }
        totals.add(bytes);
    }

    /// Records a push, unless a dialect with disk bytes still pushes the same node or pod and this one
    /// has none: no network byte counts twice.
    fn push(
        &mut self,
        at: WallTime,
        arrival: WallTime,
        sender: i64,
        push: &Push<'_>,
        bounds: &ReceiverBounds,
    ) {
        let point = Point::of_push(at, push.usage);
        let key = (push.kind, push.namespace.to_owned(), push.name.to_owned());
        let Some(known) = self.rows.latest.get_mut(&key) else {
            let id = self.new_id();
            let row = latest_row(id, sender, arrival, push, &point);
            self.rows.latest.insert(key, row);
            self.count(sender, column_of(push.kind), 1);
            self.add_point(id, point, arrival, bounds);
            return;
        };
        // A last push from the future is of a clock that was set back since.
        let is_past = known.at <= millis(arrival);
        let is_lesser = known.has_disk_io && !push.has_disk_io && is_past;
        if is_lesser && known.at >= millis(at.minus(bounds.stale_after)) {
            // Only this dialect has them.
            if push.amounts.is_some() {
                known.amounts.clone_from(&push.amounts);
                known.is_changed = true;
            }
            return;
        }
        let id = known.id;
        if push.is_dated && millis(at) < known.at && is_past {
            self.add_point(id, point, arrival, bounds);
            return;
        }
        // Where the greater dialect takes over, the other has most likely just pushed the same
        // interval.
        let takes_over = push.has_disk_io && !known.has_disk_io;
        let replaced = (takes_over && known.at >= millis(at.minus(bounds.interval / 2)))
            .then_some((id, known.at));
        let amounts = known.amounts.take();
        let former = known.sender;
        let new = latest_row(id, sender, arrival, push, &point);
        *known = LatestRow { amounts: new.amounts.or(amounts), ..new };
        if former != sender {
            self.count(former, column_of(push.kind), -1);
            self.count(sender, column_of(push.kind), 1);
        }
        if let Some((id, at)) = replaced {
            let is_other = |(_, of, point): &(i64, i64, Point)| *of != id || millis(point.at) != at;
            self.rows.points.retain(is_other);
            self.rows.replaced.push((id, at));
        }
        self.add_point(id, point, arrival, bounds);
    }

    fn add_point(&mut self, of: i64, point: Point, arrival: WallTime, bounds: &ReceiverBounds) {
        if let Some(level) = self.level_of(millis(point.at), arrival, bounds) {
            self.rows.points.push((level, of, point));
        }
    }

    /// The level that takes a point of this time; `None`: it is older than everything that is kept.
    fn level_of(&mut self, at: i64, arrival: WallTime, bounds: &ReceiverBounds) -> Option<i64> {
        for level in 0..=LEVELS.len() {
            let ages = LEVELS.get(level).filter(|level| level.kept_for < bounds.retention);
            let kept_for = ages.map_or(bounds.retention, |level| level.kept_for);
            let part = StorePart::at(i64::try_from(level).unwrap_or(0), at);
            match self.parts.get(&part) {
                Some(false) => return Some(part.level),
                None if at >= millis(arrival.minus(kept_for)) => {
                    self.parts.insert(part, false);
                    self.new_parts.push(part);
                    return Some(part.level);
                }
                // What is closing becomes points of the next level.
                Some(true) | None if ages.is_some() => {}
                Some(true) | None => return None,
            }
        }
        None
    }

    /// Replaces the row of that name. Fields that the post leaves out keep their values.
    fn spec(&mut self, at: WallTime, post: PodSpecPost, only_on: Option<&str>) -> SpecRow {
        // Servers of this API answer such a post, and store nothing.
        if post.row.pod_name.is_empty() {
            return SpecRow { head: post.row, pod_obj: post.pod_obj };
        }
        let old = self.rows.specs.remove(&post.row.pod_name);
        if let Some(old) = &old {
            self.totals.specs.remove(old.bytes);
        }
        let row = SpecRow::after(old.and_then(|old| old.row), post, only_on);
        let bytes = row.text_bytes();
        self.totals.specs.add(bytes);
        let spec = WorkSpec {
            ip: row.head.pod_ip.clone(),
            node: row.head.node_name.clone(),
            is_dead: row.head.is_dead,
            changed_at: millis(at),
            bytes,
            is_changed: true,
            row: Some(row.clone()),
        };
        self.rows.specs.insert(row.head.pod_name.clone(), spec);
        row
    }

    /// Marks the row that the post names as dead. Returns the number of such rows, 0 or 1, dead before
    /// or not.
    fn mark_dead(&mut self, at: WallTime, post: &MarkDead, only_on: Option<&str>) -> usize {
        let count = self.named_by(post, only_on);
        if let Some(spec) = self.rows.specs.get_mut(&post.pod_name)
            && count > 0
            && !spec.is_dead
        {
            spec.is_dead = true;
            spec.changed_at = millis(at);
            spec.is_changed = true;
            if let Some(row) = &mut spec.row {
                row.head.is_dead = true;
            }
        }
        count
    }
}

fn latest_row(
    id: i64,
    sender: i64,
    arrival: WallTime,
    push: &Push<'_>,
    point: &Point,
) -> LatestRow {
    LatestRow {
        id,
        node: push.node.to_owned(),
        deployment: push.deployment.map(str::to_owned),
        sender,
        has_disk_io: push.has_disk_io,
        at: millis(point.at),
        seen_at: millis(arrival),
        usage: push.usage,
        extras: Some(push.extras.clone()),
        amounts: push.amounts.clone(),
        is_changed: true,
    }
}

/// The row's JSON, in which dead is as it was posted: the column counts.
pub(super) fn head_json(row: &SpecRow) -> String {
    json(&row.head)
}

/// Figures as their columns.
pub(super) fn usage_columns(usage: &UsageValues) -> [i64; 6] {
    [
        usage.cpu_millicores,
        usage.memory_bytes,
        usage.read_bytes,
        usage.write_bytes,
        usage.sent_bytes,
        usage.recv_bytes,
    ]
    .map(to_column)
}
