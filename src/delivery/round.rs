//! One round: the posts of one sample and unacknowledged posts of others, sent concurrently.

mod failing_paths;
mod order;
mod slot;

use std::collections::{HashMap, HashSet, VecDeque};
use std::mem;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use tokio::task::JoinSet;

use super::http::{PostOutcome, Sender, Sent};
use super::queue::{BatchMark, QueuedBatch, QueuedPost};
use crate::quantity::BootTime;
use crate::spool::{Batch, Moment, Part, RowId};
use failing_paths::FailingPaths;
use slot::{PostSlot, Try};

/// The state of one round.
#[derive(Debug)]
pub(super) struct Round {
    /// The batches of these posts. Their posts are in `slots` during the round.
    entries: Vec<QueuedBatch>,
    /// All unresolved posts are here, in `halves` or in `failed`, at every moment. So a round may
    /// be cut off at any time.
    slots: Vec<Option<PostSlot>>,
    unsent: VecDeque<usize>,
    in_flight: JoinSet<FinishedTry>,
    halves: Vec<PostSlot>,
    failed: Vec<FailedPost>,
    pub(super) accepted: u32,
    pub(super) rejected: u32,
    /// Failures since the last post that was accepted or rejected.
    pub(super) failed_in_a_row: usize,
    /// The endpoint asked for a pause.
    pub(super) throttled: bool,
    pub(super) pause: Option<Duration>,
    /// No further post is sent: something else goes first.
    pub(super) is_held_back: bool,
    /// The posts of one path go one after the other, and none while an older one has failed.
    is_in_order: bool,
    /// Empty where the posts of one path go one after the other anyway.
    failing_paths: FailingPaths,
    /// The number of posts from which the probe was chosen; `None` without a probe.
    probes: Option<usize>,
}

/// A try that has ended.
#[derive(Debug)]
struct FinishedTry {
    at: usize,
    sent: Sent,
}

#[derive(Debug)]
pub(super) struct FailedPost {
    pub(super) entry: usize,
    pub(super) waiting: QueuedPost,
    /// `None` when there was no answer.
    pub(super) status: Option<u16>,
    /// Of the answer's body, or why there was no answer.
    pub(super) reason: String,
    pub(super) accepted_before: u32,
}

/// A post with its outcome.
#[derive(Debug)]
pub(super) struct AnsweredPost {
    pub(super) entry: usize,
    pub(super) waiting: QueuedPost,
    pub(super) accepted_before: u32,
    pub(super) answer: PostOutcome,
    /// The statuses of tries that were repeated at once.
    pub(super) earlier: Vec<Option<u16>>,
}

impl Round {
    /// With `probe`, one post is sent alone, and another one than with the number before.
    pub(super) fn new(
        mut entries: Vec<QueuedBatch>,
        is_in_order: bool,
        probe: Option<usize>,
    ) -> Self {
        let mut slots = Vec::with_capacity(entries.iter().map(|entry| entry.posts.len()).sum());
        for (number, entry) in entries.iter_mut().enumerate() {
            let posts = mem::take(&mut entry.posts).into_iter();
            slots.extend(posts.map(|waiting| Some(PostSlot::new(number, waiting))));
        }
        let waiting = slots.iter().flatten().map(|slot| &slot.waiting);
        let failing_paths = FailingPaths::of(waiting.filter(|_| !is_in_order));
        let line = order::of(&slots, &entries, is_in_order, &failing_paths, probe);
        Self {
            entries,
            unsent: line.posts,
            slots,
            in_flight: JoinSet::new(),
            halves: Vec::new(),
            failed: Vec::new(),
            accepted: 0,
            rejected: 0,
            failed_in_a_row: 0,
            throttled: false,
            pause: None,
            is_held_back: false,
            is_in_order,
            failing_paths,
            probes: probe.map(|_| line.probes),
        }
    }

    pub(super) fn mark(&self, entry: usize) -> Option<BatchMark> {
        self.entries.get(entry).map(QueuedBatch::mark)
    }

    /// All its batches are partially accepted.
    pub(super) fn is_partial_only(&self) -> bool {
        self.entries.iter().all(|entry| entry.partially_accepted)
    }

    pub(super) const fn probes(&self) -> Option<usize> {
        self.probes
    }

    /// The sampling time of a post's batch, whether that is retried with others, and its number of
    /// posts.
    pub(super) fn sample_of(&self, failed: &FailedPost) -> Option<(Moment, bool, usize)> {
        let entry = self.entries.get(failed.entry)?;
        let slots = self.slots.iter().flatten().map(|slot| slot.entry);
        let halves = self.halves.iter().map(|slot| slot.entry);
        let all = slots.chain(halves).chain(self.failed.iter().map(|failed| failed.entry));
        let posts = all.filter(|number| *number == failed.entry).count();
        Some((entry.sampled_at, entry.partially_accepted, posts))
    }

    /// From here on a batch is retried with others.
    pub(super) fn retry_with_next(&mut self, entry: usize) {
        if let Some(entry) = self.entries.get_mut(entry) {
            entry.retry_with_next();
        }
    }

    pub(super) fn oldest(&self) -> Option<Moment> {
        self.entries.first().map(|entry| entry.sampled_at)
    }

    /// Sends posts until `limit` are in flight; returns the number of retries. After `failures_max`
    /// failures in a row it sends no more.
    pub(super) fn start_tries(
        &mut self,
        sender: &Sender,
        name: &str,
        limit: usize,
        failures_max: usize,
    ) -> u64 {
        let mut retries = 0;
        let stops = self.throttled || self.is_held_back || self.failed_in_a_row >= failures_max;
        while self.in_flight.len() < limit
            && !stops
            && let Some(at) = self.next_unsent()
        {
            let Some(Some(slot)) = self.slots.get_mut(at) else { continue };
            let Some(entry) = self.entries.get(slot.entry) else { continue };
            retries += u64::from(mem::replace(&mut slot.waiting.sent, true));
            let post = slot.waiting.post.clone();
            let key = idempotency_key(&entry.sampled_at, name, post.part);
            let sender = sender.clone();
            self.begin(at, async move {
                let sent = sender.send(&post.path, &post.body, key.as_ref()).await;
                FinishedTry { at, sent }
            });
        }
        retries
    }

    fn begin(&mut self, at: usize, one_try: impl Future<Output = FinishedTry> + Send + 'static) {
        let task = self.in_flight.spawn(one_try).id();
        if let Some(Some(slot)) = self.slots.get_mut(at) {
            slot.in_flight = Some(Try { task, accepted_before: self.accepted });
        }
    }

    fn next_unsent(&mut self) -> Option<usize> {
        if !self.is_in_order {
            let path = |at: &usize| Some(&*self.slots.get(*at)?.as_ref()?.waiting.post.path);
            let is_next =
                |at: &usize| path(at).is_none_or(|path| !self.failing_paths.is_held_back(path));
            let place = self.unsent.iter().position(is_next)?;
            let at = self.unsent.remove(place)?;
            if let Some(Some(slot)) = self.slots.get(at) {
                self.failing_paths.start_tries(&slot.waiting.post.path);
            }
            return Some(at);
        }
        let in_flight = self.slots.iter().flatten().filter(|slot| slot.in_flight.is_some());
        let mut sampled_at: HashSet<&str> =
            in_flight.map(|slot| &*slot.waiting.post.path).collect();
        sampled_at.extend(self.failed_paths());
        let is_next = |at: &usize| match self.slots.get(*at) {
            Some(Some(slot)) => !sampled_at.contains(&*slot.waiting.post.path),
            _ => true,
        };
        let at = self.unsent.iter().position(is_next)?;
        self.unsent.remove(at)
    }

    /// Paths with a post that is to be retried.
    fn failed_paths(&self) -> impl Iterator<Item = &str> {
        let halves = self.halves.iter().map(|slot| &*slot.waiting.post.path);
        halves.chain(self.failed.iter().map(|failed| &*failed.waiting.post.path))
    }

    /// The batches with unsent posts whose own path did not fail in this round.
    pub(super) fn cut_short(&self) -> HashSet<usize> {
        let failed_paths: HashSet<&str> =
            if self.is_in_order { self.failed_paths().collect() } else { HashSet::new() };
        let left = self.unsent.iter().filter_map(|at| self.slots.get(*at)?.as_ref());
        let is_cut = |slot: &&PostSlot| {
            let path = &*slot.waiting.post.path;
            !failed_paths.contains(path) && !self.failing_paths.is_held_back(path)
        };
        left.filter(is_cut).map(|slot| slot.entry).collect()
    }

    /// Counts the failure for all posts behind this one on its path, so that a path that always
    /// fails does not keep ever more posts.
    pub(super) fn fail_behind(&mut self, failed: &FailedPost, blame: Blame, now: BootTime) {
        let path = &failed.waiting.post.path;
        if !self.is_in_order && !self.failing_paths.is_held_back(path) {
            return;
        }
        let behind = self.slots.iter_mut().flatten().map(|slot| &mut slot.waiting);
        for waiting in behind.filter(|waiting| waiting.post.path == *path) {
            match blame {
                Blame::OthersAccepted => _ = waiting.fail_while_others_pass(now),
                // Another post's own error blocks these only where order matters.
                Blame::Status if self.is_in_order => waiting.failures += 1,
                Blame::Status | Blame::Nothing => {}
            }
        }
    }

    /// The endpoint accepted or rejected a post of this path.
    pub(super) fn path_is_answered(&mut self, path: &str) {
        self.failing_paths.is_answered(path);
    }

    /// Clears the failures of all posts: the endpoint may be failing.
    pub(super) fn forget_failing(&mut self) {
        let slots = self.slots.iter_mut().flatten().chain(&mut self.halves);
        let failed = self.failed.iter_mut().map(|failed| &mut failed.waiting);
        let waiting = slots.map(|slot| &mut slot.waiting).chain(failed);
        waiting.for_each(|waiting| waiting.failing = None);
    }

    pub(super) fn is_over(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// The next answer; never returns while nothing is in flight. It may be cancelled at any time.
    pub(super) async fn answered(&mut self) -> Option<AnsweredPost> {
        let FinishedTry { at, sent } = match self.in_flight.join_next().await {
            Some(Ok(done)) => done,
            Some(Err(error)) => {
                let is_it =
                    |slot: &PostSlot| slot.in_flight.is_some_and(|at| at.task == error.id());
                let at = self.slots.iter().position(|slot| slot.as_ref().is_some_and(is_it))?;
                let answer =
                    PostOutcome::Unanswered { reason: "the try ended in a panic".to_owned() };
                FinishedTry { at, sent: Sent { answer, earlier: Vec::new() } }
            }
            None => std::future::pending().await,
        };
        let PostSlot { entry, in_flight, waiting } = self.slots.get_mut(at)?.take()?;
        let accepted_before = in_flight.map_or(self.accepted, |one| one.accepted_before);
        let Sent { answer, earlier } = sent;
        Some(AnsweredPost { entry, waiting, accepted_before, answer, earlier })
    }

    /// A post of this batch was resolved.
    pub(super) fn mark_dirty(&mut self, entry: usize) {
        if let Some(entry) = self.entries.get_mut(entry) {
            entry.is_dirty = true;
        }
    }

    pub(super) fn failed(&mut self, answered: AnsweredPost, status: Option<u16>, reason: String) {
        let AnsweredPost { entry, waiting, accepted_before, .. } = answered;
        self.failed_in_a_row += 1;
        self.failed.push(FailedPost { entry, waiting, status, reason, accepted_before });
    }

    pub(super) fn add_halves(&mut self, entry: usize, halves: [QueuedPost; 2]) {
        self.halves.extend(halves.map(|waiting| PostSlot::new(entry, waiting)));
    }

    /// A failure that represents the round.
    pub(super) fn first_failure(&self) -> Option<&FailedPost> {
        self.failed.first()
    }

    pub(super) fn take_failed(&mut self) -> Vec<FailedPost> {
        mem::take(&mut self.failed)
    }

    /// Keeps a failed post for a retry.
    pub(super) fn keep_for_retry(&mut self, failed: FailedPost) {
        let FailedPost { entry, waiting, .. } = failed;
        self.halves.push(PostSlot::new(entry, waiting));
    }

    /// The batches that are in memory only, with their unresolved posts.
    pub(super) fn not_on_disk(&self) -> Vec<(usize, Batch)> {
        let in_memory = self.entries.iter().enumerate().filter(|(_, entry)| entry.row.is_none());
        let batch = |(number, entry): (usize, &QueuedBatch)| {
            let left = self.slots.iter().flatten().chain(&self.halves);
            let own = left.filter(|slot| slot.entry == number).map(|slot| &slot.waiting);
            let failed = self.failed.iter().filter(|failed| failed.entry == number);
            let posts = own.chain(failed.map(|failed| &failed.waiting));
            let posts = posts.map(|waiting| waiting.post.clone()).collect();
            // Any of it may be sent before it is written again.
            (
                number,
                Batch {
                    sampled_at: entry.sampled_at,
                    attempted: true,
                    partial: entry.partially_accepted,
                    posts,
                },
            )
        };
        in_memory.map(batch).filter(|(_, batch)| !batch.posts.is_empty()).collect()
    }

    /// At least one of its posts is in memory only.
    pub(super) fn is_in_memory(&self) -> bool {
        !self.not_on_disk().is_empty()
    }

    /// Notes that a batch is on disk, and returns it without its posts.
    pub(super) fn is_on_disk(&mut self, entry: usize, row: RowId) -> Option<&mut QueuedBatch> {
        let entry = self.entries.get_mut(entry)?;
        entry.row = Some(row);
        entry.is_dirty = false;
        entry.attempt_is_stored = true;
        Some(entry)
    }

    /// The unresolved posts of each batch; tries in flight are cancelled.
    pub(super) fn into_entries(self) -> Vec<QueuedBatch> {
        let Self { mut entries, slots, halves, failed, is_in_order, .. } = self;
        let failed = failed.into_iter().map(|failed| (failed.entry, failed.waiting));
        let left = slots.into_iter().flatten().chain(halves);
        for (entry, waiting) in left.map(|slot| (slot.entry, slot.waiting)).chain(failed) {
            if let Some(entry) = entries.get_mut(entry) {
                entry.posts.push(waiting);
            }
        }
        if is_in_order {
            entries.iter_mut().for_each(|entry| put_paths_in_order(&mut entry.posts));
        }
        entries
    }
}

/// Sorts the posts of each path by part, within the places of that path.
fn put_paths_in_order(posts: &mut Vec<QueuedPost>) {
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, waiting) in posts.iter().enumerate() {
        places.entry(&waiting.post.path).or_default().push(at);
    }
    let mut order: Vec<usize> = (0..posts.len()).collect();
    for places in places.values() {
        let mut sorted = places.clone();
        sorted.sort_by_key(|at| posts.get(*at).map(|waiting| waiting.post.part.place()));
        for (place, from) in places.iter().zip(sorted) {
            order.get_mut(*place).into_iter().for_each(|at| *at = from);
        }
    }
    let mut sampled_at: Vec<Option<QueuedPost>> = mem::take(posts).into_iter().map(Some).collect();
    posts.extend(order.into_iter().filter_map(|from| sampled_at.get_mut(from)?.take()));
}

/// The cause of a failure, other than the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    Nothing,
    /// The post: the status says so.
    Status,
    /// The post or its path: the endpoint accepted another post after this try began, or before
    /// where the post is known to fail.
    OthersAccepted,
}

impl FailedPost {
    /// `bounded`: whether a status is an error of the post itself. A status that asks for a later
    /// try never is.
    pub(super) fn blame(&self, accepted: u32, bounded: impl Fn(u16) -> bool) -> Blame {
        match self.status {
            Some(408 | 425 | 429) => Blame::Nothing,
            Some(status) if bounded(status) => Blame::Status,
            Some(_) | None if self.accepted_before < accepted => Blame::OthersAccepted,
            Some(_) | None if self.waiting.failing.is_some() && accepted > 0 => {
                Blame::OthersAccepted
            }
            Some(_) | None => Blame::Nothing,
        }
    }

    pub(super) fn describe(&self) -> String {
        match self.status {
            Some(status) => status_line(status),
            None => self.reason.clone(),
        }
    }
}

pub(super) fn status_line(code: u16) -> String {
    StatusCode::from_u16(code).map_or_else(|_| code.to_string(), |status| status.to_string())
}

/// The key by which a server recognises a repeat: a string of structured fields (RFC 9651), which
/// servers that accept any text accept too.
fn idempotency_key(sampled_at: &Moment, endpoint: &str, part: Part) -> Option<HeaderValue> {
    let (boot, number) = (sampled_at.boot, sampled_at.since_boot.as_nanos());
    HeaderValue::try_from(format!("\"{boot}:{endpoint}:{number}:{part}\"")).ok()
}

#[cfg(test)]
mod tests;
