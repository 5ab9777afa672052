//! What is known of a queue's rows beside their file, and what is done with several at once.

use std::collections::BTreeMap;
use std::path::Path;

use super::file::{Change, QueueFile, Row, Totals};
use super::trouble::Trouble;
use super::{Batch, Bounds, Found, Lost, Moment, RowId};

/// Rows that may wait to be removed before no further row is given out.
pub(super) const SETTLED_MAX: usize = 8192;

/// Rows of other boots that are asked for their age when one is appended. Those of one boot are in the
/// order of their age.
const YOUNG_MAX: usize = 64;

/// Before any row.
pub(super) const START: RowId = RowId(i64::MIN);

/// What is not to be seen in the file.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Rows that are done with and could not be removed yet, with their posts.
    pub(super) settled: BTreeMap<RowId, u64>,
    /// Rows that somebody goes on with, with their posts: neither given out nor pushed out.
    pub(super) in_hand: BTreeMap<RowId, u64>,
    pub(super) lost: Lost,
    /// In files that were opened and of which nothing was known.
    pub(super) found_posts: u64,
    /// Whether it was said that a row of this file is damaged.
    pub(super) told: bool,
}

pub(super) enum Step {
    Found {
        row: RowId,
        batch: Batch,
        dropped: bool,
    },
    End {
        dropped: bool,
    },
    /// No more rows can be remembered to be dropped.
    Full,
}

impl Rows {
    /// The first row that is not settled.
    pub(super) fn first(&self, file: &QueueFile) -> Result<Option<Row>, Trouble> {
        file.row_after(START, |row| !self.settled.contains_key(&row))
    }

    /// The batches and posts that are not settled.
    pub(super) fn unsettled(&self, totals: Totals) -> (u64, u64) {
        let settled_posts: u64 = self.settled.values().sum();
        let batches = totals.batches.saturating_sub(self.settled.len() as u64);
        (batches, totals.posts.saturating_sub(settled_posts))
    }

    pub(super) fn append(
        &mut self,
        file: &mut QueueFile,
        batches: &[(&Batch, Vec<u8>)],
        now: Moment,
        bounds: Bounds,
    ) -> Result<Vec<RowId>, Trouble> {
        let (rows, lost) = file.change(|change| {
            self.remove_settled(change)?;
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
        self.settled.clear();
        self.lost.full_posts += lost.full_posts;
        self.lost.old_posts += lost.old_posts;
        self.lost.damaged_posts += lost.damaged_posts;
        Ok(rows)
    }

    /// The next row behind `at` that is worth something. The others on the way are settled.
    pub(super) fn step(
        &mut self,
        file: &mut QueueFile,
        path: &Path,
        at: &mut RowId,
        now: Moment,
        bounds: Bounds,
    ) -> Result<Step, Trouble> {
        let mut dropped = false;
        while self.settled.len() < SETTLED_MAX {
            let is_free =
                |row| !self.settled.contains_key(&row) && !self.in_hand.contains_key(&row);
            let Some(row) = file.row_after(*at, is_free)? else {
                return Ok(Step::End { dropped });
            };
            if row.taken.is_some_and(|taken| taken.age(&now) > bounds.age_max) {
                self.lost.old_posts += row.posts;
            } else {
                match file.batch(&row)? {
                    Ok(batch) => return Ok(Step::Found { row: row.id, batch, dropped }),
                    Err(what) => self.tell_damaged(path, row.id, row.posts, &what),
                }
            }
            self.settled.insert(row.id, row.posts);
            *at = row.id;
            dropped = true;
        }
        Ok(Step::Full)
    }

    fn tell_damaged(&mut self, path: &Path, row: RowId, posts: u64, what: &str) {
        self.lost.damaged_posts += posts;
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!(
                "spool {}: batch {}: {what}: removed, with its {posts} posts; further ones in this \
                 file are only counted",
                path.display(),
                row.0
            );
        }
    }

    pub(super) fn merge(
        &mut self,
        file: &mut QueueFile,
        rows: &[RowId],
        into: &Batch,
        record: &[u8],
    ) -> Result<Found, Trouble> {
        let Some(last) = rows.iter().max().filter(|last| !self.settled.contains_key(last)) else {
            return Ok(Found::Gone);
        };
        let merged = file.change(|change| {
            if !change.replace(*last, into, record)? {
                return Ok(false);
            }
            for row in rows.iter().filter(|row| *row != last) {
                change.remove(*row)?;
            }
            self.remove_settled(change)?;
            Ok(true)
        })?;
        if merged {
            self.settled.clear();
        }
        Ok(if merged { Found::There } else { Found::Gone })
    }

    pub(super) fn remove_settled(&self, change: &mut Change<'_>) -> Result<(), Trouble> {
        self.settled.keys().try_for_each(|row| change.remove(*row))
    }

    fn drop_old(
        &self,
        change: &mut Change<'_>,
        now: Moment,
        bounds: Bounds,
        lost: &mut Lost,
    ) -> Result<(), Trouble> {
        let mut at = START;
        let mut young = 0;
        while let Some(row) = change.row_after(at, |row| !self.in_hand.contains_key(&row))? {
            at = row.id;
            match row.taken {
                None => lost.damaged_posts += row.posts,
                Some(taken) if taken.age(&now) > bounds.age_max => lost.old_posts += row.posts,
                Some(taken) if taken.boot == now.boot || young == YOUNG_MAX => break,
                Some(_) => {
                    young += 1;
                    continue;
                }
            }
            change.remove(row.id)?;
        }
        Ok(())
    }

    /// Drops the oldest rows until what is there fits, `appended` with them.
    fn drop_excess(
        &self,
        change: &mut Change<'_>,
        appended: RowId,
        record_bytes: usize,
        bounds: Bounds,
        lost: &mut Lost,
    ) -> Result<(), Trouble> {
        while change.bytes()? > bounds.bytes_max {
            let oldest = change.row_after(START, |row| !self.in_hand.contains_key(&row))?;
            let Some(oldest) = oldest.filter(|row| row.id != appended) else {
                // What is in hand leaves no room at present.
                return Err(match self.in_hand.is_empty() {
                    true => change.too_large(record_bytes)?,
                    false => Trouble::TooLarge,
                });
            };
            lost.full_posts += oldest.posts;
            change.remove(oldest.id)?;
        }
        Ok(())
    }
}
