//! What waits of one sample, and what was tried with it.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::quantity::BootTime;
use crate::spool::{Batch, Moment, Post, RowId};

/// A post and what was tried with it.
#[derive(Debug)]
pub(in super::super) struct QueuedPost {
    pub(in super::super) post: Post,
    /// Whether it was tried at all: a further try is a retry.
    pub(in super::super) sent: bool,
    /// Tries that were answered in a way that says that it is the post; where order is meaning, also those
    /// of others behind which it waited.
    pub(in super::super) failures: u32,
    /// That the endpoint fails on it, or on others of its path, and takes others; absent while it may be
    /// the endpoint that is ill.
    pub(in super::super) failing: Option<Failing>,
}

#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Failing {
    pub(in super::super) since: BootTime,
    /// Its own, and those of others behind which it waited.
    pub(in super::super) tries: u32,
}

impl QueuedPost {
    pub(super) const fn new(post: Post) -> Self {
        Self { post, sent: false, failures: 0, failing: None }
    }

    /// It failed once more while others were taken.
    pub(in super::super) fn fail_while_others_pass(&mut self, now: BootTime) -> Failing {
        let failing = self.failing.get_or_insert(Failing { since: now, tries: 0 });
        failing.tries += 1;
        *failing
    }
}

/// What remains of a batch.
#[derive(Debug)]
pub(in super::super) struct QueuedBatch {
    pub(in super::super) sampled_at: Moment,
    /// Not to be sent before, unless the endpoint is being left.
    pub(in super::super) due: Instant,
    /// Where it is on disk.
    pub(in super::super) row: Option<RowId>,
    /// A file beside the counters holds it until it is settled or on disk.
    pub(in super::super) in_journal: bool,
    /// The endpoint took a part of this batch as it stands, or could be asked with it in vain only:
    /// it goes along with others.
    pub(in super::super) partially_accepted: bool,
    /// Some of its posts were settled, or fell apart, since it was put to disk.
    pub(in super::super) is_dirty: bool,
    /// An earlier worker may have sent any of it.
    pub(in super::super) was_attempted_before: bool,
    /// What a kill would leave of it says that it was tried.
    pub(in super::super) attempt_is_stored: bool,
    pub(in super::super) posts: Vec<QueuedPost>,
}

impl QueuedBatch {
    pub(in super::super) fn new(batch: Batch, due: Instant) -> Self {
        let posts = batch.posts.into_iter().map(QueuedPost::new).collect();
        Self {
            sampled_at: batch.sampled_at,
            due,
            row: None,
            in_journal: false,
            partially_accepted: batch.partial,
            is_dirty: false,
            was_attempted_before: batch.attempted,
            attempt_is_stored: batch.attempted,
            posts,
        }
    }

    pub(in super::super) fn cost_bytes(&self) -> usize {
        self.posts.iter().map(|waiting| cost_bytes(&waiting.post)).sum()
    }

    /// As it goes to disk; bodies are shared, not copied.
    pub(in super::super) fn to_batch(&self) -> Batch {
        let posts = self.posts.iter().map(|waiting| waiting.post.clone()).collect();
        Batch {
            sampled_at: self.sampled_at,
            attempted: self.was_attempted(),
            partial: self.partially_accepted,
            posts,
        }
    }

    pub(in super::super) fn mark(&self) -> BatchMark {
        BatchMark { sampled_at: self.sampled_at, on_disk: self.row.is_some() }
    }

    /// Whether nothing would be forgotten with its posts but themselves.
    pub(in super::super) fn has_no_failures(&self) -> bool {
        self.posts.iter().all(|waiting| waiting.failures == 0 && waiting.failing.is_none())
    }

    /// From here on it goes along with others, and says so where it is on disk.
    pub(in super::super) fn retry_with_next(&mut self) {
        self.is_dirty |= !self.partially_accepted;
        self.partially_accepted = true;
    }

    /// It may be the endpoint that is ill.
    pub(in super::super) fn forget_failing(&mut self) {
        self.posts.iter_mut().for_each(|waiting| waiting.failing = None);
    }

    /// Whether the endpoint may have taken a post of it, and it was not heard.
    pub(in super::super) fn was_attempted(&self) -> bool {
        self.was_attempted_before || self.posts.iter().any(|waiting| waiting.sent)
    }

    pub(super) fn into_batch(self) -> Batch {
        let attempted = self.was_attempted();
        let posts = self.posts.into_iter().map(|waiting| waiting.post).collect();
        Batch { sampled_at: self.sampled_at, attempted, partial: self.partially_accepted, posts }
    }
}

pub(in super::super) fn cost_bytes(post: &Post) -> usize {
    size_of::<QueuedPost>() + post.path.len() + post.body.len()
}

/// Puts one to its place among others that are in their order.
pub(in super::super) fn put_in_order(entries: &mut VecDeque<QueuedBatch>, entry: QueuedBatch) {
    let at = entries.partition_point(|other| is_before(&other.sampled_at, &entry.sampled_at));
    entries.insert(at, entry);
}

fn is_before(one: &Moment, other: &Moment) -> bool {
    match one.boot == other.boot {
        true => one.since_boot < other.since_boot,
        false => one.wall < other.wall,
    }
}

/// What of an entry says how its posts are counted.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct BatchMark {
    pub(in super::super) sampled_at: Moment,
    pub(in super::super) on_disk: bool,
}
