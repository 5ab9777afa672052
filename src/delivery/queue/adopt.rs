//! Batches that waited in another queue of the endpoint, by earlier settings.

use super::{Handle, QueuedBatch, put_in_order};
use crate::clock;
use crate::spool::Batch;

impl Handle {
    /// Puts a batch of another queue to its place in the backlog; whether there was room.
    #[must_use]
    pub fn adopt(&self, batch: Batch) -> bool {
        // Before it is removed from its old place.
        let in_journal = self.journal(&batch);
        let entry = QueuedBatch { in_journal, ..QueuedBatch::new(batch, clock::timer_now()) };
        let mut state = self.state();
        let bytes = state.waiting.bytes + state.in_flight.bytes + entry.cost_bytes();
        let samples = state.waiting.samples + state.in_flight.samples;
        if state.closed || bytes > self.0.bytes_max || samples >= self.0.samples_max {
            drop(state);
            self.forget(&entry);
            return false;
        }
        let posts = entry.posts.len() as u64;
        state.statistics.offered_posts += posts;
        state.statistics.waiting_posts += posts;
        state.waiting.add(&entry);
        put_in_order(&mut state.backlog, entry);
        drop(state);
        self.0.arrived.notify_one();
        true
    }

    /// Counts posts of another queue that turned out to be damaged there.
    pub fn count_damaged(&self, posts: u64) {
        self.found(posts);
        self.lost(posts, |drops| &mut drops.damaged);
    }
}
