//! Limits on what a receiver keeps, and the error where one is reached.

use std::time::Duration;

use thiserror::Error;

/// Limits on what a receiver keeps, in number and in age.
#[derive(Debug, Clone)]
pub struct ReceiverBounds {
    /// The time between two pushes of one pod or node (15 s).
    pub interval: Duration,
    /// A pod that has not been pushed for longer leaves the lists and sums. Three intervals, at
    /// least 60 s: two lost pushes remove no pod.
    pub stale_after: Duration,
    /// The longest window of a query (1 h).
    pub retention: Duration,
    /// The most nodes (5,000). Beyond them a new node replaces the one that has been silent longest.
    /// Where none is silent, it replaces one of the sender that has the most, or the post is answered
    /// 507.
    pub nodes_max: usize,
    /// The most pods (200,000), with the same rule.
    pub pods_max: usize,
    /// The most bytes of documents (32 MiB). It holds separately for pods of batches, nodes of
    /// batches and rows of the life-cycle API. Silent documents and rows of dead pods are evicted.
    pub documents_bytes_max: usize,
    /// The most accepted posts kept to recognise a replay (1,048,576). Beyond them the oldest of the
    /// sender that has the most are forgotten. A later replay counts as a new post.
    pub post_keys_max: usize,
    /// The time for which an accepted post is kept to recognise a replay (24 h).
    pub post_keys_age_max: Duration,
    /// The most bytes of the whole store; `None`: as many as the disk has. Posts beyond are answered
    /// 507.
    pub store_bytes_max: Option<u64>,
}

impl ReceiverBounds {
    /// The defaults for pushers of this interval.
    #[must_use]
    pub fn for_interval(interval: Duration) -> Self {
        Self {
            interval,
            stale_after: interval.saturating_mul(3).max(Duration::from_secs(60)),
            retention: Duration::from_secs(3600),
            nodes_max: 5000,
            pods_max: 200_000,
            documents_bytes_max: 32 << 20,
            post_keys_max: 1 << 20,
            post_keys_age_max: Duration::from_secs(24 * 3600),
            store_bytes_max: None,
        }
    }
}

/// A bound that is reached while everything under it is still pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this receiver keeps at most {max} {what}, and all of them still push")]
pub(super) struct Full {
    pub(super) what: &'static str,
    pub(super) max: usize,
}
