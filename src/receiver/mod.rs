//! A server for the APIs that the agent speaks: takes pushes, keeps the last hour in memory,
//! answers reads, also as `metrics.k8s.io`.
//!
//! It drops posts that come again, as far as they say which post they are (`Idempotency-Key`).
//!
//! It takes only what is well formed (servers it stands in for do not: see
//! [`crate::payload::resource_api`]), stamps each push with its own clock, which is passed in, and
//! is bounded in every direction: connections, bodies, nodes, pods, points, rows, bytes and time.

mod documents;
mod encoding;
mod metrics_k8s_io;
mod page;
mod pieces;
mod pod_batch;
mod pod_lifecycle;
mod repeats;
mod request;
mod resource_api;
mod routes;
mod rows;
mod series;
mod serve;
mod store;

use std::time::Duration;

pub use series::Counters;
pub use serve::{Clock, Kept, Limits, Listener, Receiver, router, serve_router};

/// How much a receiver keeps, and how it reads what it keeps.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// The time between two pushes of one pod or node (15 s).
    pub interval: Duration,
    /// A pod that has not been pushed for longer leaves the lists and sums. Three intervals, at
    /// least 60 s: two lost pushes remove no pod.
    pub stale_after: Duration,
    /// How far back a window reaches (1 h).
    pub retention: Duration,
    /// The most points of one node or pod (720, an hour at 5 s); a point takes 56 bytes.
    pub points_max: usize,
    /// The most nodes (500) and pods (5000). Beyond them a new one takes the place of the one
    /// that has been silent longest, or is answered 507 when none is silent.
    pub nodes_max: usize,
    pub pods_max: usize,
    /// The most bytes of what is kept whole, each for itself: pods of batches, nodes of batches,
    /// rows of the life-cycle API (32 MiB). What is no longer sent, and rows of dead pods, make
    /// room.
    pub documents_bytes_max: usize,
    /// How many posts are remembered, to know them when they come again (262,144: 8.5 MiB at
    /// most, and less where there are fewer), and for how long (24 h). 5000 pods every 15 s have them
    /// remembered for 13 minutes, a node of 110 pods for 9.8 hours. A repeat that comes later
    /// counts as a new post.
    pub post_keys_max: usize,
    pub post_keys_age_max: Duration,
    /// What pushers mean by their byte figures (deltas).
    pub counters: Counters,
}

impl Bounds {
    /// The defaults for pushers of this interval.
    #[must_use]
    pub fn for_interval(interval: Duration) -> Self {
        Self {
            interval,
            stale_after: interval.saturating_mul(3).max(Duration::from_secs(60)),
            retention: Duration::from_secs(3600),
            points_max: 720,
            nodes_max: 500,
            pods_max: 5000,
            documents_bytes_max: 32 << 20,
            post_keys_max: 1 << 18,
            post_keys_age_max: Duration::from_secs(24 * 3600),
            counters: Counters::Delta,
        }
    }
}
