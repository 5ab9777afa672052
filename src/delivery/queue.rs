//! The part of one endpoint's queue that is in memory, and the counters of all of it.

mod entry;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::refusal::RefusedPoints;
use super::statistics::{Drops, Health, OnDisk, Statistics};
use crate::clock;
use crate::quantity::BootTime;
use crate::spool::{Batch, Journal, Moment, Post, RecoveredBatches};
use entry::cost_bytes;
pub(super) use entry::{BatchMark, QueuedBatch, QueuedPost, put_in_order};

/// Selects the counter of one drop reason.
pub(super) type DropReason = fn(&mut Drops) -> &mut u64;

/// The samples, posts and bytes that are in memory only.
#[derive(Debug, Clone, Copy, Default)]
struct QueueUsage {
    samples: usize,
    posts: usize,
    bytes: usize,
}

impl QueueUsage {
    fn add(&mut self, entry: &QueuedBatch) {
        self.samples += 1;
        self.posts += entry.posts.len();
        self.bytes += entry.cost_bytes();
    }

    fn take(&mut self, entry: &QueuedBatch) {
        self.samples = self.samples.saturating_sub(1);
        self.posts = self.posts.saturating_sub(entry.posts.len());
        self.bytes = self.bytes.saturating_sub(entry.cost_bytes());
    }
}

#[derive(Debug)]
struct HandleState {
    /// Older than the fresh ones.
    backlog: VecDeque<QueuedBatch>,
    /// Offered, and not yet seen by the worker.
    fresh: VecDeque<QueuedBatch>,
    /// The backlog and the fresh ones.
    waiting: QueueUsage,
    /// Leased by the worker, not resolved, and not on disk.
    in_flight: QueueUsage,
    closed: bool,
    last_success: Option<Instant>,
    health_since: Instant,
    /// The sampling time of the oldest batch that the worker has leased.
    oldest_in_flight: Option<Moment>,
    statistics: Statistics,
}

#[derive(Debug)]
struct HandleShared {
    limits: QueueLimits,
    journal: Option<Journal>,
    state: Mutex<HandleState>,
    arrived: Notify,
    /// The time by which the worker must end; set once, by `flush`.
    deadline: watch::Sender<Option<Instant>>,
    finished: watch::Sender<bool>,
}

/// The handle of an endpoint: it accepts batches and returns statistics. Clones are the same
/// endpoint.
#[derive(Debug, Clone)]
pub struct Handle(Arc<HandleShared>);

/// The limits of what waits in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueueLimits {
    pub(super) bytes_max: usize,
    pub(super) samples_max: usize,
    /// The delay between an offer and the first try.
    pub(super) spread: Duration,
    /// The time after the deadline of a flush in which the worker writes the rest to disk.
    pub(super) grace: Duration,
}

impl Handle {
    pub(super) fn new(limits: QueueLimits, journal: Option<Journal>) -> Self {
        let state = HandleState {
            backlog: VecDeque::new(),
            fresh: VecDeque::new(),
            waiting: QueueUsage::default(),
            in_flight: QueueUsage::default(),
            closed: false,
            last_success: None,
            health_since: clock::timer_now(),
            oldest_in_flight: None,
            statistics: Statistics::default(),
        };
        Self(Arc::new(HandleShared {
            limits,
            journal,
            state: Mutex::new(state),
            arrived: Notify::new(),
            deadline: watch::Sender::new(None),
            finished: watch::Sender::new(false),
        }))
    }

    /// Writes a batch to the journal, so that it outlives the process; whether it is there. To be
    /// called before the counters of its sample are saved, with [`Handle::offer`] after that. So
    /// each interval is in one of the two, and never in both.
    #[must_use]
    pub fn journal(&self, batch: &Batch) -> bool {
        match &self.0.journal {
            Some(journal) if !batch.posts.is_empty() => journal.write_batch(batch),
            _ => false,
        }
    }

    /// Accepts a batch, and never waits for the endpoint. Where there is no room, the oldest
    /// samples that are not in flight are dropped and counted. May be called from any thread, with
    /// or without a runtime. `in_journal` is the result of [`Handle::journal`].
    pub fn offer(&self, batch: Batch, in_journal: bool) {
        let mut state = self.state();
        // The first sample is sent at once, for the person who has just started the agent.
        let spread = match state.statistics.offered_posts {
            0 => Duration::ZERO,
            _ => self.0.limits.spread,
        };
        let entry =
            QueuedBatch { in_journal, ..QueuedBatch::new(batch, clock::timer_now() + spread) };
        let posts = entry.posts.len() as u64;
        state.statistics.offered_posts += posts;
        if state.closed {
            state.statistics.dropped_posts.closed += posts;
            drop(state);
            self.forget(&entry);
            return;
        }
        if entry.posts.is_empty() {
            return;
        }
        state.statistics.waiting_posts += posts;
        state.waiting.add(&entry);
        state.fresh.push_back(entry);
        self.make_room(state, Vec::new());
        self.0.arrived.notify_one();
    }

    /// Puts batches of another queue or of an earlier run in front of all others. They are in order
    /// of age; the oldest are dropped where there is no room.
    pub fn prepend(&self, batches: Vec<Batch>, in_journal: bool) {
        let due = clock::timer_now();
        let mut pushed_out = Vec::new();
        let mut state = self.state();
        for batch in batches.into_iter().rev().filter(|batch| !batch.posts.is_empty()) {
            // Not every journal file shows whether its batch was attempted.
            let entry = QueuedBatch {
                in_journal,
                attempt_is_stored: false,
                ..QueuedBatch::new(batch, due)
            };
            let posts = entry.posts.len() as u64;
            state.statistics.offered_posts += posts;
            if state.closed {
                state.statistics.dropped_posts.closed += posts;
                pushed_out.push(entry);
            } else {
                state.statistics.waiting_posts += posts;
                state.waiting.add(&entry);
                state.backlog.push_front(entry);
            }
        }
        self.make_room(state, pushed_out);
        self.0.arrived.notify_one();
    }

    /// The statistics at `now`, to which ages are counted.
    #[must_use]
    pub fn statistics(&self, now: &Moment) -> Statistics {
        let state = self.state();
        let mut statistics = state.statistics.clone();
        statistics.in_memory_samples = state.waiting.samples + state.in_flight.samples;
        statistics.in_memory_posts = state.waiting.posts + state.in_flight.posts;
        statistics.in_memory_bytes = state.waiting.bytes + state.in_flight.bytes;
        let in_memory = state.backlog.front().or(state.fresh.front()).map(|entry| entry.sampled_at);
        let oldest = [in_memory, state.oldest_in_flight, statistics.on_disk.oldest];
        statistics.oldest_age =
            oldest.into_iter().flatten().map(|sampled_at| sampled_at.age(now)).max();
        statistics.last_success_age = state.last_success.map(|at| at.elapsed());
        statistics.health_age = state.health_since.elapsed();
        statistics
    }

    /// Closes the queue, lets the worker send until `deadline` and write the rest to disk, and
    /// returns the batches that are not there, oldest first. The worker ends with it.
    pub async fn flush(&self, deadline: Instant) -> Vec<Batch> {
        self.state().closed = true;
        self.0.deadline.send_replace(Some(deadline));
        let mut finished = self.0.finished.subscribe();
        // At the deadline the worker puts back its batches itself, and the disk may be slow. A
        // worker that was never run has none.
        let grace = deadline + self.0.limits.grace;
        let _ = tokio::time::timeout_at(grace, finished.wait_for(|finished| *finished)).await;
        let mut state = self.state();
        let state = &mut *state;
        let left: Vec<Batch> = state
            .backlog
            .drain(..)
            .chain(state.fresh.drain(..))
            .map(QueuedBatch::into_batch)
            .collect();
        state.waiting = QueueUsage::default();
        let posts: usize = left.iter().map(|batch| batch.posts.len()).sum();
        state.statistics.no_longer_waiting(posts as u64);
        left
    }

    /// Puts a batch of another queue to its place in the backlog; whether there was room.
    #[must_use]
    pub fn adopt(&self, batch: Batch) -> bool {
        // Before it is removed from its old place.
        let in_journal = self.journal(&batch);
        let entry = QueuedBatch { in_journal, ..QueuedBatch::new(batch, clock::timer_now()) };
        let mut state = self.state();
        state.waiting.add(&entry);
        if state.closed || !state.fits(&self.0.limits) {
            state.waiting.take(&entry);
            drop(state);
            self.forget(&entry);
            return false;
        }
        let posts = entry.posts.len() as u64;
        state.statistics.offered_posts += posts;
        state.statistics.waiting_posts += posts;
        put_in_order(&mut state.backlog, entry);
        drop(state);
        self.0.arrived.notify_one();
        true
    }

    /// Counts a panic after which a task of the endpoint was started again.
    pub fn count_restart(&self) {
        self.state().statistics.restarts += 1;
    }

    /// Counts posts of another queue that turned out to be damaged there.
    pub fn count_damaged(&self, posts: u64) {
        self.found(posts);
        self.lost(posts, |drops| &mut drops.damaged);
    }

    fn state(&self) -> MutexGuard<'_, HandleState> {
        // Each change under the lock is complete in itself, so a panic elsewhere does no harm here.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops the oldest batches beyond the limits. They are freed after the lock is released.
    fn make_room(&self, mut state: MutexGuard<'_, HandleState>, mut pushed_out: Vec<QueuedBatch>) {
        while !state.fits(&self.0.limits)
            && let Some(oldest) = state.pop_front()
        {
            let posts = oldest.posts.len() as u64;
            state.statistics.dropped_posts.queue_full += posts;
            state.statistics.no_longer_waiting(posts);
            pushed_out.push(oldest);
        }
        drop(state);
        pushed_out.iter().for_each(|entry| self.forget(entry));
    }

    /// Removes the batch, which is resolved or on disk, from the journal.
    pub(super) fn forget(&self, entry: &QueuedBatch) {
        if let Some(journal) = self.0.journal.as_ref().filter(|_| entry.in_journal) {
            journal.forget(&entry.sampled_at);
        }
    }
}

/// The worker's side of the handle.
impl Handle {
    pub(super) fn deadline(&self) -> watch::Receiver<Option<Instant>> {
        self.0.deadline.subscribe()
    }

    pub(super) fn finish(&self) {
        self.0.finished.send_replace(true);
    }

    /// Returns once a fresh batch is there.
    pub(super) async fn any_fresh(&self) {
        while self.state().fresh.is_empty() {
            self.0.arrived.notified().await;
        }
    }

    /// Returns once a fresh batch is due.
    pub(super) async fn fresh_due(&self) {
        self.any_fresh().await;
        let due = self.state().fresh.front().map(|entry| entry.due);
        if let Some(due) = due {
            sleep_until(due).await;
        }
    }

    /// Returns once a batch in memory may be sent.
    pub(super) async fn something_due(&self) {
        loop {
            let due = {
                let state = self.state();
                if !state.backlog.is_empty() {
                    return;
                }
                state.fresh.front().map(|entry| entry.due)
            };
            let Some(due) = due else {
                self.0.arrived.notified().await;
                continue;
            };
            tokio::select! {
                () = sleep_until(due) => return,
                // The new one may be due earlier.
                () = self.0.arrived.notified() => {}
            }
        }
    }

    /// A batch waits that is not partially accepted.
    pub(super) fn has_backlog(&self) -> bool {
        self.state().backlog.iter().any(|entry| !entry.partially_accepted)
    }

    /// Leases the oldest fresh batch, if it is due by `now`; with `None` in any case.
    pub(super) fn lease_fresh(&self, now: Option<Instant>) -> Option<QueuedBatch> {
        let mut state = self.state();
        state.fresh.front().filter(|entry| now.is_none_or(|now| entry.due <= now))?;
        let entry = state.fresh.pop_front()?;
        state.lease(&entry);
        Some(entry)
    }

    /// Leases the oldest batch of the backlog.
    pub(super) fn lease_backlog(&self) -> Option<QueuedBatch> {
        let mut state = self.state();
        let entry = state.backlog.pop_front()?;
        state.lease(&entry);
        Some(entry)
    }

    /// Leases the oldest batch of the backlog that is not partially accepted, or the oldest one if
    /// all are.
    pub(super) fn lease_whole(&self) -> Option<QueuedBatch> {
        let mut state = self.state();
        let at = state.backlog.iter().position(|entry| !entry.partially_accepted);
        let entry = state.backlog.remove(at.unwrap_or(0))?;
        state.lease(&entry);
        Some(entry)
    }

    /// Puts a batch that is in memory only back into the backlog. Where there is no room, the
    /// oldest are dropped.
    pub(super) fn put_back(&self, entry: QueuedBatch) {
        let mut state = self.state();
        state.in_flight.take(&entry);
        state.waiting.add(&entry);
        put_in_order(&mut state.backlog, entry);
        self.make_room(state, Vec::new());
    }

    /// A leased batch is on disk now, or all of it is resolved.
    pub(super) fn no_longer_in_memory(&self, left: &[Post]) {
        let mut state = self.state();
        let in_flight = &mut state.in_flight;
        in_flight.samples = in_flight.samples.saturating_sub(1);
        in_flight.posts = in_flight.posts.saturating_sub(left.len());
        let bytes = left.iter().map(cost_bytes).sum();
        in_flight.bytes = in_flight.bytes.saturating_sub(bytes);
    }

    /// A leased batch is no longer on disk.
    pub(super) fn in_memory_again(&self, left: &[Post]) {
        let mut state = self.state();
        state.in_flight.samples += 1;
        state.in_flight.posts += left.len();
        state.in_flight.bytes += left.iter().map(cost_bytes).sum::<usize>();
    }

    pub(super) fn accepted(&self, entry: BatchMark, post: &Post) {
        let mut state = self.state();
        state.resolve(entry, post);
        state.last_success = Some(clock::timer_now());
        let figures = &mut state.statistics;
        figures.newest_accepted = figures.newest_accepted.max(Some(entry.sampled_at.wall));
        figures.accepted_posts += 1;
        figures.accepted_bytes += post.body.len() as u64;
    }

    /// Counts a panic of the worker. `kept`: the batches that it still has; what else was in flight
    /// in memory is lost.
    pub(super) fn count_lost<'a>(&self, kept: impl Iterator<Item = &'a QueuedBatch>) {
        let mut usage = QueueUsage::default();
        kept.filter(|entry| entry.row.is_none()).for_each(|entry| usage.add(entry));
        let mut state = self.state();
        let lost = state.in_flight.posts.saturating_sub(usage.posts) as u64;
        state.in_flight = usage;
        state.oldest_in_flight = None;
        state.statistics.restarts += 1;
        state.statistics.dropped_posts.fault += lost;
        state.statistics.no_longer_waiting(lost);
    }

    /// A post continues as two.
    pub(super) fn split(
        &self,
        entry: BatchMark,
        post: &Post,
        halves: [Post; 2],
    ) -> [QueuedPost; 2] {
        let mut state = self.state();
        state.resolve(entry, post);
        state.statistics.offered_posts += 1;
        halves.map(|post| {
            state.statistics.waiting_posts += 1;
            if !entry.on_disk {
                state.in_flight.posts += 1;
                state.in_flight.bytes += cost_bytes(&post);
            }
            QueuedPost::new(post)
        })
    }

    pub(super) fn dropped(&self, entry: BatchMark, post: &Post, reason: DropReason) {
        let mut state = self.state();
        state.resolve(entry, post);
        *reason(&mut state.statistics.dropped_posts) += 1;
    }

    /// Posts were found on disk, of which only the number is known.
    pub(super) fn found(&self, posts: u64) {
        let mut state = self.state();
        state.statistics.recovered_posts += posts;
        state.statistics.waiting_posts += posts;
    }

    pub(super) fn lost(&self, posts: u64, reason: DropReason) {
        let mut state = self.state();
        state.statistics.no_longer_waiting(posts);
        *reason(&mut state.statistics.dropped_posts) += posts;
    }

    /// Several batches were merged into one with fewer posts.
    pub(super) fn merged(&self, posts: u64) {
        let mut state = self.state();
        state.statistics.no_longer_waiting(posts);
        state.statistics.merged_posts += posts;
    }

    pub(super) fn answered(&self, status: u16) {
        self.state().statistics.answered(status);
    }

    pub(super) fn add_retries(&self, retries: u64) {
        if retries > 0 {
            self.state().statistics.retries += retries;
        }
    }

    pub(super) fn count(&self, counter: fn(&mut Statistics) -> &mut u64) {
        *counter(&mut self.state().statistics) += 1;
    }

    /// Counts points that the endpoint refused.
    pub(super) fn add_dropped_points(&self, points: RefusedPoints) {
        self.state().statistics.dropped_points.add(points);
    }

    pub(super) fn set_health(&self, health: Health) {
        let mut state = self.state();
        if state.statistics.health != health {
            state.statistics.health = health;
            state.health_since = clock::timer_now();
        }
    }

    pub(super) fn set_on_disk(&self, on_disk: OnDisk, failure: Option<&str>) {
        let mut state = self.state();
        state.statistics.on_disk = on_disk;
        if state.statistics.spool_error.as_deref() != failure {
            state.statistics.spool_error = failure.map(str::to_owned);
        }
    }

    pub(super) fn set_oldest_in_flight(&self, sampled_at: Option<Moment>) {
        self.state().oldest_in_flight = sampled_at;
    }

    /// The posts pushed out so far, from memory or disk.
    pub(super) fn pushed_out(&self) -> u64 {
        let drops = &self.state().statistics.dropped_posts;
        drops.queue_full + drops.spool_full
    }

    pub(super) fn waiting_samples(&self) -> u64 {
        let state = self.state();
        (state.waiting.samples + state.in_flight.samples) as u64 + state.statistics.on_disk.samples
    }

    /// The sampling times of the batches of the backlog that are in the journal.
    pub(super) fn in_journal(&self) -> Vec<Moment> {
        let state = self.state();
        state
            .backlog
            .iter()
            .filter(|entry| entry.in_journal)
            .map(|entry| entry.sampled_at)
            .collect()
    }

    /// Removes batches that an earlier run wrote to disk without removing them from the journal.
    /// The disk has the newer state.
    pub(super) fn are_on_disk(&self, sampled_at: &[Moment]) {
        let mut state = self.state();
        let known =
            |entry: &QueuedBatch| entry.in_journal && sampled_at.contains(&entry.sampled_at);
        let (on_disk, others): (Vec<QueuedBatch>, Vec<QueuedBatch>) =
            state.backlog.drain(..).partition(known);
        state.backlog = others.into();
        for entry in &on_disk {
            state.waiting.take(entry);
            let posts = entry.posts.len() as u64;
            let figures = &mut state.statistics;
            figures.offered_posts = figures.offered_posts.saturating_sub(posts);
            figures.waiting_posts = figures.waiting_posts.saturating_sub(posts);
        }
        drop(state);
        on_disk.iter().for_each(|entry| self.forget(entry));
    }

    /// Adds what an earlier run left in the journal, as far as there is room; the number of
    /// samples. `counted_until`: see [`Journal::recover`].
    pub fn recover(&self, now: &Moment, counted_until: Option<BootTime>) -> usize {
        let Some(journal) = &self.0.journal else { return 0 };
        let RecoveredBatches { batches, dropped_posts } =
            journal.recover(now, counted_until, self.0.limits.bytes_max);
        let mut state = self.state();
        state.statistics.offered_posts += dropped_posts;
        state.statistics.dropped_posts.queue_full += dropped_posts;
        drop(state);
        let samples = batches.len();
        self.prepend(batches, true);
        samples
    }

    /// Leases a partially accepted batch that is in memory only.
    pub(super) fn lease_partial(&self) -> Option<QueuedBatch> {
        let mut state = self.state();
        let at = state.backlog.iter().position(|entry| entry.partially_accepted)?;
        let entry = state.backlog.remove(at)?;
        state.lease(&entry);
        Some(entry)
    }

    /// The number of partially accepted batches, and their bytes.
    pub(super) fn unacknowledged(&self) -> (usize, usize) {
        let state = self.state();
        let left = state.backlog.iter().filter(|entry| entry.partially_accepted);
        left.fold((0, 0), |(samples, bytes), entry| (samples + 1, bytes + entry.cost_bytes()))
    }

    /// Clears the failures of all posts: the endpoint may fail, and not the posts.
    pub(super) fn forget_failing(&self) {
        self.state().backlog.iter_mut().for_each(QueuedBatch::forget_failing);
    }

    /// Records in the journal that the batch is attempted, before it is sent.
    pub(super) fn mark_attempted(&self, entry: &mut QueuedBatch) {
        if let Some(journal) = self.0.journal.as_ref().filter(|_| entry.in_journal) {
            entry.attempt_is_stored = journal.mark_attempted(&entry.sampled_at);
        }
    }

    /// Merges the two oldest unattempted batches of the backlog while `merge` does, at most `times`
    /// times.
    pub(super) fn merge_oldest(
        &self,
        times: usize,
        merge: &impl Fn(&Batch, &Batch) -> Option<Batch>,
    ) {
        for _ in 0..times {
            let Some([older, newer]) = self.lease_two() else { return };
            let Some(both) = merge(&older.to_batch(), &newer.to_batch()) else {
                self.put_back(newer);
                self.put_back(older);
                return;
            };
            let merged = (older.posts.len() + newer.posts.len() - both.posts.len()) as u64;
            let is_kept = older.in_journal || newer.in_journal;
            if is_kept && !self.journal_sum(&both, &older.sampled_at) {
                // The two stay in the journal.
                self.put_back(newer);
                self.put_back(older);
                return;
            }
            let both = QueuedBatch { in_journal: is_kept, ..QueuedBatch::new(both, newer.due) };
            let mut state = self.state();
            for gone in [older, newer] {
                state.in_flight.take(&gone);
            }
            state.in_flight.add(&both);
            drop(state);
            self.put_back(both);
            self.merged(merged);
        }
    }

    fn journal_sum(&self, both: &Batch, older: &Moment) -> bool {
        self.0.journal.as_ref().is_some_and(|journal| journal.write_sum(both, older))
    }

    /// Leases the two oldest neighbours of the backlog that the endpoint cannot have accepted
    /// without an answer.
    fn lease_two(&self) -> Option<[QueuedBatch; 2]> {
        let mut state = self.state();
        let mut pairs = state.backlog.iter().zip(state.backlog.iter().skip(1));
        let at =
            pairs.position(|(older, newer)| !older.was_attempted() && !newer.was_attempted())?;
        let two = [state.backlog.remove(at)?, state.backlog.remove(at)?];
        two.iter().for_each(|entry| state.lease(entry));
        Some(two)
    }

    #[cfg(test)]
    fn order(&self) -> Vec<u64> {
        let state = self.state();
        let waiting = state.backlog.iter().chain(&state.fresh);
        waiting.map(|entry| entry.sampled_at.since_boot.as_nanos()).collect()
    }
}

impl HandleState {
    fn fits(&self, limits: &QueueLimits) -> bool {
        self.waiting.bytes + self.in_flight.bytes <= limits.bytes_max
            && self.waiting.samples + self.in_flight.samples <= limits.samples_max
    }

    fn pop_front(&mut self) -> Option<QueuedBatch> {
        let entry = self.backlog.pop_front().or_else(|| self.fresh.pop_front())?;
        self.waiting.take(&entry);
        Some(entry)
    }

    fn lease(&mut self, entry: &QueuedBatch) {
        self.waiting.take(entry);
        self.in_flight.add(entry);
    }

    /// One post is no longer in flight.
    fn resolve(&mut self, entry: BatchMark, post: &Post) {
        self.statistics.no_longer_waiting(1);
        if !entry.on_disk {
            self.in_flight.posts = self.in_flight.posts.saturating_sub(1);
            self.in_flight.bytes = self.in_flight.bytes.saturating_sub(cost_bytes(post));
        }
    }
}

#[cfg(test)]
mod tests;
