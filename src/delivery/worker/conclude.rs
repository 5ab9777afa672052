//! The end of a round: which failed posts are dropped, which are retried, and the health of the
//! endpoint.

use std::time::Duration;

use super::probe::Verdict;
use super::{FinishedRound, Pause, REJECTED_ROUNDS, Worker};
use crate::delivery::queue::{DropReason, QueuedBatch};
use crate::delivery::round::{Blame, FailedPost, Round};
use crate::delivery::settings::DeliverySettings;
use crate::delivery::statistics::Health;

/// The most samples with unacknowledged posts.
const UNACKNOWLEDGED_MAX: usize = 64;

/// The part of the memory or disk limit that unacknowledged posts may use. They are in memory even
/// where they are on disk too, and are not pushed out there.
const UNACKNOWLEDGED_SHARE: usize = 4;

impl Worker {
    /// Drops posts, keeps the others for a retry and logs a change of health. Returns the pause
    /// before the next round.
    pub(super) async fn conclude(&mut self, ended: FinishedRound) -> Option<Pause> {
        let FinishedRound { mut round, was_prompt } = ended;
        let answers = round.accepted + round.rejected > 0;
        if answers {
            self.log.up();
            self.backoff.reset();
            self.probes.is_answered();
            self.rejected_rounds = match round.accepted {
                // Unacknowledged posts alone do not show that the endpoint rejects everything.
                0 if round.is_partial_only() => self.rejected_rounds,
                0 => self.rejected_rounds.saturating_add(1),
                _ => 0,
            };
            self.set_health(if was_prompt { Health::Healthy } else { Health::Degraded });
        } else if let Some(failed) = round.first_failure()
            // Unacknowledged posts say nothing about the endpoint; the next sample will.
            && !round.is_partial_only()
        {
            let reason = failed.describe();
            let place = self.location();
            self.log.down(&reason, &place);
            self.set_health(Health::Down);
            // An outage does not count as time in which a post failed while others were accepted.
            round.forget_failing();
            self.retained.iter_mut().for_each(QueuedBatch::forget_failing);
            self.handle.forget_failing();
        }
        let verdict = match round.first_failure() {
            Some(failed) if !answers => {
                let now = self.now();
                self.probes.probe_failed(&round, failed, &self.settings, now)
            }
            _ => Verdict::Retry,
        };
        let cut_short = round.cut_short();
        let was_all_tried = round.accepted > 0 && cut_short.is_empty();
        let failed = round.take_failed();
        let pause = (!failed.is_empty() || round.throttled).then(|| Pause {
            time: self.pause(round.pause),
            yields_to_fresh: !round.throttled && (was_all_tried || round.is_partial_only()),
        });
        for failed in failed {
            self.conclude_failed(failed, verdict, &mut round);
        }
        let accepts_others = round.accepted > 0;
        let mut entries = round.into_entries();
        for (number, entry) in entries.iter_mut().enumerate() {
            // A post that was not even tried waits for its turn.
            if accepts_others && !cut_short.contains(&number) {
                entry.retry_with_next();
            }
        }
        if accepts_others {
            self.bound_unacknowledged(&mut entries);
        }
        for entry in entries {
            if entry.posts.is_empty() {
                self.resolve_batch(entry).await;
            } else {
                self.retain_rest(entry).await;
            }
        }
        self.release_retained().await;
        pause
    }

    fn conclude_failed(&mut self, mut failed: FailedPost, verdict: Verdict, round: &mut Round) {
        let DeliverySettings { bounds_500, tries_max, failing_for, .. } = self.settings;
        let now = self.now().since_boot;
        let blame = failed.blame(round.accepted, |status| status < 500 + u16::from(bounds_500));
        if blame != Blame::Nothing {
            round.fail_behind(&failed, blame, now);
        }
        let (tries, is_enough) = match blame {
            Blame::Nothing => (0, false),
            Blame::Status => {
                failed.waiting.failures += 1;
                (failed.waiting.failures, true)
            }
            Blame::OthersAccepted => {
                let failing = failed.waiting.fail_while_others_pass(now);
                (failing.tries, now.since(failing.since) >= failing_for)
            }
        };
        match verdict {
            Verdict::Retry => {}
            Verdict::RetryWithNext => round.retry_with_next(failed.entry),
            Verdict::GiveUp(tries) => return self.give_up(&failed, tries, round),
        }
        if is_enough && tries >= tries_max.max(1) {
            self.give_up(&failed, tries, round);
        } else {
            round.keep_for_retry(failed);
        }
    }

    /// The limit of unacknowledged posts in bytes.
    fn unacknowledged_bytes_max(&self) -> usize {
        let on_disk = self.disk.bytes_max().and_then(|bytes| usize::try_from(bytes).ok());
        let bytes_max = self.settings.queue_bytes_max;
        on_disk.map_or(bytes_max, |on_disk| bytes_max.min(on_disk)) / UNACKNOWLEDGED_SHARE
    }

    /// The backlog stays where it is, because unacknowledged posts have nearly filled their limit. It ends after `failing_for`, the time for which some of the endpoint's servers may be
    /// away.
    pub(super) fn holds_back_backlog(&mut self) -> bool {
        let can_hold = self.health != Health::Down && !self.settings.in_order;
        if !can_hold || !self.unacknowledged_fill(2) {
            self.full_since = None;
            return false;
        }
        if !self.unacknowledged_fill(3) {
            return false;
        }
        let now = self.now().since_boot;
        now.since(*self.full_since.get_or_insert(now)) < self.settings.failing_for
    }

    /// Unacknowledged posts fill so many quarters of their limit, in samples or in bytes.
    fn unacknowledged_fill(&self, quarters: usize) -> bool {
        let (in_memory, bytes) = self.handle.unacknowledged();
        let on_disk = self.retained.iter().filter(|entry| entry.partially_accepted);
        let (samples, bytes) = on_disk.fold((in_memory, bytes), |(samples, bytes), entry| {
            (samples + 1, bytes + entry.cost_bytes())
        });
        samples >= UNACKNOWLEDGED_MAX / 4 * quarters
            || bytes >= self.unacknowledged_bytes_max() / 4 * quarters
    }

    /// Drops the oldest unacknowledged posts beyond their limit, as no limit of the queue applies
    /// to them. `entries` are in order of age.
    fn bound_unacknowledged(&mut self, entries: &mut [QueuedBatch]) {
        let bytes_max = self.unacknowledged_bytes_max();
        let is_left =
            |entry: &&mut QueuedBatch| entry.partially_accepted && !entry.posts.is_empty();
        let mut bytes = 0;
        for (newer, entry) in entries.iter_mut().rev().filter(is_left).enumerate() {
            bytes += entry.cost_bytes();
            if newer == 0 || newer < UNACKNOWLEDGED_MAX && bytes <= bytes_max {
                continue;
            }
            self.log.unacknowledged_full(UNACKNOWLEDGED_MAX, bytes_max);
            let mark = entry.mark();
            for waiting in entry.posts.drain(..) {
                self.handle.dropped(mark, &waiting.post, |drops| &mut drops.queue_full);
            }
        }
    }

    pub(super) fn set_health(&mut self, health: Health) {
        self.health = health;
        let is_rejecting = self.rejected_rounds >= REJECTED_ROUNDS && health != Health::Down;
        self.handle.set_health(if is_rejecting { Health::Rejecting } else { health });
    }

    fn pause(&mut self, asked: Option<Duration>) -> Duration {
        let own = self.backoff.after_failure();
        match asked {
            None => own,
            Some(asked) => {
                own.max(self.backoff.with_jitter(asked.min(self.settings.retry_after_max)))
            }
        }
    }

    fn give_up(&mut self, failed: &FailedPost, tries: u32, round: &mut Round) {
        round.mark_dirty(failed.entry);
        let Some(mark) = round.mark(failed.entry) else { return };
        let post = &failed.waiting.post;
        let reason: DropReason = match failed.status {
            Some(_) => |drops| &mut drops.gave_up_5xx,
            None => |drops| &mut drops.gave_up_unanswered,
        };
        self.handle.dropped(mark, post, reason);
        self.log.dropped_post(failed.status, &post.path, &failed.reason, Some(tries));
    }
}
