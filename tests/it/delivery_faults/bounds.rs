//! Posts dropped for lack of room or as stale are counted, those in flight included.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use nodetally::spool::Bounds;
use tokio::time::sleep;

use super::peer::{Act, CREATED, Peer, Request, Then};
use super::rig::{BOUNDS, Rig, Store, on_both, path, quick};

/// A peer that stalls or answers with a 503 until it is let go.
fn gate(act: Act) -> (Peer, Arc<AtomicBool>) {
    let is_open = Arc::new(AtomicBool::new(false));
    let open = Arc::clone(&is_open);
    let peer = Peer::start(move |_: &Request| match open.load(Ordering::Relaxed) {
        true => CREATED,
        false => act.clone(),
    });
    (peer, is_open)
}

/// Text that cannot be packed.
fn body(sequence: u64, name: &str, bytes: usize) -> Bytes {
    let mut random = Rng::with_seed(sequence * 1000 + name.len() as u64);
    let noise: String = std::iter::repeat_with(|| random.alphanumeric()).take(bytes).collect();
    format!("{sequence}-{name}-{noise}").into()
}

#[tokio::test]
async fn posts_without_room_in_memory_are_counted_as_dropped() {
    for act in [Act::Bytes(b"", Then::Stall), Act::Answer("503 Busy")] {
        let (peer, open) = gate(act);
        let mut settings = quick(peer.url());
        settings.queue_samples_max = 5;
        settings.request_timeout = Duration::from_millis(500);
        let rig = Rig::start(settings, Store::Memory);
        for sequence in 0..40 {
            rig.offer(sequence, &["a", "b", "c"]);
            let figures = rig.figures();
            assert!(figures.waiting_samples() <= 5, "{figures:?}");
            if sequence % 3 == 0 {
                sleep(Duration::from_millis(15)).await;
            }
        }
        let before = rig.figures();
        assert_eq!(before.dropped_posts.queue_full, before.dropped_posts.total());
        assert!((90..=117).contains(&before.dropped_posts.queue_full), "{before:?}");
        open.store(true, Ordering::Relaxed);
        let figures = rig.end(&peer).await;
        assert!(peer.taken().contains(&"39-c".to_owned()), "the newest is kept");
        assert!(figures.dropped_posts.queue_full <= 117);
    }
}

#[tokio::test]
async fn what_memory_has_no_room_for_by_bytes_is_counted() {
    let (peer, open) = gate(Act::Answer("503 Busy"));
    let mut settings = quick(peer.url());
    settings.queue_bytes_max = 20_000;
    let rig = Rig::start(settings, Store::Memory);
    for sequence in 0..40 {
        rig.offer_posts(vec![
            (path("a"), body(sequence, "a", 1500)),
            (path("b"), body(sequence, "b", 1500)),
        ]);
        assert!(rig.figures().in_memory_bytes <= 20_000);
        sleep(Duration::from_millis(3)).await;
    }
    open.store(true, Ordering::Relaxed);
    let figures = rig.end(&peer).await;
    let kept = 20_000 / 3200;
    assert_eq!(figures.dropped_posts.queue_full, 2 * (40 - kept), "{figures:?}");
}

#[tokio::test]
async fn posts_without_room_on_disk_are_counted_as_dropped() {
    for act in [Act::Bytes(b"", Then::Stall), Act::Answer("503 Busy")] {
        let (peer, open) = gate(act);
        let mut settings = quick(peer.url());
        settings.prompt = Duration::from_millis(50);
        settings.request_timeout = Duration::from_millis(500);
        let bounds = Bounds { bytes_max: 64 << 10, ..BOUNDS };
        let rig = Rig::start_within(settings, Store::Disk, bounds);
        for sequence in 0..40 {
            let post = |name| (path(name), body(sequence, name, 3000));
            rig.offer_posts(["a", "b"].map(post).into());
            sleep(Duration::from_millis(10)).await;
            assert!(rig.figures().on_disk.bytes <= 64 << 10);
        }
        rig.until("on disk", |figures| figures.in_memory_samples == 0).await;
        let before = rig.figures();
        assert!(before.dropped_posts.spool_full >= 2 * 24, "{before:?}");
        open.store(true, Ordering::Relaxed);
        let figures = rig.end(&peer).await;
        assert_eq!(figures.dropped_posts.spool_full, figures.dropped_posts.total());
        assert!(peer.taken().iter().any(|body| body.starts_with("39-")), "the newest is kept");
    }
}

#[tokio::test]
async fn what_has_grown_too_old_is_counted_wherever_it_is() {
    on_both(async |store| {
        for act in [Act::Bytes(b"", Then::Stall), Act::Answer("503 Busy")] {
            let (peer, open) = gate(act);
            let mut settings = quick(peer.url());
            settings.age_max = Duration::from_secs(3600);
            settings.prompt = Duration::from_millis(50);
            settings.request_timeout = Duration::from_millis(300);
            let bounds = Bounds { age_max: Duration::from_secs(3600), ..BOUNDS };
            let rig = Rig::start_within(settings, store, bounds);
            for sequence in 0..10 {
                rig.offer(sequence, &["a", "b"]);
                sleep(Duration::from_millis(10)).await;
            }
            rig.time.put_forward(Duration::from_secs(3601));
            for sequence in 10..20 {
                rig.offer(sequence, &["a", "b"]);
                sleep(Duration::from_millis(10)).await;
            }
            open.store(true, Ordering::Relaxed);
            let figures = rig.end(&peer).await;
            let dropped = figures.dropped_posts;
            assert_eq!((dropped.too_old, dropped.total()), (20, 20), "{store:?}: {figures:?}");
        }
    })
    .await;
}
