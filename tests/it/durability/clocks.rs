//! Clocks that are set while samples wait.

use std::time::Duration;

use nodetally::delivery::{StaleAction, StaleRule};
use nodetally::spool::Spool;

use crate::durability::peer::{Mood, Peer};
use crate::durability::worker::{Clock, Running, boot, run, settings};

const HOUR: u64 = 3600;
const WALL: u64 = 1_700_000_000;

/// Leaves five samples on disk, the last taken at this moment.
async fn leave_five(spool: &Spool, clock: &Clock, peer: &Peer) {
    let running = Running::start(settings(&peer.url()), spool, clock);
    for number in 0..5 {
        running.offer(format!("{number}"));
    }
    running.until("on disk", |figures| figures.on_disk.samples == 5).await;
    let deadline = tokio::time::Instant::now();
    assert_eq!(running.handle.flush(deadline).await, []);
    running.task.await.unwrap();
}

#[test]
fn a_wall_clock_that_jumps_by_an_hour_changes_nothing_within_a_boot() {
    for wall in [WALL + HOUR + 60, WALL - HOUR] {
        run(async {
            let scratch = tempfile::tempdir().unwrap();
            let spool = Spool::new(scratch.path().to_owned());
            let peer = Peer::start(Mood::Refusing);
            let clock = Clock::at(boot(1), 10_000, WALL);
            leave_five(&spool, &clock, &peer).await;
            let mut settings = settings(&peer.url());
            settings.stale =
                Some(StaleRule { after: Duration::from_secs(600), then: StaleAction::Drop });
            let running = Running::start(settings, &spool, &clock);
            clock.set_wall(wall);
            running.offer("5");
            running.until("on disk", |figures| figures.on_disk.samples == 6).await;
            clock.pass(Duration::from_secs(300));
            let age = running.figures().oldest_age.unwrap();
            assert!(age >= Duration::from_secs(300) && age < Duration::from_secs(301), "{age:?}");
            peer.set(Mood::Well);
            let figures = running.until("sent", |figures| figures.waiting_posts == 0).await;
            assert_eq!((figures.accepted_posts, figures.dropped_posts.total()), (6, 0));
        });
    }
}

#[test]
fn behind_a_reboot_the_wall_clock_tells_what_is_too_old_and_one_that_is_behind_keeps_all() {
    for (wall, dropped) in [(WALL + HOUR + 1, 5), (WALL + HOUR - 60, 0), (WALL - HOUR, 0)] {
        run(async {
            let scratch = tempfile::tempdir().unwrap();
            let spool = Spool::new(scratch.path().to_owned());
            let peer = Peer::start(Mood::Refusing);
            leave_five(&spool, &Clock::at(boot(1), 10_000, WALL), &peer).await;
            let clock = Clock::at(boot(2), 20, wall);
            let running = Running::start(settings(&peer.url()), &spool, &clock);
            peer.set(Mood::Well);
            running.offer("5");
            let figures = running.until("sent", |figures| figures.waiting_posts == 0).await;
            assert_eq!(figures.dropped_posts.too_old, dropped, "{wall}: {figures:?}");
            assert_eq!(figures.accepted_posts, 6 - dropped, "{wall}: {figures:?}");
        });
    }
}
