//! An endpoint's queue on disk as its worker sees it: what fails there is told once, counted, and
//! never the worker's end.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::queue::Handle;
use super::statistics::OnDisk;
use crate::spool::{Batch, Found, Kept, Lost, Moment, Queue, RowId, SpoolError};

/// A disk that has just failed is left alone for this long.
const LEFT_ALONE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Disk {
    endpoint: String,
    /// `None`: what waits is in memory alone, as the settings have it.
    queue: Option<Queue>,
    trouble: Option<String>,
    left_alone_until: Option<Instant>,
    /// All that is there is in somebody's hands.
    is_handed_out: bool,
    is_open: bool,
    /// What an earlier run left is counted.
    is_counted: bool,
}

impl Disk {
    pub(super) fn new(endpoint: &str, queue: Option<Queue>) -> Self {
        let endpoint = endpoint.to_owned();
        Self {
            endpoint,
            queue,
            trouble: None,
            left_alone_until: None,
            is_handed_out: false,
            is_open: false,
            is_counted: false,
        }
    }

    /// Looks for what an earlier run has left, unless that is known or the disk is left alone. A place
    /// that cannot be used is so told at once, and not in the first outage.
    pub(super) async fn open(&mut self, handle: &Handle, now: Moment) {
        if self.is_counted || self.is_left_alone() {
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
        let Some(kept) = self.said(handle, opened) else { return };
        self.is_counted = true;
        if kept.batches > 0 {
            handle.found(kept.posts);
            let handed_over = handle.handed_over();
            if !handed_over.is_empty()
                && let Ok(there) = queue.there_of(handed_over).await
            {
                handle.are_on_disk(&there);
            }
            info!(
                "endpoint {}: {} samples of an earlier run are on disk and will be sent",
                self.endpoint, kept.batches
            );
        }
        self.is_open = kept.batches > 0;
        self.sync(handle);
    }

    /// Whether there is one, and it is not known to take nothing at present.
    pub(super) fn takes(&self) -> bool {
        self.queue.is_some() && !self.is_left_alone()
    }

    /// Whether anything is there that can be had at present.
    pub(super) fn has_any(&self) -> bool {
        self.has_more_than(0)
    }

    fn has_more_than(&self, batches: u64) -> bool {
        // One that could not be looked into may have some.
        let may_have = self.kept().batches > batches || !self.is_counted;
        self.takes() && !self.is_handed_out && may_have
    }

    /// Looks once more for what an earlier run has left, if that could not be told so far: whatever is
    /// put to disk before would be counted with it.
    async fn is_ready(&mut self, handle: &Handle, now: Moment) -> bool {
        self.open(handle, now).await;
        self.is_counted
    }

    /// Puts a batch to disk, and keeps it from being pushed out there if it goes on `in_hand`.
    /// `None`: it is not there.
    pub(super) async fn append(
        &mut self,
        handle: &Handle,
        batch: &Batch,
        in_hand: bool,
        now: Moment,
    ) -> Option<RowId> {
        if !self.takes() || !self.is_ready(handle, now).await {
            return None;
        }
        let queue = self.queue.as_ref()?;
        let appended = queue.append(batch, in_hand, now).await;
        self.is_open = true;
        self.is_handed_out &= in_hand;
        self.said(handle, appended)
    }

    /// The oldest that is not in somebody's hands, and is so from here on.
    pub(super) async fn oldest(&mut self, handle: &Handle, now: Moment) -> Option<(RowId, Batch)> {
        if !self.has_any() || !self.is_ready(handle, now).await {
            return None;
        }
        let queue = self.queue.as_ref()?;
        let next = queue.next(now).await;
        let next = self.said(handle, next)?;
        self.is_handed_out = next.is_none();
        next
    }

    /// Writes what is left of one; `None`: it could not be written.
    pub(super) async fn replace(
        &mut self,
        handle: &Handle,
        row: RowId,
        batch: &Batch,
    ) -> Option<Found> {
        let replaced = self.queue.as_ref()?.replace(row, batch).await;
        self.said(handle, replaced)
    }

    /// The most that it holds.
    pub(super) fn bytes_max(&self) -> Option<u64> {
        self.queue.as_ref().map(|queue| queue.bounds().bytes_max)
    }

    pub(super) async fn remove(&mut self, handle: &Handle, row: RowId) {
        let Some(queue) = &self.queue else { return };
        let removed = queue.remove(&[row]).await;
        self.said(handle, removed);
    }

    /// It is in nobody's hands any more; whether it is there.
    pub(super) async fn release(&mut self, handle: &Handle, row: RowId) -> Found {
        let Some(queue) = &self.queue else { return Found::Gone };
        let found = queue.release(row).await;
        self.is_handed_out = false;
        // It may have come out that the file is gone.
        self.sync(handle);
        found
    }

    /// Makes one of the two oldest, if `merge` does; whether it did.
    pub(super) async fn merge_oldest(
        &mut self,
        handle: &Handle,
        now: Moment,
        merge: &impl Fn(&Batch, &Batch) -> Option<Batch>,
    ) -> bool {
        let Some(queue) = self.queue.clone().filter(|_| self.has_more_than(1)) else {
            return false;
        };
        let Some((first, older)) = self.oldest(handle, now).await else { return false };
        let mut merged = false;
        if let Some((second, newer)) = self.oldest(handle, now).await {
            if let Some(both) = merge(&older, &newer) {
                let fewer = older.posts.len() + newer.posts.len() - both.posts.len();
                let put = queue.merge(&[first, second], &both).await;
                merged = self.said(handle, put) == Some(Found::There);
                if merged {
                    handle.merged(fewer as u64);
                }
            }
            self.release(handle, second).await;
        }
        self.release(handle, first).await;
        merged
    }

    /// Nothing is there: the file need not be either.
    pub(super) async fn rest(&mut self) {
        if let Some(queue) = self.queue.as_ref().filter(|_| self.is_open) {
            queue.rest().await;
            self.is_open = false;
        }
    }

    fn kept(&self) -> Kept {
        self.queue.as_ref().map(Queue::kept).unwrap_or_default()
    }

    /// When there is to be another look, if there is to be one: what an earlier run has left is not known
    /// yet, or cannot be had at present.
    pub(super) fn look_at(&self) -> Option<Instant> {
        let has_something = !self.is_counted || self.kept().batches > 0;
        let until = self.left_alone_until.filter(|_| self.queue.is_some() && has_something)?;
        (Instant::now() < until).then_some(until)
    }

    fn is_left_alone(&self) -> bool {
        self.left_alone_until.is_some_and(|until| Instant::now() < until)
    }

    /// What came of a call; a failure begins or goes on being a trouble, a success ends it.
    fn said<T>(&mut self, handle: &Handle, outcome: Result<T, SpoolError>) -> Option<T> {
        let said = match outcome {
            Ok(said) => {
                self.left_alone_until = None;
                if self.trouble.take().is_some() {
                    info!("endpoint {}: samples are kept on disk again", self.endpoint);
                }
                Some(said)
            }
            // It says nothing of the disk.
            Err(SpoolError::TooLarge { .. }) => None,
            Err(error) => {
                self.left_alone_until = Some(Instant::now() + LEFT_ALONE);
                let reason = error.to_string();
                if self.trouble.is_none() {
                    warn!(
                        "endpoint {}: samples cannot be kept on disk, they wait in memory: {reason}",
                        self.endpoint
                    );
                }
                self.trouble = Some(reason);
                None
            }
        };
        self.sync(handle);
        said
    }

    fn sync(&self, handle: &Handle) {
        let Some(queue) = &self.queue else { return };
        handle.found(queue.take_found_posts());
        handle.merged(queue.take_merged_posts());
        count_lost(handle, queue.take_lost());
        let Kept { batches: samples, posts, bytes, oldest } = queue.kept();
        handle.set_on_disk(OnDisk { samples, posts, bytes, oldest }, self.trouble.as_deref());
    }
}

fn count_lost(handle: &Handle, lost: Lost) {
    handle.lost(lost.full_posts, |drops| &mut drops.spool_full);
    handle.lost(lost.old_posts, |drops| &mut drops.too_old);
    handle.lost(lost.damaged_posts, |drops| &mut drops.damaged);
}
