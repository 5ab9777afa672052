//! Waiting for the figures of an endpoint.

use std::time::{Duration, Instant};

use nodetally::delivery::{Handle, Statistics};
use nodetally::identity::BootId;
use nodetally::quantity::{BootTime, WallTime};
use nodetally::spool::Moment;
use tokio::time::sleep;

/// Long enough for a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until the figures are as wanted; fails with them otherwise. They are in balance all the time.
pub async fn until(handle: &Handle, what: &str, done: impl Fn(&Statistics) -> bool) -> Statistics {
    let boot = BootId::parse(b"dcb0aa66-4b28-4a3b-b26c-358f9a3b5bb2").unwrap();
    let since_boot = BootTime::from_nanos(1_000_000_000_000);
    let now = Moment { boot, since_boot, wall: WallTime::from_unix_millis(1000) };
    let begin = Instant::now();
    loop {
        let figures = handle.statistics(&now);
        let ended = figures.accepted_posts + figures.dropped_posts.total() + figures.merged_posts;
        let known = figures.offered_posts + figures.recovered_posts;
        assert_eq!(known, ended + figures.waiting_posts, "{figures:?}");
        if done(&figures) {
            return figures;
        }
        assert!(begin.elapsed() < PATIENCE, "not {what}: {figures:?}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until nothing waits any more.
pub async fn until_settled(handle: &Handle) -> Statistics {
    until(handle, "settled", |figures| figures.waiting_posts == 0).await
}
