//! Stores one post, within the transaction of its batch.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::error::SqliteError;
use super::rows::{count, from_column, now_column, to_column};
use crate::payload::pod_lifecycle::{MarkDead, PodSpecPost};
use crate::payload::resource_api::UsageValues;
use crate::quantity::WallTime;
use crate::receiver::bounds::{Full, ReceiverBounds};
use crate::receiver::store::block::{self, BlockCodec};
use crate::receiver::store::point::Point;
use crate::receiver::store::port::{
    Change, Document, DocumentKind, PostId, SpecRow, StorePost, Stored, StoredOutcome, UsagePushes,
};
use crate::receiver::store::push::{Push, json};
use crate::receiver::store::totals::{NODE, POD, Totals, UNIT};

/// The bytes at which an open block is closed, whatever its age.
const OPEN_BYTES_MAX: usize = 4096;

/// Everything that a post is stored with.
pub(super) struct Ingest<'a> {
    pub(super) connection: &'a Connection,
    pub(super) bounds: &'a ReceiverBounds,
    pub(super) totals: &'a mut Totals,
    pub(super) codec: &'a mut BlockCodec,
}

/// The row of `latest` before a push.
struct Known {
    id: i64,
    node: String,
    deployment: Option<String>,
    sender: i64,
    has_disk_io: bool,
    last: Point,
    open_since: WallTime,
    open_points: Vec<u8>,
}

impl Ingest<'_> {
    /// Stores a post, or nothing of it.
    ///
    /// # Errors
    /// There is no room for it, or the database failed. The caller rolls back.
    pub(super) fn store(&mut self, post: StorePost) -> Result<Stored, SqliteError> {
        let StorePost { at, sender, id, change } = post;
        if let Some(id) = &id
            && self.is_known(at, id)?
        {
            return Ok(Stored { is_replay: true, outcome: self.replay(change)? });
        }
        let sender = self.sender(&sender)?;
        let outcome = match change {
            Change::Usage(pushes) => {
                self.usage(at, sender, &pushes)?;
                StoredOutcome::Usage
            }
            Change::Spec { post, only_on } => {
                StoredOutcome::Spec(self.spec(at, post, only_on.as_deref())?)
            }
            Change::MarkDead { post, only_on } => {
                StoredOutcome::MarkedDead(self.mark_dead(at, &post, only_on.as_deref())?)
            }
        };
        if let Some(id) = id {
            self.remember(at, sender, &id)?;
        }
        Ok(Stored { is_replay: false, outcome })
    }

    /// A post with this key and body was accepted before.
    fn is_known(&self, at: WallTime, id: &PostId) -> Result<bool, SqliteError> {
        let since = at.minus(self.bounds.post_keys_age_max);
        let mut statement = self
            .connection
            .prepare_cached("SELECT body FROM accepted WHERE post = ?1 AND at >= ?2")?;
        let body: Option<Vec<u8>> =
            statement.query_row(params![id.key, now_column(since)], |row| row.get(0)).optional()?;
        match body {
            None => Ok(false),
            Some(body) if body == id.body => Ok(true),
            Some(_) => Err(SqliteError::OtherBody),
        }
    }

    fn replay(&self, change: Change) -> Result<StoredOutcome, SqliteError> {
        Ok(match change {
            Change::Usage(_) => StoredOutcome::Usage,
            Change::Spec { post, only_on } => {
                let row = spec_row(self.connection, &post.row.pod_name)?;
                let row = row.filter(|row| row.is_within(only_on.as_deref()));
                StoredOutcome::Spec(
                    row.unwrap_or(SpecRow { head: post.row, pod_obj: post.pod_obj }),
                )
            }
            Change::MarkDead { post, only_on } => {
                StoredOutcome::MarkedDead(self.named_by(&post, only_on.as_deref())?)
            }
        })
    }

    fn sender(&self, name: &str) -> Result<i64, SqliteError> {
        let mut statement =
            self.connection.prepare_cached("SELECT id FROM sender WHERE name = ?1")?;
        if let Some(id) = statement.query_row([name], |row| row.get(0)).optional()? {
            return Ok(id);
        }
        self.connection.prepare_cached("INSERT INTO sender (name) VALUES (?1)")?.execute([name])?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Adds the key to those accepted. Beyond the bound, the oldest keys of the sender that has the
    /// most are forgotten.
    fn remember(&mut self, at: WallTime, sender: i64, id: &PostId) -> Result<(), SqliteError> {
        if self.bounds.post_keys_max == 0 {
            return Ok(());
        }
        // One that was forgotten by age may still be there.
        let mut old = self
            .connection
            .prepare_cached("DELETE FROM accepted WHERE post = ?1 RETURNING sender")?;
        if let Some(sender) = old.query_row([id.key], |row| row.get(0)).optional()? {
            self.count_keys(sender, -1)?;
        }
        self.connection
            .prepare_cached(
                "INSERT INTO accepted (post, body, sender, at) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![id.key, id.body, sender, now_column(at)])?;
        self.count_keys(sender, 1)?;
        let max = self.bounds.post_keys_max as u64;
        // A few more are kept than there should be, so that not every post removes one.
        if self.totals.keys > max + max / 64 {
            let excess = self.totals.keys - max;
            let most: i64 = self
                .connection
                .prepare_cached("SELECT id FROM sender ORDER BY keys DESC LIMIT 1")?
                .query_row((), |row| row.get(0))?;
            let removed = self
                .connection
                .prepare_cached(
                    "DELETE FROM accepted WHERE id IN \
                     (SELECT id FROM accepted WHERE sender = ?1 ORDER BY id LIMIT ?2)",
                )?
                .execute(params![most, to_column(excess)])?;
            self.count_keys(most, -i64::try_from(removed).unwrap_or(0))?;
        }
        Ok(())
    }

    fn count_keys(&mut self, sender: i64, more: i64) -> Result<(), SqliteError> {
        self.connection
            .prepare_cached("UPDATE sender SET keys = keys + ?2 WHERE id = ?1")?
            .execute([sender, more])?;
        self.totals.keys = self.totals.keys.saturating_add_signed(more);
        Ok(())
    }

    fn usage(
        &mut self,
        at: WallTime,
        sender: i64,
        pushes: &UsagePushes,
    ) -> Result<(), SqliteError> {
        let sampled_at = pushes.sampled_at;
        for document in &pushes.documents {
            match document.kind {
                DocumentKind::Record => self.record(at, sampled_at, document)?,
                DocumentKind::Pod | DocumentKind::Node => self.document(at, document)?,
            }
        }
        for push in pushes.pushes() {
            self.push(sampled_at.unwrap_or(at), at, sender, &push)?;
        }
        Ok(())
    }

    /// Records a push, unless a dialect with disk bytes still pushes the same node or pod and this one
    /// has none: no network byte counts twice.
    fn push(
        &mut self,
        at: WallTime,
        arrival: WallTime,
        sender: i64,
        push: &Push<'_>,
    ) -> Result<(), SqliteError> {
        let point = Point::of_push(at, push.usage);
        let Some(mut known) = self.known(push)? else {
            return self.insert(arrival, sender, push, &point);
        };
        // A last push from the future is of a clock that was set back since.
        let is_past = known.last.at <= arrival;
        let is_lesser = known.has_disk_io && !push.has_disk_io && is_past;
        if is_lesser && known.last.at >= at.minus(self.bounds.stale_after) {
            // Only this dialect has them.
            if let Some(amounts) = &push.amounts {
                self.connection
                    .prepare_cached("UPDATE latest SET amounts = ?2 WHERE id = ?1")?
                    .execute(params![known.id, amounts])?;
            }
            return Ok(());
        }
        if push.is_dated && at < known.last.at && is_past {
            return put_block(self.connection, self.codec, known.id, 0, at, &[point]);
        }
        // Where the greater dialect takes over, the other has most likely just pushed the same
        // interval.
        let takes_over = push.has_disk_io && !known.has_disk_io;
        if takes_over && known.last.at >= at.minus(self.bounds.interval / 2) {
            self.drop_last(&mut known);
        }
        if known.open_points.is_empty() {
            known.open_since = at;
            block::append(&mut known.open_points, None, &point);
        } else if self.is_to_be_closed(&known, at) {
            self.close(&known)?;
            known.open_points.clear();
            known.open_since = at;
            block::append(&mut known.open_points, None, &point);
        } else {
            block::append(&mut known.open_points, Some(&known.last), &point);
        }
        self.update(arrival, sender, push, &known, &point)
    }

    fn known(&self, push: &Push<'_>) -> Result<Option<Known>, SqliteError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, node, deployment, sender, has_disk_io, at, cpu_millicores, memory_bytes, \
             read_bytes, write_bytes, sent_bytes, recv_bytes, open_since, open_points \
             FROM latest WHERE kind = ?1 AND namespace = ?2 AND name = ?3",
        )?;
        let known = statement.query_row(params![push.kind, push.namespace, push.name], |row| {
            let usage = UsageValues {
                cpu_millicores: from_column(row.get(6)?),
                memory_bytes: from_column(row.get(7)?),
                read_bytes: from_column(row.get(8)?),
                write_bytes: from_column(row.get(9)?),
                sent_bytes: from_column(row.get(10)?),
                recv_bytes: from_column(row.get(11)?),
            };
            Ok(Known {
                id: row.get(0)?,
                node: row.get(1)?,
                deployment: row.get(2)?,
                sender: row.get(3)?,
                has_disk_io: row.get(4)?,
                last: Point::of_push(WallTime::from_unix_millis(from_column(row.get(5)?)), usage),
                open_since: WallTime::from_unix_millis(from_column(row.get(12)?)),
                open_points: row.get(13)?,
            })
        });
        Ok(known.optional()?)
    }

    /// Removes the newest point of the open block.
    fn drop_last(&self, known: &mut Known) {
        let mut points = block::open_points(&known.open_points).unwrap_or_default();
        points.pop();
        known.open_points.clear();
        let mut before = None;
        for point in &points {
            block::append(&mut known.open_points, before, point);
            before = Some(point);
        }
        if let Some(before) = before {
            known.last = *before;
        }
    }

    fn is_to_be_closed(&self, known: &Known, at: WallTime) -> bool {
        // Blocks of nodes and pods that began at once do not all end at once.
        let spread = Duration::from_secs(known.id.cast_unsigned() % 300);
        let age_max = Duration::from_secs(600) + spread;
        known.open_points.len() >= OPEN_BYTES_MAX
            || known.open_since < at.minus(age_max)
            // The clock was set back.
            || at < known.last.at
    }

    fn close(&mut self, known: &Known) -> Result<(), SqliteError> {
        let Ok(mut points) = block::open_points(&known.open_points) else { return Ok(()) };
        points.sort_by_key(|point| point.at);
        for points in points.chunks(block::POINTS_MAX) {
            let until = points.last().map_or(known.last.at, |point| point.at);
            put_block(self.connection, self.codec, known.id, 0, until, points)?;
        }
        Ok(())
    }

    fn insert(
        &mut self,
        arrival: WallTime,
        sender: i64,
        push: &Push<'_>,
        point: &Point,
    ) -> Result<(), SqliteError> {
        self.make_room(arrival, sender, push.kind)?;
        let mut open = Vec::new();
        block::append(&mut open, None, point);
        let Push {
            kind,
            namespace,
            name,
            node,
            deployment,
            has_disk_io,
            is_dated: _,
            usage,
            extras,
            amounts,
        } = push;
        self.connection
            .prepare_cached(
                "INSERT INTO latest (kind, namespace, name, node, deployment, sender, has_disk_io, \
                 at, seen_at, cpu_millicores, memory_bytes, read_bytes, write_bytes, sent_bytes, recv_bytes, \
                 extras, amounts, open_since, open_points) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, \
                 ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?8, ?18)",
            )?
            .execute(params![
                kind,
                namespace,
                name,
                node,
                deployment,
                sender,
                has_disk_io,
                now_column(point.at),
                now_column(arrival),
                to_column(usage.cpu_millicores),
                to_column(usage.memory_bytes),
                to_column(usage.read_bytes),
                to_column(usage.write_bytes),
                to_column(usage.sent_bytes),
                to_column(usage.recv_bytes),
                extras,
                amounts,
                open,
            ])?;
        self.count_rows(*kind, sender, 1)
    }

    fn update(
        &mut self,
        arrival: WallTime,
        sender: i64,
        push: &Push<'_>,
        known: &Known,
        point: &Point,
    ) -> Result<(), SqliteError> {
        let usage = &push.usage;
        self.connection
            .prepare_cached(
                "UPDATE latest SET has_disk_io = ?2, at = ?3, cpu_millicores = ?4, memory_bytes = ?5, \
                 read_bytes = ?6, write_bytes = ?7, sent_bytes = ?8, recv_bytes = ?9, extras = ?10, \
                 amounts = coalesce(?11, amounts), open_since = ?12, open_points = ?13, \
                 seen_at = ?14 WHERE id = ?1",
            )?
            .execute(params![
                known.id,
                push.has_disk_io,
                now_column(point.at),
                to_column(usage.cpu_millicores),
                to_column(usage.memory_bytes),
                to_column(usage.read_bytes),
                to_column(usage.write_bytes),
                to_column(usage.sent_bytes),
                to_column(usage.recv_bytes),
                push.extras,
                push.amounts,
                now_column(known.open_since),
                known.open_points,
                now_column(arrival),
            ])?;
        // Apart, since it changes an index and hardly ever happens.
        if known.node != push.node || known.deployment.as_deref() != push.deployment {
            self.connection
                .prepare_cached("UPDATE latest SET node = ?2, deployment = ?3 WHERE id = ?1")?
                .execute(params![known.id, push.node, push.deployment])?;
        }
        if known.sender != sender {
            self.connection
                .prepare_cached("UPDATE latest SET sender = ?2 WHERE id = ?1")?
                .execute([known.id, sender])?;
            self.count_rows(push.kind, known.sender, -1)?;
            self.count_rows(push.kind, sender, 1)?;
        }
        Ok(())
    }

    fn count_rows(&mut self, kind: i64, sender: i64, more: i64) -> Result<(), SqliteError> {
        let sql = match kind {
            NODE => "UPDATE sender SET nodes = nodes + ?2 WHERE id = ?1",
            UNIT => "UPDATE sender SET units = units + ?2 WHERE id = ?1",
            _ => "UPDATE sender SET pods = pods + ?2 WHERE id = ?1",
        };
        let total = self.totals.rows_of(kind);
        *total = total.saturating_add_signed(more);
        self.connection.prepare_cached(sql)?.execute([sender, more])?;
        Ok(())
    }

    /// Makes room for a new node or pod. The longest silent ones are evicted. Where all still push,
    /// those of the sender with the most of them are, if it has more than this one: one sender cannot
    /// keep another's nodes and pods out.
    fn make_room(&mut self, at: WallTime, sender: i64, kind: i64) -> Result<(), SqliteError> {
        let (what, max, total) = match kind {
            NODE => ("nodes", self.bounds.nodes_max, self.totals.nodes),
            UNIT => ("units", self.bounds.pods_max, self.totals.units),
            _ => ("pods", self.bounds.pods_max, self.totals.pods),
        };
        if total < max as u64 {
            return Ok(());
        }
        // Several at once, so that not every new one searches all of them.
        let some = (max / 100).max(1) as u64 + (total - max as u64);
        let silent_since = at.minus(self.bounds.stale_after);
        if self.totals.may_have_silent(kind, at) {
            let evicted = self.evict(
                "SELECT id, sender FROM latest WHERE kind = ?1 AND seen_at < ?2 ORDER BY seen_at LIMIT ?3",
                kind,
                params![kind, now_column(silent_since), to_column(some)],
            )?;
            if evicted > 0 {
                return Ok(());
            }
            let oldest: i64 = self
                .connection
                .prepare_cached("SELECT coalesce(min(seen_at), 0) FROM latest WHERE kind = ?1")?
                .query_row([kind], |row| row.get(0))?;
            let oldest = WallTime::from_unix_millis(from_column(oldest));
            self.totals.none_silent(kind, at, oldest, self.bounds.stale_after);
        }
        // The columns of `sender` are called as these.
        let column = what;
        let counts = |sql: String, of: &[i64]| -> Result<(i64, u64), SqliteError> {
            let mut statement = self.connection.prepare_cached(&sql)?;
            let found = statement
                .query_row(rusqlite::params_from_iter(of), |row| Ok((row.get(0)?, row.get(1)?)))?;
            let (id, count): (i64, i64) = found;
            Ok((id, from_column(count)))
        };
        let (_, own) = counts(format!("SELECT id, {column} FROM sender WHERE id = ?1"), &[sender])?;
        let (most, its) =
            counts(format!("SELECT id, {column} FROM sender ORDER BY {column} DESC LIMIT 1"), &[])?;
        if most == sender || its <= own + 1 {
            return Err(Full { what, max }.into());
        }
        let share = (its - own).div_ceil(2).min(some);
        self.evict(
            "SELECT id, sender FROM latest WHERE kind = ?1 AND sender = ?2 ORDER BY seen_at LIMIT ?3",
            kind,
            params![kind, most, to_column(share)],
        )?;
        Ok(())
    }

    fn evict(
        &mut self,
        sql: &str,
        kind: i64,
        parameters: &[&dyn rusqlite::ToSql],
    ) -> Result<usize, SqliteError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_map(parameters, |row| Ok((row.get(0)?, row.get(1)?)))?;
        let evicted: Vec<(i64, i64)> = found.collect::<Result<_, _>>()?;
        for (id, sender) in &evicted {
            remove(self.connection, *id)?;
            self.count_rows(kind, *sender, -1)?;
        }
        Ok(evicted.len())
    }

    /// Replaces the record of a node, unless this one is of an earlier sample. Usage is stored also where
    /// there is no room for the record.
    fn record(
        &mut self,
        arrival: WallTime,
        sampled_at: Option<WallTime>,
        document: &Document,
    ) -> Result<(), SqliteError> {
        let last: Option<i64> = self
            .connection
            .prepare_cached(
                "SELECT at FROM latest WHERE kind = ?1 AND namespace = '' AND name = ?2",
            )?
            .query_row(params![NODE, document.name], |row| row.get(0))
            .optional()?;
        let last = last.map(|last| WallTime::from_unix_millis(from_column(last)));
        // A last one from the future is of a clock that was set back since.
        let is_late = sampled_at
            .zip(last)
            .is_some_and(|(sampled_at, last)| sampled_at < last && last <= arrival);
        if is_late {
            return Ok(());
        }
        let before = *self.totals;
        self.connection.prepare_cached("SAVEPOINT record")?.execute(())?;
        match self.document(arrival, document) {
            Err(SqliteError::Full(_)) => {
                self.connection.prepare_cached("ROLLBACK TO record")?.execute(())?;
                *self.totals = before;
            }
            other => other?,
        }
        self.connection.prepare_cached("RELEASE record")?.execute(())?;
        Ok(())
    }

    /// Replaces the document of that name. Where there is no room, silent ones are evicted, the
    /// longest silent first.
    fn document(&mut self, at: WallTime, document: &Document) -> Result<(), SqliteError> {
        let Document { kind, namespace, name, json } = document;
        let (kind, count_max) = match kind {
            DocumentKind::Node => (NODE, self.bounds.nodes_max),
            DocumentKind::Record => (UNIT, self.bounds.nodes_max),
            DocumentKind::Pod => (POD, self.bounds.pods_max),
        };
        let bytes = (namespace.len() + name.len() + json.len()) as u64;
        let known: Option<(i64, i64)> = self
            .connection
            .prepare_cached(
                "SELECT id, octet_length(namespace) + octet_length(name) + octet_length(json) \
                 FROM document WHERE kind = ?1 AND namespace = ?2 AND name = ?3",
            )?
            .query_row(params![kind, namespace, name], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some((_, bytes)) = known {
            self.totals.documents_of(kind).remove(from_column(bytes));
        }
        let live_since = at.minus(self.bounds.stale_after);
        let bytes_max = self.bounds.documents_bytes_max;
        while !self.totals.documents_of(kind).has_room(bytes, count_max, bytes_max) {
            let stalest: Option<i64> = self
                .connection
                .prepare_cached(
                    "DELETE FROM document WHERE id = (SELECT id FROM document WHERE kind = ?1 AND \
                     at < ?2 AND id IS NOT ?3 ORDER BY at LIMIT 1) RETURNING \
                     octet_length(namespace) + octet_length(name) + octet_length(json)",
                )?
                .query_row(params![kind, now_column(live_since), known.map(|(id, _)| id)], |row| {
                    row.get(0)
                })
                .optional()?;
            let totals = self.totals.documents_of(kind);
            let Some(stalest) = stalest else {
                return Err(totals
                    .full("resources", "bytes of resources", count_max, bytes_max)
                    .into());
            };
            totals.remove(from_column(stalest));
        }
        self.connection
            .prepare_cached(
                "INSERT INTO document (kind, namespace, name, at, json) VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT (kind, namespace, name) DO UPDATE SET at = ?4, json = ?5",
            )?
            .execute(params![kind, namespace, name, now_column(at), json])?;
        self.totals.documents_of(kind).add(bytes);
        Ok(())
    }

    /// Replaces the row of that name. Fields that the post leaves out keep their values.
    ///
    /// Where there is no room, dead rows are evicted, the one that changed longest ago first. Then
    /// live rows follow that have not changed within the retention: their pods are sent again when
    /// they change, and a node that reconciles finds them missing.
    fn spec(
        &mut self,
        at: WallTime,
        post: PodSpecPost,
        only_on: Option<&str>,
    ) -> Result<SpecRow, SqliteError> {
        // Servers of this API answer such a post, and store nothing.
        if post.row.pod_name.is_empty() {
            return Ok(SpecRow { head: post.row, pod_obj: post.pod_obj });
        }
        // Also where its JSON is damaged, so that it gives nothing to the new row.
        let bytes: Option<i64> = self
            .connection
            .prepare_cached("SELECT bytes FROM pod_spec WHERE name = ?1")?
            .query_row([&post.row.pod_name], |row| row.get(0))
            .optional()?;
        let old = spec_row(self.connection, &post.row.pod_name)?;
        if old.as_ref().is_some_and(|old| old.is_ended_from_elsewhere(&post.row, only_on)) {
            return Err(SqliteError::OtherNode);
        }
        let row = SpecRow::after(old, post, only_on);
        if let Some(bytes) = bytes {
            self.totals.specs.remove(from_column(bytes));
            self.connection
                .prepare_cached("DELETE FROM pod_spec WHERE name = ?1")?
                .execute([&row.head.pod_name])?;
        }
        let bytes = row.text_bytes();
        let since = at.minus(self.bounds.retention);
        let (count_max, bytes_max) = (self.bounds.pods_max, self.bounds.documents_bytes_max);
        while !self.totals.specs.has_room(bytes, count_max, bytes_max) {
            let first: Option<i64> = self
                .connection
                .prepare_cached(
                    "DELETE FROM pod_spec WHERE id = (SELECT id FROM pod_spec WHERE is_dead OR \
                     changed_at < ?1 ORDER BY is_dead DESC, changed_at LIMIT 1) RETURNING bytes",
                )?
                .query_row([now_column(since)], |row| row.get(0))
                .optional()?;
            match first {
                Some(bytes) => self.totals.specs.remove(from_column(bytes)),
                None => {
                    return Err(self
                        .totals
                        .specs
                        .full("rows", "bytes of rows", count_max, bytes_max)
                        .into());
                }
            }
        }
        self.connection
            .prepare_cached(
                "INSERT INTO pod_spec (name, ip, namespace, node, is_dead, changed_at, bytes, head, \
                 pod_obj) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                row.head.pod_name,
                row.head.pod_ip,
                row.place().0,
                row.head.node_name,
                row.head.is_dead,
                now_column(at),
                to_column(bytes),
                json(&row.head),
                row.pod_obj,
            ])?;
        self.totals.specs.add(bytes);
        Ok(row)
    }

    /// Marks the row that the post names as dead. Returns the number of such rows, 0 or 1, dead before
    /// or not.
    fn mark_dead(
        &mut self,
        at: WallTime,
        post: &MarkDead,
        only_on: Option<&str>,
    ) -> Result<usize, SqliteError> {
        let count = self.named_by(post, only_on)?;
        if count > 0 {
            self.connection
                .prepare_cached(
                    "UPDATE pod_spec SET is_dead = 1, changed_at = ?2 WHERE name = ?1 AND NOT is_dead",
                )?
                .execute(params![post.pod_name, now_column(at)])?;
        }
        Ok(count)
    }

    fn named_by(&self, post: &MarkDead, only_on: Option<&str>) -> Result<usize, SqliteError> {
        count(
            self.connection,
            "SELECT count(*) FROM pod_spec WHERE name = ?1 AND (?2 IS NULL OR ip = ?2) \
             AND (?3 IS NULL OR node = ?3)",
            params![post.pod_name, post.pod_ip, only_on],
        )
    }
}

/// The row of that name.
pub(super) fn spec_row(
    connection: &Connection,
    name: &str,
) -> Result<Option<SpecRow>, SqliteError> {
    let mut statement =
        connection.prepare_cached("SELECT head, is_dead, pod_obj FROM pod_spec WHERE name = ?1")?;
    let row = statement.query_row([name], super::rows::spec_row).optional()?;
    Ok(row.flatten())
}

/// Adds a closed block.
pub(super) fn put_block(
    connection: &Connection,
    codec: &mut BlockCodec,
    of: i64,
    level: i64,
    until: WallTime,
    points: &[Point],
) -> Result<(), SqliteError> {
    let block = codec.close(points)?;
    connection
        .prepare_cached("INSERT INTO block (of, level, until, points) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![of, level, now_column(until), block])?;
    Ok(())
}

/// Removes a node or pod with its past.
pub(super) fn remove(connection: &Connection, id: i64) -> Result<(), SqliteError> {
    connection.prepare_cached("DELETE FROM block WHERE of = ?1")?.execute([id])?;
    connection.prepare_cached("DELETE FROM latest WHERE id = ?1")?.execute([id])?;
    Ok(())
}
