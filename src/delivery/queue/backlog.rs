//! The backlog in memory: recovery from the journal, unacknowledged posts, and the merge of stale
//! samples.

use super::{Handle, QueuedBatch};
use crate::quantity::BootTime;
use crate::spool::{Batch, Moment, RecoveredBatches};

impl Handle {
    /// The sampling times of the batches of the backlog that are in the journal.
    pub(in crate::delivery) fn in_journal(&self) -> Vec<Moment> {
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
    pub(in crate::delivery) fn are_on_disk(&self, sampled_at: &[Moment]) {
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
    /// samples. `counted_until`: see [`Journal::recover`](crate::spool::Journal::recover).
    pub fn recover(&self, now: &Moment, counted_until: Option<BootTime>) -> usize {
        let Some(journal) = &self.0.journal else { return 0 };
        let RecoveredBatches { batches, dropped_posts } =
            journal.recover(now, counted_until, self.0.bytes_max);
        let mut state = self.state();
        state.statistics.offered_posts += dropped_posts;
        state.statistics.dropped_posts.queue_full += dropped_posts;
        drop(state);
        let samples = batches.len();
        self.prepend(batches, true);
        samples
    }

    /// Leases a partially accepted batch that is in memory only.
    pub(in crate::delivery) fn lease_partial(&self) -> Option<QueuedBatch> {
        let mut state = self.state();
        let at = state.backlog.iter().position(|entry| entry.partially_accepted)?;
        let entry = state.backlog.remove(at)?;
        state.lease(&entry);
        Some(entry)
    }

    /// The number of partially accepted batches, and their bytes.
    pub(in crate::delivery) fn unacknowledged(&self) -> (usize, usize) {
        let state = self.state();
        let left = state.backlog.iter().filter(|entry| entry.partially_accepted);
        left.fold((0, 0), |(samples, bytes), entry| (samples + 1, bytes + entry.cost_bytes()))
    }

    /// Clears the failures of all posts: the endpoint may fail, and not the posts.
    pub(in crate::delivery) fn forget_failing(&self) {
        self.state().backlog.iter_mut().for_each(QueuedBatch::forget_failing);
    }

    /// Records in the journal that the batch is attempted, before it is sent.
    pub(in crate::delivery) fn mark_attempted(&self, entry: &mut QueuedBatch) {
        if let Some(journal) = self.0.journal.as_ref().filter(|_| entry.in_journal) {
            entry.attempt_is_stored = journal.mark_attempted(&entry.sampled_at);
        }
    }

    /// Merges the two oldest unattempted batches of the backlog while `merge` does, at most `times`
    /// times.
    pub(in crate::delivery) fn merge_oldest(
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
    /// unheard.
    fn lease_two(&self) -> Option<[QueuedBatch; 2]> {
        let mut state = self.state();
        let mut pairs = state.backlog.iter().zip(state.backlog.iter().skip(1));
        let at =
            pairs.position(|(older, newer)| !older.was_attempted() && !newer.was_attempted())?;
        let two = [state.backlog.remove(at)?, state.backlog.remove(at)?];
        two.iter().for_each(|entry| state.lease(entry));
        Some(two)
    }
}
