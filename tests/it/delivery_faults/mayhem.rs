//! A peer that misbehaves at random, offers and reloads at random moments, and then peace: all is
//! accounted for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use nodetally::delivery::DeliverySettings;
use tokio::time::{Instant, sleep};

use super::peer::{Act, CREATED, Peer, Request, Then};
use super::rig::{Rig, Store, on_both, path, quick};
use crate::support::rounds::rounds;

fn misbehaves(random: &mut Rng) -> Act {
    const TAKEN: &[u8] = b"HTTP/1.1 201 Created\r\ncontent-length: 3\r\n\r\nwhy";
    let lost = |act| Act::Taken(Box::new(act));
    match random.u32(..30) {
        0 => Act::ResetMidRequest,
        1 => Act::Bytes(b"", Then::Reset),
        2 => Act::Bytes(b"", Then::Close),
        3 => Act::Bytes(b"", Then::Stall),
        4 => Act::Bytes(b"", Then::HalfClose),
        5 => lost(Act::Bytes(b"", Then::Close)),
        6 => lost(Act::Bytes(b"HTTP/1.1 201 Crea", Then::Reset)),
        7 => lost(Act::Bytes(TAKEN, Then::Close)),
        8 => lost(Act::Bytes(TAKEN, Then::Reset)),
        9 => lost(Act::Drip(TAKEN, Duration::from_millis(random.u64(..30)))),
        10 => lost(Act::Endless(b"HTTP/1.1 201 Created\r\n", b"x-filler: 0123456789abcdef\r\n")),
        11 => Act::Bytes(b"SSH-2.0-OpenSSH_9.6\r\n", Then::Close),
        12 => Act::Answer("429 Too Many"),
        13 => Act::Answer("503 Busy\r\nretry-after: 0"),
        14..=16 => Act::Answer("500 Oops"),
        17 => Act::Answer("502 Bad Gateway"),
        18 => Act::Answer("400 Bad Request"),
        19 => Act::Answer("302 Found\r\nlocation: http://127.0.0.1:9/"),
        20..=22 => Act::After(Duration::from_millis(random.u64(..200)), "201 Created"),
        _ => CREATED,
    }
}

async fn survives(seed: u64, store: Store) {
    let mut random = Rng::with_seed(seed);
    let is_peace = Arc::new(AtomicBool::new(false));
    let peace = Arc::clone(&is_peace);
    // Now and then it is in one mood for a while.
    let state = Mutex::new((random.fork(), 0, CREATED));
    let peer = Peer::start(move |_: &Request| {
        if peace.load(Ordering::Relaxed) {
            return CREATED;
        }
        let mut state = state.lock().unwrap();
        let (random, left, mood) = &mut *state;
        if *left > 0 {
            *left -= 1;
            return mood.clone();
        }
        if random.u32(..40) == 0 {
            (*left, *mood) = (random.u32(..30), misbehaves(random));
        }
        misbehaves(random)
    });
    let wanted = |random: &mut Rng| -> DeliverySettings {
        let mut settings = quick(peer.url());
        settings.prompt = Duration::from_millis(random.u64(20..200));
        settings.request_timeout = Duration::from_millis(400);
        settings.concurrency_max = random.usize(1..9);
        settings.in_order = random.bool();
        settings.bounds_500 = random.bool();
        settings.tries_max = random.u32(1..5);
        settings.seed = random.u64(..);
        settings
    };
    let settings = wanted(&mut random);
    let mut rig = Rig::start(settings, store);
    let mayhem = Duration::from_secs(2) * rounds(1);
    let (begin, mut sequence) = (Instant::now(), 0);
    // On a busy machine the time alone is good for a few samples only.
    while begin.elapsed() < mayhem || sequence <= 20 {
        match random.u32(..40) {
            0 => {
                let settings = wanted(&mut random);
                let time = Duration::from_millis(random.u64(..100));
                rig.reload(settings, time).await;
            }
            1..25 => {
                let post = |name: u32| {
                    let name = format!("n{name}");
                    let filler = "x".repeat(random.usize(..2000));
                    (path(&name), format!("{sequence}-{name}-{filler}").into())
                };
                let posts = (0..Rng::with_seed(sequence).u32(1..12)).map(post).collect();
                rig.offer_posts(posts);
                sequence += 1;
            }
            _ => sleep(Duration::from_millis(random.u64(..30))).await,
        }
        rig.figures();
    }
    is_peace.store(true, Ordering::Relaxed);
    rig.come_to_rest().await;
    let seen = std::mem::take(&mut peer.log().seen);
    // What is under way at a reload may have been taken, and comes again.
    rig.judge(&seen, true);
    assert!(sequence > 20, "only {sequence} samples");
}

async fn survives_or_tells(seed: u64) {
    on_both(async |store| {
        eprintln!("seed {seed}, {store:?}");
        survives(seed, store).await;
    })
    .await;
}

#[tokio::test]
async fn whatever_a_peer_does_everything_is_accounted_for() {
    survives_or_tells(1).await;
}

#[tokio::test]
async fn whatever_another_peer_does_everything_is_accounted_for() {
    survives_or_tells(2).await;
}

#[tokio::test]
async fn whatever_a_peer_of_chance_does_everything_is_accounted_for() {
    survives_or_tells(fastrand::u64(..)).await;
}
