//! What waits for one endpoint in memory, and what became of the rest.

mod adopt;
mod backlog;
mod entry;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::statistics::{Drops, Health, OnDisk, Statistics};
use crate::spool::{Batch, Journal, Moment, Post};
use entry::cost_bytes;
pub(super) use entry::{BatchMark, QueuedBatch, QueuedPost, put_in_order};

/// Where drops of one reason are counted.
pub(super) type DropReason = fn(&mut Drops) -> &mut u64;

/// Samples, posts and bytes that are nowhere but in memory.
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
    /// What the endpoint has not taken so far; older than what is fresh.
    backlog: VecDeque<QueuedBatch>,
    /// What has come in and was looked at by nobody.
    fresh: VecDeque<QueuedBatch>,
    /// Both together.
    waiting: QueueUsage,
    /// Taken by the worker, not settled, and not on disk.
    in_flight: QueueUsage,
    closed: bool,
    last_success: Option<Instant>,
    health_since: Instant,
    /// When the oldest of what the worker has in its hands was taken.
    oldest_in_flight: Option<Moment>,
    statistics: Statistics,
}

#[derive(Debug)]
struct HandleShared {
    bytes_max: usize,
    samples_max: usize,
    /// From an offer to the first try of what was offered.
    spread: Duration,
    /// From the end of a flush to where what a worker has in its hands is not waited for any more.
    grace: Duration,
    journal: Option<Journal>,
    state: Mutex<HandleState>,
    arrived: Notify,
    /// When the worker must be done; set once, by `flush`.
    deadline: watch::Sender<Option<Instant>>,
    finished: watch::Sender<bool>,
}

/// The sampler's end of an endpoint: takes batches, tells figures. Clones are the same endpoint.
#[derive(Debug, Clone)]
pub struct Handle(Arc<HandleShared>);

/// How much may wait in memory, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueueLimits {
    pub(super) bytes_max: usize,
    pub(super) samples_max: usize,
    pub(super) spread: Duration,
    /// What the worker may take beyond the deadline of a flush, to put to disk what is left.
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
            health_since: Instant::now(),
            oldest_in_flight: None,
            statistics: Statistics::default(),
        };
        Self(Arc::new(HandleShared {
            bytes_max: limits.bytes_max,
            samples_max: limits.samples_max,
            spread: limits.spread,
            grace: limits.grace,
            journal,
            state: Mutex::new(state),
            arrived: Notify::new(),
            deadline: watch::Sender::new(None),
            finished: watch::Sender::new(false),
        }))
    }

    /// Writes a batch beside the counters, so that it outlives the process from there on, and says
    /// whether it is there. To be called before the counters of its sample are kept, and
    /// [`Handle::offer`] behind that: so an interval stands in one of the two, and never in both.
    #[must_use]
    pub fn journal(&self, batch: &Batch) -> bool {
        match &self.0.journal {
            Some(journal) if !batch.posts.is_empty() => journal.write_batch(batch),
            _ => false,
        }
    }

    /// Takes a batch. Never waits for the endpoint: when there is no room, the oldest samples that
    /// are not just being sent make some, counted as dropped. May be called from any thread, with or
    /// without a runtime. `in_journal` is what [`Handle::hand_over`] said of it.
    pub fn offer(&self, batch: Batch, in_journal: bool) {
        // Freed after the lock is given back.
        let mut pushed_out = Vec::new();
        let mut state = self.state();
        // The first is sent at once: whoever has just started the agent is looking.
        let spread = match state.statistics.offered_posts {
            0 => Duration::ZERO,
            _ => self.0.spread,
        };
        let entry = QueuedBatch { in_journal, ..QueuedBatch::new(batch, Instant::now() + spread) };
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
        self.make_room(&mut state, &mut pushed_out);
        drop(state);
        pushed_out.iter().for_each(|entry| self.forget(entry));
        self.0.arrived.notify_one();
    }

    /// Takes over what another queue for the same endpoint had not sent, or an earlier run had
    /// handed over, oldest first, in front of all that waits here. What there is no room for is
    /// dropped from the oldest on, as ever.
    pub fn prepend(&self, batches: Vec<Batch>, in_journal: bool) {
        let due = Instant::now();
        // Freed after the lock is given back.
        let mut pushed_out = Vec::new();
        let mut state = self.state();
        for batch in batches.into_iter().rev().filter(|batch| !batch.posts.is_empty()) {
            // Whether its file says that it was tried is not known of all.
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
        self.make_room(&mut state, &mut pushed_out);
        drop(state);
        pushed_out.iter().for_each(|entry| self.forget(entry));
        self.0.arrived.notify_one();
    }

    /// As of `now`, which ages are told by.
    #[must_use]
    pub fn statistics(&self, now: &Moment) -> Statistics {
        let state = self.state();
        let mut told = state.statistics.clone();
        told.in_memory_samples = state.waiting.samples + state.in_flight.samples;
        told.in_memory_posts = state.waiting.posts + state.in_flight.posts;
        told.in_memory_bytes = state.waiting.bytes + state.in_flight.bytes;
        let in_memory = state.backlog.front().or(state.fresh.front()).map(|entry| entry.sampled_at);
        let oldest = [in_memory, state.oldest_in_flight, told.on_disk.oldest];
        told.oldest_age = oldest.into_iter().flatten().map(|sampled_at| sampled_at.age(now)).max();
        told.last_success_age = state.last_success.map(|at| at.elapsed());
        told.health_age = state.health_since.elapsed();
        told
    }

    /// Closes the queue, lets the worker send what waits until `deadline` and put what is left to
    /// disk, and returns what is not there, oldest first. The worker ends with it.
    pub async fn flush(&self, deadline: Instant) -> Vec<Batch> {
        self.state().closed = true;
        self.0.deadline.send_replace(Some(deadline));
        let mut finished = self.0.finished.subscribe();
        // The worker puts back what it has under way at the deadline itself, and the disk may take
        // its time. A worker that was never run has nothing under way.
        let grace = deadline + self.0.grace;
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
        state.statistics.waiting_posts =
            state.statistics.waiting_posts.saturating_sub(posts as u64);
        left
    }

    fn state(&self) -> MutexGuard<'_, HandleState> {
        // Each change under the lock is complete in itself; a panic elsewhere spoils nothing here.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make_room(&self, state: &mut HandleState, pushed_out: &mut Vec<QueuedBatch>) {
        while state.waiting.bytes + state.in_flight.bytes > self.0.bytes_max
            || state.waiting.samples + state.in_flight.samples > self.0.samples_max
        {
            let Some(oldest) = state.pop_front() else { break };
            let posts = oldest.posts.len() as u64;
            state.statistics.dropped_posts.queue_full += posts;
            state.statistics.waiting_posts = state.statistics.waiting_posts.saturating_sub(posts);
            pushed_out.push(oldest);
        }
    }

    /// It is settled, or on disk: the file beside the counters need not hold it any longer.
    pub(super) fn forget(&self, entry: &QueuedBatch) {
        if let Some(journal) = self.0.journal.as_ref().filter(|_| entry.in_journal) {
            journal.forget(&entry.sampled_at);
        }
    }
}

/// The worker's end.
impl Handle {
    pub(super) fn deadline(&self) -> watch::Receiver<Option<Instant>> {
        self.0.deadline.subscribe()
    }

    pub(super) fn finish(&self) {
        self.0.finished.send_replace(true);
    }

    /// Ends when something fresh is there.
    pub(super) async fn any_fresh(&self) {
        while self.state().fresh.is_empty() {
            self.0.arrived.notified().await;
        }
    }

    /// Ends when something fresh is due.
    pub(super) async fn fresh_due(&self) {
        self.any_fresh().await;
        let due = self.state().fresh.front().map(|entry| entry.due);
        if let Some(due) = due {
            sleep_until(due).await;
        }
    }

    /// Ends when something that waits in memory may be sent.
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
                // It may be what is due before.
                () = self.0.arrived.notified() => {}
            }
        }
    }

    /// Whether something waits that is more than what the endpoint left of a sample.
    pub(super) fn has_backlog(&self) -> bool {
        self.state().backlog.iter().any(|entry| !entry.partially_accepted)
    }

    /// The oldest fresh one, if it is due by `now`, or whenever it is; from here on under way.
    pub(super) fn lease_fresh(&self, now: Option<Instant>) -> Option<QueuedBatch> {
        let mut state = self.state();
        state.fresh.front().filter(|entry| now.is_none_or(|now| entry.due <= now))?;
        let entry = state.fresh.pop_front()?;
        state.lease(&entry);
        Some(entry)
    }

    /// The oldest of what the endpoint has not taken so far; from here on under way.
    pub(super) fn lease_backlog(&self) -> Option<QueuedBatch> {
        let mut state = self.state();
        let entry = state.backlog.pop_front()?;
        state.lease(&entry);
        Some(entry)
    }

    /// The same, but for what is left of samples: only where there is nothing else.
    pub(super) fn lease_whole(&self) -> Option<QueuedBatch> {
        let mut state = self.state();
        let at = state.backlog.iter().position(|entry| !entry.partially_accepted);
        let entry = state.backlog.remove(at.unwrap_or(0))?;
        state.lease(&entry);
        Some(entry)
    }

    /// Something that is in memory alone goes to its place in the backlog. When there is no room, the
    /// oldest are dropped, and it with them if it is one.
    pub(super) fn put_back(&self, entry: QueuedBatch) {
        let mut pushed_out = Vec::new();
        let mut state = self.state();
        state.in_flight.take(&entry);
        state.waiting.add(&entry);
        put_in_order(&mut state.backlog, entry);
        self.make_room(&mut state, &mut pushed_out);
        drop(state);
        pushed_out.iter().for_each(|entry| self.forget(entry));
    }

    /// What was under way and in memory alone is on disk, or all of it is settled.
    pub(super) fn no_longer_in_memory(&self, left: &[Post]) {
        let mut state = self.state();
        let in_flight = &mut state.in_flight;
        in_flight.samples = in_flight.samples.saturating_sub(1);
        in_flight.posts = in_flight.posts.saturating_sub(left.len());
        let bytes = left.iter().map(cost_bytes).sum();
        in_flight.bytes = in_flight.bytes.saturating_sub(bytes);
    }

    /// What was on disk is there no more.
    pub(super) fn in_memory_again(&self, left: &[Post]) {
        let mut state = self.state();
        state.in_flight.samples += 1;
        state.in_flight.posts += left.len();
        state.in_flight.bytes += left.iter().map(cost_bytes).sum::<usize>();
    }

    pub(super) fn accepted(&self, entry: BatchMark, post: &Post) {
        let mut state = self.state();
        state.resolve(entry, post);
        state.last_success = Some(Instant::now());
        let figures = &mut state.statistics;
        figures.newest_accepted = figures.newest_accepted.max(Some(entry.sampled_at.wall));
        figures.accepted_posts += 1;
        figures.accepted_bytes += post.body.len() as u64;
    }

    /// A post goes on as two.
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

    /// Posts of which only their number is known were found on disk, or lost there.
    pub(super) fn found(&self, posts: u64) {
        let mut state = self.state();
        state.statistics.recovered_posts += posts;
        state.statistics.waiting_posts += posts;
    }

    pub(super) fn lost(&self, posts: u64, reason: DropReason) {
        let mut state = self.state();
        state.statistics.waiting_posts = state.statistics.waiting_posts.saturating_sub(posts);
        *reason(&mut state.statistics.dropped_posts) += posts;
    }

    /// Several batches have become one of fewer posts.
    pub(super) fn merged(&self, posts: u64) {
        let mut state = self.state();
        state.statistics.waiting_posts = state.statistics.waiting_posts.saturating_sub(posts);
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

    pub(super) fn set_health(&self, health: Health) {
        let mut state = self.state();
        if state.statistics.health != health {
            state.statistics.health = health;
            state.health_since = Instant::now();
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

    /// Posts pushed out so far, in memory or on disk.
    pub(super) fn pushed_out(&self) -> u64 {
        let drops = &self.state().statistics.dropped_posts;
        drops.queue_full + drops.spool_full
    }

    pub(super) fn waiting_samples(&self) -> u64 {
        let state = self.state();
        (state.waiting.samples + state.in_flight.samples) as u64 + state.statistics.on_disk.samples
    }

    #[cfg(test)]
    fn order(&self) -> Vec<u64> {
        let state = self.state();
        let waiting = state.backlog.iter().chain(&state.fresh);
        waiting.map(|entry| entry.sampled_at.since_boot.as_nanos()).collect()
    }
}

impl HandleState {
    fn pop_front(&mut self) -> Option<QueuedBatch> {
        let entry = self.backlog.pop_front().or_else(|| self.fresh.pop_front())?;
        self.waiting.take(&entry);
        Some(entry)
    }

    fn lease(&mut self, entry: &QueuedBatch) {
        self.waiting.take(entry);
        self.in_flight.add(entry);
    }

    /// One post under way is so no longer.
    fn resolve(&mut self, entry: BatchMark, post: &Post) {
        self.statistics.waiting_posts = self.statistics.waiting_posts.saturating_sub(1);
        if !entry.on_disk {
            self.in_flight.posts = self.in_flight.posts.saturating_sub(1);
            self.in_flight.bytes = self.in_flight.bytes.saturating_sub(cost_bytes(post));
        }
    }
}

#[cfg(test)]
mod tests;
