//! The order of posts: oldest first, or fresh ones before the backlog.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::time::Duration;

use fastrand::Rng;
use nodetally::delivery::Health;
use tokio::time::sleep;

use super::peer::{Act, CREATED, Peer, Seen, Then, unused_addr, url};
use super::rig::{BOUNDS, LONG, Rig, Store, on_both, path, quick, sequence, spool_in};

fn sequences(seen: &[Seen]) -> Vec<u64> {
    let taken = seen.iter().filter(|seen| seen.taken && !seen.body.ends_with("-last"));
    taken.map(|seen| sequence(&seen.body)).collect()
}

#[tokio::test]
async fn an_endpoint_that_needs_everything_in_order_gets_it_so_across_an_outage() {
    on_both(async |store| {
        let addr = unused_addr();
        let mut settings = quick(url(addr));
        settings.in_order = true;
        let rig = Rig::start(settings, store);
        for sequence in 0..20 {
            rig.offer(sequence, &["a", "b", "c"]);
            sleep(Duration::from_millis(3)).await;
        }
        rig.until("refused", |figures| figures.unanswered >= 3).await;
        let peer = Peer::start_at(addr, |_| Act::After(Duration::from_millis(2), "201 Created"));
        for sequence in 20..40 {
            rig.offer(sequence, &["a", "b", "c"]);
            sleep(Duration::from_millis(3)).await;
        }
        rig.end(&peer).await;
        let came = sequences(&peer.log().seen);
        assert!(came.is_sorted(), "{store:?}: {came:?}");
    })
    .await;
}

/// One that subtracts running totals takes one that goes back for a start from nothing.
#[tokio::test]
async fn where_order_matters_no_path_gets_an_older_post_whatever_fails() {
    on_both(async |store| {
        let random = Mutex::new(Rng::with_seed(11));
        let peer = Peer::start(move |_| {
            let mut random = random.lock().unwrap();
            match random.u32(..100) {
                0..20 => Act::Answer("503 Busy"),
                20..30 => Act::Bytes(b"", Then::Reset),
                30..60 => Act::After(Duration::from_millis(random.u64(..8)), "201 Created"),
                _ => CREATED,
            }
        });
        let mut settings = quick(peer.url());
        settings.in_order = true;
        settings.tries_max = 1000;
        settings.backoff_max = Duration::from_millis(20);
        let rig = Rig::start(settings, store);
        for sequence in 0..40 {
            // Two of them of one path.
            rig.offer(2 * sequence, &["a", "b", "c", "d", "e", "f"]);
            let second = (path("c"), format!("{}-c", 2 * sequence + 1).into());
            rig.offer_posts(vec![(path("c"), format!("{}-c", 2 * sequence).into()), second]);
            sleep(Duration::from_millis(10)).await;
        }
        rig.until_settled().await;
        let seen = peer.log().seen.clone();
        rig.judge(&seen, false);
        let mut by_path: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for seen in seen.iter().filter(|seen| seen.taken) {
            by_path.entry(&seen.path).or_default().push(sequence(&seen.body));
        }
        assert_eq!(by_path.len(), 6);
        for (path, came) in by_path {
            assert!(came.is_sorted(), "{store:?}: {path}: {came:?}");
        }
    })
    .await;
}

/// A disk that takes something again while an older sample is under way from memory.
#[tokio::test]
async fn where_order_matters_nothing_gets_to_disk_before_what_is_under_way() {
    let peer = Peer::start(|request| match request.nth {
        0 => Act::After(Duration::from_secs(12), "503 Busy"),
        _ => CREATED,
    });
    let mut settings = quick(peer.url());
    settings.in_order = true;
    settings.prompt = Duration::from_millis(30);
    settings.request_timeout = LONG;
    let dir = tempfile::tempdir().unwrap();
    fs::write(spool_in(&dir), "").unwrap();
    let rig = Rig::start_over(settings, Some(dir), BOUNDS);
    rig.until("spool failing", |figures| figures.spool_error.is_some()).await;
    rig.offer(0, &["a"]);
    rig.until("degraded", |figures| figures.health == Health::Degraded).await;
    fs::remove_file(rig.file().unwrap().parent().unwrap()).unwrap();
    // A disk that has failed is left alone for some seconds.
    for sequence in 1.. {
        let figures = rig.figures();
        assert!(sequence < 300, "{figures:?}");
        if figures.on_disk.samples > 0 {
            break;
        }
        rig.offer(sequence, &["a"]);
        sleep(Duration::from_millis(100)).await;
    }
    rig.end(&peer).await;
    let came = sequences(&peer.log().seen);
    assert!(came.is_sorted(), "{came:?}");
}

#[tokio::test]
async fn after_an_outage_what_waited_comes_in_its_order_and_what_is_fresh_overtakes_it() {
    on_both(async |store| {
        let addr = unused_addr();
        let rig = Rig::start(quick(url(addr)), store);
        for sequence in 0..40 {
            rig.offer(sequence, &["a", "b", "c"]);
            sleep(Duration::from_millis(2)).await;
        }
        rig.until("refused", |figures| figures.unanswered >= 3).await;
        if store == Store::Disk {
            rig.until("on disk", |figures| figures.on_disk.samples == 40).await;
        }
        let peer = Peer::start_at(addr, |_| Act::After(Duration::from_millis(10), "201 Created"));
        rig.until("back", |figures| figures.accepted_posts > 3).await;
        for sequence in 1000..1005 {
            rig.offer(sequence, &["a", "b", "c"]);
            sleep(Duration::from_millis(20)).await;
        }
        rig.end(&peer).await;
        let came = sequences(&peer.log().seen);
        let (fresh, waited): (Vec<u64>, Vec<u64>) =
            came.iter().partition(|number| **number >= 1000);
        assert!(waited.is_sorted() && fresh.is_sorted(), "{store:?}: {came:?}");
        let last_fresh = came.iter().rposition(|number| *number >= 1000).unwrap();
        let behind = came.len() - last_fresh;
        assert!(behind > 30, "{store:?}: only {behind} of what waited came later: {came:?}");
    })
    .await;
}

/// Fresh samples that fail in part must not come to stand before what has waited for longer.
#[tokio::test]
async fn a_post_that_fails_during_a_replay_displaces_no_other() {
    on_both(async |store| {
        let addr = unused_addr();
        let rig = Rig::start(quick(url(addr)), store);
        for sequence in 0..30 {
            rig.offer(sequence, &["a", "b"]);
            sleep(Duration::from_millis(2)).await;
        }
        rig.until("refused", |figures| figures.unanswered >= 3).await;
        // Every sample that is fresh meets an outage of a moment.
        let seen = Mutex::new(BTreeMap::<String, usize>::new());
        let peer = Peer::start_at(addr, move |request| {
            let sample = request.key.rsplit(':').nth(1).unwrap().to_owned();
            let is_fresh = request.path.contains("/fresh");
            let mut seen = seen.lock().unwrap();
            let times = seen.entry(sample).or_default();
            *times += 1;
            match is_fresh && *times <= 2 {
                true => Act::Answer("503 Busy"),
                false => Act::After(Duration::from_millis(5), "201 Created"),
            }
        });
        rig.until("back", |figures| figures.accepted_posts > 3).await;
        for sequence in 1000..1005 {
            rig.offer(sequence, &["fresh-a", "fresh-b"]);
            sleep(Duration::from_millis(30)).await;
        }
        rig.end(&peer).await;
        let came = sequences(&peer.log().seen);
        assert_eq!(came.len(), 70);
        let waited: Vec<u64> = came.iter().copied().filter(|number| *number < 1000).collect();
        assert!(waited.is_sorted(), "{store:?}: {came:?}");
        let fresh: Vec<u64> = came.iter().copied().filter(|number| *number >= 1000).collect();
        assert!(fresh.is_sorted(), "{store:?}: {came:?}");
        let first_fresh = came.iter().position(|number| *number >= 1000).unwrap();
        let before = came[..first_fresh].len();
        assert!(before >= 58, "{store:?}: what failed is the newest of what waits: {came:?}");
    })
    .await;
}
