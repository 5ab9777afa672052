//! The difference between a slow endpoint and a healthy one, and the cost for the other endpoints.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use nodetally::delivery::{Health, Statistics};
use nodetally::spool::Spool;
use tokio::time::{Instant, sleep};

use super::peer::{Act, CREATED, Peer, Request, Then, unused_addr, url};
use super::rig::{BOTH, BOUNDS, LONG, Rig, Store, Time, bytes_beside, on_both, quick};

/// The number of posts in a queue's file, by the sample's number within the boot.
async fn held_in(file: Vec<u8>) -> BTreeMap<u64, usize> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("copy.spool"), file).unwrap();
    let queue = Spool::new(dir.path().to_owned()).queue("copy", BOUNDS);
    let now = Time::new().now();
    let mut held = BTreeMap::new();
    while let Some((_, batch)) = queue.next(now).await.unwrap() {
        held.insert(batch.sampled_at.since_boot.as_nanos(), batch.posts.len());
    }
    held
}

#[tokio::test]
async fn while_an_endpoint_takes_its_time_every_sample_is_on_disk_before_its_first_try() {
    let is_slow = Arc::new(AtomicBool::new(true));
    let file: Arc<OnceLock<PathBuf>> = Arc::default();
    // The queue's file as it is when a sample is first heard of.
    let copies: Arc<Mutex<BTreeMap<u64, Vec<u8>>>> = Arc::default();
    let (slow, at, into) = (Arc::clone(&is_slow), Arc::clone(&file), Arc::clone(&copies));
    let peer = Peer::start(move |request: &Request| {
        if !slow.load(Ordering::Relaxed) {
            return CREATED;
        }
        let sample = request.key.rsplit(':').nth(1).unwrap().parse().unwrap();
        let copy = || fs::read(at.get().unwrap()).unwrap_or_default();
        into.lock().unwrap().entry(sample).or_insert_with(copy);
        Act::After(Duration::from_millis(250), "201 Created")
    });
    let mut settings = quick(peer.url());
    settings.prompt = Duration::from_millis(60);
    let rig = Rig::start(settings, Store::Disk);
    file.set(rig.file().unwrap()).unwrap();
    rig.offer(0, &["a", "b"]);
    rig.until("degraded", |figures| figures.health == Health::Degraded).await;
    let figures = rig.until("on disk", |figures| figures.on_disk.samples == 1).await;
    assert_eq!((figures.in_memory_posts, figures.dropped_posts.total()), (0, 0));
    for sequence in 1..10 {
        rig.offer(sequence, &["a", "b"]);
        sleep(Duration::from_millis(30)).await;
    }
    rig.until_settled().await;
    is_slow.store(false, Ordering::Relaxed);
    rig.end(&peer).await;
    let copies = std::mem::take(&mut *copies.lock().unwrap());
    assert!(copies.len() >= 10);
    for (nth, (sample, file)) in copies.into_iter().enumerate() {
        match nth {
            0 => assert!(file.is_empty(), "it was well so far"),
            _ => assert_eq!(held_in(file).await.get(&sample), Some(&2), "of the {nth}th"),
        }
    }
}

#[tokio::test]
async fn as_long_as_an_endpoint_is_prompt_the_disk_is_not_touched() {
    let peer = Peer::start(|_| CREATED);
    let rig = Rig::start(quick(peer.url()), Store::Disk);
    let dir = rig.file().unwrap().parent().unwrap().to_owned();
    for sequence in 0..30 {
        rig.offer(sequence, &["a", "b", "c"]);
        rig.until_settled().await;
        assert!(!dir.exists(), "after sample {sequence}");
    }
    rig.end(&peer).await;
}

#[tokio::test]
async fn a_sample_that_takes_too_long_goes_to_disk_whole_or_what_is_left_of_it() {
    let script = |request: &Request| match request.path.contains("/slow/") {
        true => Act::After(Duration::from_secs(6), "201 Created"),
        false => CREATED,
    };
    let peer = Peer::start(script);
    let mut settings = quick(peer.url());
    // A busy machine answers the others within this time too.
    settings.prompt = Duration::from_secs(2);
    let rig = Rig::start(settings, Store::Disk);
    rig.offer(0, &["a", "slow", "c", "d"]);
    let figures = rig.until("on disk", |figures| figures.on_disk.posts > 0).await;
    assert_eq!((figures.on_disk.posts, figures.accepted_posts), (1, 3), "only what is left");
    assert!(bytes_beside(&rig.file().unwrap()) > 0);
    rig.end(&peer).await;
}

/// A rejected post is dropped: it is not spooled, and no backlog shows it.
#[tokio::test]
async fn an_endpoint_that_refuses_all_it_is_sent_shows_it_until_it_takes_a_post() {
    on_both(async |store| {
        for answer in ["401 Unauthorized", "301 Moved\r\nlocation: /elsewhere", "403 Forbidden"] {
            let takes = Arc::new(AtomicBool::new(false));
            let taking = Arc::clone(&takes);
            let peer = Peer::start(move |request: &Request| {
                match taking.load(Ordering::Relaxed) && request.path.contains("/a/") {
                    true => CREATED,
                    false => Act::Answer(answer),
                }
            });
            let rig = Rig::start(quick(peer.url()), store);
            let offer = async |sequence, names: &[&str]| {
                rig.offer(sequence, names);
                rig.until_settled().await;
                // Its last post is counted before its round is at an end.
                sleep(Duration::from_millis(20)).await;
                rig.figures()
            };
            offer(0, &["a", "b"]).await;
            let begin = Instant::now();
            let mut sequence = 1;
            while rig.figures().health.as_str() != "rejecting" {
                assert!(begin.elapsed() < LONG, "{:?}", rig.figures());
                let figures = offer(sequence, &["a", "b"]).await;
                assert_eq!((figures.on_disk.samples, figures.in_memory_samples), (0, 0));
                sequence += 1;
            }
            takes.store(true, Ordering::Relaxed);
            offer(sequence, &["a", "b"]).await;
            let is_well = |figures: &Statistics| figures.health == Health::Healthy;
            let figures = rig.until("healthy", is_well).await;
            assert_eq!(figures.accepted_posts, 1, "{store:?}: {answer}: {figures:?}");
            // One that is refused may be at fault itself.
            let figures = offer(sequence + 1, &["b"]).await;
            assert_eq!(figures.health, Health::Healthy);
        }
    })
    .await;
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The median of the times from an offer to the acceptance of all of it, and the longest offer.
async fn measure(healthy: &Rig, beside: &[&Rig]) -> (Duration, Duration) {
    let (mut times, mut longest) = (Vec::new(), Duration::ZERO);
    for sequence in 0..60 {
        let begin = Instant::now();
        for rig in beside {
            let begin = Instant::now();
            rig.offer(sequence, &["a", "b", "c", "d", "e"]);
            longest = longest.max(begin.elapsed());
        }
        healthy.offer(sequence, &["a", "b", "c", "d", "e"]);
        healthy.until_settled().await;
        times.push(begin.elapsed());
        sleep(Duration::from_millis(5)).await;
    }
    (median(times), longest)
}

#[tokio::test]
async fn endpoints_that_are_slow_or_dead_cost_one_that_is_well_no_time() {
    let peers = [
        Peer::start(|_| Act::Bytes(b"", Then::Stall)),
        Peer::start(|_| Act::After(Duration::from_millis(300), "201 Created")),
        Peer::start(|_| Act::Bytes(b"", Then::Reset)),
    ];
    let well = Peer::start(|_| Act::After(Duration::from_millis(5), "201 Created"));
    let prompt = |url| {
        let mut settings = quick(url);
        settings.prompt = Duration::from_millis(50);
        settings.request_timeout = Duration::from_millis(500);
        settings
    };
    for store in BOTH {
        let mut healthy = quick(well.url());
        healthy.prompt = Duration::from_secs(20);
        let healthy = Rig::start(healthy, store);
        let (alone, _) = measure(&healthy, &[]).await;
        let mut ill: Vec<Rig> =
            peers.iter().map(|peer| Rig::start(prompt(peer.url()), store)).collect();
        ill.push(Rig::start(prompt(url(unused_addr())), store));
        let ill: Vec<&Rig> = ill.iter().collect();
        let (beside, longest) = measure(&healthy, &ill).await;
        // The same thread does the work of all of them, unoptimised, on a machine that is busy.
        let bound = alone * 4 + Duration::from_millis(60);
        assert!(beside < bound, "{store:?}: {beside:?} beside others, {alone:?} alone");
        assert!(longest < Duration::from_millis(250), "{store:?}: an offer took {longest:?}");
        for rig in ill {
            assert!(rig.figures().waiting_posts > 0, "it takes its time");
        }
        assert_eq!(healthy.figures().retries, 0);
    }
}
