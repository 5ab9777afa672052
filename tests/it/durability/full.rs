//! A disk that fills up while the endpoint is down.

use std::time::Duration;

use fastrand::Rng;
use nodetally::spool::Spool;
use tokio::time::sleep;

use crate::durability::mounts::{resize, tmpfs, unmount};
use crate::durability::peer::{Mood, Peer};
use crate::durability::worker::{Clock, Running, boot, run, settings};
use crate::support::log_lines::listen;
use crate::support::mounts::in_own_mounts;

/// Of what cannot be packed, behind its number.
fn body(number: u64, random: &mut Rng) -> String {
    let letters = std::iter::repeat_with(|| random.alphanumeric());
    format!("{number} {}", letters.take(16 << 10).collect::<String>())
}

#[test]
fn on_a_full_disk_samples_wait_in_memory_and_all_that_were_not_dropped_arrive() {
    in_own_mounts(|| {
        let scratch = tempfile::tempdir().unwrap();
        tmpfs(scratch.path(), "512k");
        run(fill(scratch.path()));
        unmount(scratch.path());
    });
}

/// A full disk can be read all the same.
#[test]
fn where_order_matters_nothing_overtakes_what_is_on_a_full_disk() {
    in_own_mounts(|| {
        let scratch = tempfile::tempdir().unwrap();
        tmpfs(scratch.path(), "512k");
        run(fill_in_order(scratch.path()));
        unmount(scratch.path());
    });
}

async fn fill_in_order(dir: &std::path::Path) {
    let peer = Peer::start(Mood::Refusing);
    let clock = Clock::at(boot(1), 1000, 1_000_000);
    let mut settings = settings(&peer.url());
    settings.in_order = true;
    let running = Running::start(settings, &Spool::new(dir.join("spool")), &clock);
    let mut random = Rng::with_seed(7);
    let mut offered = 0;
    while running.figures().spool_error.is_none() {
        running.offer(body(offered, &mut random));
        offered += 1;
        let figures = running
            .until("looked at", |figures| {
                figures.in_memory_samples < 2 || figures.spool_error.is_some()
            })
            .await;
        assert!(offered < 100, "{figures:?}");
    }
    let figures = running.figures();
    assert!(figures.on_disk.samples >= 8 && figures.in_memory_samples > 0, "{figures:?}");
    // Within the seconds for which the disk is not written to.
    peer.set(Mood::Well);
    let figures = running.until("all sent", |figures| figures.waiting_posts == 0).await;
    assert_eq!(figures.accepted_posts, offered, "{figures:?}");
    let number = |body: &String| body.split(' ').next().unwrap().parse::<u64>().unwrap();
    let came: Vec<u64> = peer.memory().order.iter().map(number).collect();
    assert_eq!(came, (0..offered).collect::<Vec<_>>());
}

async fn fill(dir: &std::path::Path) {
    const IN_MEMORY: usize = 256 << 10;
    let (lines, _guard) = listen();
    let peer = Peer::start(Mood::Refusing);
    let clock = Clock::at(boot(1), 1000, 1_000_000);
    let mut settings = settings(&peer.url());
    settings.queue_bytes_max = IN_MEMORY;
    let running = Running::start(settings, &Spool::new(dir.join("spool")), &clock);
    let mut random = Rng::with_seed(7);
    let mut offered = 0;
    let mut offer = || {
        running.offer(body(offered, &mut random));
        offered += 1;
    };

    // One after the other, so that none is dropped before it was looked at.
    while running.figures().spool_error.is_none() {
        offer();
        running
            .until("looked at", |figures| {
                figures.in_memory_samples < 8 || figures.spool_error.is_some()
            })
            .await;
    }
    let figures = running.figures();
    assert!(figures.on_disk.samples >= 8, "{figures:?}");
    assert_eq!(figures.dropped_posts.total(), 0, "{figures:?}");
    let trouble = figures.spool_error.unwrap();
    assert!(trouble.contains("no space is left"), "{trouble}");

    for _ in 0..40 {
        offer();
        sleep(Duration::from_millis(1)).await;
        assert!(running.figures().in_memory_bytes <= IN_MEMORY);
    }
    let figures = running.figures();
    assert!(figures.in_memory_samples >= 8, "{figures:?}");
    assert!(figures.dropped_posts.queue_full > 0, "{figures:?}");
    assert_eq!(lines.containing("cannot be kept on disk").len(), 1, "{:?}", lines.all());
    assert_eq!(lines.containing("kept on disk again").len(), 0);

    resize(dir, "16m");
    while running.figures().spool_error.is_some() {
        offer();
        sleep(Duration::from_millis(100)).await;
    }
    running.until("on disk", |figures| figures.in_memory_samples == 0).await;
    assert_eq!(lines.containing("kept on disk again").len(), 1);
    assert_eq!(lines.containing("cannot be kept on disk").len(), 1);

    peer.set(Mood::Well);
    let figures = running.until("all sent", |figures| figures.waiting_posts == 0).await;
    let dropped = figures.dropped_posts;
    assert_eq!(dropped.total(), dropped.queue_full, "{dropped:?}");
    let memory = peer.memory();
    let number = |body: &str| body.split(' ').next().unwrap().parse::<u64>().unwrap();
    let mut arrived: Vec<u64> = memory.posts.values().map(|post| number(&post.body)).collect();
    arrived.sort_unstable();
    assert_eq!(arrived.len() as u64 + dropped.queue_full, offered);
    // What reached the disk before it was full is not what was dropped.
    assert_eq!(arrived[..8], [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(arrived.last(), Some(&(offered - 1)));
}
