//! An endpoint's queue on disk as its worker sees it: what fails there is told once, counted, and
//! never the worker's end.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::queue::Handle;
use super::statistics::OnDisk;
use crate::spool::{Batch, Lost, Moment, Queue, QueueContents, RowId, RowPresence, SpoolError};

/// A disk that has just failed is left alone for this long; one that takes nothing is still read.
const RETRY_DISK_AFTER: Duration = Duration::from_secs(5);

/// For this long what has to come in its order waits for a disk that cannot be read. A disk that has
/// gone for good is no reason to send nothing ever again.
const UNREADABLE_MAX: Duration = Duration::from_secs(300);

/// Samples that were tried and that are looked past for others to be added up.
const SKIPPED_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct DiskQueue {
    endpoint: String,
    /// `None`: what waits is in memory alone, as the settings have it.
    queue: Option<Queue>,
    failure: Option<DiskFailure>,
    not_written_until: Option<Instant>,
    not_read_until: Option<Instant>,
    unreadable_since: Option<Instant>,
    /// What was there when nothing of it was free to be given out.
    exhausted: Option<QueueContents>,
    is_open: bool,
    /// What an earlier run left is counted.
    is_counted: bool,
}

#[derive(Debug)]
struct DiskFailure {
    reason: String,
    /// That it can be read is not its end.
    is_of_writing: bool,
}

/// What was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DiskAccess {
    Read,
    Write,
}

impl DiskQueue {
    pub(super) fn new(endpoint: &str, queue: Option<Queue>) -> Self {
        let endpoint = endpoint.to_owned();
        Self {
            endpoint,
            queue,
            failure: None,
            not_written_until: None,
            not_read_until: None,
            unreadable_since: None,
            exhausted: None,
            is_open: false,
            is_counted: false,
        }
    }

    /// Looks for what an earlier run has left, unless that is known or the disk is left alone. A place
    /// that cannot be used is so told at once, and not in the first outage.
    pub(super) async fn open(&mut self, handle: &Handle, now: Moment) {
        if self.is_counted || !self.is_readable() {
            return;
        }
        let Some(queue) = self.queue.clone() else { return };
        let opened = queue.open(now).await;
        // What is damaged was left by it too.
        let lost = queue.take_lost();
        // All that is there is found below.
        let _ = queue.take_found_posts();
        handle.found(lost.full_posts + lost.old_posts + lost.damaged_posts);
        count_lost(handle, lost);
        let Some(kept) = self.note_outcome(handle, DiskAccess::Read, opened) else { return };
        self.is_counted = true;
        if kept.batches > 0 {
            handle.found(kept.posts);
            let in_journal = handle.in_journal();
            if !in_journal.is_empty()
                && let Ok(there) = queue.find_present(in_journal).await
            {
                handle.are_on_disk(&there);
            }
            info!(
                "endpoint {}: {} samples of an earlier run are on disk and will be sent",
                self.endpoint, kept.batches
            );
        }
        self.is_open = kept.batches > 0;
        self.publish(handle);
    }

    /// Whether there is one, and it is not known to take nothing at present.
    pub(super) fn is_writable(&self) -> bool {
        self.queue.is_some() && !is_pending(self.not_written_until)
    }

    fn is_readable(&self) -> bool {
        self.queue.is_some() && !is_pending(self.not_read_until)
    }

    /// Whether something older than what is in memory is there and cannot be had at present, but may be
    /// soon.
    pub(super) fn withholds_any(&self) -> bool {
        let gave_up = self.unreadable_since.is_some_and(|since| since.elapsed() > UNREADABLE_MAX);
        self.is_counted && self.contents().batches > 0 && !self.is_readable() && !gave_up
    }

    /// Whether anything is there that can be had at present.
    pub(super) fn has_any(&self) -> bool {
        self.has_more_than(0)
    }

    fn has_more_than(&self, batches: u64) -> bool {
        // One that could not be looked into may have some.
        let may_have = self.contents().batches > batches || !self.is_counted;
        self.is_readable() && may_have && self.exhausted != Some(self.contents())
    }

    /// Looks once more for what an earlier run has left, if that could not be told so far: whatever is
    /// put to disk before would be counted with it.
    async fn is_ready(&mut self, handle: &Handle, now: Moment) -> bool {
        self.open(handle, now).await;
        self.is_counted
    }

    /// Puts a batch to disk, and keeps it from being pushed out there if it goes on `leased`.
    /// `None`: it is not there.
    pub(super) async fn append(
        &mut self,
        handle: &Handle,
        batch: &Batch,
        leased: bool,
        now: Moment,
    ) -> Option<RowId> {
        if !self.is_writable() || !self.is_ready(handle, now).await {
            return None;
        }
        let queue = self.queue.as_ref()?;
        let appended = queue.append(batch, leased, now).await;
        self.is_open = true;
        self.note_outcome(handle, DiskAccess::Write, appended)
    }

    /// The oldest that is not in somebody's hands, and is so from here on.
    pub(super) async fn oldest(&mut self, handle: &Handle, now: Moment) -> Option<(RowId, Batch)> {
        if !self.has_any() || !self.is_ready(handle, now).await {
            return None;
        }
        let queue = self.queue.as_ref()?;
        let next = queue.next(now).await;
        let next = self.note_outcome(handle, DiskAccess::Read, next)?;
        self.exhausted = next.is_none().then(|| self.contents());
        next
    }

    /// Writes what is left of one; `None`: it could not be written.
    pub(super) async fn replace(
        &mut self,
        handle: &Handle,
        row: RowId,
        batch: &Batch,
    ) -> Option<RowPresence> {
        let replaced = self.queue.as_ref()?.replace(row, batch).await;
        self.note_outcome(handle, DiskAccess::Write, replaced)
    }

    /// The most that it holds.
    pub(super) fn bytes_max(&self) -> Option<u64> {
        self.queue.as_ref().map(|queue| queue.bounds().bytes_max)
    }

    pub(super) async fn remove(&mut self, handle: &Handle, row: RowId) {
        let Some(queue) = &self.queue else { return };
        let removed = queue.remove(&[row]).await;
        self.note_outcome(handle, DiskAccess::Write, removed);
    }

    /// It is in nobody's hands any more; whether it is there.
    pub(super) async fn release(&mut self, handle: &Handle, row: RowId) -> RowPresence {
        let Some(queue) = &self.queue else { return RowPresence::Gone };
        let found = queue.release(row).await;
        // It may have come out that the file is gone.
        self.publish(handle);
        found
    }

    /// Makes one of the two oldest that were not tried, if `merge` does; whether it did.
    pub(super) async fn merge_oldest(
        &mut self,
        handle: &Handle,
        now: Moment,
        merge: &impl Fn(&Batch, &Batch) -> Option<Batch>,
    ) -> bool {
        let can_be = self.is_writable() && self.has_more_than(1);
        let Some(queue) = self.queue.clone().filter(|_| can_be) else { return false };
        let mut skipped = Vec::new();
        let mut merged = false;
        if let Some((first, older)) = self.oldest_untried(handle, now, &mut skipped).await {
            if let Some((second, newer)) = self.oldest_untried(handle, now, &mut skipped).await {
                if let Some(both) = merge(&older, &newer) {
                    let fewer = older.posts.len() + newer.posts.len() - both.posts.len();
                    let put = queue.merge(&[first, second], &both).await;
                    merged = self.note_outcome(handle, DiskAccess::Write, put)
                        == Some(RowPresence::Present);
                    if merged {
                        handle.merged(fewer as u64);
                    }
                }
                self.release(handle, second).await;
            }
            self.release(handle, first).await;
        }
        for row in skipped {
            self.release(handle, row).await;
        }
        merged
    }

    /// The oldest that the endpoint cannot have taken unheard; older ones that it can are in hand too from
    /// here on.
    async fn oldest_untried(
        &mut self,
        handle: &Handle,
        now: Moment,
        skipped: &mut Vec<RowId>,
    ) -> Option<(RowId, Batch)> {
        while skipped.len() < SKIPPED_MAX {
            let (row, batch) = self.oldest(handle, now).await?;
            if !batch.attempted {
                return Some((row, batch));
            }
            skipped.push(row);
        }
        None
    }

    /// Nothing is there: the file need not be either.
    pub(super) async fn close_idle(&mut self) {
        if let Some(queue) = self.queue.as_ref().filter(|_| self.is_open) {
            queue.close_idle().await;
            self.is_open = false;
        }
    }

    fn contents(&self) -> QueueContents {
        self.queue.as_ref().map(Queue::contents).unwrap_or_default()
    }

    /// When there is to be another look, if there is to be one: what an earlier run has left is not known
    /// yet, or cannot be had at present.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        let has_something = !self.is_counted || self.contents().batches > 0;
        let until = self.not_read_until.filter(|_| self.queue.is_some() && has_something)?;
        (Instant::now() < until).then_some(until)
    }

    /// What came of a call; a failure begins or goes on being a trouble, a success ends it.
    fn note_outcome<T>(
        &mut self,
        handle: &Handle,
        access: DiskAccess,
        outcome: Result<T, SpoolError>,
    ) -> Option<T> {
        let note_outcome = match outcome {
            Ok(note_outcome) => {
                (self.not_read_until, self.unreadable_since) = (None, None);
                let goes_on = access == DiskAccess::Read
                    && self.failure.as_ref().is_some_and(|failure| failure.is_of_writing);
                if !goes_on {
                    self.not_written_until = None;
                }
                if !goes_on && self.failure.take().is_some() {
                    info!("endpoint {}: samples are kept on disk again", self.endpoint);
                }
                Some(note_outcome)
            }
            // It says nothing of the disk.
            Err(SpoolError::TooLarge { .. }) => None,
            Err(error) => {
                let now = Instant::now();
                self.not_written_until = Some(now + RETRY_DISK_AFTER);
                if access == DiskAccess::Read {
                    self.not_read_until = Some(now + RETRY_DISK_AFTER);
                    self.unreadable_since.get_or_insert(now);
                }
                let reason = error.to_string();
                if self.failure.is_none() {
                    warn!(
                        "endpoint {}: samples cannot be kept on disk, they wait in memory: {reason}",
                        self.endpoint
                    );
                }
                let was_of_writing = self.failure.take().is_some_and(|was| was.is_of_writing);
                let is_of_writing = was_of_writing || access == DiskAccess::Write;
                self.failure = Some(DiskFailure { reason, is_of_writing });
                None
            }
        };
        self.publish(handle);
        note_outcome
    }

    fn publish(&self, handle: &Handle) {
        let Some(queue) = &self.queue else { return };
        handle.found(queue.take_found_posts());
        handle.merged(queue.take_merged_posts());
        count_lost(handle, queue.take_lost());
        let QueueContents { batches: samples, posts, bytes, oldest, .. } = queue.contents();
        let failure = self.failure.as_ref().map(|failure| failure.reason.as_str());
        handle.set_on_disk(OnDisk { samples, posts, bytes, oldest }, failure);
    }
}

fn is_pending(until: Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() < until)
}

fn count_lost(handle: &Handle, lost: Lost) {
    handle.lost(lost.full_posts, |drops| &mut drops.spool_full);
    handle.lost(lost.old_posts, |drops| &mut drops.too_old);
    handle.lost(lost.damaged_posts, |drops| &mut drops.damaged);
}
