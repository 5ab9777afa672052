//! Posts whose spool file belongs to another process or has vanished.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nodetally::delivery::Health;
use nodetally::spool::{Batch, Spool};
use tokio::time::sleep;

use super::peer::{Act, CREATED, Peer, Request};
use super::rig::{BOUNDS, NAME, Rig, Store, Time, path, quick, spool_in};

/// As an agent that is started while the one before it still has the file open.
#[tokio::test]
async fn what_an_earlier_run_left_is_counted_once_it_can_be_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let earlier = Spool::new(spool_in(&dir)).queue(NAME, BOUNDS);
    let now = Time::new().now();
    let posts = ["a", "b", "c"].map(|name| (path(name), format!("0-{name}").into()));
    earlier.append(&Batch::new(now, posts), false, now).await.unwrap();
    let peer = Peer::start(|_| CREATED);
    let rig = Rig::start_over(quick(peer.url()), Some(dir), BOUNDS);
    rig.until("spool failing", |figures| figures.spool_error.is_some()).await;
    rig.offer(1, &["a", "b"]);
    let figures = rig.until_settled().await;
    assert_eq!((figures.accepted_posts, figures.recovered_posts), (2, 0));
    drop(earlier);
    // A disk that has failed is left alone for some seconds.
    for sequence in 2.. {
        let figures = rig.figures();
        assert!(sequence < 300, "{figures:?}");
        if figures.recovered_posts > 0 {
            break;
        }
        rig.offer(sequence, &["a", "b"]);
        sleep(Duration::from_millis(100)).await;
    }
    let figures = rig.until_settled().await;
    assert_eq!(figures.recovered_posts, 3);
    assert_eq!(figures.accepted_posts, figures.offered_posts + 3);
    rig.come_to_rest().await;
}

/// Somebody removes the file while its posts are under way, and they are not taken.
#[tokio::test]
async fn posts_in_flight_outlive_their_file() {
    let answers = Arc::new(AtomicU32::new(0));
    let answered = Arc::clone(&answers);
    let peer = Peer::start(move |_: &Request| match answered.load(Ordering::Relaxed) {
        0 => Act::After(Duration::from_millis(400), "503 Busy"),
        1 => Act::Answer("503 Busy"),
        _ => CREATED,
    });
    let mut settings = quick(peer.url());
    settings.prompt = Duration::from_millis(30);
    let rig = Rig::start(settings, Store::Disk);
    rig.offer(0, &["a", "b", "c"]);
    rig.until("on disk", |figures| figures.on_disk.samples == 1).await;
    fs::remove_file(rig.file().unwrap()).unwrap();
    answers.store(1, Ordering::Relaxed);
    rig.until("down", |figures| figures.health == Health::Down).await;
    rig.until("tried again", |figures| figures.answers_of_class(5) > 5).await;
    answers.store(2, Ordering::Relaxed);
    let figures = rig.end(&peer).await;
    assert_eq!(figures.dropped_posts.total(), 0, "{figures:?}");
    assert!(figures.accepted_posts >= 3);
}
