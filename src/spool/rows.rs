//! The state of a queue's rows that is not in the file, and changes of several rows.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::{BatchDamage, QueueFileError};
use super::file::{BatchRow, FileTotals, QueueChange, QueueFile};
use super::{Batch, Bounds, Lost, Moment, RowId, RowPresence};
use crate::quantity::counted;

/// The most rows that wait for their removal. Beyond, no further row is leased.
pub(super) const PENDING_REMOVAL_MAX: usize = 8192;

/// The rows of other boots whose age is checked at an append. Those of one boot are in order of
/// age.
const AGED_ROWS_MAX: usize = 64;

/// Before any row.
pub(super) const START: RowId = RowId(i64::MIN);

/// The state of rows that is not in the file.
#[derive(Debug, Default)]
pub(super) struct RowTracker {
    /// Rows that are done but could not be removed yet, with their posts.
    pub(super) pending_removal: BTreeMap<RowId, u64>,
    /// Leased rows, with their posts: they are neither leased again nor pushed out.
    pub(super) leased: BTreeMap<RowId, u64>,
    pub(super) lost: Lost,
    /// Posts in files that were opened and of which nothing was known.
    pub(super) found_posts: u64,
    /// A damaged row of this file was logged.
    pub(super) logged: bool,
}

pub(super) enum NextRow {
    /// `None`: there is no further one. `dropped`: rows before it are to be removed.
    Found { next: Option<(RowId, Batch)>, dropped: bool },
    /// Too many rows wait for their removal.
    Full,
}

impl RowTracker {
    /// The first row that does not wait for its removal.
    pub(super) fn first(&self, file: &QueueFile) -> Result<Option<BatchRow>, QueueFileError> {
        file.row_after(START, |row| !self.pending_removal.contains_key(&row))
    }

    /// The batches and posts that do not wait for their removal.
    pub(super) fn live(&self, totals: FileTotals) -> (u64, u64) {
        let settled_posts: u64 = self.pending_removal.values().sum();
        let batches = totals.batches.saturating_sub(self.pending_removal.len() as u64);
        (batches, totals.posts.saturating_sub(settled_posts))
    }

    pub(super) fn append(
        &mut self,
        file: &mut QueueFile,
        batches: &[(&Batch, Vec<u8>)],
        now: Moment,
        bounds: Bounds,
    ) -> Result<Vec<RowId>, QueueFileError> {
        let (rows, lost) = file.change(|change| {
            self.remove_pending(change)?;
            let mut lost = Lost::default();
            self.drop_old(change, now, bounds, &mut lost)?;
            let mut rows = Vec::with_capacity(batches.len());
            for (batch, record) in batches {
                let row = change.append(batch, record)?;
                self.drop_excess(change, row, record.len(), bounds, &mut lost)?;
                rows.push(row);
            }
            Ok((rows, lost))
        })?;
        self.pending_removal.clear();
        self.lost.full_posts += lost.full_posts;
        self.lost.old_posts += lost.old_posts;
        self.lost.damaged_posts += lost.damaged_posts;
        Ok(rows)
    }

    /// The next usable row behind `at`. Damaged and old ones before it are marked for removal.
    pub(super) fn step(
        &mut self,
        file: &mut QueueFile,
        path: &Path,
        at: &mut RowId,
        now: Moment,
        bounds: Bounds,
    ) -> Result<NextRow, QueueFileError> {
        let mut dropped = false;
        while self.pending_removal.len() < PENDING_REMOVAL_MAX {
            let is_free =
                |row| !self.pending_removal.contains_key(&row) && !self.leased.contains_key(&row);
            let Some(row) = file.row_after(*at, is_free)? else {
                return Ok(NextRow::Found { next: None, dropped });
            };
            if row.sampled_at.is_some_and(|sampled_at| sampled_at.age(&now) > bounds.age_max) {
                self.lost.old_posts += row.posts;
            } else {
                match file.batch(&row)? {
                    Ok(batch) => {
                        return Ok(NextRow::Found { next: Some((row.id, batch)), dropped });
                    }
                    Err(what) => self.log_damaged(path, row.id, row.posts, &what),
                }
            }
            self.pending_removal.insert(row.id, row.posts);
            *at = row.id;
            dropped = true;
        }
        Ok(NextRow::Full)
    }

    fn log_damaged(&mut self, path: &Path, row: RowId, posts: u64, what: &BatchDamage) {
        self.lost.damaged_posts += posts;
        if !std::mem::replace(&mut self.logged, true) {
            tracing::warn!(
                "spool {}: batch {} is damaged: {what}; {} dropped, further damage in this file is \
                 only counted",
                path.display(),
                row.0,
                counted(posts, "post of it is", "posts of it are")
            );
        }
    }

    pub(super) fn merge(
        &mut self,
        file: &mut QueueFile,
        rows: &[RowId],
        into: &Batch,
        record: &[u8],
    ) -> Result<RowPresence, QueueFileError> {
        let Some(last) = rows.iter().max().filter(|last| !self.pending_removal.contains_key(last))
        else {
            return Ok(RowPresence::Gone);
        };
        let merged = file.change(|change| {
            if !change.replace(*last, into, record)? {
                return Ok(false);
            }
            for row in rows.iter().filter(|row| *row != last) {
                change.remove(*row)?;
            }
            self.remove_pending(change)?;
            Ok(true)
        })?;
        if merged {
            self.pending_removal.clear();
        }
        Ok(if merged { RowPresence::Present } else { RowPresence::Gone })
    }

    pub(super) fn remove_pending(
        &self,
        change: &mut QueueChange<'_>,
    ) -> Result<(), QueueFileError> {
        self.pending_removal.keys().try_for_each(|row| change.remove(*row))
    }

    fn drop_old(
        &self,
        change: &mut QueueChange<'_>,
        now: Moment,
        bounds: Bounds,
        lost: &mut Lost,
    ) -> Result<(), QueueFileError> {
        let mut at = START;
        let mut young = 0;
        while let Some(row) = change.row_after(at, |row| !self.leased.contains_key(&row))? {
            at = row.id;
            match row.sampled_at {
                None => lost.damaged_posts += row.posts,
                Some(sampled_at) if sampled_at.age(&now) > bounds.age_max => {
                    lost.old_posts += row.posts
                }
                Some(sampled_at) if sampled_at.boot == now.boot || young == AGED_ROWS_MAX => break,
                Some(_) => {
                    young += 1;
                    continue;
                }
            }
            change.remove(row.id)?;
        }
        Ok(())
    }

    /// Drops the oldest rows until the queue fits its limit, but never `appended`.
    fn drop_excess(
        &self,
        change: &mut QueueChange<'_>,
        appended: RowId,
        record_bytes: usize,
        bounds: Bounds,
        lost: &mut Lost,
    ) -> Result<(), QueueFileError> {
        while change.bytes()? > bounds.bytes_max {
            let oldest = change.row_after(START, |row| !self.leased.contains_key(&row))?;
            let Some(oldest) = oldest.filter(|row| row.id != appended) else {
                // The leased rows leave no room now.
                return Err(if self.leased.is_empty() {
                    change.too_large(record_bytes)?
                } else {
                    QueueFileError::TooLarge
                });
            };
            lost.full_posts += oldest.posts;
            change.remove(oldest.id)?;
        }
        Ok(())
    }
}
