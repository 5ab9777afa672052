//! The worker's view of its queue on disk: a failure is logged once and counted, and never ends the
//! worker.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::queue::Handle;
use super::statistics::OnDisk;
use crate::clock;
use crate::quantity::counted;
use crate::spool::{Batch, Lost, Moment, Queue, QueueContents, RowId, RowPresence, SpoolError};

/// The time for which a disk that failed is not used. A disk that is only not writable is still
/// read.
const RETRY_DISK_AFTER: Duration = Duration::from_secs(5);

/// The time for which samples that must go in order wait for a disk that cannot be read. A disk
/// that is gone must not stop delivery for ever.
const UNREADABLE_MAX: Duration = Duration::from_secs(300);

/// The most attempted samples that are skipped to find samples to merge.
const SKIPPED_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct DiskQueue {
    endpoint: String,
    handle: Handle,
    /// `None`: the settings keep the backlog in memory only.
    queue: Option<Queue>,
    failure: Option<DiskFailure>,
    not_written_until: Option<Instant>,
    not_read_until: Option<Instant>,
    unreadable_since: Option<Instant>,
    /// The contents when all of it was leased.
    exhausted: Option<QueueContents>,
    is_open: bool,
    /// The samples of an earlier run are counted.
    is_counted: bool,
}

#[derive(Debug)]
struct DiskFailure {
    reason: String,
    /// A successful read does not end it.
    is_of_writing: bool,
}

/// The kind of an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DiskAccess {
    Read,
    Write,
}

impl DiskQueue {
    pub(super) fn new(endpoint: &str, handle: Handle, queue: Option<Queue>) -> Self {
        let endpoint = endpoint.to_owned();
        Self {
            endpoint,
            handle,
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

    /// Looks for samples of an earlier run, unless that is done or the disk has just failed. So a
    /// directory that cannot be used is logged at the start, and not in the first outage.
    pub(super) async fn open(&mut self, now: Moment) {
        if self.is_counted || !self.is_readable() {
            return;
        }
        let Some(queue) = self.queue.clone() else { return };
        let opened = queue.open(now).await;
        // An earlier run left what is damaged too.
        let lost = queue.take_lost();
        // All of it is counted below.
        let _ = queue.take_found_posts();
        self.handle.found(lost.full_posts + lost.old_posts + lost.damaged_posts);
        self.count_lost(lost);
        let Some(kept) = self.note_outcome(DiskAccess::Read, opened) else { return };
        self.is_counted = true;
        if kept.batches > 0 {
            self.handle.found(kept.posts);
            let in_journal = self.handle.in_journal();
            if !in_journal.is_empty()
                && let Ok(there) = queue.find_present(in_journal).await
            {
                self.handle.are_on_disk(&there);
            }
            info!(
                "endpoint {}: {} on disk; this backlog is sent",
                self.endpoint,
                counted(
                    kept.batches,
                    "sample of an earlier run is",
                    "samples of an earlier run are"
                )
            );
        }
        self.is_open = kept.batches > 0;
        self.publish();
    }

    /// There is a disk that has not just failed to write.
    pub(super) fn is_writable(&self) -> bool {
        self.queue.is_some() && !is_pending(self.not_written_until)
    }

    fn is_readable(&self) -> bool {
        self.queue.is_some() && !is_pending(self.not_read_until)
    }

    /// The disk has older samples that cannot be read now, but may be soon.
    pub(super) fn withholds_any(&self) -> bool {
        let gave_up = self.unreadable_since.is_some_and(|since| since.elapsed() > UNREADABLE_MAX);
        self.is_counted && self.contents().batches > 0 && !self.is_readable() && !gave_up
    }

    /// The disk has samples that can be read now.
    pub(super) fn has_any(&self) -> bool {
        self.has_more_than(0)
    }

    fn has_more_than(&self, batches: u64) -> bool {
        // A disk that could not be read may have some.
        let may_have = self.contents().batches > batches || !self.is_counted;
        self.is_readable() && may_have && self.exhausted != Some(self.contents())
    }

    /// Looks again for samples of an earlier run. Whatever is written before would be counted with
    /// them.
    async fn is_ready(&mut self, now: Moment) -> bool {
        self.open(now).await;
        self.is_counted
    }

    /// Writes a batch to disk; with `leased` it is not pushed out there. `None`: it is not there.
    pub(super) async fn append(
        &mut self,
        batch: &Batch,
        leased: bool,
        now: Moment,
    ) -> Option<RowId> {
        if !self.is_writable() || !self.is_ready(now).await {
            return None;
        }
        let queue = self.queue.as_ref()?;
        let appended = queue.append(batch, leased, now).await;
        self.is_open = true;
        self.note_outcome(DiskAccess::Write, appended)
    }

    /// Leases the oldest batch that is not leased.
    pub(super) async fn oldest(&mut self, now: Moment) -> Option<(RowId, Batch)> {
        if !self.has_any() || !self.is_ready(now).await {
            return None;
        }
        let queue = self.queue.as_ref()?;
        let next = queue.next(now).await;
        let next = self.note_outcome(DiskAccess::Read, next)?;
        self.exhausted = next.is_none().then(|| self.contents());
        next
    }

    /// Writes the rest of a batch; `None`: it could not be written.
    pub(super) async fn replace(&mut self, row: RowId, batch: &Batch) -> Option<RowPresence> {
        let replaced = self.queue.as_ref()?.replace(row, batch).await;
        self.note_outcome(DiskAccess::Write, replaced)
    }

    /// The limit in bytes.
    pub(super) fn bytes_max(&self) -> Option<u64> {
        self.queue.as_ref().map(|queue| queue.bounds().bytes_max)
    }

    /// True while the disk fails, so that the backlog is in memory.
    pub(super) fn is_failing(&self) -> bool {
        self.failure.is_some()
    }

    pub(super) async fn remove(&mut self, row: RowId) {
        let Some(queue) = &self.queue else { return };
        let removed = queue.remove(&[row]).await;
        self.note_outcome(DiskAccess::Write, removed);
    }

    /// Ends the lease of a batch; whether it is there.
    pub(super) async fn release(&mut self, row: RowId) -> RowPresence {
        let Some(queue) = &self.queue else { return RowPresence::Gone };
        let found = queue.release(row).await;
        // The file may have turned out to be gone.
        self.publish();
        found
    }

    /// Merges the two oldest unattempted batches, if `merge` does; whether it did.
    pub(super) async fn merge_oldest(
        &mut self,
        now: Moment,
        merge: &impl Fn(&Batch, &Batch) -> Option<Batch>,
    ) -> bool {
        let can_be = self.is_writable() && self.has_more_than(1);
        let Some(queue) = self.queue.clone().filter(|_| can_be) else { return false };
        let mut skipped = Vec::new();
        let mut merged = false;
        if let Some((first, older)) = self.oldest_untried(now, &mut skipped).await {
            if let Some((second, newer)) = self.oldest_untried(now, &mut skipped).await {
                if let Some(both) = merge(&older, &newer) {
                    let fewer = older.posts.len() + newer.posts.len() - both.posts.len();
                    let put = queue.merge(&[first, second], &both).await;
                    merged =
                        self.note_outcome(DiskAccess::Write, put) == Some(RowPresence::Present);
                    if merged {
                        self.handle.merged(fewer as u64);
                    }
                }
                self.release(second).await;
            }
            self.release(first).await;
        }
        for row in skipped {
            self.release(row).await;
        }
        merged
    }

    /// Leases the oldest batch that the endpoint cannot have accepted without an answer, and older ones that
    /// it can have into `skipped`.
    async fn oldest_untried(
        &mut self,
        now: Moment,
        skipped: &mut Vec<RowId>,
    ) -> Option<(RowId, Batch)> {
        while skipped.len() < SKIPPED_MAX {
            let (row, batch) = self.oldest(now).await?;
            if !batch.attempted {
                return Some((row, batch));
            }
            skipped.push(row);
        }
        None
    }

    /// Closes a file without batches, which removes it.
    pub(super) async fn close_idle(&mut self) {
        if let Some(queue) = self.queue.as_ref().filter(|_| self.is_open) {
            queue.close_idle().await;
            self.is_open = false;
        }
    }

    fn contents(&self) -> QueueContents {
        self.queue.as_ref().map(Queue::contents).unwrap_or_default()
    }

    /// The time of the next try to read a disk that failed; `None`: none is needed.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        let has_something = !self.is_counted || self.contents().batches > 0;
        let until = self.not_read_until.filter(|_| self.queue.is_some() && has_something)?;
        (clock::timer_now() < until).then_some(until)
    }

    /// Records the outcome of a call: an error begins or continues a failure, a success ends it.
    fn note_outcome<T>(&mut self, access: DiskAccess, outcome: Result<T, SpoolError>) -> Option<T> {
        let value = match outcome {
            Ok(value) => {
                (self.not_read_until, self.unreadable_since) = (None, None);
                let goes_on = access == DiskAccess::Read
                    && self.failure.as_ref().is_some_and(|failure| failure.is_of_writing);
                if !goes_on {
                    self.not_written_until = None;
                }
                if !goes_on && self.failure.take().is_some() {
                    info!("endpoint {}: samples are kept on disk again", self.endpoint);
                }
                Some(value)
            }
            // It says nothing about the disk.
            Err(SpoolError::TooLarge { .. }) => None,
            Err(error) => {
                let now = clock::timer_now();
                self.not_written_until = Some(now + RETRY_DISK_AFTER);
                if access == DiskAccess::Read {
                    self.not_read_until = Some(now + RETRY_DISK_AFTER);
                    self.unreadable_since.get_or_insert(now);
                }
                let reason = error.to_string();
                if self.failure.is_none() {
                    warn!(
                        "endpoint {}: samples cannot be kept on disk: {reason}; the backlog is in memory, a retry follows",
                        self.endpoint
                    );
                }
                let was_of_writing = self.failure.take().is_some_and(|was| was.is_of_writing);
                let is_of_writing = was_of_writing || access == DiskAccess::Write;
                self.failure = Some(DiskFailure { reason, is_of_writing });
                None
            }
        };
        self.publish();
        value
    }

    fn publish(&self) {
        let Some(queue) = &self.queue else { return };
        self.handle.found(queue.take_found_posts());
        self.handle.merged(queue.take_merged_posts());
        self.count_lost(queue.take_lost());
        let QueueContents { batches: samples, posts, bytes, oldest, .. } = queue.contents();
        let failure = self.failure.as_ref().map(|failure| failure.reason.as_str());
        self.handle.set_on_disk(OnDisk { samples, posts, bytes, oldest }, failure);
    }

    fn count_lost(&self, lost: Lost) {
        self.handle.lost(lost.full_posts, |drops| &mut drops.spool_full);
        self.handle.lost(lost.old_posts, |drops| &mut drops.too_old);
        self.handle.lost(lost.damaged_posts, |drops| &mut drops.damaged);
    }
}

fn is_pending(until: Option<Instant>) -> bool {
    until.is_some_and(|until| clock::timer_now() < until)
}
