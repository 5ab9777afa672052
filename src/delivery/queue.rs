//! What waits for one endpoint, and what became of the rest.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::{Batch, Post};
use crate::quantity::WallTime;

/// Posts that were given up, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drops {
    /// Pushed out by newer samples while the endpoint did not take them.
    pub queue_full: u64,
    /// Answered with a redirect, which is not followed.
    pub rejected_3xx: u64,
    /// Answered with a status that will not change: 4xx but for 408, 425 and 429.
    pub rejected_4xx: u64,
    /// Answered 5xx (or 408, 425, 429) too often while the endpoint was otherwise well.
    pub gave_up_5xx: u64,
    /// Not answered too often while the endpoint was otherwise well.
    pub gave_up_unanswered: u64,
    /// Waited longer than the settings allow.
    pub too_old: u64,
    /// Offered after the queue was closed.
    pub closed: u64,
}

impl Drops {
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self {
            queue_full,
            rejected_3xx,
            rejected_4xx,
            gave_up_5xx,
            gave_up_unanswered,
            too_old,
            closed,
        } = *self;
        queue_full
            + rejected_3xx
            + rejected_4xx
            + gave_up_5xx
            + gave_up_unanswered
            + too_old
            + closed
    }
}

/// One endpoint's figures since the start. At any moment
/// `offered_posts == accepted_posts + dropped_posts.total() + waiting_posts`, except that
/// [`Handle::flush`] takes what is left out of `waiting_posts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    pub offered_posts: u64,
    /// Posts answered 2xx, and the bytes of their bodies.
    pub accepted_posts: u64,
    pub accepted_bytes: u64,
    /// Answers by class; a retried post has several.
    pub answers_2xx: u64,
    pub answers_3xx: u64,
    pub answers_4xx: u64,
    pub answers_5xx: u64,
    /// Tries without a whole answer: no connection, or too slow.
    pub unanswered: u64,
    /// Tries beyond each post's first.
    pub retries: u64,
    pub dropped_posts: Drops,
    /// Samples, posts and bytes that wait or are under way.
    pub waiting_samples: usize,
    pub waiting_posts: usize,
    pub waiting_bytes: usize,
    /// Time since a post was last accepted; absent before the first.
    pub last_success_age: Option<Duration>,
    /// The stamp of the newest sample of which a post was accepted.
    pub newest_accepted: Option<WallTime>,
}

/// A post and what was tried with it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) post: Post,
    pub(super) offered_at: Instant,
    /// Whether it was tried at all: a further try is a retry.
    pub(super) sent: bool,
    /// Failed tries that count toward giving up.
    pub(super) failures: u32,
}

/// What remains of a batch.
#[derive(Debug)]
pub(super) struct Remains {
    pub(super) sequence: u64,
    pub(super) taken_at: WallTime,
    /// The endpoint took a part of this batch as it stands.
    pub(super) partly_accepted: bool,
    pub(super) posts: Vec<Waiting>,
}

impl Remains {
    fn new(batch: Batch, offered_at: Instant) -> Self {
        let posts = batch
            .posts
            .into_iter()
            .map(|post| Waiting { post, offered_at, sent: false, failures: 0 })
            .collect();
        Self { sequence: batch.sequence, taken_at: batch.taken_at, partly_accepted: false, posts }
    }

    fn cost_bytes(&self) -> usize {
        self.posts.iter().map(|waiting| cost_bytes(&waiting.post)).sum()
    }

    fn into_batch(self) -> Batch {
        let posts = self.posts.into_iter().map(|waiting| waiting.post).collect();
        Batch { sequence: self.sequence, taken_at: self.taken_at, posts }
    }
}

pub(super) fn cost_bytes(post: &Post) -> usize {
    size_of::<Waiting>() + post.path.capacity() + post.body.len()
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Remains>,
    waiting_posts: usize,
    waiting_bytes: usize,
    /// Taken by the worker, not settled: counted as waiting all the same.
    under_way_samples: usize,
    under_way_posts: usize,
    under_way_bytes: usize,
    closed: bool,
    last_success: Option<Instant>,
    statistics: Statistics,
}

#[derive(Debug)]
struct Shared {
    bytes_max: usize,
    samples_max: usize,
    state: Mutex<State>,
    arrived: Notify,
    /// When the worker must be done; set once, by `flush`.
    deadline: watch::Sender<Option<Instant>>,
    finished: watch::Sender<bool>,
}

/// The sampler's end of an endpoint: takes batches, tells figures. Clones are the same endpoint.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Shared>);

impl Handle {
    pub(super) fn new(bytes_max: usize, samples_max: usize) -> Self {
        Self(Arc::new(Shared {
            bytes_max,
            samples_max,
            state: Mutex::default(),
            arrived: Notify::new(),
            deadline: watch::Sender::new(None),
            finished: watch::Sender::new(false),
        }))
    }

    /// Hands over a batch. Never waits for the endpoint: when the queue is full, the oldest
    /// samples that are not just being sent make room, counted as dropped. May be called from any
    /// thread, with or without a runtime.
    pub fn offer(&self, batch: Batch) {
        let offered_at = Instant::now();
        let remains = Remains::new(batch, offered_at);
        // Freed after the lock is given back.
        let mut pushed_out = Vec::new();
        let mut state = self.state();
        state.statistics.offered_posts += remains.posts.len() as u64;
        if state.closed {
            state.statistics.dropped_posts.closed += remains.posts.len() as u64;
            return;
        }
        if remains.posts.is_empty() {
            return;
        }
        state.push_back(remains);
        self.make_room(&mut state, &mut pushed_out);
        drop(state);
        self.0.arrived.notify_one();
    }

    /// Takes over what another queue for the same endpoint had not sent, oldest first, in front of
    /// all that waits here. What there is no room for is dropped from the oldest on, as ever.
    pub fn put_first(&self, batches: Vec<Batch>) {
        let offered_at = Instant::now();
        // Freed after the lock is given back.
        let mut pushed_out = Vec::new();
        let mut state = self.state();
        for batch in batches.into_iter().rev().filter(|batch| !batch.posts.is_empty()) {
            let remains = Remains::new(batch, offered_at);
            let posts = remains.posts.len() as u64;
            state.statistics.offered_posts += posts;
            if state.closed {
                state.statistics.dropped_posts.closed += posts;
            } else {
                state.push_front(remains);
            }
        }
        self.make_room(&mut state, &mut pushed_out);
        drop(state);
        self.0.arrived.notify_one();
    }

    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let state = self.state();
        Statistics {
            waiting_samples: state.waiting.len() + state.under_way_samples,
            waiting_posts: state.waiting_posts + state.under_way_posts,
            waiting_bytes: state.waiting_bytes + state.under_way_bytes,
            last_success_age: state.last_success.map(|at| at.elapsed()),
            ..state.statistics
        }
    }

    /// Closes the queue, lets the worker send what waits until `deadline`, and returns what was
    /// left, oldest first. The worker ends with it.
    pub async fn flush(&self, deadline: Instant) -> Vec<Batch> {
        self.state().closed = true;
        self.0.deadline.send_replace(Some(deadline));
        let mut finished = self.0.finished.subscribe();
        // The worker puts back what it has under way at the deadline itself; the moment more is
        // for that. A worker that was never run has nothing under way.
        let grace = deadline + Duration::from_millis(200);
        let _ = tokio::time::timeout_at(grace, finished.wait_for(|finished| *finished)).await;
        let mut state = self.state();
        let mut left = Vec::new();
        while let Some(remains) = state.pop_front() {
            left.push(remains.into_batch());
        }
        left
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change under the lock is complete in itself; a panic elsewhere spoils nothing here.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make_room(&self, state: &mut State, pushed_out: &mut Vec<Remains>) {
        while state.waiting_bytes + state.under_way_bytes > self.0.bytes_max
            || state.waiting.len() + state.under_way_samples > self.0.samples_max
        {
            let Some(oldest) = state.pop_front() else { break };
            state.statistics.dropped_posts.queue_full += oldest.posts.len() as u64;
            pushed_out.push(oldest);
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

    pub(super) async fn arrived(&self) {
        self.0.arrived.notified().await;
    }

    /// The oldest batch, from here on under way. What is left of a partly accepted one comes with
    /// the next, if one waits.
    pub(super) fn take(&self) -> Option<Remains> {
        let mut state = self.state();
        let mut remains = state.pop_front()?;
        if remains.partly_accepted
            && let Some(next) = state.pop_front()
        {
            remains.posts.extend(next.posts);
            remains = Remains { posts: remains.posts, ..next };
        }
        state.under_way_samples = 1;
        state.under_way_posts = remains.posts.len();
        state.under_way_bytes = remains.cost_bytes();
        Some(remains)
    }

    /// What was under way and is not settled goes back to the front; it is the oldest, so when
    /// there is no room it is dropped.
    pub(super) fn put_back(&self, remains: Remains) {
        let mut pushed_out = Vec::new();
        let mut state = self.state();
        state.under_way_samples = 0;
        state.under_way_posts = 0;
        state.under_way_bytes = 0;
        if remains.posts.is_empty() {
            return;
        }
        state.push_front(remains);
        self.make_room(&mut state, &mut pushed_out);
    }

    pub(super) fn accepted(&self, waiting: &Waiting, taken_at: WallTime) {
        let mut state = self.state();
        state.settle(waiting);
        state.last_success = Some(Instant::now());
        let figures = &mut state.statistics;
        figures.newest_accepted = figures.newest_accepted.max(Some(taken_at));
        figures.accepted_posts += 1;
        figures.accepted_bytes += waiting.post.body.len() as u64;
    }

    /// A post goes on as two.
    pub(super) fn split(&self, waiting: &Waiting, halves: [Post; 2]) -> [Waiting; 2] {
        let mut state = self.state();
        state.settle(waiting);
        state.statistics.offered_posts += 1;
        let offered_at = waiting.offered_at;
        halves.map(|post| {
            state.under_way_posts += 1;
            state.under_way_bytes += cost_bytes(&post);
            Waiting { post, offered_at, sent: false, failures: 0 }
        })
    }

    pub(super) fn dropped(&self, waiting: &Waiting, reason: fn(&mut Drops) -> &mut u64) {
        let mut state = self.state();
        state.settle(waiting);
        *reason(&mut state.statistics.dropped_posts) += 1;
    }

    pub(super) fn count(&self, counter: fn(&mut Statistics) -> &mut u64) {
        *counter(&mut self.state().statistics) += 1;
    }
}

impl State {
    fn push_back(&mut self, remains: Remains) {
        self.waiting_posts += remains.posts.len();
        self.waiting_bytes += remains.cost_bytes();
        self.waiting.push_back(remains);
    }

    fn push_front(&mut self, remains: Remains) {
        self.waiting_posts += remains.posts.len();
        self.waiting_bytes += remains.cost_bytes();
        self.waiting.push_front(remains);
    }

    fn pop_front(&mut self) -> Option<Remains> {
        let remains = self.waiting.pop_front()?;
        self.waiting_posts = self.waiting_posts.saturating_sub(remains.posts.len());
        self.waiting_bytes = self.waiting_bytes.saturating_sub(remains.cost_bytes());
        Some(remains)
    }

    /// One post under way is so no longer.
    fn settle(&mut self, waiting: &Waiting) {
        self.under_way_posts = self.under_way_posts.saturating_sub(1);
        self.under_way_bytes = self.under_way_bytes.saturating_sub(cost_bytes(&waiting.post));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(sequence: u64, bodies: &[usize]) -> Batch {
        let posts = bodies
            .iter()
            .map(|len| Post { path: String::new(), body: vec![b'x'; *len].into(), split: None })
            .collect();
        Batch { sequence, taken_at: WallTime::from_unix_millis(sequence), posts }
    }

    fn sequences(handle: &Handle) -> Vec<u64> {
        handle.state().waiting.iter().map(|remains| remains.sequence).collect()
    }

    fn balance(figures: &Statistics) {
        let accounted = figures.accepted_posts + figures.dropped_posts.total();
        assert_eq!(figures.offered_posts, accounted + figures.waiting_posts as u64);
    }

    #[test]
    fn the_oldest_makes_room_by_bytes_and_by_samples() {
        let per_post = size_of::<Waiting>();
        let by_bytes = Handle::new(3 * (per_post + 100), 1000);
        for sequence in 0..5 {
            by_bytes.offer(batch(sequence, &[100]));
        }
        assert_eq!(sequences(&by_bytes), [2, 3, 4]);
        let figures = by_bytes.statistics();
        assert_eq!(figures.dropped_posts.queue_full, 2);
        assert_eq!(figures.waiting_bytes, 3 * (per_post + 100));
        balance(&figures);

        let by_samples = Handle::new(1 << 20, 2);
        for sequence in 0..5 {
            by_samples.offer(batch(sequence, &[1, 1]));
        }
        assert_eq!(sequences(&by_samples), [3, 4]);
        assert_eq!(by_samples.statistics().dropped_posts.queue_full, 6);
    }

    #[test]
    fn a_batch_larger_than_the_queue_is_dropped_and_counted() {
        let handle = Handle::new(1000, 10);
        handle.offer(batch(0, &[2000]));
        assert_eq!(sequences(&handle), [0_u64; 0]);
        assert_eq!(handle.statistics().dropped_posts.queue_full, 1);
    }

    #[test]
    fn what_is_under_way_counts_against_the_bound() {
        let per_post = size_of::<Waiting>();
        let handle = Handle::new(2 * (per_post + 100), 1000);
        handle.offer(batch(0, &[100]));
        let under_way = handle.take().unwrap();
        handle.offer(batch(1, &[100]));
        handle.offer(batch(2, &[100]));
        assert_eq!(sequences(&handle), [2]);
        balance(&handle.statistics());
        handle.put_back(under_way);
        assert_eq!(sequences(&handle), [0, 2]);
        handle.offer(batch(3, &[100]));
        assert_eq!(sequences(&handle), [2, 3], "what came back is the oldest");
        balance(&handle.statistics());
    }

    #[test]
    fn leftovers_join_the_next_batch_in_front() {
        let handle = Handle::new(1 << 20, 10);
        handle.offer(batch(0, &[1]));
        let mut left = handle.take().unwrap();
        left.partly_accepted = true;
        handle.put_back(left);
        handle.offer(batch(1, &[2, 3]));
        let joined = handle.take().unwrap();
        assert_eq!((joined.sequence, joined.partly_accepted), (1, false));
        let lengths: Vec<_> = joined.posts.iter().map(|waiting| waiting.post.body.len()).collect();
        assert_eq!(lengths, [1, 2, 3]);
        assert_eq!(handle.statistics().waiting_posts, 3);
    }

    #[test]
    fn what_is_taken_over_stands_in_front_and_is_the_first_to_make_room() {
        let handle = Handle::new(1 << 20, 3);
        handle.offer(batch(7, &[1]));
        handle.put_first(vec![batch(5, &[1]), batch(6, &[1, 1])]);
        assert_eq!(sequences(&handle), [5, 6, 7]);
        balance(&handle.statistics());
        handle.put_first(vec![batch(3, &[1]), batch(4, &[1])]);
        assert_eq!(sequences(&handle), [5, 6, 7]);
        assert_eq!(handle.statistics().dropped_posts.queue_full, 2);
        balance(&handle.statistics());
    }

    #[tokio::test]
    async fn flush_without_a_worker_returns_all_at_the_deadline_and_closes() {
        let handle = Handle::new(1 << 20, 10);
        handle.offer(batch(0, &[1]));
        handle.offer(batch(1, &[2]));
        let left = handle.flush(Instant::now() + Duration::from_millis(20)).await;
        assert_eq!(left, [batch(0, &[1]), batch(1, &[2])]);
        handle.offer(batch(2, &[1]));
        assert_eq!(handle.statistics().dropped_posts.closed, 1);
        assert_eq!(handle.statistics().waiting_posts, 0);
    }
}
