//! Posts on which an endpoint always fails, and which are not to pass for an endpoint that is down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;
use nodetally::delivery::{DeliverySettings, Health, MergeBodies, StaleAction, StaleRule};

use super::peer::{Act, CREATED, Peer, Request, Then, unused_addr, url};
use super::rig::{Rig, on_both, path, quick};

const MINUTE: Duration = Duration::from_secs(60);

/// The failures of a failing path: an error status, no answer, a closed connection.
fn ills() -> [Act; 3] {
    [Act::Answer("503 Busy"), Act::Bytes(b"", Then::Stall), Act::Bytes(b"", Then::Close)]
}

/// Takes all but what is ill.
fn fails_on_ill(ill: Act) -> impl Fn(&Request) -> Act + Send + Sync + 'static {
    move |request| match request.path.contains("/ill") {
        true => ill.clone(),
        false => CREATED,
    }
}

fn impatient(mut settings: DeliverySettings) -> DeliverySettings {
    settings.request_timeout = Duration::from_millis(300);
    settings
}

/// Offers samples, a minute apart, until `posts` were given up, and judges the end.
async fn until_given_up(rig: &Rig, peer: &Peer, posts: u64) {
    for sequence in 10_000.. {
        let figures = rig.figures();
        let dropped = figures.dropped_posts;
        if dropped.gave_up_5xx + dropped.gave_up_unanswered == posts {
            break;
        }
        let accepted = figures.accepted_posts;
        rig.time.put_forward(MINUTE);
        rig.offer(sequence, &["a"]);
        rig.until("taken", |figures| figures.accepted_posts > accepted).await;
    }
    assert_eq!(rig.end(peer).await.dropped_posts.total(), posts);
}

/// An endpoint that fails on one post of an otherwise good sample, then has an outage, then is back.
#[tokio::test]
async fn one_failing_post_does_not_prolong_an_outage() {
    let add = StaleAction::Add(MergeBodies(|_, _| None));
    for late in [None, Some(StaleRule { after: MINUTE, then: add })] {
        on_both(async |store| {
            for ill in ills() {
                let is_down = Arc::new(AtomicBool::new(false));
                let (down, on_ill) = (Arc::clone(&is_down), fails_on_ill(ill));
                let peer = Peer::start(move |request| match down.load(Ordering::Relaxed) {
                    true => Act::Answer("502 Bad Gateway"),
                    false => on_ill(request),
                });
                let mut settings = impatient(quick(peer.url()));
                settings.stale = late;
                let rig = Rig::start(settings, store);
                rig.offer(0, &["ill", "a", "b"]);
                rig.until("taken", |figures| figures.accepted_posts == 2).await;
                is_down.store(true, Ordering::Relaxed);
                for sequence in 1..6 {
                    rig.offer(sequence, &["a", "b"]);
                }
                rig.until("down", |figures| figures.health == Health::Down).await;
                let tries = rig.figures().answers_of_class(5);
                rig.until("asked", |figures| figures.answers_of_class(5) >= tries + 4).await;
                is_down.store(false, Ordering::Relaxed);
                rig.until("taken", |figures| figures.accepted_posts == 12).await;
                until_given_up(&rig, &peer, 1).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn the_first_post_of_what_waited_may_be_ill() {
    on_both(async |store| {
        for in_order in [false, true] {
            for ill in ills() {
                let addr = unused_addr();
                let mut settings = impatient(quick(url(addr)));
                settings.in_order = in_order;
                let rig = Rig::start(settings, store);
                for sequence in 0..4 {
                    rig.offer(sequence, &["ill", "a", "b"]);
                }
                rig.until("refused", |figures| figures.unanswered >= 2).await;
                let peer = Peer::start_at(addr, fails_on_ill(ill));
                rig.until("taken", |figures| figures.accepted_posts == 8).await;
                until_given_up(&rig, &peer, 4).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn all_posts_of_the_oldest_sample_may_fail() {
    on_both(async |store| {
        for (ill, heads) in [
            (Act::Answer("503 Busy"), [&["ill-x", "ill-y"][..], &["ill-x"], &["ill-z"]]),
            (Act::Bytes(b"", Then::Stall), [&["ill-x"], &["ill-y"], &["ill-x"]]),
        ] {
            let addr = unused_addr();
            let rig = Rig::start(impatient(quick(url(addr))), store);
            for (sequence, head) in (0..).zip(heads) {
                rig.offer(sequence, head);
            }
            rig.offer(3, &["a", "b"]);
            rig.until("refused", |figures| figures.unanswered >= 2).await;
            let peer = Peer::start_at(addr, fails_on_ill(ill));
            rig.until("taken", |figures| figures.accepted_posts == 2).await;
            until_given_up(&rig, &peer, heads.concat().len() as u64).await;
        }
    })
    .await;
}

#[tokio::test]
async fn posts_that_were_left_are_no_outage_however_few_go_side_by_side() {
    let many = ["ill-0", "a", "ill-1", "b", "ill-2", "c", "ill-3", "d", "ill-4", "e", "ill-5", "f"];
    on_both(async |store| {
        for in_order in [false, true] {
            for (concurrency, first) in [(1, &["ill", "a"][..]), (1, &many), (2, &many)] {
                let peer = Peer::start(fails_on_ill(Act::Answer("507 Insufficient Storage")));
                let mut settings = quick(peer.url());
                settings.concurrency_max = concurrency;
                settings.in_order = in_order;
                settings.tries_max = 1000;
                let rig = Rig::start(settings, store);
                rig.offer(0, first);
                let mut due = first.iter().filter(|name| !name.contains("ill")).count() as u64;
                rig.until("taken", |figures| figures.accepted_posts == due).await;
                for sequence in 1..6 {
                    rig.offer(sequence, &["a", "ill-0", "b"]);
                    due += 2;
                    let is_taken = |figures: &nodetally::delivery::Statistics| {
                        assert_ne!(figures.health, Health::Down, "{figures:?}");
                        figures.accepted_posts == due
                    };
                    rig.until("taken", is_taken).await;
                }
            }
        }
    })
    .await;
}

/// Posts that come one by one and in their order, as of pods' lives: one with a long body is ill.
fn acts(ill: Act) -> impl Fn(&Request) -> Act + Send + Sync + 'static {
    move |request| match request.body_bytes > 20 {
        true => ill.clone(),
        false => CREATED,
    }
}

fn offer_act(rig: &Rig, sequence: u64, is_ill: bool) {
    let body = match is_ill {
        true => format!("{sequence}-and much that this endpoint cannot take"),
        false => format!("{sequence}-act"),
    };
    rig.offer_posts(vec![(path("acts"), body.into())]);
}

async fn tried_more(rig: &Rig) {
    let tries = |figures: &nodetally::delivery::Statistics| {
        figures.answers_of_class(5) + figures.unanswered
    };
    let before = tries(&rig.figures());
    rig.until("tried again", |figures| tries(figures) >= before + 5).await;
}

#[tokio::test]
async fn an_act_that_is_answered_with_errors_for_minutes_gives_way_to_those_behind_it() {
    on_both(async |store| {
        let peer = Peer::start(acts(Act::Answer("500 Oops")));
        let mut settings = quick(peer.url());
        settings.in_order = true;
        let rig = Rig::start(settings, store);
        offer_act(&rig, 0, false);
        rig.until_settled().await;
        for sequence in 1..6 {
            offer_act(&rig, sequence, sequence == 2);
        }
        rig.until("down", |figures| figures.health == Health::Down).await;
        tried_more(&rig).await;
        rig.time.put_forward(9 * MINUTE);
        tried_more(&rig).await;
        assert_eq!(rig.figures().dropped_posts.total(), 0, "a short trouble loses nothing");
        rig.time.put_forward(MINUTE);
        let figures = rig.until_settled().await;
        assert_eq!((figures.dropped_posts.gave_up_5xx, figures.accepted_posts), (1, 5));
        rig.end(&peer).await;
        let taken = peer.taken();
        assert_eq!(taken[..5], ["0-act", "1-act", "3-act", "4-act", "5-act"], "{store:?}");
    })
    .await;
}

#[tokio::test]
async fn a_long_outage_costs_few_acts_where_errors_are_answered_and_none_where_nobody_is() {
    on_both(async |store| {
        for (act, dropped) in [
            (Act::Answer("503 Busy"), [1, 1, 2, 2, 2, 2, 3]),
            (Act::Bytes(b"", Then::Close), [0; 7]),
        ] {
            let addr = unused_addr();
            let mut settings = quick(url(addr));
            settings.in_order = true;
            let rig = Rig::start(settings, store);
            for sequence in 0..8 {
                offer_act(&rig, sequence, false);
            }
            let peer = Peer::start_at(addr, move |_| act.clone());
            rig.until("down", |figures| figures.health == Health::Down).await;
            for dropped in dropped {
                tried_more(&rig).await;
                rig.time.put_forward(10 * MINUTE + Duration::from_secs(1));
                tried_more(&rig).await;
                assert_eq!(rig.figures().dropped_posts.gave_up_5xx, dropped, "{store:?}");
            }
            peer.stop().await;
            let peer = Peer::start_at(addr, |_| CREATED);
            let left = 8 - dropped[6];
            assert_eq!(rig.until_settled().await.accepted_posts, left);
            drop(peer);
        }
    })
    .await;
}

/// A retry between two samples neither delays the next one nor moves it to disk.
#[tokio::test]
async fn what_was_left_of_a_sample_holds_up_no_fresh_one_however_long_its_pause() {
    on_both(async |store| {
        let peer = Peer::start(fails_on_ill(Act::Answer("503 Busy")));
        let mut settings = quick(peer.url());
        // After the sample a short pause, after what was left of it alone a long one.
        let fits = |seed: &u64| {
            let mut random = Rng::with_seed(*seed);
            random.f64() < 0.002 && random.f64() > 0.5
        };
        settings.seed = (0..).find(fits).unwrap();
        settings.backoff_base = MINUTE;
        settings.backoff_max = 60 * MINUTE;
        settings.tries_max = 1000;
        let rig = Rig::start(settings, store);
        rig.offer(0, &["ill", "a"]);
        rig.until("tried alone", |figures| figures.answers_of_class(5) == 2).await;
        for sequence in 1..4 {
            rig.offer(sequence, &["a"]);
            let is_taken = |figures: &nodetally::delivery::Statistics| {
                assert!(figures.on_disk.samples <= 1, "the disk is touched: {figures:?}");
                figures.accepted_posts == sequence + 1
            };
            let figures = rig.until("taken", is_taken).await;
            assert_eq!(figures.health, Health::Healthy);
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_left_of_a_sample_grows_old_as_everything_does() {
    on_both(async |store| {
        for is_late in [true, false] {
            let is_old = Arc::new(AtomicBool::new(false));
            let old = Arc::clone(&is_old);
            let peer = Peer::start(move |request: &Request| match old.load(Ordering::Relaxed) {
                false if request.path.contains("/ill") => {
                    Act::After(Duration::from_millis(50), "429 Too Many\r\nretry-after: 1")
                }
                _ => CREATED,
            });
            let mut settings = quick(peer.url());
            settings.stale =
                is_late.then_some(StaleRule { after: MINUTE, then: StaleAction::Drop });
            settings.age_max = 60 * MINUTE;
            let rig = Rig::start(settings, store);
            rig.offer(0, &["ill", "a"]);
            rig.until("asked to wait", |figures| figures.answers_of_class(4) > 0).await;
            rig.time.put_forward(61 * MINUTE);
            rig.offer(1, &["a", "b"]);
            is_old.store(true, Ordering::Relaxed);
            let figures = rig.end(&peer).await;
            let dropped = figures.dropped_posts;
            assert_eq!(dropped.total(), 1, "{store:?}: {figures:?}");
            assert_eq!(dropped.stale + dropped.too_old, 1);
            assert!(!peer.taken().contains(&"0-ill".to_owned()));
        }
    })
    .await;
}
