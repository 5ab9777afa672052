//! The statistics of one endpoint: posts offered, resolved and waiting.

use std::collections::BTreeMap;
use std::time::Duration;

use super::refusal::{RefusalReason, RefusedPoints};
use crate::quantity::WallTime;
use crate::spool::Moment;

/// The statuses that are counted one by one. Further ones count for the first of their class (200,
/// 400, …).
const STATUSES_MAX: usize = 32;

macro_rules! drops {
    ($(#[$name_doc:meta])* $name:ident: $($(#[$doc:meta])* $reason:ident,)*) => {
        $(#[$name_doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name {
            $($(#[$doc])* pub $reason: u64,)*
        }

        impl $name {
            /// Every reason and its count.
            pub fn by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($reason), self.$reason)),*].into_iter()
            }

            #[must_use]
            pub fn total(&self) -> u64 {
                self.by_reason().map(|(_, count)| count).fold(0, u64::saturating_add)
            }
        }
    };
}

drops! {
    /// Dropped posts, by reason.
    Drops:
    /// Pushed out of memory by newer samples.
    queue_full,
    /// Pushed out of the spool by newer samples.
    spool_full,
    /// Answered with a success that is none of the API, such as a page of a proxy.
    rejected_2xx,
    /// Answered with a redirect, which is not followed.
    rejected_3xx,
    /// Answered with a permanent error: 4xx except 408, 425 and 429.
    rejected_4xx,
    /// Answered with a 5xx that the API does not retry.
    rejected_5xx,
    /// Answered with errors too often: a 500 of the resource API, a 4xx that the settings retry, or
    /// any 5xx while the endpoint accepted others, or for minutes while all others waited for this
    /// post.
    gave_up_5xx,
    /// Not answered too often while the endpoint accepted others.
    gave_up_unanswered,
    /// Older than the settings allow.
    too_old,
    /// Too old for a server that files samples under its own time.
    stale,
    /// In a spool file that was damaged.
    damaged,
    /// Offered after the queue was closed.
    closed,
    /// A file or standard output did not take it.
    not_written,
    /// Lost in a fault of the program.
    fault,
}

drops! {
    /// Points that the endpoint refused, by reason. The words of its answer decide.
    PointDrops:
    /// Older than the last point of its series.
    out_of_order,
    /// Older, or newer, than the endpoint accepts.
    too_old,
    /// The series has another value for that time.
    duplicate,
    /// For another reason, or for none that it gives.
    other,
}

impl PointDrops {
    pub(super) fn add(&mut self, points: RefusedPoints) {
        let count = match points.reason {
            RefusalReason::OutOfOrder => &mut self.out_of_order,
            RefusalReason::TooOld => &mut self.too_old,
            RefusalReason::Duplicate => &mut self.duplicate,
            RefusalReason::Other => &mut self.other,
        };
        *count = count.saturating_add(points.count);
    }
}

/// The health of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// It accepts samples in time: they are sent from memory.
    #[default]
    Healthy,
    /// It accepts samples slowly: they are written to disk before they are sent.
    Degraded,
    /// It answers, but has rejected all recent samples: they are dropped, and nothing waits.
    Rejecting,
    /// It accepts nothing: samples wait, and one post at a time is a probe.
    Down,
}

impl Health {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Rejecting => "rejecting",
            Self::Down => "down",
        }
    }
}

/// The part of an endpoint's samples that is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OnDisk {
    pub samples: u64,
    pub posts: u64,
    pub bytes: u64,
    pub oldest: Option<Moment>,
}

/// The statistics of one endpoint since the start. At any moment `offered_posts + recovered_posts
/// == accepted_posts + dropped_posts.total() + merged_posts + waiting_posts`, except that
/// [`super::Handle::flush`] takes what it returns out of `waiting_posts`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statistics {
    pub offered_posts: u64,
    /// Posts that an earlier run left on disk.
    pub recovered_posts: u64,
    /// Posts answered 2xx, and the bytes of their bodies.
    pub accepted_posts: u64,
    pub accepted_bytes: u64,
    /// Answers by status; a retried post has several.
    pub answers: BTreeMap<u16, u64>,
    /// Tries without a whole answer: no connection, or too slow.
    pub unanswered: u64,
    /// Tries after each post's first, also immediate ones.
    pub retries: u64,
    /// Panics after which a task of the endpoint was started again.
    pub restarts: u64,
    /// Stale posts that were merged into newer ones.
    pub merged_posts: u64,
    pub dropped_posts: Drops,
    /// Points that the endpoint refused, of posts that it accepted otherwise and of rejected ones.
    pub dropped_points: PointDrops,
    /// Posts that wait or are in flight, in memory or on disk.
    pub waiting_posts: u64,
    /// Samples, posts and bytes that are in memory only.
    pub in_memory_samples: usize,
    pub in_memory_posts: usize,
    pub in_memory_bytes: usize,
    pub on_disk: OnDisk,
    /// The age of the oldest sample that waits; `None` while none does.
    pub oldest_age: Option<Duration>,
    /// The time since a post was last accepted; `None` before the first.
    pub last_success_age: Option<Duration>,
    /// The sampling time of the newest sample with an accepted post.
    pub newest_accepted: Option<WallTime>,
    pub health: Health,
    /// The time since the health changed.
    pub health_age: Duration,
    /// The error that keeps samples off the disk; `None` while there is none.
    pub spool_error: Option<String>,
}

impl Statistics {
    /// Samples that wait, in memory or on disk.
    #[must_use]
    pub fn waiting_samples(&self) -> u64 {
        self.in_memory_samples as u64 + self.on_disk.samples
    }

    /// Answers with a status of this class (2 for 2xx).
    #[must_use]
    pub fn answers_of_class(&self, hundred: u16) -> u64 {
        self.answers.range(hundred * 100..(hundred + 1) * 100).map(|(_, count)| count).sum()
    }

    pub(super) fn no_longer_waiting(&mut self, posts: u64) {
        self.waiting_posts = self.waiting_posts.saturating_sub(posts);
    }

    pub(super) fn answered(&mut self, status: u16) {
        let known = self.answers.contains_key(&status) || self.answers.len() < STATUSES_MAX;
        let counted = if known { status } else { status / 100 * 100 };
        *self.answers.entry(counted).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_statuses_a_server_thinks_up_few_are_counted_each_for_itself() {
        let mut figures = Statistics::default();
        (200..600).for_each(|status| figures.answered(status));
        assert!(figures.answers.len() <= STATUSES_MAX + 4, "{}", figures.answers.len());
        for hundred in 2..6 {
            assert_eq!(figures.answers_of_class(hundred), 100);
        }
    }
}
