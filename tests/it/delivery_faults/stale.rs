//! Samples that are too old for a server that files them under its own clock.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use nodetally::delivery::{
    DeliverySettings, Health, MergeBodies, StaleAction, StaleRule, Statistics,
};
use nodetally::payload::resource_api::{
    UsageValues, decode_node, decode_pod, encode_node, encode_pod, merge, node_metrics_path,
    pod_metrics_path,
};
use tokio::time::sleep;

use super::peer::{Act, CREATED, Peer, Seen, Then, unused_addr, url};
use super::rig::{BOUNDS, Rig, Store, on_both, quick, spool_in};

const INTERVAL: Duration = Duration::from_secs(15);
const OUTAGE_SAMPLES: u64 = 60;
const AFTER: Duration = Duration::from_secs(60);

fn figures(number: u64) -> UsageValues {
    UsageValues {
        cpu_millicores: number,
        memory_bytes: 4096 * number,
        read_bytes: 10_000 + number,
        write_bytes: 200 + number % 7,
        sent_bytes: 3 * number,
        recv_bytes: number * number,
    }
}

/// A node's post and some pods', of which some come and go.
fn posts(sample: u64) -> Vec<(String, Bytes)> {
    let mut node = Vec::new();
    encode_node(&figures(sample + 1000), None, &mut node);
    let mut posts = vec![(node_metrics_path("worker-1").unwrap(), node.into())];
    for pod in 0..6 {
        // The first is gone after ten samples, the last comes after forty.
        if (pod == 0 && sample >= 10) || (pod == 5 && sample < 40) {
            continue;
        }
        let mut body = Vec::new();
        encode_pod(&figures(sample * 10 + pod), "worker-1", None, &mut body);
        posts.push((pod_metrics_path("default", &format!("pod-{pod}")).unwrap(), body.into()));
    }
    posts
}

/// IO bytes by path: read, written, sent and received.
type Sums = BTreeMap<String, [u64; 4]>;

fn add(sums: &mut Sums, path: &str, body: &[u8]) {
    let figures = match path.contains("/pods/") {
        true => decode_pod(body).unwrap().usage,
        false => decode_node(body).unwrap().usage,
    };
    let flows = [figures.read_bytes, figures.write_bytes, figures.sent_bytes, figures.recv_bytes];
    let sums = sums.entry(path.to_owned()).or_default();
    sums.iter_mut().zip(flows).for_each(|(sum, flow)| *sum += flow);
}

/// The sums on a server that recognises replayed keys.
fn sums_taken(seen: &[Seen]) -> Sums {
    let (mut sums, mut bodies) = (Sums::new(), BTreeMap::new());
    for seen in seen.iter().filter(|seen| seen.taken) {
        match bodies.insert(&seen.key, &seen.body) {
            None => add(&mut sums, &seen.path, seen.body.as_bytes()),
            Some(before) => assert_eq!(before, &seen.body, "two bodies under {}", seen.key),
        }
    }
    sums
}

struct Outage {
    /// As it ended.
    during: Statistics,
    after: Statistics,
    offered: Sums,
    seen: Vec<Seen>,
}

/// A quarter of an hour in which the peer refuses or does as told, and then it is back.
async fn outage(store: Store, late: Option<StaleRule>, bad: Option<Act>) -> Outage {
    let addr = unused_addr();
    let bad_peer = bad.map(|act| Peer::start_at(addr, move |_| act.clone()));
    let mut settings = quick(url(addr));
    settings.stale = late;
    let rig = Rig::start(settings, store);
    let mut offered = Sums::new();
    for sample in 0..OUTAGE_SAMPLES {
        let posts = posts(sample);
        posts.iter().for_each(|(path, body)| add(&mut offered, path, body));
        rig.offer_posts(posts);
        rig.time.put_forward(INTERVAL);
        // Until it has been taken in and tried once more.
        let tries = rig.figures().unanswered;
        rig.until("tried", |figures| figures.unanswered > tries).await;
        sleep(Duration::from_millis(1)).await;
    }
    let during = rig.figures();
    let mut seen = match bad_peer {
        Some(peer) => peer.stop().await,
        None => Vec::new(),
    };
    let peer = Peer::start_at(addr, |_| CREATED);
    let after = rig.until_settled().await;
    seen.extend(peer.stop().await);
    if let Some(file) = rig.file() {
        let begin = tokio::time::Instant::now();
        while file.exists() {
            assert!(begin.elapsed() < super::rig::LONG, "{}", file.display());
            sleep(Duration::from_millis(5)).await;
        }
    }
    Outage { during, after, offered, seen }
}

fn adds() -> Option<StaleRule> {
    Some(StaleRule { after: AFTER, then: StaleAction::Add(MergeBodies(merge)) })
}

fn assert_nothing_is_lost_by_adding_up(outage: &Outage) {
    let Outage { during, after, offered, seen } = outage;
    assert_eq!(sums_taken(seen), *offered);
    assert_eq!(after.dropped_posts.total(), 0, "{after:?}");
    assert!(after.merged_posts > 200, "{after:?}");
    let samples: u64 = during.waiting_samples();
    // Those that are not late, the sum of the late ones, what is between, and one that was tried.
    assert!(samples <= 60 / 15 + 4, "{samples} samples are kept: {during:?}");
}

#[tokio::test]
async fn what_passed_in_an_outage_is_added_up_to_the_byte() {
    on_both(async |store| {
        assert_nothing_is_lost_by_adding_up(&outage(store, adds(), None).await);
    })
    .await;
}

/// A post that the server may have is not added to another: under that one's key it would come twice,
/// and under its own it would be taken for a repeat, with all that was added to it.
#[tokio::test]
async fn what_a_server_may_have_taken_is_added_to_nothing() {
    let lost: [Act; 2] = [
        Act::Taken(Box::new(Act::Bytes(b"", Then::Reset))),
        Act::Taken(Box::new(Act::Bytes(b"HTTP/1.1 201 Crea", Then::Close))),
    ];
    on_both(async |store| {
        for act in lost.clone() {
            assert_nothing_is_lost_by_adding_up(&outage(store, adds(), Some(act)).await);
        }
    })
    .await;
}

fn lost() -> Act {
    Act::Taken(Box::new(Act::Bytes(b"", Then::Reset)))
}

/// A few samples that have become late, and a peer that is well: all arrives, and nothing twice but under
/// the key that it had.
async fn end_late(rig: &Rig, addr: SocketAddr, mut offered: Sums, mut seen: Vec<Seen>) {
    for sample in 1..10 {
        let posts = posts(sample);
        posts.iter().for_each(|(path, body)| add(&mut offered, path, body));
        rig.offer_posts(posts);
        rig.time.put_forward(INTERVAL);
    }
    rig.time.put_forward(AFTER);
    let peer = Peer::start_at(addr, |_| CREATED);
    let figures = rig.until_settled().await;
    assert_eq!(figures.dropped_posts.total(), 0, "{figures:?}");
    seen.extend(peer.stop().await);
    assert_eq!(sums_taken(&seen), offered);
}

/// A reload or another start: what is known of a sample goes with it, to disk or in memory.
#[tokio::test]
async fn what_a_server_may_have_taken_is_added_to_nothing_by_the_next_worker_either() {
    on_both(async |store| {
        let addr = unused_addr();
        let bad = Peer::start_at(addr, |_| lost());
        let mut settings = quick(url(addr));
        settings.stale = adds();
        let mut rig = Rig::start(settings.clone(), store);
        let mut offered = Sums::new();
        let mut offer = |rig: &Rig, sample| {
            let posts = posts(sample);
            posts.iter().for_each(|(path, body)| add(&mut offered, path, body));
            rig.offer_posts(posts);
        };
        offer(&rig, 100);
        rig.until("down", |figures| figures.health == Health::Down).await;
        // Not tried, as the other is first.
        offer(&rig, 101);
        if store == Store::Disk {
            rig.until("on disk", |figures| figures.on_disk.samples == 2).await;
        }
        let seen = bad.stop().await;
        // What the next worker finds is late by then: it looks at that before it tries any.
        rig.time.put_forward(2 * AFTER);
        rig.reload(settings, Duration::ZERO).await;
        end_late(&rig, addr, offered, seen).await;
    })
    .await;
}

/// A sample that was tried while the disk failed, and gets there later.
#[tokio::test]
async fn what_a_server_may_have_taken_is_added_to_nothing_once_it_is_on_disk() {
    let addr = unused_addr();
    let bad = Peer::start_at(addr, |_| lost());
    let mut settings = quick(url(addr));
    settings.stale = adds();
    // It is tried once and no more, until another worker comes.
    let day = Duration::from_secs(24 * 60 * 60);
    (settings.backoff_base, settings.backoff_max) = (day, day);
    let dir = tempfile::tempdir().unwrap();
    fs::write(spool_in(&dir), "").unwrap();
    let mut rig = Rig::start_over(settings, Some(dir), BOUNDS);
    rig.until("spool failing", |figures| figures.spool_error.is_some()).await;
    let mut offered = Sums::new();
    let mut offer = |rig: &Rig, sample| {
        let posts = posts(sample);
        posts.iter().for_each(|(path, body)| add(&mut offered, path, body));
        rig.offer_posts(posts);
    };
    offer(&rig, 0);
    rig.until("lost", |figures| figures.unanswered > 0).await;
    rig.until("down", |figures| figures.health == Health::Down).await;
    fs::remove_file(rig.file().unwrap().parent().unwrap()).unwrap();
    // A disk that has failed is left alone for some seconds.
    for sample in 100.. {
        let figures = rig.figures();
        assert!(sample < 400, "{figures:?}");
        if figures.on_disk.samples > 1 {
            break;
        }
        offer(&rig, sample);
        sleep(Duration::from_millis(100)).await;
    }
    rig.until("on disk", |figures| figures.in_memory_samples == 0).await;
    let seen = bad.stop().await;
    rig.time.put_forward(2 * AFTER);
    rig.reload(DeliverySettings { stale: adds(), ..quick(url(addr)) }, Duration::ZERO).await;
    end_late(&rig, addr, offered, seen).await;
}

#[tokio::test]
async fn late_samples_are_dropped_and_counted_where_that_is_wanted() {
    let late = Some(StaleRule { after: AFTER, then: StaleAction::Drop });
    on_both(async |store| {
        let Outage { after, seen, .. } = outage(store, late, None).await;
        let taken = seen.iter().filter(|seen| seen.taken).count() as u64;
        assert_eq!((taken, after.merged_posts), (after.accepted_posts, 0));
        assert_eq!(after.dropped_posts.stale, after.dropped_posts.total());
        let all: usize = (0..OUTAGE_SAMPLES).map(|sample| posts(sample).len()).sum();
        assert_eq!(after.dropped_posts.stale + taken, all as u64);
        // 60 s of 15 s each, and what is sent while the clock runs.
        let last: usize = (OUTAGE_SAMPLES - 4..OUTAGE_SAMPLES).map(|at| posts(at).len()).sum();
        assert!(taken <= last as u64 && taken >= last as u64 - 7, "{taken} of the last {last}");
    })
    .await;
}

#[tokio::test]
async fn late_samples_are_sent_as_they_are_where_nothing_else_is_said() {
    on_both(async |store| {
        let outage = outage(store, None, None).await;
        assert_eq!(sums_taken(&outage.seen), outage.offered);
        let figures = outage.after;
        assert_eq!((figures.merged_posts, figures.dropped_posts.total()), (0, 0));
        assert_eq!(figures.accepted_posts, figures.offered_posts);
    })
    .await;
}
