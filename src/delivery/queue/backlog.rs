//! What waits in memory and was handed over by an earlier run, or has become late.

use super::{Entry, Handle};
use crate::quantity::BootTime;
use crate::spool::{Batch, HandedOver, Moment};

impl Handle {
    /// When what of the backlog was taken that lies in files beside the counters.
    pub(in super::super) fn handed_over(&self) -> Vec<Moment> {
        let state = self.state();
        state.backlog.iter().filter(|entry| entry.handed_over).map(|entry| entry.taken).collect()
    }

    /// These were put to disk by a run that ended before it forgot their files: what is there is what is
    /// left of them.
    pub(in super::super) fn are_on_disk(&self, taken: &[Moment]) {
        let mut state = self.state();
        let known = |entry: &Entry| entry.handed_over && taken.contains(&entry.taken);
        let (on_disk, others): (Vec<Entry>, Vec<Entry>) = state.backlog.drain(..).partition(known);
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

    /// Takes over what an earlier run had handed over and not sent, as far as there is room for it; how
    /// many samples. `counted_until`: see [`Handover::left`](crate::spool::Handover::left).
    pub fn take_over(&self, now: &Moment, counted_until: Option<BootTime>) -> usize {
        let Some(handover) = &self.0.handover else { return 0 };
        let HandedOver { batches, dropped_posts } =
            handover.left(now, counted_until, self.0.bytes_max);
        let mut state = self.state();
        state.statistics.offered_posts += dropped_posts;
        state.statistics.dropped_posts.queue_full += dropped_posts;
        drop(state);
        let samples = batches.len();
        self.put_first(batches, true);
        samples
    }

    /// What is left of a batch of which the endpoint took a part and that is nowhere else; from here on
    /// under way.
    pub(in super::super) fn take_leftover(&self) -> Option<Entry> {
        let mut state = self.state();
        let at = state.backlog.iter().position(|entry| entry.partly_accepted)?;
        let entry = state.backlog.remove(at)?;
        state.hand_out(&entry);
        Some(entry)
    }

    /// Of how many samples there is such, and how much, in bytes.
    pub(in super::super) fn leftovers(&self) -> (usize, usize) {
        let state = self.state();
        let left = state.backlog.iter().filter(|entry| entry.partly_accepted);
        left.fold((0, 0), |(samples, bytes), entry| (samples + 1, bytes + entry.cost_bytes()))
    }

    /// It may be the endpoint that is ill, and nothing of what waits.
    pub(in super::super) fn forget_failing(&self) {
        self.state().backlog.iter_mut().for_each(Entry::forget_failing);
    }

    /// Before anything of it is sent: its file, if there is one, says that it may have been.
    pub(in super::super) fn mark_tried(&self, entry: &mut Entry) {
        if let Some(handover) = self.0.handover.as_ref().filter(|_| entry.handed_over) {
            entry.is_marked = handover.mark_tried(&entry.taken);
        }
    }

    /// Makes one of the two oldest of the backlog that were not tried, as long as `merge` does and no
    /// more often than `times`.
    pub(in super::super) fn merge_oldest(
        &self,
        times: usize,
        merge: &impl Fn(&Batch, &Batch) -> Option<Batch>,
    ) {
        for _ in 0..times {
            let Some([older, newer]) = self.take_two() else { return };
            let Some(both) = merge(&older.to_batch(), &newer.to_batch()) else {
                self.put_back(newer);
                self.put_back(older);
                return;
            };
            let merged = (older.posts.len() + newer.posts.len() - both.posts.len()) as u64;
            let is_kept = older.handed_over || newer.handed_over;
            if is_kept && !self.hand_over_sum(&both, &older.taken) {
                // They stay what outlives the process.
                self.put_back(newer);
                self.put_back(older);
                return;
            }
            let both = Entry { handed_over: is_kept, ..Entry::new(both, newer.due) };
            let mut state = self.state();
            for gone in [older, newer] {
                state.under_way.take(&gone);
            }
            state.under_way.add(&both);
            drop(state);
            self.put_back(both);
            self.merged(merged);
        }
    }

    fn hand_over_sum(&self, both: &Batch, older: &Moment) -> bool {
        self.0.handover.as_ref().is_some_and(|handover| handover.keep_sum(both, older))
    }

    /// The two oldest of the backlog that the endpoint cannot have taken unheard.
    fn take_two(&self) -> Option<[Entry; 2]> {
        let mut state = self.state();
        let mut pairs = state.backlog.iter().zip(state.backlog.iter().skip(1));
        let at = pairs.position(|(older, newer)| !older.was_tried() && !newer.was_tried())?;
        let two = [state.backlog.remove(at)?, state.backlog.remove(at)?];
        two.iter().for_each(|entry| state.hand_out(entry));
        Some(two)
    }
}
