//! The place of a worker's samples: in memory, on disk, or both.

use super::Worker;
use crate::delivery::log::Location;
use crate::delivery::queue::{QueuedBatch, put_in_order};
use crate::delivery::round::Round;
use crate::delivery::stale::StaleAction;
use crate::delivery::statistics::Health;
use crate::spool::{Batch, RowId, RowPresence};

/// The most fresh samples that are in memory though they are on disk, so that they can go first.
const STORED_FRESH_MAX: usize = 4;

/// The most attempted samples that are in memory though they are on disk. Partially accepted ones
/// do not count.
const RETAINED_MAX: usize = 16;

impl Worker {
    /// Writes fresh samples to disk. They are read from there in order, or stay in memory too so
    /// that they can go first. Without a writable disk they stay in memory.
    pub(super) async fn accept_fresh(&mut self) {
        self.accept_fresh_behind(false).await;
    }

    /// Accepts fresh samples during a round. Where order matters, a sample is not written to disk
    /// while an older one is in memory only.
    pub(super) async fn accept_fresh_behind(&mut self, older_in_memory: bool) {
        let mut can_append =
            self.disk.is_writable() && !(self.settings.in_order && older_in_memory);
        if self.is_in_order() && can_append {
            can_append = self.put_backlog_to_disk().await || !self.settings.in_order;
        }
        while let Some(mut entry) = self.handle.lease_fresh(None) {
            if self.is_in_order() || self.stored_fresh.len() >= STORED_FRESH_MAX {
                let unstored = if can_append { self.put_to_disk(entry).await } else { Some(entry) };
                if let Some(entry) = unstored {
                    can_append &= !self.settings.in_order;
                    self.handle.put_back(entry);
                }
            } else {
                self.store(&mut entry).await;
                self.stored_fresh.push_back(entry);
            }
        }
        self.merge_stale().await;
    }

    /// Writes the backlog to disk; whether all of it is there.
    async fn put_backlog_to_disk(&mut self) -> bool {
        let mut unstored = Vec::new();
        while self.disk.is_writable()
            && (unstored.is_empty() || !self.settings.in_order)
            && let Some(entry) = self.handle.lease_backlog()
        {
            unstored.extend(self.put_to_disk(entry).await);
        }
        let all_taken = unstored.is_empty() && self.disk.is_writable();
        for entry in unstored.into_iter().rev() {
            self.handle.put_back(entry);
        }
        all_taken
    }

    /// Writes a batch to disk, or returns it where that fails.
    async fn put_to_disk(&mut self, entry: QueuedBatch) -> Option<QueuedBatch> {
        let batch = entry.to_batch();
        let now = self.now();
        if self.disk.append(&batch, false, now).await.is_none() {
            return Some(entry);
        }
        self.handle.no_longer_in_memory(&batch.posts);
        self.handle.forget(&entry);
        None
    }

    /// Writes a batch to disk unless it is there, and keeps it leased.
    pub(super) async fn store(&mut self, entry: &mut QueuedBatch) {
        let batch = entry.to_batch();
        self.store_as(entry, batch).await;
    }

    /// Writes a batch that is about to be sent, already marked as attempted, so that it is written
    /// once.
    pub(super) async fn store_and_send(&mut self, entry: &mut QueuedBatch) {
        let batch = Batch { attempted: true, ..entry.to_batch() };
        self.store_as(entry, batch).await;
    }

    async fn store_as(&mut self, entry: &mut QueuedBatch, batch: Batch) {
        if entry.row.is_some() {
            return;
        }
        let now = self.now();
        entry.row = self.disk.append(&batch, true, now).await;
        if entry.row.is_some() {
            self.handle.no_longer_in_memory(&batch.posts);
            self.handle.forget(entry);
            entry.in_journal = false;
            entry.is_dirty = false;
            entry.attempt_is_stored = batch.attempted;
        }
    }

    /// Records on disk that these batches are attempted, before they are sent. After a kill nothing
    /// else would show that the endpoint may have them, and a merged post has another key. It is
    /// needed only where stale samples are merged.
    pub(super) async fn mark(&mut self, entries: &mut [QueuedBatch]) {
        if !self.merges_stale() {
            return;
        }
        for entry in entries.iter_mut().filter(|entry| !entry.attempt_is_stored) {
            match entry.row {
                // A failing disk is not asked at every try.
                Some(_) if !self.disk.is_writable() => {}
                Some(row) => {
                    let batch = Batch { attempted: true, ..entry.to_batch() };
                    self.write_over(entry, row, &batch).await;
                }
                None => self.handle.mark_attempted(entry),
            }
        }
    }

    fn merges_stale(&self) -> bool {
        self.settings.stale.is_some_and(|stale| matches!(stale.then, StaleAction::Add(_)))
    }

    /// The batch on disk lacks a change.
    fn is_outdated(&self, entry: &QueuedBatch) -> bool {
        entry.is_dirty || self.merges_stale() && entry.was_attempted() && !entry.attempt_is_stored
    }

    pub(super) async fn store_round(&mut self, round: &mut Round) {
        for (number, batch) in round.not_on_disk() {
            let now = self.now();
            let row = self.disk.append(&batch, true, now).await;
            let Some(entry) = row.and_then(|row| round.is_on_disk(number, row)) else { continue };
            self.handle.no_longer_in_memory(&batch.posts);
            self.handle.forget(entry);
            entry.in_journal = false;
        }
    }

    /// Puts the rest of a batch back to its place in the backlog.
    pub(super) async fn retain_rest(&mut self, mut entry: QueuedBatch) {
        self.bring_up_to_date(&mut entry).await;
        self.store(&mut entry).await;
        match entry.row {
            Some(_) => put_in_order(&mut self.retained, entry),
            None => self.handle.put_back(entry),
        }
    }

    /// Writes the rest of a batch over its row.
    async fn bring_up_to_date(&mut self, entry: &mut QueuedBatch) {
        let Some(row) = entry.row.filter(|_| self.is_outdated(entry)) else { return };
        let batch = entry.to_batch();
        self.write_over(entry, row, &batch).await;
    }

    async fn write_over(&mut self, entry: &mut QueuedBatch, row: RowId, batch: &Batch) {
        match self.disk.replace(row, batch).await {
            Some(RowPresence::Present) => {
                entry.is_dirty = false;
                entry.attempt_is_stored = batch.attempted;
            }
            Some(RowPresence::Gone) => {
                entry.row = None;
                self.handle.in_memory_again(&batch.posts);
            }
            // The row has more posts than the batch. It is not read while the batch is leased.
            None => {}
        }
    }

    /// Releases batches that are on disk as well, except for those whose state is only in memory:
    /// partially accepted ones, those with failed tries, and attempted ones that must not be
    /// merged.
    pub(super) async fn release_retained(&mut self) {
        let is_down = self.health == Health::Down;
        let adds = self.merges_stale();
        let mut leased = std::mem::take(&mut self.retained);
        if is_down {
            self.stored_fresh.drain(..).for_each(|entry| put_in_order(&mut leased, entry));
        }
        let mut others = 0;
        for entry in leased {
            let is_known = !entry.has_no_failures() || adds && entry.was_attempted();
            let is_held = entry.partially_accepted || is_known && others < RETAINED_MAX;
            others += usize::from(!entry.partially_accepted && is_held);
            if is_held && entry.row.is_some() {
                self.retained.push_back(entry);
            } else {
                self.release(entry).await;
            }
        }
    }

    /// Returns a batch to the disk, or to the backlog in memory if it is not there.
    async fn release(&mut self, mut entry: QueuedBatch) {
        self.bring_up_to_date(&mut entry).await;
        match entry.row {
            Some(_) if self.is_outdated(&entry) => self.retained.push_back(entry),
            Some(row) => {
                if self.disk.release(row).await == RowPresence::Gone {
                    entry.row = None;
                    self.handle.in_memory_again(&entry.to_batch().posts);
                    self.handle.put_back(entry);
                }
            }
            None => self.handle.put_back(entry),
        }
    }

    /// Removes a batch without posts.
    pub(super) async fn resolve_batch(&mut self, entry: QueuedBatch) {
        match entry.row {
            Some(row) => self.disk.remove(row).await,
            None => self.handle.no_longer_in_memory(&[]),
        }
        self.handle.forget(&entry);
    }

    /// Writes all batches that are in memory only to disk, as the worker ends.
    pub(super) async fn store_all(&mut self) {
        let leased = self.retained.drain(..).chain(self.stored_fresh.drain(..));
        for entry in leased.collect::<Vec<_>>() {
            self.release(entry).await;
        }
        // A failing disk has more posts than are left. The server recognises the repeats by their
        // keys.
        for row in std::mem::take(&mut self.retained).iter().filter_map(|entry| entry.row) {
            self.disk.release(row).await;
        }
        let mut unstored = Vec::new();
        while let Some(entry) =
            self.handle.lease_backlog().or_else(|| self.handle.lease_fresh(None))
        {
            if self.settings.in_order && !unstored.is_empty() {
                unstored.push(entry);
            } else {
                unstored.extend(self.put_to_disk(entry).await);
            }
        }
        for entry in unstored.into_iter().rev() {
            self.handle.put_back(entry);
        }
    }

    /// The place and limit of the backlog.
    pub(super) fn location(&self) -> Location {
        match self.disk.bytes_max().filter(|_| !self.disk.is_failing()) {
            Some(bytes_max) => Location::DiskQueue { bytes_max },
            None => Location::Memory { bytes_max: self.settings.queue_bytes_max as u64 },
        }
    }
}
