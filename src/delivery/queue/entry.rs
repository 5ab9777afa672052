//! A batch in the queue, its posts, and the tries so far.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::quantity::BootTime;
use crate::spool::{Batch, Moment, Post, RowId};

/// A post in the queue, and its tries.
#[derive(Debug)]
pub(in crate::delivery) struct QueuedPost {
    pub(in crate::delivery) post: Post,
    /// It was tried: a further try is a retry.
    pub(in crate::delivery) sent: bool,
    /// Tries that were answered with an error of the post itself. Where order matters, those of
    /// older posts that blocked it count too.
    pub(in crate::delivery) failures: u32,
    /// The failures while the endpoint accepted others. `None` while the endpoint may be failing as
    /// a whole.
    pub(in crate::delivery) failing: Option<Failing>,
}

#[derive(Debug, Clone, Copy)]
pub(in crate::delivery) struct Failing {
    pub(in crate::delivery) since: BootTime,
    /// Its own tries, and those of posts that blocked it.
    pub(in crate::delivery) tries: u32,
}

impl QueuedPost {
    pub(super) const fn new(post: Post) -> Self {
        Self { post, sent: false, failures: 0, failing: None }
    }

    /// Records one more failure while others were accepted.
    pub(in crate::delivery) fn fail_while_others_pass(&mut self, now: BootTime) -> Failing {
        let failing = self.failing.get_or_insert(Failing { since: now, tries: 0 });
        failing.tries += 1;
        *failing
    }
}

/// The unresolved posts of a batch.
#[derive(Debug)]
pub(in crate::delivery) struct QueuedBatch {
    pub(in crate::delivery) sampled_at: Moment,
    /// The earliest time of the first try. The worker ignores it when it ends.
    pub(in crate::delivery) due: Instant,
    /// The row on disk.
    pub(in crate::delivery) row: Option<RowId>,
    /// The journal has it.
    pub(in crate::delivery) in_journal: bool,
    /// The endpoint accepted other posts of this batch, or it failed as a probe: it is retried with
    /// the next batch.
    pub(in crate::delivery) partially_accepted: bool,
    /// Some of its posts were resolved or split since it was written to disk.
    pub(in crate::delivery) is_dirty: bool,
    /// An earlier worker may have sent some of it.
    pub(in crate::delivery) was_attempted_before: bool,
    /// The disk or the journal shows that it was attempted.
    pub(in crate::delivery) attempt_is_stored: bool,
    pub(in crate::delivery) posts: Vec<QueuedPost>,
}

impl QueuedBatch {
    pub(in crate::delivery) fn new(batch: Batch, due: Instant) -> Self {
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

    pub(in crate::delivery) fn cost_bytes(&self) -> usize {
        self.posts.iter().map(|waiting| cost_bytes(&waiting.post)).sum()
    }

    /// The batch as it is written to disk; bodies are shared, not copied.
    pub(in crate::delivery) fn to_batch(&self) -> Batch {
        let posts = self.posts.iter().map(|waiting| waiting.post.clone()).collect();
        Batch {
            sampled_at: self.sampled_at,
            attempted: self.was_attempted(),
            partial: self.partially_accepted,
            posts,
        }
    }

    pub(in crate::delivery) fn mark(&self) -> BatchMark {
        BatchMark { sampled_at: self.sampled_at, on_disk: self.row.is_some() }
    }

    /// Nothing is known of its posts that is not on disk.
    pub(in crate::delivery) fn has_no_failures(&self) -> bool {
        self.posts.iter().all(|waiting| waiting.failures == 0 && waiting.failing.is_none())
    }

    /// From here on it is retried with other batches, which is written to disk.
    pub(in crate::delivery) fn retry_with_next(&mut self) {
        self.is_dirty |= !self.partially_accepted;
        self.partially_accepted = true;
    }

    /// Clears the failures of its posts: the endpoint may be failing.
    pub(in crate::delivery) fn forget_failing(&mut self) {
        self.posts.iter_mut().for_each(|waiting| waiting.failing = None);
    }

    /// The endpoint may have accepted a post without an answer.
    pub(in crate::delivery) fn was_attempted(&self) -> bool {
        self.was_attempted_before || self.posts.iter().any(|waiting| waiting.sent)
    }

    pub(super) fn into_batch(self) -> Batch {
        let attempted = self.was_attempted();
        let posts = self.posts.into_iter().map(|waiting| waiting.post).collect();
        Batch { sampled_at: self.sampled_at, attempted, partial: self.partially_accepted, posts }
    }
}

pub(in crate::delivery) fn cost_bytes(post: &Post) -> usize {
    size_of::<QueuedPost>() + post.path.len() + post.body.len()
}

/// Inserts a batch into others that are in order of age.
pub(in crate::delivery) fn put_in_order(entries: &mut VecDeque<QueuedBatch>, entry: QueuedBatch) {
    let at = entries.partition_point(|other| is_before(&other.sampled_at, &entry.sampled_at));
    entries.insert(at, entry);
}

fn is_before(one: &Moment, other: &Moment) -> bool {
    if one.boot == other.boot { one.since_boot < other.since_boot } else { one.wall < other.wall }
}

/// The properties of a batch that decide how its posts are counted.
#[derive(Debug, Clone, Copy)]
pub(in crate::delivery) struct BatchMark {
    pub(in crate::delivery) sampled_at: Moment,
    pub(in crate::delivery) on_disk: bool,
}
