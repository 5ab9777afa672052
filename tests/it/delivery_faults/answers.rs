//! One bad answer after the other: for some requests the peer behaves so, and then as it should.

use std::time::Duration;

use nodetally::delivery::{Split, Statistics};
use tokio::time::sleep;

use super::peer::{Act, CREATED, Peer, Request, Then, unused_addr, url};
use super::rig::{BOTH, LONG, Rig, Store, on_both, path, quick};

const SAMPLES: u64 = 4;
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const POSTS: u64 = SAMPLES * NAMES.len() as u64;

/// Requests that are treated badly: more than may be under way at once, so the endpoint goes down.
const BAD: usize = 10;

/// Lets the peer behave badly to the first requests, and sees all of them through.
async fn weathers(act: Act) -> Vec<Statistics> {
    on_both(async |store| weathers_with(act.clone(), store, BAD).await).await.into()
}

async fn weathers_with(act: Act, store: Store, bad: usize) -> Statistics {
    let timeout = if act.keeps_waiting() { Duration::from_millis(300) } else { LONG };
    weathers_within(timeout, act, store, bad).await
}

async fn weathers_within(timeout: Duration, act: Act, store: Store, bad: usize) -> Statistics {
    let script = move |request: &Request| match request.nth < bad {
        true => act.clone(),
        false => CREATED,
    };
    let peer = Peer::start(script);
    let mut settings = quick(peer.url());
    settings.request_timeout = timeout;
    let rig = Rig::start(settings, store);
    for sequence in 0..SAMPLES {
        rig.offer(sequence, &NAMES);
        sleep(Duration::from_millis(5)).await;
    }
    let figures = rig.end(&peer).await;
    assert!(peer.log().heads >= bad, "the peer could not behave badly often enough");
    figures
}

fn nothing_is_dropped(ends: &[Statistics]) {
    for figures in ends {
        assert_eq!(figures.dropped_posts.total(), 0, "{figures:?}");
        assert!(figures.accepted_posts >= POSTS);
    }
}

#[tokio::test]
async fn a_peer_that_refuses_connections_gets_all_once_it_listens() {
    on_both(async |store| {
        let addr = unused_addr();
        let rig = Rig::start(quick(url(addr)), store);
        for sequence in 0..SAMPLES {
            rig.offer(sequence, &NAMES);
        }
        rig.until("refused", |figures| figures.unanswered >= 5).await;
        assert_eq!(rig.figures().waiting_samples(), SAMPLES);
        let peer = Peer::start_at(addr, |_| CREATED);
        let figures = rig.end(&peer).await;
        nothing_is_dropped(&[figures]);
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_accepts_and_stalls_gets_all_once_it_answers() {
    let ends = weathers(Act::Bytes(b"", Then::Stall)).await;
    nothing_is_dropped(&ends);
    assert!(ends.iter().all(|figures| figures.unanswered > 0));
}

#[tokio::test]
async fn a_peer_that_resets_while_it_is_sent_a_request_gets_it_again() {
    on_both(async |store| {
        let script = |request: &Request| match request.nth < 6 {
            true => Act::ResetMidRequest,
            false => CREATED,
        };
        let peer = Peer::start(script);
        let rig = Rig::start(quick(peer.url()), store);
        for sequence in 0..2 {
            // More than the sockets' buffers take.
            let body = format!("{sequence}-{}", "x".repeat(3 << 20));
            rig.offer_posts(vec![(path("large"), body.into()), (path("small"), "x".into())]);
            sleep(Duration::from_millis(5)).await;
        }
        let figures = rig.end(&peer).await;
        assert_eq!(figures.dropped_posts.total(), 0, "{figures:?}");
        assert!(figures.unanswered >= 3, "{figures:?}");
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_resets_instead_of_an_answer_gets_the_post_again() {
    nothing_is_dropped(&weathers(Act::Bytes(b"", Then::Reset)).await);
    // It had taken them.
    nothing_is_dropped(&weathers(Act::Taken(Box::new(Act::Bytes(b"", Then::Reset)))).await);
}

#[tokio::test]
async fn a_peer_that_resets_within_its_answer_gets_the_post_again() {
    let mid_head = Act::Bytes(b"HTTP/1.1 201 Crea", Then::Reset);
    nothing_is_dropped(&weathers(Act::Taken(Box::new(mid_head))).await);
    let mid_body = Act::Bytes(b"HTTP/1.1 201 Created\r\ncontent-length: 90\r\n\r\nab", Then::Reset);
    nothing_is_dropped(&weathers(Act::Taken(Box::new(mid_body))).await);
    let mid_body = Act::Bytes(b"HTTP/1.1 503 Busy\r\ncontent-length: 90\r\n\r\nab", Then::Reset);
    nothing_is_dropped(&weathers(mid_body).await);
}

#[tokio::test]
async fn a_connection_that_is_closed_at_the_worst_moment_costs_nothing_but_a_retry() {
    // Before the answer, after it without a word, and with a word.
    nothing_is_dropped(&weathers(Act::Bytes(b"", Then::Close)).await);
    nothing_is_dropped(&weathers(Act::Taken(Box::new(Act::Bytes(b"", Then::Close)))).await);
    for answer in [
        &b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n"[..],
        b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    ] {
        let ends = weathers(Act::Taken(Box::new(Act::Bytes(answer, Then::Close)))).await;
        nothing_is_dropped(&ends);
    }
}

#[tokio::test]
async fn a_connection_that_dies_between_two_requests_is_not_the_next_posts_end() {
    on_both(async |store| {
        let answer = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n";
        let peer = Peer::start(|_| Act::Taken(Box::new(Act::Bytes(answer, Then::Reset))));
        let rig = Rig::start(quick(peer.url()), store);
        for sequence in 0..20 {
            rig.offer(sequence, &["a", "b"]);
            // Also in the moment in which the reset comes.
            sleep(Duration::from_millis(sequence % 10)).await;
        }
        let figures = rig.end(&peer).await;
        assert_eq!(figures.dropped_posts.total(), 0, "{figures:?}");
    })
    .await;
}

#[tokio::test]
async fn posts_that_an_overloaded_peer_puts_off_come_again() {
    for answer in [
        "429 Too Many Requests",
        "500 Oops",
        "502 Bad Gateway",
        "503 Busy",
        "504 Late",
        "408 Request Timeout",
        "425 Too Early",
    ] {
        let ends = weathers(Act::Answer(answer)).await;
        nothing_is_dropped(&ends);
        let status = answer.split(' ').next().unwrap().parse().unwrap();
        assert!(ends.iter().all(|figures| figures.answers[&status] >= BAD as u64), "{ends:?}");
    }
}

#[tokio::test]
async fn posts_that_a_peer_refuses_for_good_are_dropped_and_counted_each_once() {
    for answer in ["401 Unauthorized", "400 Bad Request", "403 Forbidden", "413 Too Large"] {
        for figures in weathers(Act::Answer(answer)).await {
            assert_eq!(figures.dropped_posts.rejected_4xx, BAD as u64, "{answer}: {figures:?}");
            assert_eq!(figures.dropped_posts.total(), BAD as u64, "{figures:?}");
        }
    }
}

#[tokio::test]
async fn no_redirect_is_followed_and_the_other_host_sees_nothing() {
    let elsewhere = Peer::start(|_| CREATED);
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let answer = format!(
            "HTTP/1.1 {status}\r\nlocation: http://{}/api/nodes/a/metrics\r\n\
             content-length: 0\r\n\r\n",
            elsewhere.addr
        );
        let answer: &'static [u8] = answer.leak().as_bytes();
        for figures in weathers(Act::Bytes(answer, Then::GoOn)).await {
            assert_eq!(figures.dropped_posts.rejected_3xx, BAD as u64, "{status}: {figures:?}");
            assert_eq!(figures.dropped_posts.total(), BAD as u64, "{figures:?}");
        }
    }
    let log = elsewhere.log();
    assert_eq!((log.connections, log.heads), (0, 0));
}

#[tokio::test]
async fn garbage_instead_of_http_is_no_answer() {
    let garbage: [&'static [u8]; 5] = [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x15\x03\x03\x00\x02\x02\x46",
        b"\0\0\0\0\xff\xff\xff\xff\r\n\r\n",
        b"HTTP/1.1 2O1 Created\r\n\r\n",
        b"HTTP/9.9 201 Created\r\n\r\n",
    ];
    for bytes in garbage {
        for then in [Then::Close, Then::Stall] {
            let act = Act::Bytes(bytes, then);
            // Two are enough of those that are waited for in vain.
            for store in BOTH {
                nothing_is_dropped(&[weathers_with(act.clone(), store, 2).await]);
            }
        }
    }
}

#[tokio::test]
async fn a_content_length_that_lies_costs_the_connection_and_no_post() {
    let lies: [&'static [u8]; 5] = [
        b"HTTP/1.1 201 Created\r\ncontent-length: 100\r\n\r\nabc",
        b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nmore than two bytes",
        b"HTTP/1.1 201 Created\r\ncontent-length: -5\r\n\r\nabc",
        b"HTTP/1.1 201 Created\r\ncontent-length: 3\r\ncontent-length: 9\r\n\r\nabc",
        b"HTTP/1.1 201 Created\r\ncontent-length: 99999999999999999999999999\r\n\r\nabc",
    ];
    for bytes in lies {
        let act = Act::Taken(Box::new(Act::Bytes(bytes, Then::Close)));
        nothing_is_dropped(&weathers(act).await);
    }
    // What is told of one post is not read as the next one's answer.
    let two = b"HTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\nHTTP/1.1 201 Created\r\n\r\n";
    for figures in weathers(Act::Bytes(two, Then::GoOn)).await {
        assert_eq!(figures.dropped_posts.rejected_4xx, BAD as u64, "{figures:?}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let header = b"x-filler: 0123456789012345678901234567890123456789012345678901234567890\r\n";
    let act = Act::Taken(Box::new(Act::Endless(b"HTTP/1.1 201 Created\r\n", header)));
    nothing_is_dropped(&weathers(act).await);
    let act = Act::Taken(Box::new(Act::Endless(b"HTTP/1.1 ", b"2222222222222222222222222")));
    nothing_is_dropped(&weathers(act).await);
    let chunked = b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n";
    let act = Act::Taken(Box::new(Act::Endless(chunked, b"8\r\nabcdefgh\r\n")));
    // Its head is all that is waited for.
    let ends = on_both(async |store| weathers_within(LONG, act.clone(), store, BAD).await).await;
    nothing_is_dropped(&ends);
    assert!(ends.iter().all(|figures| figures.unanswered == 0), "it is accepted: {ends:?}");
    let chunked = b"HTTP/1.1 503 Busy\r\ntransfer-encoding: chunked\r\n\r\n";
    nothing_is_dropped(&weathers(Act::Endless(chunked, b"8\r\nabcdefgh\r\n")).await);
    let informed = b"HTTP/1.1 100 Continue\r\n\r\n";
    on_both(async |store| {
        let act = Act::Endless(b"", informed);
        nothing_is_dropped(&[weathers_with(act, store, 2).await]);
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_drips_is_waited_for_no_longer_than_any_other() {
    let answer = b"HTTP/1.1 201 Created\r\ncontent-length: 3\r\n\r\nwhy";
    let drip = |wait| Act::Taken(Box::new(Act::Drip(answer, Duration::from_millis(wait))));
    on_both(async |store| {
        // A byte a second.
        let figures = weathers_with(drip(1000), store, 2).await;
        assert!(figures.unanswered >= 2, "{figures:?}");
        nothing_is_dropped(&[figures, weathers_with(drip(1), store, BAD).await]);
    })
    .await;
}

#[tokio::test]
async fn an_answer_of_http_1_0_or_behind_a_100_is_an_answer() {
    let answers: [(&'static [u8], Then); 4] = [
        (b"HTTP/1.0 201 Created\r\n\r\nwhy", Then::Close),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nwhy", Then::Close),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n",
            Then::GoOn,
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Then::GoOn),
    ];
    for (bytes, then) in answers {
        let ends = weathers(Act::Taken(Box::new(Act::Bytes(bytes, then)))).await;
        nothing_is_dropped(&ends);
        assert!(ends.iter().all(|figures| figures.unanswered == 0), "{ends:?}");
    }
}

#[tokio::test]
async fn a_half_closed_connection_is_none() {
    nothing_is_dropped(&weathers(Act::Bytes(b"", Then::HalfClose)).await);
    let half = Act::Bytes(b"HTTP/1.1 201 Cre", Then::HalfClose);
    nothing_is_dropped(&weathers(Act::Taken(Box::new(half))).await);
    let whole = Act::Bytes(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n", Then::HalfClose);
    nothing_is_dropped(&weathers(Act::Taken(Box::new(whole))).await);
}

/// Halves a body of letters, down to single ones.
fn halve(body: &[u8]) -> Option<(bytes::Bytes, bytes::Bytes)> {
    let (first, second) = body.split_at_checked(body.len() / 2).filter(|(a, _)| !a.is_empty())?;
    Some((first.to_vec().into(), second.to_vec().into()))
}

/// The pieces of a split post have names of their own, and an outage in the midst of it brings none
/// back that was settled, nor loses one.
#[tokio::test]
async fn what_is_too_large_falls_apart_whether_or_not_it_is_on_disk() {
    on_both(async |store| {
        let addr = unused_addr();
        let mut settings = quick(url(addr));
        settings.split = Some(Split(halve));
        let rig = Rig::start(settings, store);
        let bodies = ["abcdefgh", "ijklmnop", "q", "x"];
        rig.offer_posts(bodies.map(|body| (path("batch"), body.into())).into());
        rig.until("refused", |figures| figures.unanswered >= 3).await;
        let script = |request: &Request| match (request.nth, request.body_bytes) {
            // The first thing that is heard of the endpoint is a 413, and then it fails again.
            (0, _) | (_, 3..) => Act::Answer("413 Content Too Large"),
            (1..8, _) => Act::Answer("503 Busy"),
            _ => CREATED,
        };
        let peer = Peer::start_at(addr, script);
        let figures = rig.until_settled().await;
        let mut taken = peer.taken();
        taken.sort();
        rig.come_to_rest().await;
        let dropped = figures.dropped_posts.rejected_4xx;
        let letters: usize = taken.iter().map(String::len).sum();
        assert_eq!(letters + usize::try_from(dropped).unwrap(), 18, "{taken:?} {figures:?}");
        let keys = super::peer::takes(&peer.log().seen);
        assert!(keys.values().all(|times| *times == 1), "{keys:?}");
        assert!(keys.len() >= taken.len());
    })
    .await;
}
