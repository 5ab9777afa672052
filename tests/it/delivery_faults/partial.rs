//! An endpoint of several servers of which some are away or too busy: it takes some posts and fails on
//! others, for a while.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use nodetally::delivery::{DeliverySettings, Health, Statistics};

use super::peer::{Act, CREATED, Peer, Request, Then, unused_addr, url};
use super::rig::{BOTH, Rig, Store, on_both, path, quick, sequence};

const MINUTE: Duration = Duration::from_secs(60);

/// The servers that have the paths with `away` in them.
#[derive(Debug, Clone, Default)]
struct Part {
    is_away: Arc<AtomicBool>,
    /// Posts that came for them meanwhile.
    tries: Arc<AtomicU64>,
}

impl Part {
    fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Relaxed);
    }

    fn tries(&self) -> u64 {
        self.tries.load(Ordering::Relaxed)
    }

    fn peer(&self, when_away: Act) -> Peer {
        Peer::start(self.script(when_away))
    }

    fn peer_at(&self, addr: SocketAddr, when_away: Act) -> Peer {
        Peer::start_at(addr, self.script(when_away))
    }

    fn script(&self, when_away: Act) -> impl Fn(&Request) -> Act + Send + Sync + 'static {
        let part = self.clone();
        move |request: &Request| {
            if !request.path.contains("away") || !part.is_away.load(Ordering::Relaxed) {
                return CREATED;
            }
            part.tries.fetch_add(1, Ordering::Relaxed);
            when_away.clone()
        }
    }
}

/// A sample whose other posts are taken, with the endpoint well all the time.
async fn offer_and_wait(rig: &Rig, sequence: u64, names: &[&str]) -> Statistics {
    let others = names.iter().filter(|name| !name.contains("away")).count() as u64;
    let due = rig.figures().accepted_posts + others;
    rig.offer(sequence, names);
    let is_taken = |figures: &Statistics| {
        assert_ne!(figures.health, Health::Down, "{figures:?}");
        figures.accepted_posts >= due
    };
    rig.until("taken", is_taken).await
}

/// No tries between two samples, so that those beside each can be counted.
fn without_others(mut settings: DeliverySettings) -> DeliverySettings {
    let fits = |seed: &u64| {
        let mut random = Rng::with_seed(*seed);
        (0..100).all(|_| random.f64() > 0.01)
    };
    settings.seed = (0..).find(fits).unwrap();
    settings.backoff_base = 60 * MINUTE;
    settings.backoff_max = 60 * MINUTE;
    settings
}

#[tokio::test]
async fn what_fails_for_some_minutes_beside_others_is_lost_by_no_answer() {
    let aways = [Act::Answer("503 Busy"), Act::Answer("502 Bad"), Act::Bytes(b"", Then::Close)];
    on_both(async |store| {
        for (act, in_order) in aways.iter().flat_map(|act| [(act, false), (act, true)]) {
            let part = Part::default();
            part.set_away(true);
            let peer = part.peer(act.clone());
            let mut settings = quick(peer.url());
            settings.in_order = in_order;
            let rig = Rig::start(settings, store);
            for sequence in 0..19 {
                offer_and_wait(&rig, sequence, &["a", "away-b", "c", "away-d"]).await;
                rig.time.put_forward(MINUTE / 2);
            }
            assert_eq!(rig.figures().dropped_posts.total(), 0, "{act:?}");
            part.set_away(false);
            let figures = rig.end(&peer).await;
            assert_eq!(figures.dropped_posts.total(), 0, "{act:?}: {figures:?}");
            let taken = peer.taken();
            for name in ["away-b", "away-d"] {
                let of_path = taken.iter().filter(|body| body.ends_with(name));
                let order: Vec<u64> = of_path.map(|body| sequence(body)).collect();
                assert_eq!(order.len(), 19);
                assert!(!in_order || order.is_sorted(), "{store:?}: {order:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_fails_by_chance_beside_others_is_tried_until_it_is_taken() {
    on_both(async |store| {
        for in_order in [false, true] {
            let random = Mutex::new(Rng::with_seed(3));
            let peer = Peer::start(move |_: &Request| match random.lock().unwrap().u8(..) {
                // Two of five.
                0..102 => Act::Answer("503 Busy"),
                _ => CREATED,
            });
            let mut settings = quick(peer.url());
            settings.in_order = in_order;
            let rig = Rig::start(settings, store);
            for sequence in 0..40 {
                rig.offer(sequence, &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            rig.until_settled().await;
            let figures = rig.figures();
            assert_eq!((figures.accepted_posts, figures.dropped_posts.total()), (400, 0));
            assert!(figures.retries > 100, "{figures:?}");
        }
    })
    .await;
}

/// However long it is away, and however much is left: what is fresh asks, and the oldest.
#[tokio::test]
async fn a_path_that_fails_is_tried_twice_beside_each_sample_and_all_at_once_when_it_is_back() {
    on_both(async |store| {
        let part = Part::default();
        part.set_away(true);
        let peer = part.peer(Act::Answer("503 Busy"));
        let rig = Rig::start(without_others(quick(peer.url())), store);
        for sequence in 0..30 {
            // Once beside the first, twice beside each other one.
            let due = 2 * sequence + 1;
            offer_and_wait(&rig, sequence, &["a", "away", "b"]).await;
            let heard = |figures: &Statistics| figures.answers_of_class(5);
            rig.until("tried", |figures| heard(figures) >= due).await;
            assert_eq!(part.tries(), due, "{store:?}: beside sample {sequence}");
        }
        let mut asked: Vec<String> = peer.log().seen.iter().map(|seen| seen.body.clone()).collect();
        asked.retain(|body| body.contains("away"));
        let last = asked.last_chunk::<2>().unwrap();
        assert!(
            ["0-away", "29-away"].iter().all(|body| last.contains(&(*body).to_owned())),
            "{last:?}"
        );
        part.set_away(false);
        offer_and_wait(&rig, 30, &["a", "away"]).await;
        let figures = rig.until_settled().await;
        assert_eq!(figures.dropped_posts.total(), 0, "{figures:?}");
        assert_eq!(figures.accepted_posts, 30 * 3 + 2);
    })
    .await;
}

#[tokio::test]
async fn what_fails_for_longer_is_given_up_from_the_oldest_on() {
    on_both(async |store| {
        for in_order in [false, true] {
            let part = Part::default();
            part.set_away(true);
            let peer = part.peer(Act::Answer("503 Busy"));
            let mut settings = quick(peer.url());
            settings.in_order = in_order;
            let rig = Rig::start(settings, store);
            let mut sequence = 0;
            while rig.figures().dropped_posts.gave_up_5xx < 3 {
                assert!(sequence < 200, "{store:?}: {:?}", rig.figures());
                if sequence == 9 {
                    assert_eq!(rig.figures().dropped_posts.total(), 0);
                }
                offer_and_wait(&rig, sequence, &["a", "away", "b"]).await;
                rig.time.put_forward(MINUTE);
                sequence += 1;
            }
            part.set_away(false);
            let dropped = rig.end(&peer).await.dropped_posts;
            assert_eq!(dropped.gave_up_5xx, dropped.total());
            let taken = peer.taken();
            for given_up in 0..dropped.total() {
                assert!(!taken.contains(&format!("{given_up}-away")), "{taken:?}");
            }
        }
    })
    .await;
}

/// A body that is ill is given up even though others of its path are taken, and holds up none of them.
#[tokio::test]
async fn one_failing_body_delays_no_other_of_its_path() {
    on_both(async |store| {
        let peer = Peer::start(|request: &Request| match request.body_bytes > 20 {
            true => Act::Answer("503 Busy"),
            false => CREATED,
        });
        let rig = Rig::start(quick(peer.url()), store);
        let ill = "0-a which is so long that it is ill".into();
        rig.offer_posts(vec![(path("a"), ill), (path("b"), "0-b".into())]);
        for sequence in 1..30 {
            offer_and_wait(&rig, sequence, &["a", "b"]).await;
            rig.time.put_forward(MINUTE);
        }
        let figures = rig.end(&peer).await;
        assert_eq!(figures.dropped_posts.gave_up_5xx, 1, "{figures:?}");
        assert_eq!(figures.dropped_posts.total(), 1);
    })
    .await;
}

/// The time of an outage is not held against a post that failed before it.
#[tokio::test]
async fn after_an_outage_the_time_begins_anew() {
    on_both(async |store| {
        let part = Part::default();
        let is_down = Arc::new(AtomicBool::new(false));
        let (down, away) = (Arc::clone(&is_down), part.clone());
        let peer = Peer::start(move |request: &Request| match down.load(Ordering::Relaxed) {
            true => Act::Answer("503 Busy"),
            false if away.is_away.load(Ordering::Relaxed) && request.path.contains("away") => {
                Act::Answer("503 Busy")
            }
            false => CREATED,
        });
        part.set_away(true);
        let rig = Rig::start(quick(peer.url()), store);
        for sequence in 0..4 {
            offer_and_wait(&rig, sequence, &["a", "away", "b"]).await;
        }
        is_down.store(true, Ordering::Relaxed);
        rig.offer(4, &["a", "b"]);
        rig.until("down", |figures| figures.health == Health::Down).await;
        rig.time.put_forward(60 * MINUTE);
        is_down.store(false, Ordering::Relaxed);
        rig.until("up", |figures| figures.health == Health::Healthy).await;
        for sequence in 5..10 {
            offer_and_wait(&rig, sequence, &["a", "away", "b"]).await;
            rig.time.put_forward(MINUTE);
        }
        part.set_away(false);
        assert_eq!(rig.end(&peer).await.dropped_posts.total(), 0);
    })
    .await;
}

#[tokio::test]
async fn what_is_left_is_bounded_by_samples_and_by_bytes_and_the_oldest_goes() {
    on_both(async |store| {
        let part = Part::default();
        part.set_away(true);
        let peer = part.peer(Act::Answer("503 Busy"));
        let rig = Rig::start(quick(peer.url()), store);
        for sequence in 0..70 {
            offer_and_wait(&rig, sequence, &["a", "away"]).await;
        }
        let figures = rig.until("bounded", |figures| figures.waiting_posts == 64).await;
        assert_eq!(figures.dropped_posts.queue_full, 6, "{figures:?}");
        part.set_away(false);
        rig.end(&peer).await;
        assert!(peer.taken().contains(&"6-away".to_owned()));

        part.set_away(true);
        let mut settings = quick(peer.url());
        settings.queue_bytes_max = 400_000;
        let rig = Rig::start(settings, store);
        for sequence in 0..8 {
            let body = format!("{sequence}-{}", "x".repeat(30_000));
            let posts = vec![(path("a"), "1-a".into()), (path("away"), body.into())];
            let due = rig.figures().accepted_posts + 1;
            rig.offer_posts(posts);
            rig.until("taken", |figures| figures.accepted_posts == due).await;
        }
        let figures = rig.until("bounded", |figures| figures.waiting_posts == 3).await;
        assert_eq!(figures.dropped_posts.queue_full, 5, "{figures:?}");
        part.set_away(false);
        rig.until_settled().await;
    })
    .await;
}

/// 150 samples that waited for an endpoint of which a part is away when it is back, until as much is left
/// of them as keeps the others where they are.
async fn replay_a_part(part: &Part, store: Store) -> (Rig, Peer) {
    let addr = unused_addr();
    let rig = Rig::start(quick(url(addr)), store);
    for sequence in 0..150 {
        rig.offer(sequence, &["a", "away", "b"]);
    }
    rig.until("refused", |figures| figures.unanswered >= 2).await;
    part.set_away(true);
    let peer = part.peer_at(addr, Act::Answer("503 Busy"));
    rig.until("replayed in part", |figures| figures.accepted_posts >= 2 * 48).await;
    (rig, peer)
}

/// A backlog waits on disk or in memory, which have more room than the posts in flight.
#[tokio::test]
async fn a_backlog_is_not_sent_into_a_part_that_is_away_until_it_is_lost() {
    on_both(async |store| {
        let part = Part::default();
        let (rig, peer) = replay_a_part(&part, store).await;
        for sequence in 150..156 {
            rig.until("healthy", |figures| figures.health == Health::Healthy).await;
            offer_and_wait(&rig, sequence, &["a", "away", "b"]).await;
        }
        let tries = rig.figures().answers_of_class(5);
        let figures =
            rig.until("tried", |figures| figures.answers_of_class(5) >= tries + 100).await;
        assert_eq!(figures.dropped_posts.total(), 0, "{store:?}: {figures:?}");
        part.set_away(false);
        let figures = rig.end(&peer).await;
        assert_eq!(figures.dropped_posts.total(), 0, "{store:?}: {figures:?}");
    })
    .await;
}

/// For ever it does not wait: a path that has failed for long loses, and no other.
#[tokio::test]
async fn a_backlog_is_sent_in_the_end_whatever_is_away_for_good() {
    on_both(async |store| {
        let part = Part::default();
        let (rig, peer) = replay_a_part(&part, store).await;
        let tries = rig.figures().answers_of_class(5);
        rig.until("held", |figures| figures.answers_of_class(5) >= tries + 10).await;
        for sequence in 150..170 {
            rig.until("healthy", |figures| figures.health == Health::Healthy).await;
            offer_and_wait(&rig, sequence, &["a", "away", "b"]).await;
            rig.time.put_forward(MINUTE);
        }
        rig.until("replayed", |figures| figures.accepted_posts == 2 * 170).await;
        part.set_away(false);
        let dropped = rig.end(&peer).await.dropped_posts;
        assert!((100..170).contains(&dropped.total()), "{store:?}: {dropped:?}");
        assert_eq!(dropped.total(), dropped.queue_full + dropped.gave_up_5xx);
    })
    .await;
}

/// An answer that says that it is the post is asked for as often as is set, whatever came before.
#[tokio::test]
async fn a_post_that_failed_beside_others_is_not_given_up_at_its_first_500() {
    on_both(async |store| {
        for in_order in [false, true] {
            let part = Part::default();
            let is_late = Arc::new(AtomicBool::new(false));
            let (late, away) = (Arc::clone(&is_late), part.clone());
            let peer = Peer::start(move |request: &Request| {
                match request.path.contains("away") && away.is_away.load(Ordering::Relaxed) {
                    false => CREATED,
                    true if late.load(Ordering::Relaxed) => Act::Answer("500 Oops"),
                    true => Act::Answer("503 Busy"),
                }
            });
            part.set_away(true);
            let mut settings = quick(peer.url());
            settings.in_order = in_order;
            settings.bounds_500 = true;
            let rig = Rig::start(settings, store);
            for sequence in 0..8 {
                offer_and_wait(&rig, sequence, &["a", "away", "b"]).await;
            }
            rig.until("tried", |figures| figures.answers_of_class(5) >= 20).await;
            let before = peer.log().seen.len();
            is_late.store(true, Ordering::Relaxed);
            rig.until("given up", |figures| figures.dropped_posts.gave_up_5xx > 2).await;
            part.set_away(false);
            let dropped = rig.end(&peer).await.dropped_posts;
            assert_eq!(dropped.gave_up_5xx, dropped.total());
            let taken = peer.taken();
            let seen = peer.log().seen.clone();
            let given_up = (0..8).map(|number| format!("{number}-away"));
            for (nth, body) in given_up.filter(|body| !taken.contains(body)).enumerate() {
                let tries = seen[before..].iter().filter(|seen| seen.body == body).count();
                // Where order is meaning, what is behind a post fails with it.
                assert!(tries >= 3 || in_order && nth > 0, "{store:?}: {body}: {tries} tries");
            }
        }
    })
    .await;
}

/// Silence that is put to disk before it is known to be that of a part alone.
#[tokio::test]
async fn what_a_silent_part_left_is_known_as_that_after_a_restart() {
    let part = Part::default();
    part.set_away(true);
    let peer = part.peer(Act::Bytes(b"", Then::Stall));
    let mut settings = quick(peer.url());
    settings.prompt = Duration::from_millis(20);
    settings.request_timeout = Duration::from_secs(2);
    let mut rig = Rig::start(settings.clone(), Store::Disk);
    rig.offer(0, &["a", "away-b", "away-c"]);
    rig.until("silent", |figures| figures.unanswered >= 2 && figures.accepted_posts == 1).await;
    rig.until("on disk", |figures| figures.on_disk.posts == 2).await;
    rig.reload(settings, Duration::ZERO).await;
    for sequence in 1..6 {
        offer_and_wait(&rig, sequence, &["a"]).await;
    }
    part.set_away(false);
    assert_eq!(rig.until_settled().await.dropped_posts.total(), 0);
}

/// Unacknowledged posts of a partially accepted sample are recognised after a restart, and do not
/// make the endpoint count as down.
#[tokio::test]
async fn what_was_left_holds_up_nothing_after_a_restart_either() {
    for store in BOTH {
        let part = Part::default();
        part.set_away(true);
        let peer = part.peer(Act::Answer("503 Busy"));
        let settings = quick(peer.url());
        let mut rig = Rig::start(settings.clone(), store);
        for sequence in 0..30 {
            offer_and_wait(&rig, sequence, &["a", "away"]).await;
        }
        rig.until("left", |figures| figures.waiting_posts == 30).await;
        rig.reload(settings, Duration::ZERO).await;
        for sequence in 30..40 {
            let figures = offer_and_wait(&rig, sequence, &["a", "away"]).await;
            assert_eq!(figures.health, Health::Healthy, "{figures:?}");
        }
        rig.until("left", |figures| figures.waiting_posts == 40).await;
        if store == Store::Disk {
            rig.until("leased", |_| rig.leased() == 40).await;
        }
        part.set_away(false);
        let figures = rig.until_settled().await;
        assert_eq!(figures.dropped_posts.total(), 0, "{figures:?}");
    }
}
