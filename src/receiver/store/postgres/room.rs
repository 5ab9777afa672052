//! Makes room for a post where a bound is reached. Posts that need none are stored together; one that
//! does is stored by itself, since statements of its own find out what goes.

use std::collections::{HashMap, HashSet};

use super::error::PostgresError;
use super::rows::{from_column, millis, time_of, to_column};
use super::session::Session;
use super::work::{RowKey, Work, column_of, document_kind};
use crate::quantity::WallTime;
use crate::receiver::bounds::{Full, ReceiverBounds};
use crate::receiver::store::port::{Change, DocumentKind, SpecRow, StoreError, StorePost};
use crate::receiver::store::totals::{Amount, NODE, POD, UNIT};

/// The number of texts that a post adds, and of bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Addition {
    count: u64,
    added_bytes: u64,
    removed_bytes: u64,
}

impl Addition {
    fn add(&mut self, known: Option<u64>, bytes: u64) {
        self.count += u64::from(known.is_none());
        self.removed_bytes += known.unwrap_or(0);
        self.added_bytes += bytes;
    }

    fn fits(self, amount: Amount, count_max: usize, bytes_max: usize) -> bool {
        let bytes = amount.bytes.saturating_sub(self.removed_bytes);
        amount.count + self.count <= count_max as u64
            && bytes.saturating_add(self.added_bytes) <= bytes_max as u64
    }
}

/// The bound of a kind, with its name.
fn rows_max(bounds: &ReceiverBounds, kind: i64) -> (&'static str, usize) {
    match kind {
        NODE => ("nodes", bounds.nodes_max),
        UNIT => ("units", bounds.pods_max),
        _ => ("pods", bounds.pods_max),
    }
}

impl Work {
    /// True if nothing has to go for this post.
    pub(super) fn has_room(&mut self, post: &StorePost, bounds: &ReceiverBounds) -> bool {
        let new = self.new_rows(post, bounds);
        let fits = |(kind, new): (&i64, &u64)| {
            let (_, max) = rows_max(bounds, *kind);
            *self.totals.rows_of(*kind) + new <= max as u64
        };
        if !new.iter().all(fits) {
            return false;
        }
        let bytes_max = bounds.documents_bytes_max;
        let documents = self.new_documents(post);
        let fit = documents.into_iter().all(|(kind, addition)| {
            addition.fits(*self.totals.documents_of(kind), documents_max(bounds, kind), bytes_max)
        });
        let spec = self.new_spec(post);
        fit && spec.is_none_or(|spec| spec.fits(self.totals.specs, bounds.pods_max, bytes_max))
    }

    /// The number of new rows of each kind; none where all of the post would have room.
    fn new_rows(&mut self, post: &StorePost, bounds: &ReceiverBounds) -> HashMap<i64, u64> {
        let mut counts = HashMap::new();
        let Change::Usage(pushes) = &post.change else { return counts };
        let pushed = (pushes.nodes.len() + pushes.pods.len() + pushes.units.len()) as u64;
        let mut kinds = [NODE, POD, UNIT].into_iter();
        let is_roomy =
            |kind| *self.totals.rows_of(kind) + pushed <= rows_max(bounds, kind).1 as u64;
        if kinds.all(is_roomy) {
            return counts;
        }
        let keys = pushes.keys().map(|(kind, of, name)| (kind, of.to_owned(), name.to_owned()));
        let new: HashSet<RowKey> = keys.filter(|key| !self.rows.latest.contains_key(key)).collect();
        for (kind, ..) in new {
            *counts.entry(kind).or_default() += 1;
        }
        counts
    }

    fn new_documents(&self, post: &StorePost) -> HashMap<i64, Addition> {
        let mut additions: HashMap<i64, Addition> = HashMap::new();
        let Change::Usage(pushes) = &post.change else { return additions };
        for document in &pushes.documents {
            let kind = document_kind(document.kind);
            let key = (kind, document.namespace.clone(), document.name.clone());
            let known = self.rows.documents.get(&key).map(|known| known.bytes);
            let bytes = document.namespace.len() + document.name.len() + document.json.len();
            additions.entry(kind).or_default().add(known, bytes as u64);
        }
        additions
    }

    fn new_spec(&self, post: &StorePost) -> Option<Addition> {
        let Change::Spec { post, only_on } = &post.change else { return None };
        let known = self.rows.specs.get(&post.row.pod_name);
        let old = known.and_then(|known| known.row.clone());
        let mut addition = Addition::default();
        let copy = crate::payload::pod_lifecycle::PodSpecPost {
            row: post.row.clone(),
            pod_obj: post.pod_obj.clone(),
        };
        let bytes = SpecRow::after(old, copy, only_on.as_deref()).text_bytes();
        addition.add(known.map(|known| known.bytes), bytes);
        Some(addition)
    }

    /// Removes what has to go for this post. A record for which there is no room is taken from the
    /// post: its usage is stored.
    pub(super) async fn make_room(
        &mut self,
        session: &Session,
        post: &mut StorePost,
        bounds: &ReceiverBounds,
    ) -> Result<(), PostgresError> {
        let additions = self.new_documents(post);
        for (kind, addition) in additions {
            let made = self.make_document_room(session, post, kind, addition, bounds).await;
            match (made, &mut post.change) {
                (Err(PostgresError::Refused(StoreError::Full(_))), Change::Usage(pushes))
                    if kind == UNIT =>
                {
                    pushes.documents.retain(|document| document.kind != DocumentKind::Record);
                }
                (made, _) => made?,
            }
        }
        if let Some(addition) = self.new_spec(post) {
            self.make_spec_room(session, post, addition, bounds).await?;
        }
        let sender = self.rows.senders.get(&post.sender).map_or(-1, |sender| sender.id);
        let own: Vec<i64> = self.rows.latest.values().map(|row| row.id).collect();
        for (kind, new) in self.new_rows(post, bounds) {
            let (what, max) = rows_max(bounds, kind);
            for added in 0..new {
                let total = *self.totals.rows_of(kind) + added;
                if total >= max as u64 {
                    // Several at once, so that not every new one searches all of them.
                    let some = (max / 100).max(1) as u64 + (total - max as u64);
                    let wanted = Room { what, max, kind, sender, added, some };
                    self.make_row_room(session, post.at, &wanted, &own, bounds).await?;
                }
            }
        }
        Ok(())
    }

    /// Makes room for a new node or pod. The longest silent ones are evicted. Where all still push,
    /// those of the sender with the most of them are, if it has more than this one: one sender cannot
    /// keep another's nodes and pods out.
    async fn make_row_room(
        &mut self,
        session: &Session,
        at: WallTime,
        wanted: &Room,
        own: &[i64],
        bounds: &ReceiverBounds,
    ) -> Result<(), PostgresError> {
        let Room { what, max, kind, sender, added, some } = *wanted;
        if self.totals.may_have_silent(kind, at) {
            let silent_since = millis(at.minus(bounds.stale_after));
            let evicted = session
                .query(
                    "DELETE FROM latest WHERE id IN (SELECT id FROM latest WHERE kind = $1 AND \
                     seen_at < $2 AND NOT id = ANY($4::bigint[]) ORDER BY seen_at LIMIT $3) \
                     RETURNING sender",
                    &[&kind, &silent_since, &to_column(some), &own],
                )
                .await?;
            if self.count_evicted(session, kind, &evicted).await? > 0 {
                return Ok(());
            }
            let sql = "SELECT coalesce(min(seen_at), 0) FROM latest WHERE kind = $1";
            let oldest = session.query_opt(sql, &[&kind]).await?;
            let oldest = oldest.map_or(Ok(0), |row| row.try_get(0))?;
            self.totals.none_silent(kind, at, time_of(oldest), bounds.stale_after);
        }
        // The columns of `sender` are called as these.
        let sql = format!("SELECT {what} FROM sender WHERE id = $1");
        let its_own = session.query_opt(&sql, &[&sender]).await?;
        let its_own = from_column(its_own.map_or(Ok(0), |row| row.try_get(0))?) + added;
        let sql = format!("SELECT id, {what} FROM sender ORDER BY {what} DESC LIMIT 1");
        let most = session.query_opt(&sql, &[]).await?;
        let (most, its): (i64, u64) = match most {
            Some(row) => (row.try_get(0)?, from_column(row.try_get(1)?)),
            None => (sender, 0),
        };
        if most == sender || its <= its_own + 1 {
            return Err(StoreError::Full(Full { what, max }).into());
        }
        let share = (its - its_own).div_ceil(2).min(some);
        let evicted = session
            .query(
                "DELETE FROM latest WHERE id IN (SELECT id FROM latest WHERE kind = $1 AND \
                 sender = $2 AND NOT id = ANY($4::bigint[]) ORDER BY seen_at LIMIT $3) \
                 RETURNING sender",
                &[&kind, &most, &to_column(share), &own],
            )
            .await?;
        if self.count_evicted(session, kind, &evicted).await? == 0 {
            return Err(StoreError::Full(Full { what, max }).into());
        }
        Ok(())
    }

    async fn count_evicted(
        &mut self,
        session: &Session,
        kind: i64,
        evicted: &[tokio_postgres::Row],
    ) -> Result<usize, PostgresError> {
        for row in evicted {
            self.count(row.try_get(0)?, column_of(kind), -1);
        }
        // The next search for the sender that has most sees them.
        self.write_counts(session).await?;
        Ok(evicted.len())
    }

    /// Where there is no room, silent documents are evicted, the longest silent first.
    async fn make_document_room(
        &mut self,
        session: &Session,
        post: &StorePost,
        kind: i64,
        addition: Addition,
        bounds: &ReceiverBounds,
    ) -> Result<(), PostgresError> {
        let (count_max, bytes_max) = (documents_max(bounds, kind), bounds.documents_bytes_max);
        let live_since = millis(post.at.minus(bounds.stale_after));
        let own = self.rows.documents.keys().filter(|key| key.0 == kind);
        let (namespaces, names): (Vec<&str>, Vec<&str>) =
            own.map(|(_, namespace, name)| (namespace.as_str(), name.as_str())).unzip();
        while !addition.fits(*self.totals.documents_of(kind), count_max, bytes_max) {
            let stalest = session
                .query(
                    "DELETE FROM document WHERE (kind, namespace, name) IN (SELECT kind, namespace, \
                     name FROM document WHERE kind = $1 AND at < $2 AND (namespace, name) NOT IN \
                     (SELECT * FROM unnest($3::text[], $4::text[])) ORDER BY at LIMIT $5) \
                     RETURNING bytes",
                    &[&kind, &live_since, &namespaces, &names, &evicted_at_once(count_max)],
                )
                .await?;
            let totals = self.totals.documents_of(kind);
            if stalest.is_empty() {
                let full = totals.full("resources", "bytes of resources", count_max, bytes_max);
                return Err(StoreError::Full(full).into());
            }
            for row in &stalest {
                totals.remove(from_column(row.try_get(0)?));
            }
        }
        Ok(())
    }

    /// Where there is no room, dead rows are evicted, the one that changed longest ago first. Then
    /// live rows follow that have not changed within the retention: their pods are sent again when
    /// they change, and a node that reconciles finds them missing.
    async fn make_spec_room(
        &mut self,
        session: &Session,
        post: &StorePost,
        addition: Addition,
        bounds: &ReceiverBounds,
    ) -> Result<(), PostgresError> {
        let (count_max, bytes_max) = (bounds.pods_max, bounds.documents_bytes_max);
        let since = millis(post.at.minus(bounds.retention));
        let Change::Spec { post, .. } = &post.change else { return Ok(()) };
        while !addition.fits(self.totals.specs, count_max, bytes_max) {
            let first = session
                .query(
                    "DELETE FROM pod_spec WHERE name IN (SELECT name FROM pod_spec WHERE (is_dead OR \
                     changed_at < $1) AND name <> $2 ORDER BY is_dead DESC, changed_at LIMIT $3) \
                     RETURNING bytes",
                    &[&since, &post.row.pod_name, &evicted_at_once(count_max)],
                )
                .await?;
            if first.is_empty() {
                let full = self.totals.specs.full("rows", "bytes of rows", count_max, bytes_max);
                return Err(StoreError::Full(full).into());
            }
            for row in &first {
                self.totals.specs.remove(from_column(row.try_get(0)?));
            }
        }
        Ok(())
    }

    /// Forgets keys beyond the bound: the oldest of the sender that has the most.
    pub(super) async fn trim_keys(
        &mut self,
        session: &Session,
        bounds: &ReceiverBounds,
    ) -> Result<(), PostgresError> {
        let max = bounds.post_keys_max as u64;
        // A few more are kept than there should be, so that not every post removes one.
        if self.totals.keys <= max + max / 64 {
            return Ok(());
        }
        let excess = to_column(self.totals.keys - max);
        let removed = session
            .query(
                "DELETE FROM accepted WHERE post IN (SELECT post FROM accepted WHERE sender = \
                 (SELECT id FROM sender ORDER BY keys DESC LIMIT 1) ORDER BY number LIMIT $1) \
                 RETURNING sender",
                &[&excess],
            )
            .await?;
        for row in &removed {
            self.count(row.try_get(0)?, 3, -1);
        }
        self.write_counts(session).await
    }
}

/// One new row for which there is no room.
struct Room {
    what: &'static str,
    max: usize,
    kind: i64,
    /// The sender of the post; -1: a new one.
    sender: i64,
    /// The rows of this post for which room was found before.
    added: u64,
    some: u64,
}

/// The number of texts that one statement evicts: several, so that not every post searches all of them.
fn evicted_at_once(count_max: usize) -> i64 {
    to_column((count_max / 100).max(1) as u64)
}

fn documents_max(bounds: &ReceiverBounds, kind: i64) -> usize {
    if kind == POD { bounds.pods_max } else { bounds.nodes_max }
}
