//! What is learned of an endpoint that is down from the posts that ask whether it is back: it may be one
//! post that is ill, and not the endpoint.

use crate::delivery::DeliverySettings;
use crate::delivery::round::{FailedPost, Round};
use crate::spool::Moment;

/// A sample of one post that has asked in vain this often goes along with others from there on, and the
/// next sample asks.
const SINGLE_POST_PROBES: usize = 3;

/// The same for each post of a sample of several, of which all were answered: that they are all ill is
/// less likely than an outage.
const PROBES_PER_POST: usize = 20;

/// The most samples that so go along in one outage, in which everything may have been well but the
/// endpoint.
const SET_ASIDE_MAX: usize = 8;

/// What an endpoint that is down answered to those who asked, since it last took or refused a post.
#[derive(Debug, Default)]
pub(super) struct Probes {
    failed: usize,
    /// Samples that go along with others since.
    set_aside: usize,
    /// The sample that asked last.
    head: Option<ProbedSample>,
    /// Posts given up since. Another one takes twice as long as the last: in a long outage few are lost.
    given_up: u32,
}

#[derive(Debug)]
struct ProbedSample {
    sampled_at: Moment,
    failed: usize,
    /// Errors that were answers, without silence between them.
    answered: u32,
    /// When the first of them came.
    answered_since: Moment,
}

/// What becomes of a post that asked in vain, or of its sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It asks again when its turn comes.
    Retry,
    /// Its sample goes along with others.
    RetryWithNext,
    /// It is given up, after so many answers.
    GiveUp(u32),
}

impl Probes {
    /// How many asked in vain.
    pub(super) const fn failed(&self) -> usize {
        self.failed
    }

    /// The endpoint took a post, or refused one.
    pub(super) fn is_answered(&mut self) {
        *self = Self::default();
    }

    /// A post asked in vain.
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
            // Errors alone for this long: a server's short trouble loses nothing.
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
        match is_enough && !retry_with_next && self.set_aside < SET_ASIDE_MAX {
            true => {
                self.set_aside += 1;
                Verdict::RetryWithNext
            }
            false => Verdict::Retry,
        }
    }
}
