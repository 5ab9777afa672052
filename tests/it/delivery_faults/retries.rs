//! When something is tried again, how often, and what is given up.

use std::time::Duration;

use fastrand::Rng;
use nodetally::delivery::{DeliverySettings, Health};
use nodetally::spool::Bounds;
use tokio::time::{Instant, sleep};

use super::peer::{Act, CREATED, Peer, Request, unused_addr, url};
use super::rig::{BOTH, BOUNDS, Rig, Store, on_both, path, quick};

fn gaps(peer: &Peer) -> Vec<Duration> {
    let log = peer.log();
    log.seen.windows(2).map(|two| two[1].at - two[0].at).collect()
}

/// The first `waits` times between two tries of one post that is never accepted, in seconds.
async fn waits(seed: u64, waits: usize) -> Vec<f64> {
    let peer = Peer::start(|_| Act::Answer("503 Busy"));
    let mut settings = quick(peer.url());
    settings.backoff_base = Duration::from_millis(5);
    settings.backoff_max = Duration::from_millis(80);
    settings.seed = seed;
    let rig = Rig::start(settings, Store::Memory);
    rig.offer(0, &["a"]);
    rig.until("often tried", |figures| figures.answers_of_class(5) > waits as u64).await;
    gaps(&peer).iter().map(Duration::as_secs_f64).take(waits).collect()
}

#[tokio::test]
async fn waits_grow_up_to_their_cap_and_are_anything_below_it() {
    let capped = waits(42, 65).await.split_off(4);
    // The time that the machine takes to send a post comes on top of each wait.
    let mut sorted = capped.clone();
    sorted.sort_by(f64::total_cmp);
    let slack = sorted[3] + 0.040;
    // Of five runs the least: a machine at work is not slow each time.
    let mut first = [f64::MAX; 4];
    for seed in 0..5 {
        let waits = waits(seed, 4).await;
        first.iter_mut().zip(waits).for_each(|(least, wait)| *least = least.min(wait));
    }
    for (nth, wait) in first.iter().enumerate() {
        let ceiling = 0.005 * f64::from(1 << nth) + slack;
        assert!(*wait < ceiling, "wait {nth} of {wait} s: {first:?}");
    }
    let mean = capped.iter().sum::<f64>() / 61.0;
    // 40 ms, within 4.5 times the standard error of 61 even draws of 0 to 80 ms.
    assert!((0.026..0.054 + slack).contains(&mean), "a mean of {mean} s: {capped:?}");
    let share = |low: f64, high: f64| capped.iter().filter(|gap| (low..high).contains(gap)).count();
    assert!(share(0.0, 0.035 + sorted[3]) >= 5, "short ones: {capped:?}");
    assert!(share(0.055, 9.0) >= 5, "long ones: {capped:?}");
}

#[tokio::test]
async fn nothing_is_sent_before_the_time_that_a_peer_asked_for() {
    on_both(async |store| {
        for answer in ["429 Too Many\r\nretry-after: 1", "503 Busy\r\nretry-after: 1"] {
            let script = move |request: &Request| match request.nth < 3 {
                true => Act::Answer(answer),
                false => CREATED,
            };
            let peer = Peer::start(script);
            let mut settings = quick(peer.url());
            settings.concurrency_max = 3;
            let rig = Rig::start(settings, store);
            rig.offer(0, &["a", "b", "c", "d"]);
            rig.until("asked to wait", |figures| figures.answers.len() == 1).await;
            let (begin, mut sequence) = (Instant::now(), 1);
            while begin.elapsed() < Duration::from_millis(800) {
                rig.offer(sequence, &["a", "b"]);
                sequence += 1;
                sleep(Duration::from_millis(50)).await;
            }
            let figures = rig.end(&peer).await;
            assert_eq!(figures.dropped_posts.total(), 0);
            let log = peer.log();
            let (before, behind): (Vec<_>, Vec<_>) = log.seen.iter().partition(|seen| !seen.taken);
            // What was under way when the first was answered.
            assert!((1..=3).contains(&before.len()));
            let asked = before.iter().map(|seen| seen.at).min().unwrap();
            let again = behind.iter().map(|seen| seen.at).min().unwrap();
            let waited = again - asked;
            assert!(waited >= Duration::from_millis(990), "{store:?}: {answer}: {waited:?}");
        }
    })
    .await;
}

/// A peer that takes a few posts and then asks for a pause, again and again, while more comes than it
/// takes: what it leaves is not held in hand, where nothing could push it out.
#[tokio::test]
async fn posts_that_a_slow_endpoint_leaves_are_not_held_in_memory() {
    let peer = Peer::start(|request: &Request| match request.nth % 4 {
        3 => Act::Answer("429 Too Many Requests"),
        _ => CREATED,
    });
    let mut settings = quick(peer.url());
    settings.concurrency_max = 1;
    settings.prompt = Duration::from_millis(1);
    settings.backoff_base = Duration::from_millis(30);
    let bounds = Bounds { bytes_max: 256 << 10, ..BOUNDS };
    let rig = Rig::start_within(settings, Store::Disk, bounds);
    let mut random = Rng::with_seed(5);
    let mut leased = Vec::new();
    for sequence in 0..60 {
        let post = |name: u32| {
            let noise: String =
                std::iter::repeat_with(|| random.alphanumeric()).take(1500).collect();
            (path(&format!("{name}")), format!("{sequence}-{name}-{noise}").into())
        };
        rig.offer_posts((10..30).map(post).collect());
        sleep(Duration::from_millis(20)).await;
        leased.push(rig.leased());
    }
    // The one that is being sent, four that are fresh, and what was left of one.
    assert!(leased.iter().all(|samples| *samples <= 6), "{leased:?}");
    rig.offer(60, &["a"]);
    let figures = rig.end(&peer).await;
    assert!(figures.dropped_posts.spool_full > 0, "{figures:?}");
    assert_eq!(figures.dropped_posts.total(), figures.dropped_posts.spool_full);
}

#[tokio::test]
async fn while_an_endpoint_is_down_a_single_post_finds_out_whether_it_is_back() {
    on_both(async |store| {
        let script = |request: &Request| match request.nth < 40 {
            true => Act::After(Duration::from_millis(10), "503 Busy"),
            false => Act::After(Duration::from_millis(10), "201 Created"),
        };
        let peer = Peer::start(script);
        let rig = Rig::start(quick(peer.url()), store);
        for sequence in 0..5 {
            rig.offer(sequence, &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]);
        }
        rig.until("down", |figures| figures.health == Health::Down).await;
        let heads = {
            let mut log = peer.log();
            log.under_way_max = 0;
            log.heads
        };
        assert!(heads <= 16, "no more than may be under way, twice: {heads}");
        rig.until("nearly back", |figures| figures.answers_of_class(5) >= 38).await;
        assert_eq!(peer.log().under_way_max, 1, "{store:?}");
        rig.until_settled().await;
        let figures = rig.end(&peer).await;
        assert_eq!(figures.dropped_posts.total(), 0);
        assert!((2..=8).contains(&peer.log().under_way_max), "then they go side by side again");
    })
    .await;
}

fn bounded(peer: &Peer) -> DeliverySettings {
    let mut settings = quick(peer.url());
    settings.bounds_500 = true;
    settings
}

#[tokio::test]
async fn a_post_on_which_the_peer_always_fails_is_given_up_and_the_others_flow() {
    on_both(async |store| {
        for bounds_500 in [true, false] {
            let peer = Peer::start(|request: &Request| match request.path.contains("/poison/") {
                true => Act::Answer("500 Oops"),
                false => CREATED,
            });
            let mut settings = bounded(&peer);
            settings.bounds_500 = bounds_500;
            settings.failing_for = Duration::ZERO;
            let rig = Rig::start(settings, store);
            for sequence in 0..10 {
                rig.offer(sequence, &["a", "poison", "b", "c"]);
                sleep(Duration::from_millis(10)).await;
            }
            // By what is accepted beside it, it shows that it is the post's fault.
            for sequence in 10.. {
                let figures = rig.figures();
                assert!(sequence < 1000, "{store:?}: {figures:?}");
                if figures.dropped_posts.gave_up_5xx == 10 {
                    break;
                }
                rig.offer(sequence, &["a"]);
                sleep(Duration::from_millis(10)).await;
            }
            let figures = rig.end(&peer).await;
            assert_eq!(figures.dropped_posts.total(), 10);
            let tries = figures.answers[&500];
            // Of a path that fails not every post is tried every time.
            let least = if bounds_500 { 30 } else { 10 };
            assert!((least..=60).contains(&tries), "{tries} tries of ten posts");
        }
    })
    .await;
}

/// There need not be anything fresh for it to show that it is the post's fault.
#[tokio::test]
async fn such_posts_hold_up_neither_a_backlog_nor_what_comes_in_order() {
    on_both(async |store| {
        for in_order in [false, true] {
            let addr = unused_addr();
            let mut settings = quick(url(addr));
            settings.in_order = in_order;
            let rig = Rig::start(settings, store);
            for sequence in 0..12 {
                rig.offer(sequence, &["a", "poison", "b", "c"]);
            }
            rig.until("refused", |figures| figures.unanswered >= 2).await;
            let poisoned = |request: &Request| match request.path.contains("/poison/") {
                true => Act::Answer("503 Busy"),
                false => CREATED,
            };
            let peer = Peer::start_at(addr, poisoned);
            let figures = rig
                .until("replayed", |figures| {
                    figures.accepted_posts == 36 && figures.waiting_posts <= 12
                })
                .await;
            let dropped = figures.dropped_posts;
            let tries = figures.answers[&503];
            assert!(tries < 150, "{tries} tries of twelve posts");
            assert_eq!(dropped.total(), 0, "{figures:?}");
            rig.time.put_forward(Duration::from_secs(10 * 60));
            for sequence in 12..40 {
                rig.offer(sequence, &["a"]);
                sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(rig.end(&peer).await.dropped_posts.gave_up_5xx, 12);
        }
    })
    .await;
}

/// Nothing else is accepted, so the endpoint is down, and all of it is on disk.
#[tokio::test]
async fn such_posts_are_given_up_from_disk_as_well_and_none_of_them_twice() {
    on_both(async |store| {
        let peer = Peer::start(|request: &Request| match request.path.contains("/poison") {
            true => Act::Answer("500 Oops"),
            false => Act::Answer("503 Busy"),
        });
        let rig = Rig::start(bounded(&peer), store);
        for sequence in 0..3 {
            rig.offer(sequence, &["poison-a", "busy-b", "poison-c", "busy-d"]);
        }
        let figures = rig
            .until("given up", |figures| {
                figures.dropped_posts.gave_up_5xx == 2 && figures.answers[&503] > 12
            })
            .await;
        assert_eq!((figures.waiting_posts, figures.dropped_posts.total()), (10, 2));
        let (addr, before) = (peer.addr, peer.stop().await);
        let tries = before.iter().filter(|seen| seen.path.contains("/poison")).count();
        assert_eq!(tries, 6, "three of each, and none of those behind");
        let peer = Peer::start_at(addr, |_| CREATED);
        let figures = rig.until_settled().await;
        rig.come_to_rest().await;
        let came = peer.taken();
        assert!(!came.contains(&"0-poison-a".to_owned()), "{came:?}");
        assert_eq!(figures.accepted_posts, 10, "{figures:?}");
    })
    .await;
}

#[tokio::test]
async fn such_posts_are_given_up_over_a_restart_of_the_worker() {
    let peer = Peer::start(|request: &Request| match request.path.contains("/poison/") {
        true => Act::Answer("500 Oops"),
        false => CREATED,
    });
    let mut settings = bounded(&peer);
    // Long enough to restart between two tries.
    settings.backoff_base = Duration::from_millis(300);
    settings.backoff_max = Duration::from_millis(300);
    for store in BOTH {
        let mut rig = Rig::start(settings.clone(), store);
        rig.offer(0, &["poison"]);
        rig.until("tried", |figures| figures.answers_of_class(5) >= 1).await;
        rig.reload(settings.clone(), Duration::ZERO).await;
        rig.offer(1, &["a", "b", "poison", "c"]);
        let figures = rig.until_settled().await;
        rig.come_to_rest().await;
        let seen = std::mem::take(&mut peer.log().seen);
        rig.judge(&seen, false);
        assert_eq!(figures.dropped_posts.gave_up_5xx, 2, "{figures:?}");
    }
}
