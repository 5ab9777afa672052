//! The probes of an endpoint that is down: a probe may fail because of its post, so each one is
//! another post.

use crate::delivery::round::{FailedPost, Round};
use crate::delivery::settings::DeliverySettings;
use crate::spool::Moment;

/// The failed probes after which a sample of one post is retried with others, and the next sample
/// is probed.
const SINGLE_POST_PROBES: usize = 3;

/// The failed probes for each post of a larger sample, all answered with errors, after which it is
/// retried with others. It is less likely that all its posts are bad than that the endpoint is
/// down.
const PROBES_PER_POST: usize = 20;

/// The most samples that are set aside in this way in one outage, since they may all be good.
const SET_ASIDE_MAX: usize = 8;

/// The results of the probes since the endpoint last accepted or rejected a post.
#[derive(Debug, Default)]
pub(super) struct Probes {
    failed: usize,
    /// Samples that are retried with others since.
    set_aside: usize,
    /// The sample that was probed last.
    head: Option<ProbedSample>,
    /// Posts dropped since. Each one takes twice as long as the one before, so a long outage costs
    /// few.
    given_up: u32,
}

#[derive(Debug)]
struct ProbedSample {
    sampled_at: Moment,
    failed: usize,
    /// Answers with errors in a row, without a try that got no answer.
    answered: u32,
    /// The time of the first of them.
    answered_since: Moment,
}

/// The consequence of a failed probe for its post or sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The post is probed again when its turn comes.
    Retry,
    /// The sample is retried with others.
    RetryWithNext,
    /// The post is dropped, after so many answers.
    GiveUp(u32),
}

impl Probes {
    /// The number of failed probes.
    pub(super) const fn failed(&self) -> usize {
        self.failed
    }

    /// The endpoint accepted or rejected a post.
    pub(super) fn is_answered(&mut self) {
        *self = Self::default();
    }

    /// Records a failed probe.
    pub(super) fn probe_failed(
        &mut self,
        round: &Round,
        failed: &FailedPost,
        settings: &DeliverySettings,
        now: Moment,
    ) -> Verdict {
        let (Some(choices), Some((sampled_at, retry_with_next, posts))) =
            (round.probes(), round.sample_of(failed))
        else {
            return Verdict::Retry;
        };
        self.failed = self.failed.wrapping_add(1);
        let new = ProbedSample { sampled_at, failed: 0, answered: 0, answered_since: now };
        let head = match self.head.take() {
            Some(head) if head.sampled_at == sampled_at => head,
            _ => new,
        };
        let head = self.head.insert(head);
        head.failed += 1;
        match failed.status {
            None => head.answered = 0,
            Some(408 | 425 | 429) => {}
            Some(_) => {
                if head.answered == 0 {
                    head.answered_since = now;
                }
                head.answered += 1;
            }
        }
        if settings.in_order {
            // Errors for this long, and nothing else: a short failure of a server loses nothing.
            let wait = settings.failing_for.saturating_mul(1 << self.given_up.min(16));
            let is_over = head.answered >= settings.tries_max.max(1)
                && head.answered_since.age(&now) >= wait
                && choices == 1;
            if !is_over {
                return Verdict::Retry;
            }
            let tries = head.answered;
            self.head = None;
            self.given_up = self.given_up.saturating_add(1);
            return Verdict::GiveUp(tries);
        }
        let is_enough = match posts {
            1 => head.failed >= SINGLE_POST_PROBES,
            _ => head.answered as usize / posts.max(1) >= PROBES_PER_POST,
        };
        if is_enough && !retry_with_next && self.set_aside < SET_ASIDE_MAX {
            self.set_aside += 1;
            Verdict::RetryWithNext
        } else {
            Verdict::Retry
        }
    }
}
